/* SPDX-License-Identifier: Apache-2.0 */
/* sum_tree.h: sums over the batches, which have the same bits on any number of ranks.
 *
 * The batches are cut into leaves, of which each rank has some in a row (ranks.h). A leaf is summed
 * batch after batch in the arrays of the caller; the leaves are summed in pairs, pairs of pairs and
 * so on. The cut depends on the batches alone. A rank adds up the pairs of which it has both sides;
 * of all other pairs each rank adds up a slice of the sums, which it sends to all.
 *
 *              0-3 + 4-7
 *             /         \
 *        0-1 + 2-3   4-5 + 6-7
 *        /    \         /    \
 *       0 + 1  2 + 3   4 + 5  6 + 7      two ranks: 0-3 and 4-7; each adds up half of 0-7
 *
 * Memory  sums of finished leaves are packed: of a symmetric matrix the upper triangle. A rank has
 *         one for each level of the tree, or two; large ones are in a file until they are added
 * Owns    the packed sums; the arrays belong to the caller
 * Errors  NOMEM, those of ranks.h
 */
#ifndef LDNQ_PIPELINE_SUM_TREE_H
#define LDNQ_PIPELINE_SUM_TREE_H

#include "base/arena.h"
#include "base/ranks.h"

#define LDNQ_SUM_ARRAYS ((size_t)6)
#define LDNQ_SUM_LEVELS ((size_t)8)

/* The number of leaves of a tree over `batches`. */
size_t ldnq_sum_leaves(size_t batches);
/* The bytes of a packed sum above which it is in a file, under a ceiling. */
size_t ldnq_sum_tree_limit_heap(size_t max_bytes);
/* The bytes of memory that packed sums of `packed` bytes take at most, about: one for each level of
 * the tree, or two that are added. */
double ldnq_sum_tree_count_bytes(double packed, size_t heap_bytes);

/* The leaf of a batch, and whether the batch is its last one. */
static inline size_t ldnq_sum_leaf(size_t batch, size_t batches, size_t leaves)
{
    return batch * leaves / batches;
}

static inline bool ldnq_sum_leaf_ends(size_t batch, size_t batches, size_t leaves)
{
    return batch + 1 == batches ||
           ldnq_sum_leaf(batch, batches, leaves) != ldnq_sum_leaf(batch + 1, batches, leaves);
}

/* The batches of a rank: those of its leaves. */
struct ldnq_rank_share ldnq_sum_batches(const struct ldnq_ranks *ranks, size_t batches,
                                        size_t leaves);

struct ldnq_summed_array {
    double *data;
    size_t count; /* elements; with `order`, matrices */
    size_t order; /* of the matrices, whose lower triangle is 0; 0: they are plain elements */
};

struct ldnq_packed_sum {
    size_t first; /* its first leaf */
    double *values;
    bool is_mapped;
};

/* Zeroed at the start, which is a tree of one leaf. */
struct ldnq_sum_tree {
    struct ldnq_ranks *ranks;
    size_t leaves;
    const bool *present; /* (leaves): leaves without anything to sum are left out; NULL: all */
    struct ldnq_summed_array arrays[LDNQ_SUM_ARRAYS];
    size_t array_count, packed_count;             /* packed_count: elements of a packed sum */
    size_t heap_bytes;                            /* larger packed sums are in a file */
    struct ldnq_packed_sum sums[LDNQ_SUM_LEVELS]; /* of this rank, in the order of the leaves */
    size_t sum_count;
};

void ldnq_sum_tree_add_array(struct ldnq_sum_tree *tree, struct ldnq_summed_array array);
/* The arrays hold the leaf's sums, and are 0 after it. Called for each leaf of this rank, in their
 * order. */
enum ldnq_status ldnq_sum_tree_end_leaf(struct ldnq_sum_tree *tree, size_t leaf,
                                        struct ldnq_error *err);
/* The arrays hold the sums over all leaves, on all ranks. */
enum ldnq_status ldnq_sum_tree_finish(struct ldnq_sum_tree *tree, struct ldnq_error *err);
/* Frees packed sums, as after an error. */
void ldnq_sum_tree_release(struct ldnq_sum_tree *tree);

#endif
