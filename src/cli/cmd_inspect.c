/* cmd_inspect.c: what is in a model, what would be quantized, what not, and why. */
#include "passes/passes.h"
#include "pipeline/pipeline.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_add.h"
#include "base/size.h"
#include "cli/json.h"
#include "cli/plain.h"
#include "cli/session.h"
#include "compare/quantized_tensors.h"
#include "report/report.h"

struct view {
    struct cli_session session;
    struct ldnq_compute_view nodes; /* as they are before any merge */
    struct ldnq_layer *layers;
    size_t count;
    struct ldnq_quantized_tensor *tensors;
    size_t tensor_count;
    const struct ldnq_quantized_tensor **codes; /* by layer: its weight's; NULL where it is float */
    const char *refused; /* the message on nodes that can't be executed, or NULL */
};

/* One sample a run, where nothing else is said: that is what costs are counted for.
 * false when no dimension is open there. */
static bool bind_batch(struct ldnq_graph *graph)
{
    bool bound = false;
    for (size_t i = 0; i < graph->input_count; i++) {
        struct ldnq_shape *shape = &graph->inputs[i]->shape;
        if (shape->rank > 0 && ldnq_is_symbol(shape->dim[0])) {
            shape->dim[0] = 1;
            bound = true;
        }
    }
    return bound;
}

static enum ldnq_status list_layers(struct view *view, struct ldnq_error *err)
{
    struct ldnq_arena *arena = view->session.arena;
    LDNQ_TRY(ldnq_layers_list(view->session.graph, arena, &view->layers, &view->count, err));
    LDNQ_TRY(
        ldnq_quantized_tensors_list(&view->nodes, arena, &view->tensors, &view->tensor_count, err));
    view->codes = ldnq_arena_alloc(arena, view->count, sizeof *view->codes, err);
    if (!view->codes)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < view->count; i++) {
        const size_t place = ldnq_compute_view_find(&view->nodes, view->layers[i].node);
        if (place != LDNQ_NO_NODE)
            view->codes[i] = ldnq_quantized_tensors_find(
                view->tensors, view->tensor_count,
                view->nodes.nodes[place].inputs[view->layers[i].weight_input].dequantize);
    }
    return LDNQ_OK;
}

static enum ldnq_status look(struct view *view, struct ldnq_error *err)
{
    struct cli_session *session = &view->session;
    LDNQ_TRY(ldnq_model_load(session->settings->models.items[0], &session->model, err));
    LDNQ_TRY(cli_session_import(session, err));
    bool bound = bind_batch(session->graph);
    enum ldnq_status status =
        ldnq_compute_view_init(&view->nodes, session->graph, session->arena, &view->refused, err);
    /* The first dimension may be no batch at all: then sizes stay open. */
    if (status == LDNQ_MODEL && bound) {
        LDNQ_TRY(cli_session_import(session, err));
        status = ldnq_compute_view_init(&view->nodes, session->graph, session->arena,
                                        &view->refused, err);
    }
    LDNQ_TRY(status);
    LDNQ_TRY(ldnq_pass_batchnorm(session->graph, err));
    LDNQ_TRY(ldnq_pass_dead(session->graph, err));
    return list_layers(view, err);
}

/* A weight that several layers read counts where it stands first. */
static bool is_read_before(const struct view *view, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (view->layers[k].weight == view->layers[i].weight)
            return true;
    return false;
}

/* What all layers have together. */
struct totals {
    size_t quantizable, weights; /* layers, and elements of theirs */
    size_t bytes;
    uint64_t macs; /* of the layers that can be quantized */
    uint64_t all_macs;
    bool has_macs, has_all_macs; /* they are known */
};

static struct totals sum_up(const struct view *view)
{
    struct totals totals = { .has_macs = true, .has_all_macs = true };
    for (size_t i = 0; i < view->count; i++) {
        const struct ldnq_layer *layer = &view->layers[i];
        uint64_t macs = 0;
        const bool known = ldnq_layer_macs(layer, &macs);
        const bool is_first = layer->weight && !is_read_before(view, i);
        totals.has_all_macs &= known;
        totals.all_macs += macs;
        totals.bytes += is_first ? ldnq_weight_stored_bytes(layer, view->codes[i]) : 0;
        if (layer->refusal)
            continue;
        totals.quantizable++;
        totals.weights += is_first ? ldnq_tensor_count(layer->weight) : 0;
        totals.has_macs &= known;
        totals.macs += macs;
    }
    return totals;
}

static const char *shape_text(const struct ldnq_tensor *weight, char *text, size_t size)
{
    if (!weight) {
        snprintf(text, size, "-");
        return text;
    }
    return ldnq_shape_print(&weight->shape, NULL, text, size);
}

/* ---- for people ----------------------------------------------------------------------- */

static void print_values(const char *title, struct ldnq_value *const *values, size_t count,
                         const struct ldnq_graph *graph)
{
    for (size_t i = 0; i < count; i++) {
        char shape[LDNQ_SHAPE_TEXT], name[CLI_PLAIN_SIZE];
        printf("%s %s %s %s\n", title, cli_plain(values[i]->name, name),
               ldnq_dtype_name(values[i]->dtype),
               ldnq_shape_print(&values[i]->shape, graph, shape, sizeof shape));
    }
}

/* Of the first column. */
static int op_width(const struct view *view)
{
    size_t width = 6;
    for (size_t i = 0; i < view->count; i++)
        width = ldnq_size_max(width, strlen(view->layers[i].node->op_type));
    return (int)width;
}

/* "12.5%" of the whole; "" when it is not known. */
static const char *share(double part, double whole, char text[16])
{
    *text = '\0';
    if (whole > 0)
        snprintf(text, 16, "%.1f%%", 100 * part / whole);
    return text;
}

static void print_layer(const struct view *view, size_t i, const struct totals *totals, int width)
{
    const struct ldnq_layer *layer = &view->layers[i];
    const struct ldnq_quantized_tensor *codes = view->codes[i];
    char shape[LDNQ_SHAPE_TEXT], label[CLI_PLAIN_SIZE], macs_text[32] = "?", part[16];
    const size_t bytes = layer->weight ? ldnq_weight_stored_bytes(layer, codes) : 0;
    uint64_t macs = 0;
    if (ldnq_layer_macs(layer, &macs))
        snprintf(macs_text, sizeof macs_text, "%" PRIu64, macs);
    const char *type = layer->weight ? ldnq_dtype_name(layer->weight->dtype) : "-";
    printf("%-*s %-18s %-7s %10zu %6s", width, layer->node->op_type,
           shape_text(layer->weight, shape, sizeof shape), codes ? codes->type : type, bytes,
           share((double)bytes, (double)totals->bytes, part));
    printf(" %12s %6s  %-11s  %s%s%s\n", macs_text,
           share((double)macs, totals->has_all_macs ? (double)totals->all_macs : 0, part),
           layer->refusal ? "no" : "yes", cli_plain(layer->node->label, label),
           layer->refusal ? ": " : "", layer->refusal ? layer->refusal : "");
}

/* Of a file that has some. */
static void print_codes(const struct view *view)
{
    size_t constants = 0, bytes = 0;
    for (size_t i = 0; i < view->tensor_count; i++) {
        constants += view->tensors[i].is_constant;
        bytes += view->tensors[i].is_constant ? view->tensors[i].bytes : 0;
    }
    if (view->tensor_count)
        printf("in codes: %zu weights and biases (%zu bytes with their scales), %zu activations; "
               "--json has each\n",
               constants, bytes, view->tensor_count - constants);
}

static void print_table(const struct view *view)
{
    const struct ldnq_graph *graph = view->session.graph;
    const struct ldnq_model *model = view->session.model;
    const struct totals totals = sum_up(view);
    int width = op_width(view);
    char producer[CLI_PLAIN_SIZE];
    printf("%s: IR %" PRId64 ", opset %d, producer '%s', %zu bytes\n", graph->file,
           ldnq_model_ir_version(model), ldnq_model_opset(model),
           cli_plain(ldnq_model_producer(model), producer), ldnq_model_bytes(model));
    print_values("input ", graph->inputs, graph->input_count, graph);
    print_values("output", graph->outputs, graph->output_count, graph);
    printf("\n%-*s %-18s %-7s %10s %6s %12s %6s  %-11s  %s\n", width, "op", "weight", "type",
           "bytes", "", "MACs", "", "quantizable", "node");
    for (size_t i = 0; i < view->count; i++)
        print_layer(view, i, &totals, width);
    printf("\n%zu of %zu layers can be quantized: %zu weights, ", totals.quantizable, view->count,
           totals.weights);
    if (totals.has_macs)
        printf("%" PRIu64 " MACs a sample\n", totals.macs);
    else
        printf("MACs not known (sizes are open; see --dim)\n");
    print_codes(view);
    if (view->refused)
        printf("it can't be executed, and so not quantized: %s\n", view->refused);
}

/* ---- for programs ------------------------------------------------------------------------ */

/* Which of `tensors` a layer's weight is; null for none. */
static bool add_tensor_index(cJSON *item, const struct view *view, size_t i)
{
    const struct ldnq_quantized_tensor *codes = view->codes[i];
    return ldnq_json_add_number(item, "tensor", codes ? (double)(codes - view->tensors) : NAN);
}

static bool add_layer(cJSON *list, const struct view *view, size_t i)
{
    const struct ldnq_layer *layer = &view->layers[i];
    cJSON *item = cJSON_CreateObject();
    uint64_t macs;
    if (!item || !cJSON_AddItemToArray(list, item) ||
        !cJSON_AddStringToObject(item, "node", layer->node->label) ||
        !cJSON_AddStringToObject(item, "op", layer->node->op_type) ||
        !cJSON_AddBoolToObject(item, "quantizable", !layer->refusal))
        return false;
    if (layer->refusal && !cJSON_AddStringToObject(item, "reason", layer->refusal))
        return false;
    cJSON *shape = cJSON_AddArrayToObject(item, "shape");
    for (int d = 0; shape && layer->weight && d < layer->weight->shape.rank; d++)
        if (!cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)layer->weight->shape.dim[d])))
            return false;
    double parameters = layer->weight ? (double)ldnq_tensor_count(layer->weight) : 0;
    double bytes = layer->weight ? (double)ldnq_weight_stored_bytes(layer, view->codes[i]) : 0;
    if (!shape || !cJSON_AddNumberToObject(item, "parameters", parameters) ||
        !cJSON_AddNumberToObject(item, "bytes", bytes) || !add_tensor_index(item, view, i))
        return false;
    return ldnq_layer_macs(layer, &macs)
               ? cJSON_AddNumberToObject(item, "macs", (double)macs) != NULL
               : cJSON_AddNullToObject(item, "macs") != NULL;
}

static bool fill_json(cJSON *root, const struct view *view)
{
    const struct ldnq_model *model = view->session.model;
    if (!cJSON_AddStringToObject(root, "file", view->session.graph->file) ||
        !cJSON_AddNumberToObject(root, "ir_version", (double)ldnq_model_ir_version(model)) ||
        !cJSON_AddNumberToObject(root, "opset", ldnq_model_opset(model)) ||
        !cJSON_AddNumberToObject(root, "bytes", (double)ldnq_model_bytes(model)) ||
        !cJSON_AddBoolToObject(root, "executable", !view->refused))
        return false;
    if (view->refused && !cJSON_AddStringToObject(root, "reason", view->refused))
        return false;
    cJSON *list = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; list && i < view->count; i++)
        if (!add_layer(list, view, i))
            return false;
    return list && ldnq_diff_json_add_tensors(root, view->tensors, view->tensor_count);
}

static enum ldnq_status run_inspect(const struct cli_settings *settings, struct ldnq_error *err)
{
    struct view view = { 0 };
    enum ldnq_status status = cli_session_init(&view.session, settings, err);
    if (status == LDNQ_OK)
        status = look(&view, err);
    if (status == LDNQ_OK && settings->json) {
        cJSON *root = cJSON_CreateObject();
        status = cli_json_print(root, root && fill_json(root, &view), err);
    } else if (status == LDNQ_OK) {
        print_table(&view);
    }
    cli_session_finish(&view.session);
    return status;
}

static const char *const options[] = { "--dim", "--threads", "--json", NULL };

const struct cli_command cli_cmd_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "every layer: shape, type, size, MACs, quantizable or why not",
    .details = "Reads the model and lists its layers with weights in the order in which they\n"
               "run: what it takes in the file, as codes with their scales where it is quantized,\n"
               "and multiplications with the weight for one sample ('?' where sizes are open;\n"
               "--dim gives them).\n\n"
               "  ldnq inspect net.onnx\n"
               "  ldnq inspect net.onnx --dim height=224 --dim width=224 --json",
    .options = options,
    .models_min = 1,
    .models_max = 1,
    .run = run_inspect,
};
