/* SPDX-License-Identifier: Apache-2.0 */
#include "linalg/blas_kernels.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VARIABLE "OPENBLAS_CORETYPE"

/* NULL in builds of OpenBLAS for one processor, which have nothing to choose. */
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

/* All names of OpenBLAS for x86-64 and the level that each needs. */
static const struct kernel_set {
    const char *name;
    enum ldnq_cpu_level level;
} kernel_sets[] = {
    { "Katmai", LDNQ_CPU_BASELINE },
    { "Coppermine", LDNQ_CPU_BASELINE },
    { "Northwood", LDNQ_CPU_BASELINE },
    { "Prescott", LDNQ_CPU_BASELINE },
    { "Banias", LDNQ_CPU_BASELINE },
    { "Atom", LDNQ_CPU_BASELINE },
    { "Core2", LDNQ_CPU_BASELINE },
    { "Penryn", LDNQ_CPU_BASELINE },
    { "Dunnington", LDNQ_CPU_BASELINE },
    { "Athlon", LDNQ_CPU_BASELINE },
    { "Opteron", LDNQ_CPU_BASELINE },
    { "Opteron_SSE3", LDNQ_CPU_BASELINE },
    { "Barcelona", LDNQ_CPU_BASELINE },
    { "Nano", LDNQ_CPU_BASELINE },
    { "Bobcat", LDNQ_CPU_BASELINE },
    { "Nehalem", LDNQ_CPU_SSE4 },
    { "Sandybridge", LDNQ_CPU_AVX },
    { "Bulldozer", LDNQ_CPU_AVX },
    { "Piledriver", LDNQ_CPU_AVX },
    { "Steamroller", LDNQ_CPU_AVX },
    { "Excavator", LDNQ_CPU_AVX2 },
    { "Haswell", LDNQ_CPU_AVX2 },
    { "Zen", LDNQ_CPU_AVX2 },
    { "SkylakeX", LDNQ_CPU_AVX512 },
    { "Cooperlake", LDNQ_CPU_AVX512 },
    { "SapphireRapids", LDNQ_CPU_AVX512 },
};

/* The kernels for any processor of a level; NULL keeps what OpenBLAS chose. */
static const char *const kernels_for[] = {
    [LDNQ_CPU_BASELINE] = NULL,  [LDNQ_CPU_SSE4] = "Nehalem",    [LDNQ_CPU_AVX] = "Sandybridge",
    [LDNQ_CPU_AVX2] = "Haswell", [LDNQ_CPU_AVX512] = "SkylakeX",
};

static const char *const level_names[] = {
    [LDNQ_CPU_BASELINE] = "SSE2", [LDNQ_CPU_SSE4] = "SSE4.2",    [LDNQ_CPU_AVX] = "AVX",
    [LDNQ_CPU_AVX2] = "AVX2",     [LDNQ_CPU_AVX512] = "AVX-512",
};

static const struct kernel_set *find_kernel_set(const char *name)
{
    for (size_t i = 0; i < sizeof kernel_sets / sizeof *kernel_sets; i++)
        if (strcasecmp(kernel_sets[i].name, name) == 0)
            return &kernel_sets[i];
    return NULL;
}

const char *ldnq_blas_find_better_kernels(enum ldnq_cpu_level level, const char *chosen,
                                          const char *users_choice)
{
    const struct kernel_set *set = find_kernel_set(chosen);
    bool has_user_chosen = users_choice && *users_choice;
    return !has_user_chosen && set && set->level < level ? kernels_for[level] : NULL;
}

const char *ldnq_blas_kernels_warning(enum ldnq_cpu_level level, const char *chosen,
                                      const char *users_choice, char *text, size_t size)
{
    const char *better = ldnq_blas_find_better_kernels(level, chosen, users_choice);
    if (!better)
        return NULL;
    snprintf(text, size,
             "OpenBLAS computes with %s kernels (%s), although this processor has %s: matrix "
             "products are slower than they could be; an OpenBLAS with %s kernels helps",
             chosen, level_names[find_kernel_set(chosen)->level], level_names[level], better);
    return text;
}

/* Returns false when OpenBLAS does not know the name and has chosen other kernels. */
static bool reload_openblas_kernels(const char *name)
{
    char users_choice[64];
    const char *value = getenv(VARIABLE);
    const bool is_set = value != NULL;
    snprintf(users_choice, sizeof users_choice, "%s", is_set ? value : "");
    if (setenv(VARIABLE, name, 1) != 0)
        return false;
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    /* Programs that this one starts choose for themselves. */
    if (is_set)
        setenv(VARIABLE, users_choice, 1);
    else
        unsetenv(VARIABLE);
    return strcasecmp(openblas_get_corename(), name) == 0;
}

bool ldnq_blas_force_kernels(const char *name)
{
    if (strcasecmp(openblas_get_corename(), name) == 0)
        return true;
    if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit)
        return false;
    char before[32];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    if (reload_openblas_kernels(name))
        return true;
    reload_openblas_kernels(before);
    return false;
}

bool ldnq_blas_set_kernels(const char *name)
{
    const char *users_choice = getenv(VARIABLE);
    if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit || (users_choice && *users_choice))
        return false;
    return ldnq_blas_force_kernels(name);
}

void ldnq_blas_choose_kernels(void)
{
    /* Linked statically, OpenBLAS may not have started yet; this does nothing if
     * it has. */
    if (gotoblas_dynamic_init)
        gotoblas_dynamic_init();
    /* A build of OpenBLAS can lack the kernels of the highest levels. */
    const char *chosen = openblas_get_corename();
    for (enum ldnq_cpu_level level = ldnq_cpu_level(); level > LDNQ_CPU_BASELINE; level--) {
        const char *better = ldnq_blas_find_better_kernels(level, chosen, getenv(VARIABLE));
        if (!better || ldnq_blas_set_kernels(better))
            return;
    }
}
