/* SPDX-License-Identifier: Apache-2.0 */
/* html_table.h: writes tables that page.js sorts on a click. A column is a record with a function
 * that returns the value of a row.
 *
 * Rows of a table that unfolds are a tbody each, with a second row for what is unfolded.
 * A column without values is left out: numbers that are all NaN, texts that are all "". Cells of
 * numbers store their value for sorting in data-v; cells without a value have none.
 */
#ifndef LDNQ_REPORT_HTML_TABLE_H
#define LDNQ_REPORT_HTML_TABLE_H

#include "report/html_write.h"

struct ldnq_html_column {
    const char *key;   /* name of the column for page.js */
    const char *title; /* the header's text, as HTML */
    const char *help;  /* shown while the pointer is on the header; or NULL */
    /* Either a number ... */
    double (*number)(const void *rows, size_t index);
    enum ldnq_html_kind kind;
    /* ... or a text, which may come from a model. `space` has LDNQ_HTML_CELL bytes to print
     * it to. */
    const char *(*text)(const void *rows, size_t index, char *space);
    bool is_name;     /* show the text as code, as the header of a row always is */
    bool is_sqnr;     /* show the band of quality beside the number */
    bool is_optional; /* hidden until the reader chooses it */
};

#define LDNQ_HTML_CELL 256

struct ldnq_html_table {
    const char *id, *caption;
    const struct ldnq_html_column *columns;
    size_t column_count;
    const void *rows;
    size_t row_count;
    /* The column that is the row's header, and where it links to: `link` ("#layer-") and the
     * number of the row from 1. NULL for no link. */
    size_t head;
    const char *link;
    bool in_order; /* the rows are sorted by the first column, ascending */
    /* Writes what a row unfolds to; NULL: rows don't unfold. */
    void (*unfold)(struct ldnq_buffer *out, const void *rows, size_t index);
};

void ldnq_html_write_table(struct ldnq_buffer *out, const struct ldnq_html_table *table);

#endif
