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

/* What the output of scores has, as the attribute qk_output counts. */
enum { NO_SCORES, SCORES_BEFORE_SOFTMAX, SCORES_AFTER_SOFTMAX };

struct group_attention {
    struct ldnq_arena *arena;
    struct ldnq_error *err;
    long long heads, groups, window; /* window: keys that a query sees; 0: all before it */
    long long scores;                /* those of SCORES_BEFORE_SOFTMAX ... that are an output */
    long long code_bits;             /* of the cache; 0: it has floats */
    bool is_packed, rotates, is_causal, has_past;
    /* Each head has a score besides those of the keys, of no value: that of head_sink, or 0 with
     * smooth_softmax. */
    bool has_sink, is_sink_given;
};

/* Whether the node is in a form that the function has. */
static bool is_supported(const struct group_attention *g, const Onnx__NodeProto *node)
{
    if (ldnq_attr_read_int(node, "sliding_window_cache", 0) > 0 || g->scores > SCORES_AFTER_SOFTMAX)
        return false;
    for (size_t i = MOST_INPUTS; i < node->n_input; i++)
        if (ldnq_contributed_has_input(node, i))
            return false;
    return g->heads > 0 && g->groups > 0 &&
           ldnq_contributed_has_input(node, KEY) == ldnq_contributed_has_input(node, VALUE) &&
           (!g->code_bits || (g->has_past && (g->code_bits == 4 || g->code_bits == 8)));
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

/* Lines that append new keys, or values, to the cache; key4, or value4, is all of it. With 4 bits a
 * byte has two codes c + 8 of neighbors, the first in its low half. */
static const char *write_cache(const struct group_attention *g, const char *name,
                               const char *new_values)
{
    static const char floats[] = "  if past_$: present_$ = Concat <axis = 2> (past_$, $_new)\n"
                                 "  unless past_$: present_$ = Identity ($_new)\n"
                                 "  $4 = Identity (present_$)\n";
    static const char rounding[] = "  $_steps = Div ($_new, $_scale)\n"
                                   "  $_rounded = Round ($_steps)\n"
                                   "  $_clipped = Clip ($_rounded, least, most)\n";
    static const char bytes[] = "  $_codes = Cast <to = 3> ($_clipped)\n"
                                "  present_$ = Concat <axis = 2> (past_$, $_codes)\n"
                                "  $_floats = Cast <to = 1> (present_$)\n"
                                "  $4 = Mul ($_floats, $_scale)\n";
    static const char halves[] = "  $_positive = Sub ($_clipped, least)\n"
                                 "  $_pairs = Reshape ($_positive, pair_shape)\n"
                                 "  $_low = Gather <axis = -1> ($_pairs, zero)\n"
                                 "  $_high = Gather <axis = -1> ($_pairs, one)\n"
                                 "  $_shifted = Mul ($_high, sixteen)\n"
                                 "  $_sums = Add ($_low, $_shifted)\n"
                                 "  $_codes = Cast <to = 2> ($_sums)\n"
                                 "  present_$ = Concat <axis = 2> (past_$, $_codes)\n"
                                 "  $_bytes = Cast <to = 1> (present_$)\n"
                                 "  $_quotients = Div ($_bytes, sixteen)\n"
                                 "  $_upper = Floor ($_quotients)\n"
                                 "  $_back = Mul ($_upper, sixteen)\n"
                                 "  $_lower = Sub ($_bytes, $_back)\n"
                                 "  $_lower1 = Unsqueeze ($_lower, minus_one)\n"
                                 "  $_upper1 = Unsqueeze ($_upper, minus_one)\n"
                                 "  $_both = Concat <axis = -1> ($_lower1, $_upper1)\n"
                                 "  $_joined = Reshape ($_both, joined_shape)\n"
                                 "  $_floats = Add ($_joined, least)\n"
                                 "  $4 = Mul ($_floats, $_scale)\n";
    const char *lines =
        ldnq_arena_printf(g->arena, g->err,
                          "  $_heads = Reshape (%s, kv_shape)\n"
                          "  $_new = Transpose <perm = [0, 2, 1, 3]> ($_heads)\n"
                          "%s%s",
                          new_values, g->code_bits ? rounding : "",
                          g->code_bits == 0 ? floats : (g->code_bits == 4 ? halves : bytes));
    return ldnq_contributed_insert_name(g->arena, lines, name, g->err);
}

/* Lines that add a key and a value of zeros, whose score is the sink: it takes a part of the
 * Softmax and adds nothing. key5, value5 and seen5 have it. */
static const char *write_sink(const struct group_attention *g)
{
    if (!g->has_sink)
        return "  key5 = Identity (key4)\n"
               "  value5 = Identity (value4)\n"
               "  seen5 = Identity (seen)\n";
    return ldnq_arena_printf(
        g->arena, g->err,
        "  head_count = Constant <value_ints = [%lld]> ()\n"
        "  %s\n"
        "  sink_shape = Constant <value_ints = [1, -1, 1, 1]> ()\n"
        "  sink4 = Reshape (sinks, sink_shape)\n"
        "  query_sizes = Shape <end = 3> (q4)\n"
        "  single = Constant <value_ints = [1]> ()\n"
        "  column_shape = Concat <axis = 0> (query_sizes, single)\n"
        "  column = Expand (sink4, column_shape)\n"
        "  open = Constant <value_float = 0.0> ()\n"
        "  closed = Constant <value_float = -inf> ()\n"
        "  unless attention_bias: scores = Where (seen, open, closed)\n"
        "  if attention_bias: scores = Identity (seen)\n"
        "  keys1 = Shape <start = 2, end = 3> (key4)\n"
        "  score_shape = Concat <axis = 0> (query_sizes, keys1)\n"
        "  all_scores = Expand (scores, score_shape)\n"
        "  typed_scores = CastLike (all_scores, column)\n"
        "  seen5 = Concat <axis = -1> (typed_scores, column)\n"
        "  group_sizes = Shape <end = 2> (key4)\n"
        "  key_size = Shape <start = 3> (key4)\n"
        "  value_size = Shape <start = 3> (value4)\n"
        "  no_key_shape = Concat <axis = 0> (group_sizes, single, key_size)\n"
        "  no_value_shape = Concat <axis = 0> (group_sizes, single, value_size)\n"
        "  no_key32 = ConstantOfShape (no_key_shape)\n"
        "  no_value32 = ConstantOfShape (no_value_shape)\n"
        "  no_key = CastLike (no_key32, key4)\n"
        "  no_value = CastLike (no_value32, value4)\n"
        "  key5 = Concat <axis = 2> (key4, no_key)\n"
        "  value5 = Concat <axis = 2> (value4, no_value)\n",
        g->heads,
        g->is_sink_given ? "sinks = Identity (sink)" : "sinks = ConstantOfShape (head_count)");
}

/* Lines that make the output of scores from `qk`, which Attention computes. Those of keys that a
 * query does not see are 0, and the sink has none. */
static const char *write_scores(const struct group_attention *g)
{
    if (g->scores == NO_SCORES)
        return "";
    const char *keys = g->has_sink ? "  first_key = Constant <value_ints = [0]> ()\n"
                                     "  sink_key = Constant <value_ints = [-1]> ()\n"
                                     "  key_axis = Constant <value_ints = [3]> ()\n"
                                     "  of_keys = Slice (qk, first_key, sink_key, key_axis)\n"
                                   : "  of_keys = Identity (qk)\n";
    return ldnq_arena_printf(g->arena, g->err, "%s%s", keys,
                             g->scores == SCORES_AFTER_SOFTMAX
                                 ? "  output_qk = Identity (of_keys)\n"
                                 : "  if @softcap:\n"
                                   "    cap32 = Constant <value_float = @softcap> ()\n"
                                   "    cap = CastLike (cap32, of_keys)\n"
                                   "    quotients = Div (of_keys, cap)\n"
                                   "    bounded = Tanh (quotients)\n"
                                   "    capped = Mul (bounded, cap)\n"
                                   "  end\n"
                                   "  unless @softcap: capped = Identity (of_keys)\n"
                                   "  if attention_bias: biased = Add (capped, attention_bias)\n"
                                   "  unless attention_bias: biased = Identity (capped)\n"
                                   "  unseen32 = Constant <value_float = 0.0> ()\n"
                                   "  unseen = CastLike (unseen32, biased)\n"
                                   "  output_qk = Where (mask, biased, unseen)\n");
}

/* Lines that compute the outputs. */
static const char *write_attention(const struct group_attention *g)
{
    const int mode = g->scores == SCORES_AFTER_SOFTMAX ? 3 : 0;
    if (!g->code_bits && !g->has_sink)
        return ldnq_arena_printf(g->arena, g->err,
                                 "  output, present_key, present_value, qk = Attention "
                                 "<q_num_heads = %lld, kv_num_heads = "
                                 "%lld, scale = @scale, softcap = @softcap, qk_matmul_output_mode "
                                 "= %d> (q, k, v0, seen, "
                                 "past_key, past_value)\n",
                                 g->heads, g->groups, mode);
    const char *keys = write_cache(g, "key", "k"), *values = write_cache(g, "value", "v0"),
               *sink = write_sink(g);
    const int most = g->code_bits == 4 ? 7 : 127;
    return keys && values && sink
               ? ldnq_arena_printf(g->arena, g->err,
                                   "  least = Constant <value_float = %d.0> ()\n"
                                   "  most = Constant <value_float = %d.0> ()\n"
                                   "  sixteen = Constant <value_float = 16.0> ()\n"
                                   "  minus_one = Constant <value_ints = [-1]> ()\n"
                                   "  pair_shape = Constant <value_ints = [0, 0, 0, -1, 2]> ()\n"
                                   "  joined_shape = Constant <value_ints = [0, 0, 0, -1]> ()\n"
                                   "  kv_shape = Constant <value_ints = [0, 0, %lld, -1]> ()\n"
                                   "  q_shape = Constant <value_ints = [0, 0, %lld, -1]> ()\n"
                                   "%s%s"
                                   "  q_heads = Reshape (q, q_shape)\n"
                                   "  q4 = Transpose <perm = [0, 2, 1, 3]> (q_heads)\n"
                                   "%s"
                                   "  y4, , , qk = Attention <scale = @scale, softcap = @softcap, "
                                   "qk_matmul_output_mode = %d> (q4, key5, value5, seen5)\n"
                                   "  y_rows = Transpose <perm = [0, 2, 1, 3]> (y4)\n"
                                   "  y_shape = Constant <value_ints = [0, 0, -1]> ()\n"
                                   "  output = Reshape (y_rows, y_shape)\n",
                                   -most - 1, most, g->groups, g->heads, keys, values, sink, mode)
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
        .code_bits = ldnq_contributed_has_input(node, KEY_SCALE)
                         ? ldnq_attr_read_int(node, "kv_cache_bit_width", 8)
                         : 0,
        .has_past = ldnq_contributed_has_input(node, PAST_KEY),
        .has_sink = ldnq_contributed_has_input(node, SINK) ||
                    ldnq_attr_read_int(node, "smooth_softmax", 0) > 0,
        .scores = ldnq_attr_read_int(node, "qk_output", NO_SCORES),
        .is_sink_given = ldnq_contributed_has_input(node, SINK),
    };
    if (!is_supported(&g, node))
        return LDNQ_OK;
    const char *heads = write_heads(&g), *rotation = write_rotation(&g), *mask = write_mask(&g),
               *attention = write_attention(&g), *scores = write_scores(&g);
    if (!heads || !rotation || !mask || !attention || !scores)
        return LDNQ_NOMEM;
    *text = ldnq_arena_printf(
        g.arena, err,
        "GroupQueryAttention (query, key, value, past_key, past_value, last, total, cos, sin, "
        "position_ids, attention_bias, sink, key_scale, value_scale) => "
        "(output, present_key, present_value, output_qk)\n"
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
        "%s%s%s",
        heads, rotation, mask, attention, scores);
    return *text ? LDNQ_OK : LDNQ_NOMEM;
}
