/* SPDX-License-Identifier: Apache-2.0 */
/* Accuracy goals on samples and by a score of the caller's. */
#include "api_fixture.h"

#include <math.h>
#include <stdbool.h>

#include "base/alloc.h"

/* Scores a model by its size, in percent of the float one's. */
struct size_score {
    size_t calls;
    size_t float_size;
    double least; /* a model with this score or more meets the goal */
    void *met;    /* the last one that did */
    size_t met_size;
    double fixed; /* where it is not 0: the value of all but the first */
    int returned;
};

static int score_size(void *ctx, const void *model, size_t size, double *value)
{
    struct size_score *score = ctx;
    if (score->calls++ == 0)
        score->float_size = size;
    const bool is_fixed = score->calls > 1 && score->fixed != 0;
    *value = is_fixed ? score->fixed : 100 * (double)size / (double)score->float_size;
    if (score->calls > 1 && *value >= score->least && (!score->met || size < score->met_size)) {
        free(score->met);
        score->met = malloc(size);
        assert_non_null(score->met);
        memcpy(score->met, model, size);
        score->met_size = size;
    }
    return score->returned;
}

struct scored_job {
    struct ldnq_onnx *onnx;
    struct ldnq_dataset *samples;
    struct ldnq_options *options;
};

static struct scored_job open_job(const char *max_drop)
{
    struct scored_job job = { open_digits(), open_arrays(), make_options("int2,int8", "rtn") };
    if (max_drop)
        assert_ok(ldnq_options_set(job.options, "max-drop", max_drop, &err));
    return job;
}

static void close_job(const struct scored_job *job)
{
    ldnq_options_destroy(job->options);
    ldnq_dataset_destroy(job->samples);
    ldnq_onnx_destroy(job->onnx);
}

/* The outputs of a model on the first sample. */
static struct ldnq_result *run_model(const void *bytes, size_t size)
{
    static const int64_t shape[] = { 1, 1, 8, 8 };
    const struct ldnq_ndarray input = {
        .dtype = "float32", .shape = shape, .rank = 4, .data = sample_data
    };
    struct ldnq_onnx *onnx;
    struct ldnq_result *result;
    assert_ok(ldnq_onnx_from_bytes(bytes, size, "scored", &onnx, &err));
    assert_ok(ldnq_run(onnx, &input, 1, NULL, &result, &err));
    ldnq_onnx_destroy(onnx);
    return result;
}

static void the_model_that_is_written_should_be_one_that_was_scored(void **state)
{
    (void)state;
    const struct scored_job job = open_job("80");
    struct size_score score = { .least = 20 };
    struct ldnq_result *result;
    size_t size;
    ldnq_options_on_score(job.options, score_size, &score);
    assert_ok(ldnq_quantize(job.onnx, job.samples, job.options, &result, &err));
    const void *model = ldnq_result_bytes(result, "model", &size);
    assert_true(score.calls > 3);
    assert_non_null(strstr(ldnq_result_json(result), "\"reference_score\":\t100"));

    struct ldnq_result *scored = run_model(score.met, score.met_size);
    struct ldnq_result *written = run_model(model, size);
    const struct ldnq_ndarray *a = ldnq_result_array(scored, 0), *b = ldnq_result_array(written, 0);
    assert_int_equal(a->shape[1], 10);
    assert_memory_equal(a->data, b->data, 10 * sizeof(float));
    assert_true(score.met_size < score.float_size / 2);

    ldnq_result_destroy(scored);
    ldnq_result_destroy(written);
    ldnq_result_destroy(result);
    free(score.met);
    close_job(&job);
}

static void a_score_should_end_the_job_where_it_cannot_be_used(void **state)
{
    (void)state;
    const struct scored_job job = open_job("80");
    struct ldnq_result *result;
    struct size_score stop = { .returned = 1 }, no_number = { .fixed = NAN };
    ldnq_options_on_score(job.options, score_size, &stop);
    assert_int_equal(ldnq_quantize(job.onnx, job.samples, job.options, &result, &err),
                     LDNQ_CANCELED);
    assert_int_equal(stop.calls, 1);
    ldnq_options_on_score(job.options, score_size, &no_number);
    assert_int_equal(ldnq_quantize(job.onnx, job.samples, job.options, &result, &err), LDNQ_DATA);
    assert_null(result);
    close_job(&job);
}

static void a_goal_that_no_score_meets_should_be_refused(void **state)
{
    (void)state;
    const struct scored_job job = open_job("80");
    struct size_score score = { .least = 20, .fixed = 5 };
    ldnq_options_on_score(job.options, score_size, &score);
    assert_int_equal(ldnq_quantize(job.onnx, job.samples, job.options, NULL, &err), LDNQ_GATE);
    assert_non_null(strstr(err.message, "a drop of 95 in the score (goal 80)"));
    assert_null(score.met);
    close_job(&job);
}

static void a_goal_should_be_measured_on_samples_of_its_own(void **state)
{
    (void)state;
    const struct scored_job job = open_job(NULL);
    struct ldnq_dataset *goal_data = open_arrays();
    struct ldnq_result *result;
    ldnq_options_set_goal_data(job.options, goal_data);
    assert_ok(ldnq_options_set(job.options, "min-sqnr", "10", &err));
    assert_ok(ldnq_quantize(job.onnx, job.samples, job.options, &result, &err));
    assert_non_null(strstr(ldnq_result_json(result), "\"held_out\":\tfalse"));
    assert_non_null(strstr(ldnq_result_json(result), "\"reference_score\":\tnull"));
    ldnq_result_destroy(result);
    ldnq_dataset_destroy(goal_data);
    close_job(&job);
}

static void what_measures_no_goal_should_be_refused(void **state)
{
    (void)state;
    const struct scored_job job = open_job(NULL);
    struct size_score score = { .calls = 0 };
    ldnq_options_set_goal_data(job.options, job.samples);
    assert_int_equal(ldnq_quantize(job.onnx, job.samples, job.options, NULL, &err), LDNQ_USAGE);
    ldnq_options_set_goal_data(job.options, NULL);
    ldnq_options_on_score(job.options, score_size, &score);
    assert_ok(ldnq_options_set(job.options, "min-sqnr", "10", &err));
    assert_int_equal(ldnq_quantize(job.onnx, job.samples, job.options, NULL, &err), LDNQ_USAGE);
    assert_int_equal(score.calls, 0);
    close_job(&job);
}

static int start_to_fail(void *ctx, const void *model, size_t size, double *value)
{
    (void)model;
    (void)size;
    const long *after = ctx;
    ldnq_alloc_fail_after(*after);
    *value = 1;
    return 0;
}

/* From a score on, as each of them lets the count begin anew: what follows it, and the next
 * state with its emission. */
static void allocations_between_scores_may_fail(void **state)
{
    (void)state;
    const struct scored_job job = open_job("80");
    enum ldnq_status status = LDNQ_NOMEM;
    size_t failures = 0;
    for (long after = 0; status != LDNQ_OK; after = 2 * after + 1, failures++) {
        struct ldnq_result *result;
        ldnq_options_on_score(job.options, start_to_fail, &after);
        status = ldnq_quantize(job.onnx, job.samples, job.options, &result, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
        assert_int_equal(result != NULL, status == LDNQ_OK);
        ldnq_result_destroy(result);
    }
    assert_true(failures > 5);
    close_job(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_that_is_written_should_be_one_that_was_scored),
        cmocka_unit_test(a_score_should_end_the_job_where_it_cannot_be_used),
        cmocka_unit_test(a_goal_that_no_score_meets_should_be_refused),
        cmocka_unit_test(a_goal_should_be_measured_on_samples_of_its_own),
        cmocka_unit_test(what_measures_no_goal_should_be_refused),
        cmocka_unit_test(allocations_between_scores_may_fail),
    };
    return cmocka_run_group_tests_name("goal_score", tests, fill_samples, NULL);
}
