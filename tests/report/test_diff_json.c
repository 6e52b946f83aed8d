/* SPDX-License-Identifier: Apache-2.0 */
/* What the schema can't say; tests/python/test_report_page.py holds the JSON against it. */
#include "test.h"

#include <cJSON.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "report/report.h"
#include "sample_diff.h"

static struct ldnq_error err;
static struct ldnq_arena *arena;

static int set_up(void **state)
{
    (void)state;
    assert_ok(ldnq_arena_create(&arena, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ldnq_arena_destroy(arena);
    return 0;
}

static cJSON *read_back(const struct ldnq_diff *diff)
{
    char *text;
    assert_ok(ldnq_diff_print_json(diff, &text, &err));
    assert_true(ldnq_utf8_is_valid(text));
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    ldnq_report_free(text);
    return root;
}

static const cJSON *find(const cJSON *item, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(item, name);
    if (!found)
        fail_msg("%s is missing", name);
    return found;
}

static void assert_sqnr(const cJSON *error, double want)
{
    const cJSON *sqnr = find(error, "sqnr_db");
    assert_int_equal(cJSON_IsTrue(find(error, "exact")), isinf(want));
    assert_int_equal(cJSON_IsNumber(sqnr), isfinite(want));
    if (isfinite(want))
        assert_true(fabs(sqnr->valuedouble - want) < 1e-12);
}

static void json_should_hold_the_layers(void **state)
{
    (void)state;
    struct ldnq_diff *diff = sample_diff(arena, &(struct sample_options){ 54, true, true, true });
    cJSON *root = read_back(diff);
    const cJSON *layers = find(root, "layers"), *tensors = find(root, "tensors");
    assert_int_equal(cJSON_GetArraySize(layers), 54);
    for (int i = 0; i < 54; i++) {
        const struct ldnq_diff_layer *layer = &diff->layers[i];
        const cJSON *item = cJSON_GetArrayItem(layers, i), *index = find(item, "weight_tensor");
        assert_sqnr(find(item, "isolated"), layer->isolated.sqnr);
        assert_sqnr(find(item, "accumulated"), layer->accumulated.sqnr);
        assert_sqnr(find(item, "weight_error"), layer->weight_sqnr);
        assert_int_equal(cJSON_IsNull(index), !layer->weight);
        if (!layer->weight)
            continue;
        const cJSON *histogram =
            find(cJSON_GetArrayItem(tensors, (int)index->valuedouble), "histogram");
        assert_int_equal(cJSON_GetArraySize(find(histogram, "counts")),
                         layer->weight->histogram_count);
        assert_int_equal(cJSON_GetArraySize(find(item, "trace")), layer->trace_count);
    }
    cJSON_Delete(root);
}

static void json_should_tell_open_dimensions_and_missing_values(void **state)
{
    (void)state;
    struct ldnq_diff *diff = sample_diff(arena, &(struct sample_options){ 1, true, false, false });
    cJSON *root = read_back(diff);
    const cJSON *tensor = cJSON_GetArrayItem(find(root, "tensors"), 1);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(find(tensor, "shape"), 0)));
    assert_int_equal(cJSON_GetArrayItem(find(tensor, "shape"), 1)->valueint, 64);
    assert_true(cJSON_IsNull(find(tensor, "axis")) && cJSON_IsNull(find(tensor, "entropy")));
    const cJSON *layer = cJSON_GetArrayItem(find(root, "layers"), 0);
    assert_true(cJSON_IsNull(find(layer, "trace")));
    assert_true(cJSON_IsNull(find(find(layer, "isolated"), "sqnr_db")));
    assert_true(cJSON_IsNull(find(root, "seconds")));
    assert_int_equal(cJSON_GetArraySize(find(root, "outputs")), 0);
    cJSON_Delete(root);
}

static void json_should_come_back_from_any_failed_allocation(void **state)
{
    (void)state;
    struct ldnq_diff *diff = sample_diff(arena, &(struct sample_options){ 6, true, true, false });
    /* cJSON's memory is malloc's unless a program says otherwise. */
    cJSON_InitHooks(&(cJSON_Hooks){ ldnq_malloc, ldnq_free });
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 100000; allowed++) {
        char *text;
        ldnq_alloc_fail_after(allowed);
        status = ldnq_diff_print_json(diff, &text, &err);
        ldnq_alloc_fail_after(-1);
        ldnq_report_free(text);
    }
    cJSON_InitHooks(NULL);
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(json_should_hold_the_layers),
        TEST(json_should_tell_open_dimensions_and_missing_values),
        TEST(json_should_come_back_from_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
