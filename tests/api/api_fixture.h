/* SPDX-License-Identifier: Apache-2.0 */
/* api_fixture.h: models, samples and options for the tests of jobs. */
#ifndef LDNQ_TESTS_API_FIXTURE_H
#define LDNQ_TESTS_API_FIXTURE_H

#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "ldnq.h"

#define SAMPLE_COUNT ((size_t)24)
#define SAMPLE_SIZE ((size_t)64)

static struct ldnq_error err;
static float sample_data[SAMPLE_COUNT * SAMPLE_SIZE];
static const int64_t all_shape[] = { 24, 1, 8, 8 }, one_shape[] = { 1, 8, 8 };
static int64_t sample_labels[SAMPLE_COUNT];
static const int64_t label_shape[] = { 24 };

/* Numbers that are not centred, as activations are not. */
static inline int fill_samples(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (size_t i = 0; i < SAMPLE_COUNT * SAMPLE_SIZE; i++) {
        seed = seed * 1664525u + 1013904223u;
        sample_data[i] = (float)(seed >> 8) / (float)(1 << 24);
    }
    for (size_t i = 0; i < SAMPLE_COUNT; i++)
        sample_labels[i] = (int64_t)(i % 10);
    return 0;
}

static inline const char *digits_path(void)
{
    static char path[4096];
    const char *folder = getenv("LDNQ_TESTDATA");
    snprintf(path, sizeof path, "%s/digits/digits-ts.onnx", folder ? folder : "testdata");
    return path;
}

static inline struct ldnq_onnx *open_digits(void)
{
    struct ldnq_onnx *onnx;
    assert_ok(ldnq_onnx_from_path(digits_path(), &onnx, &err));
    return onnx;
}

static inline struct ldnq_dataset *open_arrays(void)
{
    const struct ldnq_ndarray arrays[] = {
        { .dtype = "float32", .shape = all_shape, .rank = 4, .data = sample_data },
        { .name = "labels",
          .dtype = "int64",
          .shape = label_shape,
          .rank = 1,
          .data = sample_labels },
    };
    struct ldnq_dataset *dataset;
    assert_ok(ldnq_dataset_from_arrays(arrays, 2, &dataset, &err));
    return dataset;
}

static inline struct ldnq_options *make_options(const char *weights, const char *solver)
{
    struct ldnq_options *options;
    assert_ok(ldnq_options_create(&options, &err));
    assert_ok(ldnq_options_set(options, "target", "weights", &err));
    assert_ok(ldnq_options_set(options, "weights", weights, &err));
    assert_ok(ldnq_options_set(options, "solver", solver, &err));
    assert_ok(ldnq_options_set(options, "threads", "2", &err));
    return options;
}

#endif
