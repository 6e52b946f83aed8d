/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/pool/maxpool_indices.h"

#include "ops/pool/pooling.h"

/* Turns a row-major index into a plane (D, H, W) into a column-major one. */
static size_t convert_index_to_column_major(const struct ldnq_pooling *p, size_t at)
{
    size_t w = at % p->axis[2].in, rest = at / p->axis[2].in;
    size_t h = rest % p->axis[1].in, d = rest / p->axis[1].in;
    return d + p->axis[0].in * (h + p->axis[1].in * w);
}

/* The index in its plane of the maximum of output i of a row. */
#define FIND(name, T)                                                                              \
    static size_t name##_at(const struct ldnq_pooling *p, struct ldnq_pooling_row row, size_t i)   \
    {                                                                                              \
        const struct ldnq_pooling_axis *axis = p->axis;                                            \
        const struct ldnq_pooling_taps in_d = ldnq_pooling_find_taps(&axis[0], row.od);            \
        const struct ldnq_pooling_taps in_h = ldnq_pooling_find_taps(&axis[1], row.oh);            \
        const struct ldnq_pooling_taps in_w = ldnq_pooling_find_taps(&axis[2], i);                 \
        size_t plane = axis[0].in * axis[1].in * axis[2].in, best = 0;                             \
        const T *x = (const T *)p->x + row.plane * plane;                                          \
        bool found = false;                                                                        \
        for (size_t d = 0; d < in_d.count; d++)                                                    \
            for (size_t h = 0; h < in_h.count; h++) {                                              \
                size_t id = in_d.at + d * (size_t)axis[0].dilation;                                \
                size_t ih = in_h.at + h * (size_t)axis[1].dilation;                                \
                size_t at = (id * axis[1].in + ih) * axis[2].in + in_w.at;                         \
                for (size_t k = 0; k < in_w.count; k++, at += (size_t)axis[2].dilation) {          \
                    if (found && !(x[at] > x[best]))                                               \
                        continue;                                                                  \
                    best = at;                                                                     \
                    found = true;                                                                  \
                }                                                                                  \
            }                                                                                      \
        return best;                                                                               \
    }                                                                                              \
    static void name(const void *ctx, size_t first, size_t last)                                   \
    {                                                                                              \
        const struct ldnq_pooling *p = ctx;                                                        \
        size_t plane = p->axis[0].in * p->axis[1].in * p->axis[2].in, width = p->axis[2].out;      \
        for (size_t row = first; row < last; row++) {                                              \
            struct ldnq_pooling_row at = ldnq_pooling_find_row(p, row);                            \
            int64_t *out = (int64_t *)p->y + row * width;                                          \
            for (size_t i = 0; i < width; i++) {                                                   \
                size_t best = name##_at(p, at, i);                                                 \
                best = p->column_major ? convert_index_to_column_major(p, best) : best;            \
                out[i] = (int64_t)(at.plane * plane + best);                                       \
            }                                                                                      \
        }                                                                                          \
    }

FIND(find_float, float)
FIND(find_int8, int8_t)
FIND(find_uint8, uint8_t)

enum ldnq_status ldnq_maxpool_indices(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_op_call indices = *call;
    enum ldnq_dtype dtype = call->in[0]->dtype;
    indices.out = call->out + 1;
    indices.out_count = 1;
    struct ldnq_pooling pooling;
    LDNQ_TRY(ldnq_pooling_make_forward(&indices, &pooling, err));
    ldnq_pooling_run_rows(&indices, &pooling,
                          dtype == LDNQ_FLOAT  ? find_float
                          : dtype == LDNQ_INT8 ? find_int8
                                               : find_uint8);
    return LDNQ_OK;
}
