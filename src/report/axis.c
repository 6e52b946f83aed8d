/* SPDX-License-Identifier: Apache-2.0 */
#include "report/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The distance of two ticks: mantissa * 10^exponent. */
struct axis_step {
    int mantissa, exponent;
};

/* index * step, rounded once, so that 3 steps of 0.1 are 0.3. */
static double multiply_step(struct axis_step step, double index)
{
    return step.exponent < 0 ? index * step.mantissa / pow(10, -step.exponent)
                             : index * step.mantissa * pow(10, step.exponent);
}

static struct axis_step next_larger_step(struct axis_step step)
{
    if (step.mantissa == 5)
        return (struct axis_step){ 1, step.exponent + 1 };
    return (struct axis_step){ step.mantissa == 1 ? 2 : 5, step.exponent };
}

/* Makes both ends finite, and the range wide enough for ticks: 3 to 3 becomes 1.5 to 4.5. */
static void make_axis_ends_usable(double *low, double *high)
{
    *low = isfinite(*low) ? fmax(*low, -1e300) : 0;
    *high = isfinite(*high) ? fmin(*high, 1e300) : 1;
    if (*low > *high)
        *high = *low;
    /* A range this narrow has no doubles for its ticks. */
    const double least = fmax(fabs(*low), fabs(*high)) * 1e-9;
    if (*high - *low > least)
        return;
    const double half = *low == 0 && *high == 0 ? 0.5 : fmax(fabs(*low), fabs(*high)) / 2;
    *low -= half;
    *high += half;
}

static double find_first_tick_index(struct axis_step step, double low, bool outwards)
{
    const double index = low / multiply_step(step, 1);
    return outwards ? floor(index + 1e-9) : ceil(index - 1e-9);
}

static double find_last_tick_index(struct axis_step step, double high, bool outwards)
{
    const double index = high / multiply_step(step, 1);
    return outwards ? ceil(index - 1e-9) : floor(index + 1e-9);
}

/* The smallest step that gives at most `most` ticks. */
static struct axis_step choose_step(double low, double high, bool outwards, size_t most)
{
    struct axis_step step = { 1, (int)floor(log10((high - low) / (double)most)) - 1 };
    while (find_last_tick_index(step, high, outwards) - find_first_tick_index(step, low, outwards) +
               1 >
           (double)most)
        step = next_larger_step(step);
    return step;
}

/* With as many digits as the step has; huge and tiny numbers as 1.5e-7. */
static void format_decimal_label(struct ldnq_axis_tick *tick, struct axis_step step, double largest)
{
    const double value = tick->value == 0 ? 0 : tick->value; /* no -0 */
    if (step.exponent >= -4 && largest < 1e6) {
        snprintf(tick->label, sizeof tick->label, "%.*f", step.exponent < 0 ? -step.exponent : 0,
                 value);
        return;
    }
    const int digits = (int)floor(log10(largest)) - step.exponent + 1;
    snprintf(tick->label, sizeof tick->label, "%.*g", digits, value);
}

static void set_linear_axis(struct ldnq_axis *axis, double low, double high, bool outwards,
                            size_t most)
{
    make_axis_ends_usable(&low, &high);
    if (most < 2 || most > LDNQ_AXIS_TICKS)
        most = LDNQ_AXIS_TICKS;
    const struct axis_step step = choose_step(low, high, outwards, most);
    const double first = find_first_tick_index(step, low, outwards);
    const double last = find_last_tick_index(step, high, outwards);
    *axis = (struct ldnq_axis){ .low = low, .high = high };
    if (outwards) {
        axis->low = multiply_step(step, first);
        axis->high = multiply_step(step, last);
    }
    const double largest = fmax(fabs(multiply_step(step, first)), fabs(multiply_step(step, last)));
    for (double index = first; index <= last; index++) {
        struct ldnq_axis_tick *tick = &axis->ticks[axis->tick_count++];
        tick->value = multiply_step(step, index);
        format_decimal_label(tick, step, largest);
    }
}

void ldnq_axis_init_exact(struct ldnq_axis *axis, double low, double high, size_t most)
{
    set_linear_axis(axis, low, high, false, most);
}

void ldnq_axis_init_rounded(struct ldnq_axis *axis, double low, double high, size_t most)
{
    set_linear_axis(axis, low, high, true, most);
}

void ldnq_axis_init_integers(struct ldnq_axis *axis, double first, double last, size_t most)
{
    size_t kept = 0;
    set_linear_axis(axis, first - 0.5, last + 0.5, false, most);
    for (size_t i = 0; i < axis->tick_count; i++) {
        struct ldnq_axis_tick *tick = &axis->ticks[i];
        if (tick->value != floor(tick->value))
            continue;
        snprintf(tick->label, sizeof tick->label, "%.0f", tick->value);
        axis->ticks[kept++] = *tick;
    }
    axis->tick_count = kept;
}

/* ---- logarithmic --------------------------------------------------------------------- */

/* The ticks within a decade. */
struct axis_subdivision {
    int count, mantissas[3];
};

static double compute_log_tick(struct axis_subdivision in, int stride, int index)
{
    const int decade = (int)floor((double)index / in.count);
    const int exponent = decade * stride, mantissa = in.mantissas[index - decade * in.count];
    return exponent < 0 ? mantissa / pow(10, -exponent) : mantissa * pow(10, exponent);
}

/* The last tick that is <= low, and the first that is >= high. */
static void compute_log_range(struct axis_subdivision in, int stride, double low, double high,
                              int *first, int *last)
{
    *first = ((int)floor(log10(low) / stride) - 1) * in.count;
    while (compute_log_tick(in, stride, *first + 1) <= low * (1 + 1e-9))
        ++*first;
    *last = *first + 1;
    while (compute_log_tick(in, stride, *last) < high * (1 - 1e-9))
        ++*last;
}

static void format_log_label(struct ldnq_axis_tick *tick)
{
    const int exponent = (int)floor(log10(tick->value * (1 + 1e-9)));
    if (exponent >= -3 && exponent < 6)
        snprintf(tick->label, sizeof tick->label, "%.*f", exponent < 0 ? -exponent : 0,
                 tick->value);
    else
        snprintf(tick->label, sizeof tick->label, "%.0fe%d", tick->value / pow(10, exponent),
                 exponent);
}

void ldnq_axis_init_log(struct ldnq_axis *axis, double low, double high, size_t most)
{
    const struct axis_subdivision fine = { 3, { 1, 2, 5 } }, decades = { 1, { 1 } };
    low = isfinite(low) ? fmin(fmax(low, 1e-200), 1e200) : 1;
    high = isfinite(high) ? fmin(fmax(high, low), 1e200) : low;
    if (most < 3 || most > LDNQ_AXIS_TICKS)
        most = LDNQ_AXIS_TICKS;
    struct axis_subdivision in = fine;
    int stride = 1, first, last;
    compute_log_range(in, stride, low, high, &first, &last);
    for (; last - first + 1 > (int)most; compute_log_range(in, stride, low, high, &first, &last)) {
        stride += in.count == 1;
        in = decades;
    }
    *axis = (struct ldnq_axis){ .is_log = true };
    for (int i = first; i <= last; i++) {
        struct ldnq_axis_tick *tick = &axis->ticks[axis->tick_count++];
        tick->value = compute_log_tick(in, stride, i);
        format_log_label(tick);
    }
    axis->low = axis->ticks[0].value;
    axis->high = axis->ticks[axis->tick_count - 1].value;
}

/* ---- other labels -------------------------------------------------------------------- */

/* Decimals that all ticks need in this unit, at most 3. */
static int count_label_decimals(const struct ldnq_axis *axis, double unit)
{
    int decimals = 0;
    for (size_t i = 0; i < axis->tick_count; i++)
        for (double value = axis->ticks[i].value / unit;
             decimals < 3 &&
             fabs(value * pow(10, decimals) - rint(value * pow(10, decimals))) > 1e-6;)
            decimals++;
    return decimals;
}

void ldnq_axis_label_bytes(struct ldnq_axis *axis)
{
    static const char *const names[] = { "B", "kB", "MB", "GB" };
    size_t of = 0;
    double unit = 1;
    for (; of < 3 && axis->high >= unit * 1000; of++)
        unit *= 1000;
    const int decimals = count_label_decimals(axis, unit);
    for (size_t i = 0; i < axis->tick_count; i++)
        snprintf(axis->ticks[i].label, sizeof axis->ticks[i].label, "%.*f %s", decimals,
                 axis->ticks[i].value / unit, names[of]);
}

void ldnq_axis_label_counts(struct ldnq_axis *axis)
{
    static const char *const names[] = { "", "k", "M", "G", "T" };
    for (size_t i = 0; i < axis->tick_count; i++) {
        double value = axis->ticks[i].value;
        size_t of = 0;
        for (; of < 4 && value >= 1000; of++)
            value /= 1000;
        snprintf(axis->ticks[i].label, sizeof axis->ticks[i].label, "%g%s", value, names[of]);
    }
}

double ldnq_axis_convert_value_to_fraction(const struct ldnq_axis *axis, double value)
{
    if (!axis->is_log)
        return (value - axis->low) / (axis->high - axis->low);
    return value > 0 ? log(value / axis->low) / log(axis->high / axis->low) : NAN;
}
