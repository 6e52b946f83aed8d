/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/low_rank_moments.h"

#include <math.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "quant/problem.h"

/* Columns that are transposed together. */
#define TILE ((size_t)64)
/* Positions per product. */
#define POSITIONS ((size_t)64)

/* The two runs of rows that a part has in few->columns. */
struct position_runs {
    size_t first[2], count[2];
};

static struct position_runs describe_rows_of_part(const struct ldnq_few_positions *few,
                                                  enum ldnq_few_positions_part part)
{
    return (struct position_runs){
        .first = { 0, few->capacity - few->held_out },
        .count = { part & LDNQ_FITTED_POSITIONS ? few->fitted : 0,
                   part & LDNQ_HELD_OUT_POSITIONS ? few->held_out : 0 },
    };
}

/* ---- the matrix ----------------------------------------------------------------------------- */

static void transpose_tile(const struct ldnq_few_positions *few, const struct position_runs *runs,
                           size_t first, size_t count, size_t positions, float *columns)
{
    size_t to = 0;
    for (size_t run = 0; run < 2; run++)
        for (size_t p = 0; p < runs->count[run]; p++, to++) {
            const float *from = few->columns + (runs->first[run] + p) * few->cols + first;
            for (size_t i = 0; i < count; i++)
                columns[(first + i) * positions + to] = from[i];
        }
}

/* Subtracts the mean where the layer has a bias, and returns what is left of the power: 0 for a
 * column that does not vary. */
static double centre_column(float *column, size_t positions, bool centred)
{
    double sum = 0, power = 0, variance = 0;
    for (size_t p = 0; p < positions; p++) {
        const double value = (double)column[p];
        sum += value;
        power += value * value;
    }
    if (!centred)
        return power / (double)positions;
    const double mean = sum / (double)positions;
    for (size_t p = 0; p < positions; p++) {
        const double value = (double)column[p] - mean;
        column[p] = (float)value;
        variance += value * value;
    }
    if (variance > LDNQ_CONSTANT_INPUT * power)
        return variance / (double)positions;
    for (size_t p = 0; p < positions; p++)
        column[p] = 0;
    return 0;
}

enum ldnq_status ldnq_low_rank_moments_init(struct ldnq_low_rank_moments *moments,
                                            const struct ldnq_few_positions *few,
                                            enum ldnq_few_positions_part part, bool centred,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct position_runs runs = describe_rows_of_part(few, part);
    const size_t k = few->cols, positions = runs.count[0] + runs.count[1];
    float *columns = ldnq_arena_alloc(arena, k, positions * sizeof *columns, err);
    moments->diagonal = ldnq_arena_alloc(arena, k, sizeof *moments->diagonal, err);
    if (!columns || !moments->diagonal)
        return LDNQ_NOMEM;
    for (size_t first = 0; first < k; first += TILE) {
        const size_t count = ldnq_size_min(TILE, k - first);
        transpose_tile(few, &runs, first, count, positions, columns);
        for (size_t i = first; i < first + count; i++)
            moments->diagonal[i] = centre_column(columns + i * positions, positions, centred);
    }
    moments->gram = (struct ldnq_low_rank_gram){ .columns = columns, .count = positions };
    return LDNQ_OK;
}

/* ---- correlation ------------------------------------------------------------------------------
 */

double ldnq_few_positions_correlate(const struct ldnq_few_positions *few, size_t first,
                                    size_t count, const float *d)
{
    const struct position_runs runs = describe_rows_of_part(few, LDNQ_HELD_OUT_POSITIONS);
    float outputs[LDNQ_FEW_ROWS * POSITIONS];
    double sum = 0;
    for (size_t at = 0; at < runs.count[1]; at += POSITIONS) {
        const size_t positions = ldnq_size_min(POSITIONS, runs.count[1] - at);
        const size_t position = runs.first[1] + at;
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_TRANSPOSED, count, positions, few->cols, 1, d, few->cols,
                   few->columns + position * few->cols, few->cols, 0, outputs, POSITIONS);
        for (size_t r = 0; r < count; r++)
            for (size_t p = 0; p < positions; p++)
                sum += (double)outputs[r * POSITIONS + p] *
                       (double)few->differences[(position + p) * few->rows + first + r];
    }
    return sum;
}
