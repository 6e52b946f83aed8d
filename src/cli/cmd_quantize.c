/* cmd_quantize.c: the main job, from a float file and samples to a QDQ file. */
#include "emit/emit.h"
#include "pipeline/pipeline.h"

#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json_add.h"
#include "base/text.h"
#include "cli/choices.h"
#include "cli/json.h"
#include "cli/log.h"
#include "cli/mixed.h"
#include "cli/outfile.h"
#include "cli/plain.h"
#include "cli/run_report.h"
#include "cli/session.h"

struct job {
    struct cli_session session;
    struct ldnq_samples *samples;
    struct cli_log log;
    struct cli_plan plan;
    struct ldnq_quantize_options options;
    struct ldnq_emit_options emit;
    struct ldnq_emit_choice choice;
    struct ldnq_quantization *result;
    size_t bytes_before, bytes_after;
    double start;
};

/* ---- before the work --------------------------------------------------------------- */

static enum ldnq_status check_settings(const struct cli_settings *settings, struct ldnq_error *err)
{
    if (!settings->output)
        return ldnq_fail(err, LDNQ_USAGE, "quantize: -o OUT is missing");
    if (!settings->calib)
        return ldnq_fail(err, LDNQ_USAGE,
                         "quantize: --calib PATH is missing: the samples that "
                         "the weights are fitted on");
    if (settings->report)
        LDNQ_TRY(cli_check_outfile(settings->report, err));
    if (settings->budget && settings->plan)
        LDNQ_TRY(cli_check_outfile(settings->plan, err));
    return cli_check_outfile(settings->output, err);
}

/* ---- metadata ------------------------------------------------------------------------- */

static const char *weights_name(const struct ldnq_quantization *result)
{
    const struct ldnq_codebook *codebook = ldnq_common_codebook(&result->network);
    return codebook ? codebook->name : "mixed";
}

static const char *storage_name(const struct job *job)
{
    const struct ldnq_quantization *result = job->result;
    const enum ldnq_dtype first = ldnq_emit_dtype(&job->choice, result->network.layers[0].codebook);
    for (size_t i = 1; i < result->network.count; i++)
        if (ldnq_emit_dtype(&job->choice, result->network.layers[i].codebook) != first)
            return "mixed";
    return ldnq_dtype_name(first);
}

static void note_list(struct ldnq_text *text, const char *name, const struct cli_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        ldnq_text_item(text, " ", "%s=%s", name, list->items[i]);
}

/* What decides the result, and nothing else: not the threads, not the paths. */
static void describe_options(const struct job *job, char *data, size_t size)
{
    const struct cli_settings *s = job->session.settings;
    const struct ldnq_preprocess *p = &s->preprocess;
    const struct ldnq_fine_tune_options *tune = &job->options.fine_tune;
    struct ldnq_text text;
    ldnq_text_init(&text, data, size);
    ldnq_text_item(&text, " ",
                   "weights=%s granularity=%s solver=%s rho=%g rho-from=%s "
                   "storage=%s",
                   weights_name(job->result), s->granularity, job->options.solver->name,
                   job->options.solver_options.rho_factor, s->rho_from, s->storage);
    if (job->options.block)
        ldnq_text_item(&text, " ", "block-size=%zu", job->options.block);
    if (s->cascade)
        ldnq_text_item(&text, " ", "cascade=%zu", s->cascade);
    if (job->result->fine_tune.held_out)
        ldnq_text_item(&text, " ", "distill=%zu refine=%s", job->result->fine_tune.steps,
                       tune->update_codes ? "on" : "off");
    ldnq_text_item(&text, " ", "augment=%zu seed=%zu", job->options.copies, s->seed);
    if (job->options.lambda == LDNQ_LAMBDA_AUTO)
        ldnq_text_item(&text, " ", "lambda=auto");
    else
        ldnq_text_item(&text, " ", "lambda=%g", job->options.lambda);
    if (s->opset)
        ldnq_text_item(&text, " ", "opset=%zu", s->opset);
    ldnq_text_item(&text, " ", "scale=%.9g", (double)p->scale);
    if (s->mean)
        ldnq_text_item(&text, " ", "mean=%s", s->mean);
    if (s->std)
        ldnq_text_item(&text, " ", "std=%s", s->std);
    if (p->resize)
        ldnq_text_item(&text, " ", "resize=%zu", p->resize);
    if (p->crop)
        ldnq_text_item(&text, " ", "crop=%zu", p->crop);
    if (s->max_samples)
        ldnq_text_item(&text, " ", "max-samples=%zu", s->max_samples);
    note_list(&text, "dim", &s->dims);
    note_list(&text, "skip", &s->skip);
    note_list(&text, "only", &s->only);
    ldnq_text_end(&text);
}

static enum ldnq_status note_run(struct job *job, uint64_t model_hash, struct ldnq_error *err)
{
    struct ldnq_model *model = job->session.model;
    char text[4096];
    uint64_t data_hash;
    LDNQ_TRY(ldnq_samples_hash(job->samples, &data_hash, err));
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.version", LDNQ_VERSION, err));
    describe_options(job, text, sizeof text);
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.options", text, err));
    snprintf(text, sizeof text, "xxh3:%016" PRIx64, model_hash);
    LDNQ_TRY(ldnq_model_set_metadata(model, "ldnq.model", text, err));
    snprintf(text, sizeof text, "xxh3:%016" PRIx64 " samples=%zu", data_hash,
             ldnq_samples_count(job->samples));
    return ldnq_model_set_metadata(model, "ldnq.data", text, err);
}

/* ---- what is said at the end ------------------------------------------------------------ */

/* Layers that someone may expect to be quantized; all of them are in the JSON. */
#define MOST_KEPT_PRINTED ((size_t)8)

static void print_kept(const struct ldnq_quantization *result)
{
    char label[CLI_PLAIN_SIZE];
    for (size_t i = 0; i < result->kept_count && i < MOST_KEPT_PRINTED; i++)
        printf("not quantized: %s '%s': %s\n", result->kept[i].node->op_type,
               cli_plain(result->kept[i].node->label, label), result->kept[i].refusal);
    if (result->kept_count > MOST_KEPT_PRINTED)
        printf("not quantized: %zu more; --json lists them\n",
               result->kept_count - MOST_KEPT_PRINTED);
}

/* How many layers have which codebook, when they differ. */
static void print_codebooks(const struct job *job)
{
    const struct ldnq_quantization *result = job->result;
    const char *comma = "";
    if (ldnq_common_codebook(&result->network))
        return;
    for (const struct ldnq_codebook *const *c = ldnq_codebooks(); *c; c++) {
        size_t count = 0;
        for (size_t i = 0; i < result->network.count; i++)
            count += result->network.layers[i].codebook == *c;
        if (count > 0)
            printf("%s%s in %zu layer%s", comma, (*c)->name, count, count == 1 ? "" : "s");
        comma = count > 0 ? ", " : comma;
    }
    printf("; %.2f bits a weight\n", cli_plan_bits(result));
    if (job->emit.storage == LDNQ_STORAGE_AUTO && job->choice.opset < LDNQ_OPSET_LATEST)
        printf("hint: --opset %d stores each layer's codes in the narrowest type\n",
               LDNQ_OPSET_LATEST);
}

static void print_summary(const struct job *job)
{
    const struct cli_settings *settings = job->session.settings;
    const struct ldnq_quantization *result = job->result;
    const struct ldnq_quantized_layer *worst = &result->network.layers[0];
    size_t weights = 0;
    char label[CLI_PLAIN_SIZE];
    for (size_t i = 0; i < result->network.count; i++) {
        weights += ldnq_layer_elements(&result->network.layers[i].layer);
        if (result->network.layers[i].error > worst->error)
            worst = &result->network.layers[i];
    }
    bool grown = job->bytes_after > job->bytes_before;
    double ratio = (double)job->bytes_before / (double)job->bytes_after;
    size_t samples = ldnq_samples_count(job->samples);
    printf("%s: %zu layer%s, %zu weights, %s in %s, one scale a %s\n", settings->output,
           result->network.count, result->network.count == 1 ? "" : "s", weights,
           weights_name(result), storage_name(job), settings->granularity);
    printf("%zu -> %zu bytes (%.2f times %s), opset %d, %zu sample%s, %.1f s\n", job->bytes_before,
           job->bytes_after, grown ? 1 / ratio : ratio, grown ? "larger" : "smaller",
           job->choice.opset, samples, samples == 1 ? "" : "s", ldnq_now() - job->start);
    printf("largest relative error of a layer's output: %.4f at '%s'\n", worst->error,
           cli_plain(worst->layer.node->label, label));
    if (!isnan(result->output_error))
        printf("relative error of the network's output: %.3g\n", result->output_error);
    if (result->fine_tune.held_out)
        printf("error of the output on %zu held-out samples: %.4f, after %zu steps %.4f\n",
               result->fine_tune.held_out, result->fine_tune.error_start, result->fine_tune.steps,
               result->fine_tune.error);
    print_codebooks(job);
    print_kept(result);
    if (ldnq_common_codebook(&result->network) && job->choice.narrowest != job->choice.dtype)
        printf("hint: these codes fit %s: --storage %s stores them so (opset %d)\n",
               ldnq_dtype_name(job->choice.narrowest), ldnq_dtype_name(job->choice.narrowest),
               job->choice.narrowest_opset);
}

static bool add_layer(cJSON *list, const struct ldnq_quantized_layer *quantized,
                      const struct ldnq_layer_diagnostics *diagnostics)
{
    cJSON *item = cJSON_CreateObject();
    return item && cJSON_AddItemToArray(list, item) && cli_layer_json(item, quantized, diagnostics);
}

static bool add_kept(cJSON *list, const struct ldnq_layer *layer)
{
    cJSON *item = cJSON_CreateObject();
    return item && cJSON_AddItemToArray(list, item) &&
           cJSON_AddStringToObject(item, "node", layer->node->label) &&
           cJSON_AddStringToObject(item, "op", layer->node->op_type) &&
           cJSON_AddStringToObject(item, "reason", layer->refusal);
}

/* null when no sample was held out, as nothing was learned then. */
static bool add_distillation(cJSON *root, const struct ldnq_fine_tune_result *tune)
{
    if (!tune->held_out)
        return cJSON_AddNullToObject(root, "distillation") != NULL;
    cJSON *item = cJSON_AddObjectToObject(root, "distillation");
    return item && cJSON_AddNumberToObject(item, "steps", (double)tune->steps) &&
           cJSON_AddNumberToObject(item, "held_out", (double)tune->held_out) &&
           cJSON_AddNumberToObject(item, "error_start", tune->error_start) &&
           cJSON_AddNumberToObject(item, "error", tune->error);
}

static bool fill_json(cJSON *root, const struct job *job)
{
    const struct cli_settings *settings = job->session.settings;
    bool done =
        cJSON_AddStringToObject(root, "model", settings->models.items[0]) &&
        cJSON_AddStringToObject(root, "output", settings->output) &&
        cJSON_AddStringToObject(root, "weights", weights_name(job->result)) &&
        cJSON_AddNumberToObject(root, "bits", cli_plan_bits(job->result)) &&
        cJSON_AddStringToObject(root, "granularity", settings->granularity) &&
        cJSON_AddStringToObject(root, "solver", job->options.solver->name) &&
        cJSON_AddStringToObject(root, "storage", storage_name(job)) &&
        cJSON_AddNumberToObject(root, "opset", job->choice.opset) &&
        cJSON_AddNumberToObject(root, "samples", (double)ldnq_samples_count(job->samples)) &&
        cJSON_AddNumberToObject(root, "bytes_before", (double)job->bytes_before) &&
        cJSON_AddNumberToObject(root, "bytes_after", (double)job->bytes_after) &&
        cJSON_AddNumberToObject(root, "seconds", ldnq_now() - job->start) &&
        ldnq_json_add_number(root, "output_error", job->result->output_error) &&
        ldnq_json_add_number(root, "output_bound", job->result->output_bound);
    cJSON *list = done ? cJSON_AddArrayToObject(root, "layers") : NULL;
    for (size_t i = 0; list && i < job->result->network.count; i++)
        if (!add_layer(list, &job->result->network.layers[i], &job->result->diagnostics[i]))
            return false;
    if (list && !add_distillation(root, &job->result->fine_tune))
        return false;
    list = list ? cJSON_AddArrayToObject(root, "not_quantized") : NULL;
    for (size_t i = 0; list && i < job->result->kept_count; i++)
        if (!add_kept(list, &job->result->kept[i]))
            return false;
    return list != NULL;
}

static enum ldnq_status print_result(struct job *job, struct ldnq_error *err)
{
    const struct cli_settings *settings = job->session.settings;
    /* A pipe or a device has no size, and may be standard output itself. */
    if (!settings->json && !settings->quiet && job->bytes_after > 0)
        print_summary(job);
    if (!settings->json && !settings->log)
        return LDNQ_OK;
    cJSON *root = cJSON_CreateObject();
    const bool filled = root && fill_json(root, job);
    if (filled)
        cli_log_run(&job->log, root);
    if (settings->json)
        return cli_json_print(root, filled, err);
    cJSON_Delete(root);
    return filled ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

/* ---- the run ------------------------------------------------------------------------------ */

static enum ldnq_status quantize(struct job *job, struct ldnq_error *err)
{
    struct cli_session *session = &job->session;
    const struct cli_settings *settings = session->settings;
    LDNQ_TRY(ldnq_model_load(settings->models.items[0], &session->model, err));
    job->bytes_before = ldnq_model_bytes(session->model);
    uint64_t model_hash = ldnq_model_hash(session->model);
    const struct ldnq_codebook *widest;
    LDNQ_TRY(cli_plan_read(&job->plan, session, &job->options, &widest, err));
    LDNQ_TRY(ldnq_emit_prepare(session->model, widest, job->options.granularity, &job->emit,
                               &job->choice, err));
    LDNQ_TRY(cli_session_prepare(session, err));
    LDNQ_TRY(cli_session_samples(session, settings->calib, false, &job->samples, err));
    if (session->settings->augment == CLI_UNSET && !ldnq_samples_are_pictures(job->samples))
        job->options.copies = 1;
    LDNQ_TRY(cli_plan_make(&job->plan, session, job->samples, &job->choice, &job->options, err));
    if (job->plan.made && settings->time_limit > 0) /* layers then get what is left */
        job->options.max_seconds = fmax(1e-3, settings->time_limit - (ldnq_now() - job->start));
    LDNQ_TRY(ldnq_quantize_graph(session->graph, job->samples, &job->options, session->arena,
                                 &job->result, err));
    LDNQ_TRY(ldnq_emit(session->model, &job->result->network, &job->choice, err));
    LDNQ_TRY(note_run(job, model_hash, err));
    LDNQ_TRY(ldnq_model_save(session->model, settings->output, err));
    struct stat info;
    if (stat(settings->output, &info) == 0 && S_ISREG(info.st_mode))
        job->bytes_after = (size_t)info.st_size;
    if (settings->report)
        LDNQ_TRY(cli_run_report(session, job->samples, &job->log.curves, err));
    cli_progress_finish(&session->progress);
    return print_result(job, err);
}

static enum ldnq_status run_quantize(const struct cli_settings *settings, struct ldnq_error *err)
{
    struct job job = { .start = ldnq_now() };
    LDNQ_TRY(check_settings(settings, err));
    enum ldnq_status status = cli_session_init(&job.session, settings, err);
    if (status == LDNQ_OK)
        status = cli_choose(settings, &job.options, &job.emit, err);
    job.options.pool = job.session.pool;
    job.options.sink = &job.session.progress.sink;
    if (status == LDNQ_OK)
        status = cli_log_open(&job.log, &job.session, &job.options, err);
    if (status == LDNQ_OK)
        status = quantize(&job, err);
    struct ldnq_error closing;
    const enum ldnq_status closed = cli_log_close(&job.log, &closing);
    if (status == LDNQ_OK && closed != LDNQ_OK)
        status = ldnq_fail(err, closed, "%s", closing.message);
    ldnq_samples_destroy(job.samples);
    cli_session_finish(&job.session);
    return status;
}

static const char *const options[] = {
    "--output",     "--calib",   "--weights", "--budget",      "--plan",       "--granularity",
    "--block-size", "--solver",  "--rho",     "--rho-from",    "--lambda",     "--effort",
    "--augment",    "--cascade", "--distill", "--refine",      "--time-limit", "--skip",
    "--only",       "--storage", "--opset",   "--mean",        "--std",        "--scale",
    "--resize",     "--crop",    "--dim",     "--max-samples", "--max-mem",    "--seed",
    "--threads",    "--log",     "--report",  "--json",        "--verbose",    "--quiet",
    NULL,
};

const struct cli_command cli_cmd_quantize = {
    .name = "quantize",
    .arguments = "MODEL -o OUT --calib PATH [options]",
    .summary = "float ONNX file and samples in, QDQ ONNX file out",
    .details = "Replaces the weight of every Conv, Gemm and MatMul by low-bit integers and a\n"
               "DequantizeLinear, fitted layer by layer so that each layer's output on the\n"
               "samples stays what it was. Labels are not needed. OUT appears whole or not at\n"
               "all.\n\n"
               "  ldnq quantize net.onnx -o net-int4.onnx --calib images/ --weights int4 \\\n"
               "       --mean .485,.456,.406 --std .229,.224,.225\n"
               "  ldnq quantize net.onnx -o net-t.onnx --calib images/ --skip '/head/*'\n\n"
               "'ldnq inspect MODEL' tells which layers there are; 'ldnq eval' what was kept.",
    .options = options,
    .models_min = 1,
    .models_max = 1,
    .run = run_quantize,
};
