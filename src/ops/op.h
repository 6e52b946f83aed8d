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
    /* Output 0 is input 0 under another shape: no copy is made, forward is NULL. */
    LDNQ_OP_VIEW = 1,
    /* forward may be given out[0].data == in[0].data when type and size agree. */
    LDNQ_OP_IN_PLACE = 2,
    /* Output elements are copies of input 0's elements (Gather, Slice, Transpose
     * ...), so that forward may be run on integers that are symbols. Holds only
     * where output 0 has input 0's dtype (Cast), and only input 0 may hold
     * symbols: indices and sizes must be numbers. */
    LDNQ_OP_MOVES_FIRST = 4,
    /* The same for all inputs (Concat). */
    LDNQ_OP_MOVES_ALL = 8,
    /* Different results for the same inputs (random numbers): never folded. */
    LDNQ_OP_IMPURE = 16,
    /* forward reads input 0's shape, symbols included, and not its data (Shape).
     * While folding it may fail (Size of a shape with symbols); the value then
     * stays unknown. */
    LDNQ_OP_READS_SHAPE = 64,
    /* Output 0 holds integer codes of input 0, and a gradient flows through them all
     * the same: the straight-through estimator (QuantizeLinear). */
    LDNQ_OP_CODES = 128,
    /* Outputs behind the first are float32, also where the inputs are halves. */
    LDNQ_OP_STASHES = 256,
    /* Has bodies (ops/control.h), which the executor runs: forward is NULL. */
    LDNQ_OP_CONTROL = 512,
    /* forward applies call->clamp to output 0, so that a Relu or Clip behind it
     * costs no pass over memory of its own. */
    LDNQ_OP_CLAMPS = 32,
    /* Sample n (of axis 0) of output 0 follows from sample n of each input that has as
     * many and as many axes as the output, and from other inputs as a whole. */
    LDNQ_OP_SAMPLES = 1024,
};

struct ldnq_clamp {
    float low, high;
};

/* One use of a node. infer fills in out[i].dtype and .shape; forward fills
 * out[i].data, which the executor allocated. Inputs that are left out are NULL. */
struct ldnq_op_call {
    const struct ldnq_node *node;
    const void *attrs; /* what read made; NULL without read */
    size_t in_count, out_count;
    const struct ldnq_tensor *const *in;
    struct ldnq_tensor *out;
    struct ldnq_graph *graph;       /* infer: where new symbols come from; NULL at run time */
    struct ldnq_pool *pool;         /* forward */
    void *scratch;                  /* forward: as many bytes as scratch() asked for, 64-aligned */
    const struct ldnq_clamp *clamp; /* forward, for LDNQ_OP_CLAMPS; NULL for none */
    bool widened; /* set by ldnq_ops_infer: halves are computed in float32 (ops/widen.h) */
};

/* Gradients of one scalar loss through one use of a node. Shapes of all inputs and
 * outputs are in `call`; data only of those that the record says it reads back
 * (reads_in, reads_out), and of constants. Gradients are float32 in the shape of
 * their tensor, also those of integer codes (ops/quantized/quantizelinear.c). */
struct ldnq_op_grad {
    const struct ldnq_op_call *call; /* scratch: what backward_scratch asked for */
    /* By output: the loss' gradient; NULL where the output does not matter to it. */
    const struct ldnq_tensor *const *out;
    /* By input: data is NULL where the gradient is not wanted; else memory that
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
    enum ldnq_status (*read)(const struct ldnq_node *node, struct ldnq_arena *arena,
                             const void **attrs, struct ldnq_error *err);
    /* Errors: MODEL (shapes that don't fit), UNSUPPORTED (dtype). */
    enum ldnq_status (*infer)(struct ldnq_op_call *call, struct ldnq_error *err);
    /* Bytes of scratch for this call, after infer; may be NULL. SIZE_MAX when it
     * can't be counted. */
    size_t (*scratch)(const struct ldnq_op_call *call);
    /* Errors: MODEL (an index out of range in data), NUMERIC. */
    enum ldnq_status (*forward)(const struct ldnq_op_call *call, struct ldnq_error *err);
    /* Gradients. `flows` has a bit for each input that one may flow to (the first 32;
     * LDNQ_ALL_INPUTS); 0 where outputs do not change with small changes of the
     * inputs (Shape, Floor, comparisons). Views need no backward. reads_in and
     * reads_out: the inputs and outputs whose data backward looks at, which the
     * executor therefore keeps. NULL where flows is not 0 and the operator is no
     * view: gradients through it are refused. Errors: UNSUPPORTED, NUMERIC. */
    unsigned flows, reads_in, reads_out;
    size_t (*backward_scratch)(const struct ldnq_op_grad *grad);
    enum ldnq_status (*backward)(const struct ldnq_op_grad *grad, struct ldnq_error *err);
    /* For operators that only clamp their input 0: whether this node does, and
     * to what. NULL for all others. */
    bool (*as_clamp)(const struct ldnq_node *node, struct ldnq_clamp *clamp);
    /* How its weight is quantized (ops/op_layer.h); NULL for operators without one. */
    const struct ldnq_op_layer *layer;
    /* For operators without `layer` that models keep weights in: why those stay as
     * they are, where an input is a float constant. NULL for all others. */
    const char *keeps_weight;
};

#define LDNQ_OP(name) extern const struct ldnq_op ldnq_op_##name;
#include "ops/list.h"
#undef LDNQ_OP

/* The record for a node's type, domain and opset; NULL when there is none. */
const struct ldnq_op *ldnq_ops_find(const char *domain, const char *type, int opset);
/* Whether any opset of the type is in the table. */
bool ldnq_ops_knows(const char *domain, const char *type);

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
enum ldnq_status ldnq_op_require(const struct ldnq_op_call *call, size_t input, unsigned mask,
                                 struct ldnq_error *err);

/* Input i; NULL when it is left out, also at the end of the list. */
static inline const struct ldnq_tensor *ldnq_op_in(const struct ldnq_op_call *call, size_t i)
{
    return i < call->in_count ? call->in[i] : NULL;
}

/* infer of everything that maps input 0 element by element: the same dtype (one
 * of the mask's) and the same shape. */
enum ldnq_status ldnq_op_infer_same(struct ldnq_op_call *call, unsigned mask,
                                    struct ldnq_error *err);

/* Fails unless input i has exactly one element; a missing input is fine. */
enum ldnq_status ldnq_op_require_one(const struct ldnq_op_call *call, size_t input,
                                     struct ldnq_error *err);

/* A dimension that is not known: a fresh symbol while inferring ahead of data;
 * an error at run time, where everything must be known. */
enum ldnq_status ldnq_op_unknown_dim(struct ldnq_op_call *call, int64_t *dim,
                                     struct ldnq_error *err);
/* The same for a whole shape whose rank can't be told. */
enum ldnq_status ldnq_op_unknown_shape(struct ldnq_op_call *call, size_t output,
                                       struct ldnq_error *err);
/* a * b of sizes; a symbol in gives a fresh symbol out. */
enum ldnq_status ldnq_op_dim_mul(struct ldnq_op_call *call, int64_t a, int64_t b, int64_t *out,
                                 struct ldnq_error *err);

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
enum ldnq_status ldnq_op_axis(int64_t axis, int rank, int *out, struct ldnq_error *err);

/* A list of axes as a set of bits. Errors: MODEL (one that does not exist or
 * that stands there twice). */
enum ldnq_status ldnq_op_axes(const int64_t *axes, size_t count, int rank, unsigned *set,
                              struct ldnq_error *err);
/* Extents before, at and behind an axis: tensors as (outer, size, inner). */
struct ldnq_split_at {
    size_t outer, size, inner;
};
struct ldnq_split_at ldnq_op_split_at(const struct ldnq_shape *shape, int axis);

/* numpy broadcasting of two shapes, symbols included. */
enum ldnq_status ldnq_op_broadcast(struct ldnq_op_call *call, const struct ldnq_shape *a,
                                   const struct ldnq_shape *b, struct ldnq_shape *out,
                                   struct ldnq_error *err);

/* Element strides (0 where `shape` is broadcast) of shape against `out`. */
void ldnq_op_strides(const struct ldnq_shape *shape, const struct ldnq_shape *out,
                     size_t strides[LDNQ_MAX_RANK]);

/* Gradients of a broadcast input: float32 `from` summed over the axes along which
 * `to` (of a shape that broadcasts to it) was broadcast. Overwrites to's data; a
 * plain copy where nothing was. Element-wise operators: ldnq_spans_grad. */
void ldnq_op_sum_to(const struct ldnq_op_call *call, const struct ldnq_tensor *from,
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
void ldnq_op_for_ranges(const struct ldnq_op_call *call, size_t count, ldnq_range_fn *run,
                        const void *ctx);
/* The same for rows of `cost` elements each: a piece is at least one row. */
void ldnq_op_for_rows(const struct ldnq_op_call *call, size_t rows, size_t cost, ldnq_range_fn *run,
                      const void *ctx);

#endif
