/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/growing_list.h"
#include "base/ranks.h"

#define FORMAT 1u
#define NAME_SIZE 32 /* of a solver in the file */

struct file_header {
    char magic[8];
    uint64_t format, key, index, size; /* size: of the record */
};

static const char magic[8] = { 'l', 'd', 'n', 'q', 'l', 'a', 'y', 'r' };

static char *make_path(const struct ldnq_checkpoint *checkpoint, size_t index,
                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    return ldnq_arena_printf(arena, err, "%s/" LDNQ_CHECKPOINT_PREFIX "%04zu-%05zu.layer",
                             checkpoint->folder, checkpoint->fits, index);
}

void ldnq_checkpoint_finish(struct ldnq_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    ldnq_free(checkpoint->trace);
    checkpoint->trace = NULL;
    checkpoint->trace_count = checkpoint->trace_capacity = 0;
}

/* ---- one list of fields for writing and reading ---------------------------------------------- */

/* Moves fields to or from the bytes of a record; without bytes it counts them. */
struct record_cursor {
    unsigned char *bytes;
    size_t size, at;
    bool reads;
    bool failed; /* the bytes end early, or are no record of this layer */
};

static void transfer_field(struct record_cursor *cursor, void *field, size_t size)
{
    if (cursor->failed || (cursor->bytes && size > cursor->size - cursor->at)) {
        cursor->failed = true;
        return;
    }
    if (cursor->bytes && size > 0) {
        if (cursor->reads)
            memcpy(field, cursor->bytes + cursor->at, size);
        else
            memcpy(cursor->bytes + cursor->at, field, size);
    }
    cursor->at += size;
}

#define TRANSFER(cursor, field) transfer_field((cursor), &(field), sizeof(field))

/* A number that the reader knows already. */
static void transfer_known_number(struct record_cursor *cursor, size_t known)
{
    uint64_t value = known;
    TRANSFER(cursor, value);
    cursor->failed |= value != known;
}

/* Reads or writes the solver as its name; NULL is none. */
static const struct ldnq_solver *transfer_solver(struct record_cursor *cursor, const char *name)
{
    char text[NAME_SIZE] = "";
    if (!cursor->reads && name)
        snprintf(text, sizeof text, "%s", name);
    TRANSFER(cursor, text);
    text[NAME_SIZE - 1] = '\0';
    return ldnq_solver_find(text);
}

static void transfer_choice(struct record_cursor *cursor, struct ldnq_layer_choice *choice)
{
    const struct ldnq_solver *rounding = transfer_solver(cursor, choice->rounding);
    choice->rounding = rounding ? rounding->name : NULL;
    TRANSFER(cursor, choice->fit);
    TRANSFER(cursor, choice->damping);
    TRANSFER(cursor, choice->keeps_bias);
    TRANSFER(cursor, choice->fitted_error);
    TRANSFER(cursor, choice->damped_error);
    TRANSFER(cursor, choice->rounded_error);
}

static void transfer_diagnostics(struct record_cursor *cursor, struct ldnq_layer_diagnostics *d)
{
    transfer_choice(cursor, &d->choice);
    d->solver = transfer_solver(cursor, d->solver ? d->solver->name : NULL);
    TRANSFER(cursor, d->error_start);
    TRANSFER(cursor, d->change);
    TRANSFER(cursor, d->iterations);
    TRANSFER(cursor, d->rho);
    TRANSFER(cursor, d->lambda);
    TRANSFER(cursor, d->damping);
    TRANSFER(cursor, d->remaining_error);
    TRANSFER(cursor, d->late);
    TRANSFER(cursor, d->positions);
    TRANSFER(cursor, d->positions_per_sample);
    TRANSFER(cursor, d->varying);
    TRANSFER(cursor, d->rank);
    TRANSFER(cursor, d->seconds);
    TRANSFER(cursor, d->solver_seconds);
}

static void transfer_trace_row(struct record_cursor *cursor, struct ldnq_trace_row *row)
{
    TRANSFER(cursor, row->iteration);
    TRANSFER(cursor, row->objective);
    TRANSFER(cursor, row->residual);
    TRANSFER(cursor, row->changed);
    TRANSFER(cursor, row->active);
    TRANSFER(cursor, row->rho);
}

/* All but the trace. `deviation` has the rows of the layer. */
static void transfer_layer(struct record_cursor *cursor, const struct ldnq_layer_record *record,
                           float *deviation)
{
    const struct ldnq_layer *layer = &record->quantized->layer;
    struct ldnq_layer_solution *solution = record->solution;
    const size_t rows = ldnq_layer_rows(layer), elements = ldnq_layer_elements(layer);
    const size_t scales = rows * ldnq_quantized_scales_per_row(record->quantized);
    transfer_known_number(cursor, rows);
    transfer_known_number(cursor, elements);
    transfer_known_number(cursor, scales);
    transfer_known_number(cursor, layer->bias != NULL);
    transfer_field(cursor, solution->codes, elements * sizeof *solution->codes);
    transfer_field(cursor, solution->scales, scales * sizeof *solution->scales);
    if (layer->bias)
        transfer_field(cursor, solution->bias, rows * sizeof *solution->bias);
    bool has_deviation = record->diagnostics->deviation != NULL;
    TRANSFER(cursor, has_deviation);
    if (has_deviation)
        transfer_field(cursor, deviation, rows * sizeof *deviation);
    record->diagnostics->deviation = has_deviation ? deviation : NULL;
    TRANSFER(cursor, solution->error_start);
    TRANSFER(cursor, solution->error);
    TRANSFER(cursor, solution->iterations);
    TRANSFER(cursor, solution->rho);
    transfer_diagnostics(cursor, record->diagnostics);
}

/* ---- the solver's iterations ----------------------------------------------------------------- */

/* A row for which there is no memory is lost: it is a picture's, not the result's. */
static void store_trace_row(void *ctx, const struct ldnq_trace_row *row)
{
    struct ldnq_checkpoint *checkpoint = ctx;
    if (ldnq_list_reserve(NULL, &checkpoint->trace, checkpoint->trace_count,
                          &checkpoint->trace_capacity, sizeof *checkpoint->trace, NULL) == LDNQ_OK)
        checkpoint->trace[checkpoint->trace_count++] = *row;
    if (checkpoint->next_trace)
        checkpoint->next_trace(checkpoint->next_trace_ctx, row);
}

void ldnq_checkpoint_trace_solver(struct ldnq_checkpoint *checkpoint,
                                  struct ldnq_solver_options *options)
{
    if (!checkpoint)
        return;
    checkpoint->trace_count = 0;
    checkpoint->next_trace = options->trace;
    checkpoint->next_trace_ctx = options->trace_ctx;
    options->trace = store_trace_row;
    options->trace_ctx = checkpoint;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* Finds the record in the bytes of a file; false where they are none of this fit and layer.
 * *is_damaged: they are, or were, a record. */
static bool find_record(const struct ldnq_checkpoint *checkpoint, size_t index,
                        unsigned char *bytes, size_t size, struct record_cursor *cursor,
                        bool *is_damaged)
{
    struct file_header header;
    uint64_t hash;
    *is_damaged = true;
    if (size < sizeof header + sizeof hash)
        return false;
    memcpy(&header, bytes, sizeof header);
    memcpy(&hash, bytes + size - sizeof hash, sizeof hash);
    if (hash != XXH3_64bits(bytes, size - sizeof hash) ||
        memcmp(header.magic, magic, sizeof magic) != 0 ||
        header.size != size - sizeof header - sizeof hash)
        return false;
    *is_damaged = false;
    *cursor = (struct record_cursor){ .bytes = bytes + sizeof header,
                                      .size = (size_t)header.size,
                                      .reads = true };
    return header.format == FORMAT && header.key == checkpoint->key && header.index == index;
}

/* Reads the file of a layer into the arena. *found is false where there is no good one. */
static enum ldnq_status read_record(const struct ldnq_checkpoint *checkpoint, size_t index,
                                    struct ldnq_arena *arena, struct record_cursor *cursor,
                                    bool *found, const char **damaged, struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    bool is_damaged;
    struct ldnq_error reason;
    const char *path = make_path(checkpoint, index, arena, err);
    *found = false;
    *damaged = NULL;
    if (!path)
        return LDNQ_NOMEM;
    const enum ldnq_status status = ldnq_file_read(path, arena, &bytes, &size, &reason);
    if (status == LDNQ_NOMEM)
        return ldnq_fail(err, status, "%s", reason.message);
    if (status != LDNQ_OK)
        return LDNQ_OK;
    *found = find_record(checkpoint, index, bytes, size, cursor, &is_damaged);
    *damaged = is_damaged ? path : NULL;
    return LDNQ_OK;
}

static enum ldnq_status check_record(struct ldnq_checkpoint *checkpoint, size_t index,
                                     const struct ldnq_sink *sink, bool *found,
                                     struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    struct record_cursor cursor;
    const char *damaged;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status =
        read_record(checkpoint, index, arena, &cursor, found, &damaged, err);
    if (status == LDNQ_OK && damaged)
        ldnq_sink_warn(sink, "%s: is damaged; its layer and those after it are fitted again",
                       damaged);
    ldnq_arena_destroy(arena);
    return status;
}

/* Hashes all that the fit depends on and that may differ between the fits of one run. */
static uint64_t hash_fit(const struct ldnq_quantizer *quantizer)
{
    const struct ldnq_quantized_network *network = &quantizer->result->network;
    const struct ldnq_quantize_options *options = quantizer->options;
    const uint64_t whole[] = { network->count,
                               options->fine_tune.steps,
                               options->cascade,
                               options->copies,
                               options->seed,
                               options->fit.positions_per_column,
                               options->block,
                               options->product_block,
                               quantizer->means != NULL,
                               quantizer->placement ? quantizer->placement->count : 0 };
    const double numbers[] = { options->lambda, options->fit.macs };
    uint64_t hash = XXH3_64bits(whole, sizeof whole);
    hash = XXH3_64bits_withSeed(numbers, sizeof numbers, hash);
    hash = XXH3_64bits_withSeed(options->solver->name, strlen(options->solver->name), hash);
    for (size_t i = 0; i < network->count; i++) {
        const struct ldnq_quantized_layer *at = &network->layers[i];
        const char *label = at->layer.label;
        const uint64_t layer[] = { at->codebook->count, (uint64_t)at->granularity,
                                   ldnq_layer_rows(&at->layer), ldnq_layer_elements(&at->layer) };
        hash = XXH3_64bits_withSeed(label, strlen(label), hash);
        hash = XXH3_64bits_withSeed(at->codebook->name, strlen(at->codebook->name), hash);
        hash = XXH3_64bits_withSeed(layer, sizeof layer, hash);
        hash = XXH3_64bits_withSeed(&at->input_scale, sizeof at->input_scale, hash);
    }
    return hash;
}

enum ldnq_status ldnq_checkpoint_begin_fit(struct ldnq_checkpoint *checkpoint,
                                           const struct ldnq_quantizer *quantizer,
                                           struct ldnq_error *err)
{
    bool found = true;
    if (!checkpoint)
        return LDNQ_OK;
    checkpoint->fits++;
    checkpoint->ranks = ldnq_pool_ranks(quantizer->options->pool);
    checkpoint->key = hash_fit(quantizer);
    checkpoint->layers = quantizer->result->network.count;
    checkpoint->recorded = 0;
    while (checkpoint->recorded < checkpoint->layers && ldnq_ranks_is_first(checkpoint->ranks)) {
        LDNQ_TRY(
            check_record(checkpoint, checkpoint->recorded, quantizer->options->sink, &found, err));
        if (!found)
            break;
        checkpoint->recorded++;
    }
    LDNQ_TRY(ldnq_ranks_broadcast(checkpoint->ranks, 0, &checkpoint->recorded,
                                  sizeof checkpoint->recorded, err));
    checkpoint->is_fitting = checkpoint->recorded == 0;
    return LDNQ_OK;
}

bool ldnq_checkpoint_has_layer(const struct ldnq_checkpoint *checkpoint, size_t index)
{
    return checkpoint && index < checkpoint->recorded;
}

bool ldnq_checkpoint_has_all_layers(const struct ldnq_checkpoint *checkpoint)
{
    return checkpoint && checkpoint->recorded == checkpoint->layers;
}

static void replay_trace(struct record_cursor *cursor, const struct ldnq_checkpoint *checkpoint)
{
    uint64_t count = 0;
    TRANSFER(cursor, count);
    for (uint64_t i = 0; i < count && !cursor->failed; i++) {
        struct ldnq_trace_row row = { 0 };
        transfer_trace_row(cursor, &row);
        if (!cursor->failed && checkpoint->next_trace)
            checkpoint->next_trace(checkpoint->next_trace_ctx, &row);
    }
}

/* All ranks get what the first one has read. */
static enum ldnq_status share_record(const struct ldnq_checkpoint *checkpoint,
                                     struct record_cursor *cursor, bool *found,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    uint64_t size = *found ? cursor->size : 0;
    if (ldnq_ranks_count(checkpoint->ranks) == 1)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_ranks_broadcast(checkpoint->ranks, 0, &size, sizeof size, err));
    *found = size > 0;
    if (size > 0 && !ldnq_ranks_is_first(checkpoint->ranks)) {
        *cursor = (struct record_cursor){ .size = (size_t)size, .reads = true };
        cursor->bytes = ldnq_arena_alloc(arena, (size_t)size, 1, err);
        if (!cursor->bytes)
            return LDNQ_NOMEM;
    }
    return ldnq_ranks_broadcast(checkpoint->ranks, 0, cursor->bytes, (size_t)size, err);
}

static enum ldnq_status read_layer(const struct ldnq_checkpoint *checkpoint,
                                   const struct ldnq_layer_record *record, float *deviation,
                                   struct ldnq_arena *scratch, struct ldnq_error *err)
{
    struct record_cursor cursor = { .failed = true };
    bool found = false;
    const char *damaged;
    if (ldnq_ranks_is_first(checkpoint->ranks))
        LDNQ_TRY(read_record(checkpoint, record->index, scratch, &cursor, &found, &damaged, err));
    LDNQ_TRY(share_record(checkpoint, &cursor, &found, scratch, err));
    if (found)
        transfer_layer(&cursor, record, deviation);
    if (found)
        replay_trace(&cursor, checkpoint);
    if (!found || cursor.failed)
        return ldnq_fail(err, LDNQ_IO,
                         "%s: the record of layer %zu has changed since the run began",
                         checkpoint->folder, record->index);
    return LDNQ_OK;
}

enum ldnq_status ldnq_checkpoint_read_layer(struct ldnq_checkpoint *checkpoint,
                                            const struct ldnq_layer_record *record,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_arena *scratch;
    float *deviation =
        ldnq_arena_alloc(arena, ldnq_layer_rows(&record->quantized->layer), sizeof *deviation, err);
    if (!deviation)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_arena_create(&scratch, err));
    const enum ldnq_status status = read_layer(checkpoint, record, deviation, scratch, err);
    ldnq_arena_destroy(scratch);
    checkpoint->is_fitting =
        record->index + 1 == checkpoint->recorded && !ldnq_checkpoint_has_all_layers(checkpoint);
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void transfer_record(struct record_cursor *cursor, struct ldnq_checkpoint *checkpoint,
                            const struct ldnq_layer_record *record)
{
    uint64_t count = checkpoint->trace_count;
    transfer_layer(cursor, record, (float *)record->diagnostics->deviation);
    TRANSFER(cursor, count);
    for (size_t i = 0; i < checkpoint->trace_count; i++)
        transfer_trace_row(cursor, &checkpoint->trace[i]);
}

static enum ldnq_status write_file(struct ldnq_checkpoint *checkpoint,
                                   const struct ldnq_layer_record *record, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    struct record_cursor cursor = { .bytes = NULL };
    transfer_record(&cursor, checkpoint, record);
    const struct file_header header = {
        { magic[0], magic[1], magic[2], magic[3], magic[4], magic[5], magic[6], magic[7] },
        FORMAT,
        checkpoint->key,
        record->index,
        cursor.at,
    };
    const size_t size = sizeof header + cursor.at + sizeof(uint64_t);
    const char *path = make_path(checkpoint, record->index, arena, err);
    unsigned char *bytes = ldnq_arena_alloc(arena, size, 1, err);
    if (!path || !bytes)
        return LDNQ_NOMEM;
    memcpy(bytes, &header, sizeof header);
    cursor = (struct record_cursor){ .bytes = bytes + sizeof header, .size = cursor.at };
    transfer_record(&cursor, checkpoint, record);
    const uint64_t hash = XXH3_64bits(bytes, size - sizeof hash);
    memcpy(bytes + size - sizeof hash, &hash, sizeof hash);
    return ldnq_file_write(path, bytes, size, err);
}

enum ldnq_status ldnq_checkpoint_write_layer(struct ldnq_checkpoint *checkpoint,
                                             const struct ldnq_layer_record *record,
                                             const struct ldnq_sink *sink, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    struct ldnq_error reason;
    if (!checkpoint)
        return LDNQ_OK;
    checkpoint->is_fitting = record->index + 1 < checkpoint->layers;
    if (!checkpoint->failed && ldnq_ranks_is_first(checkpoint->ranks)) {
        LDNQ_TRY(ldnq_arena_create(&arena, err));
        const enum ldnq_status status = write_file(checkpoint, record, arena, &reason);
        ldnq_arena_destroy(arena);
        if (status == LDNQ_NOMEM)
            return ldnq_fail(err, status, "%s", reason.message);
        checkpoint->failed = status != LDNQ_OK;
        if (checkpoint->failed)
            ldnq_sink_warn(sink, "%s; the checkpoint ends here, and the run goes on without it",
                           reason.message);
    }
    checkpoint->trace_count = 0;
    return checkpoint->ends_after_layer ? ldnq_fail(err, LDNQ_CANCELED, "canceled") : LDNQ_OK;
}

bool ldnq_checkpoint_end_after_layer(struct ldnq_checkpoint *checkpoint)
{
    if (!checkpoint || !checkpoint->is_fitting)
        return false;
    checkpoint->ends_after_layer = true;
    return true;
}
