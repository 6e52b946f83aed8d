/* SPDX-License-Identifier: Apache-2.0 */
/* codec.h: convert the tensors of a file to and from struct ldnq_tensor.
 *
 * Errors  MODEL (a size that does not fit the shape, a type that ONNX doesn't have),
 *         UNSUPPORTED (rank above LDNQ_MAX_RANK, segments), NOMEM; the message names
 *         the tensor, not the file.
 */
#ifndef LDNQ_ONNX_CODEC_H
#define LDNQ_ONNX_CODEC_H

#include "onnx/model.h"

/* Bytes of the tensor's elements in raw_data or an external file. */
enum ldnq_status ldnq_codec_packed_size(const Onnx__TensorProto *proto, size_t *bytes,
                                        struct ldnq_error *err);

/* Points into the proto where its bytes can be used as they are, else copies to
 * the arena. Strings give a tensor with a shape and no data. */
enum ldnq_status ldnq_codec_decode(const Onnx__TensorProto *proto, struct ldnq_arena *arena,
                                   struct ldnq_tensor **out, struct ldnq_error *err);

/* Returns the dense tensor; UNSUPPORTED also when it would be huge. */
enum ldnq_status ldnq_codec_decode_sparse(const Onnx__SparseTensorProto *proto,
                                          struct ldnq_arena *arena, struct ldnq_tensor **out,
                                          struct ldnq_error *err);

/* Creates a TensorProto in the arena, with raw_data packed as ONNX requires. */
enum ldnq_status ldnq_codec_encode(const struct ldnq_tensor *tensor, const char *name,
                                   struct ldnq_arena *arena, Onnx__TensorProto **out,
                                   struct ldnq_error *err);

#endif
