/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_lint.c: what in a QDQ file keeps a target runtime from running it on integers. */
#include <stdio.h>
#include <string.h>

#include "cli/failure.h"
#include "cli/handles.h"
#include "cli/json.h"
#include "cli/plain.h"

/* Nodes that a line of the table names. */
#define NAMED 3

static bool member_equals_text(const cJSON *finding, const char *name, const char *text)
{
    const char *own = cli_json_text(finding, name);
    return own && text && strcmp(own, text) == 0;
}

/* Whether both are one line of the table: values in messages may differ. */
static bool is_same_rule(const cJSON *a, const cJSON *b)
{
    return member_equals_text(a, "severity", cli_json_text(b, "severity")) &&
           member_equals_text(a, "rule", cli_json_text(b, "rule")) &&
           member_equals_text(a, "advice", cli_json_text(b, "advice"));
}

/* Prints "conv1, conv2, conv3 and 9 more". */
static void print_nodes(const cJSON *first)
{
    size_t count = 0;
    for (const cJSON *finding = first; finding; finding = finding->next) {
        char label[CLI_PLAIN_SIZE];
        const char *node = cli_json_text(finding, "node");
        if (!is_same_rule(first, finding))
            continue;
        if (count++ < NAMED)
            printf("%s%s", count > 1 ? ", " : "",
                   node ? cli_copy_printable(node, label) : "the model");
    }
    if (count > NAMED)
        printf(" and %zu more", count - NAMED);
}

static bool is_finding_printed(const cJSON *findings, const cJSON *finding)
{
    const cJSON *earlier = findings->child;
    while (earlier != finding && !is_same_rule(earlier, finding))
        earlier = earlier->next;
    return earlier != finding;
}

static void print_findings(const cJSON *findings)
{
    const cJSON *finding;
    cJSON_ArrayForEach(finding, findings)
    {
        char message[CLI_PLAIN_SIZE];
        if (is_finding_printed(findings, finding))
            continue;
        printf("%-6s  %-17s  ", cli_json_text(finding, "severity"), cli_json_text(finding, "rule"));
        print_nodes(finding);
        printf(": %s; %s (cost: %s)\n",
               cli_copy_printable(cli_json_text(finding, "message"), message),
               cli_json_text(finding, "advice"), cli_json_text(finding, "cost"));
    }
}

static void print_table(const cJSON *root)
{
    const cJSON *counts = cli_json_item(root, "counts");
    const char *target = cli_json_text(root, "target");
    const char *unchecked = cli_json_text(root, "unchecked");
    const size_t integer = cli_json_read_count(root, "integer_nodes");
    const size_t slower = cli_json_read_count(counts, "slower");
    print_findings(cli_json_item(root, "findings"));
    if (unchecked)
        printf("not checked in full: %s\n", unchecked);
    printf("%s: %zu of %zu nodes that %s can compute on integers do; %zu broken, %zu slower than "
           "in the float model, %zu notes\n",
           cli_json_text(root, "file"), integer, integer + cli_json_read_count(root, "float_nodes"),
           target, cli_json_read_count(counts, "broken"), slower,
           cli_json_read_count(counts, "note"));
}

/* Fails by the gate: on nodes that the target can't run, or also on those it runs slower. */
static enum ldnq_status check_gate(const struct cli_line *line, const cJSON *root,
                                   struct ldnq_error *err)
{
    const char *gate = cli_line_text(line, "fail-on");
    const cJSON *counts = cli_json_item(root, "counts");
    const size_t broken = cli_json_read_count(counts, "broken");
    const size_t slower = strcmp(gate, "slower") == 0 ? cli_json_read_count(counts, "slower") : 0;
    if (strcmp(gate, "never") == 0 || broken + slower == 0)
        return LDNQ_OK;
    return cli_fail(err, LDNQ_GATE, "%s: %zu finding%s for target %s", cli_json_text(root, "file"),
                    broken + slower, broken + slower == 1 ? "" : "s",
                    cli_json_text(root, "target"));
}

static enum ldnq_status print_result(struct cli_line *line, const struct ldnq_result *result,
                                     struct ldnq_error *err)
{
    cJSON *root;
    enum ldnq_status status = cli_json_parse(result, &root, err);
    if (status == LDNQ_OK && cli_line_has_flag(line, "json"))
        cli_json_print_result(line, result);
    else if (status == LDNQ_OK)
        print_table(root);
    if (status == LDNQ_OK)
        status = check_gate(line, root, err);
    cJSON_Delete(root);
    return status;
}

static enum ldnq_status run_lint(struct cli_line *line, struct ldnq_error *err)
{
    struct cli_handles handles;
    enum ldnq_status status = cli_handles_init(&handles, line, NULL, err);
    if (status == LDNQ_OK)
        status = ldnq_lint(handles.models[0], line->options, &handles.result, err);
    if (status == LDNQ_OK)
        status = print_result(line, handles.result, err);
    cli_handles_finish(&handles);
    return status;
}

const struct cli_command cli_cmd_lint = {
    .name = "lint",
    .job = LDNQ_JOB_LINT,
    .arguments = "MODEL [--target RUNTIME]",
    .summary = "what in a QDQ file a runtime refuses, or computes slower than float",
    .details =
        "Checks a QDQ file, whichever tool wrote it, against the rules of a target runtime, ort\n"
        "if none is named. One line per rule: severity, rule, nodes, what the file has; what to\n"
        "change, and what it costs to leave it. Severities:\n"
        "  broken  the target refuses the node, or computes something else\n"
        "  slower  it costs more there than in the float model\n"
        "  note    it computes in float, as in the float model\n"
        "The exit code is 9 where a node is broken: the file must not be deployed. --fail-on\n"
        "slower also stops a file that would lose speed, --fail-on never only reports.",
    .examples = "  ldnq lint net-int8.onnx\n"
                "  ldnq lint net-int8.onnx --target tensorrt --fail-on slower --json",
    .models_min = 1,
    .models_max = 1,
    .run = run_lint,
};
