/* SPDX-License-Identifier: Apache-2.0 */
/* conv_direct_sums.h: the innermost loop of conv_direct.c for one instruction set.
 * conv_direct.c includes it once per instruction set, with these macros defined:
 *
 * SUMS(name)     name with a suffix for the instruction set
 * SUMS_CLAMP     the clamp for SUMS(lanes), made by base/lanes.h
 * SUMS_LANES     floats per vector = output positions per run
 * SUMS_CHANNELS  output channels per block: 4 or 6
 * SUMS_RUNS      runs per block
 * SUMS_PAIR      joins two half vectors SUMS(halves) into one vector; may be undefined
 * SUMS_TARGET    function attributes
 *
 * Numbers  an output element is one chain of sums over the K taps in their order,
 *          whatever its block. Its bits depend only on whether the processor fuses a
 *          product and a sum.
 */

/* Stores a run that is shorter than a vector or whose halves are in two rows. */
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

/* Adds the bias to the sums of channel `i` of the block, clamps and stores them. */
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

/* Loads a run's inputs for one tap. */
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

/* sum[channel][run] over all taps. `channels` and `is_paired` are constants at every
 * call, so that all sums stay in registers. */
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

/* All blocks of runs in `at`, for one block of output channels. */
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
static void SUMS(run)(const struct direct_sums *sums, const struct direct_positions *at,
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
