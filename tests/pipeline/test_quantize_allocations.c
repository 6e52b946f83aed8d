/* SPDX-License-Identifier: Apache-2.0 */
/* A whole quantization on one thread whose memory runs out at each of its allocations. */
#include "pipeline/network.h"

#include "base/alloc.h"

/* Each allocation of a whole run fails once; the samples are open already. */
static void assert_survives_failed_allocations(const struct ldnq_quantize_options *options)
{
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 100000; allowed++) {
        struct ldnq_graph *graph = build_prepared();
        struct ldnq_samples *samples = open_samples(graph);
        struct ldnq_quantization *result;
        ldnq_alloc_fail_after(allowed);
        status = ldnq_quantize_graph(graph, samples, options, graph->arena, &result, &err);
        ldnq_alloc_fail_after(-1);
        ldnq_samples_destroy(samples);
        build_free(graph);
    }
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 100);
}

static void quantize_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_quantize_options options = options_of("int4", "gptq");
    options.granularity = LDNQ_PER_BLOCK;
    options.block = 2;
    options.lambda = LDNQ_LAMBDA_AUTO;
    assert_survives_failed_allocations(&options);
}

static void means_and_pairs_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_quantize_options options = options_of("int8", "nearest");
    options.activations =
        (struct ldnq_activation_options){ .target = &ldnq_target_ort, .dtype = LDNQ_UINT8 };
    assert_survives_failed_allocations(&options);
}

static void fine_tuning_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    options.fine_tune = (struct ldnq_fine_tune_options){ .steps = 1, .update_codes = true };
    options.cascade = 1;
    assert_survives_failed_allocations(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_should_come_back_from_any_failed_allocation),
        cmocka_unit_test(means_and_pairs_should_come_back_from_any_failed_allocation),
        cmocka_unit_test(fine_tuning_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("quantize_allocations", tests, set_up_group,
                                       tear_down_group);
}
