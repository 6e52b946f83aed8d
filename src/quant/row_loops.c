/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/row_loops.h"

#include "base/simd.h"

/* Sums that the compiler keeps side by side. */
#define SUMS ((size_t)8)

LDNQ_MULTIVERSION
void ldnq_compute_row_difference(size_t n, double scale, const int8_t *codes, const float *weight,
                                 float *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)(scale * codes[i] - (double)weight[i]);
}

LDNQ_MULTIVERSION
void ldnq_add_weighted_difference(size_t n, const double *added, const float *difference,
                                  float *slopes)
{
    for (size_t i = 0; i < n; i++)
        slopes[i] += (float)added[i] * difference[i];
}

LDNQ_MULTIVERSION
void ldnq_sum_output_products(size_t n, const float *errors, const float *outputs,
                              struct ldnq_output_products *products)
{
    double ee[SUMS] = { 0 }, eo[SUMS] = { 0 }, oo[SUMS] = { 0 };
    size_t p = 0;
    for (; p + SUMS <= n; p += SUMS)
        for (size_t i = 0; i < SUMS; i++) {
            const double e = (double)errors[p + i], o = (double)outputs[p + i];
            ee[i] += e * e;
            eo[i] += e * o;
            oo[i] += o * o;
        }
    for (size_t i = 0; p < n; p++, i++) {
        const double e = (double)errors[p], o = (double)outputs[p];
        ee[i] += e * e;
        eo[i] += e * o;
        oo[i] += o * o;
    }
    *products = (struct ldnq_output_products){ 0 };
    for (size_t i = 0; i < SUMS; i++) {
        products->ee += ee[i];
        products->eo += eo[i];
        products->oo += oo[i];
    }
}

LDNQ_MULTIVERSION
void ldnq_add_weighted_code_products(size_t n, const double *added, const int8_t *codes,
                                     const float *weight, double *qw, double *qq)
{
    double qw_sums[SUMS] = { 0 }, qq_sums[SUMS] = { 0 };
    size_t first = 0;
    for (; first + SUMS <= n; first += SUMS)
        for (size_t i = 0; i < SUMS; i++) {
            const double q = codes[first + i], product = added[first + i] * q;
            qw_sums[i] += product * (double)weight[first + i];
            qq_sums[i] += product * q;
        }
    for (size_t i = 0; first < n; first++, i++) {
        const double q = codes[first], product = added[first] * q;
        qw_sums[i] += product * (double)weight[first];
        qq_sums[i] += product * q;
    }
    for (size_t i = 0; i < SUMS; i++) {
        *qw += qw_sums[i];
        *qq += qq_sums[i];
    }
}

LDNQ_MULTIVERSION
void ldnq_scale_output_errors(size_t n, double ratio, float *errors, const float *outputs)
{
    for (size_t p = 0; p < n; p++)
        errors[p] = (float)(ratio * ((double)errors[p] + (double)outputs[p]) - (double)outputs[p]);
}
