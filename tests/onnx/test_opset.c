/* SPDX-License-Identifier: Apache-2.0 */
/* What tests/python/test_opset.py, which needs ONNX Runtime, does not see. */
#include "make.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "onnx/opset.h"

static struct make make;
static struct ldnq_model *model;

static int end(void **state)
{
    (void)state;
    ldnq_model_destroy(model);
    make_end(&make);
    model = NULL;
    return 0;
}

static void add_softmax_and_squeeze(void)
{
    make_node(&make, "Softmax", "soft", "u", NULL, "p");
    Onnx__NodeProto *squeeze = make_node(&make, "Unsqueeze", "un", "p", NULL, "q");
    assert_ok(ldnq_build_ints_attr(make.arena, squeeze, "axes", (int64_t[]){ 0, 3 }, 2, &err));
    make_output(&make, "q");
}

static void raise_should_keep_the_nodes_that_a_graph_points_to(void **state)
{
    (void)state;
    make = make_small(11);
    add_softmax_and_squeeze();
    model = make_load(&make);
    const Onnx__GraphProto *graph = model->proto->graph;
    const Onnx__NodeProto *bias = graph->node[1], *squeeze = graph->node[4];
    assert_ok(ldnq_model_raise_opset(model, 21, &err));
    assert_int_equal(ldnq_model_opset(model), 21);
    assert_int_equal(ldnq_model_ir_version(model), 10);
    assert_int_equal(graph->n_node, 8);
    assert_ptr_equal(graph->node[1], bias);
    assert_ptr_equal(graph->node[7], squeeze);
    assert_int_equal(squeeze->n_input, 2);
    const char *inputs[] = { "b" };
    assert_ok(ldnq_edit_insert_node(model, bias, "Relu", "", inputs, 1, "b2", NULL, 0, &err));
    assert_ptr_equal(graph->node[2], bias);
}

static void raise_should_do_nothing_when_the_model_is_there(void **state)
{
    (void)state;
    make = make_small(13);
    model = make_load(&make);
    assert_ok(ldnq_model_raise_opset(model, 13, &err));
    assert_ok(ldnq_model_raise_opset(model, 10, &err));
    assert_int_equal(onnx__model_proto__get_packed_size(model->proto), make.size);
}

static void raise_should_leave_a_refused_model_as_it_was(void **state)
{
    (void)state;
    make = make_small(8);
    add_softmax_and_squeeze();
    make_node(&make, "Scan", "scan", "x", NULL, "s");
    make_node(&make, "Nonsense", "", "x", NULL, "n");
    model = make_load(&make);
    assert_fails(ldnq_model_raise_opset(model, 21, &err), LDNQ_UNSUPPORTED,
                 "m.onnx: can't be raised from opset 8 to 21: node 'scan' (Scan): ");
    assert_non_null(strstr(err.message, "; node 'Nonsense#6' (Nonsense): is not an operator"));
    uint8_t *bytes = malloc(make.size);
    assert_int_equal(onnx__model_proto__get_packed_size(model->proto), make.size);
    onnx__model_proto__pack(model->proto, bytes);
    assert_memory_equal(bytes, make.bytes, make.size);
    free(bytes);
}

static void raise_should_refuse_opsets_that_it_does_not_know(void **state)
{
    (void)state;
    make = make_small(13);
    model = make_load(&make);
    assert_fails(ldnq_model_raise_opset(model, 26, &err), LDNQ_USAGE, "opset 26 is unknown");
    end(state);
    make = make_small(6);
    model = make_load(&make);
    assert_fails(ldnq_model_raise_opset(model, 13, &err), LDNQ_UNSUPPORTED, "written in opset 6");
}

static void raise_should_survive_failing_allocation(void **state)
{
    (void)state;
    make = make_small(11);
    add_softmax_and_squeeze();
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 100; allowed++) {
        ldnq_alloc_fail_after(-1);
        ldnq_model_destroy(model);
        model = make_load(&make);
        ldnq_alloc_fail_after(allowed);
        status = ldnq_model_raise_opset(model, 21, &err);
    }
    ldnq_alloc_fail_after(-1);
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 1);
}

static void find_should_know_every_operator_of_its_table(void **state)
{
    (void)state;
    assert_non_null(ldnq_opset_find("Abs"));
    assert_non_null(ldnq_opset_find("Xor"));
    assert_non_null(ldnq_opset_find("Relu"));
    assert_null(ldnq_opset_find(""));
    assert_null(ldnq_opset_find("Zzz"));
    assert_non_null(ldnq_opset_step(ldnq_opset_find("Split"), 18));
    assert_null(ldnq_opset_step(ldnq_opset_find("Split"), 11));
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(raise_should_keep_the_nodes_that_a_graph_points_to),
        TEST(raise_should_do_nothing_when_the_model_is_there),
        TEST(raise_should_leave_a_refused_model_as_it_was),
        TEST(raise_should_refuse_opsets_that_it_does_not_know),
        TEST(raise_should_survive_failing_allocation),
        cmocka_unit_test(find_should_know_every_operator_of_its_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
