/* pooling.h: what MaxPool, AveragePool and LpPool share: the window over one to three
 * spatial axes, walked one output row at a time.
 *
 * Shapes  x (N, C, D, H, W), y (N, C, OD, OH, OW); missing axes have one element
 */
#ifndef LDNQ_OPS_POOLING_H
#define LDNQ_OPS_POOLING_H

#include "ops/shared/sliding_window.h"

struct ldnq_pooling_axis {
    size_t in, out, kernel;
    ptrdiff_t stride, dilation, begin;
    /* First position behind the trailing pad, where ceil_mode's last window may
     * reach beyond. */
    ptrdiff_t limit;
};

/* Outputs first .. last-1 of a row are those whose tap reads inside of the
 * line; output first reads at `at`. */
struct ldnq_pooling_span {
    size_t first, last, at;
};

/* Taps of a line whose spans are worked out once for all rows. */
#define LDNQ_POOLING_SPANS 16

struct ldnq_pooling {
    struct ldnq_pooling_axis axis[LDNQ_WINDOW_AXES]; /* D, H, W */
    struct ldnq_pooling_span span[LDNQ_POOLING_SPANS];
    /* Outputs of a row all of whose taps read inside of the line. */
    size_t inner_first, inner_last;
    const void *x;
    void *y;
    bool include_pad;  /* AveragePool's count_include_pad */
    bool column_major; /* MaxPool's storage_order */
    int64_t p;         /* LpPool's */
};

/* Reads the attributes and wants kernel_shape. */
enum ldnq_status ldnq_pooling_read(const struct ldnq_node *node, struct ldnq_arena *arena,
                                   const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_pooling_infer(struct ldnq_op_call *call, unsigned types,
                                    struct ldnq_error *err);
/* infer of the global ones: every spatial axis becomes 1. */
enum ldnq_status ldnq_pooling_infer_global(struct ldnq_op_call *call, struct ldnq_error *err);
/* The geometry of a call, without its data. */
enum ldnq_status ldnq_pooling_of(const struct ldnq_op_call *call, struct ldnq_pooling *pooling,
                                 struct ldnq_error *err);
/* That of a call, and run over all output rows (plane, od, oh), where
 * ctx is the struct ldnq_pooling. */
enum ldnq_status ldnq_pooling_run(const struct ldnq_op_call *call, ldnq_range_fn *run,
                                  struct ldnq_error *err);

/* The same over all planes, for gradients: ctx holds the geometry. */
void ldnq_pooling_for_planes(const struct ldnq_op_call *call, const struct ldnq_pooling *pooling,
                             ldnq_range_fn *run, const void *ctx);
/* Elements of an input plane; output rows of a plane. */
static inline size_t ldnq_pooling_inputs(const struct ldnq_pooling *pooling)
{
    return pooling->axis[0].in * pooling->axis[1].in * pooling->axis[2].in;
}
static inline size_t ldnq_pooling_rows(const struct ldnq_pooling *pooling)
{
    return pooling->axis[0].out * pooling->axis[1].out;
}

/* Output row -> its input plane's number and the first tap's place in D and H. */
struct ldnq_pooling_row {
    size_t plane;
    size_t od, oh;
};
struct ldnq_pooling_row ldnq_pooling_row(const struct ldnq_pooling *pooling, size_t row);

/* Where tap k of output o reads; false when that is padding. */
static inline bool ldnq_pooling_tap(const struct ldnq_pooling_axis *axis, size_t o, size_t k,
                                    size_t *at)
{
    ptrdiff_t place = (ptrdiff_t)o * axis->stride - axis->begin + (ptrdiff_t)k * axis->dilation;
    *at = (size_t)place;
    return place >= 0 && place < (ptrdiff_t)axis->in;
}

/* The span of tap k along a line. */
struct ldnq_pooling_span ldnq_pooling_span(const struct ldnq_pooling_axis *line, size_t k);
static inline struct ldnq_pooling_span ldnq_pooling_tap_span(const struct ldnq_pooling *pooling,
                                                             size_t k)
{
    return k < LDNQ_POOLING_SPANS ? pooling->span[k] : ldnq_pooling_span(&pooling->axis[2], k);
}

#endif
