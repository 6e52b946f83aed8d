/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"

#include "base/text.h"

enum ldnq_cpu_level ldnq_cpu_level(void)
{
#if defined(__x86_64__)
    /* __builtin_cpu_supports takes literals only. It also checks that the operating
     * system saves the wide registers. */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
        return LDNQ_CPU_BASELINE;
    if (!__builtin_cpu_supports("avx"))
        return LDNQ_CPU_SSE4;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        return LDNQ_CPU_AVX;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512cd") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return LDNQ_CPU_AVX2;
    return LDNQ_CPU_AVX512;
#else
    return LDNQ_CPU_BASELINE;
#endif
}

const char *ldnq_cpu_describe(char *data, size_t size)
{
    struct ldnq_text text;
    ldnq_text_init(&text, data, size);
#if defined(__x86_64__)
    __builtin_cpu_init();
    ldnq_text_append_item(&text, " ", "x86-64");
    if (__builtin_cpu_supports("avx"))
        ldnq_text_append_item(&text, " ", "avx");
    if (__builtin_cpu_supports("avx2"))
        ldnq_text_append_item(&text, " ", "avx2");
    if (__builtin_cpu_supports("fma"))
        ldnq_text_append_item(&text, " ", "fma");
    if (__builtin_cpu_supports("avx512f"))
        ldnq_text_append_item(&text, " ", "avx512f");
#elif defined(__aarch64__)
    ldnq_text_append_item(&text, " ", "aarch64 neon");
#else
    ldnq_text_append_item(&text, " ", "unknown");
#endif
    return data;
}
