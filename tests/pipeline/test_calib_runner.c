/* SPDX-License-Identifier: Apache-2.0 */
/* The values that a layer gets do not depend on what the runner stores. */
#include "pipeline/network.h"

#include <string.h>

#include "pipeline/calib_runner.h"

/* ---- helpers ----------------------------------------------------------------------------- */

#define LAYERS 4

/* Narrow, twice four times as wide, and narrow again. */
static struct ldnq_graph *build_widening(void)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *a =
        NODE(graph, "Conv", "stem", x, build_weight(graph, "w1", SHAPE(4, 4, 1, 1), 1));
    struct ldnq_value *b =
        NODE(graph, "Conv", "widen", a, build_weight(graph, "w2", SHAPE(16, 4, 1, 1), 2));
    struct ldnq_value *c =
        NODE(graph, "Conv", "wide", b, build_weight(graph, "w3", SHAPE(16, 16, 1, 1), 3));
    build_output(
        graph, NODE(graph, "Conv", "narrow", c, build_weight(graph, "w4", SHAPE(4, 16, 1, 1), 4)));
    assert_ok(ldnq_passes_run(graph, &err));
    assert_int_equal(graph->node_count, LAYERS);
    return graph;
}

struct seen_inputs {
    const struct ldnq_graph *graph;
    size_t node;
    double sums[LAYERS];
};

static enum ldnq_status add_input(void *ctx, const struct ldnq_exec *exec, size_t batch,
                                  struct ldnq_error *failure)
{
    (void)failure;
    struct seen_inputs *seen = ctx;
    const struct ldnq_tensor *input =
        ldnq_exec_find_value(exec, seen->graph->nodes[seen->node]->inputs[0]);
    const float *values = input->data;
    for (size_t i = 0; i < ldnq_tensor_count(input); i++)
        seen->sums[seen->node] += (double)values[i] * (double)(1 + (i + batch) % 7);
    return LDNQ_OK;
}

/* Walks over the layers, and doubles the weight of each after it; returns what was spilled. */
static size_t walk(size_t max_bytes, struct seen_inputs *seen)
{
    struct ldnq_graph *graph = build_widening();
    struct ldnq_samples *samples = open_samples(graph);
    const struct ldnq_calib_runner_options options = { .samples = SAMPLES,
                                                       .copies = 1,
                                                       .max_bytes = max_bytes };
    struct ldnq_calib_runner runner;
    *seen = (struct seen_inputs){ .graph = graph };
    assert_ok(ldnq_calib_runner_init(&runner, graph, samples, &options, graph->arena, &err));
    for (; seen->node < LAYERS; seen->node++) {
        assert_ok(ldnq_calib_runner_advance(&runner, seen->node, add_input, seen, &err));
        const struct ldnq_tensor *weight = graph->nodes[seen->node]->inputs[1]->constant;
        for (size_t i = 0; i < ldnq_tensor_count(weight); i++)
            ((float *)weight->data)[i] *= 2;
    }
    const size_t spilled = ldnq_activation_store_spilled_bytes(runner.store);
    ldnq_calib_runner_finish(&runner);
    ldnq_samples_destroy(samples);
    build_free(graph);
    return spilled;
}

/* ---- tests ------------------------------------------------------------------------------- */

static void values_that_are_not_stored_should_be_computed_again_to_the_bit(void **state)
{
    (void)state;
    const size_t narrow = SAMPLES * (4 * 36 * sizeof(float) + 64);
    struct seen_inputs stored, again, spilled;
    assert_int_equal(walk(SIZE_MAX, &stored), 0);
    assert_int_equal(walk(narrow, &again), 0);
    assert_true(walk(narrow / 8, &spilled) > 0);
    for (size_t i = 0; i < LAYERS; i++) {
        assert_true(stored.sums[i] != 0);
        assert_true(again.sums[i] == stored.sums[i]);
        assert_true(spilled.sums[i] == stored.sums[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_that_are_not_stored_should_be_computed_again_to_the_bit),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
