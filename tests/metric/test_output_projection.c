/* SPDX-License-Identifier: Apache-2.0 */
/* Random projections of the outputs' Jacobian, on graphs whose Jacobian is known. */
#include "graph_build.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "linalg/blas.h"
#include "metric/output_projection.h"

#define SAMPLES 6
#define INPUTS 4

static char folder[64], path[96];

static int set_up(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    ldnq_blas_acquire();
    snprintf(folder, sizeof folder, "/tmp/ldnq-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/x.npy", folder);
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_npy_write(path, build_tensor(arena, SHAPE(SAMPLES, INPUTS), 5), &err));
    ldnq_arena_destroy(arena);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_blas_release();
    unlink(path);
    return rmdir(folder);
}

static struct ldnq_samples *open_samples(const struct ldnq_graph *graph)
{
    struct ldnq_samples *samples;
    struct ldnq_samples_options options = { 0 };
    ldnq_preprocess_defaults(&options.preprocess);
    assert_ok(ldnq_samples_open(path, graph, &options, &samples, &err));
    return samples;
}

struct seen_draws {
    const struct ldnq_graph *graph;
    struct ldnq_samples *samples;
    size_t count;
    double mean; /* of (u' J d)^2 */
    const float *change;
};

static const float *read_sample(const struct seen_draws *seen, struct ldnq_sample_batch *batch)
{
    assert_ok(ldnq_sample_batch_read(seen->samples, seen->count % SAMPLES, 1, NULL, batch, &err));
    return batch->inputs[0]->data;
}

/* y = x w: the gradient by w is u x, and u is 1 / sqrt(power) in size. */
static enum ldnq_status check_gradient(void *ctx, const struct ldnq_projection *projection,
                                       struct ldnq_error *error)
{
    (void)error;
    struct seen_draws *seen = ctx;
    struct ldnq_sample_batch batch;
    const float *x = read_sample(seen, &batch);
    const float *g = projection->gradients[0]->data;
    const double sign = (g[0] > 0) == (x[0] > 0) ? 1 : -1;
    for (size_t i = 0; i < INPUTS; i++)
        assert_true(fabs((double)g[i] - sign * (double)x[i] / 2) < 1e-6);
    ldnq_arena_destroy(batch.arena);
    seen->count++;
    return LDNQ_OK;
}

static void gradient_should_be_that_of_a_random_sign_of_the_right_size(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), INPUTS));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(INPUTS, 1), 1);
    build_output(graph, NODE(graph, "MatMul", "y", x, w));
    assert_ok(ldnq_passes_run(graph, &err));
    struct seen_draws seen = { .graph = graph, .samples = open_samples(graph) };
    const struct ldnq_value *values[] = { w };
    const double powers[] = { 4 };
    const struct ldnq_projection_options options = {
        .values = values, .value_count = 1, .powers = powers, .draws = 10, .seed = 3
    };
    assert_ok(ldnq_project_outputs(graph, seen.samples, &options, check_gradient, &seen, &err));
    assert_int_equal(seen.count, 10);
    ldnq_samples_destroy(seen.samples);
    build_free(graph);
}

#define HIDDEN 5
#define OUTPUTS 3

static enum ldnq_status add_square(void *ctx, const struct ldnq_projection *projection,
                                   struct ldnq_error *error)
{
    (void)error;
    struct seen_draws *seen = ctx;
    const float *g = projection->gradients[0]->data;
    double sum = 0;
    for (size_t i = 0; i < INPUTS * HIDDEN; i++)
        sum += (double)g[i] * (double)seen->change[i];
    seen->mean += sum * sum;
    seen->count++;
    return LDNQ_OK;
}

/* y = x V W and z = 2 y: the change of V by D changes y by x D W. */
static void squares_should_have_the_mean_relative_error_of_the_outputs(void **state)
{
    (void)state;
    const size_t draws = 3000;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), INPUTS));
    struct ldnq_value *v = build_weight(graph, "v", SHAPE(INPUTS, HIDDEN), 1);
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(HIDDEN, OUTPUTS), 2);
    struct ldnq_value *y = NODE(graph, "MatMul", "y", NODE(graph, "MatMul", "h", x, v), w);
    build_output(graph, y);
    build_output(graph, NODE(graph, "Add", "z", y, y));
    assert_ok(ldnq_passes_run(graph, &err));
    const float *d = build_tensor(graph->arena, SHAPE(INPUTS, HIDDEN), 9)->data;
    struct seen_draws seen = { .graph = graph, .samples = open_samples(graph), .change = d };
    const double powers[] = { 0.5, 8 };
    double want = 0;
    for (seen.count = 0; seen.count < SAMPLES; seen.count++) {
        struct ldnq_sample_batch batch;
        const float *row = read_sample(&seen, &batch), *weight = w->constant->data;
        for (size_t o = 0; o < OUTPUTS; o++) {
            double change = 0;
            for (size_t i = 0; i < INPUTS; i++)
                for (size_t h = 0; h < HIDDEN; h++)
                    change += (double)row[i] * (double)d[i * HIDDEN + h] *
                              (double)weight[h * OUTPUTS + o];
            want += (change * change / powers[0] + 4 * change * change / powers[1]) / 2 / SAMPLES;
        }
        ldnq_arena_destroy(batch.arena);
    }
    seen.count = 0;
    const struct ldnq_value *values[] = { v };
    const struct ldnq_projection_options options = {
        .values = values, .value_count = 1, .powers = powers, .draws = draws, .seed = 3
    };
    assert_ok(ldnq_project_outputs(graph, seen.samples, &options, add_square, &seen, &err));
    /* Four standard deviations of the mean, sqrt(2/N) each. */
    assert_true(fabs(seen.mean / (double)draws / want - 1) < 4 * sqrt(2.0 / (double)draws));
    ldnq_samples_destroy(seen.samples);
    build_free(graph);
}

static enum ldnq_status check_sample(void *ctx, const struct ldnq_projection *projection,
                                     struct ldnq_error *error)
{
    (void)error;
    struct seen_draws *seen = ctx;
    struct ldnq_sample_batch batch;
    const float *x = read_sample(seen, &batch);
    assert_memory_equal(projection->inputs[0]->data, x, INPUTS * sizeof *x);
    ldnq_arena_destroy(batch.arena);
    seen->count++;
    return LDNQ_OK;
}

static void draws_should_have_the_samples_in_turn(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), INPUTS));
    struct ldnq_value *r = NODE(graph, "Relu", "r", x);
    build_output(graph,
                 NODE(graph, "MatMul", "y", r, build_weight(graph, "w", SHAPE(INPUTS, 2), 1)));
    assert_ok(ldnq_passes_run(graph, &err));
    struct seen_draws seen = { .graph = graph, .samples = open_samples(graph) };
    const struct ldnq_value *values[] = { r };
    const double powers[] = { 1 };
    const struct ldnq_projection_options options = {
        .values = values, .value_count = 1, .powers = powers, .draws = SAMPLES
    };
    assert_ok(ldnq_project_outputs(graph, seen.samples, &options, check_sample, &seen, &err));
    assert_int_equal(seen.count, SAMPLES);
    ldnq_samples_destroy(seen.samples);
    build_free(graph);
}

static void output_without_a_gradient_should_be_refused(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), INPUTS));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(INPUTS, 2), 1);
    build_output(graph, NODE(graph, "ArgMax", "y", NODE(graph, "MatMul", "m", x, w)));
    assert_ok(ldnq_passes_run(graph, &err));
    struct seen_draws seen = { .graph = graph, .samples = open_samples(graph) };
    const struct ldnq_value *values[] = { w };
    const double powers[] = { 1 };
    const struct ldnq_projection_options options = {
        .values = values, .value_count = 1, .powers = powers, .draws = 1
    };
    assert_int_equal(ldnq_project_outputs(graph, seen.samples, &options, check_sample, &seen, &err),
                     LDNQ_UNSUPPORTED);
    ldnq_samples_destroy(seen.samples);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_should_be_that_of_a_random_sign_of_the_right_size),
        cmocka_unit_test(squares_should_have_the_mean_relative_error_of_the_outputs),
        cmocka_unit_test(draws_should_have_the_samples_in_turn),
        cmocka_unit_test(output_without_a_gradient_should_be_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
