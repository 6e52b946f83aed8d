/* SPDX-License-Identifier: Apache-2.0 */
/* named_arrays.h: which array of a file, or of the caller's, belongs to which input.
 *
 * Owns  nothing; lists and labels belong to the arena
 */
#ifndef LDNQ_CALIB_NAMED_ARRAYS_H
#define LDNQ_CALIB_NAMED_ARRAYS_H

#include "calib/npz.h"
#include "calib/source.h"

struct ldnq_named_arrays {
    size_t count;             /* samples */
    struct ldnq_array **data; /* (inputs) */
    struct ldnq_shape *rows;  /* (inputs) the shape of one sample */
    bool *is_shared;          /* (inputs) the array is one sample, and that of all samples */
    const int64_t *labels;    /* (count) or NULL */
};

/* Finds the array of each input, by name (or the only one), and the samples in them. One array of
 * an input without a batch, such as a scalar, may go with many samples of the others. Arrays that
 * no input reads are left out with a warning. Labels are read where the options want them.
 * Errors: DATA (an input without data; counts that differ; arrays that do not fit), NOMEM. */
enum ldnq_status ldnq_named_arrays_match(struct ldnq_samples *samples, const char *path,
                                         const struct ldnq_npz *npz, struct ldnq_arena *arena,
                                         struct ldnq_named_arrays *out, struct ldnq_error *err);

/* The same for the array of a .npy file, for a model with one input. Errors: DATA, NOMEM. */
enum ldnq_status ldnq_named_arrays_match_single(struct ldnq_samples *samples, const char *path,
                                                struct ldnq_array *array, struct ldnq_arena *arena,
                                                struct ldnq_named_arrays *out,
                                                struct ldnq_error *err);

/* The index of a sample's first element in the array of the input. */
size_t ldnq_named_arrays_find_sample(const struct ldnq_named_arrays *arrays, size_t input,
                                     size_t sample);

#endif
