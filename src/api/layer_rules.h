/* SPDX-License-Identifier: Apache-2.0 */
/* layer_rules.h: the codebooks that the option "layer" sets for layers by name, "PATTERN=int8". */
#ifndef LDNQ_API_LAYER_RULES_H
#define LDNQ_API_LAYER_RULES_H

#include "api/options.h"
#include "pipeline/pipeline.h"

/* How a plan and the option name a layer without a codebook. */
#define LDNQ_FLOAT_LAYER "float"

/* Whether activations of that type make an input wide: the target has them for single layers.
 * `where` begins the message. Errors: USAGE, with what the target has. */
enum ldnq_status ldnq_layer_rule_read_type(const char *where, const char *name,
                                           const struct ldnq_options *options, bool *is_wide,
                                           struct ldnq_error *err);

/* The codebook of that name, or NULL for a layer that stays float. `where` begins the message.
 * Errors: USAGE, with all names. */
enum ldnq_status ldnq_layer_rule_find_codebook(const char *where, const char *name,
                                               const struct ldnq_codebook **out,
                                               struct ldnq_error *err);

/* Puts the rules before the entries of the plan in `quantize`, so that they count first.
 * Errors: USAGE (no "=", an unknown codebook), NOMEM. */
enum ldnq_status ldnq_layer_rules_read(const struct ldnq_options *options, struct ldnq_arena *arena,
                                       struct ldnq_quantize_options *quantize,
                                       struct ldnq_error *err);

/* Refuses a pattern that matches no layer of the graph; the message has the nearest name.
 * Errors: USAGE, NOMEM. */
enum ldnq_status ldnq_layer_rules_check(const struct ldnq_options *options,
                                        const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                        struct ldnq_error *err);

#endif
