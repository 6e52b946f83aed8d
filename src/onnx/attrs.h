/* attrs.h: a node's attributes as the IR has them. */
#ifndef LDNQ_ONNX_ATTRS_H
#define LDNQ_ONNX_ATTRS_H

#include "onnx/model.h"

/* An attribute of a node under its name there; in a function's body the proto may
 * be one of the call's, or a default. */
struct ldnq_attr_source {
    const char *name;
    const Onnx__AttributeProto *proto;
    bool is_handed_in; /* by the call */
};

/* Arrays are used where they lie in the model. What the IR has no kind for
 * becomes LDNQ_ATTR_OTHER, as do graphs, which the caller imports.
 * Errors: MODEL, UNSUPPORTED (a tensor), NOMEM. */
enum ldnq_status ldnq_attrs_read(const struct ldnq_attr_source *sources, size_t count,
                                 struct ldnq_arena *arena, struct ldnq_attr **out,
                                 struct ldnq_error *err);

/* NULL when there is none. */
const Onnx__AttributeProto *ldnq_attr_find(const Onnx__NodeProto *node, const char *name);

/* The declared type, or what an old file that declares none means. */
Onnx__AttributeProto__AttributeType ldnq_attr_type(const Onnx__AttributeProto *attr);

#endif
