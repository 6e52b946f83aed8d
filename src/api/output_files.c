#include "api/output_files.h"

#include <assert.h>

#include "api/job.h"

enum ldnq_status ldnq_output_files_add(struct ldnq_output_files *files, const char *option,
                                       const char *path, struct ldnq_error *err)
{
    if (!path)
        return LDNQ_OK;
    assert(files->count < LDNQ_OUTPUT_FILES);
    struct ldnq_output_file *file = &files->list[files->count];
    LDNQ_TRY(ldnq_job_check_output(path, err));
    *file = (struct ldnq_output_file){ .option = option, .path = path };
    ldnq_file_identify(path, &file->id);
    for (size_t i = 0; i < files->count; i++)
        if (ldnq_file_is_same(&files->list[i].id, &file->id))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: the options %s and %s both write this file; choose another path "
                             "for one",
                             path, files->list[i].option, option);
    files->count++;
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_files_check_path(const struct ldnq_output_files *files,
                                              const char *what, const char *path,
                                              struct ldnq_error *err)
{
    struct ldnq_file_id id;
    if (files->count == 0)
        return LDNQ_OK;
    ldnq_file_identify(path, &id);
    for (size_t i = 0; i < files->count; i++)
        if (ldnq_file_is_same(&files->list[i].id, &id))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: the option %s would overwrite %s; choose another path",
                             files->list[i].path, files->list[i].option, what);
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_files_check_model(const struct ldnq_output_files *files,
                                               const struct ldnq_onnx *onnx,
                                               const struct ldnq_model *model,
                                               struct ldnq_error *err)
{
    const char *path;
    if (ldnq_onnx_is_file(onnx))
        LDNQ_TRY(ldnq_output_files_check_path(files, "the model that is read", ldnq_onnx_name(onnx),
                                              err));
    for (size_t i = 0; (path = ldnq_model_data_file(model, i)) != NULL; i++)
        LDNQ_TRY(ldnq_output_files_check_path(files, "external data of the model that is read",
                                              path, err));
    return LDNQ_OK;
}

enum ldnq_status ldnq_output_files_check_samples(const struct ldnq_output_files *files,
                                                 const struct ldnq_samples *samples,
                                                 struct ldnq_error *err)
{
    const char *path, *last = NULL;
    bool exists = false;
    for (size_t i = 0; i < files->count; i++)
        exists |= files->list[i].id.is_regular;
    if (!exists) /* saves examining each sample */
        return LDNQ_OK;
    for (size_t i = 0; (path = ldnq_samples_file(samples, i)) != NULL; i++) {
        if (path != last) /* an array's rows share one */
            LDNQ_TRY(ldnq_output_files_check_path(files, "a sample that is read", path, err));
        last = path;
    }
    return LDNQ_OK;
}
