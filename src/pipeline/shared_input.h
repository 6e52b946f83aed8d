/* SPDX-License-Identifier: Apache-2.0 */
/* shared_input.h: layers that read the same value, such as queries, keys and values of an
 * attention, have one set of sums over it.
 *
 * The first of them runs the samples up to its node and sums; the value is not changed by the
 * codes of the others, so that they take over the sums, and the samples stay where they are.
 *
 * Owns    the stored sums, until the last of the layers, or release
 * Errors  NOMEM
 */
#ifndef LDNQ_PIPELINE_SHARED_INPUT_H
#define LDNQ_PIPELINE_SHARED_INPUT_H

#include "layer/quantized_layer.h"
#include "pipeline/layer_moments.h"

/* Layers first .. end-1 of the network, one after the other. */
struct ldnq_input_readers {
    size_t first, end;
    bool uses_input; /* sums are those of the input: what the layers share */
};

/* Finds the layers with the same input as the layer `index`, itself at least, when they are fitted
 * to `samples`. Depends on the arguments alone, so that all ranks agree. */
struct ldnq_input_readers ldnq_find_input_readers(const struct ldnq_quantized_network *network,
                                                  size_t index, size_t samples);

/* Whether the layer reads what the one before it reads, so that their matrices may be the same
 * (gram_results.h). */
bool ldnq_has_input_of_previous(const struct ldnq_quantized_network *network, size_t index);

struct ldnq_shared_input {
    struct ldnq_input_readers readers;
    struct ldnq_arena *arena; /* NULL: nothing is stored */
    struct ldnq_layer_moments moments;
};

/* Stores the sums of a layer before they are used, for the other readers. */
enum ldnq_status ldnq_shared_input_store(struct ldnq_shared_input *shared,
                                         const struct ldnq_input_readers *readers,
                                         const struct ldnq_layer_moments *moments,
                                         struct ldnq_error *err);
/* Whether the sums of the layer `index` are stored, and as it needs them. */
bool ldnq_shared_input_has(const struct ldnq_shared_input *shared, size_t index, bool holds_out);
/* Writes the stored sums to the moments of one of the readers, after init. */
void ldnq_shared_input_read(const struct ldnq_shared_input *shared,
                            struct ldnq_layer_moments *moments);
/* Frees the sums. */
void ldnq_shared_input_release(struct ldnq_shared_input *shared);

#endif
