/* SPDX-License-Identifier: Apache-2.0 */
/* rng.h: a small generator whose numbers are the same on every machine.
 *
 * Source  splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
 *         generators", OOPSLA 2014.
 */
#ifndef LDNQ_BASE_RNG_H
#define LDNQ_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct ldnq_rng {
    uint64_t state;
};

static inline uint64_t ldnq_rng_next(struct ldnq_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in 0 .. bound-1; 0 < bound < 2^32. The multiply-shift bias is below bound /
 * 2^32, negligible for sample counts. */
static inline size_t ldnq_rng_below(struct ldnq_rng *rng, size_t bound)
{
    return (size_t)(((ldnq_rng_next(rng) >> 32) * (uint64_t)bound) >> 32);
}

/* Uniform in [0, 1). */
static inline double ldnq_rng_uniform(struct ldnq_rng *rng)
{
    return (double)(ldnq_rng_next(rng) >> 11) * 0x1p-53;
}

#endif
