/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "report/html_page.h"
#include "report/html_table.h"

static const struct ldnq_quantized_tensor *find_tensor_of_row(const void *rows, size_t index)
{
    return (const struct ldnq_quantized_tensor *)rows + index;
}

#define NUMBER(name, expression)                                                                   \
    static double name(const void *rows, size_t index)                                             \
    {                                                                                              \
        const struct ldnq_quantized_tensor *tensor = find_tensor_of_row(rows, index);              \
        return expression;                                                                         \
    }
#define TEXT(name, expression)                                                                     \
    static const char *name(const void *rows, size_t index, char *space)                           \
    {                                                                                              \
        const struct ldnq_quantized_tensor *tensor = find_tensor_of_row(rows, index);              \
        (void)space;                                                                               \
        return expression;                                                                         \
    }

/* NaN where the scales or codes are not constant. */
#define SCALE(value) tensor->scale_count ? (double)(value) : NAN
#define CODE(value) tensor->is_constant && tensor->count ? (double)(value) : NAN

TEXT(name_of, tensor->name)
TEXT(role_of, tensor->is_constant ? "constant" : "activation")
TEXT(reader_of, tensor->reader)
TEXT(type_of, tensor->type)
TEXT(shape_of, ldnq_html_print_shape(&tensor->shape, space, LDNQ_HTML_CELL))
TEXT(granularity_of, ldnq_html_print_granularity(tensor, space, LDNQ_HTML_CELL))
NUMBER(scale_count_of, SCALE(tensor->scale_count))
NUMBER(scale_min_of, SCALE(tensor->scale_min))
NUMBER(scale_max_of, SCALE(tensor->scale_max))
NUMBER(zero_min_of, SCALE(tensor->zero_min))
NUMBER(zero_max_of, SCALE(tensor->zero_max))
NUMBER(code_min_of, CODE(tensor->code_min))
NUMBER(code_max_of, CODE(tensor->code_max))
NUMBER(used_of, tensor->codes_used ? CODE(tensor->codes_used) : NAN)
NUMBER(entropy_of, CODE(tensor->entropy))
NUMBER(bytes_of, CODE(tensor->bytes))

static const struct ldnq_html_column columns[] = {
    { .key = "name", .title = "Tensor", .text = name_of, .is_name = true },
    { .key = "role", .title = "Kind", .text = role_of },
    { .key = "reader", .title = "Read by", .text = reader_of, .is_name = true },
    { .key = "type", .title = "Type", .text = type_of },
    { .key = "shape", .title = "Shape", .text = shape_of },
    { .key = "granularity", .title = "Scales along", .text = granularity_of },
    { .key = "scales", .title = "Scales", .number = scale_count_of, .kind = LDNQ_HTML_COUNT },
    { .key = "scale_min",
      .title = "Smallest scale",
      .number = scale_min_of,
      .kind = LDNQ_HTML_GENERAL },
    { .key = "scale_max",
      .title = "Largest scale",
      .number = scale_max_of,
      .kind = LDNQ_HTML_GENERAL },
    { .key = "zero_min",
      .title = "Smallest zero point",
      .number = zero_min_of,
      .kind = LDNQ_HTML_COUNT },
    { .key = "zero_max",
      .title = "Largest zero point",
      .number = zero_max_of,
      .kind = LDNQ_HTML_COUNT },
    { .key = "code_min", .title = "Smallest code", .number = code_min_of, .kind = LDNQ_HTML_COUNT },
    { .key = "code_max", .title = "Largest code", .number = code_max_of, .kind = LDNQ_HTML_COUNT },
    { .key = "used",
      .title = "Codes used",
      .help = "distinct codes that occur",
      .number = used_of,
      .kind = LDNQ_HTML_COUNT },
    { .key = "entropy",
      .title = "Entropy",
      .help = "bits per code, of the codes\xe2\x80\x99 distribution",
      .number = entropy_of,
      .kind = LDNQ_HTML_BITS },
    { .key = "bytes",
      .title = "Size",
      .help = "codes, scales and zero points",
      .number = bytes_of,
      .kind = LDNQ_HTML_BYTES },
};

const char *ldnq_html_print_granularity(const struct ldnq_quantized_tensor *tensor, char *text,
                                        size_t size)
{
    if (tensor->axis < 0)
        snprintf(text, size, "per tensor");
    else if (tensor->block_size > 0)
        snprintf(text, size, "axis %d, blocks of %lld", tensor->axis,
                 (long long)tensor->block_size);
    else
        snprintf(text, size, "axis %d", tensor->axis);
    return text;
}

const char *ldnq_html_print_shape(const struct ldnq_diff_shape *shape, char *text, size_t size)
{
    size_t used = 0;
    if (shape->rank == LDNQ_DIFF_OPEN) {
        snprintf(text, size, "(unknown rank)");
        return text;
    }
    snprintf(text, size, "()");
    for (int i = 0; i < shape->rank && used < size; i++) {
        char dim[24] = "?";
        if (shape->dim[i] != LDNQ_DIFF_OPEN)
            snprintf(dim, sizeof dim, "%" PRId64, shape->dim[i]);
        const char *end = i + 1 == shape->rank ? ")" : "";
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", i ? "," : "(", dim, end);
    }
    return text;
}

void ldnq_html_write_tensors(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->tensor_count == 0)
        return;
    ldnq_buffer_append_text(
        out, "<section id=\"tensors\"><h2>Quantized tensors</h2>\n"
             "<p class=\"lead\">All tensors of the quantized file that are integers with "
             "scales: weights, biases, and activations that are computed as codes.</p>\n");
    const struct ldnq_html_table table = {
        .id = "tensor-table",
        .caption = "Quantized tensors",
        .columns = columns,
        .column_count = sizeof columns / sizeof *columns,
        .rows = diff->tensors,
        .row_count = diff->tensor_count,
    };
    ldnq_html_write_table(out, &table);
    ldnq_buffer_append_text(out, "</section>\n");
}
