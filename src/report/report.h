/* SPDX-License-Identifier: Apache-2.0 */
/* report.h: writes the result of a comparison as JSON and as an HTML page.
 *
 * Both depend on the comparison alone: the same comparison gives the same bytes.
 */
#ifndef LDNQ_REPORT_H
#define LDNQ_REPORT_H

#include <cJSON.h>

#include "base/error.h"
#include "compare/comparison.h"

/* The comparison as JSON, as diff.schema.json describes it. The caller frees the text with
 * ldnq_report_free. Errors: NOMEM. */
enum ldnq_status ldnq_diff_print_json(const struct ldnq_diff *diff, char **text,
                                      struct ldnq_error *err);

/* Several comparisons with one float model as JSON, as candidates.schema.json describes it: a
 * verdict and a few figures of each. Errors: NOMEM. */
enum ldnq_status ldnq_candidates_print_json(struct ldnq_diff *const *candidates, size_t count,
                                            char **text, struct ldnq_error *err);

/* Adds "verdict" and "gates" of the schemas to the object; false when memory is out. */
bool ldnq_diff_json_add_judgement(cJSON *root, const struct ldnq_diff *diff);

/* The comparison as one HTML page that loads nothing else: summary, charts, layers. It is
 * written to a temporary file and renamed. Errors: IO, NOMEM. */
enum ldnq_status ldnq_diff_write_html(const struct ldnq_diff *diff, const char *path,
                                      struct ldnq_error *err);

/* Adds the array "tensors" of the schema to the object; false when memory is out. */
bool ldnq_diff_json_add_tensors(cJSON *root, const struct ldnq_quantized_tensor *tensors,
                                size_t count);

void ldnq_report_free(char *text);

#endif
