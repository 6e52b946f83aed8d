/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/matmul/matmul_layer.h"

#include "base/size.h"
#include "ops/matmul/matmul.h"
#include "ops/shared/product.h"

/* ---- the weight ------------------------------------------------------------------------ */

static enum ldnq_status describe_weight(const struct ldnq_node *node, bool is_left,
                                        const struct ldnq_tensor *weight,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err)
{
    const struct ldnq_op_call call = { .attrs = node->op_attrs };
    const struct ldnq_matmul_attrs attrs = ldnq_matmul_find_attrs(&call);
    const bool is_out_in = is_left != attrs.transposes[is_left ? 0 : 1];
    const struct ldnq_shape *shape = &weight->shape;
    size_t groups = 1;
    if (shape->rank < 2)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight is no matrix");
    if (attrs.alpha == 0.0f)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight has no effect, as alpha is 0");
    ldnq_shape_count_range(shape, 0, shape->rank - 2, &groups);
    const size_t down = (size_t)shape->dim[shape->rank - 2];
    const size_t across = (size_t)shape->dim[shape->rank - 1];
    *geometry = is_out_in ? ldnq_describe_out_in(groups, down, across, 1)
                          : ldnq_describe_in_out(groups, across, down, 1);
    /* No axis counts the output channels of all matrices. */
    geometry->layout = shape->rank > 2 ? LDNQ_WEIGHT_PERMUTED
                       : is_out_in     ? LDNQ_WEIGHT_OUT_IN
                                       : LDNQ_WEIGHT_IN_OUT;
    return LDNQ_OK;
}

static enum ldnq_status describe_right_weight(const struct ldnq_node *node,
                                              const struct ldnq_tensor *weight,
                                              const struct ldnq_tensor *bias,
                                              struct ldnq_layer_geometry *geometry,
                                              struct ldnq_error *err)
{
    const struct ldnq_op_call call = { .attrs = node->op_attrs };
    (void)bias;
    LDNQ_TRY(describe_weight(node, false, weight, geometry, err));
    geometry->mixes_samples = geometry->groups > 1 || ldnq_matmul_find_attrs(&call).transposes[0];
    return LDNQ_OK;
}

static enum ldnq_status describe_left_weight(const struct ldnq_node *node,
                                             const struct ldnq_tensor *weight,
                                             const struct ldnq_tensor *bias,
                                             struct ldnq_layer_geometry *geometry,
                                             struct ldnq_error *err)
{
    (void)bias;
    LDNQ_TRY(describe_weight(node, true, weight, geometry, err));
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
    bool is_transposed; /* positions are columns of the data */
    float alpha;
};

static struct matmul_input describe_input(const struct ldnq_op_call *call, size_t weight_input)
{
    const struct ldnq_matmul_attrs attrs = ldnq_matmul_find_attrs(call);
    struct matmul_input input = {
        .matmul = ldnq_matmul_describe(call, 0, 1, attrs.transposes),
        .weight_input = weight_input,
        .is_transposed = (weight_input == 0) != attrs.transposes[1 - weight_input],
        .alpha = attrs.alpha,
    };
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
        .alpha = input->alpha,
        .transpose_a = input->is_transposed ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
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

/* Whether all rows of the left operand are rows of one matrix. */
static bool is_one_matrix(const struct ldnq_op_call *call)
{
    return call->in[1]->shape.rank == 2 && !ldnq_matmul_find_attrs(call).transposes[0];
}

static size_t count_left_input_rows(const struct ldnq_op_call *call)
{
    const struct ldnq_shape *data = &call->in[0]->shape;
    size_t rows = 0;
    if (is_one_matrix(call))
        return ldnq_shape_count_range(data, 0, data->rank - 1, &rows) ? rows : 0;
    const struct matmul_input input = describe_input(call, 1);
    return input.matrices * input.plane;
}

static void fill_left_input_rows(const struct ldnq_op_call *call, size_t group, size_t first,
                                 size_t count, float *columns, size_t ld)
{
    struct matmul_input input = { .weight_input = 1,
                                  .groups = 1,
                                  .alpha = ldnq_matmul_find_attrs(call).alpha };
    if (!is_one_matrix(call)) {
        input = describe_input(call, 1);
    } else {
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
    .weight_label = "A",
    .data_input = 1,
    .describe_weight = describe_left_weight,
    .count_positions = count_right_input_columns,
    .fill_columns = fill_right_input_columns,
};

const struct ldnq_op_layer ldnq_matmul_layer = {
    .weight_input = 1,
    .bias_input = -1,
    .weight_label = "B",
    .other = &left_layer,
    .describe_weight = describe_right_weight,
    .count_positions = count_left_input_rows,
    .fill_columns = fill_left_input_rows,
};
