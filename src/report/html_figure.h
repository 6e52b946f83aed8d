/* SPDX-License-Identifier: Apache-2.0 */
/* html_figure.h: writes a chart as a figure of the page: the picture, and around it ticks, titles
 * and legend as text. Memory that is out shows in out->failed. */
#ifndef LDNQ_REPORT_HTML_FIGURE_H
#define LDNQ_REPORT_HTML_FIGURE_H

#include "report/buffer.h"
#include "report/plot.h"

struct ldnq_html_key {
    const char *swatch; /* a class of page.css, with the name of a colour in canvas.h */
    const char *name;
};

/* Width of the picture in pixels; the page shows it at about half. */
enum ldnq_html_width {
    LDNQ_HTML_PANEL =
        512, /* for one layer; a multiple of LDNQ_DIFF_BINS, so that bars end at whole pixels */
    LDNQ_HTML_HALF = 960, /* two side by side; phones get a smaller picture */
    LDNQ_HTML_WHOLE = 1920,
};

/* All texts but `subject` are our own, as HTML. */
struct ldnq_html_figure {
    enum ldnq_html_width width;
    const char *title, *note; /* note may be NULL */
    const char *x_title, *y_title;
    const char *alt;     /* describes the picture to readers who can't see it ... */
    const char *subject; /* ... followed by the label of the layer; or NULL */
    bool by_layer;       /* x is the layer number: page.js shows the layer under the pointer */
    struct ldnq_html_key keys[2];
};

void ldnq_html_write_figure(struct ldnq_buffer *out, const struct ldnq_html_figure *figure,
                            const struct ldnq_plot *plot);

#endif
