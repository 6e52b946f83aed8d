/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_tile.h: the innermost loop of gemm_tiled.c for one instruction set. gemm_tiled.c
 * includes it once per instruction set, with these macros defined:
 *
 * TILE(name)   name with a suffix for the instruction set
 * TILE_CLAMP   the clamp for TILE(lanes), made by base/lanes.h
 * TILE_LANES   floats per vector
 * TILE_VECTORS vectors that a tile is wide at most: 1 or 2
 * TILE_ROWS    rows per tile: 6 or 8
 * TILE_TARGET  function attributes
 *
 * Numbers  an element of C is one chain of sums over k, whatever the tile. Its bits depend
 *          only on whether the processor fuses a product and a sum.
 */

/* Scales the sums of one vector, adds beta C and the biases, clamps, and stores. */
static inline __attribute__((always_inline)) void
TILE(finish)(const struct gemm_tile *tile, const TILE(lanes) * sum, size_t i, size_t j)
{
    float *c = tile->c + i * tile->c_row + j;
    TILE(lanes) value = *sum * tile->alpha;
    if (tile->beta != 0.0f)
        value += tile->beta * *(const TILE(lanes) *)c;
    if (tile->column_bias)
        value += *(const TILE(lanes) *)(tile->column_bias + j);
    if (tile->row_bias)
        value += tile->row_bias[i];
    if (tile->is_clamped)
        TILE_CLAMP(&value, tile->low, tile->high);
    *(TILE(lanes) *)c = value;
}

/* finish for all vectors of a tile with alpha 1 and beta 0. The sums stay in registers. */
static inline __attribute__((always_inline)) void
TILE(finish_unscaled)(const struct gemm_tile *tile, TILE(lanes) sum[][2], size_t rows,
                      size_t vectors)
{
    float *c = tile->c;
    /* -0 changes no bit of what it is added to. */
    const float *row_bias = tile->row_bias ? tile->row_bias : no_bias;
    const float *column_bias = tile->column_bias ? tile->column_bias : no_bias;
    LDNQ_UNROLL(2)
    for (size_t j = 0; j < vectors; j++) {
        const TILE(lanes) bias = *(const TILE(lanes) *)(column_bias + j * TILE_LANES);
        LDNQ_UNROLL(TILE_ROWS)
        for (size_t i = 0; i < rows; i++)
            sum[i][j] = sum[i][j] + bias + row_bias[i];
    }
    if (tile->is_clamped) {
        LDNQ_UNROLL(TILE_ROWS)
        for (size_t i = 0; i < rows; i++) {
            TILE_CLAMP(&sum[i][0], tile->low, tile->high);
            if (vectors == 2)
                TILE_CLAMP(&sum[i][1], tile->low, tile->high);
        }
    }
    LDNQ_UNROLL(TILE_ROWS)
    for (size_t i = 0; i < rows; i++, c += tile->c_row) {
        *(TILE(lanes) *)c = sum[i][0];
        if (vectors == 2)
            *(TILE(lanes) *)(c + TILE_LANES) = sum[i][1];
    }
}

/* `rows`, `vectors` and `packs` are constants wherever this is inlined, and all sums stay in
 * registers. */
static inline __attribute__((always_inline)) void
TILE(sums)(const struct gemm_tile *tile, size_t rows, size_t vectors, bool packs)
{
    TILE(lanes) sum[TILE_ROWS][2], right = { 0 };
    const float *a = tile->a, *b = tile->b;
    const size_t row = tile->a_row, step = tile->a_step, next = tile->b_row;
    float *packed = tile->packed;
    LDNQ_UNROLL(TILE_ROWS)
    for (size_t i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = (TILE(lanes)){ 0 };
    for (size_t k = 0; k < tile->k; k++, a += step, b += next) {
        const TILE(lanes) left = *(const TILE(lanes) *)b;
        if (vectors == 2)
            right = *(const TILE(lanes) *)(b + TILE_LANES);
        if (packs) {
            __builtin_prefetch(b + AHEAD * next);
            __builtin_prefetch(b + AHEAD * next + TILE_LANES);
            *(TILE(lanes) *)packed = left;
            if (vectors == 2)
                *(TILE(lanes) *)(packed + TILE_LANES) = right;
            packed += vectors * TILE_LANES;
        }
        LDNQ_UNROLL(TILE_ROWS)
        for (size_t i = 0; i < rows; i++) {
            sum[i][0] += left * a[i * row];
            if (vectors == 2)
                sum[i][1] += right * a[i * row];
        }
    }
    if (tile->alpha == 1.0f && tile->beta == 0.0f) {
        TILE(finish_unscaled)(tile, sum, rows, vectors);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        TILE(finish)(tile, &sum[i][0], i, 0);
        if (vectors == 2)
            TILE(finish)(tile, &sum[i][1], i, TILE_LANES);
    }
}

#define TILE_CASE(count)                                                                           \
    case count:                                                                                    \
        if (TILE_VECTORS == 1 || tile->width == TILE_LANES)                                        \
            TILE(sums)(tile, count, 1, tile->packed != NULL);                                      \
        else if (tile->packed)                                                                     \
            TILE(sums)(tile, count, 2, true);                                                      \
        else                                                                                       \
            TILE(sums)(tile, count, 2, false);                                                     \
        break

TILE_TARGET
static void TILE(tile)(const struct gemm_tile *tile, size_t rows)
{
    switch (rows) {
        TILE_CASE(1);
        TILE_CASE(2);
        TILE_CASE(3);
        TILE_CASE(4);
        TILE_CASE(5);
        TILE_CASE(6);
#if TILE_ROWS == 8
        TILE_CASE(7);
        TILE_CASE(8);
#endif
    default:
        break;
    }
}

#undef TILE_CASE
#undef TILE
#undef TILE_CLAMP
#undef TILE_LANES
#undef TILE_ROWS
#undef TILE_VECTORS
#undef TILE_TARGET
