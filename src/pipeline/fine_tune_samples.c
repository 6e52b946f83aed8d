/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/fine_tune_samples.h"

#include <string.h>

#include "base/size.h"
#include "calib/augment.h"
#include "pipeline/holdout.h"

enum ldnq_status ldnq_fine_tune_samples_init(struct ldnq_fine_tune_samples *set,
                                             struct ldnq_samples *samples,
                                             const struct ldnq_graph *graph, size_t batch,
                                             bool augment, uint64_t seed, struct ldnq_pool *pool,
                                             struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t count = ldnq_samples_count(samples);
    *set = (struct ldnq_fine_tune_samples){
        .samples = samples,
        .graph = graph,
        .pool = pool,
        .augment = augment,
        .seed = seed,
        .max_batch = ldnq_samples_choose_batch_size(samples, graph, batch),
        .rng = { .state = seed },
    };
    set->training = ldnq_arena_alloc(arena, count, sizeof *set->training, err);
    set->held_out = ldnq_arena_alloc(arena, count, sizeof *set->held_out, err);
    if (!set->training || !set->held_out)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (ldnq_is_held_out(i, count))
            set->held_out[set->held_out_count++] = i;
        else
            set->training[set->training_count++] = i;
    set->next = set->training_count;
    return LDNQ_OK;
}

static void shuffle_training_samples(struct ldnq_fine_tune_samples *set)
{
    for (size_t i = set->training_count; i > 1; i--) {
        const size_t j = ldnq_rng_below(&set->rng, i), swapped = set->training[j];
        set->training[j] = set->training[i - 1];
        set->training[i - 1] = swapped;
    }
    set->next = 0;
}

/* Allocates a tensor for `count` samples of the shape of `one`. */
static enum ldnq_status create_batch(const struct ldnq_tensor *one, size_t count,
                                     struct ldnq_arena *arena, struct ldnq_tensor **out,
                                     struct ldnq_error *err)
{
    struct ldnq_shape shape = one->shape;
    if (count > 1)
        shape.dim[0] = (int64_t)count;
    return ldnq_tensor_create(arena, one->dtype, &shape, out, err);
}

static enum ldnq_status read_sample(struct ldnq_fine_tune_samples *set, size_t sample, size_t index,
                                    size_t count, struct ldnq_arena *arena,
                                    struct ldnq_tensor **batch, struct ldnq_error *err)
{
    const size_t inputs = set->graph->input_count;
    struct ldnq_tensor **one = ldnq_arena_alloc(arena, inputs, sizeof *one, err);
    if (!one)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_samples_read(set->samples, sample, 1, NULL, arena, one, err));
    for (size_t i = 0; i < inputs; i++) {
        size_t bytes = 0;
        if (index == 0)
            LDNQ_TRY(create_batch(one[i], count, arena, &batch[i], err));
        ldnq_tensor_bytes(one[i], &bytes);
        if (bytes > 0)
            memcpy((char *)batch[i]->data + index * bytes, one[i]->data, bytes);
    }
    return LDNQ_OK;
}

static enum ldnq_status read_samples(struct ldnq_fine_tune_samples *set, const size_t *samples,
                                     size_t count, struct ldnq_arena *arena,
                                     struct ldnq_tensor ***inputs, struct ldnq_error *err)
{
    *inputs = ldnq_arena_alloc(arena, set->graph->input_count, sizeof **inputs, err);
    if (!*inputs)
        return LDNQ_NOMEM;
    set->current = samples[0];
    for (size_t i = 0; i < count; i++)
        LDNQ_TRY(read_sample(set, samples[i], i, count, arena, *inputs, err));
    return LDNQ_OK;
}

static enum ldnq_status augment_input(struct ldnq_fine_tune_samples *set, struct ldnq_tensor *input,
                                      struct ldnq_arena *arena, struct ldnq_error *err)
{
    if (!ldnq_augment_fits(input))
        return LDNQ_OK;
    struct ldnq_tensor *changed;
    LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &input->shape, &changed, err));
    ldnq_augment_batch(input, changed->data, set->seed, set->drawn, set->pool);
    input->data = changed->data;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fine_tune_samples_draw(struct ldnq_fine_tune_samples *set, size_t count,
                                             struct ldnq_arena *arena, struct ldnq_tensor ***inputs,
                                             struct ldnq_error *err)
{
    size_t *drawn = ldnq_arena_alloc(arena, count, sizeof *drawn, err);
    if (!drawn)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (set->next == set->training_count)
            shuffle_training_samples(set);
        drawn[i] = set->training[set->next++];
    }
    LDNQ_TRY(read_samples(set, drawn, count, arena, inputs, err));
    for (size_t i = 0; set->augment && i < set->graph->input_count; i++)
        LDNQ_TRY(augment_input(set, (*inputs)[i], arena, err));
    set->drawn += count;
    return LDNQ_OK;
}

enum ldnq_status ldnq_fine_tune_samples_read_held_out(struct ldnq_fine_tune_samples *set,
                                                      size_t first, size_t count,
                                                      struct ldnq_arena *arena,
                                                      struct ldnq_tensor ***inputs,
                                                      struct ldnq_error *err)
{
    return read_samples(set, set->held_out + first, count, arena, inputs, err);
}
