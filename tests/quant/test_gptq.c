/* SPDX-License-Identifier: Apache-2.0 */
/* Against GPTQ written down plainly: one input at a time, with the inverse. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "layer.h"
#include "quant/project.h"

static struct ldnq_error err;

static void solve(struct layer *layer)
{
    assert_ok(layer_solve(layer, "gptq", NULL, &err));
}

/* ---- the plain version ------------------------------------------------------------ */

static double centred(const struct layer *layer, size_t group, size_t i, size_t j)
{
    const size_t k = layer->problem.cols;
    const double *mean = layer->problem.mean ? layer->mean + group * k : NULL;
    return layer->gram[(group * k + i) * k + j] - (mean ? mean[i] * mean[j] : 0);
}

/* Subtracts a multiple of row p from row i on both sides. */
static void subtract_row(size_t k, double times, size_t p, size_t i, double *a, double *inverse)
{
    for (size_t j = 0; j < k; j++) {
        a[i * k + j] -= times * a[p * k + j];
        inverse[i * k + j] -= times * inverse[p * k + j];
    }
}

/* (H - m m' + 1 % of its mean diagonal)^-1 by Gauss and Jordan. */
static double *inverse_of(const struct layer *layer, size_t group)
{
    const size_t k = layer->problem.cols;
    double *a = layer_alloc(k * k, sizeof *a), *inverse = layer_alloc(k * k, sizeof *a), sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += centred(layer, group, i, i);
    for (size_t i = 0; i < k; i++) {
        inverse[i * k + i] = 1;
        for (size_t j = 0; j < k; j++)
            a[i * k + j] = centred(layer, group, i, j) + (i == j ? 0.01 * sum / (double)k : 0);
    }
    for (size_t p = 0; p < k; p++)
        for (size_t i = 0; i < k; i++)
            if (i != p)
                subtract_row(k, a[i * k + p] / a[p * k + p], p, i, a, inverse);
    for (size_t i = 0; i < k * k; i++)
        inverse[i] /= a[i / k * k + i / k];
    free(a);
    return inverse;
}

/* Of the inputs that are not done the first with the largest diagonal. */
static size_t next_input(const struct layer *layer, size_t group, const bool *done)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < layer->problem.cols; i++)
        if (!done[i] &&
            (best == SIZE_MAX || centred(layer, group, i, i) > centred(layer, group, best, best)))
            best = i;
    return best;
}

static void remove_input(size_t k, size_t p, double *inverse)
{
    double *row = layer_alloc(k, sizeof *row);
    memcpy(row, inverse + p * k, k * sizeof *row);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k && i != p; j++)
            inverse[i * k + j] -= row[i] * row[j] / row[p];
    for (size_t j = 0; j < k; j++)
        inverse[p * k + j] = inverse[j * k + p] = 0;
    free(row);
}

/* Rounds input p of every row and lets those that are not done make up for it. */
static void round_input(const struct layer *layer, size_t group, size_t p, const double *inverse,
                        double *w, int8_t *codes)
{
    const struct ldnq_layer_problem *problem = &layer->problem;
    const size_t k = problem->cols;
    for (size_t m = 0; m < problem->rows; m++) {
        const double scale = (double)layer->solution.scales[group * problem->rows + m];
        const int16_t code = ldnq_codebook_find_nearest(problem->codebook, w[m * k + p] / scale);
        const double step = (w[m * k + p] - scale * code) / inverse[p * k + p];
        for (size_t j = 0; j < k; j++)
            w[m * k + j] -= step * inverse[p * k + j];
        codes[m * k + p] = (int8_t)code;
    }
}

static void plain_group(const struct layer *layer, size_t group, int8_t *codes)
{
    const size_t k = layer->problem.cols, count = layer->problem.rows * k;
    double *inverse = inverse_of(layer, group), *w = layer_alloc(count, sizeof *w);
    bool *done = layer_alloc(k, sizeof *done);
    for (size_t i = 0; i < count; i++)
        w[i] = (double)layer->weight[group * count + i];
    for (size_t step = 0; step < k; step++) {
        const size_t p = next_input(layer, group, done);
        round_input(layer, group, p, inverse, w, codes + group * count);
        remove_input(k, p, inverse);
        done[p] = true;
    }
    free(inverse);
    free(w);
    free(done);
}

/* d (H - m m') d' of one row */
static double row_error(const struct layer *layer, size_t row, const int8_t *codes)
{
    const size_t k = layer->problem.cols, group = row / layer->problem.rows;
    const double scale = (double)layer->solution.scales[row];
    double *d = layer_alloc(k, sizeof *d), sum = 0;
    for (size_t i = 0; i < k; i++)
        d[i] = scale * codes[row * k + i] - (double)layer->weight[row * k + i];
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            sum += d[i] * centred(layer, group, i, j) * d[j];
    free(d);
    return sum;
}

/* Scales and codes of the nearest a * q. */
static void project(const struct layer *layer, float *scales, int8_t *codes)
{
    const struct ldnq_layer_problem *p = &layer->problem;
    const size_t rows = p->groups * p->rows, k = p->cols;
    const size_t height = p->granularity == LDNQ_PER_CHANNEL ? 1 : rows;
    double *v = layer_alloc(rows * k, sizeof *v);
    for (size_t i = 0; i < rows * k; i++)
        v[i] = (double)layer->weight[i];
    for (size_t row = 0; row < rows; row += height) {
        struct ldnq_span span = { .v = v + row * k,
                                  .v_stride = k,
                                  .rows = height,
                                  .length = k,
                                  .codes = codes + row * k,
                                  .weight = 1 };
        const float scale = ldnq_project(p->codebook, NULL, &span, 1, 0);
        for (size_t r = row; r < row + height; r++)
            scales[r] = scale;
    }
    free(v);
}

/* The layer has been solved: are these the plain version's codes? Returns in how
 * many rows they are not simply the nearest. */
static size_t check_plain(const struct layer *layer)
{
    const struct ldnq_layer_problem *p = &layer->problem;
    const size_t rows = p->groups * p->rows, k = p->cols;
    int8_t *nearest = layer_alloc(rows * k, 1), *codes = layer_alloc(rows * k, 1);
    float *scales = layer_alloc(rows, sizeof *scales);
    size_t moved = 0;
    project(layer, scales, nearest);
    for (size_t row = 0; row < rows; row++)
        assert_within(layer->solution.scales[row], scales[row], 1e-6f * scales[row]);
    for (size_t g = 0; g < p->groups; g++)
        plain_group(layer, g, codes);
    for (size_t row = 0; row < rows; row++) {
        const bool better = row_error(layer, row, codes) < row_error(layer, row, nearest);
        const int8_t *expected = (better ? codes : nearest) + row * k;
        assert_memory_equal(layer->solution.codes + row * k, expected, k);
        moved += memcmp(expected, nearest + row * k, k) != 0;
    }
    free(nearest);
    free(codes);
    free(scales);
    return moved;
}

/* ---- tests -------------------------------------------------------------------------- */

static void codes_should_be_those_of_the_plain_version(void **state)
{
    (void)state;
    /* Pieces of 32 rows and blocks of 128 inputs, whole and not. */
    const size_t shapes[][3] = { { 1, 5, 12 },   { 3, 40, 7 },  { 1, 33, 128 },
                                 { 1, 40, 129 }, { 2, 3, 300 }, { 20, 1, 9 } };
    const char *codebooks[] = { "ternary", "pot7", "int2", "int3", "int4" };
    size_t moved = 0, rows = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t c = 0; c < 5; c++) {
            const enum ldnq_granularity granularity = c % 2 ? LDNQ_PER_TENSOR : LDNQ_PER_CHANNEL;
            struct layer layer = layer_make(shapes[i][0], shapes[i][1], shapes[i][2], codebooks[c],
                                            granularity, 40 + i);
            if ((i + c) % 3 == 0)
                layer_without_bias(&layer);
            solve(&layer);
            moved += check_plain(&layer);
            rows += shapes[i][0] * shapes[i][1];
            layer_free(&layer);
        }
    if (3 * moved < 2 * rows) /* else this test would say little */
        fail_msg("%zu of %zu rows are not simply the nearest codes", moved, rows);
}

static void inputs_of_equal_variance_should_be_taken_in_their_order(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 20, 24, "int2", LDNQ_PER_CHANNEL, 50);
    for (size_t i = 0; i < 24; i++)
        for (size_t j = 0; j < 24; j++)
            layer.gram[i * 24 + j] = pow(0.8, fabs((double)i - (double)j)) * 2;
    layer_without_bias(&layer);
    solve(&layer);
    assert_true(check_plain(&layer) > 15);
    layer_free(&layer);
}

static void with_a_diagonal_gram_the_codes_should_be_the_nearest(void **state)
{
    (void)state;
    for (int granularity = 0; granularity < 2; granularity++) {
        struct layer layer = layer_make(2, 6, 140, "int3", (enum ldnq_granularity)granularity, 51);
        int8_t nearest[2 * 6 * 140];
        float scales[12];
        for (size_t i = 0; i < 2 * 140 * 140; i++)
            layer.gram[i] = i % (140 * 140) % 141 == 0 ? 1 + (double)(i % 7) : 0;
        layer_without_bias(&layer);
        project(&layer, scales, nearest);
        solve(&layer);
        assert_memory_equal(layer.solution.codes, nearest, sizeof nearest);
        assert_true(layer.solution.error == layer.solution.error_start);
        layer_free(&layer);
    }
}

static void correlated_inputs_should_beat_the_nearest_codes(void **state)
{
    (void)state;
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++)
        for (int granularity = 0; granularity < 2; granularity++) {
            struct layer layer =
                layer_make(1, 30, 60, (*c)->name, (enum ldnq_granularity)granularity, 52);
            int8_t nearest[30 * 60];
            float scales[30];
            solve(&layer);
            project(&layer, scales, nearest);
            double start = 0, mine = 0;
            for (size_t row = 0; row < 30; row++) {
                start += row_error(&layer, row, nearest);
                mine += row_error(&layer, row, layer.solution.codes);
            }
            assert_true(mine < 0.8 * start);
            assert_true(layer.solution.error < 0.8 * layer.solution.error_start);
            layer_free(&layer);
        }
}

/* With a random matrix of few inputs the pass is at times worse than its start. */
static void no_channel_should_be_worse_than_its_start(void **state)
{
    (void)state;
    size_t kept = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct layer layer = layer_make(1, 32, 5, "int2", LDNQ_PER_CHANNEL, 60 + seed);
        int8_t nearest[160], codes[160];
        float scales[32];
        solve(&layer);
        project(&layer, scales, nearest);
        plain_group(&layer, 0, codes);
        for (size_t row = 0; row < 32; row++) {
            const double start = row_error(&layer, row, nearest);
            assert_true(row_error(&layer, row, layer.solution.codes) <= start * (1 + 1e-12));
            kept += row_error(&layer, row, codes) > start * (1 + 1e-9);
        }
        layer_free(&layer);
    }
    assert_true(kept > 0); /* else this test would say nothing */
}

static void bias_should_be_the_best_one_for_the_codes(void **state)
{
    (void)state;
    struct layer layer = layer_make(2, 5, 12, "ternary", LDNQ_PER_TENSOR, 53);
    const struct ldnq_layer_solution *s = &layer.solution;
    solve(&layer);
    for (size_t row = 0; row < 10; row++) {
        double best = (double)layer.bias[row];
        for (size_t i = 0; i < 12; i++)
            best +=
                layer.mean[row / 5 * 12 + i] * ((double)layer.weight[row * 12 + i] -
                                                (double)s->scales[row] * s->codes[row * 12 + i]);
        assert_within(s->bias[row], best, 1e-6);
    }
    layer_free(&layer);
}

static void any_number_of_threads_should_give_the_same_bits(void **state)
{
    (void)state;
    const size_t shapes[][3] = { { 1, 100, 200 }, { 60, 2, 9 } };
    for (size_t i = 0; i < 4; i++) {
        const size_t *s = shapes[i / 2], rows = s[0] * s[1];
        const enum ldnq_granularity granularity = i % 2 ? LDNQ_PER_CHANNEL : LDNQ_PER_TENSOR;
        struct layer one = layer_make(s[0], s[1], s[2], "int3", granularity, 54);
        solve(&one);
        for (unsigned threads = 2; threads <= 4; threads += 2) {
            struct layer many = layer_make(s[0], s[1], s[2], "int3", granularity, 54);
            struct ldnq_pool *pool;
            assert_ok(ldnq_pool_create(threads, &pool, &err));
            assert_ok(layer_solve(&many, "gptq", pool, &err));
            assert_memory_equal(many.solution.codes, one.solution.codes, rows * s[2]);
            assert_memory_equal(many.solution.scales, one.solution.scales, rows * sizeof(float));
            assert_memory_equal(many.solution.bias, one.solution.bias, rows * sizeof(float));
            assert_true(many.solution.error == one.solution.error);
            ldnq_pool_destroy(pool);
            layer_free(&many);
        }
        layer_free(&one);
    }
}

static void groups_together_should_give_what_each_gives_alone(void **state)
{
    (void)state;
    struct layer whole = layer_make(4, 35, 9, "ternary", LDNQ_PER_CHANNEL, 55);
    solve(&whole);
    for (size_t g = 0; g < 4; g++) {
        struct layer one = layer_empty(1, 35, 9, "ternary", LDNQ_PER_CHANNEL);
        memcpy(one.weight, whole.weight + g * 315, 315 * sizeof *one.weight);
        memcpy(one.bias, whole.bias + g * 35, 35 * sizeof *one.bias);
        memcpy(one.gram, whole.gram + g * 81, 81 * sizeof *one.gram);
        memcpy(one.mean, whole.mean + g * 9, 9 * sizeof *one.mean);
        solve(&one);
        assert_memory_equal(one.solution.codes, whole.solution.codes + g * 315, 315);
        assert_memory_equal(one.solution.scales, whole.solution.scales + g * 35, 35 * 4);
        assert_memory_equal(one.solution.bias, whole.solution.bias + g * 35, 35 * 4);
        layer_free(&one);
    }
    layer_free(&whole);
}

static void scaling_the_gram_should_leave_the_codes_unchanged(void **state)
{
    (void)state;
    const double times[] = { ldexp(1, -900), 1024, ldexp(1, 900) };
    for (size_t t = 0; t < 3; t++) {
        struct layer a = layer_make(3, 10, 20, "int3", LDNQ_PER_CHANNEL, 56);
        struct layer b = layer_make(3, 10, 20, "int3", LDNQ_PER_CHANNEL, 56);
        for (size_t i = 0; i < 3 * 400; i++)
            b.gram[i] *= times[t];
        layer_without_bias(&a);
        layer_without_bias(&b);
        solve(&a);
        solve(&b);
        assert_memory_equal(a.solution.codes, b.solution.codes, 600);
        layer_free(&a);
        layer_free(&b);
    }
}

static void with_a_gram_of_zeros_the_start_should_stay(void **state)
{
    (void)state;
    for (int granularity = 0; granularity < 2; granularity++) {
        struct layer layer = layer_make(2, 3, 10, "pot9", (enum ldnq_granularity)granularity, 57);
        int8_t nearest[60];
        float scales[6];
        memset(layer.gram, 0, 200 * sizeof *layer.gram);
        memset(layer.mean, 0, 20 * sizeof *layer.mean);
        project(&layer, scales, nearest);
        solve(&layer);
        assert_memory_equal(layer.solution.codes, nearest, 60);
        assert_memory_equal(layer.solution.bias, layer.bias, 6 * sizeof(float));
        assert_true(layer.solution.error == 0 && layer.solution.error_start == 0);
        layer_free(&layer);
    }
}

/* Input 3 is 0, input 8 the constant 2 but for what floats make of it. */
static void constant_inputs_should_get_their_nearest_codes(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        struct layer layer = layer_make(1, 20, 30, "int3", LDNQ_PER_CHANNEL, 58);
        for (size_t i = 0; i < 30; i++) {
            layer.gram[3 * 30 + i] = layer.gram[i * 30 + 3] = 0;
            layer.gram[8 * 30 + i] = layer.gram[i * 30 + 8] = 2 * layer.mean[i] * (1 + sign * 1e-7);
        }
        layer.mean[3] = 0;
        layer.mean[8] = 2;
        for (size_t i = 3; i <= 8; i += 5)
            layer.gram[8 * 30 + i] = layer.gram[i * 30 + 8] = i == 8 ? 4 * (1 + sign * 1e-7) : 0;
        solve(&layer);
        for (size_t row = 0; row < 20; row++)
            for (size_t i = 3; i <= 8; i += 5)
                assert_int_equal(
                    layer.solution.codes[row * 30 + i],
                    ldnq_codebook_find_nearest(layer.problem.codebook,
                                               (double)layer.weight[row * 30 + i] /
                                                   (double)layer.solution.scales[row]));
        assert_true(layer.solution.error < 0.8 * layer.solution.error_start);
        layer_free(&layer);
    }
}

/* As when all samples are the same: what their sums' rounding to floats leaves can
 * look like a correlation, which is not to be followed. */
static void with_inputs_that_never_vary_the_codes_should_be_the_nearest(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 6, 20, "int3", LDNQ_PER_CHANNEL, 63);
    int8_t nearest[120];
    float scales[6];
    for (size_t i = 0; i < 20; i++)
        for (size_t j = 0; j < 20; j++)
            layer.gram[i * 20 + j] =
                layer.mean[i] * layer.mean[j] * (1 + 1e-7 * pow(0.9, fabs((double)i - (double)j)));
    project(&layer, scales, nearest);
    solve(&layer);
    assert_memory_equal(layer.solution.codes, nearest, 120);
    layer_free(&layer);
}

static void fewer_samples_than_inputs_should_be_solved(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 10, 50, "ternary", LDNQ_PER_CHANNEL, 59);
    struct ldnq_rng rng = { 30 };
    memset(layer.gram, 0, 2500 * sizeof *layer.gram);
    memset(layer.mean, 0, 50 * sizeof *layer.mean);
    layer_statistics(&layer, 12, &rng);
    solve(&layer);
    assert_true(layer.solution.error < 0.5 * layer.solution.error_start);
    assert_true(check_plain(&layer) > 5);
    layer_free(&layer);
}

static void an_indefinite_gram_should_be_refused(void **state)
{
    (void)state;
    struct layer layer = layer_make(2, 3, 2, "ternary", LDNQ_PER_CHANNEL, 31);
    layer.gram[5] = layer.gram[6] = 1000;
    assert_fails(layer_solve(&layer, "gptq", NULL, &err), LDNQ_NUMERIC,
                 "the gram matrix of group 1 is not positive semidefinite");
    layer_free(&layer);
}

/* Errors of different solvers can be compared only then. */
static void start_should_be_that_of_admm(void **state)
{
    (void)state;
    struct layer layer = layer_make(1, 64, 300, "int4", LDNQ_PER_CHANNEL, 62);
    struct ldnq_solver_options options;
    ldnq_solver_defaults(&options);
    options.max_iterations = 0;
    assert_ok(ldnq_solve(ldnq_solver_find("admm-paper"), &layer.problem, &options, NULL,
                         &layer.solution, &err));
    const double start = layer.solution.error_start, error = layer.solution.error;
    solve(&layer);
    assert_true(layer.solution.error_start == start);
    assert_true(layer.solution.error < 0.7 * error);
    layer_free(&layer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_should_be_those_of_the_plain_version),
        cmocka_unit_test(inputs_of_equal_variance_should_be_taken_in_their_order),
        cmocka_unit_test(with_a_diagonal_gram_the_codes_should_be_the_nearest),
        cmocka_unit_test(correlated_inputs_should_beat_the_nearest_codes),
        cmocka_unit_test(no_channel_should_be_worse_than_its_start),
        cmocka_unit_test(bias_should_be_the_best_one_for_the_codes),
        cmocka_unit_test(any_number_of_threads_should_give_the_same_bits),
        cmocka_unit_test(groups_together_should_give_what_each_gives_alone),
        cmocka_unit_test(scaling_the_gram_should_leave_the_codes_unchanged),
        cmocka_unit_test(with_a_gram_of_zeros_the_start_should_stay),
        cmocka_unit_test(constant_inputs_should_get_their_nearest_codes),
        cmocka_unit_test(with_inputs_that_never_vary_the_codes_should_be_the_nearest),
        cmocka_unit_test(fewer_samples_than_inputs_should_be_solved),
        cmocka_unit_test(an_indefinite_gram_should_be_refused),
        cmocka_unit_test(start_should_be_that_of_admm),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
