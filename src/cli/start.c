/* SPDX-License-Identifier: Apache-2.0 */
/* start.c: the memory and the processors that OpenBLAS finds when it loads. */
#define _GNU_SOURCE /* syscall, MAP_ANONYMOUS */
#include "cli/start.h"

#include <limits.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ldnq.h"

#define STACK_BYTES ((size_t)1 << 20)
/* What OpenBLAS maps as it starts, from version 0.3.29 on, and what else starts with it. */
#define BLAS_BYTES ((size_t)132 << 20)

#define WORD_BITS (sizeof(unsigned long) * CHAR_BIT)
/* Processors that the masks hold; with more of them the masks are not used. */
#define MOST_PROCESSORS ((size_t)65536)

/* Code that runs before any library has started, and before what sanitizers need exists: it
 * calls the kernel alone. */
#define BEFORE_LIBRARIES __attribute__((no_sanitize("address", "thread", "undefined")))

static unsigned long all_processors[MOST_PROCESSORS / WORD_BITS];
static long mask_bytes; /* 0: nothing to restore */

BEFORE_LIBRARIES static void limit_to_one_processor(void)
{
    static unsigned long one_processor[MOST_PROCESSORS / WORD_BITS];
    const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof all_processors, all_processors);
    size_t word = 0;
    while (bytes > 0 && word < (size_t)bytes / sizeof *all_processors && !all_processors[word])
        word++;
    if (bytes <= 0 || word == (size_t)bytes / sizeof *all_processors)
        return;
    one_processor[word] = all_processors[word] & -all_processors[word];
    if (syscall(SYS_sched_setaffinity, 0, bytes, one_processor) == 0)
        mask_bytes = bytes;
}

BEFORE_LIBRARIES static void check_memory_of_openblas(void)
{
    static const char message[] =
        "ldnq: out of memory: matrix products need 128 MiB of address space\n";
#ifdef SYS_mmap
    const long memory = syscall(SYS_mmap, NULL, BLAS_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    if (memory == -1) {
        syscall(SYS_write, STDERR_FILENO, message, sizeof message - 1);
        syscall(SYS_exit_group, LDNQ_NOMEM);
    }
    syscall(SYS_munmap, memory, BLAS_BYTES);
#endif
}

BEFORE_LIBRARIES static void prepare_start_of_libraries(void)
{
    check_memory_of_openblas();
    limit_to_one_processor();
}

__attribute__((section(".preinit_array"),
               used)) static void (*const run_first)(void) = prepare_start_of_libraries;

void cli_restore_processors(void)
{
    if (mask_bytes > 0)
        syscall(SYS_sched_setaffinity, 0, mask_bytes, all_processors);
}

/* Not inlined: the frame itself is what must not exist before the limit is known. */
__attribute__((noinline)) static void touch_stack(void)
{
    volatile char stack[STACK_BYTES];
    for (size_t i = STACK_BYTES; i > 0; i -= 4096)
        stack[i - 1] = 0;
    (void)stack[STACK_BYTES - 1];
}

bool cli_request_stack(void)
{
    /* The arguments and the frames so far are on the stack too. */
    const size_t size = STACK_BYTES + (STACK_BYTES >> 2);
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < size)
        return false;
    void *probe = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED)
        return false;
    munmap(probe, size);
    touch_stack();
    return true;
}
