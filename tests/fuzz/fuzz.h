/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h: what the fuzz targets share.
 *
 * A target is a file with LLVMFuzzerTestOneInput. It is linked twice: with libFuzzer (tools/fuzz)
 * and with replay.c, which runs the files that its arguments name.
 *
 * A target ends the process only where the library breaks a promise (FUZZ_CHECK); an input that
 * is refused is a good outcome.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ir/ir.h"
#include "ldnq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Also in builds without assert. */
#define FUZZ_CHECK(holds, ...)                                                                     \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "promise broken: " __VA_ARGS__);                                       \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Values that an executor may hold, so that inputs which ask for gigabytes end early. */
#define FUZZ_MEMORY ((size_t)64 << 20)
/* Iterations of the loops in a run. */
#define FUZZ_ITERATIONS 256
/* Operations of one node: fractions of a second, also under sanitizers. */
#define FUZZ_OPERATIONS ((size_t)1 << 24)
/* Elements of all inputs of a model that is run. */
#define FUZZ_MOST_ELEMENTS ((size_t)1 << 14)

/* Limits the memory and acquires BLAS, once per process. */
void fuzz_init(void);

/* Prints the outcome where the environment has FUZZ_VERBOSE. */
void fuzz_report(enum ldnq_status status, const struct ldnq_error *err);

/* The process's own folder, which is removed at its end. */
const char *fuzz_folder(void);
/* Writes a file of that folder, and returns its path, valid until the next call. */
const char *fuzz_write_file(const char *name, const void *bytes, size_t size);

/* Random but reproducible elements: small numbers of the type. */
void fuzz_fill(const struct ldnq_tensor *tensor, uint64_t seed);

/* The graph's inputs with small sizes for symbols; NULL where an input is no tensor of numbers,
 * or where they are too large. */
struct ldnq_tensor **fuzz_make_inputs(const struct ldnq_graph *graph, struct ldnq_arena *arena);

/* `count` random samples for the model in these bytes; NULL where the model can't be imported or
 * its inputs do not suit. The caller destroys it, and the arena after it. */
struct ldnq_dataset *fuzz_make_dataset(const void *bytes, size_t size, size_t count,
                                       struct ldnq_arena *arena);

/* The JSON of a result has to be valid. */
void fuzz_check_json(const struct ldnq_result *result);

#endif
