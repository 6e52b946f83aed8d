/* recurrent_activation.h: the activations that LSTM, GRU and RNN name, on rows. */
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
    bool takes_alpha, takes_beta; /* from the lists of the node's attributes */
};

/* By name, in any case, with its defaults; false for one that is not known. */
bool ldnq_activation_find(const char *name, struct ldnq_activation *out);
/* y = f(x), x cut to -clip .. clip; y may be x. */
void ldnq_activation_run(const struct ldnq_activation *f, float clip, const float *x, float *y,
                         size_t count);
/* slope = f'(x), y being f(x); 0 where x is cut. slope may be x. */
void ldnq_activation_slope(const struct ldnq_activation *f, float clip, const float *x,
                           const float *y, float *slope, size_t count);

#endif
