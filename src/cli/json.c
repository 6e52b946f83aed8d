/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/line.h"

void cli_json_print_result(struct cli_line *line, const struct ldnq_result *result)
{
    puts(ldnq_result_json(result));
    line->has_result = true;
}

void cli_json_print_failure(const struct ldnq_error *err, int exit_code)
{
    cJSON *root = cJSON_CreateObject();
    if (root && cJSON_AddStringToObject(root, "status", ldnq_status_name(err->status)) &&
        cJSON_AddNumberToObject(root, "exit_code", exit_code) &&
        cJSON_AddStringToObject(root, "message", err->message)) {
        char *text = cJSON_Print(root);
        if (text)
            puts(text);
        cJSON_free(text);
    }
    cJSON_Delete(root);
}

enum ldnq_status cli_json_parse(const struct ldnq_result *result, cJSON **root,
                                struct ldnq_error *err)
{
    *root = cJSON_Parse(ldnq_result_json(result));
    return *root ? LDNQ_OK : cli_fail(err, LDNQ_NOMEM, "out of memory");
}

enum ldnq_status cli_json_print_or(struct cli_line *line, const struct ldnq_result *result,
                                   void (*print)(const cJSON *root), struct ldnq_error *err)
{
    cJSON *root;
    if (cli_line_has_flag(line, "json")) {
        cli_json_print_result(line, result);
        return LDNQ_OK;
    }
    const enum ldnq_status status = cli_json_parse(result, &root, err);
    if (status == LDNQ_OK)
        print(root);
    cJSON_Delete(root);
    return status;
}

const cJSON *cli_json_item(const cJSON *item, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(item, name);
}

double cli_json_number(const cJSON *item, const char *name)
{
    const cJSON *member = cli_json_item(item, name);
    return cJSON_IsNumber(member) ? member->valuedouble : NAN;
}

const char *cli_json_text(const cJSON *item, const char *name)
{
    return cJSON_GetStringValue(cli_json_item(item, name));
}

bool cli_json_flag(const cJSON *item, const char *name)
{
    return cJSON_IsTrue(cli_json_item(item, name));
}

size_t cli_json_read_count(const cJSON *item, const char *name)
{
    const double value = cli_json_number(item, name);
    return value > 0 ? (size_t)value : 0;
}

const char *cli_json_shape(const cJSON *shape, char *text, size_t size)
{
    const cJSON *dim;
    size_t used = 0;
    if (!cJSON_IsArray(shape)) {
        snprintf(text, size, "(unknown rank)");
        return text;
    }
    snprintf(text, size, "(");
    cJSON_ArrayForEach(dim, shape)
    {
        used = strlen(text);
        const char *comma = used > 1 ? "," : "";
        if (cJSON_IsNumber(dim))
            snprintf(text + used, size - used, "%s%.0f", comma, dim->valuedouble);
        else
            snprintf(text + used, size - used, "%s%s", comma,
                     cJSON_IsString(dim) ? dim->valuestring : "?");
    }
    used = strlen(text);
    snprintf(text + used, size - used, ")");
    return text;
}
