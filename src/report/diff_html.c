/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report.h"

#include <string.h>

#include "base/file.h"
#include "report/html_page.h"
#include "report/html_write.h"
#include "report/page_files.h"

const char *ldnq_html_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* The page loads nothing, and the policy makes the browser refuse to. */
#define HEAD                                                                                       \
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"                      \
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"                   \
    "<meta name=\"color-scheme\" content=\"light dark\">\n"                                        \
    "<meta name=\"generator\" content=\"ldnq " LDNQ_VERSION "\">\n"                                \
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "   \
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"                                   \
    "<link rel=\"icon\" href=\"data:,\">\n<title>"

void ldnq_html_write_head(struct ldnq_buffer *out, const char *path)
{
    ldnq_buffer_append_text(out, HEAD);
    ldnq_html_write_text(out, ldnq_html_file_name(path));
    ldnq_buffer_append_text(out, " \xe2\x80\x93 ldnq diff</title>\n<style>\n");
    ldnq_buffer_append_text(out, ldnq_page_css);
    ldnq_buffer_append_text(out, "</style>\n</head>\n<body>\n");
}

static void write_link(struct ldnq_buffer *out, const char *id, const char *title, bool is_there)
{
    if (is_there)
        ldnq_buffer_append_format(out, "<a href=\"#%s\">%s</a>\n", id, title);
}

static void write_header(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_buffer_append_text(out, "<header>\n<p class=\"kicker\">ldnq diff</p>\n<h1>");
    ldnq_html_write_text(out, ldnq_html_file_name(diff->a.path));
    ldnq_buffer_append_text(out, " <span class=\"arrow\">\xe2\x86\x92</span> ");
    ldnq_html_write_text(out, ldnq_html_file_name(diff->b.path));
    ldnq_buffer_append_text(out, "</h1>\n<nav aria-label=\"Sections\">\n");
    const bool has_notes = diff->removed_count + diff->added_count + diff->changed_count > 0;
    write_link(out, "verdict", "Verdict", true);
    write_link(out, "samples", "Samples", diff->changed_sample_count > 0);
    write_link(out, "strip", "Graph", diff->layer_count > 0);
    write_link(out, "layers", "Layers", diff->layer_count > 0);
    write_link(out, "network", "Along the network", diff->layer_count > 0);
    write_link(out, "summary", "Outputs and files", true);
    write_link(out, "tensors", "Quantized tensors", diff->tensor_count > 0);
    write_link(out, "float", "Computed in float", diff->float_node_count > 0);
    write_link(out, "wide", "Codes of 16 bits", diff->wide_value_count > 0);
    write_link(out, "graph", "Changes to the graph", has_notes);
    write_link(out, "reproduce", "Reproduce", diff->command != NULL);
    ldnq_buffer_append_text(out, "</nav>\n</header>\n<main>\n");
}

void ldnq_html_write_end(struct ldnq_buffer *out)
{
    ldnq_buffer_append_text(out, "</main>\n<footer>Written by ldnq " LDNQ_VERSION
                                 ".</footer>\n<script>\n");
    ldnq_buffer_append_text(out, ldnq_page_js);
    ldnq_buffer_append_text(out, "</script>\n</body>\n</html>\n");
}

void ldnq_html_write_page(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    ldnq_html_write_head(out, diff->b.path);
    write_header(out, diff);
    ldnq_html_write_verdict(out, diff);
    ldnq_html_write_samples(out, diff);
    ldnq_html_write_strip(out, diff);
    ldnq_html_write_layers(out, diff);
    ldnq_html_write_network(out, diff);
    ldnq_html_write_summary(out, diff);
    ldnq_html_write_tensors(out, diff);
    ldnq_html_write_float_nodes(out, diff);
    ldnq_html_write_wide_values(out, diff);
    ldnq_html_write_changes(out, diff);
    ldnq_html_write_reproduction(out, diff);
    ldnq_html_write_end(out);
}

enum ldnq_status ldnq_diff_write_html(const struct ldnq_diff *diff, const char *path,
                                      struct ldnq_error *err)
{
    struct ldnq_buffer page = { 0 };
    ldnq_html_write_page(&page, diff);
    const enum ldnq_status status = page.failed
                                        ? ldnq_fail(err, LDNQ_NOMEM, "%s: out of memory", path)
                                        : ldnq_file_write(path, page.data, page.size, err);
    ldnq_buffer_finish(&page);
    return status;
}
