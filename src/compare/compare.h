/* compare.h: what quantization did to a network, found by comparing two files.
 *
 * A float network (A, the reference) and another one (B) of the same structure, by
 * whatever tool made: nodes are paired through QuantizeLinear and DequantizeLinear,
 * renamed and reordered nodes, and folded BatchNormalizations. With samples the
 * networks run side by side, layer by layer.
 */
#ifndef LDNQ_COMPARE_H
#define LDNQ_COMPARE_H

#include "calib/calib.h"
#include "compare/comparison.h"
#include "onnx/onnx.h"

struct ldnq_diff_options {
    const struct ldnq_model *model_a, *model_b;
    /* As imported, with no pass run; they are folded and merged on the way. */
    struct ldnq_graph *graph_a, *graph_b;
    struct ldnq_samples *samples; /* opened for A's graph; NULL: structure alone */
    size_t max_samples;           /* of them the first; 0: all */
    struct ldnq_pool *pool;
    const struct ldnq_sink *sink;
};

/* Errors: MODEL, NOMEM; with samples also UNSUPPORTED (a network that can't be executed, all
 * of its nodes named; inputs that are not the other's), DATA, IO. */
enum ldnq_status ldnq_diff_create(const struct ldnq_diff_options *options, struct ldnq_arena *arena,
                                  struct ldnq_diff **out, struct ldnq_error *err);

#endif
