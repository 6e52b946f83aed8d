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
};

struct picture_source {
    size_t channels;
    size_t count, capacity;
    struct picture_item *list;
    const char *flat, *in_folder; /* first path of each kind, or NULL */
};

static bool is_readable(const unsigned char *magic, size_t size)
{
    return ldnq_is_png_data(magic, size) || ldnq_is_jpeg_data(magic, size);
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

static enum ldnq_status append_picture(struct ldnq_samples *samples, const char *path,
                                       const char *key, int64_t label, struct ldnq_error *err)
{
    struct picture_source *pictures = samples->state;
    unsigned char magic[LDNQ_FORMAT_PREFIX];
    size_t size;
    LDNQ_TRY(ldnq_file_read_prefix(path, magic, sizeof magic, &size, err));
    const char *format = ldnq_describe_text_format(magic, size);
    if (!is_readable(magic, size))
        return ldnq_fail(err, LDNQ_DATA, "%s: %s", path,
                         format ? format
                         : size ? "is neither PNG nor JPEG"
                                : "is empty");
    LDNQ_TRY(ldnq_list_reserve(samples->arena, &pictures->list, pictures->count,
                               &pictures->capacity, sizeof *pictures->list, err));
    pictures->list[pictures->count++] = (struct picture_item){ path, key, label };
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

static enum ldnq_status choose_channels(const struct ldnq_samples *samples, size_t *channels,
                                        struct ldnq_error *err)
{
    const struct ldnq_input *input = &samples->inputs[0];
    if (samples->input_count != 1)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: holds pictures, but the model has %zu inputs; give a .npz file or "
                         "folders of .pb files",
                         samples->path, samples->input_count);
    int64_t wanted = input->shape.rank == 4 ? input->shape.dim[1] : 0;
    *channels = wanted == 1 ? 1 : 3; /* RGB where the model declares no number */
    if (input->batched && (wanted == 1 || wanted == 3 || wanted < 0) && input->dtype == LDNQ_FLOAT)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_DATA,
                     "%s: holds pictures, but input '%s' is %s %s; they need (N,1,H,W) or "
                     "(N,3,H,W) float32",
                     samples->path, input->name, input->shape_text, ldnq_dtype_name(input->dtype));
}

static enum ldnq_status open_pictures(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const char *labels_path = NULL;
    struct picture_source *pictures = ldnq_arena_alloc(samples->arena, 1, sizeof *pictures, err);
    samples->state = pictures;
    if (!pictures)
        return LDNQ_NOMEM;
    LDNQ_TRY(choose_channels(samples, &pictures->channels, err));
    LDNQ_TRY(ldnq_preprocess_check(&samples->options.preprocess, pictures->channels, err));
    if (ldnq_is_folder_or_pattern(samples->path))
        LDNQ_TRY(add_class_folders(samples, &labels_path, err));
    else
        LDNQ_TRY(append_picture(samples, samples->path, samples->path, -1, err));
    samples->item_count = pictures->count;
    return set_labels(samples, labels_path, err);
}

static const struct picture_item *find_picture(const struct ldnq_samples *samples, size_t item)
{
    return &((const struct picture_source *)samples->state)->list[item];
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

static enum ldnq_sample_storage examine_picture(const struct ldnq_samples *samples, size_t item,
                                                size_t input, struct stat *info)
{
    (void)input;
    return stat(find_picture(samples, item)->path, info) == 0 ? LDNQ_SAMPLE_READ_AGAIN
                                                              : LDNQ_SAMPLE_VANISHED;
}

static int64_t find_picture_sample_label(const struct ldnq_samples *samples, size_t item)
{
    return find_picture(samples, item)->label;
}

static enum ldnq_status read_picture(const struct ldnq_samples *samples, size_t item, size_t input,
                                     struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                     struct ldnq_error *err)
{
    const char *path = find_picture(samples, item)->path;
    size_t channels = ((const struct picture_source *)samples->state)->channels;
    struct ldnq_picture picture;
    struct ldnq_tensor *tensor;
    (void)input;
    LDNQ_TRY(ldnq_picture_read(path, channels, arena, &picture, err));
    LDNQ_TRY(
        ldnq_preprocess_run(&samples->options.preprocess, path, &picture, arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

/* Whether the sizes of the pictures decide the tensors' shapes. */
static bool sizes_are_open(const struct ldnq_samples *samples)
{
    const struct ldnq_shape *shape = &samples->inputs[0].shape;
    return samples->options.preprocess.crop == 0 &&
           (shape->rank != 4 || shape->dim[2] < 0 || shape->dim[3] < 0);
}

static enum ldnq_status find_picture_shape(const struct ldnq_samples *samples, size_t item,
                                           size_t input, struct ldnq_shape *shape,
                                           struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    const struct ldnq_tensor *tensor;
    *shape = samples->inputs[input].row;
    if (!sizes_are_open(samples))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    const enum ldnq_status status = read_picture(samples, item, input, scratch, &tensor, err);
    if (status == LDNQ_OK)
        *shape = tensor->shape;
    ldnq_arena_destroy(scratch);
    return status;
}

static enum ldnq_status hash_picture(const struct ldnq_samples *samples, size_t item,
                                     struct ldnq_arena *arena, XXH3_state_t *state,
                                     struct ldnq_error *err)
{
    return ldnq_hash_file(find_picture(samples, item)->path, arena, state, err);
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
    .hash = hash_picture,
};
