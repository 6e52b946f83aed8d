/* SPDX-License-Identifier: Apache-2.0 */
/* job_quantize.c: from a float model and samples to a QDQ model. */
#include <math.h>
#include <string.h>

#include "api/expected_speed.h"
#include "api/default_inputs.h"
#include "api/dry_run.h"
#include "api/diff_facts.h"
#include "api/diff_gates.h"
#include "api/existing_codes.h"
#include "api/output_files.h"
#include "base/clock.h"
#include "base/ranks.h"
#include "api/layer_rules.h"
#include "api/memory_report.h"
#include "api/page.h"
#include "api/quantization_diff.h"
#include "api/quantize_checkpoint.h"
#include "api/quantize_events.h"
#include "api/quantize_goal.h"
#include "api/quantize_json.h"
#include "api/quantize_settings.h"
#include "api/rank_check.h"
#include "api/target_check.h"
#include "api/without_samples.h"
#include "compare/compare.h"
#include "emit/rewrite_operators.h"
#include "metric/batch_check.h"
#include "onnx/edit.h"
#include "passes/passes.h"
#include "pipeline/memory_need.h"

/* More samples would draw the same page. */
#define PAGE_SAMPLES ((size_t)256)

struct quantize_job {
    struct ldnq_job job;
    const struct ldnq_onnx *onnx;
    const char *output; /* NULL: the model stays in the result */
    struct ldnq_output_files files;
    struct ldnq_model_writer *writer;
    struct ldnq_job_model loaded;
    struct ldnq_samples *samples;
    struct ldnq_samples *fitted;        /* those of them that are fitted */
    struct ldnq_samples *held_out_part; /* opened for `held_out`; NULL where that is another's */
    struct ldnq_samples *held_out;      /* NULL: too few for any to be held out */
    struct ldnq_quantize_events events;
    struct ldnq_job_plan plan;
    struct ldnq_job_goal goal;
    struct ldnq_job_checkpoint checkpoint;
    struct ldnq_quantize_options options;
    struct ldnq_default_inputs default_inputs;
    struct ldnq_emit_options emit;
    struct ldnq_emit_choice choice;
    struct ldnq_quantization *quantization;
    struct ldnq_quantize_summary summary;
    double start;
};

/* ---- before the work ------------------------------------------------------------------------ */

/* Lists the files that will be written. A plan is one of them with a budget, else it is read. */
static enum ldnq_status list_output_files(struct ldnq_output_files *files,
                                          const struct ldnq_options *options, const char *output,
                                          struct ldnq_error *err)
{
    const char *plan = ldnq_option_text(options, OPTION_PLAN);
    const bool writes_plan =
        ldnq_option_is_set(options, OPTION_BUDGET) || ldnq_job_goal_is_set(options);
    if (ldnq_option_flag(options, OPTION_DRY_RUN))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_output_files_add(files, "report", ldnq_option_text(options, OPTION_REPORT), err));
    LDNQ_TRY(ldnq_output_files_add(files, "log", ldnq_option_text(options, OPTION_LOG), err));
    LDNQ_TRY(ldnq_output_files_add(files, "plan", writes_plan ? plan : NULL, err));
    LDNQ_TRY(ldnq_output_files_add(files, "output", output, err));
    return plan && !writes_plan
               ? ldnq_output_files_check_path(files, "the plan that is read", plan, err)
               : LDNQ_OK;
}

/* Chooses the types of the codes, and raises the model's opset for them. */
static enum ldnq_status prepare_storage(struct quantize_job *quantize, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_emit_prepare(quantize->loaded.model, &quantize->emit, &quantize->choice, err));
    quantize->options.least_code_bits = ldnq_emit_least_bits(&quantize->choice);
    return LDNQ_OK;
}

/* A goal, and the plan of one, choose by all codebooks that the search had: each file that it
 * tries is then fitted as the result will be. */
static void choose_solver(struct quantize_job *quantize)
{
    const struct ldnq_job_plan *plan = &quantize->plan;
    const bool is_goal = quantize->goal.measured.samples || plan->is_complete;
    ldnq_settings_choose_solver(quantize->job.options, plan->codebooks,
                                is_goal ? plan->choice_count : 0, &quantize->options);
}

static void warn_of_wider_types(const struct quantize_job *quantize)
{
    const struct ldnq_emit_choice *choice = &quantize->choice;
    if (choice->obstacle.status != LDNQ_OK)
        ldnq_sink_warn(
            &quantize->job.sink,
            "codes are stored in wider types, at opset %d: the opset of narrower ones is "
            "out of reach: %s",
            choice->opset, choice->obstacle.message);
}

/* ---- the page ------------------------------------------------------------------------------- */

static enum ldnq_status compare_with_float_model(struct quantize_job *quantize,
                                                 struct ldnq_job_model *a, struct ldnq_job_model *b,
                                                 struct ldnq_result *result, struct ldnq_error *err)
{
    struct ldnq_diff *diff;
    const struct ldnq_measured_samples measured =
        ldnq_choose_measured_samples(&quantize->options, quantize->fitted);
    const struct ldnq_diff_options options = {
        .model_a = a->model,
        .model_b = b->model,
        .graph_a = a->graph,
        .graph_b = b->graph,
        .samples = measured.samples,
        .role = measured.role,
        .max_samples = PAGE_SAMPLES,
        .pool = quantize->job.pool,
        .sink = &quantize->job.sink,
    };
    LDNQ_TRY(ldnq_diff_create(&options, quantize->job.arena, &diff, err));
    if (quantize->summary.bytes_after) { /* in memory B has its data inside */
        diff->b.bytes = quantize->summary.bytes_after;
        diff->b.data_bytes = quantize->summary.data_bytes_after;
    }
    LDNQ_TRY(ldnq_diff_fill_speed(&quantize->job, a->model, b->model, diff, err));
    ldnq_quantize_events_fill_diff(&quantize->events, diff);
    LDNQ_TRY(ldnq_quantization_fill_diff(quantize->quantization, quantize->job.arena, diff, err));
    LDNQ_TRY(ldnq_job_goal_fill_diff(&quantize->goal, &quantize->job, diff, err));
    LDNQ_TRY(ldnq_job_plan_fill_diff(&quantize->plan, &quantize->job, diff, err));
    LDNQ_TRY(ldnq_diff_judge_gates(NULL, quantize->job.arena, diff, err));
    const char *const name = ldnq_onnx_name(quantize->onnx);
    LDNQ_TRY(ldnq_diff_fill_reproduction("quantize", &name, 1, quantize->job.options, b->model,
                                         quantize->job.arena, diff, err));
    return ldnq_page_render(diff, result, err);
}

/* Compares the float model with the bytes that will be written, before they have their name: a job
 * that is canceled here has written nothing. */
static enum ldnq_status render_page(struct quantize_job *quantize, struct ldnq_result *result,
                                    struct ldnq_error *err)
{
    const struct ldnq_job *job = &quantize->job;
    const char *name = quantize->output ? quantize->output : "quantized";
    struct ldnq_job_model a = { NULL, NULL }, b = { NULL, NULL };
    void *bytes = NULL;
    size_t size;
    enum ldnq_status status = ldnq_job_load(job, quantize->onnx, &a, err);
    if (status == LDNQ_OK)
        status = ldnq_model_pack(quantize->loaded.model, &bytes, &size, err);
    if (status == LDNQ_OK)
        status = ldnq_model_load_memory(bytes, size, name, &b.model, err);
    if (status == LDNQ_OK)
        status = ldnq_job_import(job, &b, err);
    if (status == LDNQ_OK)
        status = compare_with_float_model(quantize, &a, &b, result, err);
    ldnq_model_destroy(a.model);
    ldnq_model_destroy(b.model);
    ldnq_model_free_bytes(bytes);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Writes the model under a temporary name: it takes its own when all else is done. */
static enum ldnq_status write_model(struct quantize_job *quantize, struct ldnq_result *result,
                                    struct ldnq_error *err)
{
    if (!quantize->output) {
        LDNQ_TRY(ldnq_model_pack(quantize->loaded.model, &result->model, &result->model_size, err));
        quantize->summary.bytes_after = result->model_size;
        return LDNQ_OK;
    }
    LDNQ_TRY(
        ldnq_model_writer_create(quantize->loaded.model, quantize->output, &quantize->writer, err));
    quantize->summary.bytes_after = ldnq_model_writer_size(quantize->writer);
    quantize->summary.data_bytes_after = ldnq_model_writer_data_size(quantize->writer);
    return LDNQ_OK;
}

/* Small networks: what is added takes more than narrower weights save. */
static void warn_of_larger_file(const struct quantize_job *quantize)
{
    const struct ldnq_quantize_summary *summary = &quantize->summary;
    if (summary->bytes_after > summary->bytes_before)
        ldnq_sink_warn(
            &quantize->job.sink,
            "the quantized model has %zu bytes and is larger than the float model, which "
            "has %zu: scales, metadata and the nodes that quantize and dequantize take "
            "more than its weights save",
            summary->bytes_after, summary->bytes_before);
}

static enum ldnq_status make_json_result(struct quantize_job *quantize, struct ldnq_result *result,
                                         struct ldnq_error *err)
{
    struct ldnq_quantize_summary *summary = &quantize->summary;
    cJSON *root = cJSON_CreateObject();
    summary->seconds = ldnq_now() - quantize->start;
    const bool filled = root && ldnq_quantize_add_json(root, summary);
    const enum ldnq_status status =
        filled ? ldnq_job_add_ranks(&quantize->job, root, err) : LDNQ_OK;
    if (status != LDNQ_OK) {
        cJSON_Delete(root);
        return status;
    }
    if (filled)
        ldnq_quantize_events_report_result(&quantize->events, root);
    return ldnq_result_print(result, root, filled, err);
}

static void limit_memory(const struct quantize_job *quantize)
{
    const size_t most = ldnq_limit_arena(ldnq_get_max_bytes(&quantize->options),
                                         ldnq_model_bytes(quantize->loaded.model));
    ldnq_arena_limit_memory(quantize->job.arena, most);
    ldnq_model_limit_memory(quantize->loaded.model, most);
}

static enum ldnq_status run_passes(struct ldnq_graph *graph, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_passes_widen_and_run(graph, err));
    return ldnq_pass_unfold_layers(graph, err);
}

/* Operators of the model become those that the target has kernels for, before all else. */
static enum ldnq_status import_model(struct quantize_job *quantize, struct ldnq_error *err)
{
    struct ldnq_job_model *loaded = &quantize->loaded;
    const struct ldnq_activation_options *activations = &quantize->options.activations;
    bool changed;
    LDNQ_TRY(ldnq_job_remove_codes(&quantize->job, loaded, err));
    LDNQ_TRY(ldnq_job_rewrite_lookups(&quantize->job, loaded, err));
    LDNQ_TRY(ldnq_job_import(&quantize->job, loaded, err));
    LDNQ_TRY(run_passes(loaded->graph, err));
    if (!activations->target || activations->dtype == LDNQ_UNDEFINED)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_emit_rewrite_operators(loaded->model, loaded->graph, activations->target,
                                         &changed, err));
    if (!changed)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_job_import(&quantize->job, loaded, err));
    return run_passes(loaded->graph, err);
}

/* ---- the samples that are held out ------------------------------------------------------------
 */

/* With a goal, or a plan that was made for one, the samples are the part that is fitted. */
static enum ldnq_status open_held_out_part(struct quantize_job *quantize,
                                           const struct ldnq_dataset *dataset,
                                           struct ldnq_error *err)
{
    const struct ldnq_job_samples wanted = { .shuffle = true, .part = LDNQ_SAMPLES_HELD_OUT };
    quantize->fitted = quantize->samples;
    if (!quantize->goal.holds_out)
        LDNQ_TRY(ldnq_job_open_samples(&quantize->job, dataset, quantize->loaded.graph, &wanted,
                                       &quantize->held_out_part, err));
    quantize->held_out =
        quantize->goal.holds_out ? quantize->goal.measured.samples : quantize->held_out_part;
    return LDNQ_OK;
}

/* Their order is random: the last ones are held out. */
static enum ldnq_status hold_out_samples(struct quantize_job *quantize, struct ldnq_error *err)
{
    struct ldnq_arena *arena = quantize->job.arena;
    const size_t all = ldnq_samples_count(quantize->samples);
    const size_t held_out = ldnq_samples_choose_held_out(all), fitted = all - held_out;
    LDNQ_TRY(ldnq_samples_slice(quantize->samples, 0, fitted, arena, &quantize->fitted, err));
    return held_out ? ldnq_samples_slice(quantize->samples, fitted, held_out, arena,
                                         &quantize->held_out, err)
                    : LDNQ_OK;
}

static enum ldnq_status open_checkpoint(struct quantize_job *quantize, uint64_t model_hash,
                                        uint64_t data_hash, struct ldnq_error *err)
{
    const bool is_made =
        quantize->plan.budget.count > 0 || ldnq_job_goal_is_set(quantize->job.options);
    const struct ldnq_checkpoint_inputs inputs = {
        .model_name = ldnq_onnx_name(quantize->onnx),
        .model_hash = model_hash,
        .data_hash = data_hash,
        .sample_count = ldnq_samples_count(quantize->samples),
        .held_out = quantize->goal.measured.samples ? quantize->goal.measured.samples
                                                    : quantize->held_out_part,
        .plan = is_made ? NULL : ldnq_option_text(quantize->job.options, OPTION_PLAN),
    };
    LDNQ_TRY(ldnq_job_compare_ranks(&quantize->job, &inputs, err));
    LDNQ_TRY(ldnq_job_checkpoint_open(&quantize->checkpoint, &quantize->job, &inputs, err));
    if (quantize->checkpoint.is_open || quantize->checkpoint.is_followed)
        quantize->job.checkpoint = quantize->options.checkpoint = &quantize->checkpoint.records;
    return LDNQ_OK;
}

static enum ldnq_status open_log(struct quantize_job *quantize, struct ldnq_error *err)
{
    return ldnq_ranks_is_first(quantize->job.ranks)
               ? ldnq_quantize_events_open_log(&quantize->events, err)
               : LDNQ_OK;
}

/* All sets of samples run one at a time where those that are fitted do. */
static enum ldnq_status check_batch(struct quantize_job *quantize, struct ldnq_error *err)
{
    struct ldnq_samples *const others[] = { quantize->goal.measured.samples, quantize->fitted,
                                            quantize->held_out };
    const struct ldnq_job *job = &quantize->job;
    LDNQ_TRY(
        ldnq_check_batch(quantize->loaded.graph, quantize->samples, job->pool, &job->sink, err));
    const char *reason = ldnq_samples_single_reason(quantize->samples);
    for (size_t i = 0; reason && i < sizeof others / sizeof *others; i++)
        if (others[i])
            LDNQ_TRY(ldnq_samples_run_singly(others[i], reason, err));
    quantize->summary.single_reason = reason;
    return LDNQ_OK;
}

/* ---- the job ----------------------------------------------------------------------------------
 */

/* Opens the samples, splits them, and measures what they are; *data_hash becomes theirs. */
static enum ldnq_status open_samples(struct quantize_job *quantize,
                                     const struct ldnq_dataset *dataset, bool is_made,
                                     uint64_t model_hash, uint64_t *data_hash,
                                     struct ldnq_error *err)
{
    struct ldnq_job *job = &quantize->job;
    struct ldnq_job_model *loaded = &quantize->loaded;
    struct ldnq_quantize_options *options = &quantize->options;
    struct ldnq_quantize_summary *summary = &quantize->summary;
    const struct ldnq_job_samples wanted = {
        .shuffle = true,
        .part = ldnq_job_goal_holds_out(&quantize->plan, job->options) ? LDNQ_SAMPLES_FITTED
                                                                       : LDNQ_SAMPLES_ALL,
    };
    LDNQ_TRY(ldnq_job_goal_open(&quantize->goal, job, dataset, loaded->graph, err));
    LDNQ_TRY(ldnq_job_open_samples(job, dataset, loaded->graph, &wanted, &quantize->samples, err));
    if (quantize->goal.measured.samples)
        LDNQ_TRY(ldnq_output_files_check_samples(&quantize->files, quantize->goal.measured.samples,
                                                 err));
    LDNQ_TRY(ldnq_output_files_check_samples(&quantize->files, quantize->samples, err));
    LDNQ_TRY(ldnq_samples_hash(quantize->samples, data_hash, err));
    LDNQ_TRY(wanted.part == LDNQ_SAMPLES_FITTED ? open_held_out_part(quantize, dataset, err)
                                                : hold_out_samples(quantize, err));
    options->held_out = quantize->held_out;
    LDNQ_TRY(check_batch(quantize, err));
    LDNQ_TRY(ldnq_job_measure_inputs(job, loaded->graph, quantize->samples, &summary->inputs, err));
    LDNQ_TRY(open_checkpoint(quantize, model_hash, *data_hash, err));
    LDNQ_TRY(open_log(quantize, err));
    summary->samples = ldnq_samples_count(quantize->samples);
    summary->held_out = quantize->held_out ? ldnq_samples_count(quantize->held_out) : 0;
    ldnq_settings_limit_copies(job->options, ldnq_samples_are_pictures(quantize->samples),
                               summary->samples, options);
    if (!is_made)
        choose_solver(quantize);
    return ldnq_job_report_memory(job, loaded, options, quantize->fitted, err);
}

static enum ldnq_status print_dry_run(const struct quantize_job *quantize, bool is_made,
                                      struct ldnq_result *result, struct ldnq_error *err)
{
    const struct ldnq_dry_run run = {
        .job = &quantize->job,
        .loaded = &quantize->loaded,
        .options = &quantize->options,
        .fitted = quantize->fitted,
        .target = quantize->emit.target->name,
        .searches = is_made,
    };
    return ldnq_dry_run_print(&run, result, err);
}

static enum ldnq_status quantize_model(struct quantize_job *quantize,
                                       const struct ldnq_dataset *dataset,
                                       struct ldnq_result *result, struct ldnq_error *err)
{
    struct ldnq_job *job = &quantize->job;
    struct ldnq_job_model *loaded = &quantize->loaded;
    struct ldnq_quantize_options *options = &quantize->options;
    struct ldnq_quantize_summary *summary = &quantize->summary;
    const char *report = ldnq_option_text(job->options, OPTION_REPORT);
    uint64_t data_hash = 0;

    /* ---- the model, at the opset that the codes need; its graph comes after ---- */
    job->cuts_foreign = true;
    LDNQ_TRY(ldnq_onnx_load(quantize->onnx, &loaded->model, err));
    LDNQ_TRY(ldnq_default_inputs_list(&quantize->default_inputs, loaded->model, job->arena, err));
    LDNQ_TRY(ldnq_output_files_check_model(&quantize->files, quantize->onnx, loaded->model, err));
    LDNQ_TRY(ldnq_output_files_check_data_name(ldnq_option_text(job->options, OPTION_OUTPUT),
                                               loaded->model, err));
    limit_memory(quantize);
    summary->model = loaded->model;
    summary->bytes_before = ldnq_model_bytes(loaded->model);
    summary->data_bytes_before = ldnq_model_data_bytes(loaded->model);
    const uint64_t model_hash = ldnq_model_hash(loaded->model);
    LDNQ_TRY(ldnq_job_plan_read(&quantize->plan, job, options, &quantize->emit, err));
    LDNQ_TRY(prepare_storage(quantize, err));
    LDNQ_TRY(ldnq_model_inline_functions(loaded->model, err));
    LDNQ_TRY(import_model(quantize, err));
    LDNQ_TRY(ldnq_layer_rules_check(job->options, loaded->graph, job->arena, err));
    loaded->graph->releases_constants =
        ldnq_is_larger_than_memory(ldnq_get_max_bytes(options), summary->bytes_before);
    warn_of_wider_types(quantize);
    const struct ldnq_target_check check = { .graph = loaded->graph,
                                             .target = quantize->emit.target,
                                             .options = options,
                                             .sink = &job->sink };
    const bool is_made = quantize->plan.budget.count > 0 || ldnq_job_goal_is_set(job->options);
    if (!is_made)
        LDNQ_TRY(ldnq_target_check_layers(&check, job->arena, err));

    /* ---- samples ---- */
    if (dataset) {
        LDNQ_TRY(open_samples(quantize, dataset, is_made, model_hash, &data_hash, err));
    } else {
        LDNQ_TRY(open_log(quantize, err));
        choose_solver(quantize);
        ldnq_warn_without_samples(&job->sink);
    }

    if (ldnq_option_flag(job->options, OPTION_DRY_RUN))
        return print_dry_run(quantize, is_made, result, err);

    /* ---- the codebook of each layer, within the budget or for the goal ---- */
    LDNQ_TRY(ldnq_job_plan_make(&quantize->plan, job, loaded->graph, quantize->fitted,
                                &quantize->choice, options, err));
    if (quantize->goal.measured.samples)
        choose_solver(quantize);
    LDNQ_TRY(ldnq_goal_scorer_init(&quantize->goal.scorer, job, loaded, &quantize->choice, err));
    LDNQ_TRY(ldnq_job_goal_reach(&quantize->goal, job, loaded->graph, quantize->fitted,
                                 &quantize->plan, &quantize->choice, options, err));
    if (is_made)
        LDNQ_TRY(ldnq_target_check_layers(&check, job->arena, err));
    if (is_made && options->max_seconds > 0) /* layers then get what is left */
        options->max_seconds = fmax(1e-3, options->max_seconds - (ldnq_now() - quantize->start));

    /* ---- codes and scales, layer by layer, and into the model ---- */
    choose_solver(quantize);
    options->measured = quantize->goal.measured;
    LDNQ_TRY(ldnq_quantize_graph(loaded->graph, quantize->fitted, options, job->arena,
                                 &quantize->quantization, err));
    summary->result = quantize->quantization;
    LDNQ_TRY(ldnq_emit(loaded->model, &quantize->quantization->network, &quantize->choice, err));
    ldnq_default_inputs_warn(&quantize->default_inputs, loaded->model, &job->sink);
    LDNQ_TRY(ldnq_quantize_write_metadata(summary, loaded->model, model_hash, data_hash, err));

    /* ---- all files, at the end: the model is seen only after a job that succeeded ---- */
    if (!ldnq_ranks_is_first(job->ranks))
        return make_json_result(quantize, result, err);
    LDNQ_TRY(write_model(quantize, result, err));
    warn_of_larger_file(quantize);
    if (ldnq_page_is_wanted(job->options, report))
        LDNQ_TRY(render_page(quantize, result, err));
    LDNQ_TRY(ldnq_job_plan_write(&quantize->plan, job, err));
    LDNQ_TRY(ldnq_job_goal_write_plan(&quantize->goal, job, &quantize->plan, quantize->quantization,
                                      err));
    LDNQ_TRY(ldnq_page_write(job->options, report, result, err));
    LDNQ_TRY(make_json_result(quantize, result, err));
    LDNQ_TRY(ldnq_quantize_events_close_log(&quantize->events, err));
    return quantize->writer ? ldnq_model_writer_commit(quantize->writer, err) : LDNQ_OK;
}

static enum ldnq_status run_quantize_job(const struct ldnq_onnx *onnx,
                                         const struct ldnq_dataset *samples, const char *output,
                                         const struct ldnq_options *options,
                                         struct ldnq_result **out, struct ldnq_error *err)
{
    struct quantize_job quantize = { .onnx = onnx, .output = output, .start = ldnq_now() };
    struct ldnq_result *result = NULL;
    enum ldnq_status status = ldnq_job_init(&quantize.job, options, err);
    const bool writes = ldnq_ranks_is_first(quantize.job.ranks);
    const bool has_page =
        writes && ldnq_page_is_wanted(options, ldnq_option_text(options, OPTION_REPORT));
    if (status == LDNQ_OK && writes)
        status = list_output_files(&quantize.files, options, output, err);
    if (status == LDNQ_OK)
        status = ldnq_quantize_read_settings(options, &quantize.options, &quantize.emit, err);
    if (status == LDNQ_OK)
        status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        ldnq_quantize_events_init(&quantize.events, &quantize.job, has_page, &quantize.options);
    quantize.options.pool = quantize.job.pool;
    quantize.options.sink = &quantize.job.sink;
    quantize.summary = (struct ldnq_quantize_summary){
        .job = &quantize.job,
        .model_name = ldnq_onnx_name(onnx),
        .output = output,
        .quantize = &quantize.options,
        .choice = &quantize.choice,
        .storage = quantize.emit.storage,
        .plan = &quantize.plan,
        .goal = &quantize.goal,
    };
    if (status == LDNQ_OK)
        status = quantize_model(&quantize, samples, result, err);
    ldnq_job_report_failure_to_ranks(&quantize.job, status, err);
    ldnq_job_checkpoint_finish(&quantize.checkpoint, status, err);
    ldnq_quantize_events_finish(&quantize.events, status);
    ldnq_model_writer_destroy(quantize.writer);
    ldnq_samples_destroy(quantize.samples);
    ldnq_samples_destroy(quantize.held_out_part);
    ldnq_job_goal_finish(&quantize.goal);
    ldnq_model_destroy(quantize.loaded.model);
    ldnq_job_finish(&quantize.job);
    return ldnq_result_return_or_destroy(result, status, out);
}

/* Without samples, the options are those of what can be done then. */
static enum ldnq_status start_quantize_job(const struct ldnq_onnx *onnx,
                                           const struct ldnq_dataset *samples, const char *output,
                                           const struct ldnq_options *options,
                                           struct ldnq_result **out, struct ldnq_error *err)
{
    struct ldnq_options *rounding;
    if (!ldnq_dataset_is_none(samples))
        return run_quantize_job(onnx, samples, output, options, out, err);
    LDNQ_TRY(ldnq_options_without_samples(options, &rounding, err));
    const enum ldnq_status status = run_quantize_job(onnx, NULL, output, rounding, out, err);
    ldnq_options_destroy(rounding);
    return status;
}

/* A dry run names no file to write. */
static enum ldnq_status check_for_dry_run(const struct ldnq_onnx *onnx,
                                          const struct ldnq_dataset *samples, const char *output,
                                          const struct ldnq_options *options,
                                          struct ldnq_result **out, struct ldnq_error *err)
{
    struct ldnq_options *copy;
    if (!ldnq_option_flag(options, OPTION_DRY_RUN))
        return start_quantize_job(onnx, samples, output, options, out, err);
    LDNQ_TRY(ldnq_options_for_dry_run(options, &copy, err));
    const enum ldnq_status status = start_quantize_job(onnx, samples, NULL, copy, out, err);
    ldnq_options_destroy(copy);
    return status;
}

enum ldnq_status ldnq_quantize(const struct ldnq_onnx *onnx, const struct ldnq_dataset *samples,
                               const struct ldnq_options *options, struct ldnq_result **result,
                               struct ldnq_error *err)
{
    if (result)
        *result = NULL;
    if (!onnx || !samples)
        return ldnq_fail(err, LDNQ_USAGE, "a quantization needs a model and samples");
    return check_for_dry_run(onnx, samples, ldnq_option_text(options, OPTION_OUTPUT), options,
                             result, err);
}

enum ldnq_status ldnq_quantize_files(const char *model, const char *samples, const char *output,
                                     const struct ldnq_options *options, struct ldnq_error *err)
{
    struct ldnq_onnx *onnx = NULL;
    struct ldnq_dataset *dataset = NULL;
    if (!output)
        return ldnq_fail(err, LDNQ_USAGE, "no path of an output is given");
    enum ldnq_status status = ldnq_onnx_from_path(model, &onnx, err);
    if (status == LDNQ_OK)
        status = ldnq_dataset_from_path(samples, &dataset, err);
    if (status == LDNQ_OK)
        status = check_for_dry_run(onnx, dataset, output, options, NULL, err);
    ldnq_dataset_destroy(dataset);
    ldnq_onnx_destroy(onnx);
    return status;
}
