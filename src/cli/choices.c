#include "cli/choices.h"

#include <string.h>

#include "base/text.h"

static const char *const effort_names[] = { "fast", "balanced", "high", NULL };
/* What --augment is where the line does not say. */
static const size_t effort_copies[] = { 1, 2, 8 };

#define DEFAULT_CODEBOOK "ternary"
#define DEFAULT_BLOCK 32
#define LEAST_BLOCK 16

/* ---- names ---------------------------------------------------------------------------- */

/* The place of the given name among those of the list, which NULL ends. */
static enum ldnq_status find_name(const char *where, const char *given, const char *const *names,
                                  int *index, struct ldnq_error *err)
{
    char list[512];
    struct ldnq_text text;
    ldnq_text_init(&text, list, sizeof list);
    for (*index = 0; names[*index]; (*index)++) {
        ldnq_text_item(&text, ", ", "%s", names[*index]);
        if (strcmp(names[*index], given) == 0)
            return LDNQ_OK;
    }
    return ldnq_fail(err, LDNQ_USAGE, "%s '%s' is not known; there are %s", where, given, list);
}

#define MOST_NAMES 32

enum ldnq_status cli_choose_codebook(const char *where, const char *given,
                                     const struct ldnq_codebook **codebook, struct ldnq_error *err)
{
    const struct ldnq_codebook *const *books = ldnq_codebooks();
    const char *names[MOST_NAMES] = { NULL };
    int index;
    for (size_t i = 0; books[i] && i < MOST_NAMES - 1; i++)
        names[i] = books[i]->name;
    LDNQ_TRY(find_name(where, given, names, &index, err));
    *codebook = books[index];
    return LDNQ_OK;
}

static enum ldnq_status choose_solver(const char *given, struct ldnq_quantize_options *options,
                                      struct ldnq_error *err)
{
    const struct ldnq_solver *const *solvers = ldnq_solvers();
    const char *names[MOST_NAMES] = { NULL };
    int index;
    for (size_t i = 0; solvers[i] && i < MOST_NAMES - 1; i++)
        names[i] = solvers[i]->name;
    LDNQ_TRY(find_name("quantize: --solver", given, names, &index, err));
    options->solver = solvers[index];
    return LDNQ_OK;
}

/* ---- all of them ------------------------------------------------------------------------ */

static enum ldnq_status choose_effort(const struct cli_settings *settings,
                                      struct ldnq_quantize_options *options, struct ldnq_error *err)
{
    int index;
    LDNQ_TRY(find_name("quantize: --effort", settings->effort, effort_names, &index, err));
    struct ldnq_fine_tune_options *tune = &options->fine_tune;
    options->seed = settings->seed;
    options->copies = settings->augment != CLI_UNSET ? settings->augment : effort_copies[index];
    if (options->copies == 0)
        return ldnq_fail(err, LDNQ_USAGE,
                         "quantize: --augment 0 leaves no sample; 1 takes each "
                         "once");
    tune->augment = options->copies > 1;
    options->cascade = settings->cascade;
    tune->steps = settings->distill;
    tune->update_codes = settings->refine;
    return choose_solver(settings->solver, options, err);
}

/* The size is what runtimes take: a power of two from 16 on. */
static enum ldnq_status choose_block(const struct cli_settings *settings,
                                     struct ldnq_quantize_options *options, struct ldnq_error *err)
{
    const size_t size = settings->block_size;
    if (options->granularity != LDNQ_PER_BLOCK)
        return size ? ldnq_fail(err, LDNQ_USAGE,
                                "quantize: --block-size goes with --granularity "
                                "block")
                    : LDNQ_OK;
    options->block = size ? size : DEFAULT_BLOCK;
    if (options->block < LEAST_BLOCK || (options->block & (options->block - 1)) != 0)
        return ldnq_fail(err, LDNQ_USAGE,
                         "quantize: --block-size %zu is no power of two from %d "
                         "on; use 16, 32, 64, 128 or more",
                         size, LEAST_BLOCK);
    if (!options->solver->blocks)
        return ldnq_fail(err, LDNQ_USAGE,
                         "quantize: the solver '%s' has one scale a channel, not "
                         "one a block; use best, beam, cd, gptq, mse or rtn",
                         options->solver->name);
    return LDNQ_OK;
}

static enum ldnq_status choose_words(const struct cli_settings *settings,
                                     struct ldnq_quantize_options *options,
                                     struct ldnq_emit_options *emit, struct ldnq_error *err)
{
    /* In the order of enum ldnq_granularity and enum ldnq_storage. */
    static const char *const granularities[] = { "tensor", "channel", "block", NULL };
    static const char *const storages[] = { "auto", "int8", "int4", "int2", NULL };
    static const char *const rhos[] = { "mean", "first", NULL };
    int granularity, storage, rho_from;
    LDNQ_TRY(find_name("quantize: --granularity", settings->granularity, granularities,
                       &granularity, err));
    LDNQ_TRY(find_name("quantize: --storage", settings->storage, storages, &storage, err));
    LDNQ_TRY(find_name("quantize: --rho-from", settings->rho_from, rhos, &rho_from, err));
    options->granularity = (enum ldnq_granularity)granularity;
    LDNQ_TRY(choose_block(settings, options, err));
    options->solver_options.rho_from_first = rho_from == 1;
    emit->storage = (enum ldnq_storage)storage;
    return LDNQ_OK;
}

enum ldnq_status cli_choose(const struct cli_settings *settings,
                            struct ldnq_quantize_options *options, struct ldnq_emit_options *emit,
                            struct ldnq_error *err)
{
    ldnq_solver_defaults(&options->solver_options);
    /* With a budget --weights is a list, and the plan chooses for every layer. */
    LDNQ_TRY(cli_choose_codebook("quantize: --weights",
                                 settings->weights && !settings->budget ? settings->weights
                                                                        : DEFAULT_CODEBOOK,
                                 &options->codebook, err));
    LDNQ_TRY(choose_effort(settings, options, err));
    LDNQ_TRY(choose_words(settings, options, emit, err));
    if (settings->opset > 1000)
        return ldnq_fail(err, LDNQ_USAGE, "quantize: --opset %zu does not exist", settings->opset);
    if (settings->rho > 0)
        options->solver_options.rho_factor = settings->rho;
    options->lambda = settings->cascade ? 0 : settings->lambda;
    if (settings->cascade && settings->lambda > 0)
        return ldnq_fail(err, LDNQ_USAGE,
                         "quantize: with --cascade layers aim at their weight; "
                         "leave --lambda out");
    options->max_seconds = settings->time_limit;
    options->skip = settings->skip.items;
    options->skip_count = settings->skip.count;
    options->only = settings->only.items;
    options->only_count = settings->only.count;
    options->max_bytes = settings->max_bytes;
    emit->opset = (int)settings->opset;
    return LDNQ_OK;
}
