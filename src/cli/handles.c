/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/handles.h"

#include <stdlib.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/standard_streams.h"

static bool is_standard_input(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

/* A second reader would find nothing. */
static enum ldnq_status claim_standard_input(struct cli_handles *handles, struct ldnq_error *err)
{
    if (handles->has_standard_input)
        return cli_fail(
            err, LDNQ_USAGE,
            "'-' stands for standard input, which has one model or one file of samples");
    handles->has_standard_input = true;
    return LDNQ_OK;
}

static enum ldnq_status open_model(struct cli_handles *handles, const char *path, size_t index,
                                   struct ldnq_error *err)
{
    size_t size;
    if (!is_standard_input(path))
        return ldnq_onnx_from_path(path, &handles->models[index], err);
    enum ldnq_status status = claim_standard_input(handles, err);
    if (status == LDNQ_OK)
        status = cli_read_standard_input(&handles->standard_input, &size, err);
    return status == LDNQ_OK ? ldnq_onnx_from_bytes(handles->standard_input, size, "standard input",
                                                    &handles->models[index], err)
                             : status;
}

/* *path becomes one that the library can open. */
static enum ldnq_status resolve_sample_path(struct cli_handles *handles, const char **path,
                                            struct ldnq_error *err)
{
    if (!is_standard_input(*path))
        return LDNQ_OK;
    const enum ldnq_status status = claim_standard_input(handles, err);
    *path = cli_standard_input_path;
    return status == LDNQ_OK ? cli_make_standard_input_a_file(err) : status;
}

static enum ldnq_status open_samples(struct cli_handles *handles, const struct cli_line *line,
                                     const char *option, struct ldnq_error *err)
{
    enum ldnq_status status = LDNQ_OK;
    const char *path;
    for (size_t i = 0; status == LDNQ_OK; i++) {
        path = ldnq_options_get(line->options, option, i);
        if (!path)
            break;
        status = resolve_sample_path(handles, &path, err);
        if (status == LDNQ_OK)
            status = i == 0 ? ldnq_dataset_from_path(path, &handles->samples, err)
                            : ldnq_dataset_add_path(handles->samples, path, err);
    }
    return status;
}

static enum ldnq_status resolve_goal_data(struct cli_handles *handles, const struct cli_line *line,
                                          struct ldnq_error *err)
{
    const char *path = cli_line_text(line, "goal-data");
    if (!is_standard_input(path))
        return LDNQ_OK;
    const enum ldnq_status status = resolve_sample_path(handles, &path, err);
    return status == LDNQ_OK ? ldnq_options_set(line->options, "goal-data", path, err) : status;
}

enum ldnq_status cli_handles_init(struct cli_handles *handles, const struct cli_line *line,
                                  const char *option, struct ldnq_error *err)
{
    *handles = (struct cli_handles){ .models = calloc(line->model_count, sizeof *handles->models) };
    cli_progress_init(&handles->progress, cli_line_has_flag(line, "quiet"), stderr, NULL);
    cli_progress_start(&handles->progress, line);
    if (!handles->models)
        return cli_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; i < line->model_count; i++) {
        const enum ldnq_status status = open_model(handles, line->models[i], i, err);
        if (status != LDNQ_OK)
            return status;
        handles->model_count++;
    }
    const enum ldnq_status status = option ? open_samples(handles, line, option, err) : LDNQ_OK;
    return status == LDNQ_OK ? resolve_goal_data(handles, line, err) : status;
}

void cli_handles_finish(struct cli_handles *handles)
{
    cli_progress_finish(&handles->progress);
    for (size_t i = 0; i < handles->model_count; i++)
        ldnq_onnx_destroy(handles->models[i]);
    free(handles->models);
    free(handles->standard_input);
    ldnq_dataset_destroy(handles->samples);
    ldnq_result_destroy(handles->result);
}
