#include "ops/matmul/matmul_layer.h"

#include "base/size.h"
#include "ops/matmul/matmul.h"
#include "ops/shared/product.h"

/* ---- the weight ------------------------------------------------------------------------ */

/* `is_left`: the weight is (..., M, K), else (..., K, M). */
static enum ldnq_status describe_weight(const struct ldnq_tensor *weight, bool is_left,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &weight->shape;
    size_t groups = 1;
    if (shape->rank < 2)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight is no matrix");
    ldnq_shape_count_range(shape, 0, shape->rank - 2, &groups);
    const size_t down = (size_t)shape->dim[shape->rank - 2];
    const size_t across = (size_t)shape->dim[shape->rank - 1];
    *geometry = is_left ? ldnq_describe_out_in(groups, down, across, 1)
                        : ldnq_describe_in_out(groups, across, down, 1);
    /* No axis counts the output channels of all matrices. */
    geometry->layout = shape->rank > 2 ? LDNQ_WEIGHT_PERMUTED
                       : is_left       ? LDNQ_WEIGHT_OUT_IN
                                       : LDNQ_WEIGHT_IN_OUT;
    return LDNQ_OK;
}

static enum ldnq_status describe_right_weight(const struct ldnq_node *node,
                                              const struct ldnq_tensor *weight,
                                              const struct ldnq_tensor *bias,
                                              struct ldnq_layer_geometry *geometry,
                                              struct ldnq_error *err)
{
    (void)node;
    (void)bias;
    LDNQ_TRY(describe_weight(weight, false, geometry, err));
    geometry->mixes_samples = geometry->groups > 1;
    return LDNQ_OK;
}

static enum ldnq_status describe_left_weight(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    (void)node;
    (void)bias;
    LDNQ_TRY(describe_weight(weight, true, geometry, err));
    geometry->mixes_samples = true; /* data (K, N) has the columns first */
    return LDNQ_OK;
}

/* ---- the input ------------------------------------------------------------------------- */

struct matmul_input {
    struct ldnq_matmul matmul;
    size_t weight_input; /* 0 or 1 */
    size_t groups;
    /* Matrices of the data that meet one matrix of the weight, positions in each of them, and
     * elements of each. */
    size_t matrices, plane, elements;
};

static struct matmul_input describe_input(const struct ldnq_op_call *call, size_t weight_input)
{
    struct matmul_input input = { .matmul = ldnq_matmul_describe(call, 0, 1),
                                  .weight_input = weight_input };
    const struct ldnq_shape *weight = &call->in[weight_input]->shape;
    ldnq_shape_count_range(weight, 0, weight->rank - 2, &input.groups);
    input.matrices = input.groups ? input.matmul.batches / input.groups : 0;
    input.plane = weight_input == 0 ? input.matmul.n : input.matmul.m;
    input.elements = input.plane * input.matmul.k;
    return input;
}

/* Where the matrix `index` of the data that meets the weight's matrix `group` starts. Axes of the
 * weight have the group's index; the others count the matrices. */
static size_t find_data_offset(const struct matmul_input *input, size_t group, size_t index)
{
    const struct ldnq_matmul *matmul = &input->matmul;
    size_t matrix = 0;
    for (int axis = matmul->lead.rank - 1; axis >= 0; axis--) {
        const size_t dim = (size_t)matmul->lead.dim[axis];
        const size_t of_weight = matmul->strides[input->weight_input][axis];
        const size_t at = of_weight ? group / of_weight % dim : index % dim;
        if (of_weight == 0)
            index /= dim;
        matrix += at * matmul->strides[1 - input->weight_input][axis];
    }
    return matrix * input->elements;
}

static void fill_columns(const struct ldnq_op_call *call, const struct matmul_input *input,
                         size_t group, size_t first, size_t count, float *columns, size_t ld)
{
    const float *data = call->in[1 - input->weight_input]->data;
    struct ldnq_product product = {
        .m = input->plane,
        .k = input->matmul.k,
        .alpha = 1.0f,
        .transpose_a = input->weight_input == 0 ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
    };
    while (count > 0) {
        const size_t at = first % input->plane, part = ldnq_size_min(count, input->plane - at);
        product.a = data + find_data_offset(input, group, first / input->plane);
        ldnq_product_fill_columns(&product, at, part, columns, ld);
        columns += part;
        first += part;
        count -= part;
    }
}

static size_t count_left_input_rows(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *weight = &call->in[1]->shape, *data = &call->in[0]->shape;
    size_t rows = 0;
    if (weight->rank == 2)
        return ldnq_shape_count_range(data, 0, data->rank - 1, &rows) ? rows : 0;
    const struct matmul_input input = describe_input(call, 1);
    return input.matrices * input.plane;
}

static void fill_left_input_rows(const struct ldnq_op_call *call, size_t group, size_t first,
                                 size_t count, float *columns, size_t ld)
{
    struct matmul_input input = { .weight_input = 1, .groups = 1 };
    if (call->in[1]->shape.rank > 2) {
        input = describe_input(call, 1);
    } else {
        /* All rows of the data are rows of one matrix. */
        const struct ldnq_shape *data = &call->in[0]->shape;
        input.matmul.k = (size_t)data->dim[data->rank - 1];
        input.plane = count_left_input_rows(call);
    }
    fill_columns(call, &input, group, first, count, columns, ld);
}

static size_t count_right_input_columns(const struct ldnq_op_call *call)
{
    const struct matmul_input input = describe_input(call, 0);
    return input.matrices * input.plane;
}

static void fill_right_input_columns(const struct ldnq_op_call *call, size_t group, size_t first,
                                     size_t count, float *columns, size_t ld)
{
    const struct matmul_input input = describe_input(call, 0);
    fill_columns(call, &input, group, first, count, columns, ld);
}

/* ---- the records ----------------------------------------------------------------------- */

static const struct ldnq_op_layer left_layer = {
    .weight_input = 0,
    .bias_input = -1,
    .data_input = 1,
    .describe_weight = describe_left_weight,
    .count_positions = count_right_input_columns,
    .fill_columns = fill_right_input_columns,
};

const struct ldnq_op_layer ldnq_matmul_layer = {
    .weight_input = 1,
    .bias_input = -1,
    .other = &left_layer,
    .describe_weight = describe_right_weight,
    .count_positions = count_left_input_rows,
    .fill_columns = fill_left_input_rows,
};
