/* SPDX-License-Identifier: Apache-2.0 */
/* einsum.c: Einsum, with ellipses, diagonals and implicit outputs. The contraction itself is
 * in contract.c.
 *
 * The gradient of an operand is an einsum as well: of the output's gradient and all other
 * operands, with the operand's subscripts as output.
 */
#include <inttypes.h>
#include <string.h>

#include "base/size.h"
#include "ops/matmul/contract.h"
#include "ops/matmul/einsum.h"
#include "ops/operation_count.h"

#define LETTERS 52 /* labels of A .. Z and a .. z; higher labels are the axes of the ellipsis */
/* ---- the equation ------------------------------------------------------------------------ */

/* The label of a letter; -1 for other characters. */
static int find_label_of_letter(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    return c >= 'a' && c <= 'z' ? 26 + (c - 'a') : -1;
}

/* Reads a term up to a comma, an arrow or the end, to which *text is advanced. */
static enum ldnq_status read_term(const char **text, struct ldnq_einsum_term *term,
                                  struct ldnq_error *err)
{
    *term = (struct ldnq_einsum_term){ .ellipsis = LDNQ_EINSUM_NO_ELLIPSIS };
    for (; **text && **text != ',' && strncmp(*text, "->", 2) != 0; ++*text) {
        int label = find_label_of_letter(**text);
        if (**text == ' ')
            continue;
        if (strncmp(*text, "...", 3) == 0 && term->ellipsis == LDNQ_EINSUM_NO_ELLIPSIS) {
            term->ellipsis = term->count;
            *text += 2;
            continue;
        }
        if (label < 0)
            return ldnq_fail(err, LDNQ_MODEL, "its equation can't be read from '%s' on", *text);
        if (term->count == LDNQ_MAX_RANK)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                             LDNQ_MAX_RANK);
        term->label[term->count++] = (uint8_t)label;
    }
    return LDNQ_OK;
}

/* The output of an equation without arrow: the labels that occur once in all operands, in
 * alphabetical order. */
static enum ldnq_status set_implicit_output(struct ldnq_einsum_attrs *a, struct ldnq_error *err)
{
    size_t uses[LETTERS] = { 0 };
    a->out = (struct ldnq_einsum_term){ .ellipsis = LDNQ_EINSUM_NO_ELLIPSIS };
    for (size_t i = 0; i < a->operands; i++) {
        for (int k = 0; k < a->in[i].count; k++)
            uses[a->in[i].label[k]]++;
        if (a->in[i].ellipsis != LDNQ_EINSUM_NO_ELLIPSIS)
            a->out.ellipsis = 0;
    }
    for (int label = 0; label < LETTERS; label++) {
        if (uses[label] != 1)
            continue;
        if (a->out.count == LDNQ_MAX_RANK)
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                             LDNQ_MAX_RANK);
        a->out.label[a->out.count++] = (uint8_t)label;
    }
    return LDNQ_OK;
}

static enum ldnq_status check_output(const struct ldnq_einsum_attrs *a, struct ldnq_error *err)
{
    uint64_t known = 0, seen = 0;
    bool ellipsis = false;
    for (size_t i = 0; i < a->operands; i++) {
        for (int k = 0; k < a->in[i].count; k++)
            known |= UINT64_C(1) << a->in[i].label[k];
        ellipsis = ellipsis || a->in[i].ellipsis != LDNQ_EINSUM_NO_ELLIPSIS;
    }
    for (int k = 0; k < a->out.count; k++) {
        uint64_t bit = UINT64_C(1) << a->out.label[k];
        if (!(known & bit) || (seen & bit))
            return ldnq_fail(err, LDNQ_MODEL, "its equation's output has a letter %s",
                             seen & bit ? "twice" : "that no input has");
        seen |= bit;
    }
    if (a->out.ellipsis != LDNQ_EINSUM_NO_ELLIPSIS && !ellipsis)
        return ldnq_fail(err, LDNQ_MODEL,
                         "its equation's output has an ellipsis that no input has");
    return LDNQ_OK;
}

static enum ldnq_status einsum_read_attrs(const struct ldnq_node *node, struct ldnq_arena *arena,
                                          const void **attrs, struct ldnq_error *err)
{
    const char *text = ldnq_attr_string(node, "equation", NULL);
    struct ldnq_einsum_attrs *a = ldnq_arena_alloc(arena, 1, sizeof *a, err);
    if (!a)
        return LDNQ_NOMEM;
    if (!text)
        return ldnq_fail(err, LDNQ_MODEL, "has no equation");
    *a = (struct ldnq_einsum_attrs){ .operands = node->input_count };
    a->in = ldnq_arena_alloc(arena, a->operands, sizeof *a->in, err);
    if (!a->in)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < a->operands; i++) {
        LDNQ_TRY(read_term(&text, &a->in[i], err));
        if ((*text == ',') != (i + 1 < a->operands))
            return ldnq_fail(err, LDNQ_MODEL,
                             "its equation does not have %zu operands, as the node does",
                             a->operands);
        text += *text == ',';
    }
    *attrs = a;
    if (*text == '\0')
        return set_implicit_output(a, err);
    text += 2;
    LDNQ_TRY(read_term(&text, &a->out, err));
    if (*text)
        return ldnq_fail(err, LDNQ_MODEL, "its equation can't be read from '%s' on", text);
    return check_output(a, err);
}

/* ---- shapes --------------------------------------------------------------------------------- */

void ldnq_einsum_label_axes(const struct ldnq_einsum_term *term, int rank,
                            uint8_t label[LDNQ_MAX_RANK])
{
    int extra = rank - term->count;
    for (int i = 0; i < rank; i++) {
        if (term->ellipsis == LDNQ_EINSUM_NO_ELLIPSIS || i < term->ellipsis)
            label[i] = term->label[i];
        else if (i < term->ellipsis + extra)
            label[i] = (uint8_t)(LETTERS + term->ellipsis + extra - 1 - i);
        else
            label[i] = term->label[i - extra];
    }
}

/* Broadcasts the sizes of operand i into the size of each label, and raises *ellipsis to the
 * number of axes of its ellipsis. Errors: MODEL. */
static enum ldnq_status add_operand_sizes(struct ldnq_op_call *call, size_t i,
                                          int64_t size[LDNQ_LABELS], int *ellipsis,
                                          struct ldnq_error *err)
{
    const struct ldnq_einsum_attrs *a = call->attrs;
    const struct ldnq_shape *shape = &call->in[i]->shape;
    const struct ldnq_einsum_term *term = &a->in[i];
    int extra = shape->rank - term->count;
    uint8_t label[LDNQ_MAX_RANK];
    int64_t own[LDNQ_LABELS] = { 0 };
    uint64_t seen = 0;
    if (extra < 0 || (extra > 0 && term->ellipsis == LDNQ_EINSUM_NO_ELLIPSIS))
        return ldnq_fail(err, LDNQ_MODEL, "its input %zu has %d axes where its equation has %d", i,
                         shape->rank, term->count);
    ldnq_einsum_label_axes(term, shape->rank, label);
    for (int k = 0; k < shape->rank; k++) {
        int64_t dim = shape->dim[k], before = own[label[k]];
        bool again = seen >> label[k] & 1;
        if (again && before != dim && !ldnq_is_symbol(before) && !ldnq_is_symbol(dim))
            return ldnq_fail(err, LDNQ_MODEL,
                             "its input %zu has %" PRId64 " and %" PRId64
                             " elements along one letter",
                             i, before, dim);
        seen |= UINT64_C(1) << label[k];
        own[label[k]] = again && !ldnq_is_symbol(before) ? before : dim;
        struct ldnq_shape one = { 1, { size[label[k]] } }, other = { 1, { dim } };
        LDNQ_TRY(ldnq_op_broadcast(call, &one, &other, &one, err));
        size[label[k]] = one.dim[0];
    }
    if (term->ellipsis != LDNQ_EINSUM_NO_ELLIPSIS)
        *ellipsis = extra > *ellipsis ? extra : *ellipsis;
    return LDNQ_OK;
}

static bool ranks_are_known(const struct ldnq_op_call *call)
{
    for (size_t i = 0; i < call->in_count; i++)
        if (call->in[i]->shape.rank < 0)
            return false;
    return true;
}

/* The size of each label, 1 for labels that are not used, and the number of axes of the
 * ellipsis. Errors: MODEL. */
static enum ldnq_status compute_sizes(struct ldnq_op_call *call, int64_t size[LDNQ_LABELS],
                                      int *ellipsis, struct ldnq_error *err)
{
    *ellipsis = 0;
    for (int i = 0; i < LDNQ_LABELS; i++)
        size[i] = 1;
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(add_operand_sizes(call, i, size, ellipsis, err));
    return LDNQ_OK;
}

static enum ldnq_status einsum_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_einsum_attrs *a = call->attrs;
    struct ldnq_shape *out = &call->out[0].shape;
    int64_t size[LDNQ_LABELS];
    uint8_t label[LDNQ_MAX_RANK];
    int ellipsis;
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(ldnq_op_require_dtype(call, i, LDNQ_DTYPE_BIT(LDNQ_FLOAT), err));
    call->out[0].dtype = LDNQ_FLOAT;
    if (!ranks_are_known(call))
        return ldnq_op_make_unknown_shape(call, 0, err);
    LDNQ_TRY(compute_sizes(call, size, &ellipsis, err));
    int rank = a->out.count + (a->out.ellipsis == LDNQ_EINSUM_NO_ELLIPSIS ? 0 : ellipsis);
    if (rank > LDNQ_MAX_RANK)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "more than %d axes are not supported",
                         LDNQ_MAX_RANK);
    ldnq_einsum_label_axes(&a->out, rank, label);
    out->rank = rank;
    for (int i = 0; i < rank; i++)
        out->dim[i] = size[label[i]];
    return LDNQ_OK;
}

/* ---- forward and backward ----------------------------------------------------------------------
 */

static void add_labelled_axis(struct ldnq_labelled *t, uint8_t label, ptrdiff_t stride)
{
    for (int i = 0; i < t->rank; i++)
        if (t->label[i] == label) {
            t->stride[i] += stride;
            return;
        }
    t->label[t->rank] = label;
    t->stride[t->rank++] = stride;
}

/* A tensor with the labels of its term. Axes of size 1 that broadcast to a larger size are
 * omitted: the contraction broadcasts along labels that an operand does not have. */
static struct ldnq_labelled label_tensor(const struct ldnq_contraction *work,
                                         const struct ldnq_einsum_term *term,
                                         const struct ldnq_tensor *tensor)
{
    struct ldnq_labelled t = { .data = tensor->data };
    ptrdiff_t strides[LDNQ_MAX_RANK];
    uint8_t label[LDNQ_MAX_RANK];
    ldnq_row_major_strides(&tensor->shape, strides);
    ldnq_einsum_label_axes(term, tensor->shape.rank, label);
    for (int i = 0; i < tensor->shape.rank; i++)
        if (tensor->shape.dim[i] != 1 || work->extent[label[i]] == 1)
            add_labelled_axis(&t, label[i], strides[i]);
    return t;
}

/* Requires shapes that infer has accepted. */
static struct ldnq_contraction init_contraction(const struct ldnq_op_call *call, bool dry)
{
    struct ldnq_contraction work = { .call = call, .dry = dry, .memory = call->scratch };
    struct ldnq_op_call at_run_time = *call;
    int64_t size[LDNQ_LABELS];
    int ellipsis;
    if (compute_sizes(&at_run_time, size, &ellipsis, NULL) != LDNQ_OK)
        work.too_large = true;
    for (int i = 0; i < LDNQ_LABELS; i++)
        work.extent[i] = work.too_large ? 0 : (size_t)size[i];
    return work;
}

/* The most operands of a node. */
#define MOST_OPERANDS 16

/* Contracts all operands. The output's gradient replaces operand `skip`; -1 for none. */
static void contract_operands(struct ldnq_contraction *work, ptrdiff_t skip,
                              const struct ldnq_tensor *gradient, const struct ldnq_labelled *to,
                              float *out)
{
    const struct ldnq_einsum_attrs *a = work->call->attrs;
    struct ldnq_labelled operands[MOST_OPERANDS];
    for (size_t i = 0; i < a->operands; i++)
        operands[i] = (ptrdiff_t)i == skip ? label_tensor(work, &a->out, gradient)
                                           : label_tensor(work, &a->in[i], work->call->in[i]);
    ldnq_contract(work, operands, a->operands, to, out);
}

static size_t einsum_scratch_bytes(const struct ldnq_op_call *call)
{
    const struct ldnq_einsum_attrs *a = call->attrs;
    struct ldnq_contraction work = init_contraction(call, true);
    struct ldnq_labelled to = label_tensor(&work, &a->out, &call->out[0]);
    size_t bytes;
    contract_operands(&work, -1, NULL, &to, NULL);
    return !work.too_large && ldnq_size_mul(work.used, sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

static size_t einsum_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_einsum_attrs *a = call->attrs;
    struct ldnq_contraction work = init_contraction(call, true);
    struct ldnq_labelled to = label_tensor(&work, &a->out, &call->out[0]);
    contract_operands(&work, -1, NULL, &to, NULL);
    return work.products / LDNQ_PRODUCTS_PER_OPERATION;
}

static enum ldnq_status einsum_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_einsum_attrs *a = call->attrs;
    struct ldnq_contraction work = init_contraction(call, false);
    struct ldnq_labelled to = label_tensor(&work, &a->out, &call->out[0]);
    (void)err;
    contract_operands(&work, -1, NULL, &to, call->out[0].data);
    return LDNQ_OK;
}

/* The gradients of the operands are computed one after the other, in the same memory. */
static size_t einsum_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    const struct ldnq_einsum_attrs *a = grad->call->attrs;
    size_t most = 0, bytes;
    for (size_t i = 0; i < a->operands; i++) {
        struct ldnq_contraction work = init_contraction(grad->call, true);
        struct ldnq_labelled to = label_tensor(&work, &a->in[i], &grad->in[i]);
        contract_operands(&work, (ptrdiff_t)i, &grad->call->out[0], &to, NULL);
        if (work.too_large || !ldnq_size_mul(work.used, sizeof(float), &bytes))
            return SIZE_MAX;
        most = ldnq_size_max(most, bytes);
    }
    return most;
}

static enum ldnq_status einsum_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    const struct ldnq_einsum_attrs *a = grad->call->attrs;
    (void)err;
    for (size_t i = 0; i < a->operands; i++) {
        float *dx = grad->in[i].data;
        if (!dx)
            continue;
        struct ldnq_contraction work = init_contraction(grad->call, false);
        struct ldnq_labelled to = label_tensor(&work, &a->in[i], &grad->in[i]);
        /* For an operand with a repeated letter, only its diagonal has a gradient. */
        memset(dx, 0, ldnq_tensor_count(&grad->in[i]) * sizeof *dx);
        contract_operands(&work, (ptrdiff_t)i, grad->out[0], &to, dx);
    }
    return LDNQ_OK;
}

const struct ldnq_op ldnq_op_einsum = {
    .type = "Einsum",
    .since = 12,
    .until = LDNQ_OPSET_LATEST,
    .inputs_min = 1,
    .inputs_max = MOST_OPERANDS,
    .outputs_max = 1,
    .read_attrs = einsum_read_attrs,
    .infer = einsum_infer_shape,
    .scratch_bytes = einsum_scratch_bytes,
    .count_operations = einsum_count_operations,
    .forward = einsum_forward,
    .differentiable = LDNQ_ALL_INPUTS,
    .saved_inputs = LDNQ_ALL_INPUTS,
    .backward_scratch_bytes = einsum_backward_scratch_bytes,
    .backward = einsum_backward,
    .layer = &ldnq_einsum_layer,
};
