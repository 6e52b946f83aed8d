/* pooling_blocks.h: an output row of floats out of the lines under its window, several
 * outputs at a time in registers over all taps.
 *
 * LDNQ_POOLING_ROW(name, START, MERGE, ONE) makes
 *   void name(pooling, row, y)   y (OW): START merged with the taps of all lines in
 *                                their order, padding left out
 * MERGE(acc, v, bits) is a statement on vectors of floats, bits the type of their masks;
 * ONE(acc, v) the same on a float. Strides above 2 go element by element.
 */
#ifndef LDNQ_OPS_POOLING_BLOCKS_H
#define LDNQ_OPS_POOLING_BLOCKS_H

#include "base/lanes.h"
#include "base/simd.h"
#include "ops/pool/pooling.h"

/* The lines under a window that are no padding: `lines` in each of `planes`. */
struct ldnq_pooling_lines {
    const float *first;
    size_t planes, lines;
    ptrdiff_t plane, line; /* from one to the next */
};

/* The taps first .. last-1 of output o that are no padding. */
static inline void ldnq_pooling_inside(const struct ldnq_pooling_axis *axis, size_t o,
                                       size_t *first, size_t *last, size_t *at)
{
    size_t place;
    for (*first = 0; *first < axis->kernel && !ldnq_pooling_tap(axis, o, *first, at);)
        ++*first;
    for (*last = *first; *last < axis->kernel && ldnq_pooling_tap(axis, o, *last, &place);)
        ++*last;
}

static inline struct ldnq_pooling_lines ldnq_pooling_lines_of(const struct ldnq_pooling *p,
                                                              struct ldnq_pooling_row at)
{
    const struct ldnq_pooling_axis *d = &p->axis[0], *h = &p->axis[1];
    const size_t width = p->axis[2].in;
    size_t first_d, last_d, first_h, last_h, id, ih;
    ldnq_pooling_inside(d, at.od, &first_d, &last_d, &id);
    ldnq_pooling_inside(h, at.oh, &first_h, &last_h, &ih);
    struct ldnq_pooling_lines lines = { .planes = last_d - first_d,
                                        .lines = last_h - first_h,
                                        .plane = d->dilation * (ptrdiff_t)(h->in * width),
                                        .line = h->dilation * (ptrdiff_t)width };
    if (lines.planes > 0 && lines.lines > 0)
        lines.first = (const float *)p->x + ((at.plane * d->in + id) * h->in + ih) * width;
    else
        lines.planes = 0;
    return lines;
}

LDNQ_LANES(pooling_4, 4)
LDNQ_LANES(pooling_16, 16)

#define LDNQ_POOLING_LOAD(type, at) (*(const type *)(const void *)(at))
#define LDNQ_POOLING_NEXT(type, at) LDNQ_POOLING_LOAD(type, at)
/* Every second of eight. */
#define LDNQ_POOLING_EVEN(type, at)                                                                \
    __builtin_shufflevector(LDNQ_POOLING_LOAD(type, at), LDNQ_POOLING_LOAD(type, (at) + 4), 0, 2,  \
                            4, 6)

/* Outputs from i on, PARTS vectors of them, all of whose taps read inside of the lines. */
#define LDNQ_POOLING_BLOCK(name, LANES, PARTS, STRIDE, LOAD, START, MERGE)                         \
    static inline __attribute__((always_inline)) void name(                                        \
        const struct ldnq_pooling *p, const struct ldnq_pooling_lines *lines, size_t i, float *y)  \
    {                                                                                              \
        const size_t kernel = p->axis[2].kernel, step = sizeof(LANES) / sizeof(float);             \
        const ptrdiff_t dilation = p->axis[2].dilation;                                            \
        LANES acc[PARTS];                                                                          \
        for (size_t part = 0; part < PARTS; part++)                                                \
            acc[part] = (LANES){ 0 } + (START);                                                    \
        for (size_t d = 0; d < lines->planes; d++) {                                               \
            const float *line = lines->first + (ptrdiff_t)d * lines->plane;                        \
            line += (ptrdiff_t)i * STRIDE - p->axis[2].begin;                                      \
            for (size_t h = 0; h < lines->lines; h++, line += lines->line) {                       \
                const float *at = line;                                                            \
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
    static void name##_one(const struct ldnq_pooling *p, const struct ldnq_pooling_lines *lines,   \
                           size_t i, float *y)                                                     \
    {                                                                                              \
        float acc = (START);                                                                       \
        size_t first, last, at;                                                                    \
        ldnq_pooling_inside(&p->axis[2], i, &first, &last, &at);                                   \
        for (size_t d = 0; d < lines->planes; d++) {                                               \
            for (size_t h = 0; h < lines->lines; h++) {                                            \
                const float *x = lines->first + (ptrdiff_t)d * lines->plane;                       \
                x += (ptrdiff_t)h * lines->line;                                                   \
                for (size_t k = first; k < last; k++)                                              \
                    ONE(acc, x[at + (k - first) * (size_t)p->axis[2].dilation]);                   \
            }                                                                                      \
        }                                                                                          \
        y[i] = acc;                                                                                \
    }                                                                                              \
    /* The last block ends where the middle does, and may do some outputs again. */                \
    LDNQ_MULTIVERSION                                                                              \
    static size_t name##_middle(const struct ldnq_pooling *p,                                      \
                                const struct ldnq_pooling_lines *lines, float *y)                  \
    {                                                                                              \
        size_t i = p->inner_first, last = p->inner_last;                                           \
        if (p->axis[2].stride == 1 && i + 4 <= last) {                                             \
            for (; i + 16 <= last; i += 16)                                                        \
                name##_16(p, lines, i, y);                                                         \
            for (; i + 4 <= last; i += 4)                                                          \
                name##_4(p, lines, i, y);                                                          \
            if (i < last)                                                                          \
                name##_4(p, lines, last - 4, y);                                                   \
            return last;                                                                           \
        }                                                                                          \
        /* Reads one element behind the last tap, which a further output must have. */             \
        if (p->axis[2].stride == 2 && i + 4 < last) {                                              \
            for (; i + 16 < last; i += 16)                                                         \
                name##_evens(p, lines, i, y);                                                      \
            for (; i + 4 < last; i += 4)                                                           \
                name##_even(p, lines, i, y);                                                       \
            name##_even(p, lines, last - 5, y);                                                    \
            return last - 1;                                                                       \
        }                                                                                          \
        return i;                                                                                  \
    }                                                                                              \
    static void name(const struct ldnq_pooling *p, struct ldnq_pooling_row row, float *y)          \
    {                                                                                              \
        const struct ldnq_pooling_lines lines_at = ldnq_pooling_lines_of(p, row);                  \
        const struct ldnq_pooling_lines *lines = &lines_at;                                        \
        size_t done = p->inner_first;                                                              \
        for (size_t i = 0; i < done && i < p->axis[2].out; i++)                                    \
            name##_one(p, lines, i, y);                                                            \
        if (done < p->inner_last)                                                                  \
            done = name##_middle(p, lines, y);                                                     \
        for (size_t i = done; i < p->axis[2].out; i++)                                             \
            name##_one(p, lines, i, y);                                                            \
    }

#endif
