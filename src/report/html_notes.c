#include "report/html_page.h"
#include "report/html_write.h"

/* So many are in sight; of longer lists the others are folded away. */
#define IN_SIGHT 8

static void put_note(struct ldnq_buffer *out, const struct ldnq_diff_change *note)
{
    ldnq_buffer_text(out, "<li>");
    ldnq_html_name(out, note->node);
    ldnq_buffer_text(out, " <span class=\"op\">");
    ldnq_html_text(out, note->op);
    ldnq_buffer_text(out, "</span>");
    if (note->text && *note->text) {
        ldnq_buffer_text(out, " <span class=\"text\">");
        ldnq_html_text(out, note->text);
        ldnq_buffer_text(out, "</span>");
    }
    ldnq_buffer_text(out, "</li>\n");
}

static void put_notes(struct ldnq_buffer *out, const struct ldnq_diff_change *notes, size_t count)
{
    ldnq_buffer_text(out, "<ul class=\"notes\">\n");
    for (size_t i = 0; i < count; i++)
        put_note(out, &notes[i]);
    ldnq_buffer_text(out, "</ul>\n");
}

static void put_list(struct ldnq_buffer *out, const char *title,
                     const struct ldnq_diff_change *notes, size_t count)
{
    if (count == 0)
        return;
    /* Not so that one more is behind a fold than would fit in its place. */
    const size_t in_sight = count <= IN_SIGHT + 1 ? count : IN_SIGHT;
    ldnq_buffer_format(out, "<h3>%s <span class=\"count\">%zu</span></h3>\n", title, count);
    put_notes(out, notes, in_sight);
    if (in_sight == count)
        return;
    ldnq_buffer_format(out, "<details class=\"more\"><summary>and %zu more</summary>\n",
                       count - in_sight);
    put_notes(out, notes + in_sight, count - in_sight);
    ldnq_buffer_text(out, "</details>\n");
}

void ldnq_html_notes(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->removed_count + diff->added_count + diff->changed_count == 0)
        return;
    ldnq_buffer_text(out, "<section id=\"graph\"><h2>Changes to the graph</h2>\n"
                          "<p class=\"lead\">Nodes that only one of the files has, or that differ. "
                          "QuantizeLinear, DequantizeLinear and what only goes with them are not "
                          "counted.</p>\n");
    put_list(out, "Changed", diff->changed, diff->changed_count);
    put_list(out, "Removed", diff->removed, diff->removed_count);
    put_list(out, "Added", diff->added, diff->added_count);
    ldnq_buffer_text(out, "</section>\n");
}
