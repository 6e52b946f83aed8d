/* SPDX-License-Identifier: Apache-2.0 */
#include "compare/table_form.h"

#include <string.h>

#include "ops/op.h"

#define CODE_OFFSET 8
#define OPSET_OF_BLOCKS 21
#define MOST_FORM_NODES 12

struct value_readers {
    size_t count;              /* graph outputs included */
    struct ldnq_node *list[2]; /* the first two */
};

struct form_rewriter {
    struct ldnq_graph *graph;
    struct value_readers *readers;   /* by value index */
    struct ldnq_value **dequantized; /* by value index of codes: the table; NULL: not seen yet */
    struct ldnq_node **replacement;  /* by node position: NULL where the node is removed */
};

/* One form: the nodes from the Gather of codes to the last one. */
struct table_form {
    struct ldnq_node *nodes[MOST_FORM_NODES];
    size_t count;
    struct ldnq_value *codes, *scales, *ids;
    int64_t axis; /* of both Gathers */
    bool is_packed, packs_first_axis;
    bool has_blocks;
    bool has_matrices; /* codes (E, K, M), scales (E, 1, M); with blocks (E, S, B, M), (E, S, 1, M)
                        */
};

/* ---- matching ---------------------------------------------------------------------------- */

/* Whether it is a node of this type with these inputs and one output: binding, which refuses
 * others, comes later. NULL is none. */
static bool is_operator_with_inputs(const struct ldnq_node *node, const char *type, size_t inputs)
{
    return node && strcmp(node->op_type, type) == 0 && node->domain[0] == '\0' &&
           node->input_count == inputs && ldnq_node_has_inputs(node, inputs) &&
           node->output_count == 1 && node->outputs[0];
}

static void append_form_node(struct table_form *form, struct ldnq_node *node)
{
    form->nodes[form->count++] = node;
}

/* The reader of this type, with `inputs` inputs, among the `count` readers that the value has; NULL
 * where it has other readers. */
static struct ldnq_node *find_reader(const struct form_rewriter *rewriter,
                                     const struct ldnq_value *value, size_t count, const char *type,
                                     size_t inputs)
{
    const struct value_readers *readers = &rewriter->readers[value->index];
    if (readers->count != count)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (is_operator_with_inputs(readers->list[i], type, inputs))
            return readers->list[i];
    return NULL;
}

static bool is_scalar(const struct ldnq_value *value, float number)
{
    return value && value->constant && value->constant->dtype == LDNQ_FLOAT &&
           ldnq_tensor_count(value->constant) == 1 &&
           *(const float *)value->constant->data == number;
}

/* The only reader, if it is `type` of the value and this number. */
static struct ldnq_node *match_only_reader(const struct form_rewriter *rewriter,
                                           struct table_form *form, const struct ldnq_value *value,
                                           size_t readers, const char *type, float number)
{
    struct ldnq_node *node = find_reader(rewriter, value, readers, type, 2);
    if (!node || node->inputs[0] != value || !is_scalar(node->inputs[1], number))
        return NULL;
    append_form_node(form, node);
    return node;
}

/* From bytes as floats to codes; NULL: other nodes. */
static const struct ldnq_value *match_unpacking(const struct form_rewriter *rewriter,
                                                struct table_form *form,
                                                const struct ldnq_value *bytes)
{
    struct ldnq_node *scaled = match_only_reader(rewriter, form, bytes, 2, "Mul", 1.0f / 16);
    struct ldnq_node *low = find_reader(rewriter, bytes, 2, "Sub", 2);
    struct ldnq_node *high =
        scaled ? find_reader(rewriter, scaled->outputs[0], 1, "Floor", 1) : NULL;
    if (!low || !high || low->inputs[0] != bytes)
        return NULL;
    struct ldnq_node *part = match_only_reader(rewriter, form, high->outputs[0], 2, "Mul", 16.0f);
    struct ldnq_node *join = find_reader(rewriter, low->outputs[0], 1, "Concat", 2);
    if (!part || !join || low->inputs[1] != part->outputs[0] ||
        join->inputs[0] != low->outputs[0] || join->inputs[1] != high->outputs[0])
        return NULL;
    const int64_t packed = ldnq_attr_int(join, "axis", 0);
    form->packs_first_axis = packed == 0 && form->axis > 0;
    if (packed != -1 && !form->packs_first_axis)
        return NULL;
    append_form_node(form, low);
    append_form_node(form, high);
    append_form_node(form, join);
    struct ldnq_node *offset =
        match_only_reader(rewriter, form, join->outputs[0], 1, "Sub", CODE_OFFSET);
    return offset ? offset->outputs[0] : NULL;
}

static bool gathers_constant(const struct ldnq_node *node)
{
    return is_operator_with_inputs(node, "Gather", 2) && node->inputs[0]->constant &&
           ldnq_attr_int(node, "axis", 0) >= 0;
}

/* The axes of the codes, with size 1 but for the axis of the lookup. */
static bool has_scale_shape(const struct ldnq_tensor *scales, const struct table_form *form)
{
    const struct ldnq_shape *a = &scales->shape, *b = &form->codes->constant->shape;
    if (scales->dtype != LDNQ_FLOAT || a->rank != b->rank || form->axis >= a->rank)
        return false;
    for (int axis = 0; axis < a->rank; axis++)
        if (a->dim[axis] != (axis == form->axis ? b->dim[axis] : 1))
            return false;
    return true;
}

/* (rows, S, 1) for codes (rows, S, width). */
static bool has_scale_shape_of_blocks(const struct ldnq_tensor *scales,
                                      const struct ldnq_tensor *codes)
{
    const struct ldnq_shape *a = &scales->shape, *b = &codes->shape;
    return scales->dtype == LDNQ_FLOAT && a->rank == 3 && b->rank == 3 && a->dim[0] == b->dim[0] &&
           a->dim[1] == b->dim[1] && a->dim[2] == 1;
}

/* (E, 1, M), for codes (E, K, M), or (E, S, 1, M) for (E, S, B, M); M / 2 of them in bytes. */
static bool has_scale_shape_of_matrices(const struct ldnq_tensor *scales,
                                        const struct ldnq_tensor *codes, bool is_packed)
{
    const struct ldnq_shape *a = &scales->shape, *b = &codes->shape;
    const int last = b->rank - 1;
    if (scales->dtype != LDNQ_FLOAT || a->rank != b->rank || a->rank < 3 || a->dim[last - 1] != 1 ||
        a->dim[last] != b->dim[last] * (is_packed ? 2 : 1))
        return false;
    for (int axis = 0; axis < last - 1; axis++)
        if (a->dim[axis] != b->dim[axis])
            return false;
    return true;
}

/* Sets the last node; false if the graph has another form. */
static bool match_scaling(const struct form_rewriter *rewriter, struct table_form *form,
                          const struct ldnq_value *codes)
{
    struct ldnq_node *scaled = find_reader(rewriter, codes, 1, "Mul", 2);
    struct ldnq_node *gather = scaled ? scaled->inputs[1]->producer : NULL;
    if (!gather || scaled->inputs[0] != codes || !gathers_constant(gather) ||
        ldnq_attr_int(gather, "axis", 0) != form->axis || gather->inputs[1] != form->ids ||
        rewriter->readers[gather->outputs[0]->index].count != 1)
        return false;
    const struct ldnq_tensor *scales = gather->inputs[0]->constant, *stored = form->codes->constant;
    if (!has_scale_shape(scales, form)) {
        form->has_matrices =
            form->axis == 0 && has_scale_shape_of_matrices(scales, stored, form->is_packed);
        form->has_blocks = form->has_matrices
                               ? stored->shape.rank == 4
                               : form->axis == 0 && has_scale_shape_of_blocks(scales, stored);
        if (!form->has_matrices && !form->has_blocks)
            return false;
    }
    form->scales = gather->inputs[0];
    append_form_node(form, gather);
    append_form_node(form, scaled);
    if (!form->has_blocks)
        return true;
    struct ldnq_node *join = find_reader(rewriter, scaled->outputs[0], 1, "Reshape", 2);
    if (!join || !join->inputs[1]->constant)
        return false;
    append_form_node(form, join);
    return true;
}

static bool match_form(const struct form_rewriter *rewriter, struct ldnq_node *gather,
                       struct table_form *form)
{
    *form = (struct table_form){ .count = 0 };
    if (!gathers_constant(gather))
        return false;
    const struct ldnq_tensor *codes = gather->inputs[0]->constant;
    form->axis = ldnq_attr_int(gather, "axis", 0);
    form->codes = gather->inputs[0];
    form->ids = gather->inputs[1];
    form->is_packed = codes->dtype == LDNQ_UINT8;
    struct ldnq_node *cast = find_reader(rewriter, gather->outputs[0], 1, "Cast", 1);
    if ((codes->dtype != LDNQ_INT8 && !form->is_packed) || codes->shape.rank < 2 || !cast ||
        ldnq_attr_int(cast, "to", 0) != LDNQ_FLOAT)
        return false;
    append_form_node(form, gather);
    append_form_node(form, cast);
    const struct ldnq_value *value = cast->outputs[0];
    if (form->is_packed)
        value = match_unpacking(rewriter, form, value);
    return value && match_scaling(rewriter, form, value);
}

/* ---- the dequantized table --------------------------------------------------------------- */

/* A constant that takes the name of `old`, which nothing reads any more. */
static enum ldnq_status replace_constant(struct ldnq_graph *graph, struct ldnq_value *old,
                                         const struct ldnq_tensor *tensor, struct ldnq_value **out,
                                         struct ldnq_error *err)
{
    const char *name = old->name;
    old->name = ldnq_arena_printf(graph->arena, err, "%s_in_file", name);
    if (!old->name)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_graph_add_constant(graph, name, tensor, out, err));
    (*out)->is_initializer = true;
    return LDNQ_OK;
}

static enum ldnq_status unpack_codes(struct ldnq_graph *graph, const struct table_form *form,
                                     struct ldnq_value **out, struct ldnq_error *err)
{
    const struct ldnq_tensor *stored = form->codes->constant;
    const struct ldnq_shape *from = &stored->shape;
    const size_t half =
        form->packs_first_axis ? ldnq_tensor_count(stored) : (size_t)from->dim[from->rank - 1];
    struct ldnq_shape shape = *from;
    struct ldnq_tensor *tensor;
    *out = form->codes;
    if (!form->is_packed && !form->has_blocks)
        return LDNQ_OK;
    if (form->has_blocks) {
        shape.rank--;
        shape.dim[1] *= shape.dim[2];
        if (form->has_matrices)
            shape.dim[2] = from->dim[3];
    }
    if (form->is_packed)
        shape.dim[form->packs_first_axis ? 0 : shape.rank - 1] *= 2;
    LDNQ_TRY(ldnq_tensor_create(graph->arena, form->is_packed ? LDNQ_INT4 : LDNQ_INT8, &shape,
                                &tensor, err));
    int8_t *codes = tensor->data;
    if (form->is_packed) {
        const uint8_t *bytes = stored->data;
        for (size_t i = 0; i < ldnq_tensor_count(stored); i++) {
            int8_t *part = codes + i / half * 2 * half + i % half;
            part[0] = (int8_t)((bytes[i] & 15) - CODE_OFFSET);
            part[half] = (int8_t)((bytes[i] >> 4) - CODE_OFFSET);
        }
    } else if (ldnq_tensor_count(stored) > 0) {
        memcpy(codes, stored->data, ldnq_tensor_count(stored));
    }
    return replace_constant(graph, form->codes, tensor, out, err);
}

/* The table has the type of its scales. */
static enum ldnq_status make_scales(struct ldnq_graph *graph, const struct table_form *form,
                                    struct ldnq_value **out, struct ldnq_error *err)
{
    struct ldnq_tensor *tensor = ldnq_arena_alloc(graph->arena, 1, sizeof *tensor, err);
    if (!tensor)
        return LDNQ_NOMEM;
    *tensor = *form->scales->constant;
    struct ldnq_shape *shape = &tensor->shape;
    if (form->has_blocks) { /* without the axis of size 1 */
        if (form->has_matrices)
            shape->dim[2] = shape->dim[3];
        shape->rank--;
    } else if (!form->has_matrices) {
        *shape = (struct ldnq_shape){ .rank = 1, .dim = { shape->dim[form->axis] } };
    }
    LDNQ_TRY(replace_constant(graph, form->scales, tensor, out, err));
    (*out)->half = form->scales->half;
    return LDNQ_OK;
}

static enum ldnq_status make_dequantize(struct ldnq_graph *graph, const struct table_form *form,
                                        struct ldnq_node **out, struct ldnq_error *err)
{
    const bool has_blocks = form->has_blocks || form->has_matrices;
    struct ldnq_node *node = ldnq_arena_alloc(graph->arena, 1, sizeof *node, err);
    struct ldnq_attr *attrs = ldnq_arena_alloc(graph->arena, 2, sizeof *attrs, err);
    struct ldnq_value **values = ldnq_arena_alloc(graph->arena, 3, sizeof *values, err);
    const char *label =
        ldnq_arena_printf(graph->arena, err, "DequantizeLinear of '%s'", form->codes->name);
    if (!node || !attrs || !values || !label)
        return LDNQ_NOMEM;
    const struct ldnq_shape *stored = &form->codes->constant->shape;
    const int64_t last = stored->dim[stored->rank - 1] * (form->is_packed ? 2 : 1);
    attrs[0] = (struct ldnq_attr){ .name = "axis",
                                   .kind = LDNQ_ATTR_INT,
                                   .i = has_blocks ? 1 : form->axis };
    attrs[1] = (struct ldnq_attr){ .name = "block_size",
                                   .kind = LDNQ_ATTR_INT,
                                   .i = form->has_matrices ? stored->dim[stored->rank - 2] : last };
    LDNQ_TRY(unpack_codes(graph, form, &values[0], err));
    LDNQ_TRY(make_scales(graph, form, &values[1], err));
    LDNQ_TRY(ldnq_graph_add_value(graph, "", &values[2], err));
    const int opset = form->nodes[0]->opset;
    *node = (struct ldnq_node){ .name = "",
                                .label = label,
                                .op_type = "DequantizeLinear",
                                .domain = "",
                                .opset = opset < OPSET_OF_BLOCKS ? OPSET_OF_BLOCKS : opset,
                                .index = form->nodes[0]->index,
                                .input_count = 2,
                                .output_count = 1,
                                .inputs = values,
                                .outputs = values + 2,
                                .attr_count = has_blocks ? 2 : 1,
                                .attrs = attrs };
    values[2]->producer = node;
    *out = node;
    return LDNQ_OK;
}

/* ---- rewriting --------------------------------------------------------------------------- */

/* The last node becomes the Gather; a DequantizeLinear takes the first node's place. */
static enum ldnq_status put_dequantize_before_gather(struct form_rewriter *rewriter,
                                                     const struct table_form *form,
                                                     struct ldnq_error *err)
{
    struct ldnq_graph *graph = rewriter->graph;
    struct ldnq_node *last = form->nodes[form->count - 1], *dequantize = NULL;
    const size_t codes = form->codes->index;
    struct ldnq_value **inputs = ldnq_arena_alloc(graph->arena, 2, sizeof *inputs, err);
    if (!inputs)
        return LDNQ_NOMEM;
    if (!rewriter->dequantized[codes]) {
        LDNQ_TRY(make_dequantize(graph, form, &dequantize, err));
        rewriter->dequantized[codes] = dequantize->outputs[0];
    }
    inputs[0] = rewriter->dequantized[codes];
    inputs[1] = form->ids;
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t i = 0; i + 1 < form->count; i++)
            if (graph->nodes[n] == form->nodes[i])
                rewriter->replacement[n] = i == 0 ? dequantize : NULL;
    last->op_type = "Gather";
    last->inputs = inputs;
    last->input_count = 2;
    last->attrs = form->nodes[0]->attrs;
    last->attr_count = form->nodes[0]->attr_count;
    return LDNQ_OK;
}

static enum ldnq_status list_readers(struct form_rewriter *rewriter, struct ldnq_error *err)
{
    const struct ldnq_graph *graph = rewriter->graph;
    rewriter->readers =
        ldnq_arena_alloc(graph->arena, graph->value_count, sizeof *rewriter->readers, err);
    rewriter->dequantized =
        ldnq_arena_alloc(graph->arena, graph->value_count, sizeof(struct ldnq_value *), err);
    rewriter->replacement =
        ldnq_arena_alloc(graph->arena, graph->node_count, sizeof(struct ldnq_node *), err);
    if (!rewriter->readers || !rewriter->dequantized || !rewriter->replacement)
        return LDNQ_NOMEM;
    for (size_t o = 0; o < graph->output_count; o++)
        rewriter->readers[graph->outputs[o]->index].count++;
    for (size_t n = 0; n < graph->node_count; n++) {
        struct ldnq_node *node = graph->nodes[n];
        rewriter->replacement[n] = node;
        for (size_t i = 0; i < node->input_count; i++) {
            if (!node->inputs[i])
                continue;
            struct value_readers *readers = &rewriter->readers[node->inputs[i]->index];
            if (readers->count < 2)
                readers->list[readers->count] = node;
            readers->count++;
        }
    }
    return LDNQ_OK;
}

static bool has_codes_gather(const struct ldnq_graph *graph)
{
    for (size_t n = 0; n < graph->node_count; n++)
        if (gathers_constant(graph->nodes[n]) &&
            ldnq_dtype_bits(graph->nodes[n]->inputs[0]->constant->dtype) == 8)
            return true;
    return false;
}

static enum ldnq_status rewrite_graph(struct ldnq_graph *graph, struct ldnq_error *err)
{
    struct form_rewriter rewriter = { .graph = graph };
    struct table_form form;
    size_t kept = 0;
    if (!has_codes_gather(graph))
        return LDNQ_OK;
    LDNQ_TRY(list_readers(&rewriter, err));
    for (size_t n = 0; n < graph->node_count; n++)
        if (rewriter.replacement[n] == graph->nodes[n] &&
            match_form(&rewriter, graph->nodes[n], &form))
            LDNQ_TRY(put_dequantize_before_gather(&rewriter, &form, err));
    for (size_t n = 0; n < graph->node_count; n++)
        if (rewriter.replacement[n])
            graph->nodes[kept++] = rewriter.replacement[n];
    graph->node_count = kept;
    return LDNQ_OK;
}

enum ldnq_status ldnq_table_forms_rewrite(struct ldnq_graph *graph, struct ldnq_error *err)
{
    for (size_t n = 0; n < graph->node_count; n++)
        for (size_t k = 0; k < graph->nodes[n]->attr_count; k++)
            if (graph->nodes[n]->attrs[k].kind == LDNQ_ATTR_GRAPH)
                LDNQ_TRY(ldnq_table_forms_rewrite(graph->nodes[n]->attrs[k].g, err));
    return rewrite_graph(graph, err);
}
