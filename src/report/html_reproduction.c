/* SPDX-License-Identifier: Apache-2.0 */
/* html_reproduction.c: what made the quantized file, to be copied. */
#include "report/html_page.h"
#include "report/html_write.h"

void ldnq_html_write_reproduction(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (!diff->command)
        return;
    ldnq_buffer_append_text(
        out, "<section id=\"reproduce\"><h2>Reproduce</h2>\n"
             "<p class=\"lead\">The same command, version, kernels and inputs give the same "
             "bytes.</p>\n"
             "<div class=\"copied\"><button type=\"button\" class=\"copy\" hidden>Copy</button>"
             "<pre id=\"reproduction\">");
    ldnq_html_write_text(out, diff->command);
    for (size_t i = 0; i < diff->fact_count; i++) {
        ldnq_buffer_append_format(out, "\n# %s: ", diff->facts[i].name);
        ldnq_html_write_text(out, diff->facts[i].text);
    }
    ldnq_buffer_append_text(out, "</pre></div>\n</section>\n");
}
