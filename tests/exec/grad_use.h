/* SPDX-License-Identifier: Apache-2.0 */
/* grad_use.h: gradients of graphs made by hand, for the tests of exec. */
#ifndef TESTS_EXEC_GRAD_USE_H
#define TESTS_EXEC_GRAD_USE_H

#include "graph_build.h"

#include <math.h>

#include "exec/grad.h"

#include "base/alloc.h"

#define LONG 4000 /* elements of a value */
#define BYTES (LONG * sizeof(float))

/* ---- running ------------------------------------------------------------------------- */

/* The loss is sum of target[i] * c[i] with c = 1, 2, 3 ... divided by a thousand. */
static inline enum ldnq_status weigh(void *ctx, const struct ldnq_tensor *const *values,
                                     struct ldnq_tensor *gradients, double *loss,
                                     struct ldnq_error *reason)
{
    size_t targets = *(size_t *)ctx;
    (void)reason;
    *loss = 0;
    for (size_t k = 0; k < targets; k++) {
        for (size_t i = 0; i < ldnq_tensor_count(values[k]); i++) {
            float c = (float)(i + 1) / 1000.0f;
            assert_true(((float *)gradients[k].data)[i] == 0.0f);
            ((float *)gradients[k].data)[i] = c;
            *loss += (double)(c * ((const float *)values[k]->data)[i]);
        }
    }
    return LDNQ_OK;
}

struct job {
    struct ldnq_graph *graph;
    struct ldnq_grad_options options;
    struct ldnq_grad_feed feeds[4];
    size_t feed_count;
    struct ldnq_pool *pool;
    struct ldnq_grad *grad;
    double loss;
};

static inline struct job job_of(struct ldnq_graph *graph, struct ldnq_tensor *input)
{
    struct job job = { .graph = graph, .feeds = { { graph->inputs[0], input } }, .feed_count = 1 };
    return job;
}

#define WANT(...)                                                                                  \
    .requested = (const struct ldnq_value *const[]){ __VA_ARGS__ },                                \
    .requested_count = sizeof((struct ldnq_value *[]){ __VA_ARGS__ }) / sizeof(void *)
#define TARGET(...)                                                                                \
    .targets = (const struct ldnq_value *const[]){ __VA_ARGS__ },                                  \
    .target_count = sizeof((struct ldnq_value *[]){ __VA_ARGS__ }) / sizeof(void *)

static inline enum ldnq_status run_again(struct job *job)
{
    size_t targets =
        job->options.target_count ? job->options.target_count : job->graph->output_count;
    return ldnq_grad_run(job->grad, job->feeds, job->feed_count, weigh, &targets, &job->loss, &err);
}

static inline enum ldnq_status try_run(struct job *job)
{
    LDNQ_TRY(ldnq_grad_create(job->graph, job->pool, &job->options, &job->grad, &err));
    return run_again(job);
}

static inline size_t finish(struct job *job)
{
    size_t peak = ldnq_grad_peak_bytes(job->grad);
    ldnq_grad_destroy(job->grad);
    job->grad = NULL;
    return peak;
}

/* Copies of all gradients, in the graph's arena. */
static inline struct ldnq_tensor **run(struct job *job, size_t *peak)
{
    struct ldnq_arena *arena = job->graph->arena;
    struct ldnq_tensor **copies =
        ldnq_arena_alloc(arena, job->options.requested_count, sizeof *copies, &err);
    assert_ok(try_run(job));
    for (size_t i = 0; i < job->options.requested_count; i++) {
        const struct ldnq_tensor *gradient = ldnq_grad_find_gradient(job->grad, i);
        assert_int_equal(gradient->dtype, LDNQ_FLOAT);
        assert_ok(ldnq_tensor_create(arena, LDNQ_FLOAT, &gradient->shape, &copies[i], &err));
        memcpy(copies[i]->data, gradient->data, ldnq_tensor_count(gradient) * sizeof(float));
    }
    *peak = finish(job);
    return copies;
}

static inline void assert_same(struct ldnq_tensor *const *a, struct ldnq_tensor *const *b,
                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_same_bits(a[i], b[i]);
}

static inline float at(const struct ldnq_tensor *tensor, size_t i)
{
    return ((const float *)tensor->data)[i];
}

/* ---- graphs ----------------------------------------------------------------------------- */

/* Blocks of x + relu(x * w) * v; values are as long as LONG. */
static inline struct ldnq_graph *build_chain(int blocks, struct ldnq_value **requested,
                                             size_t *count)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), LONG / 4));
    requested[(*count)++] = x;
    for (int i = 0; i < blocks; i++) {
        struct ldnq_value *w = build_weight(graph, "w", SHAPE(LONG / 4), (uint64_t)i + 1);
        struct ldnq_value *v = build_weight(graph, "v", SHAPE(LONG / 4), (uint64_t)i + 100);
        struct ldnq_value *r = NODE(graph, "Relu", "r", NODE(graph, "Mul", "m", x, w));
        x = NODE(graph, "Add", "s", x, NODE(graph, "Mul", "n", r, v));
        requested[(*count)++] = w;
        requested[(*count)++] = v;
    }
    build_output(graph, x);
    assert_ok(ldnq_ops_bind(graph, &err));
    return graph;
}

/* Operators at random, on any values that are there; a third of all values is requested. */
static inline struct ldnq_graph *build_random(uint64_t seed, struct ldnq_value **requested,
                                              size_t *count, struct ldnq_value **all)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_rng rng = { seed };
    size_t have = 0;
    all[have++] = build_input(graph, "x", SHAPE(4, 30));
    all[have++] = build_weight(graph, "row", SHAPE(30), seed + 1);
    all[have++] = build_weight(graph, "one", SHAPE(1), seed + 2);
    while (have < 40) {
        static const char *const types[] = { "Relu", "Identity", "Add", "Sub", "Mul" };
        size_t type = ldnq_rng_below(&rng, 5);
        struct ldnq_value *a = all[have - 1 - ldnq_rng_below(&rng, have < 6 ? have : 6)];
        struct ldnq_value *b = all[ldnq_rng_below(&rng, have)];
        all[have++] =
            type < 2 ? NODE(graph, types[type], "n", a) : NODE(graph, types[type], "n", a, b);
    }
    requested[(*count)++] = all[0];
    for (size_t i = 1; i < have; i++)
        if (ldnq_rng_below(&rng, 3) == 0)
            requested[(*count)++] = all[i];
    build_output(graph, all[have - 1]);
    build_output(graph, all[have - 2 - ldnq_rng_below(&rng, 5)]);
    assert_ok(ldnq_ops_bind(graph, &err));
    return graph;
}

#endif
