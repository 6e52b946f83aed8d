/* SPDX-License-Identifier: Apache-2.0 */
/* contributed.h: the operators that ONNX Runtime contributes (domain com.microsoft, and a few of
 * ai.onnx) as functions of ONNX's own.
 *
 * Its optimizer and its quantization tools write them. An import replaces them by the functions'
 * bodies, as it does with those of the model; the file keeps them. The functions are in
 * contributed_functions.txt; for an operator whose function depends on shapes, or on how many
 * inputs a node has, contributed_write.c writes one for the node. Those that have weights are
 * replaced in the file, by what contributed_layers.txt has for them.
 */
#ifndef LDNQ_ONNX_CONTRIBUTED_H
#define LDNQ_ONNX_CONTRIBUTED_H

#include "onnx/import.h"

/* *out becomes the function that computes what the node does; NULL for an operator that has none,
 * and always with the form LDNQ_FORM_FILE. Errors: NOMEM. */
enum ldnq_status ldnq_contributed_find(const struct ldnq_import *import,
                                       const Onnx__NodeProto *node, const Onnx__FunctionProto **out,
                                       struct ldnq_error *err);

/* Writes a function for the node into *text, for an operator of com.microsoft; *text becomes NULL
 * for an operator that it does not know, and for a node of another form than it can write.
 * Errors: NOMEM. */
enum ldnq_status ldnq_contributed_write(const struct ldnq_import *import,
                                        const Onnx__NodeProto *node, const char **text,
                                        struct ldnq_error *err);

/* The same for GroupQueryAttention. */
enum ldnq_status ldnq_contributed_write_gqa(const struct ldnq_import *import,
                                            const Onnx__NodeProto *node, const char **text,
                                            struct ldnq_error *err);

/* Whether the node has an input in this place. */
static inline bool ldnq_contributed_has_input(const Onnx__NodeProto *node, size_t i)
{
    return i < node->n_input && *node->input[i];
}

/* A copy of the text, which may be NULL, with each '$' replaced by a name. NULL with NOMEM in err.
 */
const char *ldnq_contributed_insert_name(struct ldnq_arena *arena, const char *text,
                                         const char *name, struct ldnq_error *err);

/* *out becomes the form of the node in which its weights belong to operators that can be layers,
 * for a node that is to be replaced in the file; NULL for all others. May add an attribute to the
 * node. Errors: NOMEM. */
enum ldnq_status ldnq_contributed_find_layers(const struct ldnq_model *model,
                                              struct ldnq_arena *arena, Onnx__NodeProto *node,
                                              Onnx__FunctionProto **out, struct ldnq_error *err);

/* Finds an operator's function in a text by domain and type; NULL without one. */
const char *ldnq_contributed_text(const char *functions, const char *domain, const char *type);

/* The functions' texts; tools/embed.py makes them when the library is built. */
extern const char ldnq_contributed_functions_txt[], ldnq_contributed_layers_txt[];

#endif
