/* SPDX-License-Identifier: Apache-2.0 */
/* blas_buffers.h: the working memory of OpenBLAS, requested before the first product.
 *
 * Each product and factorization works in a buffer of OpenBLAS. It maps a buffer when none is
 * free, keeps it for later calls, and tries again for ever when there is no memory. This file
 * lets it map as many buffers as calls run at the same time, and asks for the memory itself
 * before each: later calls find a free buffer.
 *
 * Owns    nothing: the buffers stay OpenBLAS's until the process ends
 * Errors  NOMEM
 * Threads safe
 */
#ifndef LDNQ_LINALG_BLAS_BUFFERS_H
#define LDNQ_LINALG_BLAS_BUFFERS_H

#include <stddef.h>

#include "base/error.h"

/* Address space of a buffer of OpenBLAS on all 64-bit processors; what a product does not use
 * takes no memory. */
#define LDNQ_BLAS_BUFFER_BYTES ((size_t)128 << 20)

/* Adds to the number of threads that compute at the same time, and has a buffer for each. After
 * an error nothing is added. */
enum ldnq_status ldnq_blas_reserve(size_t threads, struct ldnq_error *err);
/* Subtracts what ldnq_blas_reserve added. */
void ldnq_blas_unreserve(size_t threads);

#endif
