#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html_figure.h"
#include "report/html_page.h"
#include "report/html_write.h"

/* ---- facts --------------------------------------------------------------------------- */

static void open_fact(struct ldnq_buffer *out, const char *term)
{
    ldnq_buffer_format(out, "<div><dt>%s</dt><dd>", term);
}

static void close_fact(struct ldnq_buffer *out)
{
    ldnq_buffer_text(out, "</dd></div>\n");
}

/* Left out where it was not measured. */
static void put_number(struct ldnq_buffer *out, const char *term, enum ldnq_html_kind kind,
                       double value, const char *unit)
{
    if (isnan(value))
        return;
    open_fact(out, term);
    ldnq_html_number(out, kind, value);
    if (isfinite(value))
        ldnq_buffer_text(out, unit);
    close_fact(out);
}

static void put_name(struct ldnq_buffer *out, const char *term, const char *name)
{
    if (!name || !*name)
        return;
    open_fact(out, term);
    ldnq_html_name(out, name);
    close_fact(out);
}

static void put_range(struct ldnq_buffer *out, const char *term, enum ldnq_html_kind kind,
                      double low, double high)
{
    open_fact(out, term);
    ldnq_html_number(out, kind, low);
    if (high != low) {
        ldnq_buffer_text(out, " \xe2\x80\xa6 "); /* an ellipsis */
        ldnq_html_number(out, kind, high);
    }
    close_fact(out);
}

static void put_tensor(struct ldnq_buffer *out, const struct ldnq_quantized_tensor *tensor)
{
    char text[64];
    put_name(out, "Codes", tensor->name);
    open_fact(out, "Type and scales");
    ldnq_buffer_format(out, "%s, %s", tensor->type,
                       ldnq_html_granularity(tensor, text, sizeof text));
    close_fact(out);
    if (tensor->scale_count) {
        snprintf(text, sizeof text, tensor->scale_count == 1 ? "Scale" : "%zu scales",
                 tensor->scale_count);
        put_range(out, text, LDNQ_HTML_GENERAL, tensor->scale_min, tensor->scale_max);
        put_range(out, "Zero point", LDNQ_HTML_COUNT, (double)tensor->zero_min,
                  (double)tensor->zero_max);
    }
    if (!tensor->is_constant || !tensor->count)
        return;
    put_range(out, "Codes from \xe2\x80\xa6 to", LDNQ_HTML_COUNT, (double)tensor->code_min,
              (double)tensor->code_max);
    if (tensor->codes_used)
        put_number(out, "Different codes used", LDNQ_HTML_COUNT, (double)tensor->codes_used, "");
    put_number(out, "Entropy", LDNQ_HTML_BITS, tensor->entropy, " bits a code");
}

static void put_shape(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    char text[LDNQ_HTML_SHAPE];
    if (layer->weights == 0)
        return;
    open_fact(out, "Weight");
    ldnq_buffer_text(out, ldnq_html_shape(&layer->shape, text, sizeof text));
    close_fact(out);
}

static void put_facts(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    ldnq_buffer_text(out, "<dl class=\"facts\">\n");
    if (layer->match && strcmp(layer->match, layer->node) != 0)
        put_name(out, "In the quantized file", layer->match);
    if (!layer->match) {
        open_fact(out, "In the quantized file");
        ldnq_buffer_text(out, "no partner");
        close_fact(out);
    }
    put_name(out, "Merged into it", layer->folded);
    put_shape(out, layer);
    put_number(out, "Multiplications of one sample", LDNQ_HTML_LARGE, layer->macs, "");
    put_number(out, "Weight SQNR", LDNQ_HTML_SQNR, layer->weight_sqnr, " dB");
    put_number(out, "Isolated SQNR", LDNQ_HTML_SQNR, layer->isolated.sqnr, " dB");
    put_number(out, "Isolated cosine", LDNQ_HTML_COSINE, layer->isolated.cosine, "");
    put_number(out, "Accumulated SQNR", LDNQ_HTML_SQNR, layer->accumulated.sqnr, " dB");
    put_number(out, "Accumulated cosine", LDNQ_HTML_COSINE, layer->accumulated.cosine, "");
    if (layer->weight)
        put_tensor(out, layer->weight);
    ldnq_buffer_text(out, "</dl>\n");
    if (!layer->input)
        return;
    ldnq_buffer_text(out, "<h4>Its input runs as codes</h4><dl class=\"facts\">\n");
    put_tensor(out, layer->input);
    ldnq_buffer_text(out, "</dl>\n");
}

/* ---- pictures ------------------------------------------------------------------------ */

static void put_spread(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_distribution(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Weights",
        .x_title = "value",
        .y_title = "weights, logarithmic",
        .alt = "Histogram of the weight before and after quantization, layer",
        .subject = layer->node,
        .keys = { { "float", "float" }, { "quantized", "quantized" } },
    };
    ldnq_html_figure(out, &figure, &plot);
}

static void put_scatter(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_scatter(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Weight by weight",
        .x_title = "float",
        .y_title = "quantized",
        .alt = "Quantized over float weights as dots, layer",
        .subject = layer->node,
    };
    ldnq_html_figure(out, &figure, &plot);
}

static void put_codes(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_codes(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Codes",
        .x_title = "code",
        .y_title = "weights",
        .alt = "Bar chart of how often each code occurs, layer",
        .subject = layer->node,
    };
    ldnq_html_figure(out, &figure, &plot);
}

static void put_convergence(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer)
{
    struct ldnq_plot plot;
    if (!ldnq_plot_layer_convergence(layer, &plot))
        return;
    const struct ldnq_html_figure figure = {
        .width = LDNQ_HTML_PANEL,
        .title = "Convergence",
        .x_title = "iteration",
        .y_title = "objective, logarithmic",
        .alt = "The solver\xe2\x80\x99s objective over its iterations, layer",
        .subject = layer->node,
    };
    ldnq_html_figure(out, &figure, &plot);
}

/* ---- a layer's panel ----------------------------------------------------------------- */

static void put_summary(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer, size_t number)
{
    ldnq_buffer_format(out, "<summary><span class=\"number\">%zu</span> ", number);
    ldnq_html_label(out, layer->node);
    ldnq_buffer_text(out, " <span class=\"op\">");
    ldnq_html_text(out, layer->op);
    ldnq_buffer_format(out, "</span><span class=\"figure\">%s",
                       layer->match ? ldnq_html_type(layer) : "no partner");
    const bool measured = !isnan(layer->isolated.sqnr);
    const double sqnr = measured ? layer->isolated.sqnr : layer->weight_sqnr;
    if (!isnan(sqnr)) {
        ldnq_buffer_text(out, " \xc2\xb7 "); /* a dot between */
        ldnq_html_number(out, LDNQ_HTML_SQNR, sqnr);
        ldnq_buffer_text(out, isfinite(sqnr) ? " dB" : "");
    }
    ldnq_buffer_text(out, "</span></summary>\n");
}

static void put_layer(struct ldnq_buffer *out, const struct ldnq_diff_layer *layer, size_t number)
{
    ldnq_buffer_format(out, "<details class=\"layer\" id=\"layer-%zu\">", number);
    put_summary(out, layer, number);
    put_facts(out, layer);
    ldnq_buffer_text(out, "<div class=\"figures\">\n");
    put_spread(out, layer);
    put_scatter(out, layer);
    put_codes(out, layer);
    put_convergence(out, layer);
    ldnq_buffer_text(out, "</div></details>\n");
}

void ldnq_html_details(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->layer_count == 0)
        return;
    ldnq_buffer_text(out, "<section id=\"details\"><h2>Layer by layer</h2>\n");
    for (size_t i = 0; i < diff->layer_count; i++)
        put_layer(out, &diff->layers[i], i + 1);
    ldnq_buffer_text(out, "</section>\n");
}
