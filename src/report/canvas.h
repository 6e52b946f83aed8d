/* canvas.h: a small antialiased canvas with a transparent background.
 *
 * Shapes add up to a mask (overlapping ones of one colour don't show through each
 * other); ldnq_canvas_paint lays a colour over what the mask covers and clears it.
 *
 * Shapes  pixels (height, width, 4) RGBA, alpha not multiplied in
 * Units   pixels; (0, 0) is the upper left corner of the upper left pixel
 * Owns    nothing: the arena does
 * Same    coordinates are rounded to 1/64 pixel, so that a last bit that differs
 *         between two machines' log10 does not make another picture
 */
#ifndef LDNQ_REPORT_CANVAS_H
#define LDNQ_REPORT_CANVAS_H

#include "base/base.h"

struct ldnq_colour {
    uint8_t red, green, blue, alpha;
};

/* Colours that keep a contrast of 3 to 1 to white and to the dark background of
 * page.css, where they have the same names. Their digits are doubled (#37c) and their alpha
 * is a fifth, so that ldnq_canvas_reduce leaves them alone. */
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
    size_t dirty_x0, dirty_y0, dirty_x1, dirty_y1; /* of the mask; empty where x1 is 0 */
};

/* Errors: NOMEM. */
enum ldnq_status ldnq_canvas_create(struct ldnq_arena *arena, size_t width, size_t height,
                                    struct ldnq_canvas **out, struct ldnq_error *err);

/* A line of this width with round ends. */
void ldnq_canvas_line(struct ldnq_canvas *canvas, double x0, double y0, double x1, double y1,
                      double width);
void ldnq_canvas_rectangle(struct ldnq_canvas *canvas, double x0, double y0, double x1, double y1);
void ldnq_canvas_dot(struct ldnq_canvas *canvas, double x, double y, double radius);

void ldnq_canvas_paint(struct ldnq_canvas *canvas, struct ldnq_colour colour);

/* Rounds all pixels to 16 levels of each colour and 6 of alpha, which can't be seen in a
 * chart that is shown at half its size: few enough colours for a PNG with a palette, and
 * a third of the bytes. */
void ldnq_canvas_reduce(struct ldnq_canvas *canvas);

#endif
