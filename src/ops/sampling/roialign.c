/* SPDX-License-Identifier: Apache-2.0 */
/* roialign.c: RoiAlign: each region of interest (a box in an image) is divided into OH x OW
 * bins, and each bin is the average or maximum over points that are interpolated
 * bilinearly between pixels.
 *
 * Shapes  x (N, C, H, W), rois (R, 4) as x1 y1 x2 y2, batch_indices (R): the image of each
 *         box; y (R, C, OH, OW)
 * Source  onnx.ai/onnx/operators/onnx__RoiAlign.html; He, Gkioxari, Dollar, Girshick,
 *         "Mask R-CNN", 2017. mode=max is the maximum over the four weighted pixels of all
 *         points, as in ONNX Runtime and ONNX's reference evaluator.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ops/operation_count.h"
#include "ops/shared/indices.h"

/* Most points along one side of a bin, whose number follows from the box's size. */
#define MAX_POINTS 32768.0f

struct roialign_attrs {
    bool maximum, shifted;        /* mode=max; half_pixel coordinates */
    int64_t height, width, ratio; /* OH, OW, sampling_ratio: points along one side of a bin */
    float scale;
};

struct roialign {
    const struct roialign_attrs *attrs;
    const float *x, *rois, *dy;
    const struct ldnq_tensor *batches;
    float *y, *dx;
    size_t images, channels, height, width, regions; /* N, C, H, W, R */
};

/* One box in pixels: its upper left corner, the size of a bin, the points along each side of
 * a bin. */
struct roi_region {
    float top, left, bin_h, bin_w;
    size_t points_h, points_w;
};

static enum ldnq_status roialign_read_attrs_as(const struct ldnq_node *node, bool shifted,
                                               struct ldnq_arena *arena, const void **attrs,
                                               struct ldnq_error *err)
{
    const char *mode = ldnq_attr_string(node, "mode", "avg");
    struct roialign_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    if (!a)
        return LDNQ_NOMEM;
    *attrs = a;
    *a = (struct roialign_attrs){
        .maximum = strcmp(mode, "max") == 0,
        .shifted = shifted,
        .height = ldnq_attr_int(node, "output_height", 1),
        .width = ldnq_attr_int(node, "output_width", 1),
        .ratio = ldnq_attr_int(node, "sampling_ratio", 0),
        .scale = ldnq_attr_float(node, "spatial_scale", 1.0f),
    };
    if (!a->maximum && strcmp(mode, "avg") != 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "mode=%s is not supported", mode);
    if (a->height < 1 || a->width < 1 || a->height > INT32_MAX || a->width > INT32_MAX ||
        a->ratio < 0 || a->ratio > (int64_t)MAX_POINTS)
        return ldnq_fail(err, LDNQ_MODEL, "its output's size or sampling_ratio is not possible");
    return LDNQ_OK;
}

static enum ldnq_status roialign_10_read_attrs(const struct ldnq_node *node,
                                               struct ldnq_arena *arena, const void **attrs,
                                               struct ldnq_error *err)
{
    return roialign_read_attrs_as(node, false, arena, attrs, err);
}

static enum ldnq_status roialign_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                            const void **attrs, struct ldnq_error *err)
{
    const char *mode = ldnq_attr_string(node, "coordinate_transformation_mode", "half_pixel");
    bool shifted = strcmp(mode, "half_pixel") == 0;
    if (!shifted && strcmp(mode, "output_half_pixel") != 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "coordinate_transformation_mode=%s is not supported", mode);
    return roialign_read_attrs_as(node, shifted, arena, attrs, err);
}

static enum ldnq_status roialign_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct roialign_attrs *attrs = call->attrs;
    const struct ldnq_shape *x = &call->in[0]->shape, *rois = &call->in[1]->shape;
    const struct ldnq_shape *batches = &call->in[2]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    call->out[0].dtype = LDNQ_FLOAT;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 2, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    if ((x->rank >= 0 && x->rank != 4) || (batches->rank >= 0 && batches->rank != 1) ||
        (rois->rank >= 0 &&
         (rois->rank != 2 || (!ldnq_is_symbol(rois->dim[1]) && rois->dim[1] != 4))))
        return ldnq_fail(err, LDNQ_MODEL, "its inputs are not images, boxes and their images");
    *out = (struct ldnq_shape){ 4, { 0, 0, attrs->height, attrs->width } };
    if (x->rank < 0)
        LDNQ_TRY(ldnq_op_make_unknown_dim(call, &out->dim[1], err));
    else
        out->dim[1] = x->dim[1];
    if (rois->rank < 0 && batches->rank < 0)
        return ldnq_op_make_unknown_dim(call, &out->dim[0], err);
    out->dim[0] = rois->rank >= 0 ? rois->dim[0] : batches->dim[0];
    if (rois->rank >= 0 && batches->rank >= 0 && ldnq_is_symbol(rois->dim[0]))
        out->dim[0] = batches->dim[0];
    else if (batches->rank >= 0 && !ldnq_is_symbol(batches->dim[0]) &&
             batches->dim[0] != out->dim[0])
        return ldnq_fail(err, LDNQ_MODEL, "has %" PRId64 " boxes and images of %" PRId64,
                         out->dim[0], batches->dim[0]);
    return LDNQ_OK;
}

/* ---- points ------------------------------------------------------------------------------- */

static struct roi_region find_roi_region(const struct roialign *a, size_t r)
{
    const struct roialign_attrs *attrs = a->attrs;
    const float shift = attrs->shifted ? 0.5f : 0.0f, *roi = a->rois + 4 * r;
    float left = roi[0] * attrs->scale - shift, top = roi[1] * attrs->scale - shift;
    float width = roi[2] * attrs->scale - shift - left,
          height = roi[3] * attrs->scale - shift - top;
    if (!attrs->shifted) {
        width = width > 1.0f ? width : 1.0f;
        height = height > 1.0f ? height : 1.0f;
    }
    struct roi_region region = { .top = top,
                                 .left = left,
                                 .bin_h = height / (float)attrs->height,
                                 .bin_w = width / (float)attrs->width };
    float rows = ceilf(region.bin_h), columns = ceilf(region.bin_w);
    region.points_h = attrs->ratio > 0 ? (size_t)attrs->ratio : rows > 0 ? (size_t)rows : 0;
    region.points_w = attrs->ratio > 0 ? (size_t)attrs->ratio : columns > 0 ? (size_t)columns : 0;
    return region;
}

/* Checks batch_indices, and that no box needs more than MAX_POINTS points per bin side. */
static enum ldnq_status check_regions(const struct roialign *a, struct ldnq_error *err)
{
    for (size_t r = 0; r < a->regions; r++) {
        size_t image;
        const float *roi = a->rois + 4 * r;
        float size = fmaxf(fabsf(roi[2] - roi[0]), fabsf(roi[3] - roi[1])) * fabsf(a->attrs->scale);
        LDNQ_TRY(ldnq_resolve_index(a->batches, r, (int64_t)a->images, &image, err));
        if (a->attrs->ratio == 0 && !(size < MAX_POINTS))
            return ldnq_fail(err, LDNQ_MODEL, "box %zu is %g elements wide", r, (double)size);
    }
    return LDNQ_OK;
}

/* The two pixels around a coordinate, and its distance `part` from the first; false if it
 * is more than one pixel outside of the image. */
static bool find_neighbours(float at, size_t size, size_t *low, size_t *high, float *part)
{
    if (!(at >= -1.0f && at <= (float)size))
        return false;
    at = at > 0.0f ? at : 0.0f;
    *low = (size_t)at;
    *high = *low + 1;
    *part = at - (float)*low;
    if (*low >= size - 1) {
        *low = *high = size - 1;
        *part = 0.0f;
    }
    return true;
}

/* A sampling point: the indices of its four pixels in a plane (H, W), and their weights. */
struct roi_point {
    size_t at[4];
    float weight[4];
};

/* Point i of a bin; false if it is outside of the image. */
static bool find_sample_point(const struct roialign *a, const struct roi_region *region, size_t bin,
                              size_t i, struct roi_point *point)
{
    size_t width = (size_t)a->attrs->width, top, bottom, left, right;
    float down, over;
    float y = region->top + (float)(bin / width) * region->bin_h +
              ((float)(i / region->points_w) + 0.5f) * region->bin_h / (float)region->points_h;
    float x = region->left + (float)(bin % width) * region->bin_w +
              ((float)(i % region->points_w) + 0.5f) * region->bin_w / (float)region->points_w;
    if (!find_neighbours(y, a->height, &top, &bottom, &down) ||
        !find_neighbours(x, a->width, &left, &right, &over))
        return false;
    *point = (struct roi_point){
        { top * a->width + left, top * a->width + right, bottom * a->width + left,
          bottom * a->width + right },
        { (1 - down) * (1 - over), (1 - down) * over, down * (1 - over), down * over },
    };
    return true;
}

/* ---- forward ------------------------------------------------------------------------------- */

/* Pools one bin of one channel. */
static float pool_bin(const struct roialign *a, const struct roi_region *region, size_t bin,
                      const float *plane)
{
    const size_t points = region->points_h * region->points_w;
    float sum = 0.0f, max = 0.0f;
    for (size_t i = 0; i < points; i++) {
        struct roi_point p = { { 0 }, { 0 } };
        find_sample_point(a, region, bin, i, &p); /* all weights are 0 if it is outside */
        for (size_t k = 0; k < 4; k++) {
            const float v = p.weight[k] * plane[p.at[k]];
            sum += v;
            max = (i == 0 && k == 0) || v > max ? v : max;
        }
    }
    return a->attrs->maximum ? max : points ? sum / (float)points : 0.0f;
}

/* Rows first .. last-1, counted over (R, C); a row is one region of one channel. */
static void pool_rows(const void *ctx, size_t first, size_t last)
{
    const struct roialign *a = ctx;
    const size_t bins = (size_t)(a->attrs->height * a->attrs->width);
    for (size_t row = first; row < last; row++) {
        size_t r = row / a->channels, image = 0;
        const struct roi_region region = find_roi_region(a, r);
        ldnq_resolve_index(a->batches, r, (int64_t)a->images, &image, NULL);
        const float *plane =
            a->x + (image * a->channels + row % a->channels) * a->height * a->width;
        for (size_t bin = 0; bin < bins; bin++)
            a->y[row * bins + bin] = pool_bin(a, &region, bin, plane);
    }
}

static struct roialign make_roialign(const struct ldnq_op_call *call)
{
    const int64_t *x = call->in[0]->shape.dim;
    return (struct roialign){
        .attrs = call->attrs,
        .x = call->in[0]->data,
        .rois = call->in[1]->data,
        .batches = call->in[2],
        .images = (size_t)x[0],
        .channels = (size_t)x[1],
        .height = (size_t)x[2],
        .width = (size_t)x[3],
        .regions = (size_t)call->out[0].shape.dim[0],
    };
}

/* Reads the boxes, which may have been widened: not a count_operations. */
static enum ldnq_status check_points(const struct roialign *a, struct ldnq_error *err)
{
    const size_t bins = (size_t)(a->attrs->height * a->attrs->width);
    size_t operations = 0;
    for (size_t r = 0; r < a->regions; r++) {
        const struct roi_region region = find_roi_region(a, r);
        const size_t factors[] = { a->channels, bins, region.points_h, region.points_w, 4 };
        if (!ldnq_size_add(operations, ldnq_operations_multiply(factors, 5), &operations))
            operations = SIZE_MAX;
        LDNQ_TRY(ldnq_operations_check(operations, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status roialign_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct roialign a = make_roialign(call);
    a.y = call->out[0].data;
    LDNQ_TRY(check_regions(&a, err));
    LDNQ_TRY(check_points(&a, err));
    if (a.height * a.width == 0)
        memset(a.y, 0, ldnq_tensor_count(&call->out[0]) * sizeof *a.y);
    else if (ldnq_tensor_count(&call->out[0]) > 0)
        ldnq_op_run_rows(call, a.regions * a.channels,
                         16 * (size_t)(a.attrs->height * a.attrs->width), pool_rows, &a);
    return LDNQ_OK;
}

/* ---- backward ------------------------------------------------------------------------------- */

/* dx (H, W) of one channel += the gradient of one region. */
static void add_region_gradient(const struct roialign *a, size_t r, size_t channel, float *dx)
{
    const size_t bins = (size_t)(a->attrs->height * a->attrs->width);
    const struct roi_region region = find_roi_region(a, r);
    const size_t points = region.points_h * region.points_w;
    const float *dy = a->dy + (r * a->channels + channel) * bins;
    struct roi_point p;
    for (size_t i = 0; i < bins * points; i++) {
        const float share = dy[i / points] / (float)points;
        for (size_t k = 0; find_sample_point(a, &region, i / points, i % points, &p) && k < 4; k++)
            dx[p.at[k]] += p.weight[k] * share;
    }
}

/* dx of planes first .. last-1 of all N*C, from all regions of their images. */
static void compute_plane_gradients(const void *ctx, size_t first, size_t last)
{
    const struct roialign *a = ctx;
    for (size_t plane = first; plane < last; plane++) {
        float *dx = a->dx + plane * a->height * a->width;
        size_t image = 0;
        memset(dx, 0, a->height * a->width * sizeof *dx);
        for (size_t r = 0; r < a->regions; r++) {
            ldnq_resolve_index(a->batches, r, (int64_t)a->images, &image, NULL);
            if (image == plane / a->channels)
                add_region_gradient(a, r, plane % a->channels, dx);
        }
    }
}

static enum ldnq_status roialign_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct roialign a = make_roialign(grad->call);
    a.dx = grad->in[0].data;
    a.dy = grad->out[0]->data;
    if (a.attrs->maximum)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "gradients through mode=max are not supported");
    LDNQ_TRY(check_regions(&a, err));
    if (a.dx && ldnq_tensor_count(&grad->in[0]) > 0)
        ldnq_op_run_rows(grad->call, a.images * a.channels, a.height * a.width,
                         compute_plane_gradients, &a);
    return LDNQ_OK;
}

/* The boxes have no gradient, as in torchvision. */
#define ROIALIGN(name, SINCE, UNTIL, READ)                                                         \
    const struct ldnq_op ldnq_op_##name = {                                                        \
        .type = "RoiAlign",                                                                        \
        .since = SINCE,                                                                            \
        .until = UNTIL,                                                                            \
        .inputs_min = 3,                                                                           \
        .inputs_max = 3,                                                                           \
        .outputs_max = 1,                                                                          \
        .read_attrs = READ,                                                                        \
        .infer = roialign_infer_shape,                                                             \
        .forward = roialign_forward,                                                               \
        .differentiable = 1,                                                                       \
        .saved_inputs = 6,                                                                         \
        .backward = roialign_backward,                                                             \
    };

ROIALIGN(roialign_10, 10, 15, roialign_10_read_attrs)
ROIALIGN(roialign, 16, LDNQ_OPSET_LATEST, roialign_read_attrs)
