/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/heap.h"

#include <stdlib.h> /* __GLIBC__ */

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* glibc returns large blocks to the kernel at once, and gets zeroed pages for the next ones: a
 * layer after the other frees what the next one asks for. But blocks of the heap leave holes, and
 * only its end can be returned: under a limit both sizes are parts of it. */
#define LARGEST_BLOCK_OF_HEAP (32 << 20)
#define MOST_UNUSED_HEAP (128 << 20)
#define BLOCK_PARTS 4
#define UNUSED_PARTS 4
#define SMALLEST_BLOCK (8 << 20) /* above a value of a batch */

#ifdef __GLIBC__
static int limit_part(double limit, int parts, int most)
{
    const double part = limit / parts;
    return part >= most ? most : part <= SMALLEST_BLOCK ? SMALLEST_BLOCK : (int)part;
}
#endif

void cli_keep_freed_memory(double limit)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, limit_part(limit, BLOCK_PARTS, LARGEST_BLOCK_OF_HEAP));
    mallopt(M_TRIM_THRESHOLD, limit_part(limit, UNUSED_PARTS, MOST_UNUSED_HEAP));
#else
    (void)limit;
#endif
}
