/* SPDX-License-Identifier: Apache-2.0 */
/* lint_check.h: what the rules of ldnq_lint_run share.
 *
 * A rule is a row of the table in lint.c and a function here, which reports what breaks it:
 * lint_scales.c has the rules of scales and zero points, lint_weights.c those of weights and
 * biases, lint_products.c those of weights beside float activations, lint_placement.c those of
 * which tensors have a Q/DQ pair, and of the whole model.
 */
#ifndef LDNQ_TARGET_LINT_CHECK_H
#define LDNQ_TARGET_LINT_CHECK_H

#include "target/lint.h"

struct ldnq_linter;

/* Which nodes a rule is about; a row may name several. */
enum ldnq_lint_subject {
    LDNQ_LINT_PAIRS = 1,     /* Q/DQ nodes of activations, once per pair */
    LDNQ_LINT_COMPUTING = 2, /* operators that the target can compute on codes */
    LDNQ_LINT_MOVING = 4,    /* operators that move codes */
    LDNQ_LINT_FLOAT = 8,     /* all others but Q/DQ nodes */
    LDNQ_LINT_TABLES = 32,   /* those that look up rows of a constant table */
    LDNQ_LINT_MODEL = 16,    /* the model, once, after all nodes; the node is NULL */
};

struct ldnq_lint_check {
    const char *rule; /* its name in findings */
    unsigned subjects;
    bool is_last; /* after a finding no other rule is checked on the node */
    /* False where the target can't compute the node on integers. */
    bool (*run)(struct ldnq_linter *linter, const struct ldnq_node *node);
    const char *cost; /* the cost of breaking the rule */
};

struct ldnq_linter {
    const struct ldnq_graph *graph;
    const struct ldnq_target *target;
    int opset;
    struct ldnq_arena *arena;
    struct ldnq_lint *lint;
    size_t capacity;
    struct ldnq_error *err;
    enum ldnq_status status;               /* the first failure; nothing is added after it */
    const struct ldnq_lint_check *check;   /* the check that is running */
    const struct ldnq_operator_rule *rule; /* rule of the node that is checked */
    size_t *readers;                       /* by value: how many inputs of nodes read it */
    const struct ldnq_node **reader;       /* by value: the last node that reads it */
    bool has_channels;                     /* some scales are per channel or per block */
};

/* Adds a finding of the running check. */
void ldnq_lint_report(struct ldnq_linter *linter, const struct ldnq_node *node,
                      enum ldnq_severity severity, const char *advice, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Severity of breaking a rule when the target then computes in float, if it can. */
enum ldnq_severity ldnq_lint_severity(const struct ldnq_linter *linter);

/* Records which nodes read each value, in linter->arena. Errors: NOMEM. */
enum ldnq_status ldnq_linter_record_readers(struct ldnq_linter *linter, struct ldnq_error *err);

/* ---- what Q and DQ nodes say (lint_graph.c) ---------------------------------------------------
 */

bool ldnq_lint_is_quantize(const struct ldnq_node *node);
bool ldnq_lint_is_dequantize(const struct ldnq_node *node);

/* The DequantizeLinear that a value comes from, at run time or folded; NULL: none. */
const struct ldnq_node *ldnq_lint_find_dequantize(const struct ldnq_value *value);
/* The same for a layer's constant weight, also past a Transpose or Reshape. */
const struct ldnq_node *ldnq_lint_find_weight(const struct ldnq_linter *linter,
                                              const struct ldnq_node *node);

/* The QuantizeLinear that alone reads the value (NULL: an output that is left out), and past a
 * clamp that does; NULL: there is none. `clamp` is that clamp, or NULL. */
const struct ldnq_node *ldnq_lint_find_quantize(const struct ldnq_linter *linter,
                                                const struct ldnq_value *value,
                                                const struct ldnq_node **clamp);

/* The layer on codes whose output alone is quantized and dequantized into the value; NULL: none. */
const struct ldnq_node *ldnq_lint_find_layer_before_pair(const struct ldnq_linter *linter,
                                                         const struct ldnq_value *value);

const struct ldnq_tensor *ldnq_lint_find_scale(const struct ldnq_node *pair);
/* All scales, in float32; NULL where they are computed or of another type. */
const float *ldnq_lint_read_scales(const struct ldnq_node *pair, size_t *count);
/* False where there is not one constant scale, or zero point. */
bool ldnq_lint_read_scale(const struct ldnq_node *pair, float *scale);
bool ldnq_lint_read_zero_point(const struct ldnq_node *pair, double *zero);
/* Type of the codes that a Q writes or a DQ reads. */
enum ldnq_dtype ldnq_lint_code_type(const struct ldnq_node *pair);
bool ldnq_lint_have_same_scale(const struct ldnq_node *a, const struct ldnq_node *b);

/* int8 codes with several readers, which ONNX Runtime on x64 leaves int8 while it rewrites all
 * others to uint8: kernels that would read both types are not fused. */
bool ldnq_lint_is_shared_int8(const struct ldnq_linter *linter, const struct ldnq_node *dequantize);

/* The inputs of a node that its rule calls activations, and which of them have codes. */
struct ldnq_lint_activations {
    size_t count, quantized;
    size_t missing;    /* index of the last input without codes */
    size_t other_type; /* inputs whose codes no integer kernel reads */
};

bool ldnq_lint_is_activation(const struct ldnq_linter *linter, const struct ldnq_node *node,
                             size_t input);
struct ldnq_lint_activations ldnq_lint_list_activations(const struct ldnq_linter *linter,
                                                        const struct ldnq_node *node);

/* ---- the rules ----------------------------------------------------------------------------- */

#define LDNQ_LINT_RULE(name)                                                                       \
    bool ldnq_check_##name(struct ldnq_linter *linter, const struct ldnq_node *node)

LDNQ_LINT_RULE(activation_type);
LDNQ_LINT_RULE(shared_int8);
LDNQ_LINT_RULE(symmetric);
LDNQ_LINT_RULE(power_of_two);
LDNQ_LINT_RULE(constant_scale);
LDNQ_LINT_RULE(positive_scale);
LDNQ_LINT_RULE(least_range);
LDNQ_LINT_RULE(fixed_range);
LDNQ_LINT_RULE(relu_range);
LDNQ_LINT_RULE(same_scale);
LDNQ_LINT_RULE(one_scale);
LDNQ_LINT_RULE(one_type);
LDNQ_LINT_RULE(near_scale);

LDNQ_LINT_RULE(weight_bits);
LDNQ_LINT_RULE(weight_type);
LDNQ_LINT_RULE(weight_symmetric);
LDNQ_LINT_RULE(weight_narrow);
LDNQ_LINT_RULE(weight_per_tensor);
LDNQ_LINT_RULE(weight_power_of_two);
LDNQ_LINT_RULE(weight_zero_point);
LDNQ_LINT_RULE(bias_float);
LDNQ_LINT_RULE(bias_int32);
LDNQ_LINT_RULE(bias_scale);
LDNQ_LINT_RULE(bias_saturated);

LDNQ_LINT_RULE(double_pair);
LDNQ_LINT_RULE(table_not_dequantized);
LDNQ_LINT_RULE(product_rows);
LDNQ_LINT_RULE(rounded_input);
LDNQ_LINT_RULE(weights_only);
LDNQ_LINT_RULE(no_pairs);
LDNQ_LINT_RULE(weight_float);
LDNQ_LINT_RULE(input_pair);
LDNQ_LINT_RULE(small_layer);
LDNQ_LINT_RULE(residual_pair);
LDNQ_LINT_RULE(output_pair);
LDNQ_LINT_RULE(move_codes);
LDNQ_LINT_RULE(move_pair);
LDNQ_LINT_RULE(clamp_pair);
LDNQ_LINT_RULE(copy_pair);
LDNQ_LINT_RULE(float_between);
LDNQ_LINT_RULE(operator_format);
LDNQ_LINT_RULE(opset);
LDNQ_LINT_RULE(static_shapes);

#endif
