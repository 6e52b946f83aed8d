#include "pipeline/twin.h"

#include "base/size.h"
#include "calib/augment.h"
#include "pipeline/holdout.h"

enum ldnq_status ldnq_twin_init(struct ldnq_twin *twin, const struct ldnq_graph *graph,
                                struct ldnq_samples *samples, size_t copies, uint64_t seed,
                                size_t max_bytes, struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    /* Not by what memory there is: results don't depend on that. */
    size_t block = ldnq_holdout_block(ldnq_samples_count(samples));
    size_t batch = ldnq_samples_batch(samples, graph, block);
    *twin = (struct ldnq_twin){
        .graph = graph,
        .samples = samples,
        .pool = pool,
        .batch_size = batch,
        .batch_count = copies * ldnq_size_ceil_div(ldnq_samples_count(samples), batch),
        .copies = copies,
        .seed = seed,
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

size_t ldnq_twin_sample(const struct ldnq_twin *twin, size_t batch)
{
    return batch % (twin->batch_count / twin->copies) * twin->batch_size;
}

/* The first copy is the samples as they are. */
static enum ldnq_status augment_copy(const struct ldnq_twin *twin, size_t batch,
                                     struct ldnq_tensor *input, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    if (batch < twin->batch_count / twin->copies || !ldnq_augment_fits(input))
        return LDNQ_OK;
    struct ldnq_tensor *changed;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &input->shape, &changed, err));
    ldnq_augment(input, changed->data, twin->seed, batch * twin->batch_size, twin->pool);
    input->data = changed->data;
    return LDNQ_OK;
}

/* At the network's front the samples are the frontier. */
static enum ldnq_status lend_samples(struct ldnq_twin *twin, size_t batch, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    size_t first = ldnq_twin_sample(twin, batch);
    size_t count = ldnq_size_min(twin->batch_size, ldnq_samples_count(twin->samples) - first);
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(arena, twin->graph->input_count, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_read(twin->samples, first, count, twin->pool, arena, inputs, err));
    for (size_t i = 0; i < twin->graph->input_count; i++) {
        LDNQ_TRY(augment_copy(twin, batch, inputs[i], arena, err));
        ldnq_exec_bind(twin->exec, twin->graph->inputs[i], inputs[i]);
    }
    return LDNQ_OK;
}

static enum ldnq_status lend_frontier(struct ldnq_twin *twin, size_t batch, struct ldnq_error *err)
{
    const struct ldnq_tensor *tensors;
    size_t count;
    LDNQ_TRY(ldnq_store_load(twin->store, batch, &tensors, &count, err));
    for (size_t i = 0; i < count; i++)
        ldnq_exec_bind(twin->exec, twin->frontier[i], &tensors[i]);
    return LDNQ_OK;
}

static enum ldnq_status save_frontier(struct ldnq_twin *twin, size_t batch, size_t count,
                                      struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++)
        twin->tensors[i] = ldnq_exec_value(twin->exec, twin->next_frontier[i]);
    return ldnq_store_save(twin->store, batch, twin->tensors, count, err);
}

/* To `place` in one batch. */
static enum ldnq_status enter_batch(struct ldnq_twin *twin, size_t batch, size_t place,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    ldnq_exec_reset(twin->exec);
    if (twin->place == 0)
        LDNQ_TRY(lend_samples(twin, batch, arena, err));
    else
        LDNQ_TRY(lend_frontier(twin, batch, err));
    return ldnq_exec_run_range(twin->exec, twin->place, place, err);
}

static enum ldnq_status leave_batch(struct ldnq_twin *twin, size_t batch, size_t place,
                                    struct ldnq_error *err)
{
    /* A walk that starts at the front reads the samples again. */
    if (place > 0)
        LDNQ_TRY(save_frontier(twin, batch, twin->next_count, err));
    ldnq_exec_reset(twin->exec);
    ldnq_store_release(twin->store, batch);
    return LDNQ_OK;
}

static enum ldnq_status walk_batch(struct ldnq_twin *twin, size_t batch, size_t place,
                                   ldnq_twin_fn *visit, void *ctx, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    LDNQ_TRY(enter_batch(twin, batch, place, arena, err));
    if (twin->partner)
        LDNQ_TRY(enter_batch(twin->partner, batch, place, arena, err));
    LDNQ_TRY(visit(ctx, twin->exec, batch, err));
    if (twin->partner)
        LDNQ_TRY(leave_batch(twin->partner, batch, place, err));
    return leave_batch(twin, batch, place, err);
}

static void finish_walk(struct ldnq_twin *twin, size_t place)
{
    ldnq_store_advance(twin->store);
    const struct ldnq_value **spare = twin->frontier;
    twin->frontier = twin->next_frontier;
    twin->next_frontier = spare;
    twin->place = place;
}

enum ldnq_status ldnq_twin_walk(struct ldnq_twin *twin, size_t place, ldnq_twin_fn *visit,
                                void *ctx, struct ldnq_error *err)
{
    struct ldnq_twin *const both[] = { twin, twin->partner };
    for (size_t i = 0; i < 2 && both[i]; i++)
        both[i]->next_count = ldnq_exec_frontier(both[i]->exec, place, both[i]->next_frontier);
    for (size_t batch = 0; batch < twin->batch_count; batch++) {
        struct ldnq_arena *arena;
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        enum ldnq_status status = walk_batch(twin, batch, place, visit, ctx, arena, err);
        for (size_t i = 0; status != LDNQ_OK && i < 2 && both[i]; i++)
            ldnq_exec_reset(both[i]->exec); /* it may still point into the arena */
        ldnq_arena_destroy(arena);
        LDNQ_TRY(status);
    }
    for (size_t i = 0; i < 2 && both[i]; i++)
        finish_walk(both[i], place);
    return LDNQ_OK;
}
