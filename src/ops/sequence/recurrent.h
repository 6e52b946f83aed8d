/* SPDX-License-Identifier: Apache-2.0 */
/* recurrent.h: the loop over time steps that LSTM, GRU and RNN share.
 *
 * Forward   z = x w' + b for all steps is one matrix product per direction. A step adds
 *           h_prev r' to its rows of z and applies the gates. A sample whose sequence has
 *           ended keeps its state.
 * Backward  runs the forward steps again, with z and all states retained, and then the
 *           steps in reverse order (backpropagation through time); a step overwrites its
 *           rows of z by their gradient dz. Then dw = dz' x, dr = dz' h_prev, dx = dz w.
 * Shapes    x (steps, batch, inputs), w (directions, width, inputs), r (directions, width,
 *           hidden), b (directions, 2 width), z (directions, steps, batch, width),
 *           states h and c (directions, batch, hidden), y (steps, directions, batch,
 *           hidden), with width = gates * hidden. With layout=1 the batch is the first
 *           axis of x, y and the states.
 * Threads   a chunk is one direction and a block of samples
 * Source    onnx.ai/onnx/operators/onnx__LSTM.html, GRU, RNN
 */
#ifndef LDNQ_OPS_RECURRENT_H
#define LDNQ_OPS_RECURRENT_H

#include "ops/op.h"
#include "ops/sequence/recurrent_activation.h"
#include "ops/sequence/recurrent_layer.h"

/* Samples per chunk. */
#define LDNQ_RECURRENT_ROWS ((size_t)16)
/* A thread's temporary memory has LDNQ_RECURRENT_ROWS + LDNQ_RECURRENT_TEMP rows of (hidden). */
#define LDNQ_RECURRENT_TEMP ((size_t)16)

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

/* One time step for `rows` samples: states (rows, hidden), z (rows, width). In the forward
 * pass h may be h_prev, and c may be c_prev. */
struct ldnq_recurrent_step {
    size_t direction, rows, step;
    const uint8_t *active;               /* (rows): whether the sample's sequence has this step */
    const float *r, *r_bias, *peepholes; /* this direction's weights; all but r may be NULL */
    float *z;
    const float *h_prev, *c_prev;
    float *h, *c;
    float *extra;   /* backward: (rows, hidden), an operator's own values for `weights` */
    float *dh, *dc; /* backward: in, of this step's states; out, of the previous ones */
    float *temp;
};

struct ldnq_recurrent_kind {
    size_t gates, functions;     /* functions: activations per direction */
    const char *const *defaults; /* names of the default activations */
    bool has_cell;
    /* Gate 1 multiplies what the last gate reads: the state, or with linear_before_reset its
     * product. */
    bool has_reset_gate;
    /* Computes h and c from h_prev, c_prev and z = x w' + b; calls ldnq_recurrent_copy_state
     * for rows that are not active. Leaves in z what `backward` needs besides the states. */
    void (*forward)(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *step);
    /* Overwrites z by dz (0 in rows that are not active), and dh and dc by the gradients of
     * the previous states (unchanged in such rows). */
    void (*backward)(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *step);
    /* The index of the gate whose recurrent bias is not part of z, because the gate
     * multiplies it (GRU with linear_before_reset); `gates` if there is none. */
    size_t (*find_inner_bias)(const struct ldnq_recurrent *r);
    /* dr (width, hidden) from all steps: dz (steps*batch, width), h_prev and extra
     * (steps*batch, hidden). */
    void (*weights)(const struct ldnq_recurrent *r, const float *dz, const float *h_prev,
                    const float *extra, float *dr);
};

struct ldnq_recurrent_attrs {
    const struct ldnq_recurrent_kind *kind;
    int64_t hidden; /* hidden_size; 0 if the node has none */
    size_t directions;
    bool reverse; /* direction 0 runs backwards in time */
    bool batch_first, input_forget, linear_before_reset;
    bool rounds_states; /* to 8 bits, for the product with R; one scale for a chunk's samples */
    float clip;
    struct ldnq_activation activations[6];
};

struct ldnq_recurrent {
    const struct ldnq_op_call *call;
    const struct ldnq_recurrent_attrs *attrs;
    const struct ldnq_recurrent_kind *kind;
    size_t steps, batch, inputs, hidden, width; /* width: gates * hidden */
    const int32_t *lengths;                     /* (batch) steps per sample; NULL: all */
    bool retains_states; /* the states of all steps are stored, for the backward pass */
    /* In scratch: x with steps first (NULL: x has that layout), z, the states, `extra`, the
     * threads' temporary memory. */
    float *x, *z, *h, *c, *extra, *temp;
    float *dh, *dc, *dx; /* backward only */
};

/* ---- for the records ------------------------------------------------------------------ */

enum ldnq_status ldnq_recurrent_read_attrs(const struct ldnq_recurrent_kind *kind,
                                           const struct ldnq_node *node, struct ldnq_arena *arena,
                                           const void **attrs, struct ldnq_error *err);
enum ldnq_status ldnq_recurrent_infer_shape(struct ldnq_op_call *call, struct ldnq_error *err);
size_t ldnq_recurrent_count_operations(const struct ldnq_op_call *call);
size_t ldnq_recurrent_scratch_bytes(const struct ldnq_op_call *call);
enum ldnq_status ldnq_recurrent_forward(const struct ldnq_op_call *call, struct ldnq_error *err);
size_t ldnq_recurrent_backward_scratch_bytes(const struct ldnq_op_grad *grad);
enum ldnq_status ldnq_recurrent_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err);

/* The record ldnq_op_NAME of the kind NAME_kind. */
#define LDNQ_RECURRENT_RECORD(NAME, TYPE, INPUTS, OUTPUTS, DIFFERENTIABLE, SAVED)                  \
    static enum ldnq_status NAME##_read_attrs(const struct ldnq_node *node,                        \
                                              struct ldnq_arena *arena, const void **attrs,        \
                                              struct ldnq_error *err)                              \
    {                                                                                              \
        return ldnq_recurrent_read_attrs(&NAME##_kind, node, arena, attrs, err);                   \
    }                                                                                              \
    const struct ldnq_op ldnq_op_##NAME = {                                                        \
        .type = TYPE,                                                                              \
        .since = 7,                                                                                \
        .until = LDNQ_OPSET_LATEST,                                                                \
        .inputs_min = 3,                                                                           \
        .inputs_max = INPUTS,                                                                      \
        .outputs_max = OUTPUTS,                                                                    \
        .read_attrs = NAME##_read_attrs,                                                           \
        .infer = ldnq_recurrent_infer_shape,                                                       \
        .count_operations = ldnq_recurrent_count_operations,                                       \
        .scratch_bytes = ldnq_recurrent_scratch_bytes,                                             \
        .forward = ldnq_recurrent_forward,                                                         \
        .differentiable = DIFFERENTIABLE,                                                          \
        .saved_inputs = SAVED,                                                                     \
        .backward_scratch_bytes = ldnq_recurrent_backward_scratch_bytes,                           \
        .backward = ldnq_recurrent_backward,                                                       \
        .layer = &ldnq_recurrent_layers,                                                           \
    };

/* ---- for both passes -------------------------------------------------------------------- */

/* The shapes must be known and have passed infer. */
struct ldnq_recurrent ldnq_recurrent_make(const struct ldnq_op_call *call);
/* Divides the scratch memory among r's arrays; returns its bytes, SIZE_MAX on overflow. With
 * scratch NULL it only counts them. */
size_t ldnq_recurrent_assign_scratch(struct ldnq_recurrent *r, bool backward, void *scratch);
/* Runs all steps forward; stores y if it is not NULL. */
enum ldnq_status ldnq_recurrent_run(struct ldnq_recurrent *r, float *y, struct ldnq_error *err);
/* Step t for samples first .. first+rows-1, with the thread's temporary memory. */
struct ldnq_recurrent_step ldnq_recurrent_make_step(const struct ldnq_recurrent *r,
                                                    size_t direction, size_t t, size_t first,
                                                    size_t rows, size_t thread);
bool ldnq_recurrent_is_reverse(const struct ldnq_recurrent *r, size_t direction);
/* active (rows): whether the sequences of samples first .. first+rows-1 have step t. */
void ldnq_recurrent_find_active(const struct ldnq_recurrent *r, size_t t, size_t first, size_t rows,
                                uint8_t *active);
/* Copies the previous states of one row to the next ones. */
void ldnq_recurrent_copy_state(const struct ldnq_recurrent *r, const struct ldnq_recurrent_step *s,
                               size_t row);
/* The index of y[t][direction][b][0], and of state[direction][b][0]. */
size_t ldnq_recurrent_find_y_index(const struct ldnq_recurrent *r, size_t t, size_t direction,
                                   size_t b);
size_t ldnq_recurrent_find_state_index(const struct ldnq_recurrent *r, size_t direction, size_t b);
/* Finds x in the layout (steps, batch, inputs). */
const float *ldnq_recurrent_find_time_major_x(const struct ldnq_recurrent *r);

#endif
