/* SPDX-License-Identifier: Apache-2.0 */
/* contributed_write.c: functions that depend on more than a node's attributes. */
#include <string.h>

#include "base/size.h"
#include "onnx/attrs.h"
#include "onnx/contributed.h"

/* The tensor that is the node's input i; NULL where it is missing or not known before a run. */
static const struct ldnq_tensor *find_constant(const struct ldnq_import *import,
                                               const Onnx__NodeProto *node, size_t i)
{
    if (i >= node->n_input || !*node->input[i])
        return NULL;
    const struct ldnq_value *value = ldnq_import_find(import, node->input[i]);
    return value ? value->constant : NULL;
}

/* ---- Concat ------------------------------------------------------------------------------ */

static enum ldnq_status write_concat(const struct ldnq_import *import, const Onnx__NodeProto *node,
                                     const char **text, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->all->arena;
    const char *inputs = "y_scale, y_zero", *lines = "", *names = "";
    for (size_t i = 0; 2 + 3 * i + 2 < node->n_input; i++) {
        inputs = ldnq_arena_printf(arena, err, "%s, X%zu, s%zu, z%zu", inputs, i, i, i);
        lines = ldnq_arena_printf(arena, err, "%s  x%zu = DequantizeLinear (X%zu, s%zu, z%zu)\n",
                                  lines, i, i, i, i);
        names = ldnq_arena_printf(arena, err, "%s%sx%zu", names, i ? ", " : "", i);
        if (!inputs || !lines || !names)
            return LDNQ_NOMEM;
    }
    *text = ldnq_arena_printf(arena, err,
                              "QLinearConcat (%s) => (Y)\n%s"
                              "  y = Concat <axis = @axis> (%s)\n"
                              "  Y = QuantizeLinear (y, y_scale, y_zero)\n",
                              inputs, lines, names);
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- Softmax ----------------------------------------------------------------------------- */

/* The attribute "opset" says which Softmax is meant: until 12 that of all axes from `axis` on. */
static enum ldnq_status write_softmax(const struct ldnq_import *import, const Onnx__NodeProto *node,
                                      const char **text, struct ldnq_error *err)
{
    const bool is_flat = ldnq_attr_read_int(node, "opset", 13) < 13;
    *text = ldnq_arena_printf(
        import->all->arena, err,
        "QLinearSoftmax (X, x_scale, x_zero, y_scale, y_zero) => (Y) <axis = -1>\n"
        "  x = DequantizeLinear (X, x_scale, x_zero)\n"
        "%s"
        "  Y = QuantizeLinear (y, y_scale, y_zero)\n",
        is_flat ? "  rows = Flatten <axis = @axis> (x)\n"
                  "  flat = Softmax <axis = -1> (rows)\n"
                  "  shape = Shape (x)\n"
                  "  y = Reshape (flat, shape)\n"
                : "  y = Softmax <axis = @axis> (x)\n");
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- FusedMatMul ------------------------------------------------------------------------- */

/* Operands whose first axis is that of the rows, before the axes that count matrices. */
static enum ldnq_status write_fused_matmul(const struct ldnq_import *import,
                                           const Onnx__NodeProto *node, const char **text,
                                           struct ldnq_error *err)
{
    const bool moves_a = ldnq_attr_read_int(node, "transBatchA", 0) != 0;
    const bool moves_b = ldnq_attr_read_int(node, "transBatchB", 0) != 0;
    if (!moves_a && !moves_b)
        return LDNQ_OK;
    const char *move = "Einsum <equation = \"a...k->...ak\">";
    *text = ldnq_arena_printf(import->all->arena, err,
                              "FusedMatMul (A, B) => (Y)\n"
                              "  a = %s (A)\n"
                              "  b = %s (B)\n"
                              "  Y = com.microsoft.FusedMatMul <alpha = @alpha, transA = @transA, "
                              "transB = @transB> (a, b)\n",
                              moves_a ? move : "Identity", moves_b ? move : "Identity");
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- DynamicQuantizeLSTM ------------------------------------------------------------------ */

#define FLOAT_LSTM_INPUTS 8

/* The operator with float weights rounds the states; here are its weights and its rounded input.
 * Weights are (directions, inputs, 4 hidden), with a scale per direction or per column. */
static enum ldnq_status write_dynamic_lstm(const struct ldnq_import *import,
                                           const Onnx__NodeProto *node, const char **text,
                                           struct ldnq_error *err)
{
    static const char weight[] = "  $_codes = Cast <to = 1> ($)\n"
                                 "  $_zeros = Cast <to = 1> ($_zero)\n"
                                 "  $_zero3 = Reshape ($_zeros, columns)\n"
                                 "  $_scale3 = Reshape ($_scale, columns)\n"
                                 "  $_moved = Sub ($_codes, $_zero3)\n"
                                 "  $_floats = Mul ($_moved, $_scale3)\n"
                                 "  $_rows = Transpose <perm = [0, 2, 1]> ($_floats)\n";
    struct ldnq_arena *arena = import->all->arena;
    const struct ldnq_tensor *scale = find_constant(import, node, FLOAT_LSTM_INPUTS);
    if (node->n_input <= FLOAT_LSTM_INPUTS || !scale)
        return LDNQ_OK;
    const long long directions = scale->shape.rank > 0 ? scale->shape.dim[0] : 1;
    const char *w = ldnq_contributed_insert_name(arena, weight, "W", err);
    const char *r = ldnq_contributed_insert_name(arena, weight, "R", err);
    if (!w || !r)
        return LDNQ_NOMEM;
    *text = ldnq_arena_printf(
        arena, err,
        "DynamicQuantizeLSTM (X, W, R, B, lengths, h, c, P, W_scale, W_zero, R_scale, R_zero) => "
        "(Y, Y_h, Y_c)\n"
        "  columns = Constant <value_ints = [%lld, 1, -1]> ()\n"
        "%s%s"
        /* What follows the longest sequence does not count for the range. */
        "  if lengths:\n"
        "    first = Constant <value_ints = [0]> ()\n"
        "    longest = ReduceMax (lengths)\n"
        "    end = Cast <to = 7> (longest)\n"
        "    used = Slice (X, first, end)\n"
        "  end\n"
        "  unless lengths: used = Identity (X)\n"
        "  used_codes, x_scale, x_zero = DynamicQuantizeLinear (used)\n"
        "  x_codes = QuantizeLinear (X, x_scale, x_zero)\n"
        "  x = DequantizeLinear (x_codes, x_scale, x_zero)\n"
        "  Y, Y_h, Y_c = com.microsoft.DynamicQuantizeLSTM <hidden_size = @hidden_size, direction "
        "= @direction, activations = @activations, activation_alpha = @activation_alpha, "
        "activation_beta = @activation_beta, clip = @clip, input_forget = @input_forget> (x, "
        "W_rows, R_rows, B?, lengths?, h?, c?, P?)\n",
        directions, w, r);
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- packed codes ------------------------------------------------------------------------ */

/* Codes of 2, 4 or 8 bits, the first one in a byte's lowest bits. */
struct packed {
    int bits;
    long long rows, row_bytes, cols; /* what is left of a row's last byte is no code */
};

/* A matrix of such codes with a scale for each block of a row. */
struct blocks {
    struct packed codes;
    long long size, count;     /* codes per block, blocks per row */
    enum ldnq_dtype zero_type; /* LDNQ_UNDEFINED: no input, all are 2^(bits-1) */
};

/* The type of such codes, as in the attribute "to" of a Cast. */
static int find_code_type(int bits)
{
    return bits == 2 ? LDNQ_UINT2 : bits == 4 ? LDNQ_UINT4 : LDNQ_UINT8;
}

const char *ldnq_contributed_insert_name(struct ldnq_arena *arena, const char *text,
                                         const char *name, struct ldnq_error *err)
{
    const char *done = "";
    for (const char *mark; text && done && (mark = strchr(text, '$')); text = mark + 1)
        done = ldnq_arena_printf(arena, err, "%s%.*s%s", done, (int)(mark - text), text, name);
    return text && done ? ldnq_arena_printf(arena, err, "%s%s", done, text) : NULL;
}

/* Lines that make the value `name`, (rows, cols) of unsigned codes, from the bytes in `bytes`. */
static const char *write_code_unpacking(struct ldnq_arena *arena, const struct packed *p,
                                        const char *bytes, const char *name, struct ldnq_error *err)
{
    const char *shifts = p->bits == 2 ? "0, 2, 4, 6" : p->bits == 4 ? "0, 4" : "0";
    const char *lines =
        ldnq_arena_printf(arena, err,
                          "  $_shape = Constant <value_ints = [%lld, %lld, 1]> ()\n"
                          "  $_bytes = Reshape (%s, $_shape)\n"
                          "  $_shifts64 = Constant <value_ints = [%s]> ()\n"
                          "  $_shifts = Cast <to = 2> ($_shifts64)\n"
                          "  $_moved = BitShift <direction = \"RIGHT\"> ($_bytes, $_shifts)\n"
                          "  $_mask64 = Constant <value_int = %d> ()\n"
                          "  $_mask = Cast <to = 2> ($_mask64)\n"
                          "  $_low = BitwiseAnd ($_moved, $_mask)\n"
                          "  $_rows = Constant <value_ints = [%lld, -1]> ()\n"
                          "  $_padded = Reshape ($_low, $_rows)\n"
                          "  $_start = Constant <value_ints = [0]> ()\n"
                          "  $_end = Constant <value_ints = [%lld]> ()\n"
                          "  $_axis = Constant <value_ints = [1]> ()\n"
                          "  $_cut = Slice ($_padded, $_start, $_end, $_axis)\n"
                          "  $ = Cast <to = %d> ($_cut)\n",
                          p->rows, p->row_bytes, bytes, shifts, (1 << p->bits) - 1, p->rows,
                          p->cols, find_code_type(p->bits));
    return ldnq_contributed_insert_name(arena, lines, name, err);
}

/* Lines that make W from `codes`, `scale` and zero points of the same type. */
static const char *write_weight_with_code_zeros(struct ldnq_arena *arena, const struct blocks *b,
                                                struct ldnq_error *err)
{
    const struct packed zeros = { b->codes.bits, b->codes.rows, (b->count * b->codes.bits + 7) / 8,
                                  b->count };
    const char *lines =
        b->zero_type == LDNQ_UINT8
            ? write_code_unpacking(arena, &zeros, "Z", "zero", err)
            : ldnq_arena_printf(arena, err,
                                "  middle64 = Constant <value_int = %d> ()\n"
                                "  middle8 = Cast <to = 2> (middle64)\n"
                                "  zero8 = Expand (middle8, scale_shape)\n"
                                "  zero = Cast <to = %d> (zero8)\n",
                                1 << (b->codes.bits - 1), find_code_type(b->codes.bits));
    return lines ? ldnq_arena_printf(arena, err,
                                     "%s  W = DequantizeLinear <axis = 1, block_size = %lld> "
                                     "(codes, scale, zero)\n",
                                     lines, b->size)
                 : NULL;
}

/* Lines that make W from `codes`, `scale` and zero points that are no codes. */
static const char *write_weight_with_float_zeros(struct ldnq_arena *arena, const struct blocks *b,
                                                 struct ldnq_error *err)
{
    return ldnq_arena_printf(arena, err,
                             "  first = Constant <value_int = 0> ()\n"
                             "  last = Constant <value_int = %lld> ()\n"
                             "  one = Constant <value_int = 1> ()\n"
                             "  size = Constant <value_int = %lld> ()\n"
                             "  col = Range (first, last, one)\n"
                             "  block = Div (col, size)\n"
                             "  zero = Reshape (Z, scale_shape)\n"
                             "  each_zero = Gather <axis = 1> (zero, block)\n"
                             "  each_scale = Gather <axis = 1> (scale, block)\n"
                             "  real = CastLike (codes, scale)\n"
                             "  moved = Sub (real, each_zero)\n"
                             "  W = Mul (moved, each_scale)\n",
                             b->codes.cols, b->size);
}

/* Lines that make the matrix W from the inputs B, S and Z. */
static const char *write_matrix(struct ldnq_arena *arena, const struct blocks *b,
                                struct ldnq_error *err)
{
    const bool is_real = b->zero_type != LDNQ_UINT8 && b->zero_type != LDNQ_UNDEFINED;
    const char *codes = write_code_unpacking(arena, &b->codes, "B", "codes", err);
    const char *rest = is_real ? write_weight_with_float_zeros(arena, b, err)
                               : write_weight_with_code_zeros(arena, b, err);
    return codes && rest ? ldnq_arena_printf(arena, err,
                                             "%s"
                                             "  scale_shape = Constant <value_ints = [%lld, %lld]> "
                                             "()\n"
                                             "  scale = Reshape (S, scale_shape)\n"
                                             "%s",
                                             codes, b->codes.rows, b->count, rest)
                         : NULL;
}

/* Whether the sizes are those of a matrix that can be read from `bytes` bytes. */
static bool have_valid_sizes(const struct blocks *b, size_t bytes)
{
    const struct packed *p = &b->codes;
    size_t all;
    return (p->bits == 2 || p->bits == 4 || p->bits == 8) && b->size > 0 && p->rows > 0 &&
           p->cols > 0 && p->row_bytes >= p->cols / (8 / p->bits) &&
           ldnq_size_mul((size_t)p->rows, (size_t)p->row_bytes, &all) && all == bytes;
}

/* ---- MatMulNBits and GatherBlockQuantized ------------------------------------------------- */

static enum ldnq_dtype find_zero_type(const struct ldnq_import *import, const Onnx__NodeProto *node,
                                      size_t i)
{
    const struct ldnq_tensor *zeros = find_constant(import, node, i);
    return zeros ? zeros->dtype : LDNQ_UNDEFINED;
}

/* A (..., K), B (N, blocks, bytes), scales (N, blocks), zero points, g_idx, bias (N). */
static enum ldnq_status write_matmul(const struct ldnq_import *import, const Onnx__NodeProto *node,
                                     const char **text, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->all->arena;
    const struct ldnq_tensor *bytes = find_constant(import, node, 1);
    const long long size = ldnq_attr_read_int(node, "block_size", 0),
                    cols = ldnq_attr_read_int(node, "K", 0);
    if (!bytes || bytes->dtype != LDNQ_UINT8 || size <= 0 || cols <= 0 ||
        ldnq_contributed_has_input(node, 4) ||
        (ldnq_contributed_has_input(node, 3) && !find_constant(import, node, 3)))
        return LDNQ_OK;
    const long long count = cols / size + (cols % size != 0),
                    bits = ldnq_attr_read_int(node, "bits", 4);
    struct blocks b = {
        .codes = { .bits = (int)bits, .rows = ldnq_attr_read_int(node, "N", 0), .cols = cols },
        .size = size,
        .count = count,
        .zero_type = find_zero_type(import, node, 3),
    };
    b.codes.row_bytes = b.codes.rows > 0 ? (long long)ldnq_tensor_count(bytes) / b.codes.rows : 0;
    if (!have_valid_sizes(&b, ldnq_tensor_count(bytes)))
        return LDNQ_OK;
    const char *matrix = write_matrix(arena, &b, err);
    if (!matrix)
        return LDNQ_NOMEM;
    *text = ldnq_arena_printf(arena, err,
                              "MatMulNBits (A, B, S, Z, g_idx, bias) => (Y)\n"
                              "%s"
                              "  w = Transpose <perm = [1, 0]> (W)\n"
                              "  if bias: y = MatMul (A, w)\n"
                              "  if bias: Y = Add (y, bias)\n"
                              "  unless bias: Y = MatMul (A, w)\n",
                              matrix);
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}

/* data (rows, cols), indices, scales (rows, blocks), zero points. Codes in bytes are unsigned and
 * packed; those of 4-bit types are as ONNX has them. */
static enum ldnq_status write_gather(const struct ldnq_import *import, const Onnx__NodeProto *node,
                                     const char **text, struct ldnq_error *err)
{
    struct ldnq_arena *arena = import->all->arena;
    const struct ldnq_tensor *data = find_constant(import, node, 0);
    const long long axis = ldnq_attr_read_int(node, "quantize_axis", 1);
    const long long size = ldnq_attr_read_int(node, "block_size", 128);
    if (!data)
        return LDNQ_OK;
    if (data->dtype != LDNQ_UINT8) {
        *text = ldnq_arena_printf(arena, err,
                                  "GatherBlockQuantized (B, indices, S, Z) => (Y)\n"
                                  "  W = DequantizeLinear <axis = %lld, block_size = %lld> "
                                  "(B, S, Z)\n"
                                  "  Y = Gather <axis = @gather_axis> (W, indices)\n",
                                  axis, size);
        return *text ? LDNQ_OK : LDNQ_NOMEM;
    }
    const long long bits = ldnq_attr_read_int(node, "bits", 4);
    if (data->shape.rank != 2 || (axis != 1 && axis != -1) || size <= 0 || bits < 2 || bits > 8 ||
        (ldnq_contributed_has_input(node, 3) && !find_constant(import, node, 3)))
        return LDNQ_OK;
    struct blocks b = {
        .codes = { .bits = (int)bits,
                   .rows = data->shape.dim[0],
                   .row_bytes = data->shape.dim[1],
                   .cols = data->shape.dim[1] * (8 / bits) },
        .size = size,
        .zero_type = find_zero_type(import, node, 3),
    };
    b.count = b.codes.cols / size + (b.codes.cols % size != 0);
    if (!have_valid_sizes(&b, ldnq_tensor_count(data)))
        return LDNQ_OK;
    const char *matrix = write_matrix(arena, &b, err);
    if (!matrix)
        return LDNQ_NOMEM;
    *text = ldnq_arena_printf(arena, err,
                              "GatherBlockQuantized (B, indices, S, Z) => (Y)\n"
                              "%s"
                              "  Y = Gather <axis = @gather_axis> (W, indices)\n",
                              matrix);
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}

/* ---- all --------------------------------------------------------------------------------- */

enum ldnq_status ldnq_contributed_write(const struct ldnq_import *import,
                                        const Onnx__NodeProto *node, const char **text,
                                        struct ldnq_error *err)
{
    static const struct {
        const char *type;
        enum ldnq_status (*write)(const struct ldnq_import *import, const Onnx__NodeProto *node,
                                  const char **text, struct ldnq_error *err);
    } table[] = {
        { "DynamicQuantizeLSTM", write_dynamic_lstm },
        { "FusedMatMul", write_fused_matmul },
        { "GroupQueryAttention", ldnq_contributed_write_gqa },
        { "QLinearConcat", write_concat },
        { "QLinearSoftmax", write_softmax },
        { "MatMulNBits", write_matmul },
        { "GatherBlockQuantized", write_gather },
    };
    *text = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(ldnq_or_empty(node->op_type), table[i].type) == 0)
            return table[i].write(import, node, text, err);
    return LDNQ_OK;
}
