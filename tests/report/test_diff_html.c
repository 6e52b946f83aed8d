/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "report/html_page.h"
#include "report/report.h"
#include "sample_diff.h"

static struct ldnq_error err;
static struct ldnq_arena *arena;
static struct ldnq_buffer page;

static int set_up(void **state)
{
    (void)state;
    assert_ok(ldnq_arena_create(&arena, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    ldnq_buffer_finish(&page);
    return 0;
}

/* The page, NUL-terminated. */
static const char *write_page(const struct ldnq_diff *diff)
{
    ldnq_buffer_finish(&page);
    ldnq_html_write_page(&page, diff);
    ldnq_buffer_append(&page, "", 1);
    assert_false(page.failed);
    return page.data;
}

static const char *write_sample(struct sample_options options)
{
    return write_page(sample_diff(arena, &options));
}

static bool has(const char *text)
{
    return strstr(page.data, text) != NULL;
}

static size_t count_of(const char *text)
{
    size_t count = 0;
    for (const char *at = page.data; (at = strstr(at, text)); at++)
        count++;
    return count;
}

static void page_should_hold_everything_of_a_full_diff(void **state)
{
    (void)state;
    write_sample((struct sample_options){ 54, true, true, true });
    static const char *const parts[] = {
        "id=\"verdict\"",  "id=\"strip\"",   "id=\"layers\"", "id=\"network\"",
        "id=\"summary\"",  "id=\"tensors\"", "id=\"graph\"",  "id=\"reproduce\"",
        "Output SQNR",     "top-1",          "KL, nats",      "Layers that cost most",
        "id=\"layer-54\"",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!has(parts[i]))
            fail_msg("%s is missing", parts[i]);
    assert_int_equal(count_of("<details class=\"layer\""), 54);
    assert_int_equal(count_of("<img "), 1 + 4 + 4 * 50);
    assert_int_equal(count_of(" alt=\""), count_of("<img "));
}

/* The samples are named, a share has its interval, and a bound above 1 is a footnote alone. */
static void figures_should_say_what_they_are(void **state)
{
    (void)state;
    const struct sample_options options = { 6, true, true, false };
    struct ldnq_diff *diff = sample_diff(arena, &options);
    diff->measured_on = "20 held-out samples";
    diff->outputs[0].bound = 3.6e12;
    write_page(diff);
    assert_true(has("measured on 20 held-out samples"));
    assert_true(has("97.5<small>%</small></b><span>95\xc2\xa0% interval 95.7 to 98.5\xc2\xa0%"));
    assert_true(has("Noise-to-signal ratio</th>") && has("above 1 it says nothing"));
    assert_false(has("Its bound") || has("Relative error") || has("relative error"));
    assert_true(has("in data files)"));
    diff->outputs[0].bound = 0.5;
    write_page(diff);
    assert_true(has("Its bound</th>"));
}

static void page_should_leave_out_what_was_not_measured(void **state)
{
    (void)state;
    write_sample((struct sample_options){ 54, true, false, false });
    assert_false(has("Output SQNR") || has("Top-1") || has("Error along") || has("The outputs"));
    assert_false(has("data-k=\"isolated\"") || has("data-k=\"cosine\"") || has("Convergence"));
    /* The error of the weight is then no choice of the reader's. */
    assert_true(has("data-k=\"weight_sqnr\" class=\"n\" aria-sort"));
    write_sample((struct sample_options){ 12, false, true, false });
    assert_false(has("id=\"tensors\"") || has("id=\"graph\"") || has(">Codes<"));
    assert_true(has("unchanged") || has("larger") || has("smaller"));
    write_sample((struct sample_options){ 0, false, false, false });
    assert_false(has("<img") || has("id=\"layers\"") || has("href=\"#layers\""));
}

static void page_should_be_utf8_without_markup_of_a_model(void **state)
{
    (void)state;
    assert_true(ldnq_utf8_is_valid(write_sample((struct sample_options){ 54, true, true, true })));
    assert_false(has("<script>window.evil") || has("\" onmouseover=") || has("<b>bold") ||
                 has("<img src=x") || has("\x7f") || has("\x01") || has("\xe2\x80\xae"));
    assert_true(has("&lt;script&gt;window.evil = 1&lt;/script&gt;"));
    assert_true(has("resnet &lt;50&gt;.onnx"));
    assert_int_equal(count_of("<script>"), 1);
    /* Nothing is fetched. */
    assert_false(has("http:") || has("https:") || has("@import") || has("url("));
}

static void page_should_be_the_same_every_time(void **state)
{
    (void)state;
    const struct sample_options options = { 20, true, true, true };
    char *first = strdup(write_sample(options));
    assert_string_equal(write_sample(options), first);
    free(first);
}

static void three_hundred_layers_should_be_below_five_megabytes(void **state)
{
    (void)state;
    write_sample((struct sample_options){ 300, true, true, true });
    assert_true(page.size < 5000000);
}

static void page_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    /* Without the two largest pictures, which are made in the same way as the others. */
    struct ldnq_diff *diff = sample_diff(arena, &(struct sample_options){ 1, true, false, false });
    ldnq_alloc_fail_after(-1);
    write_page(diff);
    const long all = ldnq_alloc_count();
    assert_true(all > 50);
    for (long allowed = 0; allowed < all; allowed++) {
        ldnq_alloc_fail_after(allowed);
        const enum ldnq_status status = ldnq_diff_write_html(diff, "/dev/null", &err);
        ldnq_alloc_fail_after(-1);
        /* The page itself needs `all` but for the NUL; the file some more. */
        if (status == LDNQ_OK)
            fail_msg("succeeded with %ld of %ld allocations", allowed, all);
        assert_int_equal(status, LDNQ_NOMEM);
    }
}

static void page_should_be_written_or_not_at_all(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_diff_html_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/page.html", folder);
    struct ldnq_diff *diff = sample_diff(arena, &(struct sample_options){ 1, true, true, true });
    assert_ok(ldnq_diff_write_html(diff, path, &err));
    assert_int_equal(unlink(path), 0);
    ldnq_alloc_fail_after(40);
    assert_fails(ldnq_diff_write_html(diff, path, &err), LDNQ_NOMEM, "out of memory");
    ldnq_alloc_fail_after(-1);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(folder), 0);
    assert_fails(ldnq_diff_write_html(diff, path, &err), LDNQ_IO, path);
}

static void shapes_should_print_open_sizes_and_unknown_ranks(void **state)
{
    (void)state;
    static const struct {
        struct ldnq_diff_shape shape;
        const char *text;
    } cases[] = {
        { { .rank = 4, .dim = { LDNQ_DIFF_OPEN, 64, 3, 3 } }, "(?,64,3,3)" },
        { { .rank = 1, .dim = { 7 } }, "(7)" },
        { { .rank = 0 }, "()" },
        { { .rank = LDNQ_DIFF_OPEN }, "(unknown rank)" },
    };
    char text[LDNQ_HTML_SHAPE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(ldnq_html_print_shape(&cases[i].shape, text, sizeof text),
                            cases[i].text);
    assert_string_equal(ldnq_html_print_shape(&cases[0].shape, text, 6), "(?,64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(page_should_hold_everything_of_a_full_diff),
        TEST(figures_should_say_what_they_are),
        TEST(page_should_leave_out_what_was_not_measured),
        TEST(page_should_be_utf8_without_markup_of_a_model),
        TEST(page_should_be_the_same_every_time),
        TEST(three_hundred_layers_should_be_below_five_megabytes),
        TEST(page_should_come_back_from_any_failed_allocation),
        TEST(page_should_be_written_or_not_at_all),
        TEST(shapes_should_print_open_sizes_and_unknown_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
