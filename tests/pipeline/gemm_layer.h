/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_layer.h: a graph of one Gemm, whose weight lies as (K, M), as the layer that it is. */
#ifndef LDNQ_TESTS_PIPELINE_GEMM_LAYER_H
#define LDNQ_TESTS_PIPELINE_GEMM_LAYER_H

#include "graph_build.h"

#include "layer/layer.h"

static inline struct ldnq_layer build_gemm_layer(struct ldnq_graph *graph, size_t inputs,
                                                 size_t outputs)
{
    const int64_t k = (int64_t)inputs, m = (int64_t)outputs;
    struct ldnq_value *y =
        NODE(graph, "Gemm", "fc", build_input(graph, "x", SHAPE(2, k)),
             build_weight(graph, "w", SHAPE(k, m), 3), build_weight(graph, "b", SHAPE(m), 4));
    build_output(graph, y);
    struct ldnq_node *node = y->producer;
    return (struct ldnq_layer){
        .node = node,
        .label = node->label,
        .op = node->op ? node->op->layer : NULL,
        .geometry = { .groups = 1,
                      .rows = outputs,
                      .cols = inputs,
                      .kernel = 1,
                      .layout = LDNQ_WEIGHT_IN_OUT,
                      .channel_axis = 1,
                      .bias_factor = 1 },
        .weight_input = 1,
        .weight = node->inputs[1]->constant,
        .dtype = LDNQ_FLOAT,
        .bias_input = 2,
        .bias = node->inputs[2]->constant,
    };
}

#endif
