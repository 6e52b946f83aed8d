/* SPDX-License-Identifier: Apache-2.0 */
/* gemm.c: Gemm: Y = alpha op(A) op(B) + beta C, where op is the identity or the transpose.
 *
 * Shapes  op(A) (N, K), op(B) (K, M), Y (N, M), C broadcasts to (N, M)
 */
#include "base/size.h"
#include "ops/op_layer.h"
#include "ops/operation_count.h"
#include "ops/shared/product.h"

struct gemm_attrs {
    float alpha, beta;
    bool transpose_a, transpose_b;
};

static enum ldnq_status gemm_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                        const void **attrs, struct ldnq_error *err)
{
    struct gemm_attrs *gemm = ldnq_arena_alloc(arena, 1, sizeof *gemm, err);
    if (!gemm)
        return LDNQ_NOMEM;
    *gemm = (struct gemm_attrs){ .alpha = ldnq_attr_float(node, "alpha", 1.0f),
                                 .beta = ldnq_attr_float(node, "beta", 1.0f),
                                 .transpose_a = ldnq_attr_int(node, "transA", 0) != 0,
                                 .transpose_b = ldnq_attr_int(node, "transB", 0) != 0 };
    *attrs = gemm;
    return LDNQ_OK;
}

static enum ldnq_status gemm_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct gemm_attrs *gemm = call->attrs;
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = LDNQ_FLOAT;
    const struct ldnq_shape *a = &call->in[0]->shape, *b = &call->in[1]->shape;
    if (a->rank < 0 || b->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (a->rank != 2 || b->rank != 2)
        return ldnq_fail(err, LDNQ_MODEL, "its inputs have %d and %d axes where 2 are needed",
                         a->rank, b->rank);
    struct ldnq_shape *y = &call->out[0].shape, with_c;
    *y = (struct ldnq_shape){
        .rank = 2, .dim = { a->dim[gemm->transpose_a ? 1 : 0], b->dim[gemm->transpose_b ? 0 : 1] }
    };
    LDNQ_TRY(ldnq_product_check(y->dim[0], y->dim[1], a->dim[gemm->transpose_a ? 0 : 1],
                                b->dim[gemm->transpose_b ? 1 : 0], err));
    if (call->in_count < 3 || !call->in[2] || call->in[2]->shape.rank < 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_op_broadcast(call, y, &call->in[2]->shape, &with_c, err));
    if (ldnq_shape_is_known(&with_c) && !ldnq_shapes_are_equal(&with_c, y))
        return ldnq_fail(err, LDNQ_MODEL, "its input C is larger than its product");
    return LDNQ_OK;
}

static size_t gemm_count_operations(const struct ldnq_op_call *call)
{
    const struct gemm_attrs *gemm = call->attrs;
    return ldnq_operations_of_products(call,
                                       (size_t)call->in[0]->shape.dim[gemm->transpose_a ? 0 : 1]);
}

/* Y = C, broadcast; the product is added to it. */
static void copy_broadcast_c(const struct ldnq_op_call *call)
{
    size_t strides[LDNQ_MAX_RANK];
    const struct ldnq_shape *shape = &call->out[0].shape;
    ldnq_op_broadcast_strides(&call->in[2]->shape, shape, strides);
    const float *c = call->in[2]->data;
    float *y = call->out[0].data;
    size_t rows = (size_t)shape->dim[0], columns = (size_t)shape->dim[1];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            *y++ = c[i * strides[0] + j * strides[1]];
}

/* The data of C if it is one element per column and beta is 1, so that it can be added as a
 * column bias; else NULL. */
static const float *find_column_bias(const struct ldnq_op_call *call)
{
    const struct gemm_attrs *gemm = call->attrs;
    const struct ldnq_tensor *c = ldnq_op_input(call, 2);
    size_t count;
    if (!c || gemm->beta != 1.0f || c->shape.rank == 0 || !ldnq_shape_count(&c->shape, &count))
        return NULL;
    int64_t columns = call->out[0].shape.dim[1];
    bool is_row = c->shape.dim[c->shape.rank - 1] == columns && count == (size_t)columns;
    return is_row ? c->data : NULL;
}

static struct ldnq_product describe_product(const struct ldnq_op_call *call)
{
    const struct gemm_attrs *gemm = call->attrs;
    return (struct ldnq_product){
        .m = (size_t)call->out[0].shape.dim[0],
        .n = (size_t)call->out[0].shape.dim[1],
        .k = (size_t)call->in[0]->shape.dim[gemm->transpose_a ? 0 : 1],
        .transpose_a = gemm->transpose_a ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
        .transpose_b = gemm->transpose_b ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
        .alpha = gemm->alpha,
        .beta = ldnq_op_input(call, 2) && !find_column_bias(call) ? gemm->beta : 0.0f,
        .column_bias = find_column_bias(call),
        .batches = 1,
        .a = call->in[0]->data,
        .b = call->in[1]->data,
        .c = call->out[0].data,
    };
}

static enum ldnq_status gemm_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    (void)err;
    struct ldnq_product product = describe_product(call);
    if (product.beta != 0.0f)
        copy_broadcast_c(call);
    ldnq_product_run(&product, call->pool);
    return LDNQ_OK;
}

/* ---- backward ----------------------------------------------------------------------- */

static enum ldnq_transpose find_opposite_transpose(enum ldnq_transpose transpose)
{
    return transpose == LDNQ_AS_IS ? LDNQ_TRANSPOSED : LDNQ_AS_IS;
}

/* d op(A) = alpha dY op(B)^T and d op(B) = alpha op(A)^T dY. If an input is transposed, its
 * gradient is the transpose of that product, which swaps the factors. */
static void compute_a_gradient(const struct ldnq_op_grad *grad)
{
    struct ldnq_product y = describe_product(grad->call);
    bool transposed = y.transpose_a == LDNQ_TRANSPOSED;
    struct ldnq_product da = { .m = transposed ? y.k : y.m,
                               .n = transposed ? y.m : y.k,
                               .k = y.n,
                               .alpha = y.alpha,
                               .batches = 1,
                               .c = grad->in[0].data };
    da.a = transposed ? y.b : grad->out[0]->data;
    da.b = transposed ? grad->out[0]->data : y.b;
    da.transpose_a = transposed ? y.transpose_b : LDNQ_AS_IS;
    da.transpose_b = transposed ? LDNQ_TRANSPOSED : find_opposite_transpose(y.transpose_b);
    ldnq_product_run(&da, grad->call->pool);
}

static void compute_b_gradient(const struct ldnq_op_grad *grad)
{
    struct ldnq_product y = describe_product(grad->call);
    bool transposed = y.transpose_b == LDNQ_TRANSPOSED;
    struct ldnq_product db = { .m = transposed ? y.n : y.k,
                               .n = transposed ? y.k : y.n,
                               .k = y.m,
                               .alpha = y.alpha,
                               .batches = 1,
                               .c = grad->in[1].data };
    db.a = transposed ? grad->out[0]->data : y.a;
    db.b = transposed ? y.a : grad->out[0]->data;
    db.transpose_a = transposed ? LDNQ_TRANSPOSED : find_opposite_transpose(y.transpose_a);
    db.transpose_b = transposed ? y.transpose_a : LDNQ_AS_IS;
    ldnq_product_run(&db, grad->call->pool);
}

static void compute_c_gradient(const struct ldnq_op_grad *grad)
{
    const struct gemm_attrs *gemm = grad->call->attrs;
    float *dc = grad->in[2].data;
    size_t count = ldnq_tensor_count(&grad->in[2]);
    ldnq_op_sum_broadcast_grad(grad->call, grad->out[0], &grad->in[2]);
    for (size_t i = 0; i < count && gemm->beta != 1.0f; i++)
        dc[i] = gemm->beta != 0.0f ? gemm->beta * dc[i] : 0.0f;
}

static enum ldnq_status gemm_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    (void)err;
    if (grad->in[0].data)
        compute_a_gradient(grad);
    if (grad->in[1].data)
        compute_b_gradient(grad);
    if (ldnq_op_input(grad->call, 2) && grad->in[2].data)
        compute_c_gradient(grad);
    return LDNQ_OK;
}

/* ---- as a layer ----------------------------------------------------------------------- */

/* `is_out_in`: the weight is (M, K), else (K, M). */
static enum ldnq_status describe_matrix(const struct gemm_attrs *gemm,
                                        const struct ldnq_tensor *weight, bool is_out_in,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &weight->shape;
    if (shape->rank != 2)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight has %d axes where 2 are needed",
                         shape->rank);
    if (gemm->alpha == 0.0f)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight has no effect, as alpha is 0");
    if (is_out_in) {
        *geometry = ldnq_describe_out_in(1, (size_t)shape->dim[0], (size_t)shape->dim[1], 1);
        return LDNQ_OK;
    }
    *geometry = ldnq_describe_in_out(1, (size_t)shape->dim[1], (size_t)shape->dim[0], 1);
    geometry->layout = LDNQ_WEIGHT_IN_OUT;
    return LDNQ_OK;
}

static enum ldnq_status gemm_describe_weight(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    const struct gemm_attrs *gemm = node->op_attrs;
    LDNQ_TRY(describe_matrix(gemm, weight, gemm->transpose_b, geometry, err));
    geometry->mixes_samples = gemm->transpose_a;
    geometry->bias_factor = !bias || ldnq_is_channel_bias(bias, geometry->rows) ? gemm->beta : 0.0f;
    return LDNQ_OK;
}

/* C has an element for each output channel where it is a column, (M, 1). */
static bool is_column_bias(const struct ldnq_tensor *bias, size_t channels)
{
    return bias && bias->shape.rank == 2 && bias->shape.dim[0] == (int64_t)channels &&
           bias->shape.dim[1] == 1;
}

static enum ldnq_status gemm_describe_left_weight(const struct ldnq_node *node,
                                                  const struct ldnq_tensor *weight,
                                                  const struct ldnq_tensor *bias,
                                                  struct ldnq_layer_geometry *geometry,
                                                  struct ldnq_error *err)
{
    const struct gemm_attrs *gemm = node->op_attrs;
    LDNQ_TRY(describe_matrix(gemm, weight, !gemm->transpose_a, geometry, err));
    geometry->mixes_samples = !gemm->transpose_b;
    geometry->bias_factor = is_column_bias(bias, geometry->rows) ? gemm->beta : 0.0f;
    return LDNQ_OK;
}

static size_t gemm_count_input_rows(const struct ldnq_op_call *call)
{
    return (size_t)call->out[0].shape.dim[0];
}

static void gemm_fill_columns(const struct ldnq_op_call *call, size_t group, size_t first,
                              size_t count, float *columns, size_t ld)
{
    (void)group;
    struct ldnq_product product = describe_product(call);
    ldnq_product_fill_columns(&product, first, count, columns, ld);
}

static size_t gemm_count_input_columns(const struct ldnq_op_call *call)
{
    return (size_t)call->out[0].shape.dim[1];
}

/* The transposed product: op(B)' is the left operand. */
static void gemm_fill_columns_of_b(const struct ldnq_op_call *call, size_t group, size_t first,
                                   size_t count, float *columns, size_t ld)
{
    (void)group;
    const struct ldnq_product product = describe_product(call);
    const struct ldnq_product transposed = {
        .m = product.n,
        .k = product.k,
        .alpha = product.alpha,
        .a = product.b,
        .transpose_a = product.transpose_b == LDNQ_TRANSPOSED ? LDNQ_AS_IS : LDNQ_TRANSPOSED,
    };
    ldnq_product_fill_columns(&transposed, first, count, columns, ld);
}

static const struct ldnq_op_layer gemm_left_layer = {
    .weight_input = 0,
    .bias_input = 2,
    .weight_label = "A",
    .data_input = 1,
    .describe_weight = gemm_describe_left_weight,
    .count_positions = gemm_count_input_columns,
    .fill_columns = gemm_fill_columns_of_b,
};

static const struct ldnq_op_layer gemm_layer = {
    .weight_input = 1,
    .bias_input = 2,
    .weight_label = "B",
    .other = &gemm_left_layer,
    .describe_weight = gemm_describe_weight,
    .count_positions = gemm_count_input_rows,
    .fill_columns = gemm_fill_columns,
};

const struct ldnq_op ldnq_op_gemm = {
    .type = "Gemm",
    .since = 7,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = gemm_read_attrs,
    .infer = gemm_infer_shape,
    .count_operations = gemm_count_operations,
    .forward = gemm_forward,
    .differentiable = 7,
    .saved_inputs = 3,
    .backward = gemm_backward,
    .layer = &gemm_layer,
};
