/* SPDX-License-Identifier: Apache-2.0 */
/* solver.h: what the solver files offer to the frame in solver.c.
 *
 * A solver is a start and, unless it stops there, an improve: a function that changes the
 * solution's codes and scales for the better. The frame does the rest: it checks the
 * problem, measures the objective before and after, sets the best bias, and goes back to
 * the start where the result is worse.
 *
 * Threads work is cut into pieces of rows for the pool; results do not depend on the number
 *         of threads
 */
#ifndef LDNQ_QUANT_SOLVER_H
#define LDNQ_QUANT_SOLVER_H

#include "base/arena.h"
#include "quant/quant.h"

struct ldnq_solver_task {
    const struct ldnq_layer_problem *problem; /* a problem that has passed ldnq_problem_check */
    const struct ldnq_solver_options *options;
    struct ldnq_pool *pool;
    struct ldnq_arena *arena; /* for scratch memory; destroyed after the task */
    double zero;              /* the objective of Q = 0; 1 for a trial */
    /* (G, M) the objective of each row's start with its best bias; NULL: not known. */
    const double *start_errors;
    /* (G, M) the same of the solution, which an improve may write; it then sets has_errors. */
    double *errors;
    bool has_errors;
    /* In: the start. Out: codes and scales, iterations and rho. The frame sets the bias. */
    struct ldnq_layer_solution *solution;
};

/* Starts of solvers: fill in codes, scales and bias. Errors: NOMEM. */
enum ldnq_status ldnq_start_from_largest_weight(const struct ldnq_layer_problem *problem,
                                                struct ldnq_pool *pool,
                                                struct ldnq_layer_solution *solution,
                                                struct ldnq_error *err);
enum ldnq_status ldnq_start_from_projection(const struct ldnq_layer_problem *problem,
                                            struct ldnq_pool *pool,
                                            struct ldnq_layer_solution *solution,
                                            struct ldnq_error *err);

/* Solvers that improve the codes and scales of a start. Errors: NUMERIC (a factorization that
 * fails), NOMEM, USAGE (an option out of range). */
enum ldnq_status ldnq_improve_by_scale_choice(struct ldnq_solver_task *task,
                                              struct ldnq_error *err);
enum ldnq_status ldnq_improve_by_gptq(struct ldnq_solver_task *task, struct ldnq_error *err);
enum ldnq_status ldnq_improve_by_descent(struct ldnq_solver_task *task, struct ldnq_error *err);
enum ldnq_status ldnq_improve_by_beam(struct ldnq_solver_task *task, struct ldnq_error *err);
enum ldnq_status ldnq_improve_by_paper_admm(struct ldnq_solver_task *task, struct ldnq_error *err);
enum ldnq_status ldnq_improve_by_admm(struct ldnq_solver_task *task, struct ldnq_error *err);
enum ldnq_status ldnq_improve_by_admm_and_beam(struct ldnq_solver_task *task,
                                               struct ldnq_error *err);

#endif
