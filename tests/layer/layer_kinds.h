/* SPDX-License-Identifier: Apache-2.0 */
/* layer_kinds.h: the operators with a weight, each in all layouts of the weight. The index of
 * an element is written out anew here, from the shapes of the operators' documentation. */
#ifndef LDNQ_TESTS_LAYER_KINDS_H
#define LDNQ_TESTS_LAYER_KINDS_H

#include "graph_build.h"

#include "layer/layer.h"

struct layer_kind {
    const char *op;
    int64_t input[5], weight[5]; /* sizes of the axes, ended by 0 */
    size_t groups, rows, cols, kernel;
    int channel_axis;
    const char *attr; /* an attribute of the node; NULL: none */
    int64_t attr_value;
    bool has_bias;
};

/* The sizes of the axes differ, so that no two may be confused. */
static const struct layer_kind layer_kinds[] = {
    { "Conv", { 2, 3, 6, 7 }, { 4, 3, 2, 3 }, 1, 4, 18, 6, 0, NULL, 0, true },
    { "Conv", { 2, 6, 5, 4 }, { 4, 3, 1, 2 }, 2, 2, 6, 2, 0, "group", 2, true },
    { "Conv", { 2, 3, 9 }, { 5, 3, 4 }, 1, 5, 12, 4, 0, NULL, 0, false },
    { "Conv", { 1, 2, 4, 5, 6 }, { 3, 2, 1, 2, 3 }, 1, 3, 12, 6, 0, NULL, 0, true },
    { "ConvTranspose", { 2, 3, 4, 5 }, { 3, 4, 2, 3 }, 1, 4, 18, 6, 1, NULL, 0, true },
    { "ConvTranspose", { 2, 3, 4 }, { 3, 5, 2 }, 1, 5, 6, 2, 1, NULL, 0, false },
    { "Gemm", { 2, 5 }, { 5, 3 }, 1, 3, 5, 1, 1, NULL, 0, true },
    { "Gemm", { 2, 5 }, { 3, 5 }, 1, 3, 5, 1, 0, "transB", 1, true },
    { "Gemm", { 5, 2 }, { 5, 3 }, 1, 3, 5, 1, 1, "transA", 1, false },
    { "MatMul", { 2, 5 }, { 5, 3 }, 1, 3, 5, 1, 1, NULL, 0, false },
    { "MatMul", { 2, 4, 5 }, { 5, 3 }, 1, 3, 5, 1, 1, NULL, 0, false },
};

#define LAYER_KINDS (sizeof layer_kinds / sizeof *layer_kinds)

static inline struct ldnq_shape shape_of_sizes(const int64_t *sizes)
{
    struct ldnq_shape shape = { .rank = 0 };
    while (shape.rank < 5 && sizes[shape.rank]) {
        shape.dim[shape.rank] = sizes[shape.rank];
        shape.rank++;
    }
    return shape;
}

/* Where the weight of output channel `row` (over all groups) for column `col` is stored. */
static inline size_t find_weight_element(const struct layer_kind *kind, size_t row, size_t col)
{
    const size_t channel = col / kind->kernel, tap = col % kind->kernel;
    if (strcmp(kind->op, "ConvTranspose") == 0) /* (C, M, KH, KW) */
        return channel * kind->rows * kind->kernel + row * kind->kernel + tap;
    if (strcmp(kind->op, "Conv") == 0) /* (M, C/G, KH, KW) */
        return row * (kind->cols / kind->kernel) * kind->kernel + channel * kind->kernel + tap;
    if (kind->attr && strcmp(kind->attr, "transB") == 0) /* (M, K) */
        return row * kind->cols + col;
    return col * kind->rows + row; /* (K, M) */
}

/* A graph of one layer, ready to be executed. */
static inline struct ldnq_graph *build_layer_graph(const struct layer_kind *kind)
{
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *inputs[4] = {
        build_input(graph, "x", shape_of_sizes(kind->input)),
        build_weight(graph, "w", shape_of_sizes(kind->weight), 3),
    };
    if (kind->has_bias)
        inputs[2] = build_weight(graph, "b", SHAPE((int64_t)(kind->groups * kind->rows)), 4);
    struct ldnq_value *y = build_node(graph, kind->op, "layer", inputs);
    if (kind->attr)
        build_attr(y, kind->attr, kind->attr_value);
    build_output(graph, y);
    assert_ok(ldnq_passes_run(graph, &err));
    return graph;
}

/* The only layer of the graph. */
static inline struct ldnq_layer list_only_layer(struct ldnq_graph *graph)
{
    struct ldnq_layer *layers;
    size_t count;
    assert_ok(ldnq_layers_list(graph, graph->arena, &layers, &count, &err));
    assert_int_equal(count, 1);
    return layers[0];
}

#endif
