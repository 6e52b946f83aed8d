/* simd.h: loops that gcc compiles for several instruction sets and that choose
 * among them when the program starts.
 *
 * Arithmetic is the same in all of them, to the bit: products and sums are not
 * contracted and sums are not reordered (see meson.build). Sums of products that are
 * one instruction are not for this: "avx512f" alone has no such instruction for
 * vectors of eight. Those name their targets (linalg/gemm_tiled.c).
 */
#ifndef LDNQ_BASE_SIMD_H
#define LDNQ_BASE_SIMD_H

/* Sanitizers can't run before the choice is made. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LDNQ_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LDNQ_MULTIVERSION
#endif

#endif
