#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/pipeline.h"

#include "base/alloc.h"

enum kind { FLAG, TEXT, LIST, COUNT, BYTES, NUMBER, REAL, FRACTION, SCALE, CHANNELS };

struct option {
    const char *name, *letter;
    enum kind kind;
    size_t offset;        /* in struct cli_settings */
    const char *argument; /* NULL for a flag */
    const char *help;     /* the default stands in it */
};

#define AT(member) offsetof(struct cli_settings, member)

static const struct option table[] = {
    { "--output", "-o", TEXT, AT(output), "PATH", "where the result goes" },
    { "--calib", NULL, TEXT, AT(calib), "PATH",
      "samples to calibrate with: a folder of PNG or JPEG (flat or in class "
      "folders), a .npy, a .npz (one array an input), or a folder of "
      "TensorProto .pb files" },
    { "--data", NULL, TEXT, AT(data), "PATH",
      "samples, as for --calib. For eval labelled ones: class folders (classes in "
      "alphabetical order), a folder with labels.csv (file,class), or a .npz with an "
      "array 'labels'" },
    { "--input", NULL, LIST, AT(inputs), "[NAME=]FILE.npy",
      "an input's data; once for each input, by name where there are several" },
    { "--weights", NULL, TEXT, AT(weights), "CODEBOOK",
      "ternary, pot5, pot7, pot9, pot11, int2, int3, int4 or int8 [ternary]; with "
      "--budget those to choose from, as int2,int4 [int2,int3,int4,int8]" },
    { "--budget", NULL, TEXT, AT(budget), "SIZE",
      "choose each layer's codebook so that the network's output suffers least: a mean "
      "of bits a weight (3bits), a ratio to the float weights (8x) or bytes of codes "
      "and scales in the file (200K)" },
    { "--plan", NULL, TEXT, AT(plan), "FILE.json",
      "each layer's codebook, after its name; layers that it does not name get "
      "--weights. With --budget it is written, else read" },
    { "--granularity", NULL, TEXT, AT(granularity), "tensor|channel|block",
      "one scale a weight, one an output channel, or several along its inputs, for "
      "--block-size of them each (opset 21) [channel]" },
    { "--block-size", NULL, COUNT, AT(block_size), "N",
      "input channels that share a scale: 16, 32, 64 ...; a layer with fewer has one "
      "scale an output channel [32]" },
    { "--solver", NULL, TEXT, AT(solver), "NAME",
      "best (admm, then beam), admm (a penalty that grows), beam (gptq with several "
      "branches, then coordinate descent: quick), cd (gptq, then descent), gptq, "
      "admm-paper (L-DNQ), mse or rtn (rounding, as baselines) [best]" },
    { "--rho", NULL, NUMBER, AT(rho), "FACTOR",
      "ADMM's penalty as a multiple of the Gram matrix's diagonal [0.5]" },
    { "--rho-from", NULL, TEXT, AT(rho_from), "mean|first",
      "the diagonal's mean, or its first element as the paper has it [mean]" },
    { "--lambda", NULL, FRACTION, AT(lambda), "auto|0..1",
      "how much of the error of the layers in front a layer makes up for; auto finds out "
      "on held-out samples, layer by layer [auto]" },
    { "--effort", NULL, TEXT, AT(effort), "LEVEL",
      "fast, balanced or high: sets --augment (1, 2, 8) where it is not given [balanced]" },
    { "--augment", NULL, COUNT, AT(augment), "N",
      "take each picture N times, once as it is and else mirrored and shifted at random; "
      "arrays shaped like pictures only when it is given" },
    { "--cascade", NULL, COUNT, AT(cascade), "STEPS",
      "after each layer let those behind it, and the scales and biases in front, learn to "
      "make up for it, in so many steps; layers then aim at their weight (--lambda 0) [0]" },
    { "--distill", NULL, COUNT, AT(distill), "STEPS",
      "then learn scales and biases of all layers together, in so many steps, so "
      "that the network's output on the samples stays what it was; a fifth of them "
      "is held out and decides what is kept [0]" },
    { "--refine", NULL, FLAG, AT(refine), NULL, "let --distill change codes as well" },
    { "--time-limit", NULL, NUMBER, AT(time_limit), "SECONDS",
      "write what is best by then; layers that are late get a quicker solver. A budget is "
      "measured in full. What is written then depends on the machine [none]" },
    { "--skip", NULL, LIST, AT(skip), "NODE",
      "leave this layer as it is; a name or a shell pattern, any number of "
      "times" },
    { "--only", NULL, LIST, AT(only), "NODE", "quantize these layers and no others" },
    { "--storage", NULL, TEXT, AT(storage), "auto|int8|int4|int2",
      "the codes' type in the file; auto is the narrowest that they fit and "
      "that the opset has (int4 from 21, int2 from 25) [auto]" },
    { "--opset", NULL, COUNT, AT(opset), "N", "raise the model's opset to N" },
    { "--mean", NULL, CHANNELS, AT(mean), "R,G,B", "subtracted from pictures, after the scale" },
    { "--std", NULL, CHANNELS, AT(std), "R,G,B", "pictures are divided by it, after the mean" },
    { "--scale", NULL, SCALE, AT(preprocess.scale), "X",
      "pictures are multiplied by it first [1/255]" },
    { "--resize", NULL, COUNT, AT(preprocess.resize), "N",
      "resize pictures so that the shorter side has N pixels" },
    { "--crop", NULL, COUNT, AT(preprocess.crop), "N", "then cut N x N from the middle" },
    { "--dim", NULL, LIST, AT(dims), "NAME=N",
      "give an open dimension of an input a size; INPUT:AXIS=N where it has "
      "no name" },
    { "--max-samples", NULL, COUNT, AT(max_samples), "N", "use N samples, drawn by the seed" },
    { "--max-mem", NULL, BYTES, AT(max_bytes), "BYTES",
      "ceiling of the activations held in memory; the rest goes to a "
      "temporary file. K, M and G may follow the number [256M]" },
    { "--seed", NULL, COUNT, AT(seed), "N", "of all that is random [0]" },
    { "--threads", NULL, COUNT, AT(threads), "N",
      "the result does not depend on it [all processors]" },
    { "--sort", NULL, TEXT, AT(sort), "KEY",
      "worst (where error is made; without samples, the weights' own), order, isolated, "
      "accumulated, weight, bits or size [worst]" },
    { "--top", NULL, COUNT, AT(top), "N", "print the first N layers; 0: all [20]" },
    { "--html", NULL, TEXT, AT(html), "FILE.html",
      "write one page with all figures and pictures, which needs nothing else" },
    { "--report", NULL, TEXT, AT(report), "FILE.html",
      "write the page that 'ldnq diff --html' makes of the two files, on up to 100 of the "
      "samples, with the solver's curves" },
    { "--fail-below-sqnr", NULL, REAL, AT(least_sqnr), "DB",
      "exit with 9 if an output's SQNR is below" },
    { "--fail-below-agreement", NULL, NUMBER, AT(least_agreement), "PERCENT",
      "exit with 9 if an output's largest score is elsewhere in more of the samples" },
    { "--fail-size-above", NULL, BYTES, AT(most_bytes), "BYTES",
      "exit with 9 if the quantized file is larger; K, M and G may follow" },
    { "--log", NULL, TEXT, AT(log), "FILE.jsonl",
      "write one line of JSON as each layer is done, and one for the run at the end" },
    { "--json", NULL, FLAG, AT(json), NULL, "print the result as JSON" },
    { "--verbose", "-v", FLAG, AT(verbose), NULL,
      "print each layer's figures, and ADMM's iterations, on standard error" },
    { "--quiet", "-q", FLAG, AT(quiet), NULL, "no progress and no summary" },
    { "--help", "-h", FLAG, AT(help), NULL, "this text" },
};

#define OPTION_COUNT (sizeof table / sizeof *table)

static const struct cli_settings defaults = {
    .solver = "best",
    .granularity = "channel",
    .storage = "auto",
    .rho_from = "mean",
    .effort = "balanced",
    .sort = "worst",
    .top = 20,
    .least_sqnr = NAN,
    .augment = CLI_UNSET,
    .lambda = LDNQ_LAMBDA_AUTO,
};

/* ---- values ------------------------------------------------------------------------- */

bool cli_parse_size(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value > SIZE_MAX)
        return false;
    *out = (size_t)value;
    return true;
}

bool cli_parse_bytes(const char *text, size_t *out)
{
    static const char units[] = "KMG";
    char digits[32];
    size_t length = strlen(text);
    const char *unit = length ? strchr(units, text[length - 1]) : NULL;
    if (length >= sizeof digits)
        return false;
    memcpy(digits, text, length + 1);
    unsigned shift = 0;
    if (unit && *unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        digits[length - 1] = '\0';
    }
    if (!cli_parse_size(digits, out) || *out == 0 || *out > SIZE_MAX >> shift)
        return false;
    *out <<= shift;
    return true;
}

static bool parse_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

static bool parse_fraction(const char *text, double *out)
{
    if (strcmp(text, "auto") != 0)
        return parse_number(text, out) && *out >= 0 && *out <= 1;
    *out = LDNQ_LAMBDA_AUTO;
    return true;
}

/* "1/255" is how people write the usual scale. */
static bool parse_scale(const char *text, float *out)
{
    char name[64];
    double over = 1, value;
    const char *slash = strchr(text, '/');
    if (slash) {
        size_t length = (size_t)(slash - text);
        if (length >= sizeof name || !parse_number(slash + 1, &over) || over == 0)
            return false;
        memcpy(name, text, length);
        name[length] = '\0';
        text = name;
    }
    if (!parse_number(text, &value))
        return false;
    *out = (float)(value / over);
    return *out != 0.0f;
}

static bool parse_channels(const char *text, float *values, size_t most, size_t *count)
{
    *count = 0;
    for (;;) {
        char *end;
        float value = strtof(text, &end);
        if (end == text || *count == most || !isfinite(value))
            return false;
        values[(*count)++] = value;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
}

static bool set_channels(struct cli_settings *settings, size_t offset, const char *text)
{
    struct ldnq_preprocess *p = &settings->preprocess;
    bool is_mean = offset == AT(mean);
    *(is_mean ? &settings->mean : &settings->std) = text;
    return parse_channels(text, is_mean ? p->mean : p->std, sizeof p->mean / sizeof *p->mean,
                          is_mean ? &p->mean_count : &p->std_count);
}

static bool add_item(struct cli_list *list, const char *text)
{
    const char **items = ldnq_realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return false;
    list->items = items;
    items[list->count++] = text;
    return true;
}

static bool set(struct cli_settings *settings, const struct option *option, const char *text)
{
    void *at = (char *)settings + option->offset;
    switch (option->kind) {
    case FLAG:
        return *(bool *)at = true;
    case TEXT:
        *(const char **)at = text;
        return *text != '\0';
    case LIST:
        return *text != '\0' && add_item(at, text);
    case COUNT:
        return cli_parse_size(text, at);
    case BYTES:
        return cli_parse_bytes(text, at);
    case NUMBER:
        return parse_number(text, at) && *(double *)at > 0;
    case REAL:
        return parse_number(text, at);
    case FRACTION:
        return parse_fraction(text, at);
    case SCALE:
        return parse_scale(text, at);
    case CHANNELS:
        return set_channels(settings, option->offset, text);
    }
    return false;
}

bool cli_split(const char *text, char *name, size_t size, const char **value)
{
    const char *equals = strrchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= size)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    *value = equals + 1;
    return true;
}

/* ---- the line -------------------------------------------------------------------------- */

static bool takes(const struct cli_command *command, const struct option *option)
{
    for (const char *const *name = command->options; *name; name++)
        if (strcmp(*name, option->name) == 0)
            return true;
    return strcmp(option->name, "--help") == 0;
}

/* "--name", "--name=value" or "-n". */
static const struct option *find_option(const struct cli_command *command, const char *word,
                                        const char **value)
{
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        bool is_name = strlen(table[i].name) == length && !strncmp(table[i].name, word, length);
        bool is_letter = table[i].letter && strcmp(table[i].letter, word) == 0;
        if ((is_name || is_letter) && takes(command, &table[i])) {
            *value = is_name && equals ? equals + 1 : NULL;
            return &table[i];
        }
    }
    return NULL;
}

static enum ldnq_status parse_option(struct cli_settings *settings,
                                     const struct cli_command *command, int argc, char **argv,
                                     int *at, struct ldnq_error *err)
{
    const char *value, *word = argv[*at];
    const struct option *option = find_option(command, word, &value);
    if (!option)
        return ldnq_fail(err, LDNQ_USAGE, "%s: unknown option '%s'; 'ldnq %s --help' lists them",
                         command->name, word, command->name);
    if (!option->argument && value)
        return ldnq_fail(err, LDNQ_USAGE, "%s: %s takes no value", command->name, option->name);
    if (option->argument && !value) {
        if (*at + 1 >= argc)
            return ldnq_fail(err, LDNQ_USAGE, "%s: %s needs %s", command->name, option->name,
                             option->argument);
        value = argv[++*at];
    }
    if (!set(settings, option, value ? value : ""))
        return ldnq_fail(err, LDNQ_USAGE, "%s: %s takes %s, not '%s'", command->name, option->name,
                         option->argument, value);
    return LDNQ_OK;
}

static enum ldnq_status check_models(const struct cli_settings *settings,
                                     const struct cli_command *command, struct ldnq_error *err)
{
    if (settings->help)
        return LDNQ_OK;
    if (settings->models.count < command->models_min)
        return ldnq_fail(err, LDNQ_USAGE, "%s: %s; usage: ldnq %s %s", command->name,
                         settings->models.count ? "another model is missing" : "no model is given",
                         command->name, command->arguments);
    if (settings->models.count > command->models_max)
        return ldnq_fail(err, LDNQ_USAGE, "%s: '%s' is one argument too many; usage: ldnq %s %s",
                         command->name, settings->models.items[command->models_max], command->name,
                         command->arguments);
    return LDNQ_OK;
}

enum ldnq_status cli_settings_parse(struct cli_settings *settings,
                                    const struct cli_command *command, int argc, char **argv,
                                    struct ldnq_error *err)
{
    bool only_models = false;
    *settings = defaults;
    ldnq_preprocess_defaults(&settings->preprocess);
    for (int at = 0; at < argc; at++) {
        if (!only_models && strcmp(argv[at], "--") == 0)
            only_models = true;
        else if (!only_models && argv[at][0] == '-' && argv[at][1])
            LDNQ_TRY(parse_option(settings, command, argc, argv, &at, err));
        else if (!add_item(&settings->models, argv[at]))
            return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    }
    return check_models(settings, command, err);
}

void cli_settings_finish(struct cli_settings *settings)
{
    ldnq_free(settings->models.items);
    ldnq_free(settings->inputs.items);
    ldnq_free(settings->dims.items);
    ldnq_free(settings->skip.items);
    ldnq_free(settings->only.items);
}

/* ---- help ------------------------------------------------------------------------------ */

#define HELP_COLUMN 28
#define LAST_COLUMN 79

/* The longest part of the text that fits on a line, cut at a space. */
static int line_length(const char *text)
{
    int length = (int)strlen(text), most = LAST_COLUMN - HELP_COLUMN;
    if (length <= most)
        return length;
    for (int i = most; i > 0; i--)
        if (text[i] == ' ')
            return i;
    return length;
}

static void print_option(const struct option *option)
{
    int used =
        printf("  %s%s%s%s%s", option->letter ? option->letter : "", option->letter ? ", " : "",
               option->name, option->argument ? " " : "", option->argument ? option->argument : "");
    if (used > HELP_COLUMN - 2) {
        printf("\n");
        used = 0;
    }
    for (const char *text = option->help; *text; used = 0) {
        int length = line_length(text);
        printf("%*s%.*s\n", HELP_COLUMN - used, "", length, text);
        text += length + (text[length] == ' ');
    }
}

void cli_print_help(const struct cli_command *command)
{
    printf("usage: ldnq %s %s\n\n%s\n\noptions:\n", command->name, command->arguments,
           command->details);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (takes(command, &table[i]))
            print_option(&table[i]);
}
