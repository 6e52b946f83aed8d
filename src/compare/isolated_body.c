/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/isolated_body.h"

#include <string.h>

static bool is_constant_input(const struct ldnq_node *node, size_t input)
{
    return input < node->input_count && node->inputs[input] && node->inputs[input]->constant;
}

static bool have_same_form(const struct ldnq_tensor *a, const struct ldnq_tensor *b)
{
    return a->dtype == b->dtype && ldnq_shapes_are_equal(&a->shape, &b->shape);
}

bool ldnq_isolated_body_is_possible(const struct ldnq_matched_layer *match,
                                    const struct ldnq_node_pairs *pairs)
{
    if (match->b == LDNQ_NO_NODE)
        return false;
    const struct ldnq_node *a = pairs->a->nodes[match->a].node;
    const struct ldnq_node *b = pairs->b->nodes[match->b].node;
    /* A normalization that one of both has merged changes the constants. */
    if (strcmp(a->op_type, b->op_type) != 0 || a->input_count != b->input_count ||
        match->output_a->producer != a || match->output_b->producer != b)
        return false;
    for (size_t i = 0; i < a->input_count; i++)
        if (is_constant_input(a, i) != is_constant_input(b, i) ||
            (is_constant_input(a, i) &&
             !have_same_form(a->inputs[i]->constant, b->inputs[i]->constant)))
            return false;
    return true;
}

struct body_comparison {
    const struct ldnq_node *b;
    const struct ldnq_value *output; /* of A's node */
    struct ldnq_pool *pool;
    struct ldnq_distance *sums;
};

/* Computes outputs of its own, whose shapes are known. */
static enum ldnq_status compute_outputs(struct ldnq_op_call *call, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    struct ldnq_tensor *out = ldnq_arena_alloc(arena, call->out_count, sizeof *out, err);
    if (!out)
        return LDNQ_NOMEM;
    memcpy(out, call->out, call->out_count * sizeof *out);
    call->out = out;
    const enum ldnq_status status = ldnq_ops_allocate_and_forward(call, arena, err);
    return status == LDNQ_MODEL ? LDNQ_DATA : status;
}

static enum ldnq_status compare_call(const struct body_comparison *comparison,
                                     const struct ldnq_op_call *call, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    struct ldnq_op_call exact = *call, quantized;
    const struct ldnq_tensor **in = ldnq_arena_alloc(arena, call->in_count, sizeof *in, err);
    if (!in)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < call->in_count; i++)
        in[i] =
            is_constant_input(comparison->b, i) ? comparison->b->inputs[i]->constant : call->in[i];
    exact.clamp = NULL;
    exact.fused_reader = NULL;
    quantized = exact;
    quantized.in = in;
    LDNQ_TRY(compute_outputs(&exact, arena, err));
    LDNQ_TRY(compute_outputs(&quantized, arena, err));
    for (size_t o = 0; o < call->out_count; o++)
        if (call->node->outputs[o] == comparison->output)
            return ldnq_distance_add(comparison->sums, &quantized.out[o], &exact.out[o],
                                     comparison->pool, err);
    return LDNQ_OK;
}

static enum ldnq_status watch_call(void *ctx, const struct ldnq_op_call *call,
                                   struct ldnq_error *err)
{
    const struct body_comparison *comparison = ctx;
    struct ldnq_arena *arena;
    /* A layer's output has the same shape without the clamp or the bias that runs inside it. */
    if (call->fused_reader && !call->node->op->layer) {
        comparison->sums->failed = true;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = compare_call(comparison, call, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

enum ldnq_status ldnq_isolated_body_add(const struct ldnq_matched_layer *match,
                                        const struct ldnq_node_pairs *pairs, struct ldnq_exec *a,
                                        struct ldnq_pool *pool, struct ldnq_distance *sums,
                                        struct ldnq_error *err)
{
    struct body_comparison comparison = {
        .b = pairs->b->nodes[match->b].node, .output = match->output_a, .pool = pool, .sums = sums
    };
    return ldnq_exec_watch_body(a, match->own_layer_a->node_index, pairs->a->nodes[match->a].node,
                                watch_call, &comparison, err);
}
