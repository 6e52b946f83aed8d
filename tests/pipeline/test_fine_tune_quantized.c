/* SPDX-License-Identifier: Apache-2.0 */
/* Fine-tuning of one fitted layer: its start, its gradients, its best state. */
#include "gemm_layer.h"

#include <math.h>

#include "pipeline/fine_tune_quantized.h"

#define OUTPUTS 3
#define INPUTS 4
#define ELEMENTS (OUTPUTS * INPUTS)

struct fixture {
    struct ldnq_graph *graph;
    struct ldnq_quantized_layer result;
    struct ldnq_fine_tune_quantized layer;
    int8_t codes[ELEMENTS];
    float scales[OUTPUTS], deviation[OUTPUTS];
};

/* A MatMul of (INPUTS, OUTPUTS), so that the weight lies transposed, with a bias as if
 * it were a Gemm. Codes are those nearest to the weight. */
static void make(struct fixture *f, const char *codebook, bool one_scale, bool update_codes)
{
    f->graph = build_graph();
    f->result = (struct ldnq_quantized_layer){
        .layer = build_gemm_layer(f->graph, INPUTS, OUTPUTS),
        .codes = f->codes,
        .scales = f->scales,
        .codebook = ldnq_codebook_find(codebook),
    };
    assert_ok(ldnq_tensor_copy(f->graph->arena, f->result.layer.bias, &f->result.bias, &err));
    const struct ldnq_codebook *book = ldnq_codebook_find(codebook);
    const float *weight = f->result.layer.weight->data;
    for (size_t row = 0; row < OUTPUTS; row++) {
        f->scales[row] = one_scale ? 0.3f : 0.2f + 0.1f * (float)row;
        f->deviation[row] = 0.5f + (float)row;
        for (size_t k = 0; k < INPUTS; k++) {
            const size_t at = ldnq_find_weight_offset(&f->result.layer.geometry, row, k);
            f->codes[row * INPUTS + k] = (int8_t)ldnq_codebook_find_nearest(
                book, (double)weight[at] / (double)f->scales[row]);
        }
    }
    assert_ok(ldnq_quantized_layer_apply(&f->result, f->graph->arena, &err));
    assert_ok(ldnq_fine_tune_quantized_init(&f->layer, &f->result, f->deviation, &f->layer,
                                            one_scale, update_codes, f->graph->arena, &err));
}

static const float *weight_now(const struct fixture *f)
{
    return f->result.layer.node->inputs[1]->constant->data;
}

static const float *bias_now(const struct fixture *f)
{
    return f->result.layer.node->inputs[2]->constant->data;
}

/* Steps of length 0 show what the parameters stand for. */
static void the_start_should_be_the_fitted_layer(void **state)
{
    (void)state;
    for (const struct ldnq_codebook *const *book = ldnq_codebooks(); *book; book++)
        for (int one_scale = 0; one_scale < 2; one_scale++) {
            struct fixture f;
            make(&f, (*book)->name, one_scale, true);
            ldnq_fine_tune_quantized_step(&f.layer, 1, 0, 0, 0);
            assert_memory_equal(f.layer.codes, f.codes, ELEMENTS);
            for (size_t row = 0; row < OUTPUTS; row++) {
                assert_true(f.layer.scales[row] == f.scales[row]);
                assert_true(bias_now(&f)[row] == ((float *)f.result.layer.bias->data)[row]);
            }
            build_free(f.graph);
        }
}

/* The loss is the sum of c_i w_i^2 / 2 over weights and biases: moving one parameter a
 * little changes it by what the gradient says. */
static double loss_of(const struct fixture *f)
{
    double loss = 0;
    for (size_t i = 0; i < ELEMENTS; i++)
        loss += (double)(i + 1) * pow((double)weight_now(f)[i], 2) / 2;
    for (size_t i = 0; i < OUTPUTS; i++)
        loss += (double)(i + 1) * pow((double)bias_now(f)[i], 2) / 2;
    return loss;
}

static void add_gradients(struct fixture *f)
{
    struct ldnq_tensor *weight, *bias;
    assert_ok(
        ldnq_tensor_create(f->graph->arena, LDNQ_FLOAT, &SHAPE(INPUTS, OUTPUTS), &weight, &err));
    assert_ok(ldnq_tensor_create(f->graph->arena, LDNQ_FLOAT, &SHAPE(OUTPUTS), &bias, &err));
    for (size_t i = 0; i < ELEMENTS; i++)
        ((float *)weight->data)[i] = (float)(i + 1) * weight_now(f)[i];
    for (size_t i = 0; i < OUTPUTS; i++)
        ((float *)bias->data)[i] = (float)(i + 1) * bias_now(f)[i];
    ldnq_fine_tune_quantized_add_gradient(&f->layer, weight, bias);
}

static void assert_slope(struct fixture *f, struct ldnq_adam *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        const float at = parameters->value[i], gradient = parameters->gradient[i], by = 1e-2f;
        double loss[2];
        for (int up = 0; up < 2; up++) {
            parameters->value[i] = up ? at + by : at - by;
            ldnq_fine_tune_quantized_step(&f->layer, 1, 0, 0, 0);
            loss[up] = loss_of(f);
        }
        parameters->value[i] = at;
        const double slope = (loss[1] - loss[0]) / (2 * (double)by);
        assert_true(fabs(slope - (double)gradient) < 1e-4 * (1 + fabs(slope)));
        add_gradients(f); /* the steps have cleared them; the point is the same again */
        ldnq_fine_tune_quantized_step(&f->layer, 1, 0, 0, 0);
        add_gradients(f);
    }
}

static void gradients_of_scales_and_biases_should_be_the_slopes(void **state)
{
    (void)state;
    for (int one_scale = 0; one_scale < 2; one_scale++) {
        struct fixture f;
        make(&f, "int4", one_scale, false);
        add_gradients(&f);
        assert_slope(&f, &f.layer.scale);
        assert_slope(&f, &f.layer.bias);
        build_free(f.graph);
    }
}

/* The straight-through estimator: a latent's gradient is its weight's, times the scale. */
static void the_gradient_should_pass_the_rounding(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "ternary", false, true);
    add_gradients(&f);
    for (size_t row = 0; row < OUTPUTS; row++)
        for (size_t k = 0; k < INPUTS; k++) {
            size_t at = ldnq_find_weight_offset(&f.result.layer.geometry, row, k);
            float want = (float)(at + 1) * weight_now(&f)[at] * f.scales[row];
            assert_true(f.layer.latent.gradient[row * INPUTS + k] == want);
        }
    build_free(f.graph);
}

static void codes_should_follow_their_latents_inside_the_codebook(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "pot5", false, true);
    f.layer.latent.value[0] = 1.6f;
    f.layer.latent.value[1] = -77;
    ldnq_fine_tune_quantized_step(&f.layer, 1, 0, 0, 0);
    assert_int_equal(f.layer.codes[0], 2);
    assert_int_equal(f.layer.codes[1], -2);
    assert_true(f.layer.latent.value[1] >= -2.5f);
    assert_true(weight_now(&f)[0] == 2 * f.layer.scales[0]);
    build_free(f.graph);
}

static void scales_should_stay_above_zero(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "int4", false, false);
    for (size_t row = 0; row < OUTPUTS; row++)
        f.layer.scale.value[row] = -5;
    ldnq_fine_tune_quantized_step(&f.layer, 1, 0, 0, 0);
    for (size_t row = 0; row < OUTPUTS; row++)
        assert_true(f.layer.scales[row] > 0 && f.layer.scales[row] < f.scales[row]);
    build_free(f.graph);
}

static void finish_should_bring_back_what_was_kept(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "int4", false, true);
    const float scale = f.scales[1];
    f.layer.scale.value[1] = 0.5f;
    f.layer.bias.value[1] = 0.25f;
    f.layer.latent.value[5] = 7;
    ldnq_fine_tune_quantized_step(&f.layer, 1, 0, 0, 0);
    ldnq_fine_tune_quantized_save_best(&f.layer);
    const double kept = loss_of(&f);
    for (size_t i = 0; i < ELEMENTS; i++)
        f.layer.latent.value[i] = -8;
    for (size_t i = 0; i < OUTPUTS; i++)
        f.layer.scale.value[i] = f.layer.bias.value[i] = 1;
    ldnq_fine_tune_quantized_step(&f.layer, 2, 0, 0, 0);
    assert_true(loss_of(&f) != kept);
    assert_ok(ldnq_fine_tune_quantized_apply_best(&f.layer, f.graph->arena, &err));
    assert_true(loss_of(&f) == kept);
    assert_int_equal(f.result.codes[5], 7);
    assert_true(f.result.scales[1] == scale * 1.5f);
    assert_ptr_equal(f.result.bias->data, bias_now(&f));
    build_free(f.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_should_be_the_fitted_layer),
        cmocka_unit_test(gradients_of_scales_and_biases_should_be_the_slopes),
        cmocka_unit_test(the_gradient_should_pass_the_rounding),
        cmocka_unit_test(codes_should_follow_their_latents_inside_the_codebook),
        cmocka_unit_test(scales_should_stay_above_zero),
        cmocka_unit_test(finish_should_bring_back_what_was_kept),
    };
    return cmocka_run_group_tests_name("tune_layer", tests, NULL, NULL);
}
