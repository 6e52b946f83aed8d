/* SPDX-License-Identifier: Apache-2.0 */
/* contributed_gqa.c: GroupQueryAttention, whose function depends on which inputs a node has and on
 * the type of its cache.
 *
 * A query's position is that of the sample's last key, less the queries after it. It sees the keys
 * up to its own, or a window of them.
 *
 * Source  ContribOperators.md of ONNX Runtime, and what ONNX Runtime 1.32 computes
 */
#include <string.h>

#include "onnx/attrs.h"
#include "onnx/contributed.h"

/* Inputs by position. */
enum { KEY = 1, VALUE = 2, PAST_KEY = 3, BIAS = 10, SINK = 11, KEY_SCALE = 12, MOST_INPUTS = 14 };

struct group_attention {
    struct ldnq_arena *arena;
    struct ldnq_error *err;
    long long heads, groups, window; /* window: keys that a query sees; 0: all before it */
    bool is_packed, rotates, is_causal, has_codes;
};

/* Whether the node is in a form that the function has. */
static bool is_supported(const struct group_attention *g, const Onnx__NodeProto *node)
{
    static const char *const refused[] = { "smooth_softmax", "qk_output", "sliding_window_cache" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (ldnq_attr_read_int(node, refused[i], 0) > 0)
            return false;
    for (size_t i = MOST_INPUTS; i < node->n_input; i++)
        if (ldnq_contributed_has_input(node, i))
            return false;
    return g->heads > 0 && g->groups > 0 && !ldnq_contributed_has_input(node, SINK) &&
           ldnq_contributed_has_input(node, KEY) == ldnq_contributed_has_input(node, VALUE) &&
           (!g->has_codes || (ldnq_contributed_has_input(node, PAST_KEY) &&
                              ldnq_attr_read_int(node, "kv_cache_bit_width", 8) == 8));
}

/* Lines that make q0, k0 and v0 of rank 3 from a query that has all of them, or from three inputs.
 */
static const char *write_heads(const struct group_attention *g)
{
    if (!g->is_packed)
        return "  k0 = Identity (key)\n"
               "  v0 = Identity (value)\n"
               "  q0 = Identity (query)\n";
    return ldnq_arena_printf(g->arena, g->err,
                             "  width = Shape <start = -1> (query)\n"
                             "  parts = Constant <value_ints = [%lld]> ()\n"
                             "  head = Div (width, parts)\n"
                             "  shares = Constant <value_ints = [%lld, %lld, %lld]> ()\n"
                             "  sizes = Mul (shares, head)\n"
                             "  q0, k0, v0 = Split <axis = -1> (query, sizes)\n",
                             g->heads + 2 * g->groups, g->heads, g->groups, g->groups);
}

/* Lines that turn q and k by their positions. Of the positions that are given for a prompt, only
 * the first one counts. */
static const char *write_rotation(const struct group_attention *g)
{
    if (!g->rotates)
        return "  q = Identity (q0)\n"
               "  k = Identity (k0)\n";
    return ldnq_arena_printf(
        g->arena, g->err,
        "  if position_ids:\n"
        "    total64 = Cast <to = 7> (total)\n"
        "    is_prompt = Equal (total64, length)\n"
        "    each_id = Reshape (position_ids, all)\n"
        "    first_id = Gather (each_id, zero)\n"
        "    following = Add (first_id, steps)\n"
        "    turned = Where (is_prompt, following, position_ids)\n"
        "  end\n"
        "  unless position_ids: turned = Identity (positions)\n"
        "  q = RotaryEmbedding <num_heads = %lld, interleaved = @rotary_interleaved> "
        "(q0, cos, sin, turned)\n"
        "  k = RotaryEmbedding <num_heads = %lld, interleaved = @rotary_interleaved> "
        "(k0, cos, sin, turned)\n",
        g->heads, g->groups);
}

/* Lines that make the mask `seen`, of rank 4. */
static const char *write_mask(const struct group_attention *g)
{
    const char *window = g->window <= 0
                             ? "  near = Identity (before)\n"
                             : ldnq_arena_printf(g->arena, g->err,
                                                 "  window = Constant <value_int = %lld> ()\n"
                                                 "  limit = Sub (query_positions, window)\n"
                                                 "  inside = Greater (key_positions, limit)\n"
                                                 "  near = And (before, inside)\n",
                                                 g->window);
    return window ? ldnq_arena_printf(g->arena, g->err,
                                      "  last_axis = Constant <value_ints = [2]> ()\n"
                                      "  query_positions = Unsqueeze (positions, last_axis)\n"
                                      "  bound = Unsqueeze (%s, last_axis)\n"
                                      "  before = LessOrEqual (key_positions, bound)\n"
                                      "%s"
                                      "  head_axis = Constant <value_ints = [1]> ()\n"
                                      "  mask = Unsqueeze (near, head_axis)\n"
                                      "  if attention_bias:\n"
                                      "    lowest = Constant <value_float = -inf> ()\n"
                                      "    seen = Where (mask, attention_bias, lowest)\n"
                                      "  end\n"
                                      "  unless attention_bias: seen = Identity (mask)\n",
                                      g->is_causal ? "positions" : "lasts", window)
                  : NULL;
}

/* Lines that append the codes of new keys, or values, to the cache; key4, or value4, is all of it.
 */
static const char *write_cache(const struct group_attention *g, const char *name,
                               const char *new_values)
{
    const char *lines = ldnq_arena_printf(g->arena, g->err,
                                          "  $_heads = Reshape (%s, kv_shape)\n"
                                          "  $_new = Transpose <perm = [0, 2, 1, 3]> ($_heads)\n"
                                          "  $_steps = Div ($_new, $_scale)\n"
                                          "  $_rounded = Round ($_steps)\n"
                                          "  $_clipped = Clip ($_rounded, least, most)\n"
                                          "  $_codes = Cast <to = 3> ($_clipped)\n"
                                          "  present_$ = Concat <axis = 2> (past_$, $_codes)\n"
                                          "  $_floats = Cast <to = 1> (present_$)\n"
                                          "  $4 = Mul ($_floats, $_scale)\n",
                                          new_values);
    return ldnq_contributed_insert_name(g->arena, lines, name, g->err);
}

/* Lines that compute the outputs. */
static const char *write_attention(const struct group_attention *g)
{
    if (!g->has_codes)
        return ldnq_arena_printf(
            g->arena, g->err,
            "  output, present_key, present_value = Attention <q_num_heads = %lld, kv_num_heads = "
            "%lld, scale = @scale, softcap = @softcap> (q, k, v0, seen, past_key, past_value)\n",
            g->heads, g->groups);
    const char *keys = write_cache(g, "key", "k"), *values = write_cache(g, "value", "v0");
    return keys && values
               ? ldnq_arena_printf(
                     g->arena, g->err,
                     "  least = Constant <value_float = -128.0> ()\n"
                     "  most = Constant <value_float = 127.0> ()\n"
                     "  kv_shape = Constant <value_ints = [0, 0, %lld, -1]> ()\n"
                     "  q_shape = Constant <value_ints = [0, 0, %lld, -1]> ()\n"
                     "%s%s"
                     "  q_heads = Reshape (q, q_shape)\n"
                     "  q4 = Transpose <perm = [0, 2, 1, 3]> (q_heads)\n"
                     "  y4 = Attention <scale = @scale, softcap = @softcap> (q4, key4, value4, "
                     "seen)\n"
                     "  y_rows = Transpose <perm = [0, 2, 1, 3]> (y4)\n"
                     "  y_shape = Constant <value_ints = [0, 0, -1]> ()\n"
                     "  output = Reshape (y_rows, y_shape)\n",
                     g->groups, g->heads, keys, values)
               : NULL;
}

enum ldnq_status ldnq_contributed_write_gqa(const struct ldnq_import *import,
                                            const Onnx__NodeProto *node, const char **text,
                                            struct ldnq_error *err)
{
    const struct group_attention g = {
        .arena = import->all->arena,
        .err = err,
        .heads = ldnq_attr_read_int(node, "num_heads", 0),
        .groups = ldnq_attr_read_int(node, "kv_num_heads", 0),
        .window = ldnq_attr_read_int(node, "local_window_size", -1),
        .is_packed = !ldnq_contributed_has_input(node, KEY),
        .rotates = ldnq_attr_read_int(node, "do_rotary", 0) != 0,
        .is_causal = ldnq_attr_read_int(node, "causal", 1) != 0,
        .has_codes = ldnq_contributed_has_input(node, KEY_SCALE),
    };
    if (!is_supported(&g, node))
        return LDNQ_OK;
    const char *heads = write_heads(&g), *rotation = write_rotation(&g), *mask = write_mask(&g),
               *attention = write_attention(&g);
    if (!heads || !rotation || !mask || !attention)
        return LDNQ_NOMEM;
    *text = ldnq_arena_printf(
        g.arena, err,
        "GroupQueryAttention (query, key, value, past_key, past_value, last, total, cos, sin, "
        "position_ids, attention_bias, sink, key_scale, value_scale) => "
        "(output, present_key, present_value)\n"
        "%s"
        "  zero = Constant <value_int = 0> ()\n"
        "  one = Constant <value_int = 1> ()\n"
        "  all = Constant <value_ints = [-1]> ()\n"
        "  rows = Constant <value_ints = [-1, 1]> ()\n"
        "  length1 = Shape <start = 1, end = 2> (q0)\n"
        "  length = Squeeze (length1)\n"
        "  last64 = Cast <to = 7> (last)\n"
        "  lasts = Reshape (last64, rows)\n"
        "  end = Add (lasts, one)\n"
        "  start = Sub (end, length)\n"
        "  steps = Range (zero, length, one)\n"
        "  signed = Add (start, steps)\n"
        "  positions = Max (signed, zero)\n"
        "%s"
        "  if past_key: past1 = Shape <start = 2, end = 3> (past_key)\n"
        "  if past_key: past = Squeeze (past1)\n"
        "  if past_key: keys = Add (past, length)\n"
        "  unless past_key: keys = Identity (length)\n"
        "  key_positions = Range (zero, keys, one)\n"
        "%s%s",
        heads, rotation, mask, attention);
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}
