/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/onnx.h"

#include "onnx/codec.h"
#include "onnx/wire.h"

static enum ldnq_status decode_embedded_data(const Onnx__TensorProto *proto,
                                             struct ldnq_arena *arena, struct ldnq_tensor **out,
                                             struct ldnq_error *err)
{
    if (ldnq_is_external(proto))
        return ldnq_fail(err, LDNQ_MODEL, "the tensor's data are in another file");
    return ldnq_codec_decode(proto, arena, out, err);
}

enum ldnq_status ldnq_tensorproto_decode(const void *bytes, size_t size, struct ldnq_arena *arena,
                                         struct ldnq_tensor **out, const char **name,
                                         struct ldnq_error *err)
{
    ProtobufCMessage *message;
    enum ldnq_status status =
        ldnq_wire_unpack(&onnx__tensor_proto__descriptor, bytes, size, arena, &message, err);
    if (status != LDNQ_OK)
        return status == LDNQ_MODEL ? ldnq_fail_within(err, status, "not a TensorProto") : status;
    const Onnx__TensorProto *proto = (const Onnx__TensorProto *)message;
    *name = ldnq_or_empty(proto->name);
    return decode_embedded_data(proto, arena, out, err);
}
