/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite_operators IN OUT TARGET: loads a model, rewrites its operators for the target, and
 * saves it without quantizing anything; exits with the status. For the tests in tests/python. */
#include <stdio.h>

#include "emit/rewrite_operators.h"
#include "onnx/edit.h"
#include "passes/passes.h"

static enum ldnq_status rewrite(struct ldnq_model *model, const struct ldnq_target *target,
                                struct ldnq_arena *arena, struct ldnq_error *err)
{
    struct ldnq_graph *graph;
    bool changed;
    LDNQ_TRY(ldnq_model_import(model, arena, &graph, err));
    LDNQ_TRY(ldnq_passes_run(graph, err));
    LDNQ_TRY(ldnq_emit_rewrite_operators(model, graph, target, &changed, err));
    return ldnq_edit_prune(model, err);
}

static enum ldnq_status rewrite_file(const char *in, const char *out,
                                     const struct ldnq_target *target, struct ldnq_error *err)
{
    struct ldnq_model *model;
    struct ldnq_arena *arena;
    LDNQ_TRY(ldnq_model_load(in, &model, err));
    enum ldnq_status status = ldnq_arena_create(&arena, err);
    if (status == LDNQ_OK) {
        status = rewrite(model, target, arena, err);
        ldnq_arena_destroy(arena);
    }
    if (status == LDNQ_OK)
        status = ldnq_model_save(model, out, err);
    ldnq_model_destroy(model);
    return status;
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { 0 };
    const struct ldnq_target *target = argc == 4 ? ldnq_target_find(argv[3]) : NULL;
    if (!target) {
        fprintf(stderr, "usage: rewrite_operators IN OUT TARGET\n");
        return LDNQ_USAGE;
    }
    enum ldnq_status status = rewrite_file(argv[1], argv[2], target, &err);
    if (status != LDNQ_OK)
        fprintf(stderr, "%s\n", err.message);
    return (int)status;
}
