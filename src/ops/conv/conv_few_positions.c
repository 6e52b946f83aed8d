/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_few_positions.h"

#include "base/lanes.h"
#include "base/size.h"
#include "linalg/gemm_tiled.h"
#include "ops/conv/conv_choice.h"
#include "ops/conv/padded_tile.h"

/* Rows of a product: packing the weights then takes a twentieth of its time. */
#define ROWS ((size_t)128)
/* A single block of images has its output channels divided into parts for the threads. Each
 * part makes the columns again, so that a part has at least MIN_CHANNELS. */
#define MIN_CHANNELS ((size_t)64)
#define MAX_PARTS ((size_t)4)

/* Padded tiles that are filled together fit in the L1 cache. */
#define PADDED_FLOATS ((size_t)4 << 10)

/* Images first_image .. +images-1 and output channels first .. +channels-1 of one group. */
struct few_positions {
    const struct ldnq_conv_job *job;
    size_t positions, cols; /* P, K */
    size_t group, first_image, images, first, channels;
};

static size_t count_positions(const struct ldnq_conv_job *job)
{
    return job->geometry.out_h * job->geometry.out_w;
}

static size_t count_cols(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    return g->channels * g->kernel_h * g->kernel_w;
}

static size_t choose_images(const struct ldnq_conv_job *job)
{
    size_t most = ldnq_size_max(1, ROWS / count_positions(job));
    size_t blocks = ldnq_size_max(1, ldnq_size_ceil_div(job->images, most));
    return ldnq_size_ceil_div(job->images, blocks);
}

static size_t count_blocks(const struct ldnq_conv_job *job)
{
    return job->groups * ldnq_size_ceil_div(job->images, choose_images(job));
}

static size_t count_parts(const struct ldnq_conv_job *job)
{
    size_t parts = job->outputs / MIN_CHANNELS;
    return count_blocks(job) > 1 ? 1 : ldnq_size_max(1, ldnq_size_min(parts, MAX_PARTS));
}

/* Whether x of one image has the columns already. */
static bool has_columns_in_input(const struct ldnq_conv_job *job)
{
    return ldnq_conv_is_pointwise(job) && (choose_images(job) == 1 || count_positions(job) == 1);
}

static struct ldnq_padded_tile make_padded(const struct ldnq_conv_job *job, float *data)
{
    struct ldnq_output_tile tile = { .rows = job->geometry.out_h, .columns = job->geometry.out_w };
    return ldnq_padded_tile_make(&job->geometry, &tile, data);
}

/* Channels whose padded tiles are filled together. */
static size_t choose_planes(const struct ldnq_conv_job *job)
{
    struct ldnq_padded_tile padded = make_padded(job, NULL);
    size_t most = PADDED_FLOATS / ldnq_size_max(1, ldnq_padded_tile_count_floats(&padded));
    return ldnq_size_max(1, ldnq_size_min(most, job->geometry.channels));
}

size_t ldnq_conv_few_positions_count_rows(const struct ldnq_conv_job *job)
{
    return choose_images(job) * count_positions(job);
}

size_t ldnq_conv_few_positions_count_chunks(const struct ldnq_conv_job *job)
{
    return count_blocks(job) * count_parts(job);
}

/* The columns of all rows, then y' of the chunk, then padded tiles. */
size_t ldnq_conv_few_positions_scratch_floats(const struct ldnq_conv_job *job)
{
    size_t rows = ldnq_conv_few_positions_count_rows(job), columns, made, tiles;
    struct ldnq_padded_tile padded = make_padded(job, NULL);
    bool counted =
        ldnq_size_mul(count_cols(job), has_columns_in_input(job) ? 0 : rows, &columns) &&
        ldnq_size_mul(rows, job->outputs, &made) && ldnq_size_add(columns, made, &columns) &&
        ldnq_size_mul(ldnq_padded_tile_count_floats(&padded), choose_planes(job), &tiles) &&
        ldnq_size_add(columns, tiles, &columns) && ldnq_size_add(columns, 15, &columns);
    return counted ? columns & ~(size_t)15 : SIZE_MAX;
}

static struct few_positions find_chunk(const struct ldnq_conv_job *job, size_t chunk)
{
    const size_t parts = count_parts(job), part = chunk % parts, block = chunk / parts;
    struct few_positions few = { .job = job,
                                 .positions = count_positions(job),
                                 .cols = count_cols(job) };
    few.group = block % job->groups;
    few.first_image = block / job->groups * choose_images(job);
    few.images = ldnq_size_min(choose_images(job), job->images - few.first_image);
    few.first = part * job->outputs / parts;
    few.channels = (part + 1) * job->outputs / parts - few.first;
    return few;
}

/* The input of one image of the chunk: the channels of the group. */
static const float *find_image(const struct few_positions *few, size_t image)
{
    const struct ldnq_conv_geometry *g = &few->job->geometry;
    size_t image_group = (few->first_image + image) * few->job->groups + few->group;
    return few->job->x + image_group * g->channels * g->height * g->width;
}

/* columns (K, images*P). */
static void fill_columns(const struct few_positions *few, float *plane, float *columns)
{
    const struct ldnq_conv_geometry *g = &few->job->geometry;
    const size_t taps = g->kernel_h * g->kernel_w, ld = few->images * few->positions;
    struct ldnq_output_tile tile = { .rows = g->out_h, .columns = g->out_w };
    struct ldnq_padded_tile padded = make_padded(few->job, plane);
    const size_t pitch = ldnq_padded_tile_count_floats(&padded), step = choose_planes(few->job);
    for (size_t i = 0; i < few->images; i++) {
        const float *x = find_image(few, i);
        for (size_t c = 0; c < g->channels; c++) {
            if (c % step == 0)
                ldnq_padded_tile_fill_planes(g, &tile, x + c * g->height * g->width, &padded,
                                             ldnq_size_min(step, g->channels - c), pitch);
            padded.data = plane + c % step * pitch;
            ldnq_padded_tile_im2col(g, &tile, &padded, columns + c * taps * ld + i * few->positions,
                                    ld);
            padded.data = plane;
        }
    }
}

LDNQ_LANES(lanes_4, 4)

/* Copies four rows of four columns, as columns. */
static inline __attribute__((always_inline)) void transpose_square(const float *from, size_t row,
                                                                   float *to, size_t to_row)
{
    const lanes_4 a = *(const lanes_4 *)from, b = *(const lanes_4 *)(from + row);
    const lanes_4 c = *(const lanes_4 *)(from + 2 * row), d = *(const lanes_4 *)(from + 3 * row);
    const lanes_4 low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const lanes_4 low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const lanes_4 high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const lanes_4 high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(lanes_4 *)to = __builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5);
    *(lanes_4 *)(to + to_row) = __builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7);
    *(lanes_4 *)(to + 2 * to_row) = __builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5);
    *(lanes_4 *)(to + 3 * to_row) = __builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7);
}

/* from (rows, columns) to `to` (columns, rows). */
static void transpose(const float *from, size_t rows, size_t columns, float *to)
{
    const size_t whole_rows = rows & ~(size_t)3, whole_columns = columns & ~(size_t)3;
    for (size_t m = 0; m < whole_columns; m += 4)
        for (size_t p = 0; p < whole_rows; p += 4)
            transpose_square(from + p * columns + m, columns, to + m * rows + p, rows);
    for (size_t m = 0; m < columns; m++)
        for (size_t p = m < whole_columns ? whole_rows : 0; p < rows; p++)
            to[m * rows + p] = from[p * columns + m];
}

/* made (images*P, channels) to y. */
static void write_transposed(const struct few_positions *few, const float *made)
{
    const struct ldnq_conv_job *job = few->job;
    for (size_t i = 0; i < few->images; i++) {
        size_t image_group = (few->first_image + i) * job->groups + few->group;
        transpose(made + i * few->positions * few->channels, few->positions, few->channels,
                  job->y + (image_group * job->outputs + few->first) * few->positions);
    }
}

void ldnq_conv_few_positions_compute_chunk(const struct ldnq_conv_job *job, size_t chunk,
                                           float *scratch)
{
    const struct few_positions few = find_chunk(job, chunk);
    const size_t rows = few.images * few.positions, all = job->groups * job->outputs;
    const size_t first = few.group * job->outputs + few.first;
    const bool in_place = few.positions == 1, reads = has_columns_in_input(job);
    float *made = reads ? scratch : scratch + few.cols * rows;
    struct ldnq_gemm gemm = {
        .m = rows,
        .n = few.channels,
        .k = few.cols,
        .a = reads ? find_image(&few, 0) : scratch,
        .a_row = reads && in_place ? job->groups * few.cols : 1,
        .a_step = reads ? few.positions : rows,
        .b = job->weight + first * few.cols,
        .b_row = 1,
        .b_step = few.cols,
        .c = in_place ? job->y + few.first_image * all + first : made,
        .c_row = in_place ? all : few.channels,
        .alpha = 1.0f,
        .column_bias = job->bias ? job->bias + first : NULL,
        .is_clamped = job->clamp != NULL,
        .low = job->clamp ? job->clamp->low : 0,
        .high = job->clamp ? job->clamp->high : 0,
    };
    /* The next chunk's weights, as this thread most likely runs it. */
    gemm.next_b = gemm.b + few.channels * few.cols;
    gemm.next_n = job->outputs - few.first - few.channels;
    if (!reads)
        fill_columns(&few, made + rows * few.channels, scratch);
    ldnq_gemm(&gemm);
    if (!in_place)
        write_transposed(&few, made);
}
