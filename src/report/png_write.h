/* SPDX-License-Identifier: Apache-2.0 */
/* png_write.h: encodes pixels as a PNG file.
 *
 * Pictures of up to 256 colours get a palette. No time and no text is written: the bytes depend
 * on the pixels and on zlib alone.
 */
#ifndef LDNQ_REPORT_PNG_WRITE_H
#define LDNQ_REPORT_PNG_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#include "report/buffer.h"

/* pixels (height, width, 4) RGBA, alpha not multiplied in. Appends to `out`.
 * Errors: NOMEM, USAGE (a size that no PNG has). */
enum ldnq_status ldnq_png_encode(const uint8_t *pixels, size_t width, size_t height,
                                 struct ldnq_buffer *out, struct ldnq_error *err);

#endif
