/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/value_sizes.h"

#include <math.h>

double ldnq_count_value_bytes(const struct ldnq_value *value)
{
    double bytes = sizeof(float);
    if (value->constant)
        return 0;
    for (int i = 0; i < value->shape.rank; i++)
        bytes *= value->shape.dim[i] > 0 ? (double)value->shape.dim[i] : 1;
    return bytes;
}

static double count_all_bytes(struct ldnq_value *const *values, size_t count)
{
    double bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += values[i] ? ldnq_count_value_bytes(values[i]) : 0;
    return bytes;
}

enum ldnq_status ldnq_find_value_sizes(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                       struct ldnq_value_sizes *sizes, struct ldnq_error *err)
{
    const size_t count = graph->node_count;
    size_t *last_use = ldnq_arena_alloc(arena, graph->value_count, sizeof *last_use, err);
    sizes->live = ldnq_arena_alloc(arena, count + 1, sizeof *sizes->live, err);
    sizes->run = ldnq_arena_alloc(arena, count, sizeof *sizes->run, err);
    if (!last_use || !sizes->live || !sizes->run)
        return LDNQ_NOMEM;
    for (size_t n = 0; n < count; n++)
        for (size_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i])
                last_use[graph->nodes[n]->inputs[i]->index] = n;
    for (size_t i = 0; i < graph->output_count; i++)
        last_use[graph->outputs[i]->index] = count;
    sizes->live[0] = count_all_bytes(graph->inputs, graph->input_count);
    for (size_t n = 0; n < count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        double freed = 0;
        sizes->run[n] = sizes->live[n] + count_all_bytes(node->outputs, node->output_count);
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && last_use[node->inputs[i]->index] == n) {
                freed += ldnq_count_value_bytes(node->inputs[i]);
                last_use[node->inputs[i]->index] = count; /* a node may read it twice */
            }
        sizes->live[n + 1] = sizes->run[n] - freed;
    }
    return LDNQ_OK;
}

size_t ldnq_limit_batch(const struct ldnq_graph *graph, size_t most)
{
    double bytes = 1;
    for (size_t n = 0; n < graph->node_count; n++) {
        const struct ldnq_node *node = graph->nodes[n];
        bytes = fmax(bytes, count_all_bytes(node->inputs, node->input_count) +
                                count_all_bytes(node->outputs, node->output_count));
    }
    const double batch = fmax(1, floor(LDNQ_BATCH_BYTES / bytes));
    return batch < (double)most ? (size_t)batch : most;
}
