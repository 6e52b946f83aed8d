/* SPDX-License-Identifier: Apache-2.0 */
/* rnn.c: RNN: h = f(x w' + h_prev r' + b).
 *
 * Source  onnx.ai/onnx/operators/onnx__RNN.html
 */
#include "ops/sequence/recurrent.h"

#include <string.h>

#include "linalg/blas.h"
#include "ops/sequence/recurrent_weights.h"

static void rnn_step(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s)
{
    const struct ldnq_activation *f = &r->attrs->activations[s->direction];
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, s->rows, r->width, r->hidden, 1.0f, s->h_prev,
               r->hidden, s->r, r->hidden, 1.0f, s->z, r->width);
    for (size_t i = 0; i < s->rows; i++) {
        if (s->active[i])
            ldnq_activation_run(f, r->attrs->clip, s->z + i * r->width, s->h + i * r->hidden,
                                r->hidden);
        else
            ldnq_recurrent_copy_state(r, s, i);
    }
}

static void rnn_step_backward(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s)
{
    const struct ldnq_activation *f = &r->attrs->activations[s->direction];
    for (size_t i = 0; i < s->rows; i++) {
        float *z = s->z + i * r->width, *dh = s->dh + i * r->hidden;
        if (!s->active[i]) {
            memset(z, 0, r->width * sizeof *z);
            continue;
        }
        ldnq_activation_compute_slope(f, r->attrs->clip, z, s->h + i * r->hidden, z, r->hidden);
        for (size_t k = 0; k < r->hidden; k++)
            z[k] *= dh[k];
        memset(dh, 0, r->hidden * sizeof *dh);
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, s->rows, r->hidden, r->width, 1.0f, s->z, r->width, s->r,
               r->hidden, 1.0f, s->dh, r->hidden);
}

static const char *const rnn_activations[] = { "Tanh" };

static const struct ldnq_recurrent_kind rnn_kind = {
    .gates = 1,
    .functions = 1,
    .defaults = rnn_activations,
    .forward = rnn_step,
    .backward = rnn_step_backward,
    .find_inner_bias = ldnq_recurrent_find_no_inner_bias,
    .weights = ldnq_recurrent_add_weight_gradients,
};

LDNQ_RECURRENT_RECORD(rnn, "RNN", 6, 2, 0x2f, 0x3f)
