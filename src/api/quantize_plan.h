/* SPDX-License-Identifier: Apache-2.0 */
/* quantize_plan.h: mixed precision. The option "budget" makes a plan, "plan" keeps it in a file
 * or reads one.
 *
 *     { "layers": [ { "node": "/conv1/Conv", "weights": "int4" }, ... ] }
 *
 * is all that a file must have; the other members are for people to read.
 */
#ifndef LDNQ_API_QUANTIZE_PLAN_H
#define LDNQ_API_QUANTIZE_PLAN_H

#include "api/job.h"
#include "compare/comparison.h"
#include "emit/emit.h"
#include "pipeline/pipeline.h"

#define LDNQ_PLAN_CODEBOOKS ((size_t)16)

struct ldnq_job_plan {
    struct ldnq_budget budget; /* count 0: there is none */
    const struct ldnq_codebook *codebooks[LDNQ_PLAN_CODEBOOKS];
    unsigned bits[LDNQ_PLAN_CODEBOOKS];
    /* Entries of `codebooks`: those that a budget or a goal chooses from, or those that the
     * plan from the option "plan" lists. */
    size_t choice_count;
    bool is_complete;                 /* the plan that was read names all layers */
    bool holds_out;                   /* that plan was made with a part of the samples alone */
    struct ldnq_bit_allocation *made; /* NULL without a budget */
};

/* Before the model is prepared: parses the budget with its codebooks, or reads the plan's file
 * into `quantize`. Sets the widest and the narrowest codebook in `emit`.
 * Errors: USAGE, IO, DATA (a file that is no plan: where), NOMEM. */
enum ldnq_status ldnq_job_plan_read(struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                    struct ldnq_quantize_options *quantize,
                                    struct ldnq_emit_options *emit, struct ldnq_error *err);

/* With a budget: makes the plan and sets it in `quantize`. Errors: those of ldnq_allocate_bits. */
enum ldnq_status ldnq_job_plan_make(struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                    const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                    const struct ldnq_emit_choice *choice,
                                    struct ldnq_quantize_options *quantize, struct ldnq_error *err);

/* With a budget: lets the diff point to what other budgets would keep, by the errors that this one
 * was chosen by. Errors: NOMEM. */
enum ldnq_status ldnq_job_plan_fill_diff(const struct ldnq_job_plan *plan,
                                         const struct ldnq_job *job, struct ldnq_diff *diff,
                                         struct ldnq_error *err);

/* Writes the file of a plan from `root`, which it deletes. root may be NULL; filled is false where
 * memory was out. Errors: IO, NOMEM. */
enum ldnq_status ldnq_job_plan_write_json(const char *path, cJSON *root, bool filled,
                                          struct ldnq_error *err);

/* With a budget and a path: writes the plan's file. Errors: IO, NOMEM. */
enum ldnq_status ldnq_job_plan_write(const struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                     struct ldnq_error *err);

/* Adds the plan that a budget made as "plan", or null; false when memory is out. */
bool ldnq_job_plan_add_json(cJSON *root, const struct ldnq_job_plan *plan,
                            const struct ldnq_job *job);

/* Mean bits of a code per weight. */
double ldnq_compute_mean_bits(const struct ldnq_quantization *result);

#endif
