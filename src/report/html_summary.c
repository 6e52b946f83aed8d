/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "report/html_page.h"
#include "report/html_write.h"

/* Writes "76.4 to 99.1 %", with a dash of its own where there is no agreement. */
static void write_agreement_interval(struct ldnq_buffer *out, const struct ldnq_diff_output *output)
{
    if (isnan(output->agreement_low))
        ldnq_html_write_number(out, LDNQ_HTML_GENERAL, NAN);
    else
        ldnq_buffer_append_format(out, "%.1f to %.1f\xc2\xa0%%", 100 * output->agreement_low,
                                  100 * output->agreement_high);
}

/* What all figures of errors and accuracy on the page were measured on. */
static void write_measured_on(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->samples == 0 || !diff->measured_on)
        return;
    ldnq_buffer_append_format(
        out, "<p class=\"lead\">In %.1f seconds, errors and agreement were measured on ",
        diff->seconds);
    ldnq_html_write_text(out, diff->measured_on);
    ldnq_buffer_append_text(out, ".</p>\n");
}

/* ---- tables -------------------------------------------------------------------------- */

static void write_file_row(struct ldnq_buffer *out, const struct ldnq_diff_file *file,
                           const char *role)
{
    ldnq_buffer_append_format(out, "<tr><th scope=\"row\"><span class=\"op\">%s</span> ", role);
    ldnq_html_write_code(out, file->path);
    ldnq_buffer_append_text(out, "</th><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, (double)file->bytes);
    if (file->data_bytes) {
        ldnq_buffer_append_text(out, " (");
        ldnq_html_write_number(out, LDNQ_HTML_BYTES, (double)file->data_bytes);
        ldnq_buffer_append_text(out, " in data files)");
    }
    ldnq_buffer_append_format(
        out, "</td><td class=\"n\">%d</td><td class=\"n\">%lld</td><td class=\"n\">", file->opset,
        (long long)file->ir_version);
    ldnq_html_write_number(out, LDNQ_HTML_COUNT, (double)file->nodes);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_COUNT, (double)file->qdq_nodes);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_LARGE, (double)file->weights);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, (double)file->weight_bytes);
    ldnq_buffer_append_text(out, "</td><td>");
    ldnq_html_write_text(out, file->producer);
    ldnq_buffer_append_text(out, "</td></tr>\n");
}

static void write_file_table(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_buffer_append_text(
        out, "<h3>The files</h3>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
             "aria-label=\"The files\"><table class=\"files\"><thead><tr><th>File</th>"
             "<th class=\"n\">Size</th><th class=\"n\">Opset</th><th class=\"n\">IR</th>"
             "<th class=\"n\">Nodes</th>"
             "<th class=\"n\" title=\"QuantizeLinear, DequantizeLinear and nodes that only copy "
             "values\">Q/DQ "
             "nodes</th><th class=\"n\">Weights</th><th class=\"n\">Weight size</th>"
             "<th>Producer</th></tr></thead><tbody>\n");
    write_file_row(out, &diff->a, "float");
    write_file_row(out, &diff->b, "quantized");
    ldnq_buffer_append_text(out, "</tbody></table></div>\n");
}

static void write_number_cell(struct ldnq_buffer *out, enum ldnq_html_kind kind, double value)
{
    ldnq_buffer_append_text(out, "<td class=\"n\">");
    ldnq_html_write_number(out, kind, value);
    ldnq_buffer_append_text(out, "</td>");
}

static void write_output_row(struct ldnq_buffer *out, const struct ldnq_diff_output *output,
                             bool has_bound)
{
    ldnq_buffer_append_text(out, "<tr><th scope=\"row\">");
    ldnq_html_write_code(out, output->name);
    ldnq_buffer_append_text(out, "</th>");
    write_number_cell(out, LDNQ_HTML_SQNR, output->error.sqnr);
    write_number_cell(out, LDNQ_HTML_COSINE, output->error.cosine);
    write_number_cell(out, LDNQ_HTML_GENERAL, output->noise_to_signal);
    if (has_bound)
        write_number_cell(out, LDNQ_HTML_GENERAL, output->bound);
    write_number_cell(out, LDNQ_HTML_GENERAL, output->max_error);
    ldnq_buffer_append_text(out, "<td class=\"n\">");
    if (isnan(output->agreement))
        ldnq_html_write_number(out, LDNQ_HTML_GENERAL, NAN);
    else
        ldnq_buffer_append_format(out, "%.2f %%", 100 * output->agreement);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    write_agreement_interval(out, output);
    ldnq_buffer_append_text(out, "</td>");
    write_number_cell(out, LDNQ_HTML_GENERAL, output->kl);
    ldnq_buffer_append_text(out, "</tr>\n");
}

/* A noise-to-signal ratio in dB. */
static double compute_sqnr(double noise_to_signal)
{
    return -10 * log10(noise_to_signal);
}

static void write_estimate(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (!diff->estimate || isnan(diff->estimate->error))
        return;
    ldnq_buffer_append_text(out, "<p class=\"note\"><dfn>Predicted</dfn> from the changes of all "
                                 "layers by backward passes: an SQNR of ");
    ldnq_html_write_number(out, LDNQ_HTML_SQNR, compute_sqnr(diff->estimate->error));
    ldnq_buffer_append_text(out, " dB, the mean over the outputs; measured on the same samples: ");
    ldnq_html_write_number(out, LDNQ_HTML_SQNR, compute_sqnr(diff->estimate->measured));
    ldnq_buffer_append_text(out, " dB. The layers\xe2\x80\x99 shares of the noise are from "
                                 "it.</p>\n");
}

static bool is_useful_bound(const struct ldnq_diff_output *output)
{
    return output->bound < 1; /* false for NaN */
}

static bool has_useful_bound(const struct ldnq_diff *diff)
{
    for (size_t i = 0; i < diff->output_count; i++)
        if (is_useful_bound(&diff->outputs[i]))
            return true;
    return false;
}

/* Bounds that say something are in the table. */
static void write_bound_footnote(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_buffer_append_text(out, "<p class=\"note\">");
    if (diff->bound_reason) {
        ldnq_buffer_append_text(out, "There is no bound by the L-DNQ paper\xe2\x80\x99s theorem: ");
        ldnq_html_write_text(out, diff->bound_reason);
        ldnq_buffer_append_text(out, ".</p>\n");
        return;
    }
    ldnq_buffer_append_text(
        out, "<dfn>The bound</dfn> of the noise-to-signal ratio, by the theorem of the L-DNQ "
             "paper, is the largest one that the isolated errors of all layers can cause. It "
             "multiplies from layer to layer, and above 1 it says nothing.");
    for (size_t i = 0; i < diff->output_count; i++) {
        if (isnan(diff->outputs[i].bound) || is_useful_bound(&diff->outputs[i]))
            continue;
        ldnq_buffer_append_text(out, " For ");
        ldnq_html_write_code(out, diff->outputs[i].name);
        ldnq_buffer_append_text(out, " it is ");
        ldnq_html_write_number(out, LDNQ_HTML_GENERAL, diff->outputs[i].bound);
        ldnq_buffer_append_text(out, ".");
    }
    ldnq_buffer_append_text(out, "</p>\n");
}

/* Explains the terms of the table. */
static void write_term_explanations(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_buffer_append_text(
        out, "<p class=\"note\"><dfn>SQNR</dfn>, the signal-to-quantization-noise ratio, is ten "
             "times the logarithm of the output\xe2\x80\x99s energy over that of its error: at 20 "
             "dB the error is a tenth of the output, and 6 dB more halve it. <dfn>The "
             "noise-to-signal ratio</dfn> is the same without the logarithm, "
             "|y\xe2\x88\x92t|\xc2\xb2 / |t|\xc2\xb2. <dfn>Agreement</dfn> is the share of the "
             "samples whose largest score is that of the same class in both networks, for outputs "
             "with one row of scores per sample; its interval has the share on other samples of "
             "the kind in 95 of 100 cases (Wilson).</p>\n");
    write_bound_footnote(out, diff);
}

static void write_pairing(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_buffer_append_format(out,
                              "<p class=\"note\">%zu of %zu layers and %zu nodes of the float file "
                              "were found in the quantized one.</p>\n",
                              diff->paired_layers, diff->layer_count, diff->paired);
}

static void write_output_table(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->samples == 0 || diff->output_count == 0)
        return;
    const bool has_bound = has_useful_bound(diff);
    ldnq_buffer_append_text(
        out, "<h3>The outputs</h3>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
             "aria-label=\"The outputs\"><table><thead><tr><th>Output</th>"
             "<th class=\"n\">SQNR, dB</th><th class=\"n\">Cosine</th>"
             "<th class=\"n\">Noise-to-signal ratio</th>");
    ldnq_buffer_append_text(out, has_bound ? "<th class=\"n\">Its bound</th>" : "");
    ldnq_buffer_append_text(out,
                            "<th class=\"n\">Largest error</th><th class=\"n\">Top-1 agreement</th>"
                            "<th class=\"n\">Its 95\xc2\xa0% interval</th>"
                            "<th class=\"n\">KL, nats</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < diff->output_count; i++)
        write_output_row(out, &diff->outputs[i], has_bound);
    ldnq_buffer_append_text(out, "</tbody></table></div>\n");
    write_term_explanations(out, diff);
    write_estimate(out, diff);
}

void ldnq_html_write_summary(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_buffer_append_text(out, "<section id=\"summary\"><h2>Outputs and files</h2>\n");
    write_measured_on(out, diff);
    write_output_table(out, diff);
    write_file_table(out, diff);
    write_pairing(out, diff);
    ldnq_buffer_append_text(out, "</section>\n");
}
