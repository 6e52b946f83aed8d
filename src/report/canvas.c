/* SPDX-License-Identifier: Apache-2.0 */
#include "report/canvas.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

enum ldnq_status ldnq_canvas_create(struct ldnq_arena *arena, size_t width, size_t height,
                                    struct ldnq_canvas **out, struct ldnq_error *err)
{
    size_t count;
    if (!ldnq_size_mul(width, height, &count))
        return ldnq_fail(err, LDNQ_NOMEM, "a picture of %zu x %zu pixels is too large", width,
                         height);
    struct ldnq_canvas *canvas = ldnq_arena_alloc(arena, 1, sizeof *canvas, err);
    if (!canvas)
        return LDNQ_NOMEM;
    canvas->width = width;
    canvas->height = height;
    canvas->pixels = ldnq_arena_alloc(arena, count, 4, err);
    if (canvas->pixels)
        canvas->mask = ldnq_arena_alloc(arena, count, 1, err);
    *out = canvas;
    return canvas->mask ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- the mask ------------------------------------------------------------------------ */

/* The pixels that a shape may touch. */
struct canvas_box {
    size_t x0, y0, x1, y1;
};

static double round_to_subpixel(double value)
{
    return rint(value * 64) / 64;
}

static size_t clamp_pixel_index(double value, size_t most)
{
    return !(value > 0) ? 0 : value < (double)most ? (size_t)value : most;
}

/* The box of a shape between two points, with a margin around it. Extends the dirty region. */
static struct canvas_box compute_bounding_box(struct ldnq_canvas *canvas, double x0, double y0,
                                              double x1, double y1, double margin)
{
    const struct canvas_box box = {
        clamp_pixel_index(floor(fmin(x0, x1) - margin), canvas->width),
        clamp_pixel_index(floor(fmin(y0, y1) - margin), canvas->height),
        clamp_pixel_index(ceil(fmax(x0, x1) + margin), canvas->width),
        clamp_pixel_index(ceil(fmax(y0, y1) + margin), canvas->height),
    };
    if (box.x0 >= box.x1 || box.y0 >= box.y1)
        return (struct canvas_box){ 0 };
    const bool is_clean = canvas->dirty_x1 == 0;
    canvas->dirty_x0 = is_clean ? box.x0 : ldnq_size_min(canvas->dirty_x0, box.x0);
    canvas->dirty_y0 = is_clean ? box.y0 : ldnq_size_min(canvas->dirty_y0, box.y0);
    canvas->dirty_x1 = ldnq_size_max(canvas->dirty_x1, box.x1);
    canvas->dirty_y1 = ldnq_size_max(canvas->dirty_y1, box.y1);
    return box;
}

static void raise_pixel_coverage(struct ldnq_canvas *canvas, size_t x, size_t y, double part)
{
    uint8_t *at = canvas->mask + y * canvas->width + x;
    const double value = rint(255 * fmin(fmax(part, 0), 1));
    if (value > *at)
        *at = (uint8_t)value;
}

void ldnq_canvas_add_line(struct ldnq_canvas *canvas, double x0, double y0, double x1, double y1,
                          double width)
{
    if (!isfinite(x0 + y0 + x1 + y1))
        return;
    x0 = round_to_subpixel(x0), y0 = round_to_subpixel(y0), x1 = round_to_subpixel(x1),
    y1 = round_to_subpixel(y1);
    const double dx = x1 - x0, dy = y1 - y0, length2 = dx * dx + dy * dy;
    const struct canvas_box box = compute_bounding_box(canvas, x0, y0, x1, y1, width / 2 + 1);
    for (size_t y = box.y0; y < box.y1; y++)
        for (size_t x = box.x0; x < box.x1; x++) {
            /* Distance of the pixel's centre from the nearest point of the line. */
            const double px = (double)x + 0.5 - x0, py = (double)y + 0.5 - y0;
            const double t = length2 > 0 ? fmin(fmax((px * dx + py * dy) / length2, 0), 1) : 0;
            const double ex = px - t * dx, ey = py - t * dy;
            raise_pixel_coverage(canvas, x, y, width / 2 + 0.5 - sqrt(ex * ex + ey * ey));
        }
}

void ldnq_canvas_add_dot(struct ldnq_canvas *canvas, double x, double y, double radius)
{
    ldnq_canvas_add_line(canvas, x, y, x, y, 2 * radius);
}

/* The part of pixel `at` between low and high. */
static double compute_pixel_overlap(size_t at, double low, double high)
{
    return fmin(high, (double)at + 1) - fmax(low, (double)at);
}

void ldnq_canvas_add_rectangle(struct ldnq_canvas *canvas, double x0, double y0, double x1,
                               double y1)
{
    if (!isfinite(x0 + y0 + x1 + y1))
        return;
    const double left = round_to_subpixel(fmin(x0, x1)), right = round_to_subpixel(fmax(x0, x1));
    const double top = round_to_subpixel(fmin(y0, y1)), bottom = round_to_subpixel(fmax(y0, y1));
    const struct canvas_box box = compute_bounding_box(canvas, left, top, right, bottom, 0);
    for (size_t y = box.y0; y < box.y1; y++)
        for (size_t x = box.x0; x < box.x1; x++)
            raise_pixel_coverage(canvas, x, y,
                                 compute_pixel_overlap(x, left, right) *
                                     compute_pixel_overlap(y, top, bottom));
}

/* ---- the pixels ---------------------------------------------------------------------- */

/* Composes the colour over the pixel, with `alpha` in place of its own. */
static void blend_pixel(uint8_t *pixel, struct ldnq_colour colour, unsigned alpha)
{
    const unsigned below = pixel[3] * (255 - alpha); /* both in units of 1/255^2 */
    const unsigned above = alpha * 255, sum = above + below;
    if (alpha == 0)
        return;
    const uint8_t parts[3] = { colour.red, colour.green, colour.blue };
    for (size_t i = 0; i < 3; i++)
        pixel[i] = (uint8_t)((parts[i] * above + pixel[i] * below + sum / 2) / sum);
    pixel[3] = (uint8_t)((sum + 127) / 255);
}

void ldnq_canvas_paint(struct ldnq_canvas *canvas, struct ldnq_colour colour)
{
    for (size_t y = canvas->dirty_y0; y < canvas->dirty_y1; y++)
        for (size_t x = canvas->dirty_x0; x < canvas->dirty_x1; x++) {
            uint8_t *mask = canvas->mask + y * canvas->width + x;
            if (*mask == 0)
                continue;
            blend_pixel(canvas->pixels + 4 * (y * canvas->width + x), colour,
                        (*mask * colour.alpha + 127u) / 255u);
            *mask = 0;
        }
    canvas->dirty_x0 = canvas->dirty_y0 = canvas->dirty_x1 = canvas->dirty_y1 = 0;
}

void ldnq_canvas_reduce_colours(struct ldnq_canvas *canvas)
{
    for (size_t i = 0; i < canvas->width * canvas->height; i++) {
        uint8_t *pixel = canvas->pixels + 4 * i;
        if (pixel[3] == 0)
            continue;
        for (size_t c = 0; c < 3; c++)
            pixel[c] = (uint8_t)((pixel[c] + 8) / 17 * 17);
        pixel[3] = (uint8_t)((pixel[3] + 25) / 51 * 51);
        if (pixel[3] == 0)
            memset(pixel, 0, 4);
    }
}
