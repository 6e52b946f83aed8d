/* SPDX-License-Identifier: Apache-2.0 */
/* mutate_samples.c: libFuzzer's mutator for files of samples. The checksums of PNG chunks are
 * corrected after each change, as libpng stops at a wrong one. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static uint32_t read_big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void correct_png(uint8_t *png, size_t size)
{
    for (size_t at = 8; size - at >= 12;) {
        const size_t length = read_big_endian(png + at);
        if (length > size - at - 12)
            return;
        const uint32_t crc = crc32_of(png + at + 4, length + 4);
        for (size_t i = 0; i < 4; i++)
            png[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static const char magic[] = "\x89PNG\r\n\x1a\n";
    size = LLVMFuzzerMutate(data, size, max_size);
    const bool is_png = size > 10 && memcmp(data + 2, magic, sizeof magic - 1) == 0;
    if (is_png && seed % 8)
        correct_png(data + 2, size - 2);
    return size;
}
