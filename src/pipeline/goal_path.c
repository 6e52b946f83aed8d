/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/goal_path.h"

#include <math.h>
#include <string.h>

enum ldnq_status ldnq_goal_layers_read(struct ldnq_goal_layers *layers,
                                       const struct ldnq_bit_allocation *ladders,
                                       const struct ldnq_quantization *result,
                                       struct ldnq_arena *arena, struct ldnq_error *err)
{
    layers->macs = ldnq_arena_alloc(arena, ladders->count, sizeof *layers->macs, err);
    layers->input = ldnq_arena_alloc(arena, ladders->count, sizeof *layers->input, err);
    if (!layers->macs || !layers->input)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_quantized_layer *at = &result->network.layers[i];
        const double *inputs = result->output_estimate.inputs;
        size_t l = 0;
        while (l < ladders->layer_count && strcmp(ladders->layer_labels[l], at->layer.label) != 0)
            l++;
        if (l == ladders->layer_count)
            continue;
        const size_t entry = ladders->layer_entries[l];
        layers->macs[entry] +=
            (double)ldnq_layer_elements(&at->layer) * result->diagnostics[i].positions_per_sample;
        layers->input[entry] += inputs && !isnan(inputs[i]) ? inputs[i] : 0;
    }
    return LDNQ_OK;
}

/* ---- one rung ------------------------------------------------------------------------------- */

bool ldnq_goal_rung_is_wide(const struct ldnq_goal_costs *costs, size_t choices, size_t rung)
{
    return costs->has_wide && rung == choices;
}

bool ldnq_goal_rung_is_float(const struct ldnq_goal_costs *costs, size_t choices, size_t rung)
{
    return rung == choices + costs->has_wide;
}

static bool is_wide(const struct ldnq_goal_path *path, size_t rung)
{
    return ldnq_goal_rung_is_wide(&path->costs, path->costs.ladders->choices, rung);
}

static bool is_float(const struct ldnq_goal_path *path, size_t rung)
{
    return ldnq_goal_rung_is_float(&path->costs, path->costs.ladders->choices, rung);
}

/* The index of the rung's codebook in the tables of the ladders. */
static size_t find_codebook_index(const struct ldnq_goal_path *path, size_t entry, size_t rung)
{
    const size_t choices = path->costs.ladders->choices;
    return entry * choices + (is_wide(path, rung) ? choices - 1 : rung);
}

static double compute_rung_bytes(const struct ldnq_goal_path *path, size_t entry, size_t rung)
{
    const struct ldnq_bit_allocation *ladders = path->costs.ladders;
    return is_float(path, rung) ? 4 * ladders->elements[entry]
                                : ladders->costs[find_codebook_index(path, entry, rung)];
}

/* 8 bits more make steps 256 times finer. */
#define WIDE_NOISE (1.0 / 65536)

static double compute_rung_error(const struct ldnq_goal_path *path, size_t entry, size_t rung)
{
    const struct ldnq_bit_allocation *ladders = path->costs.ladders;
    const double input = path->costs.layers->input[entry] * (is_wide(path, rung) ? WIDE_NOISE : 1);
    return is_float(path, rung) ? 0
                                : ladders->errors[find_codebook_index(path, entry, rung)] + input;
}

static double sum_macs(const struct ldnq_goal_path *path)
{
    double sum = 0;
    for (size_t i = 0; i < path->costs.ladders->count; i++)
        sum += path->costs.layers->macs[i];
    return sum;
}

static double compute_rung_cost(const struct ldnq_goal_path *path, size_t entry, size_t rung)
{
    const double bytes = compute_rung_bytes(path, entry, rung) / (4 * path->costs.ladders->weights);
    const double macs = sum_macs(path);
    const double slower = is_float(path, rung) ? 1 : is_wide(path, rung) ? 0.5 : 0;
    return path->costs.has_integer_kernels && macs > 0
               ? bytes + slower * path->costs.layers->macs[entry] / macs
               : bytes;
}

/* The error that a move removes per cost. */
static double compute_gain(const struct ldnq_goal_path *path, size_t entry, size_t from, size_t to)
{
    const double cost = compute_rung_cost(path, entry, to) - compute_rung_cost(path, entry, from);
    const double error =
        compute_rung_error(path, entry, from) - compute_rung_error(path, entry, to);
    return error / fmax(cost, 1e-12);
}

/* ---- the path ------------------------------------------------------------------------------- */

/* The move with the largest gain from these rungs; false when all entries are at the top. */
static bool find_next_move(const struct ldnq_goal_path *path, const size_t *rungs,
                           struct ldnq_goal_move *move)
{
    const struct ldnq_bit_allocation *ladders = path->costs.ladders;
    double best = -INFINITY;
    for (size_t entry = 0; entry < ladders->count; entry++) {
        if (path->costs.layers->pinned[entry])
            continue;
        const size_t end = ladders->choices + path->costs.has_wide + path->costs.has_float;
        for (size_t rung = rungs[entry] + 1; rung < end; rung++) {
            const double gain = compute_gain(path, entry, rungs[entry], rung);
            if (gain > best) {
                best = gain;
                *move = (struct ldnq_goal_move){ entry, rung };
            }
        }
    }
    return best > -INFINITY;
}

enum ldnq_status ldnq_goal_path_make(const struct ldnq_goal_costs *costs, struct ldnq_arena *arena,
                                     struct ldnq_goal_path *path, struct ldnq_error *err)
{
    const size_t entries = costs->ladders->count;
    *path = (struct ldnq_goal_path){ .costs = *costs };
    path->moves =
        ldnq_arena_alloc(arena, entries * (costs->ladders->choices + 1), sizeof *path->moves, err);
    size_t *rungs = ldnq_arena_alloc(arena, entries, sizeof *rungs, err);
    if (!path->moves || !rungs)
        return LDNQ_NOMEM;
    for (struct ldnq_goal_move move; find_next_move(path, rungs, &move);) {
        path->moves[path->move_count++] = move;
        rungs[move.entry] = move.rung;
    }
    if (costs->has_float && !costs->layers->keeps_codes && path->move_count > 0)
        path->move_count--;
    return LDNQ_OK;
}

void ldnq_goal_path_rungs(const struct ldnq_goal_path *path, size_t moves, size_t *rungs)
{
    memset(rungs, 0, path->costs.ladders->count * sizeof *rungs);
    for (size_t i = 0; i < moves; i++)
        rungs[path->moves[i].entry] = path->moves[i].rung;
}

double ldnq_goal_path_bytes(const struct ldnq_goal_path *path, const size_t *rungs)
{
    double sum = 0;
    for (size_t i = 0; i < path->costs.ladders->count; i++)
        sum += path->costs.layers->pinned[i] ? 0 : compute_rung_bytes(path, i, rungs[i]);
    return sum;
}

double ldnq_goal_path_error(const struct ldnq_goal_path *path, const size_t *rungs)
{
    double sum = 0;
    for (size_t i = 0; i < path->costs.ladders->count; i++)
        sum += path->costs.layers->pinned[i] ? 0 : compute_rung_error(path, i, rungs[i]);
    return sum;
}

/* ---- down ----------------------------------------------------------------------------------- */

size_t ldnq_goal_path_find_lower_rung(const struct ldnq_goal_path *path, size_t entry, size_t rung,
                                      size_t moves)
{
    size_t lower = 0;
    for (size_t i = 0; i < moves && i < path->move_count; i++)
        if (path->moves[i].entry == entry && path->moves[i].rung < rung)
            lower = path->moves[i].rung;
    return lower;
}

size_t ldnq_goal_path_find_entry_to_lower(const struct ldnq_goal_path *path, const size_t *rungs,
                                          const bool *marked)
{
    size_t best = SIZE_MAX;
    double least = INFINITY;
    for (size_t i = 0; i < path->costs.ladders->count; i++) {
        if (rungs[i] == 0 || marked[i])
            continue;
        const size_t lower = ldnq_goal_path_find_lower_rung(path, i, rungs[i], path->move_count);
        const double gain = compute_gain(path, i, lower, rungs[i]);
        if (gain < least) {
            least = gain;
            best = i;
        }
    }
    return best;
}
