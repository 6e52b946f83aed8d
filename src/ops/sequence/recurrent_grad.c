/* SPDX-License-Identifier: Apache-2.0 */
/* recurrent_grad.c: LSTM, GRU and RNN backward: backpropagation through time, then the
 * gradients of x and of the weights from dz of all steps. */
#include "ops/sequence/recurrent_weights.h"

#include <string.h>

#include "base/size.h"
#include "linalg/blas.h"
#include "ops/shared/strided.h"

/* Rows of a matrix product per chunk. */
#define OUTER_ROWS ((size_t)64)

/* c (m, n) = a' b or a b + beta c; `rows` is the size of the summed axis. */
struct recurrent_product {
    size_t m, n, rows, lda;
    const float *a, *b;
    float *c;
    float beta;
};

static void multiply_outer_rows(void *ctx, size_t chunk, size_t thread)
{
    const struct recurrent_product *o = ctx;
    size_t first = chunk * OUTER_ROWS, count = ldnq_size_min(OUTER_ROWS, o->m - first);
    (void)thread;
    ldnq_sgemm(LDNQ_TRANSPOSED, LDNQ_AS_IS, count, o->n, o->rows, 1.0f, o->a + first, o->lda, o->b,
               o->n, 0.0f, o->c + first * o->n, o->n);
}

void ldnq_recurrent_multiply_outer(const struct ldnq_recurrent *r, size_t m, size_t n, size_t rows,
                                   const float *a, size_t lda, const float *b, float *c)
{
    struct recurrent_product outer = {
        .m = m, .n = n, .rows = rows, .lda = lda, .a = a, .b = b, .c = c
    };
    ldnq_pool_run(r->call->pool, ldnq_size_ceil_div(m, OUTER_ROWS), multiply_outer_rows, &outer);
}

void ldnq_recurrent_add_weight_gradients(const struct ldnq_recurrent *r, const float *dz,
                                         const float *h_prev, const float *extra, float *dr)
{
    (void)extra;
    ldnq_recurrent_multiply_outer(r, r->width, r->hidden, r->steps * r->batch, dz, r->width, h_prev,
                                  dr);
}

size_t ldnq_recurrent_find_no_inner_bias(const struct ldnq_recurrent *r)
{
    return r->kind->gates;
}

/* ---- through time ----------------------------------------------------------------------- */

struct recurrent_backward {
    const struct ldnq_recurrent *r;
    const float *dy, *dh, *dc; /* gradients of outputs 0, 1, 2; NULL: zero */
};

static void init_state_gradient(const struct ldnq_recurrent *r, const float *from, size_t direction,
                                size_t row, float *to)
{
    if (from)
        memcpy(to, from + ldnq_recurrent_find_state_index(r, direction, row),
               r->hidden * sizeof *to);
    else
        memset(to, 0, r->hidden * sizeof *to);
}

static void add_y_gradient_of_step(const struct recurrent_backward *b,
                                   const struct ldnq_recurrent_step *s, size_t first)
{
    const struct ldnq_recurrent *r = b->r;
    for (size_t i = 0; i < s->rows && b->dy; i++) {
        const float *dy = b->dy + ldnq_recurrent_find_y_index(r, s->step, s->direction, first + i);
        for (size_t k = 0; k < r->hidden && s->active[i]; k++)
            s->dh[i * r->hidden + k] += dy[k];
    }
}

/* All steps in reverse order, for one direction and one block of samples. */
static void run_steps_backward(void *ctx, size_t chunk, size_t thread)
{
    const struct recurrent_backward *b = ctx;
    const struct ldnq_recurrent *r = b->r;
    size_t blocks = ldnq_size_ceil_div(r->batch, LDNQ_RECURRENT_ROWS);
    size_t direction = chunk / blocks, first = chunk % blocks * LDNQ_RECURRENT_ROWS;
    size_t rows = ldnq_size_min(LDNQ_RECURRENT_ROWS, r->batch - first);
    size_t at = (direction * r->batch + first) * r->hidden;
    bool reverse = ldnq_recurrent_is_reverse(r, direction);
    uint8_t active[LDNQ_RECURRENT_ROWS];
    for (size_t i = 0; i < rows; i++) {
        init_state_gradient(r, b->dh, direction, first + i, r->dh + at + i * r->hidden);
        init_state_gradient(r, b->dc, direction, first + i, r->dc + at + i * r->hidden);
    }
    for (size_t i = 0; i < r->steps; i++) {
        size_t t = reverse ? i : r->steps - 1 - i;
        struct ldnq_recurrent_step s =
            ldnq_recurrent_make_step(r, direction, t, first, rows, thread);
        ldnq_recurrent_find_active(r, t, first, rows, active);
        s.active = active;
        s.dh = r->dh + at;
        s.dc = r->dc + at;
        add_y_gradient_of_step(b, &s, first);
        r->kind->backward(r, &s);
    }
}

/* ---- gradients from all steps ------------------------------------------------------- */

/* out (columns) = the sum of the rows of a, which are lda floats apart, in their order. */
static void sum_rows_to_one(const float *a, size_t lda, size_t rows, size_t columns, float *out)
{
    for (size_t k = 0; k < columns; k++) {
        double sum = 0.0;
        for (size_t i = 0; i < rows; i++)
            sum += (double)a[i * lda + k];
        out[k] = (float)sum;
    }
}

static void compute_bias_gradient(const struct ldnq_recurrent *r, size_t direction, float *db)
{
    size_t rows = r->steps * r->batch, inner = r->kind->find_inner_bias(r);
    sum_rows_to_one(r->z + direction * rows * r->width, r->width, rows, r->width, db);
    memcpy(db + r->width, db, r->width * sizeof *db);
    if (inner < r->kind->gates)
        sum_rows_to_one(r->extra + direction * rows * r->hidden, r->hidden, rows, r->hidden,
                        db + r->width + inner * r->hidden);
}

/* The peepholes of i and f multiply c_prev, that of o multiplies c. */
static void compute_peephole_gradients(const struct ldnq_recurrent *r, size_t direction, float *dp)
{
    size_t n = r->hidden;
    for (size_t gate = 0; gate < 3; gate++)
        for (size_t k = 0; k < n; k++) {
            double sum = 0.0;
            for (size_t t = 0; t < r->steps; t++) {
                struct ldnq_recurrent_step s =
                    ldnq_recurrent_make_step(r, direction, t, 0, r->batch, 0);
                const float *c = gate == 1 ? s.c : s.c_prev;
                for (size_t i = 0; i < r->batch; i++)
                    sum += (double)s.z[i * r->width + gate * n + k] * (double)c[i * n + k];
            }
            dp[gate * n + k] = (float)sum;
        }
}

static void multiply_dx_rows(void *ctx, size_t chunk, size_t thread)
{
    const struct recurrent_product *o = ctx;
    size_t first = chunk * OUTER_ROWS, count = ldnq_size_min(OUTER_ROWS, o->m - first);
    (void)thread;
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, count, o->n, o->rows, 1.0f, o->a + first * o->lda, o->lda,
               o->b, o->n, o->beta, o->c + first * o->n, o->n);
}

/* dx (steps*batch, inputs) = sum of dz w over the directions. */
static void compute_x_gradient(const struct ldnq_recurrent *r, float *dx)
{
    size_t rows = r->steps * r->batch;
    const float *w = r->call->in[LDNQ_RECURRENT_W]->data;
    for (size_t d = 0; d < r->attrs->directions; d++) {
        struct recurrent_product product = { .m = rows,
                                             .n = r->inputs,
                                             .rows = r->width,
                                             .lda = r->width,
                                             .a = r->z + d * rows * r->width,
                                             .b = w + d * r->width * r->inputs,
                                             .c = r->dx ? r->dx : dx,
                                             .beta = d ? 1.0f : 0.0f };
        ldnq_pool_run(r->call->pool, ldnq_size_ceil_div(rows, OUTER_ROWS), multiply_dx_rows,
                      &product);
    }
    if (!r->dx)
        return;
    struct ldnq_strided region = { 0 };
    ldnq_strided_add_axis(&region, r->batch, (ptrdiff_t)r->inputs,
                          (ptrdiff_t)(r->steps * r->inputs));
    ldnq_strided_add_axis(&region, r->steps, (ptrdiff_t)(r->batch * r->inputs),
                          (ptrdiff_t)r->inputs);
    ldnq_strided_add_axis(&region, r->inputs, 1, 1);
    ldnq_strided_copy(r->call, &region, sizeof(float), r->dx, dx);
}

/* Copies (directions, batch, hidden) to the layout of the states. */
static void copy_states(const struct ldnq_recurrent *r, const float *from, float *to)
{
    for (size_t d = 0; d < r->attrs->directions; d++)
        for (size_t b = 0; b < r->batch; b++)
            memcpy(to + ldnq_recurrent_find_state_index(r, d, b),
                   from + (d * r->batch + b) * r->hidden, r->hidden * sizeof *to);
}

/* ---- all ------------------------------------------------------------------------------------ */

static void compute_parameter_gradients(const struct ldnq_recurrent *r,
                                        const struct ldnq_op_grad *grad, size_t d)
{
    size_t rows = r->steps * r->batch;
    const float *dz = r->z + d * rows * r->width, *extra = r->extra + d * rows * r->hidden;
    const float *x = ldnq_recurrent_find_time_major_x(r);
    float *dw = ldnq_op_input_grad(grad, LDNQ_RECURRENT_W),
          *dr = ldnq_op_input_grad(grad, LDNQ_RECURRENT_R);
    float *db = ldnq_op_input_grad(grad, LDNQ_RECURRENT_B),
          *dp = ldnq_op_input_grad(grad, LDNQ_RECURRENT_P);
    if (dw)
        ldnq_recurrent_multiply_outer(r, r->width, r->inputs, rows, dz, r->width, x,
                                      dw + d * r->width * r->inputs);
    if (dr && r->steps > 0)
        r->kind->weights(r, dz, ldnq_recurrent_make_step(r, d, 0, 0, r->batch, 0).h_prev, extra,
                         dr + d * r->width * r->hidden);
    else if (dr)
        memset(dr + d * r->width * r->hidden, 0, r->width * r->hidden * sizeof *dr);
    if (db)
        compute_bias_gradient(r, d, db + d * 2 * r->width);
    if (dp)
        compute_peephole_gradients(r, d, dp + d * 3 * r->hidden);
}

size_t ldnq_recurrent_backward_scratch_bytes(const struct ldnq_op_grad *grad)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(grad->call);
    return ldnq_recurrent_assign_scratch(&r, true, NULL);
}

enum ldnq_status ldnq_recurrent_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err)
{
    struct ldnq_recurrent r = ldnq_recurrent_make(grad->call);
    struct recurrent_backward b = { &r, ldnq_op_output_grad(grad, 0), ldnq_op_output_grad(grad, 1),
                                    ldnq_op_output_grad(grad, 2) };
    ldnq_recurrent_assign_scratch(&r, true, grad->call->scratch);
    LDNQ_TRY(ldnq_recurrent_run(&r, NULL, err));
    ldnq_pool_run(grad->call->pool,
                  r.attrs->directions * ldnq_size_ceil_div(r.batch, LDNQ_RECURRENT_ROWS),
                  run_steps_backward, &b);
    for (size_t d = 0; d < r.attrs->directions; d++)
        compute_parameter_gradients(&r, grad, d);
    if (ldnq_op_input_grad(grad, LDNQ_RECURRENT_X))
        compute_x_gradient(&r, ldnq_op_input_grad(grad, LDNQ_RECURRENT_X));
    if (ldnq_op_input_grad(grad, LDNQ_RECURRENT_H))
        copy_states(&r, r.dh, ldnq_op_input_grad(grad, LDNQ_RECURRENT_H));
    if (ldnq_op_input_grad(grad, LDNQ_RECURRENT_C))
        copy_states(&r, r.dc, ldnq_op_input_grad(grad, LDNQ_RECURRENT_C));
    return LDNQ_OK;
}
