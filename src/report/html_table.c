/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_table.h"

#include <math.h>

#include "report/verdict.h"

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
    ldnq_buffer_append_format(out, "<th scope=\"col\" data-k=\"%s\"%s%s aria-sort=\"%s\"><button",
                              column->key, column->number ? " class=\"n\"" : "",
                              column->is_optional ? " hidden" : "", sorted ? "ascending" : "none");
    if (column->help)
        ldnq_buffer_append_format(out, " title=\"%s\"", column->help);
    ldnq_buffer_append_format(out, ">%s</button></th>", column->title);
}

/* Narrow screens show the title beside the value, where a row unfolds. */
static void write_cell_attributes(struct ldnq_buffer *out, const struct ldnq_html_column *column,
                                  const struct ldnq_html_table *table)
{
    if (table->unfold)
        ldnq_buffer_append_format(out, " data-t=\"%s\"", column->title);
    if (column->is_optional)
        ldnq_buffer_append_text(out, " hidden");
}

static void write_number_cell(struct ldnq_buffer *out, const struct ldnq_html_column *column,
                              const struct ldnq_html_table *table, size_t row)
{
    const double value = column->number(table->rows, row);
    ldnq_buffer_append_text(out, "<td class=\"n\"");
    write_cell_attributes(out, column, table);
    if (isinf(value))
        ldnq_buffer_append_format(out, " data-v=\"%sInfinity\"", value < 0 ? "-" : "");
    else if (!isnan(value))
        ldnq_buffer_append_format(out, " data-v=\"%.9g\"", value);
    ldnq_buffer_append_text(out, ">");
    if (column->is_sqnr && !isnan(value))
        ldnq_buffer_append_format(out, "<i class=\"band %s\"></i>",
                                  ldnq_quality_name(ldnq_quality_find_band(value)));
    ldnq_html_write_number(out, column->kind, value);
    ldnq_buffer_append_text(out, "</td>");
}

static void write_text_cell(struct ldnq_buffer *out, const struct ldnq_html_column *column,
                            const struct ldnq_html_table *table, size_t row)
{
    char space[LDNQ_HTML_CELL];
    const char *text = column->text(table->rows, row, space);
    const bool is_header = column == &table->columns[table->head];
    ldnq_buffer_append_text(out, is_header ? "<th scope=\"row\"" : "<td");
    if (!is_header)
        write_cell_attributes(out, column, table);
    ldnq_buffer_append_text(out, ">");
    if (is_header && table->link)
        ldnq_buffer_append_format(out, "<a href=\"%s%zu\">", table->link, row + 1);
    if (is_header)
        ldnq_html_write_label(out, text);
    else if (column->is_name)
        ldnq_html_write_code(out, text);
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

/* Check boxes of the columns that are hidden at first. */
static void write_column_choice(struct ldnq_buffer *out, const struct ldnq_html_table *table,
                                const bool *is_left_out)
{
    size_t count = 0;
    for (size_t i = 0; i < table->column_count; i++)
        count += !is_left_out[i] && table->columns[i].is_optional;
    if (count == 0)
        return;
    ldnq_buffer_append_format(out,
                              "<details class=\"columns\" data-for=\"%s\"><summary>%zu more "
                              "columns</summary><p>",
                              table->id, count);
    for (size_t i = 0; i < table->column_count; i++)
        if (!is_left_out[i] && table->columns[i].is_optional)
            ldnq_buffer_append_format(out,
                                      "<label><input type=\"checkbox\" value=\"%s\"> "
                                      "%s</label> ",
                                      table->columns[i].key, table->columns[i].title);
    ldnq_buffer_append_text(out, "</p></details>\n");
}

static void write_unfolded_row(struct ldnq_buffer *out, const struct ldnq_html_table *table,
                               size_t row)
{
    ldnq_buffer_append_format(out, "<tr class=\"unfold\"><td colspan=\"%zu\">",
                              table->column_count);
    table->unfold(out, table->rows, row);
    ldnq_buffer_append_text(out, "</td></tr>\n");
}

void ldnq_html_write_table(struct ldnq_buffer *out, const struct ldnq_html_table *table)
{
    bool is_left_out[MOST_COLUMNS] = { false };
    for (size_t i = 0; i < table->column_count; i++)
        is_left_out[i] = is_empty_column(table, &table->columns[i]);
    write_column_choice(out, table, is_left_out);
    ldnq_buffer_append_format(out,
                              "<div class=\"frame\"><div class=\"scroll%s\" tabindex=\"0\" "
                              "role=\"region\" aria-label=\"%s\">"
                              "<table class=\"sortable\" id=\"%s\"><thead><tr>",
                              table->unfold ? " whole" : "", table->caption, table->id);
    for (size_t i = 0; i < table->column_count; i++)
        if (!is_left_out[i])
            write_header(out, &table->columns[i], table->in_order && i == 0);
    ldnq_buffer_append_text(out, "</tr></thead>\n");
    ldnq_buffer_append_text(out, table->unfold ? "" : "<tbody>\n");
    for (size_t row = 0; row < table->row_count; row++) {
        ldnq_buffer_append_text(out, table->unfold ? "<tbody>" : "");
        write_row(out, table, is_left_out, row);
        if (table->unfold)
            write_unfolded_row(out, table, row);
        ldnq_buffer_append_text(out, table->unfold ? "</tbody>\n" : "");
    }
    ldnq_buffer_append_text(out, table->unfold ? "" : "</tbody>");
    ldnq_buffer_append_text(out, "</table></div></div>\n");
}
