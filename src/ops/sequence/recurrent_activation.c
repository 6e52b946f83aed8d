/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sequence/recurrent_activation.h"

#include <ctype.h>
#include <math.h>

#include "base/simd.h"
#include "ops/shared/expf.h"
#include "ops/shared/tanhf.h"

/* In the order of enum ldnq_activation_type. */
static const struct {
    const char *name;
    struct ldnq_activation defaults;
} known[] = {
    { "relu", { .type = LDNQ_ACT_RELU } },
    { "tanh", { .type = LDNQ_ACT_TANH } },
    { "sigmoid", { .type = LDNQ_ACT_SIGMOID } },
    { "affine", { LDNQ_ACT_AFFINE, 1.0f, 0.0f, true, true } },
    { "leakyrelu", { LDNQ_ACT_LEAKYRELU, 0.01f, 0.0f, true, false } },
    { "thresholdedrelu", { LDNQ_ACT_THRESHOLDEDRELU, 1.0f, 0.0f, true, false } },
    { "scaledtanh", { LDNQ_ACT_SCALEDTANH, 1.0f, 1.0f, true, true } },
    { "hardsigmoid", { LDNQ_ACT_HARDSIGMOID, 0.2f, 0.5f, true, true } },
    { "elu", { LDNQ_ACT_ELU, 1.0f, 0.0f, true, false } },
    { "softsign", { .type = LDNQ_ACT_SOFTSIGN } },
    { "softplus", { .type = LDNQ_ACT_SOFTPLUS } },
};

static bool equals_ignoring_case(const char *name, const char *lower)
{
    while (*name && tolower((unsigned char)*name) == *lower) {
        name++;
        lower++;
    }
    return *name == *lower;
}

bool ldnq_activation_find(const char *name, struct ldnq_activation *out)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (equals_ignoring_case(name, known[i].name)) {
            *out = known[i].defaults;
            return true;
        }
    return false;
}

#define EACH(TYPE, EXPR)                                                                           \
    case LDNQ_ACT_##TYPE:                                                                          \
        for (size_t i = 0; i < count; i++) {                                                       \
            float v = x[i] < -clip ? -clip : x[i];                                                 \
            v = v > clip ? clip : v;                                                               \
            y[i] = (EXPR);                                                                         \
        }                                                                                          \
        break;

LDNQ_MULTIVERSION
void ldnq_activation_run(const struct ldnq_activation *f, float clip, const float *x, float *y,
                         size_t count)
{
    const float alpha = f->alpha, beta = f->beta;
    switch (f->type) {
        EACH(RELU, v > 0.0f ? v : 0.0f)
        EACH(TANH, ldnq_tanhf(v))
        EACH(SIGMOID, 1.0f / (1.0f + ldnq_expf(-v)))
        EACH(AFFINE, alpha * v + beta)
        EACH(LEAKYRELU, v >= 0.0f ? v : alpha * v)
        EACH(THRESHOLDEDRELU, v > alpha ? v : 0.0f)
        EACH(SCALEDTANH, alpha * tanhf(beta * v))
        EACH(HARDSIGMOID, fminf(fmaxf(alpha * v + beta, 0.0f), 1.0f))
        EACH(ELU, v >= 0.0f ? v : alpha * expm1f(v))
        EACH(SOFTSIGN, v / (1.0f + fabsf(v)))
        EACH(SOFTPLUS, fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v))))
    }
}

#define SLOPE(TYPE, EXPR)                                                                          \
    case LDNQ_ACT_##TYPE:                                                                          \
        for (size_t i = 0; i < count; i++) {                                                       \
            const float v = x[i], w = y[i];                                                        \
            (void)w;                                                                               \
            slope[i] = v < -clip || v > clip ? 0.0f : (EXPR);                                      \
        }                                                                                          \
        break;

void ldnq_activation_compute_slope(const struct ldnq_activation *f, float clip, const float *x,
                                   const float *y, float *slope, size_t count)
{
    const float alpha = f->alpha, beta = f->beta;
    switch (f->type) {
        SLOPE(RELU, v > 0.0f ? 1.0f : 0.0f)
        SLOPE(TANH, 1.0f - w * w)
        SLOPE(SIGMOID, w * (1.0f - w))
        SLOPE(AFFINE, alpha)
        SLOPE(LEAKYRELU, v >= 0.0f ? 1.0f : alpha)
        SLOPE(THRESHOLDEDRELU, v > alpha ? 1.0f : 0.0f)
        SLOPE(SCALEDTANH, alpha * beta * (1.0f - tanhf(beta * v) * tanhf(beta * v)))
        SLOPE(HARDSIGMOID, w > 0.0f && w < 1.0f ? alpha : 0.0f)
        SLOPE(ELU, v >= 0.0f ? 1.0f : w + alpha)
        SLOPE(SOFTSIGN, (1.0f - fabsf(w)) * (1.0f - fabsf(w)))
        SLOPE(SOFTPLUS, 1.0f / (1.0f + ldnq_expf(-v)))
    }
}
