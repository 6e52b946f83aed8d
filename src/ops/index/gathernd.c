/* SPDX-License-Identifier: Apache-2.0 */
/* gathernd.c: GatherND and ScatterND: slices of the data that are selected by tuples of k
 * indices.
 *
 * Shapes  indices (batch, tuples, k); data (batch, k axes that are indexed, slice); output of
 *         GatherND and updates of ScatterND (batch, tuples, slice). Each of batch, tuples and
 *         slice stands for any number of axes; ScatterND has no batch axes.
 */
#include <string.h>

#include "ops/index/scatter_update.h"
#include "ops/shared/indices.h"

struct indexed_slices {
    const struct ldnq_tensor *indices;
    int first, k;           /* a tuple indexes k axes of the data, from `first` on */
    size_t batches, tuples; /* tuples per batch */
    size_t block, size;     /* elements of the data per batch; elements per slice */
    const int64_t *dim;     /* sizes of the data */
};

/* The number of indices per tuple; false if it is unknown. */
static bool find_tuple_size(const struct ldnq_shape *indices, int64_t *k)
{
    if (indices->rank < 1 || ldnq_is_symbol(indices->dim[indices->rank - 1]))
        return false;
    *k = indices->dim[indices->rank - 1];
    return true;
}

/* Checks data and indices against each other. *known: their shapes are complete enough to
 * compute the output's. */
static enum ldnq_status check_tuples(const struct ldnq_op_call *call, int64_t batch, bool *known,
                                     struct ldnq_error *err)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    int64_t k;
    LDNQ_TRY(ldnq_op_require_dtype(call, 1, LDNQ_INDEX_TYPES, err));
    *known = false;
    if (indices->rank == 0)
        return ldnq_fail(err, LDNQ_MODEL, "its indices are a scalar where tuples are needed");
    if (data->rank < 0 || !find_tuple_size(indices, &k))
        return LDNQ_OK;
    if (batch < 0 || batch >= indices->rank || batch > data->rank || k > data->rank - batch)
        return ldnq_fail(err, LDNQ_MODEL,
                         "tuples of %" PRId64 " indices and %" PRId64
                         " batch axes don't match data of %d axes",
                         k, batch, data->rank);
    for (int i = 0; i < (int)batch; i++)
        if (!ldnq_is_symbol(data->dim[i]) && !ldnq_is_symbol(indices->dim[i]) &&
            data->dim[i] != indices->dim[i])
            return ldnq_fail(err, LDNQ_MODEL,
                             "its data and indices have %" PRId64 " and %" PRId64
                             " elements in batch axis %d",
                             data->dim[i], indices->dim[i], i);
    *known = true;
    return LDNQ_OK;
}

/* Requires shapes that infer has checked. */
static struct indexed_slices describe_slices(const struct ldnq_op_call *call, int64_t batch)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    struct indexed_slices s = { .indices = call->in[1],
                                .first = (int)batch,
                                .k = (int)indices->dim[indices->rank - 1],
                                .dim = data->dim,
                                .batches = 1,
                                .tuples = 1,
                                .block = 1,
                                .size = 1 };
    for (int i = 0; i < indices->rank - 1; i++)
        *(i < s.first ? &s.batches : &s.tuples) *= (size_t)indices->dim[i];
    for (int i = s.first; i < data->rank; i++) {
        s.block *= (size_t)data->dim[i];
        if (i >= s.first + s.k)
            s.size *= (size_t)data->dim[i];
    }
    return s;
}

/* Finds the offset in the data of the slice that tuple i selects. Errors: MODEL. */
static enum ldnq_status find_slice(const struct indexed_slices *s, size_t i, size_t *at,
                                   struct ldnq_error *err)
{
    size_t row = 0, index;
    for (int k = 0; k < s->k; k++) {
        int64_t dim = s->dim[s->first + k];
        LDNQ_TRY(ldnq_resolve_index(s->indices, i * (size_t)s->k + (size_t)k, dim, &index, err));
        row = row * (size_t)dim + index;
    }
    *at = i / s->tuples * s->block + row * s->size;
    return LDNQ_OK;
}

/* ---- GatherND --------------------------------------------------------------------------- */

static int64_t read_batch_dims(const struct ldnq_op_call *call)
{
    return ldnq_attr_int(call->node, "batch_dims", 0);
}

static enum ldnq_status gathernd_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    struct ldnq_shape *out = &call->out[0].shape;
    bool known;
    call->out[0].dtype = call->in[0]->dtype;
    LDNQ_TRY(check_tuples(call, read_batch_dims(call), &known, err));
    if (!known)
        return ldnq_op_make_unknown_shape(call, 0, err);
    int first = (int)read_batch_dims(call) + (int)indices->dim[indices->rank - 1];
    if (indices->rank - 1 + data->rank - first > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                         LDNQ_MAX_RANK);
    out->rank = 0;
    for (int i = 0; i < indices->rank - 1; i++)
        out->dim[out->rank++] = indices->dim[i];
    for (int i = first; i < data->rank; i++)
        out->dim[out->rank++] = data->dim[i];
    return LDNQ_OK;
}

static enum ldnq_status gathernd_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct indexed_slices s = describe_slices(call, read_batch_dims(call));
    size_t element = ldnq_dtype_size(call->in[0]->dtype), bytes = s.size * element, at;
    const char *data = call->in[0]->data;
    char *out = call->out[0].data;
    for (size_t i = 0; i < s.batches * s.tuples; i++) {
        LDNQ_TRY(find_slice(&s, i, &at, err));
        memcpy(out + i * bytes, data + at * element, bytes);
    }
    return LDNQ_OK;
}

static enum ldnq_status gathernd_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct indexed_slices s = describe_slices(grad->call, read_batch_dims(grad->call));
    const float *dy = grad->out[0]->data;
    float *dx = grad->in[0].data;
    size_t at;
    memset(dx, 0, ldnq_tensor_count(&grad->in[0]) * sizeof *dx);
    for (size_t i = 0; i < s.batches * s.tuples; i++) {
        LDNQ_TRY(find_slice(&s, i, &at, err));
        for (size_t k = 0; k < s.size; k++)
            dx[at + k] += dy[i * s.size + k];
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_gathernd = {
    .type = "GatherND",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_MOVES_FIRST,
    .inputs_min = 2,
    .inputs_max = 2,
    .outputs_max = 1,
    .infer = gathernd_infer_shape,
    .forward = gathernd_forward,
    .differentiable = 1,
    .saved_inputs = 2,
    .backward = gathernd_backward,
};

/* ---- ScatterND ---------------------------------------------------------------------------- */

static enum ldnq_status scatternd_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_shape *data = &call->in[0]->shape, *indices = &call->in[1]->shape;
    const struct ldnq_shape *updates = &call->in[2]->shape;
    bool known;
    LDNQ_TRY(ldnq_scatter_infer_shape(call, err));
    LDNQ_TRY(check_tuples(call, 0, &known, err));
    if (!known || updates->rank < 0)
        return LDNQ_OK;
    int k = (int)indices->dim[indices->rank - 1], lead = indices->rank - 1;
    if (updates->rank != lead + data->rank - k)
        return ldnq_fail(err, LDNQ_MODEL, "its updates have %d axes where %d are needed",
                         updates->rank, lead + data->rank - k);
    for (int i = 0; i < updates->rank; i++) {
        int64_t dim = i < lead ? indices->dim[i] : data->dim[i - lead + k];
        if (!ldnq_is_symbol(dim) && !ldnq_is_symbol(updates->dim[i]) && dim != updates->dim[i])
            return ldnq_fail(err, LDNQ_MODEL,
                             "axis %d of its updates has %" PRId64 " elements where %" PRId64
                             " are needed",
                             i, updates->dim[i], dim);
    }
    return LDNQ_OK;
}

/* Sequential, as several tuples may have the same target. */
static enum ldnq_status scatternd_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct indexed_slices s = describe_slices(call, 0);
    size_t at;
    ldnq_scatter_copy_data(call);
    for (size_t i = 0; i < s.tuples; i++) {
        LDNQ_TRY(find_slice(&s, i, &at, err));
        ldnq_scatter_update(call, at, i * s.size, s.size);
    }
    return LDNQ_OK;
}

static enum ldnq_status scatternd_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct indexed_slices s = describe_slices(grad->call, 0);
    size_t at;
    LDNQ_TRY(ldnq_scatter_grad_copy(grad, err));
    for (size_t i = 0; i < s.tuples; i++) {
        LDNQ_TRY(find_slice(&s, i, &at, err));
        ldnq_scatter_grad_update(grad, at, i * s.size, s.size);
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_scatternd = {
    .type = "ScatterND",
    .since = 11,
    .until = LDNQ_OPSET_LATEST,
    .flags = LDNQ_OP_IN_PLACE,
    .inputs_min = 3,
    .inputs_max = 3,
    .outputs_max = 1,
    .read_attrs = ldnq_scatter_read_attrs,
    .infer = scatternd_infer_shape,
    .forward = scatternd_forward,
    .differentiable = 5,
    .saved_inputs = 2,
    .backward = scatternd_backward,
};
