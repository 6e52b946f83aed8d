/* SPDX-License-Identifier: Apache-2.0 */
/* activation_store.h: activations of all calibration samples at one node of the network.
 *
 * A generation has, for each batch, the tensors that are live before a node. For each batch
 * the caller loads the current generation, computes, saves the tensors for a later node into
 * the next generation, and releases the batch. Then the next generation becomes the current
 * one. Tensors that exceed max_bytes go to a temporary file; they come back the same bits.
 * Errors  IO (the temporary file), NOMEM
 */
#ifndef LDNQ_PIPELINE_ACTIVATION_STORE_H
#define LDNQ_PIPELINE_ACTIVATION_STORE_H

#include "ir/ir.h"

struct ldnq_activation_store;

/* The caller destroys the store; destroy accepts NULL. The file is created in TMPDIR or /tmp
 * when it is needed, and unlinked at once. */
enum ldnq_status ldnq_activation_store_create(size_t batches, size_t max_bytes,
                                              struct ldnq_activation_store **out,
                                              struct ldnq_error *err);
void ldnq_activation_store_destroy(struct ldnq_activation_store *store);

/* Copies the tensors into the next generation. */
enum ldnq_status ldnq_activation_store_save(struct ldnq_activation_store *store, size_t batch,
                                            const struct ldnq_tensor *const *tensors, size_t count,
                                            struct ldnq_error *err);
/* Returns the tensors of a batch in the current generation; valid until it is released. */
enum ldnq_status ldnq_activation_store_load(struct ldnq_activation_store *store, size_t batch,
                                            const struct ldnq_tensor **tensors, size_t *count,
                                            struct ldnq_error *err);
void ldnq_activation_store_release(struct ldnq_activation_store *store, size_t batch);
/* Makes the next generation the current one, and frees the old one. */
void ldnq_activation_store_advance(struct ldnq_activation_store *store);

/* Bytes of the current generation, and whether a generation of `bytes` stays in memory. */
size_t ldnq_activation_store_count_bytes(const struct ldnq_activation_store *store);
bool ldnq_activation_store_fits(const struct ldnq_activation_store *store, size_t bytes);

/* Bytes written to the file so far, over all generations. */
size_t ldnq_activation_store_spilled_bytes(const struct ldnq_activation_store *store);

#endif
