/* SPDX-License-Identifier: Apache-2.0 */
/* The records of fitted layers: what is read has the bits of what was written, and a file that
 * differs in any byte, ends early, or belongs elsewhere is never read. */
#include "gemm_layer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"
#include "pipeline/checkpoint.h"

#define ROWS ((size_t)3)
#define COLS ((size_t)5)
#define LAYERS ((size_t)3)
/* Where a file has its format, the hash of the fit, its layer and its size (struct file_header). */
#define FORMAT_AT 8
#define KEY_AT 16

static char folder[64];

/* ---- a run of three layers ------------------------------------------------------------------- */

struct fitted_layer {
    int8_t codes[ROWS * COLS];
    float scales[ROWS], bias[ROWS], deviation[ROWS];
    struct ldnq_layer_solution solution;
    struct ldnq_layer_diagnostics diagnostics;
};

/* What a run has in memory: layers of the same sizes, and the sink that counts warnings. */
struct recorded_run {
    struct ldnq_graph *graph;
    struct ldnq_quantized_layer layers[LAYERS];
    struct ldnq_quantization result;
    struct ldnq_quantize_options options;
    struct ldnq_quantizer quantizer;
    struct ldnq_sink sink;
    size_t warnings, rows_of_trace;
    char warning[512];
};

static void count_warning(void *ctx, const char *message)
{
    struct recorded_run *run = ctx;
    run->warnings++;
    snprintf(run->warning, sizeof run->warning, "%s", message);
}

static void count_trace_row(void *ctx, const struct ldnq_trace_row *row)
{
    struct recorded_run *run = ctx;
    assert_int_equal(row->iteration, run->rows_of_trace);
    assert_true(row->objective == 1.0 / (1.0 + row->iteration));
    run->rows_of_trace++;
}

static void init_run(struct recorded_run *run)
{
    *run = (struct recorded_run){ .graph = build_graph() };
    run->sink = (struct ldnq_sink){ .ctx = run, .warn = count_warning };
    run->options =
        (struct ldnq_quantize_options){ .solver = ldnq_solver_find("gptq"), .sink = &run->sink };
    for (size_t i = 0; i < LAYERS; i++)
        run->layers[i] =
            (struct ldnq_quantized_layer){ .layer = build_gemm_layer(run->graph, COLS, ROWS),
                                           .codebook = ldnq_codebook_find("int4"),
                                           .granularity = LDNQ_PER_CHANNEL };
    run->result.network = (struct ldnq_quantized_network){ .count = LAYERS, .layers = run->layers };
    run->quantizer = (struct ldnq_quantizer){ .options = &run->options, .result = &run->result };
}

static void finish_run(struct recorded_run *run)
{
    ldnq_arena_destroy(run->graph->arena);
}

static void init_fitted(struct fitted_layer *fitted, uint32_t seed)
{
    memset(fitted, 0, sizeof *fitted);
    for (size_t i = 0; i < ROWS * COLS && seed; i++)
        fitted->codes[i] = (int8_t)((int)((seed + i * 7) % 16) - 8);
    for (size_t i = 0; i < ROWS && seed; i++) {
        fitted->scales[i] = 1.0f / (float)(seed + i);
        fitted->bias[i] = -0.0f / (float)(seed + i);
        fitted->deviation[i] = (float)(seed * i);
    }
    fitted->solution = (struct ldnq_layer_solution){ .codes = fitted->codes,
                                                     .scales = fitted->scales,
                                                     .bias = fitted->bias,
                                                     .error = 0.25 / (seed + 1.0),
                                                     .iterations = (int)seed };
    fitted->diagnostics = (struct ldnq_layer_diagnostics){
        .deviation = fitted->deviation,
        .choice = { .rounding = "mse" },
        .solver = ldnq_solver_find("gptq"),
        .remaining_error = NAN,
        .positions = seed,
    };
}

static struct ldnq_layer_record make_record(const struct recorded_run *run, size_t index,
                                            struct fitted_layer *fitted)
{
    return (struct ldnq_layer_record){ .index = index,
                                       .quantized = &run->layers[index],
                                       .solution = &fitted->solution,
                                       .diagnostics = &fitted->diagnostics };
}

/* Begins a fit in the folder; returns how many layers it has. */
static size_t begin(const struct recorded_run *run, struct ldnq_checkpoint *checkpoint)
{
    *checkpoint = (struct ldnq_checkpoint){ .folder = folder };
    assert_ok(ldnq_checkpoint_begin_fit(checkpoint, &run->quantizer, &err));
    return checkpoint->recorded;
}

static size_t count_records(struct recorded_run *run)
{
    struct ldnq_checkpoint checkpoint;
    run->warnings = 0;
    const size_t count = begin(run, &checkpoint);
    ldnq_checkpoint_finish(&checkpoint);
    return count;
}

static void write_all(struct recorded_run *run)
{
    struct ldnq_checkpoint checkpoint;
    struct fitted_layer fitted;
    assert_int_equal(begin(run, &checkpoint), 0);
    for (size_t i = 0; i < LAYERS; i++) {
        struct ldnq_solver_options solver = { .trace = NULL };
        ldnq_checkpoint_trace_solver(&checkpoint, &solver);
        for (int k = 0; k < (int)i; k++)
            solver.trace(solver.trace_ctx,
                         &(struct ldnq_trace_row){ .iteration = k, .objective = 1.0 / (1.0 + k) });
        init_fitted(&fitted, (uint32_t)i + 1);
        const struct ldnq_layer_record record = make_record(run, i, &fitted);
        assert_ok(ldnq_checkpoint_write_layer(&checkpoint, &record, &run->sink, &err));
    }
    ldnq_checkpoint_finish(&checkpoint);
    assert_int_equal(run->warnings, 0);
    assert_int_equal(count_records(run), LAYERS);
}

/* ---- files ------------------------------------------------------------------------------------
 */

static const char *record_path(size_t index, char path[128])
{
    snprintf(path, 128, "%s/ldnq-0001-%05zu.layer", folder, index);
    return path;
}

static unsigned char *read_record_file(size_t index, size_t *size)
{
    static unsigned char bytes[4096];
    char path[128];
    FILE *file = fopen(record_path(index, path), "rb");
    assert_non_null(file);
    *size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(*size > KEY_AT && *size < sizeof bytes);
    return bytes;
}

static void write_record_file(size_t index, const void *bytes, size_t size)
{
    char path[128];
    FILE *file = fopen(record_path(index, path), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* Changes a number of the header, and makes the file whole again. */
static void rewrite_header(size_t index, size_t at, uint64_t value)
{
    size_t size;
    unsigned char *bytes = read_record_file(index, &size);
    memcpy(bytes + at, &value, sizeof value);
    const uint64_t hash = XXH3_64bits(bytes, size - sizeof hash);
    memcpy(bytes + size - sizeof hash, &hash, sizeof hash);
    write_record_file(index, bytes, size);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ldnq-test-XXXXXX");
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    char path[128];
    for (size_t i = 0; i < LAYERS; i++) {
        unlink(record_path(i, path));
        rmdir(path);
    }
    return rmdir(folder);
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void what_is_read_should_have_the_bits_of_what_was_written(void **state)
{
    (void)state;
    struct recorded_run run;
    struct ldnq_checkpoint checkpoint;
    init_run(&run);
    write_all(&run);
    assert_int_equal(begin(&run, &checkpoint), LAYERS);
    for (size_t i = 0; i < LAYERS; i++) {
        struct ldnq_solver_options solver = { .trace = count_trace_row, .trace_ctx = &run };
        struct fitted_layer read, expected;
        init_fitted(&expected, (uint32_t)i + 1);
        init_fitted(&read, 0);
        const struct ldnq_layer_record record = make_record(&run, i, &read);
        run.rows_of_trace = 0;
        ldnq_checkpoint_trace_solver(&checkpoint, &solver);
        assert_ok(ldnq_checkpoint_read_layer(&checkpoint, &record, run.graph->arena, &err));
        assert_memory_equal(read.codes, expected.codes, sizeof read.codes);
        assert_memory_equal(read.scales, expected.scales, sizeof read.scales);
        assert_memory_equal(read.bias, expected.bias, sizeof read.bias);
        assert_memory_equal(read.diagnostics.deviation, expected.deviation, sizeof read.deviation);
        assert_true(read.solution.error == expected.solution.error);
        assert_ptr_equal(read.diagnostics.solver, ldnq_solver_find("gptq"));
        assert_string_equal(read.diagnostics.choice.rounding, "mse");
        assert_true(isnan(read.diagnostics.remaining_error));
        assert_int_equal(run.rows_of_trace, i);
    }
    ldnq_checkpoint_finish(&checkpoint);
    finish_run(&run);
}

static void a_file_with_any_other_byte_should_not_be_read(void **state)
{
    (void)state;
    struct recorded_run run;
    size_t size;
    init_run(&run);
    write_all(&run);
    unsigned char *bytes = read_record_file(1, &size);
    for (size_t at = 0; at < size; at++) {
        const unsigned char flipped = (unsigned char)(1u << at % 8);
        bytes[at] ^= flipped;
        write_record_file(1, bytes, size);
        bytes[at] ^= flipped;
        assert_int_equal(count_records(&run), 1);
        assert_int_equal(run.warnings, 1);
        assert_non_null(strstr(run.warning, "ldnq-0001-00001.layer: is damaged"));
    }
    write_record_file(1, bytes, size);
    assert_int_equal(count_records(&run), LAYERS);
    finish_run(&run);
}

static void a_file_of_any_other_length_should_not_be_read(void **state)
{
    (void)state;
    struct recorded_run run;
    size_t size;
    init_run(&run);
    write_all(&run);
    unsigned char *bytes = read_record_file(0, &size);
    for (size_t length = 0; length < size; length += 3) {
        write_record_file(0, bytes, length);
        assert_int_equal(count_records(&run), 0);
        assert_int_equal(run.warnings, 1);
    }
    bytes[size] = 0;
    write_record_file(0, bytes, size + 1);
    assert_int_equal(count_records(&run), 0);
    /* Blocks of zeros, as a file system may leave after a crash. */
    memset(bytes, 0, size);
    write_record_file(0, bytes, size);
    assert_int_equal(count_records(&run), 0);
    assert_int_equal(run.warnings, 1);
    finish_run(&run);
}

static void records_in_another_order_should_not_be_read(void **state)
{
    (void)state;
    struct recorded_run run;
    char first[128], second[128], aside[128];
    init_run(&run);
    write_all(&run);
    snprintf(aside, sizeof aside, "%s/aside", folder);
    assert_int_equal(rename(record_path(1, first), aside), 0);
    assert_int_equal(rename(record_path(2, second), first), 0);
    assert_int_equal(rename(aside, second), 0);
    assert_int_equal(count_records(&run), 1);
    finish_run(&run);
}

static void a_record_after_a_missing_one_should_not_be_read(void **state)
{
    (void)state;
    struct recorded_run run;
    char path[128];
    init_run(&run);
    write_all(&run);
    unlink(record_path(1, path));
    assert_int_equal(count_records(&run), 1);
    assert_int_equal(run.warnings, 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(count_records(&run), 1);
    finish_run(&run);
}

static void records_of_another_format_fit_or_layer_should_not_be_read(void **state)
{
    (void)state;
    struct recorded_run run;
    for (size_t at = FORMAT_AT; at <= KEY_AT + 8; at += 8) {
        init_run(&run);
        write_all(&run);
        rewrite_header(0, at, 77);
        assert_int_equal(count_records(&run), 0);
        assert_int_equal(run.warnings, 0); /* whole, but of another run */
        finish_run(&run);
    }
}

static void a_fit_of_anything_else_should_not_find_the_records(void **state)
{
    (void)state;
    struct recorded_run run;
    init_run(&run);
    write_all(&run);
    run.options.lambda = 0.5;
    assert_int_equal(count_records(&run), 0);
    run.options.lambda = 0;
    run.options.solver = ldnq_solver_find("beam");
    assert_int_equal(count_records(&run), 0);
    run.options.solver = ldnq_solver_find("gptq");
    run.layers[2].codebook = ldnq_codebook_find("int3");
    assert_int_equal(count_records(&run), 0);
    run.layers[2].codebook = ldnq_codebook_find("int4");
    run.result.network.count = 2;
    assert_int_equal(count_records(&run), 0);
    run.result.network.count = LAYERS;
    assert_int_equal(count_records(&run), LAYERS);
    finish_run(&run);
}

static void a_record_that_changes_during_the_run_should_be_an_error(void **state)
{
    (void)state;
    struct recorded_run run;
    struct ldnq_checkpoint checkpoint;
    struct fitted_layer read;
    char path[128];
    init_run(&run);
    write_all(&run);
    assert_int_equal(begin(&run, &checkpoint), LAYERS);
    init_fitted(&read, 0);
    unlink(record_path(1, path));
    const struct ldnq_layer_record record = make_record(&run, 1, &read);
    assert_fails(ldnq_checkpoint_read_layer(&checkpoint, &record, run.graph->arena, &err), LDNQ_IO,
                 "layer 1 has changed since the run began");
    ldnq_checkpoint_finish(&checkpoint);
    finish_run(&run);
}

static void a_record_that_can_not_be_written_should_be_a_warning_and_the_last(void **state)
{
    (void)state;
    struct recorded_run run;
    struct ldnq_checkpoint checkpoint;
    struct fitted_layer fitted;
    char path[128];
    init_run(&run);
    assert_int_equal(begin(&run, &checkpoint), 0);
    assert_int_equal(mkdir(record_path(0, path), 0700), 0);
    init_fitted(&fitted, 1);
    for (size_t i = 0; i < LAYERS; i++) {
        const struct ldnq_layer_record record = make_record(&run, i, &fitted);
        assert_ok(ldnq_checkpoint_write_layer(&checkpoint, &record, &run.sink, &err));
        assert_int_equal(run.warnings, 1);
        assert_int_equal(access(record_path(1, path), F_OK), -1);
    }
    assert_non_null(strstr(run.warning, "goes on without it"));
    ldnq_checkpoint_finish(&checkpoint);
    finish_run(&run);
}

/* Without memory nothing is stored and nothing is read; with it both are as ever. */
static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct recorded_run run;
    struct ldnq_checkpoint checkpoint = { .folder = folder };
    struct fitted_layer fitted;
    enum ldnq_status status = LDNQ_NOMEM;
    init_run(&run);
    assert_int_equal(begin(&run, &checkpoint), 0);
    init_fitted(&fitted, 1);
    const struct ldnq_layer_record record = make_record(&run, 0, &fitted);
    long count = 0;
    for (; status != LDNQ_OK; count++) {
        assert_int_equal(count_records(&run), 0);
        ldnq_alloc_fail_after(count);
        status = ldnq_checkpoint_write_layer(&checkpoint, &record, &run.sink, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
    }
    assert_true(count > 2 && run.warnings == 0 && !checkpoint.failed);
    status = LDNQ_NOMEM;
    for (count = 0; status != LDNQ_OK; count++) {
        checkpoint = (struct ldnq_checkpoint){ .folder = folder };
        ldnq_alloc_fail_after(count);
        status = ldnq_checkpoint_begin_fit(&checkpoint, &run.quantizer, &err);
        if (status == LDNQ_OK)
            status = ldnq_checkpoint_read_layer(&checkpoint, &record, run.graph->arena, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
    }
    assert_true(count > 4 && run.warnings == 0);
    assert_int_equal(checkpoint.recorded, 1);
    ldnq_checkpoint_finish(&checkpoint);
    finish_run(&run);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(what_is_read_should_have_the_bits_of_what_was_written),
        IN_A_FOLDER(a_file_with_any_other_byte_should_not_be_read),
        IN_A_FOLDER(a_file_of_any_other_length_should_not_be_read),
        IN_A_FOLDER(records_in_another_order_should_not_be_read),
        IN_A_FOLDER(a_record_after_a_missing_one_should_not_be_read),
        IN_A_FOLDER(records_of_another_format_fit_or_layer_should_not_be_read),
        IN_A_FOLDER(a_fit_of_anything_else_should_not_find_the_records),
        IN_A_FOLDER(a_record_that_changes_during_the_run_should_be_an_error),
        IN_A_FOLDER(a_record_that_can_not_be_written_should_be_a_warning_and_the_last),
        IN_A_FOLDER(any_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
