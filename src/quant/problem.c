/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/problem.h"

#include <inttypes.h>
#include <math.h>

#include "base/alloc.h"
#include "base/ranks.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "linalg/cholesky.h"
#include "quant/gram_results.h"

/* Pivots of a correlation matrix below this are rounding: its products are sums of floats. */
#define RANK_TOLERANCE 1e-5

size_t ldnq_piece_count(const struct ldnq_layer_problem *problem)
{
    return problem->groups * ldnq_size_ceil_div(problem->rows, LDNQ_PIECE_ROWS);
}

struct ldnq_piece ldnq_piece_at(const struct ldnq_layer_problem *problem, size_t index)
{
    const size_t per_group = ldnq_size_ceil_div(problem->rows, LDNQ_PIECE_ROWS);
    const size_t group = index / per_group, first = index % per_group * LDNQ_PIECE_ROWS;
    return (struct ldnq_piece){
        .group = group,
        .first = first,
        .rows = ldnq_size_min(problem->rows - first, LDNQ_PIECE_ROWS),
        .offset = group * problem->rows + first,
    };
}

void ldnq_run_pieces(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                     ldnq_chunk_fn *run, void *ctx)
{
    ldnq_pool_run_share(pool, ldnq_piece_count(problem), run, ctx);
}

void ldnq_exchange_rows(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                        void *data, size_t row_bytes)
{
    struct ldnq_ranks *ranks = ldnq_pool_ranks(pool);
    const size_t pieces = ldnq_piece_count(problem);
    size_t *bounds = ldnq_rank_bounds(ranks);
    for (size_t rank = 0; bounds && rank < ranks->count; rank++) {
        const size_t end = ldnq_ranks_share(ranks, rank, pieces).end;
        bounds[rank + 1] =
            end < pieces ? ldnq_piece_at(problem, end).offset : problem->groups * problem->rows;
    }
    ldnq_ranks_allgather_rows(ranks, data, bounds, row_bytes);
    ldnq_free(bounds);
}

bool ldnq_clear_codes_of_pruned_weights(const struct ldnq_layer_problem *problem, size_t first,
                                        size_t count, int8_t *codes)
{
    bool has_changed = false;
    for (size_t i = 0; problem->zeros && i < count; i++)
        if (problem->zeros[first + i] && codes[i] != 0) {
            codes[i] = 0;
            has_changed = true;
        }
    return has_changed;
}

/* Products of sizes can't overflow here: the caller holds arrays that large. */
static enum ldnq_status check_floats(const char *what, const float *values, size_t groups, size_t m,
                                     size_t k, struct ldnq_error *err)
{
    for (size_t i = 0; i < groups * m * k; i++)
        if (!isfinite(values[i]))
            return ldnq_fail(err, LDNQ_NUMERIC, "the %s holds %s (group %zu, row %zu, column %zu)",
                             what, isnan(values[i]) ? "NaN" : "an infinity", i / k / m, i / k % m,
                             i % k);
    return LDNQ_OK;
}

static enum ldnq_status check_doubles(const char *what, const double *values, size_t groups,
                                      size_t size, struct ldnq_error *err)
{
    for (size_t i = 0; i < groups * size; i++)
        if (!isfinite(values[i]))
            return ldnq_fail(err, LDNQ_NUMERIC, "the %s holds %s (group %zu)", what,
                             isnan(values[i]) ? "NaN" : "an infinity", i / size);
    return LDNQ_OK;
}

enum ldnq_status ldnq_problem_check(const struct ldnq_layer_problem *problem,
                                    struct ldnq_error *err)
{
    const size_t g = problem->groups, m = problem->rows, k = problem->cols;
    for (size_t i = 0; problem->block_index && i < k; i++)
        if (problem->block_index[i] >= problem->block_count)
            return ldnq_fail(err, LDNQ_USAGE,
                             "column %zu is in block %" PRIu32 "; the blocks are 0 to %zu", i,
                             problem->block_index[i], problem->block_count - 1);
    LDNQ_TRY(check_floats("weight", problem->weight, g, m, k, err));
    if (problem->gram)
        LDNQ_TRY(check_doubles("gram matrix of the layer's input", problem->gram, g, k * k, err));
    else
        LDNQ_TRY(check_doubles("power of the layer's input", problem->diagonal, g, k, err));
    if (!problem->mean)
        return LDNQ_OK;
    LDNQ_TRY(check_doubles("mean of the layer's input", problem->mean, g, k, err));
    return check_floats("bias", problem->bias, g, m, 1, err);
}

static void subtract_mean_of_group(const struct ldnq_layer_problem *problem, size_t group,
                                   double *out)
{
    const size_t k = problem->cols;
    const double *gram = problem->gram + group * k * k, *mean = problem->mean + group * k;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            out[i * k + j] = gram[i * k + j] - mean[i] * mean[j];
    for (size_t i = 0; i < k; i++) {
        if (fabs(out[i * k + i]) > LDNQ_CONSTANT_INPUT * gram[i * k + i])
            continue;
        for (size_t j = 0; j < k; j++)
            out[i * k + j] = out[j * k + i] = 0;
    }
}

enum ldnq_status ldnq_problem_eliminate_bias(const struct ldnq_layer_problem *problem,
                                             struct ldnq_layer_problem *reduced,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t size = problem->cols * problem->cols;
    *reduced = *problem;
    if (!problem->mean)
        return LDNQ_OK;
    reduced->mean = NULL;
    reduced->bias = NULL;
    if (problem->low_rank)
        return LDNQ_OK;
    double *gram = ldnq_arena_alloc(arena, problem->groups * size, sizeof *gram, err);
    struct ldnq_gram_positions *positions = ldnq_arena_alloc(arena, 1, sizeof *positions, err);
    if (!gram || !positions)
        return LDNQ_NOMEM;
    if (problem->positions) {
        *positions = *problem->positions;
        positions->mean = problem->mean;
        reduced->positions = positions;
    }
    for (size_t group = 0; group < problem->groups; group++)
        subtract_mean_of_group(problem, group, gram + group * size);
    reduced->gram = gram;
    return LDNQ_OK;
}

/* Writes the correlation matrix of the columns that vary to `out`, lower triangle, and
 * returns their number. */
static size_t write_correlation_matrix(const double *gram, size_t k, double *out)
{
    size_t n = 0;
    for (size_t i = 0; i < k; i++)
        n += gram[i * k + i] > 0;
    for (size_t i = 0, row = 0; i < k; i++) {
        if (!(gram[i * k + i] > 0))
            continue;
        for (size_t j = 0, column = 0; j <= i; j++)
            if (gram[j * k + j] > 0)
                out[row * n + column++] = gram[i * k + j] / sqrt(gram[i * k + i] * gram[j * k + j]);
        row++;
    }
    return n;
}

/* The same for a matrix of low rank: C = Z'Z / P with Z (P, n) the columns that vary, divided by
 * their deviations. What is written is Z Z' / n (P, P), which has the same rank, and pivots of the
 * same size. */
static size_t write_position_products(const struct ldnq_layer_problem *problem, float *scaled,
                                      double *out)
{
    const size_t k = problem->cols, count = problem->low_rank->count;
    float *products = scaled + k * count;
    size_t n = 0;
    for (size_t i = 0; i < k; i++) {
        const double variance = problem->diagonal[i];
        if (!(variance > 0))
            continue;
        for (size_t p = 0; p < count; p++)
            scaled[n * count + p] =
                (float)((double)problem->low_rank->columns[i * count + p] / sqrt(variance));
        n++;
    }
    ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, count, count, n, 1 / (float)(n ? n : 1), scaled, count,
               scaled, count, 0, products, count);
    for (size_t i = 0; i < count * count; i++)
        out[i] = (double)products[i];
    return n;
}

static enum ldnq_status compute_low_rank(const struct ldnq_layer_problem *problem, size_t *varying,
                                         size_t *rank, struct ldnq_arena *arena,
                                         struct ldnq_error *err)
{
    const size_t k = problem->cols, count = problem->low_rank->count;
    float *scaled = ldnq_arena_alloc(arena, (k + count) * count, sizeof *scaled, err);
    double *matrix = ldnq_arena_alloc(arena, count * count, sizeof *matrix, err);
    if (!scaled || !matrix)
        return LDNQ_NOMEM;
    *varying = write_position_products(problem, scaled, matrix);
    return ldnq_cholesky_rank(count, matrix, RANK_TOLERANCE, rank, err);
}

static enum ldnq_status compute_rank(const struct ldnq_layer_problem *problem, size_t *varying,
                                     size_t *rank, struct ldnq_error *err)
{
    const size_t k = problem->cols;
    struct ldnq_layer_problem reduced;
    struct ldnq_arena *arena;
    *varying = *rank = problem->groups ? k : 0;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    if (problem->low_rank) {
        const enum ldnq_status found = compute_low_rank(problem, varying, rank, arena, err);
        ldnq_arena_destroy(arena);
        return found;
    }
    enum ldnq_status status = ldnq_problem_eliminate_bias(problem, &reduced, arena, err);
    double *matrix = ldnq_arena_alloc(arena, k * k, sizeof *matrix, err);
    if (status == LDNQ_OK && !matrix)
        status = LDNQ_NOMEM;
    for (size_t group = 0; status == LDNQ_OK && group < problem->groups; group++) {
        size_t found = 0;
        const size_t n = write_correlation_matrix(reduced.gram + group * k * k, k, matrix);
        status = ldnq_cholesky_rank(n, matrix, RANK_TOLERANCE, &found, err);
        *varying = ldnq_size_min(*varying, n);
        *rank = ldnq_size_min(*rank, found);
    }
    ldnq_arena_destroy(arena);
    return status;
}

enum ldnq_status ldnq_problem_compute_rank(const struct ldnq_layer_problem *problem,
                                           size_t *varying, size_t *rank, struct ldnq_error *err)
{
    struct ldnq_gram_result *known = ldnq_gram_results_find(problem);
    if (known && known->has_rank) {
        *varying = known->varying;
        *rank = known->rank;
        return LDNQ_OK;
    }
    LDNQ_TRY(compute_rank(problem, varying, rank, err));
    if (!known)
        return LDNQ_OK;
    known->varying = *varying;
    known->rank = *rank;
    known->has_rank = true;
    return LDNQ_OK;
}
