/* SPDX-License-Identifier: Apache-2.0 */
/* scale_rounding.h: scales in a narrower format, for kernels that shift and for halves.
 *
 * Solves  the quadratic of quant.h with scales of a format. A scale that was found without this
 *         restriction is replaced by the one below and the one above it; the codes are
 *         found again for each, with the scale fixed; the better one is kept, per row or for the
 *         whole layer where rows share a scale. With blocks, all scales of a row go to the nearer
 *         one, or all go up. Codes stay where the rounding moves no weight noticeably
 * Shapes  as in quant.h
 * Errors  NUMERIC (as in gptq.c), NOMEM
 * Threads pieces of rows run in the pool; the result does not depend on their number
 */
#ifndef LDNQ_QUANT_SCALE_ROUNDING_H
#define LDNQ_QUANT_SCALE_ROUNDING_H

#include "quant/solver.h"

/* Rounds the scales of the task's solution, and finds its codes again: those nearest to the
 * weight, or those of least objective where the solver improves on them. Sets the errors, and
 * the best bias where the solver fits it. */
enum ldnq_status ldnq_round_scales(const struct ldnq_solver_task *task,
                                   const struct ldnq_solver *solver, struct ldnq_error *err);

#endif
