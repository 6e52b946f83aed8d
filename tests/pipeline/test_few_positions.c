/* SPDX-License-Identifier: Apache-2.0 */
/* Error compensation by the products of positions against that by the products of columns. */
#include "graph_build.h"
#include "with_blas.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "pipeline/layer_moments.h"

/* More columns than the positions of all calls, and more rows than one chunk has. */
#define COLS 40
#define ROWS 70
#define PER_CALL 8
#define CALLS 4

struct layer_call {
    const struct ldnq_tensor *in[2][2];
    struct ldnq_tensor out[2];
    struct ldnq_op_call quantized, exact;
};

struct pointwise {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    const struct ldnq_tensor *weight;
    struct ldnq_shape input;
    struct ldnq_layer_geometry geometry;
};

static struct pointwise make_pointwise(void)
{
    struct pointwise p = { .graph = build_graph(),
                           .geometry = { .groups = 1, .rows = ROWS, .cols = COLS } };
    struct ldnq_value *x = build_input(p.graph, "x", SHAPE(PER_CALL / 4, COLS, 2, 2));
    struct ldnq_value *w = build_weight(p.graph, "w", SHAPE(ROWS, COLS, 1, 1), 1);
    p.node = NODE(p.graph, "Conv", "c", x, w)->producer;
    assert_ok(ldnq_ops_bind(p.graph, &err));
    p.weight = w->constant;
    p.input = x->shape;
    return p;
}

/* The float input is the other one, 1.3 times as loud and with noise. */
static void make_call(const struct pointwise *p, uint64_t seed, struct layer_call *call)
{
    struct ldnq_tensor *near = build_tensor(p->graph->arena, p->input, seed);
    struct ldnq_tensor *exact = build_tensor(p->graph->arena, p->input, seed + 100);
    float *y = exact->data;
    for (size_t i = 0; i < ldnq_tensor_count(near); i++)
        y[i] = 1.3f * ((const float *)near->data)[i] + 0.1f + 0.05f * y[i];
    *call = (struct layer_call){ .in = { { near, p->weight }, { exact, p->weight } } };
    for (size_t which = 0; which < 2; which++) {
        struct ldnq_op_call *made = which ? &call->exact : &call->quantized;
        *made = (struct ldnq_op_call){ .node = p->node,
                                       .attrs = p->node->op_attrs,
                                       .in_count = 2,
                                       .out_count = 1,
                                       .in = call->in[which],
                                       .out = &call->out[which] };
        assert_ok(ldnq_ops_infer_shape(made, &err));
    }
}

struct compensated {
    struct ldnq_compensation_strength strength;
    float weight[ROWS * COLS], bias[ROWS];
    bool stored;
};

/* `expected`: the calls that are announced; 0: none are, so that columns are solved for. */
static void compensate(size_t expected, bool centred, bool merges, struct ldnq_pool *pool,
                       struct compensated *out)
{
    struct pointwise p = make_pointwise();
    struct ldnq_layer_moments m;
    struct layer_call call;
    memset(out, 0, sizeof *out);
    const struct ldnq_layer_moments_parts parts = { .compensates = true,
                                                    .holds_out = true,
                                                    .calls = expected };
    assert_ok(ldnq_layer_moments_init(&m, &p.geometry, p.weight->data, parts, pool, p.graph->arena,
                                      &err));
    for (size_t i = 0; i < CALLS; i++) {
        make_call(&p, 10 + i, &call);
        const struct ldnq_layer_moments_call added = { .op = p.node->op->layer,
                                                       .quantized = &call.quantized,
                                                       .exact = &call.exact,
                                                       .held_out = i == 1 };
        assert_ok(ldnq_layer_moments_add(&m, &added, &err));
    }
    out->stored = ldnq_few_positions_hold_all(m.compensation.few, m.statistics.positions);
    assert_ok(ldnq_layer_moments_choose_strength(&m, centred, &out->strength, &err));
    if (merges)
        ldnq_layer_moments_merge(&m);
    assert_ok(ldnq_compensation_apply(&m.compensation, &m.statistics, out->strength.lambda,
                                      out->strength.damping, out->weight,
                                      centred ? out->bias : NULL, &err));
    ldnq_layer_moments_release(&m);
    build_free(p.graph);
}

static void assert_near(double found, double expected, double size)
{
    assert_true(fabs(found - expected) <= 1e-4 * size);
}

static void both_ways_should_give_the_same_target(void **state)
{
    (void)state;
    static struct compensated by_columns, by_positions;
    for (int i = 0; i < 4; i++) {
        compensate(0, i & 1, i & 2, NULL, &by_columns);
        compensate(CALLS, i & 1, i & 2, NULL, &by_positions);
        assert_true(by_positions.stored && !by_columns.stored);
        assert_true(by_columns.strength.lambda > 0.5);
        assert_true(by_positions.strength.damping == by_columns.strength.damping);
        assert_near(by_positions.strength.lambda, by_columns.strength.lambda, 1);
        assert_near(by_positions.strength.remaining_error, by_columns.strength.remaining_error, 1);
        double largest = 0;
        for (size_t j = 0; j < ROWS * COLS; j++)
            largest = fmax(largest, fabs((double)by_columns.weight[j]));
        assert_true(largest > 0.01);
        for (size_t j = 0; j < ROWS * COLS; j++)
            assert_near((double)by_positions.weight[j], (double)by_columns.weight[j], largest);
        for (size_t j = 0; j < ROWS; j++)
            assert_near((double)by_positions.bias[j], (double)by_columns.bias[j], 1);
    }
}

static void more_calls_than_expected_should_be_solved_by_columns(void **state)
{
    (void)state;
    static struct compensated by_columns, overrun;
    compensate(0, true, true, NULL, &by_columns);
    compensate(CALLS - 1, true, true, NULL, &overrun);
    assert_false(overrun.stored);
    assert_memory_equal(&overrun, &by_columns, sizeof overrun);
}

static void any_number_of_threads_should_give_the_same_target(void **state)
{
    (void)state;
    static struct compensated one, three;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    compensate(CALLS, true, true, NULL, &one);
    compensate(CALLS, true, true, pool, &three);
    assert_memory_equal(&one, &three, sizeof one);
    ldnq_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_should_give_the_same_target),
        cmocka_unit_test(more_calls_than_expected_should_be_solved_by_columns),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_target),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
