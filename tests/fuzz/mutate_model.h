/* SPDX-License-Identifier: Apache-2.0 */
/* mutate_model.h: changes to a serialized ModelProto, for libFuzzer's custom mutators. */
#ifndef TESTS_FUZZ_MUTATE_MODEL_H
#define TESTS_FUZZ_MUTATE_MODEL_H

#include <stddef.h>
#include <stdint.h>

/* Changes the model in `data` in place; it may grow to `most` bytes. New messages come from the
 * model `from`, or from the model itself where `from` is NULL. Returns the new size. */
size_t mutate_model(uint8_t *data, size_t size, size_t most, const uint8_t *from, size_t from_size,
                    unsigned seed);

#endif
