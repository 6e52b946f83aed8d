/* SPDX-License-Identifier: Apache-2.0 */
/* Mean and power of a layer's columns from sums over samples, against the Gram matrix. */
#include "graph_build.h"
#include "with_blas.h"

#include <math.h>

#include "pipeline/input_means.h"
#include "pipeline/statistics.h"

struct network {
    struct ldnq_graph *graph;
    struct ldnq_quantized_network network;
    struct ldnq_value *x;
};

static struct network make_network(struct ldnq_graph *graph, struct ldnq_value *x,
                                   struct ldnq_value *y)
{
    struct network n = { .graph = graph, .x = x };
    struct ldnq_layer *layers;
    size_t count;
    build_output(graph, y);
    assert_ok(ldnq_ops_bind(graph, &err));
    assert_ok(ldnq_layers_list(graph, graph->arena, &layers, &count, &err));
    assert_int_equal(count, 1);
    assert_null(layers[0].refusal);
    n.network.count = 1;
    n.network.layers = ldnq_arena_alloc(graph->arena, 1, sizeof *n.network.layers, &err);
    n.network.layers[0].layer = layers[0];
    return n;
}

/* Samples first .. first+count-1 of a tensor. */
static struct ldnq_tensor part_of(const struct ldnq_tensor *all, size_t first, size_t count)
{
    struct ldnq_tensor part = *all;
    part.shape.dim[0] = (int64_t)count;
    part.data = (float *)all->data + first * (ldnq_tensor_count(all) / (size_t)all->shape.dim[0]);
    return part;
}

static void compute_statistics(const struct network *n, const struct ldnq_tensor *samples,
                               struct ldnq_statistics *s)
{
    const struct ldnq_layer *layer = &n->network.layers[0].layer;
    const struct ldnq_tensor *in[2] = { samples, layer->weight };
    struct ldnq_tensor out = { 0 };
    struct ldnq_op_call call = { .node = layer->node,
                                 .attrs = layer->node->op_attrs,
                                 .in_count = 2,
                                 .out_count = 1,
                                 .in = in,
                                 .out = &out };
    assert_ok(ldnq_ops_infer_shape(&call, &err));
    const struct ldnq_position_sampling all =
        ldnq_sample_positions(layer->op, layer->op->count_positions(&call), 0, 0);
    assert_ok(ldnq_statistics_init(s, &layer->geometry, NULL, n->graph->arena, &err));
    ldnq_statistics_add(s, &call, &all);
    ldnq_statistics_finish(s);
}

static void assert_same_moments(struct network *n, const struct ldnq_tensor *samples, size_t cut)
{
    const size_t count = (size_t)samples->shape.dim[0];
    struct ldnq_statistics s;
    struct ldnq_input_means *means;
    struct ldnq_column_moments moments;
    compute_statistics(n, samples, &s);
    assert_ok(ldnq_input_means_create(&n->network.layers[0].layer, 1, n->graph, NULL,
                                      n->graph->arena, &means, &err));
    for (size_t first = 0; first < count; first += cut) {
        const size_t part = first + cut < count ? cut : count - first;
        const struct ldnq_tensor batch = part_of(samples, first, part);
        assert_ok(ldnq_input_means_add(means, n->x, &batch, &err));
    }
    assert_ok(ldnq_input_means_columns(means, 0, &n->network.layers[0].layer, n->graph,
                                       n->graph->arena, &moments, &err));
    assert_int_equal(moments.positions, s.positions);
    const size_t k = s.geometry.cols;
    for (size_t g = 0; g < s.geometry.groups; g++)
        for (size_t i = 0; i < k; i++) {
            const double mean = s.mean[g * k + i], power = s.gram[(g * k + i) * k + i];
            assert_true(fabs(moments.mean[g * k + i] - mean) < 1e-5);
            assert_true(fabs(moments.diagonal[g * k + i] - power) < 1e-5);
        }
}

static void moments_of_a_convolution_should_be_those_of_its_columns(void **state)
{
    (void)state;
    static const int64_t pads[] = { 1, 0, 2, 1 }, strides[] = { 2, 1 };
    for (int64_t groups = 1; groups <= 6; groups *= 3) {
        struct ldnq_graph *graph = build_graph();
        struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 6, 13, 17));
        struct ldnq_value *w = build_weight(graph, "w", SHAPE(6, 6 / groups, 3, 2), 1);
        struct ldnq_value *y = NODE(graph, "Conv", "c", x, w);
        build_attr(y, "group", groups);
        build_attr_ints(y, "pads", 4, pads);
        build_attr_ints(y, "strides", 2, strides);
        struct network n = make_network(graph, x, y);
        assert_same_moments(&n, build_tensor(graph->arena, SHAPE(19, 6, 13, 17), 5), 8);
        build_free(graph);
    }
}

static void moments_of_a_product_should_not_depend_on_the_batches(void **state)
{
    (void)state;
    for (size_t cut = 1; cut <= 19; cut += 6) {
        struct ldnq_graph *graph = build_graph();
        struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 7, 12));
        struct ldnq_value *w = build_weight(graph, "w", SHAPE(12, 5), 1);
        struct network n = make_network(graph, x, NODE(graph, "MatMul", "m", x, w));
        assert_same_moments(&n, build_tensor(graph->arena, SHAPE(19, 7, 12), 5), cut);
        build_free(graph);
    }
}

/* With a bias, which takes the mean, the variance counts; a factor of the product too. */
static void a_bias_should_leave_the_variance(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 3));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(3, 4), 1);
    struct ldnq_value *b = build_weight(graph, "b", SHAPE(4), 2);
    struct ldnq_value *y = NODE(graph, "Gemm", "g", x, w, b);
    build_attr_float(y, "alpha", 2);
    struct network n = make_network(graph, x, y);
    struct ldnq_input_means *means;
    struct ldnq_column_moments moments;
    struct ldnq_tensor *samples = build_tensor(graph->arena, SHAPE(2, 3), 5);
    const float values[] = { 1, 0, -3, 3, 0, 5 };
    memcpy(samples->data, values, sizeof values);
    assert_ok(ldnq_input_means_create(&n.network.layers[0].layer, 1, graph, NULL, graph->arena,
                                      &means, &err));
    assert_ok(ldnq_input_means_add(means, x, samples, &err));
    assert_ok(ldnq_input_means_columns(means, 0, &n.network.layers[0].layer, graph, graph->arena,
                                       &moments, &err));
    const double mean[] = { 4, 0, 2 }, variance[] = { 4, 0, 64 };
    for (size_t i = 0; i < 3; i++) {
        assert_true(fabs(moments.mean[i] - mean[i]) < 1e-5);
        assert_true(fabs(moments.diagonal[i] - variance[i]) < 1e-4);
    }
    build_free(graph);
}

static void a_layer_without_samples_should_have_no_positions(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 3));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(3, 4), 1);
    struct network n = make_network(graph, x, NODE(graph, "MatMul", "m", x, w));
    struct ldnq_input_means *means;
    struct ldnq_column_moments moments;
    bool visited[8] = { false };
    assert_ok(ldnq_input_means_create(&n.network.layers[0].layer, 1, graph, NULL, graph->arena,
                                      &means, &err));
    ldnq_input_means_mark(means, visited);
    assert_true(visited[x->index]);
    assert_ok(ldnq_input_means_columns(means, 0, &n.network.layers[0].layer, graph, graph->arena,
                                       &moments, &err));
    assert_int_equal(moments.positions, 0);
    build_free(graph);
}

/* ---- sampled positions -------------------------------------------------------------------- */

static void sampled_positions_should_be_spread_evenly(void **state)
{
    (void)state;
    const struct ldnq_position_sampling s = ldnq_sample_positions(NULL, 1000, 100, 3);
    bool seen[1000] = { false };
    size_t quarters[4] = { 0 };
    assert_int_equal(s.count, 112); /* whole runs */
    for (size_t p = 0; p < s.count; p++) {
        const size_t at = s.offset + p / s.run * s.stride + p % s.run;
        assert_true(at < 1000);
        assert_false(seen[at]);
        seen[at] = true;
        quarters[at / 250]++;
    }
    for (size_t i = 0; i < 4; i++)
        assert_true(quarters[i] >= 16 && quarters[i] <= 48);
    assert_int_equal(ldnq_sample_positions(NULL, 1000, 0, 3).count, 1000);
    assert_int_equal(ldnq_sample_positions(NULL, 90, 100, 3).count, 90);
    for (size_t call = 0; call < 200; call++) { /* the last run ends within the call */
        const struct ldnq_position_sampling each = ldnq_sample_positions(NULL, 333, 160, call);
        assert_true(each.offset + (each.count / each.run - 1) * each.stride + each.run <= 333);
    }
}

static void sampled_columns_should_be_the_columns_at_their_positions(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 9, 9));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(1, 2, 3, 3), 1);
    struct network n = make_network(graph, x, NODE(graph, "Conv", "c", x, w));
    const struct ldnq_tensor *in[2] = { build_tensor(graph->arena, SHAPE(4, 2, 9, 9), 5),
                                        w->constant };
    struct ldnq_tensor out = { 0 };
    struct ldnq_op_call call = { .node = n.network.layers[0].layer.node,
                                 .attrs = n.network.layers[0].layer.node->op_attrs,
                                 .in_count = 2,
                                 .out_count = 1,
                                 .in = in,
                                 .out = &out };
    assert_ok(ldnq_ops_infer_shape(&call, &err));
    const struct ldnq_position_sampling s =
        ldnq_sample_positions(call.node->op->layer, 4 * 49, 64, 1);
    static float all[18 * 196], some[18 * 64];
    call.node->op->layer->fill_columns(&call, 0, 0, 196, all, 196);
    assert_int_equal(s.count, 64);
    ldnq_read_sampled_columns(&call, 0, &s, 0, 21, some, 64);
    ldnq_read_sampled_columns(&call, 0, &s, 21, 43, some + 21, 64);
    for (size_t k = 0; k < 18; k++)
        for (size_t p = 0; p < 64; p++)
            assert_true(some[k * 64 + p] ==
                        all[k * 196 + s.offset + p / s.run * s.stride + p % s.run]);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_of_a_convolution_should_be_those_of_its_columns),
        cmocka_unit_test(moments_of_a_product_should_not_depend_on_the_batches),
        cmocka_unit_test(a_bias_should_leave_the_variance),
        cmocka_unit_test(a_layer_without_samples_should_have_no_positions),
        cmocka_unit_test(sampled_positions_should_be_spread_evenly),
        cmocka_unit_test(sampled_columns_should_be_the_columns_at_their_positions),
    };
    return cmocka_run_group_tests_name("input means", tests, acquire_blas, release_blas);
}
