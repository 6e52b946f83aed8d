/* SPDX-License-Identifier: Apache-2.0 */
/* What every solver of the table promises. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "layer.h"

static struct ldnq_error err;

static bool in_codebook(const struct ldnq_codebook *codebook, int8_t code)
{
    for (size_t i = 0; i < codebook->count; i++)
        if (codebook->codes[i] == code)
            return true;
    return false;
}

static void check_solution(const struct layer *layer)
{
    const struct ldnq_layer_problem *p = &layer->problem;
    const struct ldnq_layer_solution *s = &layer->solution;
    for (size_t i = 0; i < p->groups * p->rows * p->cols; i++)
        assert_true(in_codebook(p->codebook, s->codes[i]));
    for (size_t i = 0; i < layer_scale_count(layer); i++) {
        assert_true(s->scales[i] > 0 && isfinite(s->scales[i]));
        assert_true(p->granularity != LDNQ_PER_TENSOR || s->scales[i] == s->scales[0]);
    }
    for (size_t i = 0; i < p->groups * p->rows; i++)
        assert_true(!s->bias || isfinite(s->bias[i]));
    assert_true(s->error <= s->error_start);
    assert_true(ldnq_compute_layer_error(p, s) == s->error);
}

static void each_solver(void (*check)(const char *solver, enum ldnq_granularity granularity))
{
    for (const struct ldnq_solver *const *s = ldnq_solvers(); *s; s++) {
        check((*s)->name, LDNQ_PER_TENSOR);
        check((*s)->name, LDNQ_PER_CHANNEL);
        if ((*s)->blocks)
            check((*s)->name, LDNQ_PER_BLOCK);
    }
}

static void check_shapes(const char *solver, enum ldnq_granularity granularity)
{
    const size_t shapes[][3] = { { 1, 5, 12 }, { 1, 70, 9 },  { 3, 4, 6 }, { 40, 1, 9 },
                                 { 1, 3, 1 },  { 1, 1, 140 }, { 0, 2, 3 }, { 1, 0, 4 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++)
            for (int bias = 0; bias < 2; bias++) {
                struct layer layer = layer_make(shapes[i][0], shapes[i][1], shapes[i][2],
                                                (*c)->name, granularity, i);
                if (!bias)
                    layer_without_bias(&layer);
                assert_ok(layer_solve(&layer, solver, NULL, &err));
                check_solution(&layer);
                layer_free(&layer);
            }
}

static void solution_should_be_codes_of_the_codebook_and_never_worse_than_the_start(void **state)
{
    (void)state;
    each_solver(check_shapes);
}

static void check_identical(const struct layer *a, const struct layer *b)
{
    const size_t rows = a->problem.groups * a->problem.rows;
    const struct ldnq_layer_solution *x = &a->solution, *y = &b->solution;
    assert_memory_equal(x->codes, y->codes, rows * a->problem.cols);
    assert_memory_equal(x->scales, y->scales, layer_scale_count(a) * sizeof *x->scales);
    assert_memory_equal(x->bias, y->bias, rows * sizeof *x->bias);
    assert_true(x->error == y->error && x->error_start == y->error_start);
    assert_true(x->iterations == y->iterations && x->rho == y->rho);
}

static void check_threads(const char *solver, enum ldnq_granularity granularity)
{
    const size_t shapes[][3] = { { 1, 100, 40 }, { 60, 2, 9 } };
    struct ldnq_pool *pool;
    assert_ok(ldnq_pool_create(4, &pool, &err));
    for (size_t i = 0; i < 2; i++) {
        const size_t *s = shapes[i];
        struct layer one = layer_make(s[0], s[1], s[2], "pot7", granularity, 5);
        struct layer four = layer_make(s[0], s[1], s[2], "pot7", granularity, 5);
        assert_ok(layer_solve(&one, solver, NULL, &err));
        assert_ok(layer_solve(&four, solver, pool, &err));
        check_identical(&one, &four);
        layer_free(&one);
        layer_free(&four);
    }
    ldnq_pool_destroy(pool);
}

static void one_thread_and_four_should_give_identical_bytes(void **state)
{
    (void)state;
    each_solver(check_threads);
}

/* With uncorrelated inputs the Gram matrix is a diagonal (and the product of means). */
static void a_diagonal_should_give_what_its_gram_matrix_gives(void **state)
{
    (void)state;
    struct layer dense = layer_make(2, 5, 9, "int8", LDNQ_PER_CHANNEL, 5);
    struct layer diagonal = layer_make(2, 5, 9, "int8", LDNQ_PER_CHANNEL, 5);
    double variance[18];
    for (size_t i = 0; i < 18; i++)
        variance[i] = 0.5 + (double)(i % 4);
    for (size_t g = 0; g < 2; g++)
        for (size_t i = 0; i < 9; i++)
            for (size_t j = 0; j < 9; j++)
                dense.gram[(g * 9 + i) * 9 + j] = (i == j ? variance[g * 9 + i] : 0) +
                                                  dense.mean[g * 9 + i] * dense.mean[g * 9 + j];
    diagonal.problem.gram = NULL;
    diagonal.problem.diagonal = variance;
    assert_ok(layer_solve(&dense, "nearest", NULL, &err));
    assert_ok(layer_solve(&diagonal, "nearest", NULL, &err));
    assert_memory_equal(dense.solution.codes, diagonal.solution.codes, 2 * 5 * 9);
    assert_memory_equal(dense.solution.bias, diagonal.solution.bias, 10 * sizeof(float));
    assert_true(fabs(dense.solution.error / diagonal.solution.error - 1) < 1e-6);
    assert_true(diagonal.solution.error > 0);
    assert_true(diagonal.solution.error < diagonal.solution.error_start);
    assert_fails(layer_solve(&diagonal, "gptq", NULL, &err), LDNQ_USAGE, "needs the gram matrix");
    layer_free(&dense);
    layer_free(&diagonal);
}

static void check_zero_weights(const char *solver, enum ldnq_granularity granularity)
{
    struct layer layer = layer_make(2, 3, 7, "int4", granularity, 6);
    memset(layer.weight, 0, 42 * sizeof *layer.weight);
    assert_ok(layer_solve(&layer, solver, NULL, &err));
    check_solution(&layer);
    for (size_t i = 0; i < 42; i++)
        assert_int_equal(layer.solution.codes[i], 0);
    for (size_t i = 0; i < layer_scale_count(&layer); i++)
        assert_true(layer.solution.scales[i] == 1);
    for (size_t i = 0; i < 6; i++)
        assert_true(layer.solution.bias[i] == layer.bias[i]);
    assert_true(layer.solution.error == 0 && layer.solution.error_start == 0);
    layer_free(&layer);
}

static void zero_weights_should_have_zero_codes_scale_one_and_no_error(void **state)
{
    (void)state;
    each_solver(check_zero_weights);
}

static void check_zero_channel(const char *solver, enum ldnq_granularity granularity)
{
    struct layer layer = layer_make(1, 3, 20, "ternary", granularity, 7);
    memset(layer.weight + 20, 0, 20 * sizeof *layer.weight);
    assert_ok(layer_solve(&layer, solver, NULL, &err));
    check_solution(&layer);
    for (size_t i = 0; granularity != LDNQ_PER_TENSOR && i < 20; i++) {
        assert_int_equal(layer.solution.codes[20 + i], 0);
        assert_true(layer.solution.scales[layer_scale(&layer, 1, i)] == 1);
    }
    layer_free(&layer);
}

static void a_zero_channel_should_have_zero_codes_and_scale_one(void **state)
{
    (void)state;
    each_solver(check_zero_channel);
}

static bool starts_scale(const struct layer *layer, size_t input)
{
    for (size_t i = 0; i < input; i++)
        if (layer_scale(layer, 0, i) == layer_scale(layer, 0, input))
            return false;
    return true;
}

/* Weights that are codes times a scale, with an outermost code for each scale. */
static void check_lossless(const char *solver, enum ldnq_granularity granularity)
{
    struct layer layer = layer_make(1, 4, 30, "int8", granularity, 8);
    struct ldnq_rng rng = { 9 };
    for (size_t i = 0; i < 120; i++)
        layer.weight[i] = starts_scale(&layer, i % 30)
                              ? 127 / 64.0f
                              : ((float)ldnq_rng_below(&rng, 255) - 127) / 64.0f;
    assert_ok(layer_solve(&layer, solver, NULL, &err));
    check_solution(&layer);
    assert_true(layer.solution.error < 1e-6);
    layer_free(&layer);
}

static void int8_should_be_near_lossless(void **state)
{
    (void)state;
    each_solver(check_lossless);
    struct layer layer = layer_make(1, 4, 30, "int8", LDNQ_PER_CHANNEL, 8);
    for (const struct ldnq_solver *const *s = ldnq_solvers(); *s; s++) {
        assert_ok(layer_solve(&layer, (*s)->name, NULL, &err));
        assert_true(layer.solution.error < 1e-4);
    }
    layer_free(&layer);
}

static void check_duplicates(const char *solver, enum ldnq_granularity granularity)
{
    struct layer layer = layer_make(1, 40, 11, "pot5", granularity, 10);
    for (size_t m = 1; m < 40; m++)
        memcpy(layer.weight + m * 11, layer.weight, 11 * sizeof *layer.weight);
    assert_ok(layer_solve(&layer, solver, NULL, &err));
    check_solution(&layer);
    for (size_t m = 1; m < 40; m++) {
        assert_memory_equal(layer.solution.codes + m * 11, layer.solution.codes, 11);
        for (size_t i = 0; i < 11; i++)
            assert_true(layer.solution.scales[layer_scale(&layer, m, i)] ==
                        layer.solution.scales[layer_scale(&layer, 0, i)]);
    }
    layer_free(&layer);
}

static void channels_that_are_equal_should_get_equal_codes(void **state)
{
    (void)state;
    each_solver(check_duplicates);
}

/* By more than a penalty of 3e-6 of the diagonal makes up for. */
static void check_rounded(const char *solver, enum ldnq_granularity granularity)
{
    struct layer layer = layer_make(1, 4, 6, "int2", granularity, 61);
    for (size_t i = 0; i < 6; i++)
        layer.mean[i] = 1;
    for (size_t i = 0; i < 36; i++)
        layer.gram[i] = 1 + (i % 7 == 0 ? 2e-6 : i % 2 ? 3e-6 : -3e-6);
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < i; j++)
            layer.gram[i * 6 + j] = layer.gram[j * 6 + i];
    assert_ok(layer_solve(&layer, solver, NULL, &err));
    check_solution(&layer);
    layer_free(&layer);
}

/* What rounding leaves of inputs that hardly vary can be indefinite. */
static void a_centred_gram_that_rounding_made_indefinite_should_be_solved(void **state)
{
    (void)state;
    each_solver(check_rounded);
}

static void check_not_finite(const char *solver, enum ldnq_granularity granularity)
{
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++) {
        struct layer layer = layer_make(2, 3, 4, "ternary", granularity, 11);
        layer.bias[4] = bad[i];
        assert_fails(layer_solve(&layer, solver, NULL, &err), LDNQ_NUMERIC, "the bias holds");
        assert_non_null(strstr(err.message, "(group 1, row 1"));
        layer.mean[3] = (double)bad[i];
        assert_fails(layer_solve(&layer, solver, NULL, &err), LDNQ_NUMERIC, "the mean");
        layer.gram[17] = (double)bad[i];
        assert_fails(layer_solve(&layer, solver, NULL, &err), LDNQ_NUMERIC, "the gram matrix");
        layer.weight[12 + 2 * 4 + 3] = bad[i];
        assert_fails(layer_solve(&layer, solver, NULL, &err), LDNQ_NUMERIC, "the weight holds");
        assert_non_null(strstr(err.message, "(group 1, row 2, column 3)"));
        layer_free(&layer);
    }
}

static void what_is_not_finite_should_be_refused_by_name(void **state)
{
    (void)state;
    each_solver(check_not_finite);
}

static void check_huge(const char *solver, enum ldnq_granularity granularity)
{
    struct layer layer = layer_make(1, 2, 3, "int4", granularity, 12);
    for (size_t i = 0; i < 9; i++)
        layer.gram[i] = i % 4 == 0 ? 1e300 : 0;
    for (size_t i = 0; i < 6; i++)
        layer.weight[i] = i % 2 ? 3e38f : -1e38f;
    assert_fails(layer_solve(&layer, solver, NULL, &err), LDNQ_NUMERIC, "overflows");
    layer_free(&layer);
}

static void an_objective_beyond_a_double_should_be_refused(void **state)
{
    (void)state;
    each_solver(check_huge);
}

static void check_allocations_with(const char *solver, enum ldnq_granularity granularity,
                                   const struct ldnq_scale_format *format)
{
    struct layer layer = layer_make(3, 40, 6, "ternary", granularity, 13);
    layer.problem.scale_format = format;
    for (long n = 0;; n++) {
        ldnq_alloc_fail_after(n);
        const enum ldnq_status status = layer_solve(&layer, solver, NULL, &err);
        ldnq_alloc_fail_after(-1);
        if (status == LDNQ_OK)
            break;
        assert_int_equal(status, LDNQ_NOMEM);
        assert_true(n < 1000);
    }
    layer_free(&layer);
}

static void check_allocations(const char *solver, enum ldnq_granularity granularity)
{
    check_allocations_with(solver, granularity, NULL);
    check_allocations_with(solver, granularity, &ldnq_float16_scales);
    if (granularity != LDNQ_PER_BLOCK)
        check_allocations_with(solver, granularity, &ldnq_power_of_two_scales);
}

/* That nothing leaks then is AddressSanitizer's to say. */
static void every_failing_allocation_should_be_reported(void **state)
{
    (void)state;
    each_solver(check_allocations);
}

static void layer_error_should_equal_the_plain_loops(void **state)
{
    (void)state;
    const size_t shapes[][3] = { { 1, 3, 5 }, { 3, 40, 7 }, { 1, 33, 300 } };
    struct ldnq_rng rng = { 15 };
    for (size_t i = 0; i < 6; i++) {
        const size_t *s = shapes[i / 2], rows = s[0] * s[1];
        const enum ldnq_granularity granularity = i % 4 < 2 ? LDNQ_PER_CHANNEL : LDNQ_PER_BLOCK;
        struct layer layer = layer_make(s[0], s[1], s[2], "int4", granularity, i);
        struct layer zero = layer_make(s[0], s[1], s[2], "int4", granularity, i);
        for (size_t a = 0; a < layer_scale_count(&layer); a++)
            layer.solution.scales[a] = 0.03f + (float)a / 1000;
        if (i % 2) {
            layer_without_bias(&layer);
            layer_without_bias(&zero);
        }
        for (size_t r = 0; r < rows; r++) {
            if (layer.solution.bias)
                layer.solution.bias[r] = layer.bias[r] + 0.1f * (float)(r % 3);
            for (size_t k = 0; k < s[2]; k++) {
                layer.solution.codes[r * s[2] + k] = (int8_t)((int)ldnq_rng_below(&rng, 16) - 8);
                if (zero.solution.bias)
                    zero.solution.bias[r] +=
                        zero.weight[r * s[2] + k] * (float)zero.mean[r / s[1] * s[2] + k];
            }
            if (zero.solution.bias)
                zero.solution.bias[r] += zero.bias[r];
        }
        const double e = layer_objective(&layer, layer.solution.codes, layer.solution.scales,
                                         layer.solution.bias);
        const double e0 =
            layer_objective(&zero, zero.solution.codes, zero.solution.scales, zero.solution.bias);
        assert_within(ldnq_compute_layer_error(&layer.problem, &layer.solution), e / e0,
                      1e-5 * e / e0);
        layer_free(&layer);
        layer_free(&zero);
    }
}

static void every_solver_should_be_found_by_its_name(void **state)
{
    (void)state;
    const struct ldnq_solver *const *all = ldnq_solvers();
    for (size_t i = 0; all[i]; i++) {
        assert_ptr_equal(ldnq_solver_find(all[i]->name), all[i]);
        assert_true(strlen(all[i]->summary) > 0);
    }
    assert_non_null(ldnq_solver_find("rtn"));
    assert_non_null(ldnq_solver_find("admm-paper"));
    assert_null(ldnq_solver_find("nothing"));
}

static bool is_power_of_two(float scale)
{
    int exponent;
    return frexpf(scale, &exponent) == 0.5f;
}

static void check_powers_of_two(const char *solver, enum ldnq_granularity granularity)
{
    if (granularity == LDNQ_PER_BLOCK)
        return;
    const size_t shapes[][3] = { { 1, 5, 12 }, { 3, 4, 6 }, { 1, 3, 1 }, { 0, 2, 3 }, { 1, 0, 4 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int bias = 0; bias < 2; bias++) {
            struct layer layer =
                layer_make(shapes[i][0], shapes[i][1], shapes[i][2], "int8", granularity, i);
            if (!bias)
                layer_without_bias(&layer);
            layer.problem.scale_format = &ldnq_power_of_two_scales;
            assert_ok(layer_solve(&layer, solver, NULL, &err));
            check_solution(&layer);
            for (size_t row = 0; row < shapes[i][0] * shapes[i][1]; row++)
                assert_true(is_power_of_two(layer.solution.scales[row]));
            layer_free(&layer);
        }
}

static void scales_should_be_powers_of_two_where_the_problem_asks_for_it(void **state)
{
    (void)state;
    each_solver(check_powers_of_two);
}

/* The scale of the largest weight, 1.01, is next to 2^-7: below it 1.01 is clipped, above it all
 * others lose a bit. */
static void power_of_two_should_be_the_neighbour_of_the_least_error(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 1, 40, "int8", LDNQ_PER_CHANNEL, 3);
    layer_without_bias(&layer);
    for (size_t i = 0; i < 40; i++) {
        layer.weight[i] = i == 0 ? 1.01f : 0.9f * sinf((float)i);
        for (size_t j = 0; j < 40; j++)
            layer.gram[i * 40 + j] = i == j;
    }
    layer.problem.scale_format = &ldnq_power_of_two_scales;
    assert_ok(layer_solve(&layer, "cd", NULL, &err));
    assert_true(layer.solution.scales[0] == 1.0f / 128);
    layer.weight[0] = 1.6f;
    assert_ok(layer_solve(&layer, "cd", NULL, &err));
    assert_true(layer.solution.scales[0] == 1.0f / 64);
    layer_free(&layer);
}

/* ---- scales of 16-bit floats -------------------------------------------------------------- */

static bool is_scale_of(const struct ldnq_scale_format *format, float scale)
{
    int exponent;
    frexpf(scale, &exponent);
    exponent = exponent - 1 < format->least_exponent ? format->least_exponent : exponent - 1;
    const double steps = ldexp((double)scale, format->fraction - exponent);
    return steps >= 1 && steps == floor(steps);
}

static void check_half_scales(const char *solver, enum ldnq_granularity granularity)
{
    const struct ldnq_scale_format *formats[] = { &ldnq_float16_scales, &ldnq_bfloat16_scales };
    /* The smallest leaves scales below the smallest number of float16, the largest makes codes
     * times scales overflow. */
    const float spreads[] = { 1, 1e-5f, 1e-8f, 1e5f };
    for (size_t f = 0; f < 2; f++)
        for (size_t i = 0; i < 4; i++) {
            struct layer layer = layer_make(2, 5, 12, "int8", granularity, i);
            for (size_t k = 0; k < 2 * 5 * 12; k++)
                layer.weight[k] *= spreads[i];
            layer.problem.scale_format = formats[f];
            assert_ok(layer_solve(&layer, solver, NULL, &err));
            const size_t scales = 10 * (layer.problem.block_index ? layer.problem.block_count : 1);
            for (size_t k = 0; k < scales; k++) {
                assert_true(is_scale_of(formats[f], layer.solution.scales[k]));
                assert_true(layer.solution.scales[k] * 128 <= formats[f]->largest);
            }
            layer_free(&layer);
        }
}

static void scales_should_be_halves_where_the_problem_asks_for_it(void **state)
{
    (void)state;
    each_solver(check_half_scales);
}

/* Between 6e-8 and 6e-5 float16 has few digits: rounding the scale alone moves large weights by
 * several steps, so that the codes have to be found again. */
static void codes_should_fit_the_rounded_scale(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 6, 40, "int8", LDNQ_PER_CHANNEL, 3);
    layer_without_bias(&layer);
    for (size_t i = 0; i < 6 * 40; i++)
        layer.weight[i] *= 3e-5f;
    layer.problem.scale_format = &ldnq_float16_scales;
    assert_ok(layer_solve(&layer, "gptq", NULL, &err));
    assert_true(layer.solution.error < 3e-3);
    layer_free(&layer);
}

static void the_neighbours_of_a_scale_should_be_those_of_its_format(void **state)
{
    (void)state;
    const struct ldnq_codebook *int8 = ldnq_codebook_find("int8");
    const struct {
        const struct ldnq_scale_format *format;
        float scale, below, above;
    } cases[] = {
        { &ldnq_float16_scales, 1.0f, 1.0f, 1.0f },
        { &ldnq_float16_scales, 1.0001f, 1.0f, 1.0009765625f },
        { &ldnq_float16_scales, 1e-9f, 0x1p-24f, 0x1p-24f },
        { &ldnq_float16_scales, 0x1.8p-24f, 0x1p-24f, 0x1p-23f },
        { &ldnq_float16_scales, 1e6f, 511.75f, 511.75f }, /* 128 * 511.75 = 65504 */
        { &ldnq_bfloat16_scales, 1.001f, 1.0f, 1.0078125f },
        { &ldnq_power_of_two_scales, 0.3f, 0.25f, 0.5f },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(ldnq_find_neighboring_scale(cases[i].format, int8, cases[i].scale, false) ==
                    cases[i].below);
        assert_true(ldnq_find_neighboring_scale(cases[i].format, int8, cases[i].scale, true) ==
                    cases[i].above);
    }
}

static void powers_of_two_should_refuse_blocks(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 4, 12, "int8", LDNQ_PER_BLOCK, 3);
    layer.problem.scale_format = &ldnq_power_of_two_scales;
    assert_fails(layer_solve(&layer, "cd", NULL, &err), LDNQ_USAGE, "powers of two");
    layer_free(&layer);
}

static void rtn_should_take_the_scale_from_the_largest_weight(void **state)
{
    (void)state;
    struct layer layer = layer_empty(1, 2, 3, "int4", LDNQ_PER_CHANNEL);
    const float weight[] = { 0.7f, -0.34f, 0.04f, -1.4f, 0.5f, 0 };
    const int8_t codes[] = { 7, -3, 0, -7, 2, 0 }, shared[] = { 3, -2, 0, -7, 2, 0 };
    memcpy(layer.weight, weight, sizeof weight);
    layer.bias[1] = 3;
    assert_ok(layer_solve(&layer, "rtn", NULL, &err));
    assert_memory_equal(layer.solution.codes, codes, 6);
    assert_within(layer.solution.scales[0], 0.1f, 1e-7);
    assert_within(layer.solution.scales[1], 0.2f, 1e-7);
    assert_true(layer.solution.bias[1] == 3);
    layer.problem.granularity = LDNQ_PER_TENSOR;
    assert_ok(layer_solve(&layer, "rtn", NULL, &err));
    assert_memory_equal(layer.solution.codes, shared, 6);
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solution_should_be_codes_of_the_codebook_and_never_worse_than_the_start),
        cmocka_unit_test(one_thread_and_four_should_give_identical_bytes),
        cmocka_unit_test(a_diagonal_should_give_what_its_gram_matrix_gives),
        cmocka_unit_test(zero_weights_should_have_zero_codes_scale_one_and_no_error),
        cmocka_unit_test(a_zero_channel_should_have_zero_codes_and_scale_one),
        cmocka_unit_test(int8_should_be_near_lossless),
        cmocka_unit_test(channels_that_are_equal_should_get_equal_codes),
        cmocka_unit_test(a_centred_gram_that_rounding_made_indefinite_should_be_solved),
        cmocka_unit_test(what_is_not_finite_should_be_refused_by_name),
        cmocka_unit_test(an_objective_beyond_a_double_should_be_refused),
        cmocka_unit_test(every_failing_allocation_should_be_reported),
        cmocka_unit_test(layer_error_should_equal_the_plain_loops),
        cmocka_unit_test(every_solver_should_be_found_by_its_name),
        cmocka_unit_test(scales_should_be_powers_of_two_where_the_problem_asks_for_it),
        cmocka_unit_test(power_of_two_should_be_the_neighbour_of_the_least_error),
        cmocka_unit_test(powers_of_two_should_refuse_blocks),
        cmocka_unit_test(scales_should_be_halves_where_the_problem_asks_for_it),
        cmocka_unit_test(codes_should_fit_the_rounded_scale),
        cmocka_unit_test(the_neighbours_of_a_scale_should_be_those_of_its_format),
        cmocka_unit_test(rtn_should_take_the_scale_from_the_largest_weight),
    };
#if defined(__SANITIZE_THREAD__) /* the rest runs in one thread, and would take minutes */
    cmocka_set_test_filter("one_thread_and_four_should_give_identical_bytes");
#endif
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
