/* SPDX-License-Identifier: Apache-2.0 */
/* layernormalization.c: LayerNormalization over the axes from `axis` on.
 *
 * Computes y = (x - mean) * inverse_std * scale + bias,
 *          inverse_std = 1 / sqrt(variance + epsilon)
 * Shapes   x, y (rows, cols), where cols are all elements from `axis` on;
 *          scale, bias (cols); mean, inverse_std (rows)
 * Source   onnx.ai/onnx/operators/onnx__LayerNormalization.html
 */
#include "ops/op.h"

#include "base/simd.h"
#include "base/size.h"
#include "ops/norm/standardize.h"
#include "ops/shared/float_sums.h"

struct layernorm_rows {
    const float *x, *scale, *bias; /* bias may be NULL */
    float *y, *mean, *inverse_std; /* mean and inverse_std may be NULL */
    size_t cols;
    double epsilon;
};

static enum ldnq_status find_axis(const struct ldnq_op_call *call, int *axis,
                                  struct ldnq_error *err)
{
    return ldnq_op_resolve_axis(ldnq_attr_int(call->node, "axis", -1), call->in[0]->shape.rank,
                                axis, err);
}

/* Counts the rows and cols of x as a matrix (rows, cols). */
static enum ldnq_status count_rows_and_cols(const struct ldnq_op_call *call, size_t *rows,
                                            size_t *cols, struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &call->in[0]->shape;
    int axis;
    LDNQ_TRY(find_axis(call, &axis, err));
    *rows = *cols = 1;
    for (int i = 0; i < shape->rank; i++)
        *(i < axis ? rows : cols) *= (size_t)shape->dim[i];
    return LDNQ_OK;
}

/* Checks that scale (input 1) or bias (input 2) has `cols` elements. */
static enum ldnq_status check_scale_shape(const struct ldnq_op_call *call, size_t input, int axis,
                                          struct ldnq_error *err)
{
    const struct ldnq_shape *x = &call->in[0]->shape;
    const struct ldnq_tensor *scale = ldnq_op_input(call, input);
    size_t cols, count;
    LDNQ_TRY(ldnq_op_require_dtype(call, input, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    if (!scale || !ldnq_shape_count_range(x, axis, x->rank, &cols) ||
        !ldnq_shape_count(&scale->shape, &count) || count == cols)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "input %zu has %zu elements where %zu are needed",
                     input, count, cols);
}

static enum ldnq_status layernormalization_infer_shape(struct ldnq_op_call *call,
                                                       struct ldnq_error *err)
{
    int axis;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    for (size_t i = 1; i < call->out_count; i++)
        call->out[i] = call->out[0];
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(find_axis(call, &axis, err));
    LDNQ_TRY(check_scale_shape(call, 1, axis, err));
    LDNQ_TRY(check_scale_shape(call, 2, axis, err));
    for (size_t i = 1; i < call->out_count; i++)
        for (int k = axis; k < call->in[0]->shape.rank; k++)
            call->out[i].shape.dim[k] = 1;
    return LDNQ_OK;
}

LDNQ_MULTIVERSION
static void normalize_row(const struct layernorm_rows *l, const float *x, float *y, float mean,
                          float inverse_std)
{
    const float *scale = l->scale, *bias = l->bias;
    const size_t cols = l->cols;
    LDNQ_IVDEP
    for (size_t i = 0; i < cols; i++)
        y[i] = (x[i] - mean) * inverse_std * scale[i];
    if (!bias)
        return;
    LDNQ_IVDEP
    for (size_t i = 0; i < cols; i++)
        y[i] += bias[i];
}

static void normalize_rows(const void *ctx, size_t first, size_t last)
{
    const struct layernorm_rows *l = ctx;
    for (size_t row = first; row < last; row++) {
        const float *x = l->x + row * l->cols;
        float *y = l->y + row * l->cols;
        struct ldnq_standardize_stats stats = ldnq_standardize_measure(x, l->cols, l->epsilon);
        normalize_row(l, x, y, (float)stats.mean, (float)stats.inverse_std);
        if (l->mean)
            l->mean[row] = (float)stats.mean;
        if (l->inverse_std)
            l->inverse_std[row] = (float)stats.inverse_std;
    }
}

static enum ldnq_status layernormalization_forward(const struct ldnq_op_call *call,
                                                   struct ldnq_error *err)
{
    const struct ldnq_tensor *bias = ldnq_op_input(call, 2);
    size_t rows;
    struct layernorm_rows layernorm = { .x = call->in[0]->data,
                                        .scale = call->in[1]->data,
                                        .bias = bias ? bias->data : NULL,
                                        .y = call->out[0].data,
                                        .mean = call->out_count > 1 ? call->out[1].data : NULL,
                                        .inverse_std =
                                            call->out_count > 2 ? call->out[2].data : NULL,
                                        .epsilon =
                                            (double)ldnq_attr_float(call->node, "epsilon", 1e-5f) };
    LDNQ_TRY(count_rows_and_cols(call, &rows, &layernorm.cols, err));
    ldnq_op_run_rows(call, rows, layernorm.cols, normalize_rows, &layernorm);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

#define BLOCK_COLS ((size_t)64)

struct layernorm_grad {
    const float *x, *scale;
    const float *dy, *dmean, *dinverse_std; /* NULL: zero */
    float *dx, *dscale, *dbias;             /* NULL: not requested */
    struct ldnq_standardize_stats *stats;   /* (rows) */
    size_t rows, cols;
    double epsilon;
};

static void compute_row_means_and_deviations(const void *ctx, size_t first, size_t last)
{
    const struct layernorm_grad *l = ctx;
    for (size_t row = first; row < last; row++)
        l->stats[row] = ldnq_standardize_measure(l->x + row * l->cols, l->cols, l->epsilon);
}

/* dx = v (g - mean(g) - z mean(g z)) with g = dy scale, v = inverse_std, z = (x - mean) v and
 * means over the n columns of the row. The gradients of outputs 1 and 2 add dmean / n and
 * -dinverse_std v^2 z / n. */
static void compute_row_gradients(const void *ctx, size_t first, size_t last)
{
    const struct layernorm_grad *l = ctx;
    const double n = (double)l->cols;
    for (size_t row = first; row < last; row++) {
        const float *x = l->x + row * l->cols;
        const float *dy = l->dy ? l->dy + row * l->cols : NULL;
        float *dx = l->dx + row * l->cols;
        const double mean = l->stats[row].mean, v = l->stats[row].inverse_std;
        for (size_t i = 0; i < l->cols; i++)
            dx[i] = dy ? dy[i] * l->scale[i] : 0.0f;
        double shift = v * ldnq_sum_floats(dx, l->cols) / n;
        double slope = v * v * v * ldnq_sum_weighted_deviations(dx, x, l->cols, mean) / n;
        if (l->dmean)
            shift -= (double)l->dmean[row] / n;
        if (l->dinverse_std)
            slope += (double)l->dinverse_std[row] * v * v * v / n;
        for (size_t i = 0; i < l->cols; i++)
            dx[i] = (float)(v * (double)dx[i] - shift - slope * ((double)x[i] - mean));
    }
}

/* dscale = sum of dy z and dbias = sum of dy over the rows, for blocks of columns. */
static void compute_scale_and_bias_gradients(const void *ctx, size_t first, size_t last)
{
    const struct layernorm_grad *l = ctx;
    for (size_t block = first; block < last; block++) {
        size_t at = block * BLOCK_COLS, count = ldnq_size_min(BLOCK_COLS, l->cols - at);
        double scale[BLOCK_COLS] = { 0 }, bias[BLOCK_COLS] = { 0 };
        for (size_t row = 0; row < l->rows && l->dy; row++) {
            const float *x = l->x + row * l->cols + at, *dy = l->dy + row * l->cols + at;
            const double mean = l->stats[row].mean, v = l->stats[row].inverse_std;
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

static size_t layernormalization_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    size_t rows, cols, bytes;
    return count_rows_and_cols(grad->call, &rows, &cols, NULL) == LDNQ_OK &&
                   ldnq_size_mul(rows, sizeof(struct ldnq_standardize_stats), &bytes)
               ? bytes
               : SIZE_MAX;
}

static enum ldnq_status layernormalization_backward(const struct ldnq_op_grad *grad,
                                                    struct ldnq_error *err)
{
    const struct ldnq_op_call *call = grad->call;
    struct layernorm_grad l = {
        .x = call->in[0]->data,
        .scale = call->in[1]->data,
        .dy = ldnq_op_output_grad(grad, 0),
        .dmean = ldnq_op_output_grad(grad, 1),
        .dinverse_std = ldnq_op_output_grad(grad, 2),
        .dx = grad->in[0].data,
        .dscale = grad->in[1].data,
        .dbias = ldnq_op_input_grad(grad, 2),
        .stats = call->scratch,
        .epsilon = (double)ldnq_attr_float(call->node, "epsilon", 1e-5f),
    };
    LDNQ_TRY(count_rows_and_cols(call, &l.rows, &l.cols, err));
    ldnq_op_run_rows(call, l.rows, l.cols, compute_row_means_and_deviations, &l);
    if (l.dx)
        ldnq_op_run_rows(call, l.rows, l.cols, compute_row_gradients, &l);
    if (l.dscale || l.dbias)
        ldnq_op_run_rows(call, ldnq_size_ceil_div(l.cols, BLOCK_COLS), l.rows * BLOCK_COLS,
                         compute_scale_and_bias_gradients, &l);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_layernormalization = {
    .type = "LayerNormalization",
    .since = 17,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_FLOAT32_STATISTICS,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 3,
    .infer = layernormalization_infer_shape,
    .forward = layernormalization_forward,
    .differentiable = 7,
    .saved_inputs = 3,
    .backward_scratch_bytes = layernormalization_backward_scratch_bytes,
    .backward = layernormalization_backward,
};
