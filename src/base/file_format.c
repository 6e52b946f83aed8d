/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memmem */
#include "base/file_format.h"

#include <string.h>
#include <strings.h>

#include "base/utf8.h"

struct format {
    size_t offset;
    const char *bytes;
    size_t size;
    const char *description;
};

#define AT(offset, text, description) { offset, text, sizeof(text) - 1, description }

#define WEB_PAGE "is a web page: the download led to a page instead of the file"
#define XML "is XML (a server's error message or an OpenVINO model)"

static const struct format binary_formats[] = {
    AT(0, "\x1f\x8b", "is compressed by gzip: unpack it first"),
    AT(0, "BZh", "is compressed by bzip2: unpack it first"),
    AT(0,
       "\xfd"
       "7zXZ",
       "is compressed by xz: unpack it first"),
    AT(0, "\x28\xb5\x2f\xfd", "is compressed by zstd: unpack it first"),
    AT(0, "7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
    AT(257, "ustar", "is a tar archive: unpack it first"),
    AT(4, "ORTM", "is in ONNX Runtime's .ort format: use the .onnx file that it was made from"),
    AT(4, "TFL3", "is a TensorFlow Lite model: convert the original to ONNX"),
    AT(0, "\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras): export the model to ONNX"),
    AT(0, "GGUF", "is a GGUF file: export the original model to ONNX"),
    AT(0, "\x93NUMPY", "is a NumPy array"),
    AT(0, "\x89PNG\r\n\x1a\n", "is a PNG picture"),
    AT(0, "\xff\xd8\xff", "is a JPEG picture"),
    AT(8, "{\"", "is a safetensors file: it holds weights and no network"),
    AT(0, "\x80\x02", "is a Python pickle (an old PyTorch file): export the model to ONNX"),
    AT(0, "\x80\x03", "is a Python pickle: export the model to ONNX"),
    AT(0, "\x80\x04", "is a Python pickle: export the model to ONNX"),
    AT(0, "\x80\x05", "is a Python pickle: export the model to ONNX"),
};

/* Compared without case, after white space and a byte order mark. */
static const struct format text_formats[] = {
    AT(0, "version https://git-lfs",
       "is a Git LFS pointer: the file itself was not fetched (git lfs pull)"),
    AT(0, "<!doctype html", WEB_PAGE),
    AT(0, "<html", WEB_PAGE),
    AT(0, "<head", WEB_PAGE),
    AT(0, "<body", WEB_PAGE),
    AT(0, "<?xml", XML),
    AT(0, "<error", XML),
};

static bool contains_text(const char *bytes, size_t size, const char *text)
{
    return size > 0 && bytes && memmem(bytes, size, text, strlen(text)) != NULL;
}

static const char *describe_zip(const char *bytes, size_t size)
{
    if (contains_text(bytes, size, "data.pkl") || contains_text(bytes, size, "/byteorder"))
        return "is a PyTorch file (a zip of pickles): export the model to ONNX";
    if (contains_text(bytes, size, ".npy"))
        return "is a NumPy archive (.npz)";
    return "is a zip archive (as PyTorch writes, too): unpack it, or export the model to ONNX";
}

/* Whether all bytes are printable, as far as a sequence of UTF-8 is not cut. */
static bool is_text(const char *bytes, size_t size)
{
    char copy[LDNQ_FORMAT_PREFIX + 1];
    const char *at = copy;
    bool has_letters = false;
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    while (at < copy + size) {
        const char *start = at;
        const uint32_t code = ldnq_utf8_decode(&at);
        const bool is_space = code == ' ' || (code >= '\t' && code <= '\r') || code == 0xfeff;
        if (code == LDNQ_UTF8_REPLACEMENT && copy + size - start < 4)
            break;
        if (!is_space && (code == LDNQ_UTF8_REPLACEMENT || !ldnq_utf8_is_visible(code)))
            return false;
        has_letters |= !is_space;
    }
    return has_letters;
}

const char *ldnq_describe_text_format(const void *text, size_t size)
{
    const char *bytes = text;
    static const char mark[] = "\xef\xbb\xbf";
    if (size >= sizeof mark - 1 && memcmp(bytes, mark, sizeof mark - 1) == 0) {
        bytes += sizeof mark - 1;
        size -= sizeof mark - 1;
    }
    for (; size && memchr(" \t\r\n", *bytes, 4); size--)
        bytes++;
    for (size_t i = 0; i < sizeof text_formats / sizeof *text_formats; i++) {
        const struct format *format = &text_formats[i];
        if (size >= format->size && strncasecmp(bytes, format->bytes, format->size) == 0)
            return format->description;
    }
    /* Pages may begin with a comment or a script. */
    if (size && *bytes == '<' &&
        (contains_text(bytes, size, "<html") || contains_text(bytes, size, "<HTML")))
        return WEB_PAGE;
    return NULL;
}

const char *ldnq_describe_format(const void *bytes, size_t size)
{
    const char *prefix = bytes;
    size = size < LDNQ_FORMAT_PREFIX ? size : LDNQ_FORMAT_PREFIX;
    if (size >= 4 && memcmp(prefix, "PK\x03\x04", 4) == 0)
        return describe_zip(prefix, size);
    for (size_t i = 0; i < sizeof binary_formats / sizeof *binary_formats; i++) {
        const struct format *format = &binary_formats[i];
        if (size >= format->offset + format->size &&
            memcmp(prefix + format->offset, format->bytes, format->size) == 0)
            return format->description;
    }
    const char *description = ldnq_describe_text_format(prefix, size);
    return description || !is_text(prefix, size) ? description : "is text";
}
