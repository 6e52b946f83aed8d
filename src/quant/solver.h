/* solver.h: the solvers that the table in solver.c lists. */
#ifndef LDNQ_QUANT_SOLVER_H
#define LDNQ_QUANT_SOLVER_H

#include "quant/quant.h"

extern const struct ldnq_solver ldnq_solver_rtn;
extern const struct ldnq_solver ldnq_solver_mse;
extern const struct ldnq_solver ldnq_solver_gptq;
extern const struct ldnq_solver ldnq_solver_cd;
extern const struct ldnq_solver ldnq_solver_beam;
extern const struct ldnq_solver ldnq_solver_admm_paper;
extern const struct ldnq_solver ldnq_solver_admm;
extern const struct ldnq_solver ldnq_solver_best;

#endif
