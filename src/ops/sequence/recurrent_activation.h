/* SPDX-License-Identifier: Apache-2.0 */
/* recurrent_activation.h: the activation functions of LSTM, GRU and RNN, on arrays.
 *
 * Source  the table of activations in onnx.ai/onnx/operators/onnx__LSTM.html
 */
#ifndef LDNQ_OPS_RECURRENT_ACTIVATION_H
#define LDNQ_OPS_RECURRENT_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>

enum ldnq_activation_type {
    LDNQ_ACT_RELU,
    LDNQ_ACT_TANH,
    LDNQ_ACT_SIGMOID,
    LDNQ_ACT_AFFINE,
    LDNQ_ACT_LEAKYRELU,
    LDNQ_ACT_THRESHOLDEDRELU,
    LDNQ_ACT_SCALEDTANH,
    LDNQ_ACT_HARDSIGMOID,
    LDNQ_ACT_ELU,
    LDNQ_ACT_SOFTSIGN,
    LDNQ_ACT_SOFTPLUS,
};

struct ldnq_activation {
    enum ldnq_activation_type type;
    float alpha, beta;
    bool takes_alpha, takes_beta; /* parameters in activation_alpha and activation_beta */
};

/* Finds an activation by its name, in any case; *out has its default parameters. False for an
 * unknown name. */
bool ldnq_activation_find(const char *name, struct ldnq_activation *out);
/* y = f(clamp(x, -clip, clip)), all (count); y may be x. */
void ldnq_activation_run(const struct ldnq_activation *f, float clip, const float *x, float *y,
                         size_t count);
/* slope = f'(x), given y = f(x); 0 where x is clamped. slope may be x. */
void ldnq_activation_compute_slope(const struct ldnq_activation *f, float clip, const float *x,
                                   const float *y, float *slope, size_t count);

#endif
