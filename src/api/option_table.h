/* SPDX-License-Identifier: Apache-2.0 */
/* option_table.h: the one table of options, which the library's setter, the command line, its
 * help, the man pages and shell completion read. */
#ifndef LDNQ_API_OPTION_TABLE_H
#define LDNQ_API_OPTION_TABLE_H

#include "ldnq.h"

/* The order of the table, and of --help. */
enum ldnq_option_index {
    OPTION_OUTPUT,
    OPTION_CALIB,
    OPTION_DATA,
    OPTION_INPUT,
    OPTION_WEIGHTS,
    OPTION_BUDGET,
    OPTION_MAX_DROP,
    OPTION_MIN_AGREEMENT,
    OPTION_MIN_SQNR,
    OPTION_GOAL_DATA,
    OPTION_PLAN,
    OPTION_TARGET,
    OPTION_ACTIVATIONS,
    OPTION_RANGES,
    OPTION_GRANULARITY,
    OPTION_BLOCK_SIZE,
    OPTION_SOLVER,
    OPTION_RHO,
    OPTION_RHO_FROM,
    OPTION_LAMBDA,
    OPTION_EFFORT,
    OPTION_AUGMENT,
    OPTION_CASCADE,
    OPTION_DISTILL,
    OPTION_REFINE,
    OPTION_ESTIMATE,
    OPTION_TIME_LIMIT,
    OPTION_LAYER,
    OPTION_SKIP,
    OPTION_ONLY,
    OPTION_REQUANTIZE,
    OPTION_STORAGE,
    OPTION_OPSET,
    OPTION_PREPROCESS,
    OPTION_MEAN,
    OPTION_STD,
    OPTION_SCALE,
    OPTION_RESIZE,
    OPTION_CROP,
    OPTION_LETTERBOX,
    OPTION_FILTER,
    OPTION_COLOR,
    OPTION_EXIF,
    OPTION_STRICT,
    OPTION_DIM,
    OPTION_MASK,
    OPTION_MAX_SAMPLES,
    OPTION_MAX_MEM,
    OPTION_SEED,
    OPTION_THREADS,
    OPTION_PORTABLE,
    OPTION_SORT,
    OPTION_TOP,
    OPTION_HTML,
    OPTION_REPORT,
    OPTION_PAGE,
    OPTION_FAIL_BELOW_SQNR,
    OPTION_FAIL_BELOW_AGREEMENT,
    OPTION_FAIL_SIZE_ABOVE,
    OPTION_FAIL_ON,
    OPTION_LOG,
    OPTION_CHECKPOINT,
    OPTION_RESUME,
    OPTION_DRY_RUN,
    OPTION_JSON,
    OPTION_VERBOSE,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_COUNT
};

extern const struct ldnq_option ldnq_option_table[OPTION_COUNT];

/* The index of the option with this name; OPTION_COUNT if there is none. */
size_t ldnq_option_find(const char *name);

#endif
