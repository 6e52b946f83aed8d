/* SPDX-License-Identifier: Apache-2.0 */
/* heap.h: how much freed memory the program keeps for its next requests. */
#ifndef LDNQ_CLI_HEAP_H
#define LDNQ_CLI_HEAP_H

/* Lets the heap keep freed blocks, in parts of `limit` bytes at most; infinity: no limit. */
void cli_keep_freed_memory(double limit);

#endif
