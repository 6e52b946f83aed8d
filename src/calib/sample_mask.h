/* SPDX-License-Identifier: Apache-2.0 */
/* sample_mask.h: cut off the padding of samples that a mask among the inputs marks.
 *
 * Batches of sentences are padded to one length, and an input such as attention_mask is 0 at the
 * padding. Positions that are masked, wherever they are, are cut from the mask and all inputs of
 * its length, so that they are in no statistic and no figure: the network computes what it would
 * compute of the sentence alone.
 */
#ifndef LDNQ_CALIB_SAMPLE_MASK_H
#define LDNQ_CALIB_SAMPLE_MASK_H

#include "calib/source.h"

/* Finds the mask that the options name, or that is called attention_mask, and reads it for all
 * drawn samples. Where the model fixes the length, or rows of one sample mask different positions,
 * nothing is cut, and what is masked is left out where it would count
 * (ldnq_samples_select_unmasked). So it is where the mask is longer than the ids by the length of a
 * cache: positions of the cache are computed in no sample. Where only the mask has its length,
 * masked positions count, which a warning says. A mask of floats may be one that is added to
 * scores: 0 at positions that count. Errors: USAGE (no such input, or none with an element per
 * position), DATA (a sample that is masked as a whole), those of reading. */
enum ldnq_status ldnq_sample_mask_read(struct ldnq_samples *samples, struct ldnq_error *err);

/* `tensor` is one input of a sample, as the source reads it; *out becomes it without the padding.
 */
enum ldnq_status ldnq_sample_mask_trim(const struct ldnq_samples *samples, size_t sample,
                                       size_t input, const struct ldnq_tensor *tensor,
                                       struct ldnq_arena *arena, const struct ldnq_tensor **out,
                                       struct ldnq_error *err);

/* Whether two samples whose inputs have one shape keep it. */
bool ldnq_sample_mask_lengths_are_equal(const struct ldnq_samples *samples, size_t a, size_t b);

#endif
