#include "pipeline/twin.h"

#include "base/size.h"

enum ldnq_status ldnq_twin_init(struct ldnq_twin *twin, const struct ldnq_graph *graph,
                                struct ldnq_samples *samples, size_t max_bytes,
                                struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    size_t batch = ldnq_samples_batch(samples, graph, LDNQ_TWIN_BATCH);
    *twin = (struct ldnq_twin){
        .graph = graph, .samples = samples, .pool = pool, .batch_size = batch,
        .batch_count = ldnq_size_ceil_div(ldnq_samples_count(samples), batch),
    };
    size_t values = graph->value_count;
    twin->frontier = ldnq_arena_alloc(arena, values, sizeof *twin->frontier, err);
    twin->next_frontier = ldnq_arena_alloc(arena, values, sizeof *twin->next_frontier, err);
    twin->tensors = ldnq_arena_alloc(arena, values, sizeof *twin->tensors, err);
    if (!twin->frontier || !twin->next_frontier || !twin->tensors)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_exec_create(graph, pool, &twin->exec, err));
    return ldnq_store_create(twin->batch_count, max_bytes, &twin->store, err);
}

void ldnq_twin_finish(struct ldnq_twin *twin)
{
    ldnq_exec_destroy(twin->exec);
    ldnq_store_destroy(twin->store);
    *twin = (struct ldnq_twin){ 0 };
}

/* At the network's front the samples are the frontier. */
static enum ldnq_status lend_samples(struct ldnq_twin *twin, size_t batch,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t first = batch * twin->batch_size;
    size_t count = ldnq_size_min(twin->batch_size, ldnq_samples_count(twin->samples) - first);
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(arena, twin->graph->input_count, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_read(twin->samples, first, count, twin->pool, arena, inputs, err));
    for (size_t i = 0; i < twin->graph->input_count; i++)
        ldnq_exec_lend(twin->exec, twin->graph->inputs[i], inputs[i]);
    return LDNQ_OK;
}

static enum ldnq_status lend_frontier(struct ldnq_twin *twin, size_t batch, struct ldnq_error *err)
{
    const struct ldnq_tensor *tensors;
    size_t count;
    LDNQ_TRY(ldnq_store_load(twin->store, batch, &tensors, &count, err));
    for (size_t i = 0; i < count; i++)
        ldnq_exec_lend(twin->exec, twin->frontier[i], &tensors[i]);
    return LDNQ_OK;
}

static enum ldnq_status save_frontier(struct ldnq_twin *twin, size_t batch, size_t count,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        twin->tensors[i] = ldnq_exec_value(twin->exec, twin->next_frontier[i]);
    return ldnq_store_save(twin->store, batch, twin->tensors, count, err);
}

static enum ldnq_status walk_batch(struct ldnq_twin *twin, size_t batch, size_t place,
                                   size_t next_count, ldnq_twin_fn *visit, void *ctx,
                                   struct ldnq_arena *arena, struct ldnq_error *err)
{
    ldnq_exec_reset(twin->exec);
    if (twin->place == 0)
        LDNQ_TRY(lend_samples(twin, batch, arena, err));
    else
        LDNQ_TRY(lend_frontier(twin, batch, err));
    LDNQ_TRY(ldnq_exec_step(twin->exec, twin->place, place, err));
    LDNQ_TRY(visit(ctx, twin->exec, batch, err));
    /* A walk that starts at the front reads the samples again. */
    if (place > 0)
        LDNQ_TRY(save_frontier(twin, batch, next_count, err));
    ldnq_exec_reset(twin->exec);
    ldnq_store_release(twin->store, batch);
    return LDNQ_OK;
}

enum ldnq_status ldnq_twin_walk(struct ldnq_twin *twin, size_t place, ldnq_twin_fn *visit,
                                void *ctx, struct ldnq_error *err)
{
    size_t next_count = ldnq_exec_frontier(twin->exec, place, twin->next_frontier);
    for (size_t batch = 0; batch < twin->batch_count; batch++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        enum ldnq_status status =
            walk_batch(twin, batch, place, next_count, visit, ctx, arena, err);
        if (status != LDNQ_OK)
            ldnq_exec_reset(twin->exec); /* it may still point into the arena */
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
    }
    ldnq_store_advance(twin->store);
    const struct ldnq_value **spare = twin->frontier;
    twin->frontier = twin->next_frontier;
    twin->next_frontier = spare;
    twin->place = place;
    return LDNQ_OK;
}
