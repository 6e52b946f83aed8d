/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "report/canvas.h"

#define SIZE 16

static struct ldnq_error err;
static struct ldnq_arena *arena;
static struct ldnq_canvas *canvas;

static int set_up(void **state)
{
    (void)state;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_canvas_create(arena, SIZE, SIZE, &canvas, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    return 0;
}

static const uint8_t *pixel(size_t x, size_t y)
{
    return canvas->pixels + 4 * (y * canvas->width + x);
}

static void assert_pixel(size_t x, size_t y, unsigned r, unsigned g, unsigned b, unsigned a)
{
    const uint8_t want[4] = { (uint8_t)r, (uint8_t)g, (uint8_t)b, (uint8_t)a };
    assert_memory_equal(pixel(x, y), want, 4);
}

static const struct ldnq_colour RED = { 255, 0, 0, 255 }, HALF_BLUE = { 0, 0, 255, 128 };

static double covered(void)
{
    double sum = 0;
    for (size_t i = 0; i < SIZE * SIZE; i++)
        sum += canvas->pixels[4 * i + 3] / 255.0;
    return sum;
}

static void rectangle_should_cover_pixels_by_their_part(void **state)
{
    (void)state;
    ldnq_canvas_add_rectangle(canvas, 2, 3, 4.5, 5);
    ldnq_canvas_paint(canvas, RED);
    assert_pixel(2, 3, 255, 0, 0, 255);
    assert_pixel(3, 4, 255, 0, 0, 255);
    assert_pixel(4, 4, 255, 0, 0, 128);
    assert_pixel(5, 4, 0, 0, 0, 0);
    assert_pixel(1, 3, 0, 0, 0, 0);
    assert_pixel(2, 5, 0, 0, 0, 0);
}

static void line_should_cover_its_area(void **state)
{
    (void)state;
    ldnq_canvas_add_line(canvas, 3, 8, 13, 8, 2);
    ldnq_canvas_paint(canvas, RED);
    assert_pixel(8, 7, 255, 0, 0, 255);
    assert_pixel(8, 8, 255, 0, 0, 255);
    assert_pixel(8, 9, 0, 0, 0, 0);
    /* A rectangle and two half discs. */
    assert_true(fabs(covered() - (20 + 3.14159)) < 0.6);
}

static void dot_should_be_round(void **state)
{
    (void)state;
    ldnq_canvas_add_dot(canvas, 8, 8, 5);
    ldnq_canvas_paint(canvas, RED);
    assert_true(fabs(covered() - 3.14159 * 25) < 1);
    assert_pixel(8, 8, 255, 0, 0, 255);
    assert_pixel(3, 3, 0, 0, 0, 0);
    for (size_t y = 0; y < SIZE; y++)
        for (size_t x = 0; x < SIZE; x++)
            assert_memory_equal(pixel(x, y), pixel(SIZE - 1 - x, y), 4);
}

static void colour_should_lie_over_what_is_there(void **state)
{
    (void)state;
    ldnq_canvas_add_rectangle(canvas, 0, 0, 8, 8);
    ldnq_canvas_paint(canvas, RED);
    ldnq_canvas_add_rectangle(canvas, 4, 0, 12, 8);
    ldnq_canvas_paint(canvas, HALF_BLUE);
    assert_pixel(2, 2, 255, 0, 0, 255);
    assert_pixel(6, 2, 127, 0, 128, 255);
    assert_pixel(10, 2, 0, 0, 255, 128); /* its colour is not mixed with the void's */
}

static void shapes_of_one_paint_should_not_show_through_each_other(void **state)
{
    (void)state;
    ldnq_canvas_add_rectangle(canvas, 0, 0, 8, 8);
    ldnq_canvas_add_rectangle(canvas, 4, 0, 12, 8);
    ldnq_canvas_paint(canvas, HALF_BLUE);
    assert_pixel(2, 2, 0, 0, 255, 128);
    assert_pixel(6, 2, 0, 0, 255, 128);
    /* And the mask is empty afterwards. */
    ldnq_canvas_paint(canvas, RED);
    assert_pixel(6, 2, 0, 0, 255, 128);
}

static void shapes_outside_and_without_place_should_do_nothing(void **state)
{
    (void)state;
    ldnq_canvas_add_line(canvas, -50, -50, -20, -3, 4);
    ldnq_canvas_add_line(canvas, NAN, 2, 3, 4, 4);
    ldnq_canvas_add_line(canvas, 1, INFINITY, 3, 4, 4);
    ldnq_canvas_add_rectangle(canvas, 20, 2, 1e300, 5);
    ldnq_canvas_add_rectangle(canvas, NAN, 2, 9, 5);
    ldnq_canvas_add_dot(canvas, 8, 1e9, 4);
    ldnq_canvas_paint(canvas, RED);
    assert_true(covered() == 0);
    ldnq_canvas_add_rectangle(canvas, -1e300, -5, 1e300, 50);
    ldnq_canvas_paint(canvas, RED);
    assert_true(covered() == SIZE * SIZE);
}

static void reduce_should_leave_the_colours_of_charts_alone(void **state)
{
    (void)state;
    const struct ldnq_colour colours[] = {
        LDNQ_COLOUR_FLOAT,       LDNQ_COLOUR_QUANTIZED, LDNQ_COLOUR_ISOLATED,
        LDNQ_COLOUR_ACCUMULATED, LDNQ_COLOUR_GRID,      LDNQ_COLOUR_BASE,
    };
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++) {
        memset(canvas->pixels, 0, SIZE * SIZE * 4);
        ldnq_canvas_add_rectangle(canvas, 0, 0, 3.02, SIZE);
        ldnq_canvas_paint(canvas, colours[i]);
        ldnq_canvas_reduce_colours(canvas);
        assert_memory_equal(pixel(1, 1), &colours[i], 4);
        assert_pixel(3, 1, 0, 0, 0, 0);
    }
}

/* WCAG's relative luminance. */
static double luminance(double r, double g, double b)
{
    const double parts[3] = { r, g, b };
    const double weights[3] = { 0.2126, 0.7152, 0.0722 };
    double sum = 0;
    for (size_t i = 0; i < 3; i++) {
        const double c = parts[i] / 255;
        sum += weights[i] * (c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static void colours_should_be_seen_on_light_and_on_dark(void **state)
{
    (void)state;
    const struct ldnq_colour colours[] = { LDNQ_COLOUR_FLOAT, LDNQ_COLOUR_QUANTIZED,
                                           LDNQ_COLOUR_ISOLATED, LDNQ_COLOUR_ACCUMULATED };
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++) {
        const double light = luminance(colours[i].red, colours[i].green, colours[i].blue);
        assert_true(1.05 / (light + 0.05) >= 3);
        /* #1b1f24, the lighter one of the dark page's backgrounds. */
        assert_true((light + 0.05) / (luminance(0x1b, 0x1f, 0x24) + 0.05) >= 3);
    }
}

static void canvas_should_refuse_what_memory_does_not_hold(void **state)
{
    (void)state;
    struct ldnq_canvas *other;
    assert_fails(ldnq_canvas_create(arena, SIZE_MAX / 2, 3, &other, &err), LDNQ_NOMEM, "too large");
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM; allowed++) {
        ldnq_alloc_fail_after(allowed);
        status = ldnq_canvas_create(arena, 2000, 2000, &other, &err);
        ldnq_alloc_fail_after(-1);
    }
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(rectangle_should_cover_pixels_by_their_part),
        TEST(line_should_cover_its_area),
        TEST(dot_should_be_round),
        TEST(colour_should_lie_over_what_is_there),
        TEST(shapes_of_one_paint_should_not_show_through_each_other),
        TEST(shapes_outside_and_without_place_should_do_nothing),
        TEST(reduce_should_leave_the_colours_of_charts_alone),
        TEST(colours_should_be_seen_on_light_and_on_dark),
        TEST(canvas_should_refuse_what_memory_does_not_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
