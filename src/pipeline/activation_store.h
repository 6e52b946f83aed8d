/* store.h: the activations of all calibration samples where the walk stands now.
 *
 * A generation holds, for each batch, the tensors that cross one place of the
 * network. The walk loads a batch, computes, saves what crosses the next place,
 * and releases the batch; when all are through, the next generation becomes the
 * current one. What would not fit below the ceiling goes to a temporary file:
 * the tensors come back the same to the bit.
 * Errors: IO (the temporary file), NOMEM
 */
#ifndef LDNQ_PIPELINE_ACTIVATION_STORE_H
#define LDNQ_PIPELINE_ACTIVATION_STORE_H

#include "ir/ir.h"

struct ldnq_activation_store;

/* The caller destroys it; destroy accepts NULL. The file is made in TMPDIR or
 * /tmp when it is needed, and has no name there. */
enum ldnq_status ldnq_activation_store_create(size_t batches, size_t max_bytes,
                                              struct ldnq_activation_store **out,
                                              struct ldnq_error *err);
void ldnq_activation_store_destroy(struct ldnq_activation_store *store);

/* Copies of the tensors, into the next generation. */
enum ldnq_status ldnq_activation_store_save(struct ldnq_activation_store *store, size_t batch,
                                            const struct ldnq_tensor *const *tensors, size_t count,
                                            struct ldnq_error *err);
/* The current generation's tensors of a batch, valid until it is released. */
enum ldnq_status ldnq_activation_store_load(struct ldnq_activation_store *store, size_t batch,
                                            const struct ldnq_tensor **tensors, size_t *count,
                                            struct ldnq_error *err);
void ldnq_activation_store_release(struct ldnq_activation_store *store, size_t batch);
/* The next generation becomes the current one; what is left of that is freed. */
void ldnq_activation_store_advance(struct ldnq_activation_store *store);

/* Bytes that went to the file so far, over all generations. */
size_t ldnq_activation_store_spilled_bytes(const struct ldnq_activation_store *store);

#endif
