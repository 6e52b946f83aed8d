/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/named_arrays.h"

#include <inttypes.h>
#include <string.h>

static enum ldnq_status create_lists(const struct ldnq_samples *samples, struct ldnq_arena *arena,
                                     struct ldnq_named_arrays *out, struct ldnq_error *err)
{
    *out = (struct ldnq_named_arrays){
        .data = ldnq_arena_alloc(arena, samples->input_count, sizeof *out->data, err),
        .rows = ldnq_arena_alloc(arena, samples->input_count, sizeof *out->rows, err),
        .is_shared = ldnq_arena_alloc(arena, samples->input_count, sizeof *out->is_shared, err),
    };
    return out->data && out->rows && out->is_shared ? LDNQ_OK : LDNQ_NOMEM;
}

/* The axis of an input without a batch that counts samples, as its size is the batch of another
 * input; -1: none. */
static int find_axis_of_samples(const struct ldnq_samples *samples, const struct ldnq_input *input)
{
    for (size_t i = 0; i < samples->input_count; i++)
        for (int axis = 0; samples->inputs[i].batched && axis < input->shape.rank; axis++)
            if (input->shape.dim[axis] < 0 &&
                input->shape.dim[axis] == samples->inputs[i].shape.dim[0])
                return axis;
    return -1;
}

/* Counts the samples; every input's array must hold the same number, or is shared. */
static enum ldnq_status count_samples(const struct ldnq_samples *samples,
                                      struct ldnq_named_arrays *arrays, struct ldnq_error *err)
{
    bool has_elements = false;
    size_t counted = samples->input_count; /* the first input whose array is not shared */
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_array *array = arrays->data[i];
        size_t rows;
        LDNQ_TRY(ldnq_input_match_array(&samples->inputs[i], array->name, &array->shape, &rows,
                                        &arrays->rows[i], err));
        has_elements |= ldnq_sample_has_elements(&arrays->rows[i]);
        const bool may_be_shared = rows == 1 && !samples->inputs[i].batched;
        const int axis = may_be_shared ? find_axis_of_samples(samples, &samples->inputs[i]) : -1;
        if (axis >= 0 && array->shape.dim[axis] > 1)
            return ldnq_fail(
                err, LDNQ_DATA,
                "%s: has its samples along axis %d; give a folder with a file for each "
                "sample",
                array->name, axis);
        arrays->is_shared[i] = may_be_shared && axis < 0;
        if (arrays->is_shared[i])
            continue;
        if (counted == samples->input_count) {
            counted = i;
            arrays->count = rows;
        }
        if (rows != arrays->count)
            return ldnq_fail(err, LDNQ_DATA, "%s: holds %zu samples where %s holds %zu",
                             array->name, rows, arrays->data[counted]->name, arrays->count);
    }
    if (counted == samples->input_count)
        arrays->count = 1;
    if (!has_elements && arrays->count > 1)
        return ldnq_fail(err, LDNQ_DATA, "%s: announces %zu samples and holds no elements",
                         arrays->data[counted]->name, arrays->count);
    return LDNQ_OK;
}

/* A scalar goes without saying. */
static void warn_of_shared_array(struct ldnq_samples *samples,
                                 const struct ldnq_named_arrays *arrays)
{
    for (size_t i = 0; i < samples->input_count && arrays->count > 1; i++)
        if (arrays->is_shared[i] && arrays->rows[i].rank > 0 && !samples->has_warned_of_shared)
            ldnq_sink_warn(samples->options.sink, "%s: holds one sample, which goes with all %zu",
                           arrays->data[i]->name, arrays->count);
    samples->has_warned_of_shared |= arrays->count > 1;
}

size_t ldnq_named_arrays_find_sample(const struct ldnq_named_arrays *arrays, size_t input,
                                     size_t sample)
{
    size_t count = 0;
    ldnq_shape_count(&arrays->rows[input], &count); /* part of a checked size */
    return arrays->is_shared[input] ? 0 : sample * count;
}

/* ---- which array is what ----------------------------------------------------------- */

static bool is_label_name(const char *key)
{
    return strcmp(key, "labels") == 0 || strcmp(key, "label") == 0 || strcmp(key, "y") == 0;
}

static size_t find_input(const struct ldnq_samples *samples, const char *key)
{
    size_t i = 0;
    while (i < samples->input_count && strcmp(samples->inputs[i].name, key) != 0)
        i++;
    return i;
}

/* Finds each input's array; *labels is the array of classes, *stray one that is neither. */
static enum ldnq_status
assign_arrays_to_inputs(const struct ldnq_samples *samples, const struct ldnq_npz *npz,
                        struct ldnq_named_arrays *arrays, const struct ldnq_array **labels,
                        const struct ldnq_array **stray, struct ldnq_error *err)
{
    struct ldnq_array *other = NULL;
    size_t others = 0;
    *labels = *stray = NULL;
    for (size_t k = 0; k < npz->count; k++) {
        struct ldnq_array *array = &npz->arrays[k];
        size_t i = find_input(samples, npz->keys[k]);
        if (i < samples->input_count) {
            arrays->data[i] = array;
        } else if (is_label_name(npz->keys[k])) {
            if (*labels)
                return ldnq_fail(err, LDNQ_DATA, "%s: may be the classes, and so may %s",
                                 array->name, (*labels)->name);
            *labels = array;
        } else {
            other = array;
            others++;
        }
    }
    if (others == 1 && samples->input_count == 1 && !arrays->data[0])
        arrays->data[0] = other;
    else
        *stray = other;
    return LDNQ_OK;
}

static enum ldnq_status refuse_missing(const struct ldnq_samples *samples, const char *path,
                                       const struct ldnq_named_arrays *arrays,
                                       const struct ldnq_array *stray, struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        if (arrays->data[i])
            continue;
        return stray ? ldnq_fail(err, LDNQ_DATA,
                                 "%s: has no array for input '%s', and %s is for none", path,
                                 samples->inputs[i].name, stray->name)
                     : ldnq_fail(err, LDNQ_DATA, "%s: has no array for input '%s'", path,
                                 samples->inputs[i].name);
    }
    return LDNQ_OK;
}

/* Reads integer labels of shape (S) or (S,1). */
static enum ldnq_status read_labels(struct ldnq_named_arrays *arrays,
                                    const struct ldnq_array *array, struct ldnq_arena *arena,
                                    struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &array->shape;
    struct ldnq_tensor *raw;
    const struct ldnq_tensor *labels;
    bool column = shape->rank == 1 || (shape->rank == 2 && shape->dim[1] == 1);
    bool single = shape->rank == 0 && arrays->count == 1;
    if (!(single || (column && (uint64_t)shape->dim[0] == arrays->count)) ||
        !ldnq_dtype_is_integer(array->dtype)) {
        char text[LDNQ_SHAPE_TEXT];
        return ldnq_fail(err, LDNQ_DATA, "%s: is %s %s where %zu integers are wanted, one a sample",
                         array->name, ldnq_shape_print(shape, NULL, text, sizeof text),
                         ldnq_dtype_name(array->dtype), arrays->count);
    }
    LDNQ_TRY(ldnq_array_read_tensor(array, 0, shape, arena, &raw, err));
    LDNQ_TRY(ldnq_tensor_convert(raw, LDNQ_INT64, arena, &labels, err));
    arrays->labels = labels->data;
    for (size_t i = 0; i < arrays->count; i++)
        if (arrays->labels[i] < 0)
            return ldnq_fail(err, LDNQ_DATA, "%s: %" PRId64 " at element %zu is not a class",
                             array->name, arrays->labels[i], i);
    return LDNQ_OK;
}

enum ldnq_status ldnq_named_arrays_match(struct ldnq_samples *samples, const char *path,
                                         const struct ldnq_npz *npz, struct ldnq_arena *arena,
                                         struct ldnq_named_arrays *out, struct ldnq_error *err)
{
    const struct ldnq_array *labels, *stray;
    LDNQ_TRY(create_lists(samples, arena, out, err));
    LDNQ_TRY(assign_arrays_to_inputs(samples, npz, out, &labels, &stray, err));
    LDNQ_TRY(refuse_missing(samples, path, out, stray, err));
    if (stray && !samples->has_warned_of_array)
        ldnq_sink_warn(samples->options.sink,
                       "%s: is not read, as no input that is used has that name", stray->name);
    samples->has_warned_of_array |= stray != NULL;
    LDNQ_TRY(count_samples(samples, out, err));
    warn_of_shared_array(samples, out);
    return labels && samples->options.need_labels ? read_labels(out, labels, arena, err) : LDNQ_OK;
}

enum ldnq_status ldnq_named_arrays_match_single(struct ldnq_samples *samples, const char *path,
                                                struct ldnq_array *array, struct ldnq_arena *arena,
                                                struct ldnq_named_arrays *out,
                                                struct ldnq_error *err)
{
    if (samples->input_count != 1)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: is one array, but the model has %zu inputs; give a .npz file with an "
                         "array for each",
                         path, samples->input_count);
    LDNQ_TRY(create_lists(samples, arena, out, err));
    out->data[0] = array;
    return count_samples(samples, out, err);
}
