/* SPDX-License-Identifier: Apache-2.0 */
#include "large_conv_cases.h"

/* For float sums of C*KH*KW products of numbers below 1. */
static double tolerance_of(const struct conv_case *conv)
{
    return 1e-6 + 2e-7 * (double)(conv->c * conv->kernel[0] * conv->kernel[1]);
}

static size_t output_count(const struct conv_case *conv)
{
    return (size_t)(conv->n * conv->groups * conv->m * conv->out[0] * conv->out[1]);
}

static double clamped(double value, const struct ldnq_clamp *clamp)
{
    if (value < (double)clamp->low)
        return (double)clamp->low;
    return value > (double)clamp->high ? (double)clamp->high : value;
}

static void check_shape(const struct conv_case *conv, const struct use *use)
{
    struct ldnq_shape wanted = { (int)conv->axes + 2, { conv->n, conv->groups * conv->m } };
    for (size_t i = 2 - conv->axes; i < 2; i++)
        wanted.dim[conv->axes + i] = conv->out[i];
    assert_int_equal(use->out.dtype, LDNQ_FLOAT);
    assert_true(ldnq_shapes_are_equal(&use->out.shape, &wanted));
}

/* W times the columns, plus the bias, is the convolution with its positions
 * counted over all images. */
static void check_layer(const struct conv_case *conv, struct use *use, const double *y)
{
    struct ldnq_layer_geometry geometry;
    size_t positions, plane = (size_t)(conv->out[0] * conv->out[1]);
    double *product = use_layer_product(use, &geometry, &positions);
    assert_int_equal(positions, (size_t)conv->n * plane);
    assert_int_equal(geometry.groups, conv->groups);
    assert_int_equal(geometry.rows, conv->m);
    assert_int_equal(geometry.cols, conv->c * conv->kernel[0] * conv->kernel[1]);
    size_t outputs = geometry.groups * geometry.rows;
    for (size_t m = 0; m < outputs; m++)
        for (size_t p = 0; p < positions; p++) {
            size_t at = (p / plane * outputs + m) * plane + p % plane;
            assert_true(fabs(product[m * positions + p] - y[at]) < 1e-9);
        }
    free(product);
}

/* A case against the reference: as it is, clamped, and as a layer. */
static void check_case(struct conv_case conv, struct ldnq_rng *rng)
{
    static const struct ldnq_clamp clamps[] = { { 0, INFINITY }, { -0.25f, 0.5f } };
    struct use use;
    assert_true(conv_case_finish(&conv));
    conv_case_use(&conv, &use, rng);
    assert_ok(use_infer_shape(&use));
    check_shape(&conv, &use);
    double *y = conv_reference(&conv, &use);
    use_forward_on_threads(&use, NULL);
    assert_near(use.out.data, y, output_count(&conv), tolerance_of(&conv));
    check_layer(&conv, &use, y);
    const struct ldnq_clamp *clamp = &clamps[ldnq_rng_below(rng, 2)];
    for (size_t i = 0; i < output_count(&conv); i++)
        y[i] = clamped(y[i], clamp);
    use_forward_on_threads(&use, clamp);
    assert_near(use.out.data, y, output_count(&conv), tolerance_of(&conv));
    free(y);
    use_finish(&use);
}

static void conv_should_equal_the_reference_for_any_geometry(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 21 };
    for (int round = 0; round < 400; round++) {
        struct conv_case conv = conv_case_random(&rng, 4);
        if (conv_case_finish(&conv))
            check_case(conv, &rng);
    }
}

/* One channel per group, with 1 to 6 outputs: with more than 4, another implementation runs. */
static void depthwise_should_equal_the_reference_with_any_multiplier(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 22 };
    for (int round = 0; round < 200; round++) {
        struct conv_case conv = conv_case_random(&rng, 4);
        conv.groups = 2 + from_1_to(&rng, 4);
        conv.c = 1;
        if (conv_case_finish(&conv))
            check_case(conv, &rng);
    }
}

/* Kernels of one tap, with and without strides and pads: without, x is the matrix of columns. */
static void pointwise_should_equal_the_reference_strided_and_padded(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 23 };
    for (int round = 0; round < 200; round++) {
        struct conv_case conv = conv_case_random(&rng, 4);
        conv.kernel[0] = conv.kernel[1] = 1;
        if (round % 2) {
            conv.auto_pad = NULL;
            conv.begin[0] = conv.begin[1] = conv.end[0] = conv.end[1] = 0;
        }
        if (round % 4 == 3)
            conv.stride[0] = conv.stride[1] = 1;
        if (conv_case_finish(&conv))
            check_case(conv, &rng);
    }
}

/* y and the scratch memory of a case; *bytes: of the latter. The caller frees y. */
static float *run_case(struct conv_case conv, uint64_t seed, size_t *count, size_t *bytes)
{
    struct ldnq_rng rng = { seed };
    struct use use;
    assert_true(conv_case_finish(&conv));
    conv_case_use(&conv, &use, &rng);
    assert_ok(use_infer_shape(&use));
    use_forward(&use, NULL, NULL);
    *bytes = use.node.op->scratch_bytes(&use.call);
    *count = output_count(&conv);
    float *y = malloc(*count * sizeof *y + 1);
    memcpy(y, use.out.data, *count * sizeof *y);
    use_finish(&use);
    return y;
}

/* 1-D convolutions along H, as TensorFlow exports them, run as those along W. */
static void columns_should_run_like_rows(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 26 };
    for (int round = 0; round < 200; round++) {
        struct conv_case tall = conv_case_random(&rng, 4);
        tall.axes = 2;
        tall.size[0] = from_1_to(&rng, 300);
        tall.size[1] = tall.kernel[1] = tall.stride[1] = tall.dilation[1] = 1;
        tall.begin[1] = tall.end[1] = 0;
        struct conv_case wide = tall;
        for (int i = 0; i < 2; i++) {
            wide.size[i] = tall.size[1 - i];
            wide.kernel[i] = tall.kernel[1 - i];
            wide.stride[i] = tall.stride[1 - i];
            wide.dilation[i] = tall.dilation[1 - i];
            wide.begin[i] = tall.begin[1 - i];
            wide.end[i] = tall.end[1 - i];
        }
        if (!conv_case_finish(&tall))
            continue;
        size_t count[2], bytes[2];
        float *y[] = { run_case(tall, 27, &count[0], &bytes[0]),
                       run_case(wide, 27, &count[1], &bytes[1]) };
        assert_int_equal(count[0], count[1]);
        assert_int_equal(bytes[0], bytes[1]);
        assert_memory_equal(y[0], y[1], count[0] * sizeof *y[0]);
        free(y[0]);
        free(y[1]);
        check_case(tall, &rng);
    }
}

/* Tall, wide and deep enough for several tiles in each direction. */
static void planes_larger_than_a_tile_should_equal_the_reference(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 24 };
    for (size_t i = 0; i < LARGE_CONV_CASES; i++)
        check_case(large_conv_cases[i], &rng);
}

/* No images, no outputs, no elements; and no input channels, where y is the bias. */
static void sizes_of_zero_should_leave_the_bias(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 25 };
    for (int zero = 0; zero < 4; zero++) {
        for (int round = 0; round < 40; round++) {
            struct conv_case conv = conv_case_random(&rng, 4);
            *(zero == 0 ? &conv.n : zero == 1 ? &conv.m : zero == 2 ? &conv.size[1] : &conv.c) = 0;
            if (conv_case_finish(&conv) && (zero != 1 || conv.groups == 1))
                check_case(conv, &rng);
        }
    }
}

static void defaults_should_hold_where_attributes_are_left_out(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 26 };
    struct conv_case conv = { .axes = 2,
                              .n = 2,
                              .groups = 1,
                              .c = 3,
                              .m = 4,
                              .size = { 6, 7 },
                              .kernel = { 3, 2 },
                              .stride = { 1, 1 },
                              .dilation = { 1, 1 } };
    struct use use;
    assert_true(conv_case_finish(&conv));
    conv_case_use(&conv, &use, &rng);
    use.node.attr_count = 0;
    assert_ok(use_infer_shape(&use));
    check_shape(&conv, &use);
    double *y = conv_reference(&conv, &use);
    use_forward_on_threads(&use, NULL);
    assert_near(use.out.data, y, output_count(&conv), tolerance_of(&conv));
    free(y);
    use_finish(&use);
}

static void a_nan_should_pass_through_a_clamp(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 27 };
    const struct ldnq_clamp clamp = { 0, 6 };
    struct conv_case conv = { .axes = 1,
                              .n = 1,
                              .groups = 1,
                              .c = 1,
                              .m = 1,
                              .size = { 1, 1 },
                              .kernel = { 1, 1 },
                              .stride = { 1, 1 },
                              .dilation = { 1, 1 } };
    struct use use;
    assert_true(conv_case_finish(&conv));
    conv_case_use(&conv, &use, &rng);
    ((float *)use.tensors[0].data)[0] = NAN;
    assert_ok(use_infer_shape(&use));
    use_forward(&use, NULL, &clamp);
    assert_true(isnan(((float *)use.out.data)[0]));
    use_finish(&use);
}

/* ---- what infer refuses ---------------------------------------------------------- */

#define SHAPE(rank_, ...)                                                                          \
    (struct ldnq_shape)                                                                            \
    {                                                                                              \
        .rank = rank_, .dim = { __VA_ARGS__ }                                                      \
    }

static void infer_should_refuse_shapes_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        struct ldnq_shape x, w, b;
        int64_t groups;
        enum ldnq_status status;
        const char *text;
    } cases[] = {
        { { 4, { 1, 4, 5, 5 } }, { 4, { 2, 3, 3, 3 } }, { 1, { 2 } }, 1, LDNQ_MODEL, "4 channels" },
        { { 4, { 1, 4, 5, 5 } }, { 4, { 3, 2, 3, 3 } }, { 1, { 3 } }, 2, LDNQ_MODEL, "2 groups" },
        { { 4, { 1, 3, 5, 5 } }, { 4, { 2, 3, 3, 3 } }, { 1, { 3 } }, 1, LDNQ_MODEL, "bias" },
        { { 4, { 1, 3, 5, 5 } }, { 4, { 2, 3, 3, 3 } }, { 2, { 1, 2 } }, 1, LDNQ_MODEL, "bias" },
        { { 3, { 1, 3, 5 } }, { 4, { 2, 3, 3, 3 } }, { 1, { 2 } }, 1, LDNQ_MODEL, "go together" },
        { { 2, { 1, 3 } }, { 2, { 2, 3 } }, { 1, { 2 } }, 1, LDNQ_MODEL, "go together" },
        { { 4, { 1, 3, 2, 5 } }, { 4, { 2, 3, 3, 3 } }, { 1, { 2 } }, 1, LDNQ_MODEL, "fit" },
        { { 4, { 1, 3, 5, 5 } }, { 4, { 2, 3, 0, 3 } }, { 1, { 2 } }, 1, LDNQ_MODEL, "window" },
        { { 6, { 1, 3, 5, 5, 5, 5 } },
          { 6, { 2, 3, 3, 3, 3, 3 } },
          { 1, { 2 } },
          1,
          LDNQ_UNSUPPORTED,
          "4 axes" },
        { { 4, { 1, 3, 5, 5 } }, { 4, { 2, 3, 3, 3 } }, { 1, { 2 } }, 0, LDNQ_MODEL, "group=0" },
        { { 4, { 1, 3, 5, 5 } }, { 4, { 2, 3, 3, 3 } }, { 1, { 2 } }, -1, LDNQ_MODEL, "group=-1" },
    };
    struct ldnq_rng rng = { 28 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct use use;
        use_init(&use, "Conv", 13);
        use_int(&use, "group", cases[i].groups);
        use_input(&use, 0, cases[i].x, &rng);
        use_input(&use, 1, cases[i].w, &rng);
        use_input(&use, 2, cases[i].b, &rng);
        assert_fails(use_infer_shape(&use), cases[i].status, cases[i].text);
        use_finish(&use);
    }
}

static void infer_should_refuse_other_kernels_and_types(void **state)
{
    (void)state;
    static const int64_t kernel[] = { 3, 2 };
    struct ldnq_rng rng = { 29 };
    struct use use;
    use_init(&use, "Conv", 13);
    use_input(&use, 0, SHAPE(4, 1, 3, 5, 5), &rng);
    use_input(&use, 1, SHAPE(4, 2, 3, 3, 3), &rng);
    use.tensors[1].dtype = LDNQ_INT8;
    assert_fails(use_infer_shape(&use), LDNQ_UNSUPPORTED, "input 1 of type int8");
    use.tensors[1].dtype = LDNQ_FLOAT;
    use_ints(&use, "kernel_shape", kernel, 2);
    assert_fails(use_infer_shape(&use), LDNQ_MODEL, "kernel_shape says 2");
    use_finish(&use);
}

static void symbols_should_pass_through_where_they_can(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 30 };
    struct ldnq_graph *graph;
    struct use use;
    int64_t n, w;
    use_init(&use, "Conv", 13);
    assert_ok(ldnq_graph_create(use.arena, "g", "m.onnx", &graph, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "N", &n, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "W", &w, &err));
    use_input(&use, 0, SHAPE(4, 1, 3, 5, 5), &rng);
    use_input(&use, 1, SHAPE(4, 2, 3, 3, 3), &rng);
    use.tensors[0].shape = SHAPE(4, n, 3, 5, w);
    assert_fails(use_infer_shape(&use), LDNQ_MODEL, "can't be computed");
    use.call.graph = graph;
    assert_ok(ldnq_ops_infer_shape(&use.call, &err));
    assert_int_equal(use.out.shape.rank, 4);
    assert_true(use.out.shape.dim[0] == n && use.out.shape.dim[1] == 2 &&
                use.out.shape.dim[2] == 3);
    assert_true(ldnq_is_symbol(use.out.shape.dim[3]) && use.out.shape.dim[3] != w);
    use_finish(&use);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_should_equal_the_reference_for_any_geometry),
        cmocka_unit_test(depthwise_should_equal_the_reference_with_any_multiplier),
        cmocka_unit_test(pointwise_should_equal_the_reference_strided_and_padded),
        cmocka_unit_test(columns_should_run_like_rows),
        cmocka_unit_test(planes_larger_than_a_tile_should_equal_the_reference),
        cmocka_unit_test(sizes_of_zero_should_leave_the_bias),
        cmocka_unit_test(defaults_should_hold_where_attributes_are_left_out),
        cmocka_unit_test(a_nan_should_pass_through_a_clamp),
        cmocka_unit_test(infer_should_refuse_shapes_that_do_not_fit),
        cmocka_unit_test(infer_should_refuse_other_kernels_and_types),
        cmocka_unit_test(symbols_should_pass_through_where_they_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
