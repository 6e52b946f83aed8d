/* SPDX-License-Identifier: Apache-2.0 */
/* operation_count.h: how many operations a node takes, and how many it may take.
 *
 * Most operators take a few operations per element of their inputs and outputs, which memory
 * bounds. Windows, sampling points and sums of products take more: attributes of a file of 200
 * bytes can ask for years. Their records count (ops/op.h, count_operations), and a node beyond
 * the limit is refused before it runs.
 *
 * Threads safe
 */
#ifndef LDNQ_OPS_OPERATION_COUNT_H
#define LDNQ_OPS_OPERATION_COUNT_H

#include "ops/op.h"

/* Multiplications of a matrix product that count as one operation: they take about as long as one
 * tap of a window. */
#define LDNQ_PRODUCTS_PER_OPERATION ((size_t)64)

/* The product of the factors; SIZE_MAX if it does not fit. */
size_t ldnq_operations_multiply(const size_t *factors, size_t count);
/* The operations of an output 0 whose elements are sums of `terms` products each. */
size_t ldnq_operations_of_products(const struct ldnq_op_call *call, size_t terms);

/* Errors: UNSUPPORTED (more operations than a node may take), with both numbers. */
enum ldnq_status ldnq_operations_check(size_t operations, struct ldnq_error *err);
/* The same for the iterations of a loop, with all nodes of its body. */
enum ldnq_status ldnq_operations_check_loop(size_t operations, struct ldnq_error *err);

/* For tests: the operations that one node may take, 2^38 otherwise. */
void ldnq_operations_set_limit(size_t operations);

#endif
