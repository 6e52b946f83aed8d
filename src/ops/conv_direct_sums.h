/* conv_direct_sums.h: the innermost loop of conv_direct.c, for one length of
 * vectors. Included once for each, with these defined:
 *
 * SUMS(name)  name, with something behind it
 * SUMS_CLAMP  the clamp of SUMS(lanes), which base/lanes.h makes
 * SUMS_LANES  floats of a vector, which is a run of output positions
 */

/* Adds the bias, clamps and writes what channel `i` of the block has summed up. */
static inline __attribute__((always_inline)) void
SUMS(finish_channel)(const struct sums *sums, size_t i, SUMS(lanes) *values,
                     const struct positions *at)
{
    const struct ldnq_conv_job *job = sums->job;
    const struct ldnq_clamp *clamp = job->clamp;
    float bias = job->bias ? job->bias[sums->channel + i] : 0.0f;
    float *plane = sums->y + i * job->geometry.out_h * job->geometry.out_w;
    for (size_t run = 0; run < RUNS; run++) {
        values[run] += bias;
        if (clamp)
            SUMS_CLAMP(&values[run], clamp->low, clamp->high);
        if (at->count[run] == SUMS_LANES)
            *(SUMS(lanes) *)(plane + at->out[run]) = values[run];
        else
            memcpy(plane + at->out[run], &values[run], at->count[run] * sizeof(float));
    }
}

/* `channels` is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void
SUMS(sum_block)(const struct sums *sums, const struct positions *at, size_t channels)
{
    SUMS(lanes) sum[CHANNELS][RUNS];
    const float *a = at->in[0], *b = at->in[1], *c = at->in[2], *w = sums->weight;
    for (size_t i = 0; i < channels; i++)
        for (size_t run = 0; run < RUNS; run++)
            sum[i][run] = (SUMS(lanes)){ 0 };
    for (size_t tap = 0; tap < sums->taps; tap++) {
        SUMS(lanes) x0 = *(const SUMS(lanes) *)(a + sums->offsets[tap]);
        SUMS(lanes) x1 = *(const SUMS(lanes) *)(b + sums->offsets[tap]);
        SUMS(lanes) x2 = *(const SUMS(lanes) *)(c + sums->offsets[tap]);
        for (size_t i = 0; i < channels; i++) {
            sum[i][0] += x0 * w[i * sums->taps + tap];
            sum[i][1] += x1 * w[i * sums->taps + tap];
            sum[i][2] += x2 * w[i * sums->taps + tap];
        }
    }
    for (size_t i = 0; i < channels; i++)
        SUMS(finish_channel)(sums, i, sum[i], at);
}

/* All positions of a list for one block of channels. */
LDNQ_MULTIVERSION_FMA
static void SUMS(sum_channels)(const struct sums *sums, const struct positions *at, size_t count,
                               size_t channels)
{
    for (size_t i = 0; i < count; i++) {
        switch (channels) {
        case 4:
            SUMS(sum_block)(sums, &at[i], 4);
            break;
        case 3:
            SUMS(sum_block)(sums, &at[i], 3);
            break;
        case 2:
            SUMS(sum_block)(sums, &at[i], 2);
            break;
        default:
            SUMS(sum_block)(sums, &at[i], 1);
            break;
        }
    }
}

#undef SUMS
#undef SUMS_CLAMP
#undef SUMS_LANES
