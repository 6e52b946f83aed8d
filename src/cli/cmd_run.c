/* cmd_run.c: the reference executor on arrays from files. */
#include "calib/calib.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "cli/json.h"
#include "cli/options.h"
#include "cli/plain.h"
#include "cli/session.h"

struct job {
    struct cli_session session;
    struct ldnq_tensor **inputs;
    struct ldnq_exec *exec;
    const char **paths; /* of the outputs */
};

static enum ldnq_status no_such_input(const struct ldnq_graph *graph, const char *name,
                                      struct ldnq_error *err)
{
    char list[1024];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < graph->input_count; i++)
        ldnq_text_item(&text, ", ", "'%s'", graph->inputs[i]->name);
    return ldnq_fail(err, LDNQ_USAGE, "%s: has no input '%s'; its inputs are %s", graph->file, name,
                     list);
}

/* "NAME=FILE", or "FILE" alone for a model with one input. */
static enum ldnq_status find_input(const struct ldnq_graph *graph, const char *text, size_t *index,
                                   const char **path, struct ldnq_error *err)
{
    /* A name may hold '=' itself, so it is looked for rather than cut off. */
    for (size_t i = 0; i < graph->input_count; i++) {
        size_t length = strlen(graph->inputs[i]->name);
        if (strncmp(text, graph->inputs[i]->name, length) == 0 && text[length] == '=') {
            *index = i;
            *path = text + length + 1;
            return LDNQ_OK;
        }
    }
    char name[256];
    struct stat info;
    *index = 0;
    *path = text;
    if (graph->input_count == 1 && (!strchr(text, '=') || stat(text, &info) == 0))
        return LDNQ_OK;
    if (cli_split(text, name, sizeof name, path))
        return no_such_input(graph, name, err);
    return ldnq_fail(err, LDNQ_USAGE,
                     "--input '%s': the model has %zu inputs, so it takes "
                     "NAME=FILE.npy",
                     text, graph->input_count);
}

static enum ldnq_status read_inputs(struct job *job, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = job->session.graph;
    struct ldnq_arena *arena = job->session.arena;
    const struct cli_list *list = &job->session.settings->inputs;
    job->inputs = ldnq_arena_alloc(arena, graph->input_count, sizeof *job->inputs, err);
    if (!job->inputs)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < list->count; i++) {
        size_t index;
        const char *path;
        const struct ldnq_tensor *converted;
        LDNQ_TRY(find_input(graph, list->items[i], &index, &path, err));
        if (job->inputs[index])
            return ldnq_fail(err, LDNQ_USAGE, "%s: input '%s' is given twice", graph->file,
                             graph->inputs[index]->name);
        LDNQ_TRY(ldnq_npy_read(path, arena, &job->inputs[index], err));
        enum ldnq_status status = ldnq_tensor_convert(
            job->inputs[index], graph->inputs[index]->dtype, arena, &converted, err);
        if (status != LDNQ_OK)
            return ldnq_fail_within(err, status, "%s", path);
        *job->inputs[index] = *converted;
    }
    for (size_t i = 0; i < graph->input_count; i++)
        if (!job->inputs[i])
            return ldnq_fail(err, LDNQ_USAGE, "%s: input '%s' is missing; give --input %s=FILE.npy",
                             graph->file, graph->inputs[i]->name, graph->inputs[i]->name);
    return LDNQ_OK;
}

/* A name becomes a file's name; what can't stand there becomes '_'. */
static enum ldnq_status name_outputs(struct job *job, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = job->session.graph;
    struct ldnq_arena *arena = job->session.arena;
    const char *folder = job->session.settings->output;
    job->paths = ldnq_arena_alloc(arena, graph->output_count, sizeof *job->paths, err);
    if (!job->paths)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->output_count; i++) {
        char *name = ldnq_arena_strdup(arena, graph->outputs[i]->name, err);
        if (!name)
            return LDNQ_NOMEM;
        for (char *at = name; *at; at++)
            if (*at == '/' || *at == '\\' || (at == name && *at == '.'))
                *at = '_';
        job->paths[i] = ldnq_arena_printf(arena, err, "%s/%s.npy", folder, name);
        for (size_t j = 0; job->paths[i] && j < i; j++)
            if (strcmp(job->paths[i], job->paths[j]) == 0)
                job->paths[i] = ldnq_arena_printf(arena, err, "%s/%s.%zu.npy", folder, name, i);
        if (!job->paths[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

static enum ldnq_status write_outputs(struct job *job, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = job->session.graph;
    const char *folder = job->session.settings->output;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return ldnq_fail(err, LDNQ_IO, "%s: the folder can't be made: %s", folder, strerror(errno));
    LDNQ_TRY(name_outputs(job, err));
    for (size_t i = 0; i < graph->output_count; i++)
        LDNQ_TRY(ldnq_npy_write(job->paths[i], ldnq_exec_value(job->exec, graph->outputs[i]), err));
    return LDNQ_OK;
}

static bool add_output(cJSON *list, const struct job *job, size_t i)
{
    const struct ldnq_value *value = job->session.graph->outputs[i];
    const struct ldnq_tensor *tensor = ldnq_exec_value(job->exec, value);
    cJSON *item = cJSON_CreateObject();
    if (!item || !cJSON_AddItemToArray(list, item) ||
        !cJSON_AddStringToObject(item, "name", value->name) ||
        !cJSON_AddStringToObject(item, "file", job->paths[i]) ||
        !cJSON_AddStringToObject(item, "dtype", ldnq_dtype_name(tensor->dtype)))
        return false;
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (int d = 0; shape && d < tensor->shape.rank; d++)
        if (!cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape.dim[d])))
            return false;
    return shape != NULL;
}

static enum ldnq_status print_result(const struct job *job, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = job->session.graph;
    if (!job->session.settings->json) {
        for (size_t i = 0; !job->session.settings->quiet && i < graph->output_count; i++) {
            const struct ldnq_tensor *tensor = ldnq_exec_value(job->exec, graph->outputs[i]);
            char shape[LDNQ_SHAPE_TEXT], name[CLI_PLAIN_SIZE];
            printf("%s: %s %s %s\n", job->paths[i], cli_plain(graph->outputs[i]->name, name),
                   ldnq_dtype_name(tensor->dtype),
                   ldnq_shape_print(&tensor->shape, NULL, shape, sizeof shape));
        }
        return LDNQ_OK;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON *list = root ? cJSON_AddArrayToObject(root, "outputs") : NULL;
    bool filled = list != NULL;
    for (size_t i = 0; filled && i < graph->output_count; i++)
        filled = add_output(list, job, i);
    return cli_json_print(root, filled, err);
}

static enum ldnq_status run_model(struct job *job, struct ldnq_error *err)
{
    struct cli_session *session = &job->session;
    LDNQ_TRY(ldnq_model_load(session->settings->models.items[0], &session->model, err));
    LDNQ_TRY(cli_session_prepare(session, err));
    LDNQ_TRY(read_inputs(job, err));
    LDNQ_TRY(ldnq_exec_create(session->graph, session->pool, &job->exec, err));
    LDNQ_TRY(ldnq_exec_run(job->exec, job->inputs, err));
    LDNQ_TRY(write_outputs(job, err));
    return print_result(job, err);
}

static enum ldnq_status run_run(const struct cli_settings *settings, struct ldnq_error *err)
{
    struct job job = { 0 };
    if (!settings->output)
        return ldnq_fail(err, LDNQ_USAGE, "run: --output DIR is missing");
    enum ldnq_status status = cli_session_init(&job.session, settings, err);
    if (status == LDNQ_OK)
        status = run_model(&job, err);
    ldnq_exec_destroy(job.exec);
    cli_session_finish(&job.session);
    return status;
}

static const char *const options[] = { "--input", "--output", "--dim", "--threads",
                                       "--json",  "--quiet",  NULL };

const struct cli_command cli_cmd_run = {
    .name = "run",
    .arguments = "MODEL --input [NAME=]FILE.npy ... --output DIR",
    .summary = "run a model on arrays, write each output as .npy",
    .details = "Executes the model, float or QDQ, and writes OUTPUT_NAME.npy for each graph\n"
               "output into DIR ('/' in a name becomes '_').\n\n"
               "  ldnq run net.onnx --input image.npy --output out/\n"
               "  ldnq run net.onnx --input ids=ids.npy --input mask=mask.npy --output out/",
    .options = options,
    .models_min = 1,
    .models_max = 1,
    .run = run_run,
};
