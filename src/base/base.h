/* SPDX-License-Identifier: Apache-2.0 */
/* base.h: the headers that nearly every test needs. Files of src include what they use. */
#ifndef LDNQ_BASE_H
#define LDNQ_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/pool.h"
#include "base/sink.h"

#endif
