/* SPDX-License-Identifier: Apache-2.0 */
/* reversesequence.c: ReverseSequence: reverses the order of the first sequence_lens[b] steps
 * of sample b; the other steps are unchanged.
 *
 * Shapes  x, y (time, batch, ...) or (batch, time, ...); sequence_lens (batch)
 * Source  onnx.ai/onnx/operators/onnx__ReverseSequence.html
 */
#include <inttypes.h>
#include <string.h>

#include "ops/op.h"

struct reverse_sequences {
    size_t steps, batch, bytes; /* bytes: of one step of one sample */
    bool batch_first;
    const int64_t *lengths;
};

static enum ldnq_status reversesequence_infer_shape(struct ldnq_op_call *call,
                                                    struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape, *lengths = &call->in[1]->shape;
    int64_t batch = ldnq_attr_int(call->node, "batch_axis", 1);
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, ~0u, err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    if (batch < 0 || batch > 1 || ldnq_attr_int(call->node, "time_axis", 0) != 1 - batch)
        return ldnq_fail(err, LDNQ_MODEL, "batch_axis=%" PRId64 " and time_axis are not 0 and 1",
                         batch);
    if (x->rank >= 0 && x->rank < 2)
        return ldnq_fail(err, LDNQ_MODEL, "its input has %d axes where two are the least", x->rank);
    if (ldnq_shape_is_known(lengths) && x->rank > 0 && !ldnq_is_symbol(x->dim[batch]) &&
        (lengths->rank != 1 || lengths->dim[0] != x->dim[batch]))
        return ldnq_fail(err, LDNQ_MODEL,
                         "sequence_lens does not have one number for each of %" PRId64 " entries",
                         x->dim[batch]);
    return LDNQ_OK;
}

static struct reverse_sequences make_sequences(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    bool batch_first = ldnq_attr_int(call->node, "batch_axis", 1) == 0;
    struct reverse_sequences s = { .batch_first = batch_first,
                                   .lengths = call->in[1]->data,
                                   .batch = (size_t)x->dim[batch_first ? 0 : 1],
                                   .steps = (size_t)x->dim[batch_first ? 1 : 0],
                                   .bytes = 1 };
    for (int i = 2; i < x->rank; i++)
        s.bytes *= (size_t)x->dim[i];
    return s;
}

/* y = the reversed x. The operation is its own transpose: dx = the reversed dy. */
static enum ldnq_status reverse_sequence_steps(const struct reverse_sequences *s, const char *x,
                                               char *y, struct ldnq_error *err)
{
    for (size_t b = 0; b < s->batch; b++) {
        if (s->lengths[b] < 0 || (uint64_t)s->lengths[b] > s->steps)
            return ldnq_fail(err, LDNQ_MODEL,
                             "a sequence of %" PRId64 " in %zu steps is not "
                             "possible",
                             s->lengths[b], s->steps);
        size_t length = (size_t)s->lengths[b];
        for (size_t t = 0; t < s->steps; t++) {
            size_t from = t < length ? length - 1 - t : t;
            size_t row = s->batch_first ? b * s->steps + t : t * s->batch + b;
            size_t other = s->batch_first ? b * s->steps + from : from * s->batch + b;
            memcpy(y + row * s->bytes, x + other * s->bytes, s->bytes);
        }
    }
    return LDNQ_OK;
}

static enum ldnq_status reversesequence_forward(const struct ldnq_op_call *call,
                                                struct ldnq_error *err)
{
    struct reverse_sequences s = make_sequences(call);
    s.bytes *= ldnq_dtype_size(call->in[0]->dtype);
    return reverse_sequence_steps(&s, call->in[0]->data, call->out[0].data, err);
}

static enum ldnq_status reversesequence_backward(const struct ldnq_op_grad *grad,
                                                 struct ldnq_error *err)
{
    struct reverse_sequences s = make_sequences(grad->call);
    s.bytes *= sizeof(float);
    return reverse_sequence_steps(&s, grad->out[0]->data, grad->in[0].data, err);
}

const struct ldnq_op ldnq_op_reversesequence = {
    .type = "ReverseSequence",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = reversesequence_infer_shape,
    .forward = reversesequence_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = reversesequence_backward,
};
