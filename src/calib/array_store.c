/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/array_store.h"

#include "base/size.h"

#define PIECE ((size_t)65536)

void ldnq_array_store_init(struct ldnq_array_store *store)
{
    *store = (struct ldnq_array_store){ .temporary.fd = -1 };
}

void ldnq_array_store_close(struct ldnq_array_store *store)
{
    ldnq_array_close(&store->temporary);
}

static enum ldnq_status copy_to_file(struct ldnq_array_store *store, const struct ldnq_array *from,
                                     size_t bytes, struct ldnq_error *err)
{
    unsigned char piece[PIECE];
    store->temporary.name = from->name;
    if (store->temporary.fd < 0)
        LDNQ_TRY(ldnq_array_create_temporary(&store->temporary, err));
    for (size_t done = 0; done < bytes;) {
        const size_t size = ldnq_size_min(bytes - done, sizeof piece);
        LDNQ_TRY(ldnq_array_read(from, done, size, piece, err));
        LDNQ_TRY(ldnq_array_append(&store->temporary, piece, size, err));
        done += size;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_array_store_add(struct ldnq_array_store *store, const struct ldnq_array *from,
                                      struct ldnq_arena *arena, struct ldnq_array *out,
                                      struct ldnq_error *err)
{
    size_t bytes;
    const struct ldnq_tensor tensor = { .dtype = from->dtype, .shape = from->shape };
    if (!ldnq_tensor_bytes(&tensor, &bytes))
        return ldnq_fail(err, LDNQ_DATA, "%s: is of type %s, which no sample can be", from->name,
                         ldnq_dtype_name(from->dtype));
    *out = (struct ldnq_array){
        .name = from->name, .dtype = from->dtype, .shape = from->shape, .fd = -1
    };
    if (bytes <= LDNQ_ARRAY_IN_MEMORY - store->held) {
        unsigned char *data = ldnq_arena_alloc(arena, bytes, 1, err);
        if (!data)
            return LDNQ_NOMEM;
        if (bytes)
            LDNQ_TRY(ldnq_array_read(from, 0, bytes, data, err));
        out->data = data;
        store->held += bytes;
        return LDNQ_OK;
    }
    LDNQ_TRY(copy_to_file(store, from, bytes, err));
    out->fd = store->temporary.fd;
    out->offset = store->written;
    store->written += bytes;
    return LDNQ_OK;
}
