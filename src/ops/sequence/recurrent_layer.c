/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sequence/recurrent_layer.h"

#include <string.h>

#include "ops/sequence/recurrent.h"

/* ---- weights --------------------------------------------------------------------------- */

/* Whether the last gate reads the state times the reset gate. */
static bool resets_state(const struct ldnq_recurrent_attrs *attrs)
{
    return attrs->kind->has_reset_gate && !attrs->linear_before_reset;
}

static enum ldnq_status describe_weight(const struct ldnq_node *node,
                                        const struct ldnq_tensor *weight, bool has_group_per_gate,
                                        struct ldnq_layer_geometry *geometry,
                                        struct ldnq_error *err)
{
    const struct ldnq_recurrent_attrs *attrs = node->op_attrs;
    const struct ldnq_shape *shape = &weight->shape;
    const size_t gates = has_group_per_gate ? attrs->kind->gates : 1;
    if (shape->rank != 3 || (size_t)shape->dim[1] % attrs->kind->gates != 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "its weight is not (directions, gates, inputs)");
    *geometry = ldnq_describe_out_in((size_t)shape->dim[0] * gates, (size_t)shape->dim[1] / gates,
                                     (size_t)shape->dim[2], 1);
    geometry->layout = LDNQ_WEIGHT_PERMUTED;
    geometry->mixes_samples = true;
    return LDNQ_OK;
}

static enum ldnq_status describe_w(const struct ldnq_node *node, const struct ldnq_tensor *weight,
                                   const struct ldnq_tensor *bias,
                                   struct ldnq_layer_geometry *geometry, struct ldnq_error *err)
{
    (void)bias;
    return describe_weight(node, weight, false, geometry, err);
}

static enum ldnq_status describe_r(const struct ldnq_node *node, const struct ldnq_tensor *weight,
                                   const struct ldnq_tensor *bias,
                                   struct ldnq_layer_geometry *geometry, struct ldnq_error *err)
{
    (void)bias;
    return describe_weight(node, weight, resets_state(node->op_attrs), geometry, err);
}

/* ---- positions ------------------------------------------------------------------------- */

static size_t count_steps(const struct ldnq_recurrent *r, size_t sample)
{
    if (!r->lengths)
        return r->steps;
    /* Lengths that are not possible fail in prepare, or when the node runs. */
    const int32_t length = r->lengths[sample];
    return length < 0 ? 0 : (size_t)length < r->steps ? (size_t)length : r->steps;
}

static size_t count_positions(const struct ldnq_op_call *call)
{
    const struct ldnq_recurrent r = ldnq_recurrent_make(call);
    size_t count = 0;
    for (size_t b = 0; b < r.batch; b++)
        count += count_steps(&r, b);
    return count;
}

/* A position: positions of one sample follow each other. */
struct recurrent_position {
    size_t sample, step;
};

static struct recurrent_position find_position(const struct ldnq_recurrent *r, size_t position)
{
    struct recurrent_position at = { .step = position };
    while (at.step >= count_steps(r, at.sample))
        at.step -= count_steps(r, at.sample++);
    return at;
}

static void advance_position(const struct ldnq_recurrent *r, struct recurrent_position *at)
{
    at->step++;
    while (at->sample < r->batch && at->step >= count_steps(r, at->sample)) {
        at->sample++;
        at->step = 0;
    }
}

/* ---- the input of W -------------------------------------------------------------------- */

static void fill_columns_of_w(const struct ldnq_op_call *call, size_t group, size_t first,
                              size_t count, float *columns, size_t ld)
{
    (void)group;
    const struct ldnq_recurrent r = ldnq_recurrent_make(call);
    struct recurrent_position at = find_position(&r, first);
    for (size_t p = 0; p < count; p++) {
        const size_t row =
            r.attrs->batch_first ? at.sample * r.steps + at.step : at.step * r.batch + at.sample;
        const float *x = (const float *)call->in[LDNQ_RECURRENT_X]->data + row * r.inputs;
        for (size_t k = 0; k < r.inputs; k++)
            columns[k * ld + p] = x[k];
        advance_position(&r, &at);
    }
}

/* ---- the input of R -------------------------------------------------------------------- */

static size_t count_scratch_bytes(const struct ldnq_op_call *call)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(call);
    return ldnq_recurrent_assign_scratch(&r, true, NULL);
}

/* Runs the node, and retains all states. */
static enum ldnq_status compute_states(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(call);
    ldnq_recurrent_assign_scratch(&r, true, call->scratch);
    return ldnq_recurrent_run(&r, NULL, err);
}

static void fill_columns_of_r(const struct ldnq_op_call *call, size_t group, size_t first,
                              size_t count, float *columns, size_t ld)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(call);
    const size_t gates = resets_state(r.attrs) ? r.kind->gates : 1;
    const size_t direction = group / gates;
    const bool is_reset = gates > 1 && group % gates == gates - 1;
    ldnq_recurrent_assign_scratch(&r, true, call->scratch);
    struct recurrent_position at = find_position(&r, first);
    for (size_t p = 0; p < count; p++) {
        const struct ldnq_recurrent_step step =
            ldnq_recurrent_make_step(&r, direction, at.step, at.sample, 1, 0);
        for (size_t k = 0; k < r.hidden; k++)
            columns[k * ld + p] = step.h_prev[k];
        for (size_t k = 0; is_reset && k < r.hidden; k++) {
            float reset;
            ldnq_activation_run(&r.attrs->activations[r.kind->functions * direction], r.attrs->clip,
                                step.z + r.hidden + k, &reset, 1);
            columns[k * ld + p] *= reset;
        }
        advance_position(&r, &at);
    }
}

/* ---- the records ----------------------------------------------------------------------- */

static const struct ldnq_op_layer layer_of_r = {
    .weight_input = LDNQ_RECURRENT_R,
    .bias_input = -1,
    .weight_label = "R",
    .data_input = LDNQ_RECURRENT_X,
    .repeats_weight = true,
    .describe_weight = describe_r,
    .scratch_bytes = count_scratch_bytes,
    .prepare = compute_states,
    .count_positions = count_positions,
    .fill_columns = fill_columns_of_r,
};

const struct ldnq_op_layer ldnq_recurrent_layers = {
    .weight_input = LDNQ_RECURRENT_W,
    .bias_input = -1,
    .weight_label = "W",
    .data_input = LDNQ_RECURRENT_X,
    .repeats_weight = true,
    .other = &layer_of_r,
    .describe_weight = describe_w,
    .count_positions = count_positions,
    .fill_columns = fill_columns_of_w,
};
