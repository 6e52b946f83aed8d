/* SPDX-License-Identifier: Apache-2.0 */
/* page.h: the HTML page of a comparison. */
#ifndef LDNQ_API_PAGE_H
#define LDNQ_API_PAGE_H

#include "api/job.h"
#include "api/result.h"
#include "compare/comparison.h"

/* Whether the options ask for the page: by its path, which may be NULL, or by "page". */
bool ldnq_page_is_wanted(const struct ldnq_options *options, const char *path);

/* Renders the page into the result. Errors: NOMEM. */
enum ldnq_status ldnq_page_render(const struct ldnq_diff *diff, struct ldnq_result *result,
                                  struct ldnq_error *err);

/* The same for several candidates against one float model. */
enum ldnq_status ldnq_page_render_candidates(struct ldnq_diff *const *candidates, size_t count,
                                             struct ldnq_result *result, struct ldnq_error *err);

/* Writes the rendered page to `path`, unless that is NULL, and keeps it in the result only
 * with the option "page". Errors: IO, NOMEM. */
enum ldnq_status ldnq_page_write(const struct ldnq_options *options, const char *path,
                                 struct ldnq_result *result, struct ldnq_error *err);

#endif
