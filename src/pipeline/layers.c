#include "pipeline/pipeline.h"

#include "base/size.h"
#include "ops/layer.h"

static const struct ldnq_value *input_of(const struct ldnq_node *node, int input)
{
    return input >= 0 && (size_t)input < node->input_count ? node->inputs[input] : NULL;
}

static enum ldnq_status refuse(struct ldnq_layer *layer, struct ldnq_arena *arena,
                               const char *reason, struct ldnq_error *err)
{
    layer->refusal = ldnq_arena_strdup(arena, reason, err);
    return layer->refusal ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status check_weight(struct ldnq_layer *layer, const struct ldnq_value *weight,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    if (!weight || !weight->constant)
        return refuse(layer, arena, "its weight is computed at run time", err);
    if (weight->constant->dtype != LDNQ_FLOAT) {
        layer->refusal = ldnq_arena_printf(arena, err, "its weight is %s, not float32",
                                           ldnq_dtype_name(weight->constant->dtype));
        return layer->refusal ? LDNQ_OK : LDNQ_NOMEM;
    }
    if (weight->from_codes)
        return refuse(layer, arena, "its weight is quantized already", err);
    if (ldnq_tensor_count(weight->constant) == 0)
        return refuse(layer, arena, "its weight has no elements", err);
    return LDNQ_OK;
}

/* Nodes that stand in no list of the file's main graph can't be changed there. */
static enum ldnq_status refuse_inner(struct ldnq_layer *layer, struct ldnq_arena *arena,
                                     struct ldnq_error *err)
{
    layer->refusal = ldnq_arena_printf(arena, err, "it is part of %s, which is left as it is",
                                       layer->node->within);
    return layer->refusal ? LDNQ_OK : LDNQ_NOMEM;
}

static void take_view(struct ldnq_layer *layer, const struct ldnq_layer_view *view)
{
    layer->groups = view->groups;
    layer->outputs = view->outputs;
    layer->inputs = view->inputs;
    layer->transposed = view->transposed;
    layer->taps = view->taps;
    layer->channel_axis = view->channel_axis;
    layer->kernel = 1;
    for (int i = 2; i < layer->weight->shape.rank; i++)
        layer->kernel *= (size_t)layer->weight->shape.dim[i];
    layer->bias_factor = view->bias_factor;
}

static enum ldnq_status describe(struct ldnq_layer *layer, struct ldnq_arena *arena,
                                 struct ldnq_error *err)
{
    const struct ldnq_node *node = layer->node;
    const struct ldnq_op_layer *facts = node->op->layer;
    const struct ldnq_value *weight = input_of(node, facts->weight_input);
    const struct ldnq_value *bias = input_of(node, facts->bias_input);
    layer->weight_input = (size_t)facts->weight_input;
    layer->bias_input = facts->bias_input < 0 ? 0 : (size_t)facts->bias_input;
    layer->weight = weight ? weight->constant : NULL;
    layer->weight_name = weight ? weight->name : "";
    layer->bias_name = bias ? bias->name : "";
    LDNQ_TRY(node->within ? refuse_inner(layer, arena, err)
                          : check_weight(layer, weight, arena, err));
    if (!layer->weight)
        return LDNQ_OK;
    struct ldnq_layer_view view;
    struct ldnq_error reason;
    enum ldnq_status status =
        facts->describe(node, layer->weight, bias ? bias->constant : NULL, &view, &reason);
    if (status == LDNQ_UNSUPPORTED)
        return layer->refusal ? LDNQ_OK : refuse(layer, arena, reason.message, err);
    if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    take_view(layer, &view);
    if (bias && bias->constant && bias->constant->dtype == LDNQ_FLOAT && view.bias_factor != 0.0f)
        layer->bias = bias->constant;
    return LDNQ_OK;
}

/* An operator that is no layer but has a weight is listed all the same, so that
 * nobody looks for it in vain. false when it has none. */
static bool keeps_weight(const struct ldnq_node *node, struct ldnq_layer *layer)
{
    for (size_t i = 0; i < node->input_count; i++) {
        const struct ldnq_value *weight = node->inputs[i];
        if (!weight || !weight->constant || weight->constant->dtype != LDNQ_FLOAT)
            continue;
        layer->weight_input = i;
        layer->weight = weight->constant;
        layer->weight_name = weight->name;
        layer->bias_name = "";
        layer->refusal = node->op->keeps_weight;
        return true;
    }
    return false;
}

static size_t count_layers(const struct ldnq_graph *graph)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct ldnq_node *node = graph->nodes[i];
        count += node->op && (node->op->layer || node->op->keeps_weight);
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                count += count_layers(node->attrs[k].g);
    }
    return count;
}

/* Layers in bodies stand where the node does that runs them. */
static enum ldnq_status list_layers(const struct ldnq_graph *graph, const size_t *place,
                                    struct ldnq_arena *arena, struct ldnq_layer *layers,
                                    size_t *count, struct ldnq_error *err)
{
    for (size_t i = 0; i < graph->node_count; i++) {
        struct ldnq_node *node = graph->nodes[i];
        size_t at = place ? *place : i;
        for (size_t k = 0; k < node->attr_count; k++)
            if (node->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(list_layers(node->attrs[k].g, &at, arena, layers, count, err));
        if (!node->op || !(node->op->layer || node->op->keeps_weight))
            continue;
        struct ldnq_layer *layer = &layers[*count];
        *layer = (struct ldnq_layer){ .node = node, .place = at };
        if (node->op->layer)
            LDNQ_TRY(describe(layer, arena, err));
        else if (!keeps_weight(node, layer))
            continue;
        (*count)++;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_layers_list(const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                  struct ldnq_layer **layers, size_t *count, struct ldnq_error *err)
{
    *count = 0;
    *layers = ldnq_arena_alloc(arena, count_layers(graph), sizeof **layers, err);
    return *layers ? list_layers(graph, NULL, arena, *layers, count, err) : LDNQ_NOMEM;
}

bool ldnq_layer_macs(const struct ldnq_layer *layer, uint64_t *macs)
{
    /* Every output element is a sum over the K inputs of its group; where the weight
     * has taps apart, every input element goes to each of them in all M outputs. */
    const struct ldnq_value *side = layer->taps ? layer->node->inputs[0] : layer->node->outputs[0];
    size_t each = layer->taps ? layer->outputs * layer->taps : layer->inputs, elements, count;
    if (!layer->weight || layer->groups == 0 || layer->outputs == 0 ||
        !ldnq_shape_count(&side->shape, &count) || !ldnq_size_mul(count, each, &elements))
        return false;
    *macs = elements;
    return true;
}

void ldnq_layer_scale_range(const struct ldnq_layer_result *result, float *low, float *high)
{
    const size_t rows = result->layer.groups * result->layer.outputs;
    const size_t count = rows * ldnq_layer_row_scales(result);
    *low = *high = result->scales[0];
    for (size_t i = 1; i < count; i++) {
        *low = result->scales[i] < *low ? result->scales[i] : *low;
        *high = result->scales[i] > *high ? result->scales[i] : *high;
    }
}
