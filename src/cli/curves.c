#include "cli/curves.h"

#include <string.h>

#include "base/alloc.h"
#include "base/growing_list.h"

void cli_curves_start(struct cli_curves *curves, const char *node)
{
    if (ldnq_list_reserve(NULL, &curves->items, curves->count, &curves->capacity,
                          sizeof *curves->items, NULL) != LDNQ_OK) {
        curves->failed = true;
        return;
    }
    curves->items[curves->count++] = (struct cli_curve){ .node = node };
}

void cli_curves_add(struct cli_curves *curves, const struct ldnq_trace_row *row)
{
    struct cli_curve *curve = curves->count ? &curves->items[curves->count - 1] : NULL;
    if (!curve || curves->failed)
        return;
    if (ldnq_list_reserve(NULL, &curve->rows, curve->count, &curve->capacity, sizeof *curve->rows,
                          NULL) != LDNQ_OK) {
        curves->failed = true;
        return;
    }
    curve->rows[curve->count++] = (struct ldnq_diff_iteration){
        .iteration = row->iteration,
        .objective = row->objective,
        .residual = row->residual,
        .changed = row->changed,
        .active = row->active,
        .rho = row->rho,
    };
}

void cli_curves_finish(struct cli_curves *curves)
{
    for (size_t i = 0; i < curves->count; i++)
        ldnq_free(curves->items[i].rows);
    ldnq_free(curves->items);
}

void cli_curves_show(const struct cli_curves *curves, struct ldnq_diff *diff)
{
    for (size_t i = 0; i < curves->count; i++)
        for (size_t k = 0; k < diff->layer_count; k++)
            if (strcmp(curves->items[i].node, diff->layers[k].node) == 0) {
                diff->layers[k].trace = curves->items[i].rows;
                diff->layers[k].trace_count = curves->items[i].count;
            }
}
