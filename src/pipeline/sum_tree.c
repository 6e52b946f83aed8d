/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/sum_tree.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mapping.h"
#include "base/size.h"

/* As many ranks can share the batches. Each level of the tree costs a sum of memory or of disk, and
 * each leaf the time to add it. */
#define MOST_LEAVES ((size_t)16)

/* Larger packed sums are in a file: of the ceiling, a part. */
#define MOST_HEAP_BYTES ((size_t)16 << 20)
#define LEAST_HEAP_BYTES ((size_t)1 << 20)
#define HEAP_PARTS ((size_t)64)

size_t ldnq_sum_leaves(size_t batches)
{
    return ldnq_size_min(batches, MOST_LEAVES);
}

size_t ldnq_sum_tree_limit_heap(size_t max_bytes)
{
    return ldnq_size_max(LEAST_HEAP_BYTES, ldnq_size_min(MOST_HEAP_BYTES, max_bytes / HEAP_PARTS));
}

double ldnq_sum_tree_count_bytes(double packed, size_t heap_bytes)
{
    return (packed <= (double)heap_bytes ? log2((double)MOST_LEAVES) : 2) * packed;
}

struct ldnq_rank_share ldnq_sum_batches(const struct ldnq_ranks *ranks, size_t batches,
                                        size_t leaves)
{
    const struct ldnq_rank_share own = ldnq_ranks_own_share(ranks, leaves);
    return (struct ldnq_rank_share){ ldnq_size_ceil_div(own.first * batches, leaves),
                                     ldnq_size_ceil_div(own.end * batches, leaves) };
}

/* ---- packed sums -------------------------------------------------------------------------- */

void ldnq_sum_tree_add_array(struct ldnq_sum_tree *tree, struct ldnq_summed_array array)
{
    tree->arrays[tree->array_count++] = array;
    tree->packed_count +=
        array.order ? array.count * array.order * (array.order + 1) / 2 : array.count;
}

/* What is done with a run of elements of an array and the same elements of a packed sum. */
typedef void move_fn(double *array, double *packed, size_t count);

static void pack_and_clear(double *array, double *packed, size_t count)
{
    memcpy(packed, array, count * sizeof *packed);
    memset(array, 0, count * sizeof *array);
}

static void unpack(double *array, double *packed, size_t count)
{
    memcpy(array, packed, count * sizeof *array);
}

static void add_and_clear(double *array, double *packed, size_t count)
{
    for (size_t i = 0; i < count; i++)
        packed[i] += array[i];
    memset(array, 0, count * sizeof *array);
}

static void add_to_sum(double *sum, const double *other, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += other[i];
}

static void move_all(const struct ldnq_sum_tree *tree, double *packed, move_fn *move)
{
    for (size_t a = 0; a < tree->array_count; a++) {
        const struct ldnq_summed_array *array = &tree->arrays[a];
        if (array->order == 0) {
            if (array->count > 0)
                move(array->data, packed, array->count);
            packed += array->count;
            continue;
        }
        for (size_t row = 0; row < array->count * array->order; row++) {
            const size_t i = row % array->order;
            move(array->data + row * array->order + i, packed, array->order - i);
            packed += array->order - i;
        }
    }
}

static size_t count_bytes(const struct ldnq_sum_tree *tree)
{
    return (tree->packed_count + !tree->packed_count) * sizeof(double);
}

/* Where there is no room for a file, the sum is on the heap. */
static enum ldnq_status allocate_sum(const struct ldnq_sum_tree *tree, struct ldnq_packed_sum *sum,
                                     struct ldnq_error *err)
{
    const size_t bytes = count_bytes(tree);
    sum->values = bytes > tree->heap_bytes ? ldnq_mapping_create(bytes) : NULL;
    sum->is_mapped = sum->values != NULL;
    if (!sum->values)
        sum->values = ldnq_malloc_aligned(bytes);
    return sum->values ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

static void free_sum(struct ldnq_packed_sum *sum)
{
    if (sum->is_mapped)
        ldnq_mapping_destroy(sum->values);
    else
        ldnq_free(sum->values);
}

static void remove_sum(struct ldnq_sum_tree *tree, size_t index)
{
    free_sum(&tree->sums[index]);
    tree->sum_count--;
    memmove(&tree->sums[index], &tree->sums[index + 1],
            (tree->sum_count - index) * sizeof *tree->sums);
}

/* Adds a sum to the one before it. */
static void merge_sum(struct ldnq_sum_tree *tree, size_t index)
{
    add_to_sum(tree->sums[index - 1].values, tree->sums[index].values, tree->packed_count);
    remove_sum(tree, index);
}

/* ---- the leaves of this rank ---------------------------------------------------------------- */

static bool is_present(const struct ldnq_sum_tree *tree, size_t leaf)
{
    return !tree->present || tree->present[leaf];
}

/* A leaf is added to its neighbor on the left without a packed sum of its own. */
static enum ldnq_status store_leaf(struct ldnq_sum_tree *tree, size_t leaf, struct ldnq_error *err)
{
    struct ldnq_packed_sum *last = tree->sum_count ? &tree->sums[tree->sum_count - 1] : NULL;
    if (leaf % 2 == 1 && last && last->first == leaf - 1) {
        move_all(tree, last->values, add_and_clear);
        return LDNQ_OK;
    }
    struct ldnq_packed_sum *added = &tree->sums[tree->sum_count];
    LDNQ_TRY(allocate_sum(tree, added, err));
    added->first = leaf;
    tree->sum_count++;
    move_all(tree, added->values, pack_and_clear);
    return LDNQ_OK;
}

static bool has_tree(const struct ldnq_sum_tree *tree)
{
    return tree->leaves > 1 || (tree->leaves == 1 && ldnq_ranks_count(tree->ranks) > 1);
}

enum ldnq_status ldnq_sum_tree_end_leaf(struct ldnq_sum_tree *tree, size_t leaf,
                                        struct ldnq_error *err)
{
    const size_t own = ldnq_ranks_own_share(tree->ranks, tree->leaves).first;
    if (!has_tree(tree))
        return LDNQ_OK;
    if (is_present(tree, leaf))
        LDNQ_TRY(store_leaf(tree, leaf, err));
    for (size_t width = 2; (leaf + 1) % width == 0 && leaf + 1 - width >= own; width *= 2)
        if (tree->sum_count >= 2 && tree->sums[tree->sum_count - 2].first >= leaf + 1 - width)
            merge_sum(tree, tree->sum_count - 1);
    for (size_t i = 0; i < tree->sum_count && tree->sums[i].is_mapped; i++)
        ldnq_mapping_release_pages(tree->sums[i].values, count_bytes(tree));
    return LDNQ_OK;
}

/* ---- the leaves of all ranks ---------------------------------------------------------------- */

/* Numbers of a slice that are exchanged at a time. */
#define BLOCK ((size_t)1 << 18)

/* A node of the tree whose leaves are all of one rank, and the largest such node. */
struct tree_piece {
    size_t first, rank;
    double *values; /* of the slice that this rank adds up */
};

struct tree_slices {
    struct ldnq_sum_tree *tree;
    struct tree_piece pieces[MOST_LEAVES]; /* in the order of the leaves */
    size_t piece_count, width;             /* width: leaves of the root */
    size_t start, elements;                /* the block of the slice, in packed elements */
};

/* Adds up this rank's sums of the leaves first .. end-1, from the right: those on the left are of
 * more leaves. */
static void merge_sums(struct ldnq_sum_tree *tree, size_t first, size_t end)
{
    size_t last = tree->sum_count;
    while (last > 0 && tree->sums[last - 1].first >= end)
        last--;
    for (; last >= 2 && tree->sums[last - 2].first >= first; last--)
        merge_sum(tree, last - 1);
}

static const double *find_sum(const struct ldnq_sum_tree *tree, size_t first)
{
    size_t i = 0;
    while (tree->sums[i].first < first)
        i++;
    return tree->sums[i].values;
}

static bool has_present_leaf(const struct ldnq_sum_tree *tree, size_t first, size_t end)
{
    while (first < end && !is_present(tree, first))
        first++;
    return first < end;
}

/* Lists the pieces of the node of `width` leaves from `first` on, and sums up those of this rank.
 */
static void list_pieces(struct tree_slices *slices, size_t first, size_t width)
{
    struct ldnq_sum_tree *tree = slices->tree;
    const size_t end = ldnq_size_min(first + width, tree->leaves);
    if (!has_present_leaf(tree, first, end))
        return;
    const size_t owner = ldnq_ranks_find_owner(tree->ranks, first, tree->leaves);
    if (owner != ldnq_ranks_find_owner(tree->ranks, end - 1, tree->leaves)) {
        list_pieces(slices, first, width / 2);
        list_pieces(slices, first + width / 2, width / 2);
        return;
    }
    if (owner == ldnq_ranks_own_rank(tree->ranks))
        merge_sums(tree, first, end);
    slices->pieces[slices->piece_count++] = (struct tree_piece){ first, owner, NULL };
}

/* The next piece of a rank from *at on; NULL: it has no other. */
static struct tree_piece *find_next_piece(struct tree_slices *slices, size_t rank, size_t *at)
{
    while (*at < slices->piece_count && slices->pieces[*at].rank != rank)
        (*at)++;
    return *at < slices->piece_count ? &slices->pieces[(*at)++] : NULL;
}

/* The block number `block` of the slice of a rank: each rank adds up one slice of the packed
 * elements. */
static struct ldnq_rank_share find_block(const struct ldnq_sum_tree *tree, size_t rank,
                                         size_t block)
{
    const struct ldnq_rank_share slice = ldnq_ranks_share(tree->ranks, rank, tree->packed_count);
    const size_t first = ldnq_size_min(slice.first + block * BLOCK, slice.end);
    return (struct ldnq_rank_share){ first, ldnq_size_min(first + BLOCK, slice.end) };
}

/* Sends the pieces' block of another rank's slice to it, and receives those of a third one. */
static enum ldnq_status exchange_blocks(struct tree_slices *slices, size_t to, size_t from,
                                        size_t block, struct ldnq_error *err)
{
    struct ldnq_sum_tree *tree = slices->tree;
    const struct ldnq_rank_share other = find_block(tree, to, block);
    size_t sent = 0, received = 0;
    for (;;) {
        const struct tree_piece *own = find_next_piece(slices, tree->ranks->rank, &sent);
        const struct tree_piece *remote = find_next_piece(slices, from, &received);
        if (!own && !remote)
            return LDNQ_OK;
        const struct ldnq_rank_message send = {
            to, own ? (void *)(find_sum(tree, own->first) + other.first) : NULL,
            own ? (other.end - other.first) * sizeof(double) : 0
        };
        const struct ldnq_rank_message receive = { from, remote ? remote->values : NULL,
                                                   remote ? slices->elements * sizeof(double) : 0 };
        LDNQ_TRY(ldnq_ranks_exchange(tree->ranks, send.bytes ? &send : NULL,
                                     receive.bytes ? &receive : NULL, err));
    }
}

/* Adds up the node's pieces in the block; returns where its sum is, NULL: it has no piece. */
static double *sum_pieces(struct tree_slices *slices, size_t first, size_t width, size_t *at)
{
    const struct tree_piece *piece = &slices->pieces[*at];
    if (*at == slices->piece_count || piece->first >= first + width)
        return NULL;
    const size_t end = ldnq_size_min(first + width, slices->tree->leaves);
    if (ldnq_ranks_find_owner(slices->tree->ranks, first, slices->tree->leaves) ==
        ldnq_ranks_find_owner(slices->tree->ranks, end - 1, slices->tree->leaves)) {
        (*at)++;
        return piece->values;
    }
    double *left = sum_pieces(slices, first, width / 2, at);
    double *right = sum_pieces(slices, first + width / 2, width / 2, at);
    if (left && right)
        add_to_sum(left, right, slices->elements);
    return left ? left : right;
}

/* Adds up a block of this rank's slice, in its first packed sum. */
static enum ldnq_status sum_block(struct tree_slices *slices, size_t block, struct ldnq_error *err)
{
    struct ldnq_sum_tree *tree = slices->tree;
    const size_t count = tree->ranks->count, rank = tree->ranks->rank;
    const struct ldnq_rank_share own = find_block(tree, rank, block);
    slices->start = own.first;
    slices->elements = own.end - own.first;
    size_t at = 0;
    struct tree_piece *piece;
    while ((piece = find_next_piece(slices, rank, &at)) != NULL)
        if (slices->elements > 0)
            memcpy(piece->values, find_sum(tree, piece->first) + slices->start,
                   slices->elements * sizeof(double));
    for (size_t step = 1; step < count; step++)
        LDNQ_TRY(exchange_blocks(slices, (rank + step) % count, (rank + count - step) % count,
                                 block, err));
    at = 0;
    const double *sum = sum_pieces(slices, 0, slices->width, &at);
    if (slices->elements > 0)
        memcpy(tree->sums[0].values + slices->start, sum, slices->elements * sizeof(double));
    return LDNQ_OK;
}

/* Each rank adds up its slice of the packed elements, so that all send at the same time and no
 * slice is sent twice; then all get the slices of all. */
static enum ldnq_status sum_slices(struct tree_slices *slices, struct ldnq_error *err)
{
    struct ldnq_sum_tree *tree = slices->tree;
    const size_t count = ldnq_ranks_count(tree->ranks);
    const size_t slice = ldnq_size_ceil_div(tree->packed_count, count);
    const size_t most = ldnq_size_min(slice, BLOCK);
    double *values = ldnq_malloc_aligned(slices->piece_count * (most + !most) * sizeof *values);
    if (!values)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; i < slices->piece_count; i++)
        slices->pieces[i].values = values + i * most;
    enum ldnq_status status = LDNQ_OK;
    for (size_t block = 0; status == LDNQ_OK && block * BLOCK < slice; block++)
        status = sum_block(slices, block, err);
    ldnq_free(values);
    LDNQ_TRY(status);
    return ldnq_ranks_allgather_units(tree->ranks, tree->sums[0].values, tree->packed_count,
                                      sizeof(double), err);
}

static enum ldnq_status sum_all(struct ldnq_sum_tree *tree, struct ldnq_error *err)
{
    struct tree_slices slices = { .tree = tree, .width = 1 };
    while (slices.width < tree->leaves)
        slices.width *= 2;
    list_pieces(&slices, 0, slices.width);
    if (slices.piece_count == 0)
        return LDNQ_OK;
    if (tree->sum_count == 0) { /* this rank had nothing */
        LDNQ_TRY(allocate_sum(tree, &tree->sums[0], err));
        tree->sum_count = 1;
        tree->sums[0].first = tree->leaves;
    }
    if (ldnq_ranks_count(tree->ranks) > 1)
        LDNQ_TRY(sum_slices(&slices, err));
    move_all(tree, tree->sums[0].values, unpack);
    return LDNQ_OK;
}

enum ldnq_status ldnq_sum_tree_finish(struct ldnq_sum_tree *tree, struct ldnq_error *err)
{
    if (!has_tree(tree))
        return LDNQ_OK;
    const enum ldnq_status status = sum_all(tree, err);
    ldnq_sum_tree_release(tree);
    return status;
}

void ldnq_sum_tree_release(struct ldnq_sum_tree *tree)
{
    while (tree->sum_count > 0)
        remove_sum(tree, tree->sum_count - 1);
}
