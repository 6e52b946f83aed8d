/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_plan.c: options as text, and a plan in JSON, for a small network.
 *
 * Input  lines NAME=VALUE, a NUL, the plan; without a NUL there is no plan
 */
#include "fuzz.h"

#include <string.h>

#include "onnx/make.h"

/* Options that name files or threads, and those whose value is a number of steps. */
static bool is_left_out(const char *name)
{
    static const char *const names[] = { "output", "report", "log",  "page",     "threads",
                                         "calib",  "data",   "html", "goal-data" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_slow(const struct ldnq_options *options, const struct ldnq_option *option)
{
    const char *value = ldnq_options_get(options, option->name, 0);
    return option->type == LDNQ_OPTION_COUNT && value && strspn(value, "0123456789") > 2;
}

static void set_options(struct ldnq_options *options, char *lines)
{
    for (char *line = lines, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *equals = strchr(line, '=');
        if (!equals)
            continue;
        *equals = '\0';
        if (is_left_out(line) || ldnq_options_set(options, line, equals + 1, &err) != LDNQ_OK)
            continue;
        for (size_t i = 0; ldnq_options_describe(i); i++)
            if (is_slow(options, ldnq_options_describe(i)))
                ldnq_options_set(options, ldnq_options_describe(i)->name, NULL, &err);
    }
}

static void quantize(const struct make *network, const struct ldnq_options *options)
{
    struct ldnq_onnx *onnx = NULL;
    struct ldnq_dataset *dataset = NULL;
    struct ldnq_result *result = NULL;
    struct ldnq_arena *arena = NULL;
    if (ldnq_arena_create(&arena, &err) == LDNQ_OK &&
        ldnq_onnx_from_bytes(network->bytes, network->size, "m.onnx", &onnx, &err) == LDNQ_OK)
        dataset = fuzz_make_dataset(network->bytes, network->size, 6, arena);
    if (dataset) {
        const enum ldnq_status status = ldnq_quantize(onnx, dataset, options, &result, &err);
        fuzz_report(status, &err);
        if (status == LDNQ_OK)
            fuzz_check_json(result);
    }
    ldnq_result_destroy(result);
    ldnq_dataset_destroy(dataset);
    ldnq_onnx_destroy(onnx);
    ldnq_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct make network;
    struct ldnq_options *options;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    const size_t length = nul ? (size_t)(nul - data) : size;
    fuzz_init();
    if (!network.bytes) {
        network = make_small(17);
        make_bytes(&network);
    }
    char *lines = malloc(length + 1);
    if (!lines || ldnq_options_create(&options, &err) != LDNQ_OK) {
        free(lines);
        return 0;
    }
    if (length)
        memcpy(lines, data, length);
    lines[length] = '\0';
    ldnq_options_set(options, "effort", "fast", &err);
    ldnq_options_set(options, "estimate", "0", &err);
    set_options(options, lines);
    ldnq_options_set(options, "threads", "1", &err);
    if (nul) {
        const char *path = fuzz_write_file("plan.json", nul + 1, size - length - 1);
        ldnq_options_set(options, "plan", path, &err);
    } else {
        ldnq_options_set(options, "plan", NULL, &err);
    }
    quantize(&network, options);
    ldnq_options_destroy(options);
    free(lines);
    return 0;
}
