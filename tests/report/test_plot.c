/* SPDX-License-Identifier: Apache-2.0 */
/* Charts drawn of diffs that are made by hand, looked at pixel by pixel. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "report/plot.h"

#define WIDTH ((size_t)400)
#define HEIGHT ((size_t)200)

static struct ldnq_error err;
static struct ldnq_arena *arena;
static struct ldnq_canvas *canvas;

static int set_up(void **state)
{
    (void)state;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_canvas_create(arena, WIDTH, HEIGHT, &canvas, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    return 0;
}

/* The pixel under the point at these values of the axes is of the colour. */
static bool is_at(const struct ldnq_plot *plot, double x, double y, struct ldnq_colour colour)
{
    const double px = ldnq_plot_convert_value_to_x(plot, canvas, x),
                 py = ldnq_plot_convert_value_to_y(plot, canvas, y);
    assert_true(px >= 0 && px < (double)WIDTH && py >= 0 && py < (double)HEIGHT);
    const uint8_t *pixel = canvas->pixels + 4 * ((size_t)py * WIDTH + (size_t)px);
    const uint8_t *want = (const uint8_t *)&colour;
    return memcmp(pixel, want, 3) == 0 && pixel[3] > 100;
}

#define LAYERS 4

static struct ldnq_diff make_diff(struct ldnq_diff_layer *layers)
{
    static const double isolated[LAYERS] = { 30, INFINITY, 12, NAN };
    static const double accumulated[LAYERS] = { 28, 26, 11, 10 };
    for (size_t i = 0; i < LAYERS; i++)
        layers[i] = (struct ldnq_diff_layer){
            .node = "n",
            .op = "Conv",
            .weights = 1000,
            .bytes_a = 4000 * (i + 1),
            .bytes_b = 500 * (i + 1),
            .bits = i == 3 ? NAN : 4,
            .isolated = { isolated[i], 1 },
            .accumulated = { accumulated[i], 1 },
        };
    return (struct ldnq_diff){ .layers = layers, .layer_count = LAYERS, .samples = 5 };
}

static void error_should_be_drawn_at_its_values(void **state)
{
    (void)state;
    struct ldnq_diff_layer layers[LAYERS];
    const struct ldnq_diff diff = make_diff(layers);
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_sqnr_by_layer(&diff, &plot));
    assert_true(plot.y.low <= 10 && plot.y.high >= 30);
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, 1, 29.9, LDNQ_COLOUR_ISOLATED));
    assert_true(is_at(&plot, 3, 12, LDNQ_COLOUR_ISOLATED));
    assert_true(is_at(&plot, 2, 26, LDNQ_COLOUR_ACCUMULATED));
    assert_true(is_at(&plot, 2.5, 18.5, LDNQ_COLOUR_ACCUMULATED));
    /* No line to a layer without a value. */
    assert_false(is_at(&plot, 1.5, 21, LDNQ_COLOUR_ISOLATED));
    assert_false(is_at(&plot, 2, 21, LDNQ_COLOUR_ISOLATED));
}

static void error_should_not_be_drawn_without_samples(void **state)
{
    (void)state;
    struct ldnq_diff_layer layers[LAYERS];
    struct ldnq_diff diff = make_diff(layers);
    struct ldnq_plot plot;
    diff.samples = 0;
    assert_false(ldnq_plot_init_sqnr_by_layer(&diff, &plot));
    diff.samples = 5;
    for (size_t i = 0; i < LAYERS; i++)
        layers[i].isolated.sqnr = layers[i].accumulated.sqnr = INFINITY;
    assert_false(ldnq_plot_init_sqnr_by_layer(&diff, &plot));
    diff.layer_count = 0;
    assert_false(
        ldnq_plot_init_sqnr_by_layer(&diff, &plot) || ldnq_plot_init_weight_bytes(&diff, &plot) ||
        ldnq_plot_init_bits_per_weight(&diff, &plot) || ldnq_plot_init_convergence(&diff, &plot));
}

static void bars_should_be_as_high_as_their_values(void **state)
{
    (void)state;
    struct ldnq_diff_layer layers[LAYERS];
    const struct ldnq_diff diff = make_diff(layers);
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_weight_bytes(&diff, &plot));
    assert_string_equal(plot.y.ticks[1].label, "5 kB");
    plot.draw(&plot, canvas);
    struct ldnq_colour background = LDNQ_COLOUR_FLOAT;
    assert_true(is_at(&plot, 4.3, 15700, background));
    assert_false(is_at(&plot, 4.3, 16400, background));
    assert_true(is_at(&plot, 4, 1800, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, 4, 2300, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, 3.5, 3000, background));
}

static void bits_should_leave_out_layers_without_weights(void **state)
{
    (void)state;
    struct ldnq_diff_layer layers[LAYERS];
    const struct ldnq_diff diff = make_diff(layers);
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_bits_per_weight(&diff, &plot));
    plot.draw(&plot, canvas);
    assert_true(plot.y.low == 0 && plot.y.high == 4);
    assert_true(is_at(&plot, 1, 3.8, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, 4, 1, LDNQ_COLOUR_QUANTIZED));
}

static void estimate_should_be_drawn_where_there_is_one(void **state)
{
    (void)state;
    struct ldnq_diff_layer layers[LAYERS];
    struct ldnq_diff diff = make_diff(layers);
    const struct ldnq_diff_estimate estimate = { .error = 0.1, .measured = 0.1 };
    struct ldnq_plot plot;
    for (size_t i = 0; i < LAYERS; i++)
        layers[i].output_estimate = i == 2 ? NAN : 0.02 * (double)(i + 1);
    assert_false(ldnq_plot_init_estimate(&diff, &plot));
    diff.estimate = &estimate;
    assert_true(ldnq_plot_init_estimate(&diff, &plot));
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, 1, 0.01, LDNQ_COLOUR_ACCUMULATED));
    assert_false(is_at(&plot, 1, 0.03, LDNQ_COLOUR_ACCUMULATED));
    assert_false(is_at(&plot, 3, 0.01, LDNQ_COLOUR_ACCUMULATED));
    assert_true(is_at(&plot, 4, 0.07, LDNQ_COLOUR_ACCUMULATED));
}

static void spread_should_show_one_weight_and_many(void **state)
{
    (void)state;
    static struct ldnq_weight_distribution spread = { .low = -1, .high = 1 };
    spread.a[0] = 1;
    spread.a[32] = 1000;
    spread.b[40] = 100;
    const struct ldnq_diff_layer layer = { .distribution = &spread };
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_weight_histograms(&layer, &plot));
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, -1 + 1.0 / 64, 0.9, LDNQ_COLOUR_FLOAT));
    assert_false(is_at(&plot, -1 + 1.0 / 64, 1.2, LDNQ_COLOUR_FLOAT));
    assert_true(is_at(&plot, 1.0 / 64, 900, LDNQ_COLOUR_FLOAT));
    assert_true(is_at(&plot, 0.25 + 1.0 / 64, 90, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, 0.25 + 1.0 / 64, 120, LDNQ_COLOUR_QUANTIZED));
    memset(&spread.a, 0, sizeof spread.a);
    memset(&spread.b, 0, sizeof spread.b);
    assert_false(ldnq_plot_init_weight_histograms(&layer, &plot));
    assert_false(ldnq_plot_init_weight_histograms(&(struct ldnq_diff_layer){ 0 }, &plot));
}

static void scatter_should_have_equal_axes(void **state)
{
    (void)state;
    static const float points[3][2] = { { -1, -0.5f }, { 0.5f, 1 }, { NAN, 0 } };
    struct ldnq_weight_distribution spread = { .point_count = 3, .points = points };
    const struct ldnq_diff_layer layer = { .distribution = &spread };
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_weight_scatter(&layer, &plot));
    assert_true(plot.x.low == plot.y.low && plot.x.high == plot.y.high && plot.x.low < -1);
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, -1, -0.5, LDNQ_COLOUR_QUANTIZED));
    assert_true(is_at(&plot, 0.5, 1, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, 0.5, -0.5, LDNQ_COLOUR_QUANTIZED));
    spread.point_count = 0;
    assert_false(ldnq_plot_init_weight_scatter(&layer, &plot));
}

static void convergence_should_be_drawn_at_its_values(void **state)
{
    (void)state;
    static const struct ldnq_diff_iteration rows[] = {
        { .iteration = 1, .objective = 1 },
        { .iteration = 2, .objective = 0.1 },
        { .iteration = 3, .objective = 0 },
    };
    struct ldnq_diff_layer layer = { .trace = rows, .trace_count = 3 };
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_layer_convergence(&layer, &plot));
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, 1.5, sqrt(0.1), LDNQ_COLOUR_ISOLATED));
    assert_false(is_at(&plot, 2.5, 0.12, LDNQ_COLOUR_ISOLATED));
    layer.trace += 2;
    layer.trace_count = 1;
    assert_false(ldnq_plot_init_layer_convergence(&layer, &plot));
}

static void codes_should_have_ticks_at_codes(void **state)
{
    (void)state;
    static const uint64_t histogram[] = { 10, 0, 30 };
    const struct ldnq_quantized_tensor tensor = {
        .is_constant = true, .histogram_first = -1, .histogram_count = 3, .histogram = histogram
    };
    const struct ldnq_diff_layer layer = { .weight = &tensor };
    struct ldnq_plot plot;
    assert_true(ldnq_plot_init_code_counts(&layer, &plot));
    assert_int_equal(plot.x.tick_count, 3);
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, -1, 9, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, -1, 11, LDNQ_COLOUR_QUANTIZED));
    assert_true(is_at(&plot, 1, 29, LDNQ_COLOUR_QUANTIZED));
    assert_false(is_at(&plot, 0, 1, LDNQ_COLOUR_QUANTIZED));
}

static void goal_should_show_what_was_tried_and_the_limit(void **state)
{
    (void)state;
    struct ldnq_diff_goal_step steps[] = { { .bytes = 1000, .value = 10 },
                                           { .bytes = 4000, .value = 40, .meets = true },
                                           { .bytes = 2000, .value = 25, .meets = true },
                                           { .bytes = 8000, .value = INFINITY, .meets = true } };
    const struct ldnq_diff_goal goal = {
        .measure = "SQNR in dB", .limit = 20, .steps = steps, .step_count = 4, .chosen = 2
    };
    struct ldnq_diff diff = { .samples = 5 };
    struct ldnq_plot plot;
    assert_false(ldnq_plot_init_goal(&diff, &plot));
    diff.goal = &goal;
    assert_true(ldnq_plot_init_goal(&diff, &plot));
    plot.draw(&plot, canvas);
    assert_true(is_at(&plot, 1000, 10.5, LDNQ_COLOUR_ISOLATED));
    assert_true(is_at(&plot, 4000, 39.5, LDNQ_COLOUR_ISOLATED));
    assert_true(is_at(&plot, 2000, 25, LDNQ_COLOUR_QUANTIZED));
    assert_true(is_at(&plot, 5000, 20, LDNQ_COLOUR_FLOAT));
    assert_false(is_at(&plot, 5000, 30, LDNQ_COLOUR_ISOLATED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(error_should_be_drawn_at_its_values),
        TEST(error_should_not_be_drawn_without_samples),
        TEST(bars_should_be_as_high_as_their_values),
        TEST(bits_should_leave_out_layers_without_weights),
        TEST(estimate_should_be_drawn_where_there_is_one),
        TEST(spread_should_show_one_weight_and_many),
        TEST(scatter_should_have_equal_axes),
        TEST(convergence_should_be_drawn_at_its_values),
        TEST(codes_should_have_ticks_at_codes),
        TEST(goal_should_show_what_was_tried_and_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
