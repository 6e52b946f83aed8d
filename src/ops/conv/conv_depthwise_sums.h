/* conv_depthwise_sums.h: the innermost loops of conv_depthwise.c, for one instruction
 * set. Included once for each, with these defined:
 *
 * SUMS(name)   name, with something behind it
 * SUMS_CLAMP   the clamp of SUMS(lanes), which base/lanes.h makes
 * SUMS_LANES   floats of a vector
 * SUMS_TARGET  attributes
 *
 * Each element is one chain of sums over the taps, from the bias on.
 */

static inline __attribute__((always_inline)) void
SUMS(write_rows)(const struct depthwise *d, SUMS(lanes) * sum, float *y, size_t rows,
                 const struct store_extent *extent)
{
    float values[ROWS * SUMS_LANES];
    if (d->is_clamped)
        for (size_t i = 0; i < rows; i++)
            SUMS_CLAMP(&sum[i], d->low, d->high);
    if (extent->whole == rows) {
        for (size_t i = 0; i < rows; i++)
            *(SUMS(lanes) *)(y + i * d->out_row) = sum[i];
        return;
    }
    for (size_t i = 0; i < rows; i++)
        *(SUMS(lanes) *)(values + i * SUMS_LANES) = sum[i];
    write_parts(values, SUMS_LANES, y, d->out_row, rows, extent);
}

/* `rows` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void SUMS(sum_rows)(const struct depthwise *d,
                                                                 const float *in, float *y,
                                                                 size_t rows,
                                                                 const struct store_extent *extent)
{
    const size_t apart = d->in_row;
    SUMS(lanes) sum[ROWS];
    for (size_t i = 0; i < rows; i++)
        sum[i] = (SUMS(lanes)){ 0 } + d->bias;
    for (size_t tap = 0; tap < d->taps; tap++) {
        const float *x = in + d->offsets[tap];
        const float w = d->weight[tap];
        for (size_t i = 0; i < rows; i++)
            sum[i] += *(const SUMS(lanes) *)(x + i * apart) * w;
    }
    SUMS(write_rows)(d, sum, y, rows, extent);
}

/* As above for a square kernel whose taps are neighbours: an input line is loaded
 * once for all output rows that read it. The order of each row's taps is the same. */
static inline __attribute__((always_inline)) void
SUMS(share_rows)(const struct depthwise *d, const float *in, float *y, size_t rows, size_t kernel,
                 const struct store_extent *extent)
{
    const size_t apart = d->in_row;
    SUMS(lanes) sum[ROWS];
    for (size_t i = 0; i < rows; i++)
        sum[i] = (SUMS(lanes)){ 0 } + d->bias;
#pragma GCC unroll 16
    for (size_t line = 0; line < rows + kernel - 1; line++) {
#pragma GCC unroll 8
        for (size_t kw = 0; kw < kernel; kw++) {
            const SUMS(lanes) x = *(const SUMS(lanes) *)(in + line * apart + kw);
#pragma GCC unroll 8
            for (size_t i = 0; i < rows; i++)
                if (line >= i && line < i + kernel)
                    sum[i] += x * d->weight[(line - i) * kernel + kw];
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
SUMS(run_vector)(const struct depthwise *d, const float *in, float *y, size_t rows, size_t kernel,
                 const struct store_extent *extent)
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

/* Up to ROWS rows, columns `first` to `last`. A line's last vector may be written as a
 * whole if there is room behind it: over the starts of lines that are still to
 * come, which is why the vectors go backwards. */
SUMS_TARGET
static void SUMS(run_rows)(const struct depthwise *d, const float *in, float *y, size_t rows,
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
        else
            SUMS(run_vector)(d, in + at, y + at, rows, 0, &extent);
    }
}

#undef SUMS_CASE
#undef SUMS
#undef SUMS_CLAMP
#undef SUMS_LANES
#undef SUMS_TARGET
