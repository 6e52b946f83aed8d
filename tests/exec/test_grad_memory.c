/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept for gradients, and for how long; and that no ceiling and no number of
 * threads changes a bit of them. */
#include "exec/grad_use.h"

/* ---- ceilings and threads ---------------------------------------------------------------- */

static void gradients_should_stay_below_the_ceiling_and_the_same(void **state)
{
    (void)state;
    struct ldnq_value *requested[64];
    size_t count = 0, peak, lower;
    struct ldnq_graph *graph = build_chain(20, requested, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options =
        (struct ldnq_grad_options){ .requested = (const struct ldnq_value *const *)requested,
                                    .requested_count = count };
    struct ldnq_tensor **whole = run(&job, &peak);
    /* Two values a block are read back: x and the Relu's output. */
    assert_true(peak >= 40 * BYTES && peak <= 65 * BYTES);
    for (size_t part = 9; part >= 4; part--) {
        job.options.max_bytes = peak * part / 10;
        assert_same(run(&job, &lower), whole, count);
        if (lower > job.options.max_bytes)
            fail_msg("took %zu bytes under a ceiling of %zu", lower, job.options.max_bytes);
    }
    /* The square root of the depth is what can be had, and the requested gradients. */
    job.options.max_bytes = 1;
    assert_same(run(&job, &lower), whole, count);
    assert_true(lower <= 30 * BYTES);
    build_free(graph);
}

static void gradients_of_random_graphs_should_be_the_same_for_any_ceiling(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct ldnq_value *requested[64], *all[64];
        size_t count = 0, peak, lower;
        struct ldnq_graph *graph = build_random(seed, requested, &count, all);
        struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, 30), seed));
        job.options =
            (struct ldnq_grad_options){ .requested = (const struct ldnq_value *const *)requested,
                                        .requested_count = count };
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
        /* All values requested: nothing else changes. */
        struct ldnq_value *more[64];
        memcpy(more, requested, sizeof more);
        memcpy(more + count, all, 24 * sizeof *all);
        job.options.requested = (const struct ldnq_value *const *)more;
        job.options.requested_count = count + 24;
        assert_same(run(&job, &lower), whole, count);
        build_free(graph);
    }
}

static void gradients_should_be_the_same_on_any_number_of_threads(void **state)
{
    (void)state;
    struct ldnq_value *requested[64];
    size_t count = 0, peak;
    struct ldnq_graph *graph = build_chain(4, requested, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(50, LONG / 4), 9));
    job.options =
        (struct ldnq_grad_options){ .requested = (const struct ldnq_value *const *)requested,
                                    .requested_count = count };
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
    struct ldnq_value *requested[64];
    size_t count = 0, peak;
    struct ldnq_graph *graph = build_chain(12, requested, &count);
    struct job job = job_of(graph, NULL), other = job;
    job.options =
        (struct ldnq_grad_options){ .requested = (const struct ldnq_value *const *)requested,
                                    .requested_count = count,
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
                assert_same_bits(ldnq_grad_find_gradient(job.grad, i), fresh[i]);
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

static int draws, clamped;

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
    struct ldnq_value *requested[64];
    size_t count = 0;
    struct ldnq_graph *graph = build_chain(12, requested, &count);
    struct ldnq_op op = *graph->nodes[1]->op;
    op.forward = draw;
    op.flags |= LDNQ_OP_RANDOM;
    graph->nodes[1]->op = &op;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ WANT(requested[0]), .max_bytes = 1 };
    assert_ok(try_run(&job));
    draws = 0;
    assert_ok(run_again(&job));
    assert_int_equal(draws, 1);
    finish(&job);
    op.flags &= ~(unsigned)LDNQ_OP_RANDOM;
    assert_ok(try_run(&job));
    draws = 0;
    assert_ok(run_again(&job));
    assert_int_equal(draws, 2);
    finish(&job);
    build_free(graph);
}

/* A product that can clamp. */
static enum ldnq_status multiply(const struct ldnq_op_call *call, struct ldnq_error *reason)
{
    (void)reason;
    for (size_t i = 0; i < ldnq_tensor_count(&call->out[0]); i++) {
        float y = at(call->in[0], i) * at(call->in[1], i);
        if (call->clamp)
            y = y < call->clamp->low ? call->clamp->low : y;
        ((float *)call->out[0].data)[i] = y;
    }
    clamped += call->clamp != NULL;
    return LDNQ_OK;
}

static enum ldnq_status relu_by_input(const struct ldnq_op_grad *use, struct ldnq_error *reason)
{
    (void)reason;
    assert_non_null(use->call->in[0]->data);
    for (size_t i = 0; i < ldnq_tensor_count(&use->in[0]); i++)
        ((float *)use->in[0].data)[i] = at(use->call->in[0], i) > 0 ? at(use->out[0], i) : 0;
    return LDNQ_OK;
}

static void gradients_should_keep_clamps_inside_where_they_can(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(64));
    struct ldnq_value *w = build_weight(graph, "w", SHAPE(64), 1);
    struct ldnq_value *product = NODE(graph, "Mul", "mul", x, w);
    struct ldnq_value *y = NODE(graph, "Relu", "relu", product);
    build_output(graph, NODE(graph, "Mul", "end", y, x));
    assert_ok(ldnq_ops_bind(graph, &err));
    struct ldnq_op mul = *product->producer->op, relu = *y->producer->op;
    mul.flags |= LDNQ_OP_FUSES_CLAMP;
    mul.forward = multiply;
    product->producer->op = &mul;
    y->producer->op = &relu;
    size_t peak;
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(64), 3));
    struct ldnq_grad_options plain = { WANT(x, w) }, between = { WANT(x, w, product) };
    job.options = plain;
    clamped = 0;
    struct ldnq_tensor **inside = run(&job, &peak);
    assert_int_equal(clamped, 1);
    /* The value between them is requested. */
    job.options = between;
    assert_same(run(&job, &peak), inside, 2);
    assert_int_equal(clamped, 1);
    /* The clamp's backward reads the value between them; or that of the node before. */
    job.options = plain;
    relu.backward = relu_by_input;
    relu.saved_inputs = 1;
    relu.saved_outputs = 0;
    assert_same(run(&job, &peak), inside, 2);
    assert_int_equal(clamped, 1);
    relu = *ldnq_ops_find("", "Relu", 13);
    mul.saved_outputs = 1;
    assert_same(run(&job, &peak), inside, 2);
    assert_int_equal(clamped, 1);
    build_free(graph);
}

static void gradients_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_value *requested[64];
    size_t count = 0;
    struct ldnq_graph *graph = build_chain(6, requested, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ WANT(requested[0], requested[3]) };
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
        cmocka_unit_test(gradients_should_keep_clamps_inside_where_they_can),
        cmocka_unit_test(gradients_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
