/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/index/gather_matrices.h"

#include "base/size.h"

static bool reads_matrices(const struct ldnq_node *node)
{
    return node->feeds_product;
}

static enum ldnq_status describe_weight(const struct ldnq_node *node,
                                        const struct ldnq_tensor *weight,
                                        const struct ldnq_tensor *bias,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err)
{
    (void)node;
    (void)bias;
    const struct ldnq_shape *shape = &weight->shape;
    if (shape->rank != 3)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its table has %d axes, not 3", shape->rank);
    *geometry = ldnq_describe_in_out((size_t)shape->dim[0], (size_t)shape->dim[2],
                                     (size_t)shape->dim[1], 1);
    geometry->mixes_samples = true;
    return LDNQ_OK;
}

struct lookup {
    struct ldnq_shape lead; /* the leading axes of the product */
    size_t batches, plane, cols;
    size_t data_strides[LDNQ_MAX_RANK], id_strides[LDNQ_MAX_RANK]; /* in matrices, in ids */
};

static struct lookup describe_lookup(const struct ldnq_op_call *call)
{
    struct ldnq_op_call at_run_time = *call;
    struct ldnq_shape data = call->in[LDNQ_LOOKUP_DATA]->shape;
    const struct ldnq_shape none = { .rank = 0 };
    const struct ldnq_shape *ids = call->in[1] ? &call->in[1]->shape : &none;
    struct lookup lookup = { .plane = (size_t)data.dim[data.rank - 2],
                             .cols = (size_t)data.dim[data.rank - 1] };
    data.rank -= 2;
    /* infer of the product has accepted the shapes, else it fails when it runs. */
    if (ldnq_op_broadcast(&at_run_time, &data, ids, &lookup.lead, NULL) != LDNQ_OK ||
        !ldnq_shape_count(&lookup.lead, &lookup.batches))
        return (struct lookup){ .plane = 1 };
    ldnq_op_broadcast_strides(&data, &lookup.lead, lookup.data_strides);
    ldnq_op_broadcast_strides(ids, &lookup.lead, lookup.id_strides);
    return lookup;
}

static int64_t read_id(const struct ldnq_tensor *ids, size_t at, size_t groups)
{
    const int64_t id = ids->dtype == LDNQ_INT32 ? ((const int32_t *)ids->data)[at]
                                                : ((const int64_t *)ids->data)[at];
    return id < 0 ? id + (int64_t)groups : id;
}

static size_t count_positions(const struct ldnq_op_call *call)
{
    const struct lookup lookup = describe_lookup(call);
    return lookup.batches * lookup.plane;
}

static void fill_columns(const struct ldnq_op_call *call, size_t group, size_t first, size_t count,
                         float *columns, size_t ld)
{
    const struct lookup lookup = describe_lookup(call);
    const struct ldnq_tensor *ids = call->in[1];
    const size_t groups = (size_t)call->in[0]->shape.dim[0];
    for (size_t p = 0; p < count; p++) {
        size_t batch = (first + p) / lookup.plane, matrix = 0, id = 0;
        for (int axis = lookup.lead.rank - 1; axis >= 0; axis--) {
            const size_t at = batch % (size_t)lookup.lead.dim[axis];
            batch /= (size_t)lookup.lead.dim[axis];
            matrix += at * lookup.data_strides[axis];
            id += at * lookup.id_strides[axis];
        }
        const bool is_met = !ids || read_id(ids, id, groups) == (int64_t)group;
        const float *x = (const float *)call->in[LDNQ_LOOKUP_DATA]->data +
                         (matrix * lookup.plane + (first + p) % lookup.plane) * lookup.cols;
        for (size_t k = 0; k < lookup.cols; k++)
            columns[k * ld + p] = is_met ? x[k] : 0;
    }
}

const struct ldnq_op_layer ldnq_gather_matrices_layer = {
    .weight_input = 0,
    .bias_input = -1,
    .data_input = LDNQ_LOOKUP_DATA,
    .is_lookup = true,
    .applies_to = reads_matrices,
    .describe_weight = describe_weight,
    .count_positions = count_positions,
    .fill_columns = fill_columns,
};
