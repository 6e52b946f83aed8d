/* SPDX-License-Identifier: Apache-2.0 */
/* attrs.h: a node's attributes as the IR has them. */
#ifndef LDNQ_ONNX_ATTRS_H
#define LDNQ_ONNX_ATTRS_H

#include "onnx/model.h"

/* An attribute and its name in the node. In a function's body the proto may come from
 * the call, or be the function's default. */
struct ldnq_attr_source {
    const char *name;
    const Onnx__AttributeProto *proto;
    bool is_handed_in; /* the proto comes from the call */
};

/* Arrays point into the model. A kind that the IR does not have becomes
 * LDNQ_ATTR_OTHER, as do graphs, which the caller imports.
 * Errors: MODEL, UNSUPPORTED (a tensor), NOMEM. */
enum ldnq_status ldnq_attrs_read(const struct ldnq_attr_source *sources, size_t count,
                                 struct ldnq_arena *arena, struct ldnq_attr **out,
                                 struct ldnq_error *err);

/* Finds the attribute of this name; NULL when there is none. */
const Onnx__AttributeProto *ldnq_attr_find(const Onnx__NodeProto *node, const char *name);

/* The declared type; in old files that declare none, the type of the value that is set. */
Onnx__AttributeProto__AttributeType ldnq_attr_type(const Onnx__AttributeProto *attr);

/* The value of an integer; `fallback` where there is none. */
int64_t ldnq_attr_read_int(const Onnx__NodeProto *node, const char *name, int64_t fallback);

#endif
