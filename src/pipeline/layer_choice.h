/* SPDX-License-Identifier: Apache-2.0 */
/* layer_choice.h: whether a layer is fitted, fitted with damping, or rounded.
 *
 * Errors  NUMERIC (those of the solvers), NOMEM
 */
#ifndef LDNQ_PIPELINE_LAYER_CHOICE_H
#define LDNQ_PIPELINE_LAYER_CHOICE_H

#include "pipeline/layer_fitting.h"

/* Chooses by the held-out part of the current layer's moments, which are sums before and after.
 * Without such a part the layer is fitted, damped by what few positions leave open. */
enum ldnq_status ldnq_fitting_choose_fit(struct ldnq_layer_fitting *fitting, const float *weight,
                                         const float *bias,
                                         const struct ldnq_compensation_strength *strength,
                                         struct ldnq_layer_choice *choice, struct ldnq_error *err);

/* The fits that the choice tries, for a solver that needs a Gram matrix. `positions` are those that
 * are not held out. */
size_t ldnq_fitting_count_dampings(size_t positions, size_t cols);

/* Rounds the weight as the choice says. */
enum ldnq_status ldnq_fitting_round(const struct ldnq_layer_fitting *fitting,
                                    const struct ldnq_layer_choice *choice,
                                    const struct ldnq_layer_problem *problem,
                                    struct ldnq_layer_solution *solution, struct ldnq_error *err);

/* Solves the problem of the current layer with `damping` of each column's variance added to it.
 * `error` is without the damping. */
enum ldnq_status ldnq_fitting_solve_damped(struct ldnq_layer_fitting *fitting,
                                           const struct ldnq_solver *solver, double damping,
                                           const struct ldnq_layer_problem *problem,
                                           struct ldnq_layer_solution *solution,
                                           struct ldnq_arena *arena, struct ldnq_error *err);

#endif
