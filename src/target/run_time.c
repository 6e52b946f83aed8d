/* SPDX-License-Identifier: Apache-2.0 */
#include "target/run_time.h"

#include <math.h>
#include <string.h>

#include "ops/op.h"
#include "target/lint_check.h"

/* Input channels up to which a float convolution does not pad them: those of pictures. */
#define PICTURE_CHANNELS 4
/* That of elements of a window that are copied, beside 1 for those that are not. */
#define COST_OF_COPIED_CHANNELS 5

struct work_counter {
    struct ldnq_linter linter; /* what reads and quantizes each value */
    size_t *readers_on_codes;  /* by value: how many inputs of kernels on codes read it */
    double *work;              /* (LDNQ_KERNEL_WORK_COUNT) */
};

static bool is_type(const struct ldnq_node *node, const char *type)
{
    return *node->domain == '\0' && strcmp(node->op_type, type) == 0;
}

static bool is_one_of(const struct ldnq_node *node, const char *const *types, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_type(node, types[i]))
            return true;
    return false;
}

/* ---- sizes --------------------------------------------------------------------------------- */

/* Elements from axis `first` on; NaN where they are open. */
static double count_elements(const struct ldnq_value *value, int first)
{
    const struct ldnq_shape *shape = &value->shape;
    size_t count;
    if (shape->rank == LDNQ_RANK_UNKNOWN)
        return NAN;
    if (first >= shape->rank)
        return 1;
    return ldnq_shape_count_range(shape, first, shape->rank, &count) ? (double)count : NAN;
}

/* The elements of the largest value around the node. */
static double count_most_elements(const struct ldnq_node *node)
{
    double most = NAN;
    for (size_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !node->inputs[i]->constant)
            most = fmax(most, count_elements(node->inputs[i], 0));
    for (size_t o = 0; o < node->output_count; o++)
        if (node->outputs[o])
            most = fmax(most, count_elements(node->outputs[o], 0));
    return most;
}

static double pad_channels(int64_t channels, int64_t block)
{
    return (double)((channels + block - 1) / block * block);
}

/* ---- which kernels compute on codes ---------------------------------------------------------- */

static bool has_float_weight(const struct ldnq_node *node)
{
    return node->input_count > 1 && node->inputs[1] && node->inputs[1]->constant &&
           !node->inputs[1]->from_codes;
}

static bool computes_on_codes(struct work_counter *counter, const struct ldnq_node *node)
{
    const struct ldnq_node *clamp;
    struct ldnq_linter *linter = &counter->linter;
    linter->rule = ldnq_target_rule(linter->target, node);
    if (!linter->rule || linter->rule->class == LDNQ_RUNS_FLOAT ||
        linter->rule->class == LDNQ_TAKES_NO_PAIR || node->output_count == 0)
        return false;
    const struct ldnq_lint_activations found = ldnq_lint_list_activations(linter, node);
    if (found.count == 0 || found.quantized < found.count ||
        (linter->rule->weight && has_float_weight(node)))
        return false;
    return linter->rule->float_output ||
           ldnq_lint_find_quantize(linter, node->outputs[0], &clamp) != NULL;
}

static void count_readers_on_codes(struct work_counter *counter)
{
    const struct ldnq_graph *graph = counter->linter.graph;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        if (ldnq_lint_is_quantize(node) || !computes_on_codes(counter, node))
            continue;
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i])
                counter->readers_on_codes[node->inputs[i]->index]++;
    }
}

static bool feeds_codes_alone(const struct work_counter *counter, const struct ldnq_value *value)
{
    const size_t readers = counter->linter.readers[value->index];
    return !value->is_output && readers > 0 && counter->readers_on_codes[value->index] == readers;
}

/* ---- one kernel ------------------------------------------------------------------------------ */

static bool is_convolution(const struct ldnq_node *node)
{
    return (is_type(node, "Conv") || is_type(node, "ConvTranspose")) && node->inputs[1] &&
           node->inputs[1]->shape.rank > 2;
}

/* What it takes to collect the elements under a window: whole blocks of channels are read where
 * they are, parts of them are copied. */
static double weigh_window(const struct ldnq_value *weight, bool is_depthwise, int64_t block)
{
    return is_depthwise || weight->shape.dim[1] >= block ? 1 : COST_OF_COPIED_CHANNELS;
}

/* A transposed convolution has its window at each position of the input. */
static void add_convolution(struct work_counter *counter, const struct ldnq_node *node,
                            bool is_on_codes)
{
    const struct ldnq_value *weight = node->inputs[1];
    const struct ldnq_value *windows = is_type(node, "Conv") ? node->outputs[0] : node->inputs[0];
    const int64_t *size = weight->shape.dim;
    const int64_t groups = ldnq_attr_int(node, "group", 1);
    const int64_t block = counter->linter.target->kernel_costs->channel_block;
    const bool is_depthwise = groups > 1 && size[1] == 1;
    const double window = count_elements(weight, 2);
    const double positions = count_elements(windows, 2) * window;
    if (is_on_codes && window > 1)
        counter->work[LDNQ_WINDOWS_OF_CODES] +=
            positions * weigh_window(weight, is_depthwise, block);
    if (is_depthwise) {
        counter->work[is_on_codes ? LDNQ_DEPTHWISE_ON_CODES : LDNQ_DEPTHWISE_IN_FLOAT] +=
            positions * (double)size[0];
        return;
    }
    double products = positions * (double)size[0] * (double)size[1];
    if (groups == 1)
        products = positions * pad_channels(size[0], block) *
                   (size[1] < PICTURE_CHANNELS ? (double)size[1] : pad_channels(size[1], block));
    counter->work[is_on_codes ? LDNQ_CONVOLUTION_ON_CODES : LDNQ_CONVOLUTION_IN_FLOAT] += products;
}

static double count_columns(const struct ldnq_node *node)
{
    const struct ldnq_shape *shape = &node->inputs[0]->shape;
    if (shape->rank < 1)
        return NAN;
    const bool is_transposed = is_type(node, "Gemm") && ldnq_attr_int(node, "transA", 0);
    const int64_t columns = shape->dim[is_transposed ? 0 : shape->rank - 1];
    return columns > 0 && !ldnq_is_symbol(columns) ? (double)columns : NAN;
}

static bool has_weight_in_codes(const struct ldnq_node *node)
{
    return node->input_count > 1 && node->inputs[1] && node->inputs[1]->constant &&
           node->inputs[1]->from_codes;
}

/* Weights in codes whose layer computes in float are dequantized on each run. */
static void add_dequantized_weight(struct work_counter *counter, const struct ldnq_node *node)
{
    if (has_weight_in_codes(node))
        counter->work[LDNQ_WEIGHTS_DEQUANTIZED] +=
            (double)ldnq_tensor_count(node->inputs[1]->constant);
}

static void add_product(struct work_counter *counter, const struct ldnq_node *node,
                        bool is_on_codes)
{
    const double products = count_elements(node->outputs[0], 0) * count_columns(node);
    const bool is_transposed = is_type(node, "Gemm") && ldnq_attr_int(node, "transB", 0);
    if (is_on_codes) {
        counter->work[LDNQ_PRODUCT_ON_CODES] += products;
    } else if (has_weight_in_codes(node) && !is_transposed) {
        counter->work[LDNQ_PRODUCT_OF_NARROW_WEIGHT] += products;
    } else {
        counter->work[LDNQ_PRODUCT_IN_FLOAT] += products;
        add_dequantized_weight(counter, node);
    }
}

/* A node that takes no time: only a shape changes, or the kernel before it computes it too. */
static bool is_free(const struct work_counter *counter, const struct ldnq_node *node)
{
    static const char *const views[] = { "Reshape", "Flatten",  "Squeeze", "Unsqueeze",
                                         "Shape",   "Identity", "Dropout", "Constant" };
    static const char *const fused[] = { "Relu", "Clip", "BatchNormalization", "HardSwish" };
    if (is_one_of(node, views, sizeof views / sizeof *views))
        return true;
    const struct ldnq_node *before = node->inputs[0] ? node->inputs[0]->producer : NULL;
    if (!before || !is_one_of(node, fused, sizeof fused / sizeof *fused))
        return false;
    return is_convolution(before) || is_type(before, "Gemm") ||
           ldnq_target_rule(counter->linter.target, before);
}

static void add_conversion(struct work_counter *counter, const struct ldnq_node *node)
{
    if (ldnq_lint_is_dequantize(node)) {
        if (feeds_codes_alone(counter, node->outputs[0]))
            return;
        counter->work[LDNQ_ELEMENTS_DEQUANTIZED] += count_elements(node->outputs[0], 0);
    } else {
        const struct ldnq_node *before = node->inputs[0]->producer;
        while (before && (is_type(before, "Relu") || is_type(before, "Clip")) && before->inputs[0])
            before = before->inputs[0]->producer;
        if (before && computes_on_codes(counter, before))
            return;
        counter->work[LDNQ_ELEMENTS_QUANTIZED] += count_elements(node->inputs[0], 0);
    }
    counter->work[LDNQ_KERNELS]++;
}

static void add_node(struct work_counter *counter, const struct ldnq_node *node)
{
    if (ldnq_lint_is_quantize(node) || ldnq_lint_is_dequantize(node)) {
        add_conversion(counter, node);
        return;
    }
    if (is_free(counter, node))
        return;
    const bool is_on_codes = computes_on_codes(counter, node);
    counter->work[LDNQ_KERNELS]++;
    if (is_convolution(node)) {
        add_convolution(counter, node, is_on_codes);
        if (!is_on_codes)
            add_dequantized_weight(counter, node);
    } else if (is_type(node, "MatMul") || is_type(node, "Gemm")) {
        add_product(counter, node, is_on_codes);
    } else {
        counter->work[is_on_codes ? LDNQ_ELEMENTS_ON_CODES : LDNQ_ELEMENTS_IN_FLOAT] +=
            count_most_elements(node);
    }
}

/* ---- the graph ------------------------------------------------------------------------------- */

enum ldnq_status ldnq_count_kernel_work(const struct ldnq_graph *graph,
                                        const struct ldnq_target *target, struct ldnq_arena *arena,
                                        double work[LDNQ_KERNEL_WORK_COUNT], struct ldnq_error *err)
{
    struct work_counter counter = {
        .linter = { .graph = graph, .target = target, .arena = arena, .err = err },
        .work = work,
        .readers_on_codes =
            ldnq_arena_alloc(arena, graph->value_count, sizeof *counter.readers_on_codes, err),
    };
    if (!counter.readers_on_codes)
        return LDNQ_NOMEM;
    memset(work, 0, LDNQ_KERNEL_WORK_COUNT * sizeof *work);
    LDNQ_TRY(ldnq_linter_record_readers(&counter.linter, err));
    count_readers_on_codes(&counter);
    for (size_t n = 0; n < graph->node_count; n++)
        add_node(&counter, graph->nodes[n]);
    return LDNQ_OK;
}

enum ldnq_status ldnq_predict_run_time(const struct ldnq_graph *graph,
                                       const struct ldnq_target *target, struct ldnq_arena *arena,
                                       double *picoseconds, struct ldnq_error *err)
{
    double work[LDNQ_KERNEL_WORK_COUNT];
    *picoseconds = NAN;
    if (!target->kernel_costs)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_count_kernel_work(graph, target, arena, work, err));
    *picoseconds = 0;
    for (size_t kind = 0; kind < LDNQ_KERNEL_WORK_COUNT; kind++)
        *picoseconds += work[kind] * target->kernel_costs->picoseconds[kind];
    return LDNQ_OK;
}
