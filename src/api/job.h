/* SPDX-License-Identifier: Apache-2.0 */
/* job.h: what every job does first and last: threads, OpenBLAS, the model's graph, samples. */
#ifndef LDNQ_API_JOB_H
#define LDNQ_API_JOB_H

#include <cJSON.h>

#include "api/inputs.h"
#include "api/options.h"
#include <stdbool.h>

#include "base/arena.h"
#include "base/pool.h"
#include "base/sink.h"
#include "pipeline/checkpoint.h"

struct ldnq_job {
    const struct ldnq_options *options;
    struct ldnq_arena *arena;
    struct ldnq_pool *pool;
    struct ldnq_ranks *ranks; /* the processes that share the job; NULL: none. The first reports */
    struct ldnq_sink sink;    /* calls the options' callbacks */
    bool has_blas, is_portable;
    enum ldnq_operator_form form; /* of the models' graphs; may be set after init */
    bool cuts_foreign;            /* graphs end before nodes that can't be executed; as above */
    size_t blas_threads;          /* reserved in OpenBLAS */
    struct ldnq_checkpoint *checkpoint; /* of a quantization with one; NULL */
    cJSON *warnings;                    /* list of the texts so far; NULL: none */
};

/* A model that was read for a job, and its graph, which lives in the job's arena. */
struct ldnq_job_model {
    struct ldnq_model *model;
    struct ldnq_graph *graph;
};

/* Holds OpenBLAS, starts the threads. finish accepts a zeroed job. Errors: NOMEM;
 * those of ldnq_blas_acquire_portable, for the option "portable". */
enum ldnq_status ldnq_job_init(struct ldnq_job *job, const struct ldnq_options *options,
                               struct ldnq_error *err);
void ldnq_job_finish(struct ldnq_job *job);
/* Tells the other ranks that this one fails, and returns the status. */
enum ldnq_status ldnq_job_report_failure_to_ranks(const struct ldnq_job *job,
                                                  enum ldnq_status status,
                                                  const struct ldnq_error *err);

/* Loads and imports. The caller destroys loaded->model, also after an error. */
enum ldnq_status ldnq_job_load(const struct ldnq_job *job, const struct ldnq_onnx *onnx,
                               struct ldnq_job_model *loaded, struct ldnq_error *err);
/* Rewrites lookups of a loaded model whose tables can be quantized in another form only
 * (emit/rewrite_lookups.h); the graph is made after it. Errors: NOMEM, and those of an import. */
enum ldnq_status ldnq_job_rewrite_lookups(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                          struct ldnq_error *err);
/* Makes the graph of a loaded model, with the option "dim" applied. */
enum ldnq_status ldnq_job_import(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                 struct ldnq_error *err);

/* How to choose samples, beyond what the options say. */
struct ldnq_job_samples {
    bool need_labels;
    bool shuffle; /* needed where a part is held out, as files are sorted by class */
    bool all;     /* whatever the option max-samples says */
    enum ldnq_samples_part part;
};

/* Samples for the graph, preprocessed as the options say. The caller destroys them, also after
 * an error. Errors: those of ldnq_samples_open; USAGE (preprocessing of arrays). */
enum ldnq_status ldnq_job_open_samples(const struct ldnq_job *job,
                                       const struct ldnq_dataset *dataset,
                                       const struct ldnq_graph *graph,
                                       const struct ldnq_job_samples *wanted,
                                       struct ldnq_samples **samples, struct ldnq_error *err);

/* Calls the options' event callback with the object as one line. Nothing where there is no
 * callback, or memory is out. */
void ldnq_job_report_event(const struct ldnq_job *job, const cJSON *event);

#endif
