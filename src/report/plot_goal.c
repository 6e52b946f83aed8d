/* SPDX-License-Identifier: Apache-2.0 */
/* plot_goal.c: the files that were tried for an accuracy goal, accuracy over size. */
#include "report/plot.h"

#include <math.h>

#define DOT 7.0

static void draw_goal_plot(const struct ldnq_plot *plot, struct ldnq_canvas *canvas)
{
    const struct ldnq_diff_goal *goal = plot->diff->goal;
    ldnq_plot_draw_grid(plot, canvas);
    if (!isnan(goal->limit)) {
        const double limit = ldnq_plot_convert_value_to_y(plot, canvas, goal->limit);
        ldnq_canvas_add_line(canvas, ldnq_plot_convert_value_to_x(plot, canvas, plot->x.low), limit,
                             ldnq_plot_convert_value_to_x(plot, canvas, plot->x.high), limit, 2);
        ldnq_canvas_paint(canvas, LDNQ_COLOUR_FLOAT);
    }
    for (size_t i = 0; i < goal->step_count; i++) {
        const struct ldnq_diff_goal_step *step = &goal->steps[i];
        if (!isfinite(step->value))
            continue;
        ldnq_canvas_add_dot(canvas, ldnq_plot_convert_value_to_x(plot, canvas, step->bytes),
                            ldnq_plot_convert_value_to_y(plot, canvas, step->value),
                            i == goal->chosen ? 1.6 * DOT : DOT);
        ldnq_canvas_paint(canvas, i == goal->chosen ? LDNQ_COLOUR_QUANTIZED : LDNQ_COLOUR_ISOLATED);
    }
}

bool ldnq_plot_init_goal(const struct ldnq_diff *diff, struct ldnq_plot *plot)
{
    const struct ldnq_diff_goal *goal = diff->goal;
    struct ldnq_range bytes = LDNQ_RANGE_EMPTY, values = LDNQ_RANGE_EMPTY;
    if (!goal)
        return false;
    ldnq_range_include(&values, goal->limit);
    for (size_t i = 0; i < goal->step_count; i++) {
        ldnq_range_include(&bytes, goal->steps[i].bytes);
        ldnq_range_include(&values, goal->steps[i].value);
    }
    if (ldnq_range_is_empty(&bytes))
        return false;
    *plot = (struct ldnq_plot){ .draw = draw_goal_plot, .diff = diff };
    ldnq_axis_init_rounded(&plot->x, 0, bytes.high, 6);
    ldnq_axis_label_bytes(&plot->x);
    ldnq_axis_init_rounded(&plot->y, values.low, values.high, 6);
    return true;
}
