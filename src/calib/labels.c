/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/source.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "calib/folder.h"
#include "base/growing_list.h"

#define CLASS_LIMIT 1000000000

/* Position in a copy of the file, whose separators are overwritten by NUL. */
struct labels_cursor {
    const char *path;
    char *at, *end; /* *end is NUL */
    size_t line;
    struct ldnq_error *err;
};

static enum ldnq_status fail_at_line(const struct labels_cursor *cursor, const char *why)
{
    return ldnq_fail(cursor->err, LDNQ_DATA, "%s:%zu: %s", cursor->path, cursor->line, why);
}

/* Reads a quoted field, in which "" stands for one quote. cursor->at is after the
 * opening quote. */
static bool read_quoted(struct labels_cursor *cursor, char **out)
{
    char *to = *out = cursor->at;
    for (; *cursor->at && *cursor->at != '\n'; cursor->at++) {
        if (*cursor->at == '"' && *++cursor->at != '"') {
            if (*cursor->at && !strchr(",\r\n", *cursor->at))
                return false;
            *to = '\0';
            /* *to may be the closing quote; cursor->at is past it already. */
            return true;
        }
        *to++ = *cursor->at;
    }
    return false;
}

/* Reads the next field; *last reports whether the line ends after it. */
static bool read_field(struct labels_cursor *cursor, char **out, bool *last)
{
    if (*cursor->at == '"') {
        cursor->at++;
        if (!read_quoted(cursor, out))
            return false;
    } else {
        *out = cursor->at;
        cursor->at += strcspn(cursor->at, ",\r\n");
    }
    char *end = cursor->at;
    if (*end == '\r' && (end[1] == '\n' || end[1] == '\0'))
        cursor->at++;
    *last = *cursor->at != ',';
    if (*last && *cursor->at && *cursor->at != '\n')
        return false;
    if (cursor->at < cursor->end)
        cursor->at++;
    *end = '\0';
    return true;
}

static bool parse_class(const char *text, int64_t *class)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 10 || text[digits])
        return false;
    *class = strtoll(text, NULL, 10);
    return *class < CLASS_LIMIT;
}

static enum ldnq_status read_line(struct labels_cursor *cursor, struct ldnq_labels *labels,
                                  struct ldnq_arena *arena)
{
    char *file, *class;
    bool last;
    struct ldnq_label label = { .line = cursor->line };
    if (!read_field(cursor, &file, &last) || last || !read_field(cursor, &class, &last) || !last)
        return fail_at_line(cursor, "is not of the form file,class");
    if (cursor->line == 1) {
        bool header = strcmp(file, "file") == 0 && strcmp(class, "class") == 0;
        return header ? LDNQ_OK : fail_at_line(cursor, "the first line is not 'file,class'");
    }
    if (!parse_class(class, &label.class))
        return ldnq_fail(cursor->err, LDNQ_DATA, "%s:%zu: '%s' is not a class number", cursor->path,
                         cursor->line, class);
    label.file = file;
    LDNQ_TRY(ldnq_list_reserve(arena, &labels->list, labels->count, &labels->capacity, sizeof label,
                               cursor->err));
    labels->list[labels->count++] = label;
    return LDNQ_OK;
}

static int compare_labels_by_file(const void *a, const void *b)
{
    const struct ldnq_label *x = a, *y = b;
    int order = strcmp(x->file, y->file);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static enum ldnq_status refuse_duplicates(const char *path, const struct ldnq_labels *labels,
                                          struct ldnq_error *err)
{
    for (size_t i = 1; i < labels->count; i++)
        if (strcmp(labels->list[i - 1].file, labels->list[i].file) == 0)
            return ldnq_fail(err, LDNQ_DATA, "%s:%zu: '%s' is on line %zu already", path,
                             labels->list[i].line, labels->list[i].file, labels->list[i - 1].line);
    return LDNQ_OK;
}

enum ldnq_status ldnq_labels_read(const char *path, struct ldnq_arena *arena,
                                  struct ldnq_labels *out, struct ldnq_error *err)
{
    void *bytes;
    size_t size;
    *out = (struct ldnq_labels){ 0 };
    LDNQ_TRY(ldnq_file_read(path, arena, &bytes, &size, err));
    char *text = ldnq_arena_alloc(arena, size + 1, 1, err);
    if (!text)
        return LDNQ_NOMEM;
    memcpy(text, bytes, size);
    struct labels_cursor cursor = {
        .path = path, .at = text, .end = text + size, .line = 1, .err = err
    };
    if (memchr(text, '\0', size))
        return ldnq_fail(err, LDNQ_DATA, "%s: is not a text file", path);
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        cursor.at += 3;
    for (; cursor.at < cursor.end; cursor.line++) {
        size_t blank = strspn(cursor.at, "\r");
        if (cursor.line > 1 && cursor.at[blank] == '\n')
            cursor.at += blank + 1;
        else
            LDNQ_TRY(read_line(&cursor, out, arena));
    }
    if (out->count)
        qsort(out->list, out->count, sizeof *out->list, compare_labels_by_file);
    return refuse_duplicates(path, out, err);
}
