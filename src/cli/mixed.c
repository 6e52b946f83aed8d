#include "cli/mixed.h"

#include <cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/choices.h"
#include "cli/options.h"

/* What a budget chooses from when --weights does not say. */
#define DEFAULT_CODEBOOKS "int2,int3,int4,int8"

/* Of a code when any number of bits will do. */
static unsigned code_bits(const struct ldnq_codebook *codebook)
{
    unsigned bits = 0;
    while ((size_t)1 << bits < codebook->count)
        bits++;
    return bits;
}

double cli_plan_bits(const struct ldnq_quantization *result)
{
    double bits = 0, weights = 0;
    for (size_t i = 0; i < result->network.count; i++) {
        const struct ldnq_layer *layer = &result->network.layers[i].layer;
        const double count = (double)ldnq_layer_elements(layer);
        if (result->network.layers[i].shared)
            continue;
        bits += count * code_bits(result->network.layers[i].codebook);
        weights += count;
    }
    return weights > 0 ? bits / weights : 0;
}

/* ---- the budget ------------------------------------------------------------------------ */

static enum ldnq_status parse_amount(const char *text, struct ldnq_budget *budget,
                                     struct ldnq_error *err)
{
    char *unit;
    size_t bytes;
    budget->amount = strtod(text, &unit);
    budget->unit = strcmp(unit, "bits") == 0 ? LDNQ_BUDGET_BITS : LDNQ_BUDGET_RATIO;
    if (unit != text && (strcmp(unit, "bits") == 0 || strcmp(unit, "x") == 0) &&
        budget->amount > 0 && budget->amount < 1e9)
        return LDNQ_OK;
    if (!cli_parse_bytes(text, &bytes))
        return ldnq_fail(err, LDNQ_USAGE,
                         "quantize: --budget takes a mean of bits (3bits), a "
                         "ratio to the float weights (8x) or bytes (200K), not '%s'",
                         text);
    budget->unit = LDNQ_BUDGET_BYTES;
    budget->amount = (double)bytes;
    return LDNQ_OK;
}

static enum ldnq_status list_codebooks(struct cli_plan *plan, const char *text,
                                       struct ldnq_error *err)
{
    struct ldnq_budget *budget = &plan->budget;
    for (;;) {
        char name[32];
        const size_t length = strcspn(text, ",");
        if (length >= sizeof name || budget->count == CLI_PLAN_MOST)
            return ldnq_fail(err, LDNQ_USAGE, "quantize: --weights '%s' is too long", text);
        memcpy(name, text, length);
        name[length] = '\0';
        LDNQ_TRY(cli_choose_codebook("quantize: --weights", name, &plan->codebooks[budget->count++],
                                     err));
        if (!text[length])
            return LDNQ_OK;
        text += length + 1;
    }
}

static enum ldnq_status parse_budget(struct cli_plan *plan, const struct cli_settings *settings,
                                     struct ldnq_error *err)
{
    LDNQ_TRY(parse_amount(settings->budget, &plan->budget, err));
    plan->budget.codebooks = plan->codebooks;
    plan->budget.bits = plan->bits;
    return list_codebooks(plan, settings->weights ? settings->weights : DEFAULT_CODEBOOKS, err);
}

/* ---- reading --------------------------------------------------------------------------- */

static enum ldnq_status read_entry(const struct cli_session *session, const cJSON *item, size_t i,
                                   struct ldnq_plan_entry *entry, struct ldnq_error *err)
{
    char where[512];
    const char *path = session->settings->plan;
    const char *node = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "node"));
    const char *weights = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "weights"));
    if (!node || !weights)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: layers[%zu] needs \"node\" and \"weights\", both "
                         "strings",
                         path, i);
    snprintf(where, sizeof where, "%s: layers[%zu]: weights", path, i);
    entry->node = ldnq_arena_strdup(session->arena, node, err);
    return entry->node ? cli_choose_codebook(where, weights, &entry->codebook, err) : LDNQ_NOMEM;
}

static enum ldnq_status read_entries(const struct cli_session *session, const cJSON *root,
                                     struct ldnq_quantize_options *options, struct ldnq_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "layers"), *item;
    if (!cJSON_IsArray(list))
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: is no plan: it is not JSON with a list \"layers\"; "
                         "--budget together with --plan writes one",
                         session->settings->plan);
    struct ldnq_plan_entry *entries =
        ldnq_arena_alloc(session->arena, (size_t)cJSON_GetArraySize(list), sizeof *entries, err);
    if (!entries)
        return LDNQ_NOMEM;
    options->plan = entries;
    cJSON_ArrayForEach(item, list)
    {
        LDNQ_TRY(
            read_entry(session, item, options->plan_count, &entries[options->plan_count], err));
        options->plan_count++;
    }
    return LDNQ_OK;
}

static enum ldnq_status read_file(const struct cli_session *session,
                                  struct ldnq_quantize_options *options, struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    LDNQ_TRY(ldnq_file_read(session->settings->plan, session->arena, &bytes, &size, err));
    cJSON *root = cJSON_ParseWithLength(bytes, size);
    const enum ldnq_status status = read_entries(session, root, options, err);
    cJSON_Delete(root);
    return status;
}

enum ldnq_status cli_plan_read(struct cli_plan *plan, const struct cli_session *session,
                               struct ldnq_quantize_options *options,
                               const struct ldnq_codebook **widest, struct ldnq_error *err)
{
    const struct cli_settings *settings = session->settings;
    if (settings->budget)
        LDNQ_TRY(parse_budget(plan, settings, err));
    else if (settings->plan)
        LDNQ_TRY(read_file(session, options, err));
    *widest = options->codebook;
    for (size_t i = 0; i < options->plan_count; i++)
        if (options->plan[i].codebook->bits > (*widest)->bits)
            *widest = options->plan[i].codebook;
    for (size_t i = 0; i < plan->budget.count; i++)
        if (plan->codebooks[i]->bits > (*widest)->bits)
            *widest = plan->codebooks[i];
    return LDNQ_OK;
}

/* ---- making ---------------------------------------------------------------------------- */

static bool add_entry(cJSON *list, const struct cli_plan *plan, size_t i)
{
    const struct ldnq_bit_allocation *made = plan->made;
    cJSON *item = cJSON_CreateObject();
    if (!item || !cJSON_AddItemToArray(list, item) ||
        !cJSON_AddStringToObject(item, "node", made->entries[i].node) ||
        !cJSON_AddStringToObject(item, "weights", made->entries[i].codebook->name))
        return false;
    cJSON *errors = cJSON_AddObjectToObject(item, "errors");
    for (size_t c = 0; errors && c < made->choices; c++)
        if (!cJSON_AddNumberToObject(errors, plan->codebooks[c]->name,
                                     made->errors[i * made->choices + c]))
            return false;
    return errors != NULL;
}

static char *print_plan(const struct cli_plan *plan, const struct cli_settings *settings)
{
    cJSON *root = cJSON_CreateObject();
    bool filled = root && cJSON_AddStringToObject(root, "budget", settings->budget) &&
                  cJSON_AddNumberToObject(root, "error", plan->made->error);
    cJSON *list = filled ? cJSON_AddArrayToObject(root, "layers") : NULL;
    filled = list != NULL;
    for (size_t i = 0; filled && i < plan->made->count; i++)
        filled = add_entry(list, plan, i);
    char *text = filled ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    return text;
}

static enum ldnq_status write_file(const struct cli_plan *plan, const struct cli_settings *settings,
                                   struct ldnq_error *err)
{
    char *text = print_plan(plan, settings);
    if (!text)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    const enum ldnq_status status = ldnq_file_write(settings->plan, text, strlen(text), err);
    cJSON_free(text);
    return status;
}

enum ldnq_status cli_plan_make(struct cli_plan *plan, const struct cli_session *session,
                               struct ldnq_samples *samples, const struct ldnq_emit_choice *choice,
                               struct ldnq_quantize_options *options, struct ldnq_error *err)
{
    struct ldnq_budget *budget = &plan->budget;
    if (budget->count == 0)
        return LDNQ_OK;
    for (size_t i = 0; i < budget->count; i++)
        plan->bits[i] = budget->unit == LDNQ_BUDGET_BITS
                            ? code_bits(plan->codebooks[i])
                            : ldnq_dtype_bits(ldnq_emit_dtype(choice, plan->codebooks[i]));
    struct ldnq_error reason;
    const enum ldnq_status status = ldnq_allocate_bits(session->graph, samples, options, budget,
                                                       session->arena, &plan->made, &reason);
    const bool is_narrow = budget->unit == LDNQ_BUDGET_BITS || choice->opset == LDNQ_OPSET_LATEST;
    if (status != LDNQ_OK)
        return ldnq_fail(err, status,
                         status == LDNQ_USAGE && !is_narrow ? "%s; --opset %d has "
                                                              "narrower types for codes"
                                                            : "%s",
                         reason.message, LDNQ_OPSET_LATEST);
    options->plan = plan->made->entries;
    options->plan_count = plan->made->count;
    return session->settings->plan ? write_file(plan, session->settings, err) : LDNQ_OK;
}
