/* SPDX-License-Identifier: Apache-2.0 */
/* sequence_nodes.h: what is known of sequences while their readers are replaced, and the nodes that
 * replace them. Errors: NOMEM. */
#ifndef LDNQ_PASSES_SEQUENCE_NODES_H
#define LDNQ_PASSES_SEQUENCE_NODES_H

#include "ir/ir.h"

/* The tensors of a sequence: either a list of values, or pieces of one tensor along an axis. */
struct sequence {
    bool is_known;
    bool is_empty;             /* of floats; a Loop may append to it */
    struct ldnq_value **items; /* (count) NULL: pieces of `whole` */
    size_t count;              /* 0 for pieces of equal size, whose number is not known */
    struct ldnq_value *whole;
    int64_t axis;
    int64_t size;         /* of each piece */
    const int64_t *sizes; /* (count) of the pieces, where they differ; NULL */
    bool drops_axis;      /* pieces of size 1 come without the axis */
};

struct sequence_replacement {
    struct ldnq_graph *graph;
    struct sequence *sequences; /* by value */
    struct ldnq_node **nodes;   /* the new list */
    size_t count, capacity;
};

/* Whether it is this operator of ai.onnx, with an input and one output. */
bool ldnq_sequence_is_node(const struct ldnq_node *node, const char *op_type);
/* A constant of the integers: a list, or a scalar. */
enum ldnq_status ldnq_sequence_add_integers(struct sequence_replacement *replacement,
                                            const int64_t *values, size_t count, bool is_scalar,
                                            struct ldnq_value **out, struct ldnq_error *err);
enum ldnq_status ldnq_sequence_append_to_list(struct sequence_replacement *replacement,
                                              struct ldnq_node *node, struct ldnq_error *err);
/* Appends a node in place of `old`, whose name it has in messages. It is in no file. */
enum ldnq_status ldnq_sequence_append_node(struct sequence_replacement *replacement,
                                           const struct ldnq_node *old, const char *op_type,
                                           struct ldnq_value **inputs, size_t input_count,
                                           const struct ldnq_attr *attr, struct ldnq_value *output,
                                           struct ldnq_error *err);

/* Lets a Loop stack what its body appends to a sequence that was empty, and look up in the whole
 * what its body takes from a captured sequence of equal pieces. */
enum ldnq_status ldnq_sequence_replace_in_loop(struct sequence_replacement *replacement,
                                               struct ldnq_node *loop, struct ldnq_error *err);
/* Replaces a ConcatFromSequence of what a Loop has stacked. */
enum ldnq_status ldnq_sequence_concat_stacked(struct sequence_replacement *replacement,
                                              const struct ldnq_node *node,
                                              const struct sequence *sequence, bool *is_replaced,
                                              struct ldnq_error *err);

#endif
