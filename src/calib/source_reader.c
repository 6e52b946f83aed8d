/* SPDX-License-Identifier: Apache-2.0 */
/* Samples that a function of the caller's fills in. */
#include "calib/source.h"

#include <string.h>

/* Per input of the model: the index of the same input in the caller's reader. */
struct reader_inputs {
    size_t *index;
};

static enum ldnq_status find_reader_array(const struct ldnq_samples *samples, size_t input,
                                          size_t *index, struct ldnq_error *err)
{
    const struct ldnq_samples_memory *memory = samples->memory;
    const char *name = samples->inputs[input].name;
    for (*index = 0; *index < memory->array_count; (*index)++)
        if (strcmp(memory->arrays[*index].input, name) == 0)
            return LDNQ_OK;
    *index = 0;
    if (memory->array_count == 1 && samples->input_count == 1 && !*memory->arrays[0].input)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA, "%s: has no array for input '%s'", samples->path, name);
}

static enum ldnq_status open_reader(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const struct ldnq_samples_memory *memory = samples->memory;
    struct reader_inputs *inputs = ldnq_arena_alloc(samples->arena, 1, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    inputs->index =
        ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *inputs->index, err);
    if (!inputs->index)
        return LDNQ_NOMEM;
    samples->state = inputs;
    samples->item_count = memory->sample_count;
    for (size_t i = 0; i < samples->input_count; i++)
        LDNQ_TRY(find_reader_array(samples, i, &inputs->index[i], err));
    if (memory->array_count != samples->input_count)
        return ldnq_fail(err, LDNQ_DATA, "%s: %zu inputs are described, the model has %zu",
                         samples->path, memory->array_count, samples->input_count);
    samples->has_labels = memory->labels != NULL;
    for (size_t i = 0; samples->has_labels && i < samples->item_count; i++)
        if (memory->labels[i] < 0)
            return ldnq_fail(err, LDNQ_DATA, "%s[%zu]: its label is negative", samples->path, i);
    return LDNQ_OK;
}

static const char *make_reader_sample_name(struct ldnq_samples *samples, size_t item,
                                           struct ldnq_error *err)
{
    return ldnq_arena_printf(samples->arena, err, "%s[%zu]", samples->path, item);
}

static const char *find_reader_sample_path(const struct ldnq_samples *samples, size_t item,
                                           size_t input)
{
    (void)samples;
    (void)item;
    (void)input;
    return NULL;
}

static int64_t find_reader_sample_label(const struct ldnq_samples *samples, size_t item)
{
    return samples->memory->labels[item];
}

static enum ldnq_status find_reader_shape(const struct ldnq_samples *samples, size_t item,
                                          size_t input, struct ldnq_shape *shape,
                                          struct ldnq_error *err)
{
    const struct ldnq_samples_memory *memory = samples->memory;
    const size_t index = ((const struct reader_inputs *)samples->state)->index[input];
    *shape = memory->arrays[index].tensor.shape;
    if (!memory->shape)
        return LDNQ_OK;
    pthread_mutex_lock(memory->lock);
    const int failed = memory->shape(memory->ctx, item, index, shape->dim);
    pthread_mutex_unlock(memory->lock);
    bool is_valid = !failed;
    for (int axis = 0; is_valid && axis < shape->rank; axis++)
        is_valid = shape->dim[axis] >= 0;
    return is_valid ? LDNQ_OK
                    : ldnq_fail(err, LDNQ_DATA, "%s[%zu]: the caller's function has no shape of it",
                                samples->path, item);
}

static enum ldnq_status read_reader_sample(const struct ldnq_samples *samples, size_t item,
                                           size_t input, struct ldnq_arena *arena,
                                           const struct ldnq_tensor **out, struct ldnq_error *err)
{
    const struct ldnq_samples_memory *memory = samples->memory;
    const size_t index = ((const struct reader_inputs *)samples->state)->index[input];
    struct ldnq_shape shape;
    struct ldnq_tensor *tensor;
    size_t bytes = 0;
    LDNQ_TRY(find_reader_shape(samples, item, input, &shape, err));
    LDNQ_TRY(ldnq_tensor_create(arena, memory->arrays[index].tensor.dtype, &shape, &tensor, err));
    ldnq_tensor_bytes(tensor, &bytes); /* a tensor that could be created */
    pthread_mutex_lock(memory->lock);
    const int failed = memory->read(memory->ctx, item, index, tensor->data, bytes);
    pthread_mutex_unlock(memory->lock);
    if (failed)
        return ldnq_fail(err, LDNQ_DATA, "%s[%zu]: the caller's function could not read it",
                         samples->path, item);
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status hash_reader_sample(const struct ldnq_samples *samples, size_t item,
                                           struct ldnq_arena *arena, XXH3_state_t *state,
                                           struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_tensor *tensor;
        LDNQ_TRY(read_reader_sample(samples, item, i, arena, &tensor, err));
        ldnq_hash_tensor(state, tensor);
    }
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_reader = {
    .stage = "",
    .advice = "",
    .open = open_reader,
    .name = make_reader_sample_name,
    .label = find_reader_sample_label,
    .path = find_reader_sample_path,
    .read = read_reader_sample,
    .shape = find_reader_shape,
    .hash = hash_reader_sample,
};
