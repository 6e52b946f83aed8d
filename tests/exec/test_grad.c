/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients: which nodes they pass, and what adds up where. That the numbers are right
 * is shown by tests/python/test_gradients.py. */
#include "exec/grad_use.h"

/* ---- requested values and targets --------------------------------------------------------------
 */

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
    /* A requested value may be the target itself, an input even. */
    job.options = (struct ldnq_grad_options){ WANT(x), TARGET(x) };
    got = run(&job, &peak);
    assert_true(at(got[0], 7) == 8.0f / 1000.0f);
    build_free(graph);
}

static void gradients_should_be_zero_where_a_requested_value_changes_nothing(void **state)
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
    assert_true(ldnq_shapes_are_equal(&got[1]->shape, &SHAPE(8)));
    for (size_t i = 0; i < 8; i++)
        assert_true(at(got[1], i) == 0.0f && at(got[0], i) != 0.0f);
    build_free(graph);
}

static void gradients_of_a_range_of_nodes_should_be_those_of_the_whole(void **state)
{
    (void)state;
    struct ldnq_value *requested[64];
    size_t count = 0, peak;
    struct ldnq_graph *graph = build_chain(6, requested, &count);
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(4, LONG / 4), 9);
    struct ldnq_value *half = graph->nodes[11]->outputs[0];
    struct job job = job_of(graph, input);
    job.options = (struct ldnq_grad_options){ WANT(half, requested[7], requested[12]) };
    struct ldnq_tensor **whole = run(&job, &peak);
    struct ldnq_exec *exec;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    ldnq_exec_bind(exec, graph->inputs[0], input);
    assert_ok(ldnq_exec_run_range(exec, 0, 12, &err));
    job.feeds[0] = (struct ldnq_grad_feed){ half, ldnq_exec_find_value(exec, half) };
    for (size_t ceiling = 0; ceiling < 2; ceiling++) {
        job.options.first = 12;
        job.options.max_bytes = ceiling;
        assert_same(run(&job, &peak), whole, 3);
    }
    /* Up to a value in the middle. */
    job.feeds[0] = (struct ldnq_grad_feed){ graph->inputs[0], input };
    job.options = (struct ldnq_grad_options){ WANT(requested[0]), TARGET(half) };
    whole = run(&job, &peak);
    job.options.last = 12;
    assert_same(run(&job, &peak), whole, 1);
    ldnq_exec_destroy(exec);
    build_free(graph);
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

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
    assert_fails(try_run(&job), LDNQ_USAGE, "'z_out' depends on none");
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
    assert_fails(run_again(&job), LDNQ_MODEL, "'x' has no data yet");
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
    struct ldnq_value *requested[64];
    size_t count = 0;
    struct ldnq_graph *graph = build_chain(3, requested, &count);
    struct job job = job_of(graph, build_tensor(graph->arena, SHAPE(4, LONG / 4), 9));
    job.options = (struct ldnq_grad_options){ WANT(requested[0]) };
    assert_ok(try_run(&job));
    assert_fails(ldnq_grad_run(job.grad, job.feeds, 1, refuse, NULL, &job.loss, &err), LDNQ_NUMERIC,
                 "the loss is not finite");
    assert_ok(run_again(&job));
    finish(&job);
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_a_value_and_its_view_should_not_mix),
        cmocka_unit_test(gradients_of_targets_that_are_read_on_should_add_up),
        cmocka_unit_test(gradients_should_be_zero_where_a_requested_value_changes_nothing),
        cmocka_unit_test(gradients_of_a_range_of_nodes_should_be_those_of_the_whole),
        cmocka_unit_test(gradients_should_list_all_nodes_that_they_can_not_pass),
        cmocka_unit_test(gradients_should_want_every_target_to_be_reached),
        cmocka_unit_test(gradients_should_say_which_feed_is_wrong),
        cmocka_unit_test(gradients_should_hand_on_what_the_loss_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
