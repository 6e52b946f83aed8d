#include "compare/measure_errors.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "compare/isolated_run.h"
#include "metric/error_bound.h"
#include "metric/output_metrics.h"

#define BATCH ((size_t)8)

struct run {
    const struct ldnq_measure_options *job;
    struct ldnq_arena *arena;
    const struct ldnq_graph *a_graph, *b_graph;
    struct ldnq_exec *a, *b, *apart; /* apart: single layers of B */
    struct ldnq_isolated_run *lanes;
    size_t count;
    size_t *input_of_b;                   /* which of A's inputs B's are */
    struct ldnq_tensor **b_inputs;        /* a batch's */
    size_t *output_of_b;                  /* which of B's outputs A's are; LDNQ_NO_NODE for none */
    struct ldnq_output_sums *output_sums; /* by A's outputs */
};

/* ---- before the first batch ----------------------------------------------------------------- */

/* By name, else by place. */
static size_t find_end(struct ldnq_value *const *values, size_t count, const char *name,
                       size_t place, bool same_count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i]->name, name) == 0)
            return i;
    return same_count ? place : LDNQ_NO_NODE;
}

static enum ldnq_status match_ends(struct run *run, struct ldnq_error *err)
{
    const struct ldnq_graph *a = run->a_graph, *b = run->b_graph;
    run->input_of_b = ldnq_arena_alloc(run->arena, b->input_count, sizeof *run->input_of_b, err);
    run->output_of_b = ldnq_arena_alloc(run->arena, a->output_count, sizeof *run->output_of_b, err);
    run->output_sums = ldnq_arena_alloc(run->arena, a->output_count, sizeof *run->output_sums, err);
    run->b_inputs = ldnq_arena_alloc(run->arena, b->input_count, sizeof *run->b_inputs, err);
    if (!run->input_of_b || !run->output_of_b || !run->output_sums || !run->b_inputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < b->input_count; i++) {
        run->input_of_b[i] = find_end(a->inputs, a->input_count, b->inputs[i]->name, i,
                                      a->input_count == b->input_count);
        if (run->input_of_b[i] == LDNQ_NO_NODE)
            return ldnq_fail(err, LDNQ_UNSUPPORTED,
                             "%s: its input '%s' is no input of %s, so "
                             "that samples for the one don't fit the other",
                             b->file, b->inputs[i]->name, a->file);
    }
    for (size_t o = 0; o < a->output_count; o++)
        run->output_of_b[o] = find_end(b->outputs, b->output_count, a->outputs[o]->name, o,
                                       a->output_count == b->output_count);
    return LDNQ_OK;
}

/* Values have to be there when they are looked at. They are, unless nodes that come earlier
 * in the one network come later in the other: then the walk is past them already. */
static void show_values(struct run *run)
{
    size_t most_a = 0, most_b = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct ldnq_isolated_run *lane = &run->lanes[i];
        const bool late = most_a > lane->start_a;
        ldnq_exec_retain(run->a, lane->couple->out_a, most_a > lane->end_a);
        ldnq_exec_retain(run->b, lane->couple->out_b, most_b > lane->end_b);
        ldnq_exec_retain(run->apart, lane->couple->out_b, true);
        const struct ldnq_node *layer = run->a_graph->nodes[lane->start_a];
        for (size_t r = 0; r < lane->root_count; r++) {
            bool direct = false;
            for (size_t k = 0; k < layer->input_count; k++)
                direct |= layer->inputs[k] == lane->roots[r].a;
            if (late || !direct)
                ldnq_exec_retain(run->a, lane->roots[r].a, true);
        }
        most_a = ldnq_size_max(most_a, lane->end_a + 1);
        most_b = ldnq_size_max(most_b, lane->end_b + 1);
    }
}

static enum ldnq_status prepare(struct run *run, struct ldnq_error *err)
{
    const struct ldnq_measure_options *job = run->job;
    LDNQ_TRY(match_ends(run, err));
    LDNQ_TRY(ldnq_exec_create(run->a_graph, job->pool, &run->a, err));
    LDNQ_TRY(ldnq_exec_create(run->b_graph, job->pool, &run->b, err));
    LDNQ_TRY(ldnq_exec_create(run->b_graph, job->pool, &run->apart, err));
    run->lanes = ldnq_arena_alloc(run->arena, job->couples->count, sizeof *run->lanes, err);
    if (!run->lanes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < job->couples->count; i++)
        if (job->couples->items[i].b != LDNQ_NO_NODE)
            LDNQ_TRY(ldnq_isolated_run_init(&run->lanes[run->count++], &job->couples->items[i],
                                            job->pairs, run->arena, err));
    show_values(run);
    return LDNQ_OK;
}

/* ---- a batch -----------------------------------------------------------------------------------
 */

static enum ldnq_status begin(struct run *run, struct ldnq_tensor *const *inputs,
                              struct ldnq_error *err)
{
    for (size_t i = 0; i < run->b_graph->input_count; i++)
        run->b_inputs[i] = inputs[run->input_of_b[i]];
    LDNQ_TRY(ldnq_exec_bind_inputs(run->a, inputs, err));
    return ldnq_exec_bind_inputs(run->b, run->b_inputs, err);
}

/* Runs up to `place`, unless it stands there or behind it. */
static enum ldnq_status walk(struct ldnq_exec *exec, size_t *at, size_t place,
                             struct ldnq_error *err)
{
    if (place <= *at)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_exec_run_range(exec, *at, place, err));
    *at = place;
    return LDNQ_OK;
}

static enum ldnq_status pass_layer(struct run *run, struct ldnq_isolated_run *lane, size_t *at_a,
                                   size_t *at_b, struct ldnq_error *err)
{
    bool done;
    LDNQ_TRY(walk(run->a, at_a, lane->start_a, err));
    LDNQ_TRY(ldnq_isolated_run_execute(lane, run->a, run->apart, &done, err));
    LDNQ_TRY(walk(run->a, at_a, lane->end_a + 1, err));
    LDNQ_TRY(walk(run->b, at_b, lane->end_b + 1, err));
    const struct ldnq_tensor *t = ldnq_exec_value(run->a, lane->couple->out_a);
    const struct ldnq_tensor *y = ldnq_exec_value(run->b, lane->couple->out_b);
    const struct ldnq_tensor *own = done ? ldnq_exec_value(run->apart, lane->couple->out_b) : NULL;
    LDNQ_TRY(ldnq_distance_add(&lane->accumulated, y, t, run->job->pool, err));
    return ldnq_distance_add(&lane->isolated, own, t, run->job->pool, err);
}

static enum ldnq_status pass_batch(struct run *run, struct ldnq_tensor *const *inputs,
                                   size_t samples, struct ldnq_error *err)
{
    size_t at_a = 0, at_b = 0;
    LDNQ_TRY(begin(run, inputs, err));
    for (size_t i = 0; i < run->count; i++)
        LDNQ_TRY(pass_layer(run, &run->lanes[i], &at_a, &at_b, err));
    LDNQ_TRY(walk(run->a, &at_a, run->a_graph->node_count, err));
    LDNQ_TRY(walk(run->b, &at_b, run->b_graph->node_count, err));
    for (size_t o = 0; o < run->a_graph->output_count; o++) {
        const size_t other = run->output_of_b[o];
        const struct ldnq_tensor *y =
            other == LDNQ_NO_NODE ? NULL : ldnq_exec_value(run->b, run->b_graph->outputs[other]);
        LDNQ_TRY(ldnq_output_sums_add(&run->output_sums[o], y,
                                      ldnq_exec_value(run->a, run->a_graph->outputs[o]), samples,
                                      run->job->pool, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status read_batch(struct run *run, size_t first, size_t count,
                                   struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(arena, run->a_graph->input_count, sizeof *inputs, err);
    enum ldnq_status status = inputs ? ldnq_samples_read(run->job->samples, first, count,
                                                         run->job->pool, arena, inputs, err)
                                     : LDNQ_NOMEM;
    if (status == LDNQ_OK)
        status = pass_batch(run, inputs, count, err);
    ldnq_exec_reset(run->a);
    ldnq_exec_reset(run->b);
    ldnq_exec_reset(run->apart); /* which may be lent A's tensors */
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- the bound ---------------------------------------------------------------------------------
 */

static bool is_layer(const struct ldnq_diff *diff, const char *node)
{
    for (size_t i = 0; i < diff->layer_count; i++)
        if (diff->layers[i].match && strcmp(diff->layers[i].node, node) == 0)
            return true;
    return false;
}

static bool is_end(const struct ldnq_diff_change *note)
{
    return strcmp(note->op, "input") == 0 || strcmp(note->op, "output") == 0;
}

/* The theorem is of networks that differ in their layers alone. NULL: it holds. */
static const char *bound_fails(const struct run *run)
{
    const struct ldnq_diff *diff = run->job->diff;
    const struct ldnq_matched_layers *couples = run->job->couples;
    const struct ldnq_node_pairs *pairs = run->job->pairs;
    for (size_t i = 0; i < diff->tensor_count; i++)
        if (!diff->tensors[i].is_constant)
            return "activations are quantized";
    for (size_t i = 0; i < couples->count; i++)
        if (couples->items[i].b == LDNQ_NO_NODE)
            return "a layer has no partner";
    for (size_t n = 0; n < pairs->a->count; n++)
        if (pairs->of_a[n] == LDNQ_NO_NODE && couples->folded[n] == LDNQ_NO_NODE)
            return "nodes have no partner";
    for (size_t n = 0; n < pairs->b->count; n++)
        if (pairs->of_b[n] == LDNQ_NO_NODE)
            return "nodes have no partner";
    for (size_t i = 0; i < diff->changed_count; i++)
        if (!is_end(&diff->changed[i]) && !is_layer(diff, diff->changed[i].node))
            return "nodes that are no layers differ";
    for (size_t i = 0; i < run->count; i++)
        if (run->lanes[i].isolated.failed)
            return "a layer could not be run by itself";
    return NULL;
}

static enum ldnq_status bound_outputs(struct run *run, struct ldnq_error *err)
{
    struct ldnq_diff *diff = run->job->diff;
    const struct ldnq_graph *graph = run->b_graph;
    const double samples = (double)diff->samples;
    double *changes = ldnq_arena_alloc(run->arena, graph->node_count, sizeof *changes, err);
    double *powers = ldnq_arena_alloc(run->arena, graph->output_count, sizeof *powers, err);
    double *bounds = ldnq_arena_alloc(run->arena, graph->output_count, sizeof *bounds, err);
    if (!changes || !powers || !bounds)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < run->count; i++)
        changes[run->lanes[i].end_b] = sqrt(run->lanes[i].isolated.ee / samples);
    for (size_t o = 0; o < diff->output_count; o++)
        if (run->output_of_b[o] != LDNQ_NO_NODE && !run->output_sums[o].distance.failed)
            powers[run->output_of_b[o]] = run->output_sums[o].distance.tt / samples;
    LDNQ_TRY(ldnq_bound_output_errors(graph, changes, powers, bounds, err));
    for (size_t o = 0; o < diff->output_count; o++)
        if (run->output_of_b[o] != LDNQ_NO_NODE && powers[run->output_of_b[o]] > 0)
            diff->outputs[o].bound = bounds[run->output_of_b[o]];
    for (size_t o = 0; !diff->bound_reason && o < diff->output_count; o++)
        if (isnan(diff->outputs[o].bound))
            diff->bound_reason = "an operator on the way has no constant";
    return LDNQ_OK;
}

/* ---- all ----------------------------------------------------------------------------------------
 */

static struct ldnq_diff_error error_from(const struct ldnq_distance *sums)
{
    return (struct ldnq_diff_error){ ldnq_distance_sqnr(sums), ldnq_distance_cosine(sums) };
}

static enum ldnq_status conclude(struct run *run, struct ldnq_error *err)
{
    struct ldnq_diff *diff = run->job->diff;
    for (size_t i = 0; i < run->count; i++) {
        struct ldnq_diff_layer *layer =
            &diff->layers[run->lanes[i].couple - run->job->couples->items];
        layer->isolated = error_from(&run->lanes[i].isolated);
        layer->accumulated = error_from(&run->lanes[i].accumulated);
    }
    diff->output_count = run->a_graph->output_count;
    diff->outputs = ldnq_arena_alloc(run->arena, diff->output_count, sizeof *diff->outputs, err);
    if (!diff->outputs)
        return LDNQ_NOMEM;
    for (size_t o = 0; o < diff->output_count; o++) {
        const size_t other = run->output_of_b[o];
        const struct ldnq_output_metrics metrics = ldnq_output_metrics_from(&run->output_sums[o]);
        diff->outputs[o] = (struct ldnq_diff_output){
            .name = run->a_graph->outputs[o]->name,
            .bound = NAN,
            .match = other == LDNQ_NO_NODE ? NULL : run->b_graph->outputs[other]->name,
            .error = { metrics.sqnr, metrics.cosine },
            .relative = metrics.relative,
            .max_error = metrics.max_error,
            .agreement = metrics.agreement,
            .kl = metrics.kl,
        };
    }
    diff->bound_reason = bound_fails(run);
    return diff->bound_reason ? LDNQ_OK : bound_outputs(run, err);
}

static enum ldnq_status measure_all(struct run *run, struct ldnq_error *err)
{
    const struct ldnq_measure_options *job = run->job;
    const size_t there = ldnq_samples_count(job->samples);
    const size_t samples = job->max_samples ? ldnq_size_min(job->max_samples, there) : there;
    LDNQ_TRY(prepare(run, err));
    const size_t batch = ldnq_size_min(ldnq_samples_batch(job->samples, run->a_graph, BATCH),
                                       ldnq_samples_batch(job->samples, run->b_graph, BATCH));
    const double start = ldnq_now();
    for (size_t first = 0; first < samples; first += batch) {
        const size_t count = ldnq_size_min(batch, samples - first);
        LDNQ_TRY(read_batch(run, first, count, err));
        ldnq_sink_progress(job->sink, "diff", NULL, first + count, samples);
    }
    job->diff->samples = samples;
    job->diff->seconds = ldnq_now() - start;
    return conclude(run, err);
}

enum ldnq_status ldnq_measure_errors(const struct ldnq_measure_options *job,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct run run = {
        .job = job, .arena = arena, .a_graph = job->pairs->a->graph, .b_graph = job->pairs->b->graph
    };
    const enum ldnq_status status = measure_all(&run, err);
    ldnq_exec_destroy(run.a);
    ldnq_exec_destroy(run.b);
    ldnq_exec_destroy(run.apart);
    return status;
}
