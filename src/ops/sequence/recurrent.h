/* recurrent.h: what LSTM, GRU and RNN share.
 *
 * Shapes  x (steps, batch, inputs), w (directions, gates * hidden, inputs),
 *         r (directions, gates * hidden, hidden); with layout=1 the batch comes
 *         first in x, y and the states
 *
 * The input's part of all steps is one product a direction, z = x w' + b with rows
 * (step, batch); a step adds the state's part to its rows and goes through the
 * gates. Rows whose sequence has ended keep their state. Pieces of work are a
 * direction and a block of the batch's rows.
 *
 * Backward runs the steps forward again, keeping z and all states, and then walks
 * back; a step turns its rows of z into their gradient.
 */
#ifndef LDNQ_OPS_RECURRENT_H
#define LDNQ_OPS_RECURRENT_H

#include "ops/op.h"
#include "ops/sequence/recurrent_activation.h"

/* Rows of the batch in one piece of work. */
#define LDNQ_RECURRENT_ROWS ((size_t)16)
/* A thread's spare memory in units of `hidden` floats, next to one for each row. */
#define LDNQ_RECURRENT_SPARE ((size_t)16)

/* Why no codes are fitted to W and R: the samples of R's input are its own outputs. */
#define LDNQ_RECURRENT_KEEPS "weights of recurrent layers are not quantized"

enum ldnq_recurrent_input {
    LDNQ_RECURRENT_X,
    LDNQ_RECURRENT_W,
    LDNQ_RECURRENT_R,
    LDNQ_RECURRENT_B,
    LDNQ_RECURRENT_LENGTHS,
    LDNQ_RECURRENT_H,
    LDNQ_RECURRENT_C,
    LDNQ_RECURRENT_P,
};

struct ldnq_recurrent;

/* One step of one piece of work: rows of (hidden) for states, of (gates * hidden)
 * for z. In the forward pass h may be h_prev, and c may be c_prev. */
struct ldnq_recurrent_step {
    size_t direction, rows, step;
    const uint8_t *active;               /* by row; see ldnq_recurrent_active */
    const float *r, *r_bias, *peepholes; /* this direction's; r_bias, peepholes may be NULL */
    float *z;
    const float *h_prev, *c_prev;
    float *h, *c;
    float *extra;   /* backward: rows of (hidden) that stay until the end */
    float *dh, *dc; /* backward: of this step's states in, of the previous ones' out */
    float *spare;
};

struct ldnq_recurrent_kind {
    size_t gates, functions;     /* functions: activations a direction */
    const char *const *defaults; /* their names */
    bool has_cell;
    /* z, which holds the input's part, and the previous states to the next ones;
     * ldnq_recurrent_keep for rows that are not active. z then holds all that the
     * backward step needs besides the states. */
    void (*forward)(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *step);
    /* z to its gradient (zeros in rows that are not active), dh and dc to those of
     * the previous states (unchanged in such rows). */
    void (*backward)(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *step);
    /* Which gate's recurrent bias acts inside the gate instead of with the input's
     * part: its index, or `gates` for none. */
    size_t (*own_bias)(const struct ldnq_recurrent *r);
    /* Gradient of r (gates * hidden, hidden) from all rows of dz, h_prev and extra. */
    void (*weights)(const struct ldnq_recurrent *r, const float *dz, const float *h_prev,
                    const float *extra, float *dr);
};

struct ldnq_recurrent_attrs {
    const struct ldnq_recurrent_kind *kind;
    int64_t hidden; /* 0 where it is not given */
    size_t directions;
    bool reverse; /* the first direction */
    bool batch_first, input_forget, linear_before_reset;
    float clip;
    struct ldnq_activation activations[6];
};

struct ldnq_recurrent {
    const struct ldnq_op_call *call;
    const struct ldnq_recurrent_attrs *attrs;
    const struct ldnq_recurrent_kind *kind;
    size_t steps, batch, inputs, hidden, width; /* width: gates * hidden */
    const int32_t *lengths;                     /* NULL for none */
    bool keeps;                                 /* all states stay, for the backward pass */
    /* In scratch: x by step (NULL where it lies so), z, states, extra, threads' own. */
    float *x, *z, *h, *c, *extra, *spare;
    float *dh, *dc, *dx; /* backward alone */
};

/* ---- for the records ------------------------------------------------------------------ */

enum ldnq_status ldnq_recurrent_read(const struct ldnq_recurrent_kind *kind,
                                     const struct ldnq_node *node, struct ldnq_arena *arena,
                                     const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_recurrent_infer(struct ldnq_op_call *call, struct ldnq_error *err);
size_t ldnq_recurrent_scratch(const struct ldnq_op_call *call);
enum ldnq_status ldnq_recurrent_forward(const struct ldnq_op_call *call, struct ldnq_error *err);
size_t ldnq_recurrent_backward_scratch(const struct ldnq_op_grad *grad);
enum ldnq_status ldnq_recurrent_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err);

/* ---- for both passes -------------------------------------------------------------------- */

struct ldnq_recurrent ldnq_recurrent_of(const struct ldnq_op_call *call);
/* Lays out the scratch memory; returns the bytes, SIZE_MAX when they can't be
 * counted. With scratch NULL only counts. */
size_t ldnq_recurrent_lay_out(struct ldnq_recurrent *r, bool backward, void *scratch);
/* All steps; writes y when it is not NULL. */
enum ldnq_status ldnq_recurrent_run(struct ldnq_recurrent *r, float *y, struct ldnq_error *err);
/* The t-th step's data for rows first .. first+rows-1; thread's spare memory. */
struct ldnq_recurrent_step ldnq_recurrent_at(const struct ldnq_recurrent *r, size_t direction,
                                             size_t t, size_t first, size_t rows, size_t thread);
bool ldnq_recurrent_is_reverse(const struct ldnq_recurrent *r, size_t direction);
void ldnq_recurrent_active(const struct ldnq_recurrent *r, size_t t, size_t first, size_t rows,
                           uint8_t *active);
/* The row's states stay as they are. */
void ldnq_recurrent_keep(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s,
                         size_t row);
/* Where y's, or a state's, row lies. */
size_t ldnq_recurrent_y_at(const struct ldnq_recurrent *r, size_t t, size_t direction, size_t b);
size_t ldnq_recurrent_state_at(const struct ldnq_recurrent *r, size_t direction, size_t b);
/* x by step. */
const float *ldnq_recurrent_x(const struct ldnq_recurrent *r);

#endif
