/* SPDX-License-Identifier: Apache-2.0 */
#include "api/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/option_value.h"
#include "base/alloc.h"

/* ---- the handle --------------------------------------------------------------------------- */

enum ldnq_status ldnq_options_create(struct ldnq_options **out, struct ldnq_error *err)
{
    *out = ldnq_calloc(1, sizeof **out);
    return *out ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

static void free_option_values(struct ldnq_option_values *values)
{
    for (size_t i = 0; i < values->count; i++)
        ldnq_free(values->texts[i]);
    ldnq_free(values->texts);
    *values = (struct ldnq_option_values){ .count = 0 };
}

void ldnq_options_destroy(struct ldnq_options *options)
{
    if (!options)
        return;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        free_option_values(&options->values[i]);
    ldnq_free(options);
}

static enum ldnq_status append_option_value(struct ldnq_option_values *values, const char *text,
                                            struct ldnq_error *err)
{
    const size_t size = strlen(text) + 1;
    char *copy = ldnq_malloc(size);
    char **texts = ldnq_realloc(values->texts, (values->count + 1) * sizeof *texts);
    if (texts)
        values->texts = texts;
    if (!copy || !texts) {
        ldnq_free(copy);
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    }
    memcpy(copy, text, size);
    texts[values->count++] = copy;
    return LDNQ_OK;
}

static enum ldnq_status refuse_name(const char *name, struct ldnq_error *err)
{
    const struct ldnq_option *nearest = ldnq_options_nearest(name, ~0u);
    return ldnq_fail(err, LDNQ_USAGE, "unknown option '%s'%s%s%s", name,
                     nearest ? "; did you mean '" : "", nearest ? nearest->name : "",
                     nearest ? "'?" : "");
}

enum ldnq_status ldnq_options_set(struct ldnq_options *options, const char *name, const char *value,
                                  struct ldnq_error *err)
{
    if (!options || !name)
        return ldnq_fail(err, LDNQ_USAGE, "an option needs a handle and a name");
    const size_t index = ldnq_option_find(name);
    if (index == OPTION_COUNT)
        return refuse_name(name, err);
    struct ldnq_option_values *values = &options->values[index];
    if (!value) {
        free_option_values(values);
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_option_check(&ldnq_option_table[index], value, err));
    if (ldnq_option_table[index].repeats)
        return append_option_value(values, value, err);
    struct ldnq_option_values replacement = { .count = 0 };
    LDNQ_TRY(append_option_value(&replacement, value, err));
    free_option_values(values);
    *values = replacement;
    return LDNQ_OK;
}

const char *ldnq_options_get(const struct ldnq_options *options, const char *name, size_t index)
{
    const size_t found = name ? ldnq_option_find(name) : OPTION_COUNT;
    if (found == OPTION_COUNT)
        return NULL;
    if (options && index < options->values[found].count)
        return options->values[found].texts[index];
    return index == 0 ? ldnq_option_table[found].default_value : NULL;
}

void ldnq_options_on_progress(struct ldnq_options *options,
                              int (*progress)(void *ctx, const struct ldnq_progress *progress),
                              void *ctx)
{
    if (!options)
        return;
    options->progress = progress;
    options->progress_ctx = ctx;
}

void ldnq_options_on_event(struct ldnq_options *options, void (*event)(void *ctx, const char *json),
                           void *ctx)
{
    if (!options)
        return;
    options->event = event;
    options->event_ctx = ctx;
}

void ldnq_options_set_goal_data(struct ldnq_options *options, const struct ldnq_dataset *samples)
{
    if (options)
        options->goal_data = samples;
}

void ldnq_options_on_score(struct ldnq_options *options,
                           int (*score)(void *ctx, const void *model, size_t size, double *value),
                           void *ctx)
{
    if (!options)
        return;
    options->score = score;
    options->score_ctx = ctx;
}

static enum ldnq_status copy_values(const struct ldnq_options *from, struct ldnq_options *to,
                                    struct ldnq_error *err)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        for (size_t k = 0; k < from->values[i].count; k++)
            LDNQ_TRY(
                ldnq_options_set(to, ldnq_option_table[i].name, from->values[i].texts[k], err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_options_copy(const struct ldnq_options *options, struct ldnq_options **out,
                                   struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_options_create(out, err));
    const enum ldnq_status status = options ? copy_values(options, *out, err) : LDNQ_OK;
    if (status != LDNQ_OK) {
        ldnq_options_destroy(*out);
        *out = NULL;
    } else if (options) {
        (*out)->progress = options->progress;
        (*out)->progress_ctx = options->progress_ctx;
        (*out)->event = options->event;
        (*out)->event_ctx = options->event_ctx;
        (*out)->goal_data = options->goal_data;
        (*out)->score = options->score;
        (*out)->score_ctx = options->score_ctx;
    }
    return status;
}

/* ---- as jobs read them ---------------------------------------------------------------------- */

bool ldnq_option_is_set(const struct ldnq_options *options, enum ldnq_option_index index)
{
    return options && options->values[index].count > 0;
}

const char *ldnq_option_text(const struct ldnq_options *options, enum ldnq_option_index index)
{
    return ldnq_option_is_set(options, index) ? options->values[index].texts[0]
                                              : ldnq_option_table[index].default_value;
}

size_t ldnq_option_count(const struct ldnq_options *options, enum ldnq_option_index index)
{
    const char *text = ldnq_option_text(options, index);
    size_t value = 0;
    if (!text)
        return 0;
    if (ldnq_option_table[index].type == LDNQ_OPTION_BYTES)
        return ldnq_parse_bytes(text, &value) ? value : 0;
    return ldnq_parse_count(text, &value) ? value : 0;
}

bool ldnq_option_is_word(const struct ldnq_options *options, enum ldnq_option_index index,
                         const char *word)
{
    const char *text = ldnq_option_text(options, index);
    return text && strcmp(text, word) == 0;
}

double ldnq_option_number(const struct ldnq_options *options, enum ldnq_option_index index)
{
    const char *text = ldnq_option_text(options, index);
    double value = 0;
    return !text || ldnq_parse_number(text, &value) ? value : NAN;
}

bool ldnq_option_flag(const struct ldnq_options *options, enum ldnq_option_index index)
{
    const char *text = ldnq_option_text(options, index);
    return text && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
}

size_t ldnq_option_choice(const struct ldnq_options *options, enum ldnq_option_index index)
{
    const char *text = ldnq_option_text(options, index);
    return ldnq_choice_find(ldnq_option_table[index].choices, text, strlen(text));
}

const char *const *ldnq_option_list(const struct ldnq_options *options,
                                    enum ldnq_option_index index, size_t *count)
{
    *count = options ? options->values[index].count : 0;
    return options ? (const char *const *)options->values[index].texts : NULL;
}
