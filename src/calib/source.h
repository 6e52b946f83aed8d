/* source.h: where samples come from. A source is one record in a table
 * (samples.c): a new kind of data is one file, one line there, one test.
 *
 * An item is a sample before the draw: the set maps its samples to items.
 */
#ifndef LDNQ_CALIB_SOURCE_H
#define LDNQ_CALIB_SOURCE_H

#include "calib/calib.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

/* What a path is, as far as a look at it tells. */
struct ldnq_probe {
    const char *path;
    bool is_folder;
    size_t magic_size; /* of a file: its first bytes */
    unsigned char magic[8];
    bool holds_pictures, holds_protos; /* a folder, in itself or one level down */
};

/* One of the model's inputs, copied from the graph. */
struct ldnq_input {
    const char *name;
    enum ldnq_dtype dtype;
    struct ldnq_shape shape;
    const char *shape_text; /* with the symbols' names */
    bool batched;           /* dimension 0 is the batch */
    struct ldnq_shape row;  /* of one sample, without the batch: the first sample's */
};

struct ldnq_samples {
    struct ldnq_arena *arena; /* all below, and the source's state */
    struct ldnq_samples_options options;
    const char *path;
    size_t input_count;
    struct ldnq_input *inputs;
    const struct ldnq_source *source;
    const struct ldnq_samples_memory *memory; /* NULL for samples in files */
    void *state;                              /* the source's own */
    size_t item_count;                        /* set by the source's open */
    bool has_labels;                          /* the same */
    size_t count;                             /* of samples after the draw */
    size_t *items;                            /* (count) */
    const char **names;                       /* (count) */
};

struct ldnq_source {
    const char *stage;  /* in a message, behind a sample's shape: " after preprocessing" */
    const char *advice; /* what to do when a sample does not fit, or "" */
    bool (*detect)(const struct ldnq_probe *probe); /* NULL for samples in memory */
    /* Sets state, item_count, has_labels. What it opened before it failed is closed
     * by close, which sees state NULL when it was not set. */
    enum ldnq_status (*open)(struct ldnq_samples *samples, struct ldnq_error *err);
    void (*close)(struct ldnq_samples *samples); /* may be NULL */
    /* For messages; in the set's arena. NULL with NOMEM in err. */
    const char *(*name)(struct ldnq_samples *samples, size_t item, struct ldnq_error *err);
    int64_t (*label)(const struct ldnq_samples *samples, size_t item); /* if has_labels */
    /* One input of one item, of any type and of the shape that the data have,
     * without the batch. Called from many threads at once. */
    enum ldnq_status (*read)(const struct ldnq_samples *samples, size_t item, size_t input,
                             struct ldnq_arena *arena, const struct ldnq_tensor **out,
                             struct ldnq_error *err);
    /* Adds the item's content. `arena` is for this call. */
    enum ldnq_status (*hash)(const struct ldnq_samples *samples, size_t item,
                             struct ldnq_arena *arena, XXH3_state_t *state, struct ldnq_error *err);
};

extern const struct ldnq_source ldnq_source_pictures, ldnq_source_npy, ldnq_source_npz,
    ldnq_source_protos, ldnq_source_memory, ldnq_source_reader;

/* Reads the first sample and keeps the shapes that it has. */
enum ldnq_status ldnq_samples_settle(struct ldnq_samples *samples, struct ldnq_error *err);

/* ---- for the sources' files --------------------------------------------------- */

/* How an array's axes serve an input: `rows` samples of shape `row`. Errors: DATA
 * (an array that does not fit; its name and both shapes). */
enum ldnq_status ldnq_input_fit(const struct ldnq_input *input, const char *name,
                                const struct ldnq_shape *array, size_t *rows,
                                struct ldnq_shape *row, struct ldnq_error *err);

/* Whether a sample of this shape, without the batch, is one of the input's. */
bool ldnq_input_takes(const struct ldnq_input *input, const struct ldnq_shape *row);

/* Adds what a sample's array is made of: its type, shape and data. */
void ldnq_hash_tensor(XXH3_state_t *state, const struct ldnq_tensor *tensor);

/* Adds a length and as many bytes, so that contents can't run into each other. */
void ldnq_hash_bytes(XXH3_state_t *state, const void *bytes, size_t size);
enum ldnq_status ldnq_hash_file(const char *path, struct ldnq_arena *arena, XXH3_state_t *state,
                                struct ldnq_error *err);

/* Whether a name is that of a picture; one without an extension is opened to see. */
bool ldnq_is_picture(const char *name, const char *path);

/* ---- labels.csv ------------------------------------------------------------------ */

struct ldnq_label {
    const char *file;
    int64_t class;
    size_t line;
    bool used; /* left to the caller */
};

struct ldnq_labels {
    size_t count, capacity;
    struct ldnq_label *list; /* by file; no file twice */
};

/* Lines file,class under that header. Errors: IO, DATA (with the line), NOMEM. */
enum ldnq_status ldnq_labels_read(const char *path, struct ldnq_arena *arena,
                                  struct ldnq_labels *out, struct ldnq_error *err);

#endif
