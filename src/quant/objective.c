/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/problem.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/gram_product.h"

/* Columns per tile. Three tiles of LDNQ_PIECE_ROWS rows are on the stack, so that the
 * objective allocates nothing and can't fail. */
#define TILE LDNQ_GRAM_TILE

/* Rows of one group whose objective is computed. */
struct objective_rows {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_choice *choice;
    const size_t *rows; /* indices of rows in the group; NULL for 0, 1, 2 ... */
    size_t group, count;
};

static size_t find_tensor_row(const struct objective_rows *rows, size_t r)
{
    return rows->group * rows->problem->rows + (rows->rows ? rows->rows[r] : r);
}

/* Writes D = Q - W, columns first .. first+n-1, to the tile (count, TILE). */
static void load_difference(const struct objective_rows *rows, size_t first, size_t n, double *tile)
{
    const size_t k = rows->problem->cols;
    for (size_t r = 0; r < rows->count; r++) {
        const size_t row = find_tensor_row(rows, r), at = row * k + first;
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
            d[i] = (double)scales[ldnq_scale_index(rows->problem, row, first + i)] * codes[i] -
                   (double)weight[i];
    }
}

/* errors[r] += x[r] . y[r] over n columns of two tiles. */
static void add_row_dot_products(size_t count, size_t n, const double *x, const double *y,
                                 double *errors)
{
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < n; i++)
            errors[r] += x[r * TILE + i] * y[r * TILE + i];
}

/* Adds d H d' of each row. H is symmetric: tiles below its diagonal count twice, those
 * above it are not read. */
static void add_quadratic(const struct objective_rows *rows, double *errors)
{
    const size_t k = rows->problem->cols;
    const double *gram = rows->problem->gram + rows->group * k * k;
    double left[LDNQ_PIECE_ROWS * TILE], right[LDNQ_PIECE_ROWS * TILE];
    double product[LDNQ_PIECE_ROWS * TILE];
    for (size_t i = 0; i < k; i += TILE) {
        const size_t ni = ldnq_size_min(TILE, k - i);
        load_difference(rows, i, ni, left);
        for (size_t j = 0; j <= i; j += TILE) {
            const size_t nj = ldnq_size_min(TILE, k - j);
            const double times = j < i ? 2 : 1;
            load_difference(rows, j, nj, right);
            ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows->count, nj, ni, times, left, TILE,
                       gram + i * k + j, k, 0, product, TILE);
            add_row_dot_products(rows->count, nj, product, right, errors);
        }
    }
}

/* The same from the positions: |d Y'|^2 / P, and what H has besides. */
static void add_quadratic_of_positions(const struct objective_rows *rows, double *errors)
{
    const struct ldnq_gram_positions *y = rows->problem->positions;
    const size_t k = rows->problem->cols;
    double tile[LDNQ_PIECE_ROWS * TILE], means[LDNQ_PIECE_ROWS] = { 0 };
    struct ldnq_position_products products;
    for (products.first = 0; products.first < y->count; products.first += TILE) {
        products.count = ldnq_size_min(TILE, y->count - products.first);
        memset(products.values, 0, sizeof products.values);
        for (size_t i = 0; i < k; i += TILE) {
            const size_t n = ldnq_size_min(TILE, k - i);
            load_difference(rows, i, n, tile);
            ldnq_add_position_products(rows->problem, rows->count, tile, i, n, &products);
            for (size_t at = 0; products.first == 0 && at < rows->count * n; at++) {
                const size_t r = at / n, column = at % n;
                const double d = tile[r * TILE + column];
                errors[r] += y->added ? y->added[i + column] * d * d : 0;
                means[r] += y->mean ? y->mean[i + column] * d : 0;
            }
        }
        for (size_t r = 0; r < rows->count; r++)
            for (size_t p = 0; p < products.count; p++)
                errors[r] += products.values[r * TILE + p] * products.values[r * TILE + p] /
                             (double)y->count;
    }
    for (size_t r = 0; r < rows->count; r++)
        errors[r] -= means[r] * means[r];
}

/* Columns and positions per tile of a low-rank matrix. */
#define LOW_RANK_TILE ((size_t)256)

static void load_float_difference(const struct objective_rows *rows, size_t first, size_t n,
                                  float *tile)
{
    double part[LDNQ_PIECE_ROWS * TILE];
    for (size_t at = 0; at < n; at += TILE) {
        const size_t count = ldnq_size_min(TILE, n - at);
        load_difference(rows, first + at, count, part);
        for (size_t r = 0; r < rows->count; r++)
            for (size_t i = 0; i < count; i++)
                tile[r * LOW_RANK_TILE + at + i] = (float)part[r * TILE + i];
    }
}

static void add_weighted_squares_of_tile(const struct objective_rows *rows, const double *weights,
                                         size_t n, const float *tile, double *errors)
{
    for (size_t r = 0; r < rows->count; r++)
        for (size_t i = 0; i < n; i++) {
            const double d = (double)tile[r * LOW_RANK_TILE + i];
            errors[r] += weights[i] * d * d;
        }
}

/* Adds |d Y'|^2 / P + d diag(added) d' of each row. Products in float: Y has no mean that they
 * would have to cancel. */
static void add_quadratic_of_low_rank(const struct objective_rows *rows, double *errors)
{
    const struct ldnq_low_rank_gram *y = rows->problem->low_rank;
    const size_t k = rows->problem->cols;
    float tile[LDNQ_PIECE_ROWS * LOW_RANK_TILE], outputs[LDNQ_PIECE_ROWS * LOW_RANK_TILE];
    for (size_t p = 0; p < y->count; p += LOW_RANK_TILE) {
        const size_t count = ldnq_size_min(LOW_RANK_TILE, y->count - p);
        for (size_t i = 0; i < k; i += LOW_RANK_TILE) {
            const size_t n = ldnq_size_min(LOW_RANK_TILE, k - i);
            load_float_difference(rows, i, n, tile);
            ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, rows->count, count, n, 1, tile, LOW_RANK_TILE,
                       y->columns + i * y->count + p, y->count, i > 0, outputs, LOW_RANK_TILE);
            if (p == 0 && y->added)
                add_weighted_squares_of_tile(rows, y->added + i, n, tile, errors);
        }
        for (size_t r = 0; r < rows->count; r++)
            for (size_t i = 0; i < count; i++) {
                const double output = (double)outputs[r * LOW_RANK_TILE + i];
                errors[r] += output * output / (double)y->count;
            }
    }
}

/* Adds d D d' of each row, D the problem's diagonal. */
static void add_weighted_squares(const struct objective_rows *rows, double *errors)
{
    const size_t k = rows->problem->cols;
    const double *diagonal = rows->problem->diagonal + rows->group * k;
    double tile[LDNQ_PIECE_ROWS * TILE];
    for (size_t first = 0; first < k; first += TILE) {
        const size_t n = ldnq_size_min(TILE, k - first);
        load_difference(rows, first, n, tile);
        for (size_t r = 0; r < rows->count; r++)
            for (size_t i = 0; i < n; i++)
                errors[r] += tile[r * TILE + i] * tile[r * TILE + i] * diagonal[first + i];
    }
}

/* The dot product d.m of row r. */
static double dot_mean_with_difference(const struct objective_rows *rows, size_t r)
{
    const size_t k = rows->problem->cols, row = find_tensor_row(rows, r);
    const double *mean = rows->problem->mean + rows->group * k;
    const float *weight = rows->problem->weight + row * k;
    const int8_t *codes = rows->choice->codes;
    double sum = 0;
    for (size_t i = 0; i < k; i++) {
        const double scale =
            codes ? (double)rows->choice->scales[ldnq_scale_index(rows->problem, row, i)] : 0;
        sum += mean[i] * ((codes ? scale * codes[row * k + i] : 0) - (double)weight[i]);
    }
    return sum;
}

static double compute_bias_change(const struct objective_rows *rows, size_t r, double mean,
                                  const float *bias)
{
    if (!bias)
        return -mean;
    const size_t row = find_tensor_row(rows, r);
    return (double)bias[row] - (double)rows->problem->bias[row];
}

/* The objective of row r with this bias (NULL: the best one), from d H d' and d.m. Rounding can
 * make a sum negative that should be 0. */
static double add_bias_error(const struct objective_rows *rows, size_t r, const float *bias,
                             double quadratic, double mean)
{
    double error = quadratic;
    if (rows->problem->mean) {
        const double change = compute_bias_change(rows, r, mean, bias);
        error +=
            rows->problem->gram ? change * (2 * mean + change) : (mean + change) * (mean + change);
    }
    return error < 0 ? 0 : error;
}

/* `other` (count): the errors with `other_bias`; NULL: not computed. */
static void compute_errors_of_rows(const struct objective_rows *rows, double *errors,
                                   const float *other_bias, double *other)
{
    for (size_t r = 0; r < rows->count; r++)
        errors[r] = 0;
    if (rows->problem->low_rank)
        add_quadratic_of_low_rank(rows, errors);
    else if (rows->problem->positions)
        add_quadratic_of_positions(rows, errors);
    else if (rows->problem->gram)
        add_quadratic(rows, errors);
    else
        add_weighted_squares(rows, errors);
    for (size_t r = 0; r < rows->count; r++) {
        const double quadratic = errors[r];
        const double mean = rows->problem->mean ? dot_mean_with_difference(rows, r) : 0;
        errors[r] = add_bias_error(rows, r, rows->choice->bias, quadratic, mean);
        if (other)
            other[r] = add_bias_error(rows, r, other_bias, quadratic, mean);
    }
}

void ldnq_compute_row_errors(const struct ldnq_layer_problem *problem, size_t group,
                             const size_t *row_list, size_t count, const struct ldnq_choice *choice,
                             double *errors)
{
    const struct objective_rows rows = { problem, choice, row_list, group, count };
    compute_errors_of_rows(&rows, errors, NULL, NULL);
}

static void sum_piece_errors(const struct ldnq_layer_problem *problem, size_t index,
                             const struct ldnq_choice *choice, double *errors)
{
    const struct ldnq_piece piece = ldnq_piece_at(problem, index);
    size_t rows[LDNQ_PIECE_ROWS];
    for (size_t r = 0; r < piece.rows; r++)
        rows[r] = piece.first + r;
    ldnq_compute_row_errors(problem, piece.group, rows, piece.rows, choice, errors);
}

struct total_objective {
    const struct ldnq_layer_problem *problem;
    const struct ldnq_choice *choice;
    double *errors;
    const float *other_bias;
    double *other_errors; /* NULL: not computed */
};

static void sum_chunk_errors(void *ctx, size_t chunk, size_t thread)
{
    (void)thread;
    const struct total_objective *total = ctx;
    const struct ldnq_piece piece = ldnq_piece_at(total->problem, chunk);
    size_t list[LDNQ_PIECE_ROWS];
    for (size_t r = 0; r < piece.rows; r++)
        list[r] = piece.first + r;
    const struct objective_rows rows = { total->problem, total->choice, list, piece.group,
                                         piece.rows };
    compute_errors_of_rows(&rows, total->errors + piece.offset, total->other_bias,
                           total->other_errors ? total->other_errors + piece.offset : NULL);
}

static double sum_rows(const struct ldnq_layer_problem *problem, const double *errors)
{
    double sum = 0;
    for (size_t i = 0; i < problem->groups * problem->rows; i++)
        sum += errors[i];
    return sum;
}

static void run_and_exchange(struct total_objective *total, struct ldnq_pool *pool)
{
    ldnq_run_pieces(total->problem, pool, sum_chunk_errors, total);
    ldnq_exchange_rows(total->problem, pool, total->errors, sizeof *total->errors);
    if (total->other_errors)
        ldnq_exchange_rows(total->problem, pool, total->other_errors, sizeof *total->other_errors);
}

double ldnq_compute_total_error(const struct ldnq_layer_problem *problem, struct ldnq_pool *pool,
                                const struct ldnq_choice *choice, double *errors)
{
    struct total_objective total = { .problem = problem, .choice = choice, .errors = errors };
    run_and_exchange(&total, pool);
    return sum_rows(problem, errors);
}

double ldnq_compute_total_error_of_biases(const struct ldnq_layer_problem *problem,
                                          struct ldnq_pool *pool, const struct ldnq_choice *choice,
                                          const float *other_bias, double *errors,
                                          double *other_sum)
{
    double *other = errors + problem->groups * problem->rows;
    struct total_objective total = { problem, choice, errors, other_bias, other };
    run_and_exchange(&total, pool);
    *other_sum = sum_rows(problem, other);
    return sum_rows(problem, errors);
}

double ldnq_compute_total_error_serially(const struct ldnq_layer_problem *problem,
                                         const struct ldnq_choice *choice)
{
    double errors[LDNQ_PIECE_ROWS], sum = 0;
    for (size_t i = 0; i < ldnq_piece_count(problem); i++) {
        const size_t rows = ldnq_piece_at(problem, i).rows;
        sum_piece_errors(problem, i, choice, errors);
        for (size_t r = 0; r < rows; r++)
            sum += errors[r];
    }
    return sum;
}

static double compute_relative_error(double error, double zero)
{
    return error == 0 ? 0 : error / zero;
}

enum ldnq_status ldnq_report_errors(double zero, double before, double after,
                                    struct ldnq_layer_solution *solution, struct ldnq_error *err)
{
    if (!isfinite(zero) || !isfinite(before) || !isfinite(after))
        return ldnq_fail(err, LDNQ_NUMERIC,
                         "the objective overflows: the weight or the gram matrix is too large");
    solution->error_start = compute_relative_error(before, zero);
    solution->error = compute_relative_error(after, zero);
    return LDNQ_OK;
}

double ldnq_add_rounding_of_biases(const struct ldnq_layer_problem *problem,
                                   const struct ldnq_layer_solution *solution, const double *errors)
{
    const struct ldnq_choice choice = { solution->codes, solution->scales, solution->bias };
    double sum = 0;
    for (size_t g = 0; g < problem->groups; g++) {
        const struct objective_rows rows = { problem, &choice, NULL, g, problem->rows };
        for (size_t r = 0; r < problem->rows; r++) {
            const size_t row = find_tensor_row(&rows, r);
            double rounding = 0;
            if (problem->mean) {
                const double mean = dot_mean_with_difference(&rows, r);
                rounding = mean + compute_bias_change(&rows, r, mean, solution->bias);
            }
            sum += errors[row] + rounding * rounding;
        }
    }
    return sum;
}

double ldnq_compute_layer_error(const struct ldnq_layer_problem *problem,
                                const struct ldnq_layer_solution *solution)
{
    const struct ldnq_choice zero = { 0 };
    const struct ldnq_choice choice = { solution->codes, solution->scales,
                                        problem->mean ? solution->bias : NULL };
    return compute_relative_error(ldnq_compute_total_error_serially(problem, &choice),
                                  ldnq_compute_total_error_serially(problem, &zero));
}

/* The closed form of problem.h: bias = b - d.m. */
void ldnq_compute_best_bias(const struct ldnq_layer_problem *problem,
                            struct ldnq_layer_solution *solution)
{
    const struct ldnq_choice choice = { solution->codes, solution->scales, NULL };
    for (size_t g = 0; g < problem->groups; g++) {
        const struct objective_rows rows = { problem, &choice, NULL, g, problem->rows };
        for (size_t r = 0; r < problem->rows; r++) {
            const size_t row = find_tensor_row(&rows, r);
            solution->bias[row] =
                (float)((double)problem->bias[row] - dot_mean_with_difference(&rows, r));
        }
    }
}
