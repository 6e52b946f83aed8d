/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/widen.h"

#include "base/size.h"
#include "ir/half.h"

#define HALVES (LDNQ_DTYPE_BIT(LDNQ_FLOAT16) | LDNQ_DTYPE_BIT(LDNQ_BFLOAT16))

/* The call that the operator gets: halves replaced by float32 tensors in scratch. */
struct widened_call {
    struct ldnq_op_call call;
    struct ldnq_tensor in[LDNQ_WIDEN_INPUTS], out[LDNQ_WIDEN_OUTPUTS];
    const struct ldnq_tensor *in_list[LDNQ_WIDEN_INPUTS]; /* call.in */
};

static bool is_half(const struct ldnq_tensor *tensor)
{
    return tensor && (HALVES & LDNQ_DTYPE_BIT(tensor->dtype));
}

bool ldnq_widen_applies(const struct ldnq_op_call *call)
{
    if (call->in_count > LDNQ_WIDEN_INPUTS || call->out_count > LDNQ_WIDEN_OUTPUTS)
        return false;
    for (size_t i = 0; i < call->in_count; i++)
        if (is_half(call->in[i]))
            return true;
    return false;
}

/* The dtype of outputs that the operator computes in float32. */
static enum ldnq_dtype find_output_dtype(const struct ldnq_op_call *call)
{
    if (call->in[0] && call->in[0]->dtype == LDNQ_FLOAT)
        return LDNQ_FLOAT;
    for (size_t i = 0; i < call->in_count; i++)
        if (is_half(call->in[i]))
            return call->in[i]->dtype;
    return LDNQ_FLOAT;
}

static void widen_inputs(const struct ldnq_op_call *call, struct widened_call *w)
{
    w->call = *call;
    for (size_t i = 0; i < call->in_count; i++) {
        w->in_list[i] = call->in[i];
        if (!is_half(call->in[i]))
            continue;
        w->in[i] = (struct ldnq_tensor){ LDNQ_FLOAT, call->in[i]->shape, NULL };
        w->in_list[i] = &w->in[i];
    }
    w->call.in = w->in_list;
}

enum ldnq_status ldnq_widen_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct widened_call w;
    enum ldnq_dtype half = find_output_dtype(call);
    widen_inputs(call, &w);
    LDNQ_TRY(call->node->op->infer(&w.call, err));
    call->widened = true;
    for (size_t i = 0; i < call->out_count; i++)
        if (call->out[i].dtype == LDNQ_FLOAT &&
            (i == 0 || !(call->node->op->flags & LDNQ_OP_FLOAT32_STATISTICS)))
            call->out[i].dtype = half;
    return LDNQ_OK;
}

/* ---- memory ------------------------------------------------------------------------------ */

/* Reserves memory at *end for the tensor in float32, 64-byte aligned; returns its address,
 * or NULL without scratch. *end becomes SIZE_MAX on overflow. */
static void *reserve_floats(const struct ldnq_tensor *tensor, char *scratch, size_t *end)
{
    size_t from = *end, count = ldnq_tensor_count(tensor);
    if (from > SIZE_MAX / 16 || count > SIZE_MAX / 16) {
        *end = SIZE_MAX;
        return NULL;
    }
    *end = from + (count * sizeof(float) + 63) / 64 * 64;
    return scratch ? scratch + from : NULL;
}

/* Layout of scratch: float32 inputs, float32 outputs, the operator's own scratch. Returns
 * the offset of the last. scratch NULL: only computes the offset. */
static size_t lay_out_scratch(const struct ldnq_op_call *call, char *scratch,
                              struct widened_call *w)
{
    size_t end = 0;
    widen_inputs(call, w);
    for (size_t i = 0; i < call->in_count; i++)
        if (is_half(call->in[i]))
            w->in[i].data = reserve_floats(&w->in[i], scratch, &end);
    for (size_t i = 0; i < call->out_count; i++) {
        w->out[i] = call->out[i];
        if (!is_half(&call->out[i]))
            continue;
        w->out[i].dtype = LDNQ_FLOAT;
        w->out[i].data = reserve_floats(&w->out[i], scratch, &end);
    }
    w->call.out = w->out;
    w->call.widened = false;
    w->call.scratch = scratch && end != SIZE_MAX ? scratch + end : NULL;
    return end;
}

size_t ldnq_widen_scratch_bytes(const struct ldnq_op_call *call)
{
    struct widened_call w;
    const struct ldnq_op *op = call->node->op;
    size_t end = lay_out_scratch(call, NULL, &w),
           own = op->scratch_bytes ? op->scratch_bytes(&w.call) : 0, bytes;
    return end != SIZE_MAX && ldnq_size_add(end, own, &bytes) ? bytes : SIZE_MAX;
}

/* ---- forward ----------------------------------------------------------------------------- */

struct half_conversion {
    enum ldnq_dtype half;
    uint16_t *halves;
    float *floats;
};

static void widen_range_to_floats(const void *ctx, size_t first, size_t last)
{
    const struct half_conversion *c = ctx;
    (c->half == LDNQ_FLOAT16 ? ldnq_halves_to_floats : ldnq_bfloats_to_floats)(
        c->halves + first, c->floats + first, last - first);
}

static void narrow_range_to_halves(const void *ctx, size_t first, size_t last)
{
    const struct half_conversion *c = ctx;
    (c->half == LDNQ_FLOAT16 ? ldnq_halves_from_floats : ldnq_bfloats_from_floats)(
        c->floats + first, c->halves + first, last - first);
}

static void convert_half_tensor(const struct ldnq_op_call *call, const struct ldnq_tensor *half,
                                const struct ldnq_tensor *wide, ldnq_range_fn *run)
{
    struct half_conversion c = { half->dtype, half->data, wide->data };
    ldnq_op_run_ranges(call, ldnq_tensor_count(half), run, &c);
}

enum ldnq_status ldnq_widen_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct widened_call w;
    lay_out_scratch(call, call->scratch, &w);
    for (size_t i = 0; i < call->in_count; i++)
        if (is_half(call->in[i]))
            convert_half_tensor(call, call->in[i], &w.in[i], widen_range_to_floats);
    LDNQ_TRY(call->node->op->forward(&w.call, err));
    for (size_t i = 0; i < call->out_count; i++)
        if (is_half(&call->out[i]))
            convert_half_tensor(call, &call->out[i], &w.out[i], narrow_range_to_halves);
    return LDNQ_OK;
}
