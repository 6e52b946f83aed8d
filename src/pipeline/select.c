#include "pipeline/select.h"

#include <fnmatch.h>
#include <string.h>

#include "base/text.h"

/* Names are tried as they are first: they may hold characters of patterns. */
static bool matches(const struct ldnq_node *node, const char *pattern)
{
    return strcmp(node->label, pattern) == 0 || strcmp(node->name, pattern) == 0 ||
           fnmatch(pattern, node->label, 0) == 0;
}

static bool matches_any(const struct ldnq_node *node, const char *const *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (matches(node, patterns[i]))
            return true;
    return false;
}

static enum ldnq_status check_patterns(const struct ldnq_graph *graph, const char *option,
                                       const char *const *patterns, size_t pattern_count,
                                       const struct ldnq_layer *layers, size_t count,
                                       struct ldnq_error *err)
{
    for (size_t p = 0; p < pattern_count; p++) {
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = matches(layers[i].node, patterns[p]);
        if (!found)
            return ldnq_fail(err, LDNQ_USAGE, "%s: %s '%s' matches no layer; 'ldnq inspect %s' "
                             "lists them", graph->file, option, patterns[p], graph->file);
    }
    return LDNQ_OK;
}

static enum ldnq_status nothing_left(const struct ldnq_graph *graph,
                                     const struct ldnq_layer *layers, size_t count,
                                     struct ldnq_error *err)
{
    char list[4096];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < count; i++)
        ldnq_text_item(&text, "; ", "'%s': %s", layers[i].node->label,
                       layers[i].refusal);
    ldnq_text_end(&text);
    return ldnq_fail(err, LDNQ_USAGE, "%s: no layer to quantize%s%s", graph->file,
                     count ? ": " : ": no Conv, Gemm or MatMul has a constant weight", list);
}

enum ldnq_status ldnq_select_layers(const struct ldnq_graph *graph,
                                    const struct ldnq_quantize_options *options,
                                    struct ldnq_arena *arena, struct ldnq_selection *selection,
                                    struct ldnq_error *err)
{
    struct ldnq_layer *all;
    size_t count;
    LDNQ_TRY(ldnq_layers_list(graph, arena, &all, &count, err));
    LDNQ_TRY(check_patterns(graph, "--skip", options->skip, options->skip_count, all, count, err));
    LDNQ_TRY(check_patterns(graph, "--only", options->only, options->only_count, all, count, err));
    *selection = (struct ldnq_selection){
        .layers = ldnq_arena_alloc(arena, count, sizeof *selection->layers, err),
        .kept = ldnq_arena_alloc(arena, count, sizeof *selection->kept, err),
    };
    if (!selection->layers || !selection->kept)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct ldnq_node *node = all[i].node;
        bool wanted =
            !options->only_count || matches_any(node, options->only, options->only_count);
        if (!wanted || matches_any(node, options->skip, options->skip_count))
            all[i].refusal = "left out by --skip or --only";
        if (!all[i].refusal)
            selection->layers[selection->count++] = all[i];
        else if (all[i].weight)
            selection->kept[selection->kept_count++] = all[i];
    }
    return selection->count ? LDNQ_OK : nothing_left(graph, all, count, err);
}
