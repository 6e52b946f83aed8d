/* SPDX-License-Identifier: Apache-2.0 */
/* plot_scatter.c: the quantized over the float weight, element by element. */
#include "report/plot.h"

#include <math.h>

#include "base/size.h"

/* More dots only cover each other in a picture of this size. */
#define MOST_DOTS 800

static void draw_scatter_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const struct ldnq_weight_distribution *spread = plot->layer->distribution;
    ldnq_plot_draw_grid(plot, canvas);
    ldnq_canvas_add_line(canvas, 0, (double)canvas->height, (double)canvas->width, 0, 2);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_BASE);
    const size_t step = ldnq_size_ceil_div(spread->point_count, MOST_DOTS);
    for (size_t i = 0; i < spread->point_count; i += step) {
        /* On whole pixels all dots have the same shape, which halves the PNG. */
        const double x = ldnq_plot_convert_value_to_x(plot, canvas, (double)spread->points[i][0]);
        const double y = ldnq_plot_convert_value_to_y(plot, canvas, (double)spread->points[i][1]);
        ldnq_canvas_add_dot(canvas, rint(x), rint(y), 2);
    }
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_QUANTIZED);
}

bool ldnq_plot_init_weight_scatter(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot)
{
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; layer->distribution && i < layer->distribution->point_count; i++) {
        ldnq_range_include(&range, (double)layer->distribution->points[i][0]);
        ldnq_range_include(&range, (double)layer->distribution->points[i][1]);
    }
    if (ldnq_range_is_empty(&range))
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_scatter_plot, .layer = layer };
    const double margin = (range.high - range.low) / 50;
    ldnq_axis_init_exact(&plot->x, range.low - margin, range.high + margin, 5);
    plot->y = plot->x;
    return true;
}
