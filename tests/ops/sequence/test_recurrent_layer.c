/* SPDX-License-Identifier: Apache-2.0 */
/* W and R of recurrent operators as layers: what they say a step reads is what it computes with. */
#include "graph_build.h"
#include "with_blas.h"

#include <math.h>

#include "ops/op_layer.h"

enum { STEPS = 5, BATCH = 3, INPUTS = 4, HIDDEN = 3 };

/* A node with the tensors of one call. */
struct cell {
    struct ldnq_graph *graph;
    struct ldnq_node *node;
    const struct ldnq_tensor *in[5];
    struct ldnq_tensor out[1];
    struct ldnq_op_call call;
    const float *x, *w, *r;
    float *y;
};

static const int32_t lengths[BATCH] = { 5, 2, 4 };

static struct cell make_cell(const char *type, int64_t gates, const char *direction,
                             bool has_lengths)
{
    struct cell c = { .graph = build_graph() };
    const int64_t width = gates * HIDDEN;
    struct ldnq_value *x = build_input(c.graph, "x", SHAPE(STEPS, BATCH, INPUTS));
    struct ldnq_value *w = build_weight(c.graph, "w", SHAPE(1, width, INPUTS), 1);
    struct ldnq_value *r = build_weight(c.graph, "r", SHAPE(1, width, HIDDEN), 2);
    struct ldnq_value *y = NODE(c.graph, type, "cell", x, w, r);
    build_attr(y, "hidden_size", HIDDEN);
    build_attr(y, "linear_before_reset", 0);
    build_attr_string(y, "direction", direction);
    assert_ok(ldnq_ops_bind(c.graph, &err));
    c.node = y->producer;
    c.in[0] = build_tensor(c.graph->arena, x->shape, 5);
    c.in[1] = w->constant;
    c.in[2] = r->constant;
    struct ldnq_tensor *list;
    assert_ok(ldnq_tensor_create(c.graph->arena, LDNQ_INT32, &SHAPE(BATCH), &list, &err));
    memcpy(list->data, lengths, sizeof lengths);
    c.in[4] = list;
    c.x = c.in[0]->data;
    c.w = c.in[1]->data;
    c.r = c.in[2]->data;
    c.call = (struct ldnq_op_call){
        .node = c.node, .attrs = c.node->op_attrs, .in_count = has_lengths ? 5 : 3, .out_count = 1
    };
    return c;
}

static void run_cell(struct cell *c)
{
    c->call.in = c->in;
    c->call.out = c->out;
    assert_ok(ldnq_ops_infer_shape(&c->call, &err));
    c->y = c->out[0].data = ldnq_arena_alloc(c->graph->arena, STEPS * BATCH * HIDDEN, 4, &err);
    c->call.scratch =
        ldnq_arena_alloc(c->graph->arena, c->node->op->scratch_bytes(&c->call), 1, &err);
    assert_ok(c->node->op->forward(&c->call, &err));
}

/* The columns (K, P) of a group. */
static float *read_columns(struct cell *c, const struct ldnq_op_layer *layer, size_t group,
                           size_t positions, size_t cols)
{
    float *columns = ldnq_arena_alloc(c->graph->arena, positions * cols, 4, &err);
    if (layer->prepare) {
        c->call.scratch =
            ldnq_arena_alloc(c->graph->arena, layer->scratch_bytes(&c->call), 1, &err);
        assert_ok(layer->prepare(&c->call, &err));
    }
    /* In two parts, so that one starts in the middle of a sequence. */
    layer->fill_columns(&c->call, group, 0, 3, columns, positions);
    layer->fill_columns(&c->call, group, 3, positions - 3, columns + 3, positions);
    return columns;
}

static size_t count_steps(const struct cell *c, size_t sample)
{
    return c->call.in_count > 3 ? (size_t)lengths[sample] : STEPS;
}

/* The state before step t, from the outputs. */
static float find_state(const struct cell *c, bool reverse, size_t sample, size_t t, size_t k)
{
    if (reverse ? t + 1 >= count_steps(c, sample) : t == 0)
        return 0;
    return c->y[((reverse ? t + 1 : t - 1) * BATCH + sample) * HIDDEN + k];
}

static void check_columns(struct cell *c, bool reverse)
{
    const struct ldnq_op_layer *w = c->node->op->layer, *r = w->other;
    run_cell(c);
    size_t positions = 0, p = 0;
    for (size_t b = 0; b < BATCH; b++)
        positions += count_steps(c, b);
    assert_int_equal(w->count_positions(&c->call), positions);
    assert_int_equal(r->count_positions(&c->call), positions);
    const float *x = read_columns(c, w, 0, positions, INPUTS);
    const float *h = read_columns(c, r, 0, positions, HIDDEN);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t t = 0; t < count_steps(c, b); t++, p++) {
            for (size_t k = 0; k < INPUTS; k++)
                assert_within(x[k * positions + p], c->x[(t * BATCH + b) * INPUTS + k], 0);
            for (size_t k = 0; k < HIDDEN; k++)
                assert_within(h[k * positions + p], find_state(c, reverse, b, t, k), 1e-6);
        }
}

static void columns_should_be_the_inputs_and_the_states_of_all_steps(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int64_t gates;
    } types[] = { { "LSTM", 4 }, { "GRU", 3 }, { "RNN", 1 } };
    for (size_t i = 0; i < 3; i++)
        for (int reverse = 0; reverse < 2; reverse++)
            for (int has_lengths = 0; has_lengths < 2; has_lengths++) {
                struct cell c = make_cell(types[i].type, types[i].gates,
                                          reverse ? "reverse" : "forward", has_lengths);
                check_columns(&c, reverse);
                build_free(c.graph);
            }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* Gate h of a GRU reads r h_prev: h = (1 - z) tanh(x wh' + (r h_prev) rh') + z h_prev. */
static void the_last_gate_of_gru_should_read_the_state_that_was_reset(void **state)
{
    (void)state;
    struct cell c = make_cell("GRU", 3, "forward", false);
    const struct ldnq_op_layer *r = c.node->op->layer->other;
    struct ldnq_layer_geometry geometry;
    run_cell(&c);
    assert_ok(r->describe_weight(c.node, c.in[2], NULL, &geometry, &err));
    assert_int_equal(geometry.groups, 3);
    assert_int_equal(geometry.rows, HIDDEN);
    const size_t positions = STEPS * BATCH;
    const float *h = read_columns(&c, r, 1, positions, HIDDEN);
    const float *reset = read_columns(&c, r, 2, positions, HIDDEN);
    for (size_t p = 0; p < positions; p++)
        for (size_t i = 0; i < HIDDEN; i++) {
            const size_t row = p % STEPS * BATCH + p / STEPS;
            double sums[2] = { 0 };
            for (size_t gate = 1; gate < 3; gate++) {
                const float *from = gate == 1 ? h : reset;
                for (size_t k = 0; k < INPUTS; k++)
                    sums[gate - 1] += (double)c.w[(gate * HIDDEN + i) * INPUTS + k] *
                                      (double)c.x[row * INPUTS + k];
                for (size_t k = 0; k < HIDDEN; k++)
                    sums[gate - 1] += (double)c.r[(gate * HIDDEN + i) * HIDDEN + k] *
                                      (double)from[k * positions + p];
            }
            const double before = (double)h[i * positions + p];
            assert_within(reset[i * positions + p], sigmoid(sums[0]) * before, 1e-6);
            double update = 0;
            for (size_t k = 0; k < INPUTS; k++)
                update += (double)c.w[i * INPUTS + k] * (double)c.x[row * INPUTS + k];
            for (size_t k = 0; k < HIDDEN; k++)
                update += (double)c.r[i * HIDDEN + k] * (double)h[k * positions + p];
            update = sigmoid(update);
            assert_within(c.y[row * HIDDEN + i], (1 - update) * tanh(sums[1]) + update * before,
                          1e-6);
        }
    build_free(c.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_should_be_the_inputs_and_the_states_of_all_steps),
        cmocka_unit_test(the_last_gate_of_gru_should_read_the_state_that_was_reset),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
