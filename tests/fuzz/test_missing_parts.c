/* SPDX-License-Identifier: Apache-2.0 */
/* test_missing_parts.c: small models of many operators, each with one input, output or attribute
 * of a node left out, pass through the jobs. Many such nodes are valid elsewhere; what is not has
 * to be refused, wherever it is looked at first.
 *
 * With FUZZ_VERBOSE the case is printed before it runs.
 */
#include "onnx/make.h"

#include <stdlib.h>

#include "fuzz.h"
#include "onnx/function_text.h"
#include "small_models.h"

/* ---- models ----------------------------------------------------------------------------- */

static size_t count_elements(const Onnx__TensorProto *tensor)
{
    size_t count = 1;
    for (size_t i = 0; i < tensor->n_dims; i++)
        count *= (size_t)tensor->dims[i];
    return count;
}

/* Small numbers, which suit weights, scales, codes and indices alike. */
static void fill_constant(struct make *make, Onnx__TensorProto *tensor)
{
    const size_t count = count_elements(tensor);
    const size_t size = ldnq_dtype_size((enum ldnq_dtype)tensor->data_type);
    char *data = ldnq_arena_alloc(make->arena, count, size, NULL);
    for (size_t i = 0; i < count; i++) {
        const float single = (float)(1 + i % 5) / 8;
        const int64_t integer = tensor->data_type == LDNQ_BOOL ? 1 : (int64_t)(i % 2);
        memcpy(data + i * size, tensor->data_type == LDNQ_FLOAT ? (const void *)&single : &integer,
               size);
    }
    make_raw(make, tensor, data, count * size);
}

static int32_t read_type(char letter)
{
    return letter == 'f'   ? LDNQ_FLOAT
           : letter == 'b' ? LDNQ_INT8
           : letter == 'u' ? LDNQ_UINT8
           : letter == 'i' ? LDNQ_INT32
           : letter == 'o' ? LDNQ_BOOL
           : letter == 'o' ? LDNQ_BOOL
                           : LDNQ_INT64;
}

/* The numbers of a list, which ends at a space. */
static int read_numbers(const char *at, double numbers[8])
{
    int count = 0;
    for (char *end; *at && *at != ' '; at = *end == ',' ? end + 1 : end)
        numbers[count++] = strtod(at, &end);
    return count;
}

/* An initializer of these numbers: a scalar of one float, else a list. */
static Onnx__TensorProto *make_numbers(struct make *make, const char *name, int32_t type,
                                       const double *numbers, int count)
{
    Onnx__TensorProto *tensor = make_tensor(
        make, name, type, count == 1 && type == LDNQ_FLOAT ? 0 : 1, (int64_t[]){ count });
    float singles[8];
    int64_t integers[8];
    for (int i = 0; i < count; i++) {
        singles[i] = (float)numbers[i];
        integers[i] = (int64_t)numbers[i];
    }
    if (type == LDNQ_FLOAT)
        make_raw(make, tensor, singles, (size_t)count * sizeof *singles);
    else
        make_raw(make, tensor, integers, (size_t)count * sizeof *integers);
    return tensor;
}

static bool is_function_input(const Onnx__FunctionProto *function, const char *name)
{
    for (size_t i = 0; i < function->n_input; i++)
        if (strcmp(function->input[i], name) == 0)
            return true;
    return false;
}

/* Adds the tensor of a word in small_model.values. */
static void add_value(struct make *make, const Onnx__FunctionProto *function, const char *word)
{
    const size_t length = strcspn(word, ":=");
    const int32_t type = read_type(word[length + 1]);
    double numbers[8];
    const int count = read_numbers(word + length + 2, numbers);
    int64_t dims[8];
    char name[64];
    Onnx__TensorProto *tensor;
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    for (int i = 0; i < count; i++)
        dims[i] = (int64_t)numbers[i];
    if (is_function_input(function, name)) {
        make_input(make, name, count, dims);
        make->graph->input[make->graph->n_input - 1]->type->tensor_type->elem_type = type;
        return;
    }
    if (word[length] == '=') {
        tensor = make_numbers(make, name, type, numbers, count);
    } else {
        tensor = make_tensor(make, name, type, count, dims);
        fill_constant(make, tensor);
    }
    make_append(make, &make->graph->initializer, &make->graph->n_initializer, tensor);
}

static Onnx__FunctionProto *parse(const struct make *make, const char *text, int opset)
{
    Onnx__NodeProto *call = ldnq_build_node(make->arena, "F", "", NULL, 0, NULL, 0, &err);
    Onnx__FunctionProto *function;
    assert_non_null(call);
    assert_ok(ldnq_function_parse(make->arena, text, opset, call, &function, &err));
    return function;
}

/* The types of a loop's own inputs, the iteration and the condition, are those of ONNX. */
static void add_body(struct make *make, Onnx__NodeProto *node, const char *name,
                     const struct small_model *model)
{
    const Onnx__FunctionProto *function = parse(make, model->body, model->opset);
    const bool is_loop = strcmp(node->op_type, "Loop") == 0;
    struct make body = *make;
    body.graph = make_graph_attr(make, node, name)->g;
    body.graph->node = function->node;
    body.graph->n_node = function->n_node;
    for (size_t i = 0; i < function->n_input; i++) {
        make_input(&body, function->input[i], LDNQ_RANK_UNKNOWN, NULL);
        Onnx__ValueInfoProto *info = body.graph->input[i];
        if (strncmp(info->name, "seq", 3) == 0)
            info->type = NULL;
        else if (is_loop && i < 2)
            info->type->tensor_type->elem_type = i == 0 ? LDNQ_INT64 : LDNQ_BOOL;
    }
    for (size_t i = 0; i < function->n_output; i++) {
        make_output(&body, function->output[i]);
        body.graph->output[i]->type = NULL;
    }
}

static struct make make_model(const struct small_model *model)
{
    struct make make = make_begin(model->opset);
    const Onnx__FunctionProto *function = parse(&make, model->text, model->opset);
    make_import(&make, "com.microsoft", 1);
    for (const char *at = model->values; *at; at += strspn(at, " ")) {
        add_value(&make, function, at);
        at += strcspn(at, " ");
    }
    for (size_t i = 0; i < function->n_output; i++)
        make_output(&make, function->output[i]);
    make.graph->node = function->node;
    make.graph->n_node = function->n_node;
    for (size_t n = 0; n < function->n_node; n++) {
        Onnx__NodeProto *node = function->node[n];
        const bool is_if = strcmp(node->op_type, "If") == 0;
        if (is_if)
            add_body(&make, node, "else_branch", model);
        if (is_if || strcmp(node->op_type, "Loop") == 0 || strcmp(node->op_type, "Scan") == 0)
            add_body(&make, node, is_if ? "then_branch" : "body", model);
    }
    return make;
}

/* The graph, and then those of bodies; NULL after them. */
static Onnx__GraphProto *find_graph(const struct make *make, size_t index)
{
    if (index == 0)
        return make->graph;
    for (size_t n = 0; n < make->graph->n_node; n++)
        for (size_t a = 0; a < make->graph->node[n]->n_attribute; a++)
            if (make->graph->node[n]->attribute[a]->g && --index == 0)
                return make->graph->node[n]->attribute[a]->g;
    return NULL;
}

/* ---- changes ---------------------------------------------------------------------------- */

static char empty[] = "";
static char other_domain[] = "com.example";

/* Whether the index is that of an entry; else it is lowered by their count. */
static bool is_entry(size_t *index, size_t count)
{
    if (*index < count)
        return true;
    *index -= count;
    return false;
}

static void remove_attribute(Onnx__NodeProto *node, size_t index)
{
    node->n_attribute--;
    memmove(node->attribute + index, node->attribute + index + 1,
            (node->n_attribute - index) * sizeof(void *));
}

/* Another kind than the attribute has. */
static void change_kind(Onnx__AttributeProto *attr)
{
    const bool is_int = attr->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    const char *name = attr->name;
    onnx__attribute_proto__init(attr);
    attr->name = (char *)(uintptr_t)name;
    attr->has_type = 1;
    attr->type = is_int ? ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING
                        : ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
}

/* Returns false where the node has no such change. */
static bool change_node(Onnx__NodeProto *node, size_t change)
{
    if (is_entry(&change, node->n_input))
        node->input[change] = empty;
    else if (is_entry(&change, node->n_input))
        node->n_input = change;
    else if (is_entry(&change, node->n_output))
        node->output[change] = empty;
    else if (is_entry(&change, node->n_output))
        node->n_output = change;
    else if (is_entry(&change, node->n_attribute))
        remove_attribute(node, change);
    else if (is_entry(&change, node->n_attribute))
        change_kind(node->attribute[change]);
    else if (is_entry(&change, 2)) {
        node->domain = other_domain;
        node->n_input = change == 0 ? node->n_input : 0;
    } else
        return false;
    return true;
}

static bool is_defined(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_input; i++)
        if (strcmp(graph->input[i]->name, name) == 0)
            return true;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0)
            return true;
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t o = 0; o < graph->node[n]->n_output; o++)
            if (strcmp(graph->node[n]->output[o], name) == 0)
                return true;
    return false;
}

/* Readers of an output that was left out lack an input, and the graph's output is another value,
 * so that the importer refuses neither. */
static void leave_out_readers(const Onnx__GraphProto *outer, Onnx__GraphProto *graph)
{
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t i = 0; i < graph->node[n]->n_input; i++)
            if (!is_defined(graph, graph->node[n]->input[i]) &&
                !is_defined(outer, graph->node[n]->input[i]))
                graph->node[n]->input[i] = empty;
    for (size_t i = 0; i < graph->n_output; i++)
        if (!is_defined(graph, graph->output[i]->name))
            graph->output[i]->name = outer->input[0]->name;
}

/* ---- jobs ------------------------------------------------------------------------------- */

static const char *const targets[] = { "weights", "ort",    "openvino", "tensorrt",
                                       "qnn",     "tflite", "pow2" };
#define TARGETS (sizeof targets / sizeof *targets)

static struct ldnq_options *options[TARGETS];
static char label[160]; /* of the case that runs */

static int set_up(void **state)
{
    (void)state;
    fuzz_init();
    for (size_t i = 0; i < TARGETS; i++) {
        if (ldnq_options_create(&options[i], &err) != LDNQ_OK)
            return -1;
        const char *const values[][2] = { { "target", targets[i] },
                                          { "weights", i % 2 ? "int8" : "int4" },
                                          { "solver", "rtn" },
                                          { "threads", "1" },
                                          { "estimate", "0" } };
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            if (ldnq_options_set(options[i], values[k][0], values[k][1], &err) != LDNQ_OK)
                return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < TARGETS; i++)
        ldnq_options_destroy(options[i]);
    return 0;
}

static void finish_job(struct ldnq_result *result, enum ldnq_status status)
{
    fuzz_report(status, &err);
    if (status == LDNQ_OK)
        fuzz_check_json(result);
    ldnq_result_destroy(result);
}

static void quantize(const struct make *make, const struct ldnq_onnx *onnx,
                     const struct ldnq_options *chosen)
{
    struct ldnq_arena *arena;
    struct ldnq_result *result = NULL;
    assert_ok(ldnq_arena_create(&arena, &err));
    struct ldnq_dataset *samples = fuzz_make_dataset(make->bytes, make->size, 4, arena);
    if (samples)
        finish_job(result, ldnq_quantize(onnx, samples, chosen, &result, &err));
    ldnq_dataset_destroy(samples);
    ldnq_arena_destroy(arena);
}

/* Each case has one of the targets. */
static void run_jobs(struct make *make, const struct ldnq_onnx *whole, size_t number)
{
    struct ldnq_onnx *onnx;
    struct ldnq_result *result;
    const struct ldnq_options *chosen = options[number % TARGETS];
    make_bytes(make);
    if (ldnq_onnx_from_bytes(make->bytes, make->size, "m.onnx", &onnx, &err) != LDNQ_OK)
        return;
    result = NULL;
    const enum ldnq_status inspected = ldnq_inspect(onnx, chosen, &result, &err);
    finish_job(result, inspected);
    result = NULL;
    const enum ldnq_status checked = ldnq_lint(onnx, chosen, &result, &err);
    finish_job(result, checked);
    result = NULL;
    const enum ldnq_status compared = number / TARGETS % 2
                                          ? ldnq_diff(whole, onnx, NULL, chosen, &result, &err)
                                          : ldnq_diff(onnx, whole, NULL, chosen, &result, &err);
    finish_job(result, compared);
    quantize(make, onnx, chosen);
    ldnq_onnx_destroy(onnx);
}

/* A change of a node in one of the model's graphs. */
struct change {
    size_t graph, node, index;
};

/* Returns false where there is no such change. */
static bool check_change(const struct small_model *model, const struct ldnq_onnx *whole,
                         const struct change *change, size_t number)
{
    struct make changed = make_model(model);
    Onnx__NodeProto *node = find_graph(&changed, change->graph)->node[change->node];
    snprintf(label, sizeof label, "%.40s: graph %zu, node %zu (%s), change %zu, target %s",
             model->text, change->graph, change->node, node->op_type, change->index,
             targets[number % TARGETS]);
    const bool is_changed = change_node(node, change->index);
    if (is_changed && getenv("FUZZ_VERBOSE"))
        fprintf(stderr, "%s\n", label);
    for (size_t g = 0; is_changed && find_graph(&changed, g); g++)
        leave_out_readers(changed.graph, find_graph(&changed, g));
    if (is_changed)
        run_jobs(&changed, whole, number);
    make_end(&changed);
    return is_changed;
}

static void check_model(const struct small_model *model, size_t first)
{
    struct ldnq_onnx *whole;
    struct ldnq_result *result;
    struct make make = make_model(model);
    make_bytes(&make);
    snprintf(label, sizeof label, "%.40s", model->text);
    assert_ok(ldnq_onnx_from_bytes(make.bytes, make.size, "whole.onnx", &whole, &err));
    assert_ok(ldnq_inspect(whole, options[0], &result, &err));
    ldnq_result_destroy(result);
    size_t number = first;
    struct change change = { 0 };
    for (; find_graph(&make, change.graph); change.graph++)
        for (change.node = 0; change.node < find_graph(&make, change.graph)->n_node; change.node++)
            for (change.index = 0; check_change(model, whole, &change, number); change.index++)
                number++;
    ldnq_onnx_destroy(whole);
    make_end(&make);
}

static void a_node_without_one_of_its_parts_should_crash_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof small_models / sizeof *small_models; i++)
        check_model(&small_models[i], i);
    label[0] = '\0';
}

static int print_case(void **state)
{
    (void)state;
    if (*label)
        print_message("in '%s'\n", label);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_node_without_one_of_its_parts_should_crash_nothing, print_case),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
