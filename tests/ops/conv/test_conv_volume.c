/* SPDX-License-Identifier: Apache-2.0 */
/* Conv over three axes and ConvTranspose over one to three, as they run and as layers,
 * against loops over every tap; and what Einsum makes of symbols and bad equations. */
#include "ops/use.h"
#include "with_blas.h"

/* D, H, W; the image is Conv's input and ConvTranspose's output. */
struct volume_case {
    bool transposed, has_bias;
    size_t axes;
    int64_t n, groups, c, m; /* of the image and of the maps, per group */
    int64_t image[3], maps[3], kernel[3], stride[3], dilation[3], begin[3], end[3];
};

static int64_t from_1_to(struct ldnq_rng *rng, size_t most)
{
    return 1 + (int64_t)ldnq_rng_below(rng, most);
}

static int64_t extent(const struct volume_case *v, size_t i)
{
    return (v->kernel[i] - 1) * v->dilation[i] + 1;
}

/* false where the window does not fit. */
static bool draw(struct ldnq_rng *rng, bool transposed, struct volume_case *v)
{
    *v = (struct volume_case){ .transposed = transposed,
                               .has_bias = ldnq_rng_below(rng, 2),
                               .axes = transposed ? 1 + ldnq_rng_below(rng, 3) : 3,
                               .n = from_1_to(rng, 2),
                               .groups = from_1_to(rng, 2),
                               .c = from_1_to(rng, 9),
                               .m = from_1_to(rng, 4) };
    bool fits = true;
    for (size_t i = 0; i < 3; i++) {
        bool used = i >= 3 - v->axes;
        v->kernel[i] = used ? from_1_to(rng, 4) : 1;
        v->stride[i] = used ? from_1_to(rng, 3) : 1;
        v->dilation[i] = used ? from_1_to(rng, 2) : 1;
        v->begin[i] = used ? from_1_to(rng, 3) - 1 : 0;
        v->end[i] = used ? from_1_to(rng, 3) - 1 : 0;
        int64_t pads = v->begin[i] + v->end[i], size = used ? from_1_to(rng, 7) : 1;
        if (transposed) {
            v->maps[i] = size;
            v->image[i] = (size - 1) * v->stride[i] + extent(v, i) - pads;
        } else {
            v->image[i] = size;
            v->maps[i] =
                size + pads < extent(v, i) ? 0 : (size + pads - extent(v, i)) / v->stride[i] + 1;
        }
        fits = fits && v->maps[i] > 0 && v->image[i] > 0;
    }
    return fits;
}

static struct ldnq_shape shape_of(const struct volume_case *v, int64_t a, int64_t b,
                                  const int64_t sizes[3])
{
    struct ldnq_shape shape = { (int)v->axes + 2, { a, b } };
    for (size_t i = 0; i < v->axes; i++)
        shape.dim[2 + i] = sizes[3 - v->axes + i];
    return shape;
}

static void use_case(const struct volume_case *v, struct use *use, struct ldnq_rng *rng)
{
    size_t skip = 3 - v->axes;
    static int64_t pads[6];
    for (size_t i = 0; i < v->axes; i++) {
        pads[i] = v->begin[skip + i];
        pads[v->axes + i] = v->end[skip + i];
    }
    use_init(use, v->transposed ? "ConvTranspose" : "Conv", 13);
    use_int(use, "group", v->groups);
    use_ints(use, "strides", v->stride + skip, v->axes);
    use_ints(use, "dilations", v->dilation + skip, v->axes);
    use_ints(use, "pads", pads, 2 * v->axes);
    struct ldnq_shape image = shape_of(v, v->n, v->groups * v->c, v->image);
    struct ldnq_shape maps = shape_of(v, v->n, v->groups * v->m, v->maps);
    use_input(use, 0, v->transposed ? maps : image, rng);
    use_input(use, 1, shape_of(v, v->groups * v->m, v->c, v->kernel), rng);
    if (v->has_bias) {
        int64_t outputs = v->groups * (v->transposed ? v->c : v->m);
        use_input(use, 2, (struct ldnq_shape){ 1, { outputs } }, rng);
    }
}

/* One pair of channels of one image: calls are y += w x for every tap inside. */
static void plain_pair(const struct volume_case *v, const float *w, const float *x, double *y)
{
    const int64_t *in = v->image, *out = v->maps, *k = v->kernel;
    for (int64_t o = 0; o < out[0] * out[1] * out[2]; o++)
        for (int64_t t = 0; t < k[0] * k[1] * k[2]; t++) {
            const int64_t at[3] = { o / out[2] / out[1], o / out[2] % out[1], o % out[2] };
            const int64_t tap[3] = { t / k[2] / k[1], t / k[2] % k[1], t % k[2] };
            int64_t i = 0;
            bool inside = true;
            for (size_t a = 0; a < 3; a++) {
                int64_t p = at[a] * v->stride[a] + tap[a] * v->dilation[a] - v->begin[a];
                inside = inside && p >= 0 && p < in[a];
                i = i * in[a] + p;
            }
            if (inside && v->transposed)
                y[i] += (double)w[t] * (double)x[o];
            else if (inside)
                y[o] += (double)w[t] * (double)x[i];
        }
}

static double *reference(const struct volume_case *v, const struct use *use, size_t *count,
                         size_t *plane)
{
    size_t image = (size_t)(v->image[0] * v->image[1] * v->image[2]);
    size_t maps = (size_t)(v->maps[0] * v->maps[1] * v->maps[2]);
    size_t taps = (size_t)(v->kernel[0] * v->kernel[1] * v->kernel[2]);
    size_t c = (size_t)v->c, m = (size_t)v->m, outputs = v->transposed ? c : m;
    size_t pairs = (size_t)(v->n * v->groups);
    const float *x = use->in[0]->data, *w = use->in[1]->data;
    *plane = v->transposed ? image : maps;
    *count = pairs * outputs * *plane;
    double *y = calloc(*count + 1, sizeof *y);
    for (size_t i = 0; i < *count && v->has_bias; i++)
        y[i] =
            (double)((const float *)use->in[2]->data)[i / *plane % ((size_t)v->groups * outputs)];
    for (size_t g = 0; g < pairs; g++)
        for (size_t a = 0; a < m; a++)
            for (size_t b = 0; b < c; b++) {
                size_t from = v->transposed ? (g * m + a) * maps : (g * c + b) * image;
                size_t to = v->transposed ? (g * c + b) * image : (g * m + a) * maps;
                plain_pair(v, w + ((g % (size_t)v->groups * m + a) * c + b) * taps, x + from,
                           y + to);
            }
    return y;
}

/* W times the columns plus the bias, positions counted over all images. */
static void check_layer(const struct volume_case *v, struct use *use, const double *y, size_t plane)
{
    struct ldnq_layer_geometry geometry;
    size_t positions;
    double *product = use_layer_product(use, &geometry, &positions);
    assert_int_equal(positions, (size_t)v->n * plane);
    if (geometry.layout != LDNQ_WEIGHT_PERMUTED)
        assert_int_equal(use->in[1]->shape.dim[geometry.channel_axis],
                         geometry.rows * geometry.groups);
    size_t outputs = geometry.groups * geometry.rows;
    for (size_t m = 0; m < outputs; m++)
        for (size_t p = 0; p < positions; p++)
            assert_true(fabs(product[m * positions + p] -
                             y[(p / plane * outputs + m) * plane + p % plane]) < 1e-9);
    free(product);
}

static void check_case(const struct volume_case *v, struct ldnq_rng *rng)
{
    static const struct ldnq_clamp clamp = { -0.25f, 0.5f };
    struct use use;
    size_t count, plane;
    use_case(v, &use, rng);
    assert_ok(use_infer_shape(&use));
    double *y = reference(v, &use, &count, &plane);
    use_forward_on_threads(&use, NULL);
    assert_near(use.out.data, y, count, 2e-5);
    check_layer(v, &use, y, plane);
    for (size_t i = 0; i < count; i++)
        y[i] = fmin(fmax(y[i], (double)clamp.low), (double)clamp.high);
    use_forward_on_threads(&use, &clamp);
    assert_near(use.out.data, y, count, 2e-5);
    free(y);
    use_finish(&use);
}

static void conv_over_three_axes_should_equal_the_plain_loop(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 41 };
    struct volume_case v;
    for (int round = 0; round < 150; round++)
        if (draw(&rng, false, &v))
            check_case(&v, &rng);
}

static void convtranspose_should_equal_the_plain_loop(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 42 };
    struct volume_case v;
    for (int round = 0; round < 300; round++)
        if (draw(&rng, true, &v))
            check_case(&v, &rng);
}

/* More than one tile of positions and more than one block of channels. */
static void large_volumes_should_equal_the_plain_loop(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 43 };
    struct volume_case v = { .axes = 3,
                             .n = 2,
                             .groups = 1,
                             .c = 12,
                             .m = 5,
                             .has_bias = true,
                             .image = { 7, 15, 17 },
                             .maps = { 7, 15, 17 },
                             .kernel = { 3, 3, 3 },
                             .stride = { 1, 1, 1 },
                             .dilation = { 1, 1, 1 },
                             .begin = { 1, 1, 1 },
                             .end = { 1, 1, 1 } };
    check_case(&v, &rng);
    v.transposed = true;
    check_case(&v, &rng);
    v = (struct volume_case){ .axes = 2,
                              .transposed = true,
                              .n = 1,
                              .groups = 1,
                              .c = 20,
                              .m = 7,
                              .image = { 1, 64, 70 },
                              .maps = { 1, 32, 35 },
                              .kernel = { 1, 4, 4 },
                              .stride = { 1, 2, 2 },
                              .dilation = { 1, 1, 1 },
                              .begin = { 0, 1, 1 },
                              .end = { 0, 1, 1 } };
    check_case(&v, &rng);
}

#define SHAPE(rank_, ...)                                                                          \
    {                                                                                              \
        .rank = rank_, .dim = { __VA_ARGS__ }                                                      \
    }

static void convtranspose_should_refuse_shapes_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        struct ldnq_shape x, w, b;
        int64_t groups, pad;
        const char *text;
    } cases[] = {
        { SHAPE(4, 1, 4, 5, 5), SHAPE(4, 3, 2, 3, 3), SHAPE(1, 2), 1, 0, "4 channels" },
        { SHAPE(4, 1, 3, 5, 5), SHAPE(4, 3, 2, 3, 3), SHAPE(1, 4), 2, 0, "2 groups" },
        { SHAPE(4, 1, 4, 5, 5), SHAPE(4, 4, 2, 3, 3), SHAPE(1, 2), 2, 0, "bias" },
        { SHAPE(3, 1, 4, 5), SHAPE(4, 4, 2, 3, 3), SHAPE(1, 2), 1, 0, "go together" },
        { SHAPE(4, 1, 4, 5, 5), SHAPE(4, 4, 2, 0, 3), SHAPE(1, 2), 1, 0, "window" },
        { SHAPE(4, 1, 4, 0, 5), SHAPE(4, 4, 2, 3, 3), SHAPE(1, 2), 1, 0, "window" },
        { SHAPE(4, 1, 4, 1, 1), SHAPE(4, 4, 2, 3, 3), SHAPE(1, 2), 1, 2, "pads leave" },
        { SHAPE(4, 1, 4, 1, 1), SHAPE(4, 4, 2, 3, 3), SHAPE(1, 2), 0, 0, "group=0" },
        { SHAPE(2, 1, 4), SHAPE(2, 4, 2), SHAPE(1, 2), 1, 0, "go together" },
    };
    struct ldnq_rng rng = { 44 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t pads[] = { cases[i].pad, cases[i].pad, cases[i].pad, cases[i].pad };
        struct use use;
        use_init(&use, "ConvTranspose", 13);
        use_int(&use, "group", cases[i].groups);
        use_ints(&use, "pads", pads, cases[i].x.rank == 4 ? 4 : 2);
        use_input(&use, 0, cases[i].x, &rng);
        use_input(&use, 1, cases[i].w, &rng);
        use_input(&use, 2, cases[i].b, &rng);
        assert_fails(use_infer_shape(&use), LDNQ_MODEL, cases[i].text);
        use_finish(&use);
    }
}

static void convtranspose_should_pass_symbols_through_where_it_can(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 45 };
    struct ldnq_graph *graph;
    struct use use;
    int64_t n, w;
    use_init(&use, "ConvTranspose", 13);
    assert_ok(ldnq_graph_create(use.arena, "g", "m.onnx", &graph, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "N", &n, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "W", &w, &err));
    use_input(&use, 0, (struct ldnq_shape)SHAPE(4, 1, 3, 5, 5), &rng);
    use_input(&use, 1, (struct ldnq_shape)SHAPE(4, 3, 2, 3, 3), &rng);
    use.tensors[0].shape = (struct ldnq_shape)SHAPE(4, n, 3, 5, w);
    assert_fails(use_infer_shape(&use), LDNQ_MODEL, "can't be computed");
    use.call.graph = graph;
    assert_ok(ldnq_ops_infer_shape(&use.call, &err));
    assert_int_equal(use.out.shape.rank, 4);
    assert_true(use.out.shape.dim[0] == n && use.out.shape.dim[1] == 2 &&
                use.out.shape.dim[2] == 7);
    assert_true(ldnq_is_symbol(use.out.shape.dim[3]) && use.out.shape.dim[3] != w);
    use_finish(&use);
}

static void einsum_should_unify_symbols_with_sizes(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 46 };
    struct ldnq_graph *graph;
    struct use use;
    int64_t n, k;
    use_init(&use, "Einsum", 13);
    use.node.input_count = 2;
    use_string(&use, "equation", "...ij,jk->...ki");
    assert_ok(ldnq_graph_create(use.arena, "g", "m.onnx", &graph, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "N", &n, &err));
    assert_ok(ldnq_graph_find_or_add_symbol(graph, "K", &k, &err));
    use_input(&use, 0, (struct ldnq_shape)SHAPE(3, 2, 3, 4), &rng);
    use_input(&use, 1, (struct ldnq_shape)SHAPE(2, 4, 5), &rng);
    assert_ok(use_infer_shape(&use));
    use.call.graph = graph;
    use.tensors[0].shape = (struct ldnq_shape)SHAPE(3, n, 3, k);
    assert_ok(ldnq_ops_infer_shape(&use.call, &err));
    assert_true(use.out.shape.rank == 3 && use.out.shape.dim[0] == n && use.out.shape.dim[1] == 5 &&
                use.out.shape.dim[2] == 3);
    use.tensors[0].shape = (struct ldnq_shape)SHAPE(2, 3, 5);
    assert_fails(ldnq_ops_infer_shape(&use.call, &err), LDNQ_MODEL, "don't broadcast");
    use.tensors[1].shape = (struct ldnq_shape)SHAPE(3, 1, 4, 5);
    assert_fails(ldnq_ops_infer_shape(&use.call, &err), LDNQ_MODEL, "its equation has 2");
    use_finish(&use);
}

static void equations_that_cannot_be_read_should_be_refused(void **state)
{
    (void)state;
    static const char *const equations[] = {
        "ij,jk->iz",   "ij,jk->ii",  "ij->i",   "ij,jk,k->i",  "i1,jk->i",
        "ij,jk->i->k", "ij,jk->...", "i..j,jk", "......ij,jk", ""
    };
    for (size_t i = 0; i < sizeof equations / sizeof *equations; i++) {
        struct use use;
        use_init(&use, "Einsum", 13);
        use.node.input_count = 2;
        use_string(&use, "equation", equations[i]);
        assert_fails(use.node.op->read_attrs(&use.node, use.arena, &use.node.op_attrs, &err),
                     LDNQ_MODEL, "its equation");
        use_finish(&use);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_over_three_axes_should_equal_the_plain_loop),
        cmocka_unit_test(convtranspose_should_equal_the_plain_loop),
        cmocka_unit_test(large_volumes_should_equal_the_plain_loop),
        cmocka_unit_test(convtranspose_should_refuse_shapes_that_do_not_fit),
        cmocka_unit_test(convtranspose_should_pass_symbols_through_where_it_can),
        cmocka_unit_test(einsum_should_unify_symbols_with_sizes),
        cmocka_unit_test(equations_that_cannot_be_read_should_be_refused),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
