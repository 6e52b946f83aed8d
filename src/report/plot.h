/* plot.h: charts of a diff: marks and grid lines on a canvas, whose ticks and titles the
 * page writes around it as text.
 *
 * Each kind of chart is a file plot_*.c with one function: it fills in the plot, or
 * returns false where the diff has nothing to draw. `draw` then paints it on any canvas.
 */
#ifndef LDNQ_REPORT_PLOT_H
#define LDNQ_REPORT_PLOT_H

#include "compare/comparison.h"

#include "report/axis.h"
#include "report/canvas.h"

struct ldnq_plot {
    struct ldnq_axis x, y;
    void (*draw)(const struct ldnq_plot *plot, struct ldnq_canvas *canvas);
    const struct ldnq_diff *diff;        /* of charts of the network */
    const struct ldnq_diff_layer *layer; /* of charts of a layer */
};

/* (a) Isolated and accumulated SQNR by layer. Layers that are exact have no place. */
bool ldnq_plot_error(const struct ldnq_diff *diff, struct ldnq_plot *plot);
/* (b) Histogram of the float and of the dequantized weight, counts on a log scale. */
bool ldnq_plot_distribution(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (c) Dequantized over float weight, a dot a weight. */
bool ldnq_plot_scatter(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (d) Bytes of each layer's weight in both files, and bits a weight. */
bool ldnq_plot_sizes(const struct ldnq_diff *diff, struct ldnq_plot *plot);
bool ldnq_plot_bits(const struct ldnq_diff *diff, struct ldnq_plot *plot);
/* (e) The solver's objective over its iterations, of all layers or of one. */
bool ldnq_plot_convergence(const struct ldnq_diff *diff, struct ldnq_plot *plot);
bool ldnq_plot_layer_convergence(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);
/* (f) How often each code of the layer's weight occurs. */
bool ldnq_plot_codes(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot);

/* ---- for plot_*.c ---- */

#define LDNQ_PLOT_LINE 3.5 /* width; pictures are shown at half their size */

double ldnq_plot_x(const struct ldnq_plot *plot, const struct ldnq_canvas *canvas, double value);
double ldnq_plot_y(const struct ldnq_plot *plot, const struct ldnq_canvas *canvas, double value);
/* Lines at the ticks, and at the lower end of y. */
void ldnq_plot_grid(const struct ldnq_plot *plot, struct ldnq_canvas *canvas);
/* Adds a bar from the bottom, around x and `width` wide in units of x, to the mask. */
void ldnq_plot_bar(const struct ldnq_plot *plot, struct ldnq_canvas *canvas, double x, double width,
                   double value);

/* Ends of data: low above high at the start. */
struct ldnq_range {
    double low, high;
};
#define LDNQ_RANGE_EMPTY ((struct ldnq_range){ 1, 0 })
/* Values that are not finite don't count. */
void ldnq_range_add(struct ldnq_range *range, double value);
bool ldnq_range_is_empty(const struct ldnq_range *range);

#endif
