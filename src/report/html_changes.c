/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_page.h"
#include "report/html_write.h"

/* Longer lists show this many, the others on a click. */
#define MOST_SHOWN 8

static void write_change(struct ldnq_buffer *out, const struct ldnq_diff_change *change)
{
    ldnq_buffer_append_text(out, "<li>");
    ldnq_html_write_code(out, change->node);
    ldnq_buffer_append_text(out, " <span class=\"op\">");
    ldnq_html_write_text(out, change->op);
    ldnq_buffer_append_text(out, "</span>");
    if (change->text && *change->text) {
        ldnq_buffer_append_text(out, " <span class=\"text\">");
        ldnq_html_write_text(out, change->text);
        ldnq_buffer_append_text(out, "</span>");
    }
    ldnq_buffer_append_text(out, "</li>\n");
}

static void write_changes(struct ldnq_buffer *out, const struct ldnq_diff_change *changes,
                          size_t count)
{
    ldnq_buffer_append_text(out, "<ul class=\"notes\">\n");
    for (size_t i = 0; i < count; i++)
        write_change(out, &changes[i]);
    ldnq_buffer_append_text(out, "</ul>\n");
}

static void write_titled_change_list(struct ldnq_buffer *out, const char *title,
                                     const struct ldnq_diff_change *changes, size_t count)
{
    if (count == 0)
        return;
    /* "and 1 more" would take the same space as the one. */
    const size_t shown = count <= MOST_SHOWN + 1 ? count : MOST_SHOWN;
    ldnq_buffer_append_format(out, "<h3>%s <span class=\"count\">%zu</span></h3>\n", title, count);
    write_changes(out, changes, shown);
    if (shown == count)
        return;
    ldnq_buffer_append_format(out, "<details class=\"more\"><summary>and %zu more</summary>\n",
                              count - shown);
    write_changes(out, changes + shown, count - shown);
    ldnq_buffer_append_text(out, "</details>\n");
}

void ldnq_html_write_float_nodes(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->float_node_count == 0)
        return;
    ldnq_buffer_append_text(
        out, "<section id=\"float\"><h2>Computed in float</h2>\n"
             "<p class=\"lead\">All other operators that compute read and write codes, so that the "
             "runtime can use its integer kernels.</p>\n");
    write_titled_change_list(out, "Nodes", diff->float_nodes, diff->float_node_count);
    ldnq_buffer_append_text(out, "</section>\n");
}

void ldnq_html_write_wide_values(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->wide_value_count == 0)
        return;
    ldnq_buffer_append_text(
        out, "<section id=\"wide\"><h2>Codes of 16 bits</h2>\n"
             "<p class=\"lead\">8 bits would ruin these values. All that the operators around them "
             "read and write has 16 bits, too; all other codes have 8.</p>\n");
    write_titled_change_list(out, "Values", diff->wide_values, diff->wide_value_count);
    ldnq_buffer_append_text(out, "</section>\n");
}

void ldnq_html_write_changes(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->removed_count + diff->added_count + diff->changed_count == 0)
        return;
    ldnq_buffer_append_text(
        out, "<section id=\"graph\"><h2>Changes to the graph</h2>\n"
             "<p class=\"lead\">Nodes that only one file has, or that differ between both. "
             "QuantizeLinear, DequantizeLinear and nodes that only copy values are "
             "left out.</p>\n");
    write_titled_change_list(out, "Changed", diff->changed, diff->changed_count);
    write_titled_change_list(out, "Removed", diff->removed, diff->removed_count);
    write_titled_change_list(out, "Added", diff->added, diff->added_count);
    ldnq_buffer_append_text(out, "</section>\n");
}
