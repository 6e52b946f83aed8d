/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs: bytes for files, samples from memory for samples from files, what a canceled job leaves
 * behind, and what happens when memory is out. */
#include "api_fixture.h"

#include <dirent.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "calib/calib.h"

static char folder[64];

static int make_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/ldnq-test-XXXXXX");
    return mkdtemp(folder) ? fill_samples(state) : 1;
}

static const char *path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

/* Removes all files and returns how many there were. */
static size_t empty_folder(void)
{
    DIR *listing = opendir(folder);
    size_t count = 0;
    const struct dirent *entry;
    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL) {
        char path[512];
        if (entry->d_name[0] == '.' && strspn(entry->d_name, ".") == strlen(entry->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(unlink(path), 0);
        count++;
    }
    closedir(listing);
    return count;
}

static int remove_folder(void **state)
{
    (void)state;
    empty_folder();
    return rmdir(folder);
}

/* The samples as a .npy file. */
static const char *write_samples(char path[128])
{
    struct ldnq_tensor tensor = { .dtype = LDNQ_FLOAT, .shape = { 4, { 24, 1, 8, 8 } } };
    tensor.data = sample_data;
    assert_ok(ldnq_npy_write(path_of("x.npy", path), &tensor, &err));
    return path;
}

static void assert_same_as_file(const void *bytes, size_t size, const char *path)
{
    struct ldnq_arena *arena;
    void *there;
    size_t there_size;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_file_read(path, arena, &there, &there_size, &err));
    assert_int_equal(size, there_size);
    assert_memory_equal(bytes, there, size);
    ldnq_arena_destroy(arena);
}

static struct ldnq_result *quantize(const struct ldnq_onnx *onnx,
                                    const struct ldnq_dataset *samples,
                                    const struct ldnq_options *options)
{
    struct ldnq_result *result;
    assert_ok(ldnq_quantize(onnx, samples, options, &result, &err));
    return result;
}

/* ---- bytes and files ---------------------------------------------------------------------- */

static void bytes_should_become_the_bytes_that_a_file_becomes(void **state)
{
    (void)state;
    char output[128], samples[128];
    struct ldnq_options *options = make_options("int4", "rtn");
    struct ldnq_arena *arena;
    struct ldnq_onnx *onnx;
    struct ldnq_dataset *dataset;
    void *bytes;
    size_t size, made_size;
    assert_ok(ldnq_quantize_files(digits_path(), write_samples(samples), path_of("q.onnx", output),
                                  options, &err));
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_file_read(digits_path(), arena, &bytes, &size, &err));
    assert_ok(ldnq_onnx_from_bytes(bytes, size, "digits", &onnx, &err));
    assert_ok(ldnq_dataset_from_path(samples, &dataset, &err));
    struct ldnq_result *result = quantize(onnx, dataset, options);
    const void *made = ldnq_result_bytes(result, "model", &made_size);
    assert_same_as_file(made, made_size, output);
    assert_non_null(strstr(ldnq_result_json(result), "\"output\":\tnull"));
    ldnq_result_destroy(result);
    ldnq_dataset_destroy(dataset);
    ldnq_onnx_destroy(onnx);
    ldnq_arena_destroy(arena);
    ldnq_options_destroy(options);
    empty_folder();
}

static int read_sample(void *ctx, size_t sample, size_t input, void *data, size_t size)
{
    const size_t *fails_at = ctx;
    if (input != 0 || size != SAMPLE_SIZE * sizeof(float) || sample == *fails_at)
        return 1;
    memcpy(data, sample_data + sample * SAMPLE_SIZE, size);
    return 0;
}

static struct ldnq_dataset *open_reader(size_t *fails_at)
{
    const struct ldnq_ndarray input = { .dtype = "float32", .shape = one_shape, .rank = 3 };
    const struct ldnq_sample_reader reader = { .sample_count = SAMPLE_COUNT,
                                               .inputs = &input,
                                               .input_count = 1,
                                               .labels = sample_labels,
                                               .read = read_sample,
                                               .ctx = fails_at };
    struct ldnq_dataset *dataset;
    assert_ok(ldnq_dataset_from_reader(&reader, &dataset, &err));
    return dataset;
}

static void arrays_and_a_reader_should_be_as_good_as_a_file(void **state)
{
    (void)state;
    char output[128], samples[128];
    size_t never = SIZE_MAX, size;
    struct ldnq_options *options = make_options("ternary", "gptq");
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_dataset *datasets[] = { open_arrays(), open_reader(&never) };
    assert_ok(ldnq_quantize_files(digits_path(), write_samples(samples), path_of("q.onnx", output),
                                  options, &err));
    for (size_t i = 0; i < 2; i++) {
        struct ldnq_result *result = quantize(onnx, datasets[i], options);
        const void *bytes = ldnq_result_bytes(result, "model", &size);
        assert_same_as_file(bytes, size, output);
        ldnq_result_destroy(result);
        ldnq_dataset_destroy(datasets[i]);
    }
    ldnq_onnx_destroy(onnx);
    ldnq_options_destroy(options);
    empty_folder();
}

static void a_reader_that_fails_should_end_the_job_and_name_the_sample(void **state)
{
    (void)state;
    size_t fails_at = 5;
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_dataset *dataset = open_reader(&fails_at);
    struct ldnq_result *result;
    assert_fails(ldnq_quantize(onnx, dataset, NULL, &result, &err), LDNQ_DATA, "samples[5]");
    assert_null(result);
    ldnq_dataset_destroy(dataset);
    ldnq_onnx_destroy(onnx);
}

/* ---- the other jobs ----------------------------------------------------------------------- */

static void eval_should_read_labels_from_memory(void **state)
{
    (void)state;
    size_t never = SIZE_MAX;
    struct ldnq_onnx *onnx = open_digits();
    const struct ldnq_onnx *models[] = { onnx, onnx };
    struct ldnq_dataset *datasets[] = { open_arrays(), open_reader(&never) };
    for (size_t i = 0; i < 2; i++) {
        struct ldnq_result *result;
        assert_ok(ldnq_eval(models, 2, datasets[i], NULL, &result, &err));
        assert_non_null(strstr(ldnq_result_json(result), "\"agreement\":\t100"));
        assert_non_null(strstr(ldnq_result_json(result), "\"samples\":\t24"));
        ldnq_result_destroy(result);
        ldnq_dataset_destroy(datasets[i]);
    }
    ldnq_onnx_destroy(onnx);
}

static void diff_should_keep_its_page_when_it_is_asked_for(void **state)
{
    (void)state;
    struct ldnq_onnx *onnx = open_digits(), *quantized;
    struct ldnq_dataset *samples = open_arrays();
    struct ldnq_options *options = make_options("int8", "rtn");
    struct ldnq_result *result = quantize(onnx, samples, options), *diff;
    size_t size;
    const void *bytes = ldnq_result_bytes(result, "model", &size);
    assert_ok(ldnq_onnx_from_bytes(bytes, size, "q.onnx", &quantized, &err));
    assert_ok(ldnq_diff(onnx, quantized, samples, options, &diff, &err));
    assert_null(ldnq_result_bytes(diff, "html", &size));
    assert_int_equal(size, 0);
    ldnq_result_destroy(diff);
    assert_ok(ldnq_options_set(options, "page", "1", &err));
    assert_ok(ldnq_diff(onnx, quantized, samples, options, &diff, &err));
    bytes = ldnq_result_bytes(diff, "html", &size);
    assert_memory_equal(bytes, "<!DOCTYPE html>", 15);
    assert_null(ldnq_result_bytes(diff, "nonsense", &size));
    assert_non_null(strstr(ldnq_result_json(diff), "\"paired_layers\":\t7"));
    ldnq_result_destroy(diff);
    ldnq_result_destroy(result);
    ldnq_options_destroy(options);
    ldnq_dataset_destroy(samples);
    ldnq_onnx_destroy(quantized);
    ldnq_onnx_destroy(onnx);
}

static void run_should_return_the_outputs_as_arrays(void **state)
{
    (void)state;
    const struct ldnq_ndarray input = {
        .name = "input", .dtype = "float32", .shape = all_shape, .rank = 4, .data = sample_data
    };
    struct ldnq_ndarray wrong = input;
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_result *result;
    assert_ok(ldnq_run(onnx, &input, 1, NULL, &result, &err));
    const struct ldnq_ndarray *output = ldnq_result_array(result, 0);
    assert_string_equal(output->name, "logits");
    assert_string_equal(output->dtype, "float32");
    assert_int_equal(output->rank, 2);
    assert_int_equal(output->shape[0], 24);
    assert_int_equal(output->shape[1], 10);
    assert_null(ldnq_result_array(result, 1));
    ldnq_result_destroy(result);
    assert_fails(ldnq_run(onnx, NULL, 0, NULL, &result, &err), LDNQ_USAGE, "'input' is missing");
    wrong.name = "x";
    assert_fails(ldnq_run(onnx, &wrong, 1, NULL, &result, &err), LDNQ_USAGE, "has no input 'x'");
    wrong = input;
    wrong.dtype = "float";
    assert_fails(ldnq_run(onnx, &wrong, 1, NULL, &result, &err), LDNQ_USAGE, "'float'");
    wrong = input;
    wrong.data = NULL;
    assert_fails(ldnq_run(onnx, &wrong, 1, NULL, &result, &err), LDNQ_USAGE, "no data");
    assert_null(result);
    ldnq_onnx_destroy(onnx);
}

static void jobs_should_refuse_missing_handles_and_options_that_contradict(void **state)
{
    (void)state;
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_dataset *samples = open_arrays();
    struct ldnq_options *options = make_options("int4,int8", "rtn");
    struct ldnq_result *result;
    assert_fails(ldnq_quantize(NULL, samples, NULL, &result, &err), LDNQ_USAGE, "needs a model");
    assert_fails(ldnq_quantize(onnx, NULL, NULL, &result, &err), LDNQ_USAGE, "and samples");
    assert_fails(ldnq_inspect(NULL, NULL, &result, &err), LDNQ_USAGE, "no model");
    assert_fails(ldnq_diff(onnx, NULL, NULL, NULL, &result, &err), LDNQ_USAGE, "no model");
    assert_fails(ldnq_eval(NULL, 1, samples, NULL, &result, &err), LDNQ_USAGE, "no model");
    assert_fails(ldnq_quantize(onnx, samples, options, &result, &err), LDNQ_USAGE,
                 "which needs a budget");
    assert_ok(ldnq_options_set(options, "weights", "int4", &err));
    assert_ok(ldnq_options_set(options, "block-size", "32", &err));
    assert_fails(ldnq_quantize(onnx, samples, options, &result, &err), LDNQ_USAGE,
                 "block-size goes with granularity block");
    assert_ok(ldnq_options_set(options, "granularity", "block", &err));
    assert_ok(ldnq_options_set(options, "block-size", "48", &err));
    assert_fails(ldnq_quantize(onnx, samples, options, &result, &err), LDNQ_USAGE,
                 "block-size 48 is no power of two");
    assert_null(result);
    ldnq_options_destroy(options);
    ldnq_dataset_destroy(samples);
    ldnq_onnx_destroy(onnx);
}

/* ---- canceling ---------------------------------------------------------------------------- */

struct countdown {
    size_t left, calls;
};

static int cancel(void *ctx, const struct ldnq_progress *progress)
{
    struct countdown *countdown = ctx;
    (void)progress;
    countdown->calls++;
    return countdown->left-- == 0;
}

static void a_canceled_job_should_leave_nothing_behind(void **state)
{
    (void)state;
    char output[128], report[128], plan[128], log[128];
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_dataset *samples = open_arrays();
    struct ldnq_options *options = make_options("int4,int8", "rtn");
    struct countdown countdown = { .left = SIZE_MAX };
    assert_ok(ldnq_options_set(options, "budget", "6bits", &err));
    assert_ok(ldnq_options_set(options, "distill", "3", &err));
    assert_ok(ldnq_options_set(options, "output", path_of("q.onnx", output), &err));
    assert_ok(ldnq_options_set(options, "report", path_of("q.html", report), &err));
    assert_ok(ldnq_options_set(options, "plan", path_of("q.json", plan), &err));
    assert_ok(ldnq_options_set(options, "log", path_of("q.jsonl", log), &err));
    ldnq_options_on_progress(options, cancel, &countdown);
    assert_ok(ldnq_quantize(onnx, samples, options, NULL, &err));
    assert_int_equal(empty_folder(), 4);
    const size_t calls = countdown.calls;
    assert_true(calls > 10);
    for (size_t i = 0; i < calls; i += i + 23 < calls ? 23 : 3) {
        struct ldnq_result *result;
        countdown = (struct countdown){ .left = i };
        assert_fails(ldnq_quantize(onnx, samples, options, &result, &err), LDNQ_CANCELED,
                     "canceled");
        assert_null(result);
        assert_int_equal(countdown.calls, i + 1);
        assert_int_equal(empty_folder(), 0);
    }
    ldnq_options_destroy(options);
    ldnq_dataset_destroy(samples);
    ldnq_onnx_destroy(onnx);
}

/* ---- events ------------------------------------------------------------------------------- */

struct seen_events {
    size_t starts, iterations, layers, runs;
};

static void count_event(void *ctx, const char *json)
{
    struct seen_events *seen = ctx;
    assert_null(strchr(json, '\n'));
    seen->starts += strstr(json, "\"event\":\"layer_start\"") != NULL;
    seen->iterations += strstr(json, "\"event\":\"iteration\"") != NULL;
    seen->layers += strstr(json, "\"event\":\"layer\"") != NULL;
    seen->runs += strstr(json, "\"event\":\"run\"") != NULL;
}

static void events_should_report_layers_where_verbose_asks_for_them(void **state)
{
    (void)state;
    struct ldnq_onnx *onnx = open_digits();
    struct ldnq_dataset *samples = open_arrays();
    struct ldnq_options *options = make_options("ternary", "admm");
    struct seen_events seen = { 0 };
    ldnq_options_on_event(options, count_event, &seen);
    assert_ok(ldnq_quantize(onnx, samples, options, NULL, &err));
    assert_true(seen.starts == 0 && seen.iterations == 0 && seen.layers == 0 && seen.runs == 1);
    assert_ok(ldnq_options_set(options, "verbose", "1", &err));
    assert_ok(ldnq_quantize(onnx, samples, options, NULL, &err));
    assert_true(seen.starts == 7 && seen.layers == 7 && seen.runs == 2);
    assert_true(seen.iterations > 7);
    ldnq_options_destroy(options);
    ldnq_dataset_destroy(samples);
    ldnq_onnx_destroy(onnx);
}

/* ---- memory ------------------------------------------------------------------------------- */

/* inspect and lint have these arguments. */
static enum ldnq_status
run_job_of_model(enum ldnq_status (*job)(const struct ldnq_onnx *, const struct ldnq_options *,
                                         struct ldnq_result **, struct ldnq_error *),
                 struct ldnq_result **result)
{
    struct ldnq_onnx *onnx;
    *result = NULL;
    LDNQ_TRY(ldnq_onnx_from_path(digits_path(), &onnx, &err));
    const enum ldnq_status status = job(onnx, NULL, result, &err);
    ldnq_onnx_destroy(onnx);
    return status;
}

static void any_allocation_of_inspect_and_lint_may_fail(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        enum ldnq_status status = LDNQ_NOMEM;
        long count = 0;
        for (; status != LDNQ_OK; count++) {
            struct ldnq_result *result;
            ldnq_alloc_fail_after(count);
            status = run_job_of_model(i ? ldnq_lint : ldnq_inspect, &result);
            ldnq_alloc_fail_after(-1);
            assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
            assert_int_equal(result != NULL, status == LDNQ_OK);
            ldnq_result_destroy(result);
        }
        assert_true(count > 20);
    }
}

static void any_allocation_of_a_dataset_may_fail(void **state)
{
    (void)state;
    const struct ldnq_ndarray array = {
        .dtype = "float32", .shape = all_shape, .rank = 4, .data = sample_data
    };
    enum ldnq_status status = LDNQ_NOMEM;
    for (long count = 0; status != LDNQ_OK; count++) {
        struct ldnq_dataset *dataset;
        ldnq_alloc_fail_after(count);
        status = ldnq_dataset_from_arrays(&array, 1, &dataset, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
        assert_int_equal(dataset != NULL, status == LDNQ_OK);
        ldnq_dataset_destroy(dataset);
    }
}

static void versions_of_header_and_library_should_agree(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", LDNQ_VERSION_MAJOR, LDNQ_VERSION_MINOR,
             LDNQ_VERSION_PATCH);
    assert_string_equal(ldnq_version(), text);
    assert_memory_equal(ldnq_blas_info(), "OpenBLAS", 8);
    assert_true(strlen(ldnq_cpu_info()) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_should_become_the_bytes_that_a_file_becomes),
        cmocka_unit_test(arrays_and_a_reader_should_be_as_good_as_a_file),
        cmocka_unit_test(a_reader_that_fails_should_end_the_job_and_name_the_sample),
        cmocka_unit_test(eval_should_read_labels_from_memory),
        cmocka_unit_test(diff_should_keep_its_page_when_it_is_asked_for),
        cmocka_unit_test(run_should_return_the_outputs_as_arrays),
        cmocka_unit_test(jobs_should_refuse_missing_handles_and_options_that_contradict),
        cmocka_unit_test(a_canceled_job_should_leave_nothing_behind),
        cmocka_unit_test(events_should_report_layers_where_verbose_asks_for_them),
        cmocka_unit_test(any_allocation_of_inspect_and_lint_may_fail),
        cmocka_unit_test(any_allocation_of_a_dataset_may_fail),
        cmocka_unit_test(versions_of_header_and_library_should_agree),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
