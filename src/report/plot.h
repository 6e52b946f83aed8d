/* SPDX-License-Identifier: Apache-2.0 */
/* plot.h: the charts of the report. A plot draws marks and grid lines on a canvas; the page
 * writes ticks and titles around the picture as text.
 *
 * Each kind of chart is a file plot_*.c. Its ldnq_plot_init_* fills in the plot, or returns
 * false where there is nothing to draw; plot->draw then draws it on a canvas of any size.
 */
#ifndef LDNQ_REPORT_PLOT_H
#define LDNQ_REPORT_PLOT_H

#include "compare/comparison.h"

#include "report/axis.h"
#include "report/canvas.h"

struct ldnq_plot {
    struct ldnq_axis x, y;
    void (*draw)(const struct ldnq_plot *plot, struct ldnq_canvas *canvas);
    const struct ldnq_diff *diff;        /* the comparison, for charts of the network */
    const struct ldnq_diff_layer *layer; /* the layer, for charts of a layer */
};

/* (a) Isolated and accumulated SQNR by layer. Layers without error are left out. */
bool ldnq_plot_init_sqnr_by_layer(const struct ldnq_diff *diff, struct ldnq_plot *plot);
/* (b) Histograms of the float and the dequantized weight, counts on a log scale. */
bool ldnq_plot_init_weight_histograms(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (c) Dequantized over float weight, one dot per element. */
bool ldnq_plot_init_weight_scatter(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (d) Bytes of each layer's weight in both files, and bits per weight. */
bool ldnq_plot_init_weight_bytes(const struct ldnq_diff *diff, struct ldnq_plot *plot);
bool ldnq_plot_init_bits_per_weight(const struct ldnq_diff *diff, struct ldnq_plot *plot);
/* (e) The solver's objective over its iterations, for all layers or one. */
bool ldnq_plot_init_convergence(const struct ldnq_diff *diff, struct ldnq_plot *plot);
bool ldnq_plot_init_layer_convergence(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (f) How often each code of the layer's weight occurs. */
bool ldnq_plot_init_code_counts(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (g) The part of each layer in the estimated error of the outputs. */
bool ldnq_plot_init_estimate(const struct ldnq_diff *diff, struct ldnq_plot *plot);
/* (h) The files that were tried for an accuracy goal: accuracy over size. */
bool ldnq_plot_init_goal(const struct ldnq_diff *diff, struct ldnq_plot *plot);

/* ---- for plot_*.c ---- */

#define LDNQ_PLOT_LINE 3.5 /* width; pictures are shown at half their size */

double ldnq_plot_convert_value_to_x(const struct ldnq_plot *plot, const struct ldnq_canvas *canvas,
                                    double value);
double ldnq_plot_convert_value_to_y(const struct ldnq_plot *plot, const struct ldnq_canvas *canvas,
                                    double value);
/* Draws lines at the ticks and at the lower end of y. */
void ldnq_plot_draw_grid(const struct ldnq_plot *plot, struct ldnq_canvas *canvas);
/* Adds a bar from the bottom to `value` to the mask, centred at x; x and width are values of the
 * x axis. */
void ldnq_plot_add_bar(const struct ldnq_plot *plot, struct ldnq_canvas *canvas, double x,
                       double width, double value);

/* The range of data; empty while low > high. */
struct ldnq_range {
    double low, high;
};
#define LDNQ_RANGE_EMPTY ((struct ldnq_range){ 1, 0 })
/* Extends the range to include the value, unless it is not finite. */
void ldnq_range_include(struct ldnq_range *range, double value);
bool ldnq_range_is_empty(const struct ldnq_range *range);

#endif
