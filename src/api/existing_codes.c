/* SPDX-License-Identifier: Apache-2.0 */
#include "api/existing_codes.h"

#include "base/text.h"
#include "emit/remove_pairs.h"
#include "onnx/edit.h"
#include "passes/passes.h"

/* Operators that read weights in codes. */
static const char *const integer_operators[] = {
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QGemm",
    "QAttention",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "MatMulNBits",
    "GatherBlockQuantized",
};

/* Lists those of the model; empty: it has none. */
static void list_integer_operators(const struct ldnq_model *model, char *list, size_t size)
{
    struct ldnq_text text;
    ldnq_text_init(&text, list, size);
    for (size_t i = 0; i < sizeof integer_operators / sizeof *integer_operators; i++)
        if (ldnq_model_has_operator(model, integer_operators[i]))
            ldnq_text_append_item(&text, ", ", "%s", integer_operators[i]);
}

enum ldnq_status ldnq_job_remove_codes(const struct ldnq_job *job, struct ldnq_job_model *loaded,
                                       struct ldnq_error *err)
{
    char list[256] = "";
    bool changed;
    if (!ldnq_option_flag(job->options, OPTION_REQUANTIZE))
        return LDNQ_OK;
    LDNQ_TRY(ldnq_job_import(job, loaded, err));
    LDNQ_TRY(ldnq_pass_bind_and_fold(loaded->graph, err));
    LDNQ_TRY(ldnq_emit_remove_pairs(loaded->model, loaded->graph, &changed, err));
    list_integer_operators(loaded->model, list, sizeof list);
    if (*list)
        ldnq_sink_warn(&job->sink,
                       "%s has operators that compute with codes: %s. They stay as they are; give "
                       "the float model, or one with QuantizeLinear and DequantizeLinear",
                       loaded->graph->file, list);
    else if (!changed)
        ldnq_sink_warn(&job->sink, "%s has no codes to take apart", loaded->graph->file);
    return LDNQ_OK;
}
