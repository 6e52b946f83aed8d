/* How many bits each layer's weights take, scales and zero points shared out. */
#include "report/plot.h"

#include <math.h>

static void draw(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const struct ldnq_diff *diff = plot->diff;
    ldnq_plot_grid(plot, canvas);
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_plot_bar(plot, canvas, (double)(i + 1), 0.6, diff->layers[i].bits);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_QUANTIZED);
}

bool ldnq_plot_bits(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    struct ldnq_range range = LDNQ_RANGE_EMPTY;
    for (size_t i = 0; i < diff->layer_count; i++)
        ldnq_range_add(&range, diff->layers[i].bits);
    if (ldnq_range_is_empty(&range) || range.high <= 0)
        return false;
    *plot = (struct ldnq_plot){ .draw = draw, .diff = diff };
    ldnq_axis_whole(&plot->x, 1, (double)diff->layer_count, 6);
    ldnq_axis_round(&plot->y, 0, range.high, 6);
    return true;
}
