/* SPDX-License-Identifier: Apache-2.0 */
/* plot_error.c: the error of each layer alone, and of the network up to it. */
#include "report/plot.h"

#include <math.h>

#define TICKS_X 6
#define TICKS_Y 6

static double read_layer_sqnr(const struct ldnq_diff_layer *layer, bool isolated)
{
    return isolated ? layer->isolated.sqnr : layer->accumulated.sqnr;
}

static void draw_series(const struct ldnq_plot *plot, struct ldnq_canvas *canvas, bool isolated,
                        struct ldnq_colour colour)
{
    const struct ldnq_diff *diff = plot->diff;
    const double pitch = (double)canvas->width / (double)diff->layer_count;
    const double radius = fmin(fmax(pitch / 5, LDNQ_PLOT_LINE / 2), 6);
    double x0 = NAN, y0 = NAN;
    for (size_t i = 0; i < diff->layer_count; i++) {
        const double x = ldnq_plot_convert_value_to_x(plot, canvas, (double)(i + 1));
        const double y =
            ldnq_plot_convert_value_to_y(plot, canvas, read_layer_sqnr(&diff->layers[i], isolated));
        ldnq_canvas_add_line(canvas, x0, y0, x, y, LDNQ_PLOT_LINE);
        ldnq_canvas_add_dot(canvas, x, y, radius);
        x0 = x;
        y0 = y;
    }
    ldnq_canvas_paint(canvas, colour);
}

static void draw_error_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    ldnq_plot_draw_grid(plot, canvas);
    draw_series(plot, canvas, true, LDNQ_COLOUR_ISOLATED);
    draw_series(plot, canvas, false, LDNQ_COLOUR_ACCUMULATED);
}

bool ldnq_plot_init_sqnr_by_layer(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; i < diff->layer_count; i++) {
        ldnq_range_include(&range, diff->layers[i].isolated.sqnr);
        ldnq_range_include(&range, diff->layers[i].accumulated.sqnr);
    }
    if (diff->samples == 0 || ldnq_range_is_empty(&range))
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_error_plot, .diff = diff };
    ldnq_axis_init_integers(&plot->x, 1, (double)diff->layer_count, TICKS_X);
    ldnq_axis_init_rounded(&plot->y, range.low, range.high, TICKS_Y);
    return true;
}
