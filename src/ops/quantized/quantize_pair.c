/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/quantized/quantize_pair.h"

#include "base/simd.h"
#include "ops/quantized/codes.h"

/* Input i of the node, if it is a constant with one element; else NULL. */
static const struct ldnq_tensor *find_constant_scalar(const struct ldnq_node *node, size_t i)
{
    const struct ldnq_value *value = i < node->input_count ? node->inputs[i] : NULL;
    const struct ldnq_tensor *tensor = value ? value->constant : NULL;
    bool is_scalar = tensor && tensor->shape.rank <= 1 && ldnq_tensor_count(tensor) == 1;
    return is_scalar ? tensor : NULL;
}

static bool has_input(const struct ldnq_node *node, size_t i)
{
    return i < node->input_count && node->inputs[i];
}

static bool zeros_agree(const struct ldnq_node *node, const struct ldnq_node *reader)
{
    if (!has_input(node, 2) && !has_input(reader, 2))
        return true;
    const struct ldnq_tensor *a = find_constant_scalar(node, 2),
                             *b = find_constant_scalar(reader, 2);
    return a && b && a->dtype == b->dtype;
}

/* A pair that the DequantizeLinear's own inference would refuse is not fused, so that it does. */
bool ldnq_quantize_pair_applies(const struct ldnq_node *node, const struct ldnq_node *reader)
{
    const struct ldnq_tensor *a = find_constant_scalar(node, 1),
                             *b = find_constant_scalar(reader, 1);
    return reader->op == &ldnq_op_dequantizelinear && reader->inputs[0] == node->outputs[0] &&
           node->inputs[0]->dtype == LDNQ_FLOAT && a && b && a->dtype == LDNQ_FLOAT &&
           b->dtype == LDNQ_FLOAT && zeros_agree(node, reader) &&
           ldnq_attr_int(reader, "block_size", 0) == 0 &&
           ldnq_attr_int(reader, "output_dtype", LDNQ_FLOAT) <= LDNQ_FLOAT;
}

struct quantize_pair {
    const float *x;
    float *y;
    float scale, low, high;        /* the range of codes minus the zero point */
    float shift, dequantize_scale; /* zero - zero' and scale' */
};

/* Codes and zero points are integers of at most 17 bits: their sums in float are exact. */
LDNQ_MULTIVERSION
static void quantize_and_dequantize(const void *ctx, size_t first, size_t last)
{
    const struct quantize_pair *pair = ctx;
    const float *x = pair->x;
    float *y = pair->y;
    const float scale = pair->scale, low = pair->low, high = pair->high;
    const float shift = pair->shift, dequantize_scale = pair->dequantize_scale;
    LDNQ_IVDEP
    for (size_t i = first; i < last; i++)
        y[i] = (ldnq_round_code(x[i], scale, low, high) + shift) * dequantize_scale;
}

void ldnq_quantize_pair_run(const struct ldnq_op_call *call, float low, float high)
{
    const struct ldnq_node *reader = call->fused_reader;
    const float zero = (float)ldnq_codes_read_zero(ldnq_op_input(call, 2));
    const struct quantize_pair pair = {
        .x = call->in[0]->data,
        .y = call->out[0].data,
        .scale = *(const float *)call->in[1]->data,
        .low = low - zero,
        .high = high - zero,
        .shift = zero - (float)ldnq_codes_read_zero(find_constant_scalar(reader, 2)),
        .dequantize_scale = *(const float *)find_constant_scalar(reader, 1)->data,
    };
    ldnq_op_run_ranges(call, ldnq_tensor_count(call->in[0]), quantize_and_dequantize, &pair);
}
