/* SPDX-License-Identifier: Apache-2.0 */
/* Several paths as one set: their samples after one another, in the order given.
 *
 * Each path is opened as a set of its own with all its samples; the joined set draws from them.
 * Pictures and arrays are not joined: only pictures are preprocessed, so that one of both kinds
 * would be wrong. */
#include "calib/source.h"

#include <string.h>

#include "calib/folder.h"

struct joined_source {
    size_t count;
    struct ldnq_samples **parts; /* (count) */
    size_t *first;               /* (count) index of the part's first item */
};

/* ---- opening --------------------------------------------------------------------- */

static enum ldnq_status check_part_matches_first(const struct ldnq_samples *first,
                                                 const struct ldnq_samples *part,
                                                 struct ldnq_error *err)
{
    if (first->are_pictures != part->are_pictures)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: holds %s where %s holds %s: pictures are preprocessed and arrays are "
                         "used as they are, so that they can't be joined",
                         part->path, part->are_pictures ? "pictures" : "arrays", first->path,
                         first->are_pictures ? "pictures" : "arrays");
    for (size_t i = 0; i < first->input_count; i++)
        if (first->inputs[i].batched != part->inputs[i].batched)
            return ldnq_fail(err, LDNQ_DATA,
                             "%s: its samples of input '%s' are %s, those of %s are not: they "
                             "can't be joined",
                             part->path, part->inputs[i].name,
                             part->inputs[i].batched ? "rows of a batch" : "whole arrays",
                             first->path);
    return LDNQ_OK;
}

/* Lists the class folders at the start of `folder`; *count becomes their number. */
static enum ldnq_status list_class_folders(const char *path, struct ldnq_arena *arena,
                                           struct ldnq_folder *folder, size_t *count,
                                           struct ldnq_error *err)
{
    *count = 0;
    LDNQ_TRY(ldnq_folder_list(path, arena, folder, err));
    for (size_t i = 0; i < folder->count; i++)
        if (folder->entries[i].is_folder)
            folder->entries[(*count)++] = folder->entries[i];
    return LDNQ_OK;
}

/* Classes are numbered by the order of their folders. */
static enum ldnq_status check_class_folders(const char *first, const char *path,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_folder a, b;
    size_t count_a, count_b;
    LDNQ_TRY(list_class_folders(first, arena, &a, &count_a, err));
    LDNQ_TRY(list_class_folders(path, arena, &b, &count_b, err));
    bool are_equal = count_a == count_b;
    for (size_t i = 0; are_equal && i < count_a; i++)
        are_equal = strcmp(a.entries[i].name, b.entries[i].name) == 0;
    return are_equal ? LDNQ_OK
                     : ldnq_fail(err, LDNQ_DATA,
                                 "%s: its class folders are not those of %s, whose order numbers "
                                 "the classes",
                                 path, first);
}

static enum ldnq_status open_part(struct ldnq_samples *samples, struct joined_source *joined,
                                  struct ldnq_error *err)
{
    const struct ldnq_samples_options options = { .preprocess = samples->options.preprocess,
                                                  .need_labels = samples->options.need_labels,
                                                  .is_part = true,
                                                  .sink = samples->options.sink };
    struct ldnq_samples **part = &joined->parts[joined->count];
    const char *path = samples->paths[joined->count];
    LDNQ_TRY(ldnq_samples_open(path, samples->graph, &options, part, err));
    joined->first[joined->count++] = samples->item_count;
    samples->item_count += (*part)->count;
    samples->has_labels = (*part)->has_labels && (joined->count == 1 || samples->has_labels);
    LDNQ_TRY(check_part_matches_first(joined->parts[0], *part, err));
    return options.need_labels && (*part)->are_pictures
               ? check_class_folders(samples->paths[0], path, samples->arena, err)
               : LDNQ_OK;
}

static enum ldnq_status open_joined(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct joined_source *joined = ldnq_arena_alloc(samples->arena, 1, sizeof *joined, err);
    samples->state = joined;
    if (!joined)
        return LDNQ_NOMEM;
    joined->parts =
        ldnq_arena_alloc(samples->arena, samples->path_count, sizeof *joined->parts, err);
    joined->first =
        ldnq_arena_alloc(samples->arena, samples->path_count, sizeof *joined->first, err);
    if (!joined->parts || !joined->first)
        return LDNQ_NOMEM;
    while (joined->count < samples->path_count)
        LDNQ_TRY(open_part(samples, joined, err));
    for (size_t i = 0; i < samples->input_count; i++)
        samples->inputs[i].batched = joined->parts[0]->inputs[i].batched;
    samples->are_pictures = joined->parts[0]->are_pictures;
    return LDNQ_OK;
}

static void close_joined(struct ldnq_samples *samples)
{
    struct joined_source *joined = samples->state;
    for (size_t i = 0; i < joined->count; i++)
        ldnq_samples_destroy(joined->parts[i]);
}

/* ---- items ------------------------------------------------------------------------- */

/* Finds the part that an item is in; *own becomes its index there. */
static struct ldnq_samples *find_part_of_item(const struct ldnq_samples *samples, size_t item,
                                              size_t *own)
{
    const struct joined_source *joined = samples->state;
    size_t part = joined->count - 1;
    while (part > 0 && joined->first[part] > item)
        part--;
    *own = item - joined->first[part];
    return joined->parts[part];
}

static const char *find_joined_name(struct ldnq_samples *samples, size_t item,
                                    struct ldnq_error *err)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    (void)err;
    return ldnq_samples_name(part, own);
}

static int64_t find_joined_label(const struct ldnq_samples *samples, size_t item)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    return ldnq_samples_label(part, own);
}

static const char *find_joined_path(const struct ldnq_samples *samples, size_t item, size_t input)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    return part->source->path(part, part->items[own], input);
}

static enum ldnq_sample_storage examine_joined(const struct ldnq_samples *samples, size_t item,
                                               size_t input, struct stat *info)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    return part->source->examine ? part->source->examine(part, part->items[own], input, info)
                                 : LDNQ_SAMPLE_HELD;
}

static enum ldnq_status read_joined(const struct ldnq_samples *samples, size_t item, size_t input,
                                    struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                    struct ldnq_error *err)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    return part->source->read(part, part->items[own], input, arena, out, err);
}

static enum ldnq_status get_joined_shape(const struct ldnq_samples *samples, size_t item,
                                         size_t input, struct ldnq_shape *shape,
                                         struct ldnq_error *err)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    if (part->source->shape)
        return part->source->shape(part, part->items[own], input, shape, err);
    *shape = part->inputs[input].row;
    return LDNQ_OK;
}

static enum ldnq_status check_joined(const struct ldnq_samples *samples, size_t item,
                                     struct ldnq_error *err)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    return part->source->check ? part->source->check(part, part->items[own], err) : LDNQ_OK;
}

static void warn_joined(const struct ldnq_samples *samples)
{
    const struct joined_source *joined = samples->state;
    for (size_t i = 0; i < joined->count; i++) {
        struct ldnq_samples part = *joined->parts[i];
        part.options.sink = samples->options.sink;
        if (part.source->warn)
            part.source->warn(&part);
    }
}

static enum ldnq_status hash_joined(const struct ldnq_samples *samples, size_t item,
                                    struct ldnq_arena *arena, XXH3_state_t *state,
                                    struct ldnq_error *err)
{
    size_t own;
    const struct ldnq_samples *part = find_part_of_item(samples, item, &own);
    return part->source->hash(part, part->items[own], arena, state, err);
}

const struct ldnq_source ldnq_source_joined = {
    .stage = "",
    .advice = "",
    .open = open_joined,
    .close = close_joined,
    .name = find_joined_name,
    .label = find_joined_label,
    .path = find_joined_path,
    .examine = examine_joined,
    .read = read_joined,
    .shape = get_joined_shape,
    .check = check_joined,
    .warn = warn_joined,
    .hash = hash_joined,
};
