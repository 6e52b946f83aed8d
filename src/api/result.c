/* SPDX-License-Identifier: Apache-2.0 */
#include "api/result.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json_add.h"
#include "onnx/onnx.h"

enum ldnq_status ldnq_result_create(struct ldnq_result **out, struct ldnq_error *err)
{
    *out = ldnq_calloc(1, sizeof **out);
    return *out ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

void ldnq_result_destroy(struct ldnq_result *result)
{
    if (!result)
        return;
    ldnq_free(result->json);
    ldnq_model_free_bytes(result->model);
    ldnq_free(result->html);
    ldnq_arena_destroy(result->arena);
    ldnq_free(result);
}

enum ldnq_status ldnq_result_print(struct ldnq_result *result, cJSON *root, bool filled,
                                   struct ldnq_error *err)
{
    result->json = filled ? ldnq_json_print(root, LDNQ_JSON_INDENTED) : NULL;
    cJSON_Delete(root);
    return result->json ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
}

enum ldnq_status ldnq_result_return_or_destroy(struct ldnq_result *result, enum ldnq_status status,
                                               struct ldnq_result **out)
{
    const bool is_wanted = status == LDNQ_OK && out;
    if (out)
        *out = is_wanted ? result : NULL;
    if (!is_wanted)
        ldnq_result_destroy(result);
    return status;
}

const char *ldnq_result_json(const struct ldnq_result *result)
{
    return result->json;
}

const void *ldnq_result_bytes(const struct ldnq_result *result, const char *part, size_t *size)
{
    const bool is_model = strcmp(part, "model") == 0, is_html = strcmp(part, "html") == 0;
    *size = is_model ? result->model_size : is_html ? result->html_size : 0;
    return is_model ? result->model : is_html ? result->html : NULL;
}

const struct ldnq_ndarray *ldnq_result_array(const struct ldnq_result *result, size_t index)
{
    return index < result->array_count ? &result->arrays[index] : NULL;
}
