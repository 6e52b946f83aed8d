/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_quantize.c: a model is quantized on random samples; what is written has to load, and lint
 * has to understand it.
 *
 * Input  target, codebook and activations (1 byte), the model
 */
#include "fuzz.h"

#include "onnx/onnx.h"

static void set_options(struct ldnq_options *options, unsigned choice)
{
    static const char *const targets[] = { "weights", "ort",    "openvino", "tensorrt",
                                           "qnn",     "tflite", "pow2",     "ort" };
    static const char *const weights[] = { "int8", "int4", "ternary", "int2" };
    struct ldnq_error err;
    ldnq_options_set(options, "target", targets[choice & 7], &err);
    ldnq_options_set(options, "weights", weights[choice >> 3 & 3], &err);
    ldnq_options_set(options, "solver", choice & 32 ? "gptq" : "rtn", &err);
    ldnq_options_set(options, "granularity", choice & 64 ? "tensor" : "auto", &err);
    ldnq_options_set(options, "activations", choice & 128 ? "none" : "auto", &err);
    ldnq_options_set(options, "estimate", "0", &err);
    ldnq_options_set(options, "threads", "1", &err);
}

/* Errors of memory are none of the model's. */
static bool is_accepted(enum ldnq_status status)
{
    return status == LDNQ_OK || status == LDNQ_NOMEM;
}

static void check_written_model(const struct ldnq_result *result,
                                const struct ldnq_options *options)
{
    struct ldnq_error err;
    struct ldnq_onnx *onnx;
    struct ldnq_model *model;
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    struct ldnq_result *found;
    size_t size;
    const void *bytes = ldnq_result_bytes(result, "model", &size);
    FUZZ_CHECK(bytes, "there is no model");
    enum ldnq_status status = ldnq_model_load_memory(bytes, size, "written.onnx", &model, &err);
    FUZZ_CHECK(is_accepted(status), "what was written does not load: %s", err.message);
    if (model && ldnq_arena_create(&arena, &err) == LDNQ_OK) {
        status = ldnq_model_import(model, arena, &graph, &err);
        FUZZ_CHECK(is_accepted(status), "what was written is not valid: %s", err.message);
        ldnq_arena_destroy(arena);
    }
    ldnq_model_destroy(model);
    if (ldnq_onnx_from_bytes(bytes, size, "written.onnx", &onnx, &err) != LDNQ_OK)
        return;
    if (ldnq_lint(onnx, options, &found, &err) == LDNQ_OK)
        fuzz_check_json(found);
    ldnq_result_destroy(found);
    ldnq_onnx_destroy(onnx);
}

static void quantize(const uint8_t *data, size_t size, const struct ldnq_options *options)
{
    struct ldnq_error err;
    struct ldnq_arena *arena;
    struct ldnq_onnx *onnx;
    struct ldnq_result *result;
    if (ldnq_arena_create(&arena, &err) != LDNQ_OK)
        return;
    struct ldnq_dataset *dataset = fuzz_make_dataset(data, size, 6, arena);
    if (dataset && ldnq_onnx_from_bytes(data, size, "m.onnx", &onnx, &err) == LDNQ_OK) {
        const enum ldnq_status status = ldnq_quantize(onnx, dataset, options, &result, &err);
        fuzz_report(status, &err);
        if (status == LDNQ_OK) {
            fuzz_check_json(result);
            check_written_model(result, options);
        }
        ldnq_result_destroy(result);
        ldnq_onnx_destroy(onnx);
    }
    ldnq_dataset_destroy(dataset);
    ldnq_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ldnq_error err;
    struct ldnq_options *options;
    fuzz_init();
    if (size < 1 || ldnq_options_create(&options, &err) != LDNQ_OK)
        return 0;
    set_options(options, data[0]);
    quantize(data + 1, size - 1, options);
    ldnq_options_destroy(options);
    return 0;
}
