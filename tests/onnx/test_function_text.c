/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include "onnx/build.h"
#include "onnx/contributed.h"
#include "onnx/function_text.h"

static struct ldnq_arena *arena;

static int set_up(void **state)
{
    (void)state;
    return ldnq_arena_create(&arena, &err) == LDNQ_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    return 0;
}

/* A call with these inputs; "" for one that is left out. */
static Onnx__NodeProto *make_call(const char *const *inputs, size_t count)
{
    Onnx__NodeProto *call = ldnq_build_node(arena, "F", "call", inputs, count, NULL, 0, &err);
    assert_non_null(call);
    return call;
}

static const Onnx__FunctionProto *parse(const char *text, const Onnx__NodeProto *call)
{
    Onnx__FunctionProto *function;
    assert_ok(ldnq_function_parse(arena, text, 21, call, &function, &err));
    return function;
}

static void a_function_should_have_what_its_text_says(void **state)
{
    (void)state;
    const char *const inputs[] = { "a" };
    const Onnx__FunctionProto *function = parse(
        "F (x, low) => (y, z) <alpha = 0.5, axis = -1>\n"
        "  y, z = Split <axis = @axis, num_outputs = 2, kind = \"tanh\", pads = [1, -2]> (x)\n"
        "  z = com.microsoft.Clip (x, , low)\n",
        make_call(inputs, 1));
    assert_string_equal(function->name, "F");
    assert_int_equal(function->n_input, 2);
    assert_string_equal(function->input[1], "low");
    assert_int_equal(function->n_output, 2);
    assert_int_equal(function->opset_import[0]->version, 21);
    assert_int_equal(function->n_attribute_proto, 2);
    assert_true(function->attribute_proto[0]->f == 0.5f);
    assert_int_equal(function->attribute_proto[1]->i, -1);
    assert_int_equal(function->n_node, 2);
    const Onnx__NodeProto *split = function->node[0], *clip = function->node[1];
    assert_string_equal(split->op_type, "Split");
    assert_int_equal(split->n_output, 2);
    assert_int_equal(split->n_attribute, 4);
    assert_string_equal(split->attribute[0]->ref_attr_name, "axis");
    assert_int_equal(split->attribute[1]->i, 2);
    assert_memory_equal(split->attribute[2]->s.data, "tanh", 4);
    assert_int_equal(split->attribute[3]->n_ints, 2);
    assert_int_equal(split->attribute[3]->ints[1], -2);
    assert_string_equal(split->domain, "");
    assert_string_equal(clip->op_type, "Clip");
    assert_string_equal(clip->domain, "com.microsoft");
    assert_int_equal(clip->n_input, 3);
    assert_string_equal(clip->input[1], "");
    assert_string_equal(clip->input[2], "low");
}

/* The types of the function's nodes for a call with or without an input, and an attribute. */
static void check_nodes(const char *text, bool has_input, int64_t attribute, const char *expected)
{
    const char *const inputs[] = { "a", has_input ? "b" : "" };
    Onnx__NodeProto *call = make_call(inputs, 2);
    assert_ok(ldnq_build_int_attr(arena, call, "flag", attribute, &err));
    const Onnx__FunctionProto *function = parse(text, call);
    char types[64] = "";
    for (size_t i = 0; i < function->n_node; i++)
        strcat(types, function->node[i]->op_type);
    assert_string_equal(types, expected);
}

static void conditions_should_choose_lines_and_blocks(void **state)
{
    (void)state;
    static const char lines[] = "F (x, bias) => (y)\n"
                                "  if bias: y = A (x)\n"
                                "  unless bias: y = B (x)\n"
                                "  if @flag: y = C (x)\n"
                                "  unless @flag: y = D (x)\n"
                                "  if @missing: y = E (x)\n";
    check_nodes(lines, true, 1, "AC");
    check_nodes(lines, false, 0, "BD");
    static const char blocks[] = "F (x, bias) => (y)\n"
                                 "  if bias:\n"
                                 "    y = A (x)\n"
                                 "    if @flag:\n"
                                 "      y = B (x)\n"
                                 "    end\n"
                                 "    unless @flag: y = C (x)\n"
                                 "    y = D (x)\n"
                                 "  end\n"
                                 "  y = E (x)\n";
    check_nodes(blocks, true, 1, "ABDE");
    check_nodes(blocks, true, 0, "ACDE");
    check_nodes(blocks, false, 1, "E");
}

static void an_input_that_no_line_made_should_be_left_out(void **state)
{
    (void)state;
    static const char text[] = "F (x, bias) => (y)\n"
                               "  if bias: b = A (bias)\n"
                               "  y = B (x, b?)\n";
    const char *const inputs[] = { "a", "b" };
    const Onnx__FunctionProto *with = parse(text, make_call(inputs, 2));
    const Onnx__FunctionProto *without = parse(text, make_call(inputs, 1));
    assert_string_equal(with->node[1]->input[1], "b");
    assert_string_equal(without->node[0]->input[1], "");
}

static void an_empty_line_should_end_the_function(void **state)
{
    (void)state;
    const Onnx__FunctionProto *function =
        parse("F (x) => (y)\n  y = A (x)\n\n# of another kind\nG (x) => (y)\n", make_call(NULL, 0));
    assert_int_equal(function->n_node, 1);
}

static void a_wrong_text_should_be_refused_at_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "F x) => (y)\n", "expected ( before 'x)" },
        { "F (x) (y)\n", "expected => before '(y)" },
        { "F (x) => (y)", "before ''" },
        { "F (x) => (y)\n  y A (x)\n", "expected = before 'A (x)" },
        { "F (x) => (y)\n  y = A <a = > (x)\n", "a number before '> (x)" },
        { "F (x) => (y)\n  y = A <a = [1, ]> (x)\n", "an integer before ' ]>" },
        { "F (x) => (y)\n  y = A (x) z\n", "before 'z" },
        { "F (x) => (y)\n  if x:\n    y = A (x)\n", "expected \"end\"" },
        { "F (x) => (y)\n  end\n", "a condition" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Onnx__FunctionProto *function;
        assert_fails(
            ldnq_function_parse(arena, cases[i].text, 21, make_call(NULL, 0), &function, &err),
            LDNQ_MODEL, cases[i].message);
    }
}

/* Whether the name is one of the function's inputs, or an output of an earlier node. */
static bool is_known(const Onnx__FunctionProto *function, size_t nodes, const char *name)
{
    for (size_t i = 0; i < function->n_input; i++)
        if (strcmp(function->input[i], name) == 0)
            return true;
    for (size_t n = 0; n < nodes; n++)
        for (size_t o = 0; o < function->node[n]->n_output; o++)
            if (strcmp(function->node[n]->output[o], name) == 0)
                return true;
    return false;
}

static void check_function(const char *text, const Onnx__NodeProto *call)
{
    const Onnx__FunctionProto *function = parse(text, call);
    assert_true(function->n_node > 0);
    for (size_t n = 0; n < function->n_node; n++)
        for (size_t i = 0; i < function->node[n]->n_input; i++)
            if (*function->node[n]->input[i] && !is_known(function, n, function->node[n]->input[i]))
                fail_msg("%s: '%s' has no producer", function->name, function->node[n]->input[i]);
    assert_true(is_known(function, function->n_node, function->output[0]));
}

/* Whatever optional inputs a call has, each name that a node reads exists. Returns the functions.
 */
static size_t check_functions(const char *at)
{
    static const char *const all[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i" };
    size_t count = 0;
    for (; (at = strchr(at, '\n')); at++) {
        const size_t domain = strncmp(at + 1, "com.microsoft.", 14) == 0 ? 14
                              : strncmp(at + 1, "ai.onnx.", 8) == 0      ? 8
                                                                         : 0;
        if (!domain)
            continue;
        for (size_t inputs = 1; inputs <= 9; inputs++)
            check_function(at + 1 + domain, make_call(all, inputs));
        count++;
    }
    return count;
}

static void every_contributed_function_should_be_complete(void **state)
{
    (void)state;
    assert_true(check_functions(ldnq_contributed_functions_txt) > 15);
    assert_int_equal(check_functions(ldnq_contributed_layers_txt), 2);
}

#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(a_function_should_have_what_its_text_says),
        WITH_ARENA(conditions_should_choose_lines_and_blocks),
        WITH_ARENA(an_input_that_no_line_made_should_be_left_out),
        WITH_ARENA(an_empty_line_should_end_the_function),
        WITH_ARENA(a_wrong_text_should_be_refused_at_its_place),
        WITH_ARENA(every_contributed_function_should_be_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
