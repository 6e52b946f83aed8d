/* SPDX-License-Identifier: Apache-2.0 */
/* indices.h: int32 or int64 indices that may count from the end. */
#ifndef LDNQ_OPS_INDICES_H
#define LDNQ_OPS_INDICES_H

#include <inttypes.h>

#include "ops/op.h"

#define LDNQ_INDEX_TYPES (LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64))

/* Reads indices[i] and resolves it to 0 .. size-1. Errors: MODEL (out of range). */
static inline enum ldnq_status ldnq_resolve_index(const struct ldnq_tensor *indices, size_t i,
                                                  int64_t size, size_t *at, struct ldnq_error *err)
{
    int64_t index = indices->dtype == LDNQ_INT64 ? ((const int64_t *)indices->data)[i]
                                                 : ((const int32_t *)indices->data)[i];
    if (index < -size || index >= size)
        return ldnq_fail(err, LDNQ_MODEL,
                         "index %" PRId64 " is out of range for an axis of %" PRId64 " elements",
                         index, size);
    *at = (size_t)(index < 0 ? index + size : index);
    return LDNQ_OK;
}

#endif
