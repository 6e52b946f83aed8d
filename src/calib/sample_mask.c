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

/* (N,T), or (T) in a model without a batch, or (N,1,1,T). */
static bool has_element_per_position(const struct ldnq_input *input)
{
    const int last = input->shape.rank - 1;
    for (int axis = 1; axis < last; axis++)
        if (input->shape.dim[axis] != 1)
            return false;
    return last > 0 || (last == 0 && !input->batched);
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
    if (is_found && has_element_per_position(&samples->inputs[*input]))
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

/* ---- the unmasked positions of a sample ----------------------------------------------------- */

/* Whether the value of a mask lets its position count. An additive mask is added to the scores of
 * an attention: 0 there, and far below at the padding. */
static bool is_unmasked(const struct ldnq_samples *samples, float value)
{
    return samples->mask.is_additive ? value >= 0 : value != 0;
}

/* Lists what the last `own` positions of each row of the mask, (T) or (N,T), do not mask. *differs:
 * a row masks another position than the first row. */
static enum ldnq_status find_extent(const struct ldnq_samples *samples,
                                    const struct ldnq_tensor *mask, size_t own,
                                    struct ldnq_sample_extent *extent, bool *differs,
                                    struct ldnq_error *err)
{
    const size_t length = (size_t)mask->shape.dim[mask->shape.rank - 1], skip = length - own;
    const size_t rows = ldnq_tensor_count(mask) / length;
    const float *values = mask->data;
    size_t count = 0;
    *extent = (struct ldnq_sample_extent){ .rows = rows, .of = own };
    for (size_t i = 0; i < rows * own; i++)
        count += is_unmasked(samples, values[i / own * length + skip + i % own]);
    extent->count = count;
    if (count == rows * own || count == 0)
        return LDNQ_OK;
    size_t *positions = ldnq_arena_alloc(samples->arena, count, sizeof *positions, err);
    if (!positions)
        return LDNQ_NOMEM;
    count = 0;
    for (size_t i = 0; i < rows * own; i++) {
        const float *row = values + i / own * length + skip;
        if (is_unmasked(samples, row[i % own]))
            positions[count++] = i;
        *differs |=
            is_unmasked(samples, row[i % own]) != is_unmasked(samples, values[skip + i % own]);
    }
    extent->positions = positions;
    return LDNQ_OK;
}

/* Reads the sample's mask as floats. */
static enum ldnq_status read_mask(const struct ldnq_samples *samples, size_t sample,
                                  struct ldnq_arena *arena, const struct ldnq_tensor **mask,
                                  struct ldnq_error *err)
{
    const struct ldnq_tensor *raw;
    LDNQ_TRY(samples->source->read(samples, samples->items[sample], samples->mask.input, arena,
                                   &raw, err));
    return ldnq_tensor_convert(raw, LDNQ_FLOAT, arena, mask, err);
}

static enum ldnq_status read_extent(struct ldnq_samples *samples, size_t sample, bool has_cache,
                                    bool *differs, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    const struct ldnq_tensor *mask;
    struct ldnq_sample_extent *extent = &samples->mask.extents[sample];
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    enum ldnq_status status = read_mask(samples, sample, scratch, &mask, err);
    if (status == LDNQ_OK && mask->shape.rank > 0 && ldnq_tensor_count(mask) > 0) {
        const size_t length = (size_t)mask->shape.dim[mask->shape.rank - 1];
        size_t own = length;
        if (has_cache)
            status = count_own_positions(samples, sample, length, &own, err);
        if (status == LDNQ_OK)
            status = find_extent(samples, mask, own, extent, differs, err);
        if (status == LDNQ_OK && extent->count == 0 && own > 0)
            status = ldnq_fail(err, LDNQ_DATA, "%s: input '%s' masks all its positions",
                               samples->names[sample], samples->inputs[samples->mask.input].name);
    }
    ldnq_arena_destroy(scratch);
    return status;
}

/* A mask of floats is additive where it has values below 0, or nothing else than 0. */
static enum ldnq_status find_whether_additive(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const enum ldnq_dtype dtype = samples->inputs[samples->mask.input].dtype;
    bool has_positive = false, has_negative = false;
    samples->mask.is_additive = false;
    if (ldnq_dtype_is_integer(dtype) || dtype == LDNQ_BOOL)
        return LDNQ_OK;
    for (size_t i = 0; i < samples->count && !has_negative; i++) {
        struct ldnq_arena *scratch;
        const struct ldnq_tensor *mask;
        LDNQ_TRY(ldnq_arena_create(&scratch, err));
        const enum ldnq_status status = read_mask(samples, i, scratch, &mask, err);
        for (size_t k = 0; status == LDNQ_OK && k < ldnq_tensor_count(mask); k++) {
            has_positive |= ((const float *)mask->data)[k] > 0;
            has_negative |= ((const float *)mask->data)[k] < 0;
        }
        ldnq_arena_destroy(scratch);
        LDNQ_TRY(status);
    }
    samples->mask.is_additive = has_negative || !has_positive;
    return LDNQ_OK;
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
        if (extent->positions)
            *padded = ldnq_size_min(*padded, i);
    }
    return LDNQ_OK;
}

/* ---- the mask ---------------------------------------------------------------------------- */

/* Leaves masked positions out where they would count. */
static enum ldnq_status mask_within_samples(struct ldnq_samples *samples, struct ldnq_error *err)
{
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

/* Cuts where the length is open, masks positions within the samples where the model fixes it, where
 * a cache is before them, or where the rows of one sample differ. */
static enum ldnq_status choose_masking(struct ldnq_samples *samples, size_t padded, bool differs,
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
    if (mask->shape.dim[mask->shape.rank - 1] >= 0 || (found && differs))
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
    LDNQ_TRY(find_whether_additive(samples, err));
    LDNQ_TRY(read_extents(samples, false, &padded, &differs, err));
    if (padded == samples->count) {
        samples->mask.extents = NULL;
        return LDNQ_OK;
    }
    return choose_masking(samples, padded, differs, err);
}

/* ---- cut samples ------------------------------------------------------------------------------
 */

/* All rows of a sample that is cut mask the same positions. */
static size_t count_positions_of_row(const struct ldnq_sample_extent *extent)
{
    return extent->positions ? extent->count / extent->rows : extent->of;
}

/* Copies what is left along the axis; `to` has its size. */
static void copy_unmasked_positions(const struct ldnq_sample_extent *extent,
                                    const struct ldnq_tensor *from, int axis,
                                    struct ldnq_tensor *to)
{
    const size_t count = count_positions_of_row(extent);
    size_t outer = 1, inner = ldnq_dtype_size(from->dtype);
    ldnq_shape_count_range(&from->shape, 0, axis, &outer); /* parts of a tensor that exists */
    for (int i = axis + 1; i < from->shape.rank; i++)
        inner *= (size_t)from->shape.dim[i];
    char *out = to->data;
    for (size_t i = 0; i < outer && inner; i++)
        for (size_t k = 0; k < count; k++, out += inner)
            memcpy(out, (const char *)from->data + (i * extent->of + extent->positions[k]) * inner,
                   inner);
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
    if (axis < 0 || axis >= tensor->shape.rank || !extent->positions ||
        (size_t)tensor->shape.dim[axis] != extent->of)
        return LDNQ_OK;
    struct ldnq_shape shape = tensor->shape;
    struct ldnq_tensor *trimmed;
    shape.dim[axis] = (int64_t)count_positions_of_row(extent);
    LDNQ_TRY(ldnq_tensor_create(arena, tensor->dtype, &shape, &trimmed, err));
    copy_unmasked_positions(extent, tensor, axis, trimmed);
    *out = trimmed;
    return LDNQ_OK;
}

bool ldnq_sample_mask_lengths_are_equal(const struct ldnq_samples *samples, size_t a, size_t b)
{
    return !samples->mask.extents || !samples->mask.is_cut ||
           count_positions_of_row(&samples->mask.extents[a]) ==
               count_positions_of_row(&samples->mask.extents[b]);
}

/* ---- masks within samples -------------------------------------------------------------------- */

bool ldnq_samples_have_masked_positions(const struct ldnq_samples *samples)
{
    return samples->mask.extents && !samples->mask.is_cut;
}

const size_t *ldnq_samples_find_unmasked_positions(const struct ldnq_samples *samples,
                                                   size_t sample, size_t all, size_t *count)
{
    *count = all;
    if (!ldnq_samples_have_masked_positions(samples))
        return NULL;
    const struct ldnq_sample_extent *extent = &samples->mask.extents[sample];
    if (!extent->positions || extent->rows * extent->of != all)
        return NULL;
    *count = extent->count;
    return extent->positions;
}

/* The positions of a value that do not count. */
struct masked_value {
    const size_t *positions; /* (count) the unmasked ones; NULL: all count */
    size_t count, all;
    int first_axis, end_axis; /* the axes of the positions */
    size_t bytes;             /* of a position */
};

/* The positions of a value are its first axes above 1, if they have as many elements as the mask.
 */
static struct masked_value find_masked_value(const struct ldnq_samples *samples, size_t sample,
                                             const struct ldnq_tensor *tensor)
{
    const struct ldnq_shape *shape = &tensor->shape;
    struct masked_value found = { .all = 1, .bytes = ldnq_dtype_size(tensor->dtype) };
    while (found.first_axis < shape->rank && shape->dim[found.first_axis] == 1)
        found.first_axis++;
    for (int axis = found.first_axis; axis < shape->rank && !found.positions; axis++) {
        found.all *= (size_t)shape->dim[axis];
        found.positions =
            ldnq_samples_find_unmasked_positions(samples, sample, found.all, &found.count);
        found.end_axis = axis + 1;
    }
    for (int axis = found.end_axis; axis < shape->rank; axis++)
        found.bytes *= (size_t)shape->dim[axis];
    return found;
}

/* The shape of the part of a value that counts. */
static struct ldnq_shape find_unmasked_shape(const struct masked_value *value,
                                             const struct ldnq_shape *whole)
{
    struct ldnq_shape shape = { .rank = value->first_axis };
    for (int axis = 0; axis < value->first_axis; axis++)
        shape.dim[axis] = 1;
    shape.dim[shape.rank++] = (int64_t)value->count;
    for (int axis = value->end_axis; axis < whole->rank; axis++)
        shape.dim[shape.rank++] = whole->dim[axis];
    return shape;
}

enum ldnq_status ldnq_samples_select_unmasked(const struct ldnq_samples *samples, size_t sample,
                                              const struct ldnq_tensor *tensor,
                                              struct ldnq_arena *arena,
                                              const struct ldnq_tensor **out,
                                              struct ldnq_error *err)
{
    *out = tensor;
    if (!tensor || !ldnq_samples_have_masked_positions(samples))
        return LDNQ_OK;
    const struct masked_value value = find_masked_value(samples, sample, tensor);
    const size_t *at = value.positions;
    if (!at)
        return LDNQ_OK;
    const struct ldnq_shape shape = find_unmasked_shape(&value, &tensor->shape);
    const char *data = tensor->data;
    struct ldnq_tensor *part;
    if (at[value.count - 1] - at[0] == value.count - 1) { /* adjacent: no copy */
        part = ldnq_arena_alloc(arena, 1, sizeof *part, err);
        if (!part)
            return LDNQ_NOMEM;
        *part = *tensor;
        part->shape = shape;
        part->data = (char *)tensor->data + at[0] * value.bytes;
        *out = part;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_tensor_create(arena, tensor->dtype, &shape, &part, err));
    for (size_t i = 0; i < value.count && value.bytes; i++)
        memcpy((char *)part->data + i * value.bytes, data + at[i] * value.bytes, value.bytes);
    *out = part;
    return LDNQ_OK;
}

void ldnq_samples_clear_masked(const struct ldnq_samples *samples, size_t sample,
                               struct ldnq_tensor *tensor)
{
    if (!ldnq_samples_have_masked_positions(samples))
        return;
    const struct masked_value value = find_masked_value(samples, sample, tensor);
    for (size_t i = 0, next = 0; value.positions && i < value.all; i++) {
        if (next < value.count && value.positions[next] == i)
            next++;
        else
            memset((char *)tensor->data + i * value.bytes, 0, value.bytes);
    }
}
