/* SPDX-License-Identifier: Apache-2.0 */
/* table_form.h: quantized tables as the Gather of a dequantized table.
 *
 * Files look up rows of codes and of scales, and dequantize what they found (emit/emit_table.h).
 * The same numbers come from a DequantizeLinear of the whole table and a Gather after it, which
 * pairs with the Gather of the float file, and whose codes are those of any other weight.
 */
#ifndef LDNQ_COMPARE_TABLE_FORM_H
#define LDNQ_COMPARE_TABLE_FORM_H

#include "ir/ir.h"

/* Rewrites the forms of the graph, which has been imported and not bound yet, and of its bodies.
 * The Gather has name and label of the form's last node. Errors: NOMEM. */
enum ldnq_status ldnq_table_forms_rewrite(struct ldnq_graph *graph, struct ldnq_error *err);

#endif
