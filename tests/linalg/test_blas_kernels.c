/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernels OpenBLAS runs, and that they can be changed after it has started. */
#define _GNU_SOURCE
#include "test.h"
#include "with_blas.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "linalg/blas.h"
#include "linalg/blas_kernels.h"

/* Every name of OpenBLAS 0.3.21 to 0.3.29 and what each level of processor changes it to. */
static void better_kernels_should_follow_the_level_of_the_processor(void **state)
{
    (void)state;
    enum { LEVELS = LDNQ_CPU_AVX512 + 1 };
    static const struct kernels_row {
        const char *names[16], *better[LEVELS];
    } rows[] = {
        { { "Katmai", "Coppermine", "Northwood", "Prescott", "Banias", "Atom", "Core2", "Penryn",
            "Dunnington", "Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Nano", "Bobcat" },
          { NULL, "Nehalem", "Sandybridge", "Haswell", "SkylakeX" } },
        { { "Nehalem" }, { NULL, NULL, "Sandybridge", "Haswell", "SkylakeX" } },
        { { "Sandybridge", "Bulldozer", "Piledriver", "Steamroller" },
          { NULL, NULL, NULL, "Haswell", "SkylakeX" } },
        { { "Haswell", "Zen", "Excavator" }, { NULL, NULL, NULL, NULL, "SkylakeX" } },
        { { "SkylakeX", "Cooperlake", "SapphireRapids", "Unknown", "unknown", "DiamondRapids",
            "neoversen1", "" },
          { NULL, NULL, NULL, NULL, NULL } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (const char *const *name = rows[i].names; *name; name++) {
            for (enum ldnq_cpu_level level = LDNQ_CPU_BASELINE; level <= LDNQ_CPU_AVX512; level++) {
                const char *expected = rows[i].better[level];
                const char *unset = ldnq_blas_find_better_kernels(level, *name, NULL);
                const char *empty = ldnq_blas_find_better_kernels(level, *name, "");
                assert_true(expected ? unset && strcmp(unset, expected) == 0 : !unset);
                assert_true(unset == empty);
                assert_null(ldnq_blas_find_better_kernels(level, *name, *name[0] ? *name : "Zen"));
                assert_null(ldnq_blas_find_better_kernels(level, *name, "Prescott"));
                char text[256];
                const char *warning =
                    ldnq_blas_kernels_warning(level, *name, NULL, text, sizeof text);
                assert_true(expected
                                ? warning && strstr(warning, *name) && strstr(warning, expected)
                                : !warning);
                assert_null(ldnq_blas_kernels_warning(level, *name, "Core2", text, sizeof text));
            }
        }
    }
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

static void products_should_be_right_after_kernels_have_changed(void **state)
{
    (void)state;
    static const char *const names[] = { "Haswell", "Sandybridge", "Nehalem", "Zen" };
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    check_product();
    size_t changed = 0;
    for (size_t i = 0; i < 4 && ldnq_cpu_level() >= LDNQ_CPU_AVX2; i++) {
        if (!ldnq_blas_set_kernels(names[i]))
            continue;
        changed++;
        assert_string_equal(openblas_get_corename(), names[i]);
        assert_null(getenv("OPENBLAS_CORETYPE"));
        assert_int_equal(openblas_get_num_threads(), 1);
        check_product();
    }
    /* All or none: none in an OpenBLAS that was built for one processor. */
    assert_true(changed == 0 || changed == 4);
    ldnq_blas_set_kernels(before);
}

/* As on a processor that OpenBLAS does not know. */
static void a_fallback_of_openblas_should_be_replaced(void **state)
{
    (void)state;
    static const char *const fallbacks[] = { "Prescott", "Core2", "Nehalem", "Barcelona" };
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    for (size_t i = 0; i < sizeof fallbacks / sizeof *fallbacks; i++) {
        if (!ldnq_blas_set_kernels(fallbacks[i]))
            continue;
        const char *better = ldnq_blas_find_better_kernels(ldnq_cpu_level(), fallbacks[i], NULL);
        ldnq_blas_choose_kernels();
        assert_string_equal(openblas_get_corename(), better ? better : fallbacks[i]);
        check_product();
    }
    ldnq_blas_set_kernels(before);
}

static void unknown_kernels_should_leave_all_as_it_was(void **state)
{
    (void)state;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    assert_false(ldnq_blas_set_kernels("NoSuchKernels"));
    assert_string_equal(openblas_get_corename(), before);
    assert_null(getenv("OPENBLAS_CORETYPE"));
    check_product();
}

static void the_users_choice_should_be_kept(void **state)
{
    (void)state;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    setenv("OPENBLAS_CORETYPE", "Prescott", 1);
    assert_false(ldnq_blas_set_kernels("Nehalem"));
    ldnq_blas_choose_kernels();
    assert_string_equal(openblas_get_corename(), before);
    assert_string_equal(getenv("OPENBLAS_CORETYPE"), "Prescott");
    unsetenv("OPENBLAS_CORETYPE");
}

/* The group holds OpenBLAS, so that it is released first. */
static void portable_kernels_should_last_from_acquire_to_release(void **state)
{
    (void)state;
    struct ldnq_error err;
    char before[32];
    if (ldnq_cpu_level() < LDNQ_CPU_AVX2)
        return;
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    ldnq_blas_release();
    setenv("OPENBLAS_CORETYPE", "Nehalem", 1);
    assert_int_equal(ldnq_blas_acquire_portable(&err), LDNQ_OK);
    assert_string_equal(openblas_get_corename(), "Haswell");
    assert_string_equal(getenv("OPENBLAS_CORETYPE"), "Nehalem");
    assert_int_equal(ldnq_blas_acquire_portable(&err), LDNQ_OK);
    check_product();
    ldnq_blas_release();
    assert_string_equal(openblas_get_corename(), "Haswell");
    ldnq_blas_release();
    assert_string_equal(openblas_get_corename(), before);
    assert_false(ldnq_blas_is_acquired());
    unsetenv("OPENBLAS_CORETYPE");
    ldnq_blas_acquire();
}

static void portable_kernels_should_be_refused_beside_others(void **state)
{
    (void)state;
    struct ldnq_error err;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    if (ldnq_cpu_level() < LDNQ_CPU_AVX2 || !ldnq_blas_set_kernels("Nehalem"))
        return;
    assert_int_equal(ldnq_blas_acquire_portable(&err), LDNQ_UNSUPPORTED);
    assert_non_null(strstr(err.message, "Nehalem"));
    assert_string_equal(openblas_get_corename(), "Nehalem");
    ldnq_blas_set_kernels(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(better_kernels_should_follow_the_level_of_the_processor),
        cmocka_unit_test(products_should_be_right_after_kernels_have_changed),
        cmocka_unit_test(a_fallback_of_openblas_should_be_replaced),
        cmocka_unit_test(unknown_kernels_should_leave_all_as_it_was),
        cmocka_unit_test(the_users_choice_should_be_kept),
        cmocka_unit_test(portable_kernels_should_last_from_acquire_to_release),
        cmocka_unit_test(portable_kernels_should_be_refused_beside_others),
    };
    unsetenv("OPENBLAS_CORETYPE");
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
