/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html_figure.h"
#include "report/html_page.h"
#include "report/html_write.h"
#include "report/layer_cost.h"

/* ---- facts --------------------------------------------------------------------------- */

static void open_fact_html(struct ldnq_buffer *out, const char *term)
{
    ldnq_buffer_append_format(out, "<div><dt>%s</dt><dd>", term);
}

static void close_fact_html(struct ldnq_buffer *out)
{
    ldnq_buffer_append_text(out, "</dd></div>\n");
}

/* Writes a number, or nothing for NaN. */
static void write_number(struct ldnq_buffer *out, const char *term, enum ldnq_html_kind kind,
                         double value, const char *unit)
{
    if (isnan(value))
        return;
    open_fact_html(out, term);
    ldnq_html_write_number(out, kind, value);
    if (isfinite(value))
        ldnq_buffer_append_text(out, unit);
    close_fact_html(out);
}

static void write_name(struct ldnq_buffer *out, const char *term, const char *name)
{
    if (!name || !*name)
        return;
    open_fact_html(out, term);
    ldnq_html_write_code(out, name);
    close_fact_html(out);
}

static void write_number_range(struct ldnq_buffer *out, const char *term, enum ldnq_html_kind kind,
                               double low, double high)
{
    open_fact_html(out, term);
    ldnq_html_write_number(out, kind, low);
    if (high != low) {
        ldnq_buffer_append_text(out, " \xe2\x80\xa6 "); /* an ellipsis */
        ldnq_html_write_number(out, kind, high);
    }
    close_fact_html(out);
}

static void write_quantized_tensor_facts(struct ldnq_buffer *out,
                                         const struct ldnq_quantized_tensor *tensor)
{
    char text[64];
    write_name(out, "Codes", tensor->name);
    open_fact_html(out, "Type and scales");
    ldnq_buffer_append_format(out, "%s, %s", tensor->type,
                              ldnq_html_print_granularity(tensor, text, sizeof text));
    close_fact_html(out);
    if (tensor->scale_count) {
        snprintf(text, sizeof text, tensor->scale_count == 1 ? "Scale" : "%zu scales",
                 tensor->scale_count);
        write_number_range(out, text, LDNQ_HTML_GENERAL, tensor->scale_min, tensor->scale_max);
        write_number_range(out, "Zero point", LDNQ_HTML_COUNT, (double)tensor->zero_min,
                           (double)tensor->zero_max);
    }
    if (!tensor->is_constant || !tensor->count)
        return;
    write_number_range(out, "Code range", LDNQ_HTML_COUNT, (double)tensor->code_min,
                       (double)tensor->code_max);
    if (tensor->codes_used)
        write_number(out, "Distinct codes", LDNQ_HTML_COUNT, (double)tensor->codes_used, "");
    write_number(out, "Entropy", LDNQ_HTML_BITS, tensor->entropy, " bits per code");
}

static void write_shape(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    char text[LDNQ_HTML_SHAPE];
    if (layer->weights == 0)
        return;
    open_fact_html(out, "Weight");
    ldnq_buffer_append_text(out, ldnq_html_print_shape(&layer->shape, text, sizeof text));
    close_fact_html(out);
}

static void write_layer_facts(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    if (layer->match && strcmp(layer->match, layer->node) != 0)
        write_name(out, "In the quantized file", layer->match);
    if (!layer->match) {
        open_fact_html(out, "In the quantized file");
        ldnq_buffer_append_text(out, "no match");
        close_fact_html(out);
    }
    write_name(out, "Folded into it", layer->folded);
    write_shape(out, layer);
    write_number(out, "MACs per sample", LDNQ_HTML_LARGE, layer->macs, "");
    write_number(out, "Weight SQNR", LDNQ_HTML_SQNR, layer->weight_sqnr, " dB");
    write_number(out, "Isolated SQNR", LDNQ_HTML_SQNR, layer->isolated.sqnr, " dB");
    write_number(out, "Isolated cosine", LDNQ_HTML_COSINE, layer->isolated.cosine, "");
    write_number(out, "Accumulated SQNR", LDNQ_HTML_SQNR, layer->accumulated.sqnr, " dB");
    write_number(out, "Accumulated cosine", LDNQ_HTML_COSINE, layer->accumulated.cosine, "");
    if (layer->weight)
        write_quantized_tensor_facts(out, layer->weight);
    ldnq_buffer_append_text(out, "</dl>\n");
    if (!layer->input)
        return;
    ldnq_buffer_append_text(out, "<h4>Its input is quantized</h4><dl class=\"facts\">\n");
    write_quantized_tensor_facts(out, layer->input);
    ldnq_buffer_append_text(out, "</dl>\n");
}

/* ---- pictures ------------------------------------------------------------------------ */

static void write_weight_histogram(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_weight_histograms(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Weights",
        .x_title = "value",
        .y_title = "weights, log scale",
        .alt = "Histogram of the weight before and after quantization, layer",
        .subject = layer->node,
        .keys = { { "float", "float" }, { "quantized", "quantized" } },
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_weight_scatter(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_weight_scatter(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Weight by weight",
        .x_title = "float",
        .y_title = "quantized",
        .alt = "Scatter plot of quantized over float weights, layer",
        .subject = layer->node,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_code_count_chart(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_code_counts(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Codes",
        .x_title = "code",
        .y_title = "weights",
        .alt = "Bar chart of how often each code occurs, layer",
        .subject = layer->node,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

static void write_convergence_chart(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_init_layer_convergence(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Convergence",
        .x_title = "iteration",
        .y_title = "objective, log scale",
        .alt = "The solver\xe2\x80\x99s objective over its iterations, layer",
        .subject = layer->node,
    };
    ldnq_html_write_figure(out, &figure, &plot);
}

/* ---- the panel of a layer ------------------------------------------------------------ */

static void write_step_fact(struct ldnq_buffer *out, const struct ldnq_diff *diff,
                            const struct ldnq_diff_layer *layer)
{
    const struct ldnq_layer_step step = ldnq_layer_step_up(diff, layer);
    if (!step.codebook)
        return;
    open_fact_html(out, "One step up");
    ldnq_html_write_step(out, &step);
    close_fact_html(out);
}

void ldnq_html_write_layer_details(struct ldnq_buffer *out, const void *rows, size_t index)
{
    const struct ldnq_diff *diff = rows;
    const struct ldnq_diff_layer *layer = &diff->layers[index];
    ldnq_buffer_append_format(
        out, "<details class=\"layer\" id=\"layer-%zu\"><summary>Details of layer %zu</summary>\n",
        index + 1, index + 1);
    ldnq_buffer_append_text(out, "<dl class=\"facts\">\n");
    write_step_fact(out, diff, layer);
    write_layer_facts(out, layer);
    ldnq_buffer_append_text(out, "<div class=\"figures\">\n");
    write_weight_histogram(out, layer);
    write_weight_scatter(out, layer);
    write_code_count_chart(out, layer);
    write_convergence_chart(out, layer);
    ldnq_buffer_append_text(out, "</div></details>\n");
}
