/* SPDX-License-Identifier: Apache-2.0 */
/* nonmaxsuppression.c: NonMaxSuppression: selects the best boxes of each class, except those
 * that overlap a better one. The number of selected boxes depends on the data; infer makes
 * the selection to count them, and forward makes it again.
 *
 * Shapes  boxes (N, B, 4), scores (N, C, B); scalars: most boxes per class, thresholds of
 *         overlap (intersection over union) and score; out (selected, 3): image, class, box
 */
#include <string.h>

#include "base/alloc.h"
#include "ops/operation_count.h"

struct suppression {
    const float *boxes, *scores;
    size_t images, classes, count; /* N, C, B */
    int64_t most;                  /* boxes per class */
    float overlap;                 /* threshold of the overlap of boxes */
    const float *least;            /* threshold of the score; NULL for none */
    bool centred;                  /* boxes are (x, y, width, height), else two corners (y, x) */
};

struct corner_box {
    float top, left, bottom, right;
};

static struct corner_box read_box(const struct suppression *s, size_t image, size_t i)
{
    const float *b = s->boxes + (image * s->count + i) * 4;
    if (s->centred)
        return (struct corner_box){ b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2,
                                    b[0] + b[2] / 2 };
    return (struct corner_box){ b[0] < b[2] ? b[0] : b[2], b[1] < b[3] ? b[1] : b[3],
                                b[0] < b[2] ? b[2] : b[0], b[1] < b[3] ? b[3] : b[1] };
}

static bool overlaps_above_threshold(const struct suppression *s, const struct corner_box *a,
                                     const struct corner_box *b)
{
    float top = a->top > b->top ? a->top : b->top, left = a->left > b->left ? a->left : b->left;
    float bottom = a->bottom < b->bottom ? a->bottom : b->bottom;
    float right = a->right < b->right ? a->right : b->right;
    if (!(bottom > top && right > left))
        return false;
    float common = (bottom - top) * (right - left);
    float first = (a->bottom - a->top) * (a->right - a->left);
    float second = (b->bottom - b->top) * (b->right - b->left);
    return first > 0.0f && second > 0.0f && common / (first + second - common) > s->overlap;
}

/* Selects boxes of one class until none is left, and adds their number to *selected. `left` is a
 * flag per box. Writes (image, class, box) per selected box to `out`, unless it is NULL. Each
 * compares all boxes twice. Errors: UNSUPPORTED (too many of these). */
static enum ldnq_status select_class(const struct suppression *s, size_t image, size_t class,
                                     bool *left, int64_t *out, size_t *selected,
                                     struct ldnq_error *err)
{
    const float *score = s->scores + (image * s->classes + class) * s->count;
    size_t found = 0;
    for (size_t i = 0; i < s->count; i++)
        left[i] = !s->least || score[i] > *s->least;
    while ((int64_t)found < s->most) {
        size_t best = s->count;
        for (size_t i = 0; i < s->count; i++)
            if (left[i] && (best == s->count ? score[i] == score[i] : score[i] > score[best]))
                best = i;
        if (best == s->count)
            break;
        const struct corner_box chosen = read_box(s, image, best);
        left[best] = false;
        for (size_t i = 0; i < s->count; i++) {
            const struct corner_box other = read_box(s, image, i);
            left[i] = left[i] && !overlaps_above_threshold(s, &chosen, &other);
        }
        const int64_t row[] = { (int64_t)image, (int64_t) class, (int64_t)best };
        if (out)
            memcpy(out + 3 * *selected, row, sizeof row);
        found++;
        ++*selected;
        LDNQ_TRY(ldnq_operations_check(2 * *selected * s->count, err));
    }
    return LDNQ_OK;
}

/* Selects boxes for all classes of all images. */
static enum ldnq_status select_boxes(const struct suppression *s, bool *left, int64_t *out,
                                     size_t *selected, struct ldnq_error *err)
{
    *selected = 0;
    for (size_t i = 0; s->count > 0 && i < s->images * s->classes; i++)
        LDNQ_TRY(select_class(s, i / s->classes, i % s->classes, left, out, selected, err));
    return LDNQ_OK;
}

static enum ldnq_status check_inputs(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *boxes = &call->in[0]->shape, *scores = &call->in[1]->shape;
    LDNQ_TRY(ldnq_op_require_dtype(call, 0, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    LDNQ_TRY(ldnq_op_require_dtype(call, 2, LDNQ_DTYPE_BIT(LDNQ_INT64), err));
    for (size_t i = 2; i < call->in_count; i++) {
        LDNQ_TRY(ldnq_op_require_one_element(call, i, err));
        if (i > 2)
            LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    }
    if ((boxes->rank >= 0 && boxes->rank != 3) || (scores->rank >= 0 && scores->rank != 3))
        return ldnq_fail(err, LDNQ_MODEL, "its boxes or scores don't have three axes");
    if (ldnq_shape_is_known(boxes) && ldnq_shape_is_known(scores) &&
        (boxes->dim[2] != 4 || boxes->dim[0] != scores->dim[0] || boxes->dim[1] != scores->dim[2]))
        return ldnq_fail(err, LDNQ_MODEL, "its boxes (N, B, 4) don't match its scores (N, C, B)");
    return LDNQ_OK;
}

/* Reads the inputs; false if their data is not known yet. */
static bool read_inputs(const struct ldnq_op_call *call, struct suppression *s)
{
    for (size_t i = 0; i < call->in_count; i++)
        if (call->in[i] && !call->in[i]->data)
            return false;
    if (!ldnq_shape_is_known(&call->in[0]->shape) || !ldnq_shape_is_known(&call->in[1]->shape))
        return false;
    const int64_t *dim = call->in[1]->shape.dim;
    const struct ldnq_tensor *most = ldnq_op_input(call, 2), *share = ldnq_op_input(call, 3);
    const struct ldnq_tensor *least = ldnq_op_input(call, 4);
    *s = (struct suppression){
        .boxes = call->in[0]->data,
        .scores = call->in[1]->data,
        .images = (size_t)dim[0],
        .classes = (size_t)dim[1],
        .count = (size_t)dim[2],
        .most = most ? *(const int64_t *)most->data : 0,
        .overlap = share ? *(const float *)share->data : 0.0f,
        .least = least ? least->data : NULL,
        .centred = ldnq_attr_int(call->node, "center_point_box", 0) != 0,
    };
    return true;
}

static enum ldnq_status nonmaxsuppression_infer_shape(struct ldnq_op_call *call,
                                                      struct ldnq_error *err)
{
    struct ldnq_tensor *out = &call->out[0];
    struct suppression s;
    out->dtype = LDNQ_INT64;
    out->shape = (struct ldnq_shape){ 2, { 0, 3 } };
    LDNQ_TRY(check_inputs(call, err));
    if (!read_inputs(call, &s))
        return ldnq_op_make_unknown_dim(call, &out->shape.dim[0], err);
    bool *left = ldnq_malloc(s.count + 1);
    if (!left)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    size_t selected;
    const enum ldnq_status status = select_boxes(&s, left, NULL, &selected, err);
    ldnq_free(left);
    out->shape.dim[0] = (int64_t)selected;
    return status;
}

static size_t nonmaxsuppression_scratch_bytes(const struct ldnq_op_call *call)
{
    return (size_t)call->in[0]->shape.dim[1] + 1;
}

static enum ldnq_status nonmaxsuppression_forward(const struct ldnq_op_call *call,
                                                  struct ldnq_error *err)
{
    struct suppression s;
    size_t selected;
    if (!read_inputs(call, &s))
        return ldnq_fail(err, LDNQ_MODEL, "its inputs are not known");
    return select_boxes(&s, call->scratch, call->out[0].data, &selected, err);
}

const struct ldnq_op ldnq_op_nonmaxsuppression = {
    .type = "NonMaxSuppression",
    .since = 10,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 2,
    .inputs_max = 5,
    .outputs_max = 1,
    .infer = nonmaxsuppression_infer_shape,
    .scratch_bytes = nonmaxsuppression_scratch_bytes,
    .forward = nonmaxsuppression_forward,
};
