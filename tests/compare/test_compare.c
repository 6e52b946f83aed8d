/* SPDX-License-Identifier: Apache-2.0 */
/* Two files compared through the public header alone. */
#include "test.h"
#include "with_blas.h"

#include <math.h>
#include <string.h>

#include "compare/compare.h"

#include "base/alloc.h"

static struct ldnq_error err;

#define FILE_TS TEST_SOURCE_ROOT "/testdata/digits/digits-ts.onnx"
#define FILE_DYNAMO TEST_SOURCE_ROOT "/testdata/digits/digits-dynamo.onnx"
#define PICTURES TEST_SOURCE_ROOT "/testdata/digits/calib"

struct two_exports {
    struct ldnq_arena *arena;
    struct ldnq_model *models[2];
    struct ldnq_graph *graphs[2];
    struct ldnq_samples *samples;
    struct ldnq_diff *diff;
};

/* With `samples` pictures; 0: without samples. */
static enum ldnq_status load(struct two_exports *use, size_t samples)
{
    const char *const files[] = { FILE_TS, FILE_DYNAMO };
    struct ldnq_samples_options options = { .max_samples = samples };
    *use = (struct two_exports){ .diff = NULL };
    ldnq_preprocess_defaults(&options.preprocess);
    LDNQ_TRY(ldnq_arena_create(&use->arena, &err));
    for (int i = 0; i < 2; i++) {
        LDNQ_TRY(ldnq_model_load(files[i], &use->models[i], &err));
        LDNQ_TRY(ldnq_model_import(use->models[i], use->arena, &use->graphs[i], &err));
    }
    return samples ? ldnq_samples_open(PICTURES, use->graphs[0], &options, &use->samples, &err)
                   : LDNQ_OK;
}

static enum ldnq_status compare(struct two_exports *use)
{
    const struct ldnq_diff_options options = { .model_a = use->models[0],
                                               .model_b = use->models[1],
                                               .graph_a = use->graphs[0],
                                               .graph_b = use->graphs[1],
                                               .samples = use->samples };
    return ldnq_diff_create(&options, use->arena, &use->diff, &err);
}

static void finish(struct two_exports *use)
{
    ldnq_samples_destroy(use->samples);
    ldnq_model_destroy(use->models[0]);
    ldnq_model_destroy(use->models[1]);
    ldnq_arena_destroy(use->arena);
}

static void diff_should_find_two_exports_of_a_network_the_same(void **state)
{
    (void)state;
    struct two_exports use;
    assert_ok(load(&use, 20));
    assert_ok(compare(&use));
    const struct ldnq_diff *diff = use.diff;
    assert_true(diff->layer_count > 1);
    assert_int_equal(diff->paired_layers, diff->layer_count);
    assert_int_equal(diff->samples, 20);
    for (size_t i = 0; i < diff->layer_count; i++) {
        assert_true(diff->layers[i].weight_sqnr > 100);
        assert_true(diff->layers[i].isolated.sqnr > 100);
        assert_true(diff->layers[i].accumulated.sqnr > 100);
        assert_true(diff->layers[i].bits == 32);
        assert_true(diff->layers[i].macs > 0);
    }
    assert_int_equal(diff->output_count, 1);
    assert_true(diff->outputs[0].agreement == 1);
    assert_true(diff->outputs[0].noise_to_signal < 1e-10);
    finish(&use);
}

static void diff_should_say_nothing_of_outputs_without_samples(void **state)
{
    (void)state;
    struct two_exports use;
    assert_ok(load(&use, 0));
    assert_ok(compare(&use));
    assert_int_equal(use.diff->samples, 0);
    assert_int_equal(use.diff->output_count, 0);
    assert_true(isnan(use.diff->layers[0].isolated.sqnr));
    assert_true(isnan(use.diff->layers[0].accumulated.cosine));
    finish(&use);
}

static void diff_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    enum ldnq_status status = LDNQ_NOMEM;
    long failing = 0;
    for (; status == LDNQ_NOMEM; failing++) {
        struct two_exports use;
        assert_ok(load(&use, 1));
        ldnq_alloc_fail_after(failing);
        status = compare(&use);
        ldnq_alloc_fail_after(-1);
        finish(&use);
    }
    assert_int_equal(status, LDNQ_OK);
    assert_true(failing > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diff_should_find_two_exports_of_a_network_the_same),
        cmocka_unit_test(diff_should_say_nothing_of_outputs_without_samples),
        cmocka_unit_test(diff_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("diff", tests, acquire_blas, release_blas);
}
