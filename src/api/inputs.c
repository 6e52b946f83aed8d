/* SPDX-License-Identifier: Apache-2.0 */
#include "api/inputs.h"

#include <pthread.h>
#include <string.h>

#include "base/alloc.h"

/* A handle keeps its texts and lists in an arena of its own. */
struct ldnq_onnx {
    struct ldnq_arena *arena;
    const char *name; /* the path, or what the bytes are called */
    const void *bytes;
    size_t size;
    bool is_file;
};

struct ldnq_dataset {
    struct ldnq_arena *arena;
    const char **paths; /* (path_count) NULL for samples in memory */
    size_t path_count;
    bool is_none; /* there are no samples at all */
    struct ldnq_samples_memory memory;
    pthread_mutex_t lock; /* guards the caller's read function, which jobs share */
};

/* ---- models ------------------------------------------------------------------------------- */

static enum ldnq_status create_model_handle(const char *name, struct ldnq_onnx **out,
                                            struct ldnq_error *err)
{
    *out = NULL;
    if (!name)
        return ldnq_fail(err, LDNQ_USAGE, "a model needs a path or a name");
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    struct ldnq_onnx *onnx = ldnq_arena_alloc(arena, 1, sizeof *onnx, err);
    const char *copy = onnx ? ldnq_arena_strdup(arena, name, err) : NULL;
    if (!copy) {
        ldnq_arena_destroy(arena);
        return LDNQ_NOMEM;
    }
    *onnx = (struct ldnq_onnx){ .arena = arena, .name = copy, .is_file = true };
    *out = onnx;
    return LDNQ_OK;
}

enum ldnq_status ldnq_onnx_from_path(const char *path, struct ldnq_onnx **out,
                                     struct ldnq_error *err)
{
    return create_model_handle(path, out, err);
}

enum ldnq_status ldnq_onnx_from_bytes(const void *bytes, size_t size, const char *name,
                                      struct ldnq_onnx **out, struct ldnq_error *err)
{
    *out = NULL;
    if (!bytes && size)
        return ldnq_fail(err, LDNQ_USAGE, "the bytes of a model are NULL");
    LDNQ_TRY(create_model_handle(name ? name : "model", out, err));
    (*out)->is_file = false;
    (*out)->bytes = bytes;
    (*out)->size = size;
    return LDNQ_OK;
}

void ldnq_onnx_destroy(struct ldnq_onnx *onnx)
{
    if (onnx)
        ldnq_arena_destroy(onnx->arena);
}

enum ldnq_status ldnq_onnx_load(const struct ldnq_onnx *onnx, struct ldnq_model **out,
                                struct ldnq_error *err)
{
    *out = NULL;
    if (!onnx)
        return ldnq_fail(err, LDNQ_USAGE, "no model is given");
    return onnx->is_file ? ldnq_model_load(onnx->name, out, err)
                         : ldnq_model_load_memory(onnx->bytes, onnx->size, onnx->name, out, err);
}

const char *ldnq_onnx_name(const struct ldnq_onnx *onnx)
{
    return onnx->name;
}

bool ldnq_onnx_is_file(const struct ldnq_onnx *onnx)
{
    return onnx->is_file;
}

/* ---- arrays ------------------------------------------------------------------------------- */

/* Those that NumPy has, too. */
static const enum ldnq_dtype array_dtypes[] = {
    LDNQ_FLOAT, LDNQ_DOUBLE, LDNQ_FLOAT16, LDNQ_INT8,   LDNQ_INT16,  LDNQ_INT32,
    LDNQ_INT64, LDNQ_UINT8,  LDNQ_UINT16,  LDNQ_UINT32, LDNQ_UINT64, LDNQ_BOOL,
};

static bool find_dtype(const char *name, enum ldnq_dtype *out)
{
    for (size_t i = 0; i < sizeof array_dtypes / sizeof *array_dtypes; i++)
        if (strcmp(ldnq_dtype_name(array_dtypes[i]), name) == 0) {
            *out = array_dtypes[i];
            return true;
        }
    return false;
}

enum ldnq_status ldnq_ndarray_tensor(const struct ldnq_ndarray *array, bool with_data,
                                     struct ldnq_tensor *out, struct ldnq_error *err)
{
    const char *name = array->name ? array->name : "";
    size_t bytes;
    *out = (struct ldnq_tensor){ .shape.rank = (int)array->rank };
    if (!array->dtype || !find_dtype(array->dtype, &out->dtype))
        return ldnq_fail(err, LDNQ_USAGE, "array '%s': the dtype '%s' is not known", name,
                         array->dtype ? array->dtype : "");
    if (array->rank > LDNQ_MAX_RANK || (array->rank > 0 && !array->shape))
        return ldnq_fail(err, LDNQ_USAGE, "array '%s': %zu axes, %d are the most", name,
                         array->rank, LDNQ_MAX_RANK);
    for (size_t i = 0; i < array->rank; i++) {
        if (array->shape[i] < 0)
            return ldnq_fail(err, LDNQ_USAGE, "array '%s': axis %zu has a negative size", name, i);
        out->shape.dim[i] = array->shape[i];
    }
    if (!ldnq_tensor_bytes(out, &bytes))
        return ldnq_fail(err, LDNQ_USAGE, "array '%s': its size can't be counted", name);
    if (with_data && !array->data && bytes > 0)
        return ldnq_fail(err, LDNQ_USAGE, "array '%s': it has no data", name);
    /* Tensors have no const data; what is made of this one is only read. */
    union {
        const void *from;
        void *to;
    } data = { .from = array->data };
    out->data = data.to;
    return LDNQ_OK;
}

/* ---- samples ------------------------------------------------------------------------------ */

static enum ldnq_status create_dataset(struct ldnq_dataset **out, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    *out = NULL;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    struct ldnq_dataset *dataset = ldnq_arena_alloc(arena, 1, sizeof *dataset, err);
    if (!dataset || pthread_mutex_init(&dataset->lock, NULL) != 0) {
        ldnq_arena_destroy(arena);
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    }
    dataset->arena = arena;
    *out = dataset;
    return LDNQ_OK;
}

void ldnq_dataset_destroy(struct ldnq_dataset *dataset)
{
    if (!dataset)
        return;
    pthread_mutex_destroy(&dataset->lock);
    ldnq_arena_destroy(dataset->arena);
}

enum ldnq_status ldnq_dataset_from_path(const char *path, struct ldnq_dataset **out,
                                        struct ldnq_error *err)
{
    *out = NULL;
    if (!path)
        return ldnq_fail(err, LDNQ_USAGE, "no path of samples is given");
    LDNQ_TRY(create_dataset(out, err));
    (*out)->is_none = strcmp(path, "none") == 0;
    const enum ldnq_status status =
        (*out)->is_none ? LDNQ_OK : ldnq_dataset_add_path(*out, path, err);
    if (status == LDNQ_OK)
        return LDNQ_OK;
    ldnq_dataset_destroy(*out);
    *out = NULL;
    return status;
}

enum ldnq_status ldnq_dataset_add_path(struct ldnq_dataset *dataset, const char *path,
                                       struct ldnq_error *err)
{
    if (!dataset || !path)
        return ldnq_fail(err, LDNQ_USAGE, "no path of samples is given");
    if (dataset->is_none || strcmp(path, "none") == 0)
        return ldnq_fail(err, LDNQ_USAGE,
                         "none means no samples, and is joined with no others (./none is a "
                         "file)");
    if (dataset->memory.arrays)
        return ldnq_fail(err, LDNQ_USAGE, "samples in memory and those of a path are not joined");
    const char **paths =
        ldnq_arena_alloc(dataset->arena, dataset->path_count + 1, sizeof *paths, err);
    char *copy = ldnq_arena_strdup(dataset->arena, path, err);
    if (!paths || !copy)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < dataset->path_count; i++)
        paths[i] = dataset->paths[i];
    paths[dataset->path_count++] = copy;
    dataset->paths = paths;
    return LDNQ_OK;
}

static enum ldnq_status copy_array_descriptors(struct ldnq_dataset *dataset,
                                               const struct ldnq_ndarray *arrays, size_t count,
                                               bool with_data, struct ldnq_error *err)
{
    struct ldnq_memory_array *copies = ldnq_arena_alloc(dataset->arena, count, sizeof *copies, err);
    if (!copies)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        LDNQ_TRY(ldnq_ndarray_tensor(&arrays[i], with_data, &copies[i].tensor, err));
        copies[i].input =
            ldnq_arena_strdup(dataset->arena, arrays[i].name ? arrays[i].name : "", err);
        if (!copies[i].input)
            return LDNQ_NOMEM;
    }
    dataset->memory.arrays = copies;
    dataset->memory.array_count = count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_dataset_from_arrays(const struct ldnq_ndarray *arrays, size_t count,
                                          struct ldnq_dataset **out, struct ldnq_error *err)
{
    *out = NULL;
    if (!arrays && count)
        return ldnq_fail(err, LDNQ_USAGE, "the arrays of the samples are NULL");
    LDNQ_TRY(create_dataset(out, err));
    const enum ldnq_status status = copy_array_descriptors(*out, arrays, count, true, err);
    if (status != LDNQ_OK) {
        ldnq_dataset_destroy(*out);
        *out = NULL;
    }
    return status;
}

enum ldnq_status ldnq_dataset_from_reader(const struct ldnq_sample_reader *reader,
                                          struct ldnq_dataset **out, struct ldnq_error *err)
{
    *out = NULL;
    if (!reader || !reader->read || (!reader->inputs && reader->input_count))
        return ldnq_fail(err, LDNQ_USAGE, "a reader of samples needs inputs and a function");
    LDNQ_TRY(create_dataset(out, err));
    const enum ldnq_status status =
        copy_array_descriptors(*out, reader->inputs, reader->input_count, false, err);
    if (status != LDNQ_OK) {
        ldnq_dataset_destroy(*out);
        *out = NULL;
        return status;
    }
    struct ldnq_samples_memory *memory = &(*out)->memory;
    memory->sample_count = reader->sample_count;
    memory->labels = reader->labels;
    memory->read = reader->read;
    memory->shape = reader->shape;
    memory->ctx = reader->ctx;
    memory->lock = &(*out)->lock;
    return LDNQ_OK;
}

bool ldnq_dataset_is_none(const struct ldnq_dataset *dataset)
{
    return dataset->is_none;
}

enum ldnq_status ldnq_dataset_open(const struct ldnq_dataset *dataset,
                                   const struct ldnq_graph *graph,
                                   const struct ldnq_samples_options *options,
                                   struct ldnq_samples **out, struct ldnq_error *err)
{
    *out = NULL;
    if (!dataset || dataset->is_none)
        return ldnq_fail(err, LDNQ_USAGE, "no samples are given");
    return dataset->paths ? ldnq_samples_open_joined(dataset->paths, dataset->path_count, graph,
                                                     options, out, err)
                          : ldnq_samples_open_memory(&dataset->memory, graph, options, out, err);
}
