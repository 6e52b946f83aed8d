/* SPDX-License-Identifier: Apache-2.0 */
/* tensor.h: shapes, with symbols for dimensions that are not known yet, and tensors.
 *
 * Owns    a tensor lives in the arena that was passed in, or where its caller put it
 * Shapes  dimensions are int64_t as in ONNX; data are row-major
 */
#ifndef LDNQ_IR_TENSOR_H
#define LDNQ_IR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "ir/dtype.h"

#define LDNQ_MAX_RANK 8

/* ---- symbols ---------------------------------------------------------------- */

/* A dimension that is not known yet is a symbol: symbol i is the int64_t
 * LDNQ_SYMBOL_BASE + i. This range is far from real sizes and from the INT64_MIN and
 * INT64_MAX that Slice uses. */
#define LDNQ_SYMBOL_BASE (-((int64_t)1 << 62))
#define LDNQ_SYMBOL_COUNT ((int64_t)1 << 32)

static inline bool ldnq_is_symbol(int64_t value)
{
    return value >= LDNQ_SYMBOL_BASE && value < LDNQ_SYMBOL_BASE + LDNQ_SYMBOL_COUNT;
}

/* ---- shapes and tensors ----------------------------------------------------- */

#define LDNQ_RANK_UNKNOWN (-1)

struct ldnq_shape {
    int rank; /* 0 for a scalar, or LDNQ_RANK_UNKNOWN */
    int64_t dim[LDNQ_MAX_RANK];
};

struct ldnq_graph;

struct ldnq_tensor {
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    void *data; /* row-major; NULL when only type and shape are known */
};

/* Product of the dimensions; false when the rank is unknown, a dimension is a
 * symbol or negative, or the product overflows. */
bool ldnq_shape_count(const struct ldnq_shape *shape, size_t *count);
/* Counts the elements of the dimensions first .. last-1, as ldnq_shape_count does. */
bool ldnq_shape_count_range(const struct ldnq_shape *shape, int first, int last, size_t *count);
bool ldnq_shapes_are_equal(const struct ldnq_shape *a, const struct ldnq_shape *b);
/* Whether rank and all dimensions are known. */
bool ldnq_shape_is_known(const struct ldnq_shape *shape);
/* Bytes of the data; false when ldnq_shape_count fails, or the bytes overflow. */
bool ldnq_tensor_bytes(const struct ldnq_tensor *tensor, size_t *bytes);
/* Number of elements of an allocated tensor; 0 when it can't be counted. */
size_t ldnq_tensor_count(const struct ldnq_tensor *tensor);

/* Whether a tensor of LDNQ_FLOAT has neither infinities nor NaN; if not, and `index` is given,
 * it becomes that of the first such element. */
bool ldnq_tensor_is_finite(const struct ldnq_tensor *tensor, size_t *index);

/* Element i of a tensor of integers or bools. Types of less than 8 bits have a byte per
 * element; uint64 keeps its bits. */
int64_t ldnq_tensor_load_integer(const struct ldnq_tensor *tensor, size_t i);

/* Writes "(N,3,32,32)" into `text`, truncated to `size`; returns text. Symbols print as
 * their names in `graph`, or as '?' when graph is NULL or the symbol has no name. */
#define LDNQ_SHAPE_TEXT 160
char *ldnq_shape_print(const struct ldnq_shape *shape, const struct ldnq_graph *graph, char *text,
                       size_t size);

/* Creates a tensor in the arena, its data set to zero. Errors: NOMEM, also for a shape
 * that can't be counted. */
enum ldnq_status ldnq_tensor_create(struct ldnq_arena *arena, enum ldnq_dtype dtype,
                                    const struct ldnq_shape *shape, struct ldnq_tensor **out,
                                    struct ldnq_error *err);

/* Converts a float32 tensor to float16 or bfloat16, in the arena; for any other dtype *out is
 * `from`. Numbers beyond the largest of the type become that one. Errors: NOMEM. */
enum ldnq_status ldnq_tensor_narrow(struct ldnq_arena *arena, const struct ldnq_tensor *from,
                                    enum ldnq_dtype dtype, const struct ldnq_tensor **out,
                                    struct ldnq_error *err);

/* Copies a tensor, data included, into the arena. Errors: NOMEM. */
enum ldnq_status ldnq_tensor_copy(struct ldnq_arena *arena, const struct ldnq_tensor *from,
                                  struct ldnq_tensor **out, struct ldnq_error *err);

#endif
