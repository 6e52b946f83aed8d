/* exact.h: the best codes of rows with few inputs, by search over all of them.
 *
 * Solves  min over codes q  (a q - w)' H (a q - w), exactly, for scales a around the
 *         row's own, each followed by a = q'Hw / q'Hq (over all rows where they share
 *         one). Codes are taken input by input, nearest first; a branch ends where
 *         its part of the sum is no less than the best so far (Schnorr and Euchner's
 *         enumeration of a lattice: Math. Programming 66, 1994)
 * Shapes  as in descent.h: a problem without a mean, codes and scales in and out,
 *         errors (G, M) the rows' objectives in and out
 * Ends    at LDNQ_EXACT_NODES nodes a search; what was found till then counts
 * Errors  NOMEM
 * A problem with more inputs than LDNQ_EXACT_INPUTS or with several scales a row is
 * left as it is, a group whose matrix is not positive definite too.
 */
#ifndef LDNQ_QUANT_EXACT_H
#define LDNQ_QUANT_EXACT_H

#include "quant/quant.h"

#define LDNQ_EXACT_INPUTS 32
#define LDNQ_EXACT_NODES 1000

/* `steps` scales to both sides of a row's own are tried, each 3 % from the next. */
enum ldnq_status ldnq_search_exactly(const struct ldnq_layer_problem *problem, int steps,
                                     struct ldnq_pool *pool, int8_t *codes, float *scales,
                                     double *errors, struct ldnq_error *err);

#endif
