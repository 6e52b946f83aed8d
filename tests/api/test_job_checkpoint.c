/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs with a checkpoint that end early, wherever that is: the folder is always one to go on in,
 * and going on writes the bytes of a run that was not ended. */
#include "api_fixture.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"

static char folder[64], checkpoint[96], output[96];

static int make_folder(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/ldnq-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(checkpoint, sizeof checkpoint, "%s/layers", folder);
    snprintf(output, sizeof output, "%s/q.onnx", folder);
    return fill_samples(state);
}

/* Counts the names in a folder; SIZE_MAX without the folder. With `remove` they are removed. */
static size_t count_files(const char *path, bool remove)
{
    DIR *listing = opendir(path);
    size_t count = 0;
    const struct dirent *entry;
    while (listing && (entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (remove)
            assert_int_equal(unlinkat(dirfd(listing), entry->d_name, 0), 0);
    }
    if (!listing)
        return SIZE_MAX;
    closedir(listing);
    return count;
}

static int remove_folder(void **state)
{
    (void)state;
    count_files(checkpoint, true);
    rmdir(checkpoint);
    unlink(output);
    return rmdir(folder);
}

static enum ldnq_status run_job(const struct ldnq_options *options, struct ldnq_result **result)
{
    struct ldnq_onnx *onnx;
    struct ldnq_dataset *samples = NULL;
    const struct ldnq_ndarray array = {
        .dtype = "float32", .shape = all_shape, .rank = 4, .data = sample_data
    };
    *result = NULL;
    LDNQ_TRY(ldnq_onnx_from_path(digits_path(), &onnx, &err));
    enum ldnq_status status = ldnq_dataset_from_arrays(&array, 1, &samples, &err);
    if (status == LDNQ_OK)
        status = ldnq_quantize(onnx, samples, options, result, &err);
    ldnq_dataset_destroy(samples);
    ldnq_onnx_destroy(onnx);
    return status;
}

static struct ldnq_options *make_job_options(void)
{
    struct ldnq_options *options = make_options("int4", "gptq");
    assert_ok(ldnq_options_set(options, "threads", "1", &err));
    return options;
}

/* The bytes of a run without a checkpoint; the caller destroys the result. */
static struct ldnq_result *run_whole(const void **bytes, size_t *size)
{
    struct ldnq_options *options = make_job_options();
    struct ldnq_result *result;
    assert_ok(run_job(options, &result));
    *bytes = ldnq_result_bytes(result, "model", size);
    ldnq_options_destroy(options);
    return result;
}

/* Goes on in the folder. Afterwards neither the folder nor anything temporary is left. */
static void assert_goes_on(const void *bytes, size_t size)
{
    struct ldnq_options *options = make_job_options();
    struct ldnq_result *result;
    size_t resumed_size;
    assert_ok(ldnq_options_set(options, "checkpoint", checkpoint, &err));
    assert_ok(ldnq_options_set(options, "resume", "1", &err));
    assert_ok(run_job(options, &result));
    const void *resumed = ldnq_result_bytes(result, "model", &resumed_size);
    assert_int_equal(resumed_size, size);
    assert_memory_equal(resumed, bytes, size);
    assert_int_equal(count_files(folder, false), 0);
    ldnq_result_destroy(result);
    ldnq_options_destroy(options);
}

/* ---- canceling ------------------------------------------------------------------------------- */

struct countdown {
    size_t left, calls;
    int answer;
};

static int answer_at_the_end(void *ctx, const struct ldnq_progress *progress)
{
    struct countdown *countdown = ctx;
    (void)progress;
    countdown->calls++;
    return countdown->left-- == 0 ? countdown->answer : 0;
}

static void cancel_everywhere(int answer)
{
    const void *bytes;
    size_t size, with_layers = 0;
    struct ldnq_result *whole = run_whole(&bytes, &size), *result;
    struct countdown countdown = { .left = SIZE_MAX };
    struct ldnq_options *options = make_job_options();
    assert_ok(ldnq_options_set(options, "checkpoint", checkpoint, &err));
    assert_ok(ldnq_options_set(options, "output", output, &err));
    ldnq_options_on_progress(options, answer_at_the_end, &countdown);
    assert_ok(run_job(options, &result));
    ldnq_result_destroy(result);
    assert_int_equal(unlink(output), 0);
    const size_t calls = countdown.calls;
    assert_true(calls > 10);
    for (size_t i = 0; i < calls; i += calls / 4) {
        countdown = (struct countdown){ .left = i, .answer = answer };
        assert_fails(run_job(options, &result), LDNQ_CANCELED, "canceled");
        assert_null(result);
        const size_t files = count_files(checkpoint, false);
        assert_int_equal(count_files(folder, false), files != SIZE_MAX);
        if (files != SIZE_MAX) {
            assert_true(files > 1); /* the header and a layer, or nothing */
            assert_non_null(strstr(err.message, "has the layers fitted so far"));
            with_layers++;
            assert_goes_on(bytes, size);
        }
    }
    assert_true(with_layers > 1);
    ldnq_options_destroy(options);
    ldnq_result_destroy(whole);
}

static void a_canceled_job_should_go_on_from_its_layers(void **state)
{
    (void)state;
    cancel_everywhere(LDNQ_CANCEL);
}

static void a_job_canceled_after_a_layer_should_go_on_from_there(void **state)
{
    (void)state;
    cancel_everywhere(LDNQ_CANCEL_AFTER_LAYER);
}

/* ---- another version ------------------------------------------------------------------------- */

/* Leaves a checkpoint with some layers in the folder. */
static void end_early(struct ldnq_options *options)
{
    static size_t calls;
    struct countdown countdown = { .left = SIZE_MAX };
    struct ldnq_result *result;
    ldnq_options_on_progress(options, answer_at_the_end, &countdown);
    if (calls == 0) {
        assert_ok(run_job(options, &result));
        ldnq_result_destroy(result);
        calls = countdown.calls;
    }
    countdown = (struct countdown){ .left = calls / 2, .answer = LDNQ_CANCEL };
    assert_fails(run_job(options, &result), LDNQ_CANCELED, "has the layers fitted so far");
    ldnq_options_on_progress(options, NULL, NULL);
}

static const char *header_path(char path[128])
{
    snprintf(path, 128, "%s/ldnq-checkpoint.json", checkpoint);
    return path;
}

/* The header with another member, as a program that has it would have written it. A NULL `text`
 * leaves the number `number`. */
static void rewrite_header(const char *member, const char *text, double number)
{
    char path[128], hash[17];
    struct ldnq_arena *arena;
    void *bytes;
    size_t size;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_file_read(header_path(path), arena, &bytes, &size, &err));
    cJSON *header = cJSON_ParseWithLength(bytes, size);
    assert_non_null(header);
    cJSON_DeleteItemFromObjectCaseSensitive(header, "hash");
    assert_true(cJSON_ReplaceItemInObjectCaseSensitive(
        header, member, text ? cJSON_CreateString(text) : cJSON_CreateNumber(number)));
    char *line = cJSON_PrintUnformatted(header);
    snprintf(hash, sizeof hash, "%016" PRIx64, (uint64_t)XXH3_64bits(line, strlen(line)));
    cJSON_AddStringToObject(header, "hash", hash);
    char *whole = cJSON_Print(header);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(whole, file);
    fclose(file);
    cJSON_free(whole);
    cJSON_free(line);
    cJSON_Delete(header);
    ldnq_arena_destroy(arena);
}

static void a_checkpoint_of_another_program_should_be_refused_with_the_difference(void **state)
{
    (void)state;
    static const struct {
        const char *member, *text;
        double number;
        const char *message;
    } cases[] = {
        { "version", "0.1.9", 0, "was made by version 0.1.9 (format 1), and this is version" },
        { "format", NULL, 99, "(format 99), and this is version" },
        { "kernels", "OpenBLAS 0.0 Old", 0, "made with the kernels OpenBLAS 0.0 Old, and this" },
        { "model", "0123456789abcdef", 0, "(hash 0123456789abcdef), and this run has" },
        { "samples", "0123456789abcdef", 0, "with samples of other contents (hash 0123456789ab" },
        { "held_out", "0123456789abcdef", 0, "with held-out samples of other contents" },
        { "plan", "0123456789abcdef", 0, "with a plan of other contents" },
    };
    const void *bytes;
    size_t size;
    struct ldnq_result *whole = run_whole(&bytes, &size), *result;
    struct ldnq_options *options = make_job_options();
    assert_ok(ldnq_options_set(options, "checkpoint", checkpoint, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        end_early(options);
        const size_t files = count_files(checkpoint, false);
        rewrite_header(cases[i].member, cases[i].text, cases[i].number);
        assert_ok(ldnq_options_set(options, "resume", "1", &err));
        assert_fails(run_job(options, &result), LDNQ_USAGE, cases[i].message);
        assert_non_null(strstr(err.message, "in another folder"));
        assert_int_equal(count_files(checkpoint, false), files);
        assert_ok(ldnq_options_set(options, "resume", "0", &err));
        count_files(checkpoint, true);
        assert_int_equal(rmdir(checkpoint), 0);
    }
    /* What is written here is what the program reads: the same header is no other one. */
    end_early(options);
    rewrite_header("format", NULL, 1);
    assert_goes_on(bytes, size);
    ldnq_options_destroy(options);
    ldnq_result_destroy(whole);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The distances grow, as a run has some thousand allocations. */
static void any_allocation_of_a_job_with_a_checkpoint_may_fail(void **state)
{
    (void)state;
    const void *bytes;
    size_t size, resumed = 0;
    struct ldnq_result *whole = run_whole(&bytes, &size), *result;
    struct ldnq_options *options = make_job_options();
    enum ldnq_status status = LDNQ_NOMEM;
    assert_ok(ldnq_options_set(options, "checkpoint", checkpoint, &err));
    for (long count = 1; status != LDNQ_OK; count += 1 + count / 2) {
        ldnq_alloc_fail_after(count);
        status = run_job(options, &result);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
        assert_int_equal(result != NULL, status == LDNQ_OK);
        ldnq_result_destroy(result);
        if (count_files(checkpoint, false) != SIZE_MAX) {
            assert_int_equal(status, LDNQ_NOMEM);
            assert_goes_on(bytes, size);
            resumed++;
        }
        assert_int_equal(count_files(folder, false), 0);
    }
    assert_true(resumed > 1);
    ldnq_options_destroy(options);
    ldnq_result_destroy(whole);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(a_canceled_job_should_go_on_from_its_layers),
        IN_A_FOLDER(a_job_canceled_after_a_layer_should_go_on_from_there),
        IN_A_FOLDER(a_checkpoint_of_another_program_should_be_refused_with_the_difference),
        IN_A_FOLDER(any_allocation_of_a_job_with_a_checkpoint_may_fail),
    };
    return cmocka_run_group_tests_name("job checkpoint", tests, NULL, NULL);
}
