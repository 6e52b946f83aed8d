/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/html_page.h"
#include "report/html_table.h"
#include "report/layer_cost.h"

/* `rows` is the comparison. */
static const struct ldnq_diff_layer *find_layer_of_row(const void *rows, size_t index)
{
    return &((const struct ldnq_diff *)rows)->layers[index];
}

/* Columns whose value is an expression of the layer. */
#define NUMBER(name, expression)                                                                   \
    static double name(const void *rows, size_t index)                                             \
    {                                                                                              \
        const struct ldnq_diff_layer *layer = find_layer_of_row(rows, index);                      \
        (void)layer;                                                                               \
        return expression;                                                                         \
    }
#define TEXT(name, expression)                                                                     \
    static const char *name(const void *rows, size_t index, char *space)                           \
    {                                                                                              \
        const struct ldnq_diff_layer *layer = find_layer_of_row(rows, index);                      \
        (void)space;                                                                               \
        return expression;                                                                         \
    }

NUMBER(number_of, (double)(index + 1))
NUMBER(weights_of, layer->weights ? (double)layer->weights : NAN)
NUMBER(macs_of, layer->macs)
NUMBER(bytes_a_of, layer->weights ? (double)layer->bytes_a : NAN)
NUMBER(bytes_b_of, layer->weights && layer->match ? (double)layer->bytes_b : NAN)
NUMBER(bits_of, layer->bits)
NUMBER(weight_sqnr_of, layer->weight_sqnr)
NUMBER(isolated_of, layer->isolated.sqnr)
NUMBER(accumulated_of, layer->accumulated.sqnr)
NUMBER(cosine_of, layer->accumulated.cosine)
NUMBER(share_of, 100 * ldnq_layer_noise_share(rows, layer))
TEXT(node_of, layer->node)
TEXT(op_of, layer->op)
TEXT(shape_of, layer->weights ? ldnq_html_print_shape(&layer->shape, space, LDNQ_HTML_CELL) : "")
TEXT(type_of, layer->match ? ldnq_html_weight_type(layer) : "")
TEXT(pairing_of, layer->match ? ldnq_pairing_name(layer->pairing) : "no match")

static const struct ldnq_html_column columns[] = {
    { .key = "number",
      .title = "#",
      .help = "in order of execution",
      .number = number_of,
      .kind = LDNQ_HTML_COUNT },
    { .key = "node", .title = "Layer", .text = node_of },
    { .key = "type", .title = "Stored as", .text = type_of },
    { .key = "bytes_b",
      .title = "Size",
      .help = "of the weight in the quantized file",
      .number = bytes_b_of,
      .kind = LDNQ_HTML_BYTES },
    { .key = "isolated",
      .title = "Isolated, dB",
      .help = "SQNR of this layer alone, on the float network\xe2\x80\x99s input",
      .number = isolated_of,
      .kind = LDNQ_HTML_SQNR,
      .is_sqnr = true },
    { .key = "share",
      .title = "Noise, %",
      .help = "this layer\xe2\x80\x99s share of the noise of all layers",
      .number = share_of,
      .kind = LDNQ_HTML_SQNR },
    { .key = "op", .title = "Operator", .text = op_of, .is_optional = true },
    { .key = "shape",
      .title = "Weight",
      .help = "shape in the float file",
      .text = shape_of,
      .is_optional = true },
    { .key = "bits",
      .title = "Bits",
      .help = "per weight, scales and zero points included",
      .number = bits_of,
      .kind = LDNQ_HTML_BITS,
      .is_optional = true },
    { .key = "accumulated",
      .title = "Accumulated",
      .help = "SQNR in dB of the quantized network up to this layer",
      .number = accumulated_of,
      .kind = LDNQ_HTML_SQNR,
      .is_sqnr = true,
      .is_optional = true },
    { .key = "cosine",
      .title = "Cosine",
      .help = "between the outputs of both networks",
      .number = cosine_of,
      .kind = LDNQ_HTML_COSINE,
      .is_optional = true },
    { .key = "weight_sqnr",
      .title = "Weight SQNR",
      .help = "in dB, of the dequantized weight",
      .number = weight_sqnr_of,
      .kind = LDNQ_HTML_SQNR,
      .is_sqnr = true,
      .is_optional = true },
    { .key = "weights",
      .title = "Weights",
      .number = weights_of,
      .kind = LDNQ_HTML_LARGE,
      .is_optional = true },
    { .key = "macs",
      .title = "MACs",
      .help = "multiply-accumulates per sample",
      .number = macs_of,
      .kind = LDNQ_HTML_LARGE,
      .is_optional = true },
    { .key = "bytes_a",
      .title = "Size before",
      .number = bytes_a_of,
      .kind = LDNQ_HTML_BYTES,
      .is_optional = true },
    { .key = "pairing",
      .title = "Paired by",
      .help = "what identified both nodes as the same",
      .text = pairing_of,
      .is_optional = true },
};

#define COLUMN_COUNT (sizeof columns / sizeof *columns)

const char *ldnq_html_weight_type(const struct ldnq_diff_layer *layer)
{
    return layer->weight ? layer->weight->type : "float";
}

void ldnq_html_write_layers(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->layer_count == 0)
        return;
    ldnq_buffer_append_text(
        out, "<section id=\"layers\"><h2>Layers</h2>\n"
             "<p class=\"lead\">A layer\xe2\x80\x99s name unfolds its histogram, scatter plot and "
             "codes; a column\xe2\x80\x99s title sorts by it.</p>\n"
             "<p class=\"filter\" hidden><label>Show layers whose name contains "
             "<input type=\"search\" id=\"filter\" autocomplete=\"off\" "
             "spellcheck=\"false\"></label> <output></output></p>\n");
    struct ldnq_html_column shown[COLUMN_COUNT];
    memcpy(shown, columns, sizeof shown);
    /* Without samples the error of the weight is all there is. */
    for (size_t i = 0; i < COLUMN_COUNT && diff->samples == 0; i++)
        if (strcmp(shown[i].key, "weight_sqnr") == 0)
            shown[i].is_optional = false;
    const struct ldnq_html_table table = {
        .id = "layer-table",
        .caption = "Layers",
        .columns = shown,
        .column_count = COLUMN_COUNT,
        .rows = diff,
        .row_count = diff->layer_count,
        .head = 1,
        .link = "#layer-",
        .in_order = true,
        .unfold = ldnq_html_write_layer_details,
    };
    ldnq_html_write_table(out, &table);
    ldnq_buffer_append_text(out, "</section>\n");
}
