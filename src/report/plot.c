/* SPDX-License-Identifier: Apache-2.0 */
#include "report/plot.h"

#include <math.h>

double ldnq_plot_convert_value_to_x(const struct ldnq_plot *plot, const struct ldnq_canvas *canvas,
                                    double value)
{
    return ldnq_axis_convert_value_to_fraction(&plot->x, value) * (double)canvas->width;
}

double ldnq_plot_convert_value_to_y(const struct ldnq_plot *plot, const struct ldnq_canvas *canvas,
                                    double value)
{
    return (1 - ldnq_axis_convert_value_to_fraction(&plot->y, value)) * (double)canvas->height;
}

/* The upper or left edge of a grid line. It covers two whole pixels, which is one sharp pixel at
 * half the size. */
static double align_grid_line(double at, size_t size)
{
    return fmin(fmax(rint(at / 2) * 2 - 1, 0), (double)size - 2);
}

void ldnq_plot_draw_grid(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const double width = (double)canvas->width, height = (double)canvas->height;
    for (size_t i = 0; i < plot->x.tick_count; i++) {
        const double x = align_grid_line(
            ldnq_plot_convert_value_to_x(plot, canvas, plot->x.ticks[i].value), canvas->width);
        ldnq_canvas_add_rectangle(canvas, x, 0, x + 2, height);
    }
    for (size_t i = 0; i < plot->y.tick_count; i++) {
        const double y = align_grid_line(
            ldnq_plot_convert_value_to_y(plot, canvas, plot->y.ticks[i].value), canvas->height);
        ldnq_canvas_add_rectangle(canvas, 0, y, width, y + 2);
    }
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_GRID);
    ldnq_canvas_add_rectangle(canvas, 0, height - 2, width, height);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_BASE);
}

void ldnq_plot_add_bar(const struct ldnq_plot *plot, struct ldnq_canvas *canvas, double x,
                       double width, double value)
{
    const double bottom = (double)canvas->height,
                 y = ldnq_plot_convert_value_to_y(plot, canvas, value);
    if (!isfinite(y) || y >= bottom)
        return;
    double left = ldnq_plot_convert_value_to_x(plot, canvas, x - width / 2);
    double right = ldnq_plot_convert_value_to_x(plot, canvas, x + width / 2);
    /* At least a pixel wide and two high: every bar has to be visible. */
    const double more = fmax(1 - (right - left), 0) / 2;
    left -= more;
    right += more;
    ldnq_canvas_add_rectangle(canvas, left, fmin(y, bottom - 2), right, bottom);
}

void ldnq_range_include(struct ldnq_range *range, double value)
{
    if (!isfinite(value))
        return;
    const bool is_empty = ldnq_range_is_empty(range);
    range->low = is_empty ? value : fmin(range->low, value);
    range->high = is_empty ? value : fmax(range->high, value);
}

bool ldnq_range_is_empty(const struct ldnq_range *range)
{
    return range->low > range->high;
}
