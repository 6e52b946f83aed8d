/* SPDX-License-Identifier: Apache-2.0 */
/* options.h: the values of the options, as jobs read them. All functions accept NULL, which
 * stands for the defaults; values were checked when they were set. */
#ifndef LDNQ_API_OPTIONS_H
#define LDNQ_API_OPTIONS_H

#include "api/option_table.h"
#include <stdbool.h>
#include <stddef.h>

struct ldnq_option_values {
    char **texts; /* (count) */
    size_t count;
};

struct ldnq_options {
    struct ldnq_option_values values[OPTION_COUNT];
    int (*progress)(void *ctx, const struct ldnq_progress *progress);
    void *progress_ctx;
    void (*event)(void *ctx, const char *json);
    void *event_ctx;
    const struct ldnq_dataset *goal_data; /* the caller's; NULL: the option "goal-data" */
    int (*score)(void *ctx, const void *model, size_t size, double *value); /* NULL: top-1 */
    void *score_ctx;
};

/* A copy with the same values and callbacks, which the caller destroys; NULL has the defaults.
 * Errors: NOMEM. */
enum ldnq_status ldnq_options_copy(const struct ldnq_options *options, struct ldnq_options **out,
                                   struct ldnq_error *err);

/* Whether the caller has set the option. */
bool ldnq_option_is_set(const struct ldnq_options *options, enum ldnq_option_index index);
/* The option's text, or its default; NULL without either. */
const char *ldnq_option_text(const struct ldnq_options *options, enum ldnq_option_index index);
/* The option's number, or its bytes; 0 without one, or for a word. */
size_t ldnq_option_count(const struct ldnq_options *options, enum ldnq_option_index index);
/* Whether the value is this word, of an option that takes a number or one of its choices. */
bool ldnq_option_is_word(const struct ldnq_options *options, enum ldnq_option_index index,
                         const char *word);
/* The option's number; 0 without one, NaN for a word. */
double ldnq_option_number(const struct ldnq_options *options, enum ldnq_option_index index);
bool ldnq_option_flag(const struct ldnq_options *options, enum ldnq_option_index index);
/* The index of a choice among the table's. */
size_t ldnq_option_choice(const struct ldnq_options *options, enum ldnq_option_index index);
/* All values of an option that repeats. */
const char *const *ldnq_option_list(const struct ldnq_options *options,
                                    enum ldnq_option_index index, size_t *count);

#endif
