/* SPDX-License-Identifier: Apache-2.0 */
/* diff_json.c: writes the JSON that diff.schema.json describes. All static functions return false
 * when memory is out. */
#include "report/report.h"

#include <math.h>

#include "base/alloc.h"
#include "base/json_add.h"
#include "report/verdict.h"

/* ---- values -------------------------------------------------------------------------- */

static bool add_json_bool(cJSON *item, const char *name, bool value)
{
    return cJSON_AddBoolToObject(item, name, value) != NULL;
}

static bool add_json_count(cJSON *item, const char *name, size_t value)
{
    return ldnq_json_add_number(item, name, (double)value);
}

/* Adds the number, or null when it is not known. */
static bool add_json_number_or_null(cJSON *item, const char *name, bool known, double value)
{
    return ldnq_json_add_number(item, name, known ? value : NAN);
}

/* Adds the shape, with null for an open dimension and for an unknown rank. */
static bool add_shape_json(cJSON *item, const char *name, const struct ldnq_diff_shape *shape)
{
    if (shape->rank == LDNQ_DIFF_OPEN)
        return cJSON_AddNullToObject(item, name) != NULL;
    cJSON *array = cJSON_AddArrayToObject(item, name);
    for (int i = 0; array && i < shape->rank; i++) {
        const int64_t dim = shape->dim[i];
        cJSON *number =
            dim == LDNQ_DIFF_OPEN ? cJSON_CreateNull() : cJSON_CreateNumber((double)dim);
        if (!cJSON_AddItemToArray(array, number))
            return false;
    }
    return array != NULL;
}

/* Both an infinite SQNR and an unknown one are null: `exact` is true for the first. */
static bool add_sqnr_json(cJSON *item, double sqnr)
{
    return ldnq_json_add_number(item, "sqnr_db", sqnr) &&
           add_json_bool(item, "exact", isinf(sqnr) && sqnr > 0);
}

static bool add_error_json(cJSON *item, const char *name, const struct ldnq_diff_error *error)
{
    cJSON *object = cJSON_AddObjectToObject(item, name);
    return object && add_sqnr_json(object, error->sqnr) &&
           ldnq_json_add_number(object, "cosine", error->cosine);
}

/* Appends a new object to the array; NULL when memory is out. */
static cJSON *append_json_object(cJSON *array)
{
    cJSON *object = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(array, object)) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

/* ---- files and tensors --------------------------------------------------------------- */

static bool add_file_summary(cJSON *root, const char *name, const struct ldnq_diff_file *file)
{
    cJSON *item = cJSON_AddObjectToObject(root, name);
    return item && ldnq_json_add_text(item, "path", file->path) &&
           ldnq_json_add_text(item, "producer", file->producer) &&
           add_json_count(item, "bytes", file->bytes) &&
           add_json_count(item, "data_bytes", file->data_bytes) &&
           ldnq_json_add_number(item, "opset", file->opset) &&
           ldnq_json_add_number(item, "ir_version", (double)file->ir_version) &&
           add_json_count(item, "nodes", file->nodes) &&
           add_json_count(item, "qdq_nodes", file->qdq_nodes) &&
           add_json_count(item, "weights", file->weights) &&
           add_json_count(item, "weight_bytes", file->weight_bytes);
}

static bool add_histogram_json(cJSON *item, const struct ldnq_quantized_tensor *tensor)
{
    if (tensor->histogram_count == 0)
        return cJSON_AddNullToObject(item, "histogram") != NULL;
    cJSON *object = cJSON_AddObjectToObject(item, "histogram");
    cJSON *counts = object ? cJSON_AddArrayToObject(object, "counts") : NULL;
    for (size_t i = 0; counts && i < tensor->histogram_count; i++)
        if (!cJSON_AddItemToArray(counts, cJSON_CreateNumber((double)tensor->histogram[i])))
            return false;
    return counts && ldnq_json_add_number(object, "first", (double)tensor->histogram_first);
}

static bool add_scales_json(cJSON *item, const struct ldnq_quantized_tensor *tensor)
{
    const bool known = tensor->scale_count > 0;
    return add_json_number_or_null(item, "axis", tensor->axis >= 0, tensor->axis) &&
           add_json_number_or_null(item, "block_size", tensor->block_size > 0,
                                   (double)tensor->block_size) &&
           add_json_count(item, "scale_count", tensor->scale_count) &&
           add_json_number_or_null(item, "scale_min", known, tensor->scale_min) &&
           add_json_number_or_null(item, "scale_max", known, tensor->scale_max) &&
           add_json_number_or_null(item, "zero_min", known, (double)tensor->zero_min) &&
           add_json_number_or_null(item, "zero_max", known, (double)tensor->zero_max);
}

static bool add_codes_json(cJSON *item, const struct ldnq_quantized_tensor *tensor)
{
    const bool known = tensor->is_constant && tensor->count > 0;
    return add_json_number_or_null(item, "count", tensor->is_constant, (double)tensor->count) &&
           add_json_number_or_null(item, "code_min", known, (double)tensor->code_min) &&
           add_json_number_or_null(item, "code_max", known, (double)tensor->code_max) &&
           add_json_number_or_null(item, "codes_used", known && tensor->codes_used > 0,
                                   (double)tensor->codes_used) &&
           add_json_number_or_null(item, "entropy", known, tensor->entropy) &&
           add_json_number_or_null(item, "bytes", tensor->is_constant, (double)tensor->bytes) &&
           add_histogram_json(item, tensor);
}

static bool add_tensor_json(cJSON *array, const struct ldnq_quantized_tensor *tensor)
{
    cJSON *item = append_json_object(array);
    return item && ldnq_json_add_text(item, "name", tensor->name) &&
           ldnq_json_add_text(item, "reader", tensor->reader) &&
           add_json_bool(item, "constant", tensor->is_constant) &&
           ldnq_json_add_text(item, "type", tensor->type) &&
           add_shape_json(item, "shape", &tensor->shape) && add_scales_json(item, tensor) &&
           add_codes_json(item, tensor);
}

bool ldnq_diff_json_add_tensors(cJSON *root, const struct ldnq_quantized_tensor *tensors,
                                size_t count)
{
    cJSON *array = cJSON_AddArrayToObject(root, "tensors");
    for (size_t i = 0; array && i < count; i++)
        if (!add_tensor_json(array, &tensors[i]))
            return false;
    return array != NULL;
}

/* ---- layers -------------------------------------------------------------------------- */

/* The index of the tensor in `tensors`; null for none. */
static bool add_tensor_index(cJSON *item, const char *name, const struct ldnq_diff *diff,
                             const struct ldnq_quantized_tensor *tensor)
{
    for (size_t i = 0; tensor && i < diff->tensor_count; i++)
        if (tensor == &diff->tensors[i])
            return add_json_count(item, name, i);
    return cJSON_AddNullToObject(item, name) != NULL;
}

static bool add_trace_row_json(cJSON *array, const struct ldnq_diff_iteration *row)
{
    cJSON *item = append_json_object(array);
    return item && ldnq_json_add_number(item, "iteration", row->iteration) &&
           ldnq_json_add_number(item, "objective", row->objective) &&
           ldnq_json_add_number(item, "residual", row->residual) &&
           add_json_count(item, "changed", row->changed) &&
           add_json_count(item, "active", row->active) &&
           ldnq_json_add_number(item, "rho", row->rho);
}

static bool add_trace_json(cJSON *item, const struct ldnq_diff_layer *layer)
{
    if (!layer->trace)
        return cJSON_AddNullToObject(item, "trace") != NULL;
    cJSON *array = cJSON_AddArrayToObject(item, "trace");
    for (size_t i = 0; array && i < layer->trace_count; i++)
        if (!add_trace_row_json(array, &layer->trace[i]))
            return false;
    return array != NULL;
}

static bool add_weight_json(cJSON *item, const struct ldnq_diff *diff,
                            const struct ldnq_diff_layer *layer)
{
    cJSON *error = cJSON_AddObjectToObject(item, "weight_error");
    return error && add_sqnr_json(error, layer->weight_sqnr) &&
           add_shape_json(item, "shape", &layer->shape) &&
           add_json_count(item, "weights", layer->weights) &&
           ldnq_json_add_number(item, "macs", layer->macs) &&
           add_json_count(item, "bytes_a", layer->bytes_a) &&
           add_json_count(item, "bytes_b", layer->bytes_b) &&
           ldnq_json_add_number(item, "bits", layer->bits) &&
           add_tensor_index(item, "weight_tensor", diff, layer->weight) &&
           add_tensor_index(item, "input_tensor", diff, layer->input);
}

static bool add_layer_json(cJSON *array, const struct ldnq_diff *diff,
                           const struct ldnq_diff_layer *layer)
{
    cJSON *item = append_json_object(array);
    return item && ldnq_json_add_text(item, "node", layer->node) &&
           ldnq_json_add_text(item, "op", layer->op) &&
           ldnq_json_add_text(item, "other", layer->match) &&
           ldnq_json_add_text(item, "pairing", ldnq_pairing_name(layer->pairing)) &&
           ldnq_json_add_text(item, "folded", layer->folded) &&
           add_weight_json(item, diff, layer) &&
           add_error_json(item, "isolated", &layer->isolated) &&
           add_error_json(item, "accumulated", &layer->accumulated) && add_trace_json(item, layer);
}

static bool add_layers_json(cJSON *root, const struct ldnq_diff *diff)
{
    cJSON *array = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; array && i < diff->layer_count; i++)
        if (!add_layer_json(array, diff, &diff->layers[i]))
            return false;
    return array != NULL;
}

/* ---- notes and outputs --------------------------------------------------------------- */

static bool add_notes_json(cJSON *root, const char *name, const struct ldnq_diff_change *notes,
                           size_t count)
{
    cJSON *array = cJSON_AddArrayToObject(root, name);
    for (size_t i = 0; array && i < count; i++) {
        cJSON *item = append_json_object(array);
        if (!item || !ldnq_json_add_text(item, "node", notes[i].node) ||
            !ldnq_json_add_text(item, "op", notes[i].op) ||
            !ldnq_json_add_text(item, "text", notes[i].text))
            return false;
    }
    return array != NULL;
}

static bool add_output_json(cJSON *array, const struct ldnq_diff_output *output)
{
    cJSON *item = append_json_object(array);
    return item && ldnq_json_add_text(item, "name", output->name) &&
           ldnq_json_add_text(item, "other", output->match) &&
           add_error_json(item, "error", &output->error) &&
           ldnq_json_add_number(item, "noise_to_signal", output->noise_to_signal) &&
           ldnq_json_add_number(item, "noise_to_signal_bound", output->bound) &&
           ldnq_json_add_number(item, "max_error", output->max_error) &&
           ldnq_json_add_number(item, "agreement", output->agreement) &&
           ldnq_json_add_number(item, "agreement_low", output->agreement_low) &&
           ldnq_json_add_number(item, "agreement_high", output->agreement_high) &&
           ldnq_json_add_number(item, "kl", output->kl);
}

static bool add_outputs_json(cJSON *root, const struct ldnq_diff *diff)
{
    cJSON *array = cJSON_AddArrayToObject(root, "outputs");
    for (size_t i = 0; array && i < diff->output_count; i++)
        if (!add_output_json(array, &diff->outputs[i]))
            return false;
    return array != NULL;
}

static bool add_gates_json(cJSON *root, const struct ldnq_diff *diff)
{
    cJSON *array = cJSON_AddArrayToObject(root, "gates");
    for (size_t i = 0; array && i < diff->gate_count; i++) {
        const struct ldnq_diff_gate *gate = &diff->gates[i];
        cJSON *item = append_json_object(array);
        if (!item || !ldnq_json_add_text(item, "figure", gate->figure) ||
            !ldnq_json_add_text(item, "output", gate->output) ||
            !ldnq_json_add_text(item, "unit", gate->unit) ||
            !add_json_bool(item, "upper", gate->is_upper) ||
            !ldnq_json_add_number(item, "limit", gate->limit) ||
            !ldnq_json_add_number(item, "value", gate->value) ||
            !add_json_bool(item, "passes", gate->passes))
            return false;
    }
    return array != NULL;
}

static bool add_speed_json(cJSON *root, const struct ldnq_diff_speed *speed)
{
    const bool is_known = speed->target != NULL;
    cJSON *item = cJSON_AddObjectToObject(root, "speed");
    return item && ldnq_json_add_text(item, "target", speed->target) &&
           ldnq_json_add_number(item, "times_faster", is_known ? speed->times_faster : NAN) &&
           ldnq_json_add_number(item, "factor", speed->measured_on ? speed->factor : NAN) &&
           ldnq_json_add_text(item, "measured_on", speed->measured_on);
}

/* Without the pictures. */
static bool add_changed_samples_json(cJSON *root, const struct ldnq_diff *diff)
{
    cJSON *array = cJSON_AddArrayToObject(root, "changed_samples");
    for (size_t i = 0; array && i < diff->changed_sample_count; i++) {
        const struct ldnq_diff_sample *sample = &diff->changed_samples[i];
        cJSON *item = append_json_object(array);
        if (!item || !ldnq_json_add_text(item, "name", sample->name) ||
            !ldnq_json_add_text(item, "output", sample->output) ||
            !add_json_count(item, "class_a", sample->class_a) ||
            !add_json_count(item, "class_b", sample->class_b))
            return false;
    }
    return array != NULL;
}

static bool add_verdict_json(cJSON *root, const struct ldnq_diff *diff)
{
    const struct ldnq_verdict verdict = ldnq_diff_judge(diff);
    cJSON *item = cJSON_AddObjectToObject(root, "verdict");
    return item && ldnq_json_add_text(item, "level", ldnq_verdict_name(verdict.level)) &&
           ldnq_json_add_text(item, "words", ldnq_verdict_words(verdict.level)) &&
           ldnq_json_add_text(item, "reason", verdict.reason);
}

bool ldnq_diff_json_add_judgement(cJSON *root, const struct ldnq_diff *diff)
{
    return add_verdict_json(root, diff) && add_gates_json(root, diff);
}

/* ---- all ----------------------------------------------------------------------------- */

static bool add_diff_json(cJSON *root, const struct ldnq_diff *diff)
{
    return ldnq_json_add_text(root, "format", "ldnq-diff") &&
           ldnq_json_add_number(root, "version", 3) &&
           ldnq_json_add_text(root, "ldnq", LDNQ_VERSION) && add_verdict_json(root, diff) &&
           add_gates_json(root, diff) && add_speed_json(root, &diff->speed) &&
           add_file_summary(root, "a", &diff->a) && add_file_summary(root, "b", &diff->b) &&
           add_json_count(root, "paired_nodes", diff->paired) &&
           add_json_count(root, "paired_layers", diff->paired_layers) &&
           add_layers_json(root, diff) &&
           add_notes_json(root, "removed", diff->removed, diff->removed_count) &&
           add_notes_json(root, "added", diff->added, diff->added_count) &&
           add_notes_json(root, "changed", diff->changed, diff->changed_count) &&
           ldnq_diff_json_add_tensors(root, diff->tensors, diff->tensor_count) &&
           add_json_count(root, "samples", diff->samples) &&
           add_json_count(root, "layer_samples", diff->layer_samples) &&
           ldnq_json_add_text(root, "measured_on", diff->measured_on) &&
           add_json_number_or_null(root, "seconds", diff->samples > 0, diff->seconds) &&
           add_outputs_json(root, diff) && add_changed_samples_json(root, diff) &&
           ldnq_json_add_text(root, "bound_reason", diff->bound_reason);
}

enum ldnq_status ldnq_diff_print_json(const struct ldnq_diff *diff, char **text,
                                      struct ldnq_error *err)
{
    cJSON *root = cJSON_CreateObject();
    *text = root && add_diff_json(root, diff) ? ldnq_json_print(root, LDNQ_JSON_INDENTED) : NULL;
    cJSON_Delete(root);
    return *text ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

void ldnq_report_free(char *text)
{
    ldnq_free(text);
}
