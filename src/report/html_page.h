/* html_page.h: the sections of the page, one file html_*.c each, in the order in which
 * they stand. Where there is nothing to say they write nothing. */
#ifndef LDNQ_REPORT_HTML_PAGE_H
#define LDNQ_REPORT_HTML_PAGE_H

#include "compare/comparison.h"

#include "report/buffer.h"

/* What it is about, in a few large numbers; files; outputs; the worst layers. */
void ldnq_html_summary(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Charts by layer. */
void ldnq_html_network(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* The table of layers. */
void ldnq_html_layers(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* A panel a layer. */
void ldnq_html_details(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* All that is held in codes. */
void ldnq_html_tensors(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Nodes removed, added, changed. */
void ldnq_html_notes(struct ldnq_buffer *out, const struct ldnq_diff *diff);

/* The whole page into `out`, which says whether memory was out. */
void ldnq_html_page(struct ldnq_buffer *out, const struct ldnq_diff *diff);

/* ---- what several sections say the same way ---- */

/* "int4", or "float" for a layer whose weight is. */
const char *ldnq_html_type(const struct ldnq_diff_layer *layer);
/* The part of the path behind the last slash. */
const char *ldnq_html_file_name(const char *path);
/* "(64,3,?,?)" into text, cut at size; returns text. */
#define LDNQ_HTML_SHAPE 160
const char *ldnq_html_shape(const struct ldnq_diff_shape *shape, char *text, size_t size);
/* "per tensor", "axis 0", "axis 1, blocks of 32" into text; returns it. */
const char *ldnq_html_granularity(const struct ldnq_quantized_tensor *tensor, char *text,
                                  size_t size);

#endif
