/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir.h"

struct dtype_facts {
    const char *name;
    unsigned char size; /* bytes in memory */
    unsigned char bits; /* bits per element in a file */
    bool is_signed, is_integer;
};

static const struct dtype_facts facts[] = {
    [LDNQ_UNDEFINED] = { "undefined", 0, 0, false, false },
    [LDNQ_FLOAT] = { "float32", 4, 32, true, false },
    [LDNQ_UINT8] = { "uint8", 1, 8, false, true },
    [LDNQ_INT8] = { "int8", 1, 8, true, true },
    [LDNQ_UINT16] = { "uint16", 2, 16, false, true },
    [LDNQ_INT16] = { "int16", 2, 16, true, true },
    [LDNQ_INT32] = { "int32", 4, 32, true, true },
    [LDNQ_INT64] = { "int64", 8, 64, true, true },
    [LDNQ_STRING] = { "string", 0, 0, false, false },
    [LDNQ_BOOL] = { "bool", 1, 8, false, false },
    [LDNQ_FLOAT16] = { "float16", 2, 16, true, false },
    [LDNQ_DOUBLE] = { "float64", 8, 64, true, false },
    [LDNQ_UINT32] = { "uint32", 4, 32, false, true },
    [LDNQ_UINT64] = { "uint64", 8, 64, false, true },
    [LDNQ_COMPLEX64] = { "complex64", 8, 64, true, false },
    [LDNQ_COMPLEX128] = { "complex128", 16, 128, true, false },
    [LDNQ_BFLOAT16] = { "bfloat16", 2, 16, true, false },
    [LDNQ_FLOAT8E4M3FN] = { "float8e4m3fn", 1, 8, true, false },
    [LDNQ_FLOAT8E4M3FNUZ] = { "float8e4m3fnuz", 1, 8, true, false },
    [LDNQ_FLOAT8E5M2] = { "float8e5m2", 1, 8, true, false },
    [LDNQ_FLOAT8E5M2FNUZ] = { "float8e5m2fnuz", 1, 8, true, false },
    [LDNQ_UINT4] = { "uint4", 1, 4, false, true },
    [LDNQ_INT4] = { "int4", 1, 4, true, true },
    [LDNQ_FLOAT4E2M1] = { "float4e2m1", 1, 4, true, false },
    [LDNQ_FLOAT8E8M0] = { "float8e8m0", 1, 8, false, false },
    [LDNQ_UINT2] = { "uint2", 1, 2, false, true },
    [LDNQ_INT2] = { "int2", 1, 2, true, true },
};

static const struct dtype_facts *find_dtype_facts(enum ldnq_dtype dtype)
{
    bool known = (size_t)dtype < sizeof facts / sizeof *facts && (int)dtype >= 0;
    return &facts[known ? dtype : LDNQ_UNDEFINED];
}

const char *ldnq_dtype_name(enum ldnq_dtype dtype)
{
    return find_dtype_facts(dtype)->name;
}

size_t ldnq_dtype_size(enum ldnq_dtype dtype)
{
    return find_dtype_facts(dtype)->size;
}

unsigned ldnq_dtype_bits(enum ldnq_dtype dtype)
{
    return find_dtype_facts(dtype)->bits;
}

bool ldnq_dtype_is_signed(enum ldnq_dtype dtype)
{
    return find_dtype_facts(dtype)->is_signed;
}

bool ldnq_dtype_is_integer(enum ldnq_dtype dtype)
{
    return find_dtype_facts(dtype)->is_integer;
}
