/* SPDX-License-Identifier: Apache-2.0 */
/* What is written: the type of the codes, the opset, and nothing that was there
 * lost or taken twice. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "emit/emit.h"
#include "ops/op.h"
#include "passes/passes.h"

static struct ldnq_error err;

static struct ldnq_model *load(const char *name)
{
    struct ldnq_model *model;
    char path[4096];
    const char *folder = getenv("LDNQ_TESTDATA");
    snprintf(path, sizeof path, "%s/digits/%s", folder ? folder : "testdata", name);
    assert_ok(ldnq_model_load(path, &model, &err));
    return model;
}

struct expectation {
    const char *model, *codebook;
    enum ldnq_storage storage;
    int opset;
    enum ldnq_dtype dtype;
    int result;
};

static struct ldnq_emit_options make_options(const char *codebook, enum ldnq_storage storage,
                                             int opset)
{
    return (struct ldnq_emit_options){ .widest = ldnq_codebook_find(codebook),
                                       .narrowest = ldnq_codebook_find(codebook),
                                       .granularity = LDNQ_PER_CHANNEL,
                                       .target = &ldnq_target_weights,
                                       .code_bits = ldnq_target_weights.weight_bits,
                                       .storage = storage,
                                       .opset = opset };
}

static void prepare_should_choose_the_narrowest_type(void **state)
{
    (void)state;
    static const struct expectation table[] = {
        { "digits-ts.onnx", "ternary", LDNQ_STORAGE_AUTO, 0, LDNQ_INT2, 25 },
        { "digits-ts.onnx", "int3", LDNQ_STORAGE_AUTO, 0, LDNQ_INT4, 21 },
        { "digits-ts.onnx", "pot9", LDNQ_STORAGE_AUTO, 0, LDNQ_INT8, 13 },
        { "digits-ts.onnx", "ternary", LDNQ_STORAGE_AUTO, 13, LDNQ_INT8, 13 },
        { "digits-ts.onnx", "ternary", LDNQ_STORAGE_AUTO, 20, LDNQ_INT8, 20 },
        { "digits-ts.onnx", "ternary", LDNQ_STORAGE_AUTO, 21, LDNQ_INT4, 21 },
        { "digits-ts.onnx", "ternary", LDNQ_STORAGE_AUTO, 25, LDNQ_INT2, 25 },
        { "digits-ts.onnx", "pot7", LDNQ_STORAGE_AUTO, 25, LDNQ_INT4, 25 },
        { "digits-ts.onnx", "pot9", LDNQ_STORAGE_AUTO, 25, LDNQ_INT8, 25 },
        { "digits-ts.onnx", "ternary", LDNQ_STORAGE_INT8, 0, LDNQ_INT8, 13 },
        { "digits-ts.onnx", "int3", LDNQ_STORAGE_INT4, 0, LDNQ_INT4, 21 },
        { "digits-dynamo.onnx", "int2", LDNQ_STORAGE_INT2, 0, LDNQ_INT2, 25 },
        { "digits-dynamo.onnx", "int4", LDNQ_STORAGE_AUTO, 0, LDNQ_INT4, 21 },
        { "digits-dynamo.onnx", "int4", LDNQ_STORAGE_INT4, 13, LDNQ_INT4, 21 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ldnq_model *model = load(table[i].model);
        const struct ldnq_emit_options options =
            make_options(table[i].codebook, table[i].storage, table[i].opset);
        struct ldnq_emit_choice choice;
        assert_ok(ldnq_emit_prepare(model, &options, &choice, &err));
        assert_int_equal(choice.dtype, table[i].dtype);
        assert_int_equal(choice.opset, table[i].result);
        assert_int_equal(ldnq_model_opset(model), table[i].result);
        assert_int_equal(choice.obstacle.status, LDNQ_OK);
        ldnq_model_destroy(model);
    }
}

static void prepare_should_raise_the_opset_for_the_narrowest_codebook(void **state)
{
    (void)state;
    struct ldnq_model *model = load("digits-ts.onnx");
    struct ldnq_emit_options options = make_options("int8", LDNQ_STORAGE_AUTO, 0);
    struct ldnq_emit_choice choice;
    options.narrowest = ldnq_codebook_find("ternary");
    assert_ok(ldnq_emit_prepare(model, &options, &choice, &err));
    assert_int_equal(choice.opset, 25);
    assert_int_equal(ldnq_emit_dtype(&choice, options.widest), LDNQ_INT8);
    assert_int_equal(ldnq_emit_dtype(&choice, options.narrowest), LDNQ_INT2);
    assert_int_equal(ldnq_emit_least_bits(&choice), 2);
    ldnq_model_destroy(model);
}

static void prepare_should_choose_only_types_that_the_target_has(void **state)
{
    (void)state;
    static const struct {
        unsigned code_bits;
        enum ldnq_dtype dtype;
        int opset;
    } table[] = { { 1u << 8, LDNQ_INT8, 13 }, { 1u << 8 | 1u << 4, LDNQ_INT4, 21 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ldnq_model *model = load("digits-ts.onnx");
        struct ldnq_emit_options options = make_options("ternary", LDNQ_STORAGE_AUTO, 0);
        struct ldnq_emit_choice choice;
        int opset;
        options.code_bits = table[i].code_bits;
        assert_ok(ldnq_emit_prepare(model, &options, &choice, &err));
        assert_int_equal(choice.dtype, table[i].dtype);
        assert_int_equal(choice.opset, table[i].opset);
        assert_int_equal(ldnq_emit_narrowest_dtype(&choice, options.widest, &opset),
                         table[i].dtype);
        ldnq_model_destroy(model);
    }
}

static void prepare_should_keep_the_opset_or_say_why_not(void **state)
{
    (void)state;
    struct ldnq_model *model = load("digits-ts.onnx");
    struct ldnq_emit_options options = make_options("int4", LDNQ_STORAGE_AUTO, 0);
    struct ldnq_emit_choice choice;
    int opset;
    options.keeps_opset = true;
    assert_ok(ldnq_emit_prepare(model, &options, &choice, &err));
    assert_int_equal(choice.dtype, LDNQ_INT8);
    assert_int_equal(choice.opset, 13);
    assert_int_equal(ldnq_emit_narrowest_dtype(&choice, options.widest, &opset), LDNQ_INT4);
    assert_int_equal(opset, 21);

    options.granularity = LDNQ_PER_BLOCK;
    assert_fails(ldnq_emit_prepare(model, &options, &choice, &err), LDNQ_USAGE,
                 "a scale per block needs opset 21, and the model's opset 13 is to be kept; "
                 "choose granularity channel");
    options.granularity = LDNQ_PER_CHANNEL;
    options.storage = LDNQ_STORAGE_INT4;
    assert_fails(ldnq_emit_prepare(model, &options, &choice, &err), LDNQ_USAGE,
                 "codes in int4 need opset 21, and the model's opset 13 is to be kept");
    options.storage = LDNQ_STORAGE_AUTO;
    options.target = &ldnq_target_ort;
    options.least_opset = 21;
    assert_fails(ldnq_emit_prepare(model, &options, &choice, &err), LDNQ_USAGE,
                 "target 'ort' needs opset 21, and the model's opset 13 is to be kept");
    assert_int_equal(ldnq_model_opset(model), 13);
    ldnq_model_destroy(model);
}

static void prepare_should_refuse_codes_that_do_not_fit(void **state)
{
    (void)state;
    struct ldnq_model *model = load("digits-ts.onnx");
    const struct ldnq_emit_options options = make_options("pot9", LDNQ_STORAGE_INT4, 0);
    struct ldnq_emit_choice choice;
    assert_fails(ldnq_emit_prepare(model, &options, &choice, &err), LDNQ_USAGE,
                 "codes of 'pot9' do not fit int4");
    assert_int_equal(ldnq_model_opset(model), 13);
    ldnq_model_destroy(model);
}

/* ---- emit ------------------------------------------------------------------------------- */

struct written {
    struct ldnq_model *model;
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
};

/* The only layer asked for, with codes made by rounding: no samples are needed to
 * see what is written. */
static struct ldnq_quantized_network *round_layer(struct written *w, const char *label)
{
    struct ldnq_layer *layers;
    size_t count, at = 0;
    assert_ok(ldnq_layers_list(w->graph, w->arena, &layers, &count, &err));
    while (at < count && strcmp(layers[at].node->label, label) != 0)
        at++;
    assert_true(at < count);
    struct ldnq_layer *layer = &layers[at];
    size_t rows = ldnq_layer_rows(layer);
    struct ldnq_quantized_network *q = ldnq_arena_alloc(w->arena, 1, sizeof *q, &err);
    *q = (struct ldnq_quantized_network){ .count = 1 };
    q->layers = ldnq_arena_alloc(w->arena, 1, sizeof *q->layers, &err);
    int8_t *codes = ldnq_arena_alloc(w->arena, rows * layer->geometry.cols, 1, &err);
    float *scales = ldnq_arena_alloc(w->arena, rows, sizeof *scales, &err);
    for (size_t i = 0; i < rows * layer->geometry.cols; i++)
        codes[i] = (int8_t)(i % 7) - 3;
    for (size_t i = 0; i < rows; i++)
        scales[i] = 0.5f + (float)i;
    q->layers[0] = (struct ldnq_quantized_layer){ .layer = *layer,
                                                  .codes = codes,
                                                  .scales = scales,
                                                  .granularity = LDNQ_PER_CHANNEL,
                                                  .codebook = ldnq_codebook_find("int8"),
                                                  .error = 0.25 };
    return q;
}

/* Twice, so that every wanted name is taken the second time. */
static void emit_should_take_no_name_twice(void **state)
{
    (void)state;
    static const char *const labels[] = { "/res1/res1.0/Conv", "/res2/res2.0/Conv" };
    struct written w = { .model = load("digits-ts.onnx") };
    for (size_t i = 0; i < 2; i++) {
        struct ldnq_emit_choice choice = { .dtype = LDNQ_INT8, .opset = 13 };
        assert_ok(ldnq_arena_create(&w.arena, &err));
        assert_ok(ldnq_model_import(w.model, w.arena, &w.graph, &err));
        assert_ok(ldnq_passes_run(w.graph, &err));
        struct ldnq_quantized_network *q = round_layer(&w, labels[i]);
        q->layers[0].layer.weight_name = "same";
        assert_ok(ldnq_emit(w.model, q, &choice, &err));
        ldnq_arena_destroy(w.arena);
    }
    assert_ok(ldnq_arena_create(&w.arena, &err));
    assert_ok(ldnq_model_import(w.model, w.arena, &w.graph, &err));
    assert_non_null(ldnq_graph_find_value(w.graph, "same_quantized"));
    assert_non_null(ldnq_graph_find_value(w.graph, "same_quantized_1"));
    assert_ok(ldnq_passes_run(w.graph, &err));
    ldnq_arena_destroy(w.arena);
    ldnq_model_destroy(w.model);
}

static void emit_should_write_what_the_layer_then_computes_with(void **state)
{
    (void)state;
    struct written w = { .model = load("digits-ts.onnx") };
    struct ldnq_emit_choice choice = { .dtype = LDNQ_INT8, .opset = 13 };
    assert_ok(ldnq_arena_create(&w.arena, &err));
    assert_ok(ldnq_model_import(w.model, w.arena, &w.graph, &err));
    assert_ok(ldnq_passes_run(w.graph, &err));
    struct ldnq_quantized_network *q = round_layer(&w, "/classifier/Gemm");
    assert_ok(ldnq_emit(w.model, q, &choice, &err));
    assert_string_equal(ldnq_model_metadata(w.model, "ldnq.layer./classifier/Gemm"),
                        "codebook=int8 storage=int8 scale=0.5..9.5 error=0.25");

    struct ldnq_graph *again;
    assert_ok(ldnq_model_import(w.model, w.arena, &again, &err));
    assert_null(ldnq_graph_find_value(again, "classifier.weight"));
    assert_ok(ldnq_passes_run(again, &err));
    const struct ldnq_node *gemm = ldnq_graph_find_node(again, "/classifier/Gemm");
    const struct ldnq_tensor *weight = gemm->inputs[1]->constant;
    assert_non_null(weight);
    for (size_t i = 0; i < ldnq_tensor_count(weight); i++)
        assert_true(((float *)weight->data)[i] ==
                    q->layers[0].scales[i / 64] * (float)q->layers[0].codes[i]);
    ldnq_arena_destroy(w.arena);
    ldnq_model_destroy(w.model);
}

/* The Gemm of the model has transB: the target reads its weight with the axes swapped. */
static void emit_should_swap_the_axes_for_a_target_with_such_a_kernel(void **state)
{
    (void)state;
    struct written w = { .model = load("digits-ts.onnx") };
    const struct ldnq_emit_choice choice = { .target = &ldnq_target_ort,
                                             .dtype = LDNQ_INT8,
                                             .opset = 13 };
    assert_ok(ldnq_arena_create(&w.arena, &err));
    assert_ok(ldnq_model_import(w.model, w.arena, &w.graph, &err));
    assert_ok(ldnq_passes_run(w.graph, &err));
    struct ldnq_quantized_network *q = round_layer(&w, "/classifier/Gemm");
    assert_ok(ldnq_emit(w.model, q, &choice, &err));

    struct ldnq_graph *again;
    assert_ok(ldnq_model_import(w.model, w.arena, &again, &err));
    assert_ok(ldnq_passes_run(again, &err));
    const struct ldnq_node *gemm = ldnq_graph_find_node(again, "/classifier/Gemm");
    const struct ldnq_tensor *weight = gemm->inputs[1]->constant;
    const size_t rows = q->layers[0].layer.geometry.rows, cols = q->layers[0].layer.geometry.cols;
    assert_int_equal(ldnq_attr_int(gemm, "transB", 1), 0);
    assert_int_equal(weight->shape.dim[0], cols);
    for (size_t row = 0; row < rows; row++)
        for (size_t col = 0; col < cols; col++)
            assert_true(((float *)weight->data)[col * rows + row] ==
                        q->layers[0].scales[row] * (float)q->layers[0].codes[row * cols + col]);
    ldnq_arena_destroy(w.arena);
    ldnq_model_destroy(w.model);
}

static void fail_each_allocation(const struct ldnq_emit_choice *choice)
{
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 10000; allowed++) {
        struct written w = { .model = load("digits-ts.onnx") };
        assert_ok(ldnq_arena_create(&w.arena, &err));
        assert_ok(ldnq_model_import(w.model, w.arena, &w.graph, &err));
        assert_ok(ldnq_passes_run(w.graph, &err));
        struct ldnq_quantized_network *network = round_layer(&w, "/classifier/Gemm");
        ldnq_alloc_fail_after(allowed);
        status = ldnq_emit(w.model, network, choice, &err);
        ldnq_alloc_fail_after(-1);
        ldnq_arena_destroy(w.arena);
        ldnq_model_destroy(w.model);
    }
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 2);
}

static void emit_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    const struct ldnq_emit_choice choices[] = {
        { .dtype = LDNQ_INT8, .opset = 13 },
        { .target = &ldnq_target_ort, .dtype = LDNQ_INT8, .opset = 13 },
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        fail_each_allocation(&choices[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepare_should_choose_the_narrowest_type),
        cmocka_unit_test(prepare_should_raise_the_opset_for_the_narrowest_codebook),
        cmocka_unit_test(prepare_should_choose_only_types_that_the_target_has),
        cmocka_unit_test(prepare_should_keep_the_opset_or_say_why_not),
        cmocka_unit_test(prepare_should_refuse_codes_that_do_not_fit),
        cmocka_unit_test(emit_should_take_no_name_twice),
        cmocka_unit_test(emit_should_write_what_the_layer_then_computes_with),
        cmocka_unit_test(emit_should_swap_the_axes_for_a_target_with_such_a_kernel),
        cmocka_unit_test(emit_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("emit", tests, NULL, NULL);
}
