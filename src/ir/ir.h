/* SPDX-License-Identifier: Apache-2.0 */
/* ir.h: the room's public face: tensors, values, nodes and graphs. */
#ifndef LDNQ_IR_H
#define LDNQ_IR_H

#include "ir/graph.h"

#endif
