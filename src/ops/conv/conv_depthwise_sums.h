/* SPDX-License-Identifier: Apache-2.0 */
/* conv_depthwise_sums.h: the innermost loops of conv_depthwise.c for one instruction
 * set. conv_depthwise.c includes it once per instruction set, with these macros defined:
 *
 * SUMS(name)   name with a suffix for the instruction set
 * SUMS_CLAMP   the clamp for SUMS(lanes), made by base/lanes.h
 * SUMS_LANES   floats per vector
 * SUMS_TARGET  function attributes
 *
 * Numbers  an output element is one chain of sums that starts with the bias and adds the
 *          taps in their order
 */

static inline __attribute__((always_inline)) void
SUMS(write_rows)(const struct depthwise_plane *d, SUMS(lanes) * sum, float *y, size_t rows,
                 const struct store_extent *extent)
{
    float values[ROWS * SUMS_LANES];
    if (d->is_clamped)
        for (size_t i = 0; i < rows; i++)
            SUMS_CLAMP(&sum[i], d->low, d->high);
    for (size_t i = 0; i < rows; i++)
        if (i < extent->whole)
            *(SUMS(lanes) *)(y + i * d->out_row) = sum[i];
    if (extent->whole == rows)
        return;
    for (size_t i = 0; i < rows; i++)
        *(SUMS(lanes) *)(values + i * SUMS_LANES) = sum[i];
    write_parts(values, SUMS_LANES, y, d->out_row, rows, extent);
}

/* One vector in each of `rows` output rows; `rows` is a constant at every call. */
static inline __attribute__((always_inline)) void SUMS(sum_rows)(const struct depthwise_plane *d,
                                                                 const float *in, float *y,
                                                                 size_t rows,
                                                                 const struct store_extent *extent)
{
    const size_t row_step = d->in_row;
    SUMS(lanes) sum[ROWS];
    for (size_t i = 0; i < rows; i++)
        sum[i] = (SUMS(lanes)){ 0 } + d->bias;
    for (size_t tap = 0; tap < d->taps; tap++) {
        const float *x = in + d->offsets[tap];
        const float w = d->weight[tap];
        for (size_t i = 0; i < rows; i++)
            sum[i] += *(const SUMS(lanes) *)(x + i * row_step) * w;
    }
    SUMS(write_rows)(d, sum, y, rows, extent);
}

/* sum_rows for a square kernel without dilation and stride: every input row is loaded
 * once for all output rows that read it. The taps of an output row keep their order. */
static inline __attribute__((always_inline)) void
SUMS(share_rows)(const struct depthwise_plane *d, const float *in, float *y, size_t rows,
                 size_t kernel, const struct store_extent *extent)
{
    const size_t row_step = d->in_row;
    SUMS(lanes) sum[ROWS];
    for (size_t i = 0; i < rows; i++)
        sum[i] = (SUMS(lanes)){ 0 } + d->bias;
    LDNQ_UNROLL(16)
    for (size_t input_row = 0; input_row < rows + kernel - 1; input_row++) {
        LDNQ_UNROLL(8)
        for (size_t kw = 0; kw < kernel; kw++) {
            const SUMS(lanes) x = *(const SUMS(lanes) *)(in + input_row * row_step + kw);
            LDNQ_UNROLL(8)
            for (size_t i = 0; i < rows; i++)
                if (input_row >= i && input_row < i + kernel)
                    sum[i] += x * d->weight[(input_row - i) * kernel + kw];
        }
    }
    SUMS(write_rows)(d, sum, y, rows, extent);
}

#define SUMS_CASE(n)                                                                               \
    case n:                                                                                        \
        if (kernel)                                                                                \
            SUMS(share_rows)(d, in, y, n, kernel, extent);                                         \
        else                                                                                       \
            SUMS(sum_rows)(d, in, y, n, extent);                                                   \
        break

static inline __attribute__((always_inline)) void
SUMS(run_vector)(const struct depthwise_plane *d, const float *in, float *y, size_t rows,
                 size_t kernel, const struct store_extent *extent)
{
    switch (rows) {
        SUMS_CASE(1);
        SUMS_CASE(2);
        SUMS_CASE(3);
        SUMS_CASE(4);
        SUMS_CASE(5);
        SUMS_CASE(6);
        SUMS_CASE(7);
        SUMS_CASE(8);
    default:
        break;
    }
}

/* Up to ROWS rows, columns first .. last-1. The last vector of a row is stored as a whole
 * if y has room: it then overwrites the start of the next row, which is computed after
 * it, because the vectors of a row run from right to left. */
SUMS_TARGET
static void SUMS(run_rows)(const struct depthwise_plane *d, const float *in, float *y, size_t rows,
                           size_t room, size_t first, size_t last)
{
    for (size_t i = ldnq_size_ceil_div(last - first, SUMS_LANES); i-- > 0;) {
        size_t at = first + i * SUMS_LANES;
        struct store_extent extent = { .whole = rows,
                                       .count = ldnq_size_min(SUMS_LANES, last - at) };
        if (extent.count < SUMS_LANES && (!d->spills || room < at + SUMS_LANES))
            extent.whole = 0;
        else if (extent.count < SUMS_LANES)
            extent.whole = ldnq_size_min(rows, (room - at - SUMS_LANES) / d->out_row + 1);
        if (d->shared == 3)
            SUMS(run_vector)(d, in + at, y + at, rows, 3, &extent);
        else if (d->shared == 5)
            SUMS(run_vector)(d, in + at, y + at, rows, 5, &extent);
        else if (d->shared == 7)
            SUMS(run_vector)(d, in + at, y + at, rows, 7, &extent);
        else
            SUMS(run_vector)(d, in + at, y + at, rows, 0, &extent);
    }
}

#undef SUMS_CASE
#undef SUMS
#undef SUMS_CLAMP
#undef SUMS_LANES
#undef SUMS_TARGET
