/* curves.h: how the solver got to each layer's codes, kept for a report. */
#ifndef LDNQ_CLI_CURVES_H
#define LDNQ_CLI_CURVES_H

#include "pipeline/pipeline.h"
#include "compare/comparison.h"
#include "quant/quant.h"

struct cli_curve {
    const char *node; /* the layer's label */
    struct ldnq_diff_iteration *rows;
    size_t count, capacity;
};

struct cli_curves {
    struct cli_curve *items;
    size_t count, capacity;
    bool failed; /* out of memory: what is there stays as it is */
};

/* A new layer; rows that follow are its own. The label must outlive the curves. */
void cli_curves_start(struct cli_curves *curves, const char *node);
/* Before the first layer it is ignored: a budget measures all of them. */
void cli_curves_add(struct cli_curves *curves, const struct ldnq_trace_row *row);
/* Accepts zeroed ones. */
void cli_curves_finish(struct cli_curves *curves);

/* Lets the diff's layers point to their curves, which have to outlive it. */
void cli_curves_show(const struct cli_curves *curves, struct ldnq_diff *diff);

#endif
