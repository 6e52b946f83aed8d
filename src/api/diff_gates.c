/* SPDX-License-Identifier: Apache-2.0 */
#include "api/diff_gates.h"

#include <math.h>

struct gate_verdicts {
    struct ldnq_diff_gate *items;
    size_t count;
};

/* False for a value that is NaN. */
static void append_gate(struct gate_verdicts *list, struct ldnq_diff_gate gate)
{
    gate.passes = gate.is_upper ? gate.value <= gate.limit : gate.value >= gate.limit;
    list->items[list->count++] = gate;
}

static void judge_sqnr(const struct ldnq_diff *diff, double limit, struct gate_verdicts *list)
{
    for (size_t i = 0; i < diff->output_count; i++)
        append_gate(list, (struct ldnq_diff_gate){ .figure = "SQNR",
                                                   .output = diff->outputs[i].name,
                                                   .unit = "dB",
                                                   .limit = limit,
                                                   .value = diff->outputs[i].error.sqnr });
}

static void judge_agreement(const struct ldnq_diff *diff, double limit, struct gate_verdicts *list)
{
    struct ldnq_diff_gate gate = { .figure = "agreement", .unit = "%", .limit = limit };
    size_t measured = 0;
    for (size_t i = 0; i < diff->output_count; i++) {
        if (isnan(diff->outputs[i].agreement))
            continue;
        measured++;
        gate.output = diff->outputs[i].name;
        gate.value = 100 * diff->outputs[i].agreement;
        append_gate(list, gate);
    }
    gate.value = NAN;
    if (measured == 0)
        append_gate(list, gate);
}

enum ldnq_status ldnq_diff_judge_gates(const struct ldnq_options *options, struct ldnq_arena *arena,
                                       struct ldnq_diff *diff, struct ldnq_error *err)
{
    struct gate_verdicts list = { .items = ldnq_arena_alloc(arena, 2 * diff->output_count + 3,
                                                            sizeof *list.items, err) };
    if (!list.items)
        return LDNQ_NOMEM;
    if (ldnq_option_is_set(options, OPTION_FAIL_BELOW_SQNR))
        judge_sqnr(diff, ldnq_option_number(options, OPTION_FAIL_BELOW_SQNR), &list);
    if (ldnq_option_is_set(options, OPTION_FAIL_BELOW_AGREEMENT))
        judge_agreement(diff, ldnq_option_number(options, OPTION_FAIL_BELOW_AGREEMENT), &list);
    if (ldnq_option_is_set(options, OPTION_FAIL_SIZE_ABOVE))
        append_gate(&list, (struct ldnq_diff_gate){
                               .figure = "file size",
                               .unit = "bytes",
                               .is_upper = true,
                               .limit = (double)ldnq_option_count(options, OPTION_FAIL_SIZE_ABOVE),
                               .value = (double)diff->b.bytes });
    if (diff->goal && !isnan(diff->goal->limit))
        append_gate(
            &list, (struct ldnq_diff_gate){ .figure = diff->goal->measure,
                                            .unit = "", /* the measure names it */
                                            .is_upper = diff->goal->is_upper,
                                            .limit = diff->goal->limit,
                                            .value = diff->goal->steps[diff->goal->chosen].value });
    diff->gates = list.items;
    diff->gate_count = list.count;
    return LDNQ_OK;
}
