/* SPDX-License-Identifier: Apache-2.0 */
#include "graphs.h"

#include "base/alloc.h"
#include "base/rng.h"

/* ---- order ------------------------------------------------------------------- */

/* Whether every node comes after those that it reads from. */
static bool is_sorted(const struct ldnq_graph *graph)
{
    return ldnq_graph_verify(graph, &err) == LDNQ_OK;
}

/* n chain nodes; node i reads v[i] and makes v[i+1]. With `backwards` the file
 * lists the last one first. */
static struct ldnq_graph *chain(size_t n, bool backwards, bool named)
{
    struct ldnq_graph *graph = make_graph(n);
    struct ldnq_value **values = calloc(n + 1, sizeof *values);
    values[0] = make_input(graph, "x");
    for (size_t i = 1; i <= n; i++)
        values[i] = make_value(graph, "");
    for (size_t place = 0; place < n; place++) {
        size_t i = backwards ? n - 1 - place : place;
        const char *name = named ? ldnq_arena_printf(graph->arena, &err, "node_%zu", i) : "";
        make_node(graph, "Relu", name, values[i], values[i + 1]);
    }
    free(values);
    return graph;
}

static void sort_should_keep_a_valid_order(void **state)
{
    (void)state;
    struct ldnq_graph *graph = chain(100, false, true);
    assert_ok(ldnq_graph_sort(graph, &err));
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(graph->nodes[i]->index, i);
    free_graph(graph);
}

static void sort_should_keep_independent_nodes_as_they_are(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(6);
    struct ldnq_value *x = make_input(graph, "x"), *late = make_value(graph, "late");
    make_node(graph, "A", "a", x, make_value(graph, "1"));
    make_node(graph, "B", "b", late, make_value(graph, "2"));
    make_node(graph, "C", "c", x, make_value(graph, "3"));
    make_node(graph, "D", "d", x, late);
    make_node(graph, "E", "e", x, make_value(graph, "4"));
    assert_ok(ldnq_graph_sort(graph, &err));
    char order[6] = "";
    for (size_t i = 0; i < 5; i++)
        order[i] = *graph->nodes[i]->name;
    assert_string_equal(order, "adbce");
    free_graph(graph);
}

static void sort_should_order_by_what_subgraphs_capture(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(2);
    struct ldnq_value *x = make_input(graph, "x"), *inner = make_value(graph, "inner");
    struct ldnq_node *node = make_node(graph, "If", "if", x, make_value(graph, "y"));
    make_node(graph, "Relu", "relu", x, inner);
    node->captures[0] = inner;
    node->capture_count = 1;
    assert_ok(ldnq_graph_sort(graph, &err));
    assert_string_equal(graph->nodes[0]->name, "relu");
    free_graph(graph);
}

/* Edges only from lower to higher numbers; the file lists them in any order. */
static void sort_should_order_any_graph_without_cycles(void **state)
{
    (void)state;
    enum { NODES = 60 };
    struct ldnq_rng rng = { 9 };
    for (int round = 0; round < 50; round++) {
        struct ldnq_graph *graph = make_graph(NODES);
        struct ldnq_value *out[NODES], *x = make_input(graph, "x");
        for (size_t i = 0; i < NODES; i++)
            out[i] = make_value(graph, "");
        for (size_t i = 0; i < NODES; i++) {
            struct ldnq_node *node = make_node(graph, "Add", "", x, out[i]);
            for (size_t in = 0; in < 2 && i > 0; in++)
                node->inputs[in] = out[ldnq_rng_below(&rng, i)];
            node->input_count = 2;
        }
        for (size_t i = NODES - 1; i > 0; i--) {
            size_t other = ldnq_rng_below(&rng, i + 1);
            struct ldnq_node *node = graph->nodes[i];
            graph->nodes[i] = graph->nodes[other];
            graph->nodes[other] = node;
        }
        assert_ok(ldnq_graph_sort(graph, &err));
        assert_true(is_sorted(graph));
        free_graph(graph);
    }
}

static void a_cycle_should_be_named_by_a_node_in_it(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(4);
    struct ldnq_value *a = make_value(graph, "a"), *b = make_value(graph, "b");
    make_node(graph, "Relu", "outside", b, make_value(graph, "c"));
    make_node(graph, "Relu", "in_cycle", a, b);
    make_node(graph, "Relu", "in_cycle_too", b, a);
    assert_fails(ldnq_graph_sort(graph, &err), LDNQ_MODEL, "node 'in_cycle");
    assert_non_null(strstr(err.message, "cycle"));
    assert_memory_equal(err.message, "m.onnx: ", 8);
    free_graph(graph);
    graph = make_graph(1);
    a = make_value(graph, "a");
    make_node(graph, "Relu", "self", a, a);
    assert_fails(ldnq_graph_sort(graph, &err), LDNQ_MODEL, "node 'self' (Relu, opset 13)");
    free_graph(graph);
}

static void an_empty_graph_should_be_sorted(void **state)
{
    (void)state;
    struct ldnq_graph *graph = make_graph(0);
    graph->nodes = NULL;
    assert_ok(ldnq_graph_sort(graph, &err));
    free_graph(graph);
}

/* Deep enough to overflow C's stack if the sort recursed, and long enough to
 * take minutes if it compared all names with all others. */
static void large_graphs_should_sort_in_no_time(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        const size_t nodes = 50000;
        struct ldnq_graph *graph = chain(nodes, kind & 1, kind & 2);
        assert_ok(ldnq_graph_sort(graph, &err));
        assert_true(is_sorted(graph));
        for (size_t i = 0; i < nodes; i++)
            assert_int_equal(graph->nodes[i]->index, kind & 1 ? nodes - 1 - i : i);
        free_graph(graph);
    }
}

static void one_name_for_all_nodes_should_not_make_it_slow(void **state)
{
    (void)state;
    const size_t nodes = 50000;
    struct ldnq_graph *graph = chain(nodes, true, false);
    for (size_t i = 0; i < nodes; i++)
        graph->nodes[i]->name = "the same one";
    assert_ok(ldnq_graph_sort(graph, &err));
    assert_string_equal(graph->nodes[0]->label, "the same one#49999");
    free_graph(graph);
}

static void a_failing_allocator_should_give_nomem(void **state)
{
    (void)state;
    for (long allowed = 0; allowed < 6; allowed++) {
        struct ldnq_graph *graph = chain(10, false, true);
        ldnq_alloc_fail_after(allowed);
        assert_fails(ldnq_graph_sort(graph, &err), LDNQ_NOMEM, "out of memory");
        ldnq_alloc_fail_after(-1);
        assert_ok(ldnq_graph_sort(graph, &err));
        free_graph(graph);
    }
}

/* ---- labels ------------------------------------------------------------------ */

/* A graph of nodes without connections, with these names. */
static struct ldnq_graph *named(const char *const *names, size_t count)
{
    struct ldnq_graph *graph = make_graph(count);
    for (size_t i = 0; i < count; i++)
        make_node(graph, "Conv", names[i], NULL, make_value(graph, ""));
    return graph;
}

static void assert_labels(const char *const *names, const char *const *labels, size_t count)
{
    struct ldnq_graph *graph = named(names, count);
    assert_ok(ldnq_graph_sort(graph, &err));
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(graph->nodes[i]->label, labels[i]);
        assert_ptr_equal(ldnq_graph_find_node(graph, labels[i]), graph->nodes[i]);
    }
    free_graph(graph);
}

static void labels_should_be_the_names_where_those_are_unique(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "", "b", "", "b" };
    static const char *const labels[] = { "a", "Conv#1", "b#2", "Conv#3", "b#4" };
    assert_labels(names, labels, 5);
}

static void labels_should_be_unique_where_names_look_like_labels(void **state)
{
    (void)state;
    static const char *const names[] = { "Conv#1", "", "b",      "b#2",     "b",
                                         "Conv#5", "", "Conv#6", "Conv#6#6" };
    static const char *const labels[] = { "Conv#1", "Conv#1#1",   "b#2#2",  "b#2",     "b#4",
                                          "Conv#5", "Conv#6#6#6", "Conv#6", "Conv#6#6" };
    assert_labels(names, labels, 9);
}

static void labels_should_be_unique_for_any_names(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "",       "Conv",     "Conv#0",   "Conv#1",   "Conv#2",
        "Conv#3", "Conv#1#1", "Conv#2#2", "Conv#3#3", "Conv#2#2#2"
    };
    struct ldnq_rng rng = { 4 };
    for (int round = 0; round < 300; round++) {
        const char *names[12];
        for (size_t i = 0; i < 12; i++)
            names[i] = pieces[ldnq_rng_below(&rng, sizeof pieces / sizeof *pieces)];
        struct ldnq_graph *graph = named(names, 12);
        assert_ok(ldnq_graph_sort(graph, &err));
        for (size_t i = 0; i < 12; i++)
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(graph->nodes[i]->label, graph->nodes[j]->label);
        free_graph(graph);
    }
}

static void labels_should_stay_when_a_graph_is_sorted_again(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "a", "" };
    struct ldnq_graph *graph = named(names, 3);
    assert_ok(ldnq_graph_sort(graph, &err));
    const char *first = graph->nodes[0]->label;
    graph->nodes[2] = graph->nodes[1];
    graph->nodes[1] = graph->nodes[0];
    graph->node_count = 3;
    graph->nodes[0] = ldnq_arena_alloc(graph->arena, 1, sizeof(struct ldnq_node), &err);
    *graph->nodes[0] = *graph->nodes[2];
    graph->nodes[0]->name = "a#0";
    graph->nodes[0]->label = NULL;
    graph->nodes[0]->output_count = 0;
    graph->nodes[0]->index = 7;
    assert_ok(ldnq_graph_sort(graph, &err));
    assert_string_equal(graph->nodes[0]->label, "a#0#7");
    assert_ptr_equal(graph->nodes[1]->label, first);
    assert_string_equal(graph->nodes[1]->label, "a#0");
    free_graph(graph);
}

static void find_node_should_take_a_label_or_a_unique_name(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "b", "b", "" };
    struct ldnq_graph *graph = named(names, 4);
    assert_ok(ldnq_graph_sort(graph, &err));
    assert_ptr_equal(ldnq_graph_find_node(graph, "a"), graph->nodes[0]);
    assert_ptr_equal(ldnq_graph_find_node(graph, "b#2"), graph->nodes[2]);
    assert_ptr_equal(ldnq_graph_find_node(graph, "Conv#3"), graph->nodes[3]);
    assert_null(ldnq_graph_find_node(graph, "b"));
    assert_null(ldnq_graph_find_node(graph, "c"));
    graph->nodes[0]->label = "renamed";
    assert_ptr_equal(ldnq_graph_find_node(graph, "a"), graph->nodes[0]);
    free_graph(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sort_should_keep_a_valid_order),
        cmocka_unit_test(sort_should_keep_independent_nodes_as_they_are),
        cmocka_unit_test(sort_should_order_by_what_subgraphs_capture),
        cmocka_unit_test(sort_should_order_any_graph_without_cycles),
        cmocka_unit_test(a_cycle_should_be_named_by_a_node_in_it),
        cmocka_unit_test(an_empty_graph_should_be_sorted),
        cmocka_unit_test(large_graphs_should_sort_in_no_time),
        cmocka_unit_test(one_name_for_all_nodes_should_not_make_it_slow),
        cmocka_unit_test(a_failing_allocator_should_give_nomem),
        cmocka_unit_test(labels_should_be_the_names_where_those_are_unique),
        cmocka_unit_test(labels_should_be_unique_where_names_look_like_labels),
        cmocka_unit_test(labels_should_be_unique_for_any_names),
        cmocka_unit_test(labels_should_stay_when_a_graph_is_sorted_again),
        cmocka_unit_test(find_node_should_take_a_label_or_a_unique_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
