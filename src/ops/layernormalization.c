/* layernormalization.c: LayerNormalization over the axes from `axis` on.
 *
 * Shapes  x, y (rows, columns); scale, bias (columns); mean, 1/deviation (rows)
 */
#include "ops/op.h"

#include "ops/normalize.h"

struct layers {
    const float *x, *scale, *bias; /* bias may be NULL */
    float *y, *mean, *inverse;     /* mean and inverse may be NULL */
    size_t columns;
    double epsilon;
};

static enum ldnq_status layer_axis(const struct ldnq_op_call *call, int *axis,
                                   struct ldnq_error *err)
{
    return ldnq_op_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank, axis, err);
}

/* Scale and bias have as many elements as the axes that are normalized. */
static enum ldnq_status check_scale(const struct ldnq_op_call *call, size_t input, int axis,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    const struct ldnq_tensor *scale = ldnq_op_in(call, input);
    size_t columns, count;
    LDNQ_TRY(ldnq_op_require(call, input, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (!scale || !ldnq_shape_span(x, axis, x->rank, &columns) ||
        !ldnq_shape_count(&scale->shape, &count) || count == columns)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "input %zu has %zu elements where %zu are needed",
                     input, count, columns);
}

static enum ldnq_status layernormalization_infer(struct ldnq_op_call *call,
                                                 struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(ldnq_op_infer_same(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    for (size_t i = 1; i < call->out_count; i++)
        call->out[i] = call->out[0];
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_unknown_shape(call, 0, err);
    LDNQ_TRY(layer_axis(call, &axis, err));
    LDNQ_TRY(check_scale(call, 1, axis, err));
    LDNQ_TRY(check_scale(call, 2, axis, err));
    for (size_t i = 1; i < call->out_count; i++)
        for (int k = axis; k < call->in[0]->shape.rank; k++)
            call->out[i].shape.dim[k] = 1;
    return LDNQ_OK;
}

static void layer_rows(const void *ctx, size_t first, size_t last)
{
    const struct layers *l = ctx;
    for (size_t row = first; row < last; row++) {
        const float *x = l->x + row * l->columns;
        float *y = l->y + row * l->columns;
        struct ldnq_moments moments = ldnq_moments(x, l->columns, l->epsilon);
        ldnq_normalize(x, y, l->columns, moments, 1.0f, 0.0f);
        for (size_t i = 0; i < l->columns; i++)
            y[i] *= l->scale[i];
        for (size_t i = 0; i < l->columns && l->bias; i++)
            y[i] += l->bias[i];
        if (l->mean)
            l->mean[row] = (float)moments.mean;
        if (l->inverse)
            l->inverse[row] = (float)moments.inverse;
    }
}

static enum ldnq_status layernormalization_forward(const struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *bias = ldnq_op_in(call, 2);
    const struct ldnq_shape *shape = &call->in[0]->shape;
    size_t rows = 1;
    int axis;
    LDNQ_TRY(layer_axis(call, &axis, err));
    struct layers layers = { .x = call->in[0]->data, .scale = call->in[1]->data,
                             .bias = bias ? bias->data : NULL, .y = call->out[0].data,
                             .mean = call->out_count > 1 ? call->out[1].data : NULL,
                             .inverse = call->out_count > 2 ? call->out[2].data : NULL,
                             .columns = 1,
                             .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f) };
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? &rows : &layers.columns) *= (size_t)shape->dim[i];
    ldnq_op_for_rows(call, rows, layers.columns, layer_rows, &layers);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_layernormalization = {
    .type = "LayerNormalization", .since = 17, .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_STASHES,
    .inputs_min = 2, .inputs_max = 3, .outputs_max = 3,
    .infer = layernormalization_infer,
    .forward = layernormalization_forward,
};
