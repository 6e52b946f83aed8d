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

/* ---- a cache before the sample's own positions --------------------------------------------- */

/* Finds how many positions are the sample's own where the mask counts those of a cache as well:
 * as many as an input of integers of the mask's rank has, the ids, if another input has an axis as
 * long as the rest. *own is 0 where no inputs say so. */
static enum ldnq_status count_own_positions(const struct ldnq_samples *samples, size_t sample,
                                            size_t length, size_t *own, struct ldnq_error *err)
{
    const struct ldnq_input *mask = &samples->inputs[samples->mask.input];
    struct ldnq_arena *scratch;
    enum ldnq_status status = LDNQ_OK;
    size_t ids = 0;
    bool has_cache = false;
    *own = 0;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    struct ldnq_shape *rows = ldnq_arena_alloc(scratch, samples->input_count, sizeof *rows, err);
    if (!rows)
        status = LDNQ_NOMEM;
    for (size_t i = 0; status == LDNQ_OK && i < samples->input_count; i++) {
        const struct ldnq_input *input = &samples->inputs[i];
        const struct ldnq_tensor *tensor;
        if (i == samples->mask.input)
            continue;
        status = samples->source->read(samples, samples->items[sample], i, scratch, &tensor, err);
        if (status != LDNQ_OK)
            break;
        rows[i] = tensor->shape;
        const int last = rows[i].rank - 1;
        if (!ids && ldnq_dtype_is_integer(input->dtype) && last >= 0 &&
            input->shape.rank == mask->shape.rank && (size_t)rows[i].dim[last] < length)
            ids = (size_t)rows[i].dim[last];
    }
    for (size_t i = 0; status == LDNQ_OK && ids && i < samples->input_count; i++)
        for (int axis = 0; i != samples->mask.input && axis < rows[i].rank; axis++)
            has_cache |= (size_t)rows[i].dim[axis] == length - ids;
    if (has_cache)
        *own = ids;
    ldnq_arena_destroy(scratch);
    return status;
}

/* ---- the extent of a sample -------------------------------------------------------------- */

static size_t count_unmasked_positions(const struct ldnq_sample_extent *extent)
{
    return extent->kept ? extent->kept_count : extent->count;
}

/* Finds which of the last `own` positions some row of the mask, (T) or (N,T), does not mask.
 * *differs: it masks one of them in another row. */
static enum ldnq_status find_extent(const struct ldnq_tensor *mask, size_t own,
                                    struct ldnq_arena *arena, struct ldnq_sample_extent *extent,
                                    bool *differs, struct ldnq_error *err)
{
    const size_t length = (size_t)mask->shape.dim[mask->shape.rank - 1], skip = length - own;
    const size_t rows = ldnq_tensor_count(mask) / length;
    const float *values = mask->data;
    bool *kept = ldnq_arena_alloc(arena, own, sizeof *kept, err);
    size_t first = own, end = 0, count = 0;
    if (!kept)
        return LDNQ_NOMEM;
    for (size_t k = 0; k < own; k++) {
        size_t met = 0;
        for (size_t row = 0; row < rows; row++)
            met += values[row * length + skip + k] != 0;
        kept[k] = met > 0;
        *differs |= met > 0 && met < rows;
        if (!met)
            continue;
        first = ldnq_size_min(first, k);
        end = k + 1;
        count++;
    }
    *extent = (struct ldnq_sample_extent){ .first = count ? first : 0,
                                           .count = count ? end - first : 0,
                                           .of = own };
    if (count < extent->count) {
        extent->kept = kept;
        extent->kept_count = count;
    }
    return LDNQ_OK;
}

static enum ldnq_status read_extent(struct ldnq_samples *samples, size_t sample, bool has_cache,
                                    bool *differs, struct ldnq_error *err)
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
        const size_t length = (size_t)mask->shape.dim[mask->shape.rank - 1];
        size_t own = length;
        if (has_cache)
            status = count_own_positions(samples, sample, length, &own, err);
        if (status == LDNQ_OK)
            status = find_extent(mask, own, samples->arena, extent, differs, err);
        if (status == LDNQ_OK && extent->count == 0 && own > 0)
            status = ldnq_fail(err, LDNQ_DATA, "%s: input '%s' masks all its positions",
                               samples->names[sample], samples->inputs[samples->mask.input].name);
    }
    ldnq_arena_destroy(scratch);
    return status;
}

/* Reads the extents of all samples; *padded becomes the first sample with padding, or the number of
 * samples. */
static enum ldnq_status read_extents(struct ldnq_samples *samples, bool has_cache, size_t *padded,
                                     bool *differs, struct ldnq_error *err)
{
    *padded = samples->count;
    *differs = false;
    for (size_t i = 0; i < samples->count; i++) {
        const struct ldnq_sample_extent *extent = &samples->mask.extents[i];
        LDNQ_TRY(read_extent(samples, i, has_cache, differs, err));
        if (count_unmasked_positions(extent) < extent->of)
            *padded = ldnq_size_min(*padded, i);
    }
    return LDNQ_OK;
}

/* ---- the mask ---------------------------------------------------------------------------- */

static bool has_gaps(const struct ldnq_samples *samples)
{
    for (size_t i = 0; i < samples->count; i++)
        if (samples->mask.extents[i].kept)
            return true;
    return false;
}

static void warn_of_gaps(const struct ldnq_samples *samples)
{
    ldnq_sink_warn(samples->options.sink,
                   "input '%s' masks positions between others, and these count",
                   samples->inputs[samples->mask.input].name);
}

/* Leaves masked positions out where they would count. */
static enum ldnq_status mask_within_samples(struct ldnq_samples *samples, struct ldnq_error *err)
{
    if (has_gaps(samples))
        warn_of_gaps(samples);
    return samples->inputs[samples->mask.input].batched
               ? ldnq_samples_run_singly(samples, "their padding is left out of all figures", err)
               : LDNQ_OK;
}

/* The mask counts positions of a cache too, which no layer computes in these samples. */
static enum ldnq_status mask_own_positions(struct ldnq_samples *samples, struct ldnq_error *err)
{
    size_t padded;
    bool differs;
    LDNQ_TRY(read_extents(samples, true, &padded, &differs, err));
    if (padded < samples->count)
        return mask_within_samples(samples, err);
    samples->mask.extents = NULL;
    return LDNQ_OK;
}

/* Cuts where the length is open, masks positions within the samples where the model fixes it, or
 * where a cache is before them. */
static enum ldnq_status choose_masking(struct ldnq_samples *samples, size_t padded,
                                       struct ldnq_error *err)
{
    const struct ldnq_input *mask = &samples->inputs[samples->mask.input];
    bool found;
    size_t own = 0;
    LDNQ_TRY(find_input_of_same_length(samples, padded, &found, err));
    if (!found)
        LDNQ_TRY(count_own_positions(samples, padded, samples->mask.extents[padded].of, &own, err));
    if (own)
        return mask_own_positions(samples, err);
    if (mask->shape.dim[mask->shape.rank - 1] >= 0)
        return mask_within_samples(samples, err);
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

enum ldnq_status ldnq_sample_mask_read(struct ldnq_samples *samples, struct ldnq_error *err)
{
    size_t padded;
    bool differs;
    LDNQ_TRY(find_mask_input(samples, &samples->mask.input, err));
    if (samples->mask.input == samples->input_count)
        return LDNQ_OK;
    samples->mask.extents =
        ldnq_arena_alloc(samples->arena, samples->count, sizeof *samples->mask.extents, err);
    if (!samples->mask.extents)
        return LDNQ_NOMEM;
    LDNQ_TRY(read_extents(samples, false, &padded, &differs, err));
    if (differs)
        warn_of_gaps(samples);
    if (padded == samples->count) {
        samples->mask.extents = NULL;
        return LDNQ_OK;
    }
    return choose_masking(samples, padded, err);
}

/* Copies what is left along the axis; `to` has its size. */
static void copy_unmasked_positions(const struct ldnq_sample_extent *extent,
                                    const struct ldnq_tensor *from, int axis,
                                    struct ldnq_tensor *to)
{
    size_t outer = 1, inner = ldnq_dtype_size(from->dtype);
    ldnq_shape_count_range(&from->shape, 0, axis, &outer); /* parts of a tensor that exists */
    for (int i = axis + 1; i < from->shape.rank; i++)
        inner *= (size_t)from->shape.dim[i];
    char *out = to->data;
    for (size_t i = 0; i < outer && inner; i++)
        for (size_t k = extent->first; k < extent->first + extent->count; k++) {
            if (extent->kept && !extent->kept[k])
                continue;
            memcpy(out, (const char *)from->data + (i * extent->of + k) * inner, inner);
            out += inner;
        }
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
    if (axis < 0 || axis >= tensor->shape.rank || count_unmasked_positions(extent) == extent->of ||
        (size_t)tensor->shape.dim[axis] != extent->of)
        return LDNQ_OK;
    struct ldnq_shape shape = tensor->shape;
    struct ldnq_tensor *trimmed;
    shape.dim[axis] = (int64_t)count_unmasked_positions(extent);
    LDNQ_TRY(ldnq_tensor_create(arena, tensor->dtype, &shape, &trimmed, err));
    copy_unmasked_positions(extent, tensor, axis, trimmed);
    *out = trimmed;
    return LDNQ_OK;
}

bool ldnq_sample_mask_lengths_are_equal(const struct ldnq_samples *samples, size_t a, size_t b)
{
    return !samples->mask.extents || !samples->mask.is_cut ||
           count_unmasked_positions(&samples->mask.extents[a]) ==
               count_unmasked_positions(&samples->mask.extents[b]);
}

/* ---- masks within samples -------------------------------------------------------------------- */

bool ldnq_samples_have_masked_positions(const struct ldnq_samples *samples)
{
    return samples->mask.extents && !samples->mask.is_cut;
}

struct ldnq_tensor ldnq_samples_view_unmasked(const struct ldnq_samples *samples, size_t sample,
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

size_t ldnq_samples_find_unmasked_positions(const struct ldnq_samples *samples, size_t sample,
                                            size_t all, size_t *first)
{
    *first = 0;
    if (!ldnq_samples_have_masked_positions(samples) || samples->mask.extents[sample].of != all)
        return all;
    *first = samples->mask.extents[sample].first;
    return samples->mask.extents[sample].count;
}
