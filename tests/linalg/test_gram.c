/* SPDX-License-Identifier: Apache-2.0 */
/* Against a plain double loop. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "linalg/gram.h"

static struct ldnq_error err;

struct gram {
    double *h, *sum;
};

static void free_gram(struct gram *gram)
{
    free(gram->h);
    free(gram->sum);
}

/* Columns (K, positions); rows have unused elements after them. */
static float *random_columns(size_t k, size_t positions, uint64_t seed)
{
    struct ldnq_rng rng = { seed };
    float *columns = malloc((k * (positions + 3) + 1) * sizeof *columns);
    for (size_t i = 0; i < k * (positions + 3); i++)
        columns[i] = (float)(2 * ldnq_rng_uniform(&rng) - 0.8);
    return columns;
}

static struct gram gram_of(size_t k, const float *columns, size_t positions, size_t threads)
{
    struct ldnq_pool *pool = NULL;
    struct gram gram = { calloc(k * k + 1, sizeof(double)), calloc(k + 1, sizeof(double)) };
    assert_ok(ldnq_pool_create(threads, &pool, &err));
    float *scratch = malloc((ldnq_gram_scratch_floats(k, threads) + 1) * sizeof *scratch);
    for (size_t first = 0; first < positions; first += LDNQ_GRAM_SLAB) {
        size_t count = positions - first < LDNQ_GRAM_SLAB ? positions - first : LDNQ_GRAM_SLAB;
        ldnq_gram_add(k, columns + first, positions + 3, count, gram.h, gram.sum, scratch, pool);
    }
    ldnq_gram_finish(k, (double)positions, gram.h, gram.sum);
    ldnq_pool_destroy(pool);
    free(scratch);
    return gram;
}

/* K on both sides of the tiles' edges, positions of the slabs'. */
static const size_t ks[] = { 1, 3, 95, 96, 97, 200 };
static const size_t positions[] = { 1, 5, 1023, 1024, 1025, 2300 };

static void check_gram(size_t k, size_t count)
{
    float *columns = random_columns(k, count, k * 10000 + count);
    struct gram gram = gram_of(k, columns, count, 2);
    size_t ld = count + 3;
    for (size_t i = 0; i < k; i++) {
        double sum = 0;
        for (size_t p = 0; p < count; p++)
            sum += (double)columns[i * ld + p];
        assert_true(fabs(gram.sum[i] - sum / (double)count) < 1e-12);
        for (size_t j = 0; j < k; j++) {
            double product = 0;
            for (size_t p = 0; p < count; p++)
                product += (double)columns[i * ld + p] * (double)columns[j * ld + p];
            assert_true(fabs(gram.h[i * k + j] - product / (double)count) < 1e-5);
            assert_true(gram.h[i * k + j] == gram.h[j * k + i]);
        }
    }
    free_gram(&gram);
    free(columns);
}

static void gram_should_equal_the_plain_loop_and_be_symmetric(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        for (size_t j = 0; j < sizeof positions / sizeof *positions; j++)
            if (ks[i] < 100 || positions[j] < 1024)
                check_gram(ks[i], positions[j]);
}

static void gram_should_be_the_same_to_the_bit_on_1_to_4_threads(void **state)
{
    (void)state;
    const size_t k = 400, count = 1500;
    float *columns = random_columns(k, count, 5);
    struct gram first = gram_of(k, columns, count, 1);
    for (size_t threads = 2; threads <= 4; threads++) {
        struct gram other = gram_of(k, columns, count, threads);
        assert_memory_equal(first.h, other.h, k * k * sizeof(double));
        assert_memory_equal(first.sum, other.sum, k * sizeof(double));
        free_gram(&other);
    }
    free_gram(&first);
    free(columns);
}

static void no_columns_and_no_inputs_should_give_zeros(void **state)
{
    (void)state;
    double h[4] = { 0 }, sum[2] = { 0 };
    float scratch[4], none[1];
    ldnq_gram_add(2, none, 0, 0, h, sum, scratch, NULL);
    ldnq_gram_add(0, none, 0, 0, h, sum, scratch, NULL);
    ldnq_gram_finish(2, 0, h, sum);
    for (size_t i = 0; i < 4; i++)
        assert_true(h[i] == 0 && sum[i / 2] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gram_should_equal_the_plain_loop_and_be_symmetric),
        cmocka_unit_test(gram_should_be_the_same_to_the_bit_on_1_to_4_threads),
        cmocka_unit_test(no_columns_and_no_inputs_should_give_zeros),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
