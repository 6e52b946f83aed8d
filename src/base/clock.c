/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static double read_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double (*read_clock)(void) = read_monotonic;

double ldnq_now(void)
{
    return read_clock();
}

void ldnq_clock_replace(double (*clock)(void))
{
    read_clock = clock ? clock : read_monotonic;
}
