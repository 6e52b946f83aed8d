/* SPDX-License-Identifier: Apache-2.0 */
/* pooling_blocks.h: one output row of a pooling of floats, with several outputs at a time
 * accumulated in registers over all taps of their windows.
 *
 * LDNQ_POOLING_ROW(name, START, MERGE, ONE) defines
 *   void name(pooling, row, y)   y (OW): for each output, START merged with the input
 *                                elements under its window, in the order (kd, kh, kw);
 *                                padding is skipped
 * MERGE(acc, v, bits) is a statement on vectors of floats; `bits` is the integer vector
 * type of their comparisons. ONE(acc, v) is the same statement on single floats. With
 * strides above 2, all outputs are computed one by one.
 */
#ifndef LDNQ_OPS_POOLING_BLOCKS_H
#define LDNQ_OPS_POOLING_BLOCKS_H

#include "base/lanes.h"
#include "base/simd.h"
#include "ops/pool/pooling.h"

/* The input rows under a window, without the padding: `rows` rows (W) in each of `planes`
 * planes (H, W). */
struct ldnq_pooling_input_rows {
    const float *first;
    size_t planes, rows;
    ptrdiff_t plane_step, row_step; /* floats from one to the next */
};

static inline struct ldnq_pooling_input_rows
ldnq_pooling_find_input_rows(const struct ldnq_pooling *p, struct ldnq_pooling_row at)
{
    const struct ldnq_pooling_axis *d = &p->axis[0], *h = &p->axis[1];
    const size_t width = p->axis[2].in;
    const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(d, at.od);
    const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(h, at.oh);
    struct ldnq_pooling_input_rows rows = { .planes = in_d.count,
                                            .rows = in_h.count,
                                            .plane_step = d->dilation * (ptrdiff_t)(h->in * width),
                                            .row_step = h->dilation * (ptrdiff_t)width };
    if (rows.planes > 0 && rows.rows > 0)
        rows.first = (const float *)p->x + ((at.plane * d->in + in_d.at) * h->in + in_h.at) * width;
    else
        rows.planes = 0;
    return rows;
}

LDNQ_LANES(pooling_4, 4)
LDNQ_LANES(pooling_16, 16)

#define LDNQ_POOLING_LOAD(type, at) (*(const type *)(const void *)(at))
#define LDNQ_POOLING_NEXT(type, at) LDNQ_POOLING_LOAD(type, at)
/* Every second of eight floats. */
#define LDNQ_POOLING_EVEN(type, at)                                                                \
    __builtin_shufflevector(LDNQ_POOLING_LOAD(type, at), LDNQ_POOLING_LOAD(type, (at) + 4), 0, 2,  \
                            4, 6)

/* PARTS vectors of outputs, from output i on, whose taps along W all read the input. */
#define LDNQ_POOLING_BLOCK(name, LANES, PARTS, STRIDE, LOAD, START, MERGE)                         \
    static inline __attribute__((always_inline)) void name(                                        \
        const struct ldnq_pooling *p, const struct ldnq_pooling_input_rows *rows, size_t i,        \
        float *y)                                                                                  \
    {                                                                                              \
        const size_t kernel = p->axis[2].kernel, step = sizeof(LANES) / sizeof(float);             \
        const ptrdiff_t dilation = p->axis[2].dilation;                                            \
        LANES acc[PARTS];                                                                          \
        for (size_t part = 0; part < PARTS; part++)                                                \
            acc[part] = (LANES){ 0 } + (START);                                                    \
        for (size_t d = 0; d < rows->planes; d++) {                                                \
            const float *row = rows->first + (ptrdiff_t)d * rows->plane_step;                      \
            row += (ptrdiff_t)i * STRIDE - p->axis[2].begin;                                       \
            for (size_t h = 0; h < rows->rows; h++, row += rows->row_step) {                       \
                const float *at = row;                                                             \
                for (size_t k = 0; k < kernel; k++, at += dilation) {                              \
                    for (size_t part = 0; part < PARTS; part++) {                                  \
                        const LANES v = LOAD(LANES, at + part * step * STRIDE);                    \
                        MERGE(acc[part], v, LANES##_bits);                                         \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (size_t part = 0; part < PARTS; part++)                                                \
            *(LANES *)(void *)(y + i + part * step) = acc[part];                                   \
    }

#define LDNQ_POOLING_ROW(name, START, MERGE, ONE)                                                  \
    LDNQ_POOLING_BLOCK(name##_4, pooling_4, 1, 1, LDNQ_POOLING_NEXT, START, MERGE)                 \
    LDNQ_POOLING_BLOCK(name##_16, pooling_16, 1, 1, LDNQ_POOLING_NEXT, START, MERGE)               \
    LDNQ_POOLING_BLOCK(name##_even, pooling_4, 1, 2, LDNQ_POOLING_EVEN, START, MERGE)              \
    LDNQ_POOLING_BLOCK(name##_evens, pooling_4, 4, 2, LDNQ_POOLING_EVEN, START, MERGE)             \
    static void name##_one(const struct ldnq_pooling *p,                                           \
                           const struct ldnq_pooling_input_rows *rows, size_t i, float *y)         \
    {                                                                                              \
        float acc = (START);                                                                       \
        const struct ldnq_pooling_taps taps = ldnq_pooling_find_taps(&p->axis[2], i);              \
        for (size_t d = 0; d < rows->planes; d++) {                                                \
            for (size_t h = 0; h < rows->rows; h++) {                                              \
                const float *x = rows->first + (ptrdiff_t)d * rows->plane_step;                    \
                x += (ptrdiff_t)h * rows->row_step;                                                \
                for (size_t k = 0; k < taps.count; k++)                                            \
                    ONE(acc, x[taps.at + k * (size_t)p->axis[2].dilation]);                        \
            }                                                                                      \
        }                                                                                          \
        y[i] = acc;                                                                                \
    }                                                                                              \
    /* Outputs that read no padding along W; returns the first output not computed. The   */       \
    /* last block ends at the last such output and may compute some outputs again. */              \
    LDNQ_MULTIVERSION                                                                              \
    static size_t name##_middle(const struct ldnq_pooling *p,                                      \
                                const struct ldnq_pooling_input_rows *rows, float *y)              \
    {                                                                                              \
        size_t i = p->inner_first, last = p->inner_last;                                           \
        if (p->axis[2].stride == 1 && i + 4 <= last) {                                             \
            for (; i + 16 <= last; i += 16)                                                        \
                name##_16(p, rows, i, y);                                                          \
            for (; i + 4 <= last; i += 4)                                                          \
                name##_4(p, rows, i, y);                                                           \
            if (i < last)                                                                          \
                name##_4(p, rows, last - 4, y);                                                    \
            return last;                                                                           \
        }                                                                                          \
        /* LDNQ_POOLING_EVEN loads one float beyond the last tap, so the last output is left */    \
        /* to the scalar code. */                                                                  \
        if (p->axis[2].stride == 2 && i + 4 < last) {                                              \
            for (; i + 16 < last; i += 16)                                                         \
                name##_evens(p, rows, i, y);                                                       \
            for (; i + 4 < last; i += 4)                                                           \
                name##_even(p, rows, i, y);                                                        \
            name##_even(p, rows, last - 5, y);                                                     \
            return last - 1;                                                                       \
        }                                                                                          \
        return i;                                                                                  \
    }                                                                                              \
    static void name(const struct ldnq_pooling *p, struct ldnq_pooling_row row, float *y)          \
    {                                                                                              \
        const struct ldnq_pooling_input_rows rows_at = ldnq_pooling_find_input_rows(p, row);       \
        const struct ldnq_pooling_input_rows *rows = &rows_at;                                     \
        size_t done = p->inner_first;                                                              \
        for (size_t i = 0; i < done && i < p->axis[2].out; i++)                                    \
            name##_one(p, rows, i, y);                                                             \
        if (done < p->inner_last)                                                                  \
            done = name##_middle(p, rows, y);                                                      \
        for (size_t i = done; i < p->axis[2].out; i++)                                             \
            name##_one(p, rows, i, y);                                                             \
    }

#endif
