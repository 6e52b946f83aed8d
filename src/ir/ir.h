/* ir.h: tensors, values, nodes and graphs, free of any file format.
 *
 * Owns    everything here lives in the arena of its graph (or in the one that
 *         was passed in); nothing is freed one by one.
 * Shapes  dimensions are int64_t as in ONNX. A dimension that is not known yet
 *         is a symbol, a number from a range that no real dimension reaches;
 *         it is bound when data comes.
 */
#ifndef LDNQ_IR_H
#define LDNQ_IR_H

#include "base/base.h"

#define LDNQ_MAX_RANK 8

/* The opsets of ai.onnx whose operators ldnq knows. */
#define LDNQ_OPSET_FIRST 7
#define LDNQ_OPSET_LATEST 25

/* ---- element types ---------------------------------------------------------- */

/* Numbered as in ONNX's TensorProto.DataType. Types below a byte are held
 * unpacked, one element a byte, sign-extended; float16, bfloat16 and the
 * float8 and float4 types as raw bits. */
enum ldnq_dtype {
    LDNQ_UNDEFINED = 0,
    LDNQ_FLOAT = 1,
    LDNQ_UINT8 = 2,
    LDNQ_INT8 = 3,
    LDNQ_UINT16 = 4,
    LDNQ_INT16 = 5,
    LDNQ_INT32 = 6,
    LDNQ_INT64 = 7,
    LDNQ_STRING = 8,
    LDNQ_BOOL = 9,
    LDNQ_FLOAT16 = 10,
    LDNQ_DOUBLE = 11,
    LDNQ_UINT32 = 12,
    LDNQ_UINT64 = 13,
    LDNQ_COMPLEX64 = 14,
    LDNQ_COMPLEX128 = 15,
    LDNQ_BFLOAT16 = 16,
    LDNQ_FLOAT8E4M3FN = 17,
    LDNQ_FLOAT8E4M3FNUZ = 18,
    LDNQ_FLOAT8E5M2 = 19,
    LDNQ_FLOAT8E5M2FNUZ = 20,
    LDNQ_UINT4 = 21,
    LDNQ_INT4 = 22,
    LDNQ_FLOAT4E2M1 = 23,
    LDNQ_FLOAT8E8M0 = 24,
    LDNQ_UINT2 = 25,
    LDNQ_INT2 = 26,
};

/* "float32", "int4" ...; "undefined" for a number outside the list. */
const char *ldnq_dtype_name(enum ldnq_dtype dtype);
/* Bytes that one element takes in a struct ldnq_tensor; 0 for string and
 * undefined, which have no data here. */
size_t ldnq_dtype_size(enum ldnq_dtype dtype);
/* Bits that one element takes in a file: 2, 4, 8 ... 128; 0 as above. */
unsigned ldnq_dtype_bits(enum ldnq_dtype dtype);
bool ldnq_dtype_is_signed(enum ldnq_dtype dtype);
/* Integers of any width, without bool. */
bool ldnq_dtype_is_integer(enum ldnq_dtype dtype);

/* ---- symbols ---------------------------------------------------------------- */

/* Symbol number i is the int64_t LDNQ_SYMBOL_BASE + i. The range is far from
 * real sizes and from the INT64_MIN and INT64_MAX that Slice uses. */
#define LDNQ_SYMBOL_BASE (-((int64_t)1 << 62))
#define LDNQ_SYMBOL_COUNT ((int64_t)1 << 32)

static inline bool ldnq_is_symbol(int64_t value)
{
    return value >= LDNQ_SYMBOL_BASE && value < LDNQ_SYMBOL_BASE + LDNQ_SYMBOL_COUNT;
}

/* ---- shapes and tensors ----------------------------------------------------- */

#define LDNQ_RANK_UNKNOWN (-1)

struct ldnq_shape {
    int rank; /* 0 is a scalar; LDNQ_RANK_UNKNOWN */
    int64_t dim[LDNQ_MAX_RANK];
};

struct ldnq_graph;

struct ldnq_tensor {
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    void *data; /* row-major; NULL where only type and shape are known */
};

/* Product of the dimensions; false when the rank is unknown, a dimension is a
 * symbol or negative, or the product overflows. */
bool ldnq_shape_count(const struct ldnq_shape *shape, size_t *count);
/* The same for dimensions first .. last-1. */
bool ldnq_shape_span(const struct ldnq_shape *shape, int first, int last, size_t *count);
bool ldnq_shape_equal(const struct ldnq_shape *a, const struct ldnq_shape *b);
bool ldnq_shape_is_known(const struct ldnq_shape *shape);
bool ldnq_tensor_bytes(const struct ldnq_tensor *tensor, size_t *bytes);
/* Elements of a tensor that is known to be countable (it has been allocated). */
size_t ldnq_tensor_count(const struct ldnq_tensor *tensor);

/* "(N,3,32,32)" into text, cut at size; returns text. Symbols of `graph` print
 * by name; without a graph, as '?'. */
#define LDNQ_SHAPE_TEXT 160
char *ldnq_shape_print(const struct ldnq_shape *shape, const struct ldnq_graph *graph, char *text,
                       size_t size);

/* A tensor with zeroed data in the arena. Errors: NOMEM, also for a shape that
 * can't be counted. */
enum ldnq_status ldnq_tensor_create(struct ldnq_arena *arena, enum ldnq_dtype dtype,
                                    const struct ldnq_shape *shape, struct ldnq_tensor **out,
                                    struct ldnq_error *err);

/* The same, with the type, shape and data of `from`. */
enum ldnq_status ldnq_tensor_copy(struct ldnq_arena *arena, const struct ldnq_tensor *from,
                                  struct ldnq_tensor **out, struct ldnq_error *err);

/* ---- attributes --------------------------------------------------------------- */

enum ldnq_attr_kind {
    LDNQ_ATTR_FLOAT,
    LDNQ_ATTR_INT,
    LDNQ_ATTR_STRING,
    LDNQ_ATTR_TENSOR,
    LDNQ_ATTR_FLOATS,
    LDNQ_ATTR_INTS,
    LDNQ_ATTR_STRINGS,
    LDNQ_ATTR_GRAPH, /* a body of If, Loop or Scan */
    LDNQ_ATTR_OTHER, /* other graphs, types, sparse tensors: present, not read */
};

struct ldnq_attr {
    const char *name;
    enum ldnq_attr_kind kind;
    float f;
    int64_t i;
    const char *s; /* NUL-terminated copy */
    const struct ldnq_tensor *t;
    struct ldnq_graph *g;
    size_t count; /* of floats, ints or strings */
    const float *floats;
    const int64_t *ints;
    const char *const *strings;
};

/* ---- values and nodes ----------------------------------------------------------- */

struct ldnq_value {
    const char *name; /* as in the file; unique in the graph */
    size_t index;     /* in graph->values */
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    /* The value's data where they are known before any sample is: initializers
     * and what folding made of them. */
    const struct ldnq_tensor *constant;
    /* Where some elements of a small integer tensor are known and others are
     * symbols (a Shape of a symbolic batch): as many int64_t as the shape has. */
    const int64_t *content;
    struct ldnq_node *producer; /* NULL for inputs and constants */
    /* The node that folding computed this constant from; it is no longer in the
     * graph. NULL for initializers and for what is not constant. */
    const struct ldnq_node *folded_from;
    bool from_codes; /* computed from a DequantizeLinear of constants */
    bool is_input, is_output;
    bool is_no_tensor; /* declared as a sequence, an optional or a map */
    /* One that the file gives as an initializer, and which nothing overrides. */
    bool is_initializer;
};

/* What `op` points to is a matter of the operator table (ops/op.h). */
struct ldnq_op;

struct ldnq_node {
    const char *name;  /* as in the file, may be "" or not unique */
    const char *label; /* for messages and --skip: the name, else "Conv#12",
                          made unique with "#12" where names repeat */
    const char *op_type;
    const char *domain; /* "" is ai.onnx */
    int opset;          /* the version of `domain` that the file imports; 0 if none */
    size_t index;       /* place in the file's node list */
    size_t input_count, output_count;
    struct ldnq_value **inputs;  /* NULL where an optional input is left out */
    struct ldnq_value **outputs; /* the same for outputs */
    size_t capture_count;
    /* Values of its graph that its subgraphs read; of a node whose subgraphs are graphs
     * here they are its last inputs as well. */
    struct ldnq_value **captures;
    size_t attr_count;
    const struct ldnq_attr *attrs;
    const struct ldnq_op *op; /* NULL until ldnq_ops_bind */
    const void *op_attrs;     /* what op->read made */
    /* The loader's; opaque, kept through passes. NULL for what is not a node of the
     * file's main graph, and can't be changed there: `within` then says of what it
     * is a part, "function 'com.x.Block'" or "a branch of If 'cond'". */
    const void *origin;
    const char *within;
    /* Nodes of the file that passes merged into this one (a BatchNormalization
     * folded into a convolution), in the order of the merges. */
    size_t merged_count;
    struct ldnq_node **merged;
};

/* A value of the graph around a subgraph, and what stands for it inside. */
struct ldnq_capture {
    struct ldnq_value *outer, *inner;
};

/* The graph of a file, or a subgraph: a body that a node has as an attribute. Each
 * has nodes and values of its own; symbols are those of the outermost graph. */
struct ldnq_graph {
    struct ldnq_graph *outer; /* the graph around this subgraph; NULL for the outermost */
    size_t capture_count, capture_capacity;
    struct ldnq_capture *captures; /* what a subgraph reads of `outer` */
    struct ldnq_arena *arena;
    const char *name;
    const char *file; /* for messages */
    size_t node_count;
    struct ldnq_node **nodes; /* in an order in which they can be executed */
    size_t value_count, value_capacity;
    struct ldnq_value **values;
    size_t input_count, output_count;
    struct ldnq_value **inputs; /* without those that are initializers */
    struct ldnq_value **outputs;
    size_t symbol_count, symbol_capacity;
    const char **symbols; /* names; NULL for one without a name */
};

/* Errors: NOMEM. The graph lives in the arena. */
enum ldnq_status ldnq_graph_create(struct ldnq_arena *arena, const char *name, const char *file,
                                   struct ldnq_graph **out, struct ldnq_error *err);
/* A new value, rank unknown. The name is copied; "" gets a name of its own. */
enum ldnq_status ldnq_graph_add_value(struct ldnq_graph *graph, const char *name,
                                      struct ldnq_value **out, struct ldnq_error *err);
/* A value that holds `tensor` (which must outlive the graph). */
enum ldnq_status ldnq_graph_add_constant(struct ldnq_graph *graph, const char *name,
                                         const struct ldnq_tensor *tensor, struct ldnq_value **out,
                                         struct ldnq_error *err);
/* A symbol; the same name gives the same symbol, NULL always a new one. */
enum ldnq_status ldnq_graph_symbol(struct ldnq_graph *graph, const char *name, int64_t *symbol,
                                   struct ldnq_error *err);
/* A value of the subgraph `graph` that stands for `outer`, with all that is known of
 * it. Errors: NOMEM. */
enum ldnq_status ldnq_graph_capture(struct ldnq_graph *graph, const char *name,
                                    struct ldnq_value *outer, struct ldnq_value **inner,
                                    struct ldnq_error *err);
/* Takes in a value of another graph, under a new index. Errors: NOMEM. */
enum ldnq_status ldnq_graph_adopt(struct ldnq_graph *graph, struct ldnq_value *value,
                                  struct ldnq_error *err);
/* A second graph of the same nodes and values, each with its number: replacing a
 * constant of one leaves the other as it is. Tensors, attributes and the graphs
 * inside of nodes are shared and have to outlive it. Not for a subgraph.
 * Errors: NOMEM. */
enum ldnq_status ldnq_graph_clone(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                  struct ldnq_graph **out, struct ldnq_error *err);
/* Type, shape, and what is known of the data. */
void ldnq_value_take_facts(struct ldnq_value *value, const struct ldnq_value *from);
/* NULL when there is none. */
const char *ldnq_graph_symbol_name(const struct ldnq_graph *graph, int64_t symbol);
struct ldnq_value *ldnq_graph_find_value(const struct ldnq_graph *graph, const char *name);
/* By label, or by name where that is unique. */
struct ldnq_node *ldnq_graph_find_node(const struct ldnq_graph *graph, const char *label);
const struct ldnq_attr *ldnq_node_attr(const struct ldnq_node *node, const char *name);

/* Sorts nodes so that each comes after those that it reads from, keeping the
 * file's order where it can; sets labels.
 * Errors: MODEL (a cycle, named by a node in it), NOMEM. */
enum ldnq_status ldnq_graph_sort(struct ldnq_graph *graph, struct ldnq_error *err);
/* Checks what every pass has to keep: one producer a value, order, indices,
 * outputs that exist. Errors: MODEL, with the node and value. */
enum ldnq_status ldnq_graph_verify(const struct ldnq_graph *graph, struct ldnq_error *err);

/* Fails with "node 'conv1' (Conv, opset 13): ..." in front, and the file. */
enum ldnq_status ldnq_node_fail(const struct ldnq_graph *graph, const struct ldnq_node *node,
                                enum ldnq_status status, struct ldnq_error *err, const char *format,
                                ...) __attribute__((format(printf, 5, 6)));

#endif
