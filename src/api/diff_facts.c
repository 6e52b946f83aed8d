/* SPDX-License-Identifier: Apache-2.0 */
#include "api/diff_facts.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "linalg/blas.h"

#define LONGEST_COMMAND 8192

/* Characters that a shell leaves as they are. */
static bool is_plain_word(const char *word)
{
    return *word &&
           strspn(word,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./,:=+-@%") ==
               strlen(word);
}

/* Appends a word as a shell reads it. */
static void append_word(struct ldnq_text *text, const char *word)
{
    if (is_plain_word(word)) {
        ldnq_text_append_item(text, " ", "%s", word);
        return;
    }
    ldnq_text_append_item(text, " ", "'");
    for (; *word; word++) {
        const char letter[2] = { *word, '\0' };
        ldnq_text_append_item(text, "", "%s", *word == '\'' ? "'\\''" : letter);
    }
    ldnq_text_append_item(text, "", "'");
}

/* Options that change no file of the result, so that a run that was resumed, or had other threads,
 * has the same page; and those for callers of the library. */
static bool is_in_command(enum ldnq_option_index index)
{
    static const enum ldnq_option_index left_out[] = {
        OPTION_JSON,    OPTION_QUIET, OPTION_VERBOSE,    OPTION_THREADS,
        OPTION_MAX_MEM, OPTION_LOG,   OPTION_CHECKPOINT, OPTION_RESUME,
    };
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (left_out[i] == index)
            return false;
    return ldnq_option_table[index].scope != LDNQ_OPTION_LIBRARY;
}

static void append_option(struct ldnq_text *text, const struct ldnq_options *options,
                          enum ldnq_option_index index)
{
    size_t count;
    const char *const *values = ldnq_option_list(options, index, &count);
    char name[64];
    for (size_t i = 0; i < count; i++) {
        if (!ldnq_option_table[index].value && !ldnq_option_flag(options, index))
            continue;
        snprintf(name, sizeof name, "--%s", ldnq_option_table[index].name);
        append_word(text, name);
        if (ldnq_option_table[index].value)
            append_word(text, values[i]);
    }
}

static const char *describe_command(const char *job, const char *const *models, size_t model_count,
                                    const struct ldnq_options *options, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    char *data = ldnq_arena_alloc(arena, LONGEST_COMMAND, 1, err);
    struct ldnq_text text;
    if (!data)
        return NULL;
    ldnq_text_init(&text, data, LONGEST_COMMAND);
    ldnq_text_append_item(&text, "", "ldnq %s", job);
    for (size_t i = 0; i < model_count; i++)
        append_word(&text, models[i]);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (is_in_command((enum ldnq_option_index)i))
            append_option(&text, options, (enum ldnq_option_index)i);
    return data;
}

enum ldnq_status ldnq_diff_fill_reproduction(const char *job, const char *const *models,
                                             size_t model_count, const struct ldnq_options *options,
                                             const struct ldnq_model *quantized,
                                             struct ldnq_arena *arena, struct ldnq_diff *diff,
                                             struct ldnq_error *err)
{
    static const struct ldnq_diff_fact keys[] = {
        { "quantized by ldnq", "ldnq.version" },
        { "its kernels", "ldnq.kernels" },
        { "its options", "ldnq.options" },
        { "float model", "ldnq.model" },
        { "samples", "ldnq.data" },
    };
    const size_t key_count = sizeof keys / sizeof *keys;
    char kernels[256];
    struct ldnq_diff_fact *facts = ldnq_arena_alloc(arena, key_count + 3, sizeof *facts, err);
    if (!facts)
        return LDNQ_NOMEM;
    diff->command = describe_command(job, models, model_count, options, arena, err);
    ldnq_blas_describe_arithmetic(kernels, sizeof kernels);
    const char *page = ldnq_arena_printf(arena, err, "ldnq " LDNQ_VERSION ", %s", kernels);
    if (!diff->command || !page)
        return LDNQ_NOMEM;
    facts[diff->fact_count++] = (struct ldnq_diff_fact){ "this page", page };
    facts[diff->fact_count++] =
        (struct ldnq_diff_fact){ "seed", ldnq_option_text(options, OPTION_SEED) };
    for (size_t i = 0; quantized && i < key_count; i++) {
        const char *text = ldnq_model_metadata(quantized, keys[i].text);
        if (text)
            facts[diff->fact_count++] = (struct ldnq_diff_fact){ keys[i].name, text };
    }
    diff->facts = facts;
    return LDNQ_OK;
}
