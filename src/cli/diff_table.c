#include "cli/diff_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "cli/plain.h"

#define LABEL 25 /* columns of a layer's name */
#define MOST_NOTES ((size_t)8)

/* ---- the order ------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum cli_sort sort;
} sorts[] = {
    { "worst", CLI_SORT_WORST },       { "order", CLI_SORT_ORDER },
    { "isolated", CLI_SORT_ISOLATED }, { "accumulated", CLI_SORT_ACCUMULATED },
    { "weight", CLI_SORT_WEIGHT },     { "bits", CLI_SORT_BITS },
    { "size", CLI_SORT_SIZE },
};

enum ldnq_status cli_choose_sort(const char *word, enum cli_sort *sort, struct ldnq_error *err)
{
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++)
        if (strcmp(sorts[i].word, word) == 0) {
            *sort = sorts[i].sort;
            return LDNQ_OK;
        }
    return ldnq_fail(err, LDNQ_USAGE,
                     "diff: --sort takes worst, order, isolated, accumulated, "
                     "weight, bits or size, not '%s'",
                     word);
}

struct rank {
    double key; /* ascending; NaN last */
    size_t place;
};

static int compare_ranks(const void *left, const void *right)
{
    const struct rank *x = left, *y = right;
    if (isnan(x->key) != isnan(y->key))
        return isnan(x->key) ? 1 : -1;
    if (!isnan(x->key) && x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Worst is where error is made; without samples, where the weight has lost most. */
static double key_of(const struct ldnq_diff *diff, const struct ldnq_diff_layer *layer,
                     enum cli_sort sort)
{
    if (!layer->match)
        return sort == CLI_SORT_ORDER ? 0 : -INFINITY; /* nothing is worse than no partner */
    switch (sort) {
    case CLI_SORT_WORST:
        return diff->samples ? layer->isolated.sqnr : layer->weight_sqnr;
    case CLI_SORT_ISOLATED:
        return layer->isolated.sqnr;
    case CLI_SORT_ACCUMULATED:
        return layer->accumulated.sqnr;
    case CLI_SORT_WEIGHT:
        return layer->weight_sqnr;
    case CLI_SORT_BITS:
        return layer->bits;
    case CLI_SORT_SIZE:
        return -(double)layer->bytes_b;
    default:
        return 0;
    }
}

/* ---- cells ------------------------------------------------------------------------------------
 */

/* The end of a long name tells more than its beginning. */
static void print_label(const char *label, int width)
{
    char plain[CLI_PLAIN_SIZE];
    const size_t length = strlen(cli_plain(label, plain)), room = (size_t)width;
    if (length > room)
        printf("..%s ", plain + length - room + 2);
    else
        printf("%-*s ", width, plain);
}

static const char *decibel(double value, char text[16])
{
    if (isnan(value))
        snprintf(text, 16, "-");
    else if (isinf(value))
        snprintf(text, 16, value > 0 ? "exact" : "-inf");
    else
        snprintf(text, 16, "%.1f", value);
    return text;
}

static const char *number(double value, const char *format, char text[16])
{
    if (isnan(value))
        snprintf(text, 16, "-");
    else
        snprintf(text, 16, format, value);
    return text;
}

/* ---- layers -------------------------------------------------------------------------------------
 */

static void print_layer(const struct ldnq_diff *diff, const struct ldnq_diff_layer *layer,
                        size_t place)
{
    char bits[16], weight[16], isolated[16], accumulated[16], cosine[16], codes[32] = "float";
    printf("%3zu ", place + 1);
    print_label(layer->node, LABEL);
    printf("%-9.9s ", layer->op);
    if (!layer->match) {
        printf("has no partner\n");
        return;
    }
    if (layer->weight)
        snprintf(codes, sizeof codes, "%s", layer->weight->type);
    printf("%-6s %5s %6s", codes, number(layer->bits, "%.2f", bits),
           decibel(layer->weight_sqnr, weight));
    if (diff->samples)
        printf(" %6s %6s %6s", decibel(layer->isolated.sqnr, isolated),
               decibel(layer->accumulated.sqnr, accumulated),
               number(layer->accumulated.cosine, "%.4f", cosine));
    else if (layer->weight && layer->weight->count)
        printf(" %6zu %8zu", layer->weight->codes_used, layer->weight->scale_count);
    printf("\n");
}

static void print_layers(const struct ldnq_diff *diff, const struct rank *ranks, size_t count)
{
    printf("\n%3s %-*s %-9s %-6s %5s %6s", "#", LABEL, "layer", "op", "codes", "bits", "weight");
    if (diff->samples)
        printf(" %6s %6s %6s\n", "isol.", "accum.", "cosine");
    else
        printf(" %6s %8s\n", "used", "scales");
    for (size_t i = 0; i < count; i++)
        print_layer(diff, &diff->layers[ranks[i].place], ranks[i].place);
    if (count < diff->layer_count)
        printf("    %zu more; --top 0 shows all, --sort in another order\n",
               diff->layer_count - count);
    printf("bits: a weight, scales included; weight: SQNR of the weights in dB;\n");
    printf(diff->samples ? "isolated, accumulated: of the output, on A's input and on B's; "
                           "cosine: in B\n"
                         : "used: different codes\n");
}

static enum ldnq_status list_layers(const struct ldnq_diff *diff, enum cli_sort sort, size_t top,
                                    struct ldnq_error *err)
{
    if (!diff->layer_count)
        return LDNQ_OK;
    struct rank *ranks = ldnq_calloc(diff->layer_count, sizeof *ranks);
    if (!ranks)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t i = 0; i < diff->layer_count; i++)
        ranks[i] = (struct rank){ key_of(diff, &diff->layers[i], sort), i };
    qsort(ranks, diff->layer_count, sizeof *ranks, compare_ranks);
    print_layers(diff, ranks, top ? ldnq_size_min(top, diff->layer_count) : diff->layer_count);
    ldnq_free(ranks);
    return LDNQ_OK;
}

/* ---- the rest
 * ------------------------------------------------------------------------------------ */

static void print_file(const char *letter, const struct ldnq_diff_file *file)
{
    char path[CLI_PLAIN_SIZE];
    printf("%s  %s\n   %zu bytes, opset %d, %zu nodes", letter, cli_plain(file->path, path),
           file->bytes, file->opset, file->nodes);
    if (file->qdq_nodes)
        printf(", %zu of them quantization's", file->qdq_nodes);
    if (file->weights)
        printf("\n   %zu weights in %zu bytes", file->weights, file->weight_bytes);
    printf("\n");
}

static void print_pairing(const struct ldnq_diff *diff)
{
    size_t counts[LDNQ_PAIR_NEIGHBOURHOOD + 1] = { 0 };
    printf("%zu of %zu layers are paired", diff->paired_layers, diff->layer_count);
    for (size_t i = 0; i < diff->layer_count; i++)
        counts[diff->layers[i].pairing]++;
    const char *before = " (by ";
    for (size_t i = LDNQ_PAIR_NAME; i <= LDNQ_PAIR_NEIGHBOURHOOD; i++) {
        if (!counts[i])
            continue;
        printf("%s%s: %zu", before, ldnq_pairing_name((enum ldnq_pairing)i), counts[i]);
        before = ", ";
    }
    printf("%s\n", diff->paired_layers ? ")" : "");
}

static void print_output(const struct ldnq_diff_output *output)
{
    char name[CLI_PLAIN_SIZE], sqnr[16];
    printf("output '%s': ", cli_plain(output->name, name));
    if (!output->match || isnan(output->error.sqnr)) {
        printf("can't be compared\n");
        return;
    }
    printf("SQNR %s dB, cosine %.6f, largest error %.4g\n", decibel(output->error.sqnr, sqnr),
           output->error.cosine, output->max_error);
    if (!isnan(output->agreement))
        printf("  top-1 agrees in %.2f%%, KL divergence %.4g nats\n", 100 * output->agreement,
               output->kl);
    printf("  relative error %.4g", output->relative);
    if (!isnan(output->bound))
        printf(", at most %.4g by the layers' errors", output->bound);
    printf("\n");
}

static void print_outputs(const struct ldnq_diff *diff)
{
    printf("\n%zu sample%s, %.1f s\n", diff->samples, diff->samples == 1 ? "" : "s", diff->seconds);
    for (size_t i = 0; i < diff->output_count; i++)
        print_output(&diff->outputs[i]);
    if (diff->bound_reason)
        printf("no bound by the paper's theorem: %s\n", diff->bound_reason);
}

/* Notes of one operator that say the same, up to the figures or names in it, are
 * one line. */
static bool say_the_same(const struct ldnq_diff_change *x, const struct ldnq_diff_change *y)
{
    const size_t length = strcspn(x->text, ":'");
    return strcmp(x->op, y->op) == 0 && strcspn(y->text, ":'") == length &&
           strncmp(x->text, y->text, length) == 0;
}

static bool was_said(const struct ldnq_diff_change *notes, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (say_the_same(&notes[k], &notes[i]))
            return true;
    return false;
}

static void print_note(const struct ldnq_diff_change *note, size_t times)
{
    char node[CLI_PLAIN_SIZE], text[CLI_PLAIN_SIZE];
    printf("  %s", note->op);
    if (*note->node)
        printf(" '%s'", cli_plain(note->node, node));
    printf("%s%s", *note->text ? ": " : "", cli_plain(note->text, text));
    if (times > 1)
        printf("; and %zu like it", times - 1);
    printf("\n");
}

static void print_notes(const char *title, const struct ldnq_diff_change *notes, size_t count)
{
    size_t lines = 0, left = 0;
    if (!count)
        return;
    printf("\n%s: %zu\n", title, count);
    for (size_t i = 0; i < count; i++) {
        if (was_said(notes, i))
            continue;
        size_t times = 0;
        for (size_t k = i; k < count; k++)
            times += say_the_same(&notes[i], &notes[k]);
        if (lines++ < MOST_NOTES)
            print_note(&notes[i], times);
        else
            left += times;
    }
    if (left)
        printf("  %zu more; --json lists them\n", left);
}

/* Activations in codes; weights are in the table. */
static void print_activations(const struct ldnq_diff *diff)
{
    size_t count = 0;
    for (size_t i = 0; i < diff->tensor_count; i++)
        count += !diff->tensors[i].is_constant;
    if (count)
        printf("%zu activation%s in codes\n", count, count == 1 ? " is" : "s are");
}

enum ldnq_status cli_print_diff(const struct ldnq_diff *diff, enum cli_sort sort, size_t top,
                                struct ldnq_error *err)
{
    print_file("A", &diff->a);
    print_file("B", &diff->b);
    print_pairing(diff);
    print_activations(diff);
    LDNQ_TRY(list_layers(diff, sort, top, err));
    if (diff->samples)
        print_outputs(diff);
    print_notes("only in A", diff->removed, diff->removed_count);
    print_notes("only in B", diff->added, diff->added_count);
    print_notes("changed", diff->changed, diff->changed_count);
    return LDNQ_OK;
}
