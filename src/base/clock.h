/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h: time for reports and limits. */
#ifndef LDNQ_BASE_CLOCK_H
#define LDNQ_BASE_CLOCK_H

/* Seconds by a clock that never goes back; only differences mean anything. */
double ldnq_now(void);
/* For tests: replaces that clock, NULL restores it. No other thread may run meanwhile. */
void ldnq_clock_replace(double (*clock)(void));

#endif
