/* SPDX-License-Identifier: Apache-2.0 */
/* inputs.h: the structs behind the public handles of models and samples. */
#ifndef LDNQ_API_INPUTS_H
#define LDNQ_API_INPUTS_H

#include "calib/calib.h"
#include "onnx/onnx.h"

/* Errors: those of ldnq_model_load; USAGE for NULL. The caller destroys the model. */
enum ldnq_status ldnq_onnx_load(const struct ldnq_onnx *onnx, struct ldnq_model **out,
                                struct ldnq_error *err);
/* The model's name for messages: its path, or the name of its bytes. */
const char *ldnq_onnx_name(const struct ldnq_onnx *onnx);
/* Whether the model is read from a file, not from memory. */
bool ldnq_onnx_is_file(const struct ldnq_onnx *onnx);

/* Whether it means that there are no samples: a quantization rounds, other jobs refuse it. */
bool ldnq_dataset_is_none(const struct ldnq_dataset *dataset);
/* Errors: those of ldnq_samples_open; USAGE for NULL and none. The caller destroys the samples. */
enum ldnq_status ldnq_dataset_open(const struct ldnq_dataset *dataset,
                                   const struct ldnq_graph *graph,
                                   const struct ldnq_samples_options *options,
                                   struct ldnq_samples **out, struct ldnq_error *err);

/* An array of the caller's as a tensor, whose data it shares. Errors: USAGE (an unknown dtype,
 * a rank or size that no tensor has, no data). */
enum ldnq_status ldnq_ndarray_tensor(const struct ldnq_ndarray *array, bool with_data,
                                     struct ldnq_tensor *out, struct ldnq_error *err);

#endif
