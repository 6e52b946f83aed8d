/* SPDX-License-Identifier: Apache-2.0 */
/* plot_estimate.c: the part of each layer in the estimated error of the outputs. */
#include "report/plot.h"

static void draw_estimate_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const struct ldnq_diff *diff = plot->diff;
    ldnq_plot_draw_grid(plot, canvas);
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_plot_add_bar(plot, canvas, (double)(i + 1), 0.6, diff->layers[i].output_estimate);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_ACCUMULATED);
}

bool ldnq_plot_init_estimate(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; diff->estimate && i < diff->layer_count; i++)
        ldnq_range_include(&range, diff->layers[i].output_estimate);
    if (ldnq_range_is_empty(&range) || range.high <= 0)
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_estimate_plot, .diff = diff };
    ldnq_axis_init_integers(&plot->x, 1, (double)diff->layer_count, 6);
    ldnq_axis_init_rounded(&plot->y, 0, range.high, 6);
    return true;
}
