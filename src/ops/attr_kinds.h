/* SPDX-License-Identifier: Apache-2.0 */
/* attr_kinds.h: refuses attributes of the wrong kind, which the ldnq_attr_* getters would
 * treat as absent. */
#ifndef LDNQ_OPS_ATTR_KINDS_H
#define LDNQ_OPS_ATTR_KINDS_H

#include "ir/ir.h"

/* Errors: MODEL, naming the attribute and both kinds. */
enum ldnq_status ldnq_op_check_attr_kinds(const struct ldnq_node *node, struct ldnq_error *err);

#endif
