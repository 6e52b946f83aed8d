/* SPDX-License-Identifier: Apache-2.0 */
/* canvas.h: a small antialiased canvas with a transparent background.
 *
 * Shapes are added to a mask first, so that overlapping shapes of one translucent colour don't
 * show through each other. ldnq_canvas_paint then paints the mask in a colour and clears it.
 *
 * Shapes  pixels (height, width, 4) RGBA, alpha not multiplied in
 * Units   pixels; (0, 0) is the upper left corner of the upper left pixel
 * Owns    nothing: pixels and mask live in the arena
 * Exact   coordinates are rounded to 1/64 pixel: the picture is the same where two machines'
 *         log10 differ in the last bit
 */
#ifndef LDNQ_REPORT_CANVAS_H
#define LDNQ_REPORT_CANVAS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct ldnq_colour {
    uint8_t red, green, blue, alpha;
};

/* The colours of page.css with these names. They have a contrast of at least 3 to 1 with white
 * and with the page's dark background. Their values are multiples of 0x11 and their alpha is one
 * of 0x33, which ldnq_canvas_reduce_colours does not change. */
#define LDNQ_COLOUR_FLOAT ((struct ldnq_colour){ 0x33, 0x77, 0xcc, 0xff })
#define LDNQ_COLOUR_QUANTIZED ((struct ldnq_colour){ 0xdd, 0x77, 0x22, 0xff })
#define LDNQ_COLOUR_ISOLATED ((struct ldnq_colour){ 0x22, 0x99, 0x99, 0xff })
#define LDNQ_COLOUR_ACCUMULATED ((struct ldnq_colour){ 0xbb, 0x44, 0xaa, 0xff })
#define LDNQ_COLOUR_GRID ((struct ldnq_colour){ 0x88, 0x88, 0x88, 0x33 })
#define LDNQ_COLOUR_BASE ((struct ldnq_colour){ 0x88, 0x88, 0x88, 0x99 })

struct ldnq_canvas {
    size_t width, height;
    uint8_t *pixels;
    uint8_t *mask;                                 /* (height, width) coverage */
    size_t dirty_x0, dirty_y0, dirty_x1, dirty_y1; /* painted part of the mask; x1 0: empty */
};

/* Errors: NOMEM. */
enum ldnq_status ldnq_canvas_create(struct ldnq_arena *arena, size_t width, size_t height,
                                    struct ldnq_canvas **out, struct ldnq_error *err);

/* Adds a line with round ends to the mask. */
void ldnq_canvas_add_line(struct ldnq_canvas *canvas, double x0, double y0, double x1, double y1,
                          double width);
void ldnq_canvas_add_rectangle(struct ldnq_canvas *canvas, double x0, double y0, double x1,
                               double y1);
void ldnq_canvas_add_dot(struct ldnq_canvas *canvas, double x, double y, double radius);

void ldnq_canvas_paint(struct ldnq_canvas *canvas, struct ldnq_colour colour);

/* Rounds all pixels to 16 levels of each colour and 6 of alpha: few enough colours for a PNG
 * with a palette, which has a third of the bytes. The page shows charts at half their size,
 * where that can't be seen. */
void ldnq_canvas_reduce_colours(struct ldnq_canvas *canvas);

#endif
