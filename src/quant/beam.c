#include "quant/beam.h"

#include <math.h>
#include <string.h>

#include "base/lanes.h"
#include "base/pool.h"
#include "base/simd.h"
#include "base/size.h"
#include "linalg/blas.h"
#include "quant/problem.h"
#include "quant/project.h"

/* Inputs whose steps reach those to come as one product. */
#define BLOCK 32
#define MOST 16       /* beginnings */
#define CHUNK_ROWS 32 /* at most */
#define CHUNK_BEGINNINGS 128

#define LANES 16
LDNQ_LANES(lanes, LANES)

/* A candidate's place among all takes a cost's last bits, so that no two are equal. */
#define PLACE_BITS 5

/* The two codes nearest to a value, for all codebooks. */
struct book {
    bool is_uniform;
    int lowest, highest;
    size_t count;
    float codes[256], middles[256]; /* middles[i] between codes i and i+1 */
};

/* A row's beginnings in a block of inputs, and what became of them. */
struct front {
    float rest[2][MOST][BLOCK]; /* what is wanted of the inputs to come; by turns */
    float cost[MOST];
    float error[BLOCK][MOST]; /* of the survivors of each step */
    int8_t code[BLOCK][MOST];
    uint8_t parent[BLOCK][MOST];
};

/* A thread's place for a chunk of rows; B beginnings, of all rows. */
struct ldnq_beam_desk {
    float *rest, *next;       /* (B, K) */
    float *scales, *inverses; /* (rows, K) in units of the row's largest */
    double size[CHUNK_ROWS];  /* which is that */
    float errors[CHUNK_BEGINNINGS][BLOCK];
    float costs[CHUNK_BEGINNINGS];
    int8_t *codes;    /* (blocks, B, BLOCK) */
    uint8_t *parents; /* (blocks, B) beginnings at the block's start */
};

struct search {
    const struct ldnq_beam *beam;
    struct book book;
    size_t k, width, blocks, rows, per_group; /* rows of a chunk, chunks of a group */
    const double *factors;
    size_t count;
    int8_t *codes;
    const float *scales;
    double *costs;  /* (G M) */
    double *chosen; /* (G M) factors */
};

struct chunk {
    size_t group, row, rows; /* row counts over all groups */
};

/* ---- codes ---------------------------------------------------------------------------- */

static void open_book(struct book *book, const struct ldnq_codebook *codebook)
{
    book->count = codebook->count;
    book->lowest = codebook->codes[0];
    book->highest = codebook->codes[codebook->count - 1];
    book->is_uniform = book->highest - book->lowest == (int)codebook->count - 1;
    for (size_t i = 0; i < book->count; i++)
        book->codes[i] = codebook->codes[i];
    for (size_t i = 0; i + 1 < book->count; i++)
        book->middles[i] = 0.5f * (book->codes[i] + book->codes[i + 1]);
}

/* Without branches and round(), so that it becomes vector code. */
static inline __attribute__((always_inline)) void
round_codes(const struct book *book, size_t n, const float *at, float *near, float *next)
{
    const float low = (float)book->lowest, high = (float)book->highest;
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
find_codes(const struct book *book, size_t n, const float *at, float *near, float *next)
{
    for (size_t i = 0; i < n; i++) {
        size_t place = 0;
        for (size_t c = 0; c + 1 < book->count; c++)
            place += at[i] > book->middles[c];
        const bool up = place == 0 || (at[i] > book->codes[place] && place + 1 < book->count);
        near[i] = book->codes[place];
        next[i] = book->codes[up ? place + 1 : place - 1];
    }
}

/* ---- one input ------------------------------------------------------------------------- */

struct candidates { /* the nearest code of each beginning, then the next ones */
    float code[2 * MOST], error[2 * MOST], cost[2 * MOST];
    uint8_t order[2 * MOST]; /* by cost */
};

static inline __attribute__((always_inline)) void
propose(const struct book *book, size_t width, const float (*rest)[BLOCK], float scale,
        float inverse, float unit, const float *cost, struct candidates *found)
{
    float wanted[MOST], at[MOST];
    for (size_t b = 0; b < width; b++)
        wanted[b] = *rest[b];
    for (size_t b = 0; b < width; b++)
        at[b] = wanted[b] * inverse;
    if (book->is_uniform)
        round_codes(book, width, at, found->code, found->code + width);
    else
        find_codes(book, width, at, found->code, found->code + width);
    for (size_t side = 0; side < 2; side++)
        for (size_t b = 0; b < width; b++) {
            const size_t at_side = side * width + b;
            const float error = (wanted[b] - scale * found->code[at_side]) * unit;
            found->error[at_side] = error;
            found->cost[at_side] = cost[b] + error * error;
        }
}

/* Costs are not negative: as integers their bits have the same order. */
static inline __attribute__((always_inline)) void rank(size_t width, struct candidates *found)
{
    int32_t key[2 * MOST], place[2 * MOST] = { 0 };
    memcpy(key, found->cost, 2 * width * sizeof *key);
    for (size_t i = 0; i < 2 * width; i++)
        key[i] = (key[i] & ~((1 << PLACE_BITS) - 1)) | (int32_t)i;
    for (size_t j = 0; j < 2 * width; j++)
        for (size_t i = 0; i < 2 * width; i++)
            place[i] += key[j] < key[i];
    for (size_t i = 0; i < 2 * width; i++)
        found->order[place[i]] = (uint8_t)i;
}

/* The survivors of input i; x is X's row, n the inputs to come of the block. */
static inline __attribute__((always_inline)) void survive(size_t width, struct front *front,
                                                          size_t i, const float *x, int from,
                                                          const struct candidates *found)
{
    for (size_t s = 0; s < width; s++) {
        const size_t c = found->order[s], parent = c % width;
        const float error = found->error[c];
        const float *before = front->rest[from][parent];
        float *after = front->rest[1 - from][s];
        for (size_t j = 0; j < i; j += LANES)
            *(lanes *)(after + j) = *(const lanes *)(before + j) - error * *(const lanes *)(x + j);
        front->cost[s] = found->cost[c];
        front->error[i][s] = error;
        front->code[i][s] = (int8_t)found->code[c];
        front->parent[i][s] = (uint8_t)parent;
    }
}

static inline __attribute__((always_inline)) void walk(const struct book *book, size_t width,
                                                       struct front *front, size_t count,
                                                       const float *corner, const float *scales,
                                                       const float *inverses, const float *units)
{
    struct candidates found;
    int from = 0;
    for (size_t i = count; i-- > 0; from = 1 - from) {
        propose(book, width, (const float(*)[BLOCK]) & front->rest[from][0][i], scales[i],
                inverses[i], units[i], front->cost, &found);
        rank(width, &found);
        survive(width, front, i, corner + i * BLOCK, from, &found);
    }
}

LDNQ_MULTIVERSION
static void walk_block(const struct book *book, size_t width, struct front *front, size_t count,
                       const float *corner, const float *scales, const float *inverses,
                       const float *units)
{
    if (width == 1)
        walk(book, 1, front, count, corner, scales, inverses, units);
    else if (width == 4)
        walk(book, 4, front, count, corner, scales, inverses, units);
    else if (width == 8)
        walk(book, 8, front, count, corner, scales, inverses, units);
    else
        walk(book, 16, front, count, corner, scales, inverses, units);
}

/* ---- a chunk of rows --------------------------------------------------------------------- */

static struct chunk chunk_at(const struct search *s, size_t index)
{
    const size_t outputs = s->beam->problem->outputs, group = index / s->per_group;
    const size_t first = index % s->per_group * s->rows;
    return (struct chunk){ group, group * outputs + first,
                           ldnq_size_min(outputs - first, s->rows) };
}

/* The only beginning is the empty one. */
static void load_row(const struct search *s, const struct chunk *chunk, size_t r, double factor,
                     struct ldnq_beam_desk *desk)
{
    const struct ldnq_layer_problem *problem = s->beam->problem;
    const struct ldnq_column *columns = s->beam->inverse.columns + chunk->group * s->k;
    const size_t row = chunk->row + r, scales = ldnq_row_scales(problem);
    double size = 0;
    for (size_t i = row * scales; i < (row + 1) * scales; i++)
        size = fmax(size, (double)s->scales[i]);
    desk->size[r] = size * factor;
    for (size_t i = 0; i < s->k; i++) {
        const size_t input = columns[i].input;
        const double scale = (double)s->scales[ldnq_scale_at(problem, row, input)] / size;
        desk->scales[r * s->k + i] = (float)scale;
        desk->inverses[r * s->k + i] = (float)(1 / scale);
        desk->rest[r * s->width * s->k + i] =
            (float)((double)problem->weight[row * s->k + input] / desk->size[r]);
    }
    for (size_t b = 1; b < s->width; b++)
        memcpy(desk->rest + (r * s->width + b) * s->k, desk->rest + r * s->width * s->k,
               s->k * sizeof *desk->rest);
    for (size_t b = 0; b < s->width; b++)
        desk->costs[r * s->width + b] = b == 0 ? 0 : INFINITY;
}

/* From the last step back to the first, for each survivor. */
static void trace_back(const struct search *s, const struct front *front, size_t count,
                       float *errors, int8_t *codes, uint8_t *parents)
{
    for (size_t b = 0; b < s->width; b++) {
        size_t at = b;
        for (size_t i = 0; i < count; i++) {
            errors[b * BLOCK + i] = front->error[i][at];
            codes[b * BLOCK + i] = front->code[i][at];
            at = front->parent[i][at];
        }
        parents[b] = (uint8_t)at;
    }
}

static void search_row(const struct search *s, const struct chunk *chunk, size_t r, size_t block,
                       size_t first, size_t count, struct ldnq_beam_desk *desk)
{
    struct front front;
    const size_t at = r * s->width, stored = (block * s->rows + r) * s->width;
    for (size_t b = 0; b < s->width; b++) {
        memcpy(front.rest[0][b], desk->rest + (at + b) * s->k + first, count * sizeof(float));
        memset(front.rest[0][b] + count, 0, (BLOCK - count) * sizeof(float));
    }
    memcpy(front.cost, desk->costs + at, s->width * sizeof(float));
    walk_block(&s->book, s->width, &front, count,
               s->beam->corners + (chunk->group * s->blocks + block) * BLOCK * BLOCK,
               desk->scales + r * s->k + first, desk->inverses + r * s->k + first,
               s->beam->units + chunk->group * s->k + first);
    memcpy(desk->costs + at, front.cost, s->width * sizeof(float));
    trace_back(s, &front, count, desk->errors[at], desk->codes + stored * BLOCK,
               desk->parents + stored);
}

/* The survivors' wishes for the inputs in front of the block. */
static void move_wishes(const struct search *s, const struct chunk *chunk, size_t block,
                        size_t first, size_t count, struct ldnq_beam_desk *desk)
{
    const size_t beginnings = chunk->rows * s->width;
    const uint8_t *parents = desk->parents + block * s->rows * s->width;
    for (size_t b = 0; b < beginnings; b++) {
        const size_t parent = b / s->width * s->width + parents[b];
        memcpy(desk->next + b * s->k, desk->rest + parent * s->k, first * sizeof(float));
    }
    ldnq_sgemm(LDNQ_AS_IS, LDNQ_AS_IS, beginnings, first, count, -1, desk->errors[0], BLOCK,
               s->beam->factor + (chunk->group * s->k + first) * s->k, s->k, 1, desk->next, s->k);
    float *last = desk->rest;
    desk->rest = desk->next;
    desk->next = last;
}

/* The cheapest of a row's ends, back through the blocks. */
static void take_row(const struct search *s, const struct chunk *chunk, size_t r,
                     const struct ldnq_beam_desk *desk)
{
    const struct ldnq_column *columns = s->beam->inverse.columns + chunk->group * s->k;
    int8_t *codes = s->codes + (chunk->row + r) * s->k;
    size_t at = 0, first = 0;
    for (size_t block = s->blocks; block-- > 0;) {
        const size_t end = s->k - block * BLOCK;
        const size_t stored = (block * s->rows + r) * s->width + at;
        for (size_t i = first; i < end; i++)
            codes[columns[i].input] = desk->codes[stored * BLOCK + i - first];
        at = desk->parents[stored];
        first = end;
    }
}

static void search_chunk(void *ctx, size_t index, size_t thread)
{
    const struct search *s = ctx;
    const struct chunk chunk = chunk_at(s, index);
    struct ldnq_beam_desk *desk = &s->beam->desks[thread];
    for (size_t f = 0; f < s->count; f++) {
        for (size_t r = 0; r < chunk.rows; r++)
            load_row(s, &chunk, r, s->factors[f], desk);
        for (size_t block = 0; block < s->blocks; block++) {
            const size_t end = s->k - block * BLOCK, count = ldnq_size_min(end, BLOCK);
            for (size_t r = 0; r < chunk.rows; r++)
                search_row(s, &chunk, r, block, end - count, count, desk);
            if (end > count)
                move_wishes(s, &chunk, block, end - count, count, desk);
        }
        for (size_t r = 0; r < chunk.rows; r++) {
            const double cost = (double)desk->costs[r * s->width] * desk->size[r] * desk->size[r];
            if (f > 0 && !(cost < s->costs[chunk.row + r]))
                continue;
            s->costs[chunk.row + r] = cost;
            s->chosen[chunk.row + r] = s->factors[f];
            take_row(s, &chunk, r, desk);
        }
    }
}

/* ---- all rows ------------------------------------------------------------------------------ */

static void set_scales(const struct search *s, float *scales)
{
    const struct ldnq_layer_problem *problem = s->beam->problem;
    const size_t count = ldnq_row_scales(problem);
    for (size_t row = 0; row < problem->groups * problem->outputs; row++)
        for (size_t i = row * count; i < (row + 1) * count; i++)
            scales[i] = ldnq_scale_or((double)scales[i] * s->chosen[row], scales[i]);
}

/* One scale for all rows: they take the factor with the least sum together. */
static enum ldnq_status search_together(struct search *s, const struct ldnq_beam_search *given,
                                        size_t chunks, struct ldnq_arena *arena,
                                        struct ldnq_error *err)
{
    const size_t rows = s->beam->problem->groups * s->beam->problem->outputs;
    int8_t *codes = s->codes, *trial = ldnq_arena_alloc(arena, rows * s->k, 1, err);
    double least = 0, factor = 1;
    if (!trial)
        return LDNQ_NOMEM;
    s->codes = trial;
    s->count = 1;
    for (size_t f = 0; f < given->count; f++) {
        double sum = 0;
        s->factors = given->factors + f;
        ldnq_pool_run(s->beam->pool, chunks, search_chunk, s);
        for (size_t row = 0; row < rows; row++)
            sum += s->costs[row];
        if (f > 0 && !(sum < least))
            continue;
        least = sum;
        factor = given->factors[f];
        memcpy(codes, trial, rows * s->k);
    }
    for (size_t row = 0; row < rows; row++)
        s->chosen[row] = factor;
    return LDNQ_OK;
}

static enum ldnq_status find_in(struct search *s, const struct ldnq_beam_search *given,
                                float *scales, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = s->beam->problem;
    const size_t rows = problem->groups * problem->outputs, chunks = problem->groups * s->per_group;
    s->costs = ldnq_arena_alloc(arena, rows, sizeof *s->costs, err);
    s->chosen = ldnq_arena_alloc(arena, rows, sizeof *s->chosen, err);
    if (!s->costs || !s->chosen)
        return LDNQ_NOMEM;
    open_book(&s->book, problem->codebook);
    if (problem->granularity == LDNQ_PER_TENSOR)
        LDNQ_TRY(search_together(s, given, chunks, arena, err));
    else
        ldnq_pool_run(s->beam->pool, chunks, search_chunk, s);
    set_scales(s, scales);
    return LDNQ_OK;
}

enum ldnq_status ldnq_beam_find(const struct ldnq_beam *beam, const struct ldnq_beam_search *search,
                                int8_t *codes, float *scales, struct ldnq_error *err)
{
    const struct ldnq_layer_problem *problem = beam->problem;
    struct search s = {
        .beam = beam,
        .k = problem->inputs,
        .width = search->width,
        .factors = search->factors,
        .count = search->count,
        .codes = codes,
        .scales = scales,
        .blocks = ldnq_size_ceil_div(problem->inputs, BLOCK),
        .rows = ldnq_size_min(CHUNK_BEGINNINGS / search->width, CHUNK_ROWS),
    };
    s.per_group = ldnq_size_ceil_div(problem->outputs, s.rows);
    struct ldnq_arena *arena;
    if (problem->inputs == 0 || problem->groups * problem->outputs == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const enum ldnq_status status = find_in(&s, search, scales, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- the factor in float ------------------------------------------------------------------- */

static void narrow_group(void *ctx, size_t group, size_t thread)
{
    (void)thread;
    const struct ldnq_beam *beam = ctx;
    const size_t k = beam->problem->inputs, blocks = ldnq_size_ceil_div(k, BLOCK);
    const double *from = beam->inverse.factor + group * k * k;
    float *to = beam->factor + group * k * k, *corners = beam->corners;
    for (size_t i = 0; i < k; i++) {
        const size_t block = (k - 1 - i) / BLOCK;
        const size_t end = k - block * BLOCK, first = end > BLOCK ? end - BLOCK : 0;
        float *corner = corners + ((group * blocks + block) * BLOCK + i - first) * BLOCK;
        for (size_t j = 0; j <= i; j++)
            to[i * k + j] = (float)from[i * k + j];
        memcpy(corner, to + i * k + first, (i + 1 - first) * sizeof *corner);
        beam->units[group * k + i] = 1 / to[i * k + i];
    }
}

static bool set_desks(struct ldnq_beam *beam, struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t threads = ldnq_pool_threads(beam->pool), k = beam->problem->inputs;
    const size_t blocks = ldnq_size_ceil_div(k, BLOCK), all = CHUNK_BEGINNINGS;
    beam->desks = ldnq_arena_alloc(arena, threads, sizeof *beam->desks, err);
    for (size_t t = 0; beam->desks && t < threads; t++) {
        struct ldnq_beam_desk *desk = &beam->desks[t];
#define NEW(member, n) (desk->member = ldnq_arena_alloc(arena, n, sizeof *desk->member, err))
        if (!NEW(rest, all * k) || !NEW(next, all * k) || !NEW(scales, CHUNK_ROWS * k) ||
            !NEW(inverses, CHUNK_ROWS * k) || !NEW(codes, blocks * all * BLOCK) ||
            !NEW(parents, blocks * all))
            return false;
#undef NEW
    }
    return beam->desks != NULL;
}

enum ldnq_status ldnq_beam_init(struct ldnq_beam *beam, const struct ldnq_layer_problem *problem,
                                struct ldnq_pool *pool, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    const size_t groups = problem->groups, k = problem->inputs;
    const size_t blocks = ldnq_size_ceil_div(k, BLOCK);
    *beam = (struct ldnq_beam){ .problem = problem, .pool = pool };
    LDNQ_TRY(ldnq_inverse_init(problem, pool, &beam->inverse, arena, err));
    beam->factor = ldnq_arena_alloc(arena, groups * k * k, sizeof *beam->factor, err);
    beam->corners = ldnq_arena_alloc(arena, groups * blocks * BLOCK, BLOCK * sizeof(float), err);
    beam->units = ldnq_arena_alloc(arena, groups * k, sizeof *beam->units, err);
    if (!beam->factor || !beam->corners || !beam->units || !set_desks(beam, arena, err))
        return LDNQ_NOMEM;
    ldnq_pool_run(pool, groups, narrow_group, beam);
    return LDNQ_OK;
}
