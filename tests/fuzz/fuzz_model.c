/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_model.c: a model is loaded, imported, run on small inputs, and saved; then the saved one
 * has to load. The whole input is the model. */
#include "fuzz.h"

#include "exec/exec.h"
#include "onnx/onnx.h"
#include "ops/op.h"
#include "passes/passes.h"

static enum ldnq_status run_graph(struct ldnq_graph *graph, struct ldnq_pool *pool,
                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_exec *exec;
    struct ldnq_tensor **inputs = fuzz_make_inputs(graph, arena);
    if (!inputs)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_exec_create(graph, pool, &exec, err));
    enum ldnq_status status = ldnq_exec_run(exec, inputs, err);
    for (size_t i = 0; status == LDNQ_OK && i < graph->output_count; i++) {
        const struct ldnq_tensor *output = ldnq_exec_find_value(exec, graph->outputs[i]);
        size_t count;
        FUZZ_CHECK(output, "output %zu was not computed", i);
        FUZZ_CHECK(ldnq_shape_count(&output->shape, &count), "output %zu has no shape", i);
    }
    ldnq_exec_destroy(exec);
    return status;
}

static enum ldnq_status import_and_run(const struct ldnq_model *model, bool with_passes,
                                       struct ldnq_pool *pool, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = ldnq_model_import(model, arena, &graph, err);
    if (status == LDNQ_OK)
        status = with_passes ? ldnq_passes_run(graph, err) : ldnq_ops_bind(graph, err);
    if (status == LDNQ_OK) {
        status = ldnq_graph_verify(graph, err);
        FUZZ_CHECK(status == LDNQ_OK || status == LDNQ_NOMEM, "%s", err->message);
    }
    if (status == LDNQ_OK)
        status = run_graph(graph, pool, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* What is written has to load, whatever else is wrong with it. */
static void save_and_load(const struct ldnq_model *model)
{
    struct ldnq_error err;
    struct ldnq_model *again;
    void *bytes;
    size_t size;
    if (ldnq_model_pack(model, &bytes, &size, &err) != LDNQ_OK)
        return;
    const enum ldnq_status status = ldnq_model_load_memory(bytes, size, "saved.onnx", &again, &err);
    FUZZ_CHECK(status == LDNQ_OK || status == LDNQ_NOMEM, "a saved model: %s", err.message);
    ldnq_model_destroy(again);
    ldnq_model_free_bytes(bytes);
}

static void inspect(const uint8_t *data, size_t size)
{
    struct ldnq_error err;
    static struct ldnq_options *options;
    struct ldnq_onnx *onnx;
    struct ldnq_result *result = NULL;
    if (!options && ldnq_options_create(&options, &err) == LDNQ_OK)
        ldnq_options_set(options, "threads", "1", &err);
    if (ldnq_onnx_from_bytes(data, size, "m.onnx", &onnx, &err) != LDNQ_OK)
        return;
    if (ldnq_inspect(onnx, options, &result, &err) == LDNQ_OK)
        fuzz_check_json(result);
    ldnq_result_destroy(result);
    ldnq_onnx_destroy(onnx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ldnq_error err;
    struct ldnq_model *model;
    static struct ldnq_pool *pool;
    fuzz_init();
    if (!pool && ldnq_pool_create(1, &pool, &err) != LDNQ_OK)
        return 0;
    if (ldnq_model_load_memory(data, size, "m.onnx", &model, &err) != LDNQ_OK)
        return 0;
    /* One of the two, as each takes as long as the other. */
    fuzz_report(import_and_run(model, size & 1, pool, &err), &err);
    save_and_load(model);
    ldnq_model_destroy(model);
    if ((size & 6) == 0)
        inspect(data, size);
    return 0;
}
