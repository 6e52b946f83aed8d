/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/shared/product.h"

#include <inttypes.h>
#include <math.h>

#include "ir/ir.h"

#include "base/size.h"
#include "linalg/gemm_tiled.h"
#include "ops/op.h"

/* The most rows of a block. Many, as every block packs its part of B again; fewer if the
 * product has less than FEW_COLUMNS, as a block then has all columns, and large blocks
 * would leave two threads with unequal work. */
#define ROWS ((size_t)192)
#define MANY_ROWS ((size_t)384) /* for products of more than four such blocks */
#define FEW_COLUMNS ((size_t)256)
#define ROWS_FEW_COLUMNS ((size_t)96)
/* Rows and columns of a block are multiples of the tiles of every instruction set. */
#define ROW_UNIT ((size_t)24)
#define COLUMN_UNIT ((size_t)64)
/* The least multiplications per block: some microseconds. */
#define LEAST_PRODUCTS ((size_t)512 << 10)
/* With fewer rows, packing a transposed B costs more than it gains. */
#define FEW_ROWS ((size_t)8)

enum ldnq_status ldnq_product_check(int64_t m, int64_t n, int64_t k_a, int64_t k_b,
                                    struct ldnq_error *err)
{
    if (!ldnq_is_symbol(k_a) && !ldnq_is_symbol(k_b) && k_a != k_b)
        return ldnq_fail(err, LDNQ_MODEL,
                         "the inner sizes of its matrices differ: %" PRId64 " and %" PRId64, k_a,
                         k_b);
    if (m > INT32_MAX || n > INT32_MAX || k_a > INT32_MAX || k_b > INT32_MAX)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "a product of more than 2^31-1 rows or columns is not supported");
    return LDNQ_OK;
}

void ldnq_product_fill_columns(const struct ldnq_product *product, size_t first, size_t count,
                               float *columns, size_t ld)
{
    bool transposed = product->transpose_a == LDNQ_TRANSPOSED;
    size_t row = transposed ? 1 : product->k, step = transposed ? product->m : 1;
    const float *a = product->a + first * row;
    for (size_t k = 0; k < product->k; k++)
        for (size_t p = 0; p < count; p++)
            columns[k * ld + p] = product->alpha * a[p * row + k * step];
}

/* How C is cut into blocks. */
struct product_blocks {
    size_t rows, columns; /* size of a full block */
    size_t down, across;  /* number of blocks */
};

static struct product_blocks choose_block_sizes(const struct ldnq_product *p)
{
    struct product_blocks blocks;
    size_t most = p->n < FEW_COLUMNS ? ROWS_FEW_COLUMNS : p->m > 4 * MANY_ROWS ? MANY_ROWS : ROWS;
    size_t down = ldnq_size_ceil_div(p->m, most);
    blocks.rows = ldnq_size_ceil_div(ldnq_size_ceil_div(p->m, down), ROW_UNIT) * ROW_UNIT;
    blocks.rows = ldnq_size_min(blocks.rows, p->m);
    size_t units = LEAST_PRODUCTS / ldnq_size_max(1, p->k) / (blocks.rows * COLUMN_UNIT);
    blocks.columns = ldnq_size_min(p->n, ldnq_size_max(1, units) * COLUMN_UNIT);
    blocks.down = ldnq_size_ceil_div(p->m, blocks.rows);
    blocks.across = ldnq_size_ceil_div(p->n, blocks.columns);
    return blocks;
}

/* Multiplies by BLAS, which reads a transposed B without packing it. */
static void multiply_few_rows(const struct ldnq_product *p, const struct ldnq_gemm *g)
{
    float low = g->is_clamped ? g->low : -INFINITY, high = g->is_clamped ? g->high : INFINITY;
    bool ta = p->transpose_a == LDNQ_TRANSPOSED;
    ldnq_sgemm(p->transpose_a, LDNQ_TRANSPOSED, g->m, g->n, g->k, g->alpha, g->a,
               ta ? g->a_step : g->a_row, g->b, g->b_step, g->beta, g->c, g->c_row);
    if (!g->row_bias && !g->column_bias && !g->is_clamped)
        return;
    for (size_t i = 0; i < g->m; i++) {
        float *c = g->c + i * g->c_row, bias = g->row_bias ? g->row_bias[i] : 0.0f;
        for (size_t j = 0; j < g->n; j++) {
            float value = c[j] + (g->column_bias ? g->column_bias[j] : 0.0f) + bias;
            value = value < low ? low : value;
            c[j] = value > high ? high : value;
        }
    }
}

static void multiply_product_block(void *argument, size_t chunk, size_t thread)
{
    (void)thread;
    const struct ldnq_product *p = argument;
    const struct product_blocks blocks = choose_block_sizes(p);
    size_t batch = chunk / (blocks.across * blocks.down);
    size_t block = chunk % (blocks.across * blocks.down), offsets[2] = { 0, 0 };
    size_t row = block / blocks.across * blocks.rows;
    size_t column = block % blocks.across * blocks.columns;
    bool ta = p->transpose_a == LDNQ_TRANSPOSED, tb = p->transpose_b == LDNQ_TRANSPOSED;
    if (p->offsets)
        p->offsets(p->ctx, batch, offsets);
    struct ldnq_gemm gemm = {
        .m = ldnq_size_min(blocks.rows, p->m - row),
        .n = ldnq_size_min(blocks.columns, p->n - column),
        .k = p->k,
        .a_row = ta ? 1 : p->k,
        .a_step = ta ? p->m : 1,
        .b_row = tb ? 1 : p->n,
        .b_step = tb ? p->k : 1,
        .c = p->c + batch * p->m * p->n + row * p->n + column,
        .c_row = p->n,
        .alpha = p->alpha,
        .beta = p->beta,
        .row_bias = p->row_bias ? p->row_bias + row : NULL,
        .column_bias = p->column_bias ? p->column_bias + column : NULL,
        .is_clamped = p->clamp != NULL,
        .low = p->clamp ? p->clamp->low : 0,
        .high = p->clamp ? p->clamp->high : 0,
    };
    gemm.a = p->a + offsets[0] + row * gemm.a_row;
    gemm.b = p->b + offsets[1] + column * gemm.b_step;
    if (column + gemm.n < p->n) {
        gemm.next_b = gemm.b + gemm.n * gemm.b_step;
        gemm.next_n = ldnq_size_min(blocks.columns, p->n - column - gemm.n);
    }
    if (tb && p->m < FEW_ROWS)
        multiply_few_rows(p, &gemm);
    else
        ldnq_gemm(&gemm);
}

void ldnq_product_run(const struct ldnq_product *p, struct ldnq_pool *pool)
{
    if (p->m == 0 || p->n == 0)
        return;
    struct product_blocks blocks = choose_block_sizes(p);
    ldnq_pool_run(pool, p->batches * blocks.across * blocks.down, multiply_product_block,
                  (void *)p);
}
