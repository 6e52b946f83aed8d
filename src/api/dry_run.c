/* SPDX-License-Identifier: Apache-2.0 */
#include "api/dry_run.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json_add.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "pipeline/fit_prediction.h"
#include "pipeline/memory_need.h"
#include "pipeline/select.h"

/* Bytes of the nodes, names and metadata that a layer adds; measured on ResNet-20 and a small
 * network of 7 layers. */
#define LAYER_BYTES 370.0
#define INPUT_BYTES 1200.0 /* the same for a pair of Q/DQ nodes at its input */
#define SCALE_BYTES 4.0

/* A product of this size takes milliseconds. */
#define PROBE ((size_t)256)
#define PROBE_SECONDS 0.05
/* The share of the speed of large products that fitting reaches, on several threads too. */
#define EFFICIENCY 0.5

enum ldnq_status ldnq_options_for_dry_run(const struct ldnq_options *options,
                                          struct ldnq_options **copy, struct ldnq_error *err)
{
    static const enum ldnq_option_index files[] = { OPTION_OUTPUT,     OPTION_REPORT, OPTION_LOG,
                                                    OPTION_CHECKPOINT, OPTION_RESUME, OPTION_PAGE };
    LDNQ_TRY(ldnq_options_copy(options, copy, err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        ldnq_options_set(*copy, ldnq_option_table[files[i]].name, NULL, NULL);
    return LDNQ_OK;
}

/* ---- sizes ------------------------------------------------------------------------------- */

static double count_scales(const struct ldnq_layer *layer,
                           const struct ldnq_quantize_options *options)
{
    const size_t block = ldnq_select_block(layer, options), rows = ldnq_layer_rows(layer);
    if (options->granularity == LDNQ_PER_TENSOR)
        return 1;
    return (double)(block ? rows * ldnq_size_ceil_div(layer->geometry.cols, block) : rows);
}

static double predict_layer_bytes(const struct ldnq_layer *layer,
                                  const struct ldnq_quantize_options *options)
{
    const unsigned bits = ldnq_select_stored_bits(layer, options);
    return ceil((double)ldnq_layer_elements(layer) * bits / 8) +
           SCALE_BYTES * count_scales(layer, options);
}

static double count_float_bytes(const struct ldnq_layer *layer)
{
    return (double)ldnq_layer_elements(layer) * (layer->dtype == LDNQ_FLOAT ? 4 : 2);
}

static bool has_codes_at_input(const struct ldnq_dry_run *run, const struct ldnq_layer *layer)
{
    return run->options->activations.target && ldnq_select_fits_integers(layer, run->options);
}

static double predict_file_bytes(const struct ldnq_dry_run *run,
                                 const struct ldnq_selection *selection)
{
    double bytes = (double)ldnq_model_bytes(run->loaded->model);
    if (run->searches)
        return NAN;
    for (size_t i = 0; i < selection->count; i++)
        bytes += predict_layer_bytes(&selection->layers[i], run->options) + LAYER_BYTES +
                 (has_codes_at_input(run, &selection->layers[i]) ? INPUT_BYTES : 0) -
                 count_float_bytes(&selection->layers[i]);
    return bytes;
}

/* ---- time -------------------------------------------------------------------------------- */

/* Multiplications per second; NaN where memory is out. */
static double measure_speed(void)
{
    const double start = ldnq_now();
    float *values = ldnq_calloc(3 * PROBE * PROBE, sizeof *values);
    double products = 0;
    if (!values)
        return NAN;
    do {
        ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, PROBE, PROBE, PROBE, 1, values, PROBE,
                   values + PROBE * PROBE, PROBE, 0, values + 2 * PROBE * PROBE, PROBE);
        products++;
    } while (ldnq_now() - start < PROBE_SECONDS);
    ldnq_free(values);
    return products * (double)(PROBE * PROBE * PROBE) / (ldnq_now() - start);
}

static enum ldnq_status predict_seconds(const struct ldnq_dry_run *run,
                                        const struct ldnq_selection *selection, double *seconds,
                                        struct ldnq_error *err)
{
    const double threads = (double)ldnq_pool_threads(run->job->pool);
    struct ldnq_fit_work work;
    *seconds = NAN;
    if (run->searches)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_predict_fit_work(run->loaded->graph, selection, run->options, run->fitted,
                                   run->job->arena, &work, err));
    *seconds = work.all / (EFFICIENCY * threads * measure_speed());
    return LDNQ_OK;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static bool add_layer(cJSON *list, const struct ldnq_dry_run *run, const struct ldnq_layer *layer)
{
    cJSON *item = cJSON_CreateObject();
    const char *codebook = run->searches ? NULL : ldnq_select_codebook(layer, run->options)->name;
    return item && cJSON_AddItemToArray(list, item) &&
           ldnq_json_add_text(item, "node", layer->label) &&
           ldnq_json_add_text(item, "op", layer->node->op_type) &&
           ldnq_json_add_text(item, "weights", codebook) &&
           ldnq_json_add_number(item, "elements", (double)ldnq_layer_elements(layer)) &&
           ldnq_json_add_number(item, "bytes_before", count_float_bytes(layer)) &&
           ldnq_json_add_number(item, "bytes_after",
                                run->searches ? NAN : predict_layer_bytes(layer, run->options));
}

static bool add_layer_left_float(cJSON *list, const struct ldnq_layer *layer)
{
    cJSON *item = cJSON_CreateObject();
    return item && cJSON_AddItemToArray(list, item) &&
           ldnq_json_add_text(item, "node", layer->label) &&
           ldnq_json_add_text(item, "op", layer->node->op_type) &&
           ldnq_json_add_text(item, "reason", layer->refusal);
}

static bool add_layers(cJSON *root, const struct ldnq_dry_run *run,
                       const struct ldnq_selection *selection)
{
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; layers && i < selection->count; i++)
        if (!add_layer(layers, run, &selection->layers[i]))
            return false;
    cJSON *kept = layers ? cJSON_AddArrayToObject(root, "not_quantized") : NULL;
    for (size_t i = 0; kept && i < selection->kept_count; i++)
        if (!add_layer_left_float(kept, &selection->kept[i]))
            return false;
    return kept != NULL;
}

enum ldnq_status ldnq_dry_run_print(const struct ldnq_dry_run *run, struct ldnq_result *result,
                                    struct ldnq_error *err)
{
    const struct ldnq_model *model = run->loaded->model;
    const struct ldnq_memory_input input = {
        .graph = run->loaded->graph,
        .options = run->options,
        .model_bytes = ldnq_model_bytes(model),
        .mapped_bytes = ldnq_model_data_bytes(model),
        .samples = run->fitted,
    };
    struct ldnq_selection selection;
    struct ldnq_memory_need need = { .total = 0 };
    double seconds;
    LDNQ_TRY(
        ldnq_select_layers(run->loaded->graph, run->options, run->job->arena, &selection, err));
    if (run->fitted)
        LDNQ_TRY(ldnq_memory_need_predict(&input, run->job->arena, &need, err));
    LDNQ_TRY(predict_seconds(run, &selection, &seconds, err));
    cJSON *root = cJSON_CreateObject();
    const bool filled =
        root && cJSON_AddTrueToObject(root, "dry_run") &&
        ldnq_json_add_text(root, "model", ldnq_model_path(model)) &&
        ldnq_json_add_text(root, "target", run->target) && add_layers(root, run, &selection) &&
        ldnq_json_add_number(root, "samples",
                             run->fitted ? (double)ldnq_samples_count(run->fitted) : 0) &&
        ldnq_json_add_number(
            root, "held_out",
            run->options->held_out ? (double)ldnq_samples_count(run->options->held_out) : 0) &&
        ldnq_json_add_number(root, "bytes_before", (double)ldnq_model_bytes(model)) &&
        ldnq_json_add_number(root, "bytes_after", predict_file_bytes(run, &selection)) &&
        ldnq_json_add_number(root, "memory_bytes", run->fitted ? (double)need.total : NAN) &&
        ldnq_json_add_number(root, "seconds", seconds);
    return ldnq_result_print(result, root, filled, err);
}
