/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/handles.h"

#include <stdlib.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/standard_streams.h"

static enum ldnq_status open_model(struct cli_handles *handles, const char *path, size_t index,
                                   struct ldnq_error *err)
{
    size_t size;
    if (strcmp(path, "-") != 0)
        return ldnq_onnx_from_path(path, &handles->models[index], err);
    if (handles->standard_input)
        return cli_fail(err, LDNQ_USAGE, "'-' stands for standard input, which has one model");
    const enum ldnq_status status = cli_read_standard_input(&handles->standard_input, &size, err);
    return status == LDNQ_OK ? ldnq_onnx_from_bytes(handles->standard_input, size, "standard input",
                                                    &handles->models[index], err)
                             : status;
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
    const char *path = option ? cli_line_text(line, option) : NULL;
    enum ldnq_status status = path ? ldnq_dataset_from_path(path, &handles->samples, err) : LDNQ_OK;
    for (size_t i = 1; path && status == LDNQ_OK; i++) {
        path = ldnq_options_get(line->options, option, i);
        if (path)
            status = ldnq_dataset_add_path(handles->samples, path, err);
    }
    return status;
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
