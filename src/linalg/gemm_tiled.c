/* SPDX-License-Identifier: Apache-2.0 */
#include "linalg/gemm_tiled.h"

#include <string.h>

#include "base/cpu.h"
#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

/* Rows of B per pass: as many packed rows as fit in a first-level cache. */
#define DEPTH ((size_t)384)
#define PANEL_FLOATS (DEPTH * 64) /* fits in a second-level cache */
#define MOST_ROWS 8
#define MOST_WIDTH 32
/* Rows of B to prefetch ahead. Each row is in a page of its own, where the processor does
 * not prefetch by itself. */
#define AHEAD ((size_t)8)
/* Floats of a cache line, and how many lines of each column of a transposed B to prefetch. */
#define LINE ((size_t)16)
#define LINES_AHEAD ((size_t)4)
/* Floats of a row of A that the processor does not prefetch in time. */
#define SHORT_ROW ((size_t)192)
/* Columns of a transposed B that are read side by side. */
#define STREAMS ((size_t)16)

/* A few rows of C and one panel of B. The panel is `width` wide, of which C has `columns`. */
struct gemm_tile {
    size_t k, columns, width;
    const float *a, *b;
    size_t a_row, a_step, b_row;
    float *packed; /* where the panel of B is packed, unless NULL */
    float *c;
    size_t c_row;
    float alpha, beta;
    const float *row_bias, *column_bias;
    bool is_clamped;
    float low, high;
};

#define EIGHT_TIMES(x) x, x, x, x, x, x, x, x
static const float no_bias[MOST_WIDTH] = { EIGHT_TIMES(-0.0f), EIGHT_TIMES(-0.0f),
                                           EIGHT_TIMES(-0.0f), EIGHT_TIMES(-0.0f) };

/* ---- instruction sets ------------------------------------------------------------------ */

LDNQ_LANES(lanes_4, 4)
LDNQ_LANES(lanes_8, 8)
LDNQ_LANES(lanes_16, 16)

typedef void tile_fn(const struct gemm_tile *tile, size_t rows);

#define TILE(name) name##_4
#define TILE_CLAMP lanes_4_clamp
#define TILE_LANES 4
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define TILE_TARGET
#include "linalg/gemm_tile.h"

#if defined(__x86_64__)

#define TILE(name) name##_8
#define TILE_CLAMP lanes_8_clamp
#define TILE_LANES 8
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define TILE_TARGET LDNQ_TARGET_AVX2
#include "linalg/gemm_tile.h"

/* The last columns of a product that is computed with vectors of 16. */
typedef lanes_8 lanes_rest_8;

#define TILE(name) name##_rest_8
#define TILE_CLAMP lanes_8_clamp
#define TILE_LANES 8
#define TILE_ROWS 8
#define TILE_VECTORS 1
#define TILE_TARGET LDNQ_TARGET_AVX2
#include "linalg/gemm_tile.h"

#define TILE(name) name##_16
#define TILE_CLAMP lanes_16_clamp
#define TILE_LANES 16
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define TILE_TARGET LDNQ_TARGET_AVX512
#include "linalg/gemm_tile.h"

#endif

struct gemm_implementation {
    tile_fn *run, *run_rest;
    /* Most rows; width of a panel; width of the last panel if it has that few columns, else it has
     * half the width or all of it. */
    size_t rows, width, rest_width;
};

#define MAX_IMPLEMENTATIONS 3

static size_t list_implementations(struct gemm_implementation list[MAX_IMPLEMENTATIONS])
{
    size_t count = 0;
#if defined(__x86_64__)
    if (ldnq_cpu_level() >= LDNQ_CPU_AVX512)
        list[count++] = (struct gemm_implementation){ tile_16, tile_rest_8, 8, 32, 8 };
    if (ldnq_cpu_level() >= LDNQ_CPU_AVX2)
        list[count++] = (struct gemm_implementation){ tile_8, tile_8, 6, 16, 8 };
#endif
    list[count++] = (struct gemm_implementation){ tile_4, tile_4, 6, 8, 4 };
    return count;
}

size_t ldnq_gemm_count_implementations(void)
{
    struct gemm_implementation list[MAX_IMPLEMENTATIONS];
    return list_implementations(list);
}

/* ---- packing ----------------------------------------------------------------------------- */

/* Packs columns first .. last-1 of a panel, rows from .. to-1. */
static void pack_elements(const float *b, size_t row, size_t step, size_t from, size_t to,
                          size_t first, size_t last, size_t width, float *panel)
{
    for (size_t i = from; i < to; i++)
        for (size_t j = first; j < last; j++)
            panel[i * width + j] = b[i * row + j * step];
}

/* Packs four rows of four columns, where the elements of a column follow each other. */
static inline __attribute__((always_inline)) void pack_square(const float *b, size_t step,
                                                              size_t width, float *panel)
{
    const lanes_4 b0 = *(const lanes_4 *)b, b1 = *(const lanes_4 *)(b + step);
    const lanes_4 b2 = *(const lanes_4 *)(b + 2 * step), b3 = *(const lanes_4 *)(b + 3 * step);
    const lanes_4 low01 = __builtin_shufflevector(b0, b1, 0, 4, 1, 5);
    const lanes_4 low23 = __builtin_shufflevector(b2, b3, 0, 4, 1, 5);
    const lanes_4 high01 = __builtin_shufflevector(b0, b1, 2, 6, 3, 7);
    const lanes_4 high23 = __builtin_shufflevector(b2, b3, 2, 6, 3, 7);
    *(lanes_4 *)panel = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    *(lanes_4 *)(panel + width) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    *(lanes_4 *)(panel + 2 * width) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    *(lanes_4 *)(panel + 3 * width) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

/* Packs one panel of a transposed B, a cache line of each column at a time. `width` is a
 * constant wherever this is inlined. */
static inline __attribute__((always_inline)) void
pack_transposed_columns(const float *b, size_t step, size_t k, size_t columns, size_t width,
                        float *panel)
{
    const size_t whole = columns & ~(size_t)3, rows = k & ~(size_t)3;
    for (size_t first = 0; first < whole; first += STREAMS)
        for (size_t at = 0; at < rows; at += LINE)
            for (size_t j = first; j < ldnq_size_min(first + STREAMS, whole); j += 4) {
                for (size_t i = j; i < j + 4; i++)
                    __builtin_prefetch(b + i * step + at + LINES_AHEAD * LINE);
                for (size_t i = at; i < ldnq_size_min(at + LINE, rows); i += 4)
                    pack_square(b + j * step + i, step, width, panel + i * width + j);
            }
    pack_elements(b, 1, step, rows, k, 0, whole, width, panel);
    pack_elements(b, 1, step, 0, k, whole, columns, width, panel);
}

LDNQ_MULTIVERSION
static void pack_transposed(const float *b, size_t step, size_t k, size_t columns, size_t width,
                            float *panel)
{
    if (width == 32)
        pack_transposed_columns(b, step, k, columns, 32, panel);
    else if (width == 16)
        pack_transposed_columns(b, step, k, columns, 16, panel);
    else if (width == 8)
        pack_transposed_columns(b, step, k, columns, 8, panel);
    else
        pack_transposed_columns(b, step, k, columns, 4, panel);
}

/* Packs one panel of B with any strides. Columns after the last are 0; their sums are not
 * used. */
static void pack_panel(const float *b, size_t row, size_t step, size_t k, size_t columns,
                       size_t width, float *panel)
{
    if (row == 1)
        pack_transposed(b, step, k, columns, width, panel);
    else if (step == 1)
        pack_elements(b, row, 1, 0, k, 0, columns, width, panel);
    else
        pack_elements(b, row, step, 0, k, 0, columns, width, panel);
    for (size_t i = 0; i < k && columns < width; i++)
        memset(panel + i * width + columns, 0, (width - columns) * sizeof *panel);
}

/* ---- the product -------------------------------------------------------------------------- */

/* `columns` columns and `depth` rows of B, packed panel after panel. */
struct gemm_block {
    const struct ldnq_gemm *gemm;
    const struct gemm_implementation *implementation;
    size_t k, depth, column, columns;
    float *panels;
    const float *next; /* the next block's first element of B; NULL: not known */
    size_t next_depth, next_columns;
    size_t whole;     /* columns of the panels that the first rows of tiles read from B itself */
    bool is_in_place; /* nothing is packed: there is one row of tiles */
    float column_bias[MOST_WIDTH]; /* bias of a narrow panel's columns */
};

/* Width of the panel that starts `at` columns into the block: less for a few last columns. */
static size_t choose_panel_width(const struct gemm_block *block, size_t at)
{
    const size_t width = block->implementation->width, rest = block->columns - at;
    if (rest <= block->implementation->rest_width)
        return block->implementation->rest_width;
    return rest <= width / 2 ? width / 2 : width;
}

/* Packs what no tile packs while it reads it. */
static void pack_block(struct gemm_block *block)
{
    const struct ldnq_gemm *g = block->gemm;
    size_t width = block->implementation->width;
    const float *b = g->b + block->k * g->b_row;
    b += block->column * g->b_step;
    /* Panels that are not whole, or not contiguous, can't be read from B. */
    block->whole = g->b_step == 1 ? block->columns / width * width : 0;
    block->is_in_place = g->m <= block->implementation->rows;
    for (size_t at = block->whole; at < block->columns; at += width)
        pack_panel(b + at * g->b_step, g->b_row, g->b_step, block->depth,
                   ldnq_size_min(width, block->columns - at), choose_panel_width(block, at),
                   block->panels + at * block->depth);
}

/* The tile with the first row `row` and the panel that starts `at` columns into the block.
 * Parts of K add up in C; bias and clamp follow the last part. */
static struct gemm_tile make_gemm_tile(struct gemm_block *block, size_t row, size_t at)
{
    const struct ldnq_gemm *g = block->gemm;
    size_t column = block->column + at, width = choose_panel_width(block, at);
    float *panel = block->panels + at * block->depth;
    bool is_last = block->k + block->depth == g->k;
    bool reads_b = at < block->whole && (row == 0 || block->is_in_place);
    struct gemm_tile tile = {
        .k = block->depth,
        .columns = ldnq_size_min(width, block->columns - at),
        .width = width,
        .a = g->a + row * g->a_row + block->k * g->a_step,
        .a_row = g->a_row,
        .a_step = g->a_step,
        .b = reads_b ? g->b + block->k * g->b_row + column : panel,
        .b_row = reads_b ? g->b_row : width,
        .packed = reads_b && !block->is_in_place ? panel : NULL,
        .c = g->c + row * g->c_row + column,
        .c_row = g->c_row,
        .alpha = g->alpha,
        .beta = block->k == 0 ? g->beta : 1.0f,
        .row_bias = is_last && g->row_bias ? g->row_bias + row : NULL,
        .column_bias = is_last && g->column_bias ? g->column_bias + column : NULL,
        .is_clamped = is_last && g->is_clamped,
        .low = g->low,
        .high = g->high,
    };
    if (tile.column_bias && tile.columns < width) {
        memcpy(block->column_bias, tile.column_bias, tile.columns * sizeof(float));
        tile.column_bias = block->column_bias;
    }
    return tile;
}

/* Computes a panel that is narrower than a tile in a buffer, and copies its columns. */
static void multiply_narrow_tile(const struct gemm_implementation *implementation,
                                 const struct gemm_tile *tile, size_t rows)
{
    float c[MOST_ROWS * MOST_WIDTH];
    struct gemm_tile whole = *tile;
    whole.c = c;
    whole.c_row = tile->width;
    if (tile->beta != 0.0f)
        memset(c, 0, sizeof c);
    for (size_t i = 0; i < rows && tile->beta != 0.0f; i++)
        for (size_t j = 0; j < tile->columns; j++)
            c[i * tile->width + j] = tile->c[i * tile->c_row + j];
    if (tile->width == implementation->rest_width)
        implementation->run_rest(&whole, rows);
    else
        implementation->run(&whole, rows);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < tile->columns; j++)
            tile->c[i * tile->c_row + j] = c[i * tile->width + j];
}

/* Memory that is read later: pieces of `length` floats, `distance` floats apart. */
struct pending_prefetch {
    const float *from;
    size_t pieces, length, distance;
    size_t pieces_per_tile;
};

/* Prefetches a tile's share: more at a time would wait for one another. */
static void prefetch_share(struct pending_prefetch *pending)
{
    size_t pieces = ldnq_size_min(pending->pieces_per_tile, pending->pieces);
    pending->pieces -= pieces;
    for (; pieces > 0; pieces--, pending->from += pending->distance) {
        for (size_t j = 0; j < pending->length; j += LINE)
            __builtin_prefetch(pending->from + j, 0, 2);
        __builtin_prefetch(pending->from + pending->length - 1, 0, 2);
    }
}

/* The block that is packed next, which often comes from memory: packing then does not wait. */
static struct pending_prefetch make_next_block_prefetch(const struct gemm_block *block,
                                                        size_t tiles)
{
    const struct ldnq_gemm *g = block->gemm;
    const bool by_rows = g->b_step == 1;
    struct pending_prefetch pending = {
        .from = block->next,
        .pieces = by_rows ? block->next_depth : block->next_columns,
        .length = by_rows ? block->next_columns : block->next_depth,
        .distance = by_rows ? g->b_row : g->b_step,
    };
    if (!block->next || pending.length == 0 || (!by_rows && g->b_row != 1))
        pending.pieces = 0;
    pending.pieces_per_tile = ldnq_size_ceil_div(pending.pieces, ldnq_size_max(1, tiles));
    return pending;
}

/* Rows first .. last-1 of A, which the next tiles read. Later columns of B find them in a cache,
 * and the processor prefetches long rows by itself. */
static struct pending_prefetch make_rows_prefetch(const struct gemm_block *block, size_t first,
                                                  size_t last, size_t tiles)
{
    const struct ldnq_gemm *g = block->gemm;
    const bool is_needed =
        g->a_step == 1 && block->column == 0 && block->depth <= SHORT_ROW && block->depth > 0;
    return (struct pending_prefetch){
        .from = g->a + first * g->a_row + block->k,
        .pieces = is_needed ? last - first : 0,
        .length = block->depth,
        .distance = g->a_row,
        .pieces_per_tile = ldnq_size_ceil_div(last - first, tiles),
    };
}

/* Prefetches what the tile after this one overwrites: without it a store waits for memory. */
static void prefetch_result(const struct gemm_tile *tile, size_t rows)
{
    const float *c = tile->c + tile->width;
    for (size_t i = 0; i < rows; i++, c += tile->c_row) {
        __builtin_prefetch(c, 1);
        __builtin_prefetch(c + LINE, 1);
    }
}

/* Runs all rows, in tiles of nearly equal height; C is written row after row. */
static void multiply_block_by_tiles(struct gemm_block *block)
{
    const struct gemm_implementation *implementation = block->implementation;
    const size_t m = block->gemm->m,
                 across = ldnq_size_ceil_div(block->columns, implementation->width);
    const size_t down = ldnq_size_ceil_div(m, implementation->rows);
    struct pending_prefetch next_block = make_next_block_prefetch(block, down * across);
    for (size_t i = 0, first = 0, last; i < down; i++, first = last) {
        last = (i + 1) * m / down;
        const size_t next_last = ldnq_size_min(m, (i + 2) * m / down);
        struct pending_prefetch next_rows = make_rows_prefetch(block, last, next_last, across);
        for (size_t at = 0; at < block->columns; at += implementation->width) {
            struct gemm_tile tile = make_gemm_tile(block, first, at);
            prefetch_share(&next_block);
            prefetch_share(&next_rows);
            prefetch_result(&tile, last - first);
            if (tile.columns == tile.width && tile.width != implementation->rest_width)
                implementation->run(&tile, last - first);
            else
                multiply_narrow_tile(implementation, &tile, last - first);
        }
    }
}

static size_t count_block_columns(const struct gemm_block *block, size_t columns)
{
    const size_t width = block->implementation->width;
    const size_t most = PANEL_FLOATS / width / ldnq_size_max(1, block->depth) * width;
    return ldnq_size_min(most, columns);
}

/* Sets `next` to the block to the right, or else to the first one of the next rows of B, or of the
 * product that follows. */
static void find_next_block(struct gemm_block *block)
{
    const struct ldnq_gemm *g = block->gemm;
    const size_t column = block->column + block->columns, k = block->k + block->depth;
    block->next_depth = block->depth;
    if (column < g->n) {
        block->next = g->b + block->k * g->b_row + column * g->b_step;
        block->next_columns = count_block_columns(block, g->n - column);
    } else if (k < g->k) {
        block->next = g->b + k * g->b_row;
        block->next_columns = count_block_columns(block, g->n);
        block->next_depth = ldnq_size_min(block->depth, g->k - k);
    } else {
        block->next = g->next_b;
        block->next_columns = count_block_columns(block, g->next_n);
    }
}

static void multiply_by_blocks(const struct gemm_implementation *implementation,
                               const struct ldnq_gemm *g)
{
    _Alignas(64) float panels[PANEL_FLOATS];
    size_t parts = ldnq_size_max(1, ldnq_size_ceil_div(g->k, DEPTH));
    for (size_t part = 0; part < parts; part++) {
        struct gemm_block block = { .gemm = g, .implementation = implementation, .panels = panels };
        block.k = part * g->k / parts;
        block.depth = (part + 1) * g->k / parts - block.k;
        for (size_t column = 0; column < g->n; column += block.columns) {
            block.column = column;
            block.columns = count_block_columns(&block, g->n - column);
            find_next_block(&block);
            pack_block(&block);
            multiply_block_by_tiles(&block);
        }
    }
}

void ldnq_gemm_with(size_t implementation, const struct ldnq_gemm *gemm)
{
    struct gemm_implementation list[MAX_IMPLEMENTATIONS];
    list_implementations(list);
    multiply_by_blocks(&list[implementation], gemm);
}

void ldnq_gemm(const struct ldnq_gemm *gemm)
{
    ldnq_gemm_with(0, gemm);
}
