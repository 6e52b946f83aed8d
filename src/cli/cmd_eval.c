/* cmd_eval.c: top-1 and top-5 of models on labelled samples, side by side. */
#include "calib/calib.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/size.h"
#include "cli/json.h"
#include "cli/session.h"
#include "metric/output_metrics.h"

#define BATCH ((size_t)20)
#define TOP ((size_t)5)

struct score {
    const char *file;
    size_t samples, top1, top5;
    size_t *predicted; /* by sample */
    double seconds;    /* of the executor alone */
};

struct job {
    struct cli_session session;
    struct ldnq_samples *samples;
    struct ldnq_exec *exec;
    struct score *score;
    size_t model, model_count; /* which of them this is */
};

/* ---- scoring ------------------------------------------------------------------------ */

/* How many of a row's elements rank in front of `label`; of equal ones the first does. */
static size_t rank_of(const float *row, size_t classes, size_t label)
{
    size_t rank = 0;
    for (size_t i = 0; i < classes; i++)
        rank += row[i] > row[label] || (row[i] == row[label] && i < label);
    return rank;
}

static enum ldnq_status check_output(const struct job *job, const struct ldnq_tensor *output,
                                     size_t count, size_t *classes, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = job->session.graph;
    char shape[LDNQ_SHAPE_TEXT];
    size_t elements = ldnq_tensor_count(output);
    if (output->dtype != LDNQ_FLOAT || output->shape.rank < 1 || elements < 2 * count ||
        elements % count != 0)
        return ldnq_fail(err, LDNQ_UNSUPPORTED,
                         "%s: output '%s' is %s %s, which is not one score "
                         "a class for each of %zu samples",
                         graph->file, graph->outputs[0]->name, ldnq_dtype_name(output->dtype),
                         ldnq_shape_print(&output->shape, NULL, shape, sizeof shape), count);
    *classes = elements / count;
    return LDNQ_OK;
}

static enum ldnq_status score_batch(struct job *job, size_t first, size_t count,
                                    struct ldnq_error *err)
{
    struct score *score = job->score;
    const struct ldnq_tensor *output = ldnq_exec_value(job->exec, job->session.graph->outputs[0]);
    size_t classes = 0;
    LDNQ_TRY(check_output(job, output, count, &classes, err));
    for (size_t i = 0; i < count; i++) {
        const float *row = (const float *)output->data + i * classes;
        int64_t label = ldnq_samples_label(job->samples, first + i);
        if (label < 0 || (uint64_t)label >= classes)
            return ldnq_fail(err, LDNQ_DATA, "%s: class %" PRId64 " where '%s' has %zu classes",
                             ldnq_samples_name(job->samples, first + i), label,
                             job->session.graph->outputs[0]->name, classes);
        size_t rank = rank_of(row, classes, (size_t)label);
        score->top1 += rank == 0;
        score->top5 += rank < TOP;
        score->predicted[first + i] = ldnq_best_class(row, classes);
    }
    return LDNQ_OK;
}

static enum ldnq_status run_batch(struct job *job, struct ldnq_tensor *const *inputs, size_t first,
                                  size_t count, struct ldnq_error *err)
{
    double start = ldnq_now();
    LDNQ_TRY(ldnq_exec_run(job->exec, inputs, err));
    job->score->seconds += ldnq_now() - start;
    return score_batch(job, first, count, err);
}

static enum ldnq_status run_all(struct job *job, struct ldnq_error *err)
{
    size_t samples = job->score->samples;
    size_t batch = ldnq_samples_batch(job->samples, job->session.graph, BATCH);
    for (size_t first = 0; first < samples; first += batch) {
        struct ldnq_sample_batch read;
        size_t count = ldnq_size_min(batch, samples - first);
        LDNQ_TRY(ldnq_sample_batch_read(job->samples, first, count, job->session.pool, &read, err));
        enum ldnq_status status = run_batch(job, read.inputs, first, count, err);
        ldnq_exec_reset(job->exec);
        ldnq_arena_destroy(read.arena);
        LDNQ_TRY(status);
        LDNQ_TRY(ldnq_sink_progress(&job->session.progress.sink, "eval", job->score->file,
                                    job->model * samples + first + count,
                                    job->model_count * samples, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status score_model(struct job *job, struct ldnq_error *err)
{
    struct cli_session *session = &job->session;
    LDNQ_TRY(ldnq_model_load(job->score->file, &session->model, err));
    LDNQ_TRY(cli_session_prepare(session, err));
    LDNQ_TRY(cli_session_samples(session, session->settings->data, true, &job->samples, err));
    job->score->samples = ldnq_samples_count(job->samples);
    job->score->predicted = ldnq_calloc(job->score->samples, sizeof *job->score->predicted);
    if (!job->score->predicted)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    LDNQ_TRY(ldnq_exec_create(session->graph, session->pool, &job->exec, err));
    return run_all(job, err);
}

/* ---- output -------------------------------------------------------------------------- */

static double percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Samples in which two models name the same class, in percent. */
static double agreement(const struct score *a, const struct score *b)
{
    size_t same = 0;
    for (size_t i = 0; i < a->samples; i++)
        same += a->predicted[i] == b->predicted[i];
    return percent(same, a->samples);
}

static void print_table(const struct score *scores, size_t count)
{
    printf("%8s %8s %9s %9s  %s\n", "top-1", "top-5", "samples", "seconds", "model");
    for (size_t i = 0; i < count; i++)
        printf("%7.2f%% %7.2f%% %9zu %9.2f  %s\n", percent(scores[i].top1, scores[i].samples),
               percent(scores[i].top5, scores[i].samples), scores[i].samples, scores[i].seconds,
               scores[i].file);
    for (size_t i = 1; i < count; i++)
        printf("agreement of %s with %s: %.2f%%\n", scores[i].file, scores[0].file,
               agreement(&scores[0], &scores[i]));
}

static bool add_score(cJSON *list, const struct score *score)
{
    cJSON *item = cJSON_CreateObject();
    return item && cJSON_AddItemToArray(list, item) &&
           cJSON_AddStringToObject(item, "file", score->file) &&
           cJSON_AddNumberToObject(item, "top1", percent(score->top1, score->samples)) &&
           cJSON_AddNumberToObject(item, "top5", percent(score->top5, score->samples)) &&
           cJSON_AddNumberToObject(item, "samples", (double)score->samples) &&
           cJSON_AddNumberToObject(item, "seconds", score->seconds);
}

/* null for one model, a number for two, a list (each with the first) for more. */
static bool add_agreement(cJSON *root, const struct score *scores, size_t count)
{
    if (count == 1)
        return cJSON_AddNullToObject(root, "agreement") != NULL;
    if (count == 2)
        return cJSON_AddNumberToObject(root, "agreement", agreement(&scores[0], &scores[1]));
    cJSON *list = cJSON_AddArrayToObject(root, "agreement");
    for (size_t i = 1; list && i < count; i++)
        if (!cJSON_AddItemToArray(list, cJSON_CreateNumber(agreement(&scores[0], &scores[i]))))
            return false;
    return list != NULL;
}

static enum ldnq_status print_json(const struct score *scores, size_t count, struct ldnq_error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *list = root ? cJSON_AddArrayToObject(root, "models") : NULL;
    bool filled = list != NULL;
    for (size_t i = 0; filled && i < count; i++)
        filled = add_score(list, &scores[i]);
    filled = filled && add_agreement(root, scores, count);
    return cli_json_print(root, filled, err);
}

/* ---- the run --------------------------------------------------------------------------- */

static enum ldnq_status score_all(const struct cli_settings *settings, struct score *scores,
                                  struct ldnq_error *err)
{
    for (size_t i = 0; i < settings->models.count; i++) {
        struct job job = { .score = &scores[i], .model = i, .model_count = settings->models.count };
        scores[i].file = settings->models.items[i];
        enum ldnq_status status = cli_session_init(&job.session, settings, err);
        if (status == LDNQ_OK)
            status = score_model(&job, err);
        ldnq_exec_destroy(job.exec);
        ldnq_samples_destroy(job.samples);
        cli_session_finish(&job.session);
        LDNQ_TRY(status);
    }
    return LDNQ_OK;
}

static enum ldnq_status run_eval(const struct cli_settings *settings, struct ldnq_error *err)
{
    size_t count = settings->models.count;
    if (!settings->data)
        return ldnq_fail(err, LDNQ_USAGE, "eval: --data PATH is missing: the labelled samples");
    struct score *scores = ldnq_calloc(count, sizeof *scores);
    if (!scores)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    enum ldnq_status status = score_all(settings, scores, err);
    if (status == LDNQ_OK && settings->json)
        status = print_json(scores, count, err);
    else if (status == LDNQ_OK)
        print_table(scores, count);
    for (size_t i = 0; i < count; i++)
        ldnq_free(scores[i].predicted);
    ldnq_free(scores);
    return status;
}

static const char *const options[] = { "--data",   "--mean",    "--std",  "--scale",
                                       "--resize", "--crop",    "--dim",  "--max-samples",
                                       "--seed",   "--threads", "--json", "--quiet",
                                       NULL };

const struct cli_command cli_cmd_eval = {
    .name = "eval",
    .arguments = "MODEL [MODEL ...] --data PATH [options]",
    .summary = "top-1 and top-5 accuracy, models side by side",
    .details = "Runs each model on labelled samples. With more than one model also says in how\n"
               "many samples each names the same class as the first.\n\n"
               "  ldnq eval net.onnx net-int4.onnx --data images/ \\\n"
               "       --mean .485,.456,.406 --std .229,.224,.225",
    .options = options,
    .models_min = 1,
    .models_max = SIZE_MAX,
    .run = run_eval,
};
