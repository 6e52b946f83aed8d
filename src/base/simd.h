/* SPDX-License-Identifier: Apache-2.0 */
/* simd.h: code compiled for several instruction sets.
 *
 * LDNQ_MULTIVERSION is for loops that the compiler vectorizes: it makes a copy for each
 * instruction set, and one is chosen when the program starts. All copies give the same
 * bits: products and sums are not contracted, and sums are not reordered (meson.build).
 *
 * LDNQ_TARGET_AVX2 and LDNQ_TARGET_AVX512 are for sums of products that fuse a product and
 * a sum, which the caller chooses by ldnq_cpu_level (cpu.h). LDNQ_MULTIVERSION can't serve
 * them: "avx512f" alone has no fused instruction for vectors of eight.
 */
#ifndef LDNQ_BASE_SIMD_H
#define LDNQ_BASE_SIMD_H

/* The choice runs before a sanitizer has started. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LDNQ_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LDNQ_MULTIVERSION
#endif

/* For functions that run at LDNQ_CPU_AVX2 or LDNQ_CPU_AVX512 and above. */
#if defined(__x86_64__)
#define LDNQ_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define LDNQ_TARGET_AVX512 __attribute__((target("avx512f,avx2,fma")))
#endif

/* Before a loop with a constant number of turns. Not under sanitizers: with their checks, loops
 * that are unrolled take minutes to compile. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LDNQ_UNROLL(turns)
#else
#define LDNQ_PRAGMA(text) _Pragma(#text)
#define LDNQ_UNROLL(turns) LDNQ_PRAGMA(GCC unroll turns)
#endif

/* Lets the compiler forget where a pointer points, so that it loads again what it has loaded. A
 * number that is kept in a register takes a shuffle to multiply a vector; loaded, it takes none. */
#if defined(__GNUC__)
#define LDNQ_HIDE_POINTER(pointer) __asm__("" : "+r"(pointer))
#else
#define LDNQ_HIDE_POINTER(pointer) (void)(pointer)
#endif

/* Keeps loops that copy or fill from becoming calls of memcpy and memset, which cost more
 * than the loop where lines are short. */
#if defined(__clang__)
#define LDNQ_KEEP_LOOPS __attribute__((no_builtin("memcpy", "memmove", "memset")))
#elif defined(__GNUC__)
#define LDNQ_KEEP_LOOPS __attribute__((optimize("no-tree-loop-distribute-patterns")))
#else
#define LDNQ_KEEP_LOOPS
#endif

#endif
