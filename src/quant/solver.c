#include "quant/solver.h"

#include <string.h>

static const struct ldnq_solver *const table[] = {
    &ldnq_solver_rtn,  &ldnq_solver_mse,  &ldnq_solver_gptq,
    &ldnq_solver_cd,   &ldnq_solver_beam, &ldnq_solver_admm_paper,
    &ldnq_solver_admm, &ldnq_solver_best, NULL,
};

const struct ldnq_solver *const *ldnq_solvers(void)
{
    return table;
}

const struct ldnq_solver *ldnq_solver_find(const char *name)
{
    for (size_t i = 0; table[i]; i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

void ldnq_solver_defaults(struct ldnq_solver_options *options)
{
    *options = (struct ldnq_solver_options){
        .rho_factor = 0.5,
        .max_iterations = 100,
        .max_rises = 3,
    };
}
