/* opset.h: raising a model's ai.onnx opset: the table of operators, and what
 * the converters stand on.
 *
 * A converter rewrites one node from the opset before its own to its own. What
 * it may refuse is in a check, which sees the node as the file has it: all
 * checks of the model pass before the first node is changed.
 */
#ifndef LDNQ_ONNX_OPSET_H
#define LDNQ_ONNX_OPSET_H

#include "base/text.h"
#include "onnx/model.h"

/* ---- the table -------------------------------------------------------------------- */

struct ldnq_raise;

struct ldnq_opset_step {
    int opset; /* the first with the new meaning */
    /* Fails with the reason alone. NULL: never refused. */
    enum ldnq_status (*check)(const struct ldnq_raise *raise, const Onnx__NodeProto *node,
                              struct ldnq_error *err);
    /* NULL where check always refuses. */
    enum ldnq_status (*convert)(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                struct ldnq_error *err);
    const char *becomes; /* another operator; NULL: stays what it is */
};

#define LDNQ_OPSET_STEPS 2

/* An operator of ai.onnx. Its changes up to `reviewed` have been read: those
 * without a step leave the meaning of existing nodes as it is. */
struct ldnq_opset_op {
    const char *type;
    int reviewed;
    struct ldnq_opset_step steps[LDNQ_OPSET_STEPS];
};

/* NULL when ONNX has no such operator. */
const struct ldnq_opset_op *ldnq_opset_find(const char *type);
/* NULL when nothing is to be done. */
const struct ldnq_opset_step *ldnq_opset_step(const struct ldnq_opset_op *op, int opset);

/* Rows for tests: "reviewed", "convert", "check" (may be refused), "refuse". */
typedef void ldnq_opset_row_fn(void *ctx, const char *type, int opset, const char *kind);
void ldnq_opset_table(ldnq_opset_row_fn *row, void *ctx);

/* ---- scopes: what is known of values ------------------------------------------------ */

struct ldnq_scope {
    const struct ldnq_scope *outer;
    struct ldnq_names values;       /* count: type; flags: rank + 1, or 0 */
    struct ldnq_names makers;       /* pointer: the node */
    struct ldnq_names initializers; /* pointer: the tensor */
};

enum ldnq_status ldnq_scope_init_graph(struct ldnq_scope *scope, const struct ldnq_scope *outer,
                                       const Onnx__GraphProto *graph, struct ldnq_arena *arena,
                                       struct ldnq_error *err);
enum ldnq_status ldnq_scope_init_function(struct ldnq_scope *scope,
                                          const Onnx__FunctionProto *function,
                                          struct ldnq_arena *arena, struct ldnq_error *err);

/* LDNQ_UNDEFINED, LDNQ_RANK_UNKNOWN or NULL when it is not known. */
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
    struct ldnq_names reads; /* what is read in any graph; pointer: the only reader, if a node */
    struct ldnq_text *refusals;
    const struct ldnq_scope *scope;
    Onnx__GraphProto *graph;          /* the one that the node is in; NULL in a function */
    struct ldnq_node_list out, after; /* nodes done; those to come behind the node */
};

/* Adds a new node in front of or behind the one that is converted. The name is
 * its output's: "y_suffix", made unique. */
enum ldnq_status ldnq_raise_before(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                   struct ldnq_error *err);
enum ldnq_status ldnq_raise_after(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                  struct ldnq_error *err);
enum ldnq_status ldnq_raise_name(struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                 const char *suffix, const char **name, struct ldnq_error *err);

/* A node of `op_type` in front, with one output of a new name. */
enum ldnq_status ldnq_raise_insert(struct ldnq_raise *raise, const Onnx__NodeProto *before,
                                   const char *op_type, const char *suffix, const char *a,
                                   const char *b, Onnx__NodeProto **out, struct ldnq_error *err);

/* A constant that the node can read: an initializer, in a function a Constant. */
enum ldnq_status ldnq_raise_constant(struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                     const char *suffix, const struct ldnq_tensor *tensor,
                                     const char **name, struct ldnq_error *err);

/* The constant becomes the node's input. A list has rank 1. */
enum ldnq_status ldnq_raise_input_ints(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *suffix, const int64_t *values,
                                       size_t count, struct ldnq_error *err);
enum ldnq_status ldnq_raise_input_floats(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                         size_t input, const char *suffix, const float *values,
                                         size_t count, struct ldnq_error *err);
enum ldnq_status ldnq_raise_input_int(struct ldnq_raise *raise, Onnx__NodeProto *node, size_t input,
                                      const char *suffix, int64_t value, struct ldnq_error *err);
/* A scalar of the type of the node's first input, which may need a Cast. */
enum ldnq_status ldnq_raise_input_like(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *suffix, float value,
                                       struct ldnq_error *err);
/* Whether the last one can be done. Errors: UNSUPPORTED, with the reason. */
enum ldnq_status ldnq_raise_check_like(const struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                       struct ldnq_error *err);

/* A list attribute becomes an input; nothing is done when it is not there. */
enum ldnq_status ldnq_raise_attr_to_input(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                          const char *attr, size_t input, struct ldnq_error *err);

int64_t ldnq_raise_int(const Onnx__NodeProto *node, const char *attr, int64_t otherwise);
bool ldnq_raise_string_is(const Onnx__NodeProto *node, const char *attr, const char *value);
/* Whether optional output or input i is there. */
bool ldnq_raise_has_output(const Onnx__NodeProto *node, size_t i);
bool ldnq_raise_has_input(const Onnx__NodeProto *node, size_t i);

#endif
