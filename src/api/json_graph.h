/* SPDX-License-Identifier: Apache-2.0 */
/* json_graph.h: a model's values as JSON. Functions return false when memory is out. */
#ifndef LDNQ_API_JSON_GRAPH_H
#define LDNQ_API_JSON_GRAPH_H

#include <cJSON.h>

#include "ir/ir.h"

/* Adds the dimensions as a list: a number, the name of an open one, or null for one without a
 * name; null for an unknown rank. `graph` may be NULL: no names. */
bool ldnq_json_add_shape(cJSON *item, const char *name, const struct ldnq_shape *shape,
                         const struct ldnq_graph *graph);

/* Adds a list of objects with name, dtype and shape. */
bool ldnq_json_add_values(cJSON *root, const char *name, struct ldnq_value *const *values,
                          size_t count, const struct ldnq_graph *graph);

/* Appends a new object to the list and returns it; NULL when memory is out. */
cJSON *ldnq_json_append_object(cJSON *list);

#endif
