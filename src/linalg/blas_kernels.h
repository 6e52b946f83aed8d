/* blas_kernels.h: which of OpenBLAS's sets of kernels is at work.
 *
 * Debian's OpenBLAS (0.3.21) has one set for each family of processors and takes
 * that for AVX2 on AMD's processors with AVX-512, which halves their speed.
 * OPENBLAS_CORETYPE overrules it, but is read when the library loads, before any
 * code of ours. What reads it then are two functions that the library exports
 * (gotoblas_dynamic_init, gotoblas_dynamic_quit): calling them again, before the
 * first product, chooses again. They hold no threads and no memory.
 *
 * Threads none of the products may run meanwhile
 */
#ifndef LDNQ_LINALG_BLAS_KERNELS_H
#define LDNQ_LINALG_BLAS_KERNELS_H

#include <stdbool.h>

/* Takes the set of that name (OPENBLAS_CORETYPE's names), which must run here.
 * false, and all stays as it was, where there is none, where OpenBLAS was built for
 * one processor, or where the user chose. */
bool ldnq_blas_take_kernels(const char *name);

/* Takes AVX-512 kernels where the processor and the system run them, OpenBLAS
 * chose AVX2's, and the user did not choose. */
void ldnq_blas_choose_kernels(void);

/* The rule by itself: has AVX-512, what OpenBLAS chose, what the user did (NULL). */
bool ldnq_blas_wants_avx512(bool is_usable, const char *chosen, const char *users_choice);

#endif
