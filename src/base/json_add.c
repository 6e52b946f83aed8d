#include "base/json_add.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "base/utf8.h"

bool ldnq_json_add_number(cJSON *item, const char *name, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(item, name, value) != NULL
                           : cJSON_AddNullToObject(item, name) != NULL;
}

/* A copy that is UTF-8; NULL when memory is out. */
static char *repair(const char *text)
{
    size_t size;
    /* A byte becomes at most the three of U+FFFD. */
    if (!ldnq_size_mul(strlen(text) + 1, 3, &size))
        return NULL;
    char *copy = ldnq_malloc(size), *end = copy;
    if (!copy)
        return NULL;
    for (uint32_t code = ldnq_utf8_next(&text); code; code = ldnq_utf8_next(&text))
        end += ldnq_utf8_put(code, end);
    *end = '\0';
    return copy;
}

bool ldnq_json_add_text(cJSON *item, const char *name, const char *text)
{
    if (!text)
        return cJSON_AddNullToObject(item, name) != NULL;
    if (ldnq_utf8_is_valid(text))
        return cJSON_AddStringToObject(item, name, text) != NULL;
    char *repaired = repair(text);
    const bool added = repaired && cJSON_AddStringToObject(item, name, repaired);
    ldnq_free(repaired);
    return added;
}
