/* SPDX-License-Identifier: Apache-2.0 */
/* conv_choice.h: which implementation runs a convolution, by its sizes alone: the same on
 * every processor, since products of more than 384 taps round in parts where the direct
 * convolution has one chain. */
#ifndef LDNQ_OPS_CONV_CHOICE_H
#define LDNQ_OPS_CONV_CHOICE_H

#include "ops/conv/conv_kernels.h"

enum ldnq_conv_implementation {
    LDNQ_CONV_DEPTHWISE,
    LDNQ_CONV_POINTWISE,
    LDNQ_CONV_DIRECT,
    LDNQ_CONV_FEW_POSITIONS,
    LDNQ_CONV_PRODUCT,
};

enum ldnq_conv_implementation ldnq_conv_choose_implementation(const struct ldnq_conv_job *job);
/* Whether the kernel is 1x1 without stride or pad, so that x itself is the matrix of columns. */
bool ldnq_conv_is_pointwise(const struct ldnq_conv_job *job);

#endif
