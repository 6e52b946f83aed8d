/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/adam.h"

#include <math.h>

#define BETA1 0.9
#define BETA2 0.999
#define EPSILON 1e-12f

enum ldnq_status ldnq_adam_init(struct ldnq_adam *adam, size_t count, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    adam->count = count;
    adam->value = ldnq_arena_alloc(arena, count, sizeof *adam->value, err);
    adam->gradient = ldnq_arena_alloc(arena, count, sizeof *adam->gradient, err);
    adam->mean = ldnq_arena_alloc(arena, count, sizeof *adam->mean, err);
    adam->square = ldnq_arena_alloc(arena, count, sizeof *adam->square, err);
    return adam->value && adam->gradient && adam->mean && adam->square ? LDNQ_OK : LDNQ_NOMEM;
}

void ldnq_adam_step(struct ldnq_adam *adam, size_t step, double rate)
{
    const double corrected = sqrt(1 - pow(BETA2, (double)step)) / (1 - pow(BETA1, (double)step));
    const float length = (float)(rate * corrected);
    for (size_t i = 0; i < adam->count; i++) {
        const float g = adam->gradient[i];
        adam->gradient[i] = 0;
        adam->mean[i] += (float)(1 - BETA1) * (g - adam->mean[i]);
        adam->square[i] += (float)(1 - BETA2) * (g * g - adam->square[i]);
        adam->value[i] -= length * adam->mean[i] / (sqrtf(adam->square[i]) + EPSILON);
    }
}
