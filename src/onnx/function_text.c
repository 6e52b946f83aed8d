/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/function_text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/growing_list.h"
#include "onnx/attrs.h"
#include "onnx/build.h"

/* Most names in one list, and most numbers of an attribute. */
#define MOST 128
/* The longest name or number, with its NUL. */
#define WORD 64

struct reader {
    struct ldnq_arena *arena;
    const char *text, *at;
    const Onnx__NodeProto *call;
    Onnx__FunctionProto *function;
    size_t node_capacity;
    /* Open blocks of lines, and which of them, counted from 1, is left out; 0 for none. */
    size_t depth, left_out;
    struct ldnq_error *err;
};

struct name_list {
    const char *names[MOST];
    size_t count;
};

static enum ldnq_status fail(const struct reader *r, const char *expected)
{
    return ldnq_fail(r->err, LDNQ_MODEL, "expected %s before '%.20s' in the function '%.30s'",
                     expected, r->at, r->text);
}

/* ---- words ----------------------------------------------------------------------------- */

static void skip_blanks(struct reader *r)
{
    while (*r->at == ' ')
        r->at++;
}

static bool accept(struct reader *r, const char *token)
{
    skip_blanks(r);
    const size_t length = strlen(token);
    if (strncmp(r->at, token, length) != 0)
        return false;
    r->at += length;
    return true;
}

static enum ldnq_status expect(struct reader *r, const char *token)
{
    return accept(r, token) ? LDNQ_OK : fail(r, token);
}

static bool is_word_character(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Reads a name, which may be empty. */
static enum ldnq_status read_name(struct reader *r, char word[WORD])
{
    size_t length = 0;
    skip_blanks(r);
    for (; is_word_character(*r->at); r->at++) {
        if (length + 1 == WORD)
            return fail(r, "a shorter name");
        word[length++] = *r->at;
    }
    word[length] = '\0';
    return LDNQ_OK;
}

static bool has_name(char *const *names, size_t count, char *const *given, size_t given_count,
                     const char *name)
{
    for (size_t i = 0; i < count && i < given_count; i++)
        if (strcmp(names[i], name) == 0)
            return *given[i] != '\0';
    return false;
}

static bool has_input(const struct reader *r, const char *name)
{
    return has_name(r->function->input, r->function->n_input, r->call->input, r->call->n_input,
                    name);
}

static bool has_output(const struct reader *r, const char *name)
{
    return has_name(r->function->output, r->function->n_output, r->call->output, r->call->n_output,
                    name);
}

/* Whether a line so far has made the value. */
static bool is_defined(const struct reader *r, const char *name)
{
    for (size_t n = 0; n < r->function->n_node; n++)
        for (size_t o = 0; o < r->function->node[n]->n_output; o++)
            if (strcmp(r->function->node[n]->output[o], name) == 0)
                return true;
    return false;
}

/* Reads names with commas between them. */
static enum ldnq_status read_names(struct reader *r, struct name_list *list)
{
    char word[WORD];
    list->count = 0;
    do {
        if (list->count == MOST)
            return fail(r, "a shorter list");
        LDNQ_TRY(read_name(r, word));
        if (accept(r, "?") && !is_defined(r, word) && !has_input(r, word))
            word[0] = '\0';
        const char *copy = ldnq_arena_strdup(r->arena, word, r->err);
        if (!copy)
            return LDNQ_NOMEM;
        list->names[list->count++] = copy;
    } while (accept(r, ","));
    if (list->count == 1 && !*list->names[0])
        list->count = 0;
    return LDNQ_OK;
}

static enum ldnq_status read_names_in_parentheses(struct reader *r, struct name_list *list)
{
    LDNQ_TRY(expect(r, "("));
    LDNQ_TRY(read_names(r, list));
    return expect(r, ")");
}

/* ---- attributes ------------------------------------------------------------------------ */

static enum ldnq_status read_ints(struct reader *r, Onnx__NodeProto *node, const char *name)
{
    int64_t values[MOST];
    size_t count = 0;
    do {
        char *end;
        if (count == MOST)
            return fail(r, "a shorter list");
        values[count++] = strtoll(r->at, &end, 10);
        if (end == r->at)
            return fail(r, "an integer");
        r->at = end;
    } while (accept(r, ","));
    LDNQ_TRY(expect(r, "]"));
    return ldnq_build_ints_attr(r->arena, node, name, values, count, r->err);
}

static enum ldnq_status read_reference(struct reader *r, Onnx__NodeProto *node, const char *name)
{
    char word[WORD];
    LDNQ_TRY(read_name(r, word));
    Onnx__AttributeProto *attr = ldnq_build_attr(r->arena, node, name, r->err);
    if (!attr)
        return LDNQ_NOMEM;
    attr->ref_attr_name = ldnq_arena_strdup(r->arena, word, r->err);
    return attr->ref_attr_name ? LDNQ_OK : LDNQ_NOMEM;
}

static enum ldnq_status read_string(struct reader *r, Onnx__NodeProto *node, const char *name)
{
    char word[WORD];
    const size_t length = strcspn(r->at, "\"\n");
    if (length >= WORD)
        return fail(r, "a shorter string");
    memcpy(word, r->at, length);
    word[length] = '\0';
    r->at += length;
    LDNQ_TRY(expect(r, "\""));
    return ldnq_build_string_attr(r->arena, node, name, word, r->err);
}

/* A number with a point or an exponent is a float, another one an integer. */
static enum ldnq_status read_number(struct reader *r, Onnx__NodeProto *node, const char *name)
{
    char *int_end, *float_end;
    const long long integer = strtoll(r->at, &int_end, 10);
    const float number = strtof(r->at, &float_end);
    if (float_end == r->at)
        return fail(r, "a number");
    r->at = float_end;
    if (int_end == float_end)
        return ldnq_build_int_attr(r->arena, node, name, integer, r->err);
    Onnx__AttributeProto *attr = ldnq_build_attr(r->arena, node, name, r->err);
    if (!attr)
        return LDNQ_NOMEM;
    attr->has_type = attr->has_f = 1;
    attr->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    attr->f = number;
    return LDNQ_OK;
}

static enum ldnq_status read_attribute(struct reader *r, Onnx__NodeProto *node)
{
    char name[WORD];
    LDNQ_TRY(read_name(r, name));
    LDNQ_TRY(expect(r, "="));
    if (accept(r, "@"))
        return read_reference(r, node, name);
    if (accept(r, "["))
        return read_ints(r, node, name);
    if (accept(r, "\""))
        return read_string(r, node, name);
    return read_number(r, node, name);
}

static enum ldnq_status read_attributes(struct reader *r, Onnx__NodeProto *node)
{
    if (!accept(r, "<"))
        return LDNQ_OK;
    do
        LDNQ_TRY(read_attribute(r, node));
    while (accept(r, ","));
    return expect(r, ">");
}

/* ---- statements ------------------------------------------------------------------------ */

static bool has_attribute(const struct reader *r, const char *name)
{
    const Onnx__AttributeProto *attr = ldnq_attr_find(r->call, name);
    return attr && (ldnq_attr_type(attr) != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT || attr->i);
}

/* Reads the condition of a line, if it has one. */
static enum ldnq_status read_condition(struct reader *r, bool *holds)
{
    char name[WORD];
    const bool negated = accept(r, "unless ");
    *holds = true;
    if (!negated && !accept(r, "if "))
        return LDNQ_OK;
    const bool is_attribute = accept(r, "@");
    LDNQ_TRY(read_name(r, name));
    *holds = (is_attribute ? has_attribute(r, name) : has_input(r, name) || has_output(r, name)) !=
             negated;
    return expect(r, ":");
}

static enum ldnq_status append_node(struct reader *r, Onnx__NodeProto *node)
{
    Onnx__FunctionProto *function = r->function;
    LDNQ_TRY(ldnq_list_reserve(r->arena, &function->node, function->n_node, &r->node_capacity,
                               sizeof node, r->err));
    function->node[function->n_node++] = node;
    return LDNQ_OK;
}

static void open_block(struct reader *r, bool holds)
{
    r->depth++;
    if (!holds && !r->left_out)
        r->left_out = r->depth;
}

static enum ldnq_status close_block(struct reader *r)
{
    if (!r->depth)
        return fail(r, "a condition");
    if (r->left_out == r->depth)
        r->left_out = 0;
    r->depth--;
    return LDNQ_OK;
}

/* Reads an operator; *domain is empty, or what is before its last point. */
static enum ldnq_status read_operator(struct reader *r, char type[WORD], char domain[WORD])
{
    size_t length = 0;
    domain[0] = '\0';
    LDNQ_TRY(read_name(r, type));
    while (accept(r, ".")) {
        const int added = snprintf(domain + length, WORD - length, "%s%s", length ? "." : "", type);
        if ((size_t)added >= WORD - length)
            return fail(r, "a shorter domain");
        length += (size_t)added;
        LDNQ_TRY(read_name(r, type));
    }
    return LDNQ_OK;
}

static enum ldnq_status read_statement(struct reader *r)
{
    struct name_list inputs, outputs;
    char type[WORD], domain[WORD];
    bool holds;
    LDNQ_TRY(read_condition(r, &holds));
    skip_blanks(r);
    if (*r->at == '\n') {
        open_block(r, holds);
        return LDNQ_OK;
    }
    LDNQ_TRY(read_names(r, &outputs));
    LDNQ_TRY(expect(r, "="));
    LDNQ_TRY(read_operator(r, type, domain));
    /* The inputs follow the attributes, which need a node. */
    Onnx__NodeProto *node =
        ldnq_build_node(r->arena, type, "", NULL, 0, outputs.names, outputs.count, r->err);
    if (!node)
        return LDNQ_NOMEM;
    node->domain = ldnq_arena_strdup(r->arena, domain, r->err);
    if (!node->domain)
        return LDNQ_NOMEM;
    LDNQ_TRY(read_attributes(r, node));
    LDNQ_TRY(read_names_in_parentheses(r, &inputs));
    for (size_t i = 0; i < inputs.count; i++)
        LDNQ_TRY(ldnq_build_set_name(r->arena, &node->input, &node->n_input, i, inputs.names[i],
                                     r->err));
    return holds && !r->left_out ? append_node(r, node) : LDNQ_OK;
}

static enum ldnq_status set_names(struct reader *r, const struct name_list *list, char ***names,
                                  size_t *count)
{
    for (size_t i = 0; i < list->count; i++)
        LDNQ_TRY(ldnq_build_set_name(r->arena, names, count, i, list->names[i], r->err));
    return LDNQ_OK;
}

/* Reads the first line: name, inputs, outputs and defaults of attributes. */
static enum ldnq_status read_header(struct reader *r)
{
    Onnx__FunctionProto *function = r->function;
    struct name_list inputs, outputs;
    char name[WORD];
    LDNQ_TRY(read_name(r, name));
    LDNQ_TRY(read_names_in_parentheses(r, &inputs));
    LDNQ_TRY(expect(r, "=>"));
    LDNQ_TRY(read_names_in_parentheses(r, &outputs));
    Onnx__NodeProto *defaults = ldnq_build_node(r->arena, name, "", NULL, 0, NULL, 0, r->err);
    if (!defaults)
        return LDNQ_NOMEM;
    LDNQ_TRY(read_attributes(r, defaults));
    function->name = defaults->op_type;
    function->attribute_proto = defaults->attribute;
    function->n_attribute_proto = defaults->n_attribute;
    LDNQ_TRY(set_names(r, &inputs, &function->input, &function->n_input));
    return set_names(r, &outputs, &function->output, &function->n_output);
}

/* Operators of ONNX Runtime have one version. */
static enum ldnq_status set_opsets(struct reader *r, int opset)
{
    Onnx__OperatorSetIdProto *imports = ldnq_arena_alloc(r->arena, 2, sizeof *imports, r->err);
    Onnx__OperatorSetIdProto **list = ldnq_arena_alloc(r->arena, 2, sizeof *list, r->err);
    if (!imports || !list)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < 2; i++) {
        onnx__operator_set_id_proto__init(&imports[i]);
        imports[i].has_version = 1;
        imports[i].version = i == 0 ? opset : 1;
        list[i] = &imports[i];
    }
    imports[1].domain = ldnq_arena_strdup(r->arena, "com.microsoft", r->err);
    r->function->opset_import = list;
    r->function->n_opset_import = 2;
    return imports[1].domain ? LDNQ_OK : LDNQ_NOMEM;
}

enum ldnq_status ldnq_function_parse(struct ldnq_arena *arena, const char *text, int opset,
                                     const Onnx__NodeProto *call, Onnx__FunctionProto **out,
                                     struct ldnq_error *err)
{
    struct reader reader = { .arena = arena, .text = text, .at = text, .call = call, .err = err };
    *out = reader.function = ldnq_arena_alloc(arena, 1, sizeof *reader.function, err);
    if (!reader.function)
        return LDNQ_NOMEM;
    onnx__function_proto__init(reader.function);
    LDNQ_TRY(set_opsets(&reader, opset));
    LDNQ_TRY(read_header(&reader));
    LDNQ_TRY(expect(&reader, "\n"));
    for (skip_blanks(&reader); *reader.at && *reader.at != '\n'; skip_blanks(&reader)) {
        if (accept(&reader, "end\n")) {
            LDNQ_TRY(close_block(&reader));
        } else {
            LDNQ_TRY(read_statement(&reader));
            LDNQ_TRY(expect(&reader, "\n"));
        }
    }
    return reader.depth ? fail(&reader, "\"end\"") : LDNQ_OK;
}
