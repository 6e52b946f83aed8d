/* SPDX-License-Identifier: Apache-2.0 */
/* plot_convergence.c: the objective of the solver's best codes over its iterations. */
#include "report/plot.h"

#include <math.h>

struct convergence_range {
    struct ldnq_range iterations, objectives;
};

/* A log scale can't show an objective of 0. */
static double objective_or_nan(const struct ldnq_diff_iteration *row)
{
    return row->objective > 0 ? row->objective : NAN;
}

static void include_trace_in_range(struct convergence_range *ends,
                                   const struct ldnq_diff_layer *layer)
{
    for (size_t i = 0; i < layer->trace_count; i++) {
        ldnq_range_include(&ends->iterations, layer->trace[i].iteration);
        ldnq_range_include(&ends->objectives, objective_or_nan(&layer->trace[i]));
    }
}

static bool init_convergence_axes(struct ldnq_plot *plot, const struct convergence_range *ends)
{
    if (ldnq_range_is_empty(&ends->objectives))
        return false;
    ldnq_axis_init_integers(&plot->x, ends->iterations.low, ends->iterations.high, 6);
    ldnq_axis_init_log(&plot->y, ends->objectives.low, ends->objectives.high, 6);
    return true;
}

static void draw_layer_curve(const struct ldnq_plot *plot, struct ldnq_canvas *canvas,
                             const struct ldnq_diff_layer *layer, double width)
{
    double x0 = NAN, y0 = NAN;
    for (size_t i = 0; i < layer->trace_count; i++) {
        const double x = ldnq_plot_convert_value_to_x(plot, canvas, layer->trace[i].iteration);
        const double y =
            ldnq_plot_convert_value_to_y(plot, canvas, objective_or_nan(&layer->trace[i]));
        ldnq_canvas_add_line(canvas, x0, y0, x, y, width);
        if (i + 1 == layer->trace_count)
            ldnq_canvas_add_dot(canvas, x, y, 1.4 * width);
        x0 = x;
        y0 = y;
    }
}

static void draw_all_convergence(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    struct ldnq_colour colour = LDNQ_COLOUR_ISOLATED;
    /* Many curves overlap: their density has to show. */
    colour.alpha = plot->diff->layer_count > 30 ? 0x66 : 0xcc;
    ldnq_plot_draw_grid(plot, canvas);
    for (size_t i = 0; i < plot->diff->layer_count; i++) {
        draw_layer_curve(plot, canvas, &plot->diff->layers[i], 2.5);
        ldnq_canvas_paint(canvas, colour);
    }
}

static void draw_layer_convergence(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    ldnq_plot_draw_grid(plot, canvas);
    draw_layer_curve(plot, canvas, plot->layer, LDNQ_PLOT_LINE);
    ldnq_canvas_paint(canvas, LDNQ_COLOUR_ISOLATED);
}

bool ldnq_plot_init_convergence(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    struct convergence_range ends = { LDNQ_RANGE_EMPTY, LDNQ_RANGE_EMPTY };
    for (size_t i = 0; i < diff->layer_count; i++)
        include_trace_in_range(&ends, &diff->layers[i]);
    *plot = (struct ldnq_plot){ .draw = draw_all_convergence, .diff = diff };
    return init_convergence_axes(plot, &ends);
}

bool ldnq_plot_init_layer_convergence(const struct ldnq_diff_layer *layer, struct ldnq_plot *plot)
{
    struct convergence_range ends = { LDNQ_RANGE_EMPTY, LDNQ_RANGE_EMPTY };
    include_trace_in_range(&ends, layer);
    *plot = (struct ldnq_plot){ .draw = draw_layer_convergence, .layer = layer };
    return init_convergence_axes(plot, &ends);
}
