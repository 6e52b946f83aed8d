/* report.h: what people see of two files compared: JSON, and a page. */
#ifndef LDNQ_REPORT_H
#define LDNQ_REPORT_H

#include <cJSON.h>

#include "compare/comparison.h"

/* The diff as JSON after src/report/diff.schema.json. Errors: NOMEM. The text is
 * freed with ldnq_report_free. */
enum ldnq_status ldnq_diff_json(const struct ldnq_diff *diff, char **text, struct ldnq_error *err);

/* One HTML page that needs nothing else: summary, layers, pictures. Written to a
 * temporary file and renamed. Errors: IO, NOMEM. */
enum ldnq_status ldnq_diff_html(const struct ldnq_diff *diff, const char *path,
                                struct ldnq_error *err);

/* Adds them to the object as "tensors", each as diff.schema.json has it; false when memory
 * is out. */
bool ldnq_diff_json_add_tensors(cJSON *root, const struct ldnq_quantized_tensor *tensors,
                                size_t count);

void ldnq_report_free(char *text);

#endif
