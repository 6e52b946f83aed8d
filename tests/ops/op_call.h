/* SPDX-License-Identifier: Apache-2.0 */
/* op_call.h: one node called by hand, for tests of operators. */
#ifndef TESTS_OPS_OP_CALL_H
#define TESTS_OPS_OP_CALL_H

#include "test.h"

#include <string.h>

#include "ops/op.h"

#define OP_CALL_MOST 6

static struct ldnq_error err;

struct op_call {
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    struct ldnq_node node;
    struct ldnq_attr attrs[OP_CALL_MOST];
    struct ldnq_tensor inputs[OP_CALL_MOST], outputs[OP_CALL_MOST];
    const struct ldnq_tensor *in[OP_CALL_MOST];
    struct ldnq_op_call call;
};

static inline void op_call_init(struct op_call *op, const char *type, int opset)
{
    *op = (struct op_call){ 0 };
    assert_ok(ldnq_arena_create(&op->arena, &err));
    assert_ok(ldnq_graph_create(op->arena, "graph", "test.onnx", &op->graph, &err));
    op->node = (struct ldnq_node){ .name = "",
                                   .label = type,
                                   .op_type = type,
                                   .domain = "",
                                   .opset = opset,
                                   .attrs = op->attrs,
                                   .output_count = 1,
                                   .op = ldnq_ops_find("", type, opset) };
    assert_non_null(op->node.op);
}

static inline void op_call_finish(struct op_call *op)
{
    ldnq_arena_destroy(op->arena);
}

static inline void op_call_attr(struct op_call *op, const char *name, int64_t value)
{
    op->attrs[op->node.attr_count++] =
        (struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_INT, .i = value };
}

/* data may be NULL. */
static inline void op_call_input(struct op_call *op, enum ldnq_dtype dtype, struct ldnq_shape shape,
                                 const void *data)
{
    size_t i = op->node.input_count++;
    op->inputs[i] = (struct ldnq_tensor){ dtype, shape, (void *)(uintptr_t)data };
    op->in[i] = &op->inputs[i];
}

static inline void op_call_ints(struct op_call *op, int64_t count, const int64_t *data)
{
    op_call_input(op, LDNQ_INT64, (struct ldnq_shape){ .rank = 1, .dim = { count } }, data);
}

static inline int64_t op_call_symbol(struct op_call *op, const char *name)
{
    int64_t symbol;
    assert_ok(ldnq_graph_find_or_add_symbol(op->graph, name, &symbol, &err));
    return symbol;
}

/* As ahead of data. */
static inline enum ldnq_status op_call_infer_shape(struct op_call *op)
{
    op->call = (struct ldnq_op_call){ .node = &op->node,
                                      .in_count = op->node.input_count,
                                      .out_count = op->node.output_count,
                                      .in = op->in,
                                      .out = op->outputs,
                                      .graph = op->graph };
    if (op->node.op->read_attrs)
        LDNQ_TRY(op->node.op->read_attrs(&op->node, op->arena, &op->call.attrs, &err));
    return ldnq_ops_infer_shape(&op->call, &err);
}

/* As the executor does it: nothing may be unknown. */
static inline enum ldnq_status op_call_run(struct op_call *op)
{
    LDNQ_TRY(op_call_infer_shape(op));
    op->call.graph = NULL;
    LDNQ_TRY(ldnq_ops_infer_shape(&op->call, &err));
    for (size_t i = 0; i < op->node.output_count; i++) {
        struct ldnq_tensor *tensor;
        LDNQ_TRY(ldnq_tensor_create(op->arena, op->outputs[i].dtype, &op->outputs[i].shape, &tensor,
                                    &err));
        op->outputs[i].data = tensor->data;
    }
    if (op->node.op->scratch_bytes)
        op->call.scratch =
            ldnq_arena_alloc(op->arena, op->node.op->scratch_bytes(&op->call), 1, &err);
    return op->node.op->forward(&op->call, &err);
}

#define SHAPE(...)                                                                                 \
    ((struct ldnq_shape){ .rank = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t),            \
                          .dim = { __VA_ARGS__ } })
#define SCALAR ((struct ldnq_shape){ .rank = 0 })
#define UNKNOWN ((struct ldnq_shape){ .rank = LDNQ_RANK_UNKNOWN })

static inline void assert_shape(const struct ldnq_shape *got, struct ldnq_shape expected)
{
    char a[LDNQ_SHAPE_TEXT], b[LDNQ_SHAPE_TEXT];
    if (!ldnq_shapes_are_equal(got, &expected))
        fail_msg("the shape is %s, expected %s", ldnq_shape_print(got, NULL, a, sizeof a),
                 ldnq_shape_print(&expected, NULL, b, sizeof b));
}

#endif
