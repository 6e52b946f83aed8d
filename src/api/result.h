/* SPDX-License-Identifier: Apache-2.0 */
/* result.h: what a job hands to the caller. */
#ifndef LDNQ_API_RESULT_H
#define LDNQ_API_RESULT_H

#include <cJSON.h>

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct ldnq_result {
    char *json;
    void *model; /* ldnq_model_free_bytes */
    size_t model_size;
    void *html; /* the page; release with ldnq_free */
    size_t html_size;
    struct ldnq_arena *arena; /* memory of the arrays */
    struct ldnq_ndarray *arrays;
    size_t array_count;
};

/* Errors: NOMEM. */
enum ldnq_status ldnq_result_create(struct ldnq_result **out, struct ldnq_error *err);

/* Prints the object into the result and deletes it. Errors: NOMEM, where it is not filled. */
enum ldnq_status ldnq_result_print(struct ldnq_result *result, cJSON *root, bool filled,
                                   struct ldnq_error *err);

/* The end of a job: hands the result over, or destroys it after an error and where the caller
 * wants none. Returns the status. */
enum ldnq_status ldnq_result_return_or_destroy(struct ldnq_result *result, enum ldnq_status status,
                                               struct ldnq_result **out);

#endif
