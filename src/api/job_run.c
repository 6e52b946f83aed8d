/* SPDX-License-Identifier: Apache-2.0 */
/* job_run.c: one run of a model on arrays, from memory and from files. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/job.h"
#include "api/json_graph.h"
#include "api/output_files.h"
#include "api/result.h"
#include "base/json_add.h"
#include "base/text.h"
#include "exec/exec.h"
#include "passes/passes.h"

struct run_job {
    struct ldnq_job job;
    struct ldnq_job_model loaded;
    struct ldnq_tensor **inputs; /* by input of the graph */
    const char **sources;        /* by input: its file, or its name */
    struct ldnq_exec *exec;
    const char **paths; /* files of the outputs; NULL without the option "output" */
};

/* ---- inputs ------------------------------------------------------------------------------- */

static enum ldnq_status fail_unknown_input(const struct ldnq_graph *graph, const char *name,
                                           struct ldnq_error *err)
{
    char list[1024];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < graph->input_count; i++)
        ldnq_text_append_item(&text, ", ", "'%s'", graph->inputs[i]->name);
    return ldnq_fail(err, LDNQ_USAGE, "%s: has no input '%s'; its inputs are %s", graph->file, name,
                     list);
}

/* Reads "NAME=FILE", or "FILE" alone for a model with one input. */
static enum ldnq_status parse_input_argument(const struct ldnq_graph *graph, const char *text,
                                             size_t *index, const char **path,
                                             struct ldnq_error *err)
{
    /* A name may hold '=' itself, so it is looked for rather than cut off. */
    for (size_t i = 0; i < graph->input_count; i++) {
        const size_t length = strlen(graph->inputs[i]->name);
        if (strncmp(text, graph->inputs[i]->name, length) == 0 && text[length] == '=') {
            *index = i;
            *path = text + length + 1;
            return LDNQ_OK;
        }
    }
    const char *equals = strrchr(text, '=');
    struct stat info;
    *index = 0;
    *path = text;
    if (graph->input_count == 1 && (!equals || stat(text, &info) == 0))
        return LDNQ_OK;
    char name[256];
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof name)
        return ldnq_fail(err, LDNQ_USAGE,
                         "input '%s': the model has %zu inputs, so it takes NAME=FILE.npy", text,
                         graph->input_count);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    return fail_unknown_input(graph, name, err);
}

/* Binds the array to the graph's input with this index. */
static enum ldnq_status bind_input(struct run_job *run, size_t index, struct ldnq_tensor *tensor,
                                   const char *source, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    const struct ldnq_tensor *converted;
    if (run->inputs[index])
        return ldnq_fail(err, LDNQ_USAGE, "%s: input '%s' is given twice", graph->file,
                         graph->inputs[index]->name);
    enum ldnq_status status =
        ldnq_tensor_convert(tensor, graph->inputs[index]->dtype, run->job.arena, &converted, err);
    if (status != LDNQ_OK)
        return ldnq_fail_within(err, status, "%s", source);
    *tensor = *converted;
    run->inputs[index] = tensor;
    run->sources[index] = source;
    return LDNQ_OK;
}

static enum ldnq_status read_input_files(struct run_job *run, struct ldnq_error *err)
{
    size_t count;
    const char *const *texts = ldnq_option_list(run->job.options, OPTION_INPUT, &count);
    for (size_t i = 0; i < count; i++) {
        size_t index;
        const char *path;
        struct ldnq_tensor *tensor;
        LDNQ_TRY(parse_input_argument(run->loaded.graph, texts[i], &index, &path, err));
        if (!run->inputs[index])
            LDNQ_TRY(ldnq_npy_read(path, run->job.arena, &tensor, err));
        else
            tensor = run->inputs[index]; /* bind_input refuses this input */
        LDNQ_TRY(bind_input(run, index, tensor, path, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status bind_input_arrays(struct run_job *run, const struct ldnq_ndarray *arrays,
                                          size_t count, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    struct ldnq_tensor *tensors = ldnq_arena_alloc(run->job.arena, count, sizeof *tensors, err);
    if (!tensors)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const char *name = arrays[i].name;
        size_t index = 0;
        LDNQ_TRY(ldnq_ndarray_tensor(&arrays[i], true, &tensors[i], err));
        while (name && index < graph->input_count && strcmp(graph->inputs[index]->name, name) != 0)
            index++;
        if (index == graph->input_count || (!name && graph->input_count != 1))
            return fail_unknown_input(graph, name ? name : "", err);
        LDNQ_TRY(bind_input(run, index, &tensors[i], graph->inputs[index]->name, err));
    }
    return LDNQ_OK;
}

static enum ldnq_status check_inputs(const struct run_job *run, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    for (size_t i = 0; i < graph->input_count; i++)
        if (!run->inputs[i])
            return ldnq_fail(err, LDNQ_USAGE, "%s: input '%s' is missing", graph->file,
                             graph->inputs[i]->name);
    return LDNQ_OK;
}

/* Names the inputs where a node can't compute with them. */
static enum ldnq_status run_on_inputs(const struct run_job *run, struct ldnq_error *err)
{
    char list[1024];
    struct ldnq_text text;
    struct ldnq_error reason;
    const enum ldnq_status status = ldnq_exec_run(run->exec, run->inputs, &reason);
    if (status == LDNQ_OK)
        return status;
    if (status != LDNQ_DATA)
        return ldnq_fail(err, status, "%s", reason.message);
    ldnq_text_init(&text, list, sizeof list);
    for (size_t i = 0; i < run->loaded.graph->input_count; i++)
        ldnq_text_append_item(&text, ", ", "%s", run->sources[i]);
    ldnq_text_append_omitted_count(&text);
    return ldnq_fail(err, status, "%s (with %s)", reason.message, list);
}

/* ---- outputs ------------------------------------------------------------------------------ */

/* The name of an output becomes that of a file; characters that can't be there become '_'. */
static enum ldnq_status name_output_files(struct run_job *run, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    const char *folder = ldnq_option_text(run->job.options, OPTION_OUTPUT);
    if (!folder)
        return LDNQ_OK;
    struct ldnq_arena *arena = run->job.arena;
    run->paths = ldnq_arena_alloc(arena, graph->output_count, sizeof *run->paths, err);
    if (!run->paths)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->output_count; i++) {
        char *name = ldnq_arena_strdup(arena, graph->outputs[i]->name, err);
        if (!name)
            return LDNQ_NOMEM;
        ldnq_text_replace_invisible(name);
        for (char *at = name; *at; at++)
            if (*at == '?' || *at == '/' || *at == '\\' || (at == name && *at == '.'))
                *at = '_';
        run->paths[i] = ldnq_arena_printf(arena, err, "%s/%s.npy", folder, name);
        for (size_t j = 0; run->paths[i] && j < i; j++)
            if (strcmp(run->paths[i], run->paths[j]) == 0)
                run->paths[i] = ldnq_arena_printf(arena, err, "%s/%s.%zu.npy", folder, name, i);
        if (!run->paths[i])
            return LDNQ_NOMEM;
    }
    return LDNQ_OK;
}

/* Types that no array file has are refused before the work. */
static enum ldnq_status check_output_types(const struct run_job *run, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    for (size_t i = 0; run->paths && i < graph->output_count; i++) {
        const enum ldnq_dtype dtype = graph->outputs[i]->dtype;
        if (dtype != LDNQ_UNDEFINED && dtype != LDNQ_BFLOAT16 && !ldnq_npy_has_type(dtype))
            return ldnq_fail(err, LDNQ_UNSUPPORTED,
                             "%s: output '%s' is %s, which a .npy file can't hold", graph->file,
                             graph->outputs[i]->name, ldnq_dtype_name(dtype));
    }
    return LDNQ_OK;
}

/* The outputs must not overwrite the model or an input. Each output is checked on its own: they
 * can be more than a list holds. */
static enum ldnq_status check_output_paths(const struct run_job *run, const struct ldnq_onnx *onnx,
                                           struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    size_t count, index;
    const char *const *texts = ldnq_option_list(run->job.options, OPTION_INPUT, &count);
    for (size_t i = 0; run->paths && i < graph->output_count; i++) {
        struct ldnq_output_files file = { .count = 1 };
        file.list[0] = (struct ldnq_output_file){ .option = "output", .path = run->paths[i] };
        ldnq_file_identify(run->paths[i], &file.list[0].id);
        LDNQ_TRY(ldnq_output_files_check_model(&file, onnx, run->loaded.model, err));
        for (size_t k = 0; k < count; k++) {
            const char *path;
            LDNQ_TRY(parse_input_argument(graph, texts[k], &index, &path, err));
            LDNQ_TRY(ldnq_output_files_check_path(&file, "an input that is read", path, err));
        }
    }
    return LDNQ_OK;
}

/* An array file has no bfloat16: its values are written as float32, which holds them exactly. */
static enum ldnq_status write_output_file(const struct run_job *run, size_t i,
                                          struct ldnq_error *err)
{
    const struct ldnq_tensor *tensor =
        ldnq_exec_find_value(run->exec, run->loaded.graph->outputs[i]);
    if (tensor->dtype == LDNQ_BFLOAT16)
        LDNQ_TRY(ldnq_tensor_convert(tensor, LDNQ_FLOAT, run->job.arena, &tensor, err));
    return ldnq_npy_write(run->paths[i], tensor, err);
}

static enum ldnq_status write_files(struct run_job *run, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    const char *folder = ldnq_option_text(run->job.options, OPTION_OUTPUT);
    if (!folder)
        return LDNQ_OK;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return ldnq_fail(err, LDNQ_IO, "%s: the folder can't be created: %s", folder,
                         strerror(errno));
    for (size_t i = 0; i < graph->output_count; i++)
        LDNQ_TRY(write_output_file(run, i, err));
    return LDNQ_OK;
}

/* Copies the outputs, as the executor frees its own when it ends. */
static enum ldnq_status copy_outputs_to_result(const struct run_job *run,
                                               struct ldnq_result *result, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    LDNQ_TRY(ldnq_arena_create(&result->arena, err));
    result->arrays =
        ldnq_arena_alloc(result->arena, graph->output_count, sizeof *result->arrays, err);
    if (!result->arrays)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < graph->output_count; i++) {
        struct ldnq_tensor *copy;
        const char *name = ldnq_arena_strdup(result->arena, graph->outputs[i]->name, err);
        if (!name)
            return LDNQ_NOMEM;
        LDNQ_TRY(ldnq_tensor_copy(result->arena, ldnq_exec_find_value(run->exec, graph->outputs[i]),
                                  &copy, err));
        result->arrays[result->array_count++] = (struct ldnq_ndarray){
            .name = name,
            .dtype = ldnq_dtype_name(copy->dtype),
            .shape = copy->shape.dim,
            .rank = (size_t)copy->shape.rank,
            .data = copy->data,
        };
    }
    return LDNQ_OK;
}

static bool fill_result_json(cJSON *root, const struct run_job *run)
{
    const struct ldnq_graph *graph = run->loaded.graph;
    cJSON *list = cJSON_AddArrayToObject(root, "outputs");
    for (size_t i = 0; list && i < graph->output_count; i++) {
        const struct ldnq_tensor *tensor = ldnq_exec_find_value(run->exec, graph->outputs[i]);
        cJSON *item = ldnq_json_append_object(list);
        if (!item || !ldnq_json_add_text(item, "name", graph->outputs[i]->name) ||
            !ldnq_json_add_text(item, "file", run->paths ? run->paths[i] : NULL) ||
            !ldnq_json_add_text(item, "dtype", ldnq_dtype_name(tensor->dtype)) ||
            !ldnq_json_add_shape(item, "shape", &tensor->shape, NULL))
            return false;
    }
    return list != NULL;
}

/* ---- the job ------------------------------------------------------------------------------ */

static enum ldnq_status run_model(struct run_job *run, const struct ldnq_onnx *onnx,
                                  const struct ldnq_ndarray *arrays, size_t count,
                                  struct ldnq_result *result, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_job_load(&run->job, onnx, &run->loaded, err));
    struct ldnq_graph *graph = run->loaded.graph;
    LDNQ_TRY(ldnq_passes_run(graph, err));
    run->inputs = ldnq_arena_alloc(run->job.arena, graph->input_count, sizeof *run->inputs, err);
    run->sources = ldnq_arena_alloc(run->job.arena, graph->input_count, sizeof *run->sources, err);
    if (!run->inputs || !run->sources)
        return LDNQ_NOMEM;
    LDNQ_TRY(bind_input_arrays(run, arrays, count, err));
    LDNQ_TRY(read_input_files(run, err));
    LDNQ_TRY(check_inputs(run, err));
    LDNQ_TRY(name_output_files(run, err));
    LDNQ_TRY(check_output_types(run, err));
    LDNQ_TRY(check_output_paths(run, onnx, err));
    LDNQ_TRY(ldnq_exec_create(graph, run->job.pool, &run->exec, err));
    LDNQ_TRY(run_on_inputs(run, err));
    LDNQ_TRY(write_files(run, err));
    LDNQ_TRY(copy_outputs_to_result(run, result, err));
    cJSON *root = cJSON_CreateObject();
    return ldnq_result_print(result, root, root && fill_result_json(root, run), err);
}

enum ldnq_status ldnq_run(const struct ldnq_onnx *onnx, const struct ldnq_ndarray *inputs,
                          size_t input_count, const struct ldnq_options *options,
                          struct ldnq_result **out, struct ldnq_error *err)
{
    struct run_job run = { .exec = NULL };
    struct ldnq_result *result = NULL;
    enum ldnq_status status = ldnq_job_init(&run.job, options, err);
    if (status == LDNQ_OK)
        status = ldnq_result_create(&result, err);
    if (status == LDNQ_OK)
        status = run_model(&run, onnx, inputs, input_count, result, err);
    ldnq_exec_destroy(run.exec);
    ldnq_model_destroy(run.loaded.model);
    ldnq_job_finish(&run.job);
    return ldnq_result_return_or_destroy(result, status, out);
}
