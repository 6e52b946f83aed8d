/* SPDX-License-Identifier: Apache-2.0 */
/* plot_distribution.c: histograms of a layer's weight in both files. Counts are on a log scale:
 * a few codes collect what the float weight has distributed over all bins. */
#include "report/plot.h"

#include <math.h>

static double compute_bin_centre(const struct ldnq_weight_distribution *spread, size_t bin)
{
    return spread->low + (spread->high - spread->low) * ((double)bin + 0.5) / LDNQ_DIFF_BINS;
}

static void draw_bins(const struct ldnq_plot *plot, struct ldnq_canvas *canvas,
                      const uint64_t *counts, double part, struct ldnq_colour colour)
{
    const struct ldnq_weight_distribution *spread = plot->layer->distribution;
    const double width = part * (spread->high - spread->low) / LDNQ_DIFF_BINS;
    for (size_t bin = 0; bin < LDNQ_DIFF_BINS; bin++)
        if (counts[bin])
            ldnq_plot_add_bar(plot, canvas, compute_bin_centre(spread, bin), width,
                              (double)counts[bin]);
    ldnq_canvas_paint(canvas, colour);
}

static void draw_distribution_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    struct ldnq_colour background = LDNQ_COLOUR_FLOAT;
    background.alpha = 0x99;
    ldnq_plot_draw_grid(plot, canvas);
    draw_bins(plot, canvas, plot->layer->distribution->a, 1, background);
    draw_bins(plot, canvas, plot->layer->distribution->b, 0.5, LDNQ_COLOUR_QUANTIZED);
}

bool ldnq_plot_init_weight_histograms(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot)
{
    const struct ldnq_weight_distribution *spread = layer->distribution;
    if (!spread || !(spread->high > spread->low))
        return false;
    uint64_t most = 0;
    for (size_t bin = 0; bin < LDNQ_DIFF_BINS; bin++) {
        most = spread->a[bin] > most ? spread->a[bin] : most;
        most = spread->b[bin] > most ? spread->b[bin] : most;
    }
    if (most == 0)
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_distribution_plot, .layer = layer };
    ldnq_axis_init_exact(&plot->x, spread->low, spread->high, 5);
    ldnq_axis_init_log(&plot->y, 1, (double)most, 6);
    ldnq_axis_label_counts(&plot->y);
    /* The axis starts below 1, so that a bin with one weight is visible. */
    plot->y.low = 0.6;
    return true;
}
