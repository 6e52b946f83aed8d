/* SPDX-License-Identifier: Apache-2.0 */
/* Which layers a target computes from codes and float activations. */
#include "graph_build.h"

#include "target/fused_product.h"

/* Whether ort has the kernel for this layer of 64 inputs. */
static bool has_product(const struct ldnq_value *y, size_t rows, unsigned bits)
{
    const struct ldnq_layer_geometry geometry = {
        .groups = 1, .rows = rows, .cols = 64, .kernel = 1, .layout = LDNQ_WEIGHT_IN_OUT
    };
    return ldnq_target_has_product(&ldnq_target_ort, y->producer, &geometry, bits);
}

static void rows_should_matter_with_2_bits_alone(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    const struct ldnq_value *y = NODE(graph, "MatMul", "y", build_input(graph, "x", SHAPE(3, 64)),
                                      build_weight(graph, "w", SHAPE(64, 8), 1));
    for (size_t rows = 1; rows <= 8; rows++) {
        assert_int_equal(has_product(y, rows, 2), rows % 4 == 0);
        assert_true(has_product(y, rows, 4));
        assert_true(has_product(y, rows, 8));
        assert_false(has_product(y, rows, 16));
    }
    const struct ldnq_layer_geometry left = { .rows = 8, .layout = LDNQ_WEIGHT_OUT_IN };
    assert_false(ldnq_target_has_product(&ldnq_target_ort, y->producer, &left, 4));
    assert_false(ldnq_target_has_product(&ldnq_target_weights, y->producer, &left, 4));
    build_free(graph);
}

static void gemm_should_be_a_product_with_a_bias_per_output(void **state)
{
    (void)state;
    const struct {
        struct ldnq_shape bias;
        bool transposes, fits;
    } table[] = { { SHAPE(8), false, true },
                  { SHAPE(1, 8), false, false },
                  { SHAPE(1), false, false },
                  { SHAPE(8), true, false } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ldnq_graph *graph = build_graph();
        struct ldnq_value *y = NODE(graph, "Gemm", "y", build_input(graph, "x", SHAPE(3, 64)),
                                    build_weight(graph, "w", SHAPE(64, 8), 1),
                                    build_weight(graph, "b", table[i].bias, 1));
        if (table[i].transposes)
            build_attr(y, "transA", 1);
        assert_int_equal(has_product(y, 8, 4), table[i].fits);
        build_free(graph);
    }
}

static void other_operators_should_have_no_such_kernel(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    const struct ldnq_value *y =
        NODE(graph, "Conv", "y", build_input(graph, "x", SHAPE(1, 64, 5, 5)),
             build_weight(graph, "w", SHAPE(8, 64, 1, 1), 1));
    assert_false(has_product(y, 8, 4));
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_should_matter_with_2_bits_alone),
        cmocka_unit_test(gemm_should_be_a_product_with_a_bias_per_output),
        cmocka_unit_test(other_operators_should_have_no_such_kernel),
    };
    return cmocka_run_group_tests_name("fused_product", tests, NULL, NULL);
}
