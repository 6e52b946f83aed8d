/* SPDX-License-Identifier: Apache-2.0 */
/* ldnq.h: quantizes float ONNX models from a handful of samples.
 *
 *     struct ldnq_error err;
 *     if (ldnq_quantize_files("net.onnx", "images/", "net-q.onnx", NULL, &err) != LDNQ_OK)
 *         puts(err.message);
 *
 * This is the only installed header. It goes from simple to explicit: one call for files;
 * options; models, samples and results as handles; the jobs.
 *
 * Errors   Every call that can fail returns enum ldnq_status. Its last argument, which may be
 *          NULL, then holds a message of one line that is complete enough to print. Output
 *          arguments are set to NULL by a call that fails.
 * Owns     A handle belongs to the caller, who destroys it; destroy accepts NULL. Text that
 *          goes in is copied; arrays and the bytes of models are not, and have to outlive the
 *          handle made of them. What a handle returns lives as long as the handle, or until
 *          the next call that changes it.
 * Threads  A job starts threads of its own (option "threads") and ends them. Jobs may run in
 *          several threads at once, also on the same handles, and write the bytes that one
 *          alone writes. A handle must not be changed or destroyed while a job uses it.
 *          OpenBLAS runs with one thread of its own while a job runs, and gets the number of
 *          threads back that it had before. A job with the option "portable" fails as
 *          unsupported while another job computes with other kernels of OpenBLAS.
 * Text     is UTF-8, but for file names, which are any bytes.
 */
#ifndef LDNQ_H
#define LDNQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LDNQ_API __attribute__((visibility("default")))
#else
#define LDNQ_API
#endif

/* ---- version -------------------------------------------------------------------------- */

#define LDNQ_VERSION_MAJOR 0
#define LDNQ_VERSION_MINOR 2
#define LDNQ_VERSION_PATCH 0

/* The version of the library that runs, "0.2.0"; the macros are those of the header that was
 * compiled against. Members may be added at the end of structs that the library returns;
 * nothing else changes while the soname stays. */
LDNQ_API const char *ldnq_version(void);

/* "OpenBLAS 0.3.21 (SkylakeX kernels)", and the processor's instruction sets in use. */
LDNQ_API const char *ldnq_blas_info(void);
LDNQ_API const char *ldnq_cpu_info(void);

/* Whether this process writes files and reports: 1 in a process of its own. Of processes that
 * mpirun has started together, with a library that was built with MPI, each job is one job of them
 * all: each calls it with the same arguments, the first one (rank 0) writes files and calls back,
 * and the results of the others tell the same but have no bytes. 0 in those others, or 1 in all of
 * them when the first one is lost. Where a job fails in one process, it and all later ones fail in
 * all. */
LDNQ_API int ldnq_is_reporter(void);

/* ---- errors ----------------------------------------------------------------------------- */

/* The numbers are the exit codes of the program `ldnq`; 1 is left to shells and crashes. */
enum ldnq_status {
    LDNQ_OK = 0,
    LDNQ_USAGE = 2,       /* an option, a name or an argument is wrong */
    LDNQ_IO = 3,          /* a file can't be read, written or created */
    LDNQ_MODEL = 4,       /* the model is damaged or not valid ONNX */
    LDNQ_UNSUPPORTED = 5, /* valid ONNX that ldnq does not handle */
    LDNQ_DATA = 6,        /* a sample is missing, damaged or does not fit */
    LDNQ_NUMERIC = 7,     /* NaN, infinity, or a factorization that failed */
    LDNQ_NOMEM = 8,       /* out of memory, or a size that can't be counted */
    LDNQ_GATE = 9,        /* a result beyond the limits that the caller set */
    LDNQ_CANCELED = 10    /* a progress callback asked for the end */
};

/* "usage", "io", "model" ...; "unknown" for a number that is none of them. */
LDNQ_API const char *ldnq_status_name(enum ldnq_status status);

#define LDNQ_ERROR_SIZE 8192

/* Belongs to the caller; usually on the stack. Valid after a call that did not return
 * LDNQ_OK. */
struct ldnq_error {
    enum ldnq_status status;
    char message[LDNQ_ERROR_SIZE]; /* one line, without a line feed */
};

/* ---- options ------------------------------------------------------------------------------ */

/* Options have names, and values that are text: those of the program, without dashes
 * ("weights", "block-size"). A handle holds valid values at any time. Jobs ignore options that
 * are not theirs. A NULL handle stands for the defaults. */
struct ldnq_options;

enum ldnq_option_type {
    LDNQ_OPTION_FLAG,     /* "1" or "true", "0" or "false" */
    LDNQ_OPTION_TEXT,     /* any, but not "" */
    LDNQ_OPTION_PATH,     /* of a file or a folder */
    LDNQ_OPTION_CHOICE,   /* one of `choices` */
    LDNQ_OPTION_CHOICES,  /* one or more of `choices`, with commas between them */
    LDNQ_OPTION_COUNT,    /* a whole number, or one of `choices` */
    LDNQ_OPTION_BYTES,    /* a positive whole number; K, M or G may follow */
    LDNQ_OPTION_NUMBER,   /* a finite number, or one of `choices` */
    LDNQ_OPTION_RATIO,    /* a number or a fraction of two, "1/255"; not 0 */
    LDNQ_OPTION_CHANNELS, /* up to four numbers with commas between them */
    LDNQ_OPTION_DIM,      /* NAME=N */
    LDNQ_OPTION_BUDGET,   /* "3bits", "8x" or bytes */
    LDNQ_OPTION_PIXELS    /* "224" or "640x480", or one of `choices` */
};

/* Jobs, as bits. */
#define LDNQ_JOB_QUANTIZE 1u
#define LDNQ_JOB_DIFF 2u
#define LDNQ_JOB_EVAL 4u
#define LDNQ_JOB_INSPECT 8u
#define LDNQ_JOB_RUN 16u
#define LDNQ_JOB_LINT 32u

/* Who an option is for. */
enum ldnq_option_scope {
    LDNQ_OPTION_SHARED,  /* the library and the program */
    LDNQ_OPTION_PROGRAM, /* the program alone; jobs ignore it */
    LDNQ_OPTION_LIBRARY  /* callers of the library alone */
};

struct ldnq_option {
    const char *name;
    const char *letter; /* the program's short form, "o"; NULL for none */
    enum ldnq_option_type type;
    enum ldnq_option_scope scope;
    unsigned jobs;             /* LDNQ_JOB_ bits */
    int repeats;               /* each set adds a value */
    const char *value;         /* what a value is called, "PATH"; NULL for a flag */
    const char *choices;       /* "auto|int8|int4"; NULL */
    double least, most;        /* of COUNT and NUMBER, both allowed; infinite for none */
    const char *default_value; /* NULL where there is none */
    const char *help;          /* one sentence or two, without the default */
    const char *since;         /* the first version that has it */
};

/* All options in a fixed order; NULL past the last one. Static. */
LDNQ_API const struct ldnq_option *ldnq_options_describe(size_t index);

/* The option with the name that is nearest to this one among those of these jobs; NULL where
 * none is near. Static. */
LDNQ_API const struct ldnq_option *ldnq_options_nearest(const char *name, unsigned jobs);

/* The one of `names` (the last is NULL) that `name` may be a misspelling of: what "did you mean"
 * proposes for a command, a layer or a value; NULL where none is near. */
LDNQ_API const char *ldnq_nearest_name(const char *name, const char *const *names);

/* All defaults. Errors: NOMEM. */
LDNQ_API enum ldnq_status ldnq_options_create(struct ldnq_options **out, struct ldnq_error *err);
LDNQ_API void ldnq_options_destroy(struct ldnq_options *options);

/* Replaces the value, or adds one where the option repeats; NULL goes back to the default.
 * Errors: USAGE (no such option: the nearest one; a value that does not fit: the message
 * begins with the option's name, and has the values that do), NOMEM. The handle is then
 * unchanged. */
LDNQ_API enum ldnq_status ldnq_options_set(struct ldnq_options *options, const char *name,
                                           const char *value, struct ldnq_error *err);

/* The value with this index, as it was set, or the default; 0 but for options that repeat.
 * NULL where there is none, and for an unknown name. */
LDNQ_API const char *ldnq_options_get(const struct ldnq_options *options, const char *name,
                                      size_t index);

/* Where a job is. */
struct ldnq_progress {
    const char *stage; /* what is being done: "quantize", "distill", "diff" ... */
    /* Which one, e.g. the layer's name; or NULL. Valid UTF-8 whatever the model contains, without
     * control characters; cut after some 500 bytes. It is gone after the call. */
    const char *detail;
    size_t done, total; /* steps of about equal time */
};

/* What a progress callback returns, beside 0 to go on. */
#define LDNQ_CANCEL 1
/* A quantization with the option "checkpoint" first stores the layer that it is fitting. */
#define LDNQ_CANCEL_AFTER_LAYER 2

/* `progress` is called in the job's own thread as the work goes on; any result but 0 cancels
 * the job, which then returns LDNQ_CANCELED and leaves no file behind but those of a checkpoint.
 * NULL: none. */
LDNQ_API void ldnq_options_on_progress(struct ldnq_options *options,
                                       int (*progress)(void *ctx,
                                                       const struct ldnq_progress *progress),
                                       void *ctx);

/* `event` is called in the job's own thread with one line of JSON, an object with a text
 * "event": "warning" ("text"); of quantize also "memory" before the work, "checkpoint" with the
 * option "resume", "run" at the end, and with the option "verbose" "layer_start", "iteration" and
 * "layer", as events.schema.json has them. NULL: none. */
LDNQ_API void ldnq_options_on_event(struct ldnq_options *options,
                                    void (*event)(void *ctx, const char *json), void *ctx);

/* ---- models ------------------------------------------------------------------------------- */

/* An ONNX model: a file with what it refers to, or bytes in memory. A job reads it when it
 * starts, and never changes it. External data are mapped: a file of them that is written to in
 * place while a job runs fails a quantization (IO), and one that is cut raises SIGBUS. */
struct ldnq_onnx;

/* Nothing is opened yet. Errors: NOMEM. */
LDNQ_API enum ldnq_status ldnq_onnx_from_path(const char *path, struct ldnq_onnx **out,
                                              struct ldnq_error *err);
/* The bytes stay the caller's and have to outlive the handle; models with external data
 * have to be files. `name` appears in messages and results. Errors: NOMEM. */
LDNQ_API enum ldnq_status ldnq_onnx_from_bytes(const void *bytes, size_t size, const char *name,
                                               struct ldnq_onnx **out, struct ldnq_error *err);
LDNQ_API void ldnq_onnx_destroy(struct ldnq_onnx *onnx);

/* ---- samples ------------------------------------------------------------------------------ */

/* An array in memory, row-major, in the processor's byte order. */
struct ldnq_ndarray {
    const char *name;     /* of the model's input; NULL where the model has one */
    const char *dtype;    /* "float32", "float16", "int64", "uint8", "bool" ... */
    const int64_t *shape; /* (rank) */
    size_t rank;
    const void *data;
};

/* Samples for calibration, comparison or evaluation. Which inputs they are for is checked
 * when a job starts; the options "mean", "std", "scale", "resize" and "crop" are applied to
 * pictures in files alone. */
struct ldnq_dataset;

/* A folder of pictures (PNG, JPEG, and WebP and TIFF where the library was built with them; flat,
 * in class folders, or with labels.csv), a .npy file, a .npz file (one array per input, "labels"),
 * a folder of those, a folder of TensorProto .pb files, one such file, or a pattern ("x/s*.npz").
 * "none" means no samples: ldnq_quantize then rounds the weights, leaves the activations float and
 * measures nothing. Nothing is opened yet. Errors: NOMEM. */
LDNQ_API enum ldnq_status ldnq_dataset_from_path(const char *path, struct ldnq_dataset **out,
                                                 struct ldnq_error *err);
/* Adds the samples of another path, in the forms of ldnq_dataset_from_path and for the same
 * inputs: the job then sees one set, in the order of the paths. Pictures and arrays are not joined.
 */
LDNQ_API enum ldnq_status ldnq_dataset_add_path(struct ldnq_dataset *dataset, const char *path,
                                                struct ldnq_error *err);

/* One array per input. Axis 0 counts the samples where the array has one axis more than the
 * input, or as many. An array of integers named "labels" holds the classes. The data stay the
 * caller's and have to outlive the handle. Errors: USAGE (an unknown dtype, a negative size),
 * NOMEM. */
LDNQ_API enum ldnq_status ldnq_dataset_from_arrays(const struct ldnq_ndarray *arrays, size_t count,
                                                   struct ldnq_dataset **out,
                                                   struct ldnq_error *err);

/* Where samples come from that the caller computes. */
struct ldnq_sample_reader {
    size_t sample_count;
    const struct ldnq_ndarray *inputs; /* one sample, without the batch; data are ignored */
    size_t input_count;
    const int64_t *labels; /* the class of each sample, or NULL; has to outlive the handle */
    /* Fills `data`, of `size` bytes, with one input of one sample, and returns 0; any other
     * result ends the job with DATA. `input` is the index in `inputs`. The same sample is read
     * several times and has to have the same bytes each time. Called by one thread at a time,
     * which need not be the job's own. */
    int (*read)(void *ctx, size_t sample, size_t input, void *data, size_t size);
    void *ctx;
    /* Writes the sizes of one input of one sample, as many as that array of `inputs` has, and
     * returns 0; any other result ends the job with DATA. Called as `read`, before it. NULL where
     * all samples have the shapes of `inputs`, whose sizes count for nothing otherwise. */
    int (*shape)(void *ctx, size_t sample, size_t input, int64_t *sizes);
};

/* The reader is copied, its labels and context are not. Errors: as above. */
LDNQ_API enum ldnq_status ldnq_dataset_from_reader(const struct ldnq_sample_reader *reader,
                                                   struct ldnq_dataset **out,
                                                   struct ldnq_error *err);
LDNQ_API void ldnq_dataset_destroy(struct ldnq_dataset *dataset);

/* Measures a goal ("max-drop", "min-agreement", "min-sqnr") on these samples, in place of the
 * option "goal-data" and of a fifth of those that are fitted; NULL: no longer. They have to outlive
 * the jobs with these options. */
LDNQ_API void ldnq_options_set_goal_data(struct ldnq_options *options,
                                         const struct ldnq_dataset *samples);

/* Measures the goal "max-drop" by a function of the caller's in place of top-1 accuracy: the float
 * model's score less the quantized model's must not be above it, in the score's own unit. A larger
 * score is better. `score` is called in the job's own thread with an ONNX model in memory, first
 * the float one, then each that is tried; it sets *value to a finite number and returns 0. Any
 * other result cancels the job. Models with external data above 2 GiB can't be scored
 * (UNSUPPORTED). NULL: none. */
LDNQ_API void ldnq_options_on_score(struct ldnq_options *options,
                                    int (*score)(void *ctx, const void *model, size_t size,
                                                 double *value),
                                    void *ctx);

/* ---- results -------------------------------------------------------------------------------- */

/* What a job has found out. It depends on no other handle. */
struct ldnq_result;

/* All figures as one JSON object, NUL-terminated; the schemas are installed as
 * share/ldnq/JOB.schema.json. */
LDNQ_API const char *ldnq_result_json(const struct ldnq_result *result);

/* Bytes that were not written to a file: "model" (quantize without "output") and "html"
 * (quantize and diff with "page"). NULL and size 0 for what there is not. */
LDNQ_API const void *ldnq_result_bytes(const struct ldnq_result *result, const char *part,
                                       size_t *size);

/* The outputs of a run, in the order of the model; NULL past the last one. */
LDNQ_API const struct ldnq_ndarray *ldnq_result_array(const struct ldnq_result *result,
                                                      size_t index);

/* Frees all of it. */
LDNQ_API void ldnq_result_destroy(struct ldnq_result *result);

/* ---- jobs ------------------------------------------------------------------------------------ */

/* All jobs: `options` may be NULL; `result` may be NULL where only files are wanted. Errors:
 * USAGE (options that contradict each other or the model), IO, MODEL, UNSUPPORTED (all nodes
 * that are in the way), DATA, NUMERIC, NOMEM, CANCELED. Files appear whole or not at all. */

/* Fits low-bit weights to the samples. Writes the option "output", else keeps the model as the
 * result's part "model"; "report" and "plan" as the options say. */
LDNQ_API enum ldnq_status ldnq_quantize(const struct ldnq_onnx *onnx,
                                        const struct ldnq_dataset *samples,
                                        const struct ldnq_options *options,
                                        struct ldnq_result **result, struct ldnq_error *err);

/* The same with paths alone. `output` counts, whatever the options have. */
LDNQ_API enum ldnq_status ldnq_quantize_files(const char *model, const char *samples,
                                              const char *output,
                                              const struct ldnq_options *options,
                                              struct ldnq_error *err);

/* Compares a quantized model with the float one, layer by layer; `samples` may be NULL, which
 * compares structure and weights. */
LDNQ_API enum ldnq_status ldnq_diff(const struct ldnq_onnx *reference,
                                    const struct ldnq_onnx *quantized,
                                    const struct ldnq_dataset *samples,
                                    const struct ldnq_options *options, struct ldnq_result **result,
                                    struct ldnq_error *err);

/* Compares `count` quantized models with the float one on the same samples: a verdict and a few
 * figures of each, side by side (candidates.schema.json). */
LDNQ_API enum ldnq_status ldnq_diff_candidates(const struct ldnq_onnx *reference,
                                               const struct ldnq_onnx *const *candidates,
                                               size_t count, const struct ldnq_dataset *samples,
                                               const struct ldnq_options *options,
                                               struct ldnq_result **result, struct ldnq_error *err);

/* Top-1 and top-5 accuracy of `count` models on labelled samples. */
LDNQ_API enum ldnq_status ldnq_eval(const struct ldnq_onnx *const *models, size_t count,
                                    const struct ldnq_dataset *samples,
                                    const struct ldnq_options *options, struct ldnq_result **result,
                                    struct ldnq_error *err);

/* The layers of a model: shapes, sizes, multiplications, and whether they can be quantized. */
LDNQ_API enum ldnq_status ldnq_inspect(const struct ldnq_onnx *onnx,
                                       const struct ldnq_options *options,
                                       struct ldnq_result **result, struct ldnq_error *err);

/* The rules of the runtime "target" (ort where it is not set) that a QDQ model breaks: what the
 * runtime refuses, or computes slower than the float model. Findings are no error. */
LDNQ_API enum ldnq_status ldnq_lint(const struct ldnq_onnx *onnx,
                                    const struct ldnq_options *options, struct ldnq_result **result,
                                    struct ldnq_error *err);

/* Runs the model once on arrays, and on those that the option "input" names. Writes each output
 * as .npy into the folder "output", where that is set. */
LDNQ_API enum ldnq_status ldnq_run(const struct ldnq_onnx *onnx, const struct ldnq_ndarray *inputs,
                                   size_t input_count, const struct ldnq_options *options,
                                   struct ldnq_result **result, struct ldnq_error *err);

#ifdef __cplusplus
}
#endif

#endif
