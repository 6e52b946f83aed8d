/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/sample_failure.h"

#include "exec/exec.h"

static bool is_fault_of_samples(enum ldnq_status status)
{
    return status == LDNQ_DATA || status == LDNQ_MODEL;
}

static bool sample_fails(struct ldnq_exec *exec, struct ldnq_samples *samples, size_t sample,
                         struct ldnq_error *reason)
{
    struct ldnq_sample_batch batch;
    if (ldnq_sample_batch_read(samples, sample, 1, NULL, &batch, reason) != LDNQ_OK)
        return false;
    const enum ldnq_status status = ldnq_exec_run(exec, batch.inputs, reason);
    ldnq_exec_reset(exec);
    ldnq_arena_destroy(batch.arena);
    return is_fault_of_samples(status);
}

/* Finds the first sample that fails on its own; false where none does. */
static bool find_failing_sample(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                size_t first, size_t count, size_t *sample,
                                struct ldnq_error *reason)
{
    struct ldnq_exec *exec;
    bool found = false;
    if (ldnq_exec_create(graph, NULL, &exec, reason) != LDNQ_OK)
        return false;
    for (size_t i = first; i < first + count && !found; i++) {
        found = sample_fails(exec, samples, i, reason);
        *sample = i;
    }
    ldnq_exec_destroy(exec);
    return found;
}

enum ldnq_status ldnq_name_failed_sample(enum ldnq_status status, const struct ldnq_graph *graph,
                                         struct ldnq_samples *samples, size_t first, size_t count,
                                         struct ldnq_error *err)
{
    struct ldnq_error reason;
    size_t sample;
    if (!is_fault_of_samples(status) || !err)
        return status;
    if (find_failing_sample(graph, samples, first, count, &sample, &reason))
        return ldnq_fail(err, LDNQ_DATA, "%s (sample %s)", reason.message,
                         ldnq_samples_name(samples, sample));
    const struct ldnq_error whole = *err;
    return ldnq_fail(err, LDNQ_DATA, "%s (samples from %s on)", whole.message,
                     ldnq_samples_name(samples, first));
}
