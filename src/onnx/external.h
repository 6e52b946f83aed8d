/* SPDX-License-Identifier: Apache-2.0 */
/* external.h: load tensors whose bytes are in another file.
 *
 * The bytes are read into the model's arena. The tensor's raw_data points to them while
 * has_raw_data stays false: protobuf-c packs by has_raw_data, so that the proto is
 * written back unchanged.
 */
#ifndef LDNQ_ONNX_EXTERNAL_H
#define LDNQ_ONNX_EXTERNAL_H

#include "onnx/model.h"

/* Reads the data of every external tensor from files below the model's folder (NULL:
 * there is none, and any such tensor is refused), each file once; adds to the model's
 * bytes and hash. When the model's path is a link, files below the folder of its target
 * are read, too.
 * Errors: MODEL (a path that leaves both folders, an offset or length outside the file),
 * IO, UNSUPPORTED (without a folder), NOMEM; messages lack the model's name. */
enum ldnq_status ldnq_external_load(struct ldnq_model *model, const char *folder,
                                    struct ldnq_error *err);

#endif
