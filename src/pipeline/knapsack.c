/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/knapsack.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"

#define MOST_SUMS ((size_t)10000)

/* Cost and error of one choice for each of the first rows. */
struct partial_sum {
    double cost, error;
    uint32_t last, choice; /* index of the sum of the rows before; this row's choice */
};

struct knapsack {
    size_t rows, choices;
    const double *error, *cost; /* (rows, choices) */
    double budget;
    double *rest;               /* (rows + 1) least cost of the remaining rows */
    struct partial_sum *merged; /* (MOST_SUMS * choices) */
    struct partial_sum **sums;  /* (rows + 1) the Pareto front, by cost */
    size_t *counts;             /* (rows + 1) */
};

static int compare_costs(const void *left, const void *right)
{
    const struct partial_sum *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    if (a->error != b->error)
        return a->error < b->error ? -1 : 1;
    if (a->last != b->last)
        return a->last < b->last ? -1 : 1;
    return a->choice < b->choice ? -1 : a->choice > b->choice;
}

/* Drops sums that a cheaper one equals or beats, in place; returns the remaining number. */
static size_t keep_pareto_front(struct partial_sum *sums, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || sums[i].error < sums[kept - 1].error)
            sums[kept++] = sums[i];
    return kept;
}

/* Keeps the last sum, which is the best, of each of MOST_SUMS equal ranges of cost. */
static size_t keep_best_sum_per_cost_range(struct partial_sum *sums, size_t count)
{
    if (count <= MOST_SUMS)
        return count;
    const double low = sums[0].cost, width = (sums[count - 1].cost - low) / (double)MOST_SUMS;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const bool is_last = i + 1 == count || floor((sums[i + 1].cost - low) / width) >
                                                   floor((sums[i].cost - low) / width);
        if ((is_last || i == 0) && kept < MOST_SUMS)
            sums[kept++] = sums[i];
    }
    return kept;
}

static bool extend_sums_by_row(struct knapsack *k, size_t row, struct ldnq_arena *arena,
                               struct ldnq_error *err)
{
    const double *error = k->error + row * k->choices, *cost = k->cost + row * k->choices;
    size_t count = 0;
    for (size_t i = 0; i < k->counts[row]; i++)
        for (size_t c = 0; c < k->choices; c++) {
            const struct partial_sum *last = &k->sums[row][i];
            const struct partial_sum sum = { last->cost + cost[c], last->error + error[c],
                                             (uint32_t)i, (uint32_t)c };
            if (sum.cost + k->rest[row + 1] <= k->budget)
                k->merged[count++] = sum;
        }
    if (count > 0)
        qsort(k->merged, count, sizeof *k->merged, compare_costs);
    count = keep_best_sum_per_cost_range(k->merged, keep_pareto_front(k->merged, count));
    k->sums[row + 1] = ldnq_arena_alloc(arena, count, sizeof **k->sums, err);
    for (size_t i = 0; k->sums[row + 1] && i < count; i++)
        k->sums[row + 1][i] = k->merged[i];
    k->counts[row + 1] = count;
    return k->sums[row + 1] != NULL;
}

/* Reads the choices of the last sum, which has the least error. */
static void read_chosen(const struct knapsack *k, size_t *chosen)
{
    size_t at = k->counts[k->rows] - 1;
    for (size_t row = k->rows; row-- > 0;) {
        const struct partial_sum *sum = &k->sums[row + 1][at];
        chosen[row] = sum->choice;
        at = sum->last;
    }
}

static void try_single_choice(const struct knapsack *k, size_t *chosen)
{
    double best = k->sums[k->rows][k->counts[k->rows] - 1].error;
    for (size_t c = 0; c < k->choices; c++) {
        double cost = 0, error = 0;
        for (size_t row = 0; row < k->rows; row++) {
            cost += k->cost[row * k->choices + c];
            error += k->error[row * k->choices + c];
        }
        if (cost > k->budget || !(error < best))
            continue;
        best = error;
        for (size_t row = 0; row < k->rows; row++)
            chosen[row] = c;
    }
}

static double find_least_cost(const struct knapsack *k, size_t row)
{
    double least = INFINITY;
    for (size_t c = 0; c < k->choices; c++)
        least = fmin(least, k->cost[row * k->choices + c]);
    return least;
}

static enum ldnq_status solve_knapsack_in_arena(struct knapsack *k, size_t *chosen, bool *fits,
                                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct partial_sum nothing = { 0 };
    k->rest = ldnq_arena_alloc(arena, k->rows + 1, sizeof *k->rest, err);
    k->merged = ldnq_arena_alloc(arena, MOST_SUMS * k->choices, sizeof *k->merged, err);
    k->sums = ldnq_arena_alloc(arena, k->rows + 1, sizeof *k->sums, err);
    k->counts = ldnq_arena_alloc(arena, k->rows + 1, sizeof *k->counts, err);
    if (!k->rest || !k->merged || !k->sums || !k->counts)
        return LDNQ_NOMEM;
    for (size_t row = k->rows; row-- > 0;)
        k->rest[row] = k->rest[row + 1] + find_least_cost(k, row);
    *fits = k->rest[0] <= k->budget;
    if (!*fits)
        return LDNQ_OK;
    k->sums[0] = &nothing;
    k->counts[0] = 1;
    for (size_t row = 0; row < k->rows; row++)
        if (!extend_sums_by_row(k, row, arena, err))
            return LDNQ_NOMEM;
    /* No sum is left where rounding makes even the cheapest one exceed the budget. */
    *fits = k->counts[k->rows] > 0;
    if (*fits) {
        read_chosen(k, chosen);
        try_single_choice(k, chosen);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_knapsack_solve(size_t rows, size_t choices, const double *error,
                                     const double *cost, double budget, size_t *chosen, bool *fits,
                                     struct ldnq_error *err)
{
    struct knapsack k = {
        .rows = rows, .choices = choices, .error = error, .cost = cost, .budget = budget
    };
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = solve_knapsack_in_arena(&k, chosen, fits, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}
