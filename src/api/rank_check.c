/* SPDX-License-Identifier: Apache-2.0 */
#include "api/rank_check.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/json_add.h"
#include "base/ranks_join.h"

/* ---- what a rank was given ------------------------------------------------------------------ */

static const char *find_header_text(const cJSON *header, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, name));
    return text ? text : "";
}

static bool differs(const cJSON *own, const cJSON *first, const char *name)
{
    return !cJSON_Compare(cJSON_GetObjectItemCaseSensitive(own, name),
                          cJSON_GetObjectItemCaseSensitive(first, name), true);
}

/* "'int8'", "'a'" of several, or "not set". */
static const char *describe_option(const cJSON *options, const char *name, const cJSON *other,
                                   char *text, size_t size)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(options, name), *value = NULL;
    const cJSON *others = cJSON_GetObjectItemCaseSensitive(other, name);
    int i = 0;
    while ((value = cJSON_GetArrayItem(list, i)) != NULL &&
           cJSON_Compare(value, cJSON_GetArrayItem(others, i), true))
        i++;
    if (value)
        snprintf(text, size, "'%s'", cJSON_GetStringValue(value));
    else
        snprintf(text, size, i > 0 ? "no more" : "not set");
    return text;
}

static enum ldnq_status compare_options(const cJSON *own, const cJSON *first, const char *who,
                                        struct ldnq_error *err)
{
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(own, "options"), *option;
    const cJSON *others = cJSON_GetObjectItemCaseSensitive(first, "options");
    char is[256], other[256];
    cJSON_ArrayForEach(option, options)
    {
        if (differs(options, others, option->string))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s has %s %s, and rank 0 has %s; give all ranks the same options",
                             who, option->string,
                             describe_option(options, option->string, others, is, sizeof is),
                             describe_option(others, option->string, options, other, sizeof other));
    }
    return LDNQ_OK;
}

static enum ldnq_status compare_headers(const cJSON *own, const cJSON *first, const char *who,
                                        struct ldnq_error *err)
{
    static const char *const contents[][2] = { { "samples", "samples" },
                                               { "held_out", "held-out samples" },
                                               { "plan", "a plan" } };
    if (differs(own, first, "kernels"))
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s computes with the kernels %s, and rank 0 with %s: their bits differ; "
                         "use processors of one kind, or set portable",
                         who, find_header_text(own, "kernels"), find_header_text(first, "kernels"));
    if (differs(own, first, "model"))
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s has the model '%s' (hash %s), and rank 0 has '%s' (hash %s); give all "
                         "ranks the same file",
                         who, find_header_text(own, "model_name"), find_header_text(own, "model"),
                         find_header_text(first, "model_name"), find_header_text(first, "model"));
    /* The options decide which samples are used, and say more. */
    LDNQ_TRY(compare_options(own, first, who, err));
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (differs(own, first, contents[i][0]))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s has %s of other contents (hash %s) than rank 0 (hash %s); give "
                             "all ranks the same",
                             who, contents[i][1], find_header_text(own, contents[i][0]),
                             find_header_text(first, contents[i][0]));
    return LDNQ_OK;
}

/* The text of the first rank, in the arena. */
static enum ldnq_status share_text(const struct ldnq_job *job, const char **text,
                                   struct ldnq_error *err)
{
    uint64_t size = *text ? strlen(*text) + 1 : 0;
    LDNQ_TRY(ldnq_ranks_broadcast(job->ranks, 0, &size, sizeof size, err));
    char *copy = ldnq_arena_alloc(job->arena, (size_t)size, 1, err);
    if (!copy)
        return LDNQ_NOMEM;
    if (ldnq_ranks_is_first(job->ranks))
        memcpy(copy, *text, (size_t)size);
    *text = copy;
    return ldnq_ranks_broadcast(job->ranks, 0, copy, (size_t)size, err);
}

enum ldnq_status ldnq_job_compare_ranks(const struct ldnq_job *job,
                                        const struct ldnq_checkpoint_inputs *inputs,
                                        struct ldnq_error *err)
{
    cJSON *own;
    char who[128];
    if (ldnq_ranks_count(job->ranks) == 1)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_checkpoint_make_header(job, inputs, &own, err));
    char *printed = ldnq_json_print(own, LDNQ_JSON_LINE);
    const char *text = printed;
    enum ldnq_status status = printed ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    if (status == LDNQ_OK)
        status = share_text(job, &text, err);
    if (status == LDNQ_OK) {
        cJSON *first = cJSON_Parse(text);
        snprintf(who, sizeof who, "rank %zu on %s", job->ranks->rank,
                 ldnq_ranks_host(job->ranks->rank));
        status = first ? compare_headers(own, first, who, err)
                       : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
        cJSON_Delete(first);
        status = ldnq_ranks_share_first_failure(job->ranks, status, err);
    }
    cJSON_Delete(own);
    ldnq_free(printed);
    return status;
}

/* ---- what a rank has done ---------------------------------------------------------------------
 */

struct rank_figures {
    double processor_seconds, waiting_seconds;
    uint64_t sent_bytes;
};

static bool add_rank(cJSON *list, size_t rank, const struct rank_figures *figures, double all)
{
    cJSON *item = cJSON_CreateObject();
    if (!item || !cJSON_AddItemToArray(list, item)) {
        cJSON_Delete(item);
        return false;
    }
    return ldnq_json_add_number(item, "rank", (double)rank) &&
           ldnq_json_add_text(item, "host", ldnq_ranks_host(rank)) &&
           ldnq_json_add_number(item, "processor_seconds", figures->processor_seconds) &&
           ldnq_json_add_number(item, "share", all > 0 ? figures->processor_seconds / all : 0) &&
           ldnq_json_add_number(item, "waiting_seconds", figures->waiting_seconds) &&
           ldnq_json_add_number(item, "sent_bytes", (double)figures->sent_bytes);
}

enum ldnq_status ldnq_job_add_ranks(const struct ldnq_job *job, cJSON *root, struct ldnq_error *err)
{
    const size_t count = ldnq_ranks_count(job->ranks);
    double all = 0;
    cJSON *list = cJSON_AddArrayToObject(root, "ranks");
    if (count == 1)
        return list ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    struct rank_figures *figures = ldnq_arena_alloc(job->arena, count, sizeof *figures, err);
    if (!figures)
        return LDNQ_NOMEM;
    figures[job->ranks->rank] =
        (struct rank_figures){ (double)clock() / CLOCKS_PER_SEC, job->ranks->waiting_seconds,
                               job->ranks->sent_bytes };
    LDNQ_TRY(ldnq_ranks_allgather_units(job->ranks, figures, count, sizeof *figures, err));
    for (size_t rank = 0; rank < count; rank++)
        all += figures[rank].processor_seconds;
    for (size_t rank = 0; list && rank < count; rank++)
        if (!add_rank(list, rank, &figures[rank], all))
            list = NULL;
    return list ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}
