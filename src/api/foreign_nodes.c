/* SPDX-License-Identifier: Apache-2.0 */
#include "api/foreign_nodes.h"

#include <stdio.h>

#include "base/text.h"
#include "passes/foreign.h"

#define LIST ((size_t)400)

static void print_names(const char *const *names, size_t count, char list[LIST])
{
    struct ldnq_text text;
    ldnq_text_init(&text, list, LIST);
    for (size_t i = 0; i < count; i++)
        ldnq_text_append_item(&text, ", ", "'%s'", names[i]);
    ldnq_text_append_omitted_count(&text);
}

static void warn_of_foreign(const struct ldnq_foreign *foreign, const struct ldnq_sink *sink)
{
    const struct ldnq_node *node = foreign->first;
    char outputs[LIST] = "", layers[LIST] = "", others[40] = "";
    print_names(foreign->outputs, foreign->output_count, outputs);
    print_names(foreign->layers, foreign->layer_count, layers);
    if (foreign->count > 1)
        snprintf(others, sizeof others, " and %zu more", foreign->count - 1);
    ldnq_sink_warn(sink,
                   "node '%s' (%s%s%s)%s can't be executed: it is written as it is, and outputs %s "
                   "are not measured%s%s",
                   node->label, node->domain, *node->domain ? "." : "", node->op_type, others,
                   outputs, *layers ? "; layers that depend on it stay float: " : "", layers);
}

enum ldnq_status ldnq_cut_foreign_nodes(struct ldnq_graph *graph, const struct ldnq_sink *sink,
                                        bool *is_empty, struct ldnq_error *err)
{
    struct ldnq_foreign foreign;
    *is_empty = false;
    LDNQ_TRY(ldnq_pass_cut_foreign(graph, &foreign, err));
    if (!foreign.first)
        return LDNQ_OK;
    *is_empty = foreign.layers_left == 0;
    if (!*is_empty)
        warn_of_foreign(&foreign, sink);
    return LDNQ_OK;
}
