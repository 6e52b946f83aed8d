/* SPDX-License-Identifier: Apache-2.0 */
/* The executor: values live as long as they are read, and no longer. */
#include "graph_build.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "exec/buffers.h"

/* Two convolutions with Relu, a residual sum, a flattened view and a Gemm. */
static struct ldnq_graph *build_network(void)
{
    static const int64_t pads[] = { 1, 1, 1, 1 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 6, 6));
    struct ldnq_value *a =
        NODE(graph, "Conv", "c1", x, build_weight(graph, "w1", SHAPE(4, 2, 3, 3), 1),
             build_weight(graph, "b1", SHAPE(4), 2));
    build_attr_ints(a, "pads", 4, pads);
    struct ldnq_value *r = NODE(graph, "Relu", "r1", a);
    struct ldnq_value *b =
        NODE(graph, "Conv", "c2", r, build_weight(graph, "w2", SHAPE(4, 4, 3, 3), 3));
    build_attr_ints(b, "pads", 4, pads);
    struct ldnq_value *sum = NODE(graph, "Add", "sum", b, r);
    struct ldnq_value *s = NODE(graph, "Relu", "r2", sum);
    struct ldnq_value *flat = NODE(graph, "Flatten", "flat", s);
    struct ldnq_value *out =
        NODE(graph, "Gemm", "fc", flat, build_weight(graph, "w3", SHAPE(144, 5), 4));
    build_output(graph, out);
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

static void exec_should_not_overwrite_what_is_read_again(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *negative = NODE(graph, "Neg", "neg", x);
    struct ldnq_value *view = NODE(graph, "Identity", "view", negative);
    struct ldnq_value *relu = NODE(graph, "Relu", "relu", negative); /* `view` still reads it */
    struct ldnq_value *sum = NODE(graph, "Add", "sum", view, relu);
    struct ldnq_value *twice = NODE(graph, "Sub", "twice", sum, sum);
    build_output(graph, NODE(graph, "Add", "out", sum, twice));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(8), 3);
    struct ldnq_tensor *kept = build_tensor(graph->arena, SHAPE(8), 3);
    struct ldnq_tensor *out = build_run(graph, input);
    for (int i = 0; i < 8; i++) {
        float n = -((float *)input->data)[i];
        assert_true(((float *)out->data)[i] == n + (n > 0 ? n : 0));
    }
    assert_same_bits(input, kept);
    build_free(graph);
}

static void exec_should_not_overwrite_inputs_or_constants_behind_views(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(8), 5);
    struct ldnq_value *a = NODE(graph, "Relu", "a", NODE(graph, "Identity", "vx", x));
    struct ldnq_value *view = NODE(graph, "Identity", "vw", w);
    struct ldnq_value *b = NODE(graph, "Relu", "b", view);
    build_output(graph, NODE(graph, "Add", "out", a, b));
    assert_ok(ldnq_ops_bind(graph, &err)); /* without folding, so that the view stays */
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(8), 3);
    build_run(graph, input);
    assert_same_bits(input, build_tensor(graph->arena, SHAPE(8), 3));
    assert_same_bits(w->constant, build_tensor(graph->arena, SHAPE(8), 5));
    build_free(graph);
}

static void exec_should_give_the_same_with_and_without_fused_clamps(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(3, 2, 6, 6), 7);
    struct ldnq_tensor *fused = build_run(graph, input);
    /* A convolution that the caller wants to see can't have its clamp inside. */
    build_output(graph, ldnq_graph_find_value(graph, "c1_out"));
    assert_same_bits(build_run(graph, input), fused);
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    const float *seen = ldnq_exec_find_value(exec, graph->outputs[1])->data;
    bool has_negative = false;
    for (int i = 0; i < 3 * 4 * 36; i++)
        has_negative = has_negative || seen[i] < 0;
    assert_true(has_negative);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_show_what_a_clamp_would_hide(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(3, 2, 6, 6), 7);
    struct ldnq_tensor *fused = build_run(graph, input);
    const struct ldnq_value *c1 = ldnq_graph_find_value(graph, "c1_out");
    const struct ldnq_value *c2 = ldnq_graph_find_value(graph, "c2_out");
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    ldnq_exec_keep_until_reset(exec, c1);
    ldnq_exec_make_readable(exec, c2);
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_same_bits(ldnq_exec_find_value(exec, graph->outputs[0]), fused);
    assert_non_null(ldnq_exec_find_value(exec, c1));
    assert_null(ldnq_exec_find_value(exec, c2)); /* its last reader has run */
    const float *seen = ldnq_exec_find_value(exec, c1)->data;
    bool has_negative = false;
    for (int i = 0; i < 3 * 4 * 36; i++)
        has_negative = has_negative || seen[i] < 0;
    assert_true(has_negative);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void copy_frontier(struct ldnq_graph *graph, const struct ldnq_exec *exec,
                          const struct ldnq_value **values, size_t count,
                          struct ldnq_tensor *copies)
{
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_tensor *tensor = ldnq_exec_find_value(exec, values[i]);
        size_t bytes = 0;
        assert_non_null(tensor);
        assert_true(ldnq_tensor_bytes(tensor, &bytes));
        copies[i] = *tensor;
        copies[i].data = ldnq_arena_alloc(graph->arena, bytes, 1, &err);
        memcpy(copies[i].data, tensor->data, bytes);
    }
}

static void exec_should_continue_from_any_frontier(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(3, 2, 6, 6), 7);
    struct ldnq_tensor *whole = build_run(graph, input);
    for (size_t place = 0; place <= graph->node_count; place++) {
        struct ldnq_exec *exec;
        const struct ldnq_value *values[64];
        struct ldnq_tensor copies[64];
        assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
        ldnq_exec_bind(exec, graph->inputs[0], input);
        assert_ok(ldnq_exec_run_range(exec, 0, place, &err));
        size_t count = ldnq_exec_live_values(exec, place, values);
        assert_true(count >= 1 && count <= 2);
        copy_frontier(graph, exec, values, count, copies);
        ldnq_exec_reset(exec);
        for (size_t i = 0; i < count; i++)
            ldnq_exec_bind(exec, values[i], &copies[i]);
        assert_ok(ldnq_exec_run_range(exec, place, graph->node_count, &err));
        assert_same_bits(ldnq_exec_find_value(exec, graph->outputs[0]), whole);
        ldnq_exec_destroy(exec);
    }
    build_free(graph);
}

static void exec_should_hold_no_more_than_the_live_values(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(1000));
    struct ldnq_value *at = x;
    for (int i = 0; i < 24; i++)
        at = NODE(graph, "Add", "add", at, x);
    build_output(graph, at);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_exec *exec;
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(1000), 3);
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_true(ldnq_exec_peak_bytes(exec) <= 2 * 4000 + 128);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_serve_any_batch_in_turn(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    for (int64_t batch = 1; batch < 6; batch += 2) {
        struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(batch, 2, 6, 6), 7);
        assert_ok(ldnq_exec_run(exec, &input, &err));
        const struct ldnq_tensor *out = ldnq_exec_find_value(exec, graph->outputs[0]);
        assert_true(ldnq_shapes_are_equal(&out->shape, &SHAPE(batch, 5)));
    }
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_name_inputs_that_do_not_fit(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_exec *exec;
    struct ldnq_tensor *wide = build_tensor(graph->arena, SHAPE(1, 2, 6, 7), 7);
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_fails(ldnq_exec_run(exec, &wide, &err), LDNQ_DATA,
                 "input 'x' is float32 (N,2,6,6) where the data are float32 (1,2,6,7)");
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_want_one_size_for_one_symbol(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    int64_t n = build_symbol(graph, "N");
    struct ldnq_value *x = build_input(graph, "x", SHAPE(n)),
                      *y = build_input(graph, "y", SHAPE(n));
    build_output(graph, NODE(graph, "Add", "add", x, y));
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_exec *exec;
    struct ldnq_tensor *inputs[] = { build_tensor(graph->arena, SHAPE(1), 1),
                                     build_tensor(graph->arena, SHAPE(3), 1) };
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_fails(ldnq_exec_run(exec, inputs, &err), LDNQ_DATA, "input 'y'");
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_give_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(7, 2, 6, 6), 7);
    struct ldnq_tensor *serial = build_run(graph, input);
    for (size_t threads = 2; threads <= 4; threads++) {
        struct ldnq_pool *pool;
        struct ldnq_exec *exec;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        assert_ok(ldnq_exec_create(graph, pool, &exec, &err));
        assert_ok(ldnq_exec_run(exec, &input, &err));
        assert_same_bits(ldnq_exec_find_value(exec, graph->outputs[0]), serial);
        ldnq_exec_destroy(exec);
        ldnq_pool_destroy(pool);
    }
    build_free(graph);
}

static void exec_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_network();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(2, 2, 6, 6), 7);
    enum ldnq_status status = LDNQ_NOMEM;
    for (long allowed = 0; status == LDNQ_NOMEM && allowed < 1000; allowed++) {
        struct ldnq_exec *exec;
        ldnq_alloc_fail_after(allowed);
        status = ldnq_exec_create(graph, NULL, &exec, &err);
        if (status == LDNQ_OK)
            status = ldnq_exec_run(exec, &input, &err);
        ldnq_alloc_fail_after(-1);
        ldnq_exec_destroy(exec);
    }
    assert_int_equal(status, LDNQ_OK);
    build_free(graph);
}

/* ---- batch tiling ---------------------------------------------------------------------- */

static struct ldnq_value *conv_of(struct ldnq_graph *graph, const char *name, struct ldnq_value *x,
                                  int64_t channels)
{
    static const int64_t pads[] = { 1, 1, 1, 1 };
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(8, channels, 3, 3), 1);
    struct ldnq_value *y = NODE(graph, "Conv", name, x, w);
    build_attr_ints(y, "pads", 4, pads);
    return y;
}

/* Two ranges of nodes that treat each sample independently, with a Neg between them that is not
 * said to. `r1` is read in both, and `r2` is seen from outside. */
static struct ldnq_graph *build_tilings(void)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 12, 12));
    struct ldnq_value *r1 = NODE(graph, "Relu", "r1", conv_of(graph, "c1", x, 2));
    struct ldnq_value *sum = NODE(graph, "Add", "sum", conv_of(graph, "c2", r1, 8), r1);
    struct ldnq_value *r2 = NODE(graph, "Relu", "r2", sum);
    struct ldnq_value *negative = NODE(graph, "Neg", "neg", r2);
    struct ldnq_value *again = NODE(graph, "Add", "again", conv_of(graph, "c3", negative, 8), r1);
    build_output(graph, NODE(graph, "GlobalAveragePool", "pool", again));
    build_output(graph, r2);
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* Samples `first` .. of `whole`, in the shape of `part`. */
static void assert_samples(const struct ldnq_tensor *part, const struct ldnq_tensor *whole,
                           size_t first)
{
    size_t bytes = 0;
    assert_true(ldnq_tensor_bytes(part, &bytes));
    size_t sample = bytes / (size_t)part->shape.dim[0];
    assert_memory_equal(part->data, (const char *)whole->data + first * sample, bytes);
}

#define SAMPLES 300 /* of 4608 bytes: several times what runs at once */

static void exec_should_give_samples_the_same_bits_in_any_batch(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_tilings();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 2, 12, 12), 7);
    struct ldnq_exec *whole, *one;
    assert_ok(ldnq_exec_create(graph, NULL, &one, &err));
    for (size_t threads = 1; threads <= 3; threads++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        assert_ok(ldnq_exec_create(graph, pool, &whole, &err));
        for (int run = 0; run < 2; run++)
            assert_ok(ldnq_exec_run(whole, &input, &err));
        for (size_t first = 0; first < SAMPLES; first += 25) {
            struct ldnq_tensor few = { .dtype = LDNQ_FLOAT,
                                       .shape = SHAPE(25, 2, 12, 12),
                                       .data = (float *)input->data + first * 288 };
            struct ldnq_tensor *inputs[] = { &few };
            assert_ok(ldnq_exec_run(one, inputs, &err));
            for (size_t i = 0; i < graph->output_count; i++)
                assert_samples(ldnq_exec_find_value(one, graph->outputs[i]),
                               ldnq_exec_find_value(whole, graph->outputs[i]), first);
        }
        ldnq_exec_destroy(whole);
        ldnq_pool_destroy(pool);
    }
    ldnq_exec_destroy(one);
    build_free(graph);
}

/* r1, r2 and Neg's result as a whole; of all others a few samples. */
static void exec_should_hold_no_more_than_tiles_within_a_tiling(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_tilings();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 2, 12, 12), 7);
    const size_t whole = SAMPLES * 4608, part = 256 << 10, scratch = 64 << 10;
    for (size_t threads = 1; threads <= 2; threads++) {
        struct ldnq_pool *pool;
        struct ldnq_exec *exec;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        assert_ok(ldnq_exec_create(graph, pool, &exec, &err));
        assert_ok(ldnq_exec_run(exec, &input, &err));
        assert_true(ldnq_exec_peak_bytes(exec) <= 3 * whole + threads * (4 * part + scratch));
        ldnq_exec_destroy(exec);
        ldnq_pool_destroy(pool);
    }
    build_free(graph);
}

static void exec_should_come_back_from_failures_in_a_tiling(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_tilings();
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 2, 12, 12), 7);
    for (size_t threads = 1; threads <= 2; threads++) {
        enum ldnq_status status = LDNQ_NOMEM;
        struct ldnq_pool *pool;
        struct ldnq_exec *exec;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        assert_ok(ldnq_exec_create(graph, pool, &exec, &err));
        for (long allowed = 0; status == LDNQ_NOMEM && allowed < 1000; allowed++) {
            ldnq_alloc_fail_after(allowed);
            status = ldnq_exec_run(exec, &input, &err);
            ldnq_alloc_fail_after(-1);
            ldnq_exec_reset(exec);
        }
        assert_int_equal(status, LDNQ_OK);
        ldnq_exec_destroy(exec);
        ldnq_pool_destroy(pool);
    }
    build_free(graph);
}

/* ---- outputs that are left out ---------------------------------------------------- */

/* Halves of x; only the second one is wanted. */
static void exec_should_run_nodes_whose_first_output_is_left_out(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4));
    struct ldnq_value *half = NODE(graph, "Split", "split", x);
    build_attr(half, "axis", 1);
    build_omitted(graph, half, 1, 2);
    build_output(graph, half);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(3, 4), 7);
    struct ldnq_tensor *out = build_run(graph, input);
    assert_true(ldnq_shapes_are_equal(&out->shape, &SHAPE(3, 2)));
    for (int i = 0; i < 6; i++)
        assert_true(((float *)out->data)[i] == ((float *)input->data)[i / 2 * 4 + 2 + i % 2]);
    build_free(graph);
}

/* What is left out counts where an operator goes by the number of its outputs. */
static void exec_should_count_left_out_outputs_of_split(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *half = NODE(graph, "Split", "split", build_input(graph, "x", SHAPE(4, 2)));
    build_omitted(graph, half, 0, 2);
    build_output(graph, half);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *out = build_run(graph, build_tensor(graph->arena, SHAPE(4, 2), 7));
    assert_true(ldnq_shapes_are_equal(&out->shape, &SHAPE(2, 2)));
    build_free(graph);
}

static void exec_should_give_back_the_memory_of_left_out_outputs(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *at = build_input(graph, "x", SHAPE(1000));
    for (int i = 0; i < 10; i++) {
        at = NODE(graph, "Split", "split", NODE(graph, "Concat", "twice", at, at));
        build_attr(at->producer->inputs[0], "axis", 0);
        build_omitted(graph, at, 1, 2);
    }
    build_output(graph, at);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_exec *exec;
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(1000), 3);
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_same_bits(ldnq_exec_find_value(exec, at), input);
    assert_true(ldnq_exec_peak_bytes(exec) <= 6 * 4000);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_run_nodes_whose_last_outputs_are_left_out(void **state)
{
    (void)state;
    static const int64_t kernel[] = { 1, 1 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 3, 3));
    struct ldnq_value *pool = NODE(graph, "MaxPool", "pool", x);
    build_attr_ints(pool, "kernel_shape", 2, kernel);
    build_omitted(graph, pool, 0, 2);
    struct ldnq_value *drop = NODE(graph, "Dropout", "drop", pool);
    build_omitted(graph, drop, 0, 2);
    struct ldnq_value *zero = build_weight(graph, "zero", SHAPE(2), 1);
    struct ldnq_value *one = build_weight(graph, "one", SHAPE(2), 1);
    for (int i = 0; i < 2; i++) {
        ((float *)zero->constant->data)[i] = 0.0f;
        ((float *)one->constant->data)[i] = 1.0f;
    }
    struct ldnq_value *norm = NODE(graph, "BatchNormalization", "norm", drop, one, zero, zero, one);
    build_omitted(graph, norm, 0, 5);
    build_output(graph, norm);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(2, 2, 3, 3), 7);
    assert_close(build_run(graph, input), input, 1e-4);
    build_free(graph);
}

static size_t no_size(const struct ldnq_op_call *call)
{
    (void)call;
    return SIZE_MAX;
}

static enum ldnq_status no_shape(struct ldnq_op_call *call, struct ldnq_error *reason)
{
    (void)reason;
    call->out[0].dtype = LDNQ_FLOAT;
    return LDNQ_OK;
}

static void assert_refused(struct ldnq_op *op, const char *reason)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *out = NODE(graph, "Relu", "relu", build_input(graph, "x", SHAPE(8)));
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(8), 3);
    struct ldnq_exec *exec;
    build_output(graph, out);
    assert_ok(ldnq_passes_run(graph, &err));
    out->producer->op = op;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    enum ldnq_status status = ldnq_exec_run(exec, &input, &err);
    assert_true(status == LDNQ_NOMEM || status == LDNQ_MODEL);
    if (!strstr(err.message, reason))
        fail_msg("'%s' does not say '%s'", err.message, reason);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

static void exec_should_say_what_can_not_be_counted(void **state)
{
    (void)state;
    struct ldnq_op op = *ldnq_ops_find("", "Relu", 13);
    op.scratch_bytes = no_size;
    assert_refused(&op, "its scratch memory can't be counted");
    op.infer = no_shape;
    assert_refused(&op, "the shape of its output 0 can't be computed");
}

/* The system grants each of the two, and ends the process when both are used. */
static void buffers_beyond_the_memory_should_be_refused(void **state)
{
    (void)state;
    struct ldnq_buffer_pool pool = { 0 };
    struct ldnq_exec_buffer *first, *second;
    const size_t most = ldnq_memory_size() / 5 * 3;
    /* The test runner lets malloc fill what it returns, which would take that memory. */
    mallopt(M_PERTURB, 0);
    assert_ok(ldnq_buffer_pool_acquire(&pool, most, &first, &err));
    assert_fails(ldnq_buffer_pool_acquire(&pool, most, &second, &err), LDNQ_NOMEM,
                 "out of memory: ");
    ldnq_buffer_pool_remove_user(&pool, first);
    ldnq_buffer_pool_finish(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exec_should_not_overwrite_what_is_read_again),
        cmocka_unit_test(exec_should_not_overwrite_inputs_or_constants_behind_views),
        cmocka_unit_test(exec_should_give_the_same_with_and_without_fused_clamps),
        cmocka_unit_test(exec_should_show_what_a_clamp_would_hide),
        cmocka_unit_test(exec_should_continue_from_any_frontier),
        cmocka_unit_test(exec_should_hold_no_more_than_the_live_values),
        cmocka_unit_test(exec_should_serve_any_batch_in_turn),
        cmocka_unit_test(exec_should_name_inputs_that_do_not_fit),
        cmocka_unit_test(exec_should_want_one_size_for_one_symbol),
        cmocka_unit_test(exec_should_give_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(exec_should_come_back_from_any_failed_allocation),
        cmocka_unit_test(exec_should_give_samples_the_same_bits_in_any_batch),
        cmocka_unit_test(exec_should_hold_no_more_than_tiles_within_a_tiling),
        cmocka_unit_test(exec_should_come_back_from_failures_in_a_tiling),
        cmocka_unit_test(exec_should_run_nodes_whose_first_output_is_left_out),
        cmocka_unit_test(exec_should_count_left_out_outputs_of_split),
        cmocka_unit_test(exec_should_give_back_the_memory_of_left_out_outputs),
        cmocka_unit_test(exec_should_run_nodes_whose_last_outputs_are_left_out),
        cmocka_unit_test(exec_should_say_what_can_not_be_counted),
        cmocka_unit_test(buffers_beyond_the_memory_should_be_refused),
    };
    return cmocka_run_group_tests_name("exec", tests, NULL, NULL);
}
