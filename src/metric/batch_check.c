/* SPDX-License-Identifier: Apache-2.0 */
#include "metric/batch_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "exec/exec.h"

/* Samples among which one is looked for that differs from the first. */
#define MOST_SEARCHED ((size_t)16)
/* Largest difference between a sample alone and beside another, as a part of the largest value:
 * products of other sizes sum in another order. Codes on the way amplify that. */
#define TOLERANCE 1e-3
#define TOLERANCE_WITH_CODES 0.1

#define REASON ((size_t)320)

struct batch_check {
    const struct ldnq_graph *graph;
    struct ldnq_samples *samples;
    struct ldnq_pool *pool;
    struct ldnq_arena *arena;
    struct ldnq_exec *exec;
    double tolerance;
    char reason[REASON]; /* "" while nothing was found */
};

static bool has_codes(const struct ldnq_graph *graph)
{
    for (size_t i = 0; i < graph->node_count; i++)
        if (strstr(graph->nodes[i]->op_type, "QuantizeLinear"))
            return true;
    return false;
}

static bool tensors_are_equal(const struct ldnq_tensor *a, const struct ldnq_tensor *b)
{
    size_t bytes = 0;
    return a->dtype == b->dtype && ldnq_shapes_are_equal(&a->shape, &b->shape) &&
           ldnq_tensor_bytes(a, &bytes) && (bytes == 0 || memcmp(a->data, b->data, bytes) == 0);
}

/* ---- running ------------------------------------------------------------------------------- */

/* Reads the first sample and the first one that differs from it, as batches of one. */
static enum ldnq_status read_two_samples(struct batch_check *check, struct ldnq_tensor **a,
                                         struct ldnq_tensor **b, struct ldnq_error *err)
{
    const size_t count = ldnq_size_min(ldnq_samples_count(check->samples), MOST_SEARCHED);
    LDNQ_TRY(ldnq_samples_read(check->samples, 0, 1, check->pool, check->arena, a, err));
    for (size_t other = 1; other < count; other++) {
        bool differs = false;
        LDNQ_TRY(ldnq_samples_read(check->samples, other, 1, check->pool, check->arena, b, err));
        for (size_t i = 0; i < check->graph->input_count; i++)
            differs |= !tensors_are_equal(a[i], b[i]);
        if (differs)
            break;
    }
    return LDNQ_OK;
}

static enum ldnq_status join_samples(const struct batch_check *check, struct ldnq_tensor *const *a,
                                     struct ldnq_tensor *const *b, struct ldnq_tensor **pair,
                                     struct ldnq_error *err)
{
    for (size_t i = 0; i < check->graph->input_count; i++) {
        struct ldnq_shape shape = a[i]->shape;
        size_t bytes = 0;
        shape.dim[0] = 2;
        LDNQ_TRY(ldnq_tensor_create(check->arena, a[i]->dtype, &shape, &pair[i], err));
        if (!ldnq_tensor_bytes(a[i], &bytes) || bytes == 0)
            continue;
        memcpy(pair[i]->data, a[i]->data, bytes);
        memcpy((char *)pair[i]->data + bytes, b[i]->data, bytes);
    }
    return LDNQ_OK;
}

/* outputs[o] becomes a copy of output o; NULL where it is no tensor. */
static enum ldnq_status run_and_copy_outputs(const struct batch_check *check,
                                             struct ldnq_tensor *const *inputs,
                                             struct ldnq_tensor **outputs, struct ldnq_error *err)
{
    enum ldnq_status status = ldnq_exec_run(check->exec, inputs, err);
    for (size_t o = 0; status == LDNQ_OK && o < check->graph->output_count; o++) {
        const struct ldnq_tensor *output =
            ldnq_exec_find_value(check->exec, check->graph->outputs[o]);
        size_t bytes = 0;
        outputs[o] = NULL;
        if (!output || !ldnq_tensor_bytes(output, &bytes))
            continue;
        status = ldnq_tensor_create(check->arena, output->dtype, &output->shape, &outputs[o], err);
        if (status == LDNQ_OK && bytes)
            memcpy(outputs[o]->data, output->data, bytes);
    }
    ldnq_exec_reset(check->exec);
    return status;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Whether `pair` has twice the first axis of `alone`. */
static bool is_stacked(const struct ldnq_tensor *alone, const struct ldnq_tensor *pair)
{
    struct ldnq_shape wanted = alone->shape;
    if (wanted.rank < 1)
        return false;
    wanted.dim[0] *= 2;
    return alone->dtype == pair->dtype && ldnq_shapes_are_equal(&pair->shape, &wanted);
}

/* Whether data of the pair, from its element `first` on, are those of a sample alone. */
static bool is_close(const struct ldnq_tensor *alone, const struct ldnq_tensor *pair, size_t first,
                     double tolerance)
{
    const size_t count = ldnq_tensor_count(alone);
    size_t bytes = 0;
    double largest = 0, difference = 0;
    if (alone->dtype != LDNQ_FLOAT) {
        const char *part = pair->data;
        return count == 0 || (ldnq_tensor_bytes(alone, &bytes) &&
                              memcmp(alone->data, part + first * (bytes / count), bytes) == 0);
    }
    const float *x = alone->data, *y = (const float *)pair->data + first;
    for (size_t i = 0; i < count; i++) {
        if (isnan(x[i]) && isnan(y[i]))
            continue;
        largest = fmax(largest, fabs((double)x[i]));
        if (x[i] != y[i] && !(fabs((double)x[i] - (double)y[i]) <= difference))
            difference = fabs((double)x[i] - (double)y[i]);
        if (isnan(difference))
            return false;
    }
    return difference <= tolerance * largest;
}

/* Compares with each sample alone; writes a reason where they differ. */
static void compare_with_single_runs(struct batch_check *check, struct ldnq_tensor *const *a,
                                     struct ldnq_tensor *const *b, struct ldnq_tensor *const *pair)
{
    for (size_t o = 0; o < check->graph->output_count; o++) {
        const char *name = check->graph->outputs[o]->name;
        if (!a[o] || !b[o] || !pair[o])
            continue;
        const bool stacked = is_stacked(a[o], pair[o]) && is_stacked(b[o], pair[o]);
        const size_t second = stacked ? ldnq_tensor_count(a[o]) : 0;
        if (!stacked && !(tensors_are_equal(a[o], b[o]) &&
                          ldnq_shapes_are_equal(&a[o]->shape, &pair[o]->shape)))
            snprintf(check->reason, REASON, "output '%s' has no first axis that counts samples",
                     name);
        else if (!is_close(a[o], pair[o], 0, check->tolerance) ||
                 !is_close(b[o], pair[o], second, check->tolerance))
            snprintf(check->reason, REASON,
                     "two samples together give another '%s' than each alone", name);
        if (*check->reason)
            return;
    }
}

/* Whether sample `slot` of both pairs, which is the same sample, has the same bits: products of
 * equal sizes sum in the same order, whatever the other sample is. */
static bool slot_is_independent(const struct batch_check *check, struct ldnq_tensor *const *x,
                                struct ldnq_tensor *const *y, size_t slot)
{
    for (size_t o = 0; o < check->graph->output_count; o++) {
        size_t bytes = 0;
        if (!x[o] || !y[o] || !ldnq_tensor_bytes(x[o], &bytes) || bytes == 0)
            continue;
        if (!ldnq_shapes_are_equal(&x[o]->shape, &y[o]->shape))
            return false;
        const size_t half = bytes / 2, at = slot * half;
        if (memcmp((const char *)x[o]->data + at, (const char *)y[o]->data + at, half) != 0)
            return false;
    }
    return true;
}

/* ---- the check ------------------------------------------------------------------------------- */

enum { FIRST, SECOND, BOTH, FIRST_TWICE, SECOND_TWICE, RUNS };

static enum ldnq_status allocate_runs(const struct batch_check *check, struct ldnq_tensor **x[RUNS],
                                      struct ldnq_tensor **y[RUNS], struct ldnq_error *err)
{
    for (size_t r = 0; r < RUNS; r++) {
        x[r] = ldnq_arena_alloc(check->arena, check->graph->input_count, sizeof **x, err);
        y[r] = ldnq_arena_alloc(check->arena, check->graph->output_count, sizeof **y, err);
        if (!x[r] || !y[r])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

/* The status of a run that decides nothing but whether samples can run together. */
static enum ldnq_status ignore_failed_run(enum ldnq_status status)
{
    return status == LDNQ_NOMEM || status == LDNQ_CANCELED ? status : LDNQ_OK;
}

static enum ldnq_status run_together_and_alone(struct batch_check *check, struct ldnq_error *err)
{
    struct ldnq_tensor **x[RUNS], **y[RUNS];
    struct ldnq_error failure;
    LDNQ_TRY(allocate_runs(check, x, y, err));
    LDNQ_TRY(ldnq_exec_create(check->graph, check->pool, &check->exec, err));
    LDNQ_TRY(read_two_samples(check, x[FIRST], x[SECOND], err));

    /* ---- each alone ---- */
    for (size_t r = FIRST; r <= SECOND; r++) {
        const enum ldnq_status status = run_and_copy_outputs(check, x[r], y[r], err);
        if (status != LDNQ_OK)
            return ignore_failed_run(status);
    }

    /* ---- together ---- */
    LDNQ_TRY(join_samples(check, x[FIRST], x[SECOND], x[BOTH], err));
    const enum ldnq_status together = run_and_copy_outputs(check, x[BOTH], y[BOTH], &failure);
    if (together == LDNQ_NOMEM)
        return ldnq_fail(err, together, "%s", failure.message);
    if (together != LDNQ_OK) {
        const char *file = check->graph->file, *text = failure.message;
        const size_t length = file ? strlen(file) : 0;
        if (length && strncmp(text, file, length) == 0 && strncmp(text + length, ": ", 2) == 0)
            text += length + 2;
        snprintf(check->reason, REASON, "two samples together fail: %.256s", text);
        return LDNQ_OK;
    }
    compare_with_single_runs(check, y[FIRST], y[SECOND], y[BOTH]);
    if (*check->reason)
        return LDNQ_OK;

    /* ---- each beside itself, where a small influence might pass as rounding ---- */
    LDNQ_TRY(join_samples(check, x[FIRST], x[FIRST], x[FIRST_TWICE], err));
    LDNQ_TRY(join_samples(check, x[SECOND], x[SECOND], x[SECOND_TWICE], err));
    for (size_t r = FIRST_TWICE; r <= SECOND_TWICE; r++) {
        const enum ldnq_status status = run_and_copy_outputs(check, x[r], y[r], err);
        if (status != LDNQ_OK)
            return ignore_failed_run(status);
    }
    if (!slot_is_independent(check, y[BOTH], y[FIRST_TWICE], 0) ||
        !slot_is_independent(check, y[BOTH], y[SECOND_TWICE], 1))
        snprintf(check->reason, REASON, "samples that run together change each other's output");
    return LDNQ_OK;
}

enum ldnq_status ldnq_check_batch(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                  struct ldnq_pool *pool, const struct ldnq_sink *sink,
                                  struct ldnq_error *err)
{
    struct batch_check check = {
        .graph = graph,
        .samples = samples,
        .pool = pool,
        .tolerance = has_codes(graph) ? TOLERANCE_WITH_CODES : TOLERANCE,
    };
    if (ldnq_samples_single_reason(samples))
        ldnq_sink_warn(sink, "samples run one at a time: %s", ldnq_samples_single_reason(samples));
    if (ldnq_samples_count(samples) < 2 || ldnq_samples_choose_batch_size(samples, graph, 2) < 2)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&check.arena, err));
    const enum ldnq_status status = run_together_and_alone(&check, err);
    ldnq_exec_destroy(check.exec);
    ldnq_arena_destroy(check.arena);
    LDNQ_TRY(status);
    if (!*check.reason)
        return LDNQ_OK;
    ldnq_sink_warn(sink, "samples run one at a time: %s", check.reason);
    return ldnq_samples_run_singly(samples, check.reason, err);
}
