/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_depthwise_rows.h"

#include <assert.h>
#include <math.h>

#include "base/cpu.h"
#include "base/lanes.h"
#include "base/simd.h"
#include "base/size.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES ((size_t)16)
#define HALF (LANES / 2)
#define MOST_SIDE 5 /* of a kernel */
#define MOST_PARTS 14
#define FEW_ROWS 4 /* vectors of sums in a block, and in a higher one */
#define MANY_ROWS 7
/* The element that is 0 where the two vectors have a whole row, and unused elsewhere. */
#define ZERO_ELEMENT (2 * LANES - 1)

LDNQ_LANES(lanes_16, 16)

/* Output columns that are one vector, and the input columns that they read. */
struct row_part {
    size_t column, columns;
    ptrdiff_t from;        /* column of the first element; negative where that is padding */
    __mmask16 elements[2]; /* of the two vectors; the others are 0 */
    size_t second;         /* floats from the first vector's inputs to the second's */
};

/* What all planes share. Rows of one short part are paired: a vector of sums is two output rows,
 * whose inputs are two input rows in place of two pieces of one. */
struct row_layout {
    size_t height, width, pad_top; /* of an input plane */
    size_t out_h, out_w;
    bool is_paired;
    size_t second_row; /* input rows from the first vector's to the second's */
    size_t part_count;
    struct row_part parts[MOST_PARTS];
    __m512i inputs[MOST_SIDE]; /* by kernel column: the element that each lane reads */
    float low, high;           /* of the clamp */
};

static bool is_paired(const struct ldnq_conv_geometry *g)
{
    return g->width < LANES && g->out_w <= HALF;
}

/* Whether whole input rows fit in the two vectors, which then start with column 0. */
static bool has_whole_rows(const struct ldnq_conv_geometry *g)
{
    return g->width <= ZERO_ELEMENT && g->out_w <= LANES;
}

static size_t count_parts(const struct ldnq_conv_geometry *g)
{
    const size_t most = g->stride_w == 1 ? LANES : (ZERO_ELEMENT - g->kernel_w) / 2 + 1;
    return has_whole_rows(g) ? 1 : ldnq_size_ceil_div(g->out_w, most);
}

/* The elements that are columns 0 .. width-1 when element 0 is column `from`. */
static __mmask16 mask_columns(ptrdiff_t from, size_t width)
{
    __mmask16 mask = 0;
    for (size_t i = 0; i < LANES; i++)
        if ((size_t)(from + (ptrdiff_t)i) < width) /* a negative column wraps around */
            mask |= (__mmask16)(1u << i);
    return mask;
}

static struct row_part make_part(const struct ldnq_conv_geometry *g, size_t i)
{
    const size_t count = count_parts(g), column = i * g->out_w / count;
    struct row_part part = { .column = column, .columns = (i + 1) * g->out_w / count - column };
    if (!has_whole_rows(g))
        part.from = (ptrdiff_t)(column * g->stride_w) - (ptrdiff_t)g->pad_left;
    part.elements[0] = mask_columns(part.from, g->width);
    part.elements[1] =
        is_paired(g) ? part.elements[0] : mask_columns(part.from + (ptrdiff_t)LANES, g->width);
    part.second = !is_paired(g) && part.elements[1] ? LANES : 0;
    return part;
}

/* The elements that the lanes read for one kernel column. Lanes beyond the part's columns read any.
 */
LDNQ_TARGET_AVX512
static __m512i find_tap_inputs(const struct ldnq_conv_geometry *g, size_t kw)
{
    const size_t columns = is_paired(g) ? HALF : LANES;
    int32_t inputs[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t at = lane % columns * g->stride_w + kw;
        if (has_whole_rows(g)) {
            at -= g->pad_left; /* wraps around */
            at = at < g->width ? at + lane / columns * LANES : ZERO_ELEMENT;
        }
        inputs[lane] = (int32_t)at;
    }
    return _mm512_loadu_si512(inputs);
}

/* `rows`: vectors of sums in a block. */
LDNQ_TARGET_AVX512
static void init_layout(struct row_layout *layout, const struct ldnq_conv_job *job, size_t rows)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    layout->height = g->height;
    layout->width = g->width;
    layout->pad_top = g->pad_top;
    layout->out_h = g->out_h;
    layout->out_w = g->out_w;
    layout->is_paired = is_paired(g);
    layout->second_row = is_paired(g) ? rows * g->stride_h : 0;
    layout->part_count = count_parts(g);
    for (size_t i = 0; i < layout->part_count; i++)
        layout->parts[i] = make_part(g, i);
    for (size_t kw = 0; kw < g->kernel_w; kw++)
        layout->inputs[kw] = find_tap_inputs(g, kw);
    layout->low = job->clamp ? job->clamp->low : -INFINITY;
    layout->high = job->clamp ? job->clamp->high : INFINITY;
}

/* ---- one block of output rows ------------------------------------------------------------ */

/* One of the two vectors of inputs, from a row of the padded plane. */
LDNQ_TARGET_AVX512
static inline __attribute__((always_inline)) __m512 load_inputs(const struct row_layout *layout,
                                                                const float *x, size_t row,
                                                                ptrdiff_t column,
                                                                __mmask16 elements)
{
    const size_t at = row - layout->pad_top; /* wraps around above the plane */
    const bool is_inside = at < layout->height;
    return _mm512_maskz_loadu_ps(is_inside ? elements : 0,
                                 is_inside ? x + (ptrdiff_t)(at * layout->width) + column : x);
}

/* NaN stays NaN: it is the second operand. */
LDNQ_TARGET_AVX512
static inline __attribute__((always_inline)) __m512 clamp_sum(const struct row_layout *layout,
                                                              __m512 sum)
{
    return _mm512_min_ps(_mm512_set1_ps(layout->high),
                         _mm512_max_ps(_mm512_set1_ps(layout->low), sum));
}

/* Stores those of `rows` output rows that the plane has and, paired, those of the next `rows`. */
LDNQ_TARGET_AVX512
static inline __attribute__((always_inline)) void write_block(const struct row_layout *layout,
                                                              const struct row_part *part,
                                                              lanes_16 *sum, float *y, size_t first,
                                                              size_t rows)
{
    const __mmask16 stored = (__mmask16)((1u << part->columns) - 1u);
    y += first * layout->out_w + part->column;
    LDNQ_UNROLL(MANY_ROWS)
    for (size_t i = 0; i < rows; i++, y += layout->out_w) {
        const __m512 value = clamp_sum(layout, (__m512)sum[i]);
        if (first + i < layout->out_h)
            _mm512_mask_storeu_ps(y, stored, value);
        if (layout->is_paired && first + rows + i < layout->out_h)
            _mm512_mask_storeu_ps(y + rows * layout->out_w, stored,
                                  _mm512_shuffle_f32x4(value, value, 0x0e));
    }
}

/* An element is one chain of sums that starts with the bias and adds the taps in their order.
 * `rows`, `side` and `stride` are constants wherever this is inlined. */
LDNQ_TARGET_AVX512
static inline __attribute__((always_inline)) void sum_block(const struct row_layout *layout,
                                                            const struct row_part *part,
                                                            const float *x, const float *weight,
                                                            float bias, float *y, size_t first,
                                                            size_t rows, size_t side, size_t stride)
{
    lanes_16 sum[MANY_ROWS];
    LDNQ_UNROLL(MANY_ROWS)
    for (size_t i = 0; i < rows; i++)
        sum[i] = (lanes_16){ 0 } + bias;
    LDNQ_UNROLL(32)
    for (size_t row = 0; row < (rows - 1) * stride + side; row++) {
        const size_t at = first * stride + row;
        const __m512 a = load_inputs(layout, x, at, part->from, part->elements[0]);
        const __m512 b = load_inputs(layout, x, at + layout->second_row,
                                     part->from + (ptrdiff_t)part->second, part->elements[1]);
        LDNQ_HIDE_POINTER(weight);
        LDNQ_UNROLL(MOST_SIDE)
        for (size_t kw = 0; kw < side; kw++) {
            const lanes_16 in = (lanes_16)_mm512_permutex2var_ps(a, layout->inputs[kw], b);
            LDNQ_UNROLL(MANY_ROWS)
            for (size_t i = 0; i < rows; i++)
                if (row >= i * stride && row < i * stride + side)
                    sum[i] += in * weight[(row - i * stride) * side + kw];
        }
    }
    write_block(layout, part, sum, y, first, rows);
}

/* Computes a block that starts with output row `first`. */
typedef void sum_block_fn(const struct row_layout *layout, const struct row_part *part,
                          const float *x, const float *weight, float bias, float *y, size_t first);

#define SUM_BLOCK(name, rows, side, stride)                                                        \
    LDNQ_TARGET_AVX512                                                                             \
    static void name(const struct row_layout *layout, const struct row_part *part, const float *x, \
                     const float *weight, float bias, float *y, size_t first)                      \
    {                                                                                              \
        sum_block(layout, part, x, weight, bias, y, first, rows, side, stride);                    \
    }

SUM_BLOCK(sum_few_3x3, FEW_ROWS, 3, 1)
SUM_BLOCK(sum_many_3x3, MANY_ROWS, 3, 1)
SUM_BLOCK(sum_few_3x3_by_2, FEW_ROWS, 3, 2)
SUM_BLOCK(sum_many_3x3_by_2, MANY_ROWS, 3, 2)
SUM_BLOCK(sum_few_5x5, FEW_ROWS, 5, 1)
SUM_BLOCK(sum_many_5x5, MANY_ROWS, 5, 1)
SUM_BLOCK(sum_few_5x5_by_2, FEW_ROWS, 5, 2)
SUM_BLOCK(sum_many_5x5_by_2, MANY_ROWS, 5, 2)

/* By side (3 or 5), stride (1 or 2), and whether blocks have many rows. */
static sum_block_fn *const sum_blocks[2][2][2] = {
    { { sum_few_3x3, sum_many_3x3 }, { sum_few_3x3_by_2, sum_many_3x3_by_2 } },
    { { sum_few_5x5, sum_many_5x5 }, { sum_few_5x5_by_2, sum_many_5x5_by_2 } },
};

/* ---- planes ------------------------------------------------------------------------------ */

bool ldnq_conv_depthwise_rows_fit(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    const bool is_small = g->kernel_h == g->kernel_w && (g->kernel_h == 3 || g->kernel_h == 5);
    const bool is_dense = g->dilation_h == 1 && g->dilation_w == 1 && g->stride_h == g->stride_w &&
                          (g->stride_h == 1 || g->stride_h == 2);
    /* Without a stride, longer rows take as long to permute as to copy. */
    const bool gains = g->stride_w == 2 || has_whole_rows(g);
    return ldnq_cpu_level() >= LDNQ_CPU_AVX512 && g->channels == 1 && is_small && is_dense &&
           gains && count_parts(g) <= MOST_PARTS;
}

/* Vectors of sums in a block, so that the plane has few rows too many. */
static size_t choose_rows(const struct ldnq_conv_geometry *g)
{
    const size_t vectors = is_paired(g) ? ldnq_size_ceil_div(g->out_h, 2) : g->out_h;
    const size_t few = ldnq_size_ceil_div(vectors, FEW_ROWS) * FEW_ROWS;
    const size_t many = ldnq_size_ceil_div(vectors, MANY_ROWS) * MANY_ROWS;
    return many <= few ? MANY_ROWS : FEW_ROWS;
}

void ldnq_conv_depthwise_compute_rows(const struct ldnq_conv_job *job, size_t first, size_t count)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    const size_t rows = choose_rows(g), step = is_paired(g) ? 2 * rows : rows;
    sum_block_fn *run = sum_blocks[g->kernel_h == 5][g->stride_h == 2][rows == MANY_ROWS];
    struct row_layout layout;
    init_layout(&layout, job, rows);
    for (size_t i = 0; i < count * job->outputs; i++) {
        const size_t out = first * job->outputs + i, channel = out % (job->groups * job->outputs);
        const float *x = job->x + out / job->outputs * g->height * g->width;
        const float *weight = job->weight + channel * g->kernel_h * g->kernel_w;
        const float bias = job->bias ? job->bias[channel] : 0.0f;
        float *y = job->y + out * g->out_h * g->out_w;
        for (size_t row = 0; row < g->out_h; row += step)
            for (size_t part = 0; part < layout.part_count; part++)
                run(&layout, &layout.parts[part], x, weight, bias, y, row);
    }
}

#else

bool ldnq_conv_depthwise_rows_fit(const struct ldnq_conv_job *job)
{
    (void)job;
    return false;
}

void ldnq_conv_depthwise_compute_rows(const struct ldnq_conv_job *job, size_t first, size_t count)
{
    (void)job;
    (void)first;
    (void)count;
    assert(!"rows fit no processor but those with AVX-512");
}

#endif
