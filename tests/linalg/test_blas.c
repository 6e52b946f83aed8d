/* SPDX-License-Identifier: Apache-2.0 */
/* Products against a plain triple loop. */
#include "test.h"
#include "with_blas.h"

#include <cblas.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "linalg/blas.h"
#include "linalg/blas_buffers.h"

struct product {
    enum ldnq_transpose ta, tb;
    size_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    float *a, *b, *c;
};

static float *random_floats(size_t count, struct ldnq_rng *rng)
{
    float *values = malloc((count + 1) * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(2 * ldnq_rng_uniform(rng) - 1);
    return values;
}

/* Sizes from `least` on; rows have unused elements after them. */
static struct product random_product(struct ldnq_rng *rng, size_t least)
{
    static const float factors[] = { 0.0f, 1.0f, -0.5f };
    struct product p = { .ta = ldnq_rng_below(rng, 2) ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
                         .tb = ldnq_rng_below(rng, 2) ? LDNQ_TRANSPOSED : LDNQ_AS_IS,
                         .m = least + ldnq_rng_below(rng, 20),
                         .n = least + ldnq_rng_below(rng, 40),
                         .k = least + ldnq_rng_below(rng, 70),
                         .alpha = factors[1 + ldnq_rng_below(rng, 2)],
                         .beta = factors[ldnq_rng_below(rng, 3)] };
    p.lda = (p.ta ? p.m : p.k) + ldnq_rng_below(rng, 3);
    p.ldb = (p.tb ? p.k : p.n) + ldnq_rng_below(rng, 3);
    p.ldc = p.n + ldnq_rng_below(rng, 3);
    p.a = random_floats(p.lda * (p.ta ? p.k : p.m), rng);
    p.b = random_floats(p.ldb * (p.tb ? p.n : p.k), rng);
    p.c = random_floats(p.ldc * p.m, rng);
    return p;
}

static void free_product(struct product *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
}

static double plain_element(const struct product *p, size_t i, size_t j, double before)
{
    double sum = 0;
    for (size_t k = 0; k < p->k; k++)
        sum += (double)p->a[p->ta ? k * p->lda + i : i * p->lda + k] *
               (double)p->b[p->tb ? j * p->ldb + k : k * p->ldb + j];
    return (double)p->alpha * sum + (p->beta == 0 ? 0 : (double)p->beta * before);
}

static void *as_double(const float *values, size_t count)
{
    double *copy = malloc((count + 1) * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = (double)values[i];
    return copy;
}

static void check_sgemm(const struct product *p)
{
    float *before = malloc((p->ldc * p->m + 1) * sizeof *before);
    memcpy(before, p->c, p->ldc * p->m * sizeof *before);
    ldnq_sgemm(p->ta, p->tb, p->m, p->n, p->k, p->alpha, p->a, p->lda, p->b, p->ldb, p->beta, p->c,
               p->ldc);
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->ldc; j++) {
            float was = before[i * p->ldc + j], is = p->c[i * p->ldc + j];
            if (j >= p->n)
                assert_true(is == was);
            else
                assert_true(fabs((double)is - plain_element(p, i, j, (double)was)) < 2e-5);
        }
    free(before);
}

static void check_dgemm(const struct product *p)
{
    double *a = as_double(p->a, p->lda * (p->ta ? p->k : p->m));
    double *b = as_double(p->b, p->ldb * (p->tb ? p->n : p->k));
    double *c = as_double(p->c, p->ldc * p->m);
    ldnq_dgemm(p->ta, p->tb, p->m, p->n, p->k, (double)p->alpha, a, p->lda, b, p->ldb,
               (double)p->beta, c, p->ldc);
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->ldc; j++) {
            double was = (double)p->c[i * p->ldc + j];
            double wanted = j < p->n ? plain_element(p, i, j, was) : was;
            assert_true(fabs(c[i * p->ldc + j] - wanted) < 1e-12);
        }
    free(a);
    free(b);
    free(c);
}

static void products_should_equal_the_plain_loop(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 1 };
    for (int round = 0; round < 200; round++) {
        struct product p = random_product(&rng, 1);
        check_dgemm(&p);
        check_sgemm(&p);
        free_product(&p);
    }
}

static void products_without_rows_columns_or_sums_should_be_complete(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 2 };
    for (int empty = 0; empty < 3; empty++) {
        for (int round = 0; round < 20; round++) {
            struct product p = random_product(&rng, 1);
            *(empty == 0 ? &p.m : empty == 1 ? &p.n : &p.k) = 0;
            if (empty == 2 && round % 2) /* rows of length 0, as a tensor has them */
                p.lda = p.ldb = 0;
            check_dgemm(&p);
            check_sgemm(&p);
            free_product(&p);
        }
    }
}

static void beta_0_should_leave_c_unread(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        float ones[4] = { 1, 1, 1, 1 }, c[4] = { NAN, INFINITY, NAN, NAN };
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, 2, 2, k, 1.0f, ones, 2, ones, 2, 0.0f, c, 2);
        for (size_t i = 0; i < 4; i++)
            assert_true(c[i] == (float)k);
    }
}

/* A host that runs OpenBLAS on two threads, or on one where it is built for one. */
static int set_threads_of_host(void)
{
    openblas_set_num_threads(2);
    return openblas_get_num_threads();
}

static void release_should_restore_the_threads_of_the_host(void **state)
{
    (void)state;
    ldnq_blas_release(); /* what the group holds */
    const int before = set_threads_of_host();
    assert_false(ldnq_blas_is_acquired());
    for (int i = 0; i < 2; i++) {
        ldnq_blas_acquire();
        assert_int_equal(openblas_get_num_threads(), 1);
        ldnq_blas_acquire();
        ldnq_blas_release();
        assert_true(ldnq_blas_is_acquired());
        assert_int_equal(openblas_get_num_threads(), 1);
        ldnq_blas_release();
        assert_false(ldnq_blas_is_acquired());
        assert_int_equal(openblas_get_num_threads(), before);
    }
    ldnq_blas_acquire();
}

static void *compute_between_acquire_and_release(void *argument)
{
    size_t *wrong = argument;
    for (int i = 0; i < 200; i++) {
        float a[4] = { 1, 2, 3, 4 }, b[4] = { 5, 6, 7, 8 }, c[4];
        ldnq_blas_acquire();
        *wrong += openblas_get_num_threads() != 1;
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2);
        *wrong += c[0] != 19 || c[1] != 22 || c[2] != 43 || c[3] != 50;
        ldnq_blas_release();
    }
    return NULL;
}

static void threads_should_acquire_at_once(void **state)
{
    (void)state;
    ldnq_blas_release();
    const int before = set_threads_of_host();
    pthread_t threads[2];
    size_t wrong[2] = { 0 };
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, compute_between_acquire_and_release, &wrong[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
    assert_int_equal(openblas_get_num_threads(), before);
    ldnq_blas_acquire();
}

static void *multiply_in_thread(void *ignored)
{
    (void)ignored;
    float a[4] = { 1, 2, 3, 4 }, c[4];
    for (int i = 0; i < 1000; i++)
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, 2, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    return NULL;
}

/* The size of the process's address space, in pages. */
static size_t read_address_space(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu", &pages), 1);
    fclose(file);
    return pages;
}

static void products_should_map_no_buffer_after_reserve(void **state)
{
    (void)state;
    struct ldnq_error err;
    pthread_t threads[3];
    assert_int_equal(ldnq_blas_reserve(2, &err), LDNQ_OK);
    assert_int_equal(ldnq_blas_reserve(1, &err), LDNQ_OK);
    ldnq_blas_unreserve(3);
    assert_int_equal(ldnq_blas_reserve(3, &err), LDNQ_OK);
    for (int round = 0; round < 2; round++) {
        const size_t before = read_address_space();
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, multiply_in_thread, NULL), 0);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        const size_t buffer = LDNQ_BLAS_BUFFER_BYTES / 4096;
        /* The stacks of the first round stay in use by later threads. */
        if (round > 0)
            assert_true(read_address_space() < before + buffer / 2);
    }
    ldnq_blas_unreserve(3);
}

static void reserve_should_refuse_more_than_the_address_space(void **state)
{
    (void)state;
    struct ldnq_error err;
    assert_int_equal(ldnq_blas_reserve(1 << 20, &err), LDNQ_NOMEM);
    assert_int_equal(ldnq_blas_reserve(1, &err), LDNQ_OK);
    ldnq_blas_unreserve(1);
}

static void describe_should_name_the_library_in_any_buffer(void **state)
{
    (void)state;
    char text[200];
    assert_non_null(strstr(ldnq_blas_describe(text, sizeof text), "OpenBLAS "));
    assert_non_null(strstr(text, " kernels)"));
    for (size_t size = 1; size < 40; size++) {
        memset(text, 'g', sizeof text);
        assert_ptr_equal(ldnq_blas_describe(text, size), text);
        assert_true(strlen(text) < size);
        assert_int_equal(text[size], 'g');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_should_equal_the_plain_loop),
        cmocka_unit_test(products_without_rows_columns_or_sums_should_be_complete),
        cmocka_unit_test(beta_0_should_leave_c_unread),
        cmocka_unit_test(release_should_restore_the_threads_of_the_host),
        cmocka_unit_test(threads_should_acquire_at_once),
        cmocka_unit_test(products_should_map_no_buffer_after_reserve),
        cmocka_unit_test(reserve_should_refuse_more_than_the_address_space),
        cmocka_unit_test(describe_should_name_the_library_in_any_buffer),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
