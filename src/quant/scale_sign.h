/* SPDX-License-Identifier: Apache-2.0 */
/* scale_sign.h: rows whose scale is negative.
 *
 * int4 has codes from -8 to 7. A row whose largest weight is positive uses all of them with a
 * negative scale: it is the mirrored row, -w with a positive scale, whose objective is the same.
 * Solvers therefore see mirrored rows, and know positive scales alone
 * Shapes  as in quant.h
 */
#ifndef LDNQ_QUANT_SCALE_SIGN_H
#define LDNQ_QUANT_SCALE_SIGN_H

#include "base/arena.h"
#include "quant/quant.h"

struct ldnq_mirrored_rows {
    bool *is_mirrored; /* (G M); NULL: no row is */
    struct ldnq_layer_problem problem;
};

/* Copies the problem to rows->problem, with weight and bias of mirrored rows negated. Those are
 * rows whose largest weight is positive, where the problem permits negative scales, and the
 * codebook has more codes below 0 than above. Per tensor they are all rows or none. Errors: NOMEM.
 */
enum ldnq_status ldnq_mirror_rows(const struct ldnq_layer_problem *problem,
                                  struct ldnq_mirrored_rows *rows, struct ldnq_arena *arena,
                                  struct ldnq_error *err);

/* Turns a solution of the mirrored problem into one of the problem: negates scales and biases. */
void ldnq_mirror_solution(const struct ldnq_mirrored_rows *rows,
                          struct ldnq_layer_solution *solution);

#endif
