/* layernormalization.c: LayerNormalization over the axes from `axis` on.
 *
 * Shapes  x, y (rows, columns); scale, bias (columns); mean, 1/deviation (rows)
 */
#include "ops/op.h"

#include "base/simd.h"
#include "base/size.h"
#include "ops/norm/standardize.h"
#include "ops/shared/sums.h"

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
    if (!scale || !ldnq_shape_count_range(x, axis, x->rank, &columns) ||
        !ldnq_shape_count(&scale->shape, &count) || count == columns)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "input %zu has %zu elements where %zu are needed",
                     input, count, columns);
}

static enum ldnq_status layernormalization_infer(struct ldnq_op_call *call, struct ldnq_error *err)
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

LDNQ_MULTIVERSION
static void normalize_row(const struct layers *l, const float *x, float *y, float mean,
                          float inverse)
{
    const float *scale = l->scale, *bias = l->bias;
    const size_t columns = l->columns;
    LDNQ_IVDEP
    for (size_t i = 0; i < columns; i++)
        y[i] = (x[i] - mean) * inverse * scale[i];
    if (!bias)
        return;
    LDNQ_IVDEP
    for (size_t i = 0; i < columns; i++)
        y[i] += bias[i];
}

static void layer_rows(const void *ctx, size_t first, size_t last)
{
    const struct layers *l = ctx;
    for (size_t row = first; row < last; row++) {
        const float *x = l->x + row * l->columns;
        float *y = l->y + row * l->columns;
        struct ldnq_standardize_stats moments = ldnq_standardize_measure(x, l->columns, l->epsilon);
        normalize_row(l, x, y, (float)moments.mean, (float)moments.inverse);
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
    struct layers layers = { .x = call->in[0]->data,
                             .scale = call->in[1]->data,
                             .bias = bias ? bias->data : NULL,
                             .y = call->out[0].data,
                             .mean = call->out_count > 1 ? call->out[1].data : NULL,
                             .inverse = call->out_count > 2 ? call->out[2].data : NULL,
                             .columns = 1,
                             .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f) };
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? &rows : &layers.columns) *= (size_t)shape->dim[i];
    ldnq_op_for_rows(call, rows, layers.columns, layer_rows, &layers);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

#define COLUMNS ((size_t)64)

struct layers_grad {
    const float *x, *scale;
    const float *dy, *dmean, *dinverse;     /* NULL where they don't matter */
    float *dx, *dscale, *dbias;             /* NULL where not wanted */
    struct ldnq_standardize_stats *moments; /* (rows) */
    size_t rows, columns;
    double epsilon;
};

static void find_moments(const void *ctx, size_t first, size_t last)
{
    const struct layers_grad *l = ctx;
    for (size_t row = first; row < last; row++)
        l->moments[row] = ldnq_standardize_measure(l->x + row * l->columns, l->columns, l->epsilon);
}

/* dx = v (g - mean(g) - z mean(g z)) with g = dy * scale, z the normalized x and v the
 * inverse deviation; the outputs mean and v add dmean / n and -dv v^2 z / n. */
static void rows_backward(const void *ctx, size_t first, size_t last)
{
    const struct layers_grad *l = ctx;
    const double n = (double)l->columns;
    for (size_t row = first; row < last; row++) {
        const float *x = l->x + row * l->columns;
        const float *dy = l->dy ? l->dy + row * l->columns : NULL;
        float *dx = l->dx + row * l->columns;
        const double mean = l->moments[row].mean, v = l->moments[row].inverse;
        for (size_t i = 0; i < l->columns; i++)
            dx[i] = dy ? dy[i] * l->scale[i] : 0.0f;
        double shift = v * ldnq_sum(dx, l->columns) / n;
        double slope = v * v * v * ldnq_sum_products(dx, x, l->columns, mean) / n;
        if (l->dmean)
            shift -= (double)l->dmean[row] / n;
        if (l->dinverse)
            slope += (double)l->dinverse[row] * v * v * v / n;
        for (size_t i = 0; i < l->columns; i++)
            dx[i] = (float)(v * (double)dx[i] - shift - slope * ((double)x[i] - mean));
    }
}

/* Blocks of columns, each summed over all rows. */
static void columns_backward(const void *ctx, size_t first, size_t last)
{
    const struct layers_grad *l = ctx;
    for (size_t block = first; block < last; block++) {
        size_t at = block * COLUMNS, count = ldnq_size_min(COLUMNS, l->columns - at);
        double scale[COLUMNS] = { 0 }, bias[COLUMNS] = { 0 };
        for (size_t row = 0; row < l->rows && l->dy; row++) {
            const float *x = l->x + row * l->columns + at, *dy = l->dy + row * l->columns + at;
            const double mean = l->moments[row].mean, v = l->moments[row].inverse;
            for (size_t i = 0; i < count; i++) {
                scale[i] += (double)dy[i] * (((double)x[i] - mean) * v);
                bias[i] += (double)dy[i];
            }
        }
        for (size_t i = 0; i < count && l->dscale; i++)
            l->dscale[at + i] = (float)scale[i];
        for (size_t i = 0; i < count && l->dbias; i++)
            l->dbias[at + i] = (float)bias[i];
    }
}

static enum ldnq_status layernormalization_sizes(const struct ldnq_op_call *call, size_t *rows,
                                                 size_t *columns, struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int axis;
    LDNQ_TRY(layer_axis(call, &axis, err));
    *rows = *columns = 1;
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? rows : columns) *= (size_t)shape->dim[i];
    return LDNQ_OK;
}

static size_t layernormalization_backward_scratch(const struct ldnq_op_grad *grad)
{
    size_t rows, columns, bytes;
    return layernormalization_sizes(grad->call, &rows, &columns, NULL) == LDNQ_OK &&
                   ldnq_size_mul(rows, sizeof(struct ldnq_standardize_stats), &bytes)
               ? bytes
               : SIZE_MAX;
}

static const float *output_grad(const struct ldnq_op_grad *grad, size_t i)
{
    return i < grad->call->out_count && grad->out[i] ? grad->out[i]->data : NULL;
}

static enum ldnq_status layernormalization_backward(const struct ldnq_op_grad *grad,
                                                    struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct layers_grad l = {
        .x = call->in[0]->data,
        .scale = call->in[1]->data,
        .dy = output_grad(grad, 0),
        .dmean = output_grad(grad, 1),
        .dinverse = output_grad(grad, 2),
        .dx = grad->in[0].data,
        .dscale = grad->in[1].data,
        .dbias = ldnq_op_in(call, 2) ? grad->in[2].data : NULL,
        .moments = call->scratch,
        .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f),
    };
    LDNQ_TRY(layernormalization_sizes(call, &l.rows, &l.columns, err));
    ldnq_op_for_rows(call, l.rows, l.columns, find_moments, &l);
    if (l.dx)
        ldnq_op_for_rows(call, l.rows, l.columns, rows_backward, &l);
    if (l.dscale || l.dbias)
        ldnq_op_for_rows(call, ldnq_size_ceil_div(l.columns, COLUMNS), l.rows * COLUMNS,
                         columns_backward, &l);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_layernormalization = {
    .type = "LayerNormalization",
    .since = 17,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_STASHES,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 3,
    .infer = layernormalization_infer,
    .forward = layernormalization_forward,
    .flows = 7,
    .reads_in = 3,
    .backward_scratch = layernormalization_backward_scratch,
    .backward = layernormalization_backward,
};
