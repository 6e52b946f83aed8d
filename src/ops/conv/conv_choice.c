/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/conv/conv_choice.h"

#include "base/size.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_direct.h"
#include "ops/conv/conv_few_positions.h"

/* Floats of a vector with AVX-512, for which the costs were fitted. */
#define VECTOR ((size_t)16)
#define PANEL ((size_t)32)
#define MAX_FEW_POSITIONS 256

/* What the costs are made of, per group and image. */
struct conv_sizes {
    size_t out_h, out_w;
    double outputs, positions, taps; /* M, P, K */
    bool is_pointwise;
};

static bool is_depthwise(const struct ldnq_conv_job *job)
{
    return job->geometry.channels == 1 && job->outputs <= 4 && job->groups > 1 &&
           job->geometry.kernel_h * job->geometry.kernel_w <= LDNQ_DEPTHWISE_TAPS;
}

bool ldnq_conv_is_pointwise(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    return g->kernel_h == 1 && g->kernel_w == 1 && g->stride_h == 1 && g->stride_w == 1 &&
           g->out_h == g->height && g->out_w == g->width;
}

static struct conv_sizes describe_sizes(const struct ldnq_conv_job *job)
{
    const struct ldnq_conv_geometry *g = &job->geometry;
    const double window = (double)g->kernel_h * (double)g->kernel_w;
    return (struct conv_sizes){
        .out_h = g->out_h,
        .out_w = g->out_w,
        .outputs = (double)job->outputs,
        .positions = (double)g->out_h * (double)g->out_w,
        .taps = (double)g->channels * window,
        .is_pointwise = ldnq_conv_is_pointwise(job),
    };
}

static double count_vectors(size_t count, size_t vector)
{
    return (double)ldnq_size_ceil_div(count, vector);
}

/* ---- costs -------------------------------------------------------------------------- */

/* Costs are in vectors of sums, per tap. The factors were fitted to the times of
 * tools/bench-ops, which they predict within a tenth for most convolutions. */

/* Runs are at most a vector of one row, or two rows of at most half of it. */
static double estimate_direct_cost(const struct conv_sizes *s)
{
    bool is_paired = s->out_w <= VECTOR / 2 && s->out_h > 1;
    double runs =
        is_paired ? count_vectors(s->out_h, 2) : (double)s->out_h * count_vectors(s->out_w, VECTOR);
    runs = 4 * count_vectors((size_t)runs, 4);
    return 1.05 * s->outputs * runs + 1.3 * s->outputs * s->positions / s->taps;
}

/* Columns of all positions, and whole vectors of positions. */
static double estimate_product_cost(const struct conv_sizes *s)
{
    double vectors = count_vectors((size_t)s->positions, VECTOR);
    return 1.08 * s->outputs * vectors + (s->is_pointwise ? 0.6 : 1.2) * s->positions +
           0.4 * s->outputs * s->positions / s->taps;
}

/* Packed weights, shared by `rows` rows, and whole panels of output channels. */
static double estimate_few_positions_cost(const struct ldnq_conv_job *job,
                                          const struct conv_sizes *s)
{
    double rows = (double)ldnq_conv_few_positions_count_rows(job);
    double panels = count_vectors(job->outputs, PANEL) * (double)(PANEL / VECTOR);
    bool reads_input = s->is_pointwise && (rows == s->positions || s->positions == 1);
    double cost = 1.15 * s->positions * panels + 0.5 * s->outputs * s->positions / rows +
                  (reads_input ? 0 : 1.0) * s->positions +
                  1.5 * s->outputs * s->positions / s->taps;
    return s->positions > 128 ? 1.2 * cost : cost;
}

enum ldnq_conv_implementation ldnq_conv_choose_implementation(const struct ldnq_conv_job *job)
{
    const struct conv_sizes sizes = describe_sizes(job);
    if (is_depthwise(job))
        return LDNQ_CONV_DEPTHWISE;
    if (sizes.taps == 0 || sizes.positions == 0)
        return LDNQ_CONV_PRODUCT;
    enum ldnq_conv_implementation best =
        sizes.is_pointwise && job->groups == 1 ? LDNQ_CONV_POINTWISE : LDNQ_CONV_PRODUCT;
    double least = estimate_product_cost(&sizes);
    if (sizes.positions <= MAX_FEW_POSITIONS && estimate_few_positions_cost(job, &sizes) < least) {
        best = LDNQ_CONV_FEW_POSITIONS;
        least = estimate_few_positions_cost(job, &sizes);
    }
    if (!sizes.is_pointwise && ldnq_conv_direct_fits(job) && estimate_direct_cost(&sizes) < least)
        best = LDNQ_CONV_DIRECT;
    return best;
}
