/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/pool/pooling_tiles.h"

#include "ops/conv/padded_tile.h"

/* A padded tile is on the stack and fits in the first-level cache. */
#define TILE_FLOATS ((size_t)6 << 10)
/* Fewer columns do not fill a vector. */
#define MIN_COLUMNS ((size_t)4)

static struct ldnq_conv_geometry make_plane_geometry(const struct ldnq_pooling *p)
{
    const struct ldnq_pooling_axis *h = &p->axis[1], *w = &p->axis[2];
    return (struct ldnq_conv_geometry){
        .channels = 1,
        .height = h->in,
        .width = w->in,
        .kernel_h = h->kernel,
        .kernel_w = w->kernel,
        .stride_h = (size_t)h->stride,
        .stride_w = (size_t)w->stride,
        .dilation_h = (size_t)h->dilation,
        .dilation_w = (size_t)w->dilation,
        .pad_top = (size_t)h->begin,
        .pad_left = (size_t)w->begin,
        .out_h = h->out,
        .out_w = w->out,
    };
}

static size_t count_tile_floats(const struct ldnq_conv_geometry *g, size_t rows)
{
    struct ldnq_output_tile tile = { .rows = rows, .columns = g->out_w };
    struct ldnq_padded_tile padded = ldnq_padded_tile_make(g, &tile, NULL);
    return ldnq_padded_tile_count_floats(&padded);
}

/* Whether each window reads the input: padding alone would be merged for nothing. */
static bool every_window_reads_input(const struct ldnq_pooling_axis *axis)
{
    return axis->begin >= 0 && axis->begin <= ((ptrdiff_t)axis->kernel - 1) * axis->dilation &&
           ((ptrdiff_t)axis->out - 1) * axis->stride - axis->begin < (ptrdiff_t)axis->in;
}

bool ldnq_pooling_fits_tiles(const struct ldnq_pooling *p)
{
    const struct ldnq_pooling_axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    if (d->in != 1 || d->out != 1 || d->kernel != 1 || d->begin != 0 || h->out == 0 ||
        h->out > LDNQ_POOLING_TILE_SIDE || w->out < MIN_COLUMNS ||
        w->out > LDNQ_POOLING_TILE_SIDE || !every_window_reads_input(h) ||
        !every_window_reads_input(w) || h->kernel > LDNQ_POOLING_TILE_TAPS ||
        w->kernel > LDNQ_POOLING_TILE_TAPS || h->kernel * w->kernel > LDNQ_POOLING_TILE_TAPS)
        return false;
    struct ldnq_conv_geometry g = make_plane_geometry(p);
    return count_tile_floats(&g, 1) <= TILE_FLOATS;
}

static size_t choose_tile_rows(const struct ldnq_conv_geometry *g)
{
    size_t most = g->out_h;
    while (count_tile_floats(g, most) > TILE_FLOATS)
        most = ldnq_size_ceil_div(most, 2);
    return most;
}

static void fill_offsets(const struct ldnq_conv_geometry *g, const struct ldnq_padded_tile *padded,
                         struct ldnq_pooling_window *window)
{
    int32_t *offsets = window->offsets;
    window->in_row = ldnq_padded_tile_row_step(padded);
    for (size_t kh = 0; kh < g->kernel_h; kh++)
        for (size_t kw = 0; kw < g->kernel_w; kw++)
            *offsets++ = (int32_t)(ldnq_padded_tile_row(padded, 0, kh, kw) - padded->data);
}

void ldnq_pooling_run_tiles(const struct ldnq_pooling *p, size_t first, size_t last,
                            ldnq_pooling_tile_fn *run, float fill)
{
    const struct ldnq_conv_geometry g = make_plane_geometry(p);
    const size_t step = choose_tile_rows(&g);
    struct ldnq_pooling_window window = { .taps = g.kernel_h * g.kernel_w, .out_row = g.out_w };
    float data[TILE_FLOATS];
    for (size_t y = 0; y < g.out_h; y += step) {
        struct ldnq_output_tile tile = { .y = y, .columns = g.out_w };
        tile.rows = ldnq_size_min(step, g.out_h - y);
        struct ldnq_padded_tile padded = ldnq_padded_tile_make(&g, &tile, data);
        padded.fill = fill;
        fill_offsets(&g, &padded, &window);
        for (size_t plane = first; plane < last; plane++) {
            ldnq_padded_tile_fill(&g, &tile, (const float *)p->x + plane * g.height * g.width,
                                  &padded);
            run(&window, data, (float *)p->y + (plane * g.out_h + y) * g.out_w, tile.rows, g.out_w);
        }
    }
}
