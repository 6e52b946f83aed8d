/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantize_checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/json_add.h"
#include "base/ranks.h"
#include "base/text.h"
#include "linalg/blas.h"

#define FORMAT 1
#define HEADER LDNQ_CHECKPOINT_PREFIX "checkpoint.json"
#define LAYER_EXTENSION ".layer"

/* Options that say where results go, how they are shown and on what they are computed: what is
 * written does not depend on them. Samples and plans count by their content. */
static const enum ldnq_option_index ignored_options[] = {
    OPTION_OUTPUT,  OPTION_CALIB,      OPTION_GOAL_DATA, OPTION_PLAN,
    OPTION_MAX_MEM, OPTION_THREADS,    OPTION_REPORT,    OPTION_PAGE,
    OPTION_LOG,     OPTION_JSON,       OPTION_VERBOSE,   OPTION_QUIET,
    OPTION_HELP,    OPTION_CHECKPOINT, OPTION_RESUME,    OPTION_DRY_RUN,
};

/* ---- the header ------------------------------------------------------------------------------ */

static bool is_compared(size_t option)
{
    for (size_t i = 0; i < sizeof ignored_options / sizeof *ignored_options; i++)
        if (ignored_options[i] == option)
            return false;
    return (ldnq_option_table[option].jobs & LDNQ_JOB_QUANTIZE) != 0;
}

static bool add_hash(cJSON *root, const char *name, uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return ldnq_json_add_text(root, name, text);
}

/* The texts of an option, with its default. */
static bool add_option(cJSON *root, const struct ldnq_options *options, size_t option)
{
    size_t count;
    const char *const *texts = ldnq_option_list(options, (enum ldnq_option_index)option, &count);
    cJSON *list = cJSON_AddArrayToObject(root, ldnq_option_table[option].name);
    const char *only = ldnq_option_text(options, (enum ldnq_option_index)option);
    if (count == 0 && only && list)
        return cJSON_AddItemToArray(list, cJSON_CreateString(only));
    for (size_t i = 0; list && i < count; i++)
        if (!cJSON_AddItemToArray(list, cJSON_CreateString(texts[i])))
            return false;
    return list != NULL;
}

static enum ldnq_status hash_plan(const char *path, struct ldnq_arena *arena, uint64_t *hash,
                                  struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    *hash = 0;
    if (!path)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_file_read(path, arena, &bytes, &size, err));
    *hash = XXH3_64bits(bytes, size);
    return LDNQ_OK;
}

static bool fill_header(cJSON *root, const struct ldnq_job *job,
                        const struct ldnq_checkpoint_inputs *inputs, uint64_t held_out_hash,
                        uint64_t plan_hash)
{
    char kernels[256];
    if (!ldnq_json_add_number(root, "format", FORMAT) ||
        !ldnq_json_add_text(root, "version", ldnq_version()) ||
        !ldnq_json_add_text(root, "kernels",
                            ldnq_blas_describe_arithmetic(kernels, sizeof kernels)) ||
        !ldnq_json_add_text(root, "model_name", inputs->model_name) ||
        !add_hash(root, "model", inputs->model_hash) ||
        !ldnq_json_add_number(root, "sample_count", (double)inputs->sample_count) ||
        !add_hash(root, "samples", inputs->data_hash) ||
        !add_hash(root, "held_out", held_out_hash) || !add_hash(root, "plan", plan_hash))
        return false;
    cJSON *options = cJSON_AddObjectToObject(root, "options");
    for (size_t i = 0; options && i < OPTION_COUNT; i++)
        if (is_compared(i) && !add_option(options, job->options, i))
            return false;
    return options != NULL;
}

/* The header of this run, as it would be read again. */
enum ldnq_status ldnq_checkpoint_make_header(const struct ldnq_job *job,
                                             const struct ldnq_checkpoint_inputs *inputs,
                                             cJSON **header, struct ldnq_error *err)
{
    uint64_t held_out_hash = 0, plan_hash;
    *header = NULL;
    if (inputs->held_out)
        LDNQ_TRY(ldnq_samples_hash(inputs->held_out, &held_out_hash, err));
    LDNQ_TRY(hash_plan(inputs->plan, job->arena, &plan_hash, err));
    cJSON *root = cJSON_CreateObject();
    const bool filled = root && fill_header(root, job, inputs, held_out_hash, plan_hash);
    char *text = filled ? ldnq_json_print(root, LDNQ_JSON_LINE) : NULL;
    cJSON_Delete(root);
    *header = text ? cJSON_Parse(text) : NULL;
    ldnq_free(text);
    return *header ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

static bool hash_header(const cJSON *header, uint64_t *hash)
{
    char *text = ldnq_json_print(header, LDNQ_JSON_LINE);
    if (text)
        *hash = XXH3_64bits(text, strlen(text));
    ldnq_free(text);
    return text != NULL;
}

static enum ldnq_status write_header(const struct ldnq_job_checkpoint *checkpoint, cJSON *header,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    uint64_t hash;
    const char *path = ldnq_arena_printf(arena, err, "%s/" HEADER, checkpoint->folder);
    if (!path)
        return LDNQ_NOMEM;
    if (!hash_header(header, &hash) || !add_hash(header, "hash", hash))
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    char *text = ldnq_json_print(header, LDNQ_JSON_INDENTED);
    if (!text)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    const enum ldnq_status status = ldnq_file_write(path, text, strlen(text), err);
    ldnq_free(text);
    return status;
}

/* Reads the header, and checks that it is as it was written. */
static enum ldnq_status read_header(const struct ldnq_job_checkpoint *checkpoint,
                                    struct ldnq_arena *arena, cJSON **header,
                                    struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    uint64_t hash = 0;
    char want[17];
    const char *path = ldnq_arena_printf(arena, err, "%s/" HEADER, checkpoint->folder);
    *header = NULL;
    if (!path)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_file_read(path, arena, &bytes, &size, err));
    cJSON *root = cJSON_ParseWithLength(bytes, size);
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(root, "hash");
    const char *text = cJSON_GetStringValue(item);
    const bool hashed = root && hash_header(root, &hash);
    snprintf(want, sizeof want, "%016" PRIx64, hash);
    const bool is_good = hashed && text && strcmp(text, want) == 0;
    cJSON_Delete(item);
    if (is_good) {
        *header = root;
        return LDNQ_OK;
    }
    cJSON_Delete(root);
    return ldnq_fail(err, LDNQ_DATA,
                     "%s: is damaged, and with it what the layers beside it belong to; remove the "
                     "folder to start from the beginning",
                     path);
}

/* ---- the difference -------------------------------------------------------------------------- */

static const char *find_header_text(const cJSON *header, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, name));
    return text ? text : "";
}

static bool is_same_text(const cJSON *then, const cJSON *now, const char *name)
{
    return strcmp(find_header_text(then, name), find_header_text(now, name)) == 0;
}

static double find_number(const cJSON *header, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(header, name));
}

/* Writes "was 'int8'", "was not set", or "was 'a', 'b'". */
static const char *describe_values(const char *verb, const cJSON *list, char *text, size_t size)
{
    const cJSON *item;
    size_t used = (size_t)snprintf(text, size, "%s", verb);
    if (cJSON_GetArraySize(list) == 0)
        snprintf(text + used, size - used, " not set");
    cJSON_ArrayForEach(item, list)
    {
        const char *comma = item != list->child ? "," : "";
        const int count =
            snprintf(text + used, size - used, "%s '%s'", comma, cJSON_GetStringValue(item));
        used = count < 0 || (size_t)count >= size - used ? size - 1 : used + (size_t)count;
    }
    return text;
}

#define REMEDY "or start from the beginning in another folder"

static enum ldnq_status compare_options(const struct ldnq_job_checkpoint *checkpoint,
                                        const cJSON *then, const cJSON *now, struct ldnq_error *err)
{
    const cJSON *item;
    const char *first = NULL;
    char was[256], is[256], others[512];
    struct ldnq_text text;
    ldnq_text_init(&text, others, sizeof others);
    cJSON_ArrayForEach(item, now)
    {
        const cJSON *old = cJSON_GetObjectItemCaseSensitive(then, item->string);
        if (cJSON_Compare(old, item, true))
            continue;
        if (first) {
            ldnq_text_append_item(&text, ", ", "%s", item->string);
            continue;
        }
        first = item->string;
        describe_values("was", old, was, sizeof was);
        describe_values("is", item, is, sizeof is);
    }
    ldnq_text_append_omitted_count(&text);
    if (!first)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_USAGE,
                     "%s: %s %s when this checkpoint was made, and %s now%s%s; set it as it "
                     "was, " REMEDY,
                     checkpoint->folder, first, was, is, text.items ? ", as differ " : "", others);
}

static enum ldnq_status compare_headers(const struct ldnq_job_checkpoint *checkpoint,
                                        const cJSON *then, const cJSON *now, struct ldnq_error *err)
{
    const char *folder = checkpoint->folder;
    if (find_number(then, "format") != find_number(now, "format") ||
        !is_same_text(then, now, "version"))
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: this checkpoint was made by version %s (format %g), and this is "
                         "version %s (format %g); go on with that version, " REMEDY,
                         folder, find_header_text(then, "version"), find_number(then, "format"),
                         find_header_text(now, "version"), find_number(now, "format"));
    if (!is_same_text(then, now, "kernels"))
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: this checkpoint was made with the kernels %s, and this run has %s: "
                         "the codes would differ; go on where those are, " REMEDY,
                         folder, find_header_text(then, "kernels"),
                         find_header_text(now, "kernels"));
    if (!is_same_text(then, now, "model"))
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: this checkpoint was made of the model '%s' (hash %s), and this run "
                         "has '%s' (hash %s); give it that model, " REMEDY,
                         folder, find_header_text(then, "model_name"),
                         find_header_text(then, "model"), find_header_text(now, "model_name"),
                         find_header_text(now, "model"));
    /* The options decide which samples are used, and say more. */
    LDNQ_TRY(compare_options(checkpoint, cJSON_GetObjectItemCaseSensitive(then, "options"),
                             cJSON_GetObjectItemCaseSensitive(now, "options"), err));
    static const char *const contents[][2] = { { "samples", "samples" },
                                               { "held_out", "held-out samples" },
                                               { "plan", "a plan" } };
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (!is_same_text(then, now, contents[i][0]))
            return ldnq_fail(err, LDNQ_USAGE,
                             "%s: this checkpoint was made with %s of other contents (hash %s) "
                             "than this run has (hash %s); give it those, " REMEDY,
                             folder, contents[i][1], find_header_text(then, contents[i][0]),
                             find_header_text(now, contents[i][0]));
    return LDNQ_OK;
}

/* ---- the folder ------------------------------------------------------------------------------ */

struct folder_content {
    bool has_header, has_others;
    size_t layers;
};

static bool is_checkpoint_file(const char *name)
{
    return strncmp(name, LDNQ_CHECKPOINT_PREFIX, strlen(LDNQ_CHECKPOINT_PREFIX)) == 0;
}

static bool is_layer_file(const char *name)
{
    const size_t length = strlen(name), end = strlen(LAYER_EXTENSION);
    return is_checkpoint_file(name) && length > end &&
           strcmp(name + length - end, LAYER_EXTENSION) == 0;
}

static enum ldnq_status list_folder(const char *folder, struct folder_content *content,
                                    struct ldnq_error *err)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    *content = (struct folder_content){ .layers = 0 };
    if (!dir)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be read: %s", folder, strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        content->has_header |= strcmp(entry->d_name, HEADER) == 0;
        content->has_others |= !is_checkpoint_file(entry->d_name);
        content->layers += is_layer_file(entry->d_name);
    }
    closedir(dir);
    return LDNQ_OK;
}

/* The header goes first: what is left of a removal that was cut short is no checkpoint. */
static void remove_files(const struct ldnq_job_checkpoint *checkpoint)
{
    const struct dirent *entry;
    unlinkat(checkpoint->lock, HEADER, 0);
    DIR *dir = opendir(checkpoint->folder);
    while (dir && (entry = readdir(dir)) != NULL)
        if (is_checkpoint_file(entry->d_name))
            unlinkat(checkpoint->lock, entry->d_name, 0);
    if (dir)
        closedir(dir);
}

/* The folder stays if it has other files by now. */
static void remove_checkpoint(const struct ldnq_job_checkpoint *checkpoint)
{
    remove_files(checkpoint);
    rmdir(checkpoint->folder);
}

/* Some file systems have no locks; there two runs at once are not noticed. */
static enum ldnq_status lock_folder(struct ldnq_job_checkpoint *checkpoint, struct ldnq_error *err)
{
    const char *folder = checkpoint->folder;
    checkpoint->made_folder = mkdir(folder, 0777) == 0;
    if (!checkpoint->made_folder && errno != EEXIST)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be created: %s", folder, strerror(errno));
    checkpoint->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (checkpoint->lock < 0)
        return ldnq_fail(err, LDNQ_IO, "%s: can't be opened as a folder: %s", folder,
                         strerror(errno));
    if (flock(checkpoint->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return LDNQ_OK;
    close(checkpoint->lock);
    return ldnq_fail(err, LDNQ_IO, "%s: another run uses this checkpoint; wait until it has ended",
                     folder);
}

static void report_found_checkpoint(const struct ldnq_job *job, const char *folder, size_t layers)
{
    cJSON *event = cJSON_CreateObject();
    if (event && ldnq_json_add_text(event, "event", "checkpoint") &&
        ldnq_json_add_text(event, "folder", folder) &&
        ldnq_json_add_number(event, "layers", (double)layers))
        ldnq_job_report_event(job, event);
    cJSON_Delete(event);
}

static enum ldnq_status resume_checkpoint(const struct ldnq_job_checkpoint *checkpoint,
                                          const struct ldnq_job *job, const cJSON *now,
                                          struct ldnq_error *err)
{
    cJSON *then;
    LDNQ_TRY(read_header(checkpoint, job->arena, &then, err));
    const enum ldnq_status status = compare_headers(checkpoint, then, now, err);
    cJSON_Delete(then);
    return status;
}

static enum ldnq_status open_in_folder(struct ldnq_job_checkpoint *checkpoint,
                                       const struct ldnq_job *job, cJSON *header,
                                       struct ldnq_error *err)
{
    const char *folder = checkpoint->folder;
    const bool resumes = ldnq_option_flag(job->options, OPTION_RESUME);
    struct folder_content content;
    LDNQ_TRY(list_folder(folder, &content, err));
    if (content.has_header && !resumes)
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: resume is not set, and this folder has %zu fitted layers of a run "
                         "that did not end; set it to go on there, or remove the folder",
                         folder, content.layers);
    if (content.has_header) {
        LDNQ_TRY(resume_checkpoint(checkpoint, job, header, err));
    } else if (content.has_others) {
        return ldnq_fail(err, LDNQ_USAGE,
                         "%s: has files that are no checkpoint; choose a new or an empty folder",
                         folder);
    } else {
        remove_files(checkpoint);
        content.layers = 0;
        LDNQ_TRY(write_header(checkpoint, header, job->arena, err));
    }
    if (resumes)
        report_found_checkpoint(job, folder, content.layers);
    checkpoint->records.folder = folder;
    checkpoint->is_open = true;
    return LDNQ_OK;
}

enum ldnq_status ldnq_job_checkpoint_open(struct ldnq_job_checkpoint *checkpoint,
                                          const struct ldnq_job *job,
                                          const struct ldnq_checkpoint_inputs *inputs,
                                          struct ldnq_error *err)
{
    cJSON *header;
    checkpoint->folder = ldnq_option_text(job->options, OPTION_CHECKPOINT);
    if (!checkpoint->folder)
        return ldnq_option_flag(job->options, OPTION_RESUME)
                   ? ldnq_fail(err, LDNQ_USAGE, "resume needs a checkpoint, the folder to go on in")
                   : LDNQ_OK;
    if (!ldnq_ranks_is_first(job->ranks)) {
        checkpoint->is_followed = true;
        return LDNQ_OK;
    }
    LDNQ_TRY(ldnq_checkpoint_make_header(job, inputs, &header, err));
    enum ldnq_status status = lock_folder(checkpoint, err);
    if (status == LDNQ_OK) {
        status = open_in_folder(checkpoint, job, header, err);
        if (!checkpoint->is_open)
            close(checkpoint->lock);
    }
    if (!checkpoint->is_open && checkpoint->made_folder)
        rmdir(checkpoint->folder);
    cJSON_Delete(header);
    return status;
}

void ldnq_job_checkpoint_finish(struct ldnq_job_checkpoint *checkpoint, enum ldnq_status status,
                                struct ldnq_error *err)
{
    struct folder_content content;
    ldnq_checkpoint_finish(&checkpoint->records);
    if (!checkpoint->is_open)
        return;
    const bool has_layers =
        list_folder(checkpoint->folder, &content, NULL) != LDNQ_OK || content.layers > 0;
    if (status == LDNQ_OK || status == LDNQ_GATE || !has_layers)
        remove_checkpoint(checkpoint);
    else if (status == LDNQ_CANCELED)
        ldnq_fail(err, status,
                  "canceled; %s has the layers fitted so far, and resume goes on there",
                  checkpoint->folder);
    close(checkpoint->lock);
    checkpoint->is_open = false;
}
