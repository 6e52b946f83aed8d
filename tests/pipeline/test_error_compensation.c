/* SPDX-License-Identifier: Apache-2.0 */
/* Error compensation against plain loops, and its strength from held-out samples. */
#include "graph_build.h"
#include "with_blas.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "pipeline/layer_moments.h"

#define SAMPLES 5

/* A convolution of groups * 4 outputs, called with two inputs at the same positions. */
struct pair {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    const struct ldnq_tensor *in[2][2];
    struct ldnq_tensor out[2];
    struct ldnq_op_call quantized, exact;
    const float *weight;
    struct ldnq_layer_geometry geometry;
};

static void infer(struct pair *pair, size_t which, struct ldnq_op_call *call)
{
    *call = (struct ldnq_op_call){
        .node = pair->node,
        .attrs = pair->node->op_attrs,
        .in_count = 2,
        .out_count = 1,
        .in = pair->in[which],
        .out = &pair->out[which],
    };
    assert_ok(ldnq_ops_infer_shape(call, &err));
}

/* y = y^ + `difference` * noise, the noise in part made of y^ so that it can be compensated. */
static void pair_make(struct pair *pair, int64_t groups, int64_t batch, float difference,
                      uint64_t seed)
{
    *pair = (struct pair){
        .graph = build_graph(),
        .geometry = { .groups = (size_t)groups, .rows = 4, .cols = (size_t)(6 / groups * 4) }
    };
    struct ldnq_value *x = build_input(pair->graph, "x", SHAPE(batch, 6, 9, 9));
    struct ldnq_value *w = build_weight(pair->graph, "w", SHAPE(4 * groups, 6 / groups, 2, 2), 1);
    struct ldnq_value *out = NODE(pair->graph, "Conv", "c", x, w);
    build_attr(out, "group", groups);
    assert_ok(ldnq_ops_bind(pair->graph, &err));
    pair->node = out->producer;
    pair->weight = w->constant->data;
    struct ldnq_tensor *near = build_tensor(pair->graph->arena, x->shape, seed);
    struct ldnq_tensor *noise = build_tensor(pair->graph->arena, x->shape, seed + 1);
    float *y = noise->data;
    const float *from = near->data;
    for (size_t i = 0; i < ldnq_tensor_count(near); i++)
        y[i] = from[i] + difference * (from[i] + 0.2f + 0.3f * y[i]);
    pair->in[0][0] = near;
    pair->in[1][0] = noise;
    pair->in[0][1] = pair->in[1][1] = w->constant;
    infer(pair, 0, &pair->quantized);
    infer(pair, 1, &pair->exact);
}

static void moments_make_as(struct ldnq_layer_moments *m, const struct pair *pair,
                            struct ldnq_pool *pool, bool uses_input)
{
    const struct ldnq_layer_moments_parts parts = { .compensates = true,
                                                    .holds_out = true,
                                                    .uses_input = uses_input };
    assert_ok(ldnq_layer_moments_init(m, &pair->geometry, pair->weight, parts, pool,
                                      pair->graph->arena, &err));
}

static void moments_make(struct ldnq_layer_moments *m, const struct pair *pair,
                         struct ldnq_pool *pool)
{
    moments_make_as(m, pair, pool, false);
}

static void add(struct ldnq_layer_moments *m, bool holds_out, const struct pair *pair)
{
    const struct ldnq_layer_moments_call call = { .op = pair->node->op->layer,
                                                  .quantized = &pair->quantized,
                                                  .exact = &pair->exact,
                                                  .held_out = holds_out };
    assert_ok(ldnq_layer_moments_add(m, &call, &err));
}

/* ---- by plain loops ---------------------------------------------------------------------- */

struct plain {
    size_t count, k, m;
    float *near, *exact; /* (K, count) columns of a group */
    double *mean, *gram; /* of y^: (K), (K, K), centred */
    double *cross, *shift;
};

static void *room(const struct pair *pair, size_t count, size_t size)
{
    void *memory = ldnq_arena_alloc(pair->graph->arena, count, size, &err);
    assert_non_null(memory);
    return memory;
}

static struct plain plain_make(const struct pair *pair, size_t group)
{
    const struct ldnq_op_layer *layer = pair->node->op->layer;
    const size_t n = layer->count_positions(&pair->quantized), k = pair->geometry.cols,
                 m = pair->geometry.rows;
    struct plain p = { n,
                       k,
                       m,
                       room(pair, k * n, 4),
                       room(pair, k * n, 4),
                       room(pair, k, 8),
                       room(pair, k * k, 8),
                       room(pair, m * k, 8),
                       room(pair, m, 8) };
    layer->fill_columns(&pair->quantized, group, 0, n, p.near, n);
    layer->fill_columns(&pair->exact, group, 0, n, p.exact, n);
    for (size_t i = 0; i < k * n; i++)
        p.mean[i / n] += (double)p.near[i] / (double)n;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            for (size_t at = 0; at < n; at++)
                p.gram[i * k + j] += ((double)p.near[i * n + at] - p.mean[i]) *
                                     ((double)p.near[j * n + at] - p.mean[j]) / (double)n;
    for (size_t r = 0; r < m; r++)
        for (size_t at = 0; at < n; at++) {
            double apart = 0;
            for (size_t i = 0; i < k; i++)
                apart += (double)pair->weight[(group * m + r) * k + i] *
                         ((double)p.exact[i * n + at] - (double)p.near[i * n + at]);
            p.shift[r] += apart / (double)n;
            for (size_t i = 0; i < k; i++)
                p.cross[r * k + i] += apart * ((double)p.near[i * n + at] - p.mean[i]) / (double)n;
        }
    return p;
}

/* Whether step (C + 0.01 tr(C)/K) = cross, to the rounding of float products. */
static void assert_solves(const struct plain *p, const double *step)
{
    double trace = 0;
    for (size_t i = 0; i < p->k; i++)
        trace += p->gram[i * p->k + i];
    for (size_t r = 0; r < p->m; r++)
        for (size_t i = 0; i < p->k; i++) {
            double sum = 0.01 * trace / (double)p->k * step[r * p->k + i];
            for (size_t j = 0; j < p->k; j++)
                sum += step[r * p->k + j] * p->gram[j * p->k + i];
            assert_true(fabs(sum - p->cross[r * p->k + i]) < 1e-5);
        }
}

static void the_target_should_be_that_of_plain_loops(void **state)
{
    (void)state;
    static const struct {
        int64_t groups;
        bool uses_input;
    } cases[] = { { 1, false }, { 1, true }, { 3, false } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct pair pair;
        struct ldnq_layer_moments m;
        pair_make(&pair, cases[c].groups, SAMPLES, 0.3f, 11);
        moments_make_as(&m, &pair, NULL, cases[c].uses_input);
        const size_t rows = pair.geometry.groups * pair.geometry.rows, k = pair.geometry.cols;
        float *weight = room(&pair, rows * k, 4), *bias = room(&pair, rows, 4);
        double *step = room(&pair, pair.geometry.rows * k, 8);
        add(&m, false, &pair);
        assert_ok(ldnq_layer_moments_finish_calls(&m, &err));
        ldnq_layer_moments_merge(&m);
        memcpy(weight, pair.weight, rows * k * sizeof *weight);
        assert_ok(
            ldnq_compensation_apply(&m.compensation, &m.statistics, 0.5, 0.01, weight, bias, &err));
        for (size_t g = 0; g < pair.geometry.groups; g++) {
            const struct plain p = plain_make(&pair, g);
            for (size_t i = 0; i < p.m * k; i++)
                step[i] =
                    2 * ((double)weight[g * p.m * k + i] - (double)pair.weight[g * p.m * k + i]);
            assert_solves(&p, step);
            for (size_t r = 0; r < p.m; r++) {
                double moved = 0;
                for (size_t i = 0; i < k; i++)
                    moved += step[r * k + i] * p.mean[i];
                assert_true(fabs((double)bias[g * p.m + r] - 0.5 * (p.shift[r] - moved)) < 1e-5);
            }
        }
        build_free(pair.graph);
    }
}

/* ---- lambda ------------------------------------------------------------------------------- */

static struct ldnq_compensation_strength strength_of(float held_apart, struct ldnq_pool *pool)
{
    struct pair fit, held;
    struct ldnq_layer_moments m;
    struct ldnq_compensation_strength strength;
    pair_make(&fit, 1, SAMPLES, 0.3f, 21);
    pair_make(&held, 1, SAMPLES, held_apart, 31);
    moments_make(&m, &fit, pool);
    add(&m, false, &fit);
    add(&m, true, &held);
    assert_ok(ldnq_layer_moments_choose_strength(&m, true, &strength, &err));
    ldnq_layer_moments_merge(&m);
    build_free(fit.graph);
    build_free(held.graph);
    return strength;
}

static void lambda_should_have_the_least_held_out_error(void **state)
{
    (void)state;
    assert_true(strength_of(0.3f, NULL).lambda > 0.9);
    const double half = strength_of(0.15f, NULL).lambda;
    assert_true(half > 0.4 && half < 0.6);
    assert_true(strength_of(0, NULL).lambda == 0 && strength_of(-0.3f, NULL).lambda == 0);
    assert_true(strength_of(3, NULL).lambda == 1);
}

/* Where the held-out error is like the fitted one next to nothing is left; where it is
 * another, all of it. */
static void the_remaining_held_out_error_should_be_reported(void **state)
{
    (void)state;
    assert_true(strength_of(0.3f, NULL).remaining_error < 0.1);
    assert_true(strength_of(-0.3f, NULL).remaining_error == 1);
    assert_true(strength_of(3, NULL).remaining_error > 0.5 &&
                strength_of(3, NULL).remaining_error < 1);
    assert_true(isnan(strength_of(0, NULL).remaining_error));
}

/* Both parts have errors, of which half can be compensated. */
static struct ldnq_compensation_strength strength_as(bool uses_input, bool centred,
                                                     struct ldnq_pool *pool, double *power)
{
    struct pair fit, held;
    struct ldnq_layer_moments m;
    struct ldnq_compensation_strength strength;
    pair_make(&fit, 1, SAMPLES, 0.3f, 21);
    pair_make(&held, 1, SAMPLES, 0.15f, 31);
    moments_make_as(&m, &fit, pool, uses_input);
    add(&m, false, &fit);
    add(&m, true, &held);
    assert_ok(ldnq_layer_moments_finish_calls(&m, &err));
    assert_ok(ldnq_layer_moments_choose_strength(&m, centred, &strength, &err));
    const struct ldnq_compensation *c = &m.held_out_compensation;
    *power = c->total_power;
    for (size_t i = 0; c->power && i < 4; i++)
        *power += c->power[i];
    if (uses_input)
        assert_ok(ldnq_compensation_find_cross(&m.held_out_compensation, fit.graph->arena, &err));
    for (size_t i = 0; i < c->geometry.rows * c->geometry.cols; i++)
        *power += fabs(c->cross[i]); /* so that both forms have the same */
    ldnq_layer_moments_release(&m);
    build_free(fit.graph);
    build_free(held.graph);
    return strength;
}

static void moments_of_the_input_should_say_what_those_of_rows_say(void **state)
{
    (void)state;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    for (int centred = 0; centred < 2; centred++) {
        double power, power_of_input, power_of_threads;
        const struct ldnq_compensation_strength rows = strength_as(false, centred, NULL, &power);
        const struct ldnq_compensation_strength input =
            strength_as(true, centred, NULL, &power_of_input);
        const struct ldnq_compensation_strength threads =
            strength_as(true, centred, pool, &power_of_threads);
        assert_true(rows.lambda > 0.1 && rows.lambda < 1);
        assert_true(fabs(input.lambda - rows.lambda) < 1e-5);
        assert_true(input.damping == rows.damping);
        assert_true(fabs(input.remaining_error - rows.remaining_error) < 1e-5);
        assert_true(fabs(power_of_input - power) < 1e-5 * power);
        assert_true(threads.lambda == input.lambda && power_of_threads == power_of_input);
    }
    ldnq_pool_destroy(pool);
}

static void any_number_of_threads_should_give_the_same_lambda(void **state)
{
    (void)state;
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(3, &pool, &err));
    assert_true(strength_of(0.15f, pool).lambda == strength_of(0.15f, NULL).lambda);
    ldnq_pool_destroy(pool);
}

static void without_held_out_samples_nothing_should_be_compensated(void **state)
{
    (void)state;
    struct pair pair;
    struct ldnq_layer_moments m;
    struct ldnq_compensation_strength strength = { .lambda = 1 };
    pair_make(&pair, 1, SAMPLES, 0.3f, 11);
    moments_make(&m, &pair, NULL);
    add(&m, false, &pair);
    assert_ok(ldnq_layer_moments_choose_strength(&m, true, &strength, &err));
    assert_true(strength.lambda == 0 && isnan(strength.remaining_error));
    ldnq_layer_moments_release(&m);
    build_free(pair.graph);
}

/* As in the first layer: trying dampings would factor C, which takes K^3 operations. */
static void an_input_without_error_should_cost_no_factorization(void **state)
{
    (void)state;
    const float differences[] = { 0, 0.3f };
    for (size_t i = 0; i < 2; i++) {
        struct pair pair;
        struct ldnq_layer_moments m;
        struct ldnq_compensation_strength strength;
        pair_make(&pair, 1, SAMPLES, differences[i], 51);
        moments_make(&m, &pair, NULL);
        add(&m, false, &pair);
        add(&m, true, &pair);
        ldnq_alloc_fail_after(-1);
        assert_ok(ldnq_layer_moments_choose_strength(&m, true, &strength, &err));
        assert_true((ldnq_alloc_count() == 0) == (differences[i] == 0));
        assert_true((strength.lambda == 0) == (differences[i] == 0));
        assert_true(isnan(strength.remaining_error) == (differences[i] == 0));
        ldnq_layer_moments_release(&m);
        build_free(pair.graph);
    }
}

/* What was held out takes part in the end. */
static void joined_parts_should_be_all_of_the_sums(void **state)
{
    (void)state;
    struct pair pair;
    struct ldnq_layer_moments parts, whole;
    pair_make(&pair, 3, SAMPLES, 0.3f, 41);
    moments_make(&parts, &pair, NULL);
    moments_make(&whole, &pair, NULL);
    for (int i = 0; i < 3; i++) {
        add(&parts, i == 1, &pair);
        add(&whole, false, &pair);
    }
    ldnq_layer_moments_merge(&parts);
    ldnq_layer_moments_merge(&whole);
    assert_true(parts.statistics.positions == whole.statistics.positions);
    for (size_t i = 0; i < 3 * 8; i++)
        assert_true(fabs(parts.statistics.mean[i] - whole.statistics.mean[i]) <
                    1e-9 * fabs(whole.statistics.mean[i]));
    for (size_t i = 0; i < 12; i++)
        assert_true(fabs(parts.compensation.shift[i] - whole.compensation.shift[i]) <
                    1e-9 * fabs(whole.compensation.shift[i]));
    build_free(pair.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_should_be_that_of_plain_loops),
        cmocka_unit_test(lambda_should_have_the_least_held_out_error),
        cmocka_unit_test(the_remaining_held_out_error_should_be_reported),
        cmocka_unit_test(moments_of_the_input_should_say_what_those_of_rows_say),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_lambda),
        cmocka_unit_test(without_held_out_samples_nothing_should_be_compensated),
        cmocka_unit_test(an_input_without_error_should_cost_no_factorization),
        cmocka_unit_test(joined_parts_should_be_all_of_the_sums),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
