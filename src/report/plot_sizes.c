/* SPDX-License-Identifier: Apache-2.0 */
/* plot_sizes.c: bytes of each layer's weight in both files. */
#include "report/plot.h"

static void draw_size_bars(const struct ldnq_plot *plot, struct ldnq_canvas *canvas, bool quantized,
                           double width, struct ldnq_colour colour)
{
    const struct ldnq_diff *diff = plot->diff;
    for (size_t i = 0; i < diff->layer_count; i++) {
        const struct ldnq_diff_layer *layer = &diff->layers[i];
        ldnq_plot_add_bar(plot, canvas, (double)(i + 1), width,
                          (double)(quantized ? layer->bytes_b : layer->bytes_a));
    }
    ldnq_canvas_paint(canvas, colour);
}

static void draw_sizes_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    struct ldnq_colour background = LDNQ_COLOUR_FLOAT;
    background.alpha = 0x99;
    ldnq_plot_draw_grid(plot, canvas);
    draw_size_bars(plot, canvas, false, 0.8, background);
    draw_size_bars(plot, canvas, true, 0.5, LDNQ_COLOUR_QUANTIZED);
}

bool ldnq_plot_init_weight_bytes(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    size_t most = 0;
    for (size_t i = 0; i < diff->layer_count; i++) {
        const struct ldnq_diff_layer *layer = &diff->layers[i];
        most = layer->bytes_a > most ? layer->bytes_a : most;
        most = layer->bytes_b > most ? layer->bytes_b : most;
    }
    if (most == 0)
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_sizes_plot, .diff = diff };
    ldnq_axis_init_integers(&plot->x, 1, (double)diff->layer_count, 6);
    ldnq_axis_init_rounded(&plot->y, 0, (double)most, 6);
    ldnq_axis_label_bytes(&plot->y);
    return true;
}
