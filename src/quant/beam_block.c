/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/beam_block.h"

#include <string.h>

#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

#define BLOCK LDNQ_BEAM_BLOCK
#define MAX_WIDTH LDNQ_MOST_BRANCHES

#define LANES 16
LDNQ_LANES(lanes, LANES)

/* A candidate's index replaces the last bits of its cost, so that no two costs are equal. */
#define INDEX_BITS 5

/* ---- codes ---------------------------------------------------------------------------- */

void ldnq_code_table_init(struct ldnq_code_table *table, const struct ldnq_codebook *codebook)
{
    table->count = codebook->count;
    table->lowest = codebook->codes[0];
    table->highest = codebook->codes[codebook->count - 1];
    table->is_uniform = table->highest - table->lowest == (int)codebook->count - 1;
    for (size_t i = 0; i < table->count; i++)
        table->codes[i] = codebook->codes[i];
    for (size_t i = 0; i + 1 < table->count; i++)
        table->middles[i] = 0.5f * (table->codes[i] + table->codes[i + 1]);
}

/* Without jumps and round(), so that compilers vectorize it. */
static inline __attribute__((always_inline)) void
find_uniform_codes(const struct ldnq_code_table *table, size_t n, const float *at, float *near,
                   float *next)
{
    const float low = (float)table->lowest, high = (float)table->highest;
    for (size_t i = 0; i < n; i++) {
        float x = at[i] > low ? at[i] : low;
        x = x < high ? x : high;
        const float code = (float)((int)(x + 256.5f) - 256);
        float other = x > code ? code + 1 : code - 1;
        other = other > high ? code - 1 : other;
        near[i] = code;
        next[i] = other < low ? code + 1 : other;
    }
}

static inline __attribute__((always_inline)) void
find_listed_codes(const struct ldnq_code_table *table, size_t n, const float *at, float *near,
                  float *next)
{
    for (size_t i = 0; i < n; i++) {
        size_t nearest = 0;
        for (size_t c = 0; c + 1 < table->count; c++)
            nearest += at[i] > table->middles[c];
        const bool up =
            nearest == 0 || (at[i] > table->codes[nearest] && nearest + 1 < table->count);
        near[i] = table->codes[nearest];
        next[i] = table->codes[up ? nearest + 1 : nearest - 1];
    }
}

static inline __attribute__((always_inline)) void
find_codes(const struct ldnq_code_table *table, size_t n, const float *at, float *near, float *next)
{
    if (table->is_uniform)
        find_uniform_codes(table, n, at, near, next);
    else
        find_listed_codes(table, n, at, near, next);
}

/* ---- one row: vectors along the columns -------------------------------------------------- */

/* The branches of a row. */
struct row_branches {
    float target[2][MAX_WIDTH]
                [BLOCK]; /* targets of columns not yet rounded, before and after a step */
    float cost[MAX_WIDTH];
    /* Errors, codes and parents of the branches kept at each step. */
    float error[BLOCK][MAX_WIDTH];
    int8_t code[BLOCK][MAX_WIDTH];
    uint8_t parent[BLOCK][MAX_WIDTH];
};

/* The extensions of all branches: the nearest code of each, then the second nearest. */
struct extensions {
    float code[2 * MAX_WIDTH], error[2 * MAX_WIDTH], cost[2 * MAX_WIDTH];
    uint8_t order[2 * MAX_WIDTH]; /* by cost */
};

static inline __attribute__((always_inline)) void
find_extensions(const struct ldnq_code_table *table, size_t width, const float (*target)[BLOCK],
                float scale, float inverse, float unit, const float *cost, struct extensions *found)
{
    float targets[MAX_WIDTH], at[MAX_WIDTH];
    for (size_t b = 0; b < width; b++)
        targets[b] = *target[b];
    for (size_t b = 0; b < width; b++)
        at[b] = targets[b] * inverse;
    find_codes(table, width, at, found->code, found->code + width);
    for (size_t side = 0; side < 2; side++)
        for (size_t b = 0; b < width; b++) {
            const size_t at_side = side * width + b;
            const float error = (targets[b] - scale * found->code[at_side]) * unit;
            found->error[at_side] = error;
            found->cost[at_side] = cost[b] + error * error;
        }
}

/* Costs are not negative, so that their bits, read as integers, have the same order. */
static inline __attribute__((always_inline)) void rank_extensions(size_t width,
                                                                  struct extensions *found)
{
    int32_t key[2 * MAX_WIDTH], rank[2 * MAX_WIDTH] = { 0 };
    memcpy(key, found->cost, 2 * width * sizeof *key);
    for (size_t i = 0; i < 2 * width; i++)
        key[i] = (key[i] & ~((1 << INDEX_BITS) - 1)) | (int32_t)i;
    for (size_t j = 0; j < 2 * width; j++)
        for (size_t i = 0; i < 2 * width; i++)
            rank[i] += key[j] < key[i];
    for (size_t i = 0; i < 2 * width; i++)
        found->order[rank[i]] = (uint8_t)i;
}

/* Stores the cheapest extensions of column i as the new branches; x is row i of X. */
static inline __attribute__((always_inline)) void keep_cheapest(size_t width,
                                                                struct row_branches *branches,
                                                                size_t i, const float *x, int from,
                                                                const struct extensions *found)
{
    for (size_t s = 0; s < width; s++) {
        const size_t c = found->order[s], parent = c % width;
        const float error = found->error[c];
        const float *before = branches->target[from][parent];
        float *after = branches->target[1 - from][s];
        for (size_t j = 0; j < i; j += LANES)
            *(lanes *)(after + j) = *(const lanes *)(before + j) - error * *(const lanes *)(x + j);
        branches->cost[s] = found->cost[c];
        branches->error[i][s] = error;
        branches->code[i][s] = (int8_t)found->code[c];
        branches->parent[i][s] = (uint8_t)parent;
    }
}

static inline __attribute__((always_inline)) void
search_columns_of_row(const struct ldnq_beam_block *block, size_t width, size_t r,
                      struct row_branches *branches)
{
    const float *scales = block->scales + r * block->stride;
    const float *inverses = block->inverses + r * block->stride;
    struct extensions found;
    int from = 0;
    for (size_t i = block->count; i-- > 0; from = 1 - from) {
        find_extensions(block->table, width, (const float(*)[BLOCK]) & branches->target[from][0][i],
                        scales[i], inverses[i], block->units[i], branches->cost, &found);
        rank_extensions(width, &found);
        keep_cheapest(width, branches, i, block->corner + i * BLOCK, from, &found);
    }
}

LDNQ_MULTIVERSION
static void search_row(const struct ldnq_beam_block *block, size_t r, struct row_branches *branches)
{
    if (block->width == 1)
        search_columns_of_row(block, 1, r, branches);
    else if (block->width == 4)
        search_columns_of_row(block, 4, r, branches);
    else if (block->width == 8)
        search_columns_of_row(block, 8, r, branches);
    else
        search_columns_of_row(block, 16, r, branches);
}

/* Reads the codes and errors of each branch, from the last step back to the first. */
static void trace_branches_back(const struct ldnq_beam_block *block, size_t r,
                                const struct row_branches *branches)
{
    for (size_t b = 0; b < block->width; b++) {
        const size_t to = r * block->width + b;
        size_t at = b;
        for (size_t i = 0; i < block->count; i++) {
            block->errors[to][i] = branches->error[i][at];
            block->codes[to * BLOCK + i] = branches->code[i][at];
            at = branches->parent[i][at];
        }
        block->parents[to] = (uint8_t)at;
    }
}

static void search_and_trace_row(const struct ldnq_beam_block *block, size_t r)
{
    const size_t first = r * block->width, count = block->count;
    struct row_branches branches;
    for (size_t b = 0; b < block->width; b++) {
        memcpy(branches.target[0][b], block->targets[first + b], count * sizeof(float));
        memset(branches.target[0][b] + count, 0, (BLOCK - count) * sizeof(float));
    }
    memcpy(branches.cost, block->costs + first, block->width * sizeof(float));
    search_row(block, r, &branches);
    memcpy(block->costs + first, branches.cost, block->width * sizeof(float));
    trace_branches_back(block, r, &branches);
}

void ldnq_search_beam_block_by_row(const struct ldnq_beam_block *block)
{
    for (size_t r = 0; r < block->rows; r++)
        search_and_trace_row(block, r);
}

/* ---- one branch per row: vectors of rows --------------------------------------------------- */

/* Columns of sixteen rows, one row per lane. */
struct single_branches {
    float target[BLOCK][LANES], scale[BLOCK][LANES], inverse[BLOCK][LANES];
    float error[BLOCK][LANES], code[BLOCK][LANES];
    float cost[LANES];
};

/* Lanes without a row repeat the last one. */
static void load_single_branches(const struct ldnq_beam_block *block, size_t first,
                                 struct single_branches *branches)
{
    for (size_t lane = 0; lane < LANES; lane++) {
        const size_t r = ldnq_size_min(first + lane, block->rows - 1);
        const float *scales = block->scales + r * block->stride;
        const float *inverses = block->inverses + r * block->stride;
        for (size_t i = 0; i < block->count; i++) {
            branches->target[i][lane] = block->targets[r][i];
            branches->scale[i][lane] = scales[i];
            branches->inverse[i][lane] = inverses[i];
        }
        branches->cost[lane] = block->costs[r];
    }
}

static void store_single_branches(const struct ldnq_beam_block *block, size_t first,
                                  const struct single_branches *branches)
{
    for (size_t lane = 0; lane < ldnq_size_min(LANES, block->rows - first); lane++) {
        for (size_t i = 0; i < block->count; i++) {
            block->errors[first + lane][i] = branches->error[i][lane];
            block->codes[(first + lane) * BLOCK + i] = (int8_t)branches->code[i][lane];
        }
        block->costs[first + lane] = branches->cost[lane];
        block->parents[first + lane] = 0;
    }
}

/* Of both nearest codes the cheaper one; costs compare as those of rank_extensions. */
static inline __attribute__((always_inline)) void
round_column_of_rows(const struct ldnq_code_table *table, float unit, size_t i,
                     struct single_branches *branches)
{
    float at[LANES], near[LANES], next[LANES], costs[2][LANES], errors[2][LANES];
    int32_t keys[2][LANES];
    for (size_t lane = 0; lane < LANES; lane++)
        at[lane] = branches->target[i][lane] * branches->inverse[i][lane];
    find_codes(table, LANES, at, near, next);
    for (size_t lane = 0; lane < LANES; lane++) {
        const float target = branches->target[i][lane], scale = branches->scale[i][lane];
        errors[0][lane] = (target - scale * near[lane]) * unit;
        errors[1][lane] = (target - scale * next[lane]) * unit;
        costs[0][lane] = branches->cost[lane] + errors[0][lane] * errors[0][lane];
        costs[1][lane] = branches->cost[lane] + errors[1][lane] * errors[1][lane];
    }
    memcpy(keys, costs, sizeof keys);
    for (size_t lane = 0; lane < LANES; lane++) {
        const bool is_next = keys[1][lane] >> INDEX_BITS < keys[0][lane] >> INDEX_BITS;
        branches->error[i][lane] = is_next ? errors[1][lane] : errors[0][lane];
        branches->code[i][lane] = is_next ? next[lane] : near[lane];
        branches->cost[lane] = is_next ? costs[1][lane] : costs[0][lane];
    }
}

LDNQ_MULTIVERSION
static void search_single_branches(const struct ldnq_beam_block *block,
                                   struct single_branches *branches)
{
    for (size_t i = block->count; i-- > 0;) {
        const float *x = block->corner + i * BLOCK;
        round_column_of_rows(block->table, block->units[i], i, branches);
        const lanes error = *(const lanes *)branches->error[i];
        for (size_t j = 0; j < i; j++)
            *(lanes *)branches->target[j] -= error * x[j];
    }
}

/* ---- four branches per row: vectors of two rows ---------------------------------------------- */

/* Clang shuffles by constants alone. */
#if !defined(__clang__)

#define FOUR ((size_t)4)
#define PAIR_LANES (2 * FOUR)
LDNQ_LANES(pair, PAIR_LANES)
#define INDEX_MASK ((1 << INDEX_BITS) - 1)

/* Two rows, the branches of each in four lanes that follow one another. */
struct paired_rows {
    float target[BLOCK][PAIR_LANES], scale[BLOCK][PAIR_LANES], inverse[BLOCK][PAIR_LANES];
    float error[BLOCK][PAIR_LANES], code[BLOCK][PAIR_LANES];
    int32_t parent[BLOCK][PAIR_LANES]; /* a lane */
    float cost[PAIR_LANES];
};

static void load_paired_rows(const struct ldnq_beam_block *block, size_t first,
                             struct paired_rows *rows)
{
    for (size_t lane = 0; lane < PAIR_LANES; lane++) {
        const size_t r = ldnq_size_min(first + lane / FOUR, block->rows - 1);
        const float *target = block->targets[r * FOUR + lane % FOUR];
        const float *scales = block->scales + r * block->stride;
        const float *inverses = block->inverses + r * block->stride;
        for (size_t i = 0; i < block->count; i++) {
            rows->target[i][lane] = target[i];
            rows->scale[i][lane] = scales[i];
            rows->inverse[i][lane] = inverses[i];
        }
        rows->cost[lane] = block->costs[r * FOUR + lane % FOUR];
    }
}

/* Exchanges each key with that of lane partner[lane] where the lane is to hold the larger one of
 * both and does not, or the smaller one. */
#define EXCHANGE(keys, partner, holds_larger)                                                      \
    do {                                                                                           \
        const pair_bits other = __builtin_shuffle(keys, partner);                                  \
        const pair_bits moves = (other < (keys)) ^ (holds_larger);                                 \
        (keys) = (other & moves) | ((keys) & ~moves);                                              \
    } while (0)

static const pair_bits neighbors = { 1, 0, 3, 2, 5, 4, 7, 6 };
static const pair_bits far_neighbors = { 2, 3, 0, 1, 6, 7, 4, 5 };
static const pair_bits middle_neighbors = { 0, 2, 1, 3, 4, 6, 5, 7 };
static const pair_bits mirrored = { 3, 2, 1, 0, 7, 6, 5, 4 };
static const pair_bits odd_lanes = { 0, -1, 0, -1, 0, -1, 0, -1 };
static const pair_bits upper_lanes = { 0, 0, -1, -1, 0, 0, -1, -1 };
static const pair_bits third_lanes = { 0, 0, -1, 0, 0, 0, -1, 0 };
static const pair_bits first_lane_of_row = { 0, 0, 0, 0, 4, 4, 4, 4 };

/* Sorts the four keys of each row. */
#define SORT_FOUR(keys)                                                                            \
    do {                                                                                           \
        EXCHANGE(keys, neighbors, odd_lanes);                                                      \
        EXCHANGE(keys, far_neighbors, upper_lanes);                                                \
        EXCHANGE(keys, middle_neighbors, third_lanes);                                             \
    } while (0)

/* Writes the indices of the cheapest four of each row's eight extensions, in order. */
static inline __attribute__((always_inline)) void
find_cheapest_of_pair(const float (*costs)[PAIR_LANES], pair_bits *indices)
{
    static const pair_bits index = { 0, 1, 2, 3, 0, 1, 2, 3 };
    pair_bits near, next;
    memcpy(&near, costs[0], sizeof near);
    memcpy(&next, costs[1], sizeof next);
    near = (near & ~INDEX_MASK) | index;
    next = (next & ~INDEX_MASK) | (index + (int)FOUR);
    SORT_FOUR(near);
    SORT_FOUR(next);
    /* The smaller ones of one order and the reversed other one rise, then fall. */
    next = __builtin_shuffle(next, mirrored);
    const pair_bits less = next < near;
    near = (next & less) | (near & ~less);
    EXCHANGE(near, far_neighbors, upper_lanes);
    EXCHANGE(near, neighbors, odd_lanes);
    *indices = near & INDEX_MASK;
}

static inline __attribute__((always_inline)) void
extend_paired_rows(const struct ldnq_code_table *table, float unit, size_t i,
                   struct paired_rows *rows)
{
    float at[PAIR_LANES], codes[2][PAIR_LANES], costs[2][PAIR_LANES], errors[2][PAIR_LANES];
    pair_bits indices;
    for (size_t lane = 0; lane < PAIR_LANES; lane++)
        at[lane] = rows->target[i][lane] * rows->inverse[i][lane];
    find_codes(table, PAIR_LANES, at, codes[0], codes[1]);
    for (size_t side = 0; side < 2; side++)
        for (size_t lane = 0; lane < PAIR_LANES; lane++) {
            const float error =
                (rows->target[i][lane] - rows->scale[i][lane] * codes[side][lane]) * unit;
            errors[side][lane] = error;
            costs[side][lane] = rows->cost[lane] + error * error;
        }
    find_cheapest_of_pair((const float(*)[PAIR_LANES])costs, &indices);
    const pair_bits parent = first_lane_of_row + (indices & (int)(FOUR - 1));
    const pair_bits from = parent + ((indices & (int)FOUR) << 1); /* among both sides' lanes */
    *(pair *)rows->error[i] =
        __builtin_shuffle(*(const pair *)errors[0], *(const pair *)errors[1], from);
    *(pair *)rows->code[i] =
        __builtin_shuffle(*(const pair *)codes[0], *(const pair *)codes[1], from);
    *(pair *)rows->cost = __builtin_shuffle(*(const pair *)costs[0], *(const pair *)costs[1], from);
    memcpy(rows->parent[i], &parent, sizeof parent);
}

static inline __attribute__((always_inline)) void update_targets_of_pair(const float *x, size_t i,
                                                                         struct paired_rows *rows)
{
    const pair error = *(const pair *)rows->error[i];
    pair_bits parent;
    memcpy(&parent, rows->parent[i], sizeof parent);
    for (size_t j = 0; j < i; j++)
        *(pair *)rows->target[j] =
            __builtin_shuffle(*(const pair *)rows->target[j], parent) - error * x[j];
}

/* Two pairs side by side: steps of one wait for one another. */
LDNQ_MULTIVERSION
static void search_paired_rows(const struct ldnq_beam_block *block, struct paired_rows *pairs)
{
    for (size_t i = block->count; i-- > 0;) {
        extend_paired_rows(block->table, block->units[i], i, &pairs[0]);
        extend_paired_rows(block->table, block->units[i], i, &pairs[1]);
        update_targets_of_pair(block->corner + i * BLOCK, i, &pairs[0]);
        update_targets_of_pair(block->corner + i * BLOCK, i, &pairs[1]);
    }
}

/* As trace_branches_back. */
LDNQ_MULTIVERSION
static void trace_paired_rows_back(size_t count, struct paired_rows *rows, int32_t *starts)
{
    pair_bits at = { 0, 1, 2, 3, 4, 5, 6, 7 }, parent;
    for (size_t i = 0; i < count; i++) {
        *(pair *)rows->error[i] = __builtin_shuffle(*(const pair *)rows->error[i], at);
        *(pair *)rows->code[i] = __builtin_shuffle(*(const pair *)rows->code[i], at);
        memcpy(&parent, rows->parent[i], sizeof parent);
        at = __builtin_shuffle(parent, at);
    }
    at -= first_lane_of_row;
    memcpy(starts, &at, sizeof at);
}

static void store_paired_rows(const struct ldnq_beam_block *block, size_t first,
                              struct paired_rows *rows)
{
    int32_t starts[PAIR_LANES];
    trace_paired_rows_back(block->count, rows, starts);
    for (size_t lane = 0; lane < PAIR_LANES && first + lane / FOUR < block->rows; lane++) {
        const size_t to = first * FOUR + lane;
        for (size_t i = 0; i < block->count; i++) {
            block->errors[to][i] = rows->error[i][lane];
            block->codes[to * BLOCK + i] = (int8_t)rows->code[i][lane];
        }
        block->costs[to] = rows->cost[lane];
        block->parents[to] = (uint8_t)starts[lane];
    }
}

static void search_pairs_of_rows(const struct ldnq_beam_block *block)
{
    struct paired_rows pairs[2];
    for (size_t first = 0; first < block->rows; first += 4) {
        load_paired_rows(block, first, &pairs[0]);
        load_paired_rows(block, first + 2, &pairs[1]);
        search_paired_rows(block, pairs);
        store_paired_rows(block, first, &pairs[0]);
        store_paired_rows(block, first + 2, &pairs[1]);
    }
}

#else

#define FOUR ((size_t)4)

static void search_pairs_of_rows(const struct ldnq_beam_block *block)
{
    ldnq_search_beam_block_by_row(block);
}

#endif

/* ---- all rows ---------------------------------------------------------------------------------
 */

void ldnq_search_beam_block(const struct ldnq_beam_block *block)
{
    struct single_branches branches;
    if (block->width == FOUR) {
        search_pairs_of_rows(block);
        return;
    }
    if (block->width != 1) {
        ldnq_search_beam_block_by_row(block);
        return;
    }
    for (size_t first = 0; first < block->rows; first += LANES) {
        load_single_branches(block, first, &branches);
        search_single_branches(block, &branches);
        store_single_branches(block, first, &branches);
    }
}
