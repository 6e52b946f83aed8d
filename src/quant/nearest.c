/* SPDX-License-Identifier: Apache-2.0 */
/* The start of most solvers: the a q nearest to the weight.
 *
 * Solves  min over codes q, scales a of  sum |a q - w|^2  over the weights under each
 *         scale (project.h); the bias stays the problem's
 * Errors  NOMEM
 */
#include "quant/solver.h"

#include <string.h>

#include "base/pool.h"
#include "quant/blocks.h"
#include "quant/problem.h"
#include "quant/project.h"

struct nearest {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_layer_solution *solution;
    /* W, (G, M, K) where rows share a scale; else a row of each thread, with blocks in the order of
     * blocks.order. */
    double *weight;
    int8_t *codes; /* (threads, K) in the same order; NULL without blocks */
    struct ldnq_blocks blocks;
    struct ldnq_span *spans; /* one per piece */
};

static struct ldnq_span make_row_span(const struct nearest *nearest, const double *weight,
                                      size_t row, size_t rows)
{
    const size_t k = nearest->problem->cols;
    return (struct ldnq_span){
        .v = weight,
        .v_stride = k,
        .rows = rows,
        .length = k,
        .codes = nearest->solution->codes + row * k,
        .weight = 1,
    };
}

/* Gathers each block's columns, projects them, and scatters the codes back. */
static void project_row_blocks(const struct nearest *nearest, size_t row, size_t thread)
{
    const struct ldnq_layer_problem *problem = nearest->problem;
    const size_t k = problem->cols, block_count = problem->block_count;
    double *weight = nearest->weight + thread * k;
    int8_t *gathered = nearest->codes + thread * k, *codes = nearest->solution->codes + row * k;
    for (size_t i = 0; i < k; i++)
        weight[i] = (double)problem->weight[row * k + nearest->blocks.order[i]];
    for (size_t s = 0; s < block_count; s++) {
        const size_t first = nearest->blocks.first[s];
        const size_t count = nearest->blocks.first[s + 1] - first;
        struct ldnq_span span = { .v = weight + first,
                                  .v_stride = count,
                                  .rows = 1,
                                  .length = count,
                                  .codes = gathered + first,
                                  .weight = 1 };
        nearest->solution->scales[row * block_count + s] =
            ldnq_project(problem->codebook, NULL, &span, 1, 0);
    }
    for (size_t i = 0; i < k; i++)
        codes[nearest->blocks.order[i]] = gathered[i];
}

/* Loads rows of the weight. */
static void load_weight_rows(const struct ldnq_layer_problem *problem, size_t row, size_t rows,
                             double *weight)
{
    const float *from = problem->weight + row * problem->cols;
    for (size_t i = 0; i < rows * problem->cols; i++)
        weight[i] = (double)from[i];
}

static void project_piece_rows(void *ctx, size_t chunk, size_t thread)
{
    const struct nearest *nearest = ctx;
    const struct ldnq_layer_problem *problem = nearest->problem;
    const struct ldnq_piece piece = ldnq_piece_at(problem, chunk);
    if (problem->block_index) {
        for (size_t row = piece.offset; row < piece.offset + piece.rows; row++)
            project_row_blocks(nearest, row, thread);
        return;
    }
    if (problem->granularity == LDNQ_PER_TENSOR) {
        double *weight = nearest->weight + piece.offset * problem->cols;
        load_weight_rows(problem, piece.offset, piece.rows, weight);
        nearest->spans[chunk] = make_row_span(nearest, weight, piece.offset, piece.rows);
        return;
    }
    double *weight = nearest->weight + thread * problem->cols;
    for (size_t row = piece.offset; row < piece.offset + piece.rows; row++) {
        load_weight_rows(problem, row, 1, weight);
        struct ldnq_span span = make_row_span(nearest, weight, row, 1);
        nearest->solution->scales[row] = ldnq_project(problem->codebook, NULL, &span, 1, 0);
    }
}

static enum ldnq_status allocate_and_project(struct nearest *nearest, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = nearest->problem;
    const size_t rows = problem->groups * problem->rows, pieces = ldnq_piece_count(problem);
    const size_t threads = ldnq_pool_threads(pool);
    const size_t loaded = problem->granularity == LDNQ_PER_TENSOR ? rows : threads;
    nearest->weight = ldnq_arena_alloc(arena, loaded * problem->cols, sizeof(double), err);
    nearest->spans = ldnq_arena_alloc(arena, pieces, sizeof *nearest->spans, err);
    if (!nearest->weight || !nearest->spans)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_blocks_init(problem, &nearest->blocks, arena, err));
    if (problem->block_index) {
        nearest->codes = ldnq_arena_alloc(arena, threads * problem->cols, sizeof(int8_t), err);
        if (!nearest->codes)
            return LDNQ_NOMEM;
    }
    if (problem->granularity != LDNQ_PER_TENSOR) {
        ldnq_run_pieces(problem, pool, project_piece_rows, nearest);
        ldnq_exchange_rows(problem, pool, nearest->solution->codes, problem->cols);
        ldnq_exchange_rows(problem, pool, nearest->solution->scales,
                           ldnq_scales_per_row(problem) * sizeof(float));
    } else {
        ldnq_pool_run(pool, pieces, project_piece_rows, nearest);
        const float scale = ldnq_project(problem->codebook, pool, nearest->spans, pieces, 0);
        for (size_t row = 0; row < rows; row++)
            nearest->solution->scales[row] = scale;
    }
    if (problem->mean && rows)
        memcpy(nearest->solution->bias, problem->bias, rows * sizeof(float));
    return LDNQ_OK;
}

enum ldnq_status ldnq_start_from_projection(const struct ldnq_layer_problem *problem,
                                            struct ldnq_pool *pool,
                                            struct ldnq_layer_solution *solution,
                                            struct ldnq_error *err)
{
    struct nearest nearest = { .problem = problem, .solution = solution };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = allocate_and_project(&nearest, pool, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}
