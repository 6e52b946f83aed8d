/* SPDX-License-Identifier: Apache-2.0 */
/* graph_build.h: small graphs made by hand, bound to operators, for the tests of
 * passes, exec and pipeline. */
#ifndef TESTS_GRAPH_BUILD_H
#define TESTS_GRAPH_BUILD_H

#include "test.h"

#include <string.h>

#include "exec/exec.h"
#include "passes/passes.h"

#include "base/rng.h"
#include "ops/op.h"

static struct ldnq_error err;

#define BUILD_MOST 128

#define SHAPE(...)                                                                                 \
    ((struct ldnq_shape){ .rank = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t),            \
                          .dim = { __VA_ARGS__ } })

static inline struct ldnq_graph *build_graph(void)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_graph_create(arena, "main", "m.onnx", &graph, &err));
    graph->nodes = ldnq_arena_alloc(arena, BUILD_MOST, sizeof *graph->nodes, &err);
    graph->inputs = ldnq_arena_alloc(arena, BUILD_MOST, sizeof *graph->inputs, &err);
    graph->outputs = ldnq_arena_alloc(arena, BUILD_MOST, sizeof *graph->outputs, &err);
    return graph;
}

static inline void build_free(struct ldnq_graph *graph)
{
    ldnq_arena_destroy(graph->arena);
}

static inline int64_t build_symbol(struct ldnq_graph *graph, const char *name)
{
    int64_t symbol;
    assert_ok(ldnq_graph_find_or_add_symbol(graph, name, &symbol, &err));
    return symbol;
}

static inline struct ldnq_value *build_input(struct ldnq_graph *graph, const char *name,
                                             struct ldnq_shape shape)
{
    struct ldnq_value *value;
    assert_ok(ldnq_graph_add_value(graph, name, &value, &err));
    value->dtype = LDNQ_FLOAT;
    value->shape = shape;
    value->is_input = true;
    return graph->inputs[graph->input_count++] = value;
}

/* Numbers in -1 .. 1, the same for the same seed. */
static inline struct ldnq_tensor *build_tensor(struct ldnq_arena *arena, struct ldnq_shape shape,
                                               uint64_t seed)
{
    struct ldnq_tensor *tensor;
    struct ldnq_rng rng = { seed };
    assert_ok(ldnq_tensor_create(arena, LDNQ_FLOAT, &shape, &tensor, &err));
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        ((float *)tensor->data)[i] = (float)(2 * ldnq_rng_uniform(&rng) - 1);
    return tensor;
}

static inline struct ldnq_value *build_weight(struct ldnq_graph *graph, const char *name,
                                              struct ldnq_shape shape, uint64_t seed)
{
    struct ldnq_value *value;
    assert_ok(ldnq_graph_add_constant(graph, name, build_tensor(graph->arena, shape, seed), &value,
                                      &err));
    value->is_initializer = true;
    return value;
}

static inline struct ldnq_value *build_ints(struct ldnq_graph *graph, const char *name,
                                            int64_t count, const int64_t *values)
{
    struct ldnq_value *value;
    struct ldnq_tensor *tensor;
    struct ldnq_shape shape = { .rank = 1, .dim = { count } };
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_INT64, &shape, &tensor, &err));
    memcpy(tensor->data, values, (size_t)count * sizeof *values);
    assert_ok(ldnq_graph_add_constant(graph, name, tensor, &value, &err));
    return value;
}

/* A node with these inputs (ended by NULL) and one output, which is returned. */
static inline struct ldnq_value *build_node(struct ldnq_graph *graph, const char *type,
                                            const char *name, struct ldnq_value *const *inputs)
{
    struct ldnq_node *node = ldnq_arena_alloc(graph->arena, 1, sizeof *node, &err);
    struct ldnq_value *out;
    char output[64];
    snprintf(output, sizeof output, "%s_out", name);
    assert_ok(ldnq_graph_add_value(graph, output, &out, &err));
    *node = (struct ldnq_node){ .name = name,
                                .label = name,
                                .op_type = type,
                                .domain = "",
                                .opset = 13,
                                .index = graph->node_count,
                                .output_count = 1 };
    node->inputs = ldnq_arena_alloc(graph->arena, 8, sizeof *node->inputs, &err);
    node->outputs = ldnq_arena_alloc(graph->arena, 1, sizeof *node->outputs, &err);
    node->attrs = ldnq_arena_alloc(graph->arena, 8, sizeof *node->attrs, &err);
    while (inputs[node->input_count]) {
        node->inputs[node->input_count] = inputs[node->input_count];
        node->input_count++;
    }
    node->outputs[0] = out;
    out->producer = node;
    graph->nodes[graph->node_count++] = node;
    return out;
}

/* Gives the node that produces `of` `count` outputs: `of` at index `at`, all others omitted. */
static inline void build_omitted(struct ldnq_graph *graph, struct ldnq_value *of, size_t at,
                                 size_t count)
{
    struct ldnq_node *node = of->producer;
    node->outputs = ldnq_arena_alloc(graph->arena, count, sizeof *node->outputs, &err);
    node->outputs[at] = of;
    node->output_count = count;
}

#define NODE(graph, type, name, ...)                                                               \
    build_node(graph, type, name, (struct ldnq_value *[]){ __VA_ARGS__, NULL })

static inline void build_attr(struct ldnq_value *of, const char *name, int64_t value)
{
    struct ldnq_node *node = of->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_INT, .i = value };
}

static inline void build_attr_float(struct ldnq_value *of, const char *name, float value)
{
    struct ldnq_node *node = of->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_FLOAT, .f = value };
}

/* `text` must outlive the graph. */
static inline void build_attr_string(struct ldnq_value *of, const char *name, const char *text)
{
    struct ldnq_node *node = of->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_STRING, .s = text };
}

/* `values` must outlive the graph. */
static inline void build_attr_ints(struct ldnq_value *of, const char *name, size_t count,
                                   const int64_t *values)
{
    struct ldnq_node *node = of->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_INTS, .count = count, .ints = values };
}

static inline void build_output(struct ldnq_graph *graph, struct ldnq_value *value)
{
    value->is_output = true;
    graph->outputs[graph->output_count++] = value;
}

/* Runs the graph (bound already) on one input and copies its first output. */
static inline struct ldnq_tensor *build_run(struct ldnq_graph *graph, struct ldnq_tensor *input)
{
    struct ldnq_exec *exec;
    struct ldnq_tensor *copy;
    assert_ok(ldnq_exec_create(graph, NULL, &exec, &err));
    assert_ok(ldnq_exec_run(exec, &input, &err));
    const struct ldnq_tensor *out = ldnq_exec_find_value(exec, graph->outputs[0]);
    assert_ok(ldnq_tensor_create(graph->arena, out->dtype, &out->shape, &copy, &err));
    size_t bytes = 0;
    ldnq_tensor_bytes(out, &bytes);
    memcpy(copy->data, out->data, bytes);
    ldnq_exec_destroy(exec);
    return copy;
}

/* Each element must be within `tolerance` times the largest element of `want`. */
static inline void assert_close(const struct ldnq_tensor *got, const struct ldnq_tensor *want,
                                double tolerance)
{
    assert_true(ldnq_shapes_are_equal(&got->shape, &want->shape));
    const float *a = got->data, *b = want->data;
    double largest = 0;
    for (size_t i = 0; i < ldnq_tensor_count(got); i++)
        largest = fmax(largest, fabs((double)b[i]));
    for (size_t i = 0; i < ldnq_tensor_count(got); i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * largest))
            fail_msg("element %zu is %g, expected %g; the largest is %g", i, (double)a[i],
                     (double)b[i], largest);
}

static inline void assert_same_bits(const struct ldnq_tensor *a, const struct ldnq_tensor *b)
{
    size_t bytes = 0;
    assert_true(ldnq_shapes_are_equal(&a->shape, &b->shape) && ldnq_tensor_bytes(a, &bytes));
    assert_memory_equal(a->data, b->data, bytes);
}

#endif
