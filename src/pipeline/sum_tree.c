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

#define NO_RANK SIZE_MAX

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

static size_t find_sum(const struct ldnq_sum_tree *tree, size_t first)
{
    size_t i = 0;
    while (tree->sums[i].first < first)
        i++;
    return i;
}

/* The right half's sum goes from its rank to that of the left half, which adds it. */
static enum ldnq_status add_remote_half(struct ldnq_sum_tree *tree, size_t left, size_t right,
                                        size_t first, size_t middle, struct ldnq_error *err)
{
    const size_t own = ldnq_ranks_own_rank(tree->ranks),
                 bytes = tree->packed_count * sizeof(double);
    if (own == right) {
        const size_t sum = find_sum(tree, middle);
        const struct ldnq_rank_message send = { left, tree->sums[sum].values, bytes };
        LDNQ_TRY(ldnq_ranks_exchange(tree->ranks, &send, NULL, err));
        remove_sum(tree, sum);
        return LDNQ_OK;
    }
    if (own != left)
        return LDNQ_OK;
    struct ldnq_packed_sum other;
    LDNQ_TRY(allocate_sum(tree, &other, err));
    const struct ldnq_rank_message receive = { right, other.values, bytes };
    const enum ldnq_status status = ldnq_ranks_exchange(tree->ranks, NULL, &receive, err);
    if (status == LDNQ_OK)
        add_to_sum(tree->sums[find_sum(tree, first)].values, other.values, tree->packed_count);
    free_sum(&other);
    return status;
}

static bool has_present_leaf(const struct ldnq_sum_tree *tree, size_t first, size_t end)
{
    while (first < end && !is_present(tree, first))
        first++;
    return first < end;
}

/* Sums the node of `width` leaves from `first` on; *holder becomes the rank that has the sum. */
static enum ldnq_status sum_node(struct ldnq_sum_tree *tree, size_t first, size_t width,
                                 size_t *holder, struct ldnq_error *err)
{
    const size_t end = ldnq_size_min(first + width, tree->leaves), middle = first + width / 2;
    size_t right;
    *holder = NO_RANK;
    if (!has_present_leaf(tree, first, end))
        return LDNQ_OK;
    const size_t owner = ldnq_ranks_find_owner(tree->ranks, first, tree->leaves);
    if (owner == ldnq_ranks_find_owner(tree->ranks, end - 1, tree->leaves)) {
        *holder = owner;
    } else {
        LDNQ_TRY(sum_node(tree, first, width / 2, holder, err));
        LDNQ_TRY(sum_node(tree, middle, width / 2, &right, err));
        if (*holder == NO_RANK || right == NO_RANK) {
            *holder = *holder == NO_RANK ? right : *holder;
            return LDNQ_OK;
        }
        if (*holder != right)
            return add_remote_half(tree, *holder, right, first, middle, err);
    }
    if (*holder == ldnq_ranks_own_rank(tree->ranks))
        merge_sums(tree, first, end);
    return LDNQ_OK;
}

static enum ldnq_status sum_all(struct ldnq_sum_tree *tree, struct ldnq_error *err)
{
    size_t holder, width = 1;
    while (width < tree->leaves)
        width *= 2;
    LDNQ_TRY(sum_node(tree, 0, width, &holder, err));
    if (holder == NO_RANK)
        return LDNQ_OK;
    if (tree->sum_count == 0) { /* this rank had nothing, or has sent it */
        LDNQ_TRY(allocate_sum(tree, &tree->sums[0], err));
        tree->sum_count = 1;
    }
    double *all = tree->sums[0].values;
    LDNQ_TRY(ldnq_ranks_broadcast(tree->ranks, holder, all, tree->packed_count * sizeof *all, err));
    move_all(tree, all, unpack);
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
