/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/shared_input.h"

#include <string.h>

/* Smaller layers take the time of their batches, and their rows are summed exactly. */
#define LEAST_ELEMENTS ((size_t)1 << 20)

/* ---- who reads the same input --------------------------------------------------------------- */

static const struct ldnq_value *find_input(const struct ldnq_layer *layer)
{
    return layer->node->inputs[layer->op->data_input];
}

/* Whether the layer's sums are of nothing but its input. */
static bool is_plain(const struct ldnq_layer *layer)
{
    return !layer->body && !layer->product && !ldnq_layer_is_table(layer) &&
           !layer->op->is_lookup && !layer->op->prepare && layer->geometry.groups == 1;
}

static bool have_same_input(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    return is_plain(a) && is_plain(b) && a->op == b->op && find_input(a) == find_input(b) &&
           a->geometry.cols == b->geometry.cols && a->geometry.kernel == 1 &&
           b->geometry.kernel == 1;
}

bool ldnq_has_input_of_previous(const struct ldnq_quantized_network *network, size_t index)
{
    return index > 0 && index < network->count &&
           have_same_input(&network->layers[index - 1].layer, &network->layers[index].layer);
}

/* The positions of a sample; 0 where the shape says nothing of them, as of the words of a text, and
 * where an LSTM has its last state alone as an output. */
static double count_positions_per_sample(const struct ldnq_layer *layer)
{
    const struct ldnq_value *output = layer->node->outputs[0];
    const struct ldnq_shape *shape = output ? &output->shape : NULL;
    size_t unknown = 0;
    if (!shape)
        return 0;
    for (int axis = 0; axis < shape->rank; axis++)
        unknown += shape->dim[axis] < 0;
    return unknown > 1 || shape->rank < 0
               ? 0
               : ldnq_layer_macs_per_sample(layer) / (double)ldnq_layer_elements(layer);
}

/* Where positions are fewer than columns, products with the positions themselves take less. */
static bool has_few_positions(const struct ldnq_layer *layer, size_t samples)
{
    const double positions = count_positions_per_sample(layer) * (double)samples;
    return positions > 0 && positions < (double)layer->geometry.cols;
}

struct ldnq_input_readers ldnq_find_input_readers(const struct ldnq_quantized_network *network,
                                                  size_t index, size_t samples)
{
    const struct ldnq_quantized_layer *layers = network->layers;
    const struct ldnq_layer *layer = &layers[index].layer;
    struct ldnq_input_readers readers = { .first = index, .end = index + 1 };
    const size_t cols = layer->geometry.cols;
    size_t rows = 0;
    if (!is_plain(layer) || has_few_positions(layer, samples))
        return readers;
    while (readers.first > 0 && have_same_input(&layers[readers.first - 1].layer, layer))
        readers.first--;
    while (readers.end < network->count && have_same_input(&layers[readers.end].layer, layer))
        readers.end++;
    for (size_t i = readers.first; i < readers.end; i++)
        rows += layers[i].layer.geometry.rows;
    readers.uses_input = rows > cols && cols > 0 && rows >= LEAST_ELEMENTS / cols;
    if (!readers.uses_input)
        return (struct ldnq_input_readers){ .first = index, .end = index + 1 };
    return readers;
}

/* ---- their sums ----------------------------------------------------------------------------- */

static void copy_part(struct ldnq_statistics *to, const struct ldnq_statistics *from,
                      struct ldnq_input_error *error_to, const struct ldnq_input_error *error_from)
{
    const size_t k = from->geometry.cols;
    memcpy(to->gram, from->gram, k * k * sizeof *from->gram);
    memcpy(to->mean, from->mean, k * sizeof *from->mean);
    to->positions = from->positions;
    if (error_from->cols)
        ldnq_input_error_copy(error_to, error_from);
}

static void copy_sums(struct ldnq_layer_moments *to, const struct ldnq_layer_moments *from)
{
    copy_part(&to->statistics, &from->statistics, &to->compensation.input,
              &from->compensation.input);
    if (from->held_out_arena)
        copy_part(&to->held_out_statistics, &from->held_out_statistics,
                  &to->held_out_compensation.input, &from->held_out_compensation.input);
    to->all_positions = from->all_positions;
}

/* Moments without anything of a layer's own. */
static enum ldnq_status store_sums(struct ldnq_shared_input *shared,
                                   const struct ldnq_layer_moments *moments, struct ldnq_error *err)
{
    const struct ldnq_layer_geometry geometry = { .groups = 1,
                                                  .cols = moments->statistics.geometry.cols };
    const struct ldnq_layer_moments_parts parts = { .compensates = moments->uses_input,
                                                    .holds_out = moments->held_out_arena != NULL,
                                                    .uses_input = moments->uses_input };
    LDNQ_TRY(ldnq_layer_moments_init(&shared->moments, &geometry, NULL, parts,
                                     moments->statistics.pool, shared->arena, err));
    copy_sums(&shared->moments, moments);
    return LDNQ_OK;
}

enum ldnq_status ldnq_shared_input_store(struct ldnq_shared_input *shared,
                                         const struct ldnq_input_readers *readers,
                                         const struct ldnq_layer_moments *moments,
                                         struct ldnq_error *err)
{
    ldnq_shared_input_release(shared);
    if (!readers->uses_input || readers->end - readers->first < 2 || moments->all_positions == 0 ||
        !moments->statistics.gram)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&shared->arena, err));
    shared->readers = *readers;
    const enum ldnq_status status = store_sums(shared, moments, err);
    if (status != LDNQ_OK)
        ldnq_shared_input_release(shared);
    return status;
}

bool ldnq_shared_input_has(const struct ldnq_shared_input *shared, size_t index, bool holds_out)
{
    return shared->arena && index >= shared->readers.first && index < shared->readers.end &&
           holds_out == (shared->moments.held_out_arena != NULL);
}

void ldnq_shared_input_read(const struct ldnq_shared_input *shared,
                            struct ldnq_layer_moments *moments)
{
    copy_sums(moments, &shared->moments);
}

void ldnq_shared_input_release(struct ldnq_shared_input *shared)
{
    ldnq_layer_moments_release(&shared->moments);
    ldnq_arena_destroy(shared->arena);
    *shared = (struct ldnq_shared_input){ .arena = NULL };
}
