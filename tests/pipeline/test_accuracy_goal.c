/* SPDX-License-Identifier: Apache-2.0 */
/* Accuracy goals: the path up the ladders, and the search along it. */
#include "pipeline/network.h"

#include <math.h>
#include <string.h>

#include "pipeline/accuracy_goal.h"
#include "pipeline/goal_path.h"

/* ---- the path, of ladders that are written down --------------------------------------------- */

#define ENTRIES 3
#define CHOICES 2

static double errors[ENTRIES * CHOICES] = { 8, 1, 4, 3.9, 1, 0.5 };
static double costs[ENTRIES * CHOICES] = { 10, 20, 10, 20, 100, 200 };
static double elements[ENTRIES] = { 10, 10, 100 };
static double macs[ENTRIES] = { 1, 1, 98 };
static double inputs[ENTRIES];
static bool pinned[ENTRIES];
static bool has_wide = false, has_float = true;

static struct ldnq_goal_path make_path(struct ldnq_arena *arena,
                                       struct ldnq_bit_allocation *ladders,
                                       struct ldnq_goal_layers *layers, bool has_integer_kernels)
{
    struct ldnq_goal_path path;
    *ladders = (struct ldnq_bit_allocation){ .count = ENTRIES,
                                             .choices = CHOICES,
                                             .errors = errors,
                                             .costs = costs,
                                             .elements = elements,
                                             .weights = 120 };
    *layers = (struct ldnq_goal_layers){ .pinned = pinned, .macs = macs, .input = inputs };
    const struct ldnq_goal_costs all = { ladders, layers, has_integer_kernels, has_wide,
                                         has_float };
    assert_ok(ldnq_goal_path_make(&all, arena, &path, &err));
    return path;
}

/* Gains by hand, in error per byte: entry 0 to rung 1 7/10 = .7, float 8/30; entry 1 to rung 1
 * .1/10, float 4/30 = .133; entry 2 to rung 1 .5/100, float 1/300. Then entry 0 to float 1/20. */
static void moves_should_be_in_order_of_their_gain(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_bit_allocation ladders;
    struct ldnq_goal_layers layers;
    const struct ldnq_goal_path path = make_path(graph->arena, &ladders, &layers, false);
    static const struct ldnq_goal_move want[] = { { 0, 1 }, { 1, 2 }, { 0, 2 }, { 2, 1 } };
    assert_int_equal(path.move_count, 4); /* the last one would leave no codes */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(path.moves[i].entry, want[i].entry);
        assert_int_equal(path.moves[i].rung, want[i].rung);
    }
    size_t rungs[ENTRIES];
    ldnq_goal_path_rungs(&path, 2, rungs);
    assert_true(rungs[0] == 1 && rungs[1] == 2 && rungs[2] == 0);
    assert_true(ldnq_goal_path_bytes(&path, rungs) == 20 + 40 + 100);
    assert_true(ldnq_goal_path_error(&path, rungs) == 1 + 0 + 1);
    assert_int_equal(ldnq_goal_path_find_lower_rung(&path, 0, 2, 4), 1);
    assert_int_equal(ldnq_goal_path_find_lower_rung(&path, 1, 2, 4), 0);
    build_free(graph);
}

/* The third layer has nearly all multiplications: float, it would cost the time of the network. */
static void float_should_cost_time_where_there_are_integer_kernels(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_bit_allocation ladders;
    struct ldnq_goal_layers layers;
    inputs[2] = 40; /* float would remove this error too: 41 for 300 bytes, entry 1 4 for 30 */
    struct ldnq_goal_path path = make_path(graph->arena, &ladders, &layers, false);
    assert_true(path.moves[1].entry == 2 && path.moves[1].rung == 2);
    path = make_path(graph->arena, &ladders, &layers, true);
    assert_true(path.moves[1].entry == 1 && path.moves[1].rung == 2);
    assert_true(path.moves[2].entry == 2 && path.moves[2].rung == 2);
    inputs[2] = 0;
    build_free(graph);
}

/* The rounded input is nearly all of the third layer's error: 16 bits take it away for half of the
 * time that float costs. */
static void inputs_of_16_bits_should_be_a_rung_below_float(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_bit_allocation ladders;
    struct ldnq_goal_layers layers;
    inputs[2] = 40;
    has_wide = true;
    const struct ldnq_goal_path path = make_path(graph->arena, &ladders, &layers, true);
    assert_true(path.moves[1].entry == 2 && path.moves[1].rung == CHOICES);
    assert_true(ldnq_goal_rung_is_wide(&path.costs, CHOICES, CHOICES));
    assert_true(ldnq_goal_rung_is_float(&path.costs, CHOICES, CHOICES + 1));
    const size_t wide[ENTRIES] = { 0, 0, CHOICES };
    assert_true(ldnq_goal_path_bytes(&path, wide) == 10 + 10 + 200);
    assert_true(fabs(ldnq_goal_path_error(&path, wide) - (8 + 4 + 0.5)) < 1e-3);
    has_float = false; /* the rung is the highest one then */
    const struct ldnq_goal_path highest = make_path(graph->arena, &ladders, &layers, true);
    for (size_t i = 0; i < highest.move_count; i++)
        assert_true(highest.moves[i].rung <= CHOICES);
    has_wide = false;
    has_float = true;
    inputs[2] = 0;
    build_free(graph);
}

static void layers_should_stay_below_float_where_the_runtime_has_none(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_bit_allocation ladders;
    struct ldnq_goal_layers layers;
    has_float = false;
    const struct ldnq_goal_path path = make_path(graph->arena, &ladders, &layers, true);
    has_float = true;
    assert_int_equal(path.move_count, 3);
    for (size_t i = 0; i < path.move_count; i++)
        assert_int_equal(path.moves[i].rung, 1);
    build_free(graph);
}

static void pinned_entries_should_not_move(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_bit_allocation ladders;
    struct ldnq_goal_layers layers;
    pinned[0] = true;
    const struct ldnq_goal_path path = make_path(graph->arena, &ladders, &layers, false);
    for (size_t i = 0; i < path.move_count; i++)
        assert_int_not_equal(path.moves[i].entry, 0);
    pinned[0] = false;
    build_free(graph);
}

static void descent_should_begin_where_least_is_lost_per_cost(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_bit_allocation ladders;
    struct ldnq_goal_layers layers;
    const struct ldnq_goal_path path = make_path(graph->arena, &ladders, &layers, false);
    const size_t rungs[ENTRIES] = { 1, 2, 1 };
    bool marked[ENTRIES] = { false };
    assert_int_equal(ldnq_goal_path_find_entry_to_lower(&path, rungs, marked), 2);
    marked[2] = true;
    assert_int_equal(ldnq_goal_path_find_entry_to_lower(&path, rungs, marked), 1);
    marked[0] = marked[1] = true;
    assert_true(ldnq_goal_path_find_entry_to_lower(&path, rungs, marked) == SIZE_MAX);
    build_free(graph);
}

/* ---- the search ----------------------------------------------------------------------------- */

static const struct ldnq_codebook *codebooks[2];
static const unsigned bits[] = { 2, 8 };

static enum ldnq_status reach(const struct ldnq_graph *graph,
                              const struct ldnq_quantize_options *options, double sqnr,
                              struct ldnq_goal_result **result)
{
    struct ldnq_samples *samples = open_samples(graph);
    codebooks[0] = ldnq_codebook_find("int2");
    codebooks[1] = ldnq_codebook_find("int8");
    const struct ldnq_goal_options goal = {
        .goal = { .max_drop = NAN, .min_agreement = NAN, .min_sqnr = sqnr },
        .measured = { samples, LDNQ_SAMPLES_OF_THEIR_OWN, false },
        .codebooks = codebooks,
        .bits = bits,
        .codebook_count = 2,
    };
    const enum ldnq_status status =
        ldnq_reach_goal(graph, samples, options, &goal, graph->arena, result, &err);
    ldnq_samples_destroy(samples);
    return status;
}

static struct ldnq_quantize_options search_options(void)
{
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    options.estimate_draws = 32;
    return options;
}

static void result_should_be_the_smallest_that_was_tried_and_meets_the_goal(void **state)
{
    (void)state;
    for (double sqnr = 0; sqnr <= 40; sqnr += 10) {
        struct ldnq_graph *graph = build_prepared();
        const struct ldnq_quantize_options options = search_options();
        struct ldnq_goal_result *result;
        assert_ok(reach(graph, &options, sqnr, &result));
        const struct ldnq_goal_step *chosen = &result->steps[result->chosen];
        assert_true(chosen->meets && chosen->accuracy.sqnr >= sqnr);
        for (size_t i = 0; i < result->step_count; i++)
            assert_true(!result->steps[i].meets || result->steps[i].bytes >= chosen->bytes);
        build_free(graph);
    }
}

static bool is_reached(struct ldnq_plan_entry *entries, size_t count, double sqnr)
{
    struct ldnq_quantize_options options = search_options();
    struct ldnq_quantization *quantization;
    struct ldnq_accuracy accuracy;
    options.plan = entries;
    options.plan_count = count;
    struct ldnq_graph *reference = build_prepared(), *graph = quantized(&options, &quantization);
    struct ldnq_samples *samples = open_samples(reference);
    const struct ldnq_accuracy_options measuring = {
        .quantized = graph,
        .reference = reference,
        .measured = { samples, LDNQ_SAMPLES_OF_THEIR_OWN, false }
    };
    assert_ok(ldnq_accuracy_measure(&measuring, &accuracy, &err));
    ldnq_samples_destroy(samples);
    build_free(graph);
    build_free(reference);
    return accuracy.sqnr >= sqnr;
}

/* Every layer with int8 was tried with int2, by hand here. */
static void no_layer_should_be_wider_than_the_goal_needs(void **state)
{
    (void)state;
    size_t wide = 0;
    for (double sqnr = 6; sqnr <= 30; sqnr += 4) {
        struct ldnq_graph *graph = build_prepared();
        const struct ldnq_quantize_options options = search_options();
        struct ldnq_goal_result *result;
        assert_ok(reach(graph, &options, sqnr, &result));
        for (size_t i = 0; i < result->entry_count; i++) {
            const struct ldnq_codebook *codebook = result->entries[i].codebook;
            if (codebook != codebooks[1])
                continue;
            wide++;
            result->entries[i].codebook = codebooks[0];
            assert_false(is_reached(result->entries, result->entry_count, sqnr));
            result->entries[i].codebook = codebook;
        }
        build_free(graph);
    }
    assert_true(wide > 4);
}

/* Quantizing by the entries gives the accuracy of the step. */
static void entries_should_be_those_of_the_chosen_step(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    struct ldnq_quantize_options options = search_options();
    struct ldnq_goal_result *result;
    struct ldnq_quantization *quantization;
    struct ldnq_accuracy accuracy;
    assert_ok(reach(graph, &options, 25, &result));
    options.plan = result->entries;
    options.plan_count = result->entry_count;
    struct ldnq_graph *again = quantized(&options, &quantization);
    struct ldnq_samples *samples = open_samples(graph);
    const struct ldnq_accuracy_options measuring = {
        .quantized = again,
        .reference = graph,
        .measured = { samples, LDNQ_SAMPLES_OF_THEIR_OWN, false }
    };
    assert_ok(ldnq_accuracy_measure(&measuring, &accuracy, &err));
    assert_true(accuracy.sqnr == result->steps[result->chosen].accuracy.sqnr);
    ldnq_samples_destroy(samples);
    build_free(again);
    build_free(graph);
}

static void easy_goal_should_need_one_quantization(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    const struct ldnq_quantize_options options = search_options();
    struct ldnq_goal_result *result;
    assert_ok(reach(graph, &options, -100, &result));
    assert_int_equal(result->step_count, 1);
    for (size_t i = 0; i < result->entry_count; i++)
        assert_string_equal(result->entries[i].codebook->name, "int2");
    build_free(graph);
}

static void goal_out_of_reach_should_fail_with_what_was_reached(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    const struct ldnq_quantize_options options = search_options();
    struct ldnq_goal_result *result;
    assert_int_equal(reach(graph, &options, 300, &result), LDNQ_GATE);
    assert_non_null(strstr(err.message, "the goal was not reached"));
    assert_non_null(strstr(err.message, "(goal 300)"));
    build_free(graph);
}

static void pinned_layer_should_keep_its_codebook(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    struct ldnq_quantize_options options = search_options();
    const struct ldnq_plan_entry entry = { .node = "plain",
                                           .codebook = ldnq_codebook_find("int4") };
    struct ldnq_goal_result *result;
    options.plan = &entry;
    options.plan_count = 1;
    assert_ok(reach(graph, &options, -100, &result));
    assert_int_equal(result->entry_count, 4);
    assert_string_equal(result->entries[0].node, "plain");
    assert_string_equal(result->entries[0].codebook->name, "int4");
    for (size_t i = 1; i < 4; i++)
        assert_string_not_equal(result->entries[i].node, "plain");
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_should_be_in_order_of_their_gain),
        cmocka_unit_test(float_should_cost_time_where_there_are_integer_kernels),
        cmocka_unit_test(inputs_of_16_bits_should_be_a_rung_below_float),
        cmocka_unit_test(layers_should_stay_below_float_where_the_runtime_has_none),
        cmocka_unit_test(pinned_entries_should_not_move),
        cmocka_unit_test(descent_should_begin_where_least_is_lost_per_cost),
        cmocka_unit_test(result_should_be_the_smallest_that_was_tried_and_meets_the_goal),
        cmocka_unit_test(no_layer_should_be_wider_than_the_goal_needs),
        cmocka_unit_test(entries_should_be_those_of_the_chosen_step),
        cmocka_unit_test(easy_goal_should_need_one_quantization),
        cmocka_unit_test(goal_out_of_reach_should_fail_with_what_was_reached),
        cmocka_unit_test(pinned_layer_should_keep_its_codebook),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
