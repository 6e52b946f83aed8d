/* SPDX-License-Identifier: Apache-2.0 */
/* Fine-tuning of layers that are still float. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "gemm_layer.h"
#include "pipeline/fine_tune_float.h"

#define OUTPUTS 3
#define INPUTS 4

static struct ldnq_error err;

struct fixture {
    struct ldnq_graph *graph;
    struct ldnq_arena *arena; /* what is forgotten */
    struct ldnq_layer layer;
    struct ldnq_fine_tune_float tuned;
    const struct ldnq_tensor *file;                /* the model's weight */
    float weight[OUTPUTS * INPUTS], bias[OUTPUTS]; /* as they were */
};

static void start(struct fixture *f, bool after)
{
    assert_ok(ldnq_arena_create(&f->arena, &err));
    memcpy(f->weight, f->layer.weight->data, sizeof f->weight);
    memcpy(f->bias, f->layer.bias->data, sizeof f->bias);
    assert_ok(
        ldnq_fine_tune_float_init(&f->tuned, &f->layer, after, f->arena, f->graph->arena, &err));
}

static void make(struct fixture *f)
{
    f->graph = build_graph();
    f->layer = build_gemm_layer(f->graph, INPUTS, OUTPUTS);
    f->file = f->layer.weight;
    start(f, false);
}

static void finish(struct fixture *f)
{
    ldnq_fine_tune_float_apply_best(&f->tuned);
    ldnq_arena_destroy(f->arena);
    f->arena = NULL;
}

static const float *now(const struct fixture *f, size_t input)
{
    return f->layer.node->inputs[input]->constant->data;
}

/* The norm of an output's weights. */
static float norm(const struct fixture *f, size_t row)
{
    double sum = 0;
    for (size_t k = 0; k < INPUTS; k++)
        sum += pow((double)f->weight[k * OUTPUTS + row], 2);
    return (float)sqrt(sum);
}

static void parameters_should_be_in_units_of_the_channel(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    assert_memory_equal(now(&f, 1), f.weight, sizeof f.weight);
    f.tuned.weight.value[2 * OUTPUTS + 1] = 0.5f;
    f.tuned.bias.value[2] = -0.25f;
    ldnq_fine_tune_float_step(&f.tuned, 1, 0);
    for (size_t i = 0; i < OUTPUTS * INPUTS; i++) {
        const float more = i == 2 * OUTPUTS + 1 ? 0.5f * norm(&f, 1) / sqrtf(INPUTS) : 0;
        assert_within(now(&f, 1)[i], f.weight[i] + more, 1e-6);
    }
    for (size_t row = 0; row < OUTPUTS; row++)
        assert_within(now(&f, 2)[row], f.bias[row] - (row == 2 ? norm(&f, 2) / 4 : 0), 1e-6);
    finish(&f);
    build_free(f.graph);
}

/* Of the sum of (i + 1) w_i and of (row + 1) b_row. */
static void gradients_should_be_the_slopes(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    float slopes[OUTPUTS * INPUTS];
    for (size_t i = 0; i < OUTPUTS * INPUTS; i++)
        slopes[i] = (float)(i + 1);
    const struct ldnq_tensor weight = { .dtype = LDNQ_FLOAT, .data = slopes };
    ldnq_fine_tune_float_add_gradient(&f.tuned, &weight, &weight);
    ldnq_fine_tune_float_add_gradient(&f.tuned, &weight, NULL);
    for (size_t i = 0; i < OUTPUTS * INPUTS; i++)
        assert_within(f.tuned.weight.gradient[i],
                      2 * (float)(i + 1) * norm(&f, i % OUTPUTS) / sqrtf(INPUTS), 1e-5);
    for (size_t row = 0; row < OUTPUTS; row++)
        assert_within(f.tuned.bias.gradient[row], (float)(row + 1) * norm(&f, row), 1e-5);
    /* Down the slope. */
    ldnq_fine_tune_float_step(&f.tuned, 1, 0.1);
    for (size_t i = 0; i < OUTPUTS * INPUTS; i++)
        assert_true(now(&f, 1)[i] < f.weight[i]);
    finish(&f);
    build_free(f.graph);
}

static void the_end_should_be_the_best_that_was_kept(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    f.tuned.weight.value[0] = f.tuned.bias.value[0] = 1;
    ldnq_fine_tune_float_step(&f.tuned, 1, 0);
    const float kept = now(&f, 1)[0], kept_bias = now(&f, 2)[0];
    ldnq_fine_tune_float_save_best(&f.tuned);
    f.tuned.weight.value[0] = f.tuned.bias.value[0] = 3;
    ldnq_fine_tune_float_step(&f.tuned, 2, 0);
    assert_true(now(&f, 1)[0] != kept);
    finish(&f);
    assert_true(now(&f, 1)[0] == kept && now(&f, 2)[0] == kept_bias);
    assert_ptr_equal(now(&f, 1), f.layer.weight->data);
    assert_ptr_equal(now(&f, 2), f.layer.bias->data);
    /* The next time starts there, and needs no further memory that lasts. */
    const struct ldnq_tensor *mine = f.layer.weight;
    assert_true(mine != f.file);
    assert_true(((const float *)f.file->data)[0] == f.weight[0]);
    start(&f, true);
    assert_true(now(&f, 1)[0] == kept);
    finish(&f);
    assert_ptr_equal(f.layer.weight, mine);
    assert_memory_equal(now(&f, 1), f.weight, sizeof f.weight);
    build_free(f.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_should_be_in_units_of_the_channel),
        cmocka_unit_test(gradients_should_be_the_slopes),
        cmocka_unit_test(the_end_should_be_the_best_that_was_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
