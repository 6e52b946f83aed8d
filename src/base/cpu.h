/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.h: what the processor can do, as one ordered level.
 *
 * Every choice between implementations for several instruction sets asks here, so
 * that all of them agree on one processor.
 */
#ifndef LDNQ_BASE_CPU_H
#define LDNQ_BASE_CPU_H

#include <stddef.h>

/* Each level includes those before it. Processors other than x86-64 are at the first. */
enum ldnq_cpu_level {
    LDNQ_CPU_BASELINE,
    LDNQ_CPU_SSE4, /* SSE4.2 */
    LDNQ_CPU_AVX,
    LDNQ_CPU_AVX2,   /* with FMA, BMI, BMI2 */
    LDNQ_CPU_AVX512, /* F, CD, BW, DQ, VL */
};

/* The highest level that the processor has and the operating system has enabled. */
enum ldnq_cpu_level ldnq_cpu_level(void);

/* Writes the processor's features as one line, "x86-64 avx avx2 fma"; returns `text`. */
const char *ldnq_cpu_describe(char *text, size_t size);

#endif
