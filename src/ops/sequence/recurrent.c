/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sequence/recurrent.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "ops/operation_count.h"
#include "ops/shared/product.h"
#include "ops/shared/strided.h"

#define FLOATS LDNQ_DTYPE_BIT(LDNQ_FLOAT)

/* ---- attributes ----------------------------------------------------------------------- */

static enum ldnq_status read_direction(const struct ldnq_node *node,
                                       struct ldnq_recurrent_attrs *attrs, struct ldnq_error *err)
{
    const char *direction = ldnq_attr_string(node, "direction", "forward");
    attrs->directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    attrs->reverse = strcmp(direction, "reverse") == 0;
    if (attrs->directions == 2 || attrs->reverse || strcmp(direction, "forward") == 0)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "direction=%s is not a known value", direction);
}

/* *value = the next number of a list, if the function has this parameter. */
static void read_next(const struct ldnq_attr *list, bool is_parameter, size_t *used, float *value)
{
    if (is_parameter && list && list->kind == LDNQ_ATTR_FLOATS && *used < list->count)
        *value = list->floats[(*used)++];
}

static enum ldnq_status read_activations(const struct ldnq_node *node,
                                         struct ldnq_recurrent_attrs *attrs, struct ldnq_error *err)
{
    const struct ldnq_attr *names = ldnq_node_find_attr(node, "activations");
    const struct ldnq_attr *alphas = ldnq_node_find_attr(node, "activation_alpha");
    const struct ldnq_attr *betas = ldnq_node_find_attr(node, "activation_beta");
    size_t each = attrs->kind->functions, count = each * attrs->directions, alpha = 0, beta = 0;
    if (names && names->count != count && names->count != 0)
        return ldnq_fail(err, LDNQ_MODEL, "names %zu activations where %zu are needed",
                         names->count, count);
    for (size_t i = 0; i < count; i++) {
        struct ldnq_activation *f = &attrs->activations[i];
        const char *name =
            names && names->count ? names->strings[i] : attrs->kind->defaults[i % each];
        if (!ldnq_activation_find(name, f))
            return ldnq_fail(err, LDNQ_UNSUPPORTED, "the activation '%s' is not supported", name);
        read_next(alphas, f->takes_alpha, &alpha, &f->alpha);
        read_next(betas, f->takes_beta, &beta, &f->beta);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_recurrent_read_attrs(const struct ldnq_recurrent_kind *kind,
                                           const struct ldnq_node *node, struct ldnq_arena *arena,
                                           const void **out, struct ldnq_error *err)
{
    struct ldnq_recurrent_attrs *attrs = ldnq_arena_alloc(arena, 1, sizeof *attrs, err);
    if (!attrs)
        return LDNQ_NOMEM;
    int64_t layout = ldnq_attr_int(node, "layout", 0);
    *attrs = (struct ldnq_recurrent_attrs){
        .kind = kind,
        .hidden = ldnq_attr_int(node, "hidden_size", 0),
        .batch_first = layout == 1,
        .input_forget = ldnq_attr_int(node, "input_forget", 0) != 0,
        .linear_before_reset = ldnq_attr_int(node, "linear_before_reset", 0) != 0,
        .clip = ldnq_attr_float(node, "clip", INFINITY),
    };
    if (layout != 0 && layout != 1)
        return ldnq_fail(err, LDNQ_MODEL, "layout=%" PRId64 " is not a known value", layout);
    if (attrs->hidden < 0)
        return ldnq_fail(err, LDNQ_MODEL, "hidden_size=%" PRId64 " is not possible", attrs->hidden);
    if (!(attrs->clip > 0.0f))
        return ldnq_fail(err, LDNQ_MODEL, "clip=%g is not positive", (double)attrs->clip);
    LDNQ_TRY(read_direction(node, attrs, err));
    LDNQ_TRY(read_activations(node, attrs, err));
    *out = attrs;
    return LDNQ_OK;
}

/* ---- shapes --------------------------------------------------------------------------- */

/* Checks the shape of input i, if there is one, against *want[]; dimensions in *want[] that
 * are symbols become those of the input. */
static enum ldnq_status unify_shape_with_sizes(const struct ldnq_op_call *call, size_t i, int rank,
                                               int64_t *const *want, struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor = ldnq_op_input(call, i);
    char text[LDNQ_SHAPE_TEXT];
    if (!tensor || tensor->shape.rank < 0)
        return LDNQ_OK;
    bool fits = tensor->shape.rank == rank;
    for (int k = 0; fits && k < rank; k++) {
        int64_t dim = tensor->shape.dim[k];
        if (ldnq_is_symbol(*want[k]))
            *want[k] = dim;
        fits = ldnq_is_symbol(dim) || *want[k] == dim;
    }
    if (fits)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_MODEL, "input %zu of shape %s does not go with the others", i,
                     ldnq_shape_print(&tensor->shape, NULL, text, sizeof text));
}

struct recurrent_sizes {
    int64_t steps, batch, inputs, hidden, directions, width, biases, peepholes;
};

static enum ldnq_status find_hidden_size(struct ldnq_op_call *call, struct recurrent_sizes *s,
                                         struct ldnq_error *err)
{
    const struct ldnq_recurrent_attrs *attrs = call->attrs;
    const struct ldnq_shape *r = &call->in[LDNQ_RECURRENT_R]->shape;
    int64_t gates = (int64_t)attrs->kind->gates;
    s->hidden = r->rank == 3 ? r->dim[2] : attrs->hidden;
    if (r->rank == 3 && ldnq_is_symbol(s->hidden) && attrs->hidden)
        s->hidden = attrs->hidden;
    if (attrs->hidden && s->hidden != attrs->hidden)
        return ldnq_fail(err, LDNQ_MODEL, "hidden_size=%" PRId64 " where its weights have %" PRId64,
                         attrs->hidden, s->hidden);
    if (!ldnq_is_symbol(s->hidden) && s->hidden > INT32_MAX / 16)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "a hidden size of %" PRId64 " is not supported",
                         s->hidden);
    LDNQ_TRY(ldnq_op_multiply_dims(call, s->hidden, gates, &s->width, err));
    LDNQ_TRY(ldnq_op_multiply_dims(call, s->hidden, 2 * gates, &s->biases, err));
    return ldnq_op_multiply_dims(call, s->hidden, 3, &s->peepholes, err);
}

static enum ldnq_status check_inputs(const struct ldnq_op_call *call, struct recurrent_sizes *s,
                                     struct ldnq_error *err)
{
    const struct ldnq_recurrent_attrs *attrs = call->attrs;
    bool swap = attrs->batch_first;
    int64_t *x[] = { swap ? &s->batch : &s->steps, swap ? &s->steps : &s->batch, &s->inputs };
    int64_t *w[] = { &s->directions, &s->width, &s->inputs };
    int64_t *r[] = { &s->directions, &s->width, &s->hidden };
    int64_t *b[] = { &s->directions, &s->biases };
    int64_t *lengths[] = { &s->batch };
    int64_t *state[] = { swap ? &s->batch : &s->directions, swap ? &s->directions : &s->batch,
                         &s->hidden };
    int64_t *p[] = { &s->directions, &s->peepholes };
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_X, 3, x, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_W, 3, w, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_R, 3, r, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_B, 2, b, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_LENGTHS, 1, lengths, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_H, 3, state, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_C, 3, state, err));
    LDNQ_TRY(unify_shape_with_sizes(call, LDNQ_RECURRENT_P, 2, p, err));
    if (s->inputs > INT32_MAX)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "an input size of more than 2^31-1 is not "
                         "supported");
    return LDNQ_OK;
}

enum ldnq_status ldnq_recurrent_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err)
{
    const struct ldnq_recurrent_attrs *attrs = call->attrs;
    bool swap = attrs->batch_first;
    struct recurrent_sizes s = { .directions = (int64_t)attrs->directions };
    for (size_t i = 0; i < call->in_count; i++)
        LDNQ_TRY(ldnq_op_require_dtype(
            call, i, i == LDNQ_RECURRENT_LENGTHS ? LDNQ_DTYPE_BIT(LDNQ_INT32) : FLOATS, err));
    for (size_t i = 0; i < call->out_count; i++)
        call->out[i].dtype = LDNQ_FLOAT;
    int64_t *const fresh[] = { &s.steps, &s.batch, &s.inputs };
    if (call->in[LDNQ_RECURRENT_X]->shape.rank == 3)
        s = (struct recurrent_sizes){ call->in[0]->shape.dim[swap ? 1 : 0],
                                      call->in[0]->shape.dim[!swap], call->in[0]->shape.dim[2],
                                      .directions = s.directions };
    else
        for (size_t i = 0; i < 3; i++)
            LDNQ_TRY(ldnq_op_make_unknown_dim(call, fresh[i], err));
    if (call->in[LDNQ_RECURRENT_R]->shape.rank != 3 && !attrs->hidden)
        return ldnq_fail(err, LDNQ_MODEL, "has neither hidden_size nor a weight of known shape");
    LDNQ_TRY(find_hidden_size(call, &s, err));
    LDNQ_TRY(check_inputs(call, &s, err));
    const struct ldnq_shape shapes[] = {
        { 4,
          { swap ? s.batch : s.steps, swap ? s.steps : s.directions, swap ? s.directions : s.batch,
            s.hidden } },
        { 3, { swap ? s.batch : s.directions, swap ? s.directions : s.batch, s.hidden } },
    };
    for (size_t i = 0; i < call->out_count; i++)
        call->out[i].shape = shapes[i > 0];
    return LDNQ_OK;
}

/* ---- memory ------------------------------------------------------------------- */

struct ldnq_recurrent ldnq_recurrent_make(const struct ldnq_op_call *call)
{
    const struct ldnq_recurrent_attrs *attrs = call->attrs;
    const struct ldnq_shape *x = &call->in[LDNQ_RECURRENT_X]->shape;
    const struct ldnq_tensor *lengths = ldnq_op_input(call, LDNQ_RECURRENT_LENGTHS);
    struct ldnq_recurrent r = {
        .call = call,
        .attrs = attrs,
        .kind = attrs->kind,
        .steps = (size_t)x->dim[attrs->batch_first ? 1 : 0],
        .batch = (size_t)x->dim[attrs->batch_first ? 0 : 1],
        .inputs = (size_t)x->dim[2],
        .hidden = (size_t)call->in[LDNQ_RECURRENT_R]->shape.dim[2],
        .lengths = lengths ? lengths->data : NULL,
    };
    r.width = r.kind->gates * r.hidden;
    return r;
}

size_t ldnq_recurrent_count_operations(const struct ldnq_op_call *call)
{
    const struct ldnq_recurrent r = ldnq_recurrent_make(call);
    const size_t factors[] = { r.attrs->directions, r.steps, r.batch, r.width,
                               r.inputs + r.hidden };
    return ldnq_operations_multiply(factors, 5) / LDNQ_PRODUCTS_PER_OPERATION;
}

/* a * b * c floats from *end on; *end becomes their end, a multiple of 16. With scratch NULL
 * it only counts. */
static float *append_floats(void *scratch, size_t *end, size_t a, size_t b, size_t c)
{
    size_t count, from = *end, limit = SIZE_MAX / 64;
    if (from > limit || !ldnq_size_mul(a, b, &count) || !ldnq_size_mul(count, c, &count) ||
        count > limit) {
        *end = SIZE_MAX;
        return NULL;
    }
    *end = from + (count + 15) / 16 * 16;
    return scratch ? (float *)scratch + from : NULL;
}

size_t ldnq_recurrent_assign_scratch(struct ldnq_recurrent *r, bool backward, void *scratch)
{
    size_t directions = r->attrs->directions, end = 0, rows, slots = backward ? r->steps + 1 : 1;
    if (!ldnq_size_mul(r->steps, r->batch, &rows) || rows > INT32_MAX ||
        !ldnq_size_mul(slots, r->batch, &slots))
        return SIZE_MAX;
    r->retains_states = backward;
    if (r->attrs->batch_first)
        r->x = append_floats(scratch, &end, rows, r->inputs, 1);
    r->z = append_floats(scratch, &end, directions, rows, r->width);
    r->h = append_floats(scratch, &end, directions, slots, r->hidden);
    if (r->kind->has_cell)
        r->c = append_floats(scratch, &end, directions, slots, r->hidden);
    r->temp = append_floats(scratch, &end, ldnq_pool_threads(r->call->pool),
                            LDNQ_RECURRENT_ROWS + LDNQ_RECURRENT_TEMP, r->hidden);
    if (backward) {
        r->extra = append_floats(scratch, &end, directions, rows, r->hidden);
        r->dh = append_floats(scratch, &end, directions, r->batch, r->hidden);
        r->dc = append_floats(scratch, &end, directions, r->batch, r->hidden);
        if (r->attrs->batch_first)
            r->dx = append_floats(scratch, &end, rows, r->inputs, 1);
    }
    return end > SIZE_MAX / sizeof(float) ? SIZE_MAX : end * sizeof(float);
}

bool ldnq_recurrent_is_reverse(const struct ldnq_recurrent *r, size_t direction)
{
    return direction == 1 || r->attrs->reverse;
}

void ldnq_recurrent_find_active(const struct ldnq_recurrent *r, size_t t, size_t first, size_t rows,
                                uint8_t *active)
{
    for (size_t i = 0; i < rows; i++)
        active[i] = !r->lengths || (int64_t)t < r->lengths[first + i];
}

size_t ldnq_recurrent_find_y_index(const struct ldnq_recurrent *r, size_t t, size_t direction,
                                   size_t b)
{
    size_t directions = r->attrs->directions;
    return r->attrs->batch_first ? ((b * r->steps + t) * directions + direction) * r->hidden
                                 : ((t * directions + direction) * r->batch + b) * r->hidden;
}

size_t ldnq_recurrent_find_state_index(const struct ldnq_recurrent *r, size_t direction, size_t b)
{
    return (r->attrs->batch_first ? b * r->attrs->directions + direction
                                  : direction * r->batch + b) *
           r->hidden;
}

const float *ldnq_recurrent_find_time_major_x(const struct ldnq_recurrent *r)
{
    return r->x ? r->x : r->call->in[LDNQ_RECURRENT_X]->data;
}

/* The index of a state. Slot t is the state before step t, slot t+1 the one after it; for
 * the reverse direction it is the other way round. Without retained states all slots are
 * the same memory. */
static size_t find_state_index(const struct ldnq_recurrent *r, size_t direction, size_t slot,
                               size_t row)
{
    size_t slots = r->retains_states ? r->steps + 1 : 1;
    return ((direction * slots + (r->retains_states ? slot : 0)) * r->batch + row) * r->hidden;
}

/* One direction of an input with `size` floats per direction; NULL if it is omitted. */
static const float *find_direction_data(const struct ldnq_recurrent *r, size_t input,
                                        size_t direction, size_t size)
{
    const struct ldnq_tensor *tensor = ldnq_op_input(r->call, input);
    return tensor ? (const float *)tensor->data + direction * size : NULL;
}

struct ldnq_recurrent_step ldnq_recurrent_make_step(const struct ldnq_recurrent *r,
                                                    size_t direction, size_t t, size_t first,
                                                    size_t rows, size_t thread)
{
    size_t row = (direction * r->steps + t) * r->batch + first, inner = r->kind->find_inner_bias(r);
    bool reverse = ldnq_recurrent_is_reverse(r, direction);
    size_t from = find_state_index(r, direction, t + (reverse ? 1 : 0), first);
    size_t to = find_state_index(r, direction, t + (reverse ? 0 : 1), first);
    const float *bias = find_direction_data(r, LDNQ_RECURRENT_B, direction, 2 * r->width);
    return (struct ldnq_recurrent_step){
        .direction = direction,
        .rows = rows,
        .step = t,
        .r = find_direction_data(r, LDNQ_RECURRENT_R, direction, r->width * r->hidden),
        .r_bias = bias && inner < r->kind->gates ? bias + r->width + inner * r->hidden : NULL,
        .peepholes = find_direction_data(r, LDNQ_RECURRENT_P, direction, 3 * r->hidden),
        .z = r->z + row * r->width,
        .h_prev = r->h + from,
        .h = r->h + to,
        .c_prev = r->c ? r->c + from : NULL,
        .c = r->c ? r->c + to : NULL,
        .extra = r->extra ? r->extra + row * r->hidden : NULL,
        .temp = r->temp + thread * (LDNQ_RECURRENT_ROWS + LDNQ_RECURRENT_TEMP) * r->hidden,
    };
}

/* ---- z = x w' + b --------------------------------------------------------------------- */

/* x (batch, steps, inputs) to r->x (steps, batch, inputs). */
static void transpose_x(const struct ldnq_recurrent *r)
{
    struct ldnq_strided region = { 0 };
    ldnq_strided_add_axis(&region, r->steps, (ptrdiff_t)r->inputs,
                          (ptrdiff_t)(r->batch * r->inputs));
    ldnq_strided_add_axis(&region, r->batch, (ptrdiff_t)(r->steps * r->inputs),
                          (ptrdiff_t)r->inputs);
    ldnq_strided_add_axis(&region, r->inputs, 1, 1);
    ldnq_strided_copy(r->call, &region, sizeof(float), r->call->in[LDNQ_RECURRENT_X]->data, r->x);
}

/* z = b: both biases, except for the gate whose recurrent bias is not part of z. */
static void fill_bias_rows(const void *ctx, size_t first, size_t last)
{
    const struct ldnq_recurrent *r = ctx;
    size_t rows = r->steps * r->batch, inner = r->kind->find_inner_bias(r);
    for (size_t row = first; row < last; row++) {
        const float *b = find_direction_data(r, LDNQ_RECURRENT_B, row / rows, 2 * r->width);
        float *z = r->z + row * r->width;
        for (size_t i = 0; i < r->width; i++) {
            bool both = i / r->hidden != inner;
            z[i] = !b ? 0.0f : both ? b[i] + b[r->width + i] : b[i];
        }
    }
}

static void find_direction_offsets(const void *ctx, size_t direction, size_t offsets[2])
{
    const struct ldnq_recurrent *r = ctx;
    offsets[0] = 0;
    offsets[1] = direction * r->width * r->inputs;
}

/* Computes z, the products with the input, for all steps and directions. */
static void compute_input_products(const struct ldnq_recurrent *r)
{
    size_t rows = r->steps * r->batch;
    if (r->x)
        transpose_x(r);
    ldnq_op_run_rows(r->call, r->attrs->directions * rows, r->width, fill_bias_rows, r);
    struct ldnq_product product = {
        .m = rows,
        .n = r->width,
        .k = r->inputs,
        .transpose_b = LDNQ_TRANSPOSED,
        .alpha = 1.0f,
        .beta = 1.0f,
        .batches = r->attrs->directions,
        .offsets = find_direction_offsets,
        .ctx = r,
        .a = ldnq_recurrent_find_time_major_x(r),
        .b = r->call->in[LDNQ_RECURRENT_W]->data,
        .c = r->z,
    };
    ldnq_product_run(&product, r->call->pool);
}

/* ---- the steps ------------------------------------------------------------------------------ */

struct recurrent_run {
    const struct ldnq_recurrent *r;
    float *y; /* may be NULL */
};

/* states (rows, hidden) = the initial states, zeros if the node has none. */
static void init_states(const struct ldnq_recurrent *r, size_t input, size_t direction,
                        size_t first, size_t rows, float *states)
{
    const struct ldnq_tensor *initial = ldnq_op_input(r->call, input);
    for (size_t i = 0; i < rows && states; i++) {
        float *to = states + i * r->hidden;
        if (initial)
            memcpy(to,
                   (const float *)initial->data +
                       ldnq_recurrent_find_state_index(r, direction, first + i),
                   r->hidden * sizeof *to);
        else
            memset(to, 0, r->hidden * sizeof *to);
    }
}

void ldnq_recurrent_copy_state(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s,
                               size_t row)
{
    size_t at = row * r->hidden;
    if (s->h != s->h_prev)
        memcpy(s->h + at, s->h_prev + at, r->hidden * sizeof *s->h);
    if (s->c && s->c != s->c_prev)
        memcpy(s->c + at, s->c_prev + at, r->hidden * sizeof *s->c);
}

static void write_output_rows(const struct recurrent_run *run, const struct ldnq_recurrent_step *s,
                              size_t first)
{
    const struct ldnq_recurrent *r = run->r;
    for (size_t i = 0; i < s->rows && run->y; i++) {
        float *y = run->y + ldnq_recurrent_find_y_index(r, s->step, s->direction, first + i);
        if (s->active[i])
            memcpy(y, s->h + i * r->hidden, r->hidden * sizeof *y);
        else
            memset(y, 0, r->hidden * sizeof *y);
    }
}

/* Runs all steps of one direction and one block of samples. */
static void run_steps_of_rows(void *ctx, size_t chunk, size_t thread)
{
    const struct recurrent_run *run = ctx;
    const struct ldnq_recurrent *r = run->r;
    size_t blocks = ldnq_size_ceil_div(r->batch, LDNQ_RECURRENT_ROWS);
    size_t direction = chunk / blocks, first = chunk % blocks * LDNQ_RECURRENT_ROWS;
    size_t rows = ldnq_size_min(LDNQ_RECURRENT_ROWS, r->batch - first);
    bool reverse = ldnq_recurrent_is_reverse(r, direction);
    uint8_t active[LDNQ_RECURRENT_ROWS];
    size_t start = find_state_index(r, direction, reverse ? r->steps : 0, first);
    init_states(r, LDNQ_RECURRENT_H, direction, first, rows, r->h + start);
    init_states(r, LDNQ_RECURRENT_C, direction, first, rows, r->c ? r->c + start : NULL);
    for (size_t i = 0; i < r->steps; i++) {
        size_t t = reverse ? r->steps - 1 - i : i;
        struct ldnq_recurrent_step step =
            ldnq_recurrent_make_step(r, direction, t, first, rows, thread);
        ldnq_recurrent_find_active(r, t, first, rows, active);
        step.active = active;
        r->kind->forward(r, &step);
        write_output_rows(run, &step, first);
    }
}

static enum ldnq_status check_lengths(const struct ldnq_recurrent *r, struct ldnq_error *err)
{
    for (size_t i = 0; r->lengths && i < r->batch; i++)
        if (r->lengths[i] < 0 || (size_t)r->lengths[i] > r->steps)
            return ldnq_fail(err, LDNQ_MODEL,
                             "sequence_lens has %" PRId32 " where there are %zu "
                             "steps",
                             r->lengths[i], r->steps);
    return LDNQ_OK;
}

enum ldnq_status ldnq_recurrent_run(struct ldnq_recurrent *r, float *y, struct ldnq_error *err)
{
    struct recurrent_run run = { r, y };
    LDNQ_TRY(check_lengths(r, err));
    compute_input_products(r);
    ldnq_pool_run(r->call->pool,
                  r->attrs->directions * ldnq_size_ceil_div(r->batch, LDNQ_RECURRENT_ROWS),
                  run_steps_of_rows, &run);
    return LDNQ_OK;
}

/* ---- forward ------------------------------------------------------------------------- */

size_t ldnq_recurrent_scratch_bytes(const struct ldnq_op_call *call)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(call);
    return ldnq_recurrent_assign_scratch(&r, false, NULL);
}

static void write_states(const struct ldnq_recurrent *r, size_t output, const float *states)
{
    if (output >= r->call->out_count)
        return;
    float *out = r->call->out[output].data;
    for (size_t d = 0; d < r->attrs->directions; d++)
        for (size_t b = 0; b < r->batch; b++)
            memcpy(out + ldnq_recurrent_find_state_index(r, d, b),
                   states + find_state_index(r, d, 0, b), r->hidden * sizeof *out);
}

enum ldnq_status ldnq_recurrent_forward(const struct ldnq_op_call *call, struct ldnq_error *err)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(call);
    ldnq_recurrent_assign_scratch(&r, false, call->scratch);
    LDNQ_TRY(ldnq_recurrent_run(&r, call->out[0].data, err));
    write_states(&r, 1, r.h);
    write_states(&r, 2, r.c);
    return LDNQ_OK;
}
