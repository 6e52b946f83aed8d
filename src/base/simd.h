/* simd.h: loops that gcc compiles for several instruction sets and that choose
 * among them when the program starts.
 *
 * Arithmetic is the same in all of them, to the bit: products and sums are not
 * contracted and sums are not reordered (see meson.build).
 */
#ifndef LDNQ_BASE_SIMD_H
#define LDNQ_BASE_SIMD_H

/* Sanitizers can't run before the choice is made. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LDNQ_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
/* For files of matrix products alone, which differ between processors already, as
 * BLAS's do: there a product and a sum may be one instruction (meson.build). */
#define LDNQ_MULTIVERSION_FMA                                                                      \
    __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define LDNQ_MULTIVERSION
#define LDNQ_MULTIVERSION_FMA
#endif

#endif
