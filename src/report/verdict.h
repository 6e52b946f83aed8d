/* SPDX-License-Identifier: Apache-2.0 */
/* verdict.h: whether the quantized network can take the float one's place, in words.
 *
 * Limits that the caller has set decide; without them, the worst output does, by its agreement
 * where it is a classifier's and by its SQNR else. The numbers are where the bands of quality
 * begin that the page explains; they are a convention, and no property of the method.
 */
#ifndef LDNQ_REPORT_VERDICT_H
#define LDNQ_REPORT_VERDICT_H

#include "compare/comparison.h"

/* In rising order of badness. */
enum ldnq_verdict_level {
    LDNQ_VERDICT_GOOD,
    LDNQ_VERDICT_UNMEASURED, /* nothing says how good it is */
    LDNQ_VERDICT_DOUBTFUL,
    LDNQ_VERDICT_BAD,
};

struct ldnq_verdict {
    enum ldnq_verdict_level level;
    const struct ldnq_diff_output *output; /* the worst one; NULL where none could be measured */
    char reason[480];                      /* plain text, without a period; names are cut */
};

/* The level in JSON, and as words to begin with. */
const char *ldnq_verdict_name(enum ldnq_verdict_level level);
const char *ldnq_verdict_words(enum ldnq_verdict_level level);

struct ldnq_verdict ldnq_diff_judge(const struct ldnq_diff *diff);

/* ---- bands of quality, of an SQNR in dB ---- */

enum ldnq_quality_band {
    LDNQ_QUALITY_EXACT, /* no error at all */
    LDNQ_QUALITY_HIGH,
    LDNQ_QUALITY_FAIR,
    LDNQ_QUALITY_LOW,
    LDNQ_QUALITY_NOISE,
    LDNQ_QUALITY_UNKNOWN,
};
#define LDNQ_QUALITY_HIGH_FROM 30.0
#define LDNQ_QUALITY_FAIR_FROM 20.0
#define LDNQ_QUALITY_LOW_FROM 10.0

enum ldnq_quality_band ldnq_quality_find_band(double sqnr);
/* "high", "fair" ...; also the class of page.css that colours it. */
const char *ldnq_quality_name(enum ldnq_quality_band band);

#endif
