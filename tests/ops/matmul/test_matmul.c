/* SPDX-License-Identifier: Apache-2.0 */
/* Gemm, MatMul and Einsum as they run and as layers, against a plain triple loop; Conv's
 * layer is in test_conv.c. */
#include "ops/use.h"
#include "with_blas.h"

struct matrix {
    const float *data;
    size_t row, column; /* steps */
};

static void plain_product(size_t m, size_t n, size_t k, double alpha, struct matrix a,
                          struct matrix b, double *c)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t at = 0; at < k; at++)
                c[i * n + j] += alpha * (double)a.data[i * a.row + at * a.column] *
                                (double)b.data[at * b.row + j * b.column];
}

/* The layer's (M, P) is the operator's (P, M). */
static void check_layer(struct use *use, size_t p, size_t m, const double *y)
{
    struct ldnq_layer_geometry geometry;
    size_t positions;
    double *product = use_layer_product(use, &geometry, &positions);
    assert_int_equal(positions, p);
    assert_int_equal(geometry.rows, m);
    assert_int_equal(geometry.groups, 1);
    assert_int_equal(use->in[1]->shape.dim[geometry.channel_axis], m);
    for (size_t i = 0; i < p; i++)
        for (size_t j = 0; j < m; j++)
            assert_true(fabs(product[j * positions + i] - y[i * m + j]) < 1e-5);
    free(product);
}

static struct ldnq_shape shape_of(size_t a, size_t b, bool transposed)
{
    return (struct ldnq_shape){ 2,
                                { (int64_t)(transposed ? b : a), (int64_t)(transposed ? a : b) } };
}

static struct matrix matrix_of(const struct ldnq_tensor *tensor, bool transposed)
{
    size_t width = (size_t)tensor->shape.dim[1];
    return (struct matrix){ tensor->data, transposed ? 1 : width, transposed ? width : 1 };
}

/* bias: 0 none, 1 (M), 2 (1, M). */
static void check_gemm(size_t p, size_t m, size_t k, int flags, int bias, struct ldnq_rng *rng)
{
    static const float alphas[] = { 1.0f, -0.5f };
    const float alpha = alphas[ldnq_rng_below(rng, 2)], beta = alphas[ldnq_rng_below(rng, 2)];
    const bool ta = flags & 1, tb = flags & 2;
    struct use use;
    use_init(&use, "Gemm", 13);
    use_int(&use, "transA", ta);
    use_int(&use, "transB", tb);
    use_float(&use, "alpha", alpha);
    use_float(&use, "beta", beta);
    use_input(&use, 0, shape_of(p, k, ta), rng);
    use_input(&use, 1, shape_of(k, m, tb), rng);
    if (bias)
        use_input(&use, 2,
                  bias == 1 ? (struct ldnq_shape){ 1, { (int64_t)m } }
                            : (struct ldnq_shape){ 2, { 1, (int64_t)m } },
                  rng);
    assert_ok(use_infer_shape(&use));
    double *y = calloc(p * m + 1, sizeof *y);
    for (size_t i = 0; bias && i < p * m; i++)
        y[i] = (double)beta * (double)((const float *)use.tensors[2].data)[i % m];
    plain_product(p, m, k, (double)alpha, matrix_of(use.in[0], ta), matrix_of(use.in[1], tb), y);
    use_forward_on_threads(&use, NULL);
    assert_near(use.out.data, y, p * m, 1e-6 + 2e-7 * (double)k);
    check_layer(&use, p, m, y);
    free(y);
    use_finish(&use);
}

static void gemm_should_equal_the_plain_loop_also_as_a_layer(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 31 };
    for (int round = 0; round < 200; round++)
        check_gemm(1 + ldnq_rng_below(&rng, 12), 1 + ldnq_rng_below(&rng, 12),
                   1 + ldnq_rng_below(&rng, 30), round % 4, round / 4 % 3, &rng);
    for (int flags = 0; flags < 4; flags++) { /* more than one block each way */
        check_gemm(130, 258, 20, flags, flags % 3, &rng);
        check_gemm(3, 5, 0, flags, 1, &rng);
        check_gemm(0, 5, 3, flags, 1, &rng);
    }
}

static void check_matmul(struct ldnq_shape a, size_t m, struct ldnq_rng *rng)
{
    size_t k = (size_t)a.dim[a.rank - 1], p = 0;
    struct use use;
    assert_true(ldnq_shape_count_range(&a, 0, a.rank - 1, &p));
    use_init(&use, "MatMul", 13);
    use_input(&use, 0, a, rng);
    use_input(&use, 1, shape_of(k, m, false), rng);
    assert_ok(use_infer_shape(&use));
    assert_int_equal(use.out.shape.rank, a.rank);
    double *y = calloc(p * m + 1, sizeof *y);
    plain_product(p, m, k, 1, (struct matrix){ use.in[0]->data, k, 1 }, matrix_of(use.in[1], false),
                  y);
    use_forward_on_threads(&use, NULL);
    assert_near(use.out.data, y, p * m, 1e-6 + 2e-7 * (double)k);
    check_layer(&use, p, m, y);
    free(y);
    use_finish(&use);
}

static void matmul_should_equal_the_plain_loop_also_as_a_layer(void **state)
{
    (void)state;
    static const struct ldnq_shape lefts[] = {
        { 1, { 7 } },          { 2, { 5, 9 } },    { 2, { 300, 4 } }, { 3, { 3, 4, 5 } },
        { 4, { 2, 3, 1, 6 } }, { 3, { 0, 4, 5 } }, { 2, { 4, 0 } },
    };
    struct ldnq_rng rng = { 32 };
    for (size_t i = 0; i < sizeof lefts / sizeof *lefts; i++)
        for (size_t m = 1; m < 600; m = 3 * m + 2)
            check_matmul(lefts[i], m, &rng);
}

/* Output channels of a weight on the left are rows: the layer's (M, P) is the operator's. */
static void gemm_should_be_a_layer_with_its_weight_as_a(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 34 };
    for (int round = 0; round < 100; round++) {
        const size_t m = 1 + ldnq_rng_below(&rng, 9), p = 1 + ldnq_rng_below(&rng, 9);
        const size_t k = 1 + ldnq_rng_below(&rng, 20);
        const bool ta = round & 1, tb = round & 2;
        struct ldnq_layer_geometry geometry;
        size_t positions;
        struct use use;
        use_init(&use, "Gemm", 13);
        use_int(&use, "transA", ta);
        use_int(&use, "transB", tb);
        use_float(&use, "alpha", -0.5f);
        use_float(&use, "beta", 2);
        use_input(&use, 0, shape_of(m, k, ta), &rng);
        use_input(&use, 1, shape_of(k, p, tb), &rng);
        if (round & 4)
            use_input(&use, 2, (struct ldnq_shape){ 2, { (int64_t)m, 1 } }, &rng);
        assert_ok(use_infer_shape(&use));
        use_forward_on_threads(&use, NULL);
        double *product =
            use_product_of_layer(&use, use.node.op->layer->other, &geometry, &positions);
        assert_int_equal(positions, p);
        assert_int_equal(geometry.rows, m);
        assert_int_equal(use.in[0]->shape.dim[geometry.channel_axis], m);
        assert_int_equal(geometry.bias_factor != 0.0f, (round & 4) != 0);
        assert_near(use.out.data, product, m * p, 1e-5);
        free(product);
        use_finish(&use);
    }
}

/* The element of the weight's matrix `group` in the batch `at` of the output. */
static size_t find_group(const struct ldnq_shape *lead, const struct ldnq_shape *weight, size_t at)
{
    size_t group = 0, factor = 1;
    for (int axis = lead->rank - 1; axis >= 0; axis--) {
        const int of_weight = axis - lead->rank + weight->rank - 2;
        const size_t dim = of_weight >= 0 ? (size_t)weight->dim[of_weight] : 1;
        if (dim > 1)
            group += at % (size_t)lead->dim[axis] * factor;
        factor *= dim;
        at /= (size_t)lead->dim[axis];
    }
    return group;
}

/* Each matrix of the weight is a group, whose positions are those of the batches that meet it. */
static void check_matrices(struct ldnq_shape data, struct ldnq_shape weight, bool is_left,
                           struct ldnq_rng *rng)
{
    struct ldnq_layer_geometry geometry;
    size_t positions, batches, taken[64] = { 0 };
    struct use use;
    use_init(&use, "MatMul", 13);
    use_input(&use, is_left, data, rng);
    use_input(&use, !is_left, weight, rng);
    assert_ok(use_infer_shape(&use));
    use_forward_on_threads(&use, NULL);
    const struct ldnq_op_layer *layer = use.node.op->layer;
    double *product =
        use_product_of_layer(&use, is_left ? layer->other : layer, &geometry, &positions);
    struct ldnq_shape lead = use.out.shape;
    const size_t down = (size_t)lead.dim[lead.rank - 2], across = (size_t)lead.dim[lead.rank - 1];
    const size_t m = is_left ? down : across, plane = is_left ? across : down;
    lead.rank -= 2;
    assert_true(ldnq_shape_count(&lead, &batches));
    assert_int_equal(positions * geometry.groups, batches * plane);
    assert_int_equal(geometry.rows, m);
    for (size_t b = 0; b < batches; b++) {
        const size_t group = find_group(&lead, &weight, b), first = taken[group];
        const float *y = (const float *)use.out.data + b * down * across;
        taken[group] += plane;
        for (size_t row = 0; row < m; row++)
            for (size_t p = 0; p < plane; p++)
                assert_true(fabs(product[(group * m + row) * positions + first + p] -
                                 (double)y[is_left ? row * across + p : p * across + row]) < 1e-5);
    }
    free(product);
    use_finish(&use);
}

static void matmul_should_have_a_group_for_each_matrix_of_the_weight(void **state)
{
    (void)state;
    static const struct ldnq_shape lefts[][2] = {
        { { 3, { 2, 5, 7 } }, { 2, { 7, 4 } } },
        { { 3, { 2, 5, 7 } }, { 3, { 1, 7, 4 } } },
        { { 3, { 3, 5, 7 } }, { 3, { 3, 7, 4 } } },
        { { 2, { 5, 7 } }, { 3, { 3, 7, 4 } } },
        { { 4, { 2, 3, 5, 7 } }, { 3, { 3, 7, 4 } } },
        { { 4, { 2, 1, 5, 7 } }, { 3, { 3, 7, 4 } } },
        { { 4, { 2, 3, 5, 7 } }, { 4, { 2, 1, 7, 4 } } },
        { { 4, { 6, 2, 5, 7 } }, { 4, { 1, 2, 7, 4 } } },
        { { 4, { 2, 3, 1, 7 } }, { 4, { 2, 3, 7, 4 } } },
    };
    struct ldnq_rng rng = { 35 };
    for (size_t i = 0; i < sizeof lefts / sizeof *lefts; i++)
        for (int is_left = 0; is_left < 2; is_left++) {
            struct ldnq_shape shapes[2] = { lefts[i][0], lefts[i][1] };
            for (size_t s = 0; is_left && s < 2; s++) {
                int64_t *last = &shapes[s].dim[shapes[s].rank - 2], first = last[0];
                last[0] = last[1];
                last[1] = first;
            }
            check_matrices(shapes[0], shapes[1], is_left, &rng);
        }
}

static void weights_that_are_no_layer_should_be_refused_with_a_reason(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 33 };
    struct ldnq_layer_geometry geometry;
    struct use use;
    use_init(&use, "MatMul", 13);
    use_input(&use, 0, (struct ldnq_shape){ 3, { 2, 3, 4 } }, &rng);
    use_input(&use, 1, (struct ldnq_shape){ 1, { 4 } }, &rng);
    assert_ok(use_infer_shape(&use));
    assert_fails(use.node.op->layer->describe_weight(&use.node, use.in[1], NULL, &geometry, &err),
                 LDNQ_UNSUPPORTED, "no matrix");
    use_finish(&use);
    use_init(&use, "Gemm", 13);
    use_float(&use, "alpha", 0);
    use_input(&use, 0, (struct ldnq_shape){ 2, { 3, 4 } }, &rng);
    use_input(&use, 1, (struct ldnq_shape){ 2, { 4, 5 } }, &rng);
    assert_ok(use_infer_shape(&use));
    assert_fails(use.node.op->layer->describe_weight(&use.node, use.in[1], NULL, &geometry, &err),
                 LDNQ_UNSUPPORTED, "alpha is 0");
    use_finish(&use);
}

/* ---- Einsum ---------------------------------------------------------------------------------- */

/* The output that the layer's product (G, M, P) is for one setting of all letters. */
struct equation {
    const char *text;                             /* x, w -> y: each letter is one axis */
    const char *groups, *rows, *cols, *positions; /* letters in the order of the layer's indices */
};

static size_t size_of_letter(char letter)
{
    return 2 + (size_t)(letter - 'a') % 3;
}

static struct ldnq_shape shape_of_letters(const char *from, const char *to)
{
    struct ldnq_shape shape = { 0 };
    for (; from < to; from++)
        shape.dim[shape.rank++] = (int64_t)size_of_letter(*from);
    return shape;
}

/* The index of the element at the values of these letters. */
static size_t index_of(const char *letters, size_t count, const size_t value[26])
{
    size_t index = 0;
    for (size_t i = 0; i < count; i++)
        index = index * size_of_letter(letters[i]) + value[letters[i] - 'a'];
    return index;
}

static size_t count_of(const char *letters)
{
    size_t count = 1;
    for (; *letters; letters++)
        count *= size_of_letter(*letters);
    return count;
}

static void set_values(const char *letters, size_t index, size_t value[26])
{
    for (size_t i = strlen(letters); i-- > 0;) {
        value[letters[i] - 'a'] = index % size_of_letter(letters[i]);
        index /= size_of_letter(letters[i]);
    }
}

static void check_equation(const struct equation *e, bool is_left, struct ldnq_rng *rng)
{
    const char *comma = strchr(e->text, ','), *arrow = strstr(e->text, "->"), *out = arrow + 2;
    const size_t m = count_of(e->rows), groups = count_of(e->groups);
    struct ldnq_layer_geometry geometry;
    char swapped[32];
    size_t positions, value[26] = { 0 };
    struct use use;
    use_init(&use, "Einsum", 13);
    use.node.input_count = 2;
    snprintf(swapped, sizeof swapped, "%.*s,%.*s%s", (int)(arrow - comma - 1), comma + 1,
             (int)(comma - e->text), e->text, arrow);
    use_string(&use, "equation", is_left ? swapped : e->text);
    use_input(&use, is_left, shape_of_letters(e->text, comma), rng);
    use_input(&use, !is_left, shape_of_letters(comma + 1, arrow), rng);
    assert_ok(use_infer_shape(&use));
    use_forward_on_threads(&use, NULL);
    const struct ldnq_op_layer *layer = use.node.op->layer;
    double *product =
        use_product_of_layer(&use, is_left ? layer->other : layer, &geometry, &positions);
    assert_int_equal(positions, count_of(e->positions));
    assert_int_equal(geometry.groups, groups);
    assert_int_equal(geometry.rows, m);
    assert_int_equal(geometry.cols, count_of(e->cols));
    for (size_t i = 0; i < groups * m; i++)
        for (size_t p = 0; p < positions; p++) {
            set_values(e->groups, i / m, value);
            set_values(e->rows, i % m, value);
            set_values(e->positions, p, value);
            assert_within(product[i * positions + p],
                          ((const float *)use.out.data)[index_of(out, strlen(out), value)], 1e-5);
        }
    free(product);
    use_finish(&use);
}

static void an_operand_of_einsum_should_be_a_layer(void **state)
{
    (void)state;
    static const struct equation equations[] = {
        { "nk,km->nm", "", "m", "k", "n" },       { "nk,mk->mn", "", "m", "k", "n" },
        { "bshd,hde->bse", "", "e", "hd", "bs" }, { "bsd,dhk->bshk", "", "hk", "d", "bs" },
        { "bsd,hdk->bhsk", "", "hk", "d", "bs" }, { "becd,edf->becf", "e", "f", "d", "bc" },
        { "bcd,edf->becf", "", "ef", "d", "bc" }, { "bdh,hed->be", "", "e", "hd", "b" },
        { "gbk,mgk->gmb", "g", "m", "k", "b" },   { "bkl,kml->bm", "", "m", "kl", "b" },
    };
    struct ldnq_rng rng = { 36 };
    for (size_t i = 0; i < sizeof equations / sizeof *equations; i++)
        for (int is_left = 0; is_left < 2; is_left++)
            check_equation(&equations[i], is_left, &rng);
}

static void equations_that_are_no_product_should_be_refused_with_a_reason(void **state)
{
    static const char ellipsis[] = "bc"; /* the axes of the one that begins with "..." */
    (void)state;
    static const struct {
        const char *text, *reason;
    } table[] = {
        { "ab,cd->abcd", "sums over no axis" }, { "ab,bc->c", "one operand alone" },
        { "ab,bcd->ad", "one operand alone" },  { "abc,daebfc->def", "alternate" },
        { "aab,bc->ac", "letter twice" },       { "ab,b...->a...", "ellipsis" },
    };
    struct ldnq_rng rng = { 37 };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *comma = strchr(table[i].text, ','), *arrow = strstr(table[i].text, "->");
        struct ldnq_layer_geometry geometry;
        struct use use;
        use_init(&use, "Einsum", 13);
        use.node.input_count = 2;
        use_string(&use, "equation", table[i].text);
        use_input(&use, 0, shape_of_letters(table[i].text, comma), &rng);
        if (strchr(comma, '.') && strchr(comma, '.') < arrow)
            use_input(&use, 1, shape_of_letters(ellipsis, ellipsis + 2), &rng);
        else
            use_input(&use, 1, shape_of_letters(comma + 1, arrow), &rng);
        assert_ok(use_infer_shape(&use));
        assert_fails(
            use.node.op->layer->describe_weight(&use.node, use.in[1], NULL, &geometry, &err),
            LDNQ_UNSUPPORTED, table[i].reason);
        use_finish(&use);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_should_equal_the_plain_loop_also_as_a_layer),
        cmocka_unit_test(matmul_should_equal_the_plain_loop_also_as_a_layer),
        cmocka_unit_test(gemm_should_be_a_layer_with_its_weight_as_a),
        cmocka_unit_test(matmul_should_have_a_group_for_each_matrix_of_the_weight),
        cmocka_unit_test(an_operand_of_einsum_should_be_a_layer),
        cmocka_unit_test(equations_that_are_no_product_should_be_refused_with_a_reason),
        cmocka_unit_test(weights_that_are_no_layer_should_be_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
