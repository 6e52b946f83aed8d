/* html_figure.h: a chart as a figure of the page: the picture, and around it its ticks,
 * titles and key as text. Memory that is out shows in `out`. */
#ifndef LDNQ_REPORT_HTML_FIGURE_H
#define LDNQ_REPORT_HTML_FIGURE_H

#include "report/buffer.h"
#include "report/plot.h"

struct ldnq_html_key {
    const char *swatch; /* a class of page.css, named as the colour of canvas.h */
    const char *name;
};

/* Width of the picture in pixels; the page shows it at about half. */
enum ldnq_html_width {
    LDNQ_HTML_PANEL = 512, /* of a layer; the bars of LDNQ_DIFF_BINS end at whole pixels */
    LDNQ_HTML_HALF = 960,  /* two beside each other; another picture on a phone */
    LDNQ_HTML_WHOLE = 1920,
};

/* Our own words, as HTML; but for `subject`. */
struct ldnq_html_figure {
    enum ldnq_html_width width;
    const char *title, *note; /* note may be NULL */
    const char *x_title, *y_title;
    const char *alt;     /* what a reader who can't see the picture should know ... */
    const char *subject; /* ... and of which layer, from the model; or NULL */
    bool by_layer;       /* x is the layers, as in the table: page.js names them */
    struct ldnq_html_key keys[2];
};

void ldnq_html_figure(struct ldnq_buffer *out, const struct ldnq_html_figure *figure,
                      const struct ldnq_plot *plot);

#endif
