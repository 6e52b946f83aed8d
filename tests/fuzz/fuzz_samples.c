/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_samples.c: readers of samples and of external data.
 *
 * Input  kind (1 byte), input of the model (1 byte), contents
 */
#include "fuzz.h"

#include <string.h>
#include <unistd.h>

#include "calib/calib.h"
#include "onnx/onnx.h"

/* Names by kind; those of labels and of external data have files beside them. */
static const char *const names[] = { "x.npy", "x.npz", "x.pb",       "x.png",
                                     "x.jpg", "x",     "labels.csv", "m.onnx" };
enum { LABELS = 6, EXTERNAL_DATA = 7, KIND_COUNT = 8 };

/* One pixel, so that a folder with labels has a picture. */
static const uint8_t pixel[] = { 137, 80, 78,  71,  13, 10, 26,  10,  0,   0,   0,   13,  73,  72,
                                 68,  82, 0,   0,   0,  1,  0,   0,   0,   1,   8,   0,   0,   0,
                                 0,   58, 126, 155, 85, 0,  0,   0,   10,  73,  68,  65,  84,  120,
                                 156, 99, 104, 0,   0,  0,  130, 0,   129, 119, 205, 114, 182, 0,
                                 0,   0,  0,   73,  69, 78, 68,  174, 66,  96,  130 };

static enum ldnq_status make_graph(struct ldnq_arena *arena, unsigned choice,
                                   struct ldnq_graph **out, struct ldnq_error *err)
{
    static const enum ldnq_dtype dtypes[] = { LDNQ_FLOAT, LDNQ_INT64, LDNQ_FLOAT16, LDNQ_UINT8 };
    static const struct ldnq_shape shapes[] = { { 4, { 0, 1, 0, 0 } }, { 4, { 0, 3, 4, 4 } },
                                                { 2, { 0, 4 } },       { 1, { 1 } },
                                                { 0, { 0 } },          { 4, { 1, 3, 0, 0 } },
                                                { 3, { 2, 3, 4 } },    { 2, { 1, 0 } } };
    struct ldnq_value *input;
    LDNQ_TRY(ldnq_graph_create(arena, "g", "m.onnx", out, err));
    LDNQ_TRY(ldnq_graph_add_value(*out, "input", &input, err));
    input->dtype = dtypes[choice >> 3 & 3];
    input->shape = shapes[choice & 7];
    input->is_input = true;
    for (int i = 0; i < input->shape.rank; i++)
        if (!input->shape.dim[i])
            LDNQ_TRY(ldnq_graph_find_or_add_symbol(*out, NULL, &input->shape.dim[i], err));
    (*out)->inputs = ldnq_arena_alloc(arena, 1, sizeof *(*out)->inputs, err);
    if (!(*out)->inputs)
        return LDNQ_NOMEM;
    (*out)->inputs[(*out)->input_count++] = input;
    return LDNQ_OK;
}

static enum ldnq_status read_samples(const char *path, const struct ldnq_graph *graph,
                                     const struct ldnq_samples_options *options,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_samples *samples;
    struct ldnq_tensor *batch;
    uint64_t hash;
    LDNQ_TRY(ldnq_samples_open(path, graph, options, &samples, err));
    enum ldnq_status status = ldnq_samples_hash(samples, &hash, err);
    const size_t count = ldnq_samples_count(samples);
    for (size_t i = 0; i < count && i < 4 && status == LDNQ_OK; i++)
        status = ldnq_samples_read(samples, i, 1, NULL, arena, &batch, err);
    if (status == LDNQ_OK && ldnq_samples_can_stack(samples))
        status = ldnq_samples_read(samples, 0, count < 8 ? count : 8, NULL, arena, &batch, err);
    ldnq_samples_destroy(samples);
    return status;
}

static enum ldnq_status open_samples(const char *path, unsigned choice, struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    struct ldnq_samples_options options = { .max_samples = 100, .need_labels = choice >> 5 & 1 };
    ldnq_preprocess_defaults(&options.preprocess);
    options.preprocess.resize = choice & 64 ? 4 : 0;
    options.preprocess.crop = choice & 128 ? 4 : 0;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    enum ldnq_status status = make_graph(arena, choice, &graph, err);
    if (status == LDNQ_OK)
        status = read_samples(path, graph, &options, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}

static enum ldnq_status load_and_save(const char *path, struct ldnq_error *err)
{
    struct ldnq_model *model;
    char saved[512];
    snprintf(saved, sizeof saved, "%s/saved.onnx", fuzz_folder());
    LDNQ_TRY(ldnq_model_load(path, &model, err));
    enum ldnq_status status = ldnq_model_save(model, saved, err);
    ldnq_model_destroy(model);
    if (status == LDNQ_OK) {
        status = ldnq_model_load(saved, &model, err);
        FUZZ_CHECK(status == LDNQ_OK || status == LDNQ_NOMEM, "a saved model: %s", err->message);
        const char *data = ldnq_model_data_file(model, 0);
        if (data)
            unlink(data);
        ldnq_model_destroy(model);
        unlink(saved);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ldnq_error err;
    fuzz_init();
    if (size < 2)
        return 0;
    const unsigned kind = data[0] % KIND_COUNT, choice = data[1];
    if (kind == LABELS)
        fuzz_write_file("a.png", pixel, sizeof pixel);
    if (kind == EXTERNAL_DATA)
        fuzz_write_file("w.bin", pixel, 64);
    const char *path = fuzz_write_file(names[kind], data + 2, size - 2);
    fuzz_report(kind == EXTERNAL_DATA
                    ? load_and_save(path, &err)
                    : open_samples(kind == LABELS ? fuzz_folder() : path, choice, &err),
                &err);
    char written[512];
    snprintf(written, sizeof written, "%s/%s", fuzz_folder(), names[kind]);
    unlink(written);
    return 0;
}
