#include "report/html_table.h"

#include <math.h>

#define MOST_COLUMNS 32

static bool is_empty_column(const struct ldnq_html_table *table,
                            const struct ldnq_html_column *column)
{
    char space[LDNQ_HTML_CELL];
    for (size_t i = 0; i < table->row_count; i++) {
        if (column->number && !isnan(column->number(table->rows, i)))
            return false;
        if (column->text && *column->text(table->rows, i, space))
            return false;
    }
    return true;
}

static void write_header(struct ldnq_buffer *out, const struct ldnq_html_column *column,
                         bool sorted)
{
    ldnq_buffer_append_format(out, "<th scope=\"col\" data-k=\"%s\"%s aria-sort=\"%s\"><button",
                              column->key, column->number ? " class=\"n\"" : "",
                              sorted ? "ascending" : "none");
    if (column->help)
        ldnq_buffer_append_format(out, " title=\"%s\"", column->help);
    ldnq_buffer_append_format(out, ">%s</button></th>", column->title);
}

static void write_number_cell(struct ldnq_buffer *out, const struct ldnq_html_column *column,
                              const struct ldnq_html_table *table, size_t row)
{
    const double value = column->number(table->rows, row);
    ldnq_buffer_append_text(out, "<td class=\"n\"");
    if (isinf(value))
        ldnq_buffer_append_format(out, " data-v=\"%sInfinity\"", value < 0 ? "-" : "");
    else if (!isnan(value))
        ldnq_buffer_append_format(out, " data-v=\"%.9g\"", value);
    ldnq_buffer_append_text(out, ">");
    ldnq_html_write_number(out, column->kind, value);
    ldnq_buffer_append_text(out, "</td>");
}

static void write_text_cell(struct ldnq_buffer *out, const struct ldnq_html_column *column,
                            const struct ldnq_html_table *table, size_t row)
{
    char space[LDNQ_HTML_CELL];
    const char *text = column->text(table->rows, row, space);
    const bool is_header = column == &table->columns[table->head];
    ldnq_buffer_append_text(out, is_header ? "<th scope=\"row\">" : "<td>");
    if (is_header && table->link)
        ldnq_buffer_append_format(out, "<a href=\"%s%zu\">", table->link, row + 1);
    if (is_header)
        ldnq_html_write_label(out, text);
    else if (column->is_name)
        ldnq_html_write_name(out, text);
    else
        ldnq_html_write_text(out, text);
    ldnq_buffer_append_format(out, "%s%s", is_header && table->link ? "</a>" : "",
                              is_header ? "</th>" : "</td>");
}

static void write_row(struct ldnq_buffer *out, const struct ldnq_html_table *table,
                      const bool *is_left_out, size_t row)
{
    ldnq_buffer_append_text(out, "<tr>");
    for (size_t i = 0; i < table->column_count; i++) {
        const struct ldnq_html_column *column = &table->columns[i];
        if (is_left_out[i])
            continue;
        if (column->number)
            write_number_cell(out, column, table, row);
        else
            write_text_cell(out, column, table, row);
    }
    ldnq_buffer_append_text(out, "</tr>\n");
}

void ldnq_html_write_table(struct ldnq_buffer *out, const struct ldnq_html_table *table)
{
    bool is_left_out[MOST_COLUMNS] = { false };
    ldnq_buffer_append_format(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">"
        "<table class=\"sortable\" id=\"%s\"><thead><tr>",
        table->caption, table->id);
    for (size_t i = 0; i < table->column_count; i++) {
        is_left_out[i] = is_empty_column(table, &table->columns[i]);
        if (!is_left_out[i])
            write_header(out, &table->columns[i], table->in_order && i == 0);
    }
    ldnq_buffer_append_text(out, "</tr></thead>\n<tbody>\n");
    for (size_t row = 0; row < table->row_count; row++)
        write_row(out, table, is_left_out, row);
    ldnq_buffer_append_text(out, "</tbody></table></div>\n");
}
