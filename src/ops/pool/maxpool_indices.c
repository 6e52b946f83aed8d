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
        size_t plane = axis[0].in * axis[1].in * axis[2].in, best = 0, id, ih, iw;                 \
        const T *x = (const T *)p->x + row.plane * plane;                                          \
        bool found = false;                                                                        \
        for (size_t d = 0; d < axis[0].kernel; d++)                                                \
            for (size_t h = 0; h < axis[1].kernel; h++) {                                          \
                if (!ldnq_pooling_tap(&axis[0], row.od, d, &id) ||                                 \
                    !ldnq_pooling_tap(&axis[1], row.oh, h, &ih))                                   \
                    continue;                                                                      \
                for (size_t k = 0; k < axis[2].kernel; k++) {                                      \
                    size_t at = (id * axis[1].in + ih) * axis[2].in;                               \
                    if (!ldnq_pooling_tap(&axis[2], i, k, &iw) ||                                  \
                        (found && !(x[at + iw] > x[best])))                                        \
                        continue;                                                                  \
                    best = at + iw;                                                                \
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
    return ldnq_pooling_run_rows(&indices,
                                 dtype == LDNQ_FLOAT  ? find_float
                                 : dtype == LDNQ_INT8 ? find_int8
                                                      : find_uint8,
                                 err);
}
