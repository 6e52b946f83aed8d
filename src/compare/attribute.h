/* SPDX-License-Identifier: Apache-2.0 */
/* attribute.h: prints and compares attributes of nodes. */
#ifndef LDNQ_COMPARE_ATTRIBUTE_H
#define LDNQ_COMPARE_ATTRIBUTE_H

#include "ir/ir.h"

#define LDNQ_ATTRIBUTE_TEXT 120

/* Prints the value, as "1,1,1,1", cut at the size of `text`; returns text. */
char *ldnq_attribute_print(const struct ldnq_attr *attr, char text[LDNQ_ATTRIBUTE_TEXT]);

/* Whether the node computes the same without the attribute. */
bool ldnq_attribute_is_default(const struct ldnq_node *node, const struct ldnq_attr *attr);

bool ldnq_attribute_equal(const struct ldnq_attr *a, const struct ldnq_attr *b);

#endif
