/* SPDX-License-Identifier: Apache-2.0 */
/* blas_kernels.h: which of OpenBLAS's sets of kernels computes the products.
 *
 * OpenBLAS chooses by the family and model of the processor. A version that does not
 * know the model falls back: 0.3.21 takes Prescott's kernels (SSE3) on Intel processors
 * from Sapphire Rapids on, and AVX2 kernels on many AMD processors with AVX-512. This file
 * chooses again by what the processor can do, and only ever for the better.
 *
 * OPENBLAS_CORETYPE overrules OpenBLAS, but is read while the library loads, before any
 * code of ours runs. Two exported functions read it (gotoblas_dynamic_init,
 * gotoblas_dynamic_quit); calling them again chooses again. They own neither threads
 * nor memory.
 *
 * Threads no BLAS function may run at the same time in any thread of the process
 */
#ifndef LDNQ_LINALG_BLAS_KERNELS_H
#define LDNQ_LINALG_BLAS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cpu.h"

/* Changes to the best kernels for this processor that OpenBLAS has, unless its own
 * choice is as good or the user has chosen. */
void ldnq_blas_choose_kernels(void);

/* The rule alone. `chosen` is OpenBLAS's name of its kernels, `users_choice` the value of
 * OPENBLAS_CORETYPE or NULL. Returns the name of the kernels for `level`, or NULL to keep
 * the present ones: they need the same level or a higher one, or their name is unknown
 * (newer than this table), or the user has chosen. */
const char *ldnq_blas_find_better_kernels(enum ldnq_cpu_level level, const char *chosen,
                                          const char *users_choice);

/* Changes to the kernels of that name, which must run on this processor. Returns false
 * and changes nothing where OpenBLAS does not have them, where it was built for one
 * processor, or where the user has chosen. */
bool ldnq_blas_set_kernels(const char *name);
/* As ldnq_blas_set_kernels, whatever the user has chosen. */
bool ldnq_blas_force_kernels(const char *name);

/* Writes one sentence for the user when the kernels at work are for less than `level`;
 * NULL when they fit. Parameters as above. */
const char *ldnq_blas_kernels_warning(enum ldnq_cpu_level level, const char *chosen,
                                      const char *users_choice, char *text, size_t size);

#endif
