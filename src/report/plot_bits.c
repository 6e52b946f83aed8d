/* SPDX-License-Identifier: Apache-2.0 */
/* plot_bits.c: bits per weight by layer, scales and zero points included. */
#include "report/plot.h"

#include <math.h>

static void draw_bits_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const struct ldnq_diff *diff = plot->diff;
    ldnq_plot_draw_grid(plot, canvas);
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_plot_add_bar(plot, canvas, (double)(i + 1), 0.6, diff->layers[i].bits);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_QUANTIZED);
}

bool ldnq_plot_init_bits_per_weight(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_range_include(&range, diff->layers[i].bits);
    if (ldnq_range_is_empty(&range) || range.high <= 0)
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_bits_plot, .diff = diff };
    ldnq_axis_init_integers(&plot->x, 1, (double)diff->layer_count, 6);
    ldnq_axis_init_rounded(&plot->y, 0, range.high, 6);
    return true;
}
