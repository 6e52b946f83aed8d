/* SPDX-License-Identifier: Apache-2.0 */
/* op.h: the record of an operator, the table of all records, and a guide to writing one.
 *
 * An operator is one record (struct ldnq_op) at the bottom of its own file, and one line in
 * ops/list.h. If ONNX changes the meaning of an operator in a later opset, the old and the
 * new meaning are two records with the same `type` and different `since` and `until`.
 *
 * How to write an operator, in the order of the functions in its file:
 *
 * read_attrs  runs once per node, when the graph is bound. It checks the attributes and
 *             stores them in a struct in the arena, later found as call->attrs. An operator
 *             with one or two plain attributes needs none: infer and forward may call
 *             ldnq_attr_int() and the like.
 *
 * infer       computes dtype and shape of each output. It runs twice:
 *             - during shape inference, before there is data (call->graph is set). A
 *               dimension may be a symbol (ldnq_is_symbol), a rank LDNQ_RANK_UNKNOWN, and
 *               in[i]->data is NULL unless the input is constant. Copy symbols to the
 *               output where the size is the same, and use ldnq_op_make_unknown_dim()
 *               where it can't be computed.
 *             - at run time, before each forward (call->graph is NULL). All shapes and all
 *               data are known.
 *             It validates everything that forward relies on, since a model file is
 *             untrusted: ranks, dtypes, sizes, and axes. float16 and bfloat16 need no code
 *             (ops/widen.h).
 *
 * scratch_bytes
 *             returns how many bytes of workspace forward needs for this call.
 *
 * forward     computes out[i].data, which the executor allocated. It allocates nothing, and
 *             runs on the pool by ldnq_op_run_ranges() or ldnq_op_run_rows(), which cut the
 *             work by its size alone: results must not depend on the number of threads.
 *             Element-wise operators are loops in ops/shared/elementwise.h, operators that
 *             rearrange elements are copies by ops/shared/strided.h.
 *
 * backward    computes the gradient of a scalar loss with respect to the inputs, from the
 *             gradient with respect to the outputs. The record declares for which inputs
 *             (`differentiable`), and which tensors of the forward pass it reads
 *             (`saved_inputs`, `saved_outputs`); the data of all others is gone by then.
 *
 * A second kind of record (ops/op_layer.h) makes an operator's weight quantizable.
 *
 * Tests: ONNX's own node cases run every operator (tests/python/test_node_cases.py; the
 * number that passes goes up), gradients are compared with finite differences
 * (tests/python/gradient_cases_*.py), wrong models belong in tests/ops/test_op_errors.c.
 *
 * Owns    records are constant; a call and its tensors belong to the caller
 * Errors  messages name neither file nor node: the caller adds both
 * Threads one call at a time per graph in infer; forward and backward may run concurrently
 *         on different calls
 */
#ifndef LDNQ_OPS_OP_H
#define LDNQ_OPS_OP_H

#include "ir/ir.h"

#include "base/pool.h"

/* ---- the record of an operator -------------------------------------------------- */

enum ldnq_op_flag {
    /* Output 0 is input 0 with another shape: no copy is made, forward is NULL. */
    LDNQ_OP_VIEW = 1 << 0,
    /* forward accepts out[0].data == in[0].data when dtype and shape are equal. */
    LDNQ_OP_IN_PLACE = 1 << 1,
    /* Every element of output 0 is a copy of an element of input 0 (Gather, Slice,
     * Transpose ...). Constant folding may then run forward on integers that are
     * symbols. This holds only where output 0 has input 0's dtype (Cast), and only
     * input 0 may contain symbols: indices and sizes must be known. */
    LDNQ_OP_MOVES_FIRST = 1 << 2,
    /* The same for all inputs (Concat). */
    LDNQ_OP_MOVES_ALL = 1 << 3,
    /* Results differ from call to call for the same inputs (random numbers): constant
     * folding skips the node, and checkpointing does not recompute it. */
    LDNQ_OP_RANDOM = 1 << 4,
    /* forward reads the shape of input 0, symbols included, and never its data
     * (Shape). During constant folding it may fail (Size of a shape with symbols);
     * the value then stays unknown. */
    LDNQ_OP_READS_SHAPE = 1 << 5,
    /* Output 0 holds integer codes of input 0, and gradients pass through it by the
     * straight-through estimator (QuantizeLinear). */
    LDNQ_OP_STRAIGHT_THROUGH = 1 << 6,
    /* All outputs after the first are float32, even if the inputs are float16 or
     * bfloat16 (mean and deviation of LayerNormalization). */
    LDNQ_OP_FLOAT32_STATISTICS = 1 << 7,
    /* The node has bodies (ops/control.h), which the executor runs; forward is NULL. */
    LDNQ_OP_CONTROL_FLOW = 1 << 8,
    /* forward applies call->clamp to output 0. The executor fuses a Relu or Clip that
     * follows, which saves one pass over memory. */
    LDNQ_OP_FUSES_CLAMP = 1 << 9,
    /* Sample n of output 0 (index n of axis 0) depends only on sample n of those
     * inputs whose rank and axis 0 equal the output's; other inputs are shared by all
     * samples. The executor may then run the batch in parts (exec/batch_tiling.h). With
     * is_per_sample, this holds only for the nodes that is_per_sample accepts. */
    LDNQ_OP_PER_SAMPLE = 1 << 10,
};

/* y = min(max(x, low), high), fused into the operator that computes x. */
struct ldnq_clamp {
    float low, high;
};

/* One evaluation of a node. */
struct ldnq_op_call {
    const struct ldnq_node *node;
    const void *attrs; /* the result of read_attrs; NULL without it */
    size_t in_count, out_count;
    const struct ldnq_tensor *const *in; /* NULL for an optional input that is absent */
    /* infer writes dtype and shape; forward writes into data. */
    struct ldnq_tensor *out;
    struct ldnq_graph *graph;       /* shape inference: owner of new symbols; else NULL */
    struct ldnq_pool *pool;         /* pool that forward and backward run on */
    void *scratch;                  /* as many bytes as scratch_bytes() returned, 64-byte aligned */
    const struct ldnq_clamp *clamp; /* only with LDNQ_OP_FUSES_CLAMP; NULL for none */
    /* For infer and forward: the node that runs inside this one, which can_fuse accepted;
     * out[0] is that node's output. NULL for none, and for operators without can_fuse. */
    const struct ldnq_node *fused_reader;
    bool widened; /* set by ldnq_ops_infer_shape: halves are computed in float32 (ops/widen.h) */
};

/* One backward evaluation of a node, for one scalar loss. All gradients are float32 and
 * have the shape of their tensor, including gradients of integer codes
 * (LDNQ_OP_STRAIGHT_THROUGH). */
struct ldnq_op_grad {
    /* The same node as in the forward pass, with all shapes. Only constants and the
     * tensors that the record lists in saved_inputs and saved_outputs have data. scratch
     * has the size that backward_scratch_bytes returned. */
    const struct ldnq_op_call *call;
    /* Per output: d loss / d output; NULL if the loss does not depend on the output. */
    const struct ldnq_tensor *const *out;
    /* Per input: d loss / d input, to be computed. data is NULL where the gradient is not
     * requested. backward overwrites every element; where a value has several consumers,
     * the executor adds their gradients. */
    struct ldnq_tensor *in;
};

struct ldnq_op_layer;

/* In differentiable, saved_inputs and saved_outputs bit i is input or output i. There are
 * bits for the first 32; this mask also means all that follow. */
#define LDNQ_ALL_INPUTS (~0u)

struct ldnq_op {
    const char *domain;         /* NULL: ONNX's default domain */
    const char *type;           /* op_type */
    int since, until;           /* opsets, both inclusive */
    unsigned flags;             /* bits of enum ldnq_op_flag */
    int inputs_min, inputs_max; /* inputs_max -1: any number */
    int outputs_max;            /* -1: any number; a node with more is refused */
    /* NULL: none. Errors: MODEL (value out of range), UNSUPPORTED, NOMEM. */
    enum ldnq_status (*read_attrs)(const struct ldnq_node *node, struct ldnq_arena *arena,
                                   const void **attrs, struct ldnq_error *err);
    /* Errors: MODEL (shapes that don't match), UNSUPPORTED (dtype). */
    enum ldnq_status (*infer)(struct ldnq_op_call *call, struct ldnq_error *err);
    /* Called after infer. NULL: no workspace. SIZE_MAX if the size overflows. */
    size_t (*scratch_bytes)(const struct ldnq_op_call *call);
    /* The operations of forward, called after infer at run time: taps of windows, products of
     * sums / LDNQ_PRODUCTS_PER_OPERATION (ops/operation_count.h). SIZE_MAX if the count
     * overflows. NULL: a few per element of inputs and outputs. */
    size_t (*count_operations)(const struct ldnq_op_call *call);
    /* Errors: MODEL (an index in the data out of range), NUMERIC. */
    enum ldnq_status (*forward)(const struct ldnq_op_call *call, struct ldnq_error *err);
    /* The inputs that gradients pass to. 0 if small changes of the inputs never change the
     * outputs (Shape, Floor, comparisons). */
    unsigned differentiable;
    /* The inputs and outputs whose data backward reads. The executor keeps these tensors
     * from the forward to the backward pass, and no others. */
    unsigned saved_inputs, saved_outputs;
    size_t (*backward_scratch_bytes)(const struct ldnq_op_grad *grad);
    /* NULL: views need none; for other operators with `differentiable` inputs it means that
     * a gradient through the node is refused. Errors: UNSUPPORTED, NUMERIC. */
    enum ldnq_status (*backward)(const struct ldnq_op_grad *grad, struct ldnq_error *err);
    /* For operators that may be a clamp of input 0 (Relu, Clip): whether this node is one,
     * and its bounds. NULL for all others. */
    bool (*as_clamp)(const struct ldnq_node *node, struct ldnq_clamp *clamp);
    /* Whether the node can run `reader`, the only reader of its output 0, inside it
     * (call->fused_reader). Elements of constants may change afterwards. NULL: never. */
    bool (*can_fuse)(const struct ldnq_node *node, const struct ldnq_node *reader);
    /* Whether LDNQ_OP_PER_SAMPLE holds for this node. NULL: it holds for every node. */
    bool (*is_per_sample)(const struct ldnq_node *node);
    /* How the weight is quantized (ops/op_layer.h); NULL for operators without one. */
    const struct ldnq_op_layer *layer;
};

/* ---- the table of all operators ------------------------------------------------- */

#define LDNQ_OP(name) extern const struct ldnq_op ldnq_op_##name;
#include "ops/list.h"
#undef LDNQ_OP

/* Finds the record for a node's type, domain and opset; NULL if there is none. In an opset beyond
 * the latest, which the importer lets through, operators mean what they mean in the latest. */
const struct ldnq_op *ldnq_ops_find(const char *domain, const char *type, int opset);
/* Whether the table has a record of this type for any opset. */
bool ldnq_ops_has_type(const char *domain, const char *type);

/* Sets node->op and node->op_attrs of every node, in bodies of If, Loop and Scan as well.
 * Errors: UNSUPPORTED or MODEL, with a list of *all* nodes that can't be executed and the
 * reason for each. The other nodes are bound even then. */
enum ldnq_status ldnq_ops_bind(struct ldnq_graph *graph, struct ldnq_error *err);
/* Binds one node to its record; the message names the node. */
enum ldnq_status ldnq_ops_bind_node(const struct ldnq_graph *graph, struct ldnq_node *node,
                                    struct ldnq_error *err);
/* Clones the graph (ldnq_graph_clone), and binds nodes with bodies to those of the clone. Errors:
 * NOMEM. */
enum ldnq_status ldnq_ops_clone_graph(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                      struct ldnq_graph **out, struct ldnq_error *err);

/* Clears the outputs, calls the record's infer, and checks the shapes that it returns.
 * The caller adds the node to the message. */
enum ldnq_status ldnq_ops_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err);
/* The record's scratch_bytes, count_operations and forward, after ldnq_ops_infer_shape; not for
 * views. Without count_operations, the elements of the outputs are counted. Nothing is computed
 * for outputs without elements. */
size_t ldnq_ops_scratch_bytes(const struct ldnq_op_call *call);
size_t ldnq_ops_count_operations(const struct ldnq_op_call *call);
enum ldnq_status ldnq_ops_forward(const struct ldnq_op_call *call, struct ldnq_error *err);
/* Computes the outputs, whose data it allocates in the arena, as the scratch. Errors: NOMEM, the
 * record's. */
enum ldnq_status ldnq_ops_allocate_and_forward(struct ldnq_op_call *call, struct ldnq_arena *arena,
                                               struct ldnq_error *err);

/* ---- helpers for operators: attributes and inputs ------------------------------- */

/* The attribute's value, or `otherwise` if the node has none of this name. Wrong kinds
 * were refused when the node was bound. */
int64_t ldnq_attr_int(const struct ldnq_node *node, const char *name, int64_t otherwise);
float ldnq_attr_float(const struct ldnq_node *node, const char *name, float otherwise);
const char *ldnq_attr_string(const struct ldnq_node *node, const char *name, const char *otherwise);
/* NULL and *count 0 if the node has no such attribute. */
const int64_t *ldnq_attr_ints(const struct ldnq_node *node, const char *name, size_t *count);

/* Input i; NULL if it is absent or beyond the end of the list. */
static inline const struct ldnq_tensor *ldnq_op_input(const struct ldnq_op_call *call, size_t i)
{
    return i < call->in_count ? call->in[i] : NULL;
}

/* The gradient of output i; NULL when it is zero, also when the node has no such output. */
static inline const float *ldnq_op_output_grad(const struct ldnq_op_grad *grad, size_t i)
{
    return i < grad->call->out_count && grad->out[i] ? grad->out[i]->data : NULL;
}

/* Where to store the gradient of input i; NULL when it is not requested, also when the node
 * has no such input. */
static inline float *ldnq_op_input_grad(const struct ldnq_op_grad *grad, size_t i)
{
    return ldnq_op_input(grad->call, i) ? grad->in[i].data : NULL;
}

/* Fails with UNSUPPORTED unless the input's dtype is in the mask, e.g.
 * LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT64). An absent input passes. */
#define LDNQ_DTYPE_BIT(dtype) (1u << (dtype))
enum ldnq_status ldnq_op_require_dtype(const struct ldnq_op_call *call, size_t input, unsigned mask,
                                       struct ldnq_error *err);

/* Fails with MODEL unless the input has exactly one element. An absent input passes. */
enum ldnq_status ldnq_op_require_one_element(const struct ldnq_op_call *call, size_t input,
                                             struct ldnq_error *err);

/* Copies an int32 or int64 input of rank 0 or 1 to `values`. *known is false, and the
 * values are not to be used, if the input has no data yet or its data contains a symbol.
 * Errors: MODEL (more than `capacity` elements; at run time a number so large that it
 * would be taken for a symbol), UNSUPPORTED (another dtype). */
enum ldnq_status ldnq_op_read_ints(const struct ldnq_op_call *call, size_t input, int64_t *values,
                                   size_t capacity, size_t *count, bool *known,
                                   struct ldnq_error *err);

/* Reads an input that holds a shape (Reshape, Expand). Symbols in the data become
 * dimensions; if the data is unknown, every dimension becomes a new symbol; if the number
 * of elements is unknown, so is the rank. Negative numbers are returned unchanged. */
enum ldnq_status ldnq_op_read_dims(struct ldnq_op_call *call, size_t input, struct ldnq_shape *dims,
                                   struct ldnq_error *err);

/* ---- helpers for operators: shapes ---------------------------------------------- */

/* infer of operators that map input 0 element by element: output 0 has its shape and its
 * dtype, which must be in the mask. */
enum ldnq_status ldnq_op_infer_like_first_input(struct ldnq_op_call *call, unsigned mask,
                                                struct ldnq_error *err);

/* A dimension that can't be computed from the inputs: a new symbol during shape inference,
 * the error MODEL at run time, when everything must be known. */
enum ldnq_status ldnq_op_make_unknown_dim(struct ldnq_op_call *call, int64_t *dim,
                                          struct ldnq_error *err);
/* Makes rank and dimensions of an output unknown. */
enum ldnq_status ldnq_op_make_unknown_shape(struct ldnq_op_call *call, size_t output,
                                            struct ldnq_error *err);
/* *out = a * b for two dimensions; a new symbol if the product is unknown.
 * Errors: MODEL (overflow). */
enum ldnq_status ldnq_op_multiply_dims(struct ldnq_op_call *call, int64_t a, int64_t b,
                                       int64_t *out, struct ldnq_error *err);

/* Whether two dimensions can be equal: a symbol can have any value. */
static inline bool ldnq_op_dims_may_match(int64_t a, int64_t b)
{
    return a == b || ldnq_is_symbol(a) || ldnq_is_symbol(b);
}

/* Resolves an axis in -rank .. rank-1 to 0 .. rank-1. Errors: MODEL. */
enum ldnq_status ldnq_op_resolve_axis(int64_t axis, int rank, int *out, struct ldnq_error *err);
/* The same for a list, as a set of bits. Errors: MODEL (also an axis listed twice). */
enum ldnq_status ldnq_op_resolve_axes(const int64_t *axes, size_t count, int rank, unsigned *set,
                                      struct ldnq_error *err);

/* A tensor seen as (outer, size, inner): products of the dimensions before the axis, of
 * the axis itself, and after it. */
struct ldnq_axis_split {
    size_t outer, size, inner;
};
struct ldnq_axis_split ldnq_op_split_at_axis(const struct ldnq_shape *shape, int axis);

/* numpy's broadcasting of two shapes, symbols included. Errors: MODEL. */
enum ldnq_status ldnq_op_broadcast(struct ldnq_op_call *call, const struct ldnq_shape *a,
                                   const struct ldnq_shape *b, struct ldnq_shape *out,
                                   struct ldnq_error *err);

/* Computes, for each axis of `out`, the elements between neighbours in a tensor of `shape` that is
 * broadcast to `out`; 0 along a broadcast axis. */
void ldnq_op_broadcast_strides(const struct ldnq_shape *shape, const struct ldnq_shape *out,
                               size_t strides[LDNQ_MAX_RANK]);

/* The gradient of an input that was broadcast: sums `from` (float32, the shape of the
 * output) over the broadcast axes into `to` (the shape of the input), in a fixed order and
 * in double. A copy if nothing was broadcast. Element-wise operators call
 * ldnq_elementwise_compute_grad instead. */
void ldnq_op_sum_broadcast_grad(const struct ldnq_op_call *call, const struct ldnq_tensor *from,
                                const struct ldnq_tensor *to);

/* ---- helpers for operators: loops ----------------------------------------------- */

/* Allows the compiler to vectorize a loop whose output may be its input, element for
 * element (LDNQ_OP_IN_PLACE). */
#if defined(__clang__)
/* clang warns where it can't vectorize, which is expected for calls of libm. */
#pragma clang diagnostic ignored "-Wpass-failed"
#define LDNQ_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define LDNQ_IVDEP _Pragma("GCC ivdep")
#endif

/* Processes elements first .. last-1. */
typedef void ldnq_range_fn(const void *ctx, size_t first, size_t last);
/* Calls `run` on the call's pool for 0 .. count-1, cut into chunks of a fixed size. */
void ldnq_op_run_ranges(const struct ldnq_op_call *call, size_t count, ldnq_range_fn *run,
                        const void *ctx);
/* The same for rows that cost as much as `cost` elements each: chunks have fewer rows, at
 * least one. */
void ldnq_op_run_rows(const struct ldnq_op_call *call, size_t rows, size_t cost, ldnq_range_fn *run,
                      const void *ctx);

/* Refuses element i of the indices, which is out of range for an axis of `size` elements: MODEL,
 * with its value and position. */
enum ldnq_status ldnq_op_fail_index(const struct ldnq_tensor *indices, size_t i, int64_t size,
                                    struct ldnq_error *err);

#endif
