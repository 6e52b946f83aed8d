/* SPDX-License-Identifier: Apache-2.0 */
/* matmul.c: MatMul with the rules of numpy's matmul, and com.microsoft's FusedMatMul.
 *
 * Shapes  A (..., M, K), B (..., K, N), Y (..., M, N); leading axes broadcast. An input with
 *         one axis is a row (A) or a column (B), and Y does not have the added axis
 */
#include "ops/matmul/matmul.h"

#include "base/size.h"
#include "ops/matmul/matmul_layer.h"
#include "ops/operation_count.h"
#include "ops/shared/product.h"

/* Adds an axis of size 1 to an input with one axis. */
static struct ldnq_shape reshape_to_matrix(const struct ldnq_shape *shape, bool is_left)
{
    struct ldnq_shape matrix = *shape;
    if (shape->rank == 1) {
        matrix.rank = 2;
        matrix.dim[is_left ? 1 : 0] = shape->dim[0];
        matrix.dim[is_left ? 0 : 1] = 1;
    }
    return matrix;
}

/* The same for an operand that may be transposed: the shape that the product sees. */
static struct ldnq_shape find_factor_shape(const struct ldnq_shape *shape, bool is_left,
                                           const bool *transposes)
{
    struct ldnq_shape matrix = reshape_to_matrix(shape, is_left);
    if (transposes && transposes[is_left ? 0 : 1] && shape->rank > 1) {
        matrix.dim[matrix.rank - 2] = shape->dim[shape->rank - 1];
        matrix.dim[matrix.rank - 1] = shape->dim[shape->rank - 2];
    }
    return matrix;
}

struct ldnq_matmul_attrs ldnq_matmul_find_attrs(const struct ldnq_op_call *call)
{
    const struct ldnq_matmul_attrs *attrs = call->attrs;
    return attrs ? *attrs : (struct ldnq_matmul_attrs){ .alpha = 1.0f };
}

static enum ldnq_status infer_shape(struct ldnq_op_call *call, const struct ldnq_shape *a,
                                    const struct ldnq_shape *b, const bool *transposes,
                                    struct ldnq_shape *y, struct ldnq_error *err)
{
    struct ldnq_shape lead_a = find_factor_shape(a, true, transposes);
    struct ldnq_shape lead_b = find_factor_shape(b, false, transposes);
    int64_t m = lead_a.dim[lead_a.rank - 2], n = lead_b.dim[lead_b.rank - 1];
    LDNQ_TRY(
        ldnq_product_check(m, n, lead_a.dim[lead_a.rank - 1], lead_b.dim[lead_b.rank - 2], err));
    lead_a.rank -= 2;
    lead_b.rank -= 2;
    LDNQ_TRY(ldnq_op_broadcast(call, &lead_a, &lead_b, y, err));
    if (y->rank + 2 > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                         LDNQ_MAX_RANK);
    if (a->rank > 1)
        y->dim[y->rank++] = m;
    if (b->rank > 1)
        y->dim[y->rank++] = n;
    return LDNQ_OK;
}

static enum ldnq_status matmul_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = LDNQ_FLOAT;
    const struct ldnq_shape *a = &call->in[0]->shape, *b = &call->in[1]->shape;
    if (a->rank < 0 || b->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (a->rank == 0 || b->rank == 0)
        return ldnq_fail(err, LDNQ_MODEL, "a scalar can't be multiplied as a matrix");
    const struct ldnq_matmul_attrs attrs = ldnq_matmul_find_attrs(call);
    return infer_shape(call, a, b, attrs.transposes, &call->out[0].shape, err);
}

struct leading_axes {
    struct ldnq_shape lead;
    size_t strides_a[LDNQ_MAX_RANK], strides_b[LDNQ_MAX_RANK];
    size_t matrix_a, matrix_b; /* elements of one matrix */
};

static void find_broadcast_batch_offsets(const void *ctx, size_t batch, size_t offsets[2])
{
    const struct leading_axes *axes = ctx;
    offsets[0] = offsets[1] = 0;
    for (int i = axes->lead.rank - 1; i >= 0; i--) {
        size_t dim = (size_t)axes->lead.dim[i], at = batch % dim;
        batch /= dim;
        offsets[0] += at * axes->strides_a[i] * axes->matrix_a;
        offsets[1] += at * axes->strides_b[i] * axes->matrix_b;
    }
}

/* The constant that an Add adds to the node's output; NULL if it is none. */
static const struct ldnq_tensor *find_added_constant(const struct ldnq_node *node,
                                                     const struct ldnq_node *add)
{
    const struct ldnq_value *other = add->inputs[add->inputs[0] == node->outputs[0] ? 1 : 0];
    return other ? other->constant : NULL;
}

/* Whether the reader adds a bias to the columns of a product of float32 with one matrix. */
static bool matmul_can_fuse(const struct ldnq_node *node, const struct ldnq_node *reader)
{
    const struct ldnq_shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape;
    if (reader->op != &ldnq_op_add || node->inputs[0]->dtype != LDNQ_FLOAT || a->rank < 2 ||
        b->rank != 2)
        return false;
    const struct ldnq_tensor *bias = find_added_constant(node, reader);
    size_t count;
    return bias && bias->dtype == LDNQ_FLOAT && bias->shape.rank >= 1 &&
           bias->shape.rank <= a->rank && bias->shape.dim[bias->shape.rank - 1] == b->dim[1] &&
           ldnq_shape_count(&bias->shape, &count) && (int64_t)count == b->dim[1];
}

static enum ldnq_status matmul_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_matmul_attrs attrs = ldnq_matmul_find_attrs(call);
    struct ldnq_shape a = find_factor_shape(&call->in[0]->shape, true, attrs.transposes);
    struct ldnq_shape b = find_factor_shape(&call->in[1]->shape, false, attrs.transposes);
    struct ldnq_product product = {
        .m = (size_t)a.dim[a.rank - 2],
        .n = (size_t)b.dim[b.rank - 1],
        .k = (size_t)a.dim[a.rank - 1],
        .transpose_a =
            attrs.transposes[0] && call->in[0]->shape.rank > 1 ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
        .transpose_b =
            attrs.transposes[1] && call->in[1]->shape.rank > 1 ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
        .alpha = attrs.alpha,
        .batches = 1,
        .a = call->in[0]->data,
        .b = call->in[1]->data,
        .c = call->out[0].data,
    };
    if (call->fused_reader)
        product.column_bias = find_added_constant(call->node, call->fused_reader)->data;
    struct leading_axes axes = { .matrix_a = product.m * product.k,
                                 .matrix_b = product.k * product.n };
    size_t lead_a = 1;
    ldnq_shape_count_range(&a, 0, a.rank - 2, &lead_a);
    if (b.rank == 2 && (a.rank == 2 || !attrs.transposes[0])) {
        /* All batches share B: the leading axes of A become rows of one product. */
        product.m *= lead_a;
    } else {
        struct ldnq_op_call at_run_time = *call;
        a.rank -= 2;
        b.rank -= 2;
        LDNQ_TRY(ldnq_op_broadcast(&at_run_time, &a, &b, &axes.lead, err));
        ldnq_shape_count(&axes.lead, &product.batches);
        ldnq_op_broadcast_strides(&a, &axes.lead, axes.strides_a);
        ldnq_op_broadcast_strides(&b, &axes.lead, axes.strides_b);
        product.offsets = find_broadcast_batch_offsets;
        product.ctx = &axes;
    }
    ldnq_product_run(&product, call->pool);
    return LDNQ_OK;
}

enum ldnq_status ldnq_matmul_infer_shape(struct ldnq_op_call *call, size_t a, size_t b,
                                         struct ldnq_error *err)
{
    const struct ldnq_shape *left = &call->in[a]->shape, *right = &call->in[b]->shape;
    if (left->rank < 0 || right->rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    if (left->rank == 0 || right->rank == 0)
        return ldnq_fail(err, LDNQ_MODEL, "a scalar can't be multiplied as a matrix");
    return infer_shape(call, left, right, NULL, &call->out[0].shape, err);
}

size_t ldnq_matmul_count_operations(const struct ldnq_op_call *call, size_t left)
{
    const struct ldnq_shape *a = &call->in[left]->shape;
    return ldnq_operations_of_products(call, (size_t)a->dim[a->rank - 1]);
}

static size_t matmul_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_matmul_attrs attrs = ldnq_matmul_find_attrs(call);
    const struct ldnq_shape a = find_factor_shape(&call->in[0]->shape, true, attrs.transposes);
    return ldnq_operations_of_products(call, (size_t)a.dim[a.rank - 1]);
}

struct ldnq_matmul ldnq_matmul_describe(const struct ldnq_op_call *call, size_t left, size_t right,
                                        const bool *transposes)
{
    struct ldnq_shape a = find_factor_shape(&call->in[left]->shape, true, transposes);
    struct ldnq_shape b = find_factor_shape(&call->in[right]->shape, false, transposes),
                      lead = { 0 };
    struct ldnq_matmul result = { .m = (size_t)a.dim[a.rank - 2],
                                  .n = (size_t)b.dim[b.rank - 1],
                                  .k = (size_t)a.dim[a.rank - 1],
                                  .batches = 1 };
    struct ldnq_op_call at_run_time = *call;
    a.rank -= 2;
    b.rank -= 2;
    if (ldnq_op_broadcast(&at_run_time, &a, &b, &lead, NULL) != LDNQ_OK)
        return result; /* can't happen: infer has accepted the shapes */
    ldnq_shape_count(&lead, &result.batches);
    result.lead = lead;
    ldnq_op_broadcast_strides(&a, &lead, result.strides[0]);
    ldnq_op_broadcast_strides(&b, &lead, result.strides[1]);
    return result;
}

void ldnq_matmul_find_offsets(const struct ldnq_matmul *matmul, size_t batch, size_t offsets[2])
{
    struct leading_axes axes = { .lead = matmul->lead,
                                 .matrix_a = matmul->m * matmul->k,
                                 .matrix_b = matmul->k * matmul->n };
    for (int i = 0; i < matmul->lead.rank; i++) {
        axes.strides_a[i] = matmul->strides[0][i];
        axes.strides_b[i] = matmul->strides[1][i];
    }
    find_broadcast_batch_offsets(&axes, batch, offsets);
}

/* ---- backward ----------------------------------------------------------------------- */

/* The shapes of A and B in backward. */
struct matmul_factors {
    struct ldnq_shape a, b;           /* shapes of a and b, with at least two axes */
    struct ldnq_shape lead_a, lead_b; /* a and b without the last two axes */
    struct leading_axes axes;         /* the leading axes of Y */
    size_t m, n, k, batches;
};

static struct matmul_factors describe_factors(const struct ldnq_op_call *call)
{
    struct matmul_factors f = { .a = reshape_to_matrix(&call->in[0]->shape, true),
                                .b = reshape_to_matrix(&call->in[1]->shape, false),
                                .batches = 1 };
    struct ldnq_op_call at_run_time = *call;
    f.m = (size_t)f.a.dim[f.a.rank - 2];
    f.k = (size_t)f.a.dim[f.a.rank - 1];
    f.n = (size_t)f.b.dim[f.b.rank - 1];
    f.lead_a = f.a;
    f.lead_b = f.b;
    f.lead_a.rank -= 2;
    f.lead_b.rank -= 2;
    /* infer has checked that the shapes broadcast. */
    if (ldnq_op_broadcast(&at_run_time, &f.lead_a, &f.lead_b, &f.axes.lead, NULL) == LDNQ_OK)
        ldnq_shape_count(&f.axes.lead, &f.batches);
    return f;
}

/* Whether all batches share B, so that the leading axes of A are rows of one product. */
static bool is_one_product(const struct matmul_factors *f)
{
    return f->b.rank == 2;
}

/* Whether the gradient of input i has to be summed over batches. */
static bool needs_batch_sum(const struct matmul_factors *f, size_t i)
{
    return !is_one_product(f) &&
           !ldnq_shapes_are_equal(i == 0 ? &f->lead_a : &f->lead_b, &f->axes.lead);
}

/* The gradient of input i before it is summed over the batches that share it. */
static struct ldnq_tensor find_unsummed_gradient(const struct matmul_factors *f, size_t i,
                                                 float *data)
{
    struct ldnq_tensor whole = { .dtype = LDNQ_FLOAT, .shape = f->axes.lead, .data = data };
    whole.shape.dim[whole.shape.rank++] = (int64_t)(i == 0 ? f->m : f->k);
    whole.shape.dim[whole.shape.rank++] = (int64_t)(i == 0 ? f->k : f->n);
    return whole;
}

static size_t matmul_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    struct matmul_factors f = describe_factors(grad->call);
    size_t most = 0, bytes;
    for (size_t i = 0; i < 2; i++) {
        struct ldnq_tensor whole = find_unsummed_gradient(&f, i, NULL);
        if (!grad->in[i].data || !needs_batch_sum(&f, i))
            continue;
        if (!ldnq_tensor_bytes(&whole, &bytes))
            return SIZE_MAX;
        most = ldnq_size_max(most, bytes);
    }
    return most;
}

/* dA = dY B' and dB = A' dY. */
static void compute_factor_gradient(const struct ldnq_op_grad *grad, struct matmul_factors *f,
                                    size_t i)
{
    const struct ldnq_op_call *call = grad->call;
    struct ldnq_tensor to = { .dtype = LDNQ_FLOAT,
                              .shape = i == 0 ? f->a : f->b,
                              .data = grad->in[i].data };
    struct ldnq_tensor whole =
        needs_batch_sum(f, i) ? find_unsummed_gradient(f, i, call->scratch) : to;
    struct ldnq_product p = { .alpha = 1.0f,
                              .batches = f->batches,
                              .c = whole.data,
                              .offsets = find_broadcast_batch_offsets,
                              .ctx = &f->axes };
    size_t rows = is_one_product(f) ? f->m * f->batches : f->m;
    p.m = i == 0 ? rows : f->k;
    p.n = i == 0 ? f->k : f->n;
    p.k = i == 0 ? f->n : rows;
    p.a = i == 0 ? grad->out[0]->data : call->in[0]->data;
    p.b = i == 0 ? call->in[1]->data : grad->out[0]->data;
    p.transpose_a = i == 0 ? LDNQ_AS_IS : LDNQ_TRANSPOSED;
    p.transpose_b = i == 0 ? LDNQ_TRANSPOSED : LDNQ_AS_IS;
    if (is_one_product(f)) {
        p.batches = 1;
        p.offsets = NULL;
    } else {
        f->axes.matrix_a = i == 0 ? f->m * f->n : f->m * f->k;
        f->axes.matrix_b = i == 0 ? f->k * f->n : f->m * f->n;
        ldnq_op_broadcast_strides(i == 0 ? &f->axes.lead : &f->lead_a, &f->axes.lead,
                                  f->axes.strides_a);
        ldnq_op_broadcast_strides(i == 0 ? &f->lead_b : &f->axes.lead, &f->axes.lead,
                                  f->axes.strides_b);
    }
    ldnq_product_run(&p, call->pool);
    if (needs_batch_sum(f, i))
        ldnq_op_sum_broadcast_grad(call, &whole, &to);
}

static enum ldnq_status matmul_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct matmul_factors f = describe_factors(grad->call);
    (void)err;
    for (size_t i = 0; i < 2; i++)
        if (grad->in[i].data)
            compute_factor_gradient(grad, &f, i);
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_matmul = {
    .type = "MatMul",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = matmul_infer_shape,
    .count_operations = matmul_count_operations,
    .forward = matmul_forward,
    .differentiable = 3,
    .saved_inputs = 3,
    .backward_scratch_bytes = matmul_backward_scratch_bytes,
    .backward = matmul_backward,
    .can_fuse = matmul_can_fuse,
    .layer = &ldnq_matmul_layer,
};

/* ---- FusedMatMul ------------------------------------------------------------------------- */

static enum ldnq_status fusedmatmul_read_attrs(const struct ldnq_node *node,
                                               struct ldnq_arena *arena, const void **out,
                                               struct ldnq_error *err)
{
    struct ldnq_matmul_attrs *attrs = ldnq_arena_alloc(arena, 1, sizeof *attrs, err);
    if (!attrs)
        return LDNQ_NOMEM;
    *attrs = (struct ldnq_matmul_attrs){ .alpha = ldnq_attr_float(node, "alpha", 1.0f),
                                         .transposes = { ldnq_attr_int(node, "transA", 0) != 0,
                                                         ldnq_attr_int(node, "transB", 0) != 0 } };
    if (ldnq_attr_int(node, "transBatchA", 0) || ldnq_attr_int(node, "transBatchB", 0))
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "transBatchA and transBatchB are not supported");
    *out = attrs;
    return LDNQ_OK;
}

/* Source: ONNX Runtime's docs/ContribOperators.md, com.microsoft.FusedMatMul. */
const struct ldnq_op ldnq_op_fusedmatmul = {
    .domain = "com.microsoft",
    .type = "FusedMatMul",
    .since = 1,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .read_attrs = fusedmatmul_read_attrs,
    .infer = matmul_infer_shape,
    .count_operations = matmul_count_operations,
    .forward = matmul_forward,
    .differentiable = 3,
    .layer = &ldnq_matmul_layer,
};
