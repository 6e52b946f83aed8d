/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html_figure.h"
#include "report/html_page.h"

#define LAYER_TITLE "layer, in order of execution"

/* Both terms are explained where they occur first. */
#define ERROR_NOTE                                                                                 \
    "<dfn>Isolated</dfn>: the quantized layer on the float network\xe2\x80\x99s input, which "     \
    "shows "                                                                                       \
    "the error of this layer alone. <dfn>Accumulated</dfn>: the same layer on the quantized "      \
    "network\xe2\x80\x99s input, which shows the error of all layers up to this one."

static size_t count_exact_layers(const struct ldnq_diff *diff)
{
    size_t count = 0;
    for (size_t i = 0; i < diff->layer_count; i++)
        count += isinf(diff->layers[i].isolated.sqnr) || isinf(diff->layers[i].accumulated.sqnr);
    return count;
}

static void write_error_chart(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_sqnr_by_layer(diff, &plot))
        return;
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; i < diff->layer_count; i++) {
        ldnq_range_include(&range, diff->layers[i].isolated.sqnr);
        ldnq_range_include(&range, diff->layers[i].accumulated.sqnr);
    }
    char alt[256], note[640], samples[80] = "", without_error[80] = "";
    snprintf(alt, sizeof alt,
             "Line chart of the isolated and the accumulated SQNR by layer, between %.1f and "
             "%.1f dB.",
             range.low, range.high);
    const size_t exact = count_exact_layers(diff);
    if (diff->layer_samples < diff->samples)
        snprintf(samples, sizeof samples, " Both are measured on the first %zu samples.",
                 diff->layer_samples);
    if (exact)
        snprintf(without_error, sizeof without_error,
                 " %zu %s without any error %s no point in the chart.", exact,
                 exact == 1 ? "layer" : "layers", exact == 1 ? "has" : "have");
    snprintf(note, sizeof note, ERROR_NOTE "%s%s", samples, without_error);
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_WHOLE,
        .title = "Error along the network",
        .note = note,
        .x_title = LAYER_TITLE,
        .y_title = "SQNR in dB, higher is better",
        .alt = alt,
        .by_layer = true,
        .keys = { { "isolated", "isolated" }, { "accumulated", "accumulated" } },
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_size_chart(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_weight_bytes(diff, &plot))
        return;
    char alt[256];
    snprintf(alt, sizeof alt,
             "Bar chart of the bytes of each layer\xe2\x80\x99s weight: %zu bytes in all before, "
             "%zu after.",
             diff->a.weight_bytes, diff->b.weight_bytes);
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_HALF,
        .title = "Size by layer",
        .x_title = LAYER_TITLE,
        .y_title = "weight, as stored",
        .alt = alt,
        .by_layer = true,
        .keys = { { "float", "float" }, { "quantized", "quantized" } },
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static bool has_several_types(const struct ldnq_diff *diff)
{
    for (size_t i = 1; i < diff->layer_count; i++)
        if (strcmp(ldnq_html_weight_type(&diff->layers[i]),
                   ldnq_html_weight_type(&diff->layers[0])) != 0)
            return true;
    return false;
}

static void write_bits_chart(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    struct ldnq_plot plot;
    if (!has_several_types(diff) || !ldnq_plot_init_bits_per_weight(diff, &plot))
        return;
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_range_include(&range, diff->layers[i].bits);
    char alt[256];
    snprintf(alt, sizeof alt, "Bar chart of the bits per weight by layer: from %.2f to %.2f.",
             range.low, range.high);
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_HALF,
        .title = "Bits per weight",
        .x_title = LAYER_TITLE,
        .y_title = "bits, scales and zero points included",
        .alt = alt,
        .by_layer = true,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_estimate_chart(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_estimate(diff, &plot))
        return;
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_range_include(&range, diff->layers[i].output_estimate);
    char alt[256];
    snprintf(alt, sizeof alt,
             "Bar chart of the part of each layer in the estimated noise-to-signal ratio of the "
             "output: from %.2g to %.2g.",
             range.low, range.high);
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_WHOLE,
        .title = "Part of each layer in the noise of the output",
        .note = "The noise-to-signal ratio of the output that the change of this layer alone "
                "causes, as the backward pass predicts it. Layers that compensate the error of "
                "earlier ones "
                "have large parts that cancel in the sum.",
        .x_title = LAYER_TITLE,
        .y_title = "noise-to-signal ratio of the output",
        .alt = alt,
        .by_layer = true,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_goal_chart(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_goal(diff, &plot))
        return;
    const struct ldnq_diff_goal *goal = diff->goal;
    const struct ldnq_diff_goal_step *chosen = &goal->steps[goal->chosen];
    char alt[256], note[512];
    const bool is_budget = isnan(goal->limit);
    if (is_budget) {
        snprintf(
            alt, sizeof alt,
            "Scatter chart of %zu budgets: %s over the size of the weights; the chosen one has "
            "%.4g.",
            goal->step_count, goal->measure, chosen->value);
        snprintf(note, sizeof note,
                 "The least error that each size of the weights allows, predicted as the sum over "
                 "the layers before they compensate each other. The large dot is this budget.");
    } else {
        snprintf(alt, sizeof alt,
                 "Scatter chart of %zu files that were tried: %s over the size of their weights; "
                 "the goal is %.4g, the chosen file has %.4g.",
                 goal->step_count, goal->measure, goal->limit, chosen->value);
        snprintf(note, sizeof note,
                 "A dot for each choice of codebooks that was quantized and measured on %s. The "
                 "line is the goal, the large dot the smallest file that reaches it: %.4g, with "
                 "%zu layers float.",
                 goal->measured_on, chosen->value, chosen->float_layers);
    }
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_WHOLE,
        .title = is_budget ? "What other budgets would keep" : "The way to the goal",
        .note = note,
        .x_title = "weights, as stored",
        .y_title = goal->measure,
        .alt = alt,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_convergence_chart(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_convergence(diff, &plot))
        return;
    size_t curves = 0;
    for (size_t i = 0; i < diff->layer_count; i++)
        curves += diff->layers[i].trace_count > 0;
    char alt[256];
    snprintf(alt, sizeof alt,
             "The solver\xe2\x80\x99s objective over its iterations, a curve for each of %zu "
             "layers.",
             curves);
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_WHOLE,
        .title = "Convergence of all layers",
        .note = "One curve per layer: the objective of the best codes so far, relative to that "
                "of a zero weight. The dot marks where the solver stopped.",
        .x_title = "iteration",
        .y_title = "objective, log scale",
        .alt = alt,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

void ldnq_html_write_network(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->layer_count == 0)
        return;
    ldnq_buffer_append_text(out, "<section id=\"network\"><h2>Along the network</h2>\n"
                                 "<div class=\"figures\">\n");
    write_goal_chart(out, diff);
    write_error_chart(out, diff);
    write_size_chart(out, diff);
    write_bits_chart(out, diff);
    write_estimate_chart(out, diff);
    write_convergence_chart(out, diff);
    ldnq_buffer_append_text(out, "</div></section>\n");
}
