/* SPDX-License-Identifier: Apache-2.0 */
/* goal_path.h: the order in which layers go up their ladders, by the error that a move takes away
 * for what it costs.
 *
 * Rungs   0 .. choices-1 are the codebooks of the allocation, then the last codebook with an input
 *         of 16 bits where the target has that, then float where it has float kernels
 * Cost    the part of the float weights' bytes; where the target has integer kernels, a float
 *         layer also costs its part of all multiplications, and one of 16 bits half of that
 * Owns    nothing; the path lives in the arena
 */
#ifndef LDNQ_PIPELINE_GOAL_PATH_H
#define LDNQ_PIPELINE_GOAL_PATH_H

#include "pipeline/pipeline.h"

/* What the search knows of an allocation's entries. The caller sets the first two; the others come
 * from the quantization in which every layer has its fewest bits. */
struct ldnq_goal_layers {
    bool *pinned;     /* by entry: it is not on a ladder */
    bool keeps_codes; /* a pinned layer has codes */
    double *macs;     /* multiplications per sample */
    double *input;    /* the output's error by the rounding of the input alone; 0: not rounded */
};

/* Sums up the layers of each entry. Errors: NOMEM. */
enum ldnq_status ldnq_goal_layers_read(struct ldnq_goal_layers *layers,
                                       const struct ldnq_bit_allocation *ladders,
                                       const struct ldnq_quantization *result,
                                       struct ldnq_arena *arena, struct ldnq_error *err);

struct ldnq_goal_costs {
    const struct ldnq_bit_allocation *ladders; /* costs in bytes */
    const struct ldnq_goal_layers *layers;
    bool has_integer_kernels;
    bool has_wide;  /* single layers may have inputs of 16 bits */
    bool has_float; /* the runtime computes layers in float too */
};

struct ldnq_goal_move {
    size_t entry, rung;
};

struct ldnq_goal_path {
    struct ldnq_goal_costs costs;
    struct ldnq_goal_move *moves;
    size_t move_count;
};

/* What is on a rung of a ladder with `choices` codebooks. */
bool ldnq_goal_rung_is_wide(const struct ldnq_goal_costs *costs, size_t choices, size_t rung);
bool ldnq_goal_rung_is_float(const struct ldnq_goal_costs *costs, size_t choices, size_t rung);

/* With has_float all layers end up float, but without keeps_codes for that of the last move: a file
 * without codes is no result. Errors: NOMEM. */
enum ldnq_status ldnq_goal_path_make(const struct ldnq_goal_costs *costs, struct ldnq_arena *arena,
                                     struct ldnq_goal_path *path, struct ldnq_error *err);

/* Writes the rungs of all entries after the first `moves` moves. */
void ldnq_goal_path_rungs(const struct ldnq_goal_path *path, size_t moves, size_t *rungs);

/* The bytes, and the sum of the errors, of all entries that are not pinned. */
double ldnq_goal_path_bytes(const struct ldnq_goal_path *path, const size_t *rungs);
double ldnq_goal_path_error(const struct ldnq_goal_path *path, const size_t *rungs);

/* The entry above its lowest rung, and not marked, that saves most for the error that it brings
 * back; SIZE_MAX for none. */
size_t ldnq_goal_path_find_entry_to_lower(const struct ldnq_goal_path *path, const size_t *rungs,
                                          const bool *marked);

/* The rung that the entry had before `rung` in the first `moves` moves. */
size_t ldnq_goal_path_find_lower_rung(const struct ldnq_goal_path *path, size_t entry, size_t rung,
                                      size_t moves);

#endif
