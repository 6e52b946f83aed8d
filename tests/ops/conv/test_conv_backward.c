/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of Conv against the loops of its text run backwards, in double. */
#include "large_conv_cases.h"
#include "with_blas.h"

struct gradients {
    float *value[3]; /* of x, weight and bias */
    double *wanted[3];
    double *terms[3]; /* sums of absolute values, which rounding goes by */
    size_t count[3];
};

static void gradients_init(struct gradients *grads, const struct use *use)
{
    for (size_t i = 0; i < use->call.in_count; i++) {
        grads->count[i] = ldnq_tensor_count(use->in[i]);
        grads->value[i] = malloc(grads->count[i] * sizeof(float) + 1);
        grads->wanted[i] = calloc(grads->count[i] + 1, sizeof(double));
        grads->terms[i] = calloc(grads->count[i] + 1, sizeof(double));
    }
}

static void gradients_finish(struct gradients *grads)
{
    for (size_t i = 0; i < 3; i++) {
        free(grads->value[i]);
        free(grads->wanted[i]);
        free(grads->terms[i]);
    }
}

static void add_term(struct gradients *grads, size_t input, int64_t at, double term)
{
    grads->wanted[input][at] += term;
    grads->terms[input][at] += fabs(term);
}

static void reference_element(const struct conv_case *conv, const struct use *use, double dy,
                              const int64_t at[4], struct gradients *grads)
{
    const float *x = use->tensors[0].data, *w = use->tensors[1].data;
    int64_t channel = at[0] * conv->groups * conv->c + at[1] / conv->m * conv->c;
    for (int64_t c = 0; c < conv->c; c++) {
        for (int64_t kh = 0; kh < conv->kernel[0]; kh++) {
            for (int64_t kw = 0; kw < conv->kernel[1]; kw++) {
                int64_t h = at[2] * conv->stride[0] + kh * conv->dilation[0] - conv->begin[0];
                int64_t v = at[3] * conv->stride[1] + kw * conv->dilation[1] - conv->begin[1];
                if (h < 0 || h >= conv->size[0] || v < 0 || v >= conv->size[1])
                    continue;
                int64_t ix = ((channel + c) * conv->size[0] + h) * conv->size[1] + v;
                int64_t iw = ((at[1] * conv->c + c) * conv->kernel[0] + kh) * conv->kernel[1] + kw;
                add_term(grads, 0, ix, dy * (double)w[iw]);
                add_term(grads, 1, iw, dy * (double)x[ix]);
            }
        }
    }
}

static void reference(const struct conv_case *conv, const struct use *use, const float *dy,
                      struct gradients *grads)
{
    for (int64_t n = 0; n < conv->n; n++)
        for (int64_t m = 0; m < conv->groups * conv->m; m++)
            for (int64_t oh = 0; oh < conv->out[0]; oh++)
                for (int64_t ow = 0; ow < conv->out[1]; ow++, dy++) {
                    reference_element(conv, use, (double)*dy, (int64_t[]){ n, m, oh, ow }, grads);
                    if (conv->has_bias)
                        add_term(grads, 2, m, (double)*dy);
                }
}

/* What backward does not write stays NaN; its scratch starts as NaN as well. */
static void run_backward(struct use *use, const struct ldnq_tensor *dy, unsigned wanted,
                         size_t threads, struct gradients *grads)
{
    const struct ldnq_tensor *out = dy;
    struct ldnq_tensor in[3] = { { .dtype = LDNQ_UNDEFINED } };
    struct ldnq_op_grad grad = { .call = &use->call, .out = &out, .in = in };
    void *scratch = NULL;
    for (size_t i = 0; i < use->call.in_count; i++) {
        in[i] = (struct ldnq_tensor){ LDNQ_FLOAT, use->in[i]->shape,
                                      wanted & (1u << i) ? grads->value[i] : NULL };
        for (size_t k = 0; k < grads->count[i] && in[i].data; k++)
            grads->value[i][k] = NAN;
    }
    assert_ok(ldnq_pool_create(threads, &use->call.pool, &err));
    size_t bytes = use->node.op->backward_scratch_bytes(&grad);
    assert_true(bytes != SIZE_MAX);
    if (bytes)
        assert_int_equal(posix_memalign(&scratch, 64, bytes), 0);
    for (size_t i = 0; i + sizeof(float) <= bytes; i += sizeof(float))
        *(float *)(void *)((char *)scratch + i) = NAN;
    use->call.scratch = scratch;
    assert_ok(use->node.op->backward(&grad, &err));
    free(scratch);
    ldnq_pool_destroy(use->call.pool);
}

static void check_values(const struct gradients *grads, size_t i)
{
    for (size_t k = 0; k < grads->count[i]; k++) {
        double error = fabs((double)grads->value[i][k] - grads->wanted[i][k]);
        if (!(error <= 1e-6 + 1e-6 * grads->terms[i][k]))
            fail_msg("gradient of input %zu, element %zu: %.9g, expected %.9g", i, k,
                     (double)grads->value[i][k], grads->wanted[i][k]);
    }
}

static void check_case(struct conv_case conv, struct ldnq_rng *rng)
{
    struct use use;
    struct gradients grads = { 0 };
    assert_true(conv_case_finish(&conv));
    conv_case_use(&conv, &use, rng);
    assert_ok(use_infer_shape(&use));
    gradients_init(&grads, &use);
    size_t count = ldnq_tensor_count(&use.out);
    float *values = malloc(count * sizeof *values + 1), *first[3];
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(2 * ldnq_rng_uniform(rng) - 1);
    struct ldnq_tensor dy = { LDNQ_FLOAT, use.out.shape, values };
    reference(&conv, &use, values, &grads);
    run_backward(&use, &dy, 7, 1, &grads);
    for (size_t i = 0; i < use.call.in_count; i++) {
        check_values(&grads, i);
        first[i] = malloc(grads.count[i] * sizeof(float) + 1);
        memcpy(first[i], grads.value[i], grads.count[i] * sizeof(float));
    }
    /* On more threads, and each alone: the same to the bit. */
    for (unsigned round = 0; round < 5; round++) {
        unsigned wanted = round < 2 ? 7 : 1u << (round - 2);
        run_backward(&use, &dy, wanted, 2 + round % 2, &grads);
        for (size_t i = 0; i < use.call.in_count; i++)
            if (wanted & (1u << i))
                assert_memory_equal(first[i], grads.value[i], grads.count[i] * sizeof(float));
    }
    for (size_t i = 0; i < use.call.in_count; i++)
        free(first[i]);
    free(values);
    gradients_finish(&grads);
    use_finish(&use);
}

/* ---- cases --------------------------------------------------------------------------- */

static void gradients_should_equal_the_reference_for_any_geometry(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 41 };
    for (int round = 0; round < 300; round++) {
        struct conv_case conv = conv_case_random(&rng, 7);
        if (round % 3 == 0) {
            conv.groups = 2 + from_1_to(&rng, 4);
            conv.c = 1;
        }
        if (round % 5 == 0)
            conv.stride[0] = conv.stride[1] = 1;
        if (conv_case_finish(&conv))
            check_case(conv, &rng);
    }
}

/* With several tiles, blocks of channels and slices. */
static void large_layers_should_equal_the_reference(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 42 };
    for (size_t i = 0; i < LARGE_CONV_CASES; i++)
        check_case(large_conv_cases[i], &rng);
}

static void sizes_of_zero_should_give_zeros(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 43 };
    for (int zero = 0; zero < 4; zero++) {
        for (int round = 0; round < 30; round++) {
            struct conv_case conv = conv_case_random(&rng, 7);
            *(zero == 0 ? &conv.n : zero == 1 ? &conv.m : zero == 2 ? &conv.size[1] : &conv.c) = 0;
            if (conv_case_finish(&conv) && (zero != 1 || conv.groups == 1))
                check_case(conv, &rng);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_should_equal_the_reference_for_any_geometry),
        cmocka_unit_test(large_layers_should_equal_the_reference),
        cmocka_unit_test(sizes_of_zero_should_give_zeros),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
