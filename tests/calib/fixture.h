/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.h: what the tests of calib share: a folder that goes away again, files
 * in it, and graphs that are nothing but inputs. */
#ifndef TESTS_CALIB_FIXTURE_H
#define TESTS_CALIB_FIXTURE_H

#include "test.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calib/calib.h"

/* What the file itself leaves unused. */
#define MAYBE_UNUSED __attribute__((unused))

struct fixture {
    char folder[64];
    struct ldnq_arena *arena;
};

static struct ldnq_error err;

MAYBE_UNUSED static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    strcpy(fixture->folder, "/tmp/ldnq-calib-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    assert_ok(ldnq_arena_create(&fixture->arena, &err));
    *state = fixture;
    return 0;
}

static void remove_all(const char *path)
{
    DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        char inner[1024];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_all(inner);
    }
    if (stream)
        closedir(stream);
    remove(path);
}

MAYBE_UNUSED static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    remove_all(fixture->folder);
    ldnq_arena_destroy(fixture->arena);
    free(fixture);
    return 0;
}

/* ---- files ------------------------------------------------------------------------- */

/* A path in the folder, in the arena; folders on the way are made. */
static char *path_of(struct fixture *fixture, const char *name)
{
    char *path = ldnq_arena_printf(fixture->arena, &err, "%s/%s", fixture->folder, name);
    for (char *slash = path + strlen(fixture->folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    return path;
}

MAYBE_UNUSED static char *put_file(struct fixture *fixture, const char *name, const void *bytes,
                                   size_t size)
{
    char *path = path_of(fixture, name);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    fclose(stream);
    return path;
}

MAYBE_UNUSED static char *put_text(struct fixture *fixture, const char *name, const char *text)
{
    return put_file(fixture, name, text, strlen(text));
}

MAYBE_UNUSED static unsigned char *get_file(struct fixture *fixture, const char *path, size_t *size)
{
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, 0, SEEK_END), 0);
    *size = (size_t)ftell(stream);
    rewind(stream);
    unsigned char *bytes = ldnq_arena_alloc(fixture->arena, *size, 1, &err);
    assert_int_equal(fread(bytes, 1, *size, stream), *size);
    fclose(stream);
    return bytes;
}

/* ---- tensors ------------------------------------------------------------------------- */

MAYBE_UNUSED static struct ldnq_shape shape_of(int rank, ...)
{
    struct ldnq_shape shape = { .rank = rank };
    va_list dims;
    va_start(dims, rank);
    for (int i = 0; i < rank; i++)
        shape.dim[i] = va_arg(dims, int);
    va_end(dims);
    return shape;
}

/* Elements 0, 1, 2 ... */
MAYBE_UNUSED static struct ldnq_tensor *counting(struct fixture *fixture, struct ldnq_shape shape)
{
    struct ldnq_tensor *tensor;
    assert_ok(ldnq_tensor_create(fixture->arena, LDNQ_FLOAT, &shape, &tensor, &err));
    for (size_t i = 0; i < ldnq_tensor_count(tensor); i++)
        ((float *)tensor->data)[i] = (float)i;
    return tensor;
}

MAYBE_UNUSED static char *put_npy(struct fixture *fixture, const char *name,
                                  const struct ldnq_tensor *tensor)
{
    char *path = path_of(fixture, name);
    assert_ok(ldnq_npy_write(path, tensor, &err));
    return path;
}

/* ---- graphs --------------------------------------------------------------------------- */

MAYBE_UNUSED static struct ldnq_graph *graph_of(struct fixture *fixture, size_t capacity)
{
    struct ldnq_graph *graph;
    assert_ok(ldnq_graph_create(fixture->arena, "g", "m.onnx", &graph, &err));
    graph->inputs = ldnq_arena_alloc(fixture->arena, capacity, sizeof *graph->inputs, &err);
    return graph;
}

/* A negative dimension is a symbol: -1 is N, -2 is H, -3 is W. */
MAYBE_UNUSED static void add_input(struct ldnq_graph *graph, const char *name,
                                   enum ldnq_dtype dtype, struct ldnq_shape shape)
{
    static const char *const names[] = { "N", "H", "W" };
    struct ldnq_value *value;
    assert_ok(ldnq_graph_add_value(graph, name, &value, &err));
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0)
            assert_ok(ldnq_graph_find_or_add_symbol(graph, names[-shape.dim[i] - 1], &shape.dim[i],
                                                    &err));
    value->dtype = dtype;
    value->shape = shape;
    value->is_input = true;
    graph->inputs[graph->input_count++] = value;
}

/* One float input called "input". */
MAYBE_UNUSED static struct ldnq_graph *one_input(struct fixture *fixture, struct ldnq_shape shape)
{
    struct ldnq_graph *graph = graph_of(fixture, 1);
    add_input(graph, "input", LDNQ_FLOAT, shape);
    return graph;
}

/* ---- sets ------------------------------------------------------------------------------ */

MAYBE_UNUSED static struct ldnq_samples_options plain_options(void)
{
    struct ldnq_samples_options options = { 0 };
    ldnq_preprocess_defaults(&options.preprocess);
    options.preprocess.scale = 1;
    return options;
}

/* Opens, reads all samples in one batch, and closes. */
MAYBE_UNUSED static enum ldnq_status read_all(const char *path, const struct ldnq_graph *graph,
                                              const struct ldnq_samples_options *options,
                                              struct ldnq_arena *arena, struct ldnq_tensor **inputs)
{
    struct ldnq_samples *samples;
    LDNQ_TRY(ldnq_samples_open(path, graph, options, &samples, &err));
    enum ldnq_status status =
        ldnq_samples_read(samples, 0, ldnq_samples_count(samples), NULL, arena, inputs, &err);
    ldnq_samples_destroy(samples);
    return status;
}

#endif
