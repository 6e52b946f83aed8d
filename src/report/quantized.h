/* quantized.h: what stands in a file as integers with a scale. */
#ifndef LDNQ_REPORT_QUANTIZED_H
#define LDNQ_REPORT_QUANTIZED_H

#include "report/report.h"

#include <cJSON.h>

#include "report/view.h"

/* All of the view's tensors that a DequantizeLinear reads, each once, in the order of the
 * file. Errors: NOMEM. */
enum ldnq_status ldnq_quantized_list(const struct ldnq_view *view, struct ldnq_arena *arena,
                                     struct ldnq_quantized_tensor **tensors, size_t *count,
                                     struct ldnq_error *err);

/* The one that a DequantizeLinear reads; NULL for a NULL node. */
const struct ldnq_quantized_tensor *ldnq_quantized_find(const struct ldnq_quantized_tensor *tensors,
                                                        size_t count,
                                                        const struct ldnq_node *dequantize);

/* Bytes that a layer's weight takes in the file: of its codes, or as it is. */
size_t ldnq_weight_bytes(const struct ldnq_layer *layer, const struct ldnq_quantized_tensor *codes);

/* Adds them to the object as "tensors", each as diff.schema.json has it; false when memory
 * is out. */
bool ldnq_quantized_json(cJSON *root, const struct ldnq_quantized_tensor *tensors, size_t count);

#endif
