/* SPDX-License-Identifier: Apache-2.0 */
#include "api/json_graph.h"

#include "base/json_add.h"
#include "base/utf8.h"

cJSON *ldnq_json_append_object(cJSON *list)
{
    cJSON *object = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(list, object)) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

static cJSON *create_dim(int64_t dim, const struct ldnq_graph *graph)
{
    const char *name = graph ? ldnq_graph_symbol_name(graph, dim) : NULL;
    if (!ldnq_is_symbol(dim))
        return cJSON_CreateNumber((double)dim);
    return name && ldnq_utf8_is_valid(name) ? cJSON_CreateString(name) : cJSON_CreateNull();
}

bool ldnq_json_add_shape(cJSON *item, const char *name, const struct ldnq_shape *shape,
                         const struct ldnq_graph *graph)
{
    if (shape->rank < 0)
        return cJSON_AddNullToObject(item, name) != NULL;
    cJSON *list = cJSON_AddArrayToObject(item, name);
    for (int i = 0; list && i < shape->rank; i++)
        if (!cJSON_AddItemToArray(list, create_dim(shape->dim[i], graph)))
            return false;
    return list != NULL;
}

bool ldnq_json_add_values(cJSON *root, const char *name, struct ldnq_value *const *values,
                          size_t count, const struct ldnq_graph *graph)
{
    cJSON *list = cJSON_AddArrayToObject(root, name);
    for (size_t i = 0; list && i < count; i++) {
        cJSON *item = ldnq_json_append_object(list);
        if (!item || !ldnq_json_add_text(item, "name", values[i]->name) ||
            !ldnq_json_add_text(item, "dtype", ldnq_dtype_name(ldnq_value_file_dtype(values[i]))) ||
            !ldnq_json_add_shape(item, "shape", &values[i]->shape, graph))
            return false;
    }
    return list != NULL;
}
