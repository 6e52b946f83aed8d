/* cpu.h: the processor's features that matter to the kernels, for --version. */
#ifndef LDNQ_CLI_CPU_H
#define LDNQ_CLI_CPU_H

#include <stddef.h>

/* "x86-64 avx avx2 fma"; returns text. */
const char *cli_cpu_features(char *text, size_t size);

#endif
