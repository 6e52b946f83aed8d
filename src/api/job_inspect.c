/* SPDX-License-Identifier: Apache-2.0 */
/* job_inspect.c: what is in a model, what would be quantized, what not, and why. */
#include <math.h>

#include "api/job.h"
#include "api/json_graph.h"
#include "api/result.h"
#include "base/json_add.h"
#include "compare/quantized_tensors.h"
#include "layer/layer.h"
#include "onnx/edit.h"
#include "passes/passes.h"
#include "report/report.h"

struct inspection {
    struct ldnq_job job;
    struct ldnq_job_model loaded;
    struct ldnq_compute_view nodes; /* the file's nodes, before any merge */
    struct ldnq_layer *layers;
    size_t count;
    struct ldnq_quantized_tensor *tensors;
    size_t tensor_count;
    /* By layer: the codes of its weight; NULL where it is float. */
    const struct ldnq_quantized_tensor **codes;
    const char *refused; /* why the model can't be executed; NULL when it can */
};

/* Binds open batch dimensions to 1, as costs are counted per sample. Returns whether there
 * were any. */
static bool bind_batch(struct ldnq_graph *graph)
{
    bool bound = false;
    for (size_t i = 0; i < graph->input_count; i++) {
        struct ldnq_shape *shape = &graph->inputs[i]->shape;
        if (shape->rank > 0 && ldnq_is_symbol(shape->dim[0])) {
            shape->dim[0] = 1;
            bound = true;
        }
    }
    return bound;
}

static enum ldnq_status list_layers(struct inspection *found, struct ldnq_error *err)
{
    struct ldnq_arena *arena = found->job.arena;
    LDNQ_TRY(ldnq_layers_list(found->loaded.graph, arena, &found->layers, &found->count, err));
    LDNQ_TRY(ldnq_quantized_tensors_list(&found->nodes, arena, &found->tensors,
                                         &found->tensor_count, err));
    found->codes = ldnq_arena_alloc(arena, found->count, sizeof *found->codes, err);
    if (!found->codes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < found->count; i++) {
        const struct ldnq_layer *layer = &found->layers[i];
        const size_t index = ldnq_compute_view_find(&found->nodes, layer->node);
        if (index != LDNQ_NO_NODE)
            found->codes[i] = ldnq_quantized_tensors_find(
                found->tensors, found->tensor_count,
                found->nodes.nodes[index].inputs[layer->weight_input].dequantize);
    }
    return LDNQ_OK;
}

static enum ldnq_status read_model(struct inspection *found, const struct ldnq_onnx *onnx,
                                   struct ldnq_error *err)
{
    struct ldnq_job *job = &found->job;
    job->form = LDNQ_FORM_PAIRS;
    LDNQ_TRY(ldnq_onnx_load(onnx, &found->loaded.model, err));
    LDNQ_TRY(ldnq_model_inline_functions(found->loaded.model, err));
    LDNQ_TRY(ldnq_job_rewrite_lookups(job, &found->loaded, err));
    LDNQ_TRY(ldnq_job_import(job, &found->loaded, err));
    const bool bound = bind_batch(found->loaded.graph);
    enum ldnq_status status = ldnq_compute_view_init(&found->nodes, found->loaded.graph, job->arena,
                                                     &found->refused, err);
    /* The first dimension may be no batch at all: then sizes stay open. */
    if (status == LDNQ_MODEL && bound) {
        LDNQ_TRY(ldnq_job_import(job, &found->loaded, err));
        status = ldnq_compute_view_init(&found->nodes, found->loaded.graph, job->arena,
                                        &found->refused, err);
    }
    LDNQ_TRY(status);
    LDNQ_TRY(ldnq_pass_merge_batchnorms(found->loaded.graph, err));
    LDNQ_TRY(ldnq_pass_remove_dead_nodes(found->loaded.graph, err));
    return list_layers(found, err);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/* Sums over the layers; NaN where one of the terms is not known. */
static bool add_totals_json(cJSON *root, const struct inspection *found)
{
    double quantizable = 0, weights = 0, bytes = 0, macs = 0, all_macs = 0;
    for (size_t i = 0; i < found->count; i++) {
        const struct ldnq_layer *layer = &found->layers[i];
        uint64_t own = 0;
        const double known = ldnq_layer_count_macs(layer, &own) ? (double)own : NAN;
        const bool owns_weight = ldnq_layer_owns_weight(found->layers, found->count, i);
        all_macs += known;
        bytes += owns_weight ? (double)ldnq_weight_stored_bytes(layer, found->codes[i]) : 0;
        if (layer->refusal)
            continue;
        quantizable++;
        weights += owns_weight ? (double)ldnq_tensor_count(layer->weight) : 0;
        macs += known;
    }
    cJSON *item = cJSON_AddObjectToObject(root, "totals");
    return item && ldnq_json_add_number(item, "quantizable", quantizable) &&
           ldnq_json_add_number(item, "weights", weights) &&
           ldnq_json_add_number(item, "bytes", bytes) && ldnq_json_add_number(item, "macs", macs) &&
           ldnq_json_add_number(item, "all_macs", all_macs);
}

/* NaN for a weight of another type than float32. */
static double compute_share_of_zeros(const struct ldnq_tensor *weight)
{
    if (!weight || weight->dtype != LDNQ_FLOAT || !weight->data)
        return NAN;
    const size_t elements = ldnq_tensor_count(weight);
    const float *data = weight->data;
    size_t count = 0;
    for (size_t i = 0; i < elements; i++)
        count += data[i] == 0;
    return (double)count / (double)elements;
}

static bool add_layer_json(cJSON *list, const struct inspection *found, size_t i)
{
    const struct ldnq_layer *layer = &found->layers[i];
    const struct ldnq_quantized_tensor *codes = found->codes[i];
    const struct ldnq_shape none = { .rank = 0 };
    cJSON *item = ldnq_json_append_object(list);
    uint64_t macs = 0;
    const bool has_macs = ldnq_layer_count_macs(layer, &macs);
    const double parameters = layer->weight ? (double)ldnq_tensor_count(layer->weight) : 0;
    const double bytes = layer->weight ? (double)ldnq_weight_stored_bytes(layer, codes) : 0;
    const char *type = layer->weight ? ldnq_dtype_name(ldnq_weight_stored_dtype(layer)) : NULL;
    return item && ldnq_json_add_text(item, "node", layer->label) &&
           ldnq_json_add_text(item, "op", layer->node->op_type) &&
           cJSON_AddBoolToObject(item, "quantizable", !layer->refusal) &&
           (!layer->refusal || ldnq_json_add_text(item, "reason", layer->refusal)) &&
           ldnq_json_add_shape(item, "shape", layer->weight ? &layer->weight->shape : &none,
                               NULL) &&
           ldnq_json_add_text(item, "type", codes ? codes->type : type) &&
           ldnq_json_add_number(item, "parameters", parameters) &&
           ldnq_json_add_number(item, "zeros", compute_share_of_zeros(layer->weight)) &&
           ldnq_json_add_number(item, "bytes", bytes) &&
           ldnq_json_add_number(item, "tensor", codes ? (double)(codes - found->tensors) : NAN) &&
           ldnq_json_add_number(item, "macs", has_macs ? (double)macs : NAN);
}

static bool fill_result_json(cJSON *root, const struct inspection *found)
{
    const struct ldnq_model *model = found->loaded.model;
    const struct ldnq_graph *graph = found->loaded.graph;
    if (!ldnq_json_add_text(root, "file", graph->file) ||
        !ldnq_json_add_number(root, "ir_version", (double)ldnq_model_ir_version(model)) ||
        !ldnq_json_add_number(root, "opset", ldnq_model_opset(model)) ||
        !ldnq_json_add_text(root, "producer", ldnq_model_producer(model)) ||
        !ldnq_json_add_number(root, "bytes", (double)ldnq_model_bytes(model)) ||
        !ldnq_json_add_number(root, "data_bytes", (double)ldnq_model_data_bytes(model)) ||
        !cJSON_AddBoolToObject(root, "executable", !found->refused) ||
        (found->refused && !ldnq_json_add_text(root, "reason", found->refused)) ||
        !ldnq_json_add_values(root, "inputs", graph->inputs, graph->input_count, graph) ||
        !ldnq_json_add_values(root, "outputs", graph->outputs, graph->output_count, graph))
        return false;
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; list && i < found->count; i++)
        if (!add_layer_json(list, found, i))
            return false;
    return list && add_totals_json(root, found) &&
           ldnq_diff_json_add_tensors(root, found->tensors, found->tensor_count);
}

/* ---- the job ----------------------------------------------------------------------------------
 */

enum ldnq_status ldnq_inspect(const struct ldnq_onnx *onnx, const struct ldnq_options *options,
                              struct ldnq_result **out, struct ldnq_error *err)
{
    struct inspection found = { .count = 0 };
    struct ldnq_result *result = NULL;
    enum ldnq_status status = ldnq_job_init(&found.job, options, err);
    if (status == LDNQ_OK)
        status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        status = read_model(&found, onnx, err);
    if (status == LDNQ_OK) {
        cJSON *root = cJSON_CreateObject();
        status = ldnq_result_print(result, root, root && fill_result_json(root, &found), err);
    }
    ldnq_model_destroy(found.loaded.model);
    ldnq_job_finish(&found.job);
    return ldnq_result_return_or_destroy(result, status, out);
}
