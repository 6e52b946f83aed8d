/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/source.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "calib/folder.h"
#include "calib/sample_mask.h"

static const struct ldnq_source *const sources[] = {
    &ldnq_source_pictures,    &ldnq_source_npy,    &ldnq_source_npz,
    &ldnq_source_array_files, &ldnq_source_protos,
};

/* ---- which source ------------------------------------------------------------- */

static void detect_file_kinds(const struct ldnq_folder *folder, struct ldnq_probe *probe)
{
    for (size_t i = 0; i < folder->count; i++) {
        const struct ldnq_entry *entry = &folder->entries[i];
        if (entry->is_folder)
            continue;
        probe->holds_protos |= ldnq_name_ends(entry->name, ".pb");
        probe->holds_arrays |=
            ldnq_name_ends(entry->name, ".npy") || ldnq_name_ends(entry->name, ".npz");
        if (!probe->holds_pictures)
            probe->holds_pictures = ldnq_is_picture(entry->name, entry->path);
    }
}

static enum ldnq_status detect_folder_content(struct ldnq_probe *probe, struct ldnq_arena *arena,
                                              struct ldnq_error *err)
{
    struct ldnq_folder top, inner;
    LDNQ_TRY(ldnq_folder_list(probe->path, arena, &top, err));
    detect_file_kinds(&top, probe);
    for (size_t i = 0; i < top.count && !probe->holds_pictures; i++)
        if (top.entries[i].is_folder) {
            LDNQ_TRY(ldnq_folder_list(top.entries[i].path, arena, &inner, err));
            detect_file_kinds(&inner, probe);
        }
    return LDNQ_OK;
}

static enum ldnq_status probe_path(const char *path, struct ldnq_arena *arena,
                                   struct ldnq_probe *probe, struct ldnq_error *err)
{
    struct stat info;
    *probe = (struct ldnq_probe){ .path = path, .is_folder = ldnq_is_folder_or_pattern(path) };
    if (probe->is_folder)
        return detect_folder_content(probe, arena, err);
    if (stat(path, &info) != 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be opened: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return ldnq_fail(err, LDNQ_IO, "%s: is neither a regular file nor a folder", path);
    return ldnq_file_read_prefix(path, probe->magic, sizeof probe->magic, &probe->magic_size, err);
}

/* `scratch` is freed after this: the set does not need the folder's listing. */
static enum ldnq_status find_source(const char *path, struct ldnq_arena *scratch,
                                    const struct ldnq_source **out, struct ldnq_error *err)
{
    struct ldnq_probe probe;
    LDNQ_TRY(probe_path(path, scratch, &probe, err));
    const char *text_format = ldnq_describe_text_format(probe.magic, probe.magic_size);
    if (text_format)
        return ldnq_fail(err, LDNQ_DATA, "%s: %s", path, text_format);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (sources[i]->detect(&probe)) {
            *out = sources[i];
            return LDNQ_OK;
        }
    if (probe.is_folder)
        return ldnq_fail(err, LDNQ_DATA, "%s: holds no PNG, JPEG, .npy, .npz or .pb files", path);
    const char *format = ldnq_describe_format(probe.magic, probe.magic_size);
    if (format)
        return ldnq_fail(err, LDNQ_DATA, "%s: %s, not samples", path, format);
    return ldnq_fail(err, LDNQ_DATA,
                     "%s: is neither a picture (PNG, JPEG, WebP, TIFF), .npy, .npz nor .pb", path);
}

/* ---- opening ------------------------------------------------------------------ */

static enum ldnq_status copy_input(const struct ldnq_graph *graph, const struct ldnq_value *value,
                                   struct ldnq_arena *arena, struct ldnq_input *input,
                                   struct ldnq_error *err)
{
    char text[LDNQ_SHAPE_TEXT];
    ldnq_shape_print(&value->shape, graph, text, sizeof text);
    input->name = ldnq_arena_strdup(arena, value->name, err);
    input->shape_text = ldnq_arena_strdup(arena, text, err);
    if (!input->name || !input->shape_text)
        return LDNQ_NOMEM;
    input->dtype = value->dtype == LDNQ_UNDEFINED ? LDNQ_FLOAT : value->dtype;
    input->shape = value->shape;
    input->batched = value->shape.rank == LDNQ_RANK_UNKNOWN ||
                     (value->shape.rank > 0 && value->shape.dim[0] < 2 && value->shape.dim[0] != 0);
    return LDNQ_OK;
}

static enum ldnq_status copy_inputs(struct ldnq_samples *samples, const struct ldnq_graph *graph,
                                    struct ldnq_error *err)
{
    if (graph->input_count == 0)
        return ldnq_fail(err, LDNQ_DATA, "%s: the model has no inputs that data could be for",
                         samples->path);
    samples->inputs =
        ldnq_arena_alloc(samples->arena, graph->input_count, sizeof *samples->inputs, err);
    if (!samples->inputs)
        return LDNQ_NOMEM;
    samples->input_count = graph->input_count;
    for (size_t i = 0; i < graph->input_count; i++)
        LDNQ_TRY(copy_input(graph, graph->inputs[i], samples->arena, &samples->inputs[i], err));
    return LDNQ_OK;
}

static int compare_sample_indices(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Reduces the drawn samples to the part that the options ask for. */
static enum ldnq_status select_part(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const bool held_out = samples->options.part == LDNQ_SAMPLES_HELD_OUT;
    size_t count = 0;
    if (samples->options.part == LDNQ_SAMPLES_ALL)
        return LDNQ_OK;
    if (samples->count < LDNQ_SAMPLES_HOLD_OUT_OF)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: holding out samples to measure on takes at least %zu, these are %zu",
                         samples->path, LDNQ_SAMPLES_HOLD_OUT_OF, samples->count);
    for (size_t i = 0; i < samples->count; i++)
        if ((i % LDNQ_SAMPLES_HOLD_OUT_OF == LDNQ_SAMPLES_HOLD_OUT_OF - 1) == held_out)
            samples->items[count++] = samples->items[i];
    samples->count = count;
    return LDNQ_OK;
}

/* The first `count` of a shuffled deck (Fisher and Yates), or back in file order. */
static enum ldnq_status draw_samples(struct ldnq_samples *samples, struct ldnq_error *err)
{
    size_t total = samples->item_count, wanted = samples->options.max_samples;
    samples->items = ldnq_arena_alloc(samples->arena, total, sizeof *samples->items, err);
    if (!samples->items)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < total; i++)
        samples->items[i] = i;
    samples->count = wanted && wanted < total ? wanted : total;
    if (samples->count == total && !samples->options.shuffle)
        return LDNQ_OK;
    struct ldnq_rng rng = { samples->options.seed };
    for (size_t i = 0; i < samples->count; i++) {
        size_t other = i + ldnq_rng_below(&rng, total - i), item = samples->items[i];
        samples->items[i] = samples->items[other];
        samples->items[other] = item;
    }
    if (!samples->options.shuffle)
        qsort(samples->items, samples->count, sizeof *samples->items, compare_sample_indices);
    return LDNQ_OK;
}

static enum ldnq_status store_sample_names(struct ldnq_samples *samples, struct ldnq_error *err)
{
    samples->names = ldnq_arena_alloc(samples->arena, samples->count, sizeof *samples->names, err);
    if (!samples->names)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < samples->count; i++) {
        samples->names[i] = samples->source->name(samples, samples->items[i], err);
        if (!samples->names[i])
            return LDNQ_NOMEM;
    }
    samples->shape_name = samples->names[0];
    return LDNQ_OK;
}

static enum ldnq_status choose_source(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    if (samples->path_count > 1) {
        samples->source = &ldnq_source_joined;
        return LDNQ_OK;
    }
    if (samples->memory) {
        samples->source = samples->memory->read ? &ldnq_source_reader : &ldnq_source_memory;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    const enum ldnq_status status = find_source(samples->path, scratch, &samples->source, err);
    ldnq_arena_destroy(scratch);
    return status;
}

static enum ldnq_status open_source(struct ldnq_samples *samples, struct ldnq_error *err)
{
    LDNQ_TRY(choose_source(samples, err));
    samples->are_pictures = samples->source == &ldnq_source_pictures;
    LDNQ_TRY(samples->source->open(samples, err));
    if (samples->item_count == 0)
        return ldnq_fail(err, LDNQ_DATA, "%s: holds no samples", samples->path);
    if (samples->item_count > UINT32_MAX)
        return ldnq_fail(err, LDNQ_DATA, "%s: holds more samples than can be counted",
                         samples->path);
    if (samples->options.need_labels && !samples->has_labels)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: has no classes: neither class folders nor labels.csv, nor an array "
                         "'labels' in a .npz",
                         samples->path);
    return LDNQ_OK;
}

static enum ldnq_status open_samples(struct ldnq_samples *samples, const struct ldnq_graph *graph,
                                     struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_arena_create(&samples->arena, err));
    samples->path = ldnq_arena_strdup(samples->arena, samples->paths[0], err);
    samples->graph = graph;
    if (!samples->path)
        return LDNQ_NOMEM;
    LDNQ_TRY(copy_inputs(samples, graph, err));
    LDNQ_TRY(open_source(samples, err));
    LDNQ_TRY(draw_samples(samples, err));
    LDNQ_TRY(select_part(samples, err));
    LDNQ_TRY(store_sample_names(samples, err));
    LDNQ_TRY(ldnq_samples_drop_damaged(samples, err));
    LDNQ_TRY(ldnq_sample_mask_read(samples, err));
    return ldnq_samples_find_shapes(samples, err);
}

bool ldnq_samples_are_pictures(const struct ldnq_samples *samples)
{
    return samples->are_pictures;
}

static enum ldnq_status create_sample_set(const char *const *paths, size_t path_count,
                                          const struct ldnq_samples_memory *memory,
                                          const struct ldnq_graph *graph,
                                          const struct ldnq_samples_options *options,
                                          struct ldnq_samples **out, struct ldnq_error *err)
{
    *out = NULL;
    struct ldnq_samples *samples = ldnq_calloc(1, sizeof *samples);
    if (!samples)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    samples->options = *options;
    samples->memory = memory;
    samples->paths = paths;
    samples->path_count = path_count;
    enum ldnq_status status = open_samples(samples, graph, err);
    if (status == LDNQ_OK)
        *out = samples;
    else
        ldnq_samples_destroy(samples);
    return status;
}

enum ldnq_status ldnq_samples_open(const char *path, const struct ldnq_graph *graph,
                                   const struct ldnq_samples_options *options,
                                   struct ldnq_samples **out, struct ldnq_error *err)
{
    return create_sample_set(&path, 1, NULL, graph, options, out, err);
}

enum ldnq_status ldnq_samples_open_joined(const char *const *paths, size_t count,
                                          const struct ldnq_graph *graph,
                                          const struct ldnq_samples_options *options,
                                          struct ldnq_samples **out, struct ldnq_error *err)
{
    return create_sample_set(paths, count, NULL, graph, options, out, err);
}

enum ldnq_status ldnq_samples_open_memory(const struct ldnq_samples_memory *memory,
                                          const struct ldnq_graph *graph,
                                          const struct ldnq_samples_options *options,
                                          struct ldnq_samples **out, struct ldnq_error *err)
{
    static const char *const name = "samples";
    return create_sample_set(&name, 1, memory, graph, options, out, err);
}

void ldnq_samples_destroy(struct ldnq_samples *samples)
{
    if (!samples)
        return;
    if (samples->state && samples->source->close)
        samples->source->close(samples);
    ldnq_arena_destroy(samples->arena);
    ldnq_free(samples);
}

/* ---- what is asked about a set -------------------------------------------------- */

size_t ldnq_samples_count(const struct ldnq_samples *samples)
{
    return samples->count;
}

const char *ldnq_samples_file(const struct ldnq_samples *samples, size_t index)
{
    const size_t item = index / samples->input_count, input = index % samples->input_count;
    return item < samples->item_count ? samples->source->path(samples, item, input) : NULL;
}

int64_t ldnq_samples_label(const struct ldnq_samples *samples, size_t sample)
{
    assert(sample < samples->count);
    return samples->has_labels ? samples->source->label(samples, samples->items[sample]) : -1;
}

const char *ldnq_samples_name(const struct ldnq_samples *samples, size_t sample)
{
    assert(sample < samples->count);
    return samples->names[sample];
}

bool ldnq_samples_differ_in_shape(const struct ldnq_samples *samples)
{
    return samples->shapes_differ;
}

bool ldnq_samples_can_stack(const struct ldnq_samples *samples)
{
    for (size_t i = 0; i < samples->input_count; i++)
        if (!samples->inputs[i].batched)
            return false;
    return true;
}
