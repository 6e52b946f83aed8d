/* conv_direct_sums.h: the innermost loop of conv_direct.c, for one instruction set.
 * Included once for each, with these defined:
 *
 * SUMS(name)     name, with something behind it
 * SUMS_CLAMP     the clamp of SUMS(lanes), which base/lanes.h makes
 * SUMS_LANES     floats of a vector, which is a run of output positions
 * SUMS_CHANNELS  output channels of a block: 4 or 6
 * SUMS_RUNS      runs of a block
 * SUMS_PAIR      of two vectors half as long, SUMS(halves), the long one; or undefined
 * SUMS_TARGET    attributes
 *
 * Each element is one chain of sums over the taps, whatever the block: its bits
 * depend on whether the processor fuses a product with a sum, and on nothing else.
 */

/* Writes the halves of a run that are shorter, or lie apart. */
static inline __attribute__((always_inline)) void SUMS(write_part)(const struct direct_sums *sums,
                                                                   const SUMS(lanes) * value,
                                                                   const size_t count[2], float *y)
{
    float values[SUMS_LANES];
    *(SUMS(lanes) *)values = *value;
    for (size_t i = 0; i < count[0]; i++)
        y[i] = values[i];
    for (size_t i = 0; i < count[1]; i++)
        y[sums->out_half + i] = values[SUMS_LANES / 2 + i];
}

/* Adds the bias, clamps and writes what channel `i` of the block has summed up. */
static inline __attribute__((always_inline)) void
SUMS(finish_channel)(const struct direct_sums *sums, size_t i, const SUMS(lanes) * values,
                     const struct direct_positions *at)
{
    const struct ldnq_conv_job *job = sums->job;
    const struct ldnq_clamp *clamp = job->clamp;
    float bias = job->bias ? job->bias[sums->channel + i] : 0.0f;
    float *plane = sums->y + i * job->geometry.out_h * job->geometry.out_w;
    for (size_t run = 0; run < SUMS_RUNS; run++) {
        SUMS(lanes) value = values[run] + bias;
        if (clamp)
            SUMS_CLAMP(&value, clamp->low, clamp->high);
        if (at->is_whole[run])
            *(SUMS(lanes) *)(plane + at->out[run]) = value;
        else
            SUMS(write_part)(sums, &value, at->count[run], plane + at->out[run]);
    }
}

/* A run's inputs of one tap. */
static inline __attribute__((always_inline)) void SUMS(load)(SUMS(lanes) * to, const float *x,
                                                             size_t half, bool is_paired)
{
    *to = *(const SUMS(lanes) *)x;
#ifdef SUMS_PAIR
    if (is_paired)
        *to = SUMS_PAIR(*(const SUMS(halves) *)x, *(const SUMS(halves) *)(x + half));
#else
    (void)half;
    (void)is_paired;
#endif
}

/* `channels` and `is_paired` are constants wherever this is inlined, and all sums stay
 * in registers. */
static inline __attribute__((always_inline)) void SUMS(sum_block)(const struct direct_sums *sums,
                                                                  const struct direct_positions *at,
                                                                  size_t channels, bool is_paired)
{
    SUMS(lanes) sum[SUMS_CHANNELS][SUMS_RUNS];
    const float *w = sums->weight;
    const size_t taps = sums->taps, half = sums->in_half;
    for (size_t i = 0; i < channels; i++)
        for (size_t run = 0; run < SUMS_RUNS; run++)
            sum[i][run] = (SUMS(lanes)){ 0 };
    for (size_t tap = 0; tap < taps; tap++) {
        SUMS(lanes) x[SUMS_RUNS];
        for (size_t run = 0; run < SUMS_RUNS; run++)
            SUMS(load)(&x[run], at->in[run] + sums->offsets[tap], half, is_paired);
        for (size_t i = 0; i < channels; i++)
            for (size_t run = 0; run < SUMS_RUNS; run++)
                sum[i][run] += x[run] * w[i * taps + tap];
    }
    for (size_t i = 0; i < channels; i++)
        SUMS(finish_channel)(sums, i, sum[i], at);
}

#define SUMS_CASE(count)                                                                           \
    case count:                                                                                    \
        SUMS(sum_block)(sums, &at[i], count, is_paired);                                           \
        break

/* All positions of a list for one block of channels. */
static inline __attribute__((always_inline)) void SUMS(sum_list)(const struct direct_sums *sums,
                                                                 const struct direct_positions *at,
                                                                 size_t count, size_t channels,
                                                                 bool is_paired)
{
    for (size_t i = 0; i < count; i++) {
        switch (channels) {
            SUMS_CASE(1);
            SUMS_CASE(2);
            SUMS_CASE(3);
            SUMS_CASE(4);
#if SUMS_CHANNELS == 6
            SUMS_CASE(5);
            SUMS_CASE(6);
#endif
        default:
            break;
        }
    }
}

SUMS_TARGET
static void SUMS(sum_channels)(const struct direct_sums *sums, const struct direct_positions *at,
                               size_t count, size_t channels)
{
#ifdef SUMS_PAIR
    if (sums->is_paired) {
        SUMS(sum_list)(sums, at, count, channels, true);
        return;
    }
#endif
    SUMS(sum_list)(sums, at, count, channels, false);
}

#undef SUMS_CASE
#undef SUMS
#undef SUMS_CLAMP
#undef SUMS_LANES
#undef SUMS_CHANNELS
#undef SUMS_RUNS
#undef SUMS_PAIR
#undef SUMS_TARGET
