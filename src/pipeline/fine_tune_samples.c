#include "pipeline/fine_tune_samples.h"

#include <string.h>

#include "base/size.h"
#include "calib/augment.h"
#include "pipeline/holdout.h"

enum ldnq_status ldnq_fine_tune_samples_init(struct ldnq_fine_tune_samples *data,
                                             struct ldnq_samples *samples,
                                             const struct ldnq_graph *graph, size_t want,
                                             bool augment, uint64_t seed, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t count = ldnq_samples_count(samples);
    *data = (struct ldnq_fine_tune_samples){
        .samples = samples,
        .graph = graph,
        .pool = pool,
        .augment = augment,
        .seed = seed,
        .most = ldnq_samples_batch(samples, graph, want),
        .rng = { .state = seed },
    };
    data->learned = ldnq_arena_alloc(arena, count, sizeof *data->learned, err);
    data->held = ldnq_arena_alloc(arena, count, sizeof *data->held, err);
    if (!data->learned || !data->held)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (ldnq_is_held_out(i, count))
            data->held[data->held_count++] = i;
        else
            data->learned[data->learned_count++] = i;
    data->next = data->learned_count;
    return LDNQ_OK;
}

static void shuffle(struct ldnq_fine_tune_samples *data)
{
    for (size_t i = data->learned_count; i > 1; i--) {
        const size_t j = ldnq_rng_below(&data->rng, i), kept = data->learned[j];
        data->learned[j] = data->learned[i - 1];
        data->learned[i - 1] = kept;
    }
    data->next = 0;
}

/* Room for `count` samples like `one`. */
static enum ldnq_status make_batch(const struct ldnq_tensor *one, size_t count,
                                   struct ldnq_arena *arena, struct ldnq_tensor **out,
                                   struct ldnq_error *err)
{
    struct ldnq_shape shape = one->shape;
    if (count > 1)
        shape.dim[0] = (int64_t)count;
    return ldnq_tensor_create(arena, one->dtype, &shape, out, err);
}

static enum ldnq_status read_one(struct ldnq_fine_tune_samples *data, size_t sample, size_t place,
                                 size_t count, struct ldnq_arena *arena, struct ldnq_tensor **batch,
                                 struct ldnq_error *err)
{
    const size_t inputs = data->graph->input_count;
    struct ldnq_tensor **one = ldnq_arena_alloc(arena, inputs, sizeof *one, err);
    if (!one)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_read(data->samples, sample, 1, NULL, arena, one, err));
    for (size_t i = 0; i < inputs; i++) {
        size_t bytes = 0;
        if (place == 0)
            LDNQ_TRY(make_batch(one[i], count, arena, &batch[i], err));
        ldnq_tensor_bytes(one[i], &bytes);
        if (bytes > 0)
            memcpy((char *)batch[i]->data + place * bytes, one[i]->data, bytes);
    }
    return LDNQ_OK;
}

static enum ldnq_status gather(struct ldnq_fine_tune_samples *data, const size_t *samples,
                               size_t count, struct ldnq_arena *arena, struct ldnq_tensor ***inputs,
                               struct ldnq_error *err)
{
    *inputs = ldnq_arena_alloc(arena, data->graph->input_count, sizeof **inputs, err);
    if (!*inputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(read_one(data, samples[i], i, count, arena, *inputs, err));
    return LDNQ_OK;
}

static enum ldnq_status augment(struct ldnq_fine_tune_samples *data, struct ldnq_tensor *input,
                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    if (!ldnq_augment_fits(input))
        return LDNQ_OK;
    struct ldnq_tensor *changed;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &input->shape, &changed, err));
    ldnq_augment(input, changed->data, data->seed, data->drawn, data->pool);
    input->data = changed->data;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fine_tune_samples_draw(struct ldnq_fine_tune_samples *data, size_t count,
                                             struct ldnq_arena *arena, struct ldnq_tensor ***inputs,
                                             struct ldnq_error *err)
{
    size_t *drawn = ldnq_arena_alloc(arena, count, sizeof *drawn, err);
    if (!drawn)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (data->next == data->learned_count)
            shuffle(data);
        drawn[i] = data->learned[data->next++];
    }
    LDNQ_TRY(gather(data, drawn, count, arena, inputs, err));
    for (size_t i = 0; data->augment && i < data->graph->input_count; i++)
        LDNQ_TRY(augment(data, (*inputs)[i], arena, err));
    data->drawn += count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fine_tune_samples_read_held_out(struct ldnq_fine_tune_samples *data,
                                                      size_t first, size_t count,
                                                      struct ldnq_arena *arena,
                                                      struct ldnq_tensor ***inputs,
                                                      struct ldnq_error *err)
{
    return gather(data, data->held + first, count, arena, inputs, err);
}
