/* SPDX-License-Identifier: Apache-2.0 */
/* matmulinteger.c: MatMulInteger and QLinearMatMul.
 *
 * Shapes  a (..., M, K), b (..., K, N), y (..., M, N). Scale and zero point of a: one
 *         number, or one per row as (M) or (..., M, 1); of b: one number, or one per column
 *         as (N) or (..., 1, N)
 * Numbers codes.h
 * Threads a chunk is a block of rows of y
 * Source  onnx.ai/onnx/operators/onnx__MatMulInteger.html, QLinearMatMul
 */
#include "ops/quantized/codes.h"
#include "ops/matmul/matmul.h"

#include "base/size.h"

/* Rows of y per chunk. */
#define ROWS ((size_t)32)

/* The indices of the inputs; MatMulInteger has no scales. */
struct matmulinteger_inputs {
    size_t a, b, a_zero, b_zero, a_scale, b_scale;
};

static const struct matmulinteger_inputs matmulinteger_inputs = { 0, 1, 2, 3, 0, 0 };
static const struct matmulinteger_inputs qlinearmatmul_inputs = { 0, 3, 2, 5, 1, 4 };

/* ---- parameters per row and per column -------------------------------------------------- */

/* The shape under which a parameter broadcasts to its matrix. */
static struct ldnq_shape make_parameter_shape(const struct ldnq_shape *shape, bool per_row)
{
    struct ldnq_shape result = *shape;
    if (shape->rank == 1 && per_row)
        result = (struct ldnq_shape){ 2, { shape->dim[0], 1 } };
    return result;
}

static enum ldnq_status check_parameter(const struct ldnq_op_call *call, size_t input,
                                        size_t matrix, bool per_row, struct ldnq_error *err)
{
    const struct ldnq_tensor *parameter = ldnq_op_input(call, input);
    const struct ldnq_shape *m = &call->in[matrix]->shape;
    char a[LDNQ_SHAPE_TEXT], b[LDNQ_SHAPE_TEXT];
    size_t count;
    if (!parameter || parameter->shape.rank < 0 || m->rank < 0 ||
        (ldnq_shape_count(&parameter->shape, &count) && count == 1))
        return LDNQ_OK;
    struct ldnq_shape shape = make_parameter_shape(&parameter->shape, per_row);
    bool fits = shape.rank >= 1 && shape.rank <= m->rank && m->rank >= 2;
    for (int i = 0; fits && i < shape.rank; i++) {
        int axis = m->rank - shape.rank + i;
        bool shared = axis == m->rank - (per_row ? 1 : 2);
        int64_t dim = shape.dim[i], want = m->dim[axis];
        fits =
            dim == 1 || (!shared && (dim == want || ldnq_is_symbol(want))) || ldnq_is_symbol(dim);
    }
    if (fits)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED,
                     "input %zu of shape %s is neither one number nor one "
                     "per %s of a matrix of shape %s",
                     input, ldnq_shape_print(&parameter->shape, NULL, a, sizeof a),
                     per_row ? "row" : "column", ldnq_shape_print(m, NULL, b, sizeof b));
}

static enum ldnq_status check_matrices(struct ldnq_op_call *call,
                                       const struct matmulinteger_inputs *at,
                                       struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_codes_check_types(call, at->a, at->a_zero, err));
    LDNQ_TRY(ldnq_codes_check_types(call, at->b, at->b_zero, err));
    LDNQ_TRY(check_parameter(call, at->a_zero, at->a, true, err));
    LDNQ_TRY(check_parameter(call, at->b_zero, at->b, false, err));
    return ldnq_matmul_infer_shape(call, at->a, at->b, err);
}

/* ---- the product ------------------------------------------------------------------------ */

struct integer_product {
    struct ldnq_matmul shape;
    const int16_t *a, *b;
    int32_t *sums;
};

static void multiply_code_rows(void *ctx, size_t chunk, size_t thread)
{
    const struct integer_product *p = ctx;
    size_t blocks = ldnq_size_ceil_div(p->shape.m, ROWS), batch = chunk / blocks, offsets[2];
    size_t first = chunk % blocks * ROWS, rows = ldnq_size_min(ROWS, p->shape.m - first);
    (void)thread;
    ldnq_matmul_find_offsets(&p->shape, batch, offsets);
    ldnq_codes_multiply(rows, p->shape.n, p->shape.k, p->a + offsets[0] + first * p->shape.k,
                        p->b + offsets[1], p->shape.n,
                        p->sums + (batch * p->shape.m + first) * p->shape.n, p->shape.n);
}

/* out = the codes of an input minus its zero points. */
static void subtract_zero(const struct ldnq_op_call *call, size_t codes, size_t zero, bool per_row,
                          int16_t *out)
{
    const struct ldnq_tensor *tensor = ldnq_op_input(call, zero);
    struct ldnq_shape shape = { 0 };
    if (tensor && ldnq_tensor_count(tensor) > 1)
        shape = make_parameter_shape(&tensor->shape, per_row);
    ldnq_codes_subtract_zero(call, call->in[codes], tensor, &shape, out);
}

static size_t round_up(size_t bytes)
{
    return bytes + (64 - bytes % 64) % 64;
}

static size_t count_code_bytes(const struct ldnq_op_call *call, size_t input)
{
    return round_up(ldnq_tensor_count(call->in[input]) * sizeof(int16_t));
}

/* sums (..., M, N) = a b; scratch holds a and b without their zero points. */
static void multiply_code_matrices(const struct ldnq_op_call *call,
                                   const struct matmulinteger_inputs *at, int32_t *sums)
{
    int16_t *a = call->scratch, *b = a + count_code_bytes(call, at->a) / sizeof *a;
    struct integer_product product = {
        .shape = ldnq_matmul_describe(call, at->a, at->b, NULL), .a = a, .b = b, .sums = sums
    };
    subtract_zero(call, at->a, at->a_zero, true, a);
    subtract_zero(call, at->b, at->b_zero, false, b);
    ldnq_pool_run(call->pool, product.shape.batches * ldnq_size_ceil_div(product.shape.m, ROWS),
                  multiply_code_rows, &product);
}

/* ---- MatMulInteger ------------------------------------------------------------------------ */

static enum ldnq_status matmulinteger_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    call->out[0].dtype = LDNQ_INT32;
    return check_matrices(call, &matmulinteger_inputs, err);
}

static size_t matmulinteger_scratch_bytes(const struct ldnq_op_call *call)
{
    return count_code_bytes(call, 0) + count_code_bytes(call, 1);
}

static enum ldnq_status matmulinteger_forward(const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    (void)err;
    multiply_code_matrices(call, &matmulinteger_inputs, call->out[0].data);
    return LDNQ_OK;
}

static size_t matmulinteger_count_operations(const struct ldnq_op_call *call)
{
    return ldnq_matmul_count_operations(call, matmulinteger_inputs.a);
}

const struct ldnq_op ldnq_op_matmulinteger = {
    .type = "MatMulInteger",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 4,
    .outputs_max = 1,
    .infer = matmulinteger_infer_shape,
    .count_operations = matmulinteger_count_operations,
    .scratch_bytes = matmulinteger_scratch_bytes,
    .forward = matmulinteger_forward,
    .differentiable = LDNQ_ALL_INPUTS, /* so that a gradient is refused instead of being 0 */
};

/* ---- QLinearMatMul ------------------------------------------------------------------------ */

enum { Y_SCALE = 6, Y_ZERO = 7 };

static enum ldnq_status qlinearmatmul_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct matmulinteger_inputs *at = &qlinearmatmul_inputs;
    LDNQ_TRY(ldnq_op_require_dtype(call, at->a_scale, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, at->b_scale, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, Y_SCALE, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, Y_ZERO, LDNQ_CODES, err));
    LDNQ_TRY(check_parameter(call, at->a_scale, at->a, true, err));
    LDNQ_TRY(check_parameter(call, at->b_scale, at->b, false, err));
    LDNQ_TRY(ldnq_op_require_one_element(call, Y_SCALE, err));
    LDNQ_TRY(ldnq_op_require_one_element(call, Y_ZERO, err));
    call->out[0].dtype = call->in[Y_ZERO]->dtype;
    return check_matrices(call, at, err);
}

static size_t qlinearmatmul_scratch_bytes(const struct ldnq_op_call *call)
{
    size_t sums = ldnq_tensor_count(&call->out[0]), bytes;
    struct ldnq_matmul shape =
        ldnq_matmul_describe(call, qlinearmatmul_inputs.a, qlinearmatmul_inputs.b, NULL);
    if (!ldnq_size_add(sums, shape.n, &bytes) || bytes > SIZE_MAX / 8)
        return SIZE_MAX;
    return count_code_bytes(call, qlinearmatmul_inputs.a) +
           count_code_bytes(call, qlinearmatmul_inputs.b) + round_up(sums * sizeof(int32_t)) +
           shape.n * sizeof(float);
}

/* A scale with its strides along batches, rows and columns; 0: broadcast. */
struct matmulinteger_scale {
    const float *data;
    size_t lead[LDNQ_MAX_RANK], row, column;
};

static struct matmulinteger_scale make_scale(const struct ldnq_op_call *call, size_t input,
                                             size_t matrix, bool per_row)
{
    struct matmulinteger_scale scale = { .data = call->in[input]->data };
    struct ldnq_shape shape = make_parameter_shape(&call->in[input]->shape, per_row);
    struct ldnq_shape whole = call->in[matrix]->shape;
    size_t strides[LDNQ_MAX_RANK];
    if (ldnq_tensor_count(call->in[input]) == 1)
        return scale;
    ldnq_op_broadcast_strides(&shape, &whole, strides);
    scale.row = strides[whole.rank - 2];
    scale.column = strides[whole.rank - 1];
    for (int i = 0; i < whole.rank - 2; i++)
        scale.lead[i] = strides[i];
    return scale;
}

/* The scale of one batch; `axes` is the number of the matrix' own leading axes. */
static const float *find_batch_scale(const struct matmulinteger_scale *scale,
                                     const struct ldnq_matmul *shape, int axes, size_t batch)
{
    const float *data = scale->data;
    for (int i = shape->lead.rank - 1; i >= 0; i--) {
        size_t dim = (size_t)shape->lead.dim[i], at = batch % dim;
        int own = i - (shape->lead.rank - axes);
        batch /= dim;
        if (own >= 0)
            data += at * scale->lead[own];
    }
    return data;
}

static enum ldnq_status qlinearmatmul_forward(const struct ldnq_op_call *call,
                                              struct ldnq_error *err)
{
    const struct matmulinteger_inputs *at = &qlinearmatmul_inputs;
    char *after_codes =
        (char *)call->scratch + count_code_bytes(call, at->a) + count_code_bytes(call, at->b);
    size_t count = ldnq_tensor_count(&call->out[0]);
    int32_t *sums = (int32_t *)(void *)after_codes, zero = ldnq_codes_read_zero(call->in[Y_ZERO]);
    float *factors = (float *)(void *)(after_codes + round_up(count * sizeof *sums));
    const float y_scale = *(const float *)call->in[Y_SCALE]->data;
    struct ldnq_matmul shape = ldnq_matmul_describe(call, at->a, at->b, NULL);
    struct matmulinteger_scale a = make_scale(call, at->a_scale, at->a, true);
    struct matmulinteger_scale b = make_scale(call, at->b_scale, at->b, false);
    uint8_t *y = call->out[0].data;
    (void)err;
    multiply_code_matrices(call, at, sums);
    for (size_t i = 0; i < shape.batches * shape.m && shape.n > 0; i++) {
        size_t batch = i / shape.m, row = i % shape.m;
        const float *left = find_batch_scale(&a, &shape, call->in[at->a]->shape.rank - 2, batch);
        const float *right = find_batch_scale(&b, &shape, call->in[at->b]->shape.rank - 2, batch);
        for (size_t k = 0; k < shape.n; k++)
            factors[k] = left[row * a.row] * right[k * b.column] / y_scale;
        ldnq_codes_requantize(sums + i * shape.n, factors, 1, zero, call->out[0].dtype, shape.n,
                              y + i * shape.n);
    }
    return LDNQ_OK;
}

static size_t qlinearmatmul_count_operations(const struct ldnq_op_call *call)
{
    return ldnq_matmul_count_operations(call, qlinearmatmul_inputs.a);
}

const struct ldnq_op ldnq_op_qlinearmatmul = {
    .type = "QLinearMatMul",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 8,
    .inputs_max = 8,
    .outputs_max = 1,
    .infer = qlinearmatmul_infer_shape,
    .count_operations = qlinearmatmul_count_operations,
    .scratch_bytes = qlinearmatmul_scratch_bytes,
    .forward = qlinearmatmul_forward,
    .differentiable = LDNQ_ALL_INPUTS, /* so that a gradient is refused instead of being 0 */
};
