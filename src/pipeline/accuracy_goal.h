/* accuracy_goal.h: find the smallest and fastest choice of codebooks that meets an accuracy goal.
 *
 * Each layer has a ladder: the codebooks from narrow to wide, then float. The search
 *   1  quantizes with all layers on their lowest rung and measures the accuracy;
 *   2  lists moves up the ladders, by what a move takes from the estimated error of the output
 *      (output_estimate.h) for what it costs: the state after k moves is the k-th of a path;
 *   3  finds the first state of the path that meets the goal, by bisection;
 *   4  takes back earlier moves that the goal does not need.
 * Every state that counts is quantized as the result will be, and measured on samples that are
 * not fitted.
 */
#ifndef LDNQ_PIPELINE_ACCURACY_GOAL_H
#define LDNQ_PIPELINE_ACCURACY_GOAL_H

#include "metric/accuracy.h"
#include "pipeline/pipeline.h"

struct ldnq_goal_options {
    struct ldnq_accuracy_goal goal;
    struct ldnq_samples *samples; /* to measure on */
    /* From narrow to wide, with the bits of a code in the file. */
    const struct ldnq_codebook *const *codebooks;
    const unsigned *bits;
    size_t codebook_count;
};

/* A state that was quantized and measured. */
struct ldnq_goal_step {
    size_t moves;        /* its place on the path; after step 3, how many moves it keeps */
    const char *node;    /* of the last move, or of the one that was taken back; NULL without */
    double bytes;        /* of codes, scales, and float weights of the layers on a ladder */
    double estimate;     /* of the output's error, by the moves alone */
    size_t float_layers; /* on a ladder */
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
    size_t chosen; /* the step that the entries are of */
    size_t layer_count;
};

/* Layers that the options' plan matches stay as it says. The graph stays as it is.
 * Errors: GATE (no state meets the goal: what was reached, and what to do), UNSUPPORTED (outputs
 * that can't be compared), CANCELED, and those of ldnq_quantize_graph. */
enum ldnq_status ldnq_reach_goal(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                 const struct ldnq_quantize_options *options,
                                 const struct ldnq_goal_options *goal, struct ldnq_arena *arena,
                                 struct ldnq_goal_result **out, struct ldnq_error *err);

#endif
