/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_checkpoint.h: the folder of a checkpoint: option "checkpoint", and "resume" to go on
 * with one.
 *
 * ldnq-checkpoint.json says what the checkpoint was made of: the version, the kernels, hashes of
 * the model, the samples and the plan, and all options that decide what is written. A run with
 * others is refused. Beside it are the layers (pipeline/checkpoint.h). The folder is locked while
 * a run uses it, and removed when the job has ended as it was meant to.
 */
#ifndef LDNQ_API_QUANTIZE_CHECKPOINT_H
#define LDNQ_API_QUANTIZE_CHECKPOINT_H

#include "api/job.h"
#include "pipeline/checkpoint.h"

/* What a checkpoint is made of, beyond the options. */
struct ldnq_checkpoint_inputs {
    const char *model_name;
    uint64_t model_hash, data_hash;
    size_t sample_count;
    struct ldnq_samples *held_out; /* NULL where they are a part of the samples */
    const char *plan;              /* the path of a plan that is read; NULL: none */
};

/* Zeroed: no checkpoint. */
struct ldnq_job_checkpoint {
    struct ldnq_checkpoint records;
    const char *folder;
    int lock;         /* descriptor of the folder while is_open */
    bool is_open;     /* the folder has the header of this run */
    bool made_folder; /* by this run */
    bool is_followed; /* it is the first rank's, which sends its layers */
};

/* Writes down what decides the bytes of a run: the caller deletes *header. Errors: NOMEM, those of
 * the samples. */
enum ldnq_status ldnq_checkpoint_make_header(const struct ldnq_job *job,
                                             const struct ldnq_checkpoint_inputs *inputs,
                                             cJSON **header, struct ldnq_error *err);

/* Creates the folder and its header, or with "resume" finds them, and reports how much is there.
 * Errors: USAGE (a checkpoint of other inputs or options: the difference; a folder with other
 * files; a checkpoint without "resume"), DATA (a damaged header), IO (also a folder that another
 * run uses), NOMEM. */
enum ldnq_status ldnq_job_checkpoint_open(struct ldnq_job_checkpoint *checkpoint,
                                          const struct ldnq_job *job,
                                          const struct ldnq_checkpoint_inputs *inputs,
                                          struct ldnq_error *err);

/* Removes the checkpoint of a job that has ended with OK or GATE, or that has fitted no layer;
 * otherwise it stays. Adds to the message of a job that was canceled where its layers are. Accepts
 * a zeroed checkpoint. */
void ldnq_job_checkpoint_finish(struct ldnq_job_checkpoint *checkpoint, enum ldnq_status status,
                                struct ldnq_error *err);

#endif
