/* SPDX-License-Identifier: Apache-2.0 */
/* html_strip.c: the layers in the order of execution as a strip of small pictures: a box a layer,
 * with its type and its error as a colour, and a diamond where its input is quantized. */
#include <math.h>

#include "report/html_page.h"
#include "report/html_write.h"
#include "report/verdict.h"

/* One picture; y 20 is the middle of the wire. */
#define WIRE "<path class=\"wire\" d=\"M0 20H72\"/>"
#define QUANTIZER "<path class=\"quantizer\" d=\"M2 20L9 13L16 20L9 27Z\"/>"
#define BOX "<rect class=\"box\" x=\"20\" y=\"3\" width=\"48\" height=\"34\" rx=\"4\"/>"

static enum ldnq_quality_band find_layer_band(const struct ldnq_diff *diff,
                                              const struct ldnq_diff_layer *layer)
{
    return ldnq_quality_find_band(diff->samples ? layer->isolated.sqnr : layer->weight_sqnr);
}

static void write_node(struct ldnq_buffer *out, const struct ldnq_diff *diff, size_t index)
{
    const struct ldnq_diff_layer *layer = &diff->layers[index];
    const char *type = layer->match ? ldnq_html_weight_type(layer) : "no match";
    const char *band = ldnq_quality_name(find_layer_band(diff, layer));
    ldnq_buffer_append_format(out, "<a href=\"#layer-%zu\" class=\"%s\" title=\"", index + 1, band);
    ldnq_html_write_text(out, layer->node);
    ldnq_buffer_append_format(out, ": %s, error %s\" aria-label=\"", type, band);
    ldnq_html_write_text(out, layer->node);
    ldnq_buffer_append_format(
        out,
        "\"><svg viewBox=\"0 0 72 40\" aria-hidden=\"true\">" WIRE "%s" BOX
        "<text x=\"44\" y=\"18\">%zu</text><text class=\"type\" x=\"44\" y=\"31\">%s"
        "</text></svg></a>\n",
        layer->input ? QUANTIZER : "", index + 1, type);
}

void ldnq_html_write_strip(struct ldnq_buffer *out, const struct ldnq_diff *diff)
{
    if (diff->layer_count == 0)
        return;
    ldnq_buffer_append_text(
        out,
        "<section id=\"strip\"><h2>Graph</h2>\n<p class=\"lead\">The layers in the order of "
        "execution, coloured by the error that each makes by itself; a diamond quantizes the "
        "input of the layer. A box leads to the layer\xe2\x80\x99s row.</p>\n"
        "<p class=\"legend\"><i class=\"band exact\"></i>exact <i class=\"band high\"></i>high "
        "<i class=\"band fair\"></i>fair <i class=\"band low\"></i>low "
        "<i class=\"band noise\"></i>noise <i class=\"band unknown\"></i>not measured "
        "<i class=\"diamond\"></i>rounded input</p>\n"
        "<nav class=\"strip\" aria-label=\"Layers\">\n");
    for (size_t i = 0; i < diff->layer_count; i++)
        write_node(out, diff, i);
    ldnq_buffer_append_text(out, "</nav></section>\n");
}
