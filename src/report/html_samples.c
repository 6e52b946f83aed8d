/* SPDX-License-Identifier: Apache-2.0 */
/* html_samples.c: the samples that the quantized network answers in another way. */
#include <string.h>

#include "report/html_page.h"
#include "report/html_write.h"
#include "report/png_write.h"

static void write_picture(struct ldnq_buffer *out, const struct ldnq_diff_sample *sample)
{
    struct ldnq_buffer png = { 0 };
    if (ldnq_png_encode(sample->pixels, sample->width, sample->height, &png, NULL) != LDNQ_OK)
        out->failed = true;
    ldnq_buffer_append_format(out, "<img loading=\"lazy\" width=\"%zu\" height=\"%zu\" alt=\"",
                              sample->width, sample->height);
    ldnq_html_write_text(out, sample->name);
    ldnq_buffer_append_text(out, "\" src=\"data:image/png;base64,");
    ldnq_buffer_append_base64(out, png.data, png.size);
    ldnq_buffer_append_text(out, "\">");
    ldnq_buffer_finish(&png);
}

static void write_values(struct ldnq_buffer *out, const struct ldnq_diff_sample *sample)
{
    ldnq_buffer_append_text(out, "<p class=\"values\">");
    for (size_t i = 0; i < sample->value_count; i++) {
        ldnq_buffer_append_text(out, i ? ", " : "");
        ldnq_html_write_number(out, LDNQ_HTML_GENERAL, sample->values[i]);
    }
    ldnq_buffer_append_text(out, sample->value_count ? " \xe2\x80\xa6</p>" : "</p>");
}

/* The bytes of the folders that all names begin with, which only make them long. */
static size_t measure_common_folder(const struct ldnq_diff *diff)
{
    const char *const first = diff->changed_samples[0].name;
    size_t length = strlen(first);
    for (size_t i = 1; i < diff->changed_sample_count; i++) {
        size_t same = 0;
        while (same < length && diff->changed_samples[i].name[same] == first[same])
            same++;
        length = same;
    }
    while (length > 0 && first[length - 1] != '/')
        length--;
    return length;
}

static void write_sample(struct ldnq_buffer *out, const struct ldnq_diff_sample *sample,
                         size_t folder)
{
    ldnq_buffer_append_text(out, "<li>");
    if (sample->pixels)
        write_picture(out, sample);
    else
        write_values(out, sample);
    ldnq_buffer_append_format(out, "<b>%zu <span class=\"arrow\">\xe2\x86\x92</span> %zu</b> ",
                              sample->class_a, sample->class_b);
    ldnq_html_write_code(out, sample->name + folder);
    ldnq_buffer_append_text(out, "</li>\n");
}

void ldnq_html_write_samples(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->changed_sample_count == 0)
        return;
    ldnq_buffer_append_format(
        out,
        "<section id=\"samples\"><h2>Samples with another answer <span class=\"count\">%zu</span>"
        "</h2>\n<p class=\"lead\">The index of the largest score in the float network, then in the "
        "quantized one, as the networks see the samples.",
        diff->changed_sample_total);
    if (diff->changed_sample_total > diff->changed_sample_count)
        ldnq_buffer_append_format(out, " The first %zu are shown.", diff->changed_sample_count);
    ldnq_buffer_append_text(out, "</p>\n<ul class=\"samples\">\n");
    const size_t folder = measure_common_folder(diff);
    for (size_t i = 0; i < diff->changed_sample_count; i++)
        write_sample(out, &diff->changed_samples[i], folder);
    ldnq_buffer_append_text(out, "</ul></section>\n");
}
