/* SPDX-License-Identifier: Apache-2.0 */
/* bit_allocation.c: choose a codebook for each layer, within a budget.
 *
 * The effect of a codebook on a layer is its effect at the network's outputs when only this
 * layer is quantized (by coordinate descent, without error compensation) and all others are
 * float. It is estimated by backward passes (codebook_estimate.h), or measured by running the
 * network with each codebook of each layer, which networks without gradients need. The
 * allocation assumes that these errors add up; the knapsack chooses the codebooks with the least
 * sum.
 */
#include "exec/exec.h"
#include "ops/op.h"
#include "pipeline/pipeline.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "pipeline/codebook_estimate.h"
#include "pipeline/fit_prediction.h"
#include "pipeline/knapsack.h"
#include "pipeline/select.h"
#include "metric/output_error.h"

#define SOLVER "cd"
#define QUICK_SOLVER "nearest"

struct bit_allocator {
    const struct ldnq_graph *graph;
    struct ldnq_samples *samples;
    const struct ldnq_quantize_options *options;
    const struct ldnq_budget *budget;
    struct ldnq_arena *arena, *scratch;
    struct ldnq_executed_graph reference;
    struct ldnq_sink sink; /* receives the events of the quantizations of clones */
    size_t choice;         /* the codebook that is being measured */
    /* Work of quantizing with one codebook, and of running each layer's codes; and of the
     * projection of all. */
    double fit_work, measure_work, project_work;
    struct ldnq_bit_allocation *plan;
    size_t *row;         /* by layer: its row in the allocation; shared codes have one row */
    double *weights;     /* by row: elements of the weight */
    double *scales;      /* (rows, choices) number of scales */
    size_t *packed_size; /* by row: of a table's axis that is packed; 0: a layer's weight */
    struct ldnq_codebook_estimate *projection; /* NULL: errors are measured by running */
};

/* ---- progress ------------------------------------------------------------------------ */

/* Passes of one sample that take as long as a draw: forward and backward, and the products of the
 * gradients with what each codebook changes. */
#define PASSES_OF_DRAW 3.0

static size_t count_draws(const struct ldnq_quantize_options *options)
{
    return options->estimate_draws == LDNQ_ESTIMATE_AUTO ? LDNQ_ESTIMATE_DRAWS
                                                         : options->estimate_draws;
}

/* `measures`: the network runs with each layer's codes, and nothing is projected. */
static void plan_work(struct bit_allocator *p, const struct ldnq_fit_work *fit, size_t layers,
                      bool measures)
{
    const double samples =
        (double)ldnq_size_min(ldnq_samples_count(p->samples), LDNQ_MOST_VISITED_SAMPLES);
    p->fit_work = fit->layers;
    p->measure_work = measures ? (double)(layers + 1) * samples * fit->pass : 0;
    p->project_work = measures ? 0 : (double)count_draws(p->options) * PASSES_OF_DRAW * fit->pass;
}

/* The parts of the codebook's own work that are done. */
static enum ldnq_status report_progress(const struct bit_allocator *p, const char *detail,
                                        double fitted, double measured, struct ldnq_error *err)
{
    const size_t steps = 1000;
    const double each = p->fit_work + p->measure_work, count = (double)p->budget->count;
    const double last = p->choice + 1 == p->budget->count ? p->project_work : 0;
    const double done =
        (double)p->choice * each + fitted * p->fit_work + measured * (p->measure_work + last);
    const double share = done / fmax(count * each + p->project_work, 1);
    return ldnq_sink_progress(p->options->sink, "plan", detail,
                              (size_t)(fmin(share, 1) * (double)steps), steps, err);
}

static int report_fitting_progress(void *ctx, const struct ldnq_progress *at)
{
    const double part = at->total ? (double)at->done / (double)at->total : 0;
    return report_progress(ctx, at->detail, part, 0, NULL) != LDNQ_OK;
}

static int report_projection_progress(void *ctx, const struct ldnq_progress *at)
{
    const double part = at->total ? (double)at->done / (double)at->total : 0;
    return report_progress(ctx, NULL, 1, part, NULL) != LDNQ_OK;
}

/* ---- one choice of codebook ------------------------------------------------------------ */

static void swap_layer_constants(const struct ldnq_quantized_layer *result, bool quantized)
{
    const struct ldnq_layer *layer = &result->layer;
    layer->node->inputs[layer->weight_input]->constant = quantized ? result->weight : layer->weight;
    if (result->bias)
        layer->node->inputs[layer->bias_input]->constant = quantized ? result->bias : layer->bias;
}

static void swap_row_constants(const struct bit_allocator *p,
                               const struct ldnq_quantization *result, size_t row, bool quantized)
{
    for (size_t i = 0; i < result->network.count; i++)
        if (p->row[i] == row)
            swap_layer_constants(&result->network.layers[i], quantized);
}

/* The layers quantized by one codebook, and their errors so far. */
struct codebook_trial {
    const struct bit_allocator *planner;
    const struct ldnq_quantization *result;
    struct ldnq_executed_graph quantized;
    double *sums; /* (rows, 2, outputs): errors and powers */
};

static enum ldnq_status measure_row_output_error(const struct codebook_trial *trial, size_t row,
                                                 struct ldnq_tensor *const *inputs,
                                                 struct ldnq_error *err)
{
    const struct bit_allocator *p = trial->planner;
    const size_t outputs = trial->quantized.graph->output_count;
    double *errors = trial->sums + row * outputs * 2;
    swap_row_constants(p, trial->result, row, true);
    enum ldnq_status status = ldnq_exec_run(trial->quantized.exec, inputs, err);
    if (status == LDNQ_OK)
        status =
            ldnq_output_error_add(&trial->quantized, &p->reference, errors, errors + outputs, err);
    swap_row_constants(p, trial->result, row, false);
    return status;
}

static enum ldnq_status measure_batch_output_errors(void *ctx, struct ldnq_tensor *const *inputs,
                                                    double done, struct ldnq_error *err)
{
    struct codebook_trial *trial = ctx;
    const struct bit_allocator *p = trial->planner;
    enum ldnq_status status = ldnq_exec_run(p->reference.exec, inputs, err);
    for (size_t row = 0; status == LDNQ_OK && row < p->plan->count; row++)
        status = measure_row_output_error(trial, row, inputs, err);
    ldnq_exec_reset(p->reference.exec);
    ldnq_exec_reset(trial->quantized.exec);
    trial->quantized.sample++; /* where positions are masked, one run has one sample */
    return status == LDNQ_OK ? report_progress(p, NULL, 1, done, err) : status;
}

/* Lists the rows of the allocation: one per node, or one for all layers that share codes. A plan
 * names nodes, so that the weights of one node have one codebook. */
static enum ldnq_status list_allocation_rows(struct bit_allocator *p,
                                             const struct ldnq_quantization *result,
                                             struct ldnq_error *err)
{
    struct ldnq_bit_allocation *plan = p->plan;
    if (plan->entries)
        return LDNQ_OK;
    plan->entries = ldnq_arena_alloc(p->arena, result->network.count, sizeof *plan->entries, err);
    plan->errors = ldnq_arena_alloc(p->arena, result->network.count * p->budget->count,
                                    sizeof *plan->errors, err);
    p->row = ldnq_arena_alloc(p->arena, result->network.count, sizeof *p->row, err);
    p->weights = ldnq_arena_alloc(p->arena, result->network.count, sizeof *p->weights, err);
    p->packed_size = ldnq_arena_alloc(p->arena, result->network.count, sizeof *p->packed_size, err);
    p->scales = ldnq_arena_alloc(p->arena, result->network.count * p->budget->count,
                                 sizeof *p->scales, err);
    plan->layer_labels =
        ldnq_arena_alloc(p->arena, result->network.count, sizeof *plan->layer_labels, err);
    if (!plan->entries || !plan->errors || !p->row || !p->weights || !p->scales ||
        !p->packed_size || !plan->layer_labels)
        return LDNQ_NOMEM;
    plan->layer_count = result->network.count;
    plan->layer_entries = p->row;
    plan->elements = p->weights;
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_quantized_layer *at = &result->network.layers[i];
        /* The layers are gone before the plan is. */
        plan->layer_labels[i] = ldnq_arena_strdup(p->arena, at->layer.label, err);
        if (!plan->layer_labels[i])
            return LDNQ_NOMEM;
        if (at->shared) {
            p->row[i] = p->row[at->shared - result->network.layers];
            continue;
        }
        const double elements = (double)ldnq_layer_elements(&at->layer);
        plan->weights += elements;
        p->row[i] = plan->count;
        p->weights[plan->count] = elements;
        if (ldnq_layer_is_table(&at->layer))
            p->packed_size[plan->count] = ldnq_layer_packed_size(&at->layer);
        plan->entries[plan->count++] =
            (struct ldnq_plan_entry){ .node = plan->layer_labels[i], .yields_to_speed = true };
    }
    return LDNQ_OK;
}

static void count_scales(struct bit_allocator *p, const struct ldnq_quantization *result)
{
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_quantized_layer *at = &result->network.layers[i];
        const size_t scales = ldnq_layer_rows(&at->layer) * ldnq_quantized_scales_per_row(at);
        if (!at->shared)
            p->scales[p->row[i] * p->budget->count + p->choice] +=
                at->granularity == LDNQ_PER_TENSOR ? 1 : (double)scales;
    }
}

/* Runs the network with the codes of one layer after the other. */
static enum ldnq_status run_codebook(struct bit_allocator *p, struct ldnq_graph *quantized,
                                     const struct ldnq_quantization *result,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t outputs = quantized->output_count;
    struct codebook_trial trial = { .planner = p, .result = result, .quantized.graph = quantized };
    if (ldnq_samples_have_masked_positions(p->samples))
        trial.quantized.samples = p->samples;
    trial.sums = ldnq_arena_alloc(arena, p->plan->count * outputs, 2 * sizeof *trial.sums, err);
    if (!trial.sums)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_exec_create(quantized, p->options->pool, &trial.quantized.exec, err));
    const enum ldnq_status status = ldnq_visit_first_samples(
        p->graph, p->samples, p->options->pool, measure_batch_output_errors, &trial, err);
    ldnq_exec_destroy(trial.quantized.exec);
    for (size_t row = 0; row < p->plan->count; row++) {
        const double *errors = trial.sums + row * outputs * 2;
        p->plan->errors[row * p->budget->count + p->choice] =
            ldnq_output_error_compute_mean(errors, errors + outputs, outputs);
    }
    return status;
}

/* Leaves p->projection NULL where no gradient reaches the layers, or none is wanted. */
static enum ldnq_status prepare_projection(struct bit_allocator *p,
                                           const struct ldnq_graph *quantized,
                                           const struct ldnq_quantized_network *network,
                                           struct ldnq_error *err)
{
    struct ldnq_quantize_options options = *p->options;
    struct ldnq_codebook_estimate *projection;
    struct ldnq_error reason;
    if (options.estimate_draws == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_codebook_estimate_create(network->count, p->budget->count, p->scratch,
                                           &projection, err));
    options.estimate_draws = 0;
    const enum ldnq_status status =
        ldnq_codebook_estimate_add_errors(projection, quantized, network, p->row, p->plan->count,
                                          p->samples, &options, p->plan->errors, &reason);
    if (status == LDNQ_OK)
        p->projection = projection;
    p->plan->estimated = status == LDNQ_OK;
    return status == LDNQ_OK || status == LDNQ_UNSUPPORTED
               ? LDNQ_OK
               : ldnq_fail(err, status, "%s", reason.message);
}

/* Stores the codes; with those of the last codebook all errors are estimated. */
static enum ldnq_status project_codebook(struct bit_allocator *p, struct ldnq_graph *quantized,
                                         const struct ldnq_quantization *result,
                                         struct ldnq_error *err)
{
    const struct ldnq_quantized_network *network = &result->network;
    LDNQ_TRY(ldnq_codebook_estimate_store(p->projection, p->choice, network, err));
    LDNQ_TRY(report_progress(p, NULL, 1, 0, err));
    if (p->choice + 1 < p->budget->count)
        return LDNQ_OK;
    struct ldnq_quantize_options options = *p->options;
    const struct ldnq_sink sink = { .ctx = p, .progress = report_projection_progress };
    options.estimate_draws = count_draws(p->options);
    options.sink = &sink;
    return ldnq_codebook_estimate_add_errors(p->projection, quantized, network, p->row,
                                             p->plan->count, p->samples, &options, p->plan->errors,
                                             err);
}

static enum ldnq_status measure_codebook_on_clone(struct bit_allocator *p,
                                                  struct ldnq_graph *quantized,
                                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    /* The quick solver ranks by itself: SOLVER would take longer than the whole run. */
    const bool is_quick = p->options->solver == ldnq_solver_find(QUICK_SOLVER);
    const struct ldnq_quantize_options options = {
        .codebook = p->budget->codebooks[p->choice],
        .granularity = p->options->granularity,
        .block = p->options->block,
        .product_block = p->options->product_block,
        .least_code_bits = p->options->least_code_bits,
        .solver = is_quick ? p->options->solver : ldnq_solver_find(SOLVER),
        .fit = is_quick ? p->options->fit : (struct ldnq_fit_limits){ 0 },
        .solver_options = p->options->solver_options,
        .seed = p->options->seed,
        .skip = p->options->skip,
        .skip_count = p->options->skip_count,
        .only = p->options->only,
        .only_count = p->options->only_count,
        .max_bytes = p->options->max_bytes,
        .pool = p->options->pool,
        .sink = &p->sink,
        .checkpoint = p->options->checkpoint,
        .skips_output_error = true,
    };
    struct ldnq_quantization *result;
    struct ldnq_selection selection;
    struct ldnq_fit_work work;
    LDNQ_TRY(ldnq_select_layers(quantized, &options, arena, &selection, err));
    LDNQ_TRY(ldnq_predict_fit_work(quantized, &selection, &options, p->samples, arena, &work, err));
    if (p->choice == 0)
        plan_work(p, &work, selection.count, p->options->estimate_draws == 0);
    LDNQ_TRY(ldnq_quantize_graph(quantized, p->samples, &options, arena, &result, err));
    LDNQ_TRY(list_allocation_rows(p, result, err));
    count_scales(p, result);
    for (size_t i = 0; i < result->network.count; i++)
        swap_layer_constants(&result->network.layers[i], false);
    if (p->choice == 0) {
        LDNQ_TRY(prepare_projection(p, quantized, &result->network, err));
        if (!p->projection)
            plan_work(p, &work, selection.count, true);
    }
    return p->projection ? project_codebook(p, quantized, result, err)
                         : run_codebook(p, quantized, result, arena, err);
}

/* Only one clone, with the codes of one codebook, is in memory at a time. */
static enum ldnq_status measure_codebook(struct bit_allocator *p, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *quantized;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = ldnq_ops_clone_graph(p->graph, arena, &quantized, err);
    if (status == LDNQ_OK)
        status = measure_codebook_on_clone(p, quantized, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

/* ---- the knapsack ---------------------------------------------------------------------- */

/* Computes the cost of a codebook for one row, in the budget's unit (bits or bytes). */
static double compute_cost(const struct bit_allocator *p, size_t row, size_t choice)
{
    unsigned bits = p->budget->bits[choice];
    if (p->packed_size[row] && p->budget->unit != LDNQ_BUDGET_BITS)
        bits = ldnq_table_code_bits(p->budget->codebooks[choice]->bits, p->packed_size[row]);
    const double codes = p->weights[row] * bits;
    const double scales = p->scales[row * p->budget->count + choice];
    return p->budget->unit == LDNQ_BUDGET_BITS ? codes : (codes + 32 * scales) / 8;
}

static double compute_budget(const struct bit_allocator *p)
{
    switch (p->budget->unit) {
    case LDNQ_BUDGET_BITS:
        return p->budget->amount * p->plan->weights;
    case LDNQ_BUDGET_RATIO:
        return 4 * p->plan->weights / p->budget->amount;
    case LDNQ_BUDGET_BYTES:
        break;
    }
    return p->budget->amount;
}

static enum ldnq_status fail_over_budget(const struct bit_allocator *p, const double *cost,
                                         struct ldnq_error *err)
{
    double least = 0;
    for (size_t row = 0; row < p->plan->count; row++) {
        double cheapest = INFINITY;
        for (size_t c = 0; c < p->budget->count; c++)
            cheapest = fmin(cheapest, cost[row * p->budget->count + c]);
        least += cheapest;
    }
    switch (p->budget->unit) {
    case LDNQ_BUDGET_BITS:
        return ldnq_fail(err, LDNQ_USAGE, "%s: a budget of %g bits is too small: the least is %g",
                         p->graph->file, p->budget->amount, least / p->plan->weights);
    case LDNQ_BUDGET_RATIO:
        return ldnq_fail(err, LDNQ_USAGE, "%s: a budget of %gx is too small: the most is %.2fx",
                         p->graph->file, p->budget->amount, 4 * p->plan->weights / least);
    case LDNQ_BUDGET_BYTES:
        break;
    }
    return ldnq_fail(err, LDNQ_USAGE,
                     "%s: a budget of %.0f bytes is too small: codes and scales "
                     "take at least %.0f",
                     p->graph->file, p->budget->amount, ceil(least));
}

static void compute_costs(const struct bit_allocator *p)
{
    const size_t count = p->budget->count;
    for (size_t row = 0; row < p->plan->count; row++)
        for (size_t c = 0; c < count; c++)
            p->plan->costs[row * count + c] = compute_cost(p, row, c);
}

/* Of the rows that have no reason to stay float. */
static enum ldnq_status choose_codebooks(struct bit_allocator *p, size_t *chosen,
                                         struct ldnq_error *err)
{
    const size_t count = p->budget->count;
    struct ldnq_bit_allocation *plan = p->plan;
    bool fits;
    LDNQ_TRY(ldnq_knapsack_solve(plan->count, count, plan->errors, plan->costs, compute_budget(p),
                                 chosen, &fits, err));
    if (!fits)
        return fail_over_budget(p, plan->costs, err);
    plan->cost = plan->error = 0;
    for (size_t row = 0; row < plan->count; row++) {
        if (plan->entries[row].float_reason)
            continue;
        plan->entries[row].codebook = p->budget->codebooks[chosen[row]];
        plan->cost += plan->costs[row * count + chosen[row]];
        plan->error += plan->errors[row * count + chosen[row]];
    }
    return LDNQ_OK;
}

/* ---- layers that stay float ------------------------------------------------------------ */

static const struct ldnq_layer *find_refused_layer(const struct ldnq_selection *selection,
                                                   const char *label)
{
    for (size_t i = 0; i < selection->kept_count; i++)
        if (strcmp(selection->kept[i].label, label) == 0)
            return &selection->kept[i];
    return NULL;
}

/* Why all layers of the row stay float; NULL: one of them does not. */
static const char *explain_float_row(const struct bit_allocator *p, size_t row,
                                     const struct ldnq_selection *selection)
{
    const char *reason = NULL;
    for (size_t i = 0; i < p->plan->layer_count; i++) {
        if (p->row[i] != row)
            continue;
        const struct ldnq_layer *refused = find_refused_layer(selection, p->plan->layer_labels[i]);
        if (!refused)
            return NULL;
        reason = refused->refusal;
    }
    return reason;
}

/* Takes the row out of the budget. Its codebook stays until the end: the target refuses it by that.
 */
static enum ldnq_status leave_row_float(struct bit_allocator *p, size_t row, const char *reason,
                                        struct ldnq_error *err)
{
    struct ldnq_bit_allocation *plan = p->plan;
    const size_t count = p->budget->count;
    plan->entries[row].float_reason = ldnq_arena_strdup(p->arena, reason, err);
    if (!plan->entries[row].float_reason)
        return LDNQ_NOMEM;
    plan->weights -= p->weights[row];
    memset(plan->costs + row * count, 0, count * sizeof *plan->costs);
    memset(plan->errors + row * count, 0, count * sizeof *plan->errors);
    return LDNQ_OK;
}

/* Finds the rows that the target refuses with the codebooks that are chosen. */
static enum ldnq_status leave_refused_rows_float(struct bit_allocator *p, bool *any,
                                                 struct ldnq_error *err)
{
    struct ldnq_quantize_options options = *p->options;
    struct ldnq_bit_allocation *plan = p->plan;
    struct ldnq_selection selection;
    options.plan = plan->entries;
    options.plan_count = plan->count;
    *any = false;
    LDNQ_TRY(ldnq_select_layers(p->graph, &options, p->scratch, &selection, err));
    for (size_t row = 0; row < plan->count; row++) {
        const char *reason = explain_float_row(p, row, &selection);
        if (!reason || plan->entries[row].float_reason)
            continue;
        LDNQ_TRY(leave_row_float(p, row, reason, err));
        *any = true;
    }
    return LDNQ_OK;
}

/* What is left float may leave others more of the budget, and those may then have codebooks that
 * the target refuses. */
static enum ldnq_status choose_within_budget(struct bit_allocator *p, struct ldnq_error *err)
{
    struct ldnq_bit_allocation *plan = p->plan;
    plan->costs =
        ldnq_arena_alloc(p->arena, plan->count * p->budget->count, sizeof *plan->costs, err);
    size_t *chosen = ldnq_arena_alloc(p->arena, plan->count, sizeof *chosen, err);
    if (!plan->costs || !chosen)
        return LDNQ_NOMEM;
    compute_costs(p);
    for (bool changed = true; changed;) {
        LDNQ_TRY(choose_codebooks(p, chosen, err));
        LDNQ_TRY(leave_refused_rows_float(p, &changed, err));
    }
    for (size_t row = 0; row < plan->count; row++)
        if (plan->entries[row].float_reason)
            plan->entries[row].codebook = NULL;
    return LDNQ_OK;
}

static bool has_float_output(const struct ldnq_graph *graph)
{
    for (size_t o = 0; o < graph->output_count; o++)
        if (graph->outputs[o]->dtype == LDNQ_FLOAT)
            return true;
    return false;
}

static enum ldnq_status allocate_layers(struct bit_allocator *p, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_exec_create(p->graph, p->options->pool, &p->reference.exec, err));
    for (; p->choice < p->budget->count; p->choice++)
        LDNQ_TRY(measure_codebook(p, err));
    return choose_within_budget(p, err);
}

enum ldnq_status ldnq_allocate_bits(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                    const struct ldnq_quantize_options *options,
                                    const struct ldnq_budget *budget, struct ldnq_arena *arena,
                                    struct ldnq_bit_allocation **out, struct ldnq_error *err)
{
    struct bit_allocator p = { .graph = graph,
                               .samples = samples,
                               .options = options,
                               .budget = budget,
                               .arena = arena,
                               .reference.graph = graph };
    p.sink = (struct ldnq_sink){ .ctx = &p, .progress = report_fitting_progress };
    if (!has_float_output(graph))
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: no output is a float: a budget needs one to "
                         "measure what each layer's codebook does",
                         graph->file);
    p.plan = ldnq_arena_alloc(arena, 1, sizeof *p.plan, err);
    if (!p.plan)
        return LDNQ_NOMEM;
    p.plan->choices = budget->count;
    LDNQ_TRY(ldnq_arena_create(&p.scratch, err));
    const enum ldnq_status status = allocate_layers(&p, err);
    ldnq_exec_destroy(p.reference.exec);
    ldnq_arena_destroy(p.scratch);
    *out = p.plan;
    return status;
}
