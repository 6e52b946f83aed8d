/* SPDX-License-Identifier: Apache-2.0 */
/* gru.c: GRU, gates in the order z (update), r (reset), h (hidden).
 *
 * Computes h = (1 - z) g(zh) + z h_prev with zh = x wh' + (r h_prev) rh' + biases, or, with
 *          linear_before_reset, zh = x wh' + bias + r (h_prev rh' + bh)
 * Source   onnx.ai/onnx/operators/onnx__GRU.html
 *
 * `extra` holds one factor of the gradient of rh: r h_prev, whose other factor is dzh, or,
 * with linear_before_reset, r dzh, whose other factor is h_prev.
 */
#include "ops/sequence/recurrent.h"

#include <string.h>

#include "linalg/blas.h"
#include "ops/sequence/recurrent_weights.h"

static const struct ldnq_activation *find_activation(const struct ldnq_recurrent *r,
                                                     const struct ldnq_recurrent_step *s, size_t i)
{
    return &r->attrs->activations[2 * s->direction + i];
}

/* out (rows, hidden) = h_prev rh' + bh. */
static void compute_hidden_part(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s,
                                float *out)
{
    size_t hidden = r->hidden;
    for (size_t i = 0; i < s->rows; i++) {
        if (s->r_bias)
            memcpy(out + i * hidden, s->r_bias, hidden * sizeof *out);
        else
            memset(out + i * hidden, 0, hidden * sizeof *out);
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, s->rows, hidden, hidden, 1.0f, s->h_prev, hidden,
               s->r + 2 * hidden * hidden, hidden, 1.0f, out, hidden);
}

static void gru_step(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s)
{
    size_t hidden = r->hidden, width = r->width;
    const float clip = r->attrs->clip;
    bool before = r->attrs->linear_before_reset;
    float *part = s->temp, *gate = s->temp + LDNQ_RECURRENT_ROWS * hidden;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, s->rows, 2 * hidden, hidden, 1.0f, s->h_prev, hidden,
               s->r, hidden, 1.0f, s->z, width);
    if (before)
        compute_hidden_part(r, s, part);
    for (size_t i = 0; i < s->rows; i++) {
        float *z = s->z + i * width, *p = part + i * hidden;
        const float *h = s->h_prev + i * hidden;
        ldnq_activation_run(find_activation(r, s, 0), clip, z + hidden, gate, hidden);
        for (size_t k = 0; k < hidden && before; k++)
            z[2 * hidden + k] += gate[k] * p[k];
        for (size_t k = 0; k < hidden && !before; k++)
            p[k] = gate[k] * h[k];
    }
    if (!before)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, s->rows, hidden, hidden, 1.0f, part, hidden,
                   s->r + 2 * hidden * hidden, hidden, 1.0f, s->z + 2 * hidden, width);
    for (size_t i = 0; i < s->rows; i++) {
        const float *z = s->z + i * width, *prev = s->h_prev + i * hidden;
        float *h = s->h + i * hidden, *g = gate + hidden;
        if (!s->active[i]) {
            ldnq_recurrent_copy_state(r, s, i);
            continue;
        }
        ldnq_activation_run(find_activation(r, s, 0), clip, z, gate, hidden);
        ldnq_activation_run(find_activation(r, s, 1), clip, z + 2 * hidden, g, hidden);
        for (size_t k = 0; k < hidden; k++)
            h[k] = (1.0f - gate[k]) * g[k] + gate[k] * prev[k];
    }
}

/* ---- backward --------------------------------------------------------------------------- */

/* One row: stores dz of the update and hidden gates, and f'(zr) for the reset gate; dh becomes
 * the gradient of h_prev without the part through r; reset (hidden) becomes r. */
static void compute_gate_gradients(const struct ldnq_recurrent *r,
                                   const struct ldnq_recurrent_step *s, size_t i, float *reset)
{
    size_t hidden = r->hidden;
    const float clip = r->attrs->clip;
    const struct ldnq_activation *f = find_activation(r, s, 0), *g = find_activation(r, s, 1);
    float *z = s->z + i * r->width, *dh = s->dh + i * hidden;
    float *update = reset + hidden, *now = update + hidden;
    const float *prev = s->h_prev + i * hidden;
    ldnq_activation_run(f, clip, z, update, hidden);
    ldnq_activation_run(f, clip, z + hidden, reset, hidden);
    ldnq_activation_run(g, clip, z + 2 * hidden, now, hidden);
    ldnq_activation_compute_slope(f, clip, z, update, z, hidden);
    ldnq_activation_compute_slope(f, clip, z + hidden, reset, z + hidden, hidden);
    ldnq_activation_compute_slope(g, clip, z + 2 * hidden, now, z + 2 * hidden, hidden);
    for (size_t k = 0; k < hidden; k++) {
        z[k] *= dh[k] * (prev[k] - now[k]);
        z[2 * hidden + k] *= dh[k] * (1.0f - update[k]);
        dh[k] *= update[k];
    }
}

/* One row: dz of the reset gate, `extra`, and the part of dh through r. part (hidden):
 * h_prev rh' + bh with linear_before_reset, otherwise temporary memory. */
static void compute_reset_gate_gradient(const struct ldnq_recurrent *r,
                                        const struct ldnq_recurrent_step *s, size_t i, float *part,
                                        const float *reset)
{
    size_t hidden = r->hidden;
    float *z = s->z + i * r->width, *extra = s->extra + i * hidden;
    const float *prev = s->h_prev + i * hidden, *dg = z + 2 * hidden;
    if (r->attrs->linear_before_reset) {
        for (size_t k = 0; k < hidden; k++) {
            z[hidden + k] *= dg[k] * part[k];
            extra[k] = dg[k] * reset[k];
        }
        return;
    }
    /* part = the gradient of r h_prev */
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, 1, hidden, hidden, 1.0f, dg, hidden,
               s->r + 2 * hidden * hidden, hidden, 0.0f, part, hidden);
    float *dh = s->dh + i * hidden;
    for (size_t k = 0; k < hidden; k++) {
        z[hidden + k] *= part[k] * prev[k];
        dh[k] += part[k] * reset[k];
        extra[k] = reset[k] * prev[k];
    }
}

static void gru_step_backward(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s)
{
    size_t hidden = r->hidden;
    float *part = s->temp, *gates = s->temp + LDNQ_RECURRENT_ROWS * hidden;
    if (r->attrs->linear_before_reset)
        compute_hidden_part(r, s, part);
    for (size_t i = 0; i < s->rows; i++) {
        if (!s->active[i]) {
            memset(s->z + i * r->width, 0, r->width * sizeof *s->z);
            memset(s->extra + i * hidden, 0, hidden * sizeof *s->extra);
            continue;
        }
        compute_gate_gradients(r, s, i, gates);
        compute_reset_gate_gradient(r, s, i, part + i * hidden, gates);
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, s->rows, hidden, 2 * hidden, 1.0f, s->z, r->width, s->r,
               hidden, 1.0f, s->dh, hidden);
    if (r->attrs->linear_before_reset)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, s->rows, hidden, hidden, 1.0f, s->extra, hidden,
                   s->r + 2 * hidden * hidden, hidden, 1.0f, s->dh, hidden);
}

static void gru_add_weight_gradients(const struct ldnq_recurrent *r, const float *dz,
                                     const float *h_prev, const float *extra, float *dr)
{
    size_t hidden = r->hidden, rows = r->steps * r->batch;
    bool before = r->attrs->linear_before_reset;
    ldnq_recurrent_multiply_outer(r, 2 * hidden, hidden, rows, dz, r->width, h_prev, dr);
    ldnq_recurrent_multiply_outer(r, hidden, hidden, rows, before ? extra : dz + 2 * hidden,
                                  before ? hidden : r->width, before ? h_prev : extra,
                                  dr + 2 * hidden * hidden);
}

static size_t gru_find_inner_bias(const struct ldnq_recurrent *r)
{
    return r->attrs->linear_before_reset ? 2 : r->kind->gates;
}

static const char *const gru_activations[] = { "Sigmoid", "Tanh" };

static const struct ldnq_recurrent_kind gru_kind = {
    .gates = 3,
    .functions = 2,
    .has_reset_gate = true,
    .defaults = gru_activations,
    .forward = gru_step,
    .backward = gru_step_backward,
    .find_inner_bias = gru_find_inner_bias,
    .weights = gru_add_weight_gradients,
};

LDNQ_RECURRENT_RECORD(gru, "GRU", 6, 2, 0x2f, 0x3f)
