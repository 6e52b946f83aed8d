/* SPDX-License-Identifier: Apache-2.0 */
/* value_shapes.c: what is known of each value of models before data come.
 *
 *   value_shapes MODEL...
 *
 * A line "model PATH", then for each value of the graph NAME, TYPE and SHAPE with
 * tabs between: "?" where the rank is open, else sizes with commas, "s7" for symbol
 * 7. Models that can't be imported, and nodes that can't be executed, give a line
 * "refused REASON"; what is known of the rest follows all the same.
 */
#include "linalg/blas.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

#include <inttypes.h>
#include <stdio.h>

static void print_value(const struct ldnq_value *value)
{
    printf("%s\t%s\t", value->name, ldnq_dtype_name(value->dtype));
    if (value->shape.rank < 0)
        printf("?");
    for (int i = 0; i < value->shape.rank; i++) {
        int64_t dim = value->shape.dim[i];
        bool is_symbol = ldnq_is_symbol(dim);
        printf("%s%s%" PRId64, i ? "," : "", is_symbol ? "s" : "",
               is_symbol ? dim - LDNQ_SYMBOL_BASE : dim);
    }
    printf("\n");
}

static enum ldnq_status show(const char *path, struct ldnq_arena *arena, struct ldnq_model **model,
                             struct ldnq_error *err)
{
    struct ldnq_graph *graph;
    LDNQ_TRY(ldnq_model_load(path, model, err));
    LDNQ_TRY(ldnq_model_import(*model, arena, &graph, err));
    enum ldnq_status status = ldnq_pass_bind_and_fold(graph, err);
    for (size_t i = 0; i < graph->value_count; i++)
        print_value(graph->values[i]);
    return status;
}

int main(int argc, char **argv)
{
    ldnq_blas_acquire();
    for (int i = 1; i < argc; i++) {
        struct ldnq_error err = { 0 };
        struct ldnq_arena *arena = NULL;
        struct ldnq_model *model = NULL;
        printf("model %s\n", argv[i]);
        enum ldnq_status status = ldnq_arena_create(&arena, &err);
        if (status == LDNQ_OK)
            status = show(argv[i], arena, &model, &err);
        if (status != LDNQ_OK)
            printf("refused %s\n", err.message);
        ldnq_model_destroy(model);
        ldnq_arena_destroy(arena);
    }
    ldnq_blas_release();
    return 0;
}
