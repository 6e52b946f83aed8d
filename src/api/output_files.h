/* SPDX-License-Identifier: Apache-2.0 */
/* output_files.h: the files that a job will write, which must be neither files that it reads nor
 * one another. Checked before the work, by device and inode. */
#ifndef LDNQ_API_OUTPUT_FILES_H
#define LDNQ_API_OUTPUT_FILES_H

#include "api/inputs.h"
#include "base/file_id.h"

#define LDNQ_OUTPUT_FILES 4

struct ldnq_output_file {
    const char *option; /* option that asked for the file */
    const char *path;
    struct ldnq_file_id id;
};

/* Zeroed is empty. Paths stay the caller's. */
struct ldnq_output_files {
    size_t count;
    struct ldnq_output_file list[LDNQ_OUTPUT_FILES];
};

/* Appends the file, unless `path` is NULL. Errors: IO (it can't be created), USAGE (another of
 * the list is the same file). */
enum ldnq_status ldnq_output_files_add(struct ldnq_output_files *files, const char *option,
                                       const char *path, struct ldnq_error *err);

/* Each refuses an output that is a file of the input. Errors: USAGE. `what` is for the message:
 * "the plan". */
enum ldnq_status ldnq_output_files_check_path(const struct ldnq_output_files *files,
                                              const char *what, const char *path,
                                              struct ldnq_error *err);
enum ldnq_status ldnq_output_files_check_model(const struct ldnq_output_files *files,
                                               const struct ldnq_onnx *onnx,
                                               const struct ldnq_model *model,
                                               struct ldnq_error *err);
/* Refuses a path whose data file would have a longer name than its folder takes. Errors: IO. */
enum ldnq_status ldnq_output_files_check_data_name(const char *path, const struct ldnq_model *model,
                                                   struct ldnq_error *err);
enum ldnq_status ldnq_output_files_check_samples(const struct ldnq_output_files *files,
                                                 const struct ldnq_samples *samples,
                                                 struct ldnq_error *err);

#endif
