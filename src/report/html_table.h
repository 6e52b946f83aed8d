/* html_table.h: tables whose columns are records, sorted by page.js on a click.
 *
 * A column that is empty in every row is left out: numbers that are all NaN, texts that
 * are all "". Cells carry what they are sorted by (data-v); missing values have none.
 */
#ifndef LDNQ_REPORT_HTML_TABLE_H
#define LDNQ_REPORT_HTML_TABLE_H

#include "report/html_write.h"

struct ldnq_html_column {
    const char *key;   /* for page.js */
    const char *title; /* what stands in the header, HTML */
    const char *help;  /* shown when one points at it, or NULL */
    /* Either a number ... */
    double (*number)(const void *rows, size_t index);
    enum ldnq_html_kind kind;
    /* ... or a text, which may come from a model; `space` of at least
     * LDNQ_HTML_CELL is there to build it in. */
    const char *(*text)(const void *rows, size_t index, char *space);
    bool is_name; /* a text that is shown as code, as what heads a row always is */
};

#define LDNQ_HTML_CELL 256

struct ldnq_html_table {
    const char *id, *caption;
    const struct ldnq_html_column *columns;
    size_t column_count;
    const void *rows;
    size_t row_count;
    /* The column that heads its row, and what it links to: "#layer-" and the row's
     * number from 1; NULL for no link. */
    size_t head;
    const char *link;
    bool in_order; /* by its first column, ascending */
};

void ldnq_html_table(struct ldnq_buffer *out, const struct ldnq_html_table *table);

#endif
