/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/accuracy_goal.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "base/size.h"
#include "ops/op.h"
#include "pipeline/goal_path.h"
#include "pipeline/select.h"

/* Moves that step 4 tries to take back; each costs a quantization. */
#define MOST_DESCENTS ((size_t)8)
#define MOST_STEPS ((size_t)80) /* two, a bisection of 2^64, and the descents */
/* The part of a time limit that the search may use; the rest is for the result. */
#define SEARCH_TIME 0.7

struct goal_search {
    const struct ldnq_graph *graph;
    struct ldnq_samples *samples;
    const struct ldnq_quantize_options *options;
    const struct ldnq_goal_options *goal;
    struct ldnq_arena *arena;
    struct ldnq_goal_result *result;
    struct ldnq_layer *layers; /* of the graph */
    size_t layer_count;
    struct ldnq_bit_allocation *ladders; /* errors and costs of the codebooks */
    struct ldnq_goal_costs costs;
    struct ldnq_goal_path path;
    size_t *rungs;           /* by entry: its rung in the state that is measured */
    size_t *effective_rungs; /* the same, of float where the target leaves it float */
    size_t *chosen_rungs;
    struct ldnq_sink sink; /* receives the events of the quantizations */
    size_t expected;       /* steps, for the progress */
    double start;
};

/* ---- progress ------------------------------------------------------------------------------- */

static enum ldnq_status report_progress(const struct goal_search *search, const char *detail,
                                        double part, struct ldnq_error *err)
{
    const size_t units = 1000;
    const double all = (double)search->result->step_count + 1; /* the ladders come first */
    const double done = (all + part) / (double)(search->expected + 1);
    return ldnq_sink_progress(search->options->sink, "goal", detail,
                              (size_t)(fmin(done, 1) * (double)units), units, err);
}

static int report_fitting_progress(void *ctx, const struct ldnq_progress *at)
{
    const double part = at->total ? (double)at->done / (double)at->total : 0;
    return report_progress(ctx, at->detail, part, NULL) != LDNQ_OK;
}

static bool has_time(const struct goal_search *search)
{
    const double limit = search->options->max_seconds;
    return !(limit > 0) ||
           ldnq_ranks_take_decision_of_first(ldnq_pool_ranks(search->options->pool),
                                             ldnq_now() - search->start < SEARCH_TIME * limit);
}

/* ---- a state -------------------------------------------------------------------------------- */

static const struct ldnq_layer *find_layer_of_label(const struct goal_search *search,
                                                    const char *label)
{
    for (size_t i = 0; i < search->layer_count; i++)
        if (strcmp(search->layers[i].label, label) == 0)
            return &search->layers[i];
    return NULL;
}

static bool is_pinned(const struct goal_search *search, const char *label)
{
    const struct ldnq_layer *layer = find_layer_of_label(search, label);
    for (size_t i = 0; layer && i < search->options->plan_count; i++)
        if (ldnq_select_matches(layer, search->options->plan[i].node))
            return true;
    return false;
}

static bool is_wide(const struct goal_search *search, size_t rung)
{
    return ldnq_goal_rung_is_wide(&search->costs, search->goal->codebook_count, rung);
}

static bool is_float(const struct goal_search *search, size_t rung)
{
    return ldnq_goal_rung_is_float(&search->costs, search->goal->codebook_count, rung);
}

/* The options' plan, then the rungs of all layers. */
static enum ldnq_status list_plan_entries(const struct goal_search *search, const size_t *rungs,
                                          struct ldnq_arena *arena,
                                          struct ldnq_plan_entry **entries, size_t *count,
                                          struct ldnq_error *err)
{
    const struct ldnq_bit_allocation *ladders = search->ladders;
    const size_t fixed = search->options->plan_count;
    *entries = ldnq_arena_alloc(arena, fixed + ladders->layer_count, sizeof **entries, err);
    if (!*entries)
        return LDNQ_NOMEM;
    *count = fixed;
    for (size_t i = 0; i < fixed; i++)
        (*entries)[i] = search->options->plan[i];
    for (size_t i = 0; i < ladders->layer_count; i++) {
        const size_t rung = rungs[ladders->layer_entries[i]];
        const size_t last = search->goal->codebook_count - 1;
        if (is_pinned(search, ladders->layer_labels[i]))
            continue;
        (*entries)[(*count)++] = (struct ldnq_plan_entry){
            .node = ladders->layer_labels[i],
            .codebook =
                is_float(search, rung) ? NULL : search->goal->codebooks[rung < last ? rung : last],
            .wide_input = is_wide(search, rung),
            .yields_to_speed = true,
        };
    }
    return LDNQ_OK;
}

/* Layers that the target computes faster in float are so whatever codes their rung has. */
static void find_effective_rungs(struct goal_search *search, const struct ldnq_quantization *result)
{
    const struct ldnq_bit_allocation *ladders = search->ladders;
    const size_t float_rung = search->goal->codebook_count + search->costs.has_wide;
    memcpy(search->effective_rungs, search->rungs, ladders->count * sizeof *search->rungs);
    for (size_t k = 0; search->costs.has_float && k < result->kept_count; k++)
        for (size_t i = 0; i < ladders->layer_count; i++)
            if (strcmp(ladders->layer_labels[i], result->kept[k].label) == 0)
                search->effective_rungs[ladders->layer_entries[i]] = float_rung;
}

static enum ldnq_status measure_on_clone(struct goal_search *search, struct ldnq_graph *clone,
                                         struct ldnq_goal_step *step,
                                         struct ldnq_goal_layers *layers, struct ldnq_arena *arena,
                                         struct ldnq_error *err)
{
    struct ldnq_quantize_options options = *search->options;
    struct ldnq_plan_entry *entries;
    struct ldnq_quantization *result;
    LDNQ_TRY(list_plan_entries(search, search->rungs, arena, &entries, &options.plan_count, err));
    options.plan = entries;
    options.sink = &search->sink;
    options.layer_start = NULL;
    options.layer_done = NULL;
    options.solver_options.trace = NULL;
    options.max_seconds = 0;
    options.skips_output_error = !layers || !options.activations.target;
    options.estimate_draws = LDNQ_ESTIMATE_DRAWS;
    LDNQ_TRY(ldnq_quantize_graph(clone, search->samples, &options, arena, &result, err));
    find_effective_rungs(search, result);
    if (layers)
        LDNQ_TRY(ldnq_goal_layers_read(layers, search->ladders, result, search->arena, err));
    const struct ldnq_accuracy_options measuring = {
        .quantized = clone,
        .reference = search->graph,
        .measured = search->goal->measured,
        .pool = search->options->pool,
    };
    LDNQ_TRY(ldnq_accuracy_measure(&measuring, &step->accuracy, err));
    const struct ldnq_goal_score *score = search->goal->score;
    return score ? score->measure_drop(score->ctx, result, &step->accuracy.drop, err) : LDNQ_OK;
}

/* Quantizes with search->rungs, and appends a step. With `layers`, also estimates. */
static enum ldnq_status measure_step(struct goal_search *search, size_t moves, const char *node,
                                     struct ldnq_goal_layers *layers, bool *meets,
                                     struct ldnq_error *err)
{
    struct ldnq_goal_step *step = &search->result->steps[search->result->step_count];
    struct ldnq_arena *arena;
    struct ldnq_graph *clone;
    *step = (struct ldnq_goal_step){ .moves = moves, .node = node };
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    const struct ldnq_goal_score *score = search->goal->score;
    enum ldnq_status status = score ? score->open_graph(score->ctx, arena, &clone, err)
                                    : ldnq_ops_clone_graph(search->graph, arena, &clone, err);
    if (status == LDNQ_OK)
        status = measure_on_clone(search, clone, step, layers, arena, err);
    if (score)
        score->close_graph(score->ctx);
    ldnq_arena_destroy(arena);
    LDNQ_TRY(status);
    step->meets = *meets = ldnq_accuracy_meets(&step->accuracy, &search->goal->goal);
    for (size_t i = 0; i < search->ladders->count; i++) {
        step->wide_layers += is_wide(search, search->effective_rungs[i]);
        step->float_layers += is_float(search, search->effective_rungs[i]);
    }
    search->result->step_count++;
    return report_progress(search, NULL, 0, err);
}

/* Fills in the figures of a state that the path alone knows. */
static void describe_last_step(struct goal_search *search)
{
    struct ldnq_goal_step *step = &search->result->steps[search->result->step_count - 1];
    step->bytes = ldnq_goal_path_bytes(&search->path, search->effective_rungs);
    step->estimate = ldnq_goal_path_error(&search->path, search->effective_rungs);
}

static void apply_first_moves(struct goal_search *search, size_t moves)
{
    ldnq_goal_path_rungs(&search->path, moves, search->rungs);
}

static enum ldnq_status measure_moves(struct goal_search *search, size_t moves, bool *meets,
                                      struct ldnq_error *err)
{
    const char *node =
        moves ? search->ladders->entries[search->path.moves[moves - 1].entry].node : NULL;
    apply_first_moves(search, moves);
    LDNQ_TRY(measure_step(search, moves, node, NULL, meets, err));
    describe_last_step(search);
    return LDNQ_OK;
}

static void choose_last_step(struct goal_search *search)
{
    search->result->chosen = search->result->step_count - 1;
    memcpy(search->chosen_rungs, search->rungs, search->ladders->count * sizeof *search->rungs);
}

/* ---- the end without a result --------------------------------------------------------------- */

/* How far a state is from the goal: the sum of the relative distances of its parts. */
static double compute_distance(const struct ldnq_accuracy *accuracy,
                               const struct ldnq_accuracy_goal *goal)
{
    double sum = 0;
    if (!isnan(goal->max_drop))
        sum += fmax(0, accuracy->drop - goal->max_drop) / 100;
    if (!isnan(goal->min_agreement))
        sum += fmax(0, goal->min_agreement - accuracy->agreement) / 100;
    if (!isnan(goal->min_sqnr))
        sum += fmax(0, goal->min_sqnr - accuracy->sqnr) / 100;
    return sum;
}

#define TYPES_OF_16_BITS (LDNQ_DTYPE_BIT(LDNQ_UINT16) | LDNQ_DTYPE_BIT(LDNQ_INT16))

/* Advice for a goal that no state meets. */
static const char *find_advice(const struct goal_search *search)
{
    const struct ldnq_activation_options *activations = &search->options->activations;
    if (!activations->target)
        return search->options->plan_count ? "free the layers whose codebook is fixed"
                                           : "use a solver that fits better";
    if (activations->target->activation_types & TYPES_OF_16_BITS &&
        ldnq_dtype_size(activations->dtype) == 1)
        return "give all activations 16 bits";
    return "leave the activations float";
}

static enum ldnq_status fail_without_state(const struct goal_search *search, struct ldnq_error *err)
{
    const struct ldnq_goal_result *result = search->result;
    const struct ldnq_goal_step *best = &result->steps[0];
    char text[256], on[LDNQ_SAMPLES_TEXT];
    for (size_t i = 1; i < result->step_count; i++)
        if (compute_distance(&result->steps[i].accuracy, &search->goal->goal) <
            compute_distance(&best->accuracy, &search->goal->goal))
            best = &result->steps[i];
    ldnq_accuracy_print(&best->accuracy, &search->goal->goal, text, sizeof text);
    ldnq_describe_samples(best->accuracy.role, best->accuracy.samples, on, sizeof on);
    return ldnq_fail(err, LDNQ_GATE,
                     "%s: the goal was not reached%s, and nothing is written: the best of %zu "
                     "attempts has %s on %s, with %zu of %zu layers "
                     "float; lower the goal to that, fit more samples, or %s",
                     search->graph->file, has_time(search) ? "" : " within the time limit",
                     result->step_count, text, on, best->float_layers, search->ladders->count,
                     find_advice(search));
}

/* ---- the search ----------------------------------------------------------------------------- */

/* Finds the first state of the path that meets the goal, as far as accuracy grows along it.
 * `low` does not meet it, `high` does. */
static enum ldnq_status bisect_path(struct goal_search *search, size_t low, size_t high,
                                    struct ldnq_error *err)
{
    while (high - low > 1 && has_time(search)) {
        const size_t middle = low + (high - low) / 2;
        bool meets;
        LDNQ_TRY(measure_moves(search, middle, &meets, err));
        if (meets)
            choose_last_step(search);
        *(meets ? &high : &low) = middle;
    }
    return LDNQ_OK;
}

/* Takes moves back, those first that save most for the error that they bring back. The last move
 * was just found to be necessary. */
static enum ldnq_status undo_unneeded_moves(struct goal_search *search, struct ldnq_error *err)
{
    const size_t moves = search->result->steps[search->result->chosen].moves;
    size_t kept = moves;
    bool *tried = ldnq_arena_alloc(search->arena, search->ladders->count, sizeof *tried, err);
    if (!tried)
        return LDNQ_NOMEM;
    if (moves > 0)
        tried[search->path.moves[moves - 1].entry] = true;
    for (size_t attempt = 0; attempt < MOST_DESCENTS && has_time(search); attempt++) {
        memcpy(search->rungs, search->chosen_rungs, search->ladders->count * sizeof *search->rungs);
        const size_t entry =
            ldnq_goal_path_find_entry_to_lower(&search->path, search->rungs, tried);
        bool meets;
        if (entry == SIZE_MAX)
            return LDNQ_OK;
        search->rungs[entry] = ldnq_goal_path_find_lower_rung(&search->path, entry,
                                                              search->chosen_rungs[entry], moves);
        LDNQ_TRY(measure_step(search, kept - 1, search->ladders->entries[entry].node, NULL, &meets,
                              err));
        describe_last_step(search);
        if (meets) {
            choose_last_step(search);
            kept--;
        } else {
            tried[entry] = true;
        }
    }
    return LDNQ_OK;
}

static enum ldnq_status find_ladders(struct goal_search *search, struct ldnq_error *err)
{
    const struct ldnq_budget all = { .unit = LDNQ_BUDGET_BYTES,
                                     .amount = INFINITY,
                                     .codebooks = search->goal->codebooks,
                                     .bits = search->goal->bits,
                                     .count = search->goal->codebook_count };
    struct ldnq_quantize_options options = *search->options;
    options.sink = &search->sink;
    return ldnq_allocate_bits(search->graph, search->samples, &options, &all, search->arena,
                              &search->ladders, err);
}

static enum ldnq_status run_search(struct goal_search *search, struct ldnq_error *err)
{
    struct ldnq_goal_layers layers = { 0 };
    bool meets;
    LDNQ_TRY(
        ldnq_layers_list(search->graph, search->arena, &search->layers, &search->layer_count, err));
    LDNQ_TRY(find_ladders(search, err));
    const size_t entries = search->ladders->count;
    search->rungs = ldnq_arena_alloc(search->arena, entries, sizeof *search->rungs, err);
    search->effective_rungs = ldnq_arena_alloc(search->arena, entries, sizeof *search->rungs, err);
    search->chosen_rungs =
        ldnq_arena_alloc(search->arena, entries, sizeof *search->chosen_rungs, err);
    search->result->steps =
        ldnq_arena_alloc(search->arena, MOST_STEPS, sizeof *search->result->steps, err);
    if (!search->rungs || !search->effective_rungs || !search->chosen_rungs ||
        !search->result->steps)
        return LDNQ_NOMEM;
    search->result->layer_count = search->ladders->layer_count;
    layers.pinned = ldnq_arena_alloc(search->arena, entries, sizeof *layers.pinned, err);
    if (!layers.pinned)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < entries; i++) {
        const char *label = search->ladders->entries[i].node;
        layers.pinned[i] = is_pinned(search, label);
        layers.keeps_codes |=
            layers.pinned[i] &&
            ldnq_select_codebook(find_layer_of_label(search, label), search->options);
    }

    const struct ldnq_activation_options *activations = &search->options->activations;
    search->costs = (struct ldnq_goal_costs){
        .ladders = search->ladders,
        .layers = &layers,
        .has_integer_kernels = activations->target != NULL,
        .has_wide = ldnq_target_can_widen(activations->target, activations->dtype),
        .has_float = !activations->target || activations->target->falls_back,
    };

    /* ---- 1: all layers on their lowest rung ---- */
    LDNQ_TRY(measure_step(search, 0, NULL, &layers, &meets, err));

    /* ---- 2: the path ---- */
    LDNQ_TRY(ldnq_goal_path_make(&search->costs, search->arena, &search->path, err));
    describe_last_step(search);
    choose_last_step(search);
    for (size_t n = search->path.move_count; n > 0; n /= 2)
        search->expected++;
    search->expected += 2 + ldnq_size_min(MOST_DESCENTS, search->path.move_count);
    if (meets)
        return LDNQ_OK;

    /* ---- 3: the first state that meets the goal ---- */
    const size_t most = search->path.move_count;
    if (most == 0 || !has_time(search))
        return fail_without_state(search, err);
    LDNQ_TRY(measure_moves(search, most, &meets, err));
    if (!meets)
        return fail_without_state(search, err);
    choose_last_step(search);
    LDNQ_TRY(bisect_path(search, 0, most, err));

    /* ---- 4: down again ---- */
    return undo_unneeded_moves(search, err);
}

enum ldnq_status ldnq_reach_goal(const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                 const struct ldnq_quantize_options *options,
                                 const struct ldnq_goal_options *goal, struct ldnq_arena *arena,
                                 struct ldnq_goal_result **out, struct ldnq_error *err)
{
    struct goal_search search = { .graph = graph,
                                  .samples = samples,
                                  .options = options,
                                  .goal = goal,
                                  .arena = arena,
                                  .expected = 10,
                                  .start = ldnq_now() };
    search.sink = (struct ldnq_sink){ .ctx = &search, .progress = report_fitting_progress };
    search.result = ldnq_arena_alloc(arena, 1, sizeof *search.result, err);
    if (!search.result)
        return LDNQ_NOMEM;
    LDNQ_TRY(run_search(&search, err));
    LDNQ_TRY(list_plan_entries(&search, search.chosen_rungs, arena, &search.result->entries,
                               &search.result->entry_count, err));
    *out = search.result;
    return LDNQ_OK;
}
