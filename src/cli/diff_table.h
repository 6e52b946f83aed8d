/* diff_table.h: a diff for people at a terminal, in 80 columns. */
#ifndef LDNQ_CLI_DIFF_TABLE_H
#define LDNQ_CLI_DIFF_TABLE_H

#include "compare/comparison.h"

#include "cli/command.h"

/* What --sort takes. */
enum cli_sort {
    CLI_SORT_WORST,
    CLI_SORT_ORDER,
    CLI_SORT_ISOLATED,
    CLI_SORT_ACCUMULATED,
    CLI_SORT_WEIGHT,
    CLI_SORT_BITS,
    CLI_SORT_SIZE
};

/* Errors: USAGE, naming what there is. */
enum ldnq_status cli_choose_sort(const char *word, enum cli_sort *sort, struct ldnq_error *err);

/* Summary, layers (the first `top` of them; 0: all), quantized inputs, outputs, and what else
 * differs. Errors: NOMEM. */
enum ldnq_status cli_print_diff(const struct ldnq_diff *diff, enum cli_sort sort, size_t top,
                                struct ldnq_error *err);

#endif
