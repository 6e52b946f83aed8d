/* SPDX-License-Identifier: Apache-2.0 */
/* network.h: a small network with every kind of layer, and samples for it, for the tests
 * of the pipeline. */
#ifndef LDNQ_TESTS_PIPELINE_NETWORK_H
#define LDNQ_TESTS_PIPELINE_NETWORK_H

#include "graph_build.h"

#include <stdlib.h>
#include <unistd.h>

#include "linalg/blas.h"
#include "pipeline/pipeline.h"

#define SAMPLES 23

/* A grouped and a plain convolution, a residual sum, a Gemm with beta, a MatMul. */
static inline struct ldnq_graph *build_network(void)
{
    static const int64_t pads[] = { 1, 1, 1, 1 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *a =
        NODE(graph, "Conv", "grouped", x, build_weight(graph, "w1", SHAPE(4, 2, 3, 3), 1),
             build_weight(graph, "b1", SHAPE(4), 2));
    build_attr_ints(a, "pads", 4, pads);
    build_attr(a, "group", 2);
    struct ldnq_value *r = NODE(graph, "Relu", "r1", a);
    struct ldnq_value *b =
        NODE(graph, "Conv", "plain", r, build_weight(graph, "w2", SHAPE(4, 4, 3, 3), 3));
    build_attr_ints(b, "pads", 4, pads);
    struct ldnq_value *s = NODE(graph, "Relu", "r2", NODE(graph, "Add", "sum", b, r));
    struct ldnq_value *flat = NODE(graph, "Flatten", "flat", s);
    struct ldnq_value *fc =
        NODE(graph, "Gemm", "fc", flat, build_weight(graph, "w3", SHAPE(144, 6), 4),
             build_weight(graph, "b3", SHAPE(1, 6), 5));
    struct ldnq_value *out = NODE(graph, "MatMul", "head", NODE(graph, "Relu", "r3", fc),
                                  build_weight(graph, "w4", SHAPE(6, 3), 6));
    build_output(graph, out);
    return graph;
}

static inline struct ldnq_graph *build_prepared(void)
{
    struct ldnq_graph *graph = build_network();
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* Two convolutions of one weight. The passes have not run. */
static inline struct ldnq_graph *build_sharing(struct ldnq_value **weight)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    *weight = build_weight(graph, "w", SHAPE(4, 4, 1, 1), 1);
    struct ldnq_value *a = NODE(graph, "Conv", "a", x, *weight);
    build_output(graph, NODE(graph, "Conv", "b", NODE(graph, "Relu", "r", a), *weight));
    return graph;
}

/* A convolution whose largest channel alone is given. */
static inline struct ldnq_graph *build_without_float_output(void)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *a =
        NODE(graph, "Conv", "a", x, build_weight(graph, "w", SHAPE(4, 4, 1, 1), 1));
    build_output(graph, NODE(graph, "ArgMax", "top", a));
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* ---- a set of samples in a file ------------------------------------------------------- */

static char folder[64], data_path[96];

/* Group setup: samples in a file, and OpenBLAS. */
static inline int set_up_group(void **state)
{
    (void)state;
    struct ldnq_arena *arena;
    ldnq_blas_acquire();
    snprintf(folder, sizeof folder, "/tmp/ldnq-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(data_path, sizeof data_path, "%s/x.npy", folder);
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_npy_write(data_path, build_tensor(arena, SHAPE(SAMPLES, 4, 6, 6), 77), &err));
    ldnq_arena_destroy(arena);
    return 0;
}

static inline int tear_down_group(void **state)
{
    (void)state;
    ldnq_blas_release();
    unlink(data_path);
    return rmdir(folder);
}

static inline struct ldnq_samples *open_samples(const struct ldnq_graph *graph)
{
    struct ldnq_samples *samples;
    struct ldnq_samples_options options = { 0 };
    ldnq_preprocess_defaults(&options.preprocess);
    assert_ok(ldnq_samples_open(data_path, graph, &options, &samples, &err));
    return samples;
}

static inline struct ldnq_quantize_options options_of(const char *codebook, const char *solver)
{
    struct ldnq_quantize_options options = { .codebook = ldnq_codebook_find(codebook),
                                             .granularity = LDNQ_PER_CHANNEL,
                                             .solver = ldnq_solver_find(solver) };
    ldnq_solver_defaults(&options.solver_options);
    assert_non_null(options.codebook);
    assert_non_null(options.solver);
    return options;
}

static inline enum ldnq_status quantize(struct ldnq_graph *graph,
                                        const struct ldnq_quantize_options *options,
                                        struct ldnq_quantization **result)
{
    struct ldnq_samples *samples = open_samples(graph);
    enum ldnq_status status =
        ldnq_quantize_graph(graph, samples, options, graph->arena, result, &err);
    ldnq_samples_destroy(samples);
    return status;
}

static inline struct ldnq_graph *quantized(const struct ldnq_quantize_options *options,
                                           struct ldnq_quantization **result)
{
    struct ldnq_graph *graph = build_prepared();
    assert_ok(quantize(graph, options, result));
    return graph;
}

/* ---- a clock that does not depend on the machine ---------------------------------------- */

static double ticks;

/* One second later at each reading. */
static inline double ticking_clock(void)
{
    return ticks++;
}

/* ---- comparing ------------------------------------------------------------------------ */

static inline double difference(const struct ldnq_tensor *a, const struct ldnq_tensor *b)
{
    double sum = 0, norm = 0;
    for (size_t i = 0; i < ldnq_tensor_count(a); i++) {
        double d = (double)((float *)a->data)[i] - ((float *)b->data)[i];
        sum += d * d;
        norm += (double)((float *)b->data)[i] * ((float *)b->data)[i];
    }
    return sum / norm;
}

static inline void assert_same_result(const struct ldnq_quantization *a,
                                      const struct ldnq_quantization *b)
{
    assert_int_equal(a->network.count, b->network.count);
    for (size_t i = 0; i < a->network.count; i++) {
        const struct ldnq_quantized_layer *x = &a->network.layers[i], *y = &b->network.layers[i];
        assert_memory_equal(x->codes, y->codes, ldnq_layer_elements(&x->layer));
        assert_memory_equal(x->scales, y->scales, ldnq_layer_rows(&x->layer) * sizeof(float));
        assert_true(x->error == y->error);
        if (x->bias)
            assert_same_bits(x->bias, y->bias);
    }
}

#endif
