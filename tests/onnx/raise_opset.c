/* SPDX-License-Identifier: Apache-2.0 */
/* raise_opset IN OUT OPSET: loads a model, raises its opset (0: leaves it), and
 * saves it; exits with the status. raise_opset --table prints what the converter
 * thinks of each operator. For the tests in tests/python. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/edit.h"
#include "onnx/opset.h"

static enum ldnq_status convert(const char *in, const char *out, int opset, struct ldnq_error *err)
{
    struct ldnq_model *model;
    LDNQ_TRY(ldnq_model_load(in, &model, err));
    enum ldnq_status status = LDNQ_OK;
    if (opset)
        status = ldnq_model_raise_opset(model, opset, err);
    if (status == LDNQ_OK)
        status = ldnq_model_save(model, out, err);
    ldnq_model_destroy(model);
    return status;
}

static void print_row(void *ctx, const char *op_type, int opset, const char *kind)
{
    (void)ctx;
    printf("%s %d %s\n", op_type, opset, kind);
}

int main(int argc, char **argv)
{
    struct ldnq_error err = { 0 };
    if (argc == 2 && strcmp(argv[1], "--table") == 0) {
        ldnq_opset_table(print_row, NULL);
        return 0;
    }
    if (argc != 4) {
        fprintf(stderr, "usage: raise_opset IN OUT OPSET, or --table\n");
        return LDNQ_USAGE;
    }
    enum ldnq_status status = convert(argv[1], argv[2], atoi(argv[3]), &err);
    if (status != LDNQ_OK)
        fprintf(stderr, "%s\n", err.message);
    return (int)status;
}
