/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html_figure.h"

#include <math.h>
#include <string.h>

#include "report/html_write.h"
#include "report/png_write.h"

#define PHONE_WIDTH 680
#define PHONE_HEIGHT 420

/* ---- the picture --------------------------------------------------------------------- */

static enum ldnq_status draw_as_png(const struct ldnq_plot *plot, size_t width, size_t height,
                                    struct ldnq_arena *arena, struct ldnq_buffer *png)
{
    struct ldnq_canvas *canvas;
    LDNQ_TRY(ldnq_canvas_create(arena, width, height, &canvas, NULL));
    plot->draw(plot, canvas);
    ldnq_canvas_reduce_colours(canvas);
    return ldnq_png_encode(canvas->pixels, width, height, png, NULL);
}

static void write_chart_as_data_url(struct ldnq_buffer *out, const struct ldnq_plot *plot,
                                    size_t width, size_t height)
{
    struct ldnq_arena *arena = NULL;
    struct ldnq_buffer png = { 0 };
    if (out->failed)
        return;
    enum ldnq_status status = ldnq_arena_create(&arena, NULL);
    if (status == LDNQ_OK)
        status = draw_as_png(plot, width, height, arena, &png);
    ldnq_arena_destroy(arena);
    out->failed |= status != LDNQ_OK;
    ldnq_buffer_append_text(out, "data:image/png;base64,");
    ldnq_buffer_append_base64(out, png.data, png.size);
    ldnq_buffer_finish(&png);
}

static size_t choose_figure_height(enum ldnq_html_width width)
{
    return width == LDNQ_HTML_PANEL ? 300 : width == LDNQ_HTML_HALF ? 440 : 520;
}

static void write_picture(struct ldnq_buffer *out, const struct ldnq_html_figure *figure,
                          const struct ldnq_plot *plot)
{
    const size_t width = figure->width, height = choose_figure_height(figure->width);
    const bool has_phone_picture = figure->width != LDNQ_HTML_PANEL;
    if (has_phone_picture) {
        ldnq_buffer_append_text(out, "<picture><source media=\"(max-width: 40rem)\" srcset=\"");
        write_chart_as_data_url(out, plot, PHONE_WIDTH, PHONE_HEIGHT);
        ldnq_buffer_append_format(out, "\" width=\"%d\" height=\"%d\">", PHONE_WIDTH / 2,
                                  PHONE_HEIGHT / 2);
    }
    /* There may be hundreds of panels, so their pictures load when they open. The others load with
     * the page, so that a printer has them. */
    ldnq_buffer_append_format(out, "<img%s width=\"%zu\" height=\"%zu\"",
                              has_phone_picture ? "" : " loading=\"lazy\" decoding=\"async\"",
                              width / 2, height / 2);
    ldnq_buffer_append_format(out, " alt=\"%s%s", figure->alt, figure->subject ? " " : "");
    ldnq_html_write_text(out, figure->subject);
    ldnq_buffer_append_text(out, "\" src=\"");
    write_chart_as_data_url(out, plot, width, height);
    ldnq_buffer_append_text(out, has_phone_picture ? "\"></picture>" : "\">");
}

/* ---- around the picture -----------------------------------------------------------------------
 */

/* Writes a tick's label with minus signs for hyphens. */
static void write_label(struct ldnq_buffer *out, const char *label)
{
    for (; *label; label++)
        ldnq_buffer_append(out, *label == '-' ? "\xe2\x88\x92" : label, *label == '-' ? 3 : 1);
}

static void write_ticks(struct ldnq_buffer *out, const struct ldnq_axis *axis, const char *side)
{
    for (size_t i = 0; i < axis->tick_count; i++) {
        ldnq_buffer_append_format(
            out, "<span style=\"%s:%.2f%%\">", side,
            100 * ldnq_axis_convert_value_to_fraction(axis, axis->ticks[i].value));
        write_label(out, axis->ticks[i].label);
        ldnq_buffer_append_text(out, "</span>");
    }
}

static size_t count_longest_label(const struct ldnq_axis *axis)
{
    size_t longest = 0;
    for (size_t i = 0; i < axis->tick_count; i++) {
        const size_t length = strlen(axis->ticks[i].label);
        longest = length > longest ? length : longest;
    }
    return longest;
}

static void write_caption(struct ldnq_buffer *out, const struct ldnq_html_figure *figure)
{
    ldnq_buffer_append_format(out, "<figcaption><span class=\"title\">%s</span>", figure->title);
    for (size_t i = 0; i < 2; i++)
        if (figure->keys[i].name)
            ldnq_buffer_append_format(out, "<span class=\"key\"><i class=\"%s\"></i>%s</span>",
                                      figure->keys[i].swatch, figure->keys[i].name);
    if (figure->note) {
        ldnq_buffer_append_text(out, "<span class=\"note\">");
        ldnq_buffer_append_text(out, figure->note);
        ldnq_buffer_append_text(out, "</span>");
    }
    ldnq_buffer_append_text(out, "</figcaption>");
}

void ldnq_html_write_figure(struct ldnq_buffer *out, const struct ldnq_html_figure *figure,
                            const struct ldnq_plot *plot)
{
    ldnq_buffer_append_format(out, "<figure class=\"%s\"%s>",
                              figure->width == LDNQ_HTML_PANEL  ? "panel"
                              : figure->width == LDNQ_HTML_HALF ? "half"
                                                                : "whole",
                              figure->by_layer ? " data-by-layer" : "");
    write_caption(out, figure);
    ldnq_buffer_append_format(
        out, "<div class=\"chart\" style=\"--y:%zuch\"><div class=\"y-title\">%s</div>",
        count_longest_label(&plot->y), figure->y_title);
    ldnq_buffer_append_text(out, "<div class=\"y-ticks\" aria-hidden=\"true\">");
    write_ticks(out, &plot->y, "bottom");
    ldnq_buffer_append_text(out, "</div><div class=\"area\">");
    write_picture(out, figure, plot);
    ldnq_buffer_append_text(out, "</div><div class=\"x-ticks\" aria-hidden=\"true\">");
    write_ticks(out, &plot->x, "left");
    ldnq_buffer_append_format(out, "</div><div class=\"x-title\">%s</div></div></figure>\n",
                              figure->x_title);
}
