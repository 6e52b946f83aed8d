/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantize_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/json_graph.h"
#include "api/layer_rules.h"
#include "api/quantize_goal.h"
#include "api/option_value.h"
#include "api/quantize_settings.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/json_add.h"
#include "pipeline/knapsack.h"

/* Codebooks that a budget chooses from where the option "weights" is not set. */
#define DEFAULT_CODEBOOKS "int2,int3,int4,int8"

/* The fewest bits that can tell apart the codebook's values, whatever type the file stores. */
static unsigned count_code_bits(const struct ldnq_codebook *codebook)
{
    unsigned bits = 0;
    while ((size_t)1 << bits < codebook->count)
        bits++;
    return bits;
}

double ldnq_compute_mean_bits(const struct ldnq_quantization *result)
{
    double bits = 0, weights = 0;
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_quantized_layer *quantized = &result->network.layers[i];
        const double count = (double)ldnq_layer_elements(&quantized->layer);
        if (quantized->shared)
            continue;
        bits += count * count_code_bits(quantized->codebook);
        weights += count;
    }
    return weights > 0 ? bits / weights : 0;
}

/* ---- the budget ------------------------------------------------------------------------- */

static enum ldnq_status append_codebook_choice(struct ldnq_job_plan *plan, const char *where,
                                               const char *name, struct ldnq_error *err)
{
    if (plan->choice_count == LDNQ_PLAN_CODEBOOKS)
        return ldnq_fail(err, LDNQ_USAGE, "%s '%s': the list is too long", where, name);
    return ldnq_settings_find_codebook(where, name, &plan->codebooks[plan->choice_count++], err);
}

static enum ldnq_status parse_codebook_list(struct ldnq_job_plan *plan, const char *text,
                                            struct ldnq_error *err)
{
    for (;;) {
        char name[32];
        const size_t length = strcspn(text, ",");
        if (length >= sizeof name)
            return ldnq_fail(err, LDNQ_USAGE, "weights '%s' is too long", text);
        memcpy(name, text, length);
        name[length] = '\0';
        LDNQ_TRY(append_codebook_choice(plan, "weights", name, err));
        if (!text[length])
            return LDNQ_OK;
        text += length + 1;
    }
}

static int compare_codebook_bits(const void *a, const void *b)
{
    const struct ldnq_codebook *x = *(const struct ldnq_codebook *const *)a;
    const struct ldnq_codebook *y = *(const struct ldnq_codebook *const *)b;
    return x->bits != y->bits ? (x->bits > y->bits) - (x->bits < y->bits)
                              : (x->count > y->count) - (x->count < y->count);
}

/* Layers go up from narrow codebooks to wide ones. Where a target computes on integers, the
 * kernels that are fast read 8 bits. */
static enum ldnq_status parse_goal(struct ldnq_job_plan *plan, const struct ldnq_options *options,
                                   const struct ldnq_quantize_options *quantize,
                                   struct ldnq_error *err)
{
    const char *weights = ldnq_option_text(options, OPTION_WEIGHTS);
    const char *all = quantize->activations.target ? "int8" : DEFAULT_CODEBOOKS;
    if (ldnq_option_is_set(options, OPTION_BUDGET))
        return ldnq_fail(err, LDNQ_USAGE,
                         "a budget and a goal exclude each other: leave one of them out");
    LDNQ_TRY(parse_codebook_list(plan, ldnq_option_is_set(options, OPTION_WEIGHTS) ? weights : all,
                                 err));
    qsort(plan->codebooks, plan->choice_count, sizeof(const struct ldnq_codebook *),
          compare_codebook_bits);
    return LDNQ_OK;
}

static enum ldnq_status parse_budget(struct ldnq_job_plan *plan, const struct ldnq_options *options,
                                     struct ldnq_error *err)
{
    static const enum ldnq_budget_unit units[] = {
        [LDNQ_AMOUNT_BITS] = LDNQ_BUDGET_BITS,
        [LDNQ_AMOUNT_RATIO] = LDNQ_BUDGET_RATIO,
        [LDNQ_AMOUNT_BYTES] = LDNQ_BUDGET_BYTES,
    };
    const char *weights = ldnq_option_text(options, OPTION_WEIGHTS);
    enum ldnq_amount unit = LDNQ_AMOUNT_BITS;
    ldnq_parse_budget(ldnq_option_text(options, OPTION_BUDGET), &unit, &plan->budget.amount);
    plan->budget.unit = units[unit];
    plan->budget.codebooks = plan->codebooks;
    plan->budget.bits = plan->bits;
    LDNQ_TRY(parse_codebook_list(plan, weights ? weights : DEFAULT_CODEBOOKS, err));
    plan->budget.count = plan->choice_count;
    return LDNQ_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

static enum ldnq_status read_plan_entry(const struct ldnq_job *job, const char *path,
                                        const cJSON *item, size_t i, struct ldnq_plan_entry *entry,
                                        struct ldnq_error *err)
{
    const char *node = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "node"));
    const char *weights = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "weights"));
    if (!node || !weights)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: layers[%zu] needs \"node\" and \"weights\", both strings", path, i);
    const char *where = ldnq_arena_printf(job->arena, err, "%s: layers[%zu]: weights", path, i);
    entry->node = ldnq_arena_strdup(job->arena, node, err);
    if (!where || !entry->node)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_layer_rule_find_codebook(where, weights, &entry->codebook, err));
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "activations"));
    if (!type)
        return LDNQ_OK;
    where = ldnq_arena_printf(job->arena, err, "%s: layers[%zu]: activations", path, i);
    return where ? ldnq_layer_rule_read_type(where, type, job->options, &entry->wide_input, err)
                 : LDNQ_NOMEM;
}

static enum ldnq_status read_plan_entries(const struct ldnq_job *job, const char *path,
                                          const cJSON *root, struct ldnq_quantize_options *quantize,
                                          struct ldnq_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "layers"), *item;
    if (!cJSON_IsArray(list))
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: is no plan: it is not JSON with a list \"layers\"; a budget and a "
                         "plan together write one",
                         path);
    struct ldnq_plan_entry *entries =
        ldnq_arena_alloc(job->arena, (size_t)cJSON_GetArraySize(list), sizeof *entries, err);
    if (!entries)
        return LDNQ_NOMEM;
    quantize->plan = entries;
    cJSON_ArrayForEach(item, list)
    {
        LDNQ_TRY(read_plan_entry(job, path, item, quantize->plan_count,
                                 &entries[quantize->plan_count], err));
        quantize->plan_count++;
    }
    return LDNQ_OK;
}

/* Reads the codebooks that a plan lists, and whether a part of the samples was held out for it. */
static enum ldnq_status read_plan_choices(struct ldnq_job_plan *plan, const char *path,
                                          const cJSON *root, struct ldnq_error *err)
{
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(root, "weights"), *item;
    plan->holds_out = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "held_out"));
    plan->is_complete = cJSON_IsArray(names);
    cJSON_ArrayForEach(item, names)
    {
        const char *name = cJSON_GetStringValue(item);
        if (!name)
            return ldnq_fail(err, LDNQ_DATA, "%s: \"weights\" is no list of codebooks", path);
        LDNQ_TRY(append_codebook_choice(plan, path, name, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status read_plan_file(struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                       const char *path, struct ldnq_quantize_options *quantize,
                                       struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    LDNQ_TRY(ldnq_file_read(path, job->arena, &bytes, &size, err));
    cJSON *root = cJSON_ParseWithLength(bytes, size);
    enum ldnq_status status = read_plan_entries(job, path, root, quantize, err);
    if (status == LDNQ_OK)
        status = read_plan_choices(plan, path, root, err);
    cJSON_Delete(root);
    return status;
}

static void widen_emitted_bit_range(const struct ldnq_codebook *codebook,
                                    struct ldnq_emit_options *emit)
{
    if (!emit->widest || codebook->bits > emit->widest->bits)
        emit->widest = codebook;
    if (!emit->narrowest || codebook->bits < emit->narrowest->bits)
        emit->narrowest = codebook;
}

enum ldnq_status ldnq_job_plan_read(struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                    struct ldnq_quantize_options *quantize,
                                    struct ldnq_emit_options *emit, struct ldnq_error *err)
{
    const char *path = ldnq_option_text(job->options, OPTION_PLAN);
    if (ldnq_option_is_set(job->options, OPTION_BUDGET) &&
        ldnq_option_is_set(job->options, OPTION_LAYER))
        return ldnq_fail(err, LDNQ_USAGE,
                         "a budget chooses the codebook of each layer; use skip and only with it, "
                         "not layer");
    const bool is_goal = ldnq_job_goal_is_set(job->options);
    if (is_goal)
        LDNQ_TRY(parse_goal(plan, job->options, quantize, err));
    else if (ldnq_option_is_set(job->options, OPTION_BUDGET))
        LDNQ_TRY(parse_budget(plan, job->options, err));
    else if (path)
        LDNQ_TRY(read_plan_file(plan, job, path, quantize, err));
    /* A budget, a goal, and the plan of one choose for every layer. */
    if (plan->budget.count == 0 && !is_goal && !plan->is_complete)
        widen_emitted_bit_range(quantize->codebook, emit);
    LDNQ_TRY(ldnq_layer_rules_read(job->options, job->arena, quantize, err));
    for (size_t i = 0; i < quantize->plan_count; i++)
        if (quantize->plan[i].codebook)
            widen_emitted_bit_range(quantize->plan[i].codebook, emit);
    for (size_t i = 0; i < plan->choice_count; i++)
        widen_emitted_bit_range(plan->codebooks[i], emit);
    return LDNQ_OK;
}

/* ---- making ------------------------------------------------------------------------------- */

enum ldnq_status ldnq_job_plan_make(struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                    const struct ldnq_graph *graph, struct ldnq_samples *samples,
                                    const struct ldnq_emit_choice *choice,
                                    struct ldnq_quantize_options *quantize, struct ldnq_error *err)
{
    struct ldnq_budget *budget = &plan->budget;
    if (budget->count == 0)
        return LDNQ_OK;
    for (size_t i = 0; i < budget->count; i++)
        plan->bits[i] = budget->unit == LDNQ_BUDGET_BITS
                            ? count_code_bits(plan->codebooks[i])
                            : ldnq_dtype_bits(ldnq_emit_dtype(choice, plan->codebooks[i]));
    struct ldnq_error reason;
    const enum ldnq_status status =
        ldnq_allocate_bits(graph, samples, quantize, budget, job->arena, &plan->made, &reason);
    int narrow = 0;
    for (size_t i = 0; i < budget->count; i++) {
        int opset;
        ldnq_emit_narrowest_dtype(choice, plan->codebooks[i], &opset);
        narrow = opset > narrow ? opset : narrow;
    }
    if (status == LDNQ_USAGE && budget->unit != LDNQ_BUDGET_BITS && choice->opset < narrow)
        return ldnq_fail(err, status, "%s; opset %d has narrower types for codes", reason.message,
                         narrow);
    if (status != LDNQ_OK)
        return ldnq_fail(err, status, "%s", reason.message);
    quantize->plan = plan->made->entries;
    quantize->plan_count = plan->made->count;
    return LDNQ_OK;
}

/* ---- writing ------------------------------------------------------------------------------ */

static bool add_plan_entry_json(cJSON *list, const struct ldnq_job_plan *plan, size_t i)
{
    const struct ldnq_bit_allocation *made = plan->made;
    const struct ldnq_codebook *codebook = made->entries[i].codebook;
    cJSON *item = ldnq_json_append_object(list);
    if (!item || !ldnq_json_add_text(item, "node", made->entries[i].node) ||
        !ldnq_json_add_text(item, "weights", codebook ? codebook->name : LDNQ_FLOAT_LAYER))
        return false;
    if (!codebook)
        return true;
    cJSON *errors = cJSON_AddObjectToObject(item, "errors");
    for (size_t c = 0; errors && c < made->choices; c++)
        if (!ldnq_json_add_number(errors, plan->codebooks[c]->name,
                                  made->errors[i * made->choices + c]))
            return false;
    return errors != NULL;
}

static bool fill_plan_json(cJSON *root, const struct ldnq_job_plan *plan,
                           const struct ldnq_job *job)
{
    if (!ldnq_json_add_text(root, "budget", ldnq_option_text(job->options, OPTION_BUDGET)) ||
        !ldnq_json_add_number(root, "error", plan->made->error) ||
        !cJSON_AddBoolToObject(root, "errors_are_estimated", plan->made->estimated))
        return false;
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; list && i < plan->made->count; i++)
        if (!add_plan_entry_json(list, plan, i))
            return false;
    return list != NULL;
}

bool ldnq_job_plan_add_json(cJSON *root, const struct ldnq_job_plan *plan,
                            const struct ldnq_job *job)
{
    if (!plan->made)
        return cJSON_AddNullToObject(root, "plan") != NULL;
    cJSON *item = cJSON_AddObjectToObject(root, "plan");
    return item && fill_plan_json(item, plan, job);
}

enum ldnq_status ldnq_job_plan_write_json(const char *path, cJSON *root, bool filled,
                                          struct ldnq_error *err)
{
    char *text = root && filled ? ldnq_json_print(root, LDNQ_JSON_INDENTED) : NULL;
    cJSON_Delete(root);
    if (!text)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    const enum ldnq_status status = ldnq_file_write(path, text, strlen(text), err);
    ldnq_free(text);
    return status;
}

enum ldnq_status ldnq_job_plan_write(const struct ldnq_job_plan *plan, const struct ldnq_job *job,
                                     struct ldnq_error *err)
{
    const char *path = ldnq_option_text(job->options, OPTION_PLAN);
    if (!plan->made || !path)
        return LDNQ_OK;
    cJSON *root = cJSON_CreateObject();
    return ldnq_job_plan_write_json(path, root, root && fill_plan_json(root, plan, job), err);
}

/* ---- the curve ------------------------------------------------------------------------------- */

#define BUDGETS ((size_t)16)

/* The largest or the least cost that choices can have. */
static double find_extreme_cost(const struct ldnq_bit_allocation *made, bool least)
{
    double sum = 0;
    for (size_t row = 0; row < made->count; row++) {
        const double *costs = made->costs + row * made->choices;
        double extreme = costs[0];
        for (size_t c = 1; c < made->choices; c++)
            extreme = least ? fmin(extreme, costs[c]) : fmax(extreme, costs[c]);
        sum += extreme;
    }
    return sum;
}

/* Without a choice that fits, the step has a value of NaN. */
static enum ldnq_status predict_step(const struct ldnq_bit_allocation *made, double budget,
                                     size_t *chosen, bool counts_bits,
                                     struct ldnq_diff_goal_step *step, struct ldnq_error *err)
{
    double error = 0, cost = 0;
    bool fits;
    LDNQ_TRY(ldnq_knapsack_solve(made->count, made->choices, made->errors, made->costs, budget,
                                 chosen, &fits, err));
    for (size_t row = 0; row < made->count; row++) {
        error += made->errors[row * made->choices + chosen[row]];
        cost += made->costs[row * made->choices + chosen[row]];
    }
    *step = (struct ldnq_diff_goal_step){ .bytes = counts_bits ? cost / 8 : cost,
                                          .value = fits ? -10 * log10(error) : NAN,
                                          .meets = fits };
    return LDNQ_OK;
}

enum ldnq_status ldnq_job_plan_fill_diff(const struct ldnq_job_plan *plan,
                                         const struct ldnq_job *job, struct ldnq_diff *diff,
                                         struct ldnq_error *err)
{
    const struct ldnq_bit_allocation *made = plan->made;
    if (!made || diff->goal)
        return LDNQ_OK;
    struct ldnq_diff_goal *curve = ldnq_arena_alloc(job->arena, 1, sizeof *curve, err);
    struct ldnq_diff_goal_step *steps =
        ldnq_arena_alloc(job->arena, BUDGETS + 1, sizeof *steps, err);
    size_t *chosen = ldnq_arena_alloc(job->arena, made->count, sizeof *chosen, err);
    if (!curve || !steps || !chosen)
        return LDNQ_NOMEM;
    const bool counts_bits = plan->budget.unit == LDNQ_BUDGET_BITS;
    const double least = find_extreme_cost(made, true), most = find_extreme_cost(made, false);
    for (size_t i = 0; i <= BUDGETS; i++) {
        const double share = (double)i / (double)(BUDGETS - 1);
        const double budget = i == BUDGETS ? made->cost : least + share * (most - least);
        LDNQ_TRY(predict_step(made, budget, chosen, counts_bits, &steps[i], err));
    }
    *curve = (struct ldnq_diff_goal){ .measure = "SQNR in dB, predicted",
                                      .limit = NAN,
                                      .steps = steps,
                                      .step_count = BUDGETS + 1,
                                      .chosen = BUDGETS };
    diff->goal = curve;
    return LDNQ_OK;
}
