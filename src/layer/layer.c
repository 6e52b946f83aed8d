/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer.h"

#include <string.h>

#include "base/size.h"

static const struct ldnq_value *find_input(const struct ldnq_node *node, int input)
{
    return input >= 0 && (size_t)input < node->input_count ? node->inputs[input] : NULL;
}

static enum ldnq_status refuse_layer(struct ldnq_layer *layer, struct ldnq_arena *arena,
                                     const char *reason, struct ldnq_error *err)
{
    layer->refusal = ldnq_arena_strdup(arena, reason, err);
    return layer->refusal ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status check_weight(struct ldnq_layer *layer, const struct ldnq_value *weight,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    if (!weight || !weight->constant)
        return refuse_layer(layer, arena, "its weight is computed at run time", err);
    layer->dtype = weight->half ? weight->half : weight->constant->dtype;
    if (layer->dtype != LDNQ_FLOAT && layer->dtype != LDNQ_FLOAT16 &&
        layer->dtype != LDNQ_BFLOAT16) {
        layer->refusal = ldnq_arena_printf(arena, err, "its weight is %s, not a float type",
                                           ldnq_dtype_name(weight->constant->dtype));
        return layer->refusal ? LDNQ_OK : LDNQ_NOMEM;
    }
    if (weight->from_codes)
        return refuse_layer(layer, arena, "its weight is quantized already", err);
    if (ldnq_tensor_count(weight->constant) == 0)
        return refuse_layer(layer, arena, "its weight has no elements", err);
    return LDNQ_OK;
}

/* Whether the nodes that were merged into the layer can be removed with it: they are in its body.
 */
static bool has_merged_nodes_of_body(const struct ldnq_node *node)
{
    for (size_t i = 0; i < node->merged_count; i++)
        if (!node->merged[i]->body_origin || node->merged[i]->within != node->within)
            return false;
    return true;
}

/* A node of a function is in no graph of the file, so that the emitter can't change it. */
static enum ldnq_status refuse_inner_layer(struct ldnq_layer *layer, struct ldnq_arena *arena,
                                           struct ldnq_error *err)
{
    if (layer->node->body_origin && has_merged_nodes_of_body(layer->node))
        return LDNQ_OK;
    layer->refusal = ldnq_arena_printf(arena, err, "it is part of %s, which is left as it is",
                                       layer->node->within);
    return layer->refusal ? LDNQ_OK : LDNQ_NOMEM;
}

/* Shapes and indices are looked up too: a table is a constant of floats. */
static bool is_lookup_without_float_table(const struct ldnq_node *node)
{
    const struct ldnq_value *table = find_input(node, node->op->layer->weight_input);
    return node->op->layer->is_table &&
           (!table || !table->constant || ldnq_dtype_is_integer(table->constant->dtype) ||
            table->constant->dtype == LDNQ_BOOL || table->constant->dtype == LDNQ_STRING);
}

static bool only_moves_or_casts_elements(const struct ldnq_node *node)
{
    static const char *const types[] = { "DequantizeLinear", "Transpose", "Reshape", "Identity",
                                         "Cast" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

/* The tensor of the file that has the weight's elements, or its codes. */
static const struct ldnq_tensor *find_stored_tensor(const struct ldnq_value *value)
{
    while (value->folded_from && only_moves_or_casts_elements(value->folded_from) &&
           value->folded_from->inputs[0])
        value = value->folded_from->inputs[0];
    return value->constant;
}

static enum ldnq_status describe_layer(struct ldnq_layer *layer, struct ldnq_arena *arena,
                                       struct ldnq_error *err)
{
    const struct ldnq_node *node = layer->node;
    const struct ldnq_op_layer *op = layer->op;
    const struct ldnq_value *weight = find_input(node, op->weight_input);
    const struct ldnq_value *bias = find_input(node, op->bias_input);
    layer->weight_input = (size_t)op->weight_input;
    layer->bias_input = op->bias_input < 0 ? 0 : (size_t)op->bias_input;
    layer->weight = weight ? weight->constant : NULL;
    layer->weight_name = weight ? weight->name : "";
    layer->stored = weight ? find_stored_tensor(weight) : NULL;
    layer->bias_name = bias ? bias->name : "";
    LDNQ_TRY(check_weight(layer, weight, arena, err));
    if (node->within && !layer->refusal)
        LDNQ_TRY(refuse_inner_layer(layer, arena, err));
    if (!layer->weight)
        return LDNQ_OK;
    struct ldnq_layer_geometry geometry;
    struct ldnq_error reason;
    enum ldnq_status status =
        op->describe_weight(node, layer->weight, bias ? bias->constant : NULL, &geometry, &reason);
    if (status == LDNQ_UNSUPPORTED)
        return layer->refusal ? LDNQ_OK : refuse_layer(layer, arena, reason.message, err);
    if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    layer->geometry = geometry;
    if (bias && bias->constant && bias->constant->dtype == layer->weight->dtype &&
        geometry.bias_factor != 0.0f)
        layer->bias = bias->constant;
    return LDNQ_OK;
}

/* Codes of 8 bits save 3 bytes per element. Reading them takes four nodes, some 500 bytes of the
 * file and 10 us per run: a smaller table saves less than 12 kB. */
#define FEWEST_TABLE_ELEMENTS ((size_t)4096)

bool ldnq_layers_have_same_elements(const struct ldnq_layer *a, const struct ldnq_layer *b)
{
    const float *x = a->weight->data, *y = b->weight->data;
    const size_t rows = ldnq_layer_rows(a), cols = a->geometry.cols;
    if (rows != ldnq_layer_rows(b) || cols != b->geometry.cols || a->dtype != b->dtype ||
        a->weight->dtype != LDNQ_FLOAT || b->weight->dtype != LDNQ_FLOAT)
        return false;
    for (size_t row = 0; row < rows; row++)
        for (size_t col = 0; col < cols; col++)
            if (x[ldnq_find_weight_offset(&a->geometry, row, col)] !=
                y[ldnq_find_weight_offset(&b->geometry, row, col)])
                return false;
    return true;
}

/* A layer whose codes would be stored besides the float table. */
static bool is_tied_to_layer(const struct ldnq_layer *table, const struct ldnq_layer *layers,
                             size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!layers[i].refusal && !ldnq_layer_is_table(&layers[i]) &&
            ldnq_layers_have_same_elements(&layers[i], table))
            return true;
    return false;
}

static enum ldnq_status refuse_small_tables(struct ldnq_layer *layers, size_t count,
                                            struct ldnq_arena *arena, struct ldnq_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct ldnq_layer *layer = &layers[i];
        if (layer->refusal || !ldnq_layer_is_table(layer) ||
            ldnq_layer_elements(layer) >= FEWEST_TABLE_ELEMENTS ||
            is_tied_to_layer(layer, layers, count))
            continue;
        layer->refusal = ldnq_arena_printf(
            arena, err, "its table has fewer than %zu elements: codes would save too little",
            FEWEST_TABLE_ELEMENTS);
        if (!layer->refusal)
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

static size_t count_layers(const struct ldnq_graph *graph)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        for (const struct ldnq_op_layer *op = node->op ? node->op->layer : NULL; op; op = op->other)
            count++;
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                count += count_layers(node->attrs[k].g);
    }
    return count;
}

static bool has_float_constant(const struct ldnq_node *node, int input)
{
    const struct ldnq_value *value = find_input(node, input);
    return value && value->constant && !ldnq_dtype_is_integer(value->constant->dtype);
}

/* Where list_layers is: in the main graph (body is NULL), or in a body. */
struct layer_place {
    struct ldnq_graph *body;
    size_t node_index; /* in the main graph */
    const void *outer_origin;
    bool is_in_loop;
};

static struct ldnq_layer make_layer(struct ldnq_node *node, const struct ldnq_op_layer *op,
                                    const struct layer_place *place)
{
    return (struct ldnq_layer){ .node = node,
                                .op = op,
                                .node_index = place->node_index,
                                .body = place->body,
                                .outer_origin = place->outer_origin,
                                .is_in_loop = place->is_in_loop };
}

/* The place in a body of the node, which is at `place` itself. */
static struct layer_place enter_body(const struct layer_place *place, const struct ldnq_node *node,
                                     struct ldnq_graph *body)
{
    return (struct layer_place){
        .body = body,
        .node_index = place->node_index,
        .outer_origin = place->body ? place->outer_origin : node->origin,
        .is_in_loop = place->is_in_loop || strcmp(node->op_type, "If") != 0,
    };
}

static enum ldnq_status label_layer(struct ldnq_layer *layer, size_t count_of_node,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    layer->label = layer->node->label;
    if (count_of_node > 1)
        layer->label =
            ldnq_arena_printf(arena, err, "%s.%s", layer->node->label, layer->op->weight_label);
    return layer->label ? LDNQ_OK : LDNQ_NOMEM;
}

/* Appends a layer for each weight of the node; one without a weight where all are computed. */
static enum ldnq_status append_layers_of_node(struct ldnq_node *node,
                                              const struct layer_place *place,
                                              struct ldnq_arena *arena, struct ldnq_layer *layers,
                                              size_t *count, struct ldnq_error *err)
{
    const size_t first = *count;
    for (const struct ldnq_op_layer *op = node->op->layer; op; op = op->other)
        if (has_float_constant(node, op->weight_input) && (!op->applies_to || op->applies_to(node)))
            layers[(*count)++] = make_layer(node, op, place);
    if (*count == first)
        layers[(*count)++] = make_layer(node, node->op->layer, place);
    for (size_t i = first; i < *count; i++) {
        LDNQ_TRY(label_layer(&layers[i], *count - first, arena, err));
        LDNQ_TRY(describe_layer(&layers[i], arena, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status list_layers(const struct ldnq_graph *graph, struct layer_place place,
                                    struct ldnq_arena *arena, struct ldnq_layer *layers,
                                    size_t *count, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        if (!place.body)
            place.node_index = i;
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(list_layers(node->attrs[k].g, enter_body(&place, node, node->attrs[k].g),
                                     arena, layers, count, err));
        if (node->op && node->op->layer && !is_lookup_without_float_table(node)) {
            const size_t first = *count;
            LDNQ_TRY(append_layers_of_node(node, &place, arena, layers, count, err));
            if (node->feeds_product && *count > first)
                layers[first].product = graph->nodes[ldnq_find_product_of_lookup(graph, i)];
        }
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_layers_list(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                  struct ldnq_layer **layers, size_t *count, struct ldnq_error *err)
{
    *count = 0;
    *layers = ldnq_arena_alloc(arena, count_layers(graph), sizeof **layers, err);
    if (!*layers)
        return LDNQ_NOMEM;
    LDNQ_TRY(list_layers(graph, (struct layer_place){ 0 }, arena, *layers, count, err));
    return refuse_small_tables(*layers, *count, arena, err);
}

static const struct ldnq_tensor *find_shared_tensor(const struct ldnq_layer *layer)
{
    return layer->stored ? layer->stored : layer->weight;
}

bool ldnq_layer_owns_weight(const struct ldnq_layer *layers, size_t count, size_t i)
{
    const struct ldnq_layer *owner = NULL;
    if (!layers[i].weight)
        return false;
    const struct ldnq_tensor *stored = find_shared_tensor(&layers[i]);
    for (size_t k = 0; k < count; k++) {
        const struct ldnq_layer *reader = &layers[k];
        if (reader->weight && find_shared_tensor(reader) == stored &&
            (!owner || (owner->refusal && !reader->refusal)))
            owner = reader;
    }
    return owner == &layers[i];
}

/* Each output element is a sum over the K columns of its group. A transposed convolution
 * multiplies each input element with the kernel of all M rows, a recurrent layer each row of its
 * input with the whole weight. Returns the multiplications per index of `shape`. */
static size_t macs_per_index(const struct ldnq_layer *layer, struct ldnq_shape *shape)
{
    const struct ldnq_layer_geometry *geometry = &layer->geometry;
    if (ldnq_layer_is_table(layer)) {
        *shape = layer->node->outputs[0]->shape;
        return 0;
    }
    if (layer->op->is_lookup) {
        *shape = layer->product ? layer->product->outputs[0]->shape : (struct ldnq_shape){ 0 };
        return geometry->cols;
    }
    if (!layer->op->spreads_inputs && !layer->op->repeats_weight) {
        *shape = layer->node->outputs[0]->shape;
        return geometry->cols;
    }
    *shape = layer->node->inputs[layer->op->data_input]->shape;
    if (layer->op->spreads_inputs)
        return geometry->rows * geometry->kernel;
    shape->rank -= shape->rank > 0;
    return ldnq_layer_elements(layer);
}

bool ldnq_layer_count_macs(const struct ldnq_layer *layer, uint64_t *macs)
{
    struct ldnq_shape shape;
    const size_t each = macs_per_index(layer, &shape);
    size_t elements, count;
    if (layer->weight && ldnq_layer_is_table(layer)) {
        *macs = 0;
        return true;
    }
    if (!layer->weight || layer->geometry.groups == 0 || layer->geometry.rows == 0 ||
        !ldnq_shape_count(&shape, &count) || !ldnq_size_mul(count, each, &elements))
        return false;
    *macs = elements;
    return true;
}

double ldnq_layer_macs_per_sample(const struct ldnq_layer *layer)
{
    struct ldnq_shape shape;
    double macs = (double)macs_per_index(layer, &shape);
    for (int axis = 0; axis < shape.rank; axis++)
        if (shape.dim[axis] > 0)
            macs *= (double)shape.dim[axis];
    return macs;
}

void ldnq_layer_read_weight(const struct ldnq_layer *layer, float *weight)
{
    const float *data = layer->weight->data;
    const size_t cols = layer->geometry.cols;
    for (size_t row = 0; row < ldnq_layer_rows(layer); row++)
        for (size_t col = 0; col < cols; col++)
            weight[row * cols + col] = data[ldnq_find_weight_offset(&layer->geometry, row, col)];
}

void ldnq_layer_read_bias(const struct ldnq_layer *layer, float *bias)
{
    const float *data = layer->bias ? layer->bias->data : NULL;
    for (size_t row = 0; row < ldnq_layer_rows(layer); row++)
        bias[row] = data ? layer->geometry.bias_factor * data[row] : 0.0f;
}
