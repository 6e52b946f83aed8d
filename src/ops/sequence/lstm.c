/* SPDX-License-Identifier: Apache-2.0 */
/* lstm.c: LSTM, gates in the order i (input), o (output), f (forget), c (cell); and com.microsoft's
 * DynamicQuantizeLSTM with float weights, which rounds the states that R multiplies.
 *
 * Computes i = F(zi + pi c_prev), f = F(zf + pf c_prev), or f = 1 - i with input_forget,
 *          c = f c_prev + i G(zc), o = F(zo + po c), h = o H(c),
 *          with the activations F, G, H and the peepholes pi, po, pf
 * Source   onnx.ai/onnx/operators/onnx__LSTM.html
 */
#include "ops/sequence/recurrent.h"

#include <math.h>
#include <string.h>

#include "linalg/blas.h"
#include "ops/quantized/dynamic_codes.h"
#include "ops/sequence/recurrent_weights.h"

static const struct ldnq_activation *find_activation(const struct ldnq_recurrent *r,
                                                     const struct ldnq_recurrent_step *s, size_t i)
{
    return &r->attrs->activations[3 * s->direction + i];
}

/* One row's gates, in temporary memory. */
struct lstm_gates {
    float *in, *out;       /* (4, hidden): before and after the activations */
    float *activated_cell; /* (hidden): H(c) */
};

static struct lstm_gates assign_gates(const struct ldnq_recurrent *r,
                                      const struct ldnq_recurrent_step *s)
{
    float *temp = s->temp;
    return (struct lstm_gates){ temp, temp + r->width, temp + 2 * r->width };
}

static void add_peephole(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s,
                         size_t gate, const float *c, float *in)
{
    if (!s->peepholes)
        return;
    const float *p = s->peepholes + gate * r->hidden;
    for (size_t k = 0; k < r->hidden; k++)
        in[gate * r->hidden + k] += p[k] * c[k];
}

/* Computes the gates and c (hidden) of row i; c may be c_prev. */
static void compute_gates(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s,
                          size_t i, const float *c_prev, float *c, const struct lstm_gates *g)
{
    size_t n = r->hidden;
    const float clip = r->attrs->clip;
    const struct ldnq_activation *f = find_activation(r, s, 0);
    float *input = g->out, *output = input + n, *forget = output + n, *cell = forget + n;
    memcpy(g->in, s->z + i * r->width, r->width * sizeof *g->in);
    add_peephole(r, s, 0, c_prev, g->in);
    add_peephole(r, s, 2, c_prev, g->in);
    ldnq_activation_run(f, clip, g->in, input, n);
    if (r->attrs->input_forget)
        for (size_t k = 0; k < n; k++)
            forget[k] = 1.0f - input[k];
    else
        ldnq_activation_run(f, clip, g->in + 2 * n, forget, n);
    ldnq_activation_run(find_activation(r, s, 1), clip, g->in + 3 * n, cell, n);
    for (size_t k = 0; k < n; k++)
        c[k] = forget[k] * c_prev[k] + input[k] * cell[k];
    add_peephole(r, s, 1, c, g->in);
    ldnq_activation_run(f, clip, g->in + n, output, n);
    /* ONNX Runtime clips the gates' inputs, not the cell. */
    ldnq_activation_run(find_activation(r, s, 2), INFINITY, c, g->activated_cell, n);
}

/* Rounds the rows' states to 8 bits, with one scale and zero point for them, as
 * DynamicQuantizeLinear does. The temporary memory after the gates' holds the result. */
static const float *round_states(const struct ldnq_recurrent *r,
                                 const struct ldnq_recurrent_step *s)
{
    const size_t count = s->rows * r->hidden;
    float *rounded = s->temp + LDNQ_RECURRENT_TEMP * r->hidden;
    const struct ldnq_dynamic_codes codes = ldnq_choose_dynamic_codes(s->h_prev, count);
    for (size_t i = 0; i < count; i++)
        rounded[i] =
            ((float)ldnq_round_to_dynamic_code(&codes, s->h_prev[i]) - codes.zero) * codes.scale;
    return rounded;
}

static void lstm_step(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s)
{
    struct lstm_gates g = assign_gates(r, s);
    const float *h_prev = r->attrs->rounds_states ? round_states(r, s) : s->h_prev;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, s->rows, r->width, r->hidden, 1.0f, h_prev, r->hidden,
               s->r, r->hidden, 1.0f, s->z, r->width);
    for (size_t i = 0; i < s->rows; i++) {
        size_t at = i * r->hidden;
        if (!s->active[i]) {
            ldnq_recurrent_copy_state(r, s, i);
            continue;
        }
        compute_gates(r, s, i, s->c_prev + at, s->c + at, &g);
        for (size_t k = 0; k < r->hidden; k++)
            s->h[at + k] = g.out[r->hidden + k] * g.activated_cell[k];
    }
}

/* dz, dh and dc of one row. The temporary memory after the gates holds c and H'(c). */
static void compute_row_gradients(const struct ldnq_recurrent *r,
                                  const struct ldnq_recurrent_step *s, size_t i,
                                  const struct lstm_gates *g)
{
    size_t n = r->hidden;
    const float clip = r->attrs->clip, *c_prev = s->c_prev + i * n;
    const struct ldnq_activation *f = find_activation(r, s, 0);
    float *dz = s->z + i * r->width, *dh = s->dh + i * n, *dc = s->dc + i * n;
    float *c = g->activated_cell + n, *slope = c + n;
    const float *input = g->out, *output = input + n, *forget = output + n, *cell = forget + n;
    const float *p = s->peepholes;
    compute_gates(r, s, i, c_prev, c, g);
    ldnq_activation_compute_slope(find_activation(r, s, 2), INFINITY, c, g->activated_cell, slope,
                                  n);
    ldnq_activation_compute_slope(f, clip, g->in, input, dz, n);
    ldnq_activation_compute_slope(f, clip, g->in + n, output, dz + n, n);
    ldnq_activation_compute_slope(f, clip, g->in + 2 * n, forget, dz + 2 * n, n);
    ldnq_activation_compute_slope(find_activation(r, s, 1), clip, g->in + 3 * n, cell, dz + 3 * n,
                                  n);
    for (size_t k = 0; k < n; k++) {
        dz[n + k] *= dh[k] * g->activated_cell[k];
        float d = dc[k] + dh[k] * output[k] * slope[k] + (p ? dz[n + k] * p[n + k] : 0.0f);
        float dforget = d * c_prev[k];
        bool coupled = r->attrs->input_forget;
        dz[k] *= d * cell[k] - (coupled ? dforget : 0.0f);
        dz[2 * n + k] = coupled ? 0.0f : dz[2 * n + k] * dforget;
        dz[3 * n + k] *= d * input[k];
        dc[k] = d * forget[k] + (p ? dz[k] * p[k] + dz[2 * n + k] * p[2 * n + k] : 0.0f);
        dh[k] = 0.0f;
    }
}

static void lstm_step_backward(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s)
{
    struct lstm_gates g = assign_gates(r, s);
    for (size_t i = 0; i < s->rows; i++) {
        if (s->active[i])
            compute_row_gradients(r, s, i, &g);
        else
            memset(s->z + i * r->width, 0, r->width * sizeof *s->z);
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, s->rows, r->hidden, r->width, 1.0f, s->z, r->width, s->r,
               r->hidden, 1.0f, s->dh, r->hidden);
}

static const char *const lstm_activations[] = { "Sigmoid", "Tanh", "Tanh" };

static const struct ldnq_recurrent_kind lstm_kind = {
    .gates = 4,
    .functions = 3,
    .defaults = lstm_activations,
    .has_cell = true,
    .forward = lstm_step,
    .backward = lstm_step_backward,
    .find_inner_bias = ldnq_recurrent_find_no_inner_bias,
    .weights = ldnq_recurrent_add_weight_gradients,
};

LDNQ_RECURRENT_RECORD(lstm, "LSTM", 8, 3, 0xef, 0xff)

static enum ldnq_status dynamicquantizelstm_read_attrs(const struct ldnq_node *node,
                                                       struct ldnq_arena *arena, const void **attrs,
                                                       struct ldnq_error *err)
{
    struct ldnq_recurrent_attrs *own;
    LDNQ_TRY(ldnq_recurrent_read_attrs(&lstm_kind, node, arena, attrs, err));
    own = ldnq_arena_alloc(arena, 1, sizeof *own, err);
    if (!own)
        return LDNQ_NOMEM;
    *own = *(const struct ldnq_recurrent_attrs *)*attrs;
    own->rounds_states = true;
    *attrs = own;
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_dynamicquantizelstm = {
    .domain = "com.microsoft",
    .type = "DynamicQuantizeLSTM",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 3,
    .inputs_max = 8,
    .outputs_max = 3,
    .read_attrs = dynamicquantizelstm_read_attrs,
    .infer = ldnq_recurrent_infer_shape,
    .count_operations = ldnq_recurrent_count_operations,
    .scratch_bytes = ldnq_recurrent_scratch_bytes,
    .forward = ldnq_recurrent_forward,
    .differentiable = LDNQ_ALL_INPUTS, /* so that a gradient is refused instead of being 0 */
};
