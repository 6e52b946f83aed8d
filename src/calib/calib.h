/* SPDX-License-Identifier: Apache-2.0 */
/* calib.h: samples for calibration and evaluation, read one at a time.
 *
 * A sample set is a list of samples, each with one tensor per model input.
 * Nothing is decoded before it is asked for, so a set's memory does not grow
 * with its length. Sources:
 *   a folder of pictures (PNG, JPEG), flat or in class
 * folders (one level; classes in alphabetical order), or with labels.csv (file,class); a .npy file,
 * for a model with one input: axis 0 counts samples when the array has one axis more than, or the
 * same number as, the input; with one axis less it is one sample; a .npz file: one such array an
 * input, by name (or the only one), and the classes in an integer array "labels", "label" or "y";
 *   a folder of .npy or .npz files, each as above: one sample, or several;
 *   a folder of TensorProto .pb files: input_0.pb ... in one folder, or in
 *     folders one a sample (ONNX's test_data_set_N), or one file a sample for a
 *     model with one input;
 *   a single picture or .pb file;
 *   a pattern such as "samples/s*.npz", in place of a folder with the files that it matches.
 *
 * Positions that an input called attention_mask masks are cut off the samples.
 * Shapes  samples may differ in the dimensions that the model leaves open, such as sentences of
 *         different lengths. Then one run takes one sample.
 * Batch   dimension 0 of an input is the batch when it is a symbol or 1. An
 *         array's rows along it are samples of their own. An input of rank 0, or
 *         with any other dimension 0, has no batch: each of its samples is a whole
 *         array, .npy and .npz count them along one axis more, and they are read
 *         one at a time.
 * Memory  .npy files are read slice by slice; a .npz member is unpacked when the
 *         set is opened, the large ones into a temporary file; an array in
 *         Fortran order is held whole.
 */
#ifndef LDNQ_CALIB_H
#define LDNQ_CALIB_H

#include <pthread.h>

#include "base/pool.h"
#include "base/sink.h"
#include "ir/ir.h"

struct ldnq_pool;

/* Filters of resizing, both with antialiasing. */
enum ldnq_picture_filter { LDNQ_FILTER_BILINEAR, LDNQ_FILTER_BICUBIC };

/* Preprocessing of pictures, in this order: rotation by EXIF, resize, centre crop (N x N), the
 * order of the channels, then (x * scale - mean) / std per channel. Sizes are in pixels, 0: none.
 */
struct ldnq_preprocess {
    float scale;                  /* default 1/255; 1 for inputs of bytes */
    bool has_scale;               /* the scale was chosen, so that it counts for bytes too */
    size_t mean_count, std_count; /* 0 (none), 1 (all channels) or the channels' number */
    float mean[4], std[4];
    bool is_rotated; /* pictures are turned as their EXIF data say */
    size_t resize;   /* of the shorter side */
    size_t width, height;
    bool is_letterboxed; /* fits into width x height, or the input's size, between bars of grey */
    size_t crop;
    double crop_share; /* above 0: crop to the input's size, after a resize to size / crop_share */
    enum ldnq_picture_filter filter;
    bool is_bgr;
};

void ldnq_preprocess_defaults(struct ldnq_preprocess *preprocess);

/* Names of presets, "imagenet|clip|..."; in the table of options, too. */
#define LDNQ_PREPROCESS_PRESETS "imagenet|timm|timm-inception|clip|yolo|none"
/* Sets all but the rotation and the order of the channels; false for an unknown name. */
bool ldnq_preprocess_set_preset(struct ldnq_preprocess *preprocess, const char *name);

struct ldnq_samples;

/* The part of the drawn samples in a set: the last of every five is held out. Their order should
 * be random. */
enum ldnq_samples_part { LDNQ_SAMPLES_ALL, LDNQ_SAMPLES_FITTED, LDNQ_SAMPLES_HELD_OUT };
#define LDNQ_SAMPLES_HOLD_OUT_OF ((size_t)5)

struct ldnq_samples_options {
    struct ldnq_preprocess preprocess; /* read for pictures only */
    size_t max_samples; /* 0: all; else this many, drawn by `seed`, in the order of the files */
    uint64_t seed;
    bool shuffle; /* draws the order of samples by `seed`; else it is that of the files */
    enum ldnq_samples_part part;
    bool need_labels; /* a set without labels is an error; labels are read only then */
    bool is_strict;   /* a damaged picture is an error; else it is left out, with a warning */
    bool is_part;     /* samples are joined with others, and the whole set is checked and masked */
    struct ldnq_pool *pool; /* for that check; NULL: the caller's thread */
    /* The input that is 0 at padded positions, which are cut off (sample_mask.h); NULL:
     * attention_mask where there is one; "none": no input. */
    const char *mask;
    const struct ldnq_sink *sink; /* for warnings while the set is opened; NULL: none */
};

/* Opens `path` (any source above) for the inputs of `graph`, which need not outlive the
 * set. Symbolic dimensions of the inputs get their sizes from each sample.
 * Errors: IO, DATA (no samples; a file that is not a picture; a first sample that does
 * not fit; an input without data), USAGE (mean, std, scale and the channel count),
 * NOMEM. Messages name the file. The caller destroys it; destroy accepts NULL. */
enum ldnq_status ldnq_samples_open(const char *path, const struct ldnq_graph *graph,
                                   const struct ldnq_samples_options *options,
                                   struct ldnq_samples **out, struct ldnq_error *err);
/* The same for `count` paths, at least 1: one set of all their samples, in the order of the paths.
 * Errors: also DATA (pictures beside arrays; class folders that differ). */
enum ldnq_status ldnq_samples_open_joined(const char *const *paths, size_t count,
                                          const struct ldnq_graph *graph,
                                          const struct ldnq_samples_options *options,
                                          struct ldnq_samples **out, struct ldnq_error *err);
void ldnq_samples_destroy(struct ldnq_samples *samples);

/* ---- samples in memory ------------------------------------------------------------ */

struct ldnq_memory_array {
    const char *input; /* the name of the model's input; "" where the model has one */
    struct ldnq_tensor tensor;
};

/* Arrays as in a .npz file, or one sample's shapes and a function that fills them in. All of
 * it belongs to the caller and outlives the samples. */
struct ldnq_samples_memory {
    const struct ldnq_memory_array *arrays;
    size_t array_count;
    /* NULL where the arrays hold the samples. Returns 0; called with `lock` held. */
    int (*read)(void *ctx, size_t sample, size_t input, void *data, size_t size);
    /* Writes the sizes of one input of one sample; NULL where all have the arrays' shapes. Returns
     * 0; called with `lock` held. */
    int (*shape)(void *ctx, size_t sample, size_t input, int64_t *sizes);
    void *ctx;
    pthread_mutex_t *lock;
    size_t sample_count;
    const int64_t *labels; /* (sample_count) or NULL */
};

/* As ldnq_samples_open. Errors: DATA (also what `read` does not fill), NOMEM. */
enum ldnq_status ldnq_samples_open_memory(const struct ldnq_samples_memory *memory,
                                          const struct ldnq_graph *graph,
                                          const struct ldnq_samples_options *options,
                                          struct ldnq_samples **out, struct ldnq_error *err);

/* ---- what a set knows ------------------------------------------------------------- */

size_t ldnq_samples_count(const struct ldnq_samples *samples);
/* The sample's class; -1 when there are no labels. */
int64_t ldnq_samples_label(const struct ldnq_samples *samples, size_t sample);
/* The sample's name for messages: its file, or "x.npy[3]". */
const char *ldnq_samples_name(const struct ldnq_samples *samples, size_t sample);
/* The files of the set, also those of samples that were not drawn; NULL beyond the last, and for
 * samples in memory. The same path may come more than once. */
const char *ldnq_samples_file(const struct ldnq_samples *samples, size_t index);
/* xxh3 over the contents of the drawn samples, in their order: the files of pictures
 * and TensorProtos, the rows of arrays. Names are not part of it. From then on a sample
 * that has changed or vanished is refused when it is read. */
enum ldnq_status ldnq_samples_hash(struct ldnq_samples *samples, uint64_t *hash,
                                   struct ldnq_error *err);

/* Samples to hold out of `count`: a fifth, but not more than 8 or a tenth of them, whichever is
 * more, and 256 at most. 0: there are too few. */
size_t ldnq_samples_choose_held_out(size_t count);

/* Lets `slice` be the samples first .. first+count-1 of the set, in its order. It lives in the
 * arena, shares what the set has read and hashed, which must outlive it, and isn't destroyed.
 * Errors: NOMEM. */
enum ldnq_status ldnq_samples_slice(const struct ldnq_samples *samples, size_t first, size_t count,
                                    struct ldnq_arena *arena, struct ldnq_samples **slice,
                                    struct ldnq_error *err);

/* Whether the samples come from picture files; only those can be augmented safely. */
bool ldnq_samples_are_pictures(const struct ldnq_samples *samples);

/* Whether samples have shapes of their own; then one run takes one sample. */
bool ldnq_samples_differ_in_shape(const struct ldnq_samples *samples);

/* Where the model fixes the length of padded samples, positions are masked within them, and one run
 * takes one sample: */
bool ldnq_samples_have_masked_positions(const struct ldnq_samples *samples);
/* The unmasked positions of one sample's run, ascending, where a mask has `all` elements; NULL: all
 * count. */
const size_t *ldnq_samples_find_unmasked_positions(const struct ldnq_samples *samples,
                                                   size_t sample, size_t all, size_t *count);
/* *out becomes the part of a value, of one sample's run, at positions that are not masked: where
 * its first axes above 1 have as many elements as the mask; else the value itself, which may be
 * NULL. Errors: NOMEM. */
enum ldnq_status ldnq_samples_select_unmasked(const struct ldnq_samples *samples, size_t sample,
                                              const struct ldnq_tensor *tensor,
                                              struct ldnq_arena *arena,
                                              const struct ldnq_tensor **out,
                                              struct ldnq_error *err);
/* Sets the other part of such a value to 0. */
void ldnq_samples_clear_masked(const struct ldnq_samples *samples, size_t sample,
                               struct ldnq_tensor *tensor);

/* Whether every input has a batch dimension, so that more than one sample can be read
 * at a time. The caller checks whether the model accepts a batch above the 1 that an
 * input may declare. */
bool ldnq_samples_can_stack(const struct ldnq_samples *samples);

/* From now on one run takes one sample. `reason` is copied. Errors: NOMEM. */
enum ldnq_status ldnq_samples_run_singly(struct ldnq_samples *samples, const char *reason,
                                         struct ldnq_error *err);
/* The reason given to ldnq_samples_run_singly; NULL without a call. */
const char *ldnq_samples_single_reason(const struct ldnq_samples *samples);

/* How many samples one run of the graph may take: `want`, or 1 after ldnq_samples_run_singly, and
 * where an input declares its batch to be 1 or has none. */
size_t ldnq_samples_choose_batch_size(const struct ldnq_samples *samples,
                                      const struct ldnq_graph *graph, size_t want);

/* Samples first .. first+count-1 as one batch: inputs[i] belongs to graph->inputs[i],
 * has its dtype, dimension 0 is the batch; the data are in the arena. Samples are
 * decoded in parallel on the pool (NULL: in the caller's thread); when several fail,
 * the first one is reported. count is 1 unless ldnq_samples_can_stack.
 * Errors: IO, DATA (a sample whose shape does not fit the input: both shapes and the file; NaN or
 * infinity), UNSUPPORTED (count), NOMEM. */
enum ldnq_status ldnq_samples_read(struct ldnq_samples *samples, size_t first, size_t count,
                                   struct ldnq_pool *pool, struct ldnq_arena *arena,
                                   struct ldnq_tensor **inputs, struct ldnq_error *err);

/* Samples that were read into an arena of their own. */
struct ldnq_sample_batch {
    struct ldnq_tensor **inputs; /* by input of the graph; live in the arena */
    struct ldnq_arena *arena;    /* the caller destroys it; NULL after an error */
};

/* Reads a batch as ldnq_samples_read does. Errors: as there. */
enum ldnq_status ldnq_sample_batch_read(struct ldnq_samples *samples, size_t first, size_t count,
                                        struct ldnq_pool *pool, struct ldnq_sample_batch *batch,
                                        struct ldnq_error *err);

/* ---- single arrays, for `run` ------------------------------------------------ */

/* Reads a .npy file (version 1 to 3, little-endian, C or Fortran order; float16, 32,
 * 64, integers and bool) with its own dtype. Errors: IO, DATA, NOMEM. */
enum ldnq_status ldnq_npy_read(const char *path, struct ldnq_arena *arena, struct ldnq_tensor **out,
                               struct ldnq_error *err);
/* Writes the tensor to a temporary file and renames it. Errors: IO, UNSUPPORTED (dtype). */
enum ldnq_status ldnq_npy_write(const char *path, const struct ldnq_tensor *tensor,
                                struct ldnq_error *err);
/* Whether a .npy file can hold elements of this type. */
bool ldnq_npy_has_type(enum ldnq_dtype dtype);

/* `tensor` as `dtype`: itself when it has that type, else a copy in the arena. Floats
 * of any width and integers become any float type, rounded to nearest (a double beyond
 * float's range becomes infinity; one beyond a 16-bit type is refused); integers and bool become
 * any integer type that can hold all the values; 0 and 1 become bool. A float never becomes an
 * integer. Errors: DATA (a value that the type can't hold; types without a conversion), NOMEM. */
enum ldnq_status ldnq_tensor_convert(const struct ldnq_tensor *tensor, enum ldnq_dtype dtype,
                                     struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                     struct ldnq_error *err);

#endif
