/* SPDX-License-Identifier: Apache-2.0 */
/* placement.h: which activations of a graph get a Q/DQ pair for a target, and which of
 * them share a scale.
 *
 * The engine reads the target's record alone. It works on a graph after the passes, before
 * any node is inserted; ldnq_placement_insert then adds the pairs.
 *
 * Algorithm
 *   1. Layers whose weight is quantized run on integers.
 *   2. Operators without weights follow: those that compute (Add, Concat) where an input
 *      comes from a quantized operator, those that only move elements (Reshape, MaxPool)
 *      where their input has codes. Repeated until nothing changes. With `every_tensor` all
 *      operators of the table follow.
 *   3. A Relu or Clip after a quantized operator, as its only reader, joins it.
 *   4. Operators without weights whose codes nobody reads return to float, where the target
 *      says so: the end of a detector or a segmentation network.
 *   5. Pairs are placed on the inputs, or inputs and outputs, of these operators.
 *   6. Values that must have one scale are joined into groups. A value of a fixed range joins no
 *      group of another range: a second pair converts its codes to the scale of the group.
 *   7. Values that 8 bits ruin have 16, and so has all that the nodes around them read or write, as
 *      a kernel has one type: second pairs convert between the types (wide_values.c).
 */
#ifndef LDNQ_TARGET_PLACEMENT_H
#define LDNQ_TARGET_PLACEMENT_H

#include "target/target.h"

/* How a node is computed once pairs are placed. */
enum ldnq_node_run {
    LDNQ_NODE_FLOAT,    /* computes in float32 */
    LDNQ_NODE_INTEGER,  /* computes on codes */
    LDNQ_NODE_MOVES,    /* moves codes */
    LDNQ_NODE_ABSORBED, /* a Relu or Clip that the codes' range replaces */
};

/* One activation with a Q/DQ pair: a QuantizeLinear and the DequantizeLinear that reads it. */
struct ldnq_placed_activation {
    struct ldnq_value *value; /* the float value; a constant where is_constant */
    size_t group;             /* activations of one group have one scale and zero point */
    bool is_constant;         /* an operand of Add, Concat ... from the file */
    /* Bounds that the range must not exceed: an absorbed clamp's, or the operator's own.
     * -INFINITY and INFINITY where there is none. */
    float low, high;
    bool fixed; /* low and high are the range, whatever the data are */
    enum ldnq_dtype dtype;
    const char *wide_reason; /* why it needs 16 bits; NULL: it does not, or only its neighbors do */
    /* A second pair, after the first of the same value: the nodes that compute on codes of its type
     * read it. */
    bool converts;
    /* A second pair, after the first of the same value, that this node alone reads: its codes
     * have the scale of the node's other inputs, where the first pair's range is fixed. NULL for
     * most. */
    const struct ldnq_node *reader;
    /* An integer kernel writes it: the float value never exists, and everything reads codes or
     * what the DequantizeLinear makes of them. */
    bool is_only_codes;
    /* The value is a graph output and its operator writes codes: the output of the inserted
     * DequantizeLinear takes its place, and its name, among the graph's outputs. */
    bool replaces_graph_output;
    /* Set by ldnq_placement_insert. Of a constant there is no QuantizeLinear: `dequantized`
     * is a constant of its own, the rounded one. */
    struct ldnq_node *quantize;            /* NULL: the node that writes the value writes codes */
    struct ldnq_value *scale, *zero_point; /* constants */
    struct ldnq_value *codes;              /* NULL for a constant */
    struct ldnq_value *dequantized;
};

struct ldnq_float_node {
    const struct ldnq_node *node;
    const char *reason;
};

struct ldnq_placement {
    const struct ldnq_target *target;
    const struct ldnq_graph *graph; /* the graph with the pairs; NULL before they are inserted */
    enum ldnq_dtype dtype;          /* type of the codes; some may have the target's wide one */
    size_t count, group_count;
    struct ldnq_placed_activation *activations; /* in the order in which they are computed */
    /* By the node's index in graph->nodes before the insertion. */
    enum ldnq_node_run *runs;
    bool *is_wide; /* the node computes on codes of 16 bits beside others of 8 */
    /* Bit i: the node reads the codes of input i. Inputs from 32 on follow bit 31. */
    unsigned *reads_codes;
    /* All nodes that compute in float, but for those that only move elements. */
    size_t float_count;
    struct ldnq_float_node *float_nodes;
};

struct ldnq_placement_options {
    const struct ldnq_target *target;
    enum ldnq_dtype activation; /* the type of the codes */
    /* Why the weight of this Conv, Gemm or MatMul will not be codes that the target's integer
     * kernels take; NULL: it will. */
    const char *(*explain_float_weight)(void *ctx, const struct ldnq_node *node);
    void *ctx;
    /* By value index: why the value gets no pair, so that what reads or writes it computes in
     * float; NULL: it may have one. The whole array is NULL where none is excluded. */
    const char *const *excluded;
    /* By value index: why the value needs the target's wide type; NULL: it does not. The whole
     * array is NULL where none does. */
    const char *const *wide;
};

/* Decides; the graph stays as it is. The placement lives in the arena.
 * Errors: NOMEM. */
enum ldnq_status ldnq_placement_make(const struct ldnq_graph *graph,
                                     const struct ldnq_placement_options *options,
                                     struct ldnq_arena *arena, struct ldnq_placement **out,
                                     struct ldnq_error *err);

/* Inserts a QuantizeLinear and a DequantizeLinear per activation into the graph, which the
 * operators that read codes (with LDNQ_PAIRS_AT_BOTH: all readers) then read from. A Shape
 * reads the codes themselves, and so does an operator whose rule says on_codes. A graph
 * output with a pair is what its DequantizeLinear writes, under its name. Scales are 1 and
 * zero points 0 until ldnq_activation_set_scale. New nodes are bound and have no origin;
 * the indices of nodes change.
 * Errors: NOMEM, UNSUPPORTED (an opset without QuantizeLinear). */
enum ldnq_status ldnq_placement_insert(struct ldnq_placement *placement, struct ldnq_graph *graph,
                                       struct ldnq_error *err);

/* The pair that the node reads the value from, of those that begin with `first`. `index` is the
 * node's index before the insertion. */
struct ldnq_placed_activation *ldnq_placement_find_pair(const struct ldnq_placement *placement,
                                                        struct ldnq_placed_activation *first,
                                                        const struct ldnq_node *node, size_t index);

/* Whether it reads what the first pair of its value leaves. */
bool ldnq_activation_is_second(const struct ldnq_placed_activation *activation);

/* Turns a clone of the graph with pairs into the float network with the same nodes and values:
 * both halves of each pair pass the float value on, and constants are not rounded. The float
 * network can then run beside the quantized one, node by node. Errors: NOMEM. */
enum ldnq_status ldnq_placement_bypass_pairs(const struct ldnq_placement *placement,
                                             const struct ldnq_graph *graph,
                                             struct ldnq_graph *clone, struct ldnq_error *err);

/* The bounds of a Relu or Clip that can join a layer; false for other nodes, and where they are not
 * constant or exclude 0. */
bool ldnq_placement_read_clamp(const struct ldnq_node *node, float *low, float *high);

/* After all scales are set: sets inputs and output of each LDNQ_UNIFIES_NEAR_SCALES operator to
 * one scale where the largest is at most LDNQ_NEAR_SCALES times the least. */
#define LDNQ_NEAR_SCALES 1.1f
void ldnq_placement_unify_near_scales(struct ldnq_placement *placement);

/* ---- scales --------------------------------------------------------------------------- */

struct ldnq_scale {
    float scale;
    int32_t zero_point;
};

/* The scale and zero point of codes of type `dtype` for reals from low to high. Zero is
 * always a code: the range is widened to it. A fixed range is half open, so that 0 to 1
 * has a scale of 1/256 for 8 bits. */
struct ldnq_scale ldnq_target_scale(const struct ldnq_target *target, enum ldnq_dtype dtype,
                                    double low, double high, bool fixed);

/* Sets scale and zero point of an inserted activation; a constant is rounded. */
void ldnq_activation_set_scale(struct ldnq_placed_activation *activation, struct ldnq_scale scale);

/* The largest scale at which the codes stay within the activation's bounds; infinite without them.
 */
float ldnq_activation_find_largest_scale(const struct ldnq_placed_activation *activation);

/* The name of the value in the file. */
const char *ldnq_activation_name(const struct ldnq_placed_activation *activation);

int32_t ldnq_activation_zero_point(const struct ldnq_placed_activation *activation);

/* The codes of a constant activation, in the arena. Errors: NOMEM. */
enum ldnq_status ldnq_activation_codes(const struct ldnq_placed_activation *activation,
                                       struct ldnq_arena *arena, struct ldnq_tensor **out,
                                       struct ldnq_error *err);

#endif
