/* SPDX-License-Identifier: Apache-2.0 */
/* An Add of a bias fused into the MatMul before it, against the two operators. The executor runs
 * these one after the other where the caller retains the product. */
#include "exec/grad_use.h"

#include "exec/exec_state.h"
#include "with_blas.h"

struct product {
    struct ldnq_graph *graph;
    struct ldnq_value *bias, *c, *y;
    struct ldnq_tensor *input;
};

static struct product make_product(struct ldnq_shape x, struct ldnq_shape weight,
                                   struct ldnq_shape bias, bool is_bias_first)
{
    struct product p = { .graph = build_graph() };
    struct ldnq_value *in = build_input(p.graph, "x", x);
    p.bias = build_weight(p.graph, "bias", bias, 2);
    p.c = NODE(p.graph, "MatMul", "product", in, build_weight(p.graph, "w", weight, 1));
    p.y = is_bias_first ? NODE(p.graph, "Add", "sum", p.bias, p.c)
                        : NODE(p.graph, "Add", "sum", p.c, p.bias);
    p.input = build_tensor(p.graph->arena, x, 3);
    return p;
}

/* Runs the graph with the product retained, or not; returns whether it was fused. */
static bool run_product(const struct product *p, bool retains_product, struct ldnq_tensor **out)
{
    struct ldnq_exec *exec;
    struct ldnq_tensor *input = p->input;
    assert_ok(ldnq_exec_create(p->graph, NULL, &exec, &err));
    if (retains_product)
        ldnq_exec_keep_until_reset(exec, p->c);
    const bool is_fused = exec->plan.skipped[p->y->producer->index];
    assert_ok(ldnq_exec_run(exec, &input, &err));
    assert_true((ldnq_exec_find_value(exec, p->c) != NULL) == (retains_product || p->c->is_output));
    const struct ldnq_tensor *y = ldnq_exec_find_value(exec, p->graph->outputs[0]);
    assert_ok(ldnq_tensor_create(p->graph->arena, y->dtype, &y->shape, out, &err));
    memcpy((*out)->data, y->data, ldnq_tensor_count(y) * sizeof(float));
    ldnq_exec_destroy(exec);
    return is_fused;
}

static void check_product(struct product *p, bool expects_fusion)
{
    struct ldnq_tensor *fused, *apart;
    build_output(p->graph, p->y);
    if (p->c->is_output)
        build_output(p->graph, p->c);
    assert_ok(ldnq_passes_run(p->graph, &err));
    assert_true(run_product(p, false, &fused) == expects_fusion);
    assert_false(run_product(p, true, &apart));
    assert_same_bits(fused, apart);
    build_free(p->graph);
}

static void a_bias_should_run_inside_the_product_with_the_same_bits(void **state)
{
    (void)state;
    static const int64_t rows[] = { 1, 5, 130 }, depths[] = { 7, 400 };
    for (int i = 0; i < 24; i++) {
        const int64_t m = rows[i % 3], k = depths[i / 3 % 2], n = i / 6 % 2 ? 70 : 33;
        const struct ldnq_shape x = i % 4 < 2 ? SHAPE(m, k) : SHAPE(2, m, k);
        const struct ldnq_shape bias = i % 4 == 3 ? SHAPE(1, 1, n) : i % 4 ? SHAPE(1, n) : SHAPE(n);
        struct product p = make_product(x, SHAPE(k, n), bias, i / 12 % 2);
        check_product(&p, true);
    }
}

static void other_additions_should_run_apart(void **state)
{
    (void)state;
    struct product adds_axes = make_product(SHAPE(3, 4), SHAPE(4, 5), SHAPE(1, 1, 5), false);
    struct product adds_rows = make_product(SHAPE(3, 4), SHAPE(4, 5), SHAPE(3, 1), false);
    struct product adds_all = make_product(SHAPE(5, 4), SHAPE(4, 5), SHAPE(5, 5), true);
    struct product adds_number = make_product(SHAPE(3, 4), SHAPE(4, 5), SHAPE(1), false);
    struct product widens = make_product(SHAPE(3, 4), SHAPE(4, 1), SHAPE(6), false);
    struct product stacks = make_product(SHAPE(2, 3, 4), SHAPE(2, 4, 5), SHAPE(5), false);
    struct product is_output = make_product(SHAPE(3, 4), SHAPE(4, 5), SHAPE(5), false);
    check_product(&adds_axes, false);
    check_product(&adds_rows, false);
    check_product(&adds_all, false);
    check_product(&adds_number, false);
    check_product(&widens, false);
    check_product(&stacks, false);
    is_output.c->is_output = true;
    check_product(&is_output, false);
}

/* The bias of a layer changes when the layer is quantized. */
static void the_bias_should_be_read_anew_by_each_run(void **state)
{
    (void)state;
    struct product p = make_product(SHAPE(3, 4), SHAPE(4, 5), SHAPE(5), false);
    struct ldnq_exec *exec;
    build_output(p.graph, p.y);
    assert_ok(ldnq_passes_run(p.graph, &err));
    assert_ok(ldnq_exec_create(p.graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &p.input, &err));
    const float before = at(ldnq_exec_find_value(exec, p.y), 7);
    p.bias->constant = build_tensor(p.graph->arena, SHAPE(5), 99);
    assert_ok(ldnq_exec_run(exec, &p.input, &err));
    assert_true(at(ldnq_exec_find_value(exec, p.y), 7) != before);
    ldnq_exec_destroy(exec);
    build_free(p.graph);
}

/* The loss weighs output i by i+1 thousandths. */
static void gradients_should_pass_through_both_operators(void **state)
{
    (void)state;
    struct product p = make_product(SHAPE(3, 4), SHAPE(4, 5), SHAPE(5), true);
    struct ldnq_value *weight = p.c->producer->inputs[1];
    build_output(p.graph, p.y);
    assert_ok(ldnq_passes_run(p.graph, &err));
    struct job job = job_of(p.graph, p.input);
    job.options = (struct ldnq_grad_options){ WANT(p.bias, weight) };
    size_t peak;
    struct ldnq_tensor **gradients = run(&job, &peak);
    for (size_t j = 0; j < 5; j++) {
        float bias = 0;
        for (size_t i = 0; i < 3; i++)
            bias += (float)(i * 5 + j + 1) / 1000.0f;
        assert_true(fabsf(at(gradients[0], j) - bias) <= 1e-6f);
    }
    for (size_t k = 0; k < 4; k++)
        for (size_t j = 0; j < 5; j++) {
            float sum = 0;
            for (size_t i = 0; i < 3; i++)
                sum += at(p.input, i * 4 + k) * (float)(i * 5 + j + 1) / 1000.0f;
            assert_true(fabsf(at(gradients[1], k * 5 + j) - sum) <= 1e-6f);
        }
    build_free(p.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bias_should_run_inside_the_product_with_the_same_bits),
        cmocka_unit_test(other_additions_should_run_apart),
        cmocka_unit_test(the_bias_should_be_read_anew_by_each_run),
        cmocka_unit_test(gradients_should_pass_through_both_operators),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
