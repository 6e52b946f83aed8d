/* SPDX-License-Identifier: Apache-2.0 */
/* Products with bias and clamp against a plain loop in double, in all of the
 * processor's implementations. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "linalg/gemm_tiled.h"

#define GUARD 7777.0f

struct parts {
    struct ldnq_gemm gemm;
    size_t c_count;
    float *a, *b, *c, *before, *row_bias, *column_bias;
};

static float *random_floats(size_t count, struct ldnq_rng *rng)
{
    float *values = malloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(2 * ldnq_rng_uniform(rng) - 1);
    return values;
}

static bool toss(struct ldnq_rng *rng)
{
    return ldnq_rng_below(rng, 2) == 1;
}

static struct parts make(size_t m, size_t n, size_t k, struct ldnq_rng *rng)
{
    static const float alphas[] = { 1.0f, -0.5f }, betas[] = { 0.0f, 1.0f, 0.75f };
    bool ta = toss(rng), tb = toss(rng);
    size_t slack = ldnq_rng_below(rng, 3), c_row = n + slack;
    struct parts p = { .c_count = m * c_row };
    p.a = random_floats((m + slack) * (k + slack), rng);
    p.b = random_floats((k + slack) * (n + slack), rng);
    p.before = random_floats(p.c_count, rng);
    p.c = malloc((p.c_count + 1) * sizeof *p.c);
    p.row_bias = random_floats(m, rng);
    p.column_bias = random_floats(n, rng);
    p.gemm = (struct ldnq_gemm){
        .m = m,
        .n = n,
        .k = k,
        .a = p.a,
        .b = p.b,
        .c = p.c,
        .c_row = c_row,
        .a_row = ta ? 1 : k + slack,
        .a_step = ta ? m + slack : 1,
        .b_row = tb ? 1 : n + slack,
        .b_step = tb ? k + slack : 1,
        .alpha = alphas[ldnq_rng_below(rng, 2)],
        .beta = betas[ldnq_rng_below(rng, 3)],
        .row_bias = toss(rng) ? p.row_bias : NULL,
        .column_bias = toss(rng) ? p.column_bias : NULL,
        .is_clamped = toss(rng),
        .low = -0.5f,
        .high = 0.75f,
        .next_b = toss(rng) ? p.b : NULL,
        .next_n = n,
    };
    return p;
}

static void destroy(struct parts *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->before);
    free(p->row_bias);
    free(p->column_bias);
}

/* beta 0 must not even read: C then holds NaN. */
static void fill_c(const struct parts *p)
{
    const struct ldnq_gemm *g = &p->gemm;
    for (size_t i = 0; i < p->c_count; i++)
        p->c[i] = i % g->c_row >= g->n ? GUARD : g->beta == 0 ? NAN : p->before[i];
    p->c[p->c_count] = GUARD;
}

static double plain_element(const struct parts *p, size_t i, size_t j)
{
    const struct ldnq_gemm *g = &p->gemm;
    double sum = 0;
    for (size_t k = 0; k < g->k; k++)
        sum +=
            (double)g->a[i * g->a_row + k * g->a_step] * (double)g->b[k * g->b_row + j * g->b_step];
    sum *= (double)g->alpha;
    if (g->beta != 0)
        sum += (double)g->beta * (double)p->before[i * g->c_row + j];
    sum += g->row_bias ? (double)g->row_bias[i] : 0;
    sum += g->column_bias ? (double)g->column_bias[j] : 0;
    return g->is_clamped ? fmin(fmax(sum, (double)g->low), (double)g->high) : sum;
}

static void check(const struct parts *p)
{
    const struct ldnq_gemm *g = &p->gemm;
    double tolerance = 2e-6 + 3e-7 * (double)g->k;
    for (size_t implementation = 0; implementation < ldnq_gemm_count_implementations();
         implementation++) {
        fill_c(p);
        ldnq_gemm_with(implementation, g);
        for (size_t i = 0; i < g->m; i++)
            for (size_t j = 0; j < g->n; j++)
                assert_true(fabs((double)p->c[i * g->c_row + j] - plain_element(p, i, j)) <=
                            tolerance);
        for (size_t i = 0; i <= p->c_count; i++)
            if (i == p->c_count || i % g->c_row >= g->n)
                assert_true(p->c[i] == GUARD);
    }
}

static void products_should_equal_the_plain_loop(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 1 };
    for (int round = 0; round < 400; round++) {
        struct parts p = make(1 + ldnq_rng_below(&rng, 30), 1 + ldnq_rng_below(&rng, 80),
                              ldnq_rng_below(&rng, 60), &rng);
        check(&p);
        destroy(&p);
    }
}

/* Longer than one part of k, wider than one block of columns, for all numbers of
 * rows that a tile may have. */
static void products_of_several_blocks_should_equal_the_plain_loop(void **state)
{
    (void)state;
    static const size_t depths[] = { 384, 385, 800, 1537 };
    struct ldnq_rng rng = { 2 };
    for (size_t i = 0; i < 32; i++) {
        struct parts p = make(1 + i, 31 + ldnq_rng_below(&rng, 130), depths[i % 4], &rng);
        check(&p);
        destroy(&p);
    }
    struct parts wide = make(9, 3000, 7, &rng);
    check(&wide);
    destroy(&wide);
}

static void empty_products_should_write_nothing_and_empty_sums_zeros(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 3 };
    struct parts none = make(0, 5, 3, &rng), thin = make(5, 0, 3, &rng), zero = make(5, 4, 0, &rng);
    check(&none);
    check(&thin);
    check(&zero);
    destroy(&none);
    destroy(&thin);
    destroy(&zero);
}

/* Threads cut products in different places than one thread would need to. */
static void cutting_a_product_should_change_no_bit(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 4 };
    for (int round = 0; round < 50; round++) {
        struct parts p = make(2 + ldnq_rng_below(&rng, 40), 2 + ldnq_rng_below(&rng, 90),
                              ldnq_rng_below(&rng, 900), &rng);
        size_t row = 1 + ldnq_rng_below(&rng, p.gemm.m - 1);
        size_t column = 1 + ldnq_rng_below(&rng, p.gemm.n - 1);
        for (size_t implementation = 0; implementation < ldnq_gemm_count_implementations();
             implementation++) {
            float *whole = malloc((p.c_count + 1) * sizeof *whole);
            fill_c(&p);
            ldnq_gemm_with(implementation, &p.gemm);
            memcpy(whole, p.c, (p.c_count + 1) * sizeof *whole);
            fill_c(&p);
            for (int part = 0; part < 4; part++) {
                struct ldnq_gemm g = p.gemm;
                size_t i = part / 2 ? row : 0, j = part % 2 ? column : 0;
                g.m = part / 2 ? g.m - row : row;
                g.n = part % 2 ? g.n - column : column;
                g.a += i * g.a_row;
                g.b += j * g.b_step;
                g.c += i * g.c_row + j;
                g.row_bias = g.row_bias ? g.row_bias + i : NULL;
                g.column_bias = g.column_bias ? g.column_bias + j : NULL;
                ldnq_gemm_with(implementation, &g);
            }
            assert_memory_equal(whole, p.c, (p.c_count + 1) * sizeof *whole);
            free(whole);
        }
        destroy(&p);
    }
}

static void clamps_should_leave_nan_and_hold_infinity(void **state)
{
    (void)state;
    for (size_t implementation = 0; implementation < ldnq_gemm_count_implementations();
         implementation++) {
        float one = 1, b[40], c[40];
        for (size_t i = 0; i < 40; i++)
            b[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
        struct ldnq_gemm g = { .m = 1,
                               .n = 40,
                               .k = 1,
                               .a = &one,
                               .b = b,
                               .c = c,
                               .a_row = 1,
                               .a_step = 1,
                               .b_row = 40,
                               .b_step = 1,
                               .c_row = 40,
                               .alpha = 1,
                               .is_clamped = true,
                               .low = 0,
                               .high = 6 };
        ldnq_gemm_with(implementation, &g);
        for (size_t i = 0; i < 40; i++)
            assert_true(i % 3 == 0 ? isnan(c[i]) : c[i] == (i % 3 == 1 ? 6.0f : 0.0f));
    }
}

/* The products are so small that they round to -0. */
static void absent_biases_should_keep_the_sign_of_zero(void **state)
{
    (void)state;
    for (size_t implementation = 0; implementation < ldnq_gemm_count_implementations();
         implementation++) {
        float a[5], b[40], c[200];
        for (size_t i = 0; i < 5; i++)
            a[i] = -1e-30f;
        for (size_t j = 0; j < 40; j++)
            b[j] = 1e-30f;
        struct ldnq_gemm g = { .m = 5,
                               .n = 40,
                               .k = 1,
                               .a = a,
                               .b = b,
                               .c = c,
                               .a_row = 1,
                               .a_step = 1,
                               .b_row = 40,
                               .b_step = 1,
                               .c_row = 40,
                               .alpha = 1 };
        ldnq_gemm_with(implementation, &g);
        const bool is_negative = signbit(c[0]) != 0;
        for (size_t i = 0; i < 200; i++)
            assert_true(c[i] == 0.0f && (signbit(c[i]) != 0) == is_negative);
        /* Without fused sums the product becomes -0 before it is added to 0. */
        assert_true(is_negative || implementation + 1 == ldnq_gemm_count_implementations());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_should_equal_the_plain_loop),
        cmocka_unit_test(products_of_several_blocks_should_equal_the_plain_loop),
        cmocka_unit_test(empty_products_should_write_nothing_and_empty_sums_zeros),
        cmocka_unit_test(cutting_a_product_should_change_no_bit),
        cmocka_unit_test(absent_biases_should_keep_the_sign_of_zero),
        cmocka_unit_test(clamps_should_leave_nan_and_hold_infinity),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
