/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantize_settings.h"

#include <math.h>
#include <string.h>

#include "api/option_value.h"
#include "api/quantize_goal.h"
#include "base/text.h"

#define DEFAULT_CODEBOOK "int8"
#define DEFAULT_BLOCK ((size_t)32)
/* The codebook of tables where the weights have fewer codes: a table takes at least 4 bits per code
 * in the file. More bits gain nothing beside such weights: MiniLM with int2 has a mean cosine of
 * .867 with the table in int4 (11.7 MB) and in int8 (16.3 MB). */
#define DEFAULT_TABLE_CODEBOOK "int4"

/* The choices of the option "granularity": the enum's, after auto. */
enum { GRANULARITY_AUTO, GRANULARITY_FIRST };

/* By the choices of the option "effort": how often a picture is read; twice only where there are
 * few. */
static const size_t effort_copies[] = { 1, 2, 8 };
enum { EFFORT_FAST, EFFORT_BALANCED, EFFORT_HIGH };

/* Pictures that are few. More of them need no mirrored copies: EfficientNet-Lite0 in int4 has the
 * same KL divergence with and without copies of its 100. */
#define MANY_PICTURES ((size_t)64)

/* By effort below high, where the solver is not named: positions of a layer's input per column
 * of its weight. The error of what is fitted grows by a part of 1 / 40 at most. */
#define POSITIONS_PER_COLUMN ((size_t)40)

/* By effort below high, for the solver `nearest`: 16 pictures of a network of 400 million
 * multiplications each. */
#define FITTED_MACS 6.4e9

/* Names are in the order of the option's choices and of the enum. */
const char *ldnq_granularity_name(enum ldnq_granularity granularity)
{
    static const char *const names[] = { "tensor", "channel", "block" };
    return names[granularity];
}

enum ldnq_status ldnq_settings_find_codebook(const char *where, const char *name,
                                             const struct ldnq_codebook **out,
                                             struct ldnq_error *err)
{
    char list[256];
    struct ldnq_text text;
    *out = ldnq_codebook_find(name);
    if (*out)
        return LDNQ_OK;
    ldnq_text_init(&text, list, sizeof list);
    for (const struct ldnq_codebook *const *book = ldnq_codebooks(); *book; book++)
        ldnq_text_append_item(&text, ", ", "%s", (*book)->name);
    return ldnq_fail(err, LDNQ_USAGE, "%s '%s' is not known; there are %s", where, name, list);
}

static enum ldnq_status choose_codebook(const struct ldnq_options *options,
                                        struct ldnq_quantize_options *quantize,
                                        struct ldnq_error *err)
{
    const char *weights = ldnq_option_text(options, OPTION_WEIGHTS);
    /* With a budget or a goal they are a list, and the plan chooses for every layer. */
    if (!weights || ldnq_option_is_set(options, OPTION_BUDGET) || ldnq_job_goal_is_set(options))
        weights = DEFAULT_CODEBOOK;
    if (strchr(weights, ','))
        return ldnq_fail(err, LDNQ_USAGE, "weights '%s' is a list, which needs a budget or a goal",
                         weights);
    LDNQ_TRY(ldnq_settings_find_codebook("weights", weights, &quantize->codebook, err));
    const struct ldnq_codebook *table = ldnq_codebook_find(DEFAULT_TABLE_CODEBOOK);
    if (quantize->codebook->count < table->count)
        quantize->table_codebook = table;
    return LDNQ_OK;
}

static enum ldnq_granularity read_granularity(const struct ldnq_options *options)
{
    const size_t choice = ldnq_option_choice(options, OPTION_GRANULARITY);
    return choice == GRANULARITY_AUTO ? LDNQ_PER_CHANNEL
                                      : (enum ldnq_granularity)(choice - GRANULARITY_FIRST);
}

/* Blocks have the sizes that runtimes take: powers of two. */
static enum ldnq_status choose_block_size(const struct ldnq_options *options,
                                          struct ldnq_quantize_options *quantize,
                                          struct ldnq_error *err)
{
    const size_t size = ldnq_option_count(options, OPTION_BLOCK_SIZE);
    if (quantize->granularity != LDNQ_PER_BLOCK)
        return size ? ldnq_fail(err, LDNQ_USAGE, "block-size goes with granularity block")
                    : LDNQ_OK;
    quantize->block = size ? size : DEFAULT_BLOCK;
    if ((quantize->block & (quantize->block - 1)) != 0)
        return ldnq_fail(err, LDNQ_USAGE,
                         "block-size %zu is no power of two; use 16, 32, 64, 128 or more", size);
    if (quantize->solver && !quantize->solver->blocks)
        return ldnq_fail(err, LDNQ_USAGE,
                         "solver '%s' has one scale per channel, not per block; use best, beam, "
                         "cd, gptq, mse or rtn",
                         quantize->solver->name);
    return LDNQ_OK;
}

/* In the order of the choices of the option "activations". */
static const enum ldnq_dtype activation_types[] = { LDNQ_UNDEFINED, LDNQ_UNDEFINED, LDNQ_UINT8,
                                                    LDNQ_INT8,      LDNQ_UINT16,    LDNQ_INT16,
                                                    LDNQ_UINT4,     LDNQ_INT4 };
enum { ACTIVATIONS_AUTO, ACTIVATIONS_NONE };

/* QuantizeLinear has types of 16 and of 4 bits since this opset. */
#define OPSET_FOR_OTHER_BITS 21

static enum ldnq_status choose_activations(const struct ldnq_options *options,
                                           struct ldnq_quantize_options *quantize,
                                           struct ldnq_emit_options *emit, struct ldnq_error *err)
{
    const struct ldnq_target *target = ldnq_target_find(ldnq_option_text(options, OPTION_TARGET));
    const size_t choice = ldnq_option_choice(options, OPTION_ACTIVATIONS);
    const enum ldnq_dtype dtype =
        choice == ACTIVATIONS_AUTO ? target->activation : activation_types[choice];
    quantize->activations.rule = (enum ldnq_range_rule)ldnq_option_choice(options, OPTION_RANGES);
    if (choice > ACTIVATIONS_NONE && target->pairs == LDNQ_PAIRS_NONE)
        return ldnq_fail(err, LDNQ_USAGE,
                         "activations '%s' need a target, as runtimes differ in what they compute "
                         "on integers; set target to ort, openvino, tensorrt, qnn, tflite or pow2",
                         ldnq_dtype_name(dtype));
    if (dtype == LDNQ_UNDEFINED)
        return LDNQ_OK;
    if (!(target->activation_types >> dtype & 1)) {
        char list[128];
        struct ldnq_text text;
        ldnq_text_init(&text, list, sizeof list);
        for (size_t i = ACTIVATIONS_NONE + 1; i < sizeof activation_types / sizeof(dtype); i++)
            if (target->activation_types >> activation_types[i] & 1)
                ldnq_text_append_item(&text, ", ", "%s", ldnq_dtype_name(activation_types[i]));
        return ldnq_fail(err, LDNQ_USAGE, "target '%s' has no activations of type %s; it has %s",
                         target->name, ldnq_dtype_name(dtype), list);
    }
    quantize->activations.target = target;
    quantize->activations.dtype = dtype;
    emit->least_opset = ldnq_dtype_bits(dtype) != 8 ? OPSET_FOR_OTHER_BITS : target->opset_min;
    return LDNQ_OK;
}

/* ---- what the target's kernels take of weights ------------------------------------------------
 */

static void list_storages(unsigned code_bits, char *list, size_t size)
{
    struct ldnq_text text;
    ldnq_text_init(&text, list, size);
    for (unsigned bits = 2; bits <= 8; bits *= 2)
        if (code_bits >> bits & 1)
            ldnq_text_append_item(&text, " or ", "int%u", bits);
}

/* An activation type that is named asks for integer kernels; else products of float activations
 * may also be computed from codes. */
static enum ldnq_status choose_code_types(const struct ldnq_options *options,
                                          const struct ldnq_target *target,
                                          struct ldnq_emit_options *emit, struct ldnq_error *err)
{
    /* In the order of enum ldnq_storage. */
    static const unsigned storage_bits[] = { 8, 8, 4, 2 };
    char list[64];
    const bool asks_for_integers =
        ldnq_option_choice(options, OPTION_ACTIVATIONS) > ACTIVATIONS_NONE;
    const unsigned bits = storage_bits[emit->storage];
    emit->target = target;
    emit->code_bits = target->weight_bits | (asks_for_integers ? 0 : target->product_bits);
    if (emit->code_bits >> bits & 1)
        return LDNQ_OK;
    list_storages(emit->code_bits, list, sizeof list);
    return ldnq_fail(err, LDNQ_USAGE,
                     "storage int%u: target '%s' has no kernels for weights of %u bits%s; it takes "
                     "%s",
                     bits, target->name, bits,
                     asks_for_integers ? " and quantized activations" : "", list);
}

static enum ldnq_status check_granularity(const struct ldnq_options *options,
                                          const struct ldnq_target *target,
                                          const struct ldnq_quantize_options *quantize,
                                          struct ldnq_error *err)
{
    const bool asks_for_integers =
        ldnq_option_choice(options, OPTION_ACTIVATIONS) > ACTIVATIONS_NONE;
    const bool takes_blocks = target->pairs == LDNQ_PAIRS_NONE || target->product_bits != 0;
    const char *coarser = target->per_channel ? "channel" : "tensor";
    if (quantize->granularity == LDNQ_PER_BLOCK && !takes_blocks)
        return ldnq_fail(err, LDNQ_USAGE,
                         "target '%s' has no scales per block; set granularity to %s", target->name,
                         coarser);
    if (quantize->granularity == LDNQ_PER_BLOCK && asks_for_integers)
        return ldnq_fail(err, LDNQ_USAGE,
                         "the integer kernels of target '%s' have no scales per block; set "
                         "granularity to %s, or activations to auto",
                         target->name, coarser);
    if (quantize->granularity != LDNQ_PER_TENSOR && !target->per_channel)
        return ldnq_fail(err, LDNQ_USAGE,
                         "target '%s' has one scale per weight; set granularity to tensor",
                         target->name);
    return LDNQ_OK;
}

/* Fills in what the target decides where the options leave it open. */
static enum ldnq_status apply_target(const struct ldnq_options *options,
                                     struct ldnq_quantize_options *quantize,
                                     struct ldnq_emit_options *emit, struct ldnq_error *err)
{
    const struct ldnq_target *target = ldnq_target_find(ldnq_option_text(options, OPTION_TARGET));
    const bool is_auto = ldnq_option_choice(options, OPTION_GRANULARITY) == GRANULARITY_AUTO;
    quantize->target = target;
    if (is_auto && !target->per_channel)
        quantize->granularity = LDNQ_PER_TENSOR;
    LDNQ_TRY(check_granularity(options, target, quantize, err));
    LDNQ_TRY(choose_code_types(options, target, emit, err));
    if (is_auto && (!quantize->solver || quantize->solver->blocks) &&
        quantize->granularity == LDNQ_PER_CHANNEL)
        quantize->product_block = target->product_block;
    emit->granularity = quantize->granularity;
    return LDNQ_OK;
}

static void choose_augmented_copies(const struct ldnq_options *options,
                                    struct ldnq_quantize_options *quantize)
{
    quantize->copies = ldnq_option_is_set(options, OPTION_AUGMENT)
                           ? ldnq_option_count(options, OPTION_AUGMENT)
                           : effort_copies[ldnq_option_choice(options, OPTION_EFFORT)];
    quantize->fine_tune.augment = quantize->copies > 1;
}

static enum ldnq_status choose_compensation(const struct ldnq_options *options,
                                            struct ldnq_quantize_options *quantize,
                                            struct ldnq_error *err)
{
    const double lambda = ldnq_option_number(options, OPTION_LAMBDA);
    quantize->cascade = ldnq_option_count(options, OPTION_CASCADE);
    quantize->lambda = quantize->cascade ? 0 : isnan(lambda) ? LDNQ_LAMBDA_AUTO : lambda;
    if (quantize->cascade && lambda > 0)
        return ldnq_fail(
            err, LDNQ_USAGE,
            "lambda can't be above 0 with cascade, where layers approximate their weight; leave it "
            "out");
    return LDNQ_OK;
}

/* An HTML report shows each layer's part, so it needs the estimate. */
static void choose_estimate(const struct ldnq_options *options,
                            struct ldnq_quantize_options *quantize)
{
    const double draws = ldnq_option_number(options, OPTION_ESTIMATE);
    const bool needs_layers =
        ldnq_option_is_set(options, OPTION_REPORT) || ldnq_option_flag(options, OPTION_PAGE);
    quantize->estimate_draws = !isnan(draws)  ? (size_t)draws
                               : needs_layers ? LDNQ_ESTIMATE_DRAWS
                                              : LDNQ_ESTIMATE_AUTO;
}

/* Codes of 8 bits lose so little that rounding with the best bias is enough: errors of single
 * weights average out. */
#define CODES_THAT_NEED_NO_SOLVER ((size_t)128)

/* Limits the samples for rounding: it gains little from more, and passes over them take time. */
static void limit_fitting(const struct ldnq_options *options,
                          struct ldnq_quantize_options *quantize)
{
    const size_t effort = ldnq_option_choice(options, OPTION_EFFORT);
    if (effort < EFFORT_HIGH && !ldnq_option_is_set(options, OPTION_AUGMENT))
        quantize->copies = 1;
    if (effort == EFFORT_FAST && isnan(ldnq_option_number(options, OPTION_LAMBDA)))
        quantize->lambda = 0;
    if (effort < EFFORT_HIGH)
        quantize->fit = (struct ldnq_fit_limits){ .macs = FITTED_MACS, .positions_per_column = 2 };
}

static void limit_positions(const struct ldnq_options *options,
                            struct ldnq_quantize_options *quantize)
{
    if (ldnq_option_choice(options, OPTION_EFFORT) < EFFORT_HIGH)
        quantize->fit = (struct ldnq_fit_limits){ .positions_per_column = POSITIONS_PER_COLUMN };
}

void ldnq_settings_limit_copies(const struct ldnq_options *options, bool are_pictures, size_t count,
                                struct ldnq_quantize_options *quantize)
{
    const bool is_limited = ldnq_option_choice(options, OPTION_EFFORT) < EFFORT_HIGH &&
                            !ldnq_solver_find(ldnq_option_text(options, OPTION_SOLVER));
    if (!ldnq_option_is_set(options, OPTION_AUGMENT) &&
        (!are_pictures || (is_limited && count >= MANY_PICTURES)))
        quantize->copies = 1;
}

/* With more codes a beam search finds in a tenth of the time what ADMM adds little to. */
#define FEW_CODES ((size_t)8)

static bool has_few_codes(const struct ldnq_codebook *codebook)
{
    return codebook && codebook->count <= FEW_CODES;
}

static bool needs_no_solver(const struct ldnq_codebook *codebook)
{
    return !codebook || codebook->count >= CODES_THAT_NEED_NO_SOLVER; /* NULL: float */
}

void ldnq_settings_choose_solver(const struct ldnq_options *options,
                                 const struct ldnq_codebook *const *choices, size_t choice_count,
                                 struct ldnq_quantize_options *quantize)
{
    bool is_fine = choice_count > 0 || needs_no_solver(quantize->codebook);
    bool is_coarse = choice_count == 0 && has_few_codes(quantize->codebook);
    for (size_t i = 0; i < choice_count; i++) {
        is_fine = is_fine && needs_no_solver(choices[i]);
        is_coarse = is_coarse || has_few_codes(choices[i]);
    }
    for (size_t i = 0; i < quantize->plan_count; i++) {
        is_fine = is_fine && needs_no_solver(quantize->plan[i].codebook);
        is_coarse = is_coarse || has_few_codes(quantize->plan[i].codebook);
    }
    const bool is_auto = !quantize->solver;
    if (is_auto)
        quantize->solver = ldnq_solver_find(is_fine ? "nearest" : is_coarse ? "best" : "beam");
    if (ldnq_solver_rounds_with_bias(quantize->solver))
        limit_fitting(options, quantize);
    else if (is_auto)
        limit_positions(options, quantize);
}

enum ldnq_status ldnq_quantize_read_settings(const struct ldnq_options *options,
                                             struct ldnq_quantize_options *quantize,
                                             struct ldnq_emit_options *emit, struct ldnq_error *err)
{
    LDNQ_TRY(choose_codebook(options, quantize, err));
    quantize->solver = ldnq_solver_find(ldnq_option_text(options, OPTION_SOLVER)); /* auto: NULL */
    quantize->granularity = read_granularity(options);
    LDNQ_TRY(choose_block_size(options, quantize, err));
    LDNQ_TRY(choose_compensation(options, quantize, err));
    choose_augmented_copies(options, quantize);
    choose_estimate(options, quantize);
    ldnq_solver_defaults(&quantize->solver_options);
    if (ldnq_option_is_set(options, OPTION_RHO))
        quantize->solver_options.rho_factor = ldnq_option_number(options, OPTION_RHO);
    quantize->solver_options.rho_from_first = ldnq_option_choice(options, OPTION_RHO_FROM) == 1;
    quantize->fine_tune.steps = ldnq_option_count(options, OPTION_DISTILL);
    quantize->fine_tune.update_codes = ldnq_option_flag(options, OPTION_REFINE);
    quantize->seed = ldnq_option_count(options, OPTION_SEED);
    quantize->max_seconds = ldnq_option_number(options, OPTION_TIME_LIMIT);
    quantize->max_bytes = ldnq_option_count(options, OPTION_MAX_MEM);
    quantize->skip = ldnq_option_list(options, OPTION_SKIP, &quantize->skip_count);
    quantize->only = ldnq_option_list(options, OPTION_ONLY, &quantize->only_count);
    emit->storage = (enum ldnq_storage)ldnq_option_choice(options, OPTION_STORAGE);
    emit->opset = (int)ldnq_option_count(options, OPTION_OPSET);
    emit->keeps_opset = ldnq_option_is_word(options, OPTION_OPSET, "keep");
    LDNQ_TRY(choose_activations(options, quantize, emit, err));
    return apply_target(options, quantize, emit, err);
}
