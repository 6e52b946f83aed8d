/* Gradients: which nodes they pass, what is kept for them, and for how long. That the
 * numbers are right is shown by tests/python/test_gradients.py. */
#include "graph_build.h"

#include <math.h>

#include <ldnq/grad.h>

#include "base/alloc.h"

#define LONG 4000 /* elements of a value */
#define BYTES (LONG * sizeof(float))

/* ---- running ------------------------------------------------------------------------- */

/* The loss is sum of target[i] * c[i] with c = 1, 2, 3 ... divided by a thousand. */
static enum ldnq_status weigh(void *ctx, const struct ldnq_tensor *const *values,
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

static struct job job_of(struct ldnq_graph *graph, struct ldnq_tensor *input)
{
    struct job job = { .graph = graph, .feeds = { { graph->inputs[0], input } },
                       .feed_count = 1 };
    return job;
}

#define WANT(...)                                                                                  \
    .wanted = (const struct ldnq_value *const[]){ __VA_ARGS__ },                                   \
    .wanted_count = sizeof((struct ldnq_value *[]){ __VA_ARGS__ }) / sizeof(void *)
#define TARGET(...)                                                                                \
    .targets = (const struct ldnq_value *const[]){ __VA_ARGS__ },                                  \
    .target_count = sizeof((struct ldnq_value *[]){ __VA_ARGS__ }) / sizeof(void *)

static enum ldnq_status run_again(struct job *job)
{
    size_t targets = job->options.target_count ? job->options.target_count
                                               : job->graph->output_count;
    return ldnq_grad_run(job->grad, job->feeds, job->feed_count, weigh, &targets, &job->loss,
                         &err);
}

static enum ldnq_status try_run(struct job *job)
{
    LDNQ_TRY(ldnq_grad_create(job->graph, job->pool, &job->options, &job->grad, &err));
    return run_again(job);
}

static size_t finish(struct job *job)
{
    size_t peak = ldnq_grad_peak_bytes(job->grad);
    ldnq_grad_destroy(job->grad);
    job->grad = NULL;
    return peak;
}

/* Copies of all gradients, in the graph's arena. */
static struct ldnq_tensor **run(struct job *job, size_t *peak)
{
    struct ldnq_arena *arena = job->graph->arena;
    struct ldnq_tensor **copies =
        ldnq_arena_alloc(arena, job->options.wanted_count, sizeof *copies, &err);
    assert_ok(try_run(job));
    for (size_t i = 0; i < job->options.wanted_count; i++) {
        const struct ldnq_tensor *gradient = ldnq_grad_of(job->grad, i);
        assert_int_equal(gradient->dtype, LDNQ_FLOAT);
        assert_ok(ldnq_tensor_create(arena, LDNQ_FLOAT, &gradient->shape, &copies[i], &err));
        memcpy(copies[i]->data, gradient->data, ldnq_tensor_count(gradient) * sizeof(float));
    }
    *peak = finish(job);
    return copies;
}

static void assert_same(struct ldnq_tensor *const *a, struct ldnq_tensor *const *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_same_bits(a[i], b[i]);
}

static float at(const struct ldnq_tensor *tensor, size_t i)
{
    return ((const float *)tensor->data)[i];
}

/* ---- graphs ----------------------------------------------------------------------------- */

/* Blocks of x + relu(x * w) * v; values are as long as LONG. */
static struct ldnq_graph *build_chain(int blocks, struct ldnq_value **wanted, size_t *count)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), LONG / 4));
    wanted[(*count)++] = x;
    for (int i = 0; i < blocks; i++) {
        struct ldnq_value *w = build_weight(graph, "w", SHAPE(LONG / 4), (uint64_t)i + 1);
        struct ldnq_value *v = build_weight(graph, "v", SHAPE(LONG / 4), (uint64_t)i + 100);
        struct ldnq_value *r = NODE(graph, "Relu", "r", NODE(graph, "Mul", "m", x, w));
        x = NODE(graph, "Add", "s", x, NODE(graph, "Mul", "n", r, v));
        wanted[(*count)++] = w;
        wanted[(*count)++] = v;
    }
    build_output(graph, x);
    assert_ok(ldnq_ops_bind(graph, &err));
    return graph;
}

/* Operators at random, on any values that are there; a third of all values is wanted. */
static struct ldnq_graph *build_random(uint64_t seed, struct ldnq_value **wanted, size_t *count,
                                       struct ldnq_value **all)
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
        all[have++] = type < 2 ? NODE(graph, types[type], "n", a)
                               : NODE(graph, types[type], "n", a, b);
    }
    wanted[(*count)++] = all[0];
    for (size_t i = 1; i < have; i++)
        if (ldnq_rng_below(&rng, 3) == 0)
            wanted[(*count)++] = all[i];
    build_output(graph, all[have - 1]);
    build_output(graph, all[have - 2 - ldnq_rng_below(&rng, 5)]);
    assert_ok(ldnq_ops_bind(graph, &err));
    return graph;
}

/* ---- ceilings and threads ---------------------------------------------------------------- */

static void gradients_should_stay_below_the_ceiling_and_the_same(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0, peak, lower;
    struct ldnq_graph *graph = build_chain(20, wanted, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ .wanted = (const struct ldnq_value *const *)wanted,
                                              .wanted_count = count };
    struct ldnq_tensor **whole = run(&job, &peak);
    /* Two values a block are read back: x and the Relu's output. */
    assert_true(peak >= 40 * BYTES && peak <= 65 * BYTES);
    for (size_t part = 9; part >= 4; part--) {
        job.options.max_bytes = peak * part / 10;
        assert_same(run(&job, &lower), whole, count);
        if (lower > job.options.max_bytes)
            fail_msg("took %zu bytes under a ceiling of %zu", lower, job.options.max_bytes);
    }
    /* The square root of the depth is what can be had, and the wanted gradients. */
    job.options.max_bytes = 1;
    assert_same(run(&job, &lower), whole, count);
    assert_true(lower <= 30 * BYTES);
    build_free(graph);
}

static void gradients_of_random_graphs_should_be_the_same_for_any_ceiling(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct ldnq_value *wanted[64], *all[64];
        size_t count = 0, peak, lower;
        struct ldnq_graph *graph = build_random(seed, wanted, &count, all);
        struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, 30), seed));
        job.options = (struct ldnq_grad_options){
            .wanted = (const struct ldnq_value *const *)wanted, .wanted_count = count
        };
        if (ldnq_grad_create(graph, NULL, &job.options, &job.grad, &err) == LDNQ_USAGE) {
            build_free(graph); /* a target that depends on weights alone */
            continue;
        }
        ldnq_grad_destroy(job.grad);
        struct ldnq_tensor **whole = run(&job, &peak);
        for (size_t part = 8; part > 0; part -= 2) {
            job.options.max_bytes = peak * part / 10;
            assert_same(run(&job, &lower), whole, count);
            assert_true(lower <= peak);
        }
        /* All values wanted: nothing else changes. */
        struct ldnq_value *more[64];
        memcpy(more, wanted, sizeof more);
        memcpy(more + count, all, 24 * sizeof *all);
        job.options.wanted = (const struct ldnq_value *const *)more;
        job.options.wanted_count = count + 24;
        assert_same(run(&job, &lower), whole, count);
        build_free(graph);
    }
}

static void gradients_should_be_the_same_on_any_number_of_threads(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0, peak;
    struct ldnq_graph *graph = build_chain(4, wanted, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(50, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ .wanted = (const struct ldnq_value *const *)wanted,
                                              .wanted_count = count };
    struct ldnq_tensor **serial = run(&job, &peak);
    for (size_t threads = 2; threads <= 3; threads++) {
        assert_ok(ldnq_pool_create(threads, &job.pool, &err));
        assert_same(run(&job, &peak), serial, count);
        ldnq_pool_destroy(job.pool);
    }
    build_free(graph);
}

static void gradients_should_follow_the_batch(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0, peak;
    struct ldnq_graph *graph = build_chain(12, wanted, &count);
    struct job job = job_of(graph, NULL), other = job;
    job.options = (struct ldnq_grad_options){ .wanted = (const struct ldnq_value *const *)wanted,
                                              .wanted_count = count,
                                              .max_bytes = 20 * BYTES };
    assert_ok(ldnq_grad_create(graph, NULL, &job.options, &job.grad, &err));
    other.options = job.options;
    for (int64_t batch = 4; batch > 0; batch -= 3) {
        struct ldnq_tensor *input =
            build_tensor(graph->arena, SHAPE(batch, LONG / 4), (uint64_t)batch);
        job.feeds[0].tensor = other.feeds[0].tensor = input;
        struct ldnq_tensor **fresh = run(&other, &peak);
        for (int again = 0; again < 2; again++) {
            assert_ok(run_again(&job));
            for (size_t i = 0; i < count; i++)
                assert_same_bits(ldnq_grad_of(job.grad, i), fresh[i]);
        }
    }
    finish(&job);
    build_free(graph);
}

/* ---- what is kept ------------------------------------------------------------------------ */

static void gradients_should_keep_nothing_that_backward_does_not_read(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(LONG)), *v = x;
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(LONG), 1);
    for (int i = 0; i < 30; i++)
        v = NODE(graph, i % 2 ? "Add" : "Identity", "n", v, i % 2 ? w : NULL);
    build_output(graph, v);
    assert_ok(ldnq_ops_bind(graph, &err));
    size_t peak;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(LONG), 3));
    job.options = (struct ldnq_grad_options){ WANT(x) };
    run(&job, &peak);
    assert_true(peak <= 3 * BYTES);
    build_free(graph);
}

static void gradients_should_keep_nothing_beside_their_way(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(LONG)), *v = x;
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(LONG), 1);
    for (int i = 0; i < 30; i++)
        v = NODE(graph, "Mul", "n", v, v);
    build_output(graph, NODE(graph, "Add", "end", v, w));
    assert_ok(ldnq_ops_bind(graph, &err));
    size_t peak;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(LONG), 3));
    job.options = (struct ldnq_grad_options){ WANT(w) };
    run(&job, &peak);
    assert_true(peak <= 3 * BYTES);
    build_free(graph);
}

static enum ldnq_status must_not_run(const struct ldnq_op_call *call, struct ldnq_error *reason)
{
    (void)call;
    return ldnq_fail(reason, LDNQ_NUMERIC, "this node was not to run");
}

static void gradients_should_not_run_what_no_target_needs(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *y = NODE(graph, "Mul", "y", x, x);
    struct ldnq_value *z = NODE(graph, "Relu", "z", y);
    build_output(graph, y);
    build_output(graph, z);
    assert_ok(ldnq_ops_bind(graph, &err));
    struct ldnq_op op = *z->producer->op;
    op.forward = must_not_run;
    z->producer->op = &op;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(8), 3));
    job.options = (struct ldnq_grad_options){ WANT(x), TARGET(y) };
    assert_ok(try_run(&job));
    finish(&job);
    job.options = (struct ldnq_grad_options){ WANT(x), TARGET(z) };
    assert_fails(try_run(&job), LDNQ_NUMERIC, "node 'z'");
    finish(&job);
    build_free(graph);
}

static int draws;

static enum ldnq_status draw(const struct ldnq_op_call *call, struct ldnq_error *reason)
{
    (void)reason;
    draws++;
    for (size_t i = 0; i < ldnq_tensor_count(call->in[0]); i++)
        ((float *)call->out[0].data)[i] = at(call->in[0], i) * (float)draws;
    return LDNQ_OK;
}

/* Random numbers can't be made again. */
static void gradients_should_run_impure_nodes_once(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0;
    struct ldnq_graph *graph = build_chain(12, wanted, &count);
    struct ldnq_op op = *graph->nodes[1]->op;
    op.forward = draw;
    op.flags |= LDNQ_OP_IMPURE;
    graph->nodes[1]->op = &op;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ WANT(wanted[0]), .max_bytes = 1 };
    assert_ok(try_run(&job));
    draws = 0;
    assert_ok(run_again(&job));
    assert_int_equal(draws, 1);
    finish(&job);
    op.flags &= ~(unsigned)LDNQ_OP_IMPURE;
    assert_ok(try_run(&job));
    draws = 0;
    assert_ok(run_again(&job));
    assert_int_equal(draws, 2);
    finish(&job);
    build_free(graph);
}

/* ---- wanted values and targets -------------------------------------------------------------- */

static void gradients_of_a_value_and_its_view_should_not_mix(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *a = NODE(graph, "Add", "a", x, x);
    struct ldnq_value *same = NODE(graph, "Sub", "same", a, build_weight(graph, "w", SHAPE(8), 1));
    struct ldnq_value *view = NODE(graph, "Identity", "view", a);
    struct ldnq_value *twice = NODE(graph, "Identity", "twice", view);
    struct ldnq_value *out = NODE(graph, "Add", "out", twice, same);
    build_output(graph, out);
    assert_ok(ldnq_ops_bind(graph, &err));
    size_t peak;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(8), 3));
    job.options = (struct ldnq_grad_options){ WANT(a, view, twice, out) };
    struct ldnq_tensor **got = run(&job, &peak);
    for (size_t i = 0; i < 8; i++) {
        float c = (float)(i + 1) / 1000.0f;
        assert_true(at(got[0], i) == c + c);
        assert_true(at(got[1], i) == c && at(got[2], i) == c && at(got[3], i) == c);
    }
    build_free(graph);
}

static void gradients_of_targets_that_are_read_on_should_add_up(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *t = NODE(graph, "Add", "t", x, x);
    struct ldnq_value *u = NODE(graph, "Add", "u", t, t);
    build_output(graph, u);
    assert_ok(ldnq_ops_bind(graph, &err));
    size_t peak;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(8), 3));
    /* t counts twice. */
    job.options = (struct ldnq_grad_options){ WANT(t, x, u), TARGET(t, u, t) };
    struct ldnq_tensor **got = run(&job, &peak);
    for (size_t i = 0; i < 8; i++) {
        float c = (float)(i + 1) / 1000.0f;
        assert_true(fabs((double)(at(got[0], i) - 4 * c)) < 1e-6);
        assert_true(fabs((double)(at(got[1], i) - 8 * c)) < 1e-6);
        assert_true(at(got[2], i) == c);
    }
    /* A wanted value may be the target itself, an input even. */
    job.options = (struct ldnq_grad_options){ WANT(x), TARGET(x) };
    got = run(&job, &peak);
    assert_true(at(got[0], 7) == 8.0f / 1000.0f);
    build_free(graph);
}

static void gradients_should_be_zero_where_a_wanted_value_changes_nothing(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *idle = NODE(graph, "Relu", "idle", x);
    build_output(graph, NODE(graph, "Add", "y", x, x));
    build_output(graph, idle);
    assert_ok(ldnq_ops_bind(graph, &err));
    size_t peak;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(8), 3));
    job.options = (struct ldnq_grad_options){ WANT(x, idle), TARGET(graph->outputs[0]) };
    struct ldnq_tensor **got = run(&job, &peak);
    assert_true(ldnq_shape_equal(&got[1]->shape, &SHAPE(8)));
    for (size_t i = 0; i < 8; i++)
        assert_true(at(got[1], i) == 0.0f && at(got[0], i) != 0.0f);
    build_free(graph);
}

static void gradients_of_a_stretch_should_be_those_of_the_whole(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0, peak;
    struct ldnq_graph *graph = build_chain(6, wanted, &count);
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(4, LONG / 4), 9);
    struct ldnq_value *half = graph->nodes[11]->outputs[0];
    struct job job = job_of(graph, input);
    job.options = (struct ldnq_grad_options){ WANT(half, wanted[7], wanted[12]) };
    struct ldnq_tensor **whole = run(&job, &peak);
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    ldnq_exec_lend(exec, graph->inputs[0], input);
    assert_ok(ldnq_exec_step(exec, 0, 12, &err));
    job.feeds[0] = (struct ldnq_grad_feed){ half, ldnq_exec_value(exec, half) };
    for (size_t ceiling = 0; ceiling < 2; ceiling++) {
        job.options.first = 12;
        job.options.max_bytes = ceiling;
        assert_same(run(&job, &peak), whole, 3);
    }
    /* Up to a value in the middle. */
    job.feeds[0] = (struct ldnq_grad_feed){ graph->inputs[0], input };
    job.options = (struct ldnq_grad_options){ WANT(wanted[0]), TARGET(half) };
    whole = run(&job, &peak);
    job.options.last = 12;
    assert_same(run(&job, &peak), whole, 1);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

/* ---- refusals --------------------------------------------------------------------------------- */

static void gradients_should_list_all_nodes_that_they_can_not_pass(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *a = NODE(graph, "Relu", "first", x);
    struct ldnq_value *b = NODE(graph, "Mul", "second", a, a);
    struct ldnq_value *beside = NODE(graph, "Relu", "beside", x);
    build_output(graph, b);
    build_output(graph, beside);
    assert_ok(ldnq_ops_bind(graph, &err));
    struct ldnq_op relu = *a->producer->op, mul = *b->producer->op;
    relu.backward = mul.backward = NULL;
    a->producer->op = beside->producer->op = &relu;
    b->producer->op = &mul;
    struct job job = { .graph = graph };
    job.options = (struct ldnq_grad_options){ WANT(x), TARGET(b) };
    assert_fails(try_run(&job), LDNQ_UNSUPPORTED,
                 "gradients can't pass node 'first' (Relu, opset 13): it has no gradient; node "
                 "'second' (Mul, opset 13): it has no gradient");
    assert_null(strstr(err.message, "beside"));
    /* From behind it, the second alone. */
    job.options = (struct ldnq_grad_options){ WANT(a), TARGET(b) };
    assert_fails(try_run(&job), LDNQ_UNSUPPORTED, "pass node 'second'");
    build_free(graph);
}

static void gradients_should_want_every_target_to_be_reached(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(8), 1);
    build_output(graph, NODE(graph, "Mul", "y", x, w));
    build_output(graph, NODE(graph, "Relu", "z", x));
    assert_ok(ldnq_ops_bind(graph, &err));
    struct job job = { .graph = graph };
    job.options = (struct ldnq_grad_options){ WANT(w) };
    assert_fails(try_run(&job), LDNQ_USAGE, "changes 'z_out'");
    build_free(graph);
}

static void gradients_should_say_which_feed_is_wrong(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(8));
    struct ldnq_value *y = NODE(graph, "Relu", "y", x);
    build_output(graph, NODE(graph, "Mul", "z", y, y));
    assert_ok(ldnq_ops_bind(graph, &err));
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(9), 3));
    job.options = (struct ldnq_grad_options){ WANT(x, y) };
    assert_fails(try_run(&job), LDNQ_DATA, "input 'x' is float32 (8) where the data are");
    job.feed_count = 0;
    assert_fails(run_again(&job), LDNQ_MODEL, "'x' is not there");
    job.feeds[0] = (struct ldnq_grad_feed){ y, build_tensor(graph->arena, SHAPE(8), 3) };
    job.feed_count = 1;
    assert_fails(run_again(&job), LDNQ_USAGE, "'y_out' is given from outside");
    finish(&job);
    build_free(graph);
}

static enum ldnq_status refuse(void *ctx, const struct ldnq_tensor *const *values,
                               struct ldnq_tensor *gradients, double *loss,
                               struct ldnq_error *reason)
{
    (void)ctx;
    (void)values;
    (void)gradients;
    (void)loss;
    return ldnq_fail(reason, LDNQ_NUMERIC, "the loss is not finite");
}

static void gradients_should_hand_on_what_the_loss_returns(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0;
    struct ldnq_graph *graph = build_chain(3, wanted, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ WANT(wanted[0]) };
    assert_ok(try_run(&job));
    assert_fails(ldnq_grad_run(job.grad, job.feeds, 1, refuse, NULL, &job.loss, &err),
                 LDNQ_NUMERIC, "the loss is not finite");
    assert_ok(run_again(&job));
    finish(&job);
    build_free(graph);
}

static void gradients_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_value *wanted[64];
    size_t count = 0;
    struct ldnq_graph *graph = build_chain(6, wanted, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ WANT(wanted[0], wanted[3]) };
    for (size_t ceiling = 0; ceiling < 2; ceiling++) {
        enum ldnq_status status = LDNQ_NOMEM;
        job.options.max_bytes = ceiling * 12 * BYTES;
        for (long allowed = 0; status == LDNQ_NOMEM && allowed < 2000; allowed++) {
            ldnq_alloc_fail_after(allowed);
            status = try_run(&job);
            ldnq_alloc_fail_after(-1);
            if (job.grad && status == LDNQ_NOMEM)
                assert_ok(run_again(&job));
            ldnq_grad_destroy(job.grad);
            job.grad = NULL;
        }
        assert_int_equal(status, LDNQ_OK);
    }
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_should_stay_below_the_ceiling_and_the_same),
        cmocka_unit_test(gradients_of_random_graphs_should_be_the_same_for_any_ceiling),
        cmocka_unit_test(gradients_should_be_the_same_on_any_number_of_threads),
        cmocka_unit_test(gradients_should_follow_the_batch),
        cmocka_unit_test(gradients_should_keep_nothing_that_backward_does_not_read),
        cmocka_unit_test(gradients_should_keep_nothing_beside_their_way),
        cmocka_unit_test(gradients_should_not_run_what_no_target_needs),
        cmocka_unit_test(gradients_should_run_impure_nodes_once),
        cmocka_unit_test(gradients_of_a_value_and_its_view_should_not_mix),
        cmocka_unit_test(gradients_of_targets_that_are_read_on_should_add_up),
        cmocka_unit_test(gradients_should_be_zero_where_a_wanted_value_changes_nothing),
        cmocka_unit_test(gradients_of_a_stretch_should_be_those_of_the_whole),
        cmocka_unit_test(gradients_should_list_all_nodes_that_they_can_not_pass),
        cmocka_unit_test(gradients_should_want_every_target_to_be_reached),
        cmocka_unit_test(gradients_should_say_which_feed_is_wrong),
        cmocka_unit_test(gradients_should_hand_on_what_the_loss_returns),
        cmocka_unit_test(gradients_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
