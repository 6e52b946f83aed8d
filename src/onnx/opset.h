/* SPDX-License-Identifier: Apache-2.0 */
/* opset.h: raise a model's ai.onnx opset: the table of operators, and the helpers of
 * the converters.
 *
 * A converter rewrites a node from the opset before its step to that of its step.
 * Reasons to refuse are in a separate check, which sees the node as it is in the file:
 * all checks of the model pass before the first node is changed.
 */
#ifndef LDNQ_ONNX_OPSET_H
#define LDNQ_ONNX_OPSET_H

#include "base/text.h"
#include "onnx/model.h"

/* ---- the table -------------------------------------------------------------------- */

struct ldnq_raise;

struct ldnq_opset_step {
    int opset; /* the first opset with the new meaning */
    /* Fails with the reason, without the node. NULL: never refused. */
    enum ldnq_status (*check)(const struct ldnq_raise *raise, const Onnx__NodeProto *node,
                              struct ldnq_error *err);
    /* NULL when check always refuses. */
    enum ldnq_status (*convert)(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                struct ldnq_error *err);
    const char *becomes; /* the new operator type; NULL: unchanged */
};

#define LDNQ_OPSET_STEPS 2

/* An operator of ai.onnx. Its changes up to opset `reviewed` have been reviewed: those
 * without a step do not change the meaning of existing nodes. */
struct ldnq_opset_op {
    const char *type;
    int reviewed;
    struct ldnq_opset_step steps[LDNQ_OPSET_STEPS];
};

/* The operator's entry in the table; NULL when ONNX has no such operator. */
const struct ldnq_opset_op *ldnq_opset_find(const char *type);
/* The conversion of the operator to this opset; NULL when its nodes need no change. */
const struct ldnq_opset_step *ldnq_opset_step(const struct ldnq_opset_op *op, int opset);

/* Reports the table to tests; kind is "reviewed", "convert", "check" (may be refused)
 * or "refuse". */
typedef void ldnq_opset_row_fn(void *ctx, const char *type, int opset, const char *kind);
void ldnq_opset_table(ldnq_opset_row_fn *row, void *ctx);

/* ---- scopes: what is known of values ------------------------------------------------ */

struct ldnq_scope {
    const struct ldnq_scope *outer;
    struct ldnq_names values;       /* count: type; flags: rank + 1, or 0 */
    struct ldnq_names producers;    /* pointer: the node */
    struct ldnq_names initializers; /* pointer: the tensor */
};

enum ldnq_status ldnq_scope_init_from_graph(struct ldnq_scope *scope,
                                            const struct ldnq_scope *outer,
                                            const Onnx__GraphProto *graph, struct ldnq_arena *arena,
                                            struct ldnq_error *err);
enum ldnq_status ldnq_scope_init_from_function(struct ldnq_scope *scope,
                                               const Onnx__FunctionProto *function,
                                               struct ldnq_arena *arena, struct ldnq_error *err);

/* LDNQ_UNDEFINED, LDNQ_RANK_UNKNOWN or NULL when unknown. */
enum ldnq_dtype ldnq_scope_type(const struct ldnq_scope *scope, const char *name);
int ldnq_scope_rank(const struct ldnq_scope *scope, const char *name);
const Onnx__TensorProto *ldnq_scope_constant(const struct ldnq_scope *scope, const char *name);

/* ---- the state of one raise ---------------------------------------------------------- */

struct ldnq_node_list {
    Onnx__NodeProto **nodes;
    size_t count, capacity;
};

struct ldnq_raise {
    struct ldnq_model *model;
    struct ldnq_arena *scratch;
    int target;
    bool all_float;          /* no other floating-point type than float32 in the model */
    struct ldnq_names reads; /* names that are read; pointer: the only reader */
    struct ldnq_text *refusals;
    const struct ldnq_scope *scope;
    Onnx__GraphProto *graph;          /* the graph of the node; NULL in a function */
    struct ldnq_node_list out, after; /* finished nodes; nodes to add after the current one */
};

/* Add a new node before or after the one that is converted. ldnq_raise_make_name makes a
 * unique name from the node's output: "y_suffix". */
enum ldnq_status ldnq_raise_add_before(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       struct ldnq_error *err);
enum ldnq_status ldnq_raise_add_after(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                      struct ldnq_error *err);
enum ldnq_status ldnq_raise_make_name(struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                      const char *suffix, const char **name,
                                      struct ldnq_error *err);

/* Inserts a node of `op_type` before `before`, with inputs a and b (NULL: only a) and
 * one output with a new name. */
enum ldnq_status ldnq_raise_insert(struct ldnq_raise *raise, const Onnx__NodeProto *before,
                                   const char *op_type, const char *suffix, const char *a,
                                   const char *b, Onnx__NodeProto **out, struct ldnq_error *err);

/* Adds a constant that the node can read: an initializer; in a function, a Constant. */
enum ldnq_status ldnq_raise_add_constant(struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                         const char *suffix, const struct ldnq_tensor *tensor,
                                         const char **name, struct ldnq_error *err);

/* Add a constant and make it the node's input number `input`. A list has rank 1. */
enum ldnq_status ldnq_raise_input_ints(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *suffix, const int64_t *values,
                                       size_t count, struct ldnq_error *err);
enum ldnq_status ldnq_raise_input_floats(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                         size_t input, const char *suffix, const float *values,
                                         size_t count, struct ldnq_error *err);
enum ldnq_status ldnq_raise_input_int(struct ldnq_raise *raise, Onnx__NodeProto *node, size_t input,
                                      const char *suffix, int64_t value, struct ldnq_error *err);
/* The same for a scalar of the type of the node's first input, which may need a Cast. */
enum ldnq_status ldnq_raise_input_like(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *suffix, float value,
                                       struct ldnq_error *err);
/* Checks whether ldnq_raise_input_like can succeed. Errors: UNSUPPORTED, with the reason. */
enum ldnq_status ldnq_raise_check_input_like(const struct ldnq_raise *raise,
                                             const Onnx__NodeProto *node, struct ldnq_error *err);

/* Turns a list attribute into an input; does nothing when the node lacks the attribute. */
enum ldnq_status ldnq_raise_move_attr_to_input(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                               const char *attr, size_t input,
                                               struct ldnq_error *err);

int64_t ldnq_raise_read_int(const Onnx__NodeProto *node, const char *attr, int64_t otherwise);
bool ldnq_raise_attr_is(const Onnx__NodeProto *node, const char *attr, const char *value);
/* Whether the node has the optional output or input i. */
bool ldnq_raise_has_output(const Onnx__NodeProto *node, size_t i);
bool ldnq_raise_has_input(const Onnx__NodeProto *node, size_t i);

#endif
