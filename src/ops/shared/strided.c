/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/shared/strided.h"

#include <string.h>

#include "base/simd.h"
#include "base/size.h"

/* Rows and columns of a tile of a transposition, which fits the L1 cache. */
#define TILE ((size_t)32)

/* The last two axes of the region, as a matrix (rows, columns). */
struct strided_matrix {
    size_t rows, columns;
    ptrdiff_t from_row, from_column, to_row, to_column; /* strides */
};

typedef void copy_matrix_fn(const struct strided_matrix *matrix, const void *src, void *dst);

struct strided_copy {
    struct ldnq_strided region;
    size_t size; /* bytes per element */
    const char *src;
    char *dst;
    copy_matrix_fn *copy; /* for matrices that need neither rows nor a transposition */
};

/* ---- one matrix ------------------------------------------------------------------ */

#define COPY_MATRIX(name, T)                                                                       \
    static void name##_tile(const struct strided_matrix *m, size_t row, size_t column,             \
                            const T *src, T *dst)                                                  \
    {                                                                                              \
        size_t row_end = ldnq_size_min(row + TILE, m->rows);                                       \
        size_t column_end = ldnq_size_min(column + TILE, m->columns);                              \
        for (size_t i = row; i < row_end; i++) {                                                   \
            const T *from = src + (ptrdiff_t)i * m->from_row;                                      \
            T *to = dst + (ptrdiff_t)i * m->to_row;                                                \
            for (size_t j = column; j < column_end; j++)                                           \
                to[(ptrdiff_t)j * m->to_column] = from[(ptrdiff_t)j * m->from_column];             \
        }                                                                                          \
    }                                                                                              \
    static void name(const struct strided_matrix *m, const void *src, void *dst)                   \
    {                                                                                              \
        for (size_t row = 0; row < m->rows; row += TILE)                                           \
            for (size_t column = 0; column < m->columns; column += TILE)                           \
                name##_tile(m, row, column, src, dst);                                             \
    }

COPY_MATRIX(copy_8, uint8_t)
COPY_MATRIX(copy_16, uint16_t)
COPY_MATRIX(copy_32, uint32_t)
COPY_MATRIX(copy_64, uint64_t)

/* 4 x 4 transpositions in registers, for 32-bit elements whose rows are contiguous in the
 * source and whose columns are contiguous in the target. Element by element, loads and
 * stores dominate the cost of a tile. */
typedef uint32_t four __attribute__((vector_size(16), aligned(4)));
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)

static void transpose_4x4(const uint32_t *src, ptrdiff_t from_column, uint32_t *dst,
                          ptrdiff_t to_row)
{
    const four a = *(const four *)(const void *)src;
    const four b = *(const four *)(const void *)(src + from_column);
    const four c = *(const four *)(const void *)(src + 2 * from_column);
    const four d = *(const four *)(const void *)(src + 3 * from_column);
    const four ac = LOW(a, c), bd = LOW(b, d), ac2 = HIGH(a, c), bd2 = HIGH(b, d);
    *(four *)(void *)dst = LOW(ac, bd);
    *(four *)(void *)(dst + to_row) = HIGH(ac, bd);
    *(four *)(void *)(dst + 2 * to_row) = LOW(ac2, bd2);
    *(four *)(void *)(dst + 3 * to_row) = HIGH(ac2, bd2);
}

/* A tile in 4 x 4 blocks; rows and columns beyond multiples of 4 element by element. */
static void transpose_tile(const struct strided_matrix *m, size_t row, size_t column,
                           const uint32_t *src, uint32_t *dst)
{
    size_t row_end = ldnq_size_min(row + TILE, m->rows);
    size_t column_end = ldnq_size_min(column + TILE, m->columns);
    size_t rows = row + (row_end - row) / 4 * 4, columns = column + (column_end - column) / 4 * 4;
    for (size_t i = row; i < rows; i += 4)
        for (size_t j = column; j < columns; j += 4)
            transpose_4x4(src + i + (ptrdiff_t)j * m->from_column, m->from_column,
                          dst + (ptrdiff_t)i * m->to_row + j, m->to_row);
    for (size_t i = row; i < row_end; i++) {
        uint32_t *to = dst + (ptrdiff_t)i * m->to_row;
        for (size_t j = i < rows ? columns : column; j < column_end; j++)
            to[j] = src[(ptrdiff_t)i + (ptrdiff_t)j * m->from_column];
    }
}

/* A row of every second element. */
LDNQ_MULTIVERSION
static void copy_every_second(const uint32_t *restrict src, uint32_t *restrict dst, size_t count)
{
    for (size_t j = 0; j < count; j++)
        dst[j] = src[2 * j];
}

static void transpose_32_bit_elements(const struct strided_matrix *m, const void *src, void *dst)
{
    if (m->from_column == 2) {
        for (size_t i = 0; i < m->rows; i++)
            copy_every_second((const uint32_t *)src + i, (uint32_t *)dst + (ptrdiff_t)i * m->to_row,
                              m->columns);
        return;
    }
    for (size_t row = 0; row < m->rows; row += TILE)
        for (size_t column = 0; column < m->columns; column += TILE)
            transpose_tile(m, row, column, src, dst);
}

static copy_matrix_fn *find_matrix_copy(size_t size)
{
    return size == 1 ? copy_8 : size == 2 ? copy_16 : size == 4 ? copy_32 : copy_64;
}

static void copy_rows(const struct strided_matrix *m, size_t size, const char *src, char *dst)
{
    for (size_t i = 0; i < m->rows; i++)
        memcpy(dst + (ptrdiff_t)i * m->to_row * (ptrdiff_t)size,
               src + (ptrdiff_t)i * m->from_row * (ptrdiff_t)size, m->columns * size);
}

/* ---- simplifying the region -------------------------------------------------------- */

void ldnq_strided_add_axis(struct ldnq_strided *region, size_t extent, ptrdiff_t from, ptrdiff_t to)
{
    region->extent[region->rank] = extent;
    region->from[region->rank] = from;
    region->to[region->rank] = to;
    region->rank++;
}

/* Drops axes of one element and merges neighbours that form one axis in source and target.
 * The result has at least two axes. */
static void merge_axes(const struct ldnq_strided *region, struct ldnq_strided *merged)
{
    *merged = (struct ldnq_strided){ 0 };
    for (int i = 0; i < region->rank; i++) {
        size_t extent = region->extent[i];
        int last = merged->rank - 1;
        if (extent == 1)
            continue;
        if (last >= 0 && merged->from[last] == region->from[i] * (ptrdiff_t)extent &&
            merged->to[last] == region->to[i] * (ptrdiff_t)extent) {
            merged->extent[last] *= extent;
            merged->from[last] = region->from[i];
            merged->to[last] = region->to[i];
        } else {
            ldnq_strided_add_axis(merged, extent, region->from[i], region->to[i]);
        }
    }
    if (merged->rank == 0)
        ldnq_strided_add_axis(merged, 1, 1, 1);
    if (merged->rank == 1) {
        ldnq_strided_add_axis(merged, merged->extent[0], merged->from[0], merged->to[0]);
        merged->extent[0] = 1;
    }
}

/* Moves the axis that is contiguous in the source next to the last one, which is contiguous
 * in the target, so that a transposition works on the matrix of these two. */
static void pair_contiguous_axes(struct ldnq_strided *region)
{
    int last = region->rank - 1;
    for (int i = 0; i < last - 1 && region->from[last] != 1; i++) {
        if (region->from[i] != 1)
            continue;
        struct ldnq_strided other = *region;
        int out = 0;
        for (int k = 0; k < region->rank; k++) {
            int axis = k == last - 1 ? i : k == last ? last : out++;
            if (k < last - 1 && axis >= i)
                axis++;
            region->extent[k] = other.extent[axis];
            region->from[k] = other.from[axis];
            region->to[k] = other.to[axis];
        }
        return;
    }
}

/* Makes the last axis the one that is contiguous in the target, where the two last ones are the
 * other way round: SpaceToDepth's last axis has a block's columns, which are two or three. */
static void put_contiguous_target_last(struct ldnq_strided *region)
{
    const int last = region->rank - 1, other = last - 1;
    if (region->from[last] != 1 || region->to[last] == 1 || region->to[other] != 1)
        return;
    const struct ldnq_strided old = *region;
    region->extent[last] = old.extent[other];
    region->from[last] = old.from[other];
    region->to[last] = 1;
    region->extent[other] = old.extent[last];
    region->from[other] = 1;
    region->to[other] = old.to[last];
}

/* ---- the whole region --------------------------------------------------------------- */

/* Rows first .. last-1, where a row is one index of all axes but the last. */
static void copy_range(const void *ctx, size_t first, size_t last)
{
    const struct strided_copy *copy = ctx;
    const struct ldnq_strided *region = &copy->region;
    int r = region->rank - 2;
    ptrdiff_t size = (ptrdiff_t)copy->size;
    while (first < last) {
        size_t row = first % region->extent[r], rest = first / region->extent[r];
        ptrdiff_t from = (ptrdiff_t)row * region->from[r], to = (ptrdiff_t)row * region->to[r];
        for (int i = r - 1; i >= 0; i--) {
            ptrdiff_t at = (ptrdiff_t)(rest % region->extent[i]);
            from += at * region->from[i];
            to += at * region->to[i];
            rest /= region->extent[i];
        }
        struct strided_matrix matrix = { .rows =
                                             ldnq_size_min(last - first, region->extent[r] - row),
                                         .columns = region->extent[r + 1],
                                         .from_row = region->from[r],
                                         .to_row = region->to[r],
                                         .from_column = region->from[r + 1],
                                         .to_column = region->to[r + 1] };
        const bool transposes = size == 4 && matrix.from_row == 1 && matrix.to_column == 1;
        if (matrix.from_column == 1 && matrix.to_column == 1)
            copy_rows(&matrix, copy->size, copy->src + from * size, copy->dst + to * size);
        else
            (transposes ? transpose_32_bit_elements : copy->copy)(&matrix, copy->src + from * size,
                                                                  copy->dst + to * size);
        first += matrix.rows;
    }
}

void ldnq_strided_copy(const struct ldnq_op_call *call, const struct ldnq_strided *region,
                       size_t size, const void *src, void *dst)
{
    struct ldnq_strided whole = *region;
    if (size == 16) {
        /* Complex numbers of two doubles, as an axis of two elements. */
        for (int i = 0; i < whole.rank; i++) {
            whole.from[i] *= 2;
            whole.to[i] *= 2;
        }
        size = 8;
        ldnq_strided_add_axis(&whole, 2, 1, 1);
    }
    struct strided_copy job = {
        .size = size, .src = src, .dst = dst, .copy = find_matrix_copy(size)
    };
    size_t rows = 1;
    merge_axes(&whole, &job.region);
    for (int i = 0; i < job.region.rank; i++)
        if (job.region.extent[i] == 0)
            return;
    put_contiguous_target_last(&job.region);
    pair_contiguous_axes(&job.region);
    for (int i = 0; i < job.region.rank - 1; i++)
        rows *= job.region.extent[i];
    /* Chunks have at least the rows of a tile. */
    size_t columns = job.region.extent[job.region.rank - 1];
    bool plain = job.region.from[job.region.rank - 1] == 1;
    ldnq_op_run_rows(call, rows, plain ? columns : ldnq_size_min(columns, 512), copy_range, &job);
}

void ldnq_row_major_strides(const struct ldnq_shape *shape, ptrdiff_t strides[LDNQ_MAX_RANK])
{
    ptrdiff_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= (ptrdiff_t)shape->dim[i];
    }
}
