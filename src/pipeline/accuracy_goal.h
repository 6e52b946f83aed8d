/* SPDX-License-Identifier: Apache-2.0 */
/* accuracy_goal.h: find the smallest and fastest choice of codebooks that meets an accuracy goal.
 *
 * Each layer has a ladder: the codebooks from narrow to wide, then an input of 16 bits where the
 * target has that beside others of 8, then float where it has float kernels. The search
 *   1  quantizes with all layers on their lowest rung and measures the accuracy;
 *   2  orders the moves up the ladders by the estimated error of the output (output_estimate.h)
 *      that each removes per cost: the states after 0, 1, 2, ... moves are the path;
 *   3  finds the first state of the path that meets the goal, by bisection;
 *   4  takes back earlier moves that the goal does not need.
 * Each state that is tried is quantized in full, as the result will be, and its accuracy is
 * measured on other samples than those that codes and scales are fitted to.
 */
#ifndef LDNQ_PIPELINE_ACCURACY_GOAL_H
#define LDNQ_PIPELINE_ACCURACY_GOAL_H

#include "metric/accuracy.h"
#include "pipeline/pipeline.h"

/* Scores states by a function of the caller's, in place of their labels. */
struct ldnq_goal_score {
    void *ctx;
    /* Makes the graph that a state is quantized in, in place of a clone: a model can be made of
     * it. It lives until close, which is called after errors too. */
    enum ldnq_status (*open_graph)(void *ctx, struct ldnq_arena *arena, struct ldnq_graph **out,
                                   struct ldnq_error *err);
    /* How far the score of the graph, as it was quantized, is below the float model's. */
    enum ldnq_status (*measure_drop)(void *ctx, const struct ldnq_quantization *result,
                                     double *drop, struct ldnq_error *err);
    void (*close_graph)(void *ctx);
};

struct ldnq_goal_options {
    struct ldnq_accuracy_goal goal;
    struct ldnq_measured_samples measured; /* samples that the accuracy is measured on */
    /* The codebooks from narrow to wide, and the bits that a code of each takes in the file. */
    const struct ldnq_codebook *const *codebooks;
    const unsigned *bits;
    size_t codebook_count;
    const struct ldnq_goal_score *score; /* NULL: a drop is that of top-1 */
};

/* A state that was quantized and measured. */
struct ldnq_goal_step {
    size_t moves;        /* its place on the path; after step 3, how many moves it keeps */
    const char *node;    /* node of the last move, or of the move taken back; NULL if none */
    double bytes;        /* size of codes, scales and float weights of the layers on a ladder */
    double estimate;     /* estimated error of the output, by the moves alone */
    size_t wide_layers;  /* layers on a ladder whose input has 16 bits */
    size_t float_layers; /* layers on a ladder that stay float */
    bool meets;
    struct ldnq_accuracy accuracy;
};

struct ldnq_goal_result {
    /* A codebook for each layer; entries of the options' plan are not repeated, and count
     * first. */
    struct ldnq_plan_entry *entries;
    size_t entry_count;
    struct ldnq_goal_step *steps; /* in the order in which they were measured */
    size_t step_count;
    size_t chosen; /* index of the step whose choice the entries hold */
    size_t layer_count;
};

/* Layers that the options' plan matches stay as it says. A layer on a rung of codes that the target
 * computes faster in float is float; codes that it has no integer kernel for make it smaller, and
 * stay. The graph stays as it is.
 * Errors: GATE (no state meets the goal: what was reached, and what to do), UNSUPPORTED (outputs
 * that can't be compared), CANCELED, and those of ldnq_quantize_graph. */
enum ldnq_status ldnq_reach_goal(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                 const struct ldnq_quantize_options *options,
                                 const struct ldnq_goal_options *goal, struct ldnq_arena *arena,
                                 struct ldnq_goal_result **out, struct ldnq_error *err);

#endif
