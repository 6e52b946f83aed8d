/* SPDX-License-Identifier: Apache-2.0 */
/* losses.c: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
 *
 * Shapes  x (N, C, D), target (N, D), weight (C), log_prob (N, C, D), where D stands for any
 *         number of axes; the loss has the shape of the target with reduction=none, and is a
 *         scalar with sum or mean
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ops/op.h"

enum loss_reduction { LOSS_NONE, LOSS_SUM, LOSS_MEAN };

struct loss_attrs {
    enum loss_reduction reduction;
    bool ignores; /* the node has an ignore_index */
    int64_t ignored;
};

static enum ldnq_status loss_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    static const char *const names[] = { "none", "sum", "mean" };
    const char *name = ldnq_attr_string(node, "reduction", "mean");
    struct loss_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    if (!a)
        return LDNQ_NOMEM;
    *attrs = a;
    a->ignores = ldnq_node_find_attr(node, "ignore_index") != NULL;
    a->ignored = ldnq_attr_int(node, "ignore_index", 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            a->reduction = (enum loss_reduction)i;
            return LDNQ_OK;
        }
    }
    return ldnq_fail(err, LDNQ_MODEL, "reduction=%s is not none, sum or mean", name);
}

static bool sizes_differ(int64_t a, int64_t b)
{
    return a != b && !ldnq_is_symbol(a) && !ldnq_is_symbol(b);
}

static enum ldnq_status check_target(const struct ldnq_shape *x, const struct ldnq_shape *target,
                                     struct ldnq_error *err)
{
    bool fits = target->rank == x->rank - 1 && x->rank >= 2;
    for (int i = 0; fits && i < target->rank; i++)
        fits = !sizes_differ(target->dim[i], x->dim[i == 0 ? 0 : i + 1]);
    if (fits)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL,
                     "its target does not have the shape of its input without axis 1");
}

static enum ldnq_status loss_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct loss_attrs *a = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *target = &call->in[1]->shape;
    const struct ldnq_tensor *weight = ldnq_op_input(call, 2);
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_INT32) | LDNQ_DTYPE_BIT(LDNQ_INT64),
                                   err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 2, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (call->out_count > 1)
        call->out[1] = call->out[0];
    call->out[0].shape = *target;
    if (x->rank >= 0 && target->rank >= 0)
        LDNQ_TRY(check_target(x, target, err));
    if (weight && weight->shape.rank >= 0 && x->rank >= 0 &&
        (weight->shape.rank != 1 || sizes_differ(weight->shape.dim[0], x->dim[1])))
        return ldnq_fail(err, LDNQ_MODEL, "its weight does not have one element per class");
    if (a->reduction != LOSS_NONE)
        call->out[0].shape = (struct ldnq_shape){ .rank = 0 };
    return LDNQ_OK;
}

/* ---- forward -------------------------------------------------------------------------- */

struct loss_inputs {
    const float *x;      /* log-probabilities */
    const float *weight; /* NULL: all 1 */
    const struct ldnq_tensor *target;
    const struct loss_attrs *attrs;
    size_t classes, inner, count; /* C; D; N D */
};

static struct loss_inputs read_inputs(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    const struct ldnq_tensor *weight = ldnq_op_input(call, 2);
    struct loss_inputs loss = { .x = call->in[0]->data,
                                .weight = weight ? weight->data : NULL,
                                .target = call->in[1],
                                .attrs = call->attrs,
                                .classes = (size_t)x->dim[1],
                                .inner = 1,
                                .count = ldnq_tensor_count(call->in[1]) };
    for (int i = 2; i < x->rank; i++)
        loss.inner *= (size_t)x->dim[i];
    return loss;
}

/* Reads the class of target element i and its weight, which is 0 if the element is ignored.
 * Errors: MODEL. */
static enum ldnq_status read_class(const struct loss_inputs *loss, size_t i, size_t *class,
                                   double *weight, struct ldnq_error *err)
{
    int64_t index = loss->target->dtype == LDNQ_INT64 ? ((const int64_t *)loss->target->data)[i]
                                                      : ((const int32_t *)loss->target->data)[i];
    *class = 0;
    *weight = 0.0;
    if (loss->attrs->ignores && index == loss->attrs->ignored)
        return LDNQ_OK;
    if (index < 0 || (uint64_t)index >= loss->classes)
        return ldnq_fail(err, LDNQ_MODEL, "class %" PRId64 " is not in 0 .. %zu", index,
                         loss->classes - 1);
    *class = (size_t)index;
    *weight = loss->weight ? (double)loss->weight[index] : 1.0;
    return LDNQ_OK;
}

static enum ldnq_status compute_negative_log_likelihood(const struct loss_inputs *loss, float *out,
                                                        struct ldnq_error *err)
{
    double sum = 0.0, weights = 0.0, weight;
    size_t class;
    for (size_t i = 0; i < loss->count; i++) {
        LDNQ_TRY(read_class(loss, i, &class, &weight, err));
        size_t at = (i / loss->inner * loss->classes + class) * loss->inner + i % loss->inner;
        double part = weight != 0.0 ? -weight * (double)loss->x[at] : 0.0;
        sum += part;
        weights += weight;
        if (loss->attrs->reduction == LOSS_NONE)
            out[i] = (float)part;
    }
    if (loss->attrs->reduction != LOSS_NONE)
        *out = (float)(loss->attrs->reduction == LOSS_MEAN ? sum / weights : sum);
    return LDNQ_OK;
}

static enum ldnq_status nll_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct loss_inputs loss = read_inputs(call);
    return compute_negative_log_likelihood(&loss, call->out[0].data, err);
}

struct log_softmax_loop {
    const float *x;
    float *y;
    size_t classes, inner;
};

/* x - log(sum(exp(x))) along the classes. */
static void compute_log_softmax(const void *ctx, size_t first, size_t last)
{
    const struct log_softmax_loop *l = ctx;
    for (size_t i = first; i < last; i++) {
        size_t start = i / l->inner * l->classes * l->inner + i % l->inner;
        const float *x = l->x + start;
        float *y = l->y + start, most = -INFINITY;
        double sum = 0.0;
        for (size_t c = 0; c < l->classes; c++)
            most = x[c * l->inner] > most ? x[c * l->inner] : most;
        for (size_t c = 0; c < l->classes; c++)
            sum += exp((double)x[c * l->inner] - (double)most);
        double shift = (double)most + log(sum);
        for (size_t c = 0; c < l->classes; c++)
            y[c * l->inner] = (float)((double)x[c * l->inner] - shift);
    }
}

/* Scratch holds log_prob if the node does not output it. */
static size_t sce_scratch_bytes(const struct ldnq_op_call *call)
{
    size_t bytes;
    if (call->out_count > 1)
        return 0;
    return ldnq_size_mul(ldnq_tensor_count(call->in[0]), sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

static enum ldnq_status sce_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct loss_inputs loss = read_inputs(call);
    struct log_softmax_loop logits = { .x = loss.x,
                                       .classes = loss.classes,
                                       .inner = loss.inner,
                                       .y = call->out_count > 1 ? call->out[1].data
                                                                : call->scratch };
    ldnq_op_run_rows(call, loss.count, loss.classes, compute_log_softmax, &logits);
    loss.x = logits.y;
    return compute_negative_log_likelihood(&loss, call->out[0].data, err);
}

const struct ldnq_op ldnq_op_negativeloglikelihoodloss = {
    .type = "NegativeLogLikelihoodLoss",
    .since = 12,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = loss_read_attrs,
    .infer = loss_infer_shape,
    .forward = nll_forward,
    .differentiable = 1,
};

const struct ldnq_op ldnq_op_softmaxcrossentropyloss = {
    .type = "SoftmaxCrossEntropyLoss",
    .since = 12,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 2,
    .read_attrs = loss_read_attrs,
    .infer = loss_infer_shape,
    .scratch_bytes = sce_scratch_bytes,
    .forward = sce_forward,
    .differentiable = 1,
};
