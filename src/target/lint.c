/* SPDX-License-Identifier: Apache-2.0 */
/* lint.c: the table of rules, and which of them each node is checked against. */
#include "target/lint_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ops/op_layer.h"

const char *ldnq_severity_name(enum ldnq_severity severity)
{
    static const char *const names[] = { "note", "slower", "broken" };
    return names[severity];
}

/* ---- the table ------------------------------------------------------------------------------ */

#define REFUSED "the file does not compile there, or computes something else"
#define FLOAT_KERNEL "a float kernel, and a conversion on each side"

/* In the order in which a node is checked. */
static const struct ldnq_lint_check checks[] = {
    { "activation-type", LDNQ_LINT_PAIRS, false, ldnq_check_activation_type, FLOAT_KERNEL },
    { "shared-int8", LDNQ_LINT_PAIRS, false, ldnq_check_shared_int8, FLOAT_KERNEL },
    { "symmetric", LDNQ_LINT_PAIRS, false, ldnq_check_symmetric, REFUSED },
    { "power-of-two", LDNQ_LINT_PAIRS, false, ldnq_check_power_of_two, REFUSED },
    { "double-pair", LDNQ_LINT_PAIRS, false, ldnq_check_double_pair, "a pass over the codes" },
    { "least-range", LDNQ_LINT_PAIRS, false, ldnq_check_least_range, REFUSED },

    { "product-rows", LDNQ_LINT_COMPUTING, true, ldnq_check_product_rows, "wrong results" },
    { "rounded-input", LDNQ_LINT_COMPUTING, true, ldnq_check_rounded_input,
      "up to 1 % of the largest output" },
    { "weights-only", LDNQ_LINT_COMPUTING, true, ldnq_check_weights_only,
      "a pass over the weight on every run" },
    { "no-pairs", LDNQ_LINT_COMPUTING, true, ldnq_check_no_pairs, "a float kernel" },
    { "weight-float", LDNQ_LINT_COMPUTING, true, ldnq_check_weight_float, FLOAT_KERNEL },
    { "input-pair", LDNQ_LINT_COMPUTING, true, ldnq_check_input_pair, FLOAT_KERNEL },
    { "constant-scale", LDNQ_LINT_PAIRS | LDNQ_LINT_COMPUTING, false, ldnq_check_constant_scale,
      REFUSED },
    { "positive-scale", LDNQ_LINT_PAIRS | LDNQ_LINT_COMPUTING, false, ldnq_check_positive_scale,
      REFUSED },
    { "small-layer", LDNQ_LINT_COMPUTING, false, ldnq_check_small_layer,
      "an integer kernel that is slower than the float one" },
    { "weight-per-tensor", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_per_tensor, REFUSED },
    { "weight-power-of-two", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_power_of_two, REFUSED },
    { "weight-type", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_type, REFUSED },
    { "weight-symmetric", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_symmetric, REFUSED },
    { "weight-narrow", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_narrow,
      "kernels that assume a symmetric range may saturate" },
    { "weight-bits", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_bits,
      "a float kernel, and a pass over the weight on every run" },
    { "bias-float", LDNQ_LINT_COMPUTING, false, ldnq_check_bias_float, REFUSED },
    { "bias-int32", LDNQ_LINT_COMPUTING, false, ldnq_check_bias_int32,
      "the bias is quantized when the model is loaded, or its layer computes in float" },
    { "bias-scale", LDNQ_LINT_COMPUTING, false, ldnq_check_bias_scale,
      "a float kernel, or another result" },
    { "bias-saturated", LDNQ_LINT_COMPUTING, false, ldnq_check_bias_saturated,
      "another result in this channel" },
    { "weight-zero-point", LDNQ_LINT_COMPUTING, false, ldnq_check_weight_zero_point, FLOAT_KERNEL },
    { "residual-pair", LDNQ_LINT_COMPUTING, false, ldnq_check_residual_pair,
      "a pass over both operands" },
    { "output-pair", LDNQ_LINT_COMPUTING, false, ldnq_check_output_pair, FLOAT_KERNEL },
    { "relu-range", LDNQ_LINT_COMPUTING, false, ldnq_check_relu_range, FLOAT_KERNEL },
    { "fixed-range", LDNQ_LINT_COMPUTING, false, ldnq_check_fixed_range, REFUSED },
    { "near-scale", LDNQ_LINT_COMPUTING, false, ldnq_check_near_scale, "a pass over the codes" },

    { "whole-table", LDNQ_LINT_TABLES, true, ldnq_check_table_not_dequantized,
      "a pass over the table on every run" },

    { "move-codes", LDNQ_LINT_MOVING, true, ldnq_check_move_codes, "a conversion on each side" },
    { "move-pair", LDNQ_LINT_MOVING, true, ldnq_check_move_pair, "a conversion" },
    { "same-scale", LDNQ_LINT_MOVING, true, ldnq_check_same_scale, "a conversion on each side" },

    { "one-type", LDNQ_LINT_COMPUTING | LDNQ_LINT_MOVING, false, ldnq_check_one_type,
      FLOAT_KERNEL },
    { "one-scale", LDNQ_LINT_COMPUTING | LDNQ_LINT_FLOAT, false, ldnq_check_one_scale,
      "a pass over the codes, or another result" },
    { "clamp-pair", LDNQ_LINT_COMPUTING | LDNQ_LINT_FLOAT, true, ldnq_check_clamp_pair,
      "a kernel of its own, and a rounding before it" },
    { "copy-pair", LDNQ_LINT_FLOAT, true, ldnq_check_copy_pair, "conversions that stop a fusion" },
    { "float-between", LDNQ_LINT_FLOAT, false, ldnq_check_float_between,
      "a conversion on each side" },
    { "operator-format", LDNQ_LINT_FLOAT, false, ldnq_check_operator_format, REFUSED },

    { "opset", LDNQ_LINT_MODEL, false, ldnq_check_opset, REFUSED },
    { "static-shapes", LDNQ_LINT_MODEL, false, ldnq_check_static_shapes,
      "a step before the model runs" },
};

#define CHECK_COUNT (sizeof checks / sizeof *checks)

/* ---- findings ---------------------------------------------------------------------------------
 */

enum ldnq_severity ldnq_lint_severity(const struct ldnq_linter *linter)
{
    return linter->target->falls_back ? LDNQ_SLOWER : LDNQ_BROKEN;
}

static bool reserve_finding(struct ldnq_linter *linter)
{
    struct ldnq_lint *lint = linter->lint;
    if (lint->count < linter->capacity)
        return true;
    const size_t capacity = linter->capacity ? 2 * linter->capacity : 32;
    struct ldnq_finding *larger =
        ldnq_arena_alloc(linter->arena, capacity, sizeof *larger, linter->err);
    if (!larger)
        return false;
    if (lint->count)
        memcpy(larger, lint->findings, lint->count * sizeof *larger);
    lint->findings = larger;
    linter->capacity = capacity;
    return true;
}

void ldnq_lint_report(struct ldnq_linter *linter, const struct ldnq_node *node,
                      enum ldnq_severity severity, const char *advice, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (linter->status != LDNQ_OK)
        return;
    const char *message = ldnq_arena_strdup(linter->arena, text, linter->err);
    if (!message || !reserve_finding(linter)) {
        linter->status = LDNQ_NOMEM;
        return;
    }
    linter->lint->findings[linter->lint->count++] =
        (struct ldnq_finding){ .node = node,
                               .rule = linter->check->rule,
                               .severity = severity,
                               .message = message,
                               .advice = advice,
                               .cost = linter->check->cost };
}

/* ---- one node -----------------------------------------------------------------------------------
 */

/* Returns whether the target can compute the node on integers. */
static bool run_checks(struct ldnq_linter *linter, unsigned subject, const struct ldnq_node *node)
{
    bool fits = true;
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        const size_t before = linter->lint->count;
        if (!(checks[i].subjects & subject))
            continue;
        linter->check = &checks[i];
        fits = checks[i].run(linter, node) && fits;
        if (checks[i].is_last && (linter->lint->count > before || !fits))
            break;
    }
    return fits;
}

static void count_node(struct ldnq_linter *linter, bool on_integers)
{
    linter->lint->integer_nodes += on_integers;
    linter->lint->float_nodes += !on_integers;
}

/* One finding per pair: that of its QuantizeLinear. */
static void check_pair(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const bool is_second =
        ldnq_lint_is_dequantize(node) && ldnq_lint_is_quantize(node->inputs[0]->producer);
    if (linter->target->pairs != LDNQ_PAIRS_NONE && !is_second)
        run_checks(linter, LDNQ_LINT_PAIRS, node);
}

/* A Relu or Clip whose clamping the range of the codes after it does as well. */
static bool is_absorbed_clamp(const struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_node *before = node->inputs[0]->producer, *clamp;
    return linter->target->absorbs_clamps && before && !ldnq_lint_is_dequantize(before) &&
           ldnq_target_rule(linter->target, before) &&
           (strcmp(node->op_type, "Relu") == 0 || strcmp(node->op_type, "Clip") == 0) &&
           ldnq_lint_find_quantize(linter, before->outputs[0], &clamp);
}

static void check_computing_node(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_lint_activations found = ldnq_lint_list_activations(linter, node);
    if (found.count == 0 || is_absorbed_clamp(linter, node))
        return;
    /* Codes of another type have a finding at their pair. */
    count_node(linter, run_checks(linter, LDNQ_LINT_COMPUTING, node) && found.other_type == 0);
}

static void check_moving_node(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    const struct ldnq_value *value = node->inputs[0];
    if (linter->target->pairs != LDNQ_PAIRS_AT_BOTH || !value || value->constant)
        return;
    if (linter->rule->on_codes && value->dtype != LDNQ_FLOAT)
        count_node(linter, true);
    else if (ldnq_lint_find_dequantize(value) ||
             (linter->target->every_tensor && value->dtype == LDNQ_FLOAT))
        count_node(linter, run_checks(linter, LDNQ_LINT_MOVING, node));
}

static void check_node(struct ldnq_linter *linter, const struct ldnq_node *node)
{
    linter->rule = NULL;
    if (ldnq_lint_is_quantize(node) || ldnq_lint_is_dequantize(node)) {
        check_pair(linter, node);
        return;
    }
    linter->rule = ldnq_target_rule(linter->target, node);
    if (ldnq_op_reads_table(node))
        run_checks(linter, LDNQ_LINT_TABLES, node);
    if (linter->rule && ldnq_target_refuse_operator(linter->rule, node))
        linter->rule = NULL;
    if (!linter->rule || linter->rule->class == LDNQ_TAKES_NO_PAIR ||
        linter->rule->class == LDNQ_RUNS_FLOAT)
        run_checks(linter, LDNQ_LINT_FLOAT, node);
    else if (linter->rule->class == LDNQ_PASSES_SCALE)
        check_moving_node(linter, node);
    else
        check_computing_node(linter, node);
}

/* ---- the graph
 * ------------------------------------------------------------------------------------ */

enum ldnq_status ldnq_linter_record_readers(struct ldnq_linter *linter, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = linter->graph;
    linter->readers =
        ldnq_arena_alloc(linter->arena, graph->value_count, sizeof *linter->readers, err);
    linter->reader =
        ldnq_arena_alloc(linter->arena, graph->value_count, sizeof *linter->reader, err);
    if (!linter->readers || !linter->reader)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i]) {
                linter->readers[graph->nodes[n]->inputs[i]->index]++;
                linter->reader[graph->nodes[n]->inputs[i]->index] = graph->nodes[n];
            }
    return LDNQ_OK;
}

enum ldnq_status ldnq_lint_run(const struct ldnq_graph *graph, const struct ldnq_target *target,
                               int opset, struct ldnq_arena *arena, struct ldnq_lint **out,
                               struct ldnq_error *err)
{
    struct ldnq_linter linter = {
        .graph = graph, .target = target, .opset = opset, .arena = arena, .err = err
    };
    linter.lint = ldnq_arena_alloc(arena, 1, sizeof *linter.lint, err);
    if (!linter.lint)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_linter_record_readers(&linter, err));
    for (size_t n = 0; n < graph->node_count; n++)
        check_node(&linter, graph->nodes[n]);
    linter.rule = NULL;
    run_checks(&linter, LDNQ_LINT_MODEL, NULL);
    *out = linter.lint;
    return linter.status;
}
