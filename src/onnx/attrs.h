/* attrs.h: a node's attributes as the IR has them. */
#ifndef LDNQ_ONNX_ATTRS_H
#define LDNQ_ONNX_ATTRS_H

#include "onnx/model.h"

/* Arrays are used where they lie in the model. What the IR has no kind for
 * becomes LDNQ_ATTR_OTHER. Errors: MODEL, UNSUPPORTED (a tensor), NOMEM. */
enum ldnq_status ldnq_attrs_read(const Onnx__NodeProto *node, struct ldnq_arena *arena,
                                 const struct ldnq_attr **out, struct ldnq_error *err);

/* NULL when there is none. */
const Onnx__AttributeProto *ldnq_attr_find(const Onnx__NodeProto *node, const char *name);

/* The declared type, or what an old file that declares none means. */
Onnx__AttributeProto__AttributeType ldnq_attr_type(const Onnx__AttributeProto *attr);

#endif
