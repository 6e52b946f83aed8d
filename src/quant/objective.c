#include "quant/problem.h"

#include <math.h>

#include "base/pool.h"
#include "base/size.h"
#include "linalg/blas.h"

/* Columns of a tile: three tiles of LDNQ_PIECE_ROWS rows lie on the stack, so
 * that the objective needs no memory from anyone. */
#define TILE 128

struct rows {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_choice *choice;
    const size_t *channels;
    size_t group, count;
};

static size_t row_index(const struct rows *rows, size_t r)
{
    return rows->group * rows->problem->outputs + (rows->channels ? rows->channels[r] : r);
}

/* D = G - W, columns first .. first+n-1, into the tile (count, TILE). */
static void difference(const struct rows *rows, size_t first, size_t n, double *tile)
{
    const size_t inputs = rows->problem->inputs;
    for (size_t r = 0; r < rows->count; r++) {
        const size_t row = row_index(rows, r), at = row * inputs + first;
        const float *weight = rows->problem->weight + at;
        double *d = tile + r * TILE;
        if (!rows->choice->codes) {
            for (size_t i = 0; i < n; i++)
                d[i] = -(double)weight[i];
            continue;
        }
        const int8_t *codes = rows->choice->codes + at;
        const float *scales = rows->choice->scales;
        for (size_t i = 0; i < n; i++)
            d[i] = (double)scales[ldnq_scale_at(rows->problem, row, first + i)] * codes[i] -
                   (double)weight[i];
    }
}

/* errors[r] += x[r] . y[r] over n columns of two tiles. */
static void add_dots(size_t count, size_t n, const double *x, const double *y, double *errors)
{
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < n; i++)
            errors[r] += x[r * TILE + i] * y[r * TILE + i];
}

/* d H d' of each row. H is symmetric: its tiles below the diagonal count twice
 * and those above it are not read. */
static void quadratic(const struct rows *rows, double *errors)
{
    const size_t inputs = rows->problem->inputs;
    const double *gram = rows->problem->gram + rows->group * inputs * inputs;
    double left[LDNQ_PIECE_ROWS * TILE], right[LDNQ_PIECE_ROWS * TILE];
    double product[LDNQ_PIECE_ROWS * TILE];
    for (size_t i = 0; i < inputs; i += TILE) {
        const size_t ni = ldnq_size_min(TILE, inputs - i);
        difference(rows, i, ni, left);
        for (size_t j = 0; j <= i; j += TILE) {
            const size_t nj = ldnq_size_min(TILE, inputs - j);
            const double times = j < i ? 2 : 1;
            difference(rows, j, nj, right);
            ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows->count, nj, ni, times, left, TILE,
                       gram + i * inputs + j, inputs, 0, product, TILE);
            add_dots(rows->count, nj, product, right, errors);
        }
    }
}

/* d . m of row r */
static double mean_difference(const struct rows *rows, size_t r)
{
    const size_t inputs = rows->problem->inputs, row = row_index(rows, r);
    const double *mean = rows->problem->mean + rows->group * inputs;
    const float *weight = rows->problem->weight + row * inputs;
    const int8_t *codes = rows->choice->codes;
    double sum = 0;
    for (size_t i = 0; i < inputs; i++) {
        const double scale =
            codes ? (double)rows->choice->scales[ldnq_scale_at(rows->problem, row, i)] : 0;
        sum += mean[i] * ((codes ? scale * codes[row * inputs + i] : 0) - (double)weight[i]);
    }
    return sum;
}

static double bias_change(const struct rows *rows, size_t r, double mean)
{
    if (!rows->choice->bias)
        return -mean;
    const size_t row = row_index(rows, r);
    return (double)rows->choice->bias[row] - (double)rows->problem->bias[row];
}

/* Rounding can leave a sum that ought to be 0 a little below it. */
void ldnq_row_errors(const struct ldnq_layer_problem *problem, size_t group, const size_t *channels,
                     size_t count, const struct ldnq_choice *choice, double *errors)
{
    const struct rows rows = { problem, choice, channels, group, count };
    for (size_t r = 0; r < count; r++)
        errors[r] = 0;
    quadratic(&rows, errors);
    for (size_t r = 0; r < count; r++) {
        if (problem->mean) {
            const double mean = mean_difference(&rows, r);
            const double change = bias_change(&rows, r, mean);
            errors[r] += change * (2 * mean + change);
        }
        errors[r] = errors[r] < 0 ? 0 : errors[r];
    }
}

static void piece_errors(const struct ldnq_layer_problem *problem, size_t index,
                         const struct ldnq_choice *choice, double *errors)
{
    const struct ldnq_piece piece = ldnq_piece_at(problem, index);
    size_t channels[LDNQ_PIECE_ROWS];
    for (size_t r = 0; r < piece.rows; r++)
        channels[r] = piece.first + r;
    ldnq_row_errors(problem, piece.group, channels, piece.rows, choice, errors);
}

struct total {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_choice *choice;
    double *errors;
};

static void total_chunk(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct total *total = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(total->problem, chunk);
    piece_errors(total->problem, chunk, total->choice, total->errors + piece.offset);
}

double ldnq_total_error(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                        const struct ldnq_choice *choice, double *errors)
{
    struct total total = { problem, choice, errors };
    ldnq_pool_run(pool, ldnq_piece_count(problem), total_chunk, &total);
    double sum = 0;
    for (size_t i = 0; i < problem->groups * problem->outputs; i++)
        sum += errors[i];
    return sum;
}

double ldnq_total_error_serial(const struct ldnq_layer_problem *problem,
                               const struct ldnq_choice *choice)
{
    double errors[LDNQ_PIECE_ROWS], sum = 0;
    for (size_t i = 0; i < ldnq_piece_count(problem); i++) {
        const size_t rows = ldnq_piece_at(problem, i).rows;
        piece_errors(problem, i, choice, errors);
        for (size_t r = 0; r < rows; r++)
            sum += errors[r];
    }
    return sum;
}

static double relative(double error, double zero)
{
    return error == 0 ? 0 : error / zero;
}

enum ldnq_status ldnq_report_errors(double zero, double before, double after,
                                    struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    if (!isfinite(zero) || !isfinite(before) || !isfinite(after))
        return ldnq_fail(err, LDNQ_NUMERIC,
                         "the objective overflows: the weight or the gram matrix is too large");
    solution->error_start = relative(before, zero);
    solution->error = relative(after, zero);
    return LDNQ_OK;
}

double ldnq_layer_error(const struct ldnq_layer_problem *problem,
                        const struct ldnq_layer_solution *solution)
{
    const struct ldnq_choice zero = { 0 };
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        problem->mean ? solution->bias : NULL };
    return relative(ldnq_total_error_serial(problem, &choice),
                    ldnq_total_error_serial(problem, &zero));
}

/* bias = b - d m, the closed form in problem.h. */
void ldnq_layer_best_bias(const struct ldnq_layer_problem *problem,
                          struct ldnq_layer_solution *solution)
{
    const struct ldnq_choice choice = { solution->codes, solution->scales, NULL };
    for (size_t g = 0; g < problem->groups; g++) {
        const struct rows rows = { problem, &choice, NULL, g, problem->outputs };
        for (size_t r = 0; r < problem->outputs; r++) {
            const size_t row = row_index(&rows, r);
            solution->bias[row] = (float)((double)problem->bias[row] - mean_difference(&rows, r));
        }
    }
}
