/* SPDX-License-Identifier: Apache-2.0 */
/* source.h: the interface of a source of samples. A source is one record in the table
 * in samples.c: a new kind of data is one file, one line there, one test.
 *
 * An item is a sample before the draw: the set maps its samples to items.
 */
#ifndef LDNQ_CALIB_SOURCE_H
#define LDNQ_CALIB_SOURCE_H

#include "base/file_format.h"
#include <sys/stat.h>

#include "calib/calib.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

/* The facts about a path before it is opened: the input of detect. */
struct ldnq_probe {
    const char *path;
    bool is_folder;
    size_t magic_size; /* bytes in `magic`, the first ones of a file */
    unsigned char magic[LDNQ_FORMAT_PREFIX];
    /* Kinds of files in a folder, or of those that a pattern matches, and one level down. */
    bool holds_pictures, holds_protos, holds_arrays;
};

/* One of the model's inputs, copied from the graph. */
struct ldnq_input {
    const char *name;
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    const char *shape_text; /* `shape` as text, with the symbols' names */
    bool batched;           /* dimension 0 is the batch */
    struct ldnq_shape row;  /* shape of one sample, without the batch */
};

/* A file as it was when its sample was hashed. */
struct ldnq_sample_stamp {
    bool is_known; /* false where the source holds the data itself */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

/* The positions of a sample that its mask lets count. */
struct ldnq_sample_extent {
    size_t rows, of;         /* the mask has rows * of elements, without those of a cache */
    size_t count;            /* of them that are unmasked */
    const size_t *positions; /* (count) which those are, ascending; NULL: all */
};

struct ldnq_sample_mask {
    size_t input;                       /* index of the mask */
    struct ldnq_sample_extent *extents; /* (count of samples) NULL: no sample is padded */
    bool is_additive;                   /* 0 at positions that count, below 0 at masked ones */
    bool is_cut; /* padding is cut off the samples; else positions are left out where they count */
};

struct ldnq_samples {
    struct ldnq_arena *arena; /* memory of all members below and of the source's state */
    struct ldnq_samples_options options;
    const char *path;         /* the first of `paths`; for messages */
    const char *const *paths; /* (path_count) the caller's, as `graph`; read by open alone */
    size_t path_count;
    const struct ldnq_graph *graph;
    size_t input_count;
    struct ldnq_input *inputs;
    const struct ldnq_source *source;
    const struct ldnq_samples_memory *memory; /* NULL for samples in files */
    void *state;                              /* the source's own */
    size_t item_count;                        /* set by the source's open */
    bool has_labels;                          /* set by the source's open too */
    bool are_pictures;
    size_t count;              /* samples in the set: the items that were drawn */
    size_t *items;             /* (count) */
    const char **names;        /* (count) */
    const char *shape_name;    /* name of the sample that fixed the inputs' shapes */
    bool shapes_differ;        /* samples have shapes of their own: inputs' rows are the first's */
    bool has_warned_of_array;  /* a warning has named an array that no input reads */
    bool has_warned_of_shared; /* and of one that goes with many samples */
    struct ldnq_sample_mask mask;
    const char *single_reason; /* why one run takes one sample; NULL: no reason */
    /* Set by ldnq_samples_hash. */
    struct ldnq_sample_stamp *stamps; /* (count, inputs) */
    uint64_t *hashes;                 /* (count) of samples that are read again for each use */
};

/* The storage of a sample when it is read. */
enum ldnq_sample_storage {
    LDNQ_SAMPLE_HELD,       /* it is in memory, or in a temporary file of the set */
    LDNQ_SAMPLE_READ_AGAIN, /* it is in the user's file, which is read for each use */
    LDNQ_SAMPLE_VANISHED,   /* the user's file is gone or can't be examined */
};

struct ldnq_source {
    const char *stage;  /* appended to a sample's shape in messages: " after preprocessing" */
    const char *advice; /* what to do when a sample does not fit, or "" */
    bool (*detect)(const struct ldnq_probe *probe); /* NULL for samples in memory */
    /* Sets state, item_count, has_labels. After a failure close is called too, with
     * state NULL when open did not get to set it. */
    enum ldnq_status (*open)(struct ldnq_samples *samples, struct ldnq_error *err);
    void (*close)(struct ldnq_samples *samples); /* may be NULL */
    /* The item's name for messages, in the set's arena. NULL with NOMEM in err. */
    const char *(*name)(struct ldnq_samples *samples, size_t item, struct ldnq_error *err);
    int64_t (*label)(const struct ldnq_samples *samples, size_t item); /* if has_labels */
    /* Examines the file that a read would read. NULL where the set holds all data. */
    enum ldnq_sample_storage (*examine)(const struct ldnq_samples *samples, size_t item,
                                        size_t input, struct stat *info);
    /* The file with this input of the item; NULL for samples in memory. */
    const char *(*path)(const struct ldnq_samples *samples, size_t item, size_t input);
    /* Reads one input of one item, without the batch axis, with the type and shape of
     * the data. Called from many threads at once. */
    enum ldnq_status (*read)(const struct ldnq_samples *samples, size_t item, size_t input,
                             struct ldnq_arena *arena, const struct ldnq_tensor **out,
                             struct ldnq_error *err);
    /* The shape that `read` would return. NULL where all items have one shape. */
    enum ldnq_status (*shape)(const struct ldnq_samples *samples, size_t item, size_t input,
                              struct ldnq_shape *shape, struct ldnq_error *err);
    /* Decodes the item, to learn early whether that works. Called from many threads at once. NULL
     * where opening tells. */
    enum ldnq_status (*check)(const struct ldnq_samples *samples, size_t item,
                              struct ldnq_error *err);
    /* Called once after all checks, with the samples that are left; may be NULL. */
    void (*warn)(const struct ldnq_samples *samples);
    /* Adds the item's content to the hash. `arena` lives as long as the call. */
    enum ldnq_status (*hash)(const struct ldnq_samples *samples, size_t item,
                             struct ldnq_arena *arena, XXH3_state_t *state, struct ldnq_error *err);
};

extern const struct ldnq_source ldnq_source_pictures, ldnq_source_npy, ldnq_source_npz,
    ldnq_source_array_files, ldnq_source_protos, ldnq_source_joined, ldnq_source_memory,
    ldnq_source_reader;

/* Reads the first sample, fixes each input's row shape by it, and finds out whether others have
 * other shapes. Errors: those of reading, DATA, NOMEM. */
enum ldnq_status ldnq_samples_find_shapes(struct ldnq_samples *samples, struct ldnq_error *err);

/* Leaves out drawn samples that can't be decoded, with a warning, unless the options are strict.
 * Errors: DATA (none is left), IO, NOMEM. */
enum ldnq_status ldnq_samples_drop_damaged(struct ldnq_samples *samples, struct ldnq_error *err);

/* ---- for the sources' files --------------------------------------------------- */

/* Interprets an array as samples of an input: `rows` samples of shape `row`. Errors:
 * DATA (an array that does not fit; its name and both shapes). */
enum ldnq_status ldnq_input_match_array(const struct ldnq_input *input, const char *name,
                                        const struct ldnq_shape *array, size_t *rows,
                                        struct ldnq_shape *row, struct ldnq_error *err);

/* Whether the input accepts a sample of this shape, without the batch axis. */
bool ldnq_input_accepts_shape(const struct ldnq_input *input, const struct ldnq_shape *row);

/* Whether a sample of this shape takes bytes. If none does, nothing in the file bounds how many
 * samples its shape announces. */
bool ldnq_sample_has_elements(const struct ldnq_shape *shape);

/* Refuses a sample that is not any more what ldnq_samples_hash has hashed; accepts all before
 * that. Errors: IO (it has vanished), DATA (it has changed). */
enum ldnq_status ldnq_samples_check_unchanged(const struct ldnq_samples *samples, size_t sample,
                                              size_t input, struct ldnq_error *err);

/* Adds a tensor's type, shape and data to the hash. */
void ldnq_hash_tensor(XXH3_state_t *state, const struct ldnq_tensor *tensor);

/* Adds the length and the bytes, so that the boundaries of contents count. */
void ldnq_hash_bytes(XXH3_state_t *state, const void *bytes, size_t size);
enum ldnq_status ldnq_hash_file(const char *path, struct ldnq_arena *arena, XXH3_state_t *state,
                                struct ldnq_error *err);

/* Whether a file is a picture, by its extension; a file without one is opened. */
bool ldnq_is_picture(const char *name, const char *path);

/* ---- labels.csv ------------------------------------------------------------------ */

struct ldnq_label {
    const char *file;
    int64_t class;
    size_t line;
    bool used; /* a mark for the caller's use */
};

struct ldnq_labels {
    size_t count, capacity;
    struct ldnq_label *list; /* sorted by file; no file twice */
};

/* Reads a CSV whose first line is "file,class"; each line after it has the name of a file and the
 * number of its class. Errors: IO, DATA (with the line), NOMEM. */
enum ldnq_status ldnq_labels_read(const char *path, struct ldnq_arena *arena,
                                  struct ldnq_labels *out, struct ldnq_error *err);

#endif
