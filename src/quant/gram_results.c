/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/gram_results.h"

#include "base/mapping.h"

/* One matrix is in memory at a time, and those that are read later are in files. */
static bool make_room(struct ldnq_gram_results *results, const struct ldnq_layer_problem *problem)
{
    const size_t squares = problem->groups * problem->cols * problem->cols;
    struct ldnq_error ignored;
    for (size_t i = 0; i < results->count; i++)
        if (results->results[i].inverse.factor)
            ldnq_mapping_release_pages(results->results[i].inverse.factor,
                                       squares * sizeof *results->results[i].inverse.factor);
    if (results->arena)
        return true;
    if (ldnq_arena_create(&results->arena, &ignored) != LDNQ_OK)
        return false;
    ldnq_arena_limit_memory(results->arena, 0);
    return true;
}

struct ldnq_gram_result *ldnq_gram_results_find(const struct ldnq_layer_problem *problem)
{
    struct ldnq_gram_results *results = problem->gram_results;
    const size_t columns = problem->groups * problem->cols;
    if (!results || !problem->gram || !make_room(results, problem))
        return NULL;
    const struct ldnq_gram_result wanted = {
        .gram = XXH3_128bits(problem->gram, columns * problem->cols * sizeof *problem->gram),
        .mean = XXH3_128bits(problem->mean, problem->mean ? columns * sizeof *problem->mean : 0),
    };
    for (size_t i = 0; i < results->count; i++)
        if (XXH128_isEqual(results->results[i].gram, wanted.gram) &&
            XXH128_isEqual(results->results[i].mean, wanted.mean))
            return &results->results[i];
    if (results->count == LDNQ_GRAM_RESULTS)
        return NULL;
    results->results[results->count] = wanted;
    return &results->results[results->count++];
}

void ldnq_gram_results_clear(struct ldnq_gram_results *results)
{
    ldnq_arena_destroy(results->arena);
    *results = (struct ldnq_gram_results){ .arena = NULL };
}
