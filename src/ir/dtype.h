/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.h: the element types of tensors. */
#ifndef LDNQ_IR_DTYPE_H
#define LDNQ_IR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

/* Numbered as in ONNX's TensorProto.DataType. In memory a type narrower than a byte
 * takes one byte per element, integers sign-extended; float16, bfloat16 and the float8
 * and float4 types are stored as raw bits (ir/half.h, ir/float8.h). */
enum ldnq_dtype {
    LDNQ_UNDEFINED = 0,
    LDNQ_FLOAT = 1,
    LDNQ_UINT8 = 2,
    LDNQ_INT8 = 3,
    LDNQ_UINT16 = 4,
    LDNQ_INT16 = 5,
    LDNQ_INT32 = 6,
    LDNQ_INT64 = 7,
    LDNQ_STRING = 8,
    LDNQ_BOOL = 9,
    LDNQ_FLOAT16 = 10,
    LDNQ_DOUBLE = 11,
    LDNQ_UINT32 = 12,
    LDNQ_UINT64 = 13,
    LDNQ_COMPLEX64 = 14,
    LDNQ_COMPLEX128 = 15,
    LDNQ_BFLOAT16 = 16,
    LDNQ_FLOAT8E4M3FN = 17,
    LDNQ_FLOAT8E4M3FNUZ = 18,
    LDNQ_FLOAT8E5M2 = 19,
    LDNQ_FLOAT8E5M2FNUZ = 20,
    LDNQ_UINT4 = 21,
    LDNQ_INT4 = 22,
    LDNQ_FLOAT4E2M1 = 23,
    LDNQ_FLOAT8E8M0 = 24,
    LDNQ_UINT2 = 25,
    LDNQ_INT2 = 26,
};

/* "float32", "int4" ...; "undefined" for a number outside the list. */
const char *ldnq_dtype_name(enum ldnq_dtype dtype);
/* Bytes per element in a struct ldnq_tensor; 0 for string and undefined, which have no
 * data there. */
size_t ldnq_dtype_size(enum ldnq_dtype dtype);
/* Bits per element in a file: 2, 4, 8 ... 128; 0 for string and undefined. */
unsigned ldnq_dtype_bits(enum ldnq_dtype dtype);
bool ldnq_dtype_is_signed(enum ldnq_dtype dtype);
/* An integer of any width; bool is none. */
bool ldnq_dtype_is_integer(enum ldnq_dtype dtype);

#endif
