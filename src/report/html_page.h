/* SPDX-License-Identifier: Apache-2.0 */
/* html_page.h: the sections of the page in their order, one file html_*.c each. A section
 * without content writes nothing. */
#ifndef LDNQ_REPORT_HTML_PAGE_H
#define LDNQ_REPORT_HTML_PAGE_H

#include "compare/comparison.h"

#include "report/buffer.h"

/* Writes whether the quantized network can be shipped, in words, with what that rests on: the
 * limits, a few large numbers and the layers that cost most. */
void ldnq_html_write_verdict(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the outputs and the files. */
void ldnq_html_write_summary(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the charts over all layers. */
void ldnq_html_write_network(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the samples whose answer changed. */
void ldnq_html_write_samples(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the layers and quantizers as a strip of pictures that link to the table. */
void ldnq_html_write_strip(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the table of layers. */
void ldnq_html_write_layers(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes what a layer's row unfolds to; `rows` is the comparison. */
void ldnq_html_write_layer_details(struct ldnq_buffer *out, const void *rows, size_t index);
/* Writes the command, versions and hashes that make the quantized file again. */
void ldnq_html_write_reproduction(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the table of quantized tensors. */
void ldnq_html_write_tensors(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the nodes that the target computes in float, each with the reason. */
void ldnq_html_write_float_nodes(struct ldnq_buffer *out, const struct ldnq_diff *diff);
void ldnq_html_write_wide_values(struct ldnq_buffer *out, const struct ldnq_diff *diff);
/* Writes the nodes that were removed, added and changed. */
void ldnq_html_write_changes(struct ldnq_buffer *out, const struct ldnq_diff *diff);

/* Writes the whole page. out->failed is set when memory is out. */
void ldnq_html_write_page(struct ldnq_buffer *out, const struct ldnq_diff *diff);

/* Writes the page of several candidates against one float model: a table, and their size over what
 * they keep. */
void ldnq_html_write_candidates(struct ldnq_buffer *out, struct ldnq_diff *const *candidates,
                                size_t count);

/* Writes what all pages begin with, up to <body>, titled by the file; and what they end with. */
void ldnq_html_write_head(struct ldnq_buffer *out, const char *path);
void ldnq_html_write_end(struct ldnq_buffer *out);

/* ---- texts that several sections share ---- */

/* The share of the multiplications between codes of 8 bits, 0 .. 1; NaN where sizes are open. */
double ldnq_html_integer_share(const struct ldnq_diff *diff);

struct ldnq_layer_step;
/* Writes "int8: +27 kB, output +0.4 dB". */
void ldnq_html_write_step(struct ldnq_buffer *out, const struct ldnq_layer_step *step);
/* The type of B's weight: "int4", or "float". */
const char *ldnq_html_weight_type(const struct ldnq_diff_layer *layer);
/* The part of the path after the last slash. */
const char *ldnq_html_file_name(const char *path);
/* "(64,3,?,?)" into text, cut at size; returns text. */
#define LDNQ_HTML_SHAPE 160
const char *ldnq_html_print_shape(const struct ldnq_diff_shape *shape, char *text, size_t size);
/* "per tensor", "axis 0", "axis 1, blocks of 32" into text; returns it. */
const char *ldnq_html_print_granularity(const struct ldnq_quantized_tensor *tensor, char *text,
                                        size_t size);

#endif
