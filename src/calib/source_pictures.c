/* SPDX-License-Identifier: Apache-2.0 */
/* source_pictures.c: one picture, or a folder of them: flat, in class folders, or
 * labelled by labels.csv. */
#include "calib/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "calib/folder.h"
#include "calib/preprocess.h"
#include "base/growing_list.h"

struct picture_item {
    const char *path;
    const char *key; /* "x.png" or "cat/x.png", as in labels.csv */
    int64_t label;
    struct picture_facts {
        size_t width, height; /* 0: it was not decoded yet */
        unsigned orientation;
    } facts;
};

struct picture_source {
    size_t channels;
    size_t stack; /* pictures of one sample: 1, or the batch that the model fixes */
    struct ldnq_preprocess preprocess; /* the options', for the input's size */
    struct ldnq_picture_layout layout;
    size_t count, capacity;
    struct picture_item *list;
    const char *flat, *in_folder; /* first path of each kind, or NULL */
};

static bool is_readable(const unsigned char *magic, size_t size)
{
    const char *library;
    return ldnq_is_picture_data(magic, size, &library);
}

/* Includes kinds that can't be decoded, so that they are refused and not skipped. */
static bool has_picture_extension(const char *name)
{
    static const char *const extensions[] = {
        ".png", ".jpg",  ".jpeg", ".jpe", ".jfif", ".bmp",  ".gif",  ".webp",
        ".tif", ".tiff", ".ppm",  ".pgm", ".pnm",  ".heic", ".avif", ".jp2",
    };
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if (ldnq_name_ends(name, extensions[i]))
            return true;
    return false;
}

bool ldnq_is_picture(const char *name, const char *path)
{
    unsigned char magic[LDNQ_FORMAT_PREFIX];
    size_t size;
    if (strchr(name, '.'))
        return has_picture_extension(name);
    return ldnq_file_read_prefix(path, magic, sizeof magic, &size, NULL) == LDNQ_OK &&
           is_readable(magic, size);
}

static bool detect_pictures(const struct ldnq_probe *probe)
{
    return probe->is_folder
               ? probe->holds_pictures
               : is_readable(probe->magic, probe->magic_size) || has_picture_extension(probe->path);
}

/* ---- the list -------------------------------------------------------------------- */

/* Whether the file should be a picture that can be read, and is one damaged file of many. */
static bool may_be_left_out(const struct ldnq_samples *samples, const char *path)
{
    static const char *const extensions[] = { ".png",  ".jpg",  ".jpeg", ".jpe",
                                              ".jfif", ".webp", ".tif",  ".tiff" };
    for (size_t i = 0; !samples->options.is_strict && i < sizeof extensions / sizeof *extensions;
         i++)
        if (ldnq_name_ends(path, extensions[i]))
            return true;
    return false;
}

static enum ldnq_status append_picture(struct ldnq_samples *samples, const char *path,
                                       const char *key, int64_t label, struct ldnq_error *err)
{
    struct picture_source *pictures = samples->state;
    unsigned char magic[LDNQ_FORMAT_PREFIX];
    size_t size;
    LDNQ_TRY(ldnq_file_read_prefix(path, magic, sizeof magic, &size, err));
    const char *format = ldnq_describe_text_format(magic, size), *library;
    const bool is_known = ldnq_is_picture_data(magic, size, &library);
    if (library)
        return ldnq_fail(err, LDNQ_DATA, "%s: ldnq was built without %s", path, library);
    if (!is_known && !may_be_left_out(samples, path))
        return ldnq_fail(err, LDNQ_DATA, "%s: %s", path,
                         format ? format
                         : size ? LDNQ_NO_PICTURE
                                : "is empty");
    LDNQ_TRY(ldnq_list_reserve(samples->arena, &pictures->list, pictures->count,
                               &pictures->capacity, sizeof *pictures->list, err));
    pictures->list[pictures->count++] =
        (struct picture_item){ .path = path, .key = key, .label = label };
    const char **kind = label < 0 ? &pictures->flat : &pictures->in_folder;
    if (!*kind)
        *kind = path;
    return LDNQ_OK;
}

/* Adds a folder's pictures with this label; -1 for the folder given by the user. */
static enum ldnq_status add_folder(struct ldnq_samples *samples, const struct ldnq_folder *folder,
                                   const char *class, int64_t label, struct ldnq_error *err)
{
    for (size_t i = 0; i < folder->count; i++) {
        const struct ldnq_entry *entry = &folder->entries[i];
        if (entry->is_folder || !ldnq_is_picture(entry->name, entry->path))
            continue;
        const char *key = entry->name;
        if (label >= 0)
            key = ldnq_arena_printf(samples->arena, err, "%s/%s", class, entry->name);
        if (!key)
            return LDNQ_NOMEM;
        LDNQ_TRY(append_picture(samples, entry->path, key, label, err));
    }
    return LDNQ_OK;
}

/* A class folder without pictures keeps its number. */
static enum ldnq_status add_class_folders(struct ldnq_samples *samples, const char **labels_path,
                                          struct ldnq_error *err)
{
    struct ldnq_folder top, inner;
    int64_t class = 0;
    *labels_path = NULL;
    LDNQ_TRY(ldnq_folder_list(samples->path, samples->arena, &top, err));
    LDNQ_TRY(add_folder(samples, &top, NULL, -1, err));
    for (size_t i = 0; i < top.count; i++) {
        const struct ldnq_entry *entry = &top.entries[i];
        if (!entry->is_folder && strcmp(entry->name, "labels.csv") == 0)
            *labels_path = entry->path;
        if (!entry->is_folder)
            continue;
        LDNQ_TRY(ldnq_folder_list(entry->path, samples->arena, &inner, err));
        LDNQ_TRY(add_folder(samples, &inner, entry->name, class ++, err));
    }
    return LDNQ_OK;
}

/* ---- classes --------------------------------------------------------------------- */

static int compare_label_file_names(const void *key, const void *label)
{
    return strcmp(key, ((const struct ldnq_label *)label)->file);
}

static enum ldnq_status refuse_unknown_files(const char *path, const struct ldnq_labels *labels,
                                             struct ldnq_error *err)
{
    const struct ldnq_label *unknown = NULL;
    for (size_t i = 0; i < labels->count; i++) {
        const struct ldnq_label *label = &labels->list[i];
        if (!label->used && (!unknown || label->line < unknown->line))
            unknown = label;
    }
    if (!unknown)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA, "%s:%zu: there is no picture '%s' in the folder", path,
                     unknown->line, unknown->file);
}

static enum ldnq_status apply_labels(struct ldnq_samples *samples, const char *path,
                                     struct ldnq_error *err)
{
    struct picture_source *pictures = samples->state;
    struct ldnq_labels labels;
    const char *missing = NULL;
    LDNQ_TRY(ldnq_labels_read(path, samples->arena, &labels, err));
    for (size_t i = 0; i < pictures->count; i++) {
        struct picture_item *picture = &pictures->list[i];
        struct ldnq_label *label = NULL;
        if (labels.count)
            label = bsearch(picture->key, labels.list, labels.count, sizeof *label,
                            compare_label_file_names);
        if (!label) {
            missing = missing ? missing : picture->path;
            continue;
        }
        picture->label = label->class;
        label->used = true;
    }
    LDNQ_TRY(refuse_unknown_files(path, &labels, err));
    return missing ? ldnq_fail(err, LDNQ_DATA, "%s: has no line in %s", missing, path) : LDNQ_OK;
}

static enum ldnq_status set_labels(struct ldnq_samples *samples, const char *labels_path,
                                   struct ldnq_error *err)
{
    struct picture_source *pictures = samples->state;
    if (labels_path) {
        samples->has_labels = samples->options.need_labels;
        return samples->has_labels ? apply_labels(samples, labels_path, err) : LDNQ_OK;
    }
    if (pictures->flat && pictures->in_folder)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: holds pictures in folders ('%s') and beside them ('%s'); only "
                         "labels.csv can tell what that means",
                         samples->path, pictures->in_folder, pictures->flat);
    samples->has_labels = pictures->in_folder != NULL;
    return LDNQ_OK;
}

/* ---- the source ------------------------------------------------------------------ */

static bool is_channel_count(int64_t dim)
{
    return dim == 1 || dim == 3;
}

/* Finds the input's channels: axis 1, or the last one in models from TensorFlow. RGB where the
 * model declares no number. */
static enum ldnq_status choose_layout(const struct ldnq_samples *samples,
                                      struct picture_source *pictures, struct ldnq_error *err)
{
    const struct ldnq_input *input = &samples->inputs[0];
    const struct ldnq_shape *shape = &input->shape;
    if (samples->input_count != 1)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: holds pictures, but the model has %zu inputs; give a .npz file or "
                         "folders of .pb files",
                         samples->path, samples->input_count);
    const bool has_axes = shape->rank == 4;
    const bool is_last =
        has_axes && !is_channel_count(shape->dim[1]) && is_channel_count(shape->dim[3]);
    const int64_t channels = has_axes ? shape->dim[is_last ? 3 : 1] : -1;
    pictures->channels = channels == 1 ? 1 : 3;
    pictures->layout = (struct ldnq_picture_layout){ .channels_last = is_last,
                                                     .is_bytes = input->dtype == LDNQ_UINT8 };
    pictures->preprocess = samples->options.preprocess;
    if (has_axes)
        ldnq_preprocess_fit_input(&pictures->preprocess, shape->dim[is_last ? 2 : 3],
                                  shape->dim[is_last ? 1 : 2], pictures->layout.is_bytes);
    else
        ldnq_preprocess_fit_input(&pictures->preprocess, 0, 0, pictures->layout.is_bytes);
    if (pictures->preprocess.is_letterboxed && !pictures->preprocess.width)
        return ldnq_fail(err, LDNQ_USAGE,
                         "a letterbox needs a size, as the size of input '%s' is open, %s",
                         input->name, input->shape_text);
    const bool is_float =
        input->dtype == LDNQ_FLOAT || input->dtype == LDNQ_FLOAT16 || input->dtype == LDNQ_BFLOAT16;
    const bool is_fixed = !input->batched && has_axes && shape->dim[0] > 1;
    pictures->stack = is_fixed ? (size_t)shape->dim[0] : 1;
    if ((input->batched || is_fixed) && (is_channel_count(channels) || channels < 0) &&
        (has_axes || shape->rank == LDNQ_RANK_UNKNOWN) && (is_float || pictures->layout.is_bytes))
        return LDNQ_OK;
    return ldnq_fail(
        err, LDNQ_DATA,
        "%s: holds pictures, but input '%s' is %s %s; they need (N,C,H,W) or (N,H,W,C) "
        "with 1 or 3 channels, of float32 or uint8. Give arrays (.npy) of its shape",
        samples->path, input->name, input->shape_text, ldnq_dtype_name(input->dtype));
}

/* A model with a fixed batch takes several pictures as one sample, which has no class. */
static enum ldnq_status count_stacks(struct ldnq_samples *samples,
                                     const struct picture_source *pictures, struct ldnq_error *err)
{
    const size_t rest = pictures->count % pictures->stack;
    samples->item_count = pictures->count / pictures->stack;
    samples->has_labels &= pictures->stack == 1;
    if (samples->item_count == 0 && pictures->count > 0)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: holds %zu pictures where input '%s' takes %zu at a time",
                         samples->path, pictures->count, samples->inputs[0].name, pictures->stack);
    if (rest > 0)
        ldnq_sink_warn(
            samples->options.sink,
            "%s: the last %zu of %zu pictures are left out, as input '%s' takes %zu at a "
            "time",
            samples->path, rest, pictures->count, samples->inputs[0].name, pictures->stack);
    return LDNQ_OK;
}

static enum ldnq_status open_pictures(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const char *labels_path = NULL;
    struct picture_source *pictures = ldnq_arena_alloc(samples->arena, 1, sizeof *pictures, err);
    samples->state = pictures;
    if (!pictures)
        return LDNQ_NOMEM;
    LDNQ_TRY(choose_layout(samples, pictures, err));
    LDNQ_TRY(ldnq_preprocess_check(&pictures->preprocess, pictures->channels, err));
    if (ldnq_is_folder_or_pattern(samples->path))
        LDNQ_TRY(add_class_folders(samples, &labels_path, err));
    else
        LDNQ_TRY(append_picture(samples, samples->path, samples->path, -1, err));
    LDNQ_TRY(set_labels(samples, labels_path, err));
    return count_stacks(samples, pictures, err);
}

/* The first picture of the item. */
static struct picture_item *find_picture(const struct ldnq_samples *samples, size_t item)
{
    const struct picture_source *pictures = samples->state;
    return &pictures->list[item * pictures->stack];
}

static const char *make_picture_sample_name(struct ldnq_samples *samples, size_t item,
                                            struct ldnq_error *err)
{
    (void)err;
    return find_picture(samples, item)->path;
}

static const char *find_picture_sample_path(const struct ldnq_samples *samples, size_t item,
                                            size_t input)
{
    (void)input;
    return find_picture(samples, item)->path;
}

/* Of several pictures, the one that was changed last. */
static enum ldnq_sample_storage examine_picture(const struct ldnq_samples *samples, size_t item,
                                                size_t input, struct stat *info)
{
    const struct picture_source *pictures = samples->state;
    const struct picture_item *first = find_picture(samples, item);
    (void)input;
    for (size_t i = 0; i < pictures->stack; i++) {
        struct stat found;
        if (stat(first[i].path, &found) != 0)
            return LDNQ_SAMPLE_VANISHED;
        if (i == 0 || found.st_mtim.tv_sec > info->st_mtim.tv_sec ||
            (found.st_mtim.tv_sec == info->st_mtim.tv_sec &&
             found.st_mtim.tv_nsec > info->st_mtim.tv_nsec))
            *info = found;
    }
    return LDNQ_SAMPLE_READ_AGAIN;
}

static int64_t find_picture_sample_label(const struct ldnq_samples *samples, size_t item)
{
    return find_picture(samples, item)->label;
}

static enum ldnq_status read_one_picture(const struct picture_source *pictures, const char *path,
                                         struct ldnq_arena *arena, struct ldnq_tensor **out,
                                         struct ldnq_error *err)
{
    struct ldnq_picture picture;
    LDNQ_TRY(ldnq_picture_read(path, pictures->channels, arena, &picture, err));
    return ldnq_preprocess_run(&pictures->preprocess, path, &picture, &pictures->layout, arena, out,
                               err);
}

/* Several pictures of one size as one tensor, with an axis for them. */
static enum ldnq_status read_stack(const struct picture_source *pictures,
                                   const struct picture_item *first, struct ldnq_arena *arena,
                                   struct ldnq_tensor **out, struct ldnq_error *err)
{
    struct ldnq_shape shape = { 4, { (int64_t)pictures->stack } };
    for (size_t i = 0; i < pictures->stack; i++) {
        struct ldnq_tensor *one;
        size_t bytes = 0;
        LDNQ_TRY(read_one_picture(pictures, first[i].path, arena, &one, err));
        if (i == 0) {
            memcpy(shape.dim + 1, one->shape.dim, 3 * sizeof *shape.dim);
            LDNQ_TRY(ldnq_tensor_create(arena, one->dtype, &shape, out, err));
        }
        if (memcmp(shape.dim + 1, one->shape.dim, 3 * sizeof *shape.dim) != 0)
            return ldnq_fail(err, LDNQ_DATA,
                             "%s: has another size than %s, and both are in one batch; use the "
                             "options resize and crop",
                             first[i].path, first->path);
        ldnq_tensor_bytes(one, &bytes); /* a tensor that exists */
        memcpy((char *)(*out)->data + i * bytes, one->data, bytes);
    }
    return LDNQ_OK;
}

static enum ldnq_status read_picture(const struct ldnq_samples *samples, size_t item, size_t input,
                                     struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                     struct ldnq_error *err)
{
    const struct picture_source *pictures = samples->state;
    const struct picture_item *first = find_picture(samples, item);
    struct ldnq_tensor *tensor;
    (void)input;
    LDNQ_TRY(pictures->stack == 1 ? read_one_picture(pictures, first->path, arena, &tensor, err)
                                  : read_stack(pictures, first, arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status check_one_picture(const struct picture_source *pictures,
                                          struct picture_item *found, struct ldnq_error *err)
{
    struct ldnq_picture picture;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status =
        ldnq_picture_read(found->path, pictures->channels, arena, &picture, err);
    if (status == LDNQ_OK)
        found->facts = (struct picture_facts){ picture.width, picture.height, picture.orientation };
    ldnq_arena_destroy(arena);
    return status;
}

static enum ldnq_status check_picture(const struct ldnq_samples *samples, size_t item,
                                      struct ldnq_error *err)
{
    const struct picture_source *pictures = samples->state;
    for (size_t i = 0; i < pictures->stack; i++)
        LDNQ_TRY(check_one_picture(pictures, find_picture(samples, item) + i, err));
    return LDNQ_OK;
}

static void warn_of_rotation(const struct ldnq_samples *samples)
{
    const struct picture_source *pictures = samples->state;
    size_t turned = 0;
    for (size_t i = 0; i < samples->count * pictures->stack; i++)
        turned += find_picture(samples, samples->items[i / pictures->stack])[i % pictures->stack]
                      .facts.orientation > 1;
    if (turned > 0 && !pictures->preprocess.is_rotated)
        ldnq_sink_warn(
            samples->options.sink,
            "%zu of %zu pictures are to be turned by their EXIF data, which is not done, "
            "as by most training code; set the option exif to rotate to turn them",
            turned, samples->count * pictures->stack);
}

/* Whether the sizes of the pictures decide the tensors' shapes. Where the model decides, reading
 * refuses what does not fit. */
static bool sizes_are_open(const struct ldnq_samples *samples)
{
    const struct picture_source *pictures = samples->state;
    const struct ldnq_shape *shape = &samples->inputs[0].shape;
    const int height = pictures->layout.channels_last ? 1 : 2;
    return shape->rank != 4 || shape->dim[height] < 0 || shape->dim[height + 1] < 0;
}

static enum ldnq_status find_picture_shape(const struct ldnq_samples *samples, size_t item,
                                           size_t input, struct ldnq_shape *shape,
                                           struct ldnq_error *err)
{
    const struct picture_source *pictures = samples->state;
    const struct picture_item *picture = find_picture(samples, item);
    *shape = samples->inputs[input].row;
    if (!sizes_are_open(samples) || pictures->stack > 1)
        return LDNQ_OK;
    if (picture->facts.width == 0)
        LDNQ_TRY(check_picture(samples, item, err));
    const bool is_turned = pictures->preprocess.is_rotated && picture->facts.orientation >= 5;
    size_t width = is_turned ? picture->facts.height : picture->facts.width;
    size_t height = is_turned ? picture->facts.width : picture->facts.height;
    LDNQ_TRY(ldnq_preprocess_find_size(&pictures->preprocess, &width, &height, err));
    const int64_t h = (int64_t)height, w = (int64_t)width, c = (int64_t)pictures->channels;
    *shape = pictures->layout.channels_last ? (struct ldnq_shape){ 3, { h, w, c } }
                                            : (struct ldnq_shape){ 3, { c, h, w } };
    return LDNQ_OK;
}

static enum ldnq_status hash_picture_files(const struct ldnq_samples *samples, size_t item,
                                           struct ldnq_arena *arena, XXH3_state_t *state,
                                           struct ldnq_error *err)
{
    const struct picture_source *pictures = samples->state;
    for (size_t i = 0; i < pictures->stack; i++)
        LDNQ_TRY(ldnq_hash_file(find_picture(samples, item)[i].path, arena, state, err));
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_pictures = {
    .stage = " after preprocessing",
    .advice = "; use the options resize and crop",
    .detect = detect_pictures,
    .open = open_pictures,
    .name = make_picture_sample_name,
    .label = find_picture_sample_label,
    .path = find_picture_sample_path,
    .examine = examine_picture,
    .read = read_picture,
    .shape = find_picture_shape,
    .check = check_picture,
    .warn = warn_of_rotation,
    .hash = hash_picture_files,
};
