/* cmd_inspect.c: what is in a model, what would be quantized, what not, and why. */
#include <ldnq/passes.h>
#include <ldnq/pipeline.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "cli/json.h"
#include "cli/plain.h"
#include "cli/session.h"

struct view {
    struct cli_session session;
    struct ldnq_layer *layers;
    size_t count;
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

static enum ldnq_status bind_and_fold(struct view *view, struct ldnq_error *err)
{
    struct cli_session *session = &view->session;
    enum ldnq_status status = ldnq_pass_bind_and_fold(session->graph, err);
    if (status != LDNQ_UNSUPPORTED)
        return status;
    view->refused = ldnq_arena_strdup(session->arena, err->message, err);
    return view->refused ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status look(struct view *view, struct ldnq_error *err)
{
    struct cli_session *session = &view->session;
    LDNQ_TRY(ldnq_model_load(session->settings->models.items[0], &session->model, err));
    LDNQ_TRY(cli_session_import(session, err));
    bool bound = bind_batch(session->graph);
    enum ldnq_status status = bind_and_fold(view, err);
    /* The first dimension may be no batch at all: then sizes stay open. */
    if (status == LDNQ_MODEL && bound) {
        LDNQ_TRY(cli_session_import(session, err));
        status = bind_and_fold(view, err);
    }
    LDNQ_TRY(status);
    LDNQ_TRY(ldnq_pass_batchnorm(session->graph, err));
    LDNQ_TRY(ldnq_pass_dead(session->graph, err));
    return ldnq_layers_list(session->graph, session->arena, &view->layers, &view->count, err);
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

static void print_layer(const struct ldnq_layer *layer, int width)
{
    char shape[LDNQ_SHAPE_TEXT], label[CLI_PLAIN_SIZE], macs_text[32] = "?";
    uint64_t macs;
    if (ldnq_layer_macs(layer, &macs))
        snprintf(macs_text, sizeof macs_text, "%" PRIu64, macs);
    printf("%-*s %-18s %10zu %12s  %-11s  %s%s%s\n", width, layer->node->op_type,
           shape_text(layer->weight, shape, sizeof shape),
           layer->weight ? ldnq_tensor_count(layer->weight) : 0, macs_text,
           layer->refusal ? "no" : "yes", cli_plain(layer->node->label, label),
           layer->refusal ? ": " : "",
           layer->refusal ? layer->refusal : "");
}

/* A weight that several layers read counts where it stands first. */
static bool is_read_before(const struct view *view, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!view->layers[k].refusal && view->layers[k].weight == view->layers[i].weight)
            return true;
    return false;
}

static void print_table(const struct view *view)
{
    const struct ldnq_graph *graph = view->session.graph;
    const struct ldnq_model *model = view->session.model;
    size_t quantizable = 0, weights = 0;
    uint64_t total = 0, macs;
    bool is_known = true;
    int width = op_width(view);
    char producer[CLI_PLAIN_SIZE];
    printf("%s: IR %" PRId64 ", opset %d, producer '%s', %zu bytes\n", graph->file,
           ldnq_model_ir_version(model), ldnq_model_opset(model),
           cli_plain(ldnq_model_producer(model), producer),
           ldnq_model_bytes(model));
    print_values("input ", graph->inputs, graph->input_count, graph);
    print_values("output", graph->outputs, graph->output_count, graph);
    printf("\n%-*s %-18s %10s %12s  %-11s  %s\n", width, "op", "weight", "parameters", "MACs",
           "quantizable", "node");
    for (size_t i = 0; i < view->count; i++) {
        print_layer(&view->layers[i], width);
        if (view->layers[i].refusal)
            continue;
        quantizable++;
        if (!is_read_before(view, i))
            weights += ldnq_tensor_count(view->layers[i].weight);
        if (ldnq_layer_macs(&view->layers[i], &macs))
            total += macs;
        else
            is_known = false;
    }
    printf("\n%zu of %zu layers can be quantized: %zu weights, ", quantizable, view->count,
           weights);
    if (is_known)
        printf("%" PRIu64 " MACs a sample\n", total);
    else
        printf("MACs not known (sizes are open; see --dim)\n");
    if (view->refused)
        printf("it can't be executed, and so not quantized: %s\n", view->refused);
}

/* ---- for programs ------------------------------------------------------------------------ */

static bool add_layer(cJSON *list, const struct ldnq_layer *layer)
{
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
    if (!shape || !cJSON_AddNumberToObject(item, "parameters", parameters))
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
        if (!add_layer(list, &view->layers[i]))
            return false;
    return list != NULL;
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
    .summary = "every layer: shape, parameters, MACs, quantizable or why not",
    .details = "Reads the model and lists its layers with weights in the order in which they\n"
               "run. MACs are multiplications with the weight for one sample; '?' where sizes\n"
               "are open (--dim gives them).\n\n"
               "  ldnq inspect net.onnx\n"
               "  ldnq inspect net.onnx --dim height=224 --dim width=224 --json",
    .options = options,
    .models_min = 1,
    .models_max = 1,
    .run = run_inspect,
};
