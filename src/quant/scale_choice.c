/* SPDX-License-Identifier: Apache-2.0 */
/* scale_choice.c: rounding with the scale that suits the layer's input.
 *
 * Solves  per row, the smaller objective of two roundings: with the scales of least squares,
 *         which is the start, or with those of the largest weights. The former clips a few
 *         large weights, which is wrong where such a weight reads a loud input
 * Errors  NOMEM
 */
#include "quant/solver.h"

#include <string.h>

#include "base/pool.h"
#include "quant/problem.h"

struct scale_choice {
    const struct ldnq_layer_problem *problem;
    struct ldnq_layer_solution *start, unclipped;
    double *errors[2]; /* of both, (G M); of the rows that clip */
    bool *clips;       /* (G M) */
};

/* Whether the start clips a weight of the row. */
static bool clips_row(const struct scale_choice *choice, size_t row)
{
    const size_t scales = ldnq_scales_per_row(choice->problem);
    for (size_t i = row * scales; i < (row + 1) * scales; i++)
        if (choice->unclipped.scales[i] > choice->start->scales[i])
            return true;
    return false;
}

static void measure_rows_that_clip(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct scale_choice *choice = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(choice->problem, chunk);
    const struct ldnq_layer_solution *solutions[] = { choice->start, &choice->unclipped };
    size_t rows[LDNQ_PIECE_ROWS], count = 0;
    for (size_t i = 0; i < piece.rows; i++) {
        choice->clips[piece.offset + i] = clips_row(choice, piece.offset + i);
        if (choice->clips[piece.offset + i])
            rows[count++] = piece.first + i;
    }
    for (size_t which = 0; which < 2 && count > 0; which++) {
        const struct ldnq_choice candidate = { .codes = solutions[which]->codes,
                                               .scales = solutions[which]->scales };
        double errors[LDNQ_PIECE_ROWS];
        ldnq_compute_row_errors(choice->problem, piece.group, rows, count, &candidate, errors);
        for (size_t i = 0; i < count; i++)
            choice->errors[which][piece.offset - piece.first + rows[i]] = errors[i];
    }
}

static void take_better_rows(const struct scale_choice *choice)
{
    const struct ldnq_layer_problem *problem = choice->problem;
    const size_t rows = problem->groups * problem->rows, k = problem->cols;
    const size_t scales = ldnq_scales_per_row(problem);
    double gain = 0; /* of all rows, which share one scale per tensor */
    for (size_t row = 0; row < rows; row++)
        gain += choice->clips[row] ? choice->errors[0][row] - choice->errors[1][row] : 0;
    for (size_t row = 0; row < rows; row++) {
        const bool is_better =
            problem->granularity == LDNQ_PER_TENSOR
                ? gain > 0
                : choice->clips[row] && choice->errors[1][row] < choice->errors[0][row];
        if (!is_better)
            continue;
        memcpy(choice->start->codes + row * k, choice->unclipped.codes + row * k, k);
        memcpy(choice->start->scales + row * scales, choice->unclipped.scales + row * scales,
               scales * sizeof *choice->start->scales);
    }
}

enum ldnq_status ldnq_improve_by_scale_choice(struct ldnq_solver_task *task, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = task->problem;
    const size_t rows = problem->groups * problem->rows;
    struct scale_choice choice = { .problem = problem, .start = task->solution };
    struct ldnq_layer_solution *unclipped = &choice.unclipped;
    unclipped->codes = ldnq_arena_alloc(task->arena, rows, problem->cols, err);
    unclipped->scales = ldnq_arena_alloc(task->arena, rows * ldnq_scales_per_row(problem),
                                         sizeof *unclipped->scales, err);
    unclipped->bias = ldnq_arena_alloc(task->arena, rows, sizeof *unclipped->bias, err);
    choice.clips = ldnq_arena_alloc(task->arena, rows, sizeof *choice.clips, err);
    for (size_t i = 0; i < 2; i++)
        choice.errors[i] = ldnq_arena_alloc(task->arena, rows, sizeof *choice.errors[i], err);
    if (!unclipped->codes || !unclipped->scales || !unclipped->bias || !choice.clips ||
        !choice.errors[0] || !choice.errors[1])
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_start_from_largest_weight(problem, task->pool, unclipped, err));
    ldnq_run_pieces(problem, task->pool, measure_rows_that_clip, &choice);
    ldnq_exchange_rows(problem, task->pool, choice.clips, sizeof *choice.clips);
    for (size_t i = 0; i < 2; i++)
        ldnq_exchange_rows(problem, task->pool, choice.errors[i], sizeof *choice.errors[i]);
    take_better_rows(&choice);
    return LDNQ_OK;
}
