/* SPDX-License-Identifier: Apache-2.0 */
/* plot_codes.c: how often each code occurs. Codes at the ends that never occur waste bits. */
#include "report/plot.h"

static void draw_codes_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const struct ldnq_quantized_tensor *weight = plot->layer->weight;
    ldnq_plot_draw_grid(plot, canvas);
    for (size_t i = 0; i < weight->histogram_count; i++)
        ldnq_plot_add_bar(plot, canvas, (double)weight->histogram_first + (double)i, 0.8,
                          (double)weight->histogram[i]);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_QUANTIZED);
}

bool ldnq_plot_init_code_counts(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot)
{
    const struct ldnq_quantized_tensor *weight = layer->weight;
    uint64_t most = 0;
    for (size_t i = 0; weight && i < weight->histogram_count; i++)
        most = weight->histogram[i] > most ? weight->histogram[i] : most;
    if (most == 0)
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_codes_plot, .layer = layer };
    const double first = (double)weight->histogram_first;
    ldnq_axis_init_integers(&plot->x, first, first + (double)weight->histogram_count - 1, 8);
    ldnq_axis_init_rounded(&plot->y, 0, (double)most, 5);
    ldnq_axis_label_counts(&plot->y);
    return true;
}
