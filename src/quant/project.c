/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/project.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"

/* Codes and scale converge after two to five rounds; int8 takes longer, with changes far
 * below its step. */
#define MAX_ROUNDS 10

/* ---- one pass over a span ------------------------------------------------- */

static bool has_uniform_steps(const struct ldnq_codebook *codebook)
{
    int width = codebook->codes[codebook->count - 1] - codebook->codes[0];
    return width == (int)codebook->count - 1;
}

/* Beyond every code. */
#define ROUNDING_BOUND 256.0

/* Added to a small double it leaves no fraction, so that the sum is rounded. */
#define ROUNDING 0x1.8p52

/* Rounds half toward zero, then clamps. Without branches and round(), so that compilers
 * vectorize it for any x86-64. The bound keeps the conversion to int defined. */
LDNQ_MULTIVERSION
static void round_row(const struct ldnq_codebook *codebook, const double *v, size_t n,
                      double inverse, int8_t *codes)
{
    const int lowest = codebook->codes[0], highest = codebook->codes[codebook->count - 1];
    for (size_t i = 0; i < n; i++) {
        double x = v[i] * inverse, size = fabs(x);
        size = size < ROUNDING_BOUND ? size : ROUNDING_BOUND;
        int code = (int)(size + 0.5);
        code -= code - size >= 0.5;
        code = x < 0 ? -code : code;
        code = code < lowest ? lowest : code;
        codes[i] = (int8_t)(code > highest ? highest : code);
    }
}

/* Codebooks that are not uniform are symmetric: |code| is the sum of the gaps between
 * codes whose midpoint is below |x|. */
static void round_row_to_codebook(const struct ldnq_codebook *codebook, const double *v, size_t n,
                                  double inverse, int8_t *codes)
{
    const int16_t *positive = codebook->codes + codebook->count / 2;
    const size_t steps = codebook->count / 2;
    for (size_t i = 0; i < n; i++) {
        double x = v[i] * inverse, size = fabs(x);
        int code = 0;
        for (size_t j = 0; j < steps; j++) {
            int from = positive[j], to = positive[j + 1];
            code += size > 0.5 * (from + to) ? to - from : 0;
        }
        codes[i] = (int8_t)(x < 0 ? -code : code);
    }
}

/* Four independent sums, so that additions overlap. */
LDNQ_MULTIVERSION
static double dot_values_with_codes(const double *v, const int8_t *codes, size_t n)
{
    double sum[4] = { 0 };
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            sum[j] += v[i + j] * codes[i + j];
    for (; i < n; i++)
        sum[0] += v[i] * codes[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

LDNQ_MULTIVERSION
static int64_t sum_squared_codes(const int8_t *codes, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += codes[i] * codes[i];
    return sum;
}

void ldnq_project_codes(const struct ldnq_codebook *codebook, struct ldnq_span *span, float scale)
{
    const double inverse = 1 / (double)scale;
    const bool uniform = has_uniform_steps(codebook);
    double vq = 0;
    int64_t qq = 0;
    for (size_t row = 0; row < span->rows; row++) {
        const double *v = span->v + row * span->v_stride;
        int8_t *codes = span->codes + row * span->length;
        (uniform ? round_row : round_row_to_codebook)(codebook, v, span->length, inverse, codes);
        vq += dot_values_with_codes(v, codes, span->length);
        qq += sum_squared_codes(codes, span->length);
    }
    span->vq = span->weight * vq;
    span->qq = span->weight * (double)qq;
}

/* The code of round_row as a double. */
static inline __attribute__((always_inline)) double find_code(double x, double lowest,
                                                              double highest)
{
    double size = fabs(x);
    size = size < ROUNDING_BOUND ? size : ROUNDING_BOUND;
    double code = (size + ROUNDING) - ROUNDING;
    code = code - size >= 0.5 ? code - 1 : code;
    code = x < 0 ? -code : code;
    code = code < lowest ? lowest : code;
    return code > highest ? highest : code;
}

/* Adds the sums of dot_values_with_codes and sum_squared_codes, to the bit, without storing the
 * codes. */
LDNQ_MULTIVERSION
static void add_sums_of_row(const struct ldnq_codebook *codebook, const double *v, size_t n,
                            double inverse, double *vq, double *qq)
{
    const double lowest = codebook->codes[0], highest = codebook->codes[codebook->count - 1];
    double products[4] = { 0 }, squares[4] = { 0 };
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++) {
            const double code = find_code(v[i + j] * inverse, lowest, highest);
            products[j] += v[i + j] * code;
            squares[j] += code * code;
        }
    for (; i < n; i++) {
        const double code = find_code(v[i] * inverse, lowest, highest);
        products[0] += v[i] * code;
        squares[0] += code * code;
    }
    *vq += (products[0] + products[1]) + (products[2] + products[3]);
    *qq += (squares[0] + squares[1]) + (squares[2] + squares[3]);
}

/* Sets the sums of ldnq_project_codes. Codes of a codebook that is not uniform are stored. */
static void measure_codes(const struct ldnq_codebook *codebook, struct ldnq_span *span, float scale)
{
    double vq = 0, qq = 0;
    if (!has_uniform_steps(codebook)) {
        ldnq_project_codes(codebook, span, scale);
        return;
    }
    for (size_t row = 0; row < span->rows; row++)
        add_sums_of_row(codebook, span->v + row * span->v_stride, span->length, 1 / (double)scale,
                        &vq, &qq);
    span->vq = span->weight * vq;
    span->qq = span->weight * qq;
}

/* The sum over a row has this many parts, values i, i + PARTS, i + 2 PARTS ... each, which are
 * added up one after the other. */
#define PARTS ((size_t)16)

/* Scales that are tried side by side: sums of one scale wait for one another. */
#define LANES 16

/* Clamps, then rounds: to even halfway between two codes, which are equally near. */
static inline __attribute__((always_inline)) void
add_part_of_trials(const double *v, size_t i, size_t n, double lowest, double highest,
                   const double *inverses, double *vq, double *qq)
{
    double products[LANES] = { 0 }, squares[LANES] = { 0 };
    for (; i < n; i += PARTS)
        for (size_t lane = 0; lane < LANES; lane++) {
            double x = v[i] * inverses[lane];
            x = x > lowest ? x : lowest;
            x = x < highest ? x : highest;
            const double code = (x + ROUNDING) - ROUNDING;
            products[lane] += v[i] * code;
            squares[lane] += code * code;
        }
    for (size_t lane = 0; lane < LANES; lane++) {
        vq[lane] += products[lane];
        qq[lane] += squares[lane];
    }
}

/* Adds the sums of ldnq_project_codes for a uniform codebook, without the codes, at LANES scales.
 */
LDNQ_MULTIVERSION
static void add_sums_of_trials(const struct ldnq_codebook *codebook, const double *v, size_t n,
                               const double *inverses, double *vq, double *qq)
{
    const double lowest = codebook->codes[0], highest = codebook->codes[codebook->count - 1];
    for (size_t part = 0; part < ldnq_size_min(n, PARTS); part++)
        add_part_of_trials(v, part, n, lowest, highest, inverses, vq, qq);
}

/* Computes the sums at the scales that are tried; the codes are not kept. */
static void measure_scales(const struct ldnq_codebook *codebook, struct ldnq_span *span,
                           const float *scales)
{
    double inverses[LDNQ_TRIAL_SCALES];
    memset(span->trial_vq, 0, sizeof span->trial_vq);
    memset(span->trial_qq, 0, sizeof span->trial_qq);
    for (size_t i = 0; i < LDNQ_TRIAL_SCALES; i++)
        inverses[i] = 1 / (double)scales[i];
    if (!has_uniform_steps(codebook)) {
        for (size_t i = 0; i < LDNQ_TRIAL_SCALES; i++) {
            ldnq_project_codes(codebook, span, scales[i]);
            span->trial_vq[i] = span->vq;
            span->trial_qq[i] = span->qq;
        }
        return;
    }
    for (size_t row = 0; row < span->rows; row++)
        for (size_t i = 0; i < LDNQ_TRIAL_SCALES; i += LANES)
            add_sums_of_trials(codebook, span->v + row * span->v_stride, span->length, inverses + i,
                               span->trial_vq + i, span->trial_qq + i);
    for (size_t i = 0; i < LDNQ_TRIAL_SCALES; i++) {
        span->trial_vq[i] *= span->weight;
        span->trial_qq[i] *= span->weight;
    }
}

static void measure_span(struct ldnq_span *span)
{
    span->largest = span->lowest = span->vv = 0;
    for (size_t row = 0; row < span->rows; row++) {
        const double *v = span->v + row * span->v_stride;
        for (size_t i = 0; i < span->length; i++) {
            span->largest = v[i] > span->largest ? v[i] : span->largest;
            span->lowest = v[i] < span->lowest ? v[i] : span->lowest;
            span->vv += v[i] * v[i];
        }
    }
}

/* ---- all spans together ------------------------------------------------------ */

struct projection {
    const struct ldnq_codebook *codebook;
    struct ldnq_pool *pool;
    struct ldnq_span *spans;
    size_t count;
    float scale;
    float trials[LDNQ_TRIAL_SCALES]; /* scales that the search tries */
};

static void project_span_codes(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct projection *projection = ctx;
    ldnq_project_codes(projection->codebook, &projection->spans[chunk], projection->scale);
}

static void measure_span_codes(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct projection *projection = ctx;
    measure_codes(projection->codebook, &projection->spans[chunk], projection->scale);
}

static void measure_trials_of_span(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct projection *projection = ctx;
    measure_scales(projection->codebook, &projection->spans[chunk], projection->trials);
}

static void measure_span_of_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    struct projection *projection = ctx;
    measure_span(&projection->spans[chunk]);
}

static void sum_products_of_codes(struct projection *projection, double *vq, double *qq)
{
    ldnq_pool_run(projection->pool, projection->count, measure_span_codes, projection);
    *vq = *qq = 0;
    for (size_t i = 0; i < projection->count; i++) {
        *vq += projection->spans[i].vq;
        *qq += projection->spans[i].qq;
    }
}

/* Finds the range of scales worth trying: at `high` no value is clipped, and above it the
 * outermost codes are unused; at `low` most values are clipped. */
static void find_scale_range(struct projection *projection, double *low, double *high)
{
    const struct ldnq_codebook *codebook = projection->codebook;
    double largest = 0, lowest = 0, vv = 0, n = 0;
    ldnq_pool_run(projection->pool, projection->count, measure_span_of_chunk, projection);
    for (size_t i = 0; i < projection->count; i++) {
        const struct ldnq_span *span = &projection->spans[i];
        largest = fmax(largest, span->largest);
        lowest = fmin(lowest, span->lowest);
        vv += span->vv;
        n += (double)span->rows * (double)span->length;
    }
    double top = codebook->codes[codebook->count - 1], bottom = codebook->codes[0];
    *high = fmax(largest / top, lowest / bottom);
    *low = fmin(0.5 * sqrt(vv / fmax(n, 1)) / fmax(top, -bottom), *high / 2);
}

/* With the best scale for given codes the distance is v.v - (v.q)^2 / q.q: returns the
 * candidate with the largest (v.q)^2 / q.q, or 0 when there is none. The candidates are a geometric
 * sequence, which ends with the last scale that is one. */
static float search_scale(struct projection *projection)
{
    double low, high, best = 0;
    float winner = 0;
    size_t count = 0;
    find_scale_range(projection, &low, &high);
    if (!ldnq_is_scale(high))
        return 0;
    const double ratio = pow(low / high, 1.0 / (LDNQ_TRIAL_SCALES - 1));
    for (; count < LDNQ_TRIAL_SCALES && ldnq_is_scale(high); high *= ratio)
        projection->trials[count++] = (float)high;
    for (size_t i = count; i < LDNQ_TRIAL_SCALES; i++)
        projection->trials[i] = projection->trials[count - 1];
    ldnq_pool_run(projection->pool, projection->count, measure_trials_of_span, projection);
    for (size_t i = 0; i < count; i++) {
        double vq = 0, qq = 0;
        for (size_t span = 0; span < projection->count; span++) {
            vq += projection->spans[span].trial_vq[i];
            qq += projection->spans[span].trial_qq[i];
        }
        if (qq > 0 && vq * vq / qq > best) {
            best = vq * vq / qq;
            winner = projection->trials[i];
        }
    }
    return winner;
}

/* Alternates between codes and scale, and ends with codes and their best scale. Returns
 * false when all codes have become 0. */
static bool alternate_codes_and_scale(struct projection *projection, float *scale)
{
    double vq, qq;
    for (int round = 0; round < MAX_ROUNDS; round++) {
        projection->scale = *scale;
        sum_products_of_codes(projection, &vq, &qq);
        if (!(qq > 0) || !ldnq_is_scale(vq / qq))
            return false;
        *scale = (float)(vq / qq);
        if (*scale == projection->scale)
            break;
    }
    ldnq_pool_run(projection->pool, projection->count, project_span_codes, projection);
    return true;
}

static void set_codes_to_zero(struct projection *projection)
{
    for (size_t i = 0; i < projection->count; i++) {
        struct ldnq_span *span = &projection->spans[i];
        if (span->rows && span->length)
            memset(span->codes, 0, span->rows * span->length);
        span->vq = span->qq = 0;
    }
}

/* A start that is far too large rounds every value to 0: then the search is needed. */
float ldnq_project(const struct ldnq_codebook *codebook, struct ldnq_pool *pool,
                   struct ldnq_span *spans, size_t count, float start)
{
    struct projection projection = {
        .codebook = codebook, .pool = pool, .spans = spans, .count = count
    };
    float scale = start;
    if (scale > 0 && alternate_codes_and_scale(&projection, &scale))
        return scale;
    scale = search_scale(&projection);
    if (scale > 0 && alternate_codes_and_scale(&projection, &scale))
        return scale;
    set_codes_to_zero(&projection);
    return 1;
}
