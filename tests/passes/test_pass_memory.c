/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out at any allocation of the passes. */
#include "graph_build.h"

#include "base/alloc.h"

/* ---- a graph that every pass works on --------------------------------------------------- */

static struct ldnq_graph *build_body(struct ldnq_graph *outer, const char *name)
{
    struct ldnq_graph *body;
    assert_ok(ldnq_graph_create(outer->arena, name, outer->file, &body, &err));
    body->outer = outer;
    body->nodes = ldnq_arena_alloc(outer->arena, 8, sizeof *body->nodes, &err);
    body->inputs = ldnq_arena_alloc(outer->arena, 8, sizeof *body->inputs, &err);
    body->outputs = ldnq_arena_alloc(outer->arena, 8, sizeof *body->outputs, &err);
    return body;
}

static void add_body(struct ldnq_value *of, const char *name, struct ldnq_graph *body)
{
    struct ldnq_node *node = of->producer;
    struct ldnq_attr *attrs = (struct ldnq_attr *)(uintptr_t)node->attrs;
    attrs[node->attr_count++] =
        (struct ldnq_attr){ .name = name, .kind = LDNQ_ATTR_GRAPH, .g = body };
}

/* The value of `body` that represents `outer`, which `of` captures. */
static struct ldnq_value *capture(struct ldnq_value *of, struct ldnq_graph *body,
                                  struct ldnq_value *outer)
{
    struct ldnq_value *inner;
    struct ldnq_node *node = of->producer;
    assert_ok(ldnq_graph_add_capture(body, outer->name, outer, &inner, &err));
    if (!node->captures)
        node->captures = ldnq_arena_alloc(body->arena, 8, sizeof *node->captures, &err);
    for (size_t i = 0; i < node->capture_count; i++)
        if (node->captures[i] == outer)
            return inner;
    node->captures[node->capture_count++] = outer;
    node->inputs[node->input_count++] = outer;
    return inner;
}

static struct ldnq_value *build_if(struct ldnq_graph *graph, const char *name,
                                   struct ldnq_value *condition, struct ldnq_value *x)
{
    static const char *const branches[] = { "then_branch", "else_branch" };
    static const char *const types[] = { "Relu", "Neg" };
    struct ldnq_value *out = NODE(graph, "If", name, condition);
    for (int i = 0; i < 2; i++) {
        struct ldnq_graph *body = build_body(graph, branches[i]);
        struct ldnq_value *inner = capture(out, body, x);
        struct ldnq_value *w = build_weight(body, "w", SHAPE(1), 3);
        build_output(body, NODE(body, types[i], "first", inner));
        build_output(body,
                     NODE(body, "Add", "second", body->outputs[0], NODE(body, "Exp", "e", w)));
        body->outputs[0] = body->outputs[1];
        body->output_count = 1;
        add_body(out, branches[i], body);
    }
    return out;
}

/* Three iterations that add x to the carried value. */
static struct ldnq_value *build_loop(struct ldnq_graph *graph, struct ldnq_value *x)
{
    struct ldnq_value *trips = build_ints(graph, "trips", 1, (int64_t[]){ 3 });
    struct ldnq_value *yes;
    struct ldnq_tensor *tensor;
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_BOOL, &SHAPE(1), &tensor, &err));
    *(uint8_t *)tensor->data = 1;
    assert_ok(ldnq_graph_add_constant(graph, "yes", tensor, &yes, &err));
    struct ldnq_value *out = NODE(graph, "Loop", "loop", trips, yes, x);
    struct ldnq_graph *body = build_body(graph, "body");
    struct ldnq_value *i = build_input(body, "i", SHAPE(1));
    struct ldnq_value *go_on = build_input(body, "go_on", SHAPE(1));
    struct ldnq_value *sum = build_input(body, "sum", SHAPE(1));
    i->dtype = LDNQ_INT64;
    go_on->dtype = LDNQ_BOOL;
    sum->shape.rank = LDNQ_RANK_UNKNOWN;
    build_output(body, NODE(body, "Identity", "same", go_on));
    build_output(body, NODE(body, "Add", "more", sum, capture(out, body, x)));
    add_body(out, "body", body);
    return out;
}

/* x -> Pad -> Conv -> BatchNormalization -> If (constant) -> If (fed) -> Loop, reshaped by
 * shape arithmetic on the symbolic batch. */
static struct ldnq_graph *build_everything(void)
{
    static const int64_t pads[] = { 0, 0, 1, 1, 0, 0, 1, 1 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 5, 4));
    struct ldnq_value *condition = build_input(graph, "condition", SHAPE(1));
    condition->dtype = LDNQ_BOOL;
    struct ldnq_value *pad = NODE(graph, "Pad", "pad", x, build_ints(graph, "pads", 8, pads));
    struct ldnq_value *conv =
        NODE(graph, "Conv", "conv", pad, build_weight(graph, "w", SHAPE(3, 2, 3, 3), 1));
    struct ldnq_value *variance = build_weight(graph, "var", SHAPE(3), 2);
    for (int i = 0; i < 3; i++)
        ((float *)variance->constant->data)[i] += 1.5f;
    struct ldnq_value *norm =
        NODE(graph, "BatchNormalization", "norm", conv, build_weight(graph, "scale", SHAPE(3), 3),
             build_weight(graph, "shift", SHAPE(3), 4), build_weight(graph, "mean", SHAPE(3), 5),
             variance);
    struct ldnq_tensor *tensor;
    struct ldnq_value *no;
    assert_ok(ldnq_tensor_create(graph->arena, LDNQ_BOOL, &SHAPE(1), &tensor, &err));
    assert_ok(ldnq_graph_add_constant(graph, "no", tensor, &no, &err));
    struct ldnq_value *taken = build_if(graph, "taken", no, norm);
    struct ldnq_value *chosen = build_if(graph, "chosen", condition, taken);
    struct ldnq_value *loop = build_loop(graph, chosen);
    struct ldnq_value *batch = NODE(graph, "Gather", "gather", NODE(graph, "Shape", "shape", x),
                                    build_ints(graph, "zero", 1, (int64_t[]){ 0 }));
    struct ldnq_value *target =
        NODE(graph, "Concat", "concat", batch, build_ints(graph, "rest", 1, (int64_t[]){ -1 }));
    build_attr(target, "axis", 0);
    build_output(graph, NODE(graph, "Reshape", "flat", loop, target));
    return graph;
}

/* ---- running out ---------------------------------------------------------------------- */

static enum ldnq_status run_passes(long allowed)
{
    struct ldnq_graph *graph = build_everything();
    err = (struct ldnq_error){ 0 };
    ldnq_alloc_fail_after(allowed);
    enum ldnq_status status = ldnq_passes_run(graph, &err);
    ldnq_alloc_fail_after(-1);
    if (status == LDNQ_OK) {
        assert_null(ldnq_graph_find_node(graph, "pad"));
        assert_null(ldnq_graph_find_node(graph, "norm"));
        assert_null(ldnq_graph_find_node(graph, "taken"));
        assert_non_null(ldnq_graph_find_node(graph, "chosen"));
    } else {
        assert_true(*err.message && err.status == status);
    }
    build_free(graph);
    return status;
}

static void passes_should_report_any_failed_allocation(void **state)
{
    (void)state;
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 1000; allowed++)
        status = run_passes(allowed);
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_should_report_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("pass_memory", tests, NULL, NULL);
}
