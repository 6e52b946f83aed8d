/* SPDX-License-Identifier: Apache-2.0 */
#include "api/target_check.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/select.h"
#include "target/fused_product.h"

/* How a target runs a layer. */
enum layer_kernel {
    KERNEL_INTEGER, /* codes and quantized activations */
    KERNEL_PRODUCT, /* codes and float activations */
    KERNEL_FLOAT,   /* the weight is dequantized on every run */
};

static enum layer_kernel find_kernel(const struct ldnq_target_check *check,
                                     const struct ldnq_layer *layer, unsigned bits)
{
    const struct ldnq_operator_rule *rule = ldnq_target_rule(check->target, layer->node);
    if (check->options->activations.target && rule && rule->weight &&
        ldnq_select_fits_integers(layer, check->options))
        return KERNEL_INTEGER;
    return ldnq_target_has_product(check->target, layer->node, &layer->geometry, bits)
               ? KERNEL_PRODUCT
               : KERNEL_FLOAT;
}

static enum ldnq_status check_block_size(const struct ldnq_target_check *check,
                                         const struct ldnq_layer *layer, unsigned bits,
                                         struct ldnq_error *err)
{
    const size_t most = check->target->product_block_of_2_bits;
    const size_t block = ldnq_select_block(layer, check->options);
    if (bits != 2 || !most || block <= most)
        return LDNQ_OK;
    return ldnq_node_fail(check->graph, layer->node, LDNQ_USAGE, err,
                          "block-size %zu: target '%s' takes blocks of up to %zu with int2; choose "
                          "block-size %zu, or storage int4",
                          block, check->target->name, most, most);
}

/* The narrowest type beyond these bits in which a kernel of the target reads the codes; 0: none. */
static unsigned find_wider_type(const struct ldnq_target_check *check,
                                const struct ldnq_layer *layer, unsigned bits)
{
    struct ldnq_quantize_options wider = *check->options;
    struct ldnq_target_check other = *check;
    other.options = &wider;
    for (bits *= 2; bits <= 8; bits *= 2) {
        wider.least_code_bits = bits;
        if (find_kernel(&other, layer, bits) != KERNEL_FLOAT)
            return bits;
    }
    return 0;
}

static void warn_of_float_layers(const struct ldnq_target_check *check,
                                 const struct ldnq_layer *first, const size_t *counts)
{
    const unsigned bits = ldnq_select_stored_bits(first, check->options);
    const unsigned wider = find_wider_type(check, first, bits);
    const size_t count = counts[KERNEL_FLOAT];
    const char *once = check->target->dequantize_once;
    char advice[64] = "", option[160] = "";
    if (wider)
        snprintf(advice, sizeof advice, "; storage int%u has a kernel", wider);
    if (once)
        snprintf(option, sizeof option, "; %s restores float speed%s", once,
                 counts[KERNEL_INTEGER] || counts[KERNEL_PRODUCT]
                     ? ", without the kernels of the other layers"
                     : "");
    ldnq_sink_warn(check->sink,
                   "%zu layer%s will run slower than in the float model: target '%s' dequantizes "
                   "the int%u weight of %s '%s'%s on every run%s%s",
                   count, count == 1 ? "" : "s", check->target->name, bits, first->node->op_type,
                   first->label, count == 1 ? "" : " and of others", advice, option);
}

/* Kernels of codes take and write float32. */
static enum ldnq_status check_halves(const struct ldnq_target_check *check,
                                     const struct ldnq_selection *selection, struct ldnq_error *err)
{
    const struct ldnq_layer *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < selection->count; i++) {
        const struct ldnq_layer *layer = &selection->layers[i];
        if (layer->dtype == LDNQ_FLOAT)
            continue;
        first = first ? first : layer;
        count++;
    }
    if (!first || !check->options->activations.target ||
        check->options->activations.dtype == LDNQ_UNDEFINED)
        return LDNQ_OK;
    if (!check->target->falls_back)
        return ldnq_node_fail(check->graph, first->node, LDNQ_USAGE, err,
                              "it computes in %s, and target '%s' in integers alone: export the "
                              "model in float32, or choose target weights",
                              ldnq_dtype_name(first->dtype), check->target->name);
    ldnq_sink_warn(check->sink,
                   "%zu layer%s in %s: the weights alone are quantized, as integer kernels of "
                   "target '%s' read float32",
                   count, count == 1 ? " is" : "s are", ldnq_dtype_name(first->dtype),
                   check->target->name);
    return LDNQ_OK;
}

enum ldnq_status ldnq_target_check_layers(const struct ldnq_target_check *check,
                                          struct ldnq_arena *arena, struct ldnq_error *err)
{
    const struct ldnq_layer *first = NULL;
    struct ldnq_selection selection;
    size_t counts[KERNEL_FLOAT + 1] = { 0 };
    if (check->target->pairs == LDNQ_PAIRS_NONE)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_select_layers(check->graph, check->options, arena, &selection, err));
    LDNQ_TRY(check_halves(check, &selection, err));
    for (size_t i = 0; i < selection.count; i++) {
        const struct ldnq_layer *layer = &selection.layers[i];
        if (ldnq_layer_is_table(layer))
            continue;
        const unsigned bits = ldnq_select_stored_bits(layer, check->options);
        const enum layer_kernel kernel = find_kernel(check, layer, bits);
        LDNQ_TRY(check_block_size(check, layer, bits, err));
        /* Whole bytes with a scale per channel are the target's usual form. */
        if (kernel == KERNEL_FLOAT && bits == 8 && !ldnq_select_block(layer, check->options))
            continue;
        counts[kernel]++;
        first = first || kernel != KERNEL_FLOAT ? first : layer;
    }
    if (first)
        warn_of_float_layers(check, first, counts);
    return LDNQ_OK;
}
