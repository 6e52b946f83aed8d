/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of a layer's input, against plain loops in double. */
#include "graph_build.h"
#include "with_blas.h"

#include <math.h>

#include "ops/op_layer.h"
#include "pipeline/statistics.h"

struct layer_call {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    const struct ldnq_tensor *in[2];
    struct ldnq_tensor out;
    struct ldnq_op_call call;
};

static struct layer_call conv_call(int64_t groups, int64_t batch)
{
    static const int64_t pads[] = { 1, 0, 2, 1 }, strides[] = { 2, 1 };
    struct layer_call c = { .graph = build_graph() };
    struct ldnq_value *x = build_input(c.graph, "x", SHAPE(batch, 6, 13, 17));
    struct ldnq_value *w = build_weight(c.graph, "w", SHAPE(6, 6 / groups, 3, 2), 1);
    struct ldnq_value *y = NODE(c.graph, "Conv", "c", x, w);
    build_attr(y, "group", groups);
    build_attr_ints(y, "pads", 4, pads);
    build_attr_ints(y, "strides", 2, strides);
    assert_ok(ldnq_ops_bind(c.graph, &err));
    c.node = y->producer;
    c.in[0] = build_tensor(c.graph->arena, x->shape, 5);
    c.in[1] = w->constant;
    return c;
}

static void infer(struct layer_call *c)
{
    c->call = (struct ldnq_op_call){ .node = c->node,
                                     .attrs = c->node->op_attrs,
                                     .in_count = 2,
                                     .out_count = 1,
                                     .in = c->in,
                                     .out = &c->out };
    assert_ok(ldnq_ops_infer_shape(&c->call, &err));
}

/* All columns of a group at once, and their mean products. */
static void assert_matches_plain_loops(struct layer_call *c, const struct ldnq_statistics *s)
{
    const struct ldnq_op_layer *layer = c->node->op->layer;
    size_t count = layer->count_positions(&c->call), k = s->geometry.cols;
    float *columns = ldnq_arena_alloc(c->graph->arena, k * count, sizeof *columns, &err);
    assert_int_equal(s->positions, count);
    for (size_t g = 0; g < s->geometry.groups; g++) {
        layer->fill_columns(&c->call, g, 0, count, columns, count);
        for (size_t i = 0; i < k; i++) {
            double mean = 0;
            for (size_t p = 0; p < count; p++)
                mean += columns[i * count + p];
            assert_true(fabs(mean / (double)count - s->mean[g * k + i]) < 1e-6);
            for (size_t j = 0; j < k; j++) {
                double sum = 0;
                for (size_t p = 0; p < count; p++)
                    sum += (double)columns[i * count + p] * columns[j * count + p];
                assert_true(fabs(sum / (double)count - s->gram[(g * k + i) * k + j]) < 1e-6);
            }
        }
    }
}

static void add_all_positions(struct ldnq_statistics *s, const struct ldnq_op_call *call)
{
    const struct ldnq_position_sampling all = ldnq_sample_positions(
        call->node->op->layer, call->node->op->layer->count_positions(call), 0, 0);
    ldnq_statistics_add(s, call, &all);
}

static void statistics_should_be_the_mean_products_of_the_columns(void **state)
{
    (void)state;
    for (int64_t groups = 1; groups <= 6; groups++) {
        if (6 % groups)
            continue;
        struct layer_call c = conv_call(groups, 19);
        struct ldnq_statistics s;
        infer(&c);
        assert_ok(
            ldnq_statistics_init(&s,
                                 &(struct ldnq_layer_geometry){ .groups = (size_t)groups,
                                                                .cols = (size_t)(36 / groups) },
                                 NULL, c.graph->arena, &err));
        add_all_positions(&s, &c.call);
        ldnq_statistics_finish(&s);
        assert_matches_plain_loops(&c, &s);
        build_free(c.graph);
    }
}

static void statistics_should_not_depend_on_threads(void **state)
{
    (void)state;
    for (int64_t groups = 1; groups <= 2; groups++) {
        double first[36 * 36];
        for (size_t threads = 1; threads <= 4; threads++) {
            struct layer_call c = conv_call(groups, 19);
            struct ldnq_statistics s;
            struct ldnq_pool *pool;
            size_t k = (size_t)(36 / groups), bytes = (size_t)groups * k * k * sizeof(double);
            infer(&c);
            assert_ok(ldnq_pool_create(threads, &pool, &err));
            assert_ok(ldnq_statistics_init(
                &s, &(struct ldnq_layer_geometry){ .groups = (size_t)groups, .cols = k }, pool,
                c.graph->arena, &err));
            add_all_positions(&s, &c.call);
            ldnq_statistics_finish(&s);
            if (threads == 1)
                memcpy(first, s.gram, bytes);
            assert_memory_equal(first, s.gram, bytes);
            ldnq_pool_destroy(pool);
            build_free(c.graph);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_should_be_the_mean_products_of_the_columns),
        cmocka_unit_test(statistics_should_not_depend_on_threads),
    };
    return cmocka_run_group_tests_name("statistics", tests, acquire_blas, release_blas);
}
