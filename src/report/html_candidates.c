/* SPDX-License-Identifier: Apache-2.0 */
/* html_candidates.c: several quantized files against one float model, side by side. */
#include <math.h>

#include "report/axis.h"
#include "report/html_page.h"
#include "report/html_write.h"
#include "report/verdict.h"

/* The picture, in the units of its viewBox; text has the size of the page's. */
#define WIDTH 720
#define HEIGHT 320
#define LEFT 70
#define RIGHT 45
#define TOP 20
#define BOTTOM 50
#define MOST_TICKS 6

/* What a candidate keeps: the agreement in percent, or the SQNR where there are no classes. */
static double find_quality(const struct ldnq_diff *diff)
{
    const struct ldnq_diff_output *output = ldnq_diff_judge(diff).output;
    return !output ? NAN : !isnan(output->agreement) ? 100 * output->agreement : output->error.sqnr;
}

static bool have_classes(struct ldnq_diff *const *candidates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_diff_output *output = ldnq_diff_judge(candidates[i]).output;
        if (!output || isnan(output->agreement))
            return false;
    }
    return true;
}

/* ---- the table ------------------------------------------------------------------------------ */

static void write_row(struct ldnq_buffer *out, const struct ldnq_diff *diff, size_t number)
{
    const struct ldnq_verdict verdict = ldnq_diff_judge(diff);
    const struct ldnq_diff_output *output = verdict.output;
    ldnq_buffer_append_format(out, "<tr><td class=\"n\">%zu</td><th scope=\"row\">", number);
    ldnq_html_write_code(out, diff->b.path);
    ldnq_buffer_append_format(out,
                              "</th><td class=\"%s\"><b class=\"level\">%s</b></td><td "
                              "class=\"n\">",
                              ldnq_verdict_name(verdict.level), ldnq_verdict_words(verdict.level));
    ldnq_html_write_number(out, LDNQ_HTML_BYTES, (double)diff->b.bytes);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_BITS,
                           8.0 * (double)diff->b.weight_bytes / (double)diff->b.weights);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    if (output && !isnan(output->agreement))
        ldnq_buffer_append_format(out, "%.1f %% (%.1f to %.1f)", 100 * output->agreement,
                                  100 * output->agreement_low, 100 * output->agreement_high);
    else
        ldnq_html_write_number(out, LDNQ_HTML_GENERAL, NAN);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_SQNR, output ? output->error.sqnr : NAN);
    ldnq_buffer_append_text(out, "</td><td class=\"n\">");
    ldnq_html_write_number(out, LDNQ_HTML_COUNT, 100 * ldnq_html_integer_share(diff));
    ldnq_buffer_append_text(out, "</td></tr>\n");
}

static void write_table(struct ldnq_buffer *out, struct ldnq_diff *const *candidates, size_t count)
{
    ldnq_buffer_append_text(
        out, "<section id=\"candidates\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
             "aria-label=\"Candidates\"><table><thead><tr><th class=\"n\">#</th><th>File</th>"
             "<th>Verdict</th><th class=\"n\">Size</th><th class=\"n\">Bits</th><th "
             "class=\"n\">Same top-1 class (95\xc2\xa0%)</th><th class=\"n\">SQNR, dB</th>"
             "<th class=\"n\">Integer, %</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < count; i++)
        write_row(out, candidates[i], i + 1);
    ldnq_buffer_append_text(out, "</tbody></table></div>\n<p class=\"note\"><dfn>Integer</dfn> is "
                                 "the share of the multiplications between codes of 8 bits, which "
                                 "integer kernels compute.</p>\n</section>\n");
}

/* ---- the scatter ---------------------------------------------------------------------------- */

static double place_x(const struct ldnq_axis *axis, double value)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * ldnq_axis_convert_value_to_fraction(axis, value);
}

static double place_y(const struct ldnq_axis *axis, double value)
{
    return HEIGHT - BOTTOM -
           (HEIGHT - TOP - BOTTOM) * ldnq_axis_convert_value_to_fraction(axis, value);
}

static void write_axes(struct ldnq_buffer *out, const struct ldnq_axis *x,
                       const struct ldnq_axis *y)
{
    for (size_t i = 0; i < x->tick_count; i++)
        ldnq_buffer_append_format(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
                                  place_x(x, x->ticks[i].value), HEIGHT - BOTTOM + 18,
                                  x->ticks[i].label);
    for (size_t i = 0; i < y->tick_count; i++) {
        const double at = place_y(y, y->ticks[i].value);
        ldnq_buffer_append_format(
            out,
            "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%s</text>",
            LEFT, at, WIDTH - RIGHT, LEFT - 8, at + 4, y->ticks[i].label);
    }
    ldnq_buffer_append_text(out, "\n");
}

static void write_dots(struct ldnq_buffer *out, struct ldnq_diff *const *candidates, size_t count,
                       const struct ldnq_axis *x, const struct ldnq_axis *y)
{
    for (size_t i = 0; i < count; i++) {
        const double quality = find_quality(candidates[i]);
        if (!isfinite(quality))
            continue;
        const double at_x = place_x(x, (double)candidates[i]->b.bytes), at_y = place_y(y, quality);
        ldnq_buffer_append_format(
            out,
            "<g class=\"%s\"><circle cx=\"%.1f\" cy=\"%.1f\" r=\"6\"/><text x=\"%.1f\" "
            "y=\"%.1f\">%zu</text></g>\n",
            ldnq_verdict_name(ldnq_diff_judge(candidates[i]).level), at_x, at_y, at_x + 10,
            at_y - 6, i + 1);
    }
}

static void write_scatter(struct ldnq_buffer *out, struct ldnq_diff *const *candidates,
                          size_t count)
{
    double low = INFINITY, high = -INFINITY, most = 0;
    struct ldnq_axis x, y;
    for (size_t i = 0; i < count; i++) {
        const double quality = find_quality(candidates[i]);
        low = isfinite(quality) ? fmin(low, quality) : low;
        high = isfinite(quality) ? fmax(high, quality) : high;
        most = fmax(most, (double)candidates[i]->b.bytes);
    }
    if (low > high)
        return;
    ldnq_axis_init_rounded(&x, 0, most, MOST_TICKS);
    ldnq_axis_label_bytes(&x);
    ldnq_axis_init_rounded(&y, low, high, MOST_TICKS);
    ldnq_buffer_append_format(
        out,
        "<section id=\"scatter\"><h2>Size and what is kept</h2>\n<p class=\"lead\">%s over the "
        "size "
        "of the file; the best candidates are at the upper left.</p>\n<svg class=\"scatter\" "
        "viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Scatter chart of %zu candidates\">\n",
        have_classes(candidates, count) ? "Agreement with the float network in percent"
                                        : "SQNR of the worst output in dB, or its agreement in "
                                          "percent,",
        WIDTH, HEIGHT, count);
    write_axes(out, &x, &y);
    write_dots(out, candidates, count, &x, &y);
    ldnq_buffer_append_text(out, "</svg></section>\n");
}

void ldnq_html_write_candidates(struct ldnq_buffer *out, struct ldnq_diff *const *candidates,
                                size_t count)
{
    ldnq_html_write_head(out, candidates[0]->a.path);
    ldnq_buffer_append_text(out, "<header>\n<p class=\"kicker\">ldnq diff</p>\n<h1>");
    ldnq_html_write_text(out, ldnq_html_file_name(candidates[0]->a.path));
    ldnq_buffer_append_format(out, "</h1>\n<p class=\"lead\">%zu candidates", count);
    if (candidates[0]->measured_on) {
        ldnq_buffer_append_text(out, ", measured on ");
        ldnq_html_write_text(out, candidates[0]->measured_on);
    }
    ldnq_buffer_append_text(out, "</p>\n</header>\n<main>\n");
    write_table(out, candidates, count);
    write_scatter(out, candidates, count);
    ldnq_html_write_reproduction(out, candidates[0]);
    ldnq_html_write_end(out);
}
