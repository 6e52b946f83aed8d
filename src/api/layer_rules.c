#include "api/layer_rules.h"

#include <string.h>

#include "api/nearest_name.h"
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

/* Reads "NODE=CODEBOOK", which is split at the last '=': names of nodes may contain one, of
 * codebooks not. */
static enum ldnq_status read_rule(const char *rule, struct ldnq_arena *arena,
                                  struct ldnq_plan_entry *entry, struct ldnq_error *err)
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
    return where ? ldnq_layer_rule_find_codebook(where, equals + 1, &entry->codebook, err)
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
        LDNQ_TRY(read_rule(rules[i], arena, &entries[i], err));
    for (size_t i = 0; i < quantize->plan_count; i++)
        entries[count + i] = quantize->plan[i];
    quantize->plan = entries;
    quantize->plan_count += count;
    return LDNQ_OK;
}

static enum ldnq_status check_rule(const char *rule, const struct ldnq_layer *layers, size_t count,
                                   const char **names, const struct ldnq_graph *graph,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_plan_entry entry;
    LDNQ_TRY(read_rule(rule, arena, &entry, err));
    for (size_t i = 0; i < count; i++)
        if (ldnq_select_matches(layers[i].node, entry.node))
            return LDNQ_OK;
    const char *nearest = ldnq_nearest_name(entry.node, names);
    if (nearest)
        return ldnq_fail(err, LDNQ_USAGE, "%s: layer '%s' matches no layer; did you mean '%s'?",
                         graph->file, entry.node, nearest);
    return ldnq_fail(err, LDNQ_USAGE, "%s: layer '%s' matches no layer; inspect lists them",
                     graph->file, entry.node);
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
        names[i] = layers[i].node->label;
    for (size_t i = 0; i < rule_count; i++)
        LDNQ_TRY(check_rule(rules[i], layers, count, names, graph, arena, err));
    return LDNQ_OK;
}
