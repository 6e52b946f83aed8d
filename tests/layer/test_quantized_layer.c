/* SPDX-License-Identifier: Apache-2.0 */
/* Codes and scales in matrix order, and the node that computes with them. */
#include "layer/layer_kinds.h"
#include "with_blas.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "layer/quantized_layer.h"

#define MOST_ELEMENTS 256

/* A layer with memory for its codes and scales, which are random. */
struct quantized_memory {
    struct ldnq_graph *graph;
    struct ldnq_quantized_layer quantized;
    int8_t codes[MOST_ELEMENTS];
    float scales[MOST_ELEMENTS];
};

static void init_quantized(struct quantized_memory *memory, const struct layer_kind *kind,
                           size_t block_size)
{
    struct ldnq_rng rng = { 5 };
    *memory = (struct quantized_memory){ .graph = build_layer_graph(kind) };
    struct ldnq_quantized_layer *quantized = &memory->quantized;
    quantized->layer = list_only_layer(memory->graph);
    quantized->codes = memory->codes;
    quantized->scales = memory->scales;
    assert_true(ldnq_layer_elements(&quantized->layer) <= MOST_ELEMENTS);
    if (block_size)
        assert_ok(ldnq_quantized_set_blocks(quantized, block_size, memory->graph->arena, &err));
    for (size_t i = 0; i < MOST_ELEMENTS; i++) {
        memory->codes[i] = (int8_t)((int)ldnq_rng_below(&rng, 255) - 127);
        memory->scales[i] = (float)(0.01 + ldnq_rng_uniform(&rng));
    }
}

/* ---- the weight ------------------------------------------------------------------------- */

static void applied_layers_should_compute_with_codes_times_scales(void **state)
{
    (void)state;
    for (size_t i = 0; i < LAYER_KINDS; i++) {
        const struct layer_kind *kind = &layer_kinds[i];
        struct quantized_memory memory;
        init_quantized(&memory, kind, 0);
        struct ldnq_quantized_layer *quantized = &memory.quantized;
        assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));

        struct ldnq_graph *graph = build_layer_graph(kind);
        float *weight =
            ((struct ldnq_tensor *)(uintptr_t)graph->nodes[0]->inputs[1]->constant)->data;
        for (size_t row = 0; row < kind->groups * kind->rows; row++)
            for (size_t col = 0; col < kind->cols; col++)
                weight[find_weight_element(kind, row, col)] =
                    memory.scales[row] * (float)memory.codes[row * kind->cols + col];
        struct ldnq_tensor *x = build_tensor(graph->arena, shape_of_sizes(kind->input), 6);
        assert_same_bits(build_run(memory.graph, x), build_run(graph, x));
        build_free(graph);
        build_free(memory.graph);
    }
}

static void a_layer_that_is_applied_again_should_keep_its_tensor(void **state)
{
    (void)state;
    struct quantized_memory memory;
    init_quantized(&memory, &layer_kinds[0], 0);
    struct ldnq_quantized_layer *quantized = &memory.quantized;
    const struct ldnq_tensor *original = quantized->layer.weight;
    assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));
    const struct ldnq_tensor *first = quantized->weight;
    memory.codes[0] = 7;
    assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));
    assert_ptr_equal(quantized->weight, first);
    assert_ptr_equal(memory.graph->nodes[0]->inputs[1]->constant, first);
    assert_true(((const float *)first->data)[0] == memory.scales[0] * 7.0f);
    assert_ptr_equal(quantized->layer.weight, original);
    assert_ptr_not_equal(first, original);
    build_free(memory.graph);
}

/* ---- blocks ----------------------------------------------------------------------------- */

/* Conv with 3 input channels of 6 elements: blocks of 2 channels, the second one shorter. */
static void blocks_should_have_a_scale_per_element_of_the_kernel(void **state)
{
    (void)state;
    const struct layer_kind *kind = &layer_kinds[0];
    struct quantized_memory memory;
    init_quantized(&memory, kind, 2);
    const struct ldnq_quantized_layer *quantized = &memory.quantized;
    assert_int_equal(quantized->block_size, 2);
    assert_int_equal(ldnq_quantized_scales_per_row(quantized), 2 * 6);
    for (size_t row = 0; row < kind->rows; row++)
        for (size_t col = 0; col < kind->cols; col++)
            assert_int_equal(ldnq_quantized_scale_index(quantized, row, col),
                             row * 12 + col / 6 / 2 * 6 + col % 6);
    build_free(memory.graph);
}

static void weights_should_be_written_with_the_scales_of_their_blocks(void **state)
{
    (void)state;
    for (size_t i = 0; i < LAYER_KINDS; i++) {
        const struct layer_kind *kind = &layer_kinds[i];
        struct quantized_memory memory;
        float weight[MOST_ELEMENTS];
        init_quantized(&memory, kind, 2);
        const struct ldnq_quantized_layer *quantized = &memory.quantized;
        ldnq_quantized_write_weight(quantized, memory.codes, memory.scales, weight);
        for (size_t row = 0; row < kind->groups * kind->rows; row++)
            for (size_t col = 0; col < kind->cols; col++)
                assert_true(weight[find_weight_element(kind, row, col)] ==
                            memory.scales[ldnq_quantized_scale_index(quantized, row, col)] *
                                (float)memory.codes[row * kind->cols + col]);
        build_free(memory.graph);
    }
}

static void layers_with_one_block_per_row_should_keep_one_scale_per_row(void **state)
{
    (void)state;
    const struct layer_kind *matmul = &layer_kinds[9]; /* 5 input channels */
    for (size_t block_size = 4; block_size <= 8; block_size++) {
        struct quantized_memory memory;
        init_quantized(&memory, matmul, block_size);
        const bool has_blocks = block_size < 5;
        assert_int_equal(memory.quantized.block_index != NULL, has_blocks);
        assert_int_equal(ldnq_quantized_scales_per_row(&memory.quantized), has_blocks ? 2 : 1);
        build_free(memory.graph);
    }
}

static void the_range_of_scales_should_cover_all_blocks(void **state)
{
    (void)state;
    struct quantized_memory memory;
    float low, high;
    init_quantized(&memory, &layer_kinds[9], 2); /* 3 rows of 3 blocks */
    memory.scales[2] = 9;
    memory.scales[8] = 0.001f;
    memory.scales[9] = 1000; /* of no row */
    ldnq_quantized_scale_range(&memory.quantized, &low, &high);
    assert_true(low == 0.001f && high == 9);
    build_free(memory.graph);
}

/* ---- the bias --------------------------------------------------------------------------- */

/* A fitted bias of 4 rows: two halves to round, one beyond 32 bits at the scale of its row, and one
 * of a row without weights. */
static void fit_bias(struct quantized_memory *memory)
{
    const float input_scale = 0.5f;
    struct ldnq_quantized_layer *quantized = &memory->quantized;
    quantized->bias = build_tensor(memory->graph->arena, SHAPE(4), 9);
    float *bias = quantized->bias->data;
    for (size_t row = 0; row < 4; row++)
        memory->scales[row] = 0.25f;
    for (size_t i = 3 * 18; i < 4 * 18; i++)
        memory->codes[i] = 0;
    quantized->input_scale = input_scale;
    quantized->granularity = LDNQ_PER_CHANNEL;
    quantized->codebook = ldnq_codebook_find("int8");
    bias[0] = 0.125f * 2.5f;
    bias[1] = 0.125f * -3.5f;
    bias[2] = -3e10f;
    bias[3] = 1.7f;
}

static void a_bias_for_integer_kernels_should_be_codes_of_the_products_scale(void **state)
{
    (void)state;
    static const int32_t expected[] = { 2, -4 };
    struct quantized_memory memory;
    init_quantized(&memory, &layer_kinds[0], 0);
    fit_bias(&memory);
    struct ldnq_quantized_layer *quantized = &memory.quantized;
    assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));
    const struct ldnq_tensor *codes = quantized->bias_codes;
    assert_non_null(codes);
    assert_int_equal(codes->dtype, LDNQ_INT32);
    for (size_t row = 0; row < 2; row++) {
        assert_int_equal(((const int32_t *)codes->data)[row], expected[row]);
        assert_true(((const float *)quantized->bias->data)[row] == (float)expected[row] * 0.125f);
        assert_true(quantized->scales[row] == 0.25f);
    }
    assert_ptr_equal(memory.graph->nodes[0]->inputs[2]->constant, quantized->bias);
    build_free(memory.graph);
}

/* Twice: what was widened fits. */
static void scales_should_grow_until_their_bias_fits_32_bits(void **state)
{
    (void)state;
    struct quantized_memory memory;
    init_quantized(&memory, &layer_kinds[0], 0);
    fit_bias(&memory);
    struct ldnq_quantized_layer *quantized = &memory.quantized;
    const int8_t code = memory.codes[2 * 18];
    for (int i = 0; i < 2; i++)
        assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));
    const int32_t *codes = quantized->bias_codes->data;
    const float *bias = quantized->bias->data;
    assert_within(bias[2], -3e10f, 1e4f);
    assert_true(abs(codes[2]) <= 1 << 30 && abs(codes[2]) > 1 << 29);
    assert_true(quantized->scales[2] > 50.0f);
    assert_within((float)memory.codes[2 * 18] * quantized->scales[2], (float)code * 0.25f,
                  quantized->scales[2] / 2);
    /* The step of a row without weights is far below its bias. */
    assert_within(bias[3], 1.7f, 1e-6f);
    build_free(memory.graph);
}

static void one_scale_should_grow_for_all_rows(void **state)
{
    (void)state;
    for (int power_of_two = 0; power_of_two < 2; power_of_two++) {
        struct quantized_memory memory;
        init_quantized(&memory, &layer_kinds[0], 0);
        fit_bias(&memory);
        struct ldnq_quantized_layer *quantized = &memory.quantized;
        quantized->granularity = LDNQ_PER_TENSOR;
        quantized->scale_format = power_of_two ? &ldnq_power_of_two_scales : NULL;
        assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));
        for (size_t row = 1; row < 4; row++)
            assert_true(quantized->scales[row] == quantized->scales[0]);
        int exponent;
        assert_true(!power_of_two || frexpf(quantized->scales[0], &exponent) == 0.5f);
        assert_within(((const float *)quantized->bias->data)[2], -3e10f, 1e4f);
        build_free(memory.graph);
    }
}

static void a_bias_should_stay_float_with_blocks_or_without_a_scale_of_the_input(void **state)
{
    (void)state;
    for (int with_blocks = 0; with_blocks < 2; with_blocks++) {
        struct quantized_memory memory;
        init_quantized(&memory, &layer_kinds[0], with_blocks ? 2 : 0);
        fit_bias(&memory);
        struct ldnq_quantized_layer *quantized = &memory.quantized;
        if (!with_blocks)
            quantized->input_scale = 0;
        assert_ok(ldnq_quantized_layer_apply(quantized, memory.graph->arena, &err));
        assert_null(quantized->bias_codes);
        assert_true(((const float *)quantized->bias->data)[0] == 0.125f * 2.5f);
        assert_ptr_equal(memory.graph->nodes[0]->inputs[2]->constant, quantized->bias);
        build_free(memory.graph);
    }
}

/* ---- the network ------------------------------------------------------------------------ */

static void a_common_codebook_should_be_that_of_all_layers(void **state)
{
    (void)state;
    const struct ldnq_codebook *int4 = ldnq_codebook_find("int4"),
                               *int8 = ldnq_codebook_find("int8");
    struct ldnq_quantized_layer layers[] = { { .codebook = int4 }, { .codebook = int4 } };
    struct ldnq_quantized_network network = { .layers = layers, .count = 2 };
    assert_ptr_equal(ldnq_find_common_codebook(&network), int4);
    layers[1].codebook = int8;
    assert_null(ldnq_find_common_codebook(&network));
    network.count = 0;
    assert_null(ldnq_find_common_codebook(&network));
}

static void failed_allocations_should_leave_the_node_as_it_was(void **state)
{
    (void)state;
    struct quantized_memory memory;
    init_quantized(&memory, &layer_kinds[0], 0);
    const struct ldnq_tensor *before = memory.graph->nodes[0]->inputs[1]->constant;
    struct ldnq_arena *arena;
    assert_ok(ldnq_arena_create(&arena, &err));
    ldnq_alloc_fail_after(0);
    const enum ldnq_status status = ldnq_quantized_layer_apply(&memory.quantized, arena, &err);
    ldnq_alloc_fail_after(-1);
    assert_int_equal(status, LDNQ_NOMEM);
    assert_ptr_equal(memory.graph->nodes[0]->inputs[1]->constant, before);
    ldnq_arena_destroy(arena);
    build_free(memory.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(applied_layers_should_compute_with_codes_times_scales),
        cmocka_unit_test(a_layer_that_is_applied_again_should_keep_its_tensor),
        cmocka_unit_test(blocks_should_have_a_scale_per_element_of_the_kernel),
        cmocka_unit_test(weights_should_be_written_with_the_scales_of_their_blocks),
        cmocka_unit_test(layers_with_one_block_per_row_should_keep_one_scale_per_row),
        cmocka_unit_test(the_range_of_scales_should_cover_all_blocks),
        cmocka_unit_test(a_bias_for_integer_kernels_should_be_codes_of_the_products_scale),
        cmocka_unit_test(scales_should_grow_until_their_bias_fits_32_bits),
        cmocka_unit_test(one_scale_should_grow_for_all_rows),
        cmocka_unit_test(a_bias_should_stay_float_with_blocks_or_without_a_scale_of_the_input),
        cmocka_unit_test(a_common_codebook_should_be_that_of_all_layers),
        cmocka_unit_test(failed_allocations_should_leave_the_node_as_it_was),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
