/* SPDX-License-Identifier: Apache-2.0 */
/* What the program prints of a job's progress, by a clock of the test's own. */
#define _GNU_SOURCE /* usleep */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"

static double seconds;

static double read_test_clock(void)
{
    return seconds;
}

/* The lines that were printed so far. */
struct printed {
    struct cli_progress progress;
    char *text;
    size_t size;
};

static void start(struct printed *printed, bool is_quiet)
{
    seconds = 100;
    FILE *stream = open_memstream(&printed->text, &printed->size);
    assert_non_null(stream);
    cli_progress_init(&printed->progress, is_quiet, stream, read_test_clock);
}

static const char *read_text(struct printed *printed)
{
    fflush(printed->progress.stream);
    return printed->text;
}

static void finish(struct printed *printed)
{
    cli_progress_finish(&printed->progress);
    fclose(printed->progress.stream);
    free(printed->text);
}

static void report(struct printed *printed, const char *stage, const char *detail, size_t done)
{
    const struct ldnq_progress at = { stage, detail, done, 100 };
    assert_int_equal(cli_progress_update(&printed->progress, &at), 0);
}

/* Half a second passes at a time, as it does for the timer. */
static void pass(struct printed *printed, double duration)
{
    for (const double end = seconds + duration; seconds < end;) {
        seconds += 0.5;
        cli_progress_tick(&printed->progress);
    }
}

static void a_line_should_come_within_two_seconds_without_any_callback(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    pass(&printed, 0.5);
    assert_string_equal(read_text(&printed), "");
    pass(&printed, 1);
    assert_string_equal(read_text(&printed), "prepare: 0 %, 1 s so far\n");
    pass(&printed, 9);
    assert_string_equal(read_text(&printed), "prepare: 0 %, 1 s so far\n");
    pass(&printed, 1);
    assert_string_equal(read_text(&printed),
                        "prepare: 0 %, 1 s so far\nprepare: 0 %, 11 s so far\n");
    finish(&printed);
}

static void a_run_below_a_second_should_print_nothing(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    pass(&printed, 0.5);
    report(&printed, "quantize", "a", 0);
    pass(&printed, 0.5);
    report(&printed, "quantize", "b", 100);
    assert_string_equal(read_text(&printed), "");
    finish(&printed);
}

static void the_time_left_should_run_down_between_two_callbacks(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    report(&printed, "quantize", "conv1", 0);
    seconds += 20;
    report(&printed, "quantize", "conv2", 25);
    assert_string_equal(read_text(&printed), "quantize: 25 %, 1:00 min left, at conv2\n");
    pass(&printed, 10);
    assert_non_null(strstr(read_text(&printed), "quantize: 25 %, 50 s left, at conv2\n"));
    pass(&printed, 50);
    assert_non_null(strstr(read_text(&printed), "quantize: 25 %, 0 s left, at conv2\n"));
    /* The estimate was wrong. */
    pass(&printed, 10);
    assert_non_null(strstr(read_text(&printed), "quantize: 25 %, 1:30 min so far, at conv2\n"));
    finish(&printed);
}

static void a_stage_should_have_a_clock_of_its_own(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    seconds += 40;
    report(&printed, "calibrate", NULL, 100);
    seconds += 1;
    report(&printed, "quantize", "conv1", 0);
    seconds += 2;
    report(&printed, "quantize", "conv1", 50);
    assert_string_equal(read_text(&printed), "quantize: 50 %, 2 s left, at conv1\n");
    finish(&printed);
}

static void names_of_a_model_should_reach_no_terminal_as_they_are(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    report(&printed, "quantize", "a\033[2J", 0);
    pass(&printed, 1);
    assert_string_equal(read_text(&printed), "quantize: 0 %, 1 s so far, at a?[2J\n");
    finish(&printed);
}

static void quiet_should_print_nothing(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, true);
    pass(&printed, 30);
    report(&printed, "quantize", NULL, 50);
    pass(&printed, 30);
    assert_string_equal(read_text(&printed), "");
    finish(&printed);
}

static void a_terminal_should_have_a_bar_that_the_timer_redraws(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    printed.progress.is_terminal = true;
    printed.progress.width = 60;
    report(&printed, "quantize", "conv1", 0);
    pass(&printed, 1.5);
    assert_non_null(
        strstr(read_text(&printed), "\r\033[Kquantize [........................]   0 %  "));
    report(&printed, "quantize", "a-name-that-is-too-long-for-the-line", 50);
    pass(&printed, 0.5);
    const char *bar = strrchr(read_text(&printed), '\r');
    assert_non_null(strstr(bar, "quantize [############............]  50 %  1 s left"));
    assert_int_equal(strlen(bar), strlen("\r\033[K") + 59);
    cli_progress_finish(&printed.progress);
    assert_non_null(strstr(read_text(&printed), "\r\033[K"));
    assert_string_equal(strrchr(read_text(&printed), '\r'), "\r\033[K");
    finish(&printed);
}

static void progress_beyond_its_total_should_be_the_end(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    start(&printed, false);
    seconds += 5;
    report(&printed, "goal", NULL, 0);
    seconds += 5;
    report(&printed, "goal", NULL, 130);
    assert_string_equal(read_text(&printed), "goal: 100 %, 0 s left\n");
    finish(&printed);
}

static bool has_text(struct printed *printed)
{
    pthread_mutex_lock(&printed->progress.mutex);
    const bool has = read_text(printed)[0];
    pthread_mutex_unlock(&printed->progress.mutex);
    return has;
}

static void the_timer_should_print_while_the_job_is_silent(void **state)
{
    (void)state;
    struct printed printed = { 0 };
    struct ldnq_error err;
    struct cli_line line = { 0 };
    assert_ok(ldnq_options_create(&line.options, &err));
    start(&printed, false);
    seconds += 5;
    cli_progress_start(&printed.progress, &line);
    printed.progress.is_terminal = false;
    while (!has_text(&printed))
        usleep(10000);
    finish(&printed);
    ldnq_options_destroy(line.options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_should_come_within_two_seconds_without_any_callback),
        cmocka_unit_test(a_run_below_a_second_should_print_nothing),
        cmocka_unit_test(the_time_left_should_run_down_between_two_callbacks),
        cmocka_unit_test(a_stage_should_have_a_clock_of_its_own),
        cmocka_unit_test(names_of_a_model_should_reach_no_terminal_as_they_are),
        cmocka_unit_test(quiet_should_print_nothing),
        cmocka_unit_test(a_terminal_should_have_a_bar_that_the_timer_redraws),
        cmocka_unit_test(the_timer_should_print_while_the_job_is_silent),
        cmocka_unit_test(progress_beyond_its_total_should_be_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
