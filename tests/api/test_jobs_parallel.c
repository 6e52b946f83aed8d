/* SPDX-License-Identifier: Apache-2.0 */
/* Two jobs in two threads of one process write the bytes that one alone writes. */
#include "api_fixture.h"

#include <pthread.h>

#define JOBS ((size_t)2)

struct parallel_job {
    const struct ldnq_onnx *onnx;
    const struct ldnq_dataset *samples;
    const struct ldnq_options *options;
    struct ldnq_result *result;
    struct ldnq_error err;
    enum ldnq_status status;
};

static void *run(void *ctx)
{
    struct parallel_job *job = ctx;
    job->status = ldnq_quantize(job->onnx, job->samples, job->options, &job->result, &job->err);
    return NULL;
}

static void assert_same_model(const struct ldnq_result *x, const struct ldnq_result *y)
{
    size_t x_size, y_size;
    const void *x_bytes = ldnq_result_bytes(x, "model", &x_size);
    const void *y_bytes = ldnq_result_bytes(y, "model", &y_size);
    assert_true(x_size > 0);
    assert_int_equal(x_size, y_size);
    assert_memory_equal(x_bytes, y_bytes, x_size);
}

static void run_in_parallel(const char *weights, const char *solver)
{
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_dataset *samples = open_arrays();
    struct ldnq_options *options = make_options(weights, solver);
    struct ldnq_result *alone;
    struct parallel_job jobs[JOBS];
    pthread_t threads[JOBS];
    assert_ok(ldnq_quantize(onnx, samples, options, &alone, &err));
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct parallel_job){ onnx, samples, options, NULL, { 0 }, LDNQ_OK };
        assert_int_equal(pthread_create(&threads[i], NULL, run, &jobs[i]), 0);
    }
    for (size_t i = 0; i < JOBS; i++) {
        pthread_join(threads[i], NULL);
        if (jobs[i].status != LDNQ_OK)
            fail_msg("%s", jobs[i].err.message);
        assert_same_model(alone, jobs[i].result);
        ldnq_result_destroy(jobs[i].result);
    }
    ldnq_result_destroy(alone);
    ldnq_options_destroy(options);
    ldnq_dataset_destroy(samples);
    ldnq_onnx_destroy(onnx);
}

static void two_jobs_at_once_should_write_the_bytes_of_one_alone(void **state)
{
    (void)state;
    run_in_parallel("int4", "gptq");
    run_in_parallel("ternary", "beam");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_jobs_at_once_should_write_the_bytes_of_one_alone),
    };
    return cmocka_run_group_tests(tests, fill_samples, NULL);
}
