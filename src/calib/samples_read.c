/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/sample_mask.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/file.h"
#include "base/pool.h"
#include "base/size.h"

/* ---- one sample ------------------------------------------------------------------ */

bool ldnq_input_accepts_shape(const struct ldnq_input *input, const struct ldnq_shape *row)
{
    int skip = input->batched ? 1 : 0;
    if (input->shape.rank == LDNQ_RANK_UNKNOWN)
        return true;
    if (row->rank != input->shape.rank - skip)
        return false;
    for (int axis = 0; axis < row->rank; axis++) {
        int64_t wanted = input->shape.dim[axis + skip];
        if (wanted >= 0 && row->dim[axis] != wanted)
            return false;
    }
    return true;
}

/* `out` may be `shape`. */
static void drop_leading_axes(const struct ldnq_shape *shape, int axes, struct ldnq_shape *out)
{
    out->rank = shape->rank - axes;
    memmove(out->dim, shape->dim + axes, (size_t)out->rank * sizeof *out->dim);
}

/* Whether an array of this shape has the rows of several runs, for an input whose first dimension
 * is fixed above 1. */
static bool has_rows_of_several_runs(const struct ldnq_input *input, const struct ldnq_shape *array)
{
    struct ldnq_shape one_run = *array;
    if (input->batched || input->shape.rank < 1 || input->shape.dim[0] < 2 ||
        array->dim[0] < input->shape.dim[0])
        return false;
    one_run.dim[0] = input->shape.dim[0];
    return ldnq_input_accepts_shape(input, &one_run);
}

/* Whether an array with one axis more than the input has it at its end, as (N,T,1) for (N,T) has:
 * that axis counts nothing, and axis 1 would be taken for samples. */
static bool has_extra_last_axis(const struct ldnq_input *input, const struct ldnq_shape *array)
{
    struct ldnq_shape row = *array;
    if (!input->batched || input->shape.rank < 2 || array->dim[array->rank - 1] != 1 ||
        array->dim[1] == 1)
        return false;
    row.rank--;
    drop_leading_axes(&row, 1, &row);
    return ldnq_input_accepts_shape(input, &row);
}

enum ldnq_status ldnq_input_match_array(const struct ldnq_input *input, const char *name,
                                        const struct ldnq_shape *array, size_t *rows,
                                        struct ldnq_shape *row, struct ldnq_error *err)
{
    int batch = input->batched ? 1 : 0;
    /* When the input's rank is not known, axis 0 of the array is the batch. */
    int rank = input->shape.rank == LDNQ_RANK_UNKNOWN ? array->rank : input->shape.rank;
    int axes = array->rank - rank + batch;
    bool fits = axes >= 0 && axes <= batch + 1 && axes <= array->rank &&
                ldnq_shape_count_range(array, 0, axes, rows);
    if (fits)
        drop_leading_axes(array, axes, row);
    if (fits && ldnq_input_accepts_shape(input, row) &&
        !(axes == batch + 1 && has_extra_last_axis(input, array)))
        return LDNQ_OK;
    if (fits && axes == 0 && has_rows_of_several_runs(input, row)) {
        const size_t have = (size_t)array->dim[0], take = (size_t)input->shape.dim[0];
        *rows = have / take;
        row->dim[0] = input->shape.dim[0];
        return have % take == 0
                   ? LDNQ_OK
                   : ldnq_fail(err, LDNQ_DATA,
                               "%s: has %zu rows where input '%s' takes %zu at a time: give a "
                               "multiple of %zu",
                               name, have, input->name, take, take);
    }
    char text[LDNQ_SHAPE_TEXT];
    return ldnq_fail(err, LDNQ_DATA, "%s: is %s where input '%s' is %s", name,
                     ldnq_shape_print(array, NULL, text, sizeof text), input->name,
                     input->shape_text);
}

bool ldnq_sample_has_elements(const struct ldnq_shape *shape)
{
    for (int axis = 0; axis < shape->rank; axis++)
        if (shape->dim[axis] == 0)
            return false;
    return true;
}

/* Compares a sample's shape with the input's, and with the first sample's unless shapes differ. */
static enum ldnq_status check_sample_shape(const struct ldnq_samples *samples, const char *name,
                                           struct ldnq_input *input, const struct ldnq_shape *row,
                                           bool is_first, struct ldnq_error *err)
{
    const struct ldnq_source *source = samples->source;
    char text[LDNQ_SHAPE_TEXT], other[LDNQ_SHAPE_TEXT];
    ldnq_shape_print(row, NULL, text, sizeof text);
    if (!ldnq_input_accepts_shape(input, row))
        return ldnq_fail(err, LDNQ_DATA, "%s: is %s%s where input '%s' is %s%s", name, text,
                         source->stage, input->name, input->shape_text, source->advice);
    if (is_first)
        input->row = *row;
    if (samples->shapes_differ || ldnq_shapes_are_equal(row, &input->row))
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA, "%s: is %s%s for input '%s' where %s is %s%s", name, text,
                     source->stage, input->name, samples->shape_name,
                     ldnq_shape_print(&input->row, NULL, other, sizeof other), source->advice);
}

static enum ldnq_status check_finite(const struct ldnq_tensor *tensor, const char *name,
                                     const struct ldnq_input *input, struct ldnq_error *err)
{
    const float *single = tensor->dtype == LDNQ_FLOAT ? tensor->data : NULL;
    const double *wide = tensor->dtype == LDNQ_DOUBLE ? tensor->data : NULL;
    size_t count = single || wide ? ldnq_tensor_count(tensor) : 0;
    for (size_t i = 0; i < count; i++) {
        double value = single ? (double)single[i] : wide[i];
        if (!isfinite(value))
            return ldnq_fail(err, LDNQ_DATA, "%s: its data for input '%s' hold %s at element %zu",
                             name, input->name, isnan(value) ? "NaN" : "infinity", i);
    }
    return LDNQ_OK;
}

/* Reads and checks one input of one sample, and converts it to the input's dtype. */
static enum ldnq_status read_input(const struct ldnq_samples *samples, size_t sample, size_t i,
                                   bool is_first, struct ldnq_arena *arena,
                                   const struct ldnq_tensor **out, struct ldnq_error *err)
{
    struct ldnq_input *input = &samples->inputs[i];
    const char *name = samples->names[sample];
    const struct ldnq_tensor *raw;
    enum ldnq_status status =
        samples->source->read(samples, samples->items[sample], i, arena, &raw, err);
    /* First of the two: a file that has changed is often damaged, too. */
    LDNQ_TRY(ldnq_samples_check_unchanged(samples, sample, i, err));
    LDNQ_TRY(status);
    LDNQ_TRY(ldnq_sample_mask_trim(samples, sample, i, raw, arena, &raw, err));
    LDNQ_TRY(check_sample_shape(samples, name, input, &raw->shape, is_first, err));
    status = ldnq_tensor_convert(raw, input->dtype, arena, out, err);
    if (status != LDNQ_OK)
        return ldnq_fail_within(err, status, "%s: input '%s'", name, input->name);
    return check_finite(*out, name, input, err);
}

static enum ldnq_status compare_with_first_shape(const struct ldnq_samples *samples, size_t sample,
                                                 bool *differs, struct ldnq_error *err)
{
    const struct ldnq_source *source = samples->source;
    *differs = !ldnq_sample_mask_lengths_are_equal(samples, 0, sample);
    for (size_t i = 0; source->shape && i < samples->input_count; i++) {
        struct ldnq_shape shape, first;
        LDNQ_TRY(source->shape(samples, samples->items[sample], i, &shape, err));
        LDNQ_TRY(source->shape(samples, samples->items[0], i, &first, err));
        *differs |= !ldnq_shapes_are_equal(&shape, &first);
    }
    return LDNQ_OK;
}

static const char *explain_differing_shapes(const struct ldnq_samples *samples)
{
    if (samples->mask.extents)
        return "their lengths differ without the padding that the mask marks";
    return samples->are_pictures ? "their shapes differ (resize and crop make them equal)"
                                 : "their shapes differ";
}

/* Samples of several shapes can't be stacked. */
static enum ldnq_status find_differing_shapes(struct ldnq_samples *samples, struct ldnq_error *err)
{
    for (size_t s = 1; s < samples->count && !samples->shapes_differ; s++)
        LDNQ_TRY(compare_with_first_shape(samples, s, &samples->shapes_differ, err));
    return samples->shapes_differ && ldnq_samples_can_stack(samples)
               ? ldnq_samples_run_singly(samples, explain_differing_shapes(samples), err)
               : LDNQ_OK;
}

enum ldnq_status ldnq_samples_find_shapes(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    const struct ldnq_tensor *tensor;
    if (samples->options.is_part && samples->source->shape) /* which sample is read is not known */
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = LDNQ_OK;
    for (size_t i = 0; status == LDNQ_OK && i < samples->input_count; i++)
        status = read_input(samples, 0, i, true, scratch, &tensor, err);
    ldnq_arena_destroy(scratch);
    LDNQ_TRY(status);
    return find_differing_shapes(samples, err);
}

/* ---- a batch --------------------------------------------------------------------- */

struct sample_batch {
    const struct ldnq_samples *samples;
    size_t first;
    struct ldnq_tensor **inputs;
    pthread_mutex_t lock;
    size_t failed; /* lowest slot that failed; guarded by lock, as the next two */
    enum ldnq_status status;
    struct ldnq_error *err;
};

static enum ldnq_status read_sample_into_batch(const struct sample_batch *batch, size_t slot,
                                               struct ldnq_arena *arena, struct ldnq_error *err)
{
    for (size_t i = 0; i < batch->samples->input_count; i++) {
        const struct ldnq_tensor *tensor;
        size_t bytes;
        LDNQ_TRY(read_input(batch->samples, batch->first + slot, i, false, arena, &tensor, err));
        if (ldnq_tensor_bytes(tensor, &bytes) && bytes)
            memcpy((char *)batch->inputs[i]->data + slot * bytes, tensor->data, bytes);
    }
    return LDNQ_OK;
}

static void read_sample_in_pool(void *ctx, size_t slot, size_t thread)
{
    struct sample_batch *batch = ctx;
    struct ldnq_error err;
    struct ldnq_arena *arena;
    enum ldnq_status status = ldnq_arena_create(&arena, &err);
    (void)thread;
    if (status == LDNQ_OK)
        status = read_sample_into_batch(batch, slot, arena, &err);
    ldnq_arena_destroy(arena);
    if (status == LDNQ_OK)
        return;
    pthread_mutex_lock(&batch->lock);
    if (batch->status == LDNQ_OK || slot < batch->failed) {
        batch->failed = slot;
        batch->status = ldnq_fail(batch->err, status, "%s", err.message);
    }
    pthread_mutex_unlock(&batch->lock);
}

static enum ldnq_status add_batch_axis(const struct ldnq_input *input, size_t count,
                                       struct ldnq_shape *shape, struct ldnq_error *err)
{
    if (!input->batched)
        return LDNQ_OK;
    if (shape->rank == LDNQ_MAX_RANK) /* possible when the input's rank is not known */
        return ldnq_fail(err, LDNQ_DATA, "input '%s' has more than %d axes", input->name,
                         LDNQ_MAX_RANK);
    memmove(shape->dim + 1, shape->dim, (size_t)shape->rank * sizeof *shape->dim);
    shape->dim[0] = (int64_t)count;
    shape->rank++;
    return LDNQ_OK;
}

static enum ldnq_status create_batch_tensor(const struct ldnq_input *input, size_t count,
                                            struct ldnq_arena *arena, struct ldnq_tensor **out,
                                            struct ldnq_error *err)
{
    struct ldnq_shape shape = input->row;
    LDNQ_TRY(add_batch_axis(input, count, &shape, err));
    return ldnq_tensor_create(arena, input->dtype, &shape, out, err);
}

/* Reads a sample that has a shape of its own. */
static enum ldnq_status read_differing_sample(const struct ldnq_samples *samples, size_t sample,
                                              struct ldnq_arena *arena, struct ldnq_tensor **inputs,
                                              struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_tensor *tensor;
        LDNQ_TRY(read_input(samples, sample, i, false, arena, &tensor, err));
        inputs[i] = ldnq_arena_alloc(arena, 1, sizeof *inputs[i], err);
        if (!inputs[i])
            return LDNQ_NOMEM;
        *inputs[i] = *tensor;
        LDNQ_TRY(add_batch_axis(&samples->inputs[i], 1, &inputs[i]->shape, err));
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_samples_read(struct ldnq_samples *samples, size_t first, size_t count,
                                   struct ldnq_pool *pool, struct ldnq_arena *arena,
                                   struct ldnq_tensor **inputs, struct ldnq_error *err)
{
    assert(first <= samples->count && count <= samples->count - first);
    if (samples->shapes_differ && count == 1)
        return read_differing_sample(samples, first, arena, inputs, err);
    for (size_t i = 0; i < samples->input_count; i++) {
        if (count != 1 && !samples->inputs[i].batched)
            return ldnq_fail(err, LDNQ_UNSUPPORTED,
                             "input '%s' is %s and has no batch: samples go in one at a time",
                             samples->inputs[i].name, samples->inputs[i].shape_text);
        LDNQ_TRY(create_batch_tensor(&samples->inputs[i], count, arena, &inputs[i], err));
    }
    struct sample_batch batch = {
        .samples = samples, .first = first, .inputs = inputs, .err = err
    };
    pthread_mutex_init(&batch.lock, NULL);
    ldnq_pool_run(pool, count, read_sample_in_pool, &batch);
    pthread_mutex_destroy(&batch.lock);
    return batch.status;
}
