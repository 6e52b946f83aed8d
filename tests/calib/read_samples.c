/* SPDX-License-Identifier: Apache-2.0 */
/* read_samples.c: the samples of a source as one .npy array, for tests in Python.
 *
 * read_samples DATA C H W OUT.npy [--resize N] [--crop N] [--scale X] [--mean X,X,X]
 *              [--std X,X,X] [--threads N] [--preset NAME] [--stretch WxH] [--letterbox WxH]
 *              [--filter bicubic] [--color bgr] [--exif rotate] [--layout last] [--dtype uint8]
 * C, H or W 0 is a symbol.
 */
#include "calib/calib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"

struct job {
    const char *data, *out;
    struct ldnq_samples_options options;
    size_t threads;
    bool channels_last, is_bytes;
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct ldnq_samples *samples;
};

static size_t read_list(const char *text, float values[4])
{
    size_t count = 0;
    for (char *end; *text && count < 4; text = *end ? end + 1 : end)
        values[count++] = strtof(text, &end);
    return count;
}

static void read_size(const char *text, struct ldnq_preprocess *preprocess)
{
    char *end;
    preprocess->width = strtoul(text, &end, 10);
    preprocess->height = strtoul(end + 1, NULL, 10);
}

static void read_picture_option(struct job *job, const char *name, const char *value)
{
    struct ldnq_preprocess *preprocess = &job->options.preprocess;
    if (strcmp(name, "--preset") == 0)
        ldnq_preprocess_set_preset(preprocess, value);
    else if (strcmp(name, "--stretch") == 0)
        read_size(value, preprocess);
    else if (strcmp(name, "--filter") == 0)
        preprocess->filter = LDNQ_FILTER_BICUBIC;
    else if (strcmp(name, "--color") == 0)
        preprocess->is_bgr = true;
    else if (strcmp(name, "--exif") == 0)
        preprocess->is_rotated = true;
    else if (strcmp(name, "--layout") == 0)
        job->channels_last = true;
    else if (strcmp(name, "--dtype") == 0)
        job->is_bytes = true;
    else if (strcmp(name, "--letterbox") == 0) {
        preprocess->is_letterboxed = true;
        read_size(value, preprocess);
    }
}

static void read_option(struct job *job, const char *name, const char *value)
{
    struct ldnq_preprocess *preprocess = &job->options.preprocess;
    if (strcmp(name, "--resize") == 0)
        preprocess->resize = strtoul(value, NULL, 10);
    else if (strcmp(name, "--crop") == 0)
        preprocess->crop = strtoul(value, NULL, 10);
    else if (strcmp(name, "--scale") == 0)
        preprocess->scale = strtof(value, NULL);
    else if (strcmp(name, "--mean") == 0)
        preprocess->mean_count = read_list(value, preprocess->mean);
    else if (strcmp(name, "--std") == 0)
        preprocess->std_count = read_list(value, preprocess->std);
    else if (strcmp(name, "--threads") == 0)
        job->threads = strtoul(value, NULL, 10);
    else
        read_picture_option(job, name, value);
}

static enum ldnq_status make_graph(struct job *job, char **sizes, struct ldnq_error *err)
{
    struct ldnq_value *input;
    LDNQ_TRY(ldnq_graph_create(job->arena, "g", "model", &job->graph, err));
    LDNQ_TRY(ldnq_graph_add_value(job->graph, "input", &input, err));
    input->dtype = job->is_bytes ? LDNQ_UINT8 : LDNQ_FLOAT;
    input->shape.rank = 4;
    LDNQ_TRY(ldnq_graph_find_or_add_symbol(job->graph, "N", &input->shape.dim[0], err));
    for (int i = 0; i < 3; i++) {
        input->shape.dim[1 + i] = strtol(sizes[job->channels_last ? (i + 1) % 3 : i], NULL, 10);
        if (input->shape.dim[1 + i] == 0)
            LDNQ_TRY(
                ldnq_graph_find_or_add_symbol(job->graph, NULL, &input->shape.dim[1 + i], err));
    }
    job->graph->inputs = ldnq_arena_alloc(job->arena, 1, sizeof input, err);
    if (!job->graph->inputs)
        return LDNQ_NOMEM;
    job->graph->inputs[job->graph->input_count++] = input;
    return LDNQ_OK;
}

static enum ldnq_status run(struct job *job, char **sizes, struct ldnq_error *err)
{
    struct ldnq_tensor *batch;
    LDNQ_TRY(ldnq_arena_create(&job->arena, err));
    LDNQ_TRY(make_graph(job, sizes, err));
    LDNQ_TRY(ldnq_pool_create(job->threads, &job->pool, err));
    LDNQ_TRY(ldnq_samples_open(job->data, job->graph, &job->options, &job->samples, err));
    LDNQ_TRY(ldnq_samples_read(job->samples, 0, ldnq_samples_count(job->samples), job->pool,
                               job->arena, &batch, err));
    return ldnq_npy_write(job->out, batch, err);
}

int main(int argc, char **argv)
{
    struct ldnq_error err;
    if (argc < 6)
        return LDNQ_USAGE;
    struct job job = { .data = argv[1], .out = argv[5], .threads = 1 };
    ldnq_preprocess_defaults(&job.options.preprocess);
    for (int i = 6; i + 1 < argc; i += 2)
        read_option(&job, argv[i], argv[i + 1]);
    enum ldnq_status status = run(&job, argv + 2, &err);
    if (status != LDNQ_OK)
        fprintf(stderr, "%s\n", err.message);
    ldnq_samples_destroy(job.samples);
    ldnq_pool_destroy(job.pool);
    ldnq_arena_destroy(job.arena);
    return (int)status;
}
