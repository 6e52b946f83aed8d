/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/npy.h"

#include <string.h>

#include "base/size.h"

static const struct {
    const char *descr;
    enum ldnq_dtype dtype;
} types[] = {
    { "f2", LDNQ_FLOAT16 }, { "f4", LDNQ_FLOAT },  { "f8", LDNQ_DOUBLE }, { "i1", LDNQ_INT8 },
    { "i2", LDNQ_INT16 },   { "i4", LDNQ_INT32 },  { "i8", LDNQ_INT64 },  { "u1", LDNQ_UINT8 },
    { "u2", LDNQ_UINT16 },  { "u4", LDNQ_UINT32 }, { "u8", LDNQ_UINT64 }, { "b1", LDNQ_BOOL },
};

struct npy_parser {
    const char *at, *end;
    const char *name;
    struct ldnq_npy_header *out;
    struct ldnq_error *err;
};

static enum ldnq_status fail_damaged(const struct npy_parser *parser, const char *why)
{
    return ldnq_fail(parser->err, LDNQ_DATA, "%s: is not a valid .npy array: %s", parser->name,
                     why);
}

static void skip_white_space(struct npy_parser *parser)
{
    while (parser->at < parser->end && strchr(" \t\r\n", *parser->at) && *parser->at)
        parser->at++;
}

static bool consume_character(struct npy_parser *parser, char wanted)
{
    skip_white_space(parser);
    if (parser->at == parser->end || *parser->at != wanted)
        return false;
    parser->at++;
    return true;
}

static bool consume_word(struct npy_parser *parser, const char *word)
{
    size_t length = strlen(word);
    skip_white_space(parser);
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, word, length) != 0)
        return false;
    parser->at += length;
    return true;
}

/* Reads a quoted string. Escapes are not supported: no valid header has any. */
static bool read_string(struct npy_parser *parser, char *text, size_t size)
{
    char quote = consume_character(parser, '\'') ? '\'' : '"';
    if (quote == '"' && !consume_character(parser, '"'))
        return false;
    const char *close = memchr(parser->at, quote, (size_t)(parser->end - parser->at));
    if (!close || (size_t)(close - parser->at) >= size)
        return false;
    size_t length = (size_t)(close - parser->at);
    if (memchr(parser->at, '\\', length) || memchr(parser->at, '\0', length))
        return false;
    memcpy(text, parser->at, length);
    text[length] = '\0';
    parser->at = close + 1;
    return true;
}

static enum ldnq_status read_dtype_description(struct npy_parser *parser)
{
    char descr[32];
    if (!read_string(parser, descr, sizeof descr))
        return fail_damaged(parser, "'descr' is not the name of a plain type");
    if (descr[0] == '>')
        return ldnq_fail(parser->err, LDNQ_DATA, "%s: its type '%s' is big-endian", parser->name,
                         descr);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        bool fits = descr[0] == '<' || (descr[0] == '|' && types[i].descr[1] == '1');
        if (fits && strcmp(descr + 1, types[i].descr) == 0) {
            parser->out->dtype = types[i].dtype;
            return LDNQ_OK;
        }
    }
    return ldnq_fail(parser->err, LDNQ_DATA,
                     "%s: its type '%s' is none of float16, 32, 64, integer and bool", parser->name,
                     descr);
}

static enum ldnq_status read_order(struct npy_parser *parser)
{
    parser->out->fortran = consume_word(parser, "True");
    if (!parser->out->fortran && !consume_word(parser, "False"))
        return fail_damaged(parser, "'fortran_order' is neither True nor False");
    return LDNQ_OK;
}

static bool read_dimension(struct npy_parser *parser, int64_t *out)
{
    skip_white_space(parser);
    const char *first = parser->at;
    *out = 0;
    for (; parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9'; parser->at++)
        if (!ldnq_int64_mul(*out, 10, out) || !ldnq_int64_add(*out, *parser->at - '0', out))
            return false;
    bool any = parser->at > first;
    if (any && parser->at < parser->end && *parser->at == 'L') /* NumPy under Python 2 */
        parser->at++;
    return any;
}

static enum ldnq_status read_shape(struct npy_parser *parser)
{
    struct ldnq_shape *shape = &parser->out->shape;
    shape->rank = 0;
    if (!consume_character(parser, '('))
        return fail_damaged(parser, "'shape' is not a tuple");
    bool comma = true;
    while (!consume_character(parser, ')')) {
        if (!comma)
            return fail_damaged(parser, "a comma is missing in 'shape'");
        if (shape->rank == LDNQ_MAX_RANK)
            return ldnq_fail(parser->err, LDNQ_DATA, "%s: has more than %d axes", parser->name,
                             LDNQ_MAX_RANK);
        if (!read_dimension(parser, &shape->dim[shape->rank++]))
            return fail_damaged(parser, "'shape' holds what is not a size");
        comma = consume_character(parser, ',');
    }
    /* In Python (3) is a number, (3,) a tuple. */
    return shape->rank == 1 && !comma ? fail_damaged(parser, "'shape' is not a tuple") : LDNQ_OK;
}

static enum ldnq_status read_dict(struct npy_parser *parser)
{
    static const char *const keys[] = { "descr", "fortran_order", "shape" };
    static enum ldnq_status (*const readers[])(struct npy_parser *) = { read_dtype_description,
                                                                        read_order, read_shape };
    bool seen[3] = { false }, comma = true;
    if (!consume_character(parser, '{'))
        return fail_damaged(parser, "its header is not a dict");
    while (!consume_character(parser, '}')) {
        char key[32];
        size_t k = 0;
        if (!comma || !read_string(parser, key, sizeof key) || !consume_character(parser, ':'))
            return fail_damaged(parser, "its header is not a dict");
        while (k < 3 && strcmp(key, keys[k]) != 0)
            k++;
        if (k == 3 || seen[k])
            return fail_damaged(parser, "its header has a key too many");
        seen[k] = true;
        LDNQ_TRY(readers[k](parser));
        comma = consume_character(parser, ',');
    }
    skip_white_space(parser);
    if (parser->at != parser->end)
        return fail_damaged(parser, "something follows its header's dict");
    if (!seen[0] || !seen[1] || !seen[2])
        return fail_damaged(parser, "its header lacks descr, fortran_order or shape");
    return LDNQ_OK;
}

/* Reads the magic, two bytes of version, and the header's length in two or four bytes. */
static enum ldnq_status read_preamble(struct npy_parser *parser, const unsigned char *prefix,
                                      size_t size, size_t *start, size_t *length)
{
    if (size < LDNQ_NPY_MAGIC_SIZE || memcmp(prefix, LDNQ_NPY_MAGIC, LDNQ_NPY_MAGIC_SIZE) != 0)
        return fail_damaged(parser, size ? "it does not begin as one" : "it is empty");
    *start = size > 6 && prefix[6] == 1 ? 10 : 12;
    if (size < *start)
        return fail_damaged(parser, "it ends in its header");
    if (prefix[6] < 1 || prefix[6] > 3 || prefix[7] != 0)
        return ldnq_fail(parser->err, LDNQ_DATA, "%s: .npy version %d.%d is not known",
                         parser->name, prefix[6], prefix[7]);
    *length = prefix[8] | (size_t)prefix[9] << 8;
    if (*start == 12)
        *length |= (size_t)prefix[10] << 16 | (size_t)prefix[11] << 24;
    if (*length > LDNQ_NPY_PREFIX - *start)
        return fail_damaged(parser, "its header is too long");
    return *length > size - *start ? fail_damaged(parser, "it ends in its header") : LDNQ_OK;
}

enum ldnq_status ldnq_npy_parse(const void *prefix, size_t size, const char *name,
                                struct ldnq_npy_header *out, struct ldnq_error *err)
{
    struct npy_parser parser = { .name = name, .out = out, .err = err };
    size_t start = 0, length = 0, count;
    LDNQ_TRY(read_preamble(&parser, prefix, size, &start, &length));
    parser.at = (const char *)prefix + start;
    parser.end = parser.at + length;
    LDNQ_TRY(read_dict(&parser));
    out->offset = start + length;
    if (!ldnq_shape_count(&out->shape, &count) ||
        !ldnq_size_mul(count, ldnq_dtype_size(out->dtype), &out->bytes) ||
        out->bytes > (size_t)INT64_MAX - out->offset)
        return fail_damaged(&parser, "its shape is too large");
    return LDNQ_OK;
}
