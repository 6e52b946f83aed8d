/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/sum_tree.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "test.h"
#include "thread_ranks.h"

#define ORDER 3
#define SQUARES (2 * ORDER * ORDER) /* two matrices */
#define PLAIN 4
#define MOST_BATCHES ((size_t)37)

/* Sums over the batches, which are numbers whose sum depends on the order. */
struct batch_sums {
    size_t batches;
    const bool *present; /* by leaf */
    double gram[SQUARES], plain[PLAIN];
    enum ldnq_status status;
};

static double number_of(size_t batch, size_t element)
{
    struct ldnq_rng rng = { batch * 100 + element };
    return ldnq_rng_uniform(&rng) * (element % 3 ? 1 : 1e6);
}

static void add_batch(struct batch_sums *sums, size_t batch)
{
    for (size_t e = 0; e < SQUARES; e++)
        if (e % ORDER >= e / ORDER % ORDER) /* the upper triangles */
            sums->gram[e] += number_of(batch, e);
    for (size_t e = 0; e < PLAIN; e++)
        sums->plain[e] += number_of(batch, SQUARES + e);
}

static void sum_batches(struct ldnq_ranks *ranks, void *ctx)
{
    struct batch_sums *sums = ctx;
    struct ldnq_error err;
    const size_t leaves = ldnq_sum_leaves(sums->batches);
    const struct ldnq_rank_share own = ldnq_sum_batches(ranks, sums->batches, leaves);
    struct ldnq_sum_tree tree = { .ranks = ranks, .leaves = leaves, .present = sums->present };
    ldnq_sum_tree_add_array(&tree, (struct ldnq_summed_array){ sums->gram, 2, ORDER });
    ldnq_sum_tree_add_array(&tree, (struct ldnq_summed_array){ sums->plain, PLAIN, 0 });
    for (size_t batch = own.first; batch < own.end && sums->status == LDNQ_OK; batch++) {
        const size_t leaf = ldnq_sum_leaf(batch, sums->batches, leaves);
        if (!sums->present || sums->present[leaf])
            add_batch(sums, batch);
        if (ldnq_sum_leaf_ends(batch, sums->batches, leaves))
            sums->status = ldnq_sum_tree_end_leaf(&tree, leaf, &err);
    }
    if (sums->status == LDNQ_OK)
        sums->status = ldnq_sum_tree_finish(&tree, &err);
    ldnq_sum_tree_release(&tree);
}

static void any_number_of_ranks_should_have_the_same_sums(void **state)
{
    (void)state;
    bool present[16];
    for (size_t batches = 1; batches <= MOST_BATCHES; batches += 1 + batches / 6)
        for (unsigned gaps = 0; gaps < 3; gaps++) {
            for (size_t leaf = 0; leaf < 16; leaf++)
                present[leaf] = gaps == 0 || leaf % 5 == 4 || (gaps == 2 && leaf % 3 == 0);
            struct batch_sums alone = { .batches = batches, .present = present };
            sum_batches(NULL, &alone);
            assert_int_equal(alone.status, LDNQ_OK);
            for (size_t count = 2; count <= 19; count += count < 5 ? 1 : 7) {
                struct batch_sums sums[MOST_THREAD_RANKS];
                for (size_t rank = 0; rank < count; rank++)
                    sums[rank] = (struct batch_sums){ .batches = batches, .present = present };
                run_thread_ranks(count, sum_batches, sums, sizeof *sums);
                for (size_t rank = 0; rank < count; rank++) {
                    assert_int_equal(sums[rank].status, LDNQ_OK);
                    assert_memory_equal(sums[rank].gram, alone.gram, sizeof alone.gram);
                    assert_memory_equal(sums[rank].plain, alone.plain, sizeof alone.plain);
                }
            }
        }
}

static void sums_should_be_those_of_all_batches(void **state)
{
    (void)state;
    struct batch_sums tree = { .batches = MOST_BATCHES }, plain = { .batches = 0 };
    sum_batches(NULL, &tree);
    for (size_t batch = 0; batch < MOST_BATCHES; batch++)
        add_batch(&plain, batch);
    for (size_t e = 0; e < SQUARES; e++)
        assert_within(tree.gram[e], plain.gram[e], 1e-9 * (1 + plain.gram[e]));
    for (size_t e = 0; e < PLAIN; e++)
        assert_within(tree.plain[e], plain.plain[e], 1e-9 * (1 + plain.plain[e]));
}

static void batches_of_a_rank_should_be_whole_leaves(void **state)
{
    (void)state;
    for (size_t batches = 1; batches <= 60; batches++)
        for (size_t count = 1; count <= 18; count++) {
            const size_t leaves = ldnq_sum_leaves(batches);
            size_t end = 0;
            for (size_t rank = 0; rank < count; rank++) {
                const struct ldnq_ranks ranks = { .rank = rank, .count = count };
                const struct ldnq_rank_share own = ldnq_sum_batches(&ranks, batches, leaves);
                assert_int_equal(own.first, end);
                end = own.end;
                if (own.first < own.end)
                    assert_true(ldnq_sum_leaf_ends(own.end - 1, batches, leaves));
            }
            assert_int_equal(end, batches);
        }
}

static void failed_allocations_should_leave_nothing_behind(void **state)
{
    (void)state;
    for (long allowed = 0;; allowed++) {
        struct batch_sums sums = { .batches = 16 };
        ldnq_alloc_fail_after(allowed);
        sum_batches(NULL, &sums);
        ldnq_alloc_fail_after(-1);
        if (sums.status == LDNQ_OK)
            break;
        assert_int_equal(sums.status, LDNQ_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_ranks_should_have_the_same_sums),
        cmocka_unit_test(sums_should_be_those_of_all_batches),
        cmocka_unit_test(batches_of_a_rank_should_be_whole_leaves),
        cmocka_unit_test(failed_allocations_should_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
