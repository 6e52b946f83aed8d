/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.h: the layers that a run has fitted so far, on disk, so that a run that was ended
 * goes on where it was.
 *
 * A run fits the layers of its network once, or several times where it searches for codebooks. Its
 * fits are numbered in their order. A later run with the same inputs makes the same fits in the
 * same order; it finds their layers here, computes the forward passes again, and fits no layer
 * twice.
 *
 * Files   ldnq-FIT-LAYER.layer, one per layer: a header (the format, a hash of what the fit was
 *         asked for, the index of the layer), the record, a hash of all of it. A file appears
 *         whole: it is written under a temporary name, synced, and renamed
 * Numbers what a record returns has the bits of what was stored; byte order and sizes are the
 *         machine's
 * Owns    the trace; the folder's name belongs to the caller
 * Threads one run, one thread
 */
#ifndef LDNQ_PIPELINE_CHECKPOINT_H
#define LDNQ_PIPELINE_CHECKPOINT_H

#include "pipeline/quantizer.h"

/* All files of a checkpoint begin with this. */
#define LDNQ_CHECKPOINT_PREFIX "ldnq-"

/* Zeroed but for the folder at the start. All functions accept NULL, which stores nothing. */
struct ldnq_checkpoint {
    const char *folder;       /* the first rank's: it reads and writes */
    struct ldnq_ranks *ranks; /* of the current fit; NULL: one process */
    size_t fits;              /* fits begun */
    size_t layers, recorded;  /* layers of the current fit; of these the first that have records */
    uint64_t key;             /* hash of what the current fit was asked for */
    bool is_fitting;          /* the next layer will be fitted, and then stored */
    bool ends_after_layer;    /* the run ends when that layer is stored */
    bool failed;              /* a record could not be written: no others are */
    /* The iterations of the solver in the current layer, and the callback that also receives them.
     */
    struct ldnq_trace_row *trace;
    size_t trace_count, trace_capacity;
    void (*next_trace)(void *ctx, const struct ldnq_trace_row *row);
    void *next_trace_ctx;
};

void ldnq_checkpoint_finish(struct ldnq_checkpoint *checkpoint);

/* Counts a fit, and its first layers that have good records. A damaged record is a warning: its
 * layer and those after it are fitted again. Errors: NOMEM. */
enum ldnq_status ldnq_checkpoint_begin_fit(struct ldnq_checkpoint *checkpoint,
                                           const struct ldnq_quantizer *quantizer,
                                           struct ldnq_error *err);

bool ldnq_checkpoint_has_layer(const struct ldnq_checkpoint *checkpoint, size_t index);
/* Whether all layers of the current fit have records. */
bool ldnq_checkpoint_has_all_layers(const struct ldnq_checkpoint *checkpoint);

/* What is decided for a layer. The buffers of the solution are allocated for `quantized`, which has
 * its blocks. */
struct ldnq_layer_record {
    size_t index;
    const struct ldnq_quantized_layer *quantized;
    struct ldnq_layer_solution *solution;
    struct ldnq_layer_diagnostics *diagnostics;
};

/* Fills in solution and diagnostics of a layer that has a record, and repeats the solver's
 * iterations for the options' trace. `deviation` lives in `arena`. Errors: IO (the file has
 * vanished or changed since begin_fit), NOMEM. */
enum ldnq_status ldnq_checkpoint_read_layer(struct ldnq_checkpoint *checkpoint,
                                            const struct ldnq_layer_record *record,
                                            struct ldnq_arena *arena, struct ldnq_error *err);

/* Stores the layer. What can't be written is a warning, and the run goes on without a checkpoint.
 * Errors: CANCELED (the run was to end after this layer), NOMEM. */
enum ldnq_status ldnq_checkpoint_write_layer(struct ldnq_checkpoint *checkpoint,
                                             const struct ldnq_layer_record *record,
                                             const struct ldnq_sink *sink, struct ldnq_error *err);

/* Lets the solver's iterations also go to the records of the current fit. */
void ldnq_checkpoint_trace_solver(struct ldnq_checkpoint *checkpoint,
                                  struct ldnq_solver_options *options);

/* Lets the run end when the layer that is being fitted is stored; false where none is. */
bool ldnq_checkpoint_end_after_layer(struct ldnq_checkpoint *checkpoint);

#endif
