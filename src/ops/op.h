/* op.h: what an operator is, and the table of all of them.
 *
 * An operator is one record in one file and one line in ops/list.h. A
 * changed meaning in a later opset is a second record of the same type. The
 * same infer serves before data comes (dimensions may be symbols, input data
 * may be absent) and at run time (all is known).
 */
#ifndef LDNQ_OPS_OP_H
#define LDNQ_OPS_OP_H

#include "ir/ir.h"

#include "base/pool.h"

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
     * samples. The executor may then run the batch in parts (exec). */
    LDNQ_OP_PER_SAMPLE = 1 << 10,
};

struct ldnq_clamp {
    float low, high;
};

/* One use of a node. infer fills in out[i].dtype and .shape; forward fills
 * out[i].data, which the executor allocated. Inputs that are left out are NULL. */
struct ldnq_op_call {
    const struct ldnq_node *node;
    const void *attrs; /* what read_attrs made; NULL without it */
    size_t in_count, out_count;
    const struct ldnq_tensor *const *in;
    struct ldnq_tensor *out;
    struct ldnq_graph *graph;       /* infer: where new symbols come from; NULL at run time */
    struct ldnq_pool *pool;         /* forward */
    void *scratch;                  /* forward: as many bytes as scratch() asked for, 64-aligned */
    const struct ldnq_clamp *clamp; /* forward, for LDNQ_OP_FUSES_CLAMP; NULL for none */
    bool widened; /* set by ldnq_ops_infer: halves are computed in float32 (ops/widen.h) */
};

/* Gradients of one scalar loss through one use of a node. Shapes of all inputs and
 * outputs are in `call`; data only of those that the record says it reads back
 * (saved_inputs, saved_outputs), and of constants. Gradients are float32 in the shape of
 * their tensor, also those of integer codes (ops/quantized/quantizelinear.c). */
struct ldnq_op_grad {
    const struct ldnq_op_call *call; /* scratch: what backward_scratch asked for */
    /* By output: the loss' gradient; NULL where the output does not matter to it. */
    const struct ldnq_tensor *const *out;
    /* By input: data is NULL where the gradient is not requested; else memory that
     * backward overwrites as a whole (the executor sums over the readers). */
    struct ldnq_tensor *in;
};

#define LDNQ_ALL_INPUTS (~0u)

struct ldnq_op_layer;

struct ldnq_op {
    const char *type;
    int since, until; /* opsets, both inclusive */
    unsigned flags;
    int inputs_min, inputs_max; /* inputs_max -1: any number */
    int outputs_max;            /* -1: any number; outputs beyond are refused */
    /* Reads and checks attributes into memory of the arena. May be NULL.
     * Errors: MODEL, UNSUPPORTED; the caller puts the node in front. */
    enum ldnq_status (*read_attrs)(const struct ldnq_node *node, struct ldnq_arena *arena,
                                   const void **attrs, struct ldnq_error *err);
    /* Errors: MODEL (shapes that don't fit), UNSUPPORTED (dtype). */
    enum ldnq_status (*infer)(struct ldnq_op_call *call, struct ldnq_error *err);
    /* Bytes of scratch for this call, after infer; may be NULL. SIZE_MAX when it
     * can't be counted. */
    size_t (*scratch)(const struct ldnq_op_call *call);
    /* Errors: MODEL (an index out of range in data), NUMERIC. */
    enum ldnq_status (*forward)(const struct ldnq_op_call *call, struct ldnq_error *err);
    /* Gradients. `differentiable` has a bit for each input that one may flow to (the first 32;
     * LDNQ_ALL_INPUTS); 0 where outputs do not change with small changes of the
     * inputs (Shape, Floor, comparisons). Views need no backward. saved_inputs and
     * saved_outputs: the inputs and outputs whose data backward looks at, which the
     * executor therefore keeps. NULL where differentiable is not 0 and the operator is no
     * view: gradients through it are refused. Errors: UNSUPPORTED, NUMERIC. */
    unsigned differentiable, saved_inputs, saved_outputs;
    size_t (*backward_scratch)(const struct ldnq_op_grad *grad);
    enum ldnq_status (*backward)(const struct ldnq_op_grad *grad, struct ldnq_error *err);
    /* For operators that only clamp their input 0: whether this node does, and
     * to what. NULL for all others. */
    bool (*as_clamp)(const struct ldnq_node *node, struct ldnq_clamp *clamp);
    /* How its weight is quantized (ops/op_layer.h); NULL for operators without one. */
    const struct ldnq_op_layer *layer;
    /* For operators without `layer` that models keep weights in: why those stay as
     * they are, where an input is a float constant. NULL for all others. */
    const char *why_not_quantized;
};

#define LDNQ_OP(name) extern const struct ldnq_op ldnq_op_##name;
#include "ops/list.h"
#undef LDNQ_OP

/* The record for a node's type, domain and opset; NULL when there is none. */
const struct ldnq_op *ldnq_ops_find(const char *domain, const char *type, int opset);
/* Whether any opset of the type is in the table. */
bool ldnq_ops_has_type(const char *domain, const char *type);

/* Finds the record of every node and reads its attributes.
 * Errors: UNSUPPORTED with the list of *all* nodes that can't be executed and
 * why; MODEL. Nodes that could be bound are bound even then. */
enum ldnq_status ldnq_ops_bind(struct ldnq_graph *graph, struct ldnq_error *err);
/* The same for one node; the message has the node in front. */
enum ldnq_status ldnq_ops_bind_node(const struct ldnq_graph *graph, struct ldnq_node *node,
                                    struct ldnq_error *err);

/* Calls the record's infer, with outputs cleared before and checked after; the
 * caller puts the node in front of the message. */
enum ldnq_status ldnq_ops_infer(struct ldnq_op_call *call, struct ldnq_error *err);
/* The record's scratch and forward, after ldnq_ops_infer; not for views. */
size_t ldnq_ops_scratch(const struct ldnq_op_call *call);
enum ldnq_status ldnq_ops_forward(const struct ldnq_op_call *call, struct ldnq_error *err);

/* ---- for the operators' files ------------------------------------------------ */

int64_t ldnq_attr_int(const struct ldnq_node *node, const char *name, int64_t otherwise);
float ldnq_attr_float(const struct ldnq_node *node, const char *name, float otherwise);
const char *ldnq_attr_string(const struct ldnq_node *node, const char *name, const char *otherwise);
/* NULL, *count 0 when it is not there. */
const int64_t *ldnq_attr_ints(const struct ldnq_node *node, const char *name, size_t *count);

/* Fails unless input i's dtype is one of the mask's, e.g.
 * LDNQ_DTYPE_BIT(LDNQ_FLOAT) | LDNQ_DTYPE_BIT(LDNQ_INT64). */
#define LDNQ_DTYPE_BIT(dtype) (1u << (dtype))
enum ldnq_status ldnq_op_require_dtype(const struct ldnq_op_call *call, size_t input, unsigned mask,
                                       struct ldnq_error *err);

/* Input i; NULL when it is left out, also at the end of the list. */
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

/* Whether two dimensions can be equal: a symbol can have any value. */
static inline bool ldnq_op_dims_may_match(int64_t a, int64_t b)
{
    return a == b || ldnq_is_symbol(a) || ldnq_is_symbol(b);
}

/* infer of everything that maps input 0 element by element: the same dtype (one
 * of the mask's) and the same shape. */
enum ldnq_status ldnq_op_infer_same(struct ldnq_op_call *call, unsigned mask,
                                    struct ldnq_error *err);

/* Fails unless input i has exactly one element; a missing input is fine. */
enum ldnq_status ldnq_op_require_one_element(const struct ldnq_op_call *call, size_t input,
                                             struct ldnq_error *err);

/* A dimension that is not known: a fresh symbol while inferring ahead of data;
 * an error at run time, where everything must be known. */
enum ldnq_status ldnq_op_make_unknown_dim(struct ldnq_op_call *call, int64_t *dim,
                                          struct ldnq_error *err);
/* The same for a whole shape whose rank can't be told. */
enum ldnq_status ldnq_op_make_unknown_shape(struct ldnq_op_call *call, size_t output,
                                            struct ldnq_error *err);
/* a * b of sizes; a symbol in gives a fresh symbol out. */
enum ldnq_status ldnq_op_multiply_dims(struct ldnq_op_call *call, int64_t a, int64_t b,
                                       int64_t *out, struct ldnq_error *err);

/* Input i as int64 (from an int32 or int64 tensor of rank 0 or 1), copied to
 * values; *known is false when the data are absent or hold a symbol. More than
 * `capacity` elements, another dtype, at run time a number out of the symbols'
 * range: MODEL. */
enum ldnq_status ldnq_op_read_ints(const struct ldnq_op_call *call, size_t input, int64_t *values,
                                   size_t capacity, size_t *count, bool *known,
                                   struct ldnq_error *err);

/* Input i as a shape: symbols in its data become dimensions, absent data fresh
 * symbols, an absent length an unknown rank. Negative numbers are left in. */
enum ldnq_status ldnq_op_read_dims(struct ldnq_op_call *call, size_t input, struct ldnq_shape *dims,
                                   struct ldnq_error *err);

/* A negative axis counts from the end. Errors: MODEL, naming the axis and rank. */
enum ldnq_status ldnq_op_resolve_axis(int64_t axis, int rank, int *out, struct ldnq_error *err);

/* A list of axes as a set of bits. Errors: MODEL (one that does not exist or
 * that stands there twice). */
enum ldnq_status ldnq_op_resolve_axes(const int64_t *axes, size_t count, int rank, unsigned *set,
                                      struct ldnq_error *err);
/* Extents before, at and behind an axis: tensors as (outer, size, inner). */
struct ldnq_axis_split {
    size_t outer, size, inner;
};
struct ldnq_axis_split ldnq_op_split_at_axis(const struct ldnq_shape *shape, int axis);

/* numpy broadcasting of two shapes, symbols included. */
enum ldnq_status ldnq_op_broadcast(struct ldnq_op_call *call, const struct ldnq_shape *a,
                                   const struct ldnq_shape *b, struct ldnq_shape *out,
                                   struct ldnq_error *err);

/* Element strides (0 where `shape` is broadcast) of shape against `out`. */
void ldnq_op_broadcast_strides(const struct ldnq_shape *shape, const struct ldnq_shape *out,
                               size_t strides[LDNQ_MAX_RANK]);

/* Gradients of a broadcast input: float32 `from` summed over the axes along which
 * `to` (of a shape that broadcasts to it) was broadcast. Overwrites to's data; a
 * plain copy where nothing was. Element-wise operators: ldnq_elementwise_grad. */
void ldnq_op_sum_broadcast_grad(const struct ldnq_op_call *call, const struct ldnq_tensor *from,
                                const struct ldnq_tensor *to);

/* Keeps the vectorizer from giving up where out may be in, element for element. */
#if defined(__clang__)
#define LDNQ_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define LDNQ_IVDEP _Pragma("GCC ivdep")
#endif

/* Cuts `count` elements into fixed pieces of a size worth a thread, and runs
 * them on the call's pool. */
typedef void ldnq_range_fn(const void *ctx, size_t first, size_t last);
void ldnq_op_run_ranges(const struct ldnq_op_call *call, size_t count, ldnq_range_fn *run,
                        const void *ctx);
/* The same for rows of `cost` elements each: a piece is at least one row. */
void ldnq_op_run_rows(const struct ldnq_op_call *call, size_t rows, size_t cost, ldnq_range_fn *run,
                      const void *ctx);

#endif
