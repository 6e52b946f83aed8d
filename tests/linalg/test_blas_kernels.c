/* Which kernels OpenBLAS runs, and that they can be changed after it has started. */
#define _GNU_SOURCE
#include "test.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "linalg/blas.h"
#include "linalg/blas_kernels.h"

static void wants_avx512_should_only_replace_avx2_kernels_nobody_asked_for(void **state)
{
    (void)state;
    assert_true(ldnq_blas_wants_avx512(true, "Zen", NULL));
    assert_true(ldnq_blas_wants_avx512(true, "Haswell", ""));
    assert_false(ldnq_blas_wants_avx512(false, "Zen", NULL));
    assert_false(ldnq_blas_wants_avx512(true, "Zen", "Zen"));
    assert_false(ldnq_blas_wants_avx512(true, "Zen", "Haswell"));
    assert_false(ldnq_blas_wants_avx512(true, "SkylakeX", NULL));
    assert_false(ldnq_blas_wants_avx512(true, "SapphireRapids", NULL));
    assert_false(ldnq_blas_wants_avx512(true, "Unknown", NULL));
}

/* Whole numbers, so that every set of kernels must have the same sums. */
static void check_product(void)
{
    enum { M = 37, N = 29, K = 53 };
    static float a[M * K], b[K * N], c[M * N];
    for (size_t i = 0; i < M * K; i++)
        a[i] = (float)(i % 7) - 3;
    for (size_t i = 0; i < K * N; i++)
        b[i] = (float)(i % 5) - 2;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, M, N, K, 1, a, K, b, N, 0, c, N);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            float sum = 0;
            for (size_t k = 0; k < K; k++)
                sum += a[i * K + k] * b[k * N + j];
            assert_true(c[i * N + j] == sum);
        }
    }
}

static bool has_avx2(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static void products_should_be_right_after_kernels_have_changed(void **state)
{
    (void)state;
    static const char *const names[] = { "Haswell", "Sandybridge", "Nehalem", "Zen" };
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    check_product();
    size_t taken = 0;
    for (size_t i = 0; i < 4 && has_avx2(); i++) {
        if (!ldnq_blas_take_kernels(names[i]))
            continue;
        taken++;
        assert_string_equal(openblas_get_corename(), names[i]);
        assert_null(getenv("OPENBLAS_CORETYPE"));
        assert_int_equal(openblas_get_num_threads(), 1);
        check_product();
    }
    /* All or none: none in an OpenBLAS that was built for one processor. */
    assert_true(taken == 0 || taken == 4);
    ldnq_blas_take_kernels(before);
}

static void unknown_kernels_should_leave_all_as_it_was(void **state)
{
    (void)state;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    assert_false(ldnq_blas_take_kernels("NoSuchKernels"));
    assert_string_equal(openblas_get_corename(), before);
    assert_null(getenv("OPENBLAS_CORETYPE"));
    check_product();
}

static void the_users_choice_should_stand(void **state)
{
    (void)state;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    setenv("OPENBLAS_CORETYPE", "Prescott", 1);
    assert_false(ldnq_blas_take_kernels("Nehalem"));
    ldnq_blas_choose_kernels();
    assert_string_equal(openblas_get_corename(), before);
    assert_string_equal(getenv("OPENBLAS_CORETYPE"), "Prescott");
    unsetenv("OPENBLAS_CORETYPE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wants_avx512_should_only_replace_avx2_kernels_nobody_asked_for),
        cmocka_unit_test(products_should_be_right_after_kernels_have_changed),
        cmocka_unit_test(unknown_kernels_should_leave_all_as_it_was),
        cmocka_unit_test(the_users_choice_should_stand),
    };
    unsetenv("OPENBLAS_CORETYPE");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
