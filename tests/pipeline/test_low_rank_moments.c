/* SPDX-License-Identifier: Apache-2.0 */
/* Moments of a large layer: without matrices where its positions are few, and with the bits that
 * the matrices have always had where later calls have more positions than the first one said. */
#include "thread_ranks.h" /* before graph_build.h, whose err it would shadow */

#include "graph_build.h"
#include "with_blas.h"

#include <string.h>

#include "base/pool.h"
#include "pipeline/layer_moments.h"

#define K ((size_t)1536)
#define M ((size_t)3)
#define CALLS ((size_t)6)

/* A product of K inputs and M outputs, called with inputs of both networks. */
struct large_layer {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    struct ldnq_layer_geometry geometry;
    const struct ldnq_tensor *weight;
    struct ldnq_layer_moments moments;
};

static void make_layer(struct large_layer *layer, bool takes_low_rank, struct ldnq_pool *pool)
{
    static const bool present[CALLS] = { true, true, true, true, true, true };
    *layer = (struct large_layer){ .graph = build_graph(),
                                   .geometry = { .groups = 1, .rows = M, .cols = K } };
    struct ldnq_value *x = build_input(layer->graph, "x", SHAPE(1, (int64_t)K));
    struct ldnq_value *w = build_weight(layer->graph, "w", SHAPE((int64_t)K, (int64_t)M), 1);
    struct ldnq_value *out = NODE(layer->graph, "MatMul", "c", x, w);
    assert_ok(ldnq_ops_bind(layer->graph, &err));
    layer->node = out->producer;
    layer->weight = w->constant;
    const struct ldnq_layer_moments_parts parts = { .compensates = true,
                                                    .holds_out = true,
                                                    .calls = CALLS,
                                                    .leaves = 3,
                                                    .has_fitted = present,
                                                    .has_held_out = present,
                                                    .takes_low_rank = takes_low_rank,
                                                    .has_bias = true };
    assert_ok(ldnq_layer_moments_init(&layer->moments, &layer->geometry, w->constant->data, parts,
                                      pool, layer->graph->arena, &err));
}

static void add_call(struct large_layer *layer, size_t number, size_t positions)
{
    struct ldnq_op_call calls[2];
    const struct ldnq_tensor *in[2][2];
    struct ldnq_tensor out[2];
    for (size_t i = 0; i < 2; i++) {
        in[i][0] = build_tensor(layer->graph->arena, SHAPE((int64_t)positions, (int64_t)K),
                                10 * number + i);
        in[i][1] = layer->weight;
        calls[i] = (struct ldnq_op_call){ .node = layer->node,
                                          .attrs = layer->node->op_attrs,
                                          .in_count = 2,
                                          .out_count = 1,
                                          .in = in[i],
                                          .out = &out[i] };
        assert_ok(ldnq_ops_infer_shape(&calls[i], &err));
    }
    const struct ldnq_layer_moments_call call = { .op = layer->node->op->layer,
                                                  .quantized = &calls[0],
                                                  .exact = &calls[1],
                                                  .number = number,
                                                  .held_out = number % 3 == 1 };
    assert_ok(ldnq_layer_moments_add(&layer->moments, &call, &err));
    if (number % 2)
        assert_ok(ldnq_layer_moments_end_leaf(&layer->moments, number / 2, &err));
}

/* The last call has `last` positions, the others 20. */
static void fill_layer(struct large_layer *layer, bool takes_low_rank, size_t last)
{
    make_layer(layer, takes_low_rank, NULL);
    for (size_t i = 0; i < CALLS; i++)
        add_call(layer, i, i + 1 < CALLS ? 20 : last);
    assert_ok(ldnq_layer_moments_finish_sums(&layer->moments, &err));
    assert_ok(ldnq_layer_moments_find_positions(&layer->moments, &err));
}

static void free_large_layer(struct large_layer *layer)
{
    ldnq_layer_moments_release(&layer->moments);
    build_free(layer->graph);
}

static void few_positions_should_need_no_matrix(void **state)
{
    (void)state;
    struct large_layer low, whole;
    fill_layer(&low, true, 17);
    fill_layer(&whole, false, 17);
    const struct ldnq_layer_moments *m = &low.moments;
    assert_true(m->is_low_rank);
    assert_null(m->statistics.gram);
    assert_null(m->held_out_statistics.gram);
    assert_null(m->compensation.cross);
    assert_int_equal(m->low_rank.gram.count, 77);
    assert_int_equal(m->held_out_low_rank.gram.count, 40);
    const struct ldnq_statistics *s = &whole.moments.statistics;
    for (size_t i = 0; i < K; i += 97) {
        const double mean = s->mean[i] / 77;
        const double variance = s->gram[i * (K + 1)] / 77 - mean * mean;
        assert_true(m->statistics.mean[i] == s->mean[i]);
        assert_within(m->low_rank.diagonal[i], variance, 1e-5 * variance);
    }
    free_large_layer(&low);
    free_large_layer(&whole);
}

/* The bits of sums that had matrices from the first call on. */
static void more_positions_than_expected_should_have_matrices(void **state)
{
    (void)state;
    struct large_layer low, whole;
    fill_layer(&low, true, 600);
    fill_layer(&whole, false, 600);
    const struct ldnq_layer_moments *a = &low.moments, *b = &whole.moments;
    assert_false(a->is_low_rank);
    assert_int_equal(a->statistics.positions, b->statistics.positions);
    assert_int_equal(a->all_positions, b->all_positions);
    assert_memory_equal(a->statistics.gram, b->statistics.gram, K * K * sizeof(double));
    assert_memory_equal(a->held_out_statistics.gram, b->held_out_statistics.gram,
                        K * K * sizeof(double));
    assert_memory_equal(a->statistics.mean, b->statistics.mean, K * sizeof(double));
    assert_memory_equal(a->compensation.cross, b->compensation.cross, M * K * sizeof(double));
    assert_memory_equal(a->held_out_compensation.cross, b->held_out_compensation.cross,
                        M * K * sizeof(double));
    assert_memory_equal(a->compensation.power, b->compensation.power, M * sizeof(double));
    assert_memory_equal(a->compensation.shift, b->compensation.shift, M * sizeof(double));
    free_large_layer(&low);
    free_large_layer(&whole);
}

struct rank_layer {
    struct large_layer layer;
    struct ldnq_pool *pool;
};

/* A rank adds the calls of its leaves, two of each. */
static void fill_rank_layer(struct ldnq_ranks *ranks, void *ctx)
{
    struct rank_layer *own = ctx;
    const struct ldnq_rank_share leaves = ldnq_ranks_own_share(ranks, CALLS / 2);
    assert_ok(ldnq_pool_create(1, &own->pool, &err));
    ldnq_pool_join_ranks(own->pool, ranks);
    make_layer(&own->layer, true, own->pool);
    for (size_t i = 2 * leaves.first; i < 2 * leaves.end; i++)
        add_call(&own->layer, i, i + 1 < CALLS ? 20 : 17);
    assert_ok(ldnq_layer_moments_finish_sums(&own->layer.moments, &err));
    assert_ok(ldnq_layer_moments_find_positions(&own->layer.moments, &err));
}

static void any_number_of_ranks_should_have_the_same_bits(void **state)
{
    (void)state;
    struct large_layer alone;
    struct rank_layer ranks[2];
    fill_layer(&alone, true, 17);
    run_thread_ranks(2, fill_rank_layer, ranks, sizeof *ranks);
    for (size_t i = 0; i < 2; i++) {
        const struct ldnq_layer_moments *a = &alone.moments, *b = &ranks[i].layer.moments;
        assert_true(b->is_low_rank);
        assert_null(b->statistics.gram);
        assert_int_equal(b->low_rank.gram.count, 77);
        assert_memory_equal(a->low_rank.gram.columns, b->low_rank.gram.columns,
                            K * 77 * sizeof(float));
        assert_memory_equal(a->held_out_low_rank.gram.columns, b->held_out_low_rank.gram.columns,
                            K * 40 * sizeof(float));
        assert_memory_equal(a->low_rank.diagonal, b->low_rank.diagonal, K * sizeof(double));
        assert_memory_equal(a->statistics.mean, b->statistics.mean, K * sizeof(double));
        assert_memory_equal(a->compensation.power, b->compensation.power, M * sizeof(double));
        free_large_layer(&ranks[i].layer);
        ldnq_pool_destroy(ranks[i].pool);
    }
    free_large_layer(&alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_positions_should_need_no_matrix),
        cmocka_unit_test(more_positions_than_expected_should_have_matrices),
        cmocka_unit_test(any_number_of_ranks_should_have_the_same_bits),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
