/* SPDX-License-Identifier: Apache-2.0 */
/* mutator.c: libFuzzer's custom mutator and crossover for the targets whose input is a header and
 * a model, or two. MODEL_HEADER is the header's size; with TWO_MODELS the header is the length of
 * the first model. */
#include <string.h>

#include "mutate_model.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, const uint8_t *other,
                                 size_t other_size, uint8_t *out, size_t max_size, unsigned seed);

#ifdef TWO_MODELS
static const size_t header = 4;

static size_t read_length(const uint8_t *data, size_t size)
{
    const size_t length =
        data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24;
    return length < size - header ? length : size - header;
}

/* Changes one of the two. */
static size_t mutate_input(uint8_t *data, size_t size, size_t most, const uint8_t *from,
                           size_t from_size, unsigned seed)
{
    size_t first = read_length(data, size), second = size - header - first;
    uint8_t *at = data + header;
    if (seed >> 16 & 1) {
        second = mutate_model(at + first, second, most - header - first, from, from_size, seed);
    } else {
        static uint8_t kept[1 << 20];
        if (second > sizeof kept || first + second + header > most)
            return size;
        memcpy(kept, at + first, second);
        first = mutate_model(at, first, most - header - second, from, from_size, seed);
        memcpy(at + first, kept, second);
        for (size_t i = 0; i < header; i++)
            data[i] = (uint8_t)(first >> 8 * i);
    }
    return header + first + second;
}
#else
static const size_t header = MODEL_HEADER;

static size_t mutate_input(uint8_t *data, size_t size, size_t most, const uint8_t *from,
                           size_t from_size, unsigned seed)
{
    for (size_t i = 0; i < header; i++)
        if (seed >> (16 + i) & 1)
            data[i] = (uint8_t)(data[i] ^ 1u << (seed >> 24 & 7));
    return header +
           mutate_model(data + header, size - header, most - header, from, from_size, seed);
}

static size_t read_length(const uint8_t *data, size_t size)
{
    (void)data;
    return size - header;
}
#endif

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (size <= header || max_size < size)
        return LLVMFuzzerMutate(data, size, max_size);
    return mutate_input(data, size, max_size, NULL, 0, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, const uint8_t *other,
                                 size_t other_size, uint8_t *out, size_t max_size, unsigned seed)
{
    if (size <= header || other_size <= header || size > max_size)
        return 0;
    memcpy(out, data, size);
    return mutate_input(out, size, max_size, other + header, read_length(other, other_size), seed);
}
