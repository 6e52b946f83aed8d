/* SPDX-License-Identifier: Apache-2.0 */
/* quantize.c: a float model and a folder of samples in, a quantized model out.
 *
 *     cc quantize.c $(pkg-config --cflags --libs ldnq) -o quantize
 *     ./quantize net.onnx images/ net-int4.onnx
 */
#include <ldnq.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct ldnq_error err;
    struct ldnq_options *options = NULL;
    enum ldnq_status status = LDNQ_USAGE;
    if (argc == 4 && ldnq_options_create(&options, &err) == LDNQ_OK &&
        ldnq_options_set(options, "weights", "int4", &err) == LDNQ_OK)
        status = ldnq_quantize_files(argv[1], argv[2], argv[3], options, &err);
    if (status != LDNQ_OK)
        fprintf(stderr, "quantize: %s\n", argc == 4 ? err.message : "MODEL SAMPLES OUTPUT");
    ldnq_options_destroy(options);
    return status;
}
