/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h: check protobuf bytes before protobuf-c unpacks them.
 *
 * The unpacker recurses as deep as the bytes demand, truncates strings at a NUL, and
 * merges a repeated message by copying; so the bytes are checked first.
 */
#ifndef LDNQ_ONNX_WIRE_H
#define LDNQ_ONNX_WIRE_H

#include "base/arena.h"

#include <protobuf-c/protobuf-c.h>

/* The limit of protobuf's own readers. */
#define LDNQ_WIRE_DEPTH 100

/* Checks one serialized message and all within it.
 * Errors: MODEL, with the byte and the reason, without the file's name. */
enum ldnq_status ldnq_wire_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                 size_t size, struct ldnq_error *err);

/* Checks and unpacks into the arena. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                  size_t size, struct ldnq_arena *arena, ProtobufCMessage **out,
                                  struct ldnq_error *err);

#endif
