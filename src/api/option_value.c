/* SPDX-License-Identifier: Apache-2.0 */
#include "api/option_value.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

/* ---- numbers ------------------------------------------------------------------------------ */

bool ldnq_parse_count(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value > SIZE_MAX)
        return false;
    *out = (size_t)value;
    return true;
}

bool ldnq_parse_bytes(const char *text, size_t *out)
{
    static const char units[] = "KMG";
    char digits[32];
    size_t length = strlen(text);
    const char *unit = length ? strchr(units, text[length - 1]) : NULL;
    if (length >= sizeof digits)
        return false;
    memcpy(digits, text, length + 1);
    unsigned shift = 0;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        digits[length - 1] = '\0';
    }
    if (!ldnq_parse_count(digits, out) || *out == 0 || *out > SIZE_MAX >> shift)
        return false;
    *out <<= shift;
    return true;
}

bool ldnq_parse_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

bool ldnq_parse_ratio(const char *text, float *out)
{
    char upper[64];
    double divisor = 1, value;
    const char *slash = strchr(text, '/');
    if (slash) {
        const size_t length = (size_t)(slash - text);
        if (length >= sizeof upper || !ldnq_parse_number(slash + 1, &divisor) || divisor == 0)
            return false;
        memcpy(upper, text, length);
        upper[length] = '\0';
        text = upper;
    }
    if (!ldnq_parse_number(text, &value))
        return false;
    *out = (float)(value / divisor);
    return *out != 0.0f;
}

bool ldnq_parse_channels(const char *text, float *values, size_t most, size_t *count)
{
    *count = 0;
    for (;;) {
        char *end;
        const float value = strtof(text, &end);
        if (end == text || *count == most || !isfinite(value))
            return false;
        values[(*count)++] = value;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
}

bool ldnq_parse_pixels(const char *text, size_t *width, size_t *height)
{
    char first[24];
    const size_t length = strcspn(text, "x");
    *height = 0;
    if (!text[length])
        return ldnq_parse_count(text, width);
    if (length >= sizeof first)
        return false;
    memcpy(first, text, length);
    first[length] = '\0';
    return ldnq_parse_count(first, width) && ldnq_parse_count(text + length + 1, height) &&
           *width > 0 && *height > 0;
}

bool ldnq_parse_dim(const char *text, char *name, size_t size, size_t *out)
{
    const char *equals = strrchr(text, '=');
    const size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= size)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    return ldnq_parse_count(equals + 1, out) && *out <= INT32_MAX;
}

bool ldnq_parse_budget(const char *text, enum ldnq_amount *unit, double *out)
{
    char *end;
    size_t bytes;
    *out = strtod(text, &end);
    *unit = strcmp(end, "bits") == 0 ? LDNQ_AMOUNT_BITS : LDNQ_AMOUNT_RATIO;
    if (end != text && (strcmp(end, "bits") == 0 || strcmp(end, "x") == 0))
        return *out > 0 && *out < 1e9;
    if (!ldnq_parse_bytes(text, &bytes))
        return false;
    *unit = LDNQ_AMOUNT_BYTES;
    *out = (double)bytes;
    return true;
}

/* ---- words ---------------------------------------------------------------------------------- */

size_t ldnq_choice_find(const char *choices, const char *word, size_t length)
{
    for (size_t index = 0; choices; index++) {
        const size_t other = strcspn(choices, "|");
        if (other == length && memcmp(choices, word, length) == 0)
            return index;
        choices = choices[other] ? choices + other + 1 : NULL;
    }
    return SIZE_MAX;
}

#define MOST_CHOICES ((size_t)31)

/* Fails with a message that lists the permitted words and suggests the nearest one. */
static enum ldnq_status fail_unknown_choice(const struct ldnq_option *option, const char *word,
                                            struct ldnq_error *err)
{
    char copy[256], list[256] = "", hint[64] = "";
    const char *names[MOST_CHOICES + 1] = { NULL };
    size_t count = 0;
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    ldnq_text_append_item(&text, "", "%s", option->choices);
    memcpy(copy, list, sizeof copy);
    ldnq_text_init(&text, list, sizeof list);
    char *rest = copy;
    while (rest && count < MOST_CHOICES) {
        char *bar = strchr(rest, '|');
        names[count++] = rest;
        if (bar)
            *bar = '\0';
        rest = bar ? bar + 1 : NULL;
    }
    for (size_t i = 0; i < count; i++)
        ldnq_text_append_item(&text, ", ", "%s", names[i]);
    const char *nearest = ldnq_nearest_name(word, names);
    struct ldnq_text meant;
    ldnq_text_init(&meant, hint, sizeof hint);
    if (nearest)
        ldnq_text_append_item(&meant, "", "did you mean %s? ", nearest);
    return ldnq_fail(err, LDNQ_USAGE, "%s '%s' is not known; %sthere are %s", option->name, word,
                     hint, list);
}

static enum ldnq_status check_words_are_choices(const struct ldnq_option *option, const char *text,
                                                struct ldnq_error *err)
{
    for (;;) {
        const size_t length =
            option->type == LDNQ_OPTION_CHOICE ? strlen(text) : strcspn(text, ",");
        char word[128];
        if (ldnq_choice_find(option->choices, text, length) == SIZE_MAX) {
            struct ldnq_text cut;
            ldnq_text_init(&cut, word, sizeof word);
            ldnq_text_append_item(&cut, "", "%.*s", (int)(length < 100 ? length : 100), text);
            return fail_unknown_choice(option, word, err);
        }
        if (!text[length])
            return LDNQ_OK;
        text += length + 1;
    }
}

/* ---- all types --------------------------------------------------------------------------------
 */

static bool is_in_range(const struct ldnq_option *option, double value)
{
    return value >= option->least && value <= option->most;
}

static bool is_valid_value(const struct ldnq_option *option, const char *text)
{
    char name[256];
    float floats[4];
    size_t count, height;
    double number;
    enum ldnq_amount unit;
    switch (option->type) {
    case LDNQ_OPTION_FLAG:
        return ldnq_choice_find("0|1|false|true", text, strlen(text)) != SIZE_MAX;
    case LDNQ_OPTION_TEXT:
    case LDNQ_OPTION_PATH:
        return *text != '\0';
    case LDNQ_OPTION_COUNT:
        return ldnq_choice_find(option->choices, text, strlen(text)) != SIZE_MAX ||
               (ldnq_parse_count(text, &count) && is_in_range(option, (double)count));
    case LDNQ_OPTION_BYTES:
        return ldnq_parse_bytes(text, &count);
    case LDNQ_OPTION_NUMBER:
        return ldnq_choice_find(option->choices, text, strlen(text)) != SIZE_MAX ||
               (ldnq_parse_number(text, &number) && is_in_range(option, number));
    case LDNQ_OPTION_RATIO:
        return ldnq_parse_ratio(text, floats);
    case LDNQ_OPTION_CHANNELS:
        return ldnq_parse_channels(text, floats, sizeof floats / sizeof *floats, &count);
    case LDNQ_OPTION_DIM:
        return ldnq_parse_dim(text, name, sizeof name, &count);
    case LDNQ_OPTION_BUDGET:
        return ldnq_parse_budget(text, &unit, &number);
    case LDNQ_OPTION_PIXELS:
        return ldnq_choice_find(option->choices, text, strlen(text)) != SIZE_MAX ||
               ldnq_parse_pixels(text, &count, &height);
    case LDNQ_OPTION_CHOICE:
    case LDNQ_OPTION_CHOICES:
        break; /* check_words_are_choices has checked these */
    }
    return false;
}

/* Writes the values that the option takes, for a message: ", a whole number from 1 on". */
static void describe_values(const struct ldnq_option *option, struct ldnq_text *text)
{
    switch (option->type) {
    case LDNQ_OPTION_COUNT:
        ldnq_text_append_item(text, "", ", a whole number");
        if (option->least > 0)
            ldnq_text_append_item(text, "", " from %.0f on", option->least);
        if (option->most < 1e18)
            ldnq_text_append_item(text, "", " up to %.0f", option->most);
        break;
    case LDNQ_OPTION_BYTES:
        ldnq_text_append_item(text, "", ", a number above 0 that K, M or G may follow");
        break;
    case LDNQ_OPTION_NUMBER:
        if (!option->choices)
            ldnq_text_append_item(text, "",
                                  option->least > 0 ? ", a number above 0" : ", a number");
        break;
    case LDNQ_OPTION_RATIO:
        ldnq_text_append_item(text, "", ", a number or a fraction (1/255) that is not 0");
        break;
    case LDNQ_OPTION_CHANNELS:
        ldnq_text_append_item(text, "", ", up to 4 numbers with commas between them");
        break;
    case LDNQ_OPTION_BUDGET:
        ldnq_text_append_item(
            text, "",
            ", mean bits per weight (3bits), a ratio to the float weights (8x) or bytes "
            "(200K)");
        break;
    case LDNQ_OPTION_PIXELS:
        ldnq_text_append_item(text, "", ", a number of pixels or WIDTHxHEIGHT");
        break;
    case LDNQ_OPTION_FLAG:
    case LDNQ_OPTION_TEXT:
    case LDNQ_OPTION_PATH:
    case LDNQ_OPTION_CHOICE:
    case LDNQ_OPTION_CHOICES:
    case LDNQ_OPTION_DIM:
        break;
    }
}

enum ldnq_status ldnq_option_check(const struct ldnq_option *option, const char *value,
                                   struct ldnq_error *err)
{
    if (option->type == LDNQ_OPTION_CHOICE || option->type == LDNQ_OPTION_CHOICES)
        return check_words_are_choices(option, value, err);
    if (is_valid_value(option, value))
        return LDNQ_OK;
    char range[160];
    struct ldnq_text text;
    ldnq_text_init(&text, range, sizeof range);
    describe_values(option, &text);
    return ldnq_fail(err, LDNQ_USAGE, "%s takes %s%s, not '%s'", option->name,
                     option->value ? option->value : "0 or 1", range, value);
}
