/* SPDX-License-Identifier: Apache-2.0 */
/* samples_check.c: leave out drawn samples that can't be decoded, before anything is computed. */
#include "calib/source.h"

#include <pthread.h>

#include "base/pool.h"

struct sample_check {
    const struct ldnq_samples *samples;
    enum ldnq_status *status;          /* (count) */
    pthread_mutex_t lock;              /* guards what follows */
    size_t damaged;                    /* index of the first damaged sample; count: none is */
    size_t failed;                     /* index of the first one that failed otherwise */
    struct ldnq_error reason, failure; /* of the two */
};

static void check_sample_in_pool(void *ctx, size_t sample, size_t thread)
{
    struct sample_check *check = ctx;
    const struct ldnq_samples *samples = check->samples;
    struct ldnq_error err;
    (void)thread;
    const enum ldnq_status status = samples->source->check(samples, samples->items[sample], &err);
    check->status[sample] = status;
    if (status == LDNQ_OK)
        return;
    pthread_mutex_lock(&check->lock);
    size_t *first = status == LDNQ_DATA ? &check->damaged : &check->failed;
    if (sample < *first) {
        *first = sample;
        *(status == LDNQ_DATA ? &check->reason : &check->failure) = err;
    }
    pthread_mutex_unlock(&check->lock);
}

/* Takes the samples that failed out of the list; all others keep their order. */
static void drop_failed(struct ldnq_samples *samples, const enum ldnq_status *status)
{
    size_t count = 0;
    for (size_t i = 0; i < samples->count; i++) {
        if (status[i] != LDNQ_OK)
            continue;
        samples->items[count] = samples->items[i];
        samples->names[count++] = samples->names[i];
    }
    samples->count = count;
    samples->shape_name = samples->names[0];
}

static enum ldnq_status drop_damaged(struct ldnq_samples *samples, const struct sample_check *check,
                                     struct ldnq_error *err)
{
    size_t damaged = 0;
    if (check->failed < samples->count)
        return ldnq_fail(err, check->status[check->failed], "%s", check->failure.message);
    for (size_t i = 0; i < samples->count; i++)
        damaged += check->status[i] != LDNQ_OK;
    if (damaged == samples->count)
        return ldnq_fail(err, LDNQ_DATA, "%s", check->reason.message);
    if (damaged == 0)
        return LDNQ_OK;
    ldnq_sink_warn(samples->options.sink, "%zu of %zu pictures %s left out: %s%s", damaged,
                   samples->count, damaged == 1 ? "is" : "are", check->reason.message,
                   damaged == 1 ? "" : ", and others");
    drop_failed(samples, check->status);
    return LDNQ_OK;
}

enum ldnq_status ldnq_samples_drop_damaged(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct sample_check check = { .samples = samples,
                                  .damaged = samples->count,
                                  .failed = samples->count };
    if (!samples->source->check || samples->options.is_strict || samples->options.is_part)
        return LDNQ_OK;
    check.status = ldnq_arena_alloc(samples->arena, samples->count, sizeof *check.status, err);
    if (!check.status)
        return LDNQ_NOMEM;
    pthread_mutex_init(&check.lock, NULL);
    ldnq_pool_run(samples->options.pool, samples->count, check_sample_in_pool, &check);
    pthread_mutex_destroy(&check.lock);
    LDNQ_TRY(drop_damaged(samples, &check, err));
    if (samples->source->warn)
        samples->source->warn(samples);
    return LDNQ_OK;
}
