/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/sample_mask.h"

#include <string.h>

#include "base/size.h"

#define NAME_FOUND_BY_ITSELF "attention_mask"

/* ---- which input ------------------------------------------------------------------------ */

static size_t find_input(const struct ldnq_samples *samples, const char *name)
{
    size_t i = 0;
    while (i < samples->input_count && strcmp(samples->inputs[i].name, name) != 0)
        i++;
    return i;
}

static enum ldnq_status find_mask_input(const struct ldnq_samples *samples, size_t *input,
                                        struct ldnq_error *err)
{
    const char *name = samples->options.mask;
    *input = samples->input_count;
    if (samples->options.is_part || (name && strcmp(name, "none") == 0))
        return LDNQ_OK;
    *input = find_input(samples, name ? name : NAME_FOUND_BY_ITSELF);
    const bool is_found = *input < samples->input_count;
    const int rank = is_found ? samples->inputs[*input].shape.rank : 0;
    if (is_found && (rank == 2 || (rank == 1 && !samples->inputs[*input].batched)))
        return LDNQ_OK;
    if (name && is_found)
        return ldnq_fail(err, LDNQ_USAGE,
                         "mask '%s': the input is %s, where a mask has an element per position, "
                         "(N,T)",
                         name, samples->inputs[*input].shape_text);
    if (name)
        return ldnq_fail(err, LDNQ_USAGE, "mask '%s': the model has no input of that name", name);
    *input = samples->input_count;
    return LDNQ_OK;
}

/* The axis of a sample of the input, of shape `row`, that has the mask's length; -1: none. */
static int find_trimmed_axis(const struct ldnq_samples *samples, size_t input,
                             const struct ldnq_shape *row, size_t length)
{
    const struct ldnq_input *mask = &samples->inputs[samples->mask.input];
    const struct ldnq_input *other = &samples->inputs[input];
    const int last = mask->shape.rank - 1, skip = other->batched ? 1 : 0;
    for (int axis = skip; axis < other->shape.rank; axis++)
        if (other->shape.dim[axis] == mask->shape.dim[last])
            return axis - skip;
    /* Some exporters name each open dimension anew. */
    const bool is_alike = other->shape.rank == mask->shape.rank && other->shape.dim[last] < 0 &&
                          (size_t)row->dim[last - skip] == length;
    return is_alike ? last - skip : -1;
}

/* Whether another input of the sample has the mask's length. */
static enum ldnq_status find_input_of_same_length(const struct ldnq_samples *samples, size_t sample,
                                                  bool *found, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    const struct ldnq_tensor *tensor;
    enum ldnq_status status = LDNQ_OK;
    *found = false;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    for (size_t i = 0; status == LDNQ_OK && !*found && i < samples->input_count; i++) {
        if (i == samples->mask.input)
            continue;
        status = samples->source->read(samples, samples->items[sample], i, scratch, &tensor, err);
        *found = status == LDNQ_OK && find_trimmed_axis(samples, i, &tensor->shape,
                                                        samples->mask.extents[sample].of) >= 0;
    }
    ldnq_arena_destroy(scratch);
    return status;
}

/* ---- the extent of a sample -------------------------------------------------------------- */

/* Finds what no row of the mask, (T) or (N,T), masks at its start or end. */
static struct ldnq_sample_extent find_extent(const struct ldnq_tensor *mask, bool *has_gap)
{
    const size_t length = (size_t)mask->shape.dim[mask->shape.rank - 1];
    const size_t count = ldnq_tensor_count(mask);
    const float *values = mask->data;
    size_t first = length, end = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i] == 0)
            continue;
        first = ldnq_size_min(first, i % length);
        end = ldnq_size_max(end, i % length + 1);
    }
    for (size_t i = 0; i < count; i++)
        *has_gap |= values[i] == 0 && i % length >= first && i % length < end;
    return (struct ldnq_sample_extent){ first, end > first ? end - first : 0, length };
}

static enum ldnq_status read_extent(struct ldnq_samples *samples, size_t sample, bool *has_gap,
                                    struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    const struct ldnq_tensor *raw, *mask;
    struct ldnq_sample_extent *extent = &samples->mask.extents[sample];
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = samples->source->read(samples, samples->items[sample],
                                                    samples->mask.input, scratch, &raw, err);
    if (status == LDNQ_OK)
        status = ldnq_tensor_convert(raw, LDNQ_FLOAT, scratch, &mask, err);
    if (status == LDNQ_OK && mask->shape.rank > 0 && ldnq_tensor_count(mask) > 0) {
        *extent = find_extent(mask, has_gap);
        if (extent->count == 0)
            status = ldnq_fail(err, LDNQ_DATA, "%s: input '%s' masks all its positions",
                               samples->names[sample], samples->inputs[samples->mask.input].name);
    }
    ldnq_arena_destroy(scratch);
    return status;
}

/* ---- the mask ---------------------------------------------------------------------------- */

/* Cuts where the length is open, masks positions within the samples where the model fixes it. */
static enum ldnq_status choose_way(struct ldnq_samples *samples, size_t padded,
                                   struct ldnq_error *err)
{
    const struct ldnq_input *mask = &samples->inputs[samples->mask.input];
    bool found;
    if (mask->shape.dim[mask->shape.rank - 1] >= 0)
        return mask->batched ? ldnq_samples_run_singly(
                                   samples, "their padding is left out of all figures", err)
                             : LDNQ_OK;
    LDNQ_TRY(find_input_of_same_length(samples, padded, &found, err));
    samples->mask.is_cut = found;
    if (found)
        return LDNQ_OK;
    ldnq_sink_warn(samples->options.sink,
                   "positions that input '%s' masks count in all figures, as no other input has as "
                   "many",
                   mask->name);
    samples->mask.extents = NULL;
    return LDNQ_OK;
}

enum ldnq_status ldnq_sample_mask_init(struct ldnq_samples *samples, struct ldnq_error *err)
{
    size_t padded = samples->count;
    bool has_gap = false;
    LDNQ_TRY(find_mask_input(samples, &samples->mask.input, err));
    if (samples->mask.input == samples->input_count)
        return LDNQ_OK;
    const char *name = samples->inputs[samples->mask.input].name;
    samples->mask.extents =
        ldnq_arena_alloc(samples->arena, samples->count, sizeof *samples->mask.extents, err);
    if (!samples->mask.extents)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < samples->count; i++) {
        LDNQ_TRY(read_extent(samples, i, &has_gap, err));
        if (samples->mask.extents[i].count < samples->mask.extents[i].of)
            padded = ldnq_size_min(padded, i);
    }
    if (has_gap)
        ldnq_sink_warn(samples->options.sink,
                       "input '%s' masks positions between others, and these count", name);
    if (padded == samples->count) {
        samples->mask.extents = NULL;
        return LDNQ_OK;
    }
    return choose_way(samples, padded, err);
}

enum ldnq_status ldnq_sample_mask_trim(const struct ldnq_samples *samples, size_t sample,
                                       size_t input, const struct ldnq_tensor *tensor,
                                       struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                       struct ldnq_error *err)
{
    *out = tensor;
    if (!samples->mask.extents || !samples->mask.is_cut)
        return LDNQ_OK;
    const struct ldnq_sample_extent *extent = &samples->mask.extents[sample];
    const int axis = find_trimmed_axis(samples, input, &tensor->shape, extent->of);
    if (axis < 0 || axis >= tensor->shape.rank || extent->count == extent->of ||
        (size_t)tensor->shape.dim[axis] != extent->of)
        return LDNQ_OK;
    struct ldnq_shape shape = tensor->shape;
    struct ldnq_tensor *trimmed;
    size_t outer = 1, inner = ldnq_dtype_size(tensor->dtype);
    shape.dim[axis] = (int64_t)extent->count;
    LDNQ_TRY(ldnq_tensor_create(arena, tensor->dtype, &shape, &trimmed, err));
    ldnq_shape_count_range(&shape, 0, axis, &outer); /* parts of a tensor that exists */
    for (int i = axis + 1; i < shape.rank; i++)
        inner *= (size_t)shape.dim[i];
    for (size_t i = 0; i < outer && inner; i++)
        memcpy((char *)trimmed->data + i * extent->count * inner,
               (const char *)tensor->data + (i * extent->of + extent->first) * inner,
               extent->count * inner);
    *out = trimmed;
    return LDNQ_OK;
}

bool ldnq_sample_mask_lengths_are_equal(const struct ldnq_samples *samples, size_t a, size_t b)
{
    return !samples->mask.extents || !samples->mask.is_cut ||
           samples->mask.extents[a].count == samples->mask.extents[b].count;
}

/* ---- masks within samples -------------------------------------------------------------------- */

bool ldnq_samples_have_masked_positions(const struct ldnq_samples *samples)
{
    return samples->mask.extents && !samples->mask.is_cut;
}

struct ldnq_tensor ldnq_samples_unmask(const struct ldnq_samples *samples, size_t sample,
                                       const struct ldnq_tensor *tensor)
{
    struct ldnq_tensor part = *tensor;
    int axis = 0;
    if (!ldnq_samples_have_masked_positions(samples))
        return part;
    const struct ldnq_sample_extent extent = samples->mask.extents[sample];
    while (axis < part.shape.rank && part.shape.dim[axis] == 1)
        axis++;
    if (axis == part.shape.rank || (size_t)part.shape.dim[axis] != extent.of)
        return part;
    size_t step = ldnq_dtype_size(part.dtype);
    for (int i = axis + 1; i < part.shape.rank; i++)
        step *= (size_t)part.shape.dim[i];
    part.shape.dim[axis] = (int64_t)extent.count;
    part.data = (char *)part.data + extent.first * step;
    return part;
}

size_t ldnq_samples_unmask_positions(const struct ldnq_samples *samples, size_t sample, size_t all,
                                     size_t *first)
{
    *first = 0;
    if (!ldnq_samples_have_masked_positions(samples) || samples->mask.extents[sample].of != all)
        return all;
    *first = samples->mask.extents[sample].first;
    return samples->mask.extents[sample].count;
}
