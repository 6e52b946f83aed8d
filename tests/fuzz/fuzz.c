/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "exec/control_flow.h"
#include "linalg/blas.h"
#include "onnx/onnx.h"
#include "ops/operation_count.h"

/* ---- the process -------------------------------------------------------------------------- */

static char folder[256];

static void remove_folder(void)
{
    DIR *stream = opendir(folder);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (stream)
        closedir(stream);
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    const char *parent = getenv("TMPDIR");
    if (folder[0])
        return folder;
    snprintf(folder, sizeof folder, "%s/ldnq-fuzz-XXXXXX", parent && *parent ? parent : "/tmp");
    FUZZ_CHECK(mkdtemp(folder), "%s can't be created", folder);
    atexit(remove_folder);
    return folder;
}

const char *fuzz_write_file(const char *name, const void *bytes, size_t size)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *stream = fopen(path, "wb");
    FUZZ_CHECK(stream && fwrite(bytes, 1, size, stream) == size && fclose(stream) == 0,
               "%s can't be written", path);
    return path;
}

void fuzz_init(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    ldnq_memory_set_limit(FUZZ_MEMORY);
    ldnq_control_flow_set_limit(FUZZ_ITERATIONS);
    ldnq_operations_set_limit(FUZZ_OPERATIONS);
    ldnq_blas_acquire();
}

void fuzz_report(enum ldnq_status status, const struct ldnq_error *err)
{
    if (getenv("FUZZ_VERBOSE"))
        fprintf(stderr, "%s: %s\n", ldnq_status_name(status),
                status == LDNQ_OK ? "" : err->message);
}

/* ---- inputs ------------------------------------------------------------------------------- */

static double draw_real(struct ldnq_rng *rng)
{
    return ldnq_rng_below(rng, 16) == 0 ? 0 : 4 * ldnq_rng_uniform(rng) - 2;
}

void fuzz_fill(const struct ldnq_tensor *tensor, uint64_t seed)
{
    struct ldnq_rng rng = { seed };
    const size_t count = ldnq_tensor_count(tensor), size = ldnq_dtype_size(tensor->dtype);
    for (size_t i = 0; i < count; i++) {
        const double real = draw_real(&rng);
        /* The high byte of a half stays below that of infinity. */
        const int64_t integer = (int64_t)ldnq_rng_below(&rng, tensor->dtype == LDNQ_BOOL ? 2 : 8);
        char *to = (char *)tensor->data + i * size;
        const float single = (float)real;
        if (tensor->dtype == LDNQ_FLOAT)
            memcpy(to, &single, sizeof single);
        else if (tensor->dtype == LDNQ_DOUBLE)
            memcpy(to, &real, sizeof real);
        else
            memcpy(to, &integer, size < sizeof integer ? size : sizeof integer);
    }
}

/* Sets the sizes of symbols: the batch, and others by their number. */
static bool choose_shape(const struct ldnq_value *value, struct ldnq_shape *shape, size_t *elements)
{
    size_t count;
    *shape = value->shape;
    for (int i = 0; i < shape->rank; i++)
        if (ldnq_is_symbol(shape->dim[i]))
            shape->dim[i] = 2 + (shape->dim[i] - LDNQ_SYMBOL_BASE) % 3;
    if (!ldnq_shape_count(shape, &count) || count > FUZZ_MOST_ELEMENTS - *elements)
        return false;
    *elements += count;
    return ldnq_dtype_size(value->dtype) > 0 && !value->is_no_tensor;
}

struct ldnq_tensor **fuzz_make_inputs(const struct ldnq_graph *graph, struct ldnq_arena *arena)
{
    struct ldnq_error err;
    size_t elements = 0;
    struct ldnq_tensor **inputs =
        ldnq_arena_alloc(arena, graph->input_count, sizeof(struct ldnq_tensor *), &err);
    for (size_t i = 0; inputs && i < graph->input_count; i++) {
        struct ldnq_shape shape;
        if (!choose_shape(graph->inputs[i], &shape, &elements) ||
            ldnq_tensor_create(arena, graph->inputs[i]->dtype, &shape, &inputs[i], &err) != LDNQ_OK)
            return NULL;
        fuzz_fill(inputs[i], i);
    }
    return inputs;
}

/* ---- samples ------------------------------------------------------------------------------ */

/* What a sample reader needs, in an arena. */
struct random_samples {
    struct ldnq_tensor *inputs; /* one sample each, without the batch */
};

static int read_random_sample(void *ctx, size_t sample, size_t input, void *data, size_t size)
{
    const struct random_samples *samples = ctx;
    struct ldnq_tensor tensor = samples->inputs[input];
    size_t bytes;
    tensor.data = data;
    if (ldnq_tensor_bytes(&tensor, &bytes) && bytes == size)
        fuzz_fill(&tensor, 1 + sample * 31 + input);
    else
        memset(data, 0, size);
    return 0;
}

/* Without the batch, as the reader's samples are. */
static struct ldnq_shape choose_row(const struct ldnq_value *value, const struct ldnq_shape *shape)
{
    struct ldnq_shape row = *shape;
    if (row.rank < 1 || (value->shape.dim[0] != 1 && !ldnq_is_symbol(value->shape.dim[0])))
        return row;
    memmove(row.dim, row.dim + 1, (size_t)--row.rank * sizeof *row.dim);
    return row;
}

static struct ldnq_dataset *make_dataset(const struct ldnq_graph *graph, size_t count,
                                         struct ldnq_arena *arena)
{
    struct ldnq_error err;
    size_t elements = 0;
    struct ldnq_dataset *dataset = NULL;
    struct random_samples *samples = ldnq_arena_alloc(arena, 1, sizeof *samples, &err);
    struct ldnq_ndarray *arrays = ldnq_arena_alloc(arena, graph->input_count, sizeof *arrays, &err);
    if (!samples || !arrays)
        return NULL;
    samples->inputs = ldnq_arena_alloc(arena, graph->input_count, sizeof *samples->inputs, &err);
    if (!samples->inputs)
        return NULL;
    for (size_t i = 0; i < graph->input_count; i++) {
        struct ldnq_tensor *input = &samples->inputs[i];
        struct ldnq_shape shape;
        if (!choose_shape(graph->inputs[i], &shape, &elements))
            return NULL;
        input->dtype = graph->inputs[i]->dtype;
        input->shape = choose_row(graph->inputs[i], &shape);
        arrays[i] = (struct ldnq_ndarray){ .name = graph->inputs[i]->name,
                                           .dtype = ldnq_dtype_name(input->dtype),
                                           .shape = input->shape.dim,
                                           .rank = (size_t)input->shape.rank };
    }
    const struct ldnq_sample_reader reader = { .sample_count = count,
                                               .inputs = arrays,
                                               .input_count = graph->input_count,
                                               .read = read_random_sample,
                                               .ctx = samples };
    return ldnq_dataset_from_reader(&reader, &dataset, &err) == LDNQ_OK ? dataset : NULL;
}

struct ldnq_dataset *fuzz_make_dataset(const void *bytes, size_t size, size_t count,
                                       struct ldnq_arena *arena)
{
    struct ldnq_error err;
    struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_dataset *dataset = NULL;
    if (ldnq_model_load_memory(bytes, size, "m.onnx", &model, &err) != LDNQ_OK)
        return NULL;
    if (ldnq_model_import(model, arena, &graph, &err) == LDNQ_OK)
        dataset = make_dataset(graph, count, arena);
    ldnq_model_destroy(model);
    return dataset;
}

/* ---- results ------------------------------------------------------------------------------ */

void fuzz_check_json(const struct ldnq_result *result)
{
    const char *text = ldnq_result_json(result);
    cJSON *root = cJSON_Parse(text);
    FUZZ_CHECK(root, "a result is not JSON");
    FUZZ_CHECK(ldnq_utf8_is_valid(text), "a result is not UTF-8");
    cJSON_Delete(root);
}
