#include "cli/cpu.h"

#include "base/text.h"

const char *cli_cpu_features(char *data, size_t size)
{
    struct ldnq_text text;
    ldnq_text_init(&text, data, size);
#if defined(__x86_64__)
    ldnq_text_item(&text, " ", "x86-64");
    __builtin_cpu_init();
    /* __builtin_cpu_supports takes literals only. */
    if (__builtin_cpu_supports("avx"))
        ldnq_text_item(&text, " ", "avx");
    if (__builtin_cpu_supports("avx2"))
        ldnq_text_item(&text, " ", "avx2");
    if (__builtin_cpu_supports("fma"))
        ldnq_text_item(&text, " ", "fma");
    if (__builtin_cpu_supports("avx512f"))
        ldnq_text_item(&text, " ", "avx512f");
#elif defined(__aarch64__)
    ldnq_text_item(&text, " ", "aarch64 neon");
#else
    ldnq_text_item(&text, " ", "unknown");
#endif
    return data;
}
