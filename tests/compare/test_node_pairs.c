/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes are paired and layers matched, however the other file was changed. */
#include "graph_build.h"

#include <math.h>

#include "compare/comparison.h"

#include "compare/matched_layers.h"
#include "compare/compare_weights.h"

/* How the second network differs from the first. */
struct change {
    const char *prefix; /* of its nodes' names; "" leaves them without any */
    bool swaps;         /* the two convolutions of one shape have each other's names */
    bool quantizes;     /* activations go through QuantizeLinear and DequantizeLinear */
    bool folds;         /* without the normalization, whose layer has its factors */
    bool pads;          /* a Pad of its own upstream of the first convolution */
};

static char names[2][16][32];

static const char *name(const struct change *change, size_t which, size_t i)
{
    static const char *const plain[] = { "c1", "bn", "r1", "c2", "c3", "sum", "flat", "fc" };
    const size_t shown = change->swaps && (i == 3 || i == 4) ? 7 - i : i;
    snprintf(names[which][i], sizeof names[which][i], "%s%s", change->prefix, plain[shown]);
    return names[which][i];
}

static struct ldnq_value *constant(struct ldnq_graph *graph, const char *label, float value)
{
    struct ldnq_value *out = build_weight(graph, label, (struct ldnq_shape){ 0 }, 1);
    *(float *)out->constant->data = value;
    return out;
}

static struct ldnq_value *through_codes(struct ldnq_graph *graph, struct ldnq_value *x,
                                        const char *q, const char *dq)
{
    struct ldnq_value *codes = NODE(graph, "QuantizeLinear", q, x, constant(graph, "", 0.02f));
    return NODE(graph, "DequantizeLinear", dq, codes, constant(graph, "", 0.02f));
}

static struct ldnq_value *norm(struct ldnq_graph *graph, const char *label, struct ldnq_value *x)
{
    struct ldnq_value *variance = build_weight(graph, "variance", SHAPE(4), 23);
    for (int i = 0; i < 4; i++)
        ((float *)variance->constant->data)[i] = 0.5f + (float)i;
    return NODE(graph, "BatchNormalization", label, x, build_weight(graph, "scale", SHAPE(4), 20),
                build_weight(graph, "shift", SHAPE(4), 21),
                build_weight(graph, "mean", SHAPE(4), 22), variance);
}

/* Scales the first convolution's rows as a folded normalization would, one with its sign. */
static void fold_into(struct ldnq_value *weight)
{
    float *w = weight->constant->data;
    for (int i = 0; i < 4 * 2 * 9; i++)
        w[i] *= (i / 18) % 2 ? -0.5f - (float)(i / 18) : 2.0f + (float)(i / 18);
}

/* Two inputs' worth of everything: a normalized convolution, two of one shape side by side,
 * a sum and a Gemm. */
static struct ldnq_graph *network(const struct change *change, size_t which)
{
    static const int64_t around[] = { 1, 1, 1, 1 }, wide[] = { 0, 0, 1, 1, 0, 0, 1, 1 };
    struct ldnq_graph *graph = build_graph();
    struct ldnq_value *x = build_input(graph, "x", SHAPE(build_symbol(graph, "N"), 2, 6, 6));
    struct ldnq_value *w1 = build_weight(graph, "w1", SHAPE(4, 2, 3, 3), 1);
    if (change->pads)
        x = NODE(graph, "Pad", "pad", x, build_ints(graph, "wide", 8, wide));
    if (change->folds)
        fold_into(w1);
    struct ldnq_value *a = NODE(graph, "Conv", name(change, which, 0), x, w1);
    if (!change->pads)
        build_attr_ints(a, "pads", 4, around);
    if (!change->folds)
        a = norm(graph, name(change, which, 1), a);
    struct ldnq_value *r = NODE(graph, "Relu", name(change, which, 2), a);
    if (change->quantizes)
        r = through_codes(graph, r, "q1", "dq1");
    struct ldnq_value *c2 = NODE(graph, "Conv", name(change, which, 3), r,
                                 build_weight(graph, "w2", SHAPE(4, 4, 3, 3), 2));
    struct ldnq_value *c3 = NODE(graph, "Conv", name(change, which, 4), r,
                                 build_weight(graph, "w3", SHAPE(4, 4, 3, 3), 3));
    if (change->quantizes)
        c3 = through_codes(graph, c3, "q2", "dq2");
    struct ldnq_value *sum = NODE(graph, "Add", name(change, which, 5), c2, c3);
    struct ldnq_value *flat = NODE(graph, "Flatten", name(change, which, 6), sum);
    build_output(graph, NODE(graph, "Gemm", name(change, which, 7), flat,
                             build_weight(graph, "w4", SHAPE(64, 5), 4)));
    return graph;
}

struct both {
    struct ldnq_graph *a, *b;
    struct ldnq_compute_view view_a, view_b;
    struct ldnq_node_pairs pairs;
    struct ldnq_matched_layers layers;
};

static void pair_up(struct both *both, const struct change *change)
{
    static const struct change none = { .prefix = "" };
    const char *refusal;
    both->a = network(&none, 0);
    both->b = network(change, 1);
    assert_ok(ldnq_compute_view_init(&both->view_a, both->a, both->a->arena, &refusal, &err));
    assert_null(refusal);
    assert_ok(ldnq_compute_view_init(&both->view_b, both->b, both->b->arena, &refusal, &err));
    assert_null(refusal);
    assert_ok(
        ldnq_node_pairs_find(&both->pairs, &both->view_a, &both->view_b, both->a->arena, &err));
    assert_ok(ldnq_matched_layers_find(&both->layers, &both->pairs, both->a->arena, &err));
}

static void free_both(struct both *both)
{
    build_free(both->a);
    build_free(both->b);
}

static const struct ldnq_compute_node *match_of(const struct both *both, const char *label)
{
    for (size_t i = 0; i < both->view_a.count; i++)
        if (strcmp(both->view_a.nodes[i].node->label, label) == 0)
            return both->pairs.match_of_a[i] == LDNQ_NO_NODE
                       ? NULL
                       : &both->view_b.nodes[both->pairs.match_of_a[i]];
    fail_msg("there is no '%s'", label);
    return NULL;
}

/* The match of c2 has the weight of c2, and so on. */
static void assert_layers_are_right(const struct both *both)
{
    static const char *const layers[][2] = {
        { "c1", "w1" }, { "c2", "w2" }, { "c3", "w3" }, { "fc", "w4" }
    };
    for (size_t i = 0; i < 4; i++) {
        const struct ldnq_compute_node *node = match_of(both, layers[i][0]);
        assert_non_null(node);
        assert_non_null(node->layer);
        assert_string_equal(node->layer->weight_name, layers[i][1]);
    }
    assert_int_equal(both->layers.count, 4);
}

static void pairs_should_be_found_by_name(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "" });
    assert_layers_are_right(&both);
    for (size_t i = 0; i < both.view_a.count; i++) {
        assert_int_equal(both.pairs.match_of_a[i], i);
        assert_int_equal(ldnq_node_pairs_reason(&both.pairs, i), LDNQ_PAIR_NAME);
    }
    free_both(&both);
}

static void pairs_should_be_found_without_any_name_in_common(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "other_" });
    assert_layers_are_right(&both);
    for (size_t i = 0; i < both.view_a.count; i++)
        assert_int_equal(both.pairs.match_of_a[i], i);
    assert_int_equal(ldnq_node_pairs_reason(&both.pairs, 0), LDNQ_PAIR_CONTENT);
    assert_int_equal(ldnq_node_pairs_reason(&both.pairs, 2), LDNQ_PAIR_NEIGHBOURHOOD);
    free_both(&both);
}

static void pairs_should_trust_weights_more_than_names(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "", .swaps = true });
    assert_layers_are_right(&both);
    assert_string_equal(match_of(&both, "c2")->node->label, "c3");
    free_both(&both);
}

static void pairs_should_be_found_through_codes(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "other_", .quantizes = true });
    assert_layers_are_right(&both);
    assert_int_equal(both.view_b.qdq_node_count, 4);
    assert_non_null(match_of(&both, "sum"));
    assert_non_null(match_of(&both, "c2")->inputs[0].dequantize);
    assert_null(match_of(&both, "fc")->inputs[0].dequantize);
    free_both(&both);
}

static void matched_layers_should_count_a_folded_normalization_in(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "other_", .folds = true });
    assert_layers_are_right(&both);
    assert_null(match_of(&both, "bn"));
    assert_string_equal(both.layers.items[0].folded, "bn");
    assert_string_equal(both.layers.items[0].output_a->name, "bn_out");
    assert_int_equal(both.layers.folded_into[1], 0);
    /* The weight that is compared is the one with the normalization's factors. */
    const float *old = both.view_a.nodes[0].layer->weight->data;
    const float *now = both.layers.items[0].layer_a->weight->data;
    assert_true(fabsf(now[0] - old[0]) > 1e-4f);
    free_both(&both);
}

static void matched_layers_should_leave_normalizations_that_both_have(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "other_" });
    assert_null(both.layers.items[0].folded);
    assert_string_equal(both.layers.items[0].output_a->name, "c1_out");
    free_both(&both);
}

static void matched_layers_should_see_through_a_pad(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "other_", .pads = true });
    assert_layers_are_right(&both);
    /* B's Pad has gone into its convolution, so that both read the network's input. */
    const struct ldnq_compute_node *c1 = match_of(&both, "c1");
    assert_string_equal(c1->inputs[0].value->name, "pad_out");
    assert_ptr_equal(c1->node->inputs[0], both.b->inputs[0]);
    free_both(&both);
}

static void similarity_should_not_depend_on_scales_and_signs_of_rows(void **state)
{
    (void)state;
    struct both both;
    pair_up(&both, &(struct change){ .prefix = "other_", .folds = true });
    const struct ldnq_layer *c1 = both.view_a.nodes[0].layer;
    const struct ldnq_layer *c2 = both.view_a.nodes[3].layer, *c3 = both.view_a.nodes[4].layer;
    assert_true(fabs(ldnq_compare_weights(c1, match_of(&both, "c1")->layer) - 1) < 1e-6);
    assert_true(fabs(ldnq_compare_weights(c2, c2) - 1) < 1e-12);
    assert_true(ldnq_compare_weights(c2, c3) < 0.4);
    assert_true(isnan(ldnq_compare_weights(c1, c2))); /* of another size */
    free_both(&both);
}

static void distribution_should_have_the_sqnr_of_the_weights(void **state)
{
    (void)state;
    struct both both;
    struct ldnq_weight_distribution *distribution;
    double sqnr;
    pair_up(&both, &(struct change){ .prefix = "" });
    const struct ldnq_layer *a = both.view_a.nodes[3].layer;
    struct ldnq_layer b = *both.view_b.nodes[3].layer;
    assert_ok(ldnq_weight_distribution_create(a, &b, both.a->arena, &distribution, &sqnr, &err));
    assert_true(isinf(sqnr) && sqnr > 0);
    float *w = b.weight->data;
    double power = 0, error = 0;
    for (int i = 0; i < 4 * 4 * 9; i++) {
        const double old = (double)w[i];
        w[i] = roundf(w[i] * 4) / 4;
        power += old * old;
        error += ((double)w[i] - old) * ((double)w[i] - old);
    }
    assert_ok(ldnq_weight_distribution_create(a, &b, both.a->arena, &distribution, &sqnr, &err));
    assert_true(fabs(sqnr - 10 * log10(power / error)) < 1e-9);
    uint64_t counts[2] = { 0 };
    size_t filled = 0;
    for (int i = 0; i < LDNQ_DIFF_BINS; i++) {
        counts[0] += distribution->a[i];
        counts[1] += distribution->b[i];
        filled += distribution->b[i] > 0;
    }
    assert_int_equal(counts[0], 144);
    assert_int_equal(counts[1], 144);
    assert_true(filled <= 9); /* -1, -.75 ... 1 */
    assert_int_equal(distribution->point_count, 144);
    free_both(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_should_be_found_by_name),
        cmocka_unit_test(pairs_should_be_found_without_any_name_in_common),
        cmocka_unit_test(pairs_should_trust_weights_more_than_names),
        cmocka_unit_test(pairs_should_be_found_through_codes),
        cmocka_unit_test(matched_layers_should_count_a_folded_normalization_in),
        cmocka_unit_test(matched_layers_should_leave_normalizations_that_both_have),
        cmocka_unit_test(matched_layers_should_see_through_a_pad),
        cmocka_unit_test(similarity_should_not_depend_on_scales_and_signs_of_rows),
        cmocka_unit_test(distribution_should_have_the_sqnr_of_the_weights),
    };
    return cmocka_run_group_tests_name("pair", tests, NULL, NULL);
}
