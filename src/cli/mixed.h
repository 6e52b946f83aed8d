/* mixed.h: mixed precision on the command line: --budget makes a plan, --plan keeps it
 * in a file or reads one.
 *
 *     { "layers": [ { "node": "/conv1/Conv", "weights": "int4" }, ... ] }
 *
 * is all that a file must have; what else stands in it is for people to read.
 */
#ifndef LDNQ_CLI_MIXED_H
#define LDNQ_CLI_MIXED_H

#include "emit/emit.h"
#include "pipeline/pipeline.h"

#include "cli/session.h"

#define CLI_PLAN_MOST ((size_t)16)

struct cli_plan {
    struct ldnq_budget budget; /* count 0: there is none */
    const struct ldnq_codebook *codebooks[CLI_PLAN_MOST];
    unsigned bits[CLI_PLAN_MOST];
    struct ldnq_bit_allocation *made; /* NULL without a budget */
};

/* Before the model is loaded: parses --budget with its codebooks, or reads the plan into
 * the options. *widest is the codebook with the most bits of all that may be used.
 * Errors: USAGE, IO, DATA (a file that is no plan; the place), NOMEM. */
enum ldnq_status cli_plan_read(struct cli_plan *plan, const struct cli_session *session,
                               struct ldnq_quantize_options *options,
                               const struct ldnq_codebook **widest, struct ldnq_error *err);

/* With a budget: makes the plan, writes its file, and sets the options. Errors: those of
 * ldnq_allocate_bits, and IO. */
enum ldnq_status cli_plan_make(struct cli_plan *plan, const struct cli_session *session,
                               struct ldnq_samples *samples, const struct ldnq_emit_choice *choice,
                               struct ldnq_quantize_options *options, struct ldnq_error *err);

/* Codes' bits a weight, on average. */
double cli_plan_bits(const struct ldnq_quantization *result);

#endif
