/* SPDX-License-Identifier: Apache-2.0 */
/* Mixed precision: bit allocations within a budget, and quantization by a plan. */
#include "pipeline/network.h"

#include <math.h>
#include <string.h>

static const struct ldnq_codebook *codebooks[3];
static const unsigned bits[] = { 2, 4, 8 };

static struct ldnq_budget budget_of(enum ldnq_budget_unit unit, double amount)
{
    const char *names[] = { "int2", "int4", "int8" };
    for (size_t i = 0; i < 3; i++)
        codebooks[i] = ldnq_codebook_find(names[i]);
    return (struct ldnq_budget){
        .unit = unit, .amount = amount, .codebooks = codebooks, .bits = bits, .count = 3
    };
}

static enum ldnq_status make(const struct ldnq_graph *graph, const struct ldnq_budget *budget,
                             struct ldnq_bit_allocation **plan)
{
    struct ldnq_samples *samples = open_samples(graph);
    const struct ldnq_quantize_options options = options_of("ternary", "rtn");
    const enum ldnq_status status =
        ldnq_allocate_bits(graph, samples, &options, budget, graph->arena, plan, &err);
    ldnq_samples_destroy(samples);
    return status;
}

/* The output's error with one layer's weight and bias in place of the float ones. */
static double error_of(const struct ldnq_quantized_layer *result)
{
    struct ldnq_graph *graph = build_prepared();
    struct ldnq_node *node = graph->nodes[result->layer.node_index];
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 6, 6), 77);
    const struct ldnq_tensor *want = build_run(graph, input);
    node->inputs[result->layer.weight_input]->constant = result->weight;
    if (result->bias)
        node->inputs[result->layer.bias_input]->constant = result->bias;
    const double error = difference(build_run(graph, input), want);
    build_free(graph);
    return error;
}

static void errors_should_be_those_of_the_output_with_one_layer_quantized(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
    struct ldnq_bit_allocation *plan;
    assert_ok(make(graph, &budget, &plan));
    assert_int_equal(plan->count, 4);
    for (size_t c = 0; c < 3; c++) {
        struct ldnq_quantization *result;
        const struct ldnq_quantize_options options = options_of(codebooks[c]->name, "cd");
        struct ldnq_graph *other = quantized(&options, &result);
        for (size_t i = 0; i < 4; i++) {
            const double want = error_of(&result->network.layers[i]);
            assert_string_equal(plan->entries[i].node, result->network.layers[i].layer.node->label);
            assert_true(fabs(plan->errors[i * 3 + c] - want) < 1e-4 * want + 1e-12);
        }
        build_free(other);
    }
    build_free(graph);
}

/* Small changes, at which the network is nearly linear. */
static void estimated_errors_should_be_near_those_of_running_the_network(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    struct ldnq_samples *samples = open_samples(graph);
    const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    struct ldnq_bit_allocation *run, *estimated;
    assert_ok(ldnq_allocate_bits(graph, samples, &options, &budget, graph->arena, &run, &err));
    options.estimate_draws = 512;
    assert_ok(
        ldnq_allocate_bits(graph, samples, &options, &budget, graph->arena, &estimated, &err));
    assert_true(estimated->estimated && !run->estimated);
    assert_int_equal(estimated->count, run->count);
    for (size_t i = 0; i < run->count; i++)
        for (size_t c = 1; c < 3; c++) {
            const double ratio = estimated->errors[i * 3 + c] / run->errors[i * 3 + c];
            assert_true(ratio > 0.7 && ratio < 1.4);
        }
    ldnq_samples_destroy(samples);
    build_free(graph);
}

/* The class of a network is a float here, but no gradient passes it. */
static void network_without_gradients_should_be_run(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 4, 6, 6));
    struct ldnq_value *a =
        NODE(graph, "Conv", "a", x, build_weight(graph, "w", SHAPE(4, 4, 1, 1), 1));
    struct ldnq_value *out = NODE(graph, "Cast", "cast", NODE(graph, "ArgMax", "top", a));
    build_attr(out, "to", LDNQ_FLOAT);
    build_output(graph, out);
    assert_ok(ldnq_passes_run(graph, &err));
    struct ldnq_samples *samples = open_samples(graph);
    const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    struct ldnq_bit_allocation *plan;
    options.estimate_draws = 8;
    assert_ok(ldnq_allocate_bits(graph, samples, &options, &budget, graph->arena, &plan, &err));
    assert_false(plan->estimated);
    assert_true(plan->errors[0] > 0);
    ldnq_samples_destroy(samples);
    build_free(graph);
}

struct plan_progress {
    size_t calls, done, total, after_fits; /* after_fits: calls that name no layer */
    bool has_gone_back;
};

static int store_progress(void *ctx, const struct ldnq_progress *at)
{
    struct plan_progress *seen = ctx;
    seen->has_gone_back |= at->done < seen->done;
    seen->after_fits += !at->detail;
    seen->calls++;
    seen->done = at->done;
    seen->total = at->total;
    return 0;
}

/* Each draw, and each batch of the runs with the codes of a layer, is work that is counted. */
static void progress_should_count_what_follows_the_fits(void **state)
{
    (void)state;
    for (size_t draws = 0; draws <= 40; draws += 40) {
        struct ldnq_graph *graph = build_prepared();
        struct ldnq_samples *samples = open_samples(graph);
        struct plan_progress seen = { 0 };
        const struct ldnq_sink sink = { .ctx = &seen, .progress = store_progress };
        const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
        struct ldnq_quantize_options options = options_of("ternary", "rtn");
        struct ldnq_bit_allocation *plan;
        options.estimate_draws = draws;
        options.sink = &sink;
        assert_ok(ldnq_allocate_bits(graph, samples, &options, &budget, graph->arena, &plan, &err));
        assert_false(seen.has_gone_back);
        assert_int_equal(seen.done, seen.total);
        assert_true(seen.after_fits >= (draws ? draws : 3));
        ldnq_samples_destroy(samples);
        build_free(graph);
    }
}

static double cost_of(const struct ldnq_bit_allocation *plan,
                      const struct ldnq_quantization *result, bool bytes)
{
    double cost = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct ldnq_layer *layer = &result->network.layers[i].layer;
        const double rows = (double)ldnq_layer_rows(layer);
        const double codes = rows * (double)layer->geometry.cols * plan->entries[i].codebook->bits;
        cost += bytes ? codes / 8 + 4 * rows : codes;
    }
    return cost;
}

/* 4 * 18, 4 * 36, 6 * 144 and 3 * 6 weights in 17 channels. */
static void cost_should_stay_within_the_budget_in_each_unit(void **state)
{
    (void)state;
    const double weights = 4 * 18 + 4 * 36 + 6 * 144 + 3 * 6;
    const struct {
        enum ldnq_budget_unit unit;
        double amount, most;
    } cases[] = {
        { LDNQ_BUDGET_BITS, 2, 2 * weights },      { LDNQ_BUDGET_BITS, 3.5, 3.5 * weights },
        { LDNQ_BUDGET_BITS, 8, 8 * weights },      { LDNQ_BUDGET_BYTES, 600, 600 },
        { LDNQ_BUDGET_RATIO, 6, 4 * weights / 6 },
    };
    struct ldnq_quantization *result;
    const struct ldnq_quantize_options options = options_of("int8", "rtn");
    struct ldnq_graph *graph = build_prepared(), *other = quantized(&options, &result);
    double last = INFINITY;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ldnq_budget budget = budget_of(cases[i].unit, cases[i].amount);
        struct ldnq_bit_allocation *plan;
        assert_ok(make(graph, &budget, &plan));
        assert_true(plan->weights == weights && plan->cost <= cases[i].most);
        assert_true(plan->cost == cost_of(plan, result, budget.unit != LDNQ_BUDGET_BITS));
        assert_true(plan->cost > 0.8 * cases[i].most);
        if (budget.unit == LDNQ_BUDGET_BITS) {
            assert_true(plan->error < last);
            last = plan->error;
        }
    }
    build_free(graph);
    build_free(other);
}

static void making_should_leave_the_graph_alone(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
    struct ldnq_tensor *input = build_tensor(graph->arena, SHAPE(SAMPLES, 4, 6, 6), 77);
    const struct ldnq_tensor *before = build_run(graph, input);
    const size_t values = graph->value_count;
    struct ldnq_bit_allocation *plan;
    assert_ok(make(graph, &budget, &plan));
    assert_same_bits(build_run(graph, input), before);
    assert_int_equal(graph->value_count, values);
    build_free(graph);
}

static void too_small_a_budget_should_be_refused_with_the_least(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_prepared();
    struct ldnq_bit_allocation *plan;
    struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 1.9);
    assert_fails(make(graph, &budget, &plan), LDNQ_USAGE, "1.9 bits is too small: the least is 2");
    budget = budget_of(LDNQ_BUDGET_BYTES, 100);
    assert_fails(make(graph, &budget, &plan), LDNQ_USAGE, "take at least 343");
    budget = budget_of(LDNQ_BUDGET_RATIO, 30);
    assert_fails(make(graph, &budget, &plan), LDNQ_USAGE, "30x is too small: the most is 12.8");
    build_free(graph);
}

static void a_plan_should_choose_codebooks_the_first_entry_first(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "cd");
    const struct ldnq_plan_entry entries[] = {
        { .node = "fc", .codebook = ldnq_codebook_find("int8") },
        { .node = "[fp]*", .codebook = ldnq_codebook_find("int4") }
    };
    options.plan = entries;
    options.plan_count = 2;
    struct ldnq_graph *graph = quantized(&options, &result);
    const char *want[] = { "ternary", "int4", "int8", "ternary" };
    for (size_t i = 0; i < 4; i++) {
        const struct ldnq_quantized_layer *layer = &result->network.layers[i];
        int most = 0;
        assert_string_equal(layer->codebook->name, want[i]);
        for (size_t j = 0; j < ldnq_layer_elements(&layer->layer); j++)
            most = abs(layer->codes[j]) > most ? abs(layer->codes[j]) : most;
        assert_true(most <= (i == 1   ? 8
                             : i == 2 ? 128
                                      : 1) &&
                    most > (i == 1   ? 3
                            : i == 2 ? 20
                                     : 0));
    }
    build_free(graph);
}

static void an_entry_that_chooses_no_layer_should_be_refused(void **state)
{
    (void)state;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    const struct ldnq_plan_entry entry = { .node = "conv9",
                                           .codebook = ldnq_codebook_find("int8") };
    options.plan = &entry;
    options.plan_count = 1;
    struct ldnq_graph *graph = build_prepared();
    assert_fails(quantize(graph, &options, &result), LDNQ_USAGE, "'conv9' matches no layer");
    build_free(graph);
}

static void layers_that_share_a_weight_should_be_one_entry(void **state)
{
    (void)state;
    struct ldnq_value *w;
    struct ldnq_graph *graph = build_sharing(&w);
    assert_ok(ldnq_passes_run(graph, &err));
    const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
    struct ldnq_bit_allocation *plan;
    struct ldnq_quantization *result;
    struct ldnq_quantize_options options = options_of("ternary", "rtn");
    assert_ok(make(graph, &budget, &plan));
    assert_true(plan->count == 1 && plan->weights == 16 && plan->cost == 64);
    options.plan = plan->entries;
    options.plan_count = plan->count;
    assert_ok(quantize(graph, &options, &result));
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(result->network.layers[i].codebook->name, "int4");
    build_free(graph);
}

static void without_a_float_output_there_should_be_no_plan(void **state)
{
    (void)state;
    struct ldnq_graph *graph = build_without_float_output();
    const struct ldnq_budget budget = budget_of(LDNQ_BUDGET_BITS, 4);
    struct ldnq_bit_allocation *plan;
    assert_fails(make(graph, &budget, &plan), LDNQ_UNSUPPORTED, "no output is a float");
    build_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_should_be_those_of_the_output_with_one_layer_quantized),
        cmocka_unit_test(estimated_errors_should_be_near_those_of_running_the_network),
        cmocka_unit_test(network_without_gradients_should_be_run),
        cmocka_unit_test(progress_should_count_what_follows_the_fits),
        cmocka_unit_test(cost_should_stay_within_the_budget_in_each_unit),
        cmocka_unit_test(making_should_leave_the_graph_alone),
        cmocka_unit_test(too_small_a_budget_should_be_refused_with_the_least),
        cmocka_unit_test(a_plan_should_choose_codebooks_the_first_entry_first),
        cmocka_unit_test(an_entry_that_chooses_no_layer_should_be_refused),
        cmocka_unit_test(layers_that_share_a_weight_should_be_one_entry),
        cmocka_unit_test(without_a_float_output_there_should_be_no_plan),
    };
    return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
