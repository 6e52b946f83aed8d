/* SPDX-License-Identifier: Apache-2.0 */
#include "api/layer_rules.h"

#include <string.h>

#include "base/text.h"
#include "pipeline/select.h"

enum ldnq_status ldnq_layer_rule_find_codebook(const char *where, const char *name,
                                               const struct ldnq_codebook **out,
                                               struct ldnq_error *err)
{
    char list[256];
    struct ldnq_text text;
    *out = NULL;
    if (strcmp(name, LDNQ_FLOAT_LAYER) == 0)
        return LDNQ_OK;
    *out = ldnq_codebook_find(name);
    if (*out)
        return LDNQ_OK;
    ldnq_text_init(&text, list, sizeof list);
    for (const struct ldnq_codebook *const *book = ldnq_codebooks(); *book; book++)
        ldnq_text_append_item(&text, ", ", "%s", (*book)->name);
    return ldnq_fail(err, LDNQ_USAGE, "%s '%s' is not known; there are %s and %s", where, name,
                     list, LDNQ_FLOAT_LAYER);
}

enum ldnq_status ldnq_layer_rule_read_type(const char *where, const char *name,
                                           const struct ldnq_options *options, bool *is_wide,
                                           struct ldnq_error *err)
{
    const struct ldnq_target *target = ldnq_target_find(ldnq_option_text(options, OPTION_TARGET));
    *is_wide = true;
    if (target->wide_activation == LDNQ_UNDEFINED)
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s '%s': target '%s' has no activations of 16 bits for single layers; "
                         "qnn, tflite and pow2 have",
                         where, name, target->name);
    if (strcmp(name, ldnq_dtype_name(target->wide_activation)) == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_USAGE, "%s '%s': single layers of target '%s' may have %s", where,
                     name, target->name, ldnq_dtype_name(target->wide_activation));
}

/* Reads "NODE=CODEBOOK" or "NODE=CODEBOOK,TYPE", which is split at the last '=': names of nodes may
 * contain one, of codebooks not. */
static enum ldnq_status read_rule(const char *rule, const struct ldnq_options *options,
                                  struct ldnq_arena *arena, struct ldnq_plan_entry *entry,
                                  struct ldnq_error *err)
{
    const char *equals = strrchr(rule, '=');
    if (!equals || equals == rule)
        return ldnq_fail(err, LDNQ_USAGE, "layer '%s' is not PATTERN=CODEBOOK, as in 'head*=int8'",
                         rule);
    char *pattern = ldnq_arena_strdup(arena, rule, err);
    if (!pattern)
        return LDNQ_NOMEM;
    pattern[equals - rule] = '\0';
    entry->node = pattern;
    const char *where = ldnq_arena_printf(arena, err, "layer '%s': codebook", rule);
    char *codebook = ldnq_arena_strdup(arena, equals + 1, err);
    if (!where || !codebook)
        return LDNQ_NOMEM;
    char *comma = strchr(codebook, ',');
    if (comma)
        *comma = '\0';
    LDNQ_TRY(ldnq_layer_rule_find_codebook(where, codebook, &entry->codebook, err));
    entry->wide_input = false;
    if (!comma)
        return LDNQ_OK;
    if (!entry->codebook)
        return ldnq_fail(err, LDNQ_USAGE, "layer '%s': a layer in float has no activation type",
                         rule);
    where = ldnq_arena_printf(arena, err, "layer '%s': activations", rule);
    return where ? ldnq_layer_rule_read_type(where, comma + 1, options, &entry->wide_input, err)
                 : LDNQ_NOMEM;
}

enum ldnq_status ldnq_layer_rules_read(const struct ldnq_options *options, struct ldnq_arena *arena,
                                       struct ldnq_quantize_options *quantize,
                                       struct ldnq_error *err)
{
    size_t count;
    const char *const *rules = ldnq_option_list(options, OPTION_LAYER, &count);
    if (count == 0)
        return LDNQ_OK;
    struct ldnq_plan_entry *entries =
        ldnq_arena_alloc(arena, count + quantize->plan_count, sizeof *entries, err);
    if (!entries)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(read_rule(rules[i], options, arena, &entries[i], err));
    for (size_t i = 0; i < quantize->plan_count; i++)
        entries[count + i] = quantize->plan[i];
    quantize->plan = entries;
    quantize->plan_count += count;
    return LDNQ_OK;
}

/* `names` are those of the layers. */
static enum ldnq_status check_pattern(const char *pattern, const struct ldnq_layer *layers,
                                      size_t count, const char **names,
                                      const struct ldnq_graph *graph, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (ldnq_select_matches(&layers[i], pattern))
            return LDNQ_OK;
    const char *nearest = ldnq_nearest_name(pattern, names);
    if (nearest)
        return ldnq_fail(err, LDNQ_USAGE, "%s: layer '%s' matches no layer; did you mean '%s'?",
                         graph->file, pattern, nearest);
    return ldnq_fail(err, LDNQ_USAGE, "%s: layer '%s' matches no layer; inspect lists them",
                     graph->file, pattern);
}

enum ldnq_status ldnq_layer_rules_check(const struct ldnq_options *options,
                                        const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    size_t rule_count, count;
    struct ldnq_layer *layers;
    const char *const *rules = ldnq_option_list(options, OPTION_LAYER, &rule_count);
    if (rule_count == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_layers_list(graph, arena, &layers, &count, err));
    const char **names = ldnq_arena_alloc(arena, count + 1, sizeof *names, err);
    if (!names)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = layers[i].label;
    for (size_t i = 0; i < rule_count; i++) {
        struct ldnq_plan_entry entry;
        LDNQ_TRY(read_rule(rules[i], options, arena, &entry, err));
        LDNQ_TRY(check_pattern(entry.node, layers, count, names, graph, err));
    }
    return LDNQ_OK;
}
