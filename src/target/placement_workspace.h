/* SPDX-License-Identifier: Apache-2.0 */
/* placement_workspace.h: what the steps of ldnq_placement_make share. */
#ifndef LDNQ_TARGET_PLACEMENT_WORKSPACE_H
#define LDNQ_TARGET_PLACEMENT_WORKSPACE_H

#include "target/placement.h"

#define LDNQ_NO_NODE SIZE_MAX

/* Facts about a value, used while the placement is made. */
struct ldnq_value_facts {
    size_t readers;      /* inputs of nodes that read it */
    size_t reader;       /* the last node that reads it */
    size_t writer;       /* the node that writes it; LDNQ_NO_NODE for inputs and constants */
    bool from_integers;  /* a node that computes on codes, or moves them, writes it */
    bool codes_are_read; /* a node that computes on codes reads them; set by step 4 */
    bool has_pair;
    bool replaces_graph_output;
    size_t group; /* union-find parent, by value index */
    float low, high;
    bool fixed;
    bool group_is_wide; /* of the group's root: its values have the wide type */
    bool is_wide;       /* the first pair has the wide type */
    bool converts;      /* a second pair has the other type */
};

/* Input `input` of node `node` needs the scale of `like`, and the value has a fixed one. */
struct ldnq_requantization {
    const struct ldnq_value *value, *like;
    size_t node;
};

struct ldnq_placement_workspace {
    const struct ldnq_graph *graph;
    const struct ldnq_placement_options *options;
    struct ldnq_placement *placement;
    const struct ldnq_operator_rule **rules; /* by node; NULL: no rule */
    struct ldnq_value_facts *facts;          /* by value */
    struct ldnq_requantization *requantizations;
    size_t requantization_count;
    const char **reasons; /* by node: why it computes in float; NULL: no reason is needed */
};

/* Whether the rule calls input `input` of the node an activation: a constant weight is none. */
bool ldnq_placement_reads_activation(const struct ldnq_operator_rule *rule,
                                     const struct ldnq_node *node, size_t input);

/* The one node that reads node n's output, if it is a clamp that can join node n, and its
 * bounds; else LDNQ_NO_NODE. */
size_t ldnq_placement_find_clamp(const struct ldnq_placement_workspace *work, size_t n, float *low,
                                 float *high);

/* Steps 1 to 4: sets placement->runs and the reasons. */
void ldnq_placement_choose_nodes(struct ldnq_placement_workspace *work);

/* The value whose pair has the codes that node n writes as output o: past a clamp that joined it.
 */
const struct ldnq_value *ldnq_placement_find_written(const struct ldnq_placement_workspace *work,
                                                     size_t n, size_t o);

/* The value that the group of value `value` is named after. */
size_t ldnq_placement_find_group(struct ldnq_placement_workspace *work, size_t value);

/* Step 7: sets placement->is_wide, and is_wide and converts of all values. */
void ldnq_placement_choose_types(struct ldnq_placement_workspace *work);

#endif
