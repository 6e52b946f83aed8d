/* SPDX-License-Identifier: Apache-2.0 */
/* pooling.h: the window over one to three spatial axes that MaxPool, AveragePool and
 * LpPool share. They compute one output row (OW) at a time.
 *
 * Shapes  x (N, C, D, H, W), y (N, C, OD, OH, OW); missing axes have size 1
 * Errors  MODEL (the window does not fit the input)
 * Source  onnx.ai/onnx/operators/onnx__MaxPool.html, AveragePool, LpPool
 */
#ifndef LDNQ_OPS_POOLING_H
#define LDNQ_OPS_POOLING_H

#include "ops/shared/sliding_window.h"

/* Tap k of output o reads input element o*stride + k*dilation - begin. */
struct ldnq_pooling_axis {
    size_t in, out, kernel;
    ptrdiff_t stride, dilation, begin; /* begin: the leading pad */
    /* The end of the trailing pad. With ceil_mode the last window may reach beyond it. */
    ptrdiff_t limit;
};

/* Outputs first .. last-1 of a row read the input, not the padding, through one tap;
 * output `first` reads input column `at`. */
struct ldnq_pooling_range {
    size_t first, last, at;
};

/* At most this many taps along W have their range of output columns computed once for all rows. */
#define LDNQ_POOLING_CACHED_TAPS 16

struct ldnq_pooling {
    struct ldnq_pooling_axis axis[LDNQ_WINDOW_AXES];           /* D, H, W */
    struct ldnq_pooling_range range[LDNQ_POOLING_CACHED_TAPS]; /* by tap along W */
    /* Outputs of a row whose taps along W all read the input. */
    size_t inner_first, inner_last;
    const void *x;
    void *y;
    bool include_pad;  /* AveragePool's count_include_pad */
    bool column_major; /* MaxPool's storage_order */
    int64_t p;         /* LpPool's order of the norm */
};

/* Reads the attributes; kernel_shape is required. */
enum ldnq_status ldnq_pooling_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                         const void **attrs, struct ldnq_error *err);
/* Infers output 0; `types` is the mask of input 0's permitted dtypes. */
enum ldnq_status ldnq_pooling_infer_shape(struct ldnq_op_call *call, unsigned types,
                                          struct ldnq_error *err);
/* infer of the global poolings: every spatial axis becomes 1. */
enum ldnq_status ldnq_pooling_infer_global(struct ldnq_op_call *call, struct ldnq_error *err);
/* The geometry of a call; x and y are left NULL. */
enum ldnq_status ldnq_pooling_make(const struct ldnq_op_call *call, struct ldnq_pooling *pooling,
                                   struct ldnq_error *err);
/* Makes the geometry of a call with its x and y. */
enum ldnq_status ldnq_pooling_make_forward(const struct ldnq_op_call *call,
                                           struct ldnq_pooling *pooling, struct ldnq_error *err);
/* Runs `run` over all output rows, counted over (N*C, OD, OH); its ctx is `pooling`. */
void ldnq_pooling_run_rows(const struct ldnq_op_call *call, const struct ldnq_pooling *pooling,
                           ldnq_range_fn *run);

/* Runs `run` over all planes (N*C). */
void ldnq_pooling_run_planes(const struct ldnq_op_call *call, const struct ldnq_pooling *pooling,
                             ldnq_range_fn *run, const void *ctx);
/* D*H*W and OD*OH: elements of an input plane and output rows of a plane. */
static inline size_t ldnq_pooling_plane(const struct ldnq_pooling *pooling)
{
    return pooling->axis[0].in * pooling->axis[1].in * pooling->axis[2].in;
}
static inline size_t ldnq_pooling_rows(const struct ldnq_pooling *pooling)
{
    return pooling->axis[0].out * pooling->axis[1].out;
}

/* An output row's plane, among N*C, and its position in OD and OH. */
struct ldnq_pooling_row {
    size_t plane;
    size_t od, oh;
};
struct ldnq_pooling_row ldnq_pooling_find_row(const struct ldnq_pooling *pooling, size_t row);

/* The taps of one output that read the input, not the padding: `count` taps from tap `first` on,
 * the first of which reads element `at`. */
struct ldnq_pooling_taps {
    size_t first, count, at;
};
/* A window may be far larger than its input: loops run over these taps alone. */
struct ldnq_pooling_taps ldnq_pooling_find_taps(const struct ldnq_pooling_axis *axis, size_t o);

/* Whether most taps of a row may read nothing, so that loops over its taps would take far longer
 * than loops over the taps of each output. */
static inline bool ldnq_pooling_has_wide_windows(const struct ldnq_pooling *pooling)
{
    return pooling->axis[2].kernel > pooling->axis[2].in;
}

/* count_operations of the three records: the elements that all windows read. */
size_t ldnq_pooling_count_operations(const struct ldnq_op_call *call);

/* The range of tap k along axis `w`. */
struct ldnq_pooling_range ldnq_pooling_find_range(const struct ldnq_pooling_axis *w, size_t k);
/* The same for the last axis of `pooling`, from its table where it has the tap. */
static inline struct ldnq_pooling_range ldnq_pooling_tap_range(const struct ldnq_pooling *pooling,
                                                               size_t k)
{
    return k < LDNQ_POOLING_CACHED_TAPS ? pooling->range[k]
                                        : ldnq_pooling_find_range(&pooling->axis[2], k);
}

#endif
