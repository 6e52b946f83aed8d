/* SPDX-License-Identifier: Apache-2.0 */
/* The search in a block of columns: vectors of rows against one row after the other. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "quant/beam_block.h"

#define ROWS 37
#define BRANCHES (ROWS * 4)

struct result {
    float costs[BRANCHES], errors[BRANCHES][LDNQ_BEAM_BLOCK];
    int8_t codes[BRANCHES * LDNQ_BEAM_BLOCK];
    uint8_t parents[BRANCHES];
};

static float corner[LDNQ_BEAM_BLOCK * LDNQ_BEAM_BLOCK], units[LDNQ_BEAM_BLOCK];
static float scales[ROWS * LDNQ_BEAM_BLOCK], inverses[ROWS * LDNQ_BEAM_BLOCK];
static float targets[BRANCHES][LDNQ_BEAM_BLOCK];

static float draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / (float)(1 << 23) - 1;
}

/* Every fifth column of a row has scales that hold its code at 0, as beam.c sets them. */
static void draw_block(size_t width, float spread, bool first_block, struct result *result)
{
    uint32_t state = 7;
    memset(result, 0, sizeof *result);
    for (size_t i = 0; i < LDNQ_BEAM_BLOCK; i++) {
        for (size_t j = 0; j < LDNQ_BEAM_BLOCK; j++)
            corner[i * LDNQ_BEAM_BLOCK + j] = j > i ? 0 : j == i ? 1.5f : 0.3f * draw(&state);
        units[i] = 1 / 1.5f;
    }
    for (size_t i = 0; i < ROWS * LDNQ_BEAM_BLOCK; i++) {
        scales[i] = i % 5 == 3 ? 1e6f : 1 + 0.2f * draw(&state);
        inverses[i] = i % 5 == 3 ? 0 : 1 / scales[i];
    }
    for (size_t b = 0; b < ROWS * width; b++) {
        result->costs[b] = !first_block ? 2 + draw(&state) : b % width == 0 ? 0 : INFINITY;
        for (size_t i = 0; i < LDNQ_BEAM_BLOCK; i++)
            targets[b][i] = spread * draw(&state);
    }
}

static struct ldnq_beam_block describe(const struct ldnq_code_table *table, size_t width,
                                       size_t rows, size_t count, struct result *result)
{
    return (struct ldnq_beam_block){
        .table = table,
        .width = width,
        .rows = rows,
        .count = count,
        .corner = corner,
        .units = units,
        .scales = scales,
        .inverses = inverses,
        .stride = LDNQ_BEAM_BLOCK,
        .targets = (const float(*)[LDNQ_BEAM_BLOCK])targets,
        .costs = result->costs,
        .errors = result->errors,
        .codes = result->codes,
        .parents = result->parents,
    };
}

static void compare(const char *codebook, size_t width, size_t rows, size_t count, bool first_block)
{
    static struct result together, alone;
    struct ldnq_code_table table;
    ldnq_code_table_init(&table, ldnq_codebook_find(codebook));
    draw_block(width, 0.8f * (float)table.highest, first_block, &together);
    alone = together;
    const struct ldnq_beam_block first = describe(&table, width, rows, count, &together);
    const struct ldnq_beam_block second = describe(&table, width, rows, count, &alone);
    ldnq_search_beam_block(&first);
    ldnq_search_beam_block_by_row(&second);
    assert_memory_equal(&together, &alone, sizeof together);
}

static void compare_codebooks(size_t width)
{
    static const char *const codebooks[] = { "int4", "ternary", "pot9", "int8" };
    for (size_t i = 0; i < sizeof codebooks / sizeof *codebooks; i++) {
        compare(codebooks[i], width, ROWS, LDNQ_BEAM_BLOCK, true);
        compare(codebooks[i], width, ROWS, LDNQ_BEAM_BLOCK, false);
        compare(codebooks[i], width, 3, 5, false);
        compare(codebooks[i], width, 1, 1, true);
    }
}

static void rows_should_get_the_same_bits_together_as_alone(void **state)
{
    (void)state;
    compare_codebooks(1);
    compare_codebooks(4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_should_get_the_same_bits_together_as_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
