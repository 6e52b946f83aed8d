/* SPDX-License-Identifier: Apache-2.0 */
/* html_verdict.c: the page begins with a decision, and with what it rests on. */
#include <math.h>
#include <string.h>

#include "report/html_page.h"
#include "report/html_write.h"
#include "report/layer_cost.h"
#include "report/verdict.h"

#define ARROW " <span class=\"arrow\">\xe2\x86\x92</span> "
#define TIMES "\xc3\x97"
#define WORST ((size_t)5)
#define MOST_TYPES 8
/* Layers with a smaller share of the noise are not worth a step. */
#define LEAST_SHARE_TO_RAISE 0.05
/* Differences of speed below this are not named. */
#define AS_FAST 0.05

/* ---- evidence in large numbers --------------------------------------------------------- */

static void open_tile(struct ldnq_buffer *out, const char *term)
{
    ldnq_buffer_append_format(out, "<div><dt>%s</dt><dd><b>", term);
}

/* Ends the large number; the rest of the tile is small. */
static void close_large_number(struct ldnq_buffer *out)
{
    ldnq_buffer_append_text(out, "</b><span>");
}

static void close_tile(struct ldnq_buffer *out)
{
    ldnq_buffer_append_text(out, "</span></dd></div>\n");
}

static void write_ratio(struct ldnq_buffer *out, double before, double after)
{
    if (before <= 0 || after <= 0 || before == after) {
        ldnq_buffer_append_text(out, "unchanged");
        return;
    }
    const double ratio = before > after ? before / after : after / before;
    ldnq_buffer_append_format(out, ratio < 9.995 ? "%.2f" : "%.1f", ratio);
    ldnq_buffer_append_format(out, TIMES "<small>%s</small>",
                              before > after ? "smaller" : "larger");
}

static void write_size_tile(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    const struct ldnq_diff_file *a = &diff->a, *b = &diff->b;
    open_tile(out, "File");
    write_ratio(out, (double)a->bytes, (double)b->bytes);
    close_large_number(out);
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, (double)a->bytes);
    ldnq_buffer_append_text(out, ARROW);
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, (double)b->bytes);
    if (a->data_bytes || b->data_bytes)
        ldnq_buffer_append_text(out, ", data files included");
    close_tile(out);
}

/* Writes "int8", or "int4 in 19 layers, float in 1". */
static void write_weight_types(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    const char *types[MOST_TYPES];
    size_t counts[MOST_TYPES] = { 0 }, count = 0;
    for (size_t i = 0; i < diff->layer_count; i++) {
        const char *type = ldnq_html_weight_type(&diff->layers[i]);
        size_t at = 0;
        while (at < count && strcmp(types[at], type) != 0)
            at++;
        if (at == MOST_TYPES)
            continue;
        types[at] = type;
        count += at == count;
        counts[at]++;
    }
    for (size_t i = 0; i < count; i++) {
        ldnq_buffer_append_format(out, "%s%s", i ? ", " : "", types[i]);
        if (count > 1)
            ldnq_buffer_append_format(out, " in %zu", counts[i]);
    }
    ldnq_buffer_append_text(out, " weights");
}

static const char *find_activation_type(const struct ldnq_diff *diff)
{
    for (size_t i = 0; i < diff->tensor_count; i++)
        if (!diff->tensors[i].is_constant)
            return diff->tensors[i].type;
    return "float";
}

static void write_bits_tile(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    const struct ldnq_diff_file *b = &diff->b;
    if (diff->a.weights == 0 || b->weights == 0)
        return;
    open_tile(out, "Bits per weight");
    ldnq_html_write_number(out, LDNQ_HTML_BITS, 8.0 * (double)b->weight_bytes / (double)b->weights);
    close_large_number(out);
    write_weight_types(out, diff);
    ldnq_buffer_append_format(out, ", %s activations", find_activation_type(diff));
    close_tile(out);
}

double ldnq_html_integer_share(const struct ldnq_diff *diff)
{
    double all = 0, integer = 0;
    for (size_t i = 0; i < diff->layer_count; i++) {
        const struct ldnq_diff_layer *layer = &diff->layers[i];
        if (isnan(layer->macs))
            return NAN;
        all += layer->macs;
        if (layer->weight && layer->input && strstr(layer->weight->type, "int8"))
            integer += layer->macs;
    }
    return all > 0 ? integer / all : NAN;
}

/* Without a prediction: the part of the work that integer kernels do. */
static void write_integer_share(struct ldnq_buffer *out, const struct ldnq_diff *diff, double share)
{
    open_tile(out, "Expected speed");
    ldnq_buffer_append_text(out, "not known");
    close_large_number(out);
    if (diff->speed.measured_on)
        ldnq_buffer_append_text(out, "sizes are open (the option <code>dim</code> sets them)");
    else
        ldnq_buffer_append_format(out, "no kernel of %s was timed",
                                  diff->speed.target ? diff->speed.target : "the runtime");
    if (!isnan(share))
        ldnq_buffer_append_format(
            out, "; %.0f\xc2\xa0%% of the multiplications are between codes of 8 bits",
            100 * share);
    close_tile(out);
}

static void write_times_faster(struct ldnq_buffer *out, double times)
{
    if (fabs(times - 1) < AS_FAST)
        ldnq_buffer_append_text(out, "as fast");
    else
        ldnq_buffer_append_format(out, "%.1f" TIMES "<small>%s</small>",
                                  times > 1 ? times : 1 / times, times > 1 ? "faster" : "slower");
}

static void write_speed_tile(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    const struct ldnq_diff_speed *speed = &diff->speed;
    const double share = ldnq_html_integer_share(diff);
    if (!speed->target && isnan(share))
        return;
    if (!speed->target || isnan(speed->times_faster)) {
        write_integer_share(out, diff, share);
        return;
    }
    open_tile(out, "Expected speed");
    write_times_faster(out, speed->times_faster);
    close_large_number(out);
    ldnq_buffer_append_format(out,
                              "beside the float model, give or take a factor of %.1f: predicted "
                              "from kernels of %s",
                              speed->factor, speed->measured_on);
    if (share == 0 && speed->times_faster < 1)
        ldnq_buffer_append_text(out, "; weights become floats again on each run, unless <code>"
                                     "session.disable_quant_qdq</code> is set");
    close_tile(out);
}

static void write_accuracy_tiles(struct ldnq_buffer *out, const struct ldnq_diff *diff,
                                 const struct ldnq_diff_output *output)
{
    if (!output)
        return;
    if (!isnan(output->agreement)) {
        open_tile(out, "Same top-1 class as float");
        ldnq_buffer_append_format(out, "%.1f<small>%%</small>", 100 * output->agreement);
        close_large_number(out);
        ldnq_buffer_append_format(out, "95\xc2\xa0%% interval %.1f to %.1f\xc2\xa0%%",
                                  100 * output->agreement_low, 100 * output->agreement_high);
        close_tile(out);
    }
    if (!isnan(output->error.sqnr)) {
        const enum ldnq_quality_band band = ldnq_quality_find_band(output->error.sqnr);
        open_tile(out, "Output SQNR");
        ldnq_html_write_number(out, LDNQ_HTML_SQNR, output->error.sqnr);
        ldnq_buffer_append_text(out, isfinite(output->error.sqnr) ? "<small>dB</small>" : "");
        close_large_number(out);
        ldnq_buffer_append_format(out, "<i class=\"band %s\"></i>%s, ", ldnq_quality_name(band),
                                  ldnq_quality_name(band));
        ldnq_html_write_code(out, output->name);
        if (diff->output_count > 1)
            ldnq_buffer_append_format(out, ", the worst of %zu outputs", diff->output_count);
        close_tile(out);
    }
}

/* ---- limits ------------------------------------------------------------------------------ */

static void write_gate_number(struct ldnq_buffer *out, const struct ldnq_diff_gate *gate,
                              double value)
{
    if (strcmp(gate->unit, "bytes") == 0)
        ldnq_html_write_number(out, LDNQ_HTML_BYTES, value);
    else if (isnan(value))
        ldnq_buffer_append_text(out, "not measured");
    else if (isinf(value))
        ldnq_buffer_append_text(out, "exact");
    else
        ldnq_buffer_append_format(out, "%.2f %s", value, gate->unit);
}

static void write_gates(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->gate_count == 0)
        return;
    ldnq_buffer_append_text(out, "<ul class=\"gates\">\n");
    for (size_t i = 0; i < diff->gate_count; i++) {
        const struct ldnq_diff_gate *gate = &diff->gates[i];
        ldnq_buffer_append_format(out, "<li class=\"%s\"><b>%s</b> %s",
                                  gate->passes ? "pass" : "fail", gate->passes ? "PASS" : "FAIL",
                                  gate->figure);
        if (gate->output) {
            ldnq_buffer_append_text(out, " of ");
            ldnq_html_write_code(out, gate->output);
        }
        ldnq_buffer_append_text(out, ": ");
        write_gate_number(out, gate, gate->value);
        ldnq_buffer_append_text(out, gate->is_upper ? ", at most " : ", at least ");
        write_gate_number(out, gate, gate->limit);
        ldnq_buffer_append_text(out, "</li>\n");
    }
    ldnq_buffer_append_text(out, "</ul>\n");
}

/* ---- the layers that cost most ------------------------------------------------------------- */

void ldnq_html_write_step(struct ldnq_buffer *out, const struct ldnq_layer_step *step)
{
    ldnq_buffer_append_format(out, "%s: ", step->codebook);
    ldnq_buffer_append_text(out, step->bytes < 0 ? "\xe2\x88\x92" : "+");
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, fabs(step->bytes));
    if (!isnan(step->output_gain))
        ldnq_buffer_append_format(out, ", output +%.1f dB", step->output_gain);
    else if (isfinite(step->layer_gain))
        ldnq_buffer_append_format(out, ", layer +%.0f dB", step->layer_gain);
    else
        ldnq_buffer_append_text(out, ", layer exact");
}

static void write_costly_layer(struct ldnq_buffer *out, const struct ldnq_diff *diff, size_t index)
{
    const struct ldnq_diff_layer *layer = &diff->layers[index];
    const struct ldnq_layer_step step = ldnq_layer_step_up(diff, layer);
    ldnq_buffer_append_format(out, "<tr><th scope=\"row\"><a href=\"#layer-%zu\">", index + 1);
    ldnq_html_write_label(out, layer->node);
    ldnq_buffer_append_format(out, "</a></th><td>%s</td><td class=\"n\">%.0f %%</td><td>",
                              ldnq_html_weight_type(layer),
                              100 * ldnq_layer_noise_share(diff, layer));
    if (step.codebook)
        ldnq_html_write_step(out, &step);
    ldnq_buffer_append_text(out, "</td></tr>\n");
}

/* The options that make this step in all of these layers. */
static void write_rules(struct ldnq_buffer *out, const struct ldnq_diff *diff, const size_t *worst,
                        size_t count)
{
    ldnq_buffer_append_text(
        out, "<p class=\"note\">Options of <code>ldnq quantize</code> that raise them:</p>\n<div "
             "class=\"copied\"><button type=\"button\" class=\"copy\" hidden>Copy</button><pre>");
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_diff_layer *layer = &diff->layers[worst[i]];
        const struct ldnq_layer_step step = ldnq_layer_step_up(diff, layer);
        if (!step.codebook || !*layer->node)
            continue;
        ldnq_buffer_append_format(out, "%s--%s &#39;", i ? " \\\n" : "", "layer");
        ldnq_html_write_text(out, layer->node);
        ldnq_buffer_append_format(out, "=%s&#39;", step.codebook);
    }
    ldnq_buffer_append_text(out, "</pre></div>\n");
}

/* What the steps of all these layers come to, and whether that is enough. */
static void write_all_steps(struct ldnq_buffer *out, const struct ldnq_diff *diff,
                            const struct ldnq_diff_output *output, const size_t *worst,
                            size_t count)
{
    const struct ldnq_layer_step all = ldnq_layers_step_up(diff, worst, count);
    ldnq_buffer_append_format(out, "<p class=\"note\">%s: +",
                              count == 1 ? "A step up for the first of them"
                                         : "A step up for all that have 5\xc2\xa0% or more");
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, fmax(all.bytes, 0));
    if (!isnan(all.output_gain)) {
        ldnq_buffer_append_format(out, ", output +%.1f dB", all.output_gain);
        if (output && output->error.sqnr + all.output_gain < LDNQ_QUALITY_FAIR_FROM)
            ldnq_buffer_append_format(
                out,
                ", which is <strong>not enough</strong> for a fair output (%.0f dB): give all "
                "layers more bits, or finer scales, or a solver that fits them",
                LDNQ_QUALITY_FAIR_FROM);
    }
    ldnq_buffer_append_text(out, ".</p>\n");
}

/* What the shares are parts of. */
static void write_share_note(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    const double rest = ldnq_diff_noise_besides_layers(diff);
    ldnq_buffer_append_text(
        out, "<p class=\"note\"><dfn>Share of the noise</dfn> is the layer\xe2\x80\x99s part of "
             "what all of them add; parts that cancel each other add up to more than the "
             "output\xe2\x80\x99s noise.");
    if (rest >= 0.05)
        ldnq_buffer_append_format(out, " %.0f %% come from rounded activations, not from weights.",
                                  100 * rest);
    ldnq_buffer_append_text(
        out, " <dfn>One step up</dfn> is the next wider type for that layer alone: what the file "
             "grows by and what is gained, predicted from the layer\xe2\x80\x99s share and 6 dB "
             "a bit.</p>\n");
}

/* Those, of layers by falling share, that are worth a step: at least the first. */
static size_t count_layers_to_raise(const struct ldnq_diff *diff, const size_t *worst, size_t count)
{
    size_t raised = 1;
    while (raised < count &&
           ldnq_layer_noise_share(diff, &diff->layers[worst[raised]]) >= LEAST_SHARE_TO_RAISE)
        raised++;
    return raised;
}

static void write_costly_layers(struct ldnq_buffer *out, const struct ldnq_diff *diff,
                                const struct ldnq_verdict *verdict)
{
    size_t worst[WORST + 1];
    const size_t count = ldnq_layers_find_worst(diff, worst, WORST);
    const bool is_mended =
        verdict->level == LDNQ_VERDICT_DOUBTFUL || verdict->level == LDNQ_VERDICT_BAD;
    if (count == 0)
        return;
    ldnq_buffer_append_text(out, "<h3>Layers that cost most</h3>\n");
    if (verdict->level == LDNQ_VERDICT_GOOD)
        ldnq_buffer_append_text(out, "<p class=\"note\">None of them needs mending.</p>\n");
    ldnq_buffer_append_text(
        out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
             "aria-label=\"Layers that cost most\"><table class=\"costly\"><thead><tr>"
             "<th>Layer</th><th>Stored as</th><th class=\"n\">Share of the noise</th>"
             "<th>One step up</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < count; i++)
        write_costly_layer(out, diff, worst[i]);
    ldnq_buffer_append_text(out, "</tbody></table></div>\n");
    if (is_mended) {
        const size_t raised = count_layers_to_raise(diff, worst, count);
        write_all_steps(out, diff, verdict->output, worst, raised);
        write_rules(out, diff, worst, raised);
    }
    write_share_note(out, diff);
}

/* ---- the section --------------------------------------------------------------------------- */

static const char *find_advice(enum ldnq_verdict_level level)
{
    switch (level) {
    case LDNQ_VERDICT_GOOD:
        return "";
    case LDNQ_VERDICT_UNMEASURED:
        return "Compare both files on samples with <code>ldnq diff</code>, then decide.";
    case LDNQ_VERDICT_DOUBTFUL:
        return "Measure the accuracy that counts on your own test set, or raise the layers below "
               "by a step and compare again.";
    case LDNQ_VERDICT_BAD:
        return "Use more bits, in the layers below first, or let the quantizer choose them for a "
               "goal, as the option <code class=\"unbroken\">min-agreement</code> is; then compare "
               "again.";
    }
    return "";
}

static void write_bands(struct ldnq_buffer *out)
{
    ldnq_buffer_append_format(
        out,
        "<p class=\"note\"><dfn>Ready to ship</dfn>: all limits that were set are kept; without "
        "limits, at least 97 %% of the samples keep their class (below 90 %%: do not ship) and are "
        "many enough, which is an interval from 95 %% on or an SQNR of 25 dB; outputs without "
        "classes have an SQNR of 20 dB or more (below 10 dB: do not ship). "
        "<dfn>Bands of SQNR</dfn>: <i class=\"band high\"></i>high from %.0f dB (error below 3 %% "
        "of the signal), <i class=\"band fair\"></i>fair from %.0f dB (below 10 %%), <i "
        "class=\"band low\"></i>low from %.0f dB (below 32 %%), <i class=\"band noise\"></i>noise "
        "below.</p>\n",
        LDNQ_QUALITY_HIGH_FROM, LDNQ_QUALITY_FAIR_FROM, LDNQ_QUALITY_LOW_FROM);
}

void ldnq_html_write_verdict(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    const struct ldnq_verdict verdict = ldnq_diff_judge(diff);
    const char *advice = find_advice(verdict.level);
    ldnq_buffer_append_format(out,
                              "<section id=\"verdict\" class=\"%s\">\n<p class=\"verdict\">"
                              "<strong>%s:</strong> ",
                              ldnq_verdict_name(verdict.level), ldnq_verdict_words(verdict.level));
    ldnq_html_write_text(out, verdict.reason);
    ldnq_buffer_append_text(out, ".</p>\n");
    if (*advice)
        ldnq_buffer_append_format(out, "<p class=\"advice\">%s</p>\n", advice);
    write_gates(out, diff);
    ldnq_buffer_append_text(out, "<dl class=\"tiles\">\n");
    write_accuracy_tiles(out, diff, verdict.output);
    write_size_tile(out, diff);
    write_bits_tile(out, diff);
    write_speed_tile(out, diff);
    ldnq_buffer_append_text(out, "</dl>\n");
    write_bands(out);
    write_costly_layers(out, diff, &verdict);
    ldnq_buffer_append_text(out, "</section>\n");
}
