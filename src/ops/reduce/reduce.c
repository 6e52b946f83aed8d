/* SPDX-License-Identifier: Apache-2.0 */
/* reduce.c: the Reduce family. float32 is accumulated in double, integers in int64.
 *
 * Neighbouring axes that are both kept or both reduced are merged. The elements of an output
 * are accumulated in the order of memory; if the innermost axis is kept, up to TILE
 * neighbouring outputs are computed at the same time.
 */
#include "ops/reduce/reduce.h"

#include <math.h>

#include "base/simd.h"
#include "base/size.h"
#include "ops/shared/float_sums.h"

#define TILE ((size_t)256)

enum reduction { SUM, MEAN, MAX, MIN, PROD, L1, L2, SUM_SQUARE, LOG_SUM, LOG_SUM_EXP };

#define BIT(dtype) LDNQ_DTYPE_BIT(LDNQ_##dtype)
#define NUMBERS (BIT(FLOAT) | BIT(INT32) | BIT(INT64))
#define ORDERED (NUMBERS | BIT(INT8) | BIT(UINT8) | BIT(BOOL))

struct reduce_loop {
    enum reduction kind;
    enum ldnq_dtype dtype;
    size_t size; /* bytes per element */
    const char *x;
    char *y;
    /* Merged axes, outermost first; strides in elements of x. */
    int kept, reduced;
    size_t kept_extent[LDNQ_MAX_RANK], kept_stride[LDNQ_MAX_RANK];
    size_t reduced_extent[LDNQ_MAX_RANK], reduced_stride[LDNQ_MAX_RANK];
    size_t width; /* extent of the innermost axis if it is kept, else 1 */
    size_t run;   /* extent of the innermost axis if it is reduced, else 1 */
    size_t count; /* elements per output */
};

/* Accumulators of up to TILE outputs: `real` for float32, `whole` for integers. */
struct reduce_tile {
    size_t count;
    double real[TILE];
    double shift[TILE]; /* LOG_SUM_EXP: subtracted before the exponential */
    int64_t whole[TILE];
};

/* ---- accumulating elements ---------------------------------------------------------- */

static void load_integers_as_int64(enum ldnq_dtype dtype, const char *x_, size_t count,
                                   int64_t *out)
{
    const void *x = x_;
    for (size_t i = 0; i < count; i++) {
        switch (dtype) {
        case LDNQ_INT64:
            out[i] = ((const int64_t *)x)[i];
            break;
        case LDNQ_INT32:
            out[i] = ((const int32_t *)x)[i];
            break;
        case LDNQ_INT8:
            out[i] = ((const int8_t *)x)[i];
            break;
        default:
            out[i] = ((const uint8_t *)x)[i];
            break;
        }
    }
}

static void store_int64_as_integers(enum ldnq_dtype dtype, const int64_t *in, size_t count,
                                    char *y_)
{
    void *y = y_;
    for (size_t i = 0; i < count; i++) {
        switch (dtype) {
        case LDNQ_INT64:
            ((int64_t *)y)[i] = in[i];
            break;
        case LDNQ_INT32:
            ((int32_t *)y)[i] = (int32_t)in[i];
            break;
        default:
            ((uint8_t *)y)[i] = (uint8_t)in[i];
            break;
        }
    }
}

/* Adds element i of x to accumulator i. */
LDNQ_MULTIVERSION
static void add_columns(double *acc, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        acc[i] += (double)x[i];
}

LDNQ_MULTIVERSION
static void add_squares_of_columns(double *acc, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        acc[i] += (double)x[i] * (double)x[i];
}

#define EACH(EXPR)                                                                                 \
    for (size_t i = 0; i < count; i++) {                                                           \
        const size_t a = i * step;                                                                 \
        EXPR;                                                                                      \
    }                                                                                              \
    break

/* step 1: element i goes to accumulator i. step 0: all elements go to the first. */
static void reduce_floats(enum reduction kind, struct reduce_tile *tile, const float *x,
                          size_t count, size_t step)
{
    double *acc = tile->real;
    const double *shift = tile->shift;
    switch (kind) {
    case MAX:
        /* One NaN makes the result NaN. */
        EACH(acc[a] = (double)x[i] > acc[a] || isnan(x[i]) ? (double)x[i] : acc[a]);
    case MIN:
        EACH(acc[a] = (double)x[i] < acc[a] || isnan(x[i]) ? (double)x[i] : acc[a]);
    case PROD:
        EACH(acc[a] *= (double)x[i]);
    case L1:
        EACH(acc[a] += fabs((double)x[i]));
    case LOG_SUM_EXP:
        EACH(acc[a] += exp((double)x[i] - shift[a]));
    default:
        EACH(acc[a] += (double)x[i] * (double)x[i]);
    }
}

static void accumulate_floats(enum reduction kind, struct reduce_tile *tile, const float *x,
                              size_t count, size_t step)
{
    const bool sums = kind == SUM || kind == MEAN || kind == LOG_SUM;
    if (sums && step == 0)
        tile->real[0] += ldnq_sum_floats(x, count);
    else if (kind == MAX && step == 0 && !ldnq_has_nan(x, count))
        reduce_floats(kind, tile, &(float){ ldnq_find_max_float(x, count) }, 1, 0);
    else if (sums)
        add_columns(tile->real, x, count);
    else if (step == 1 && (kind == L2 || kind == SUM_SQUARE))
        add_squares_of_columns(tile->real, x, count);
    else
        reduce_floats(kind, tile, x, count, step);
}

/* In unsigned arithmetic, which wraps around. */
static void accumulate_integers(enum reduction kind, struct reduce_tile *tile, const int64_t *x,
                                size_t count, size_t step)
{
    int64_t *acc = tile->whole;
    switch (kind) {
    case MAX:
        EACH(acc[a] = x[i] > acc[a] ? x[i] : acc[a]);
    case MIN:
        EACH(acc[a] = x[i] < acc[a] ? x[i] : acc[a]);
    case PROD:
        EACH(acc[a] = (int64_t)((uint64_t)acc[a] * (uint64_t)x[i]));
    case L1:
        EACH(acc[a] =
                 (int64_t)((uint64_t)acc[a] + (x[i] < 0 ? 0 - (uint64_t)x[i] : (uint64_t)x[i])));
    case L2:
    case SUM_SQUARE:
        EACH(acc[a] = (int64_t)((uint64_t)acc[a] + (uint64_t)x[i] * (uint64_t)x[i]));
    default:
        EACH(acc[a] = (int64_t)((uint64_t)acc[a] + (uint64_t)x[i]));
    }
}

/* Adds consecutive elements of x; integers are converted to int64 tile by tile. */
static void accumulate_run(const struct reduce_loop *r, enum reduction kind,
                           struct reduce_tile *tile, const char *x, size_t count, size_t step)
{
    int64_t whole[TILE];
    if (r->dtype == LDNQ_FLOAT) {
        accumulate_floats(kind, tile, (const float *)(const void *)x, count, step);
        return;
    }
    for (size_t done = 0; done < count; done += TILE) {
        size_t part = ldnq_size_min(TILE, count - done);
        load_integers_as_int64(r->dtype, x + done * r->size, part, whole);
        accumulate_integers(kind, tile, whole, part, step);
    }
}

/* ---- one tile of outputs -------------------------------------------------------------- */

static void init_accumulators(const struct reduce_loop *r, enum reduction kind,
                              struct reduce_tile *tile)
{
    double real = kind == MAX ? -INFINITY : kind == MIN ? INFINITY : kind == PROD ? 1.0 : 0.0;
    int64_t low = r->dtype == LDNQ_INT64   ? INT64_MIN
                  : r->dtype == LDNQ_INT32 ? INT32_MIN
                  : r->dtype == LDNQ_INT8  ? INT8_MIN
                                           : 0;
    int64_t high = r->dtype == LDNQ_INT64   ? INT64_MAX
                   : r->dtype == LDNQ_INT32 ? INT32_MAX
                   : r->dtype == LDNQ_INT8  ? INT8_MAX
                   : r->dtype == LDNQ_BOOL  ? 1
                                            : UINT8_MAX;
    for (size_t i = 0; i < tile->count; i++) {
        tile->real[i] = real;
        tile->whole[i] = kind == MAX ? low : kind == MIN ? high : kind == PROD;
    }
}

/* Adds all elements of the outputs in the tile. x is the first element of the first output. */
static void accumulate_tile(const struct reduce_loop *r, enum reduction kind,
                            struct reduce_tile *tile, const char *x)
{
    size_t steps = r->count / r->run;
    int axes = r->reduced - (r->run > 1);
    init_accumulators(r, kind, tile);
    for (size_t step = 0; step < steps; step++) {
        size_t rest = step, at = 0;
        for (int i = axes - 1; i >= 0; i--) {
            at += rest % r->reduced_extent[i] * r->reduced_stride[i];
            rest /= r->reduced_extent[i];
        }
        if (r->run > 1)
            accumulate_run(r, kind, tile, x + at * r->size, r->run, 0);
        else
            accumulate_run(r, kind, tile, x + at * r->size, tile->count, 1);
    }
}

static void store_real_tile(const struct reduce_loop *r, const struct reduce_tile *tile, float *y)
{
    for (size_t i = 0; i < tile->count; i++) {
        double v = tile->real[i];
        if (r->kind == MEAN)
            v /= (double)r->count;
        else if (r->kind == L2)
            v = sqrt(v);
        else if (r->kind == LOG_SUM)
            v = log(v);
        else if (r->kind == LOG_SUM_EXP)
            v = log(v) + tile->shift[i];
        y[i] = (float)v;
    }
}

static void store_whole_tile(const struct reduce_loop *r, struct reduce_tile *tile, char *y)
{
    for (size_t i = 0; i < tile->count; i++) {
        int64_t *v = &tile->whole[i];
        if (r->kind == MEAN)
            *v = r->count ? *v / (int64_t)r->count : 0;
        else if (r->kind == L2)
            *v = (int64_t)sqrt((double)*v);
        else if (r->kind == LOG_SUM)
            *v = (int64_t)log((double)*v);
    }
    store_int64_as_integers(r->dtype, tile->whole, tile->count, y);
}

/* The maximum, which is subtracted before exponentials are taken; 0 if it is infinite. */
static void find_exponent_shift(const struct reduce_loop *r, struct reduce_tile *tile,
                                const char *x)
{
    accumulate_tile(r, MAX, tile, x);
    for (size_t i = 0; i < tile->count; i++)
        tile->shift[i] = isfinite(tile->real[i]) ? tile->real[i] : 0.0;
}

/* Outputs first .. last-1, in tiles that do not cross the innermost kept axis. */
static void reduce_range(const void *ctx, size_t first, size_t last)
{
    const struct reduce_loop *r = ctx;
    struct reduce_tile tile;
    while (first < last) {
        size_t rest = first, at = 0, left = r->width - first % r->width;
        for (int i = r->kept - 1; i >= 0; i--) {
            at += rest % r->kept_extent[i] * r->kept_stride[i];
            rest /= r->kept_extent[i];
        }
        const char *x = r->x + at * r->size;
        tile.count = ldnq_size_min(TILE, ldnq_size_min(left, last - first));
        if (r->kind == LOG_SUM_EXP)
            find_exponent_shift(r, &tile, x);
        accumulate_tile(r, r->kind, &tile, x);
        if (r->dtype == LDNQ_FLOAT)
            store_real_tile(r, &tile, (float *)(void *)r->y + first);
        else
            store_whole_tile(r, &tile, r->y + first * r->size);
        first += tile.count;
    }
}

/* ---- axes ------------------------------------------------------------------------------ */

/* Merges neighbouring axes that are both kept or both reduced. */
static void merge_axes(struct reduce_loop *r, const struct ldnq_shape *shape, unsigned set)
{
    size_t stride = 1;
    size_t extents[LDNQ_MAX_RANK], strides[LDNQ_MAX_RANK];
    bool fate[LDNQ_MAX_RANK];
    int count = 0;
    for (int i = shape->rank - 1; i >= 0; i--) {
        size_t extent = (size_t)shape->dim[i];
        bool is_reduced = (set & (1u << i)) != 0;
        r->count *= is_reduced ? extent : 1;
        if (count > 0 && fate[count - 1] == is_reduced) {
            extents[count - 1] *= extent;
        } else if (extent != 1) {
            extents[count] = extent;
            strides[count] = stride;
            fate[count++] = is_reduced;
        }
        stride *= extent;
    }
    for (int i = count - 1; i >= 0; i--) {
        int at = fate[i] ? r->reduced++ : r->kept++;
        (fate[i] ? r->reduced_extent : r->kept_extent)[at] = extents[i];
        (fate[i] ? r->reduced_stride : r->kept_stride)[at] = strides[i];
    }
    if (count > 0 && fate[0])
        r->run = extents[0];
    else if (count > 0)
        r->width = extents[0];
}

static void reduce_tensor(const struct ldnq_op_call *call, enum reduction kind, unsigned set,
                          const struct ldnq_tensor *x, const struct ldnq_tensor *y)
{
    struct reduce_loop reduce = { .kind = kind,
                                  .dtype = x->dtype,
                                  .size = ldnq_dtype_size(x->dtype),
                                  .x = x->data,
                                  .y = y->data,
                                  .width = 1,
                                  .run = 1,
                                  .count = 1 };
    merge_axes(&reduce, &x->shape, set);
    if (reduce.count == 0)
        reduce.run = 1;
    ldnq_op_run_rows(call, ldnq_tensor_count(y), reduce.count, reduce_range, &reduce);
}

static enum ldnq_status reduce_input(const struct ldnq_op_call *call, enum reduction kind,
                                     unsigned set)
{
    reduce_tensor(call, kind, set, call->in[0], &call->out[0]);
    return LDNQ_OK;
}

void ldnq_reduce_product(const struct ldnq_op_call *call, unsigned set, const struct ldnq_tensor *x,
                         const struct ldnq_tensor *y)
{
    reduce_tensor(call, PROD, set, x, y);
}

static void set_output_shape(const struct ldnq_op_call *call, unsigned set, struct ldnq_shape *out)
{
    const struct ldnq_shape *in = &call->in[0]->shape;
    bool keep = ldnq_attr_int(call->node, "keepdims", 1) != 0;
    out->rank = 0;
    for (int i = 0; i < in->rank; i++) {
        bool is_reduced = (set & (1u << i)) != 0;
        if (!is_reduced || keep)
            out->dim[out->rank++] = is_reduced ? 1 : in->dim[i];
    }
}

/* ---- axes as an attribute ---------------------------------------------------------------- */

static enum ldnq_status read_axes_attr(const struct ldnq_op_call *call, unsigned *set,
                                       struct ldnq_error *err)
{
    size_t count;
    int rank = call->in[0]->shape.rank;
    const int64_t *axes = ldnq_attr_ints(call->node, "axes", &count);
    *set = (1u << rank) - 1;
    return count > 0 ? ldnq_op_resolve_axes(axes, count, rank, set, err) : LDNQ_OK;
}

static enum ldnq_status infer_by_attr(struct ldnq_op_call *call, unsigned types,
                                      struct ldnq_error *err)
{
    unsigned set;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, types, err));
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_axes_attr(call, &set, err));
    set_output_shape(call, set, &call->out[0].shape);
    return LDNQ_OK;
}

static enum ldnq_status reduce_by_attr(const struct ldnq_op_call *call, enum reduction kind,
                                       struct ldnq_error *err)
{
    unsigned set;
    LDNQ_TRY(read_axes_attr(call, &set, err));
    return reduce_input(call, kind, set);
}

/* ---- axes as an input ---------------------------------------------------------------------- */

/* An empty list means all axes; with noop_with_empty_axes, none. */
static enum ldnq_status read_axes_input(const struct ldnq_op_call *call, unsigned *set, bool *known,
                                        struct ldnq_error *err)
{
    int64_t axes[LDNQ_MAX_RANK];
    size_t count = 0;
    int rank = call->in[0]->shape.rank;
    bool noop = ldnq_attr_int(call->node, "noop_with_empty_axes", 0) != 0;
    *known = true;
    if (ldnq_op_input(call, 1))
        LDNQ_TRY(ldnq_op_read_ints(call, 1, axes, LDNQ_MAX_RANK, &count, known, err));
    if (*known && count > 0)
        return ldnq_op_resolve_axes(axes, count, rank, set, err);
    *set = noop ? 0 : (1u << rank) - 1;
    return LDNQ_OK;
}

static enum ldnq_status infer_by_input(struct ldnq_op_call *call, unsigned types,
                                       struct ldnq_error *err)
{
    struct ldnq_shape *out = &call->out[0].shape;
    unsigned set;
    bool known;
    LDNQ_TRY(ldnq_op_infer_like_first_input(call, types, err));
    if (call->in[0]->shape.rank < 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(read_axes_input(call, &set, &known, err));
    if (known) {
        set_output_shape(call, set, out);
        return LDNQ_OK;
    }
    if (ldnq_attr_int(call->node, "keepdims", 1) == 0)
        return ldnq_op_make_unknown_shape(call, 0, err);
    for (int i = 0; i < out->rank; i++)
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &out->dim[i], err));
    return LDNQ_OK;
}

static enum ldnq_status reduce_by_input(const struct ldnq_op_call *call, enum reduction kind,
                                        struct ldnq_error *err)
{
    unsigned set;
    bool known;
    LDNQ_TRY(read_axes_input(call, &set, &known, err));
    if (!known)
        return ldnq_fail(err, LDNQ_MODEL, "its axes are not known");
    return reduce_input(call, kind, set);
}

enum ldnq_status ldnq_reduce_read_axes(const struct ldnq_op_call *call, unsigned *set,
                                       struct ldnq_error *err)
{
    bool known = true;
    LDNQ_TRY(call->node->op->inputs_max == 1 ? read_axes_attr(call, set, err)
                                             : read_axes_input(call, set, &known, err));
    return known ? LDNQ_OK : ldnq_fail(err, LDNQ_MODEL, "its axes are not known");
}

/* ---- records --------------------------------------------------------------------------------- */

/* AXES: attr or input, which holds the axes. */
#define REDUCE_RECORD(name, Type, KIND, TYPES, SINCE, UNTIL, AXES, INPUTS, ...)                    \
    static enum ldnq_status name##_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)  \
    {                                                                                              \
        return infer_by_##AXES(call, TYPES, err);                                                  \
    }                                                                                              \
    static enum ldnq_status name##_forward(const struct ldnq_op_call *call,                        \
                                           struct ldnq_error *err)                                 \
    {                                                                                              \
        return reduce_by_##AXES(call, KIND, err);                                                  \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = Type,                                                                              \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .inputs_min = 1,                                                                           \
        .inputs_max = INPUTS,                                                                      \
        .outputs_max = 1,                                                                          \
        .infer = name##_infer_shape,                                                               \
        .forward = name##_forward,                                                                 \
        __VA_ARGS__,                                                                               \
    };

/* IN and OUT: 1 if backward (reduce_grad.c) reads the data of input 0 or output 0. Input 1,
 * the axes, is always read. */
#define GRADIENT(name, IN, OUT)                                                                    \
    .differentiable = 1, .saved_inputs = 2 | (IN), .saved_outputs = (OUT),                         \
    .backward_scratch_bytes = ldnq_reduce_backward_scratch_bytes,                                  \
    .backward = ldnq_##name##_backward

/* The axes became an input with opset CHANGE. */
#define REDUCE(name, Type, KIND, TYPES, CHANGE, ...)                                               \
    REDUCE_RECORD(name##_1, Type, KIND, TYPES, 1, CHANGE - 1, attr, 1, __VA_ARGS__)                \
    REDUCE_RECORD(name, Type, KIND, TYPES, CHANGE, LDNQ_OPSET_LATEST, input, 2, __VA_ARGS__)

REDUCE(reducel1, "ReduceL1", L1, NUMBERS, 18, GRADIENT(reducel1, 1, 0))
REDUCE(reducel2, "ReduceL2", L2, NUMBERS, 18, GRADIENT(reducel2, 1, 1))
REDUCE(reducelogsum, "ReduceLogSum", LOG_SUM, NUMBERS, 18, GRADIENT(reducelogsum, 0, 1))
REDUCE(reducelogsumexp, "ReduceLogSumExp", LOG_SUM_EXP, BIT(FLOAT), 18,
       GRADIENT(reducelogsumexp, 1, 1))
REDUCE(reducemax, "ReduceMax", MAX, ORDERED, 18, GRADIENT(reduceextreme, 1, 1))
REDUCE(reducemean, "ReduceMean", MEAN, NUMBERS, 18, GRADIENT(reducemean, 0, 0))
REDUCE(reducemin, "ReduceMin", MIN, ORDERED, 18, GRADIENT(reduceextreme, 1, 1))
REDUCE(reduceprod, "ReduceProd", PROD, NUMBERS, 18, GRADIENT(reduceprod, 1, 0))
REDUCE(reducesum, "ReduceSum", SUM, NUMBERS, 13, GRADIENT(reducesum, 0, 0))
REDUCE(reducesumsquare, "ReduceSumSquare", SUM_SQUARE, NUMBERS, 18, GRADIENT(reducesumsquare, 1, 0))
