/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/operation_count.h"

#include <stdatomic.h>

#include "base/size.h"

/* Some minutes. Poolings of real networks take up to 2^35 (volumes of 256^3 in 64 channels under
 * windows of 27 elements), products 2^38 (32,768 tokens by 4,096 by a vocabulary of 131,072). */
static atomic_size_t most_operations = (size_t)1 << 38;

void ldnq_operations_set_limit(size_t operations)
{
    atomic_store_explicit(&most_operations, operations, memory_order_relaxed);
}

size_t ldnq_operations_multiply(const size_t *factors, size_t count)
{
    size_t product = 1;
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        if (factors[i] == 0)
            return 0;
        fits = fits && ldnq_size_mul(product, factors[i], &product);
    }
    return fits ? product : SIZE_MAX;
}

size_t ldnq_operations_of_products(const struct ldnq_op_call *call, size_t terms)
{
    const size_t factors[] = { ldnq_tensor_count(&call->out[0]), terms };
    return ldnq_operations_multiply(factors, 2) / LDNQ_PRODUCTS_PER_OPERATION;
}

static enum ldnq_status check_count(size_t operations, const char *what, struct ldnq_error *err)
{
    const size_t most = atomic_load_explicit(&most_operations, memory_order_relaxed);
    if (operations <= most)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "%s %s%.3g operations, which is not in 0 .. %.3g", what,
                     operations == SIZE_MAX ? "more than " : "", (double)operations, (double)most);
}

enum ldnq_status ldnq_operations_check(size_t operations, struct ldnq_error *err)
{
    return check_count(operations, "its attributes and the shapes of its inputs ask for", err);
}

enum ldnq_status ldnq_operations_check_loop(size_t operations, struct ldnq_error *err)
{
    return check_count(operations, "all iterations of its body take", err);
}
