#include "linalg/blas_kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VARIABLE "OPENBLAS_CORETYPE"
#define AVX512_KERNELS "SkylakeX"

/* NULL in builds of OpenBLAS for one processor, which have nothing to choose. */
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

/* false when the library does not know the name and has taken the oldest kernels. */
static bool choose_again(const char *name)
{
    if (setenv(VARIABLE, name, 1) != 0)
        return false;
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    /* Programs that this one starts choose for themselves. */
    unsetenv(VARIABLE);
    return strcasecmp(openblas_get_corename(), name) == 0;
}

bool ldnq_blas_take_kernels(const char *name)
{
    const char *users_choice = getenv(VARIABLE);
    if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit || (users_choice && *users_choice))
        return false;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    if (choose_again(name))
        return true;
    choose_again(before);
    return false;
}

bool ldnq_blas_wants_avx512(bool is_usable, const char *chosen, const char *users_choice)
{
    bool is_avx2 = strcmp(chosen, "Zen") == 0 || strcmp(chosen, "Haswell") == 0;
    return is_usable && is_avx2 && !(users_choice && *users_choice);
}

/* All that SkylakeX's kernels are compiled for. The compiler's tests ask the
 * system too, which must save the wide registers. */
static bool is_avx512_usable(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

void ldnq_blas_choose_kernels(void)
{
    /* Linked statically, OpenBLAS may not have started yet; this does nothing if
     * it has. */
    if (gotoblas_dynamic_init)
        gotoblas_dynamic_init();
    if (ldnq_blas_wants_avx512(is_avx512_usable(), openblas_get_corename(), getenv(VARIABLE)))
        ldnq_blas_take_kernels(AVX512_KERNELS);
}
