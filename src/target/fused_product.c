/* SPDX-License-Identifier: Apache-2.0 */
#include "target/fused_product.h"

#include <string.h>

/* A Gemm that is a MatMul with a bias per output channel. */
static bool is_plain_gemm(const struct ldnq_node *node, size_t rows)
{
    const struct ldnq_value *bias = node->input_count > 2 ? node->inputs[2] : NULL;
    if (ldnq_attr_float(node, "alpha", 1.0f) != 1.0f || ldnq_attr_int(node, "transA", 0) != 0)
        return false;
    if (!bias)
        return true;
    const struct ldnq_shape *shape = bias->constant ? &bias->constant->shape : &bias->shape;
    return ldnq_attr_float(node, "beta", 1.0f) == 1.0f && shape->rank == 1 &&
           shape->dim[0] == (int64_t)rows;
}

bool ldnq_target_has_product(const struct ldnq_target *target, const struct ldnq_node *node,
                             const struct ldnq_layer_geometry *geometry, unsigned bits)
{
    const size_t rows = geometry->rows;
    if (!node->inputs[1] || !node->inputs[1]->constant)
        return false;
    if (!(target->product_bits >> bits & 1) || *node->domain != '\0')
        return false;
    if (bits == 2 && target->product_rows_of_2_bits && rows % target->product_rows_of_2_bits != 0)
        return false;
    if (strcmp(node->op_type, "Gemm") == 0)
        return is_plain_gemm(node, rows);
    return strcmp(node->op_type, "MatMul") == 0 && geometry->layout == LDNQ_WEIGHT_IN_OUT;
}
