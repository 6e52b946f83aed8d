/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/source.h"

enum ldnq_status ldnq_samples_run_singly(struct ldnq_samples *samples, const char *reason,
                                         struct ldnq_error *err)
{
    samples->single_reason = ldnq_arena_strdup(samples->arena, reason, err);
    return samples->single_reason ? LDNQ_OK : LDNQ_NOMEM;
}

const char *ldnq_samples_single_reason(const struct ldnq_samples *samples)
{
    return samples->single_reason;
}

size_t ldnq_samples_choose_batch_size(const struct ldnq_samples *samples,
                                      const struct ldnq_graph *graph, size_t want)
{
    if (samples->single_reason || !ldnq_samples_can_stack(samples))
        return 1;
    for (size_t i = 0; i < graph->input_count; i++) {
        const struct ldnq_shape *shape = &graph->inputs[i]->shape;
        if (shape->rank > 0 && !ldnq_is_symbol(shape->dim[0]))
            return 1;
    }
    return want > 0 ? want : 1;
}

enum ldnq_status ldnq_sample_batch_read(struct ldnq_samples *samples, size_t first, size_t count,
                                        struct ldnq_pool *pool, struct ldnq_sample_batch *batch,
                                        struct ldnq_error *err)
{
    batch->arena = NULL;
    LDNQ_TRY(ldnq_arena_create(&batch->arena, err));
    batch->inputs =
        ldnq_arena_alloc(batch->arena, samples->input_count, sizeof *batch->inputs, err);
    const enum ldnq_status status =
        batch->inputs
            ? ldnq_samples_read(samples, first, count, pool, batch->arena, batch->inputs, err)
            : LDNQ_NOMEM;
    if (status != LDNQ_OK) {
        ldnq_arena_destroy(batch->arena);
        batch->arena = NULL;
    }
    return status;
}
