/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/growing_list.h"
#include "onnx/attrs.h"
#include "onnx/build.h"
#include "onnx/codec.h"
#include "onnx/edit.h"
#include "onnx/opset.h"

/* The first opset that has CastLike. */
#define CAST_LIKE_OPSET 15

/* ---- nodes ------------------------------------------------------------------------ */

static enum ldnq_status append_node(struct ldnq_raise *raise, struct ldnq_node_list *list,
                                    Onnx__NodeProto *node, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_list_reserve(raise->model->arena, &list->nodes, list->count, &list->capacity,
                               sizeof *list->nodes, err));
    list->nodes[list->count++] = node;
    return LDNQ_OK;
}

enum ldnq_status ldnq_raise_add_before(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       struct ldnq_error *err)
{
    return append_node(raise, &raise->out, node, err);
}

enum ldnq_status ldnq_raise_add_after(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                      struct ldnq_error *err)
{
    return append_node(raise, &raise->after, node, err);
}

enum ldnq_status ldnq_raise_make_name(struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                      const char *suffix, const char **name, struct ldnq_error *err)
{
    const char *base =
        node->n_output && *node->output[0] ? node->output[0] : ldnq_or_empty(node->op_type);
    char *wanted = ldnq_arena_printf(raise->scratch, err, "%s_%s", base, suffix);
    return wanted ? ldnq_edit_unique_name(raise->model, wanted, "", name, err) : LDNQ_NOMEM;
}

enum ldnq_status ldnq_raise_insert(struct ldnq_raise *raise, const Onnx__NodeProto *before,
                                   const char *op_type, const char *suffix, const char *a,
                                   const char *b, Onnx__NodeProto **out, struct ldnq_error *err)
{
    const char *name, *inputs[] = { a, b };
    LDNQ_TRY(ldnq_raise_make_name(raise, before, suffix, &name, err));
    *out = ldnq_build_node(raise->model->arena, op_type, name, inputs, b ? 2 : 1, &name, 1, err);
    return *out ? ldnq_raise_add_before(raise, *out, err) : LDNQ_NOMEM;
}

/* ---- constants ---------------------------------------------------------------------- */

static enum ldnq_status add_constant_node(struct ldnq_raise *raise, const char *name,
                                          const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    struct ldnq_arena *arena = raise->model->arena;
    Onnx__NodeProto *node = ldnq_build_node(arena, "Constant", name, NULL, 0, &name, 1, err);
    Onnx__AttributeProto *attr = node ? ldnq_build_attr(arena, node, "value", err) : NULL;
    if (!attr)
        return LDNQ_NOMEM;
    attr->has_type = 1;
    attr->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    LDNQ_TRY(ldnq_codec_encode(tensor, name, arena, &attr->t, err));
    return ldnq_raise_add_before(raise, node, err);
}

static enum ldnq_status add_inner_initializer(struct ldnq_raise *raise, const char *name,
                                              const struct ldnq_tensor *tensor,
                                              struct ldnq_error *err)
{
    Onnx__GraphProto *graph = raise->graph;
    struct ldnq_arena *arena = raise->model->arena;
    size_t count = graph->n_initializer;
    Onnx__TensorProto **list = ldnq_arena_alloc(arena, count + 1, sizeof *list, err);
    if (!list)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_codec_encode(tensor, name, arena, &list[count], err));
    if (count)
        memcpy(list, graph->initializer, count * sizeof *list);
    graph->initializer = list;
    graph->n_initializer = count + 1;
    return LDNQ_OK;
}

enum ldnq_status ldnq_raise_add_constant(struct ldnq_raise *raise, const Onnx__NodeProto *node,
                                         const char *suffix, const struct ldnq_tensor *tensor,
                                         const char **name, struct ldnq_error *err)
{
    LDNQ_TRY(ldnq_raise_make_name(raise, node, suffix, name, err));
    if (!raise->graph)
        return add_constant_node(raise, *name, tensor, err);
    if (raise->graph == raise->model->proto->graph)
        return ldnq_edit_add_initializer(raise->model, *name, tensor, err);
    return add_inner_initializer(raise, *name, tensor, err);
}

static enum ldnq_status set_constant_input(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                           size_t input, const char *suffix, enum ldnq_dtype dtype,
                                           int rank, const void *values, size_t count,
                                           struct ldnq_error *err)
{
    const struct ldnq_tensor tensor = { .dtype = dtype,
                                        .shape = { .rank = rank, .dim = { (int64_t)count } },
                                        .data = (void *)(uintptr_t)values };
    const char *name;
    LDNQ_TRY(ldnq_raise_add_constant(raise, node, suffix, &tensor, &name, err));
    return ldnq_build_set_name(raise->model->arena, &node->input, &node->n_input, input, name, err);
}

enum ldnq_status ldnq_raise_input_ints(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *suffix, const int64_t *values,
                                       size_t count, struct ldnq_error *err)
{
    return set_constant_input(raise, node, input, suffix, LDNQ_INT64, 1, values, count, err);
}

enum ldnq_status ldnq_raise_input_int(struct ldnq_raise *raise, Onnx__NodeProto *node, size_t input,
                                      const char *suffix, int64_t value, struct ldnq_error *err)
{
    return set_constant_input(raise, node, input, suffix, LDNQ_INT64, 0, &value, 1, err);
}

enum ldnq_status ldnq_raise_input_floats(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                         size_t input, const char *suffix, const float *values,
                                         size_t count, struct ldnq_error *err)
{
    return set_constant_input(raise, node, input, suffix, LDNQ_FLOAT, 1, values, count, err);
}

/* ---- a scalar of another value's type -------------------------------------------------- */

static enum ldnq_dtype find_input_type(const struct ldnq_raise *raise, const Onnx__NodeProto *node)
{
    enum ldnq_dtype type = LDNQ_UNDEFINED;
    if (ldnq_raise_has_input(node, 0))
        type = ldnq_scope_type(raise->scope, node->input[0]);
    if (type == LDNQ_UNDEFINED && ldnq_raise_has_output(node, 0))
        type = ldnq_scope_type(raise->scope, node->output[0]);
    return type == LDNQ_UNDEFINED && raise->all_float ? LDNQ_FLOAT : type;
}

enum ldnq_status ldnq_raise_check_input_like(const struct ldnq_raise *raise,
                                             const Onnx__NodeProto *node, struct ldnq_error *err)
{
    if (raise->target >= CAST_LIKE_OPSET || find_input_type(raise, node) != LDNQ_UNDEFINED)
        return LDNQ_OK;
    return ldnq_fail(err, LDNQ_UNSUPPORTED, "the element type of its input is not declared");
}

enum ldnq_status ldnq_raise_input_like(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                       size_t input, const char *suffix, float value,
                                       struct ldnq_error *err)
{
    enum ldnq_dtype type = find_input_type(raise, node);
    Onnx__NodeProto *cast;
    LDNQ_TRY(set_constant_input(raise, node, input, suffix, LDNQ_FLOAT, 0, &value, 1, err));
    if (type == LDNQ_FLOAT)
        return LDNQ_OK;
    const char *like = type == LDNQ_UNDEFINED ? node->input[0] : NULL;
    LDNQ_TRY(ldnq_raise_insert(raise, node, like ? "CastLike" : "Cast", suffix, node->input[input],
                               like, &cast, err));
    if (!like)
        LDNQ_TRY(ldnq_build_int_attr(raise->model->arena, cast, "to", (int64_t)type, err));
    node->input[input] = cast->output[0];
    return LDNQ_OK;
}

/* ---- attributes ------------------------------------------------------------------------ */

enum ldnq_status ldnq_raise_move_attr_to_input(struct ldnq_raise *raise, Onnx__NodeProto *node,
                                               const char *name, size_t input,
                                               struct ldnq_error *err)
{
    const Onnx__AttributeProto *attr = ldnq_attr_find(node, name);
    if (!attr)
        return LDNQ_OK;
    if (attr->n_ints)
        LDNQ_TRY(ldnq_raise_input_ints(raise, node, input, name, attr->ints, attr->n_ints, err));
    ldnq_build_remove_attr(node, name);
    return LDNQ_OK;
}

int64_t ldnq_raise_read_int(const Onnx__NodeProto *node, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *attr = ldnq_attr_find(node, name);
    return attr && attr->has_i ? attr->i : otherwise;
}

bool ldnq_raise_attr_is(const Onnx__NodeProto *node, const char *name, const char *value)
{
    const Onnx__AttributeProto *attr = ldnq_attr_find(node, name);
    size_t length = strlen(value);
    return attr && attr->has_s && attr->s.len == length && memcmp(attr->s.data, value, length) == 0;
}

bool ldnq_raise_has_output(const Onnx__NodeProto *node, size_t i)
{
    return i < node->n_output && *node->output[i];
}

bool ldnq_raise_has_input(const Onnx__NodeProto *node, size_t i)
{
    return i < node->n_input && *node->input[i];
}
