/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/error_bound.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mapping.h"
#include "ops/op.h"

struct bound_propagation {
    const struct ldnq_graph *graph;
    const double *changes; /* by node */
    double *errors;        /* by value: bound of its error; NaN where it is not known */
};

static double find_input_error(const struct bound_propagation *bounds,
                               const struct ldnq_value *value)
{
    return value && !value->constant ? bounds->errors[value->index] : 0;
}

/* ---- constants of operators --------------------------------------------------------- */

/* The most windows that read one element. */
static double count_windows(const struct ldnq_node *node, const int64_t *kernel, size_t axes)
{
    size_t stride_count = 0;
    const int64_t *strides = ldnq_attr_ints(node, "strides", &stride_count);
    double times = 1;
    for (size_t i = 0; i < axes; i++) {
        const double stride = i < stride_count ? (double)strides[i] : 1;
        times *= ceil((double)kernel[i] / stride);
    }
    return times;
}

/* The largest Frobenius norm of a group's weight. */
static double compute_group_norm(const struct ldnq_tensor *weight, size_t groups)
{
    const float *w = weight->data;
    const size_t each = ldnq_tensor_count(weight) / groups;
    double largest = 0;
    for (size_t g = 0; g < groups; g++) {
        double sum = 0;
        for (size_t i = g * each; i < (g + 1) * each; i++)
            sum += (double)w[i] * (double)w[i];
        largest = fmax(largest, sum);
        ldnq_mapping_release_pages(w + g * each, each * sizeof *w);
    }
    return sqrt(largest);
}

/* Groups are contiguous in the weight. In a transposed convolution outputs overlap in the same
 * way as inputs do in a convolution. */
static double compute_weight_lipschitz(const struct ldnq_node *node)
{
    const struct ldnq_tensor *weight =
        node->input_count > 1 && node->inputs[1] ? node->inputs[1]->constant : NULL;
    if (!weight || weight->dtype != LDNQ_FLOAT)
        return NAN;
    if (node->input_count > 2 && node->inputs[2] && !node->inputs[2]->constant)
        return NAN;
    if (strcmp(node->op_type, "Gemm") == 0)
        return fabs((double)ldnq_attr_float(node, "alpha", 1)) * compute_group_norm(weight, 1);
    if (weight->shape.rank <= 2) /* MatMul multiplies all rows by one weight */
        return compute_group_norm(weight, 1);
    if (strcmp(node->op_type, "MatMul") == 0)
        return NAN;
    const int64_t groups = ldnq_attr_int(node, "group", 1);
    return compute_group_norm(weight, groups > 0 ? (size_t)groups : 1) *
           sqrt(count_windows(node, weight->shape.dim + 2, (size_t)weight->shape.rank - 2));
}

static double get_lipschitz_one(const struct ldnq_node *node)
{
    (void)node;
    return 1;
}

/* Broadcasting would repeat the error of an input along an axis. */
static double get_lipschitz_one_unless_broadcast(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->input_count; i++)
        if (!node->inputs[i]->constant &&
            !ldnq_shapes_are_equal(&node->inputs[i]->shape, &node->outputs[0]->shape))
            return NAN;
    return 1;
}

static double get_lipschitz_zero(const struct ldnq_node *node)
{
    (void)node;
    return 0;
}

static double compute_pool_lipschitz(const struct ldnq_node *node)
{
    size_t axes = 0;
    const int64_t *kernel = ldnq_attr_ints(node, "kernel_shape", &axes);
    return kernel ? sqrt(count_windows(node, kernel, axes)) : NAN;
}

static double compute_leaky_lipschitz(const struct ldnq_node *node)
{
    return fmax(1, fabs((double)ldnq_attr_float(node, "alpha", 0.01f)));
}

static double compute_pad_lipschitz(const struct ldnq_node *node)
{
    return strcmp(ldnq_attr_string(node, "mode", "constant"), "constant") == 0 ? 1 : NAN;
}

/* The largest absolute value of the constant factor, or of the inverse of the constant divisor. */
static double compute_factor_lipschitz(const struct ldnq_node *node)
{
    const bool divides = strcmp(node->op_type, "Div") == 0;
    double largest = NAN;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_tensor *c = node->inputs[i] ? node->inputs[i]->constant : NULL;
        if (!c || c->dtype != LDNQ_FLOAT || (divides && i == 0))
            continue;
        const float *data = c->data;
        largest = 0;
        for (size_t k = 0; k < ldnq_tensor_count(c); k++)
            largest = fmax(largest, fabs(divides ? 1 / (double)data[k] : (double)data[k]));
    }
    return largest * get_lipschitz_one_unless_broadcast(node);
}

static double compute_batchnorm_lipschitz(const struct ldnq_node *node)
{
    const struct ldnq_tensor *scale = node->inputs[1]->constant;
    const struct ldnq_tensor *variance = node->input_count > 4 ? node->inputs[4]->constant : NULL;
    if (!scale || !variance || scale->dtype != LDNQ_FLOAT || variance->dtype != LDNQ_FLOAT)
        return NAN;
    const float *g = scale->data, *v = variance->data;
    const double epsilon = (double)ldnq_attr_float(node, "epsilon", 1e-5f);
    double largest = 0;
    for (size_t i = 0; i < ldnq_tensor_count(scale); i++)
        largest = fmax(largest, fabs((double)g[i]) / sqrt((double)v[i] + epsilon));
    return largest;
}

/* Lipschitz constants: the error of an operator's output is at most its constant times the sum of
 * the errors of its inputs; times the root of the sum of their squares where the inputs
 * are concatenated. The constant of a smooth activation is its largest slope. */
static const struct lipschitz_rule {
    const char *op;
    double (*constant)(const struct ldnq_node *node);
    bool concatenates;
} rules[] = {
    { "Conv", compute_weight_lipschitz, false },
    { "ConvTranspose", compute_weight_lipschitz, false },
    { "Gemm", compute_weight_lipschitz, false },
    { "MatMul", compute_weight_lipschitz, false },
    { "Add", get_lipschitz_one_unless_broadcast, false },
    { "Sub", get_lipschitz_one_unless_broadcast, false },
    { "Sum", get_lipschitz_one_unless_broadcast, false },
    { "Concat", get_lipschitz_one, true },
    { "Mul", compute_factor_lipschitz, false },
    { "Div", compute_factor_lipschitz, false },
    { "BatchNormalization", compute_batchnorm_lipschitz, false },
    { "Relu", get_lipschitz_one, false },
    { "LeakyRelu", compute_leaky_lipschitz, false },
    { "Clip", get_lipschitz_one, false },
    { "Sigmoid", get_lipschitz_one, false },
    { "HardSigmoid", get_lipschitz_one, false },
    { "Tanh", get_lipschitz_one, false },
    { "Softplus", get_lipschitz_one, false },
    { "Softmax", get_lipschitz_one, false },
    { "Abs", get_lipschitz_one, false },
    { "Neg", get_lipschitz_one, false },
    { "MaxPool", compute_pool_lipschitz, false },
    { "AveragePool", compute_pool_lipschitz, false },
    { "GlobalAveragePool", get_lipschitz_one, false },
    { "GlobalMaxPool", get_lipschitz_one, false },
    { "ReduceMean", get_lipschitz_one, false },
    { "ReduceMax", get_lipschitz_one, false },
    { "Identity", get_lipschitz_one, false },
    { "Dropout", get_lipschitz_one, false },
    { "Flatten", get_lipschitz_one, false },
    { "Reshape", get_lipschitz_one, false },
    { "Transpose", get_lipschitz_one, false },
    { "Squeeze", get_lipschitz_one, false },
    { "Unsqueeze", get_lipschitz_one, false },
    { "Slice", get_lipschitz_one, false },
    { "Split", get_lipschitz_one, false },
    { "DepthToSpace", get_lipschitz_one, false },
    { "SpaceToDepth", get_lipschitz_one, false },
    { "Pad", compute_pad_lipschitz, false },
    { "Shape", get_lipschitz_zero, false },
    { "Size", get_lipschitz_zero, false },
};

static const struct lipschitz_rule *find_lipschitz_rule(const struct ldnq_node *node)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].op, node->op_type) == 0 && node->domain[0] == '\0')
            return &rules[i];
    return NULL;
}

/* ---- through the graph ------------------------------------------------------------------ */

static double compute_output_error(const struct bound_propagation *bounds, size_t node_index)
{
    const struct ldnq_node *node = bounds->graph->nodes[node_index];
    const struct lipschitz_rule *rule = find_lipschitz_rule(node);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < node->input_count; i++) {
        const double error = find_input_error(bounds, node->inputs[i]);
        sum += error;
        squares += error * error;
    }
    if (sum > 0 || isnan(sum))
        sum = rule ? rule->constant(node) * (rule->concatenates ? sqrt(squares) : sum) : NAN;
    return sum + bounds->changes[node_index];
}

static void propagate_errors(struct bound_propagation *bounds)
{
    for (size_t i = 0; i < bounds->graph->node_count; i++) {
        const struct ldnq_node *node = bounds->graph->nodes[i];
        const double error = compute_output_error(bounds, i);
        for (size_t o = 0; o < node->output_count; o++)
            if (node->outputs[o])
                bounds->errors[node->outputs[o]->index] = error;
    }
}

enum ldnq_status ldnq_bound_output_errors(const struct ldnq_graph *graph, const double *changes,
                                          const double *powers, double *out, struct ldnq_error *err)
{
    struct bound_propagation bounds = { .graph = graph, .changes = changes };
    bounds.errors = ldnq_calloc(graph->value_count, sizeof *bounds.errors);
    if (!bounds.errors)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    propagate_errors(&bounds);
    for (size_t o = 0; o < graph->output_count; o++) {
        const double error = find_input_error(&bounds, graph->outputs[o]);
        out[o] = powers[o] > 0 ? error * error / powers[o] : 0;
    }
    ldnq_free(bounds.errors);
    return LDNQ_OK;
}
