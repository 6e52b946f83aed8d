/* SPDX-License-Identifier: Apache-2.0 */
/* cosine_windows.c: HannWindow, HammingWindow and BlackmanWindow of the signal operators. The
 * input is the number of elements of the output.
 *
 * y[n] = a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), where N is the number of elements of a
 * periodic window, and one less for a symmetric one
 */
#include "ops/op.h"

#include <math.h>

struct window_coefficients {
    double a0, a1, a2;
};

static enum ldnq_status window_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_shape size;
    const int64_t dtype = ldnq_attr_int(call->node, "output_datatype", LDNQ_FLOAT);
    if (dtype != LDNQ_FLOAT)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "output_datatype=%s is not supported",
                         ldnq_dtype_name((enum ldnq_dtype)dtype));
    LDNQ_TRY(ldnq_op_require_one_element(call, 0, err));
    LDNQ_TRY(ldnq_op_read_dims(call, 0, &size, err));
    call->out[0].dtype = LDNQ_FLOAT;
    call->out[0].shape.rank = 1;
    if (size.rank == 1)
        call->out[0].shape.dim[0] = size.dim[0];
    else
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &call->out[0].shape.dim[0], err));
    return LDNQ_OK;
}

static enum ldnq_status fill_window(const struct ldnq_op_call *call, struct window_coefficients c)
{
    const double pi = 3.14159265358979323846;
    float *y = call->out[0].data;
    size_t count = ldnq_tensor_count(&call->out[0]);
    double period = (double)count - (ldnq_attr_int(call->node, "periodic", 1) ? 0 : 1);
    for (size_t n = 0; n < count; n++) {
        double angle = period > 0 ? 2 * pi * (double)n / period : 0;
        y[n] = (float)(c.a0 - c.a1 * cos(angle) + c.a2 * cos(2 * angle));
    }
    return LDNQ_OK;
}

#define WINDOW(name, Type, ...)                                                                    \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        (void)err;                                                                                 \
        return fill_window(call, (struct window_coefficients){ __VA_ARGS__ });                     \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = 17,                                                                               \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .inputs_min = 1,                                                                           \
        .inputs_max = 1,                                                                           \
        .outputs_max = 1,                                                                          \
        .infer = window_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
    };

WINDOW(blackmanwindow, "BlackmanWindow", 0.42, 0.5, 0.08)
WINDOW(hammingwindow, "HammingWindow", 25.0 / 46.0, 21.0 / 46.0, 0)
WINDOW(hannwindow, "HannWindow", 0.5, 0.5, 0)
