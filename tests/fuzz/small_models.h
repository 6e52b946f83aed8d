/* SPDX-License-Identifier: Apache-2.0 */
/* small_models.h: models of some nodes each, which together have the operators that the library
 * knows by name, in the forms that it rewrites, merges or compares. */
#ifndef TESTS_FUZZ_SMALL_MODELS_H
#define TESTS_FUZZ_SMALL_MODELS_H

/* A function in the form of onnx/function_text.h, and its tensors: "name:f2,3" has a type and a
 * shape, "name=l1,2" has these elements, and "name=f.5" is a scalar. Types are f (float), b (int8),
 * u (uint8), i (int32), l (int64) and o (bool). What is no input of the function is an initializer.
 * The nodes of type If, Loop and Scan have the body, whose inputs of other types begin with "seq".
 */
struct small_model {
    const char *text, *values;
    int opset;
    const char *body; /* NULL: none */
};

static const struct small_model small_models[] = {
    /* Convolutions and what passes merge into them. */
    { "m (x) => (y)\n"
      "  p = Pad (x, pads)\n"
      "  c = Conv <strides = [1, 1]> (p, w, b)\n"
      "  n = BatchNormalization <epsilon = 1e-5> (c, scale, shift, mean, variance)\n"
      "  r = Relu (n)\n"
      "  m = MaxPool <kernel_shape = [2, 2]> (r)\n"
      "  g = GlobalAveragePool (m)\n"
      "  f = Flatten <axis = 1> (g)\n"
      "  y = Gemm <transB = 1> (f, w2, b2)\n",
      "x:f1,2,4,4 pads=l0,0,1,1,0,0,1,1 w:f3,2,3,3 b:f3 scale:f3 shift:f3 mean:f3 variance:f3 "
      "w2:f4,3 b2:f4",
      17, NULL },
    { "m (x) => (y)\n"
      "  c = Conv <group = 2> (x, w)\n"
      "  k = Clip (c, low, high)\n"
      "  u = ConvTranspose <strides = [2, 2]> (k, w2, b2)\n"
      "  h = HardSwish (u)\n"
      "  s = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (h)\n"
      "  a = Add (s, k)\n"
      "  y = PRelu (a, slope)\n",
      "x:f1,2,4,4 w:f2,1,1,1 low=f0 high=f6 w2:f2,2,2,2 b2:f2 slope:f2,1,1", 17, NULL },
    /* Squeeze and excitation, sums over planes, resizing. */
    { "m (x) => (y)\n"
      "  c = Conv (x, w)\n"
      "  e = ReduceMean <axes = [2, 3], keepdims = 1> (c)\n"
      "  l = Conv (e, w2)\n"
      "  t = HardSigmoid <alpha = 0.2, beta = 0.5> (l)\n"
      "  z = Mul (c, t)\n"
      "  i = InstanceNormalization (z, scale, shift)\n"
      "  r = Resize <mode = \"nearest\"> (i, , scales)\n"
      "  s = Sigmoid (r)\n"
      "  y = Mul (r, s)\n",
      "x:f1,2,2,2 w:f2,2,1,1 w2:f2,2,1,1 scale:f2 shift:f2 scales=f1,1,2,2", 17, NULL },
    /* A transformer's products. */
    { "m (x) => (y)\n"
      "  n = LayerNormalization <axis = -1> (x, scale, shift)\n"
      "  q0 = MatMul (n, w)\n"
      "  q = Add (b, q0)\n"
      "  k = Einsum <equation = \"ij,jk->ik\"> (n, w)\n"
      "  t = Transpose <perm = [1, 0]> (k)\n"
      "  s0 = MatMul (q, t)\n"
      "  s1 = Div (s0, eight)\n"
      "  s2 = Where (mask, s1, eight)\n"
      "  s = Softmax <axis = -1> (s2)\n"
      "  o = MatMul (s, k)\n"
      "  g = Gelu (o)\n"
      "  z = Sub (g, x)\n"
      "  y = RMSNormalization (z, scale)\n",
      "x:f2,4 scale:f4 shift:f4 w:f4,4 b:f4 eight=f8 mask:l1", 23, NULL },
    /* Weights on the left, behind moves, and read twice. */
    { "m (x) => (y, z)\n"
      "  t = Transpose (w)\n"
      "  a = MatMul (t, x)\n"
      "  r = Reshape (w, shape)\n"
      "  b = Gemm <alpha = 0.5, beta = 2.0, transA = 1> (a, r, c)\n"
      "  q, k = Split <axis = 1> (b, sizes)\n"
      "  s = Slice (q, start, end, axes)\n"
      "  j = Concat <axis = 1> (s, k)\n"
      "  y = Squeeze (j, axes)\n"
      "  d = Dropout (x, ratio)\n"
      "  z = Expand (d, shape)\n",
      "x:f4,1 w:f4,4 shape=l4,4 c:f4 sizes=l2,2 start=l0 end=l1 axes=l0 ratio=f.5", 17, NULL },
    /* Tables: looked up, in tuples, as matrices of experts. */
    { "m (i) => (y)\n"
      "  u = Unsqueeze (i, last)\n"
      "  a = GatherND <batch_dims = 0> (table, u)\n"
      "  g = Gather <axis = 0> (table, i)\n"
      "  s = Add (a, g)\n"
      "  e = Gather <axis = 0> (experts, i)\n"
      "  v = Unsqueeze (s, middle)\n"
      "  y = MatMul (v, e)\n",
      "i:l2 last=l-1 middle=l1 table:f4,4 experts:f2,4,4", 17, NULL },
    { "m (i) => (y, z)\n"
      "  a = GatherND (table, i)\n"
      "  y = Identity (a)\n"
      "  g = GatherElements (table, k)\n"
      "  z = ReduceSum <keepdims = 0> (g, axis)\n",
      "i:l2,1 table:f4,4 k:l4,4 axis=l1", 13, NULL },
    /* Tables as they are written: int8, and two codes in a byte with blocks. */
    { "m (i) => (y)\n"
      "  c = Gather <axis = 0> (codes, i)\n"
      "  f = Cast <to = 1> (c)\n"
      "  s = Gather <axis = 0> (scales, i)\n"
      "  y = Mul (f, s)\n",
      "i:l2 codes:b4,4 scales:f4,1", 17, NULL },
    { "m (i) => (y)\n"
      "  c = Gather <axis = 0> (codes, i)\n"
      "  f = Cast <to = 1> (c)\n"
      "  h0 = Mul (f, sixteenth)\n"
      "  h = Floor (h0)\n"
      "  p = Mul (h, sixteen)\n"
      "  l = Sub (f, p)\n"
      "  j = Concat <axis = -1> (l, h)\n"
      "  o = Sub (j, eight)\n"
      "  s = Gather <axis = 0> (scales, i)\n"
      "  d = Mul (o, s)\n"
      "  y = Reshape (d, shape)\n",
      "i:l2 codes:u4,2,2 scales:f4,2,1 sixteenth=f.0625 sixteen=f16 eight=f8 shape=l2,8", 17,
      NULL },
    /* Sequences of pieces. */
    { "m (x) => (y, z)\n"
      "  s = SplitToSequence <axis = 0, keepdims = 0> (x)\n"
      "  a = SequenceAt (s, zero)\n"
      "  p = SplitToSequence <axis = 1> (x, two)\n"
      "  b = SequenceAt (p, zero)\n"
      "  t = SequenceConstruct (a, a)\n"
      "  c = ConcatFromSequence <axis = 0, new_axis = 1> (t)\n"
      "  d = MatMul (c, w)\n"
      "  z = SequenceLength (t)\n"
      "  e = ConcatFromSequence <axis = 0> (s)\n"
      "  y = Concat <axis = 0> (d, b)\n",
      "x:f2,4 zero=l0 two=l2,2 w:f4,2", 17, NULL },
    /* Operators whose first output may be the one that nobody reads. */
    { "m (x) => (y, k, i, u, t)\n"
      "  c0 = Conv (x, w0)\n"
      "  d, k = Dropout (c0)\n"
      "  p, i = MaxPool <kernel_shape = [1, 1]> (d)\n"
      "  n, u = LayerNormalization <axis = -1> (p, scale, shift)\n"
      "  v, t = TopK (n, one)\n"
      "  s, r = Split <axis = 1> (n, sizes)\n"
      "  c = Conv (s, w)\n"
      "  z = Add (r, c)\n"
      "  y = Mul (z, v)\n",
      "x:f1,2,2,2 w0:f2,2,1,1 scale:f2 shift:f2 one=l1 sizes=l1,1 w:f2,1,1,1", 17, NULL },
    /* Bodies. */
    { "m (x) => (y, n)\n"
      "  s = SequenceEmpty ()\n"
      "  p = SplitToSequence <axis = 0, keepdims = 0> (x)\n"
      "  t = Loop (trips, always, s)\n"
      "  y = ConcatFromSequence <axis = 0, new_axis = 1> (t)\n"
      "  n = SequenceLength (t)\n",
      "x:f2,4 trips=l2 always:o w:f4,4", 17,
      "b (i, c, seq) => (d, after)\n"
      "  d = Identity (c)\n"
      "  a = SequenceAt (p, i)\n"
      "  m = MatMul (a, w)\n"
      "  after = SequenceInsert (seq, m)\n" },
    { "m (x) => (y)\n"
      "  a = Relu (x)\n"
      "  y = If (always)\n",
      "x:f2,4 always:o w:f4,4 codes:b4,4 scale=f.5", 17,
      "b () => (r)\n"
      "  d = DequantizeLinear (codes, scale)\n"
      "  m = MatMul (a, w)\n"
      "  r = MatMul (m, d)\n" },
    { "m (x) => (h, y)\n"
      "  z = ReduceSum <keepdims = 0> (x, axis)\n"
      "  h, y = Scan <num_scan_inputs = 1> (z, x)\n",
      "x:f2,4 axis=l0 w:f4,4 codes:b4,4 table:f4,4", 17,
      "b (state, row) => (next, r)\n"
      "  next = Add (state, row)\n"
      "  u = Unsqueeze (next, axis)\n"
      "  r = Gemm <transB = 1> (u, w, row)\n" },
    /* Recurrent networks. */
    { "m (x) => (y, h, g)\n"
      "  a, b, c = LSTM <hidden_size = 2> (x, w, r, bias)\n"
      "  s = Squeeze (a, one)\n"
      "  d, h = GRU <hidden_size = 2, linear_before_reset = 1> (s, w2, r2, , , b)\n"
      "  t = Squeeze (d, one)\n"
      "  y, e = RNN <hidden_size = 2, direction = \"forward\"> (t, w3, r3)\n"
      "  , g = LSTM <hidden_size = 2> (x, w, r, bias)\n",
      "x:f2,1,3 w:f1,8,3 r:f1,8,2 bias:f1,16 one=l1 w2:f1,6,2 r2:f1,6,2 w3:f1,2,2 r3:f1,2,2", 17,
      NULL },
    /* Quantized models in the form of pairs. */
    { "m (x) => (y)\n"
      "  q = QuantizeLinear (x, s, z)\n"
      "  k = Clip (q, z, high)\n"
      "  i = Identity (k)\n"
      "  d = DequantizeLinear (i, s, z)\n"
      "  w = DequantizeLinear <axis = 0> (codes, ws, wz)\n"
      "  b = DequantizeLinear <axis = 0> (bias, ws)\n"
      "  c = Conv (d, w, b)\n"
      "  r = Relu (c)\n"
      "  q2 = QuantizeLinear (r, s, z)\n"
      "  d2 = DequantizeLinear (q2, s, z)\n"
      "  m = MaxPool <kernel_shape = [2, 2]> (d2)\n"
      "  q3 = QuantizeLinear (m, s, z)\n"
      "  d3 = DequantizeLinear (q3, s, z)\n"
      "  e = Dropout (d3)\n"
      "  f = Reshape (e, shape)\n"
      "  w2 = DequantizeLinear (codes2, s)\n"
      "  t = Transpose (w2)\n"
      "  g = MatMul (f, t)\n"
      "  q4 = QuantizeLinear (g, s, z)\n"
      "  y = DequantizeLinear (q4, s, z)\n",
      "x:f1,2,2,2 s=f.25 z:b high:b codes:b2,2,1,1 ws:f2 wz:b2 bias:i2 shape=l1,2 codes2:b4,2", 13,
      NULL },
    { "m (x) => (y)\n"
      "  w = DequantizeLinear <axis = 0, block_size = 2> (codes, scales)\n"
      "  a = MatMul (x, w)\n"
      "  q = QuantizeLinear <output_dtype = 3> (a, s)\n"
      "  d = DequantizeLinear (q, s)\n"
      "  t = Gather (w, i)\n"
      "  u = Unsqueeze (t, i)\n"
      "  r = Add (d, t)\n"
      "  y = ReduceMax (r, i)\n",
      "x:f1,4 codes:b4,4 scales:f2,4 s=f.25 i=l0", 21, NULL },
    /* Integer operators. */
    { "m (x) => (y, z)\n"
      "  q, s, o = DynamicQuantizeLinear (x)\n"
      "  c = ConvInteger (q, w, o)\n"
      "  f = Cast <to = 1> (c)\n"
      "  m = Mul (f, s)\n"
      "  r = Reshape (q, shape)\n"
      "  n = MatMulInteger (r, w2, o)\n"
      "  y = Identity (m)\n"
      "  z = Cast <to = 1> (n)\n",
      "x:f1,2,2,2 w:b2,2,1,1 shape=l4,2 w2:b2,3", 13, NULL },
    { "m (x) => (y)\n"
      "  q = QuantizeLinear (x, s, z)\n"
      "  c = QLinearConv (q, s, z, w, ws, wz, s, z, bias)\n"
      "  a = com.microsoft.QLinearAdd (c, s, z, q, s, z, s, z)\n"
      "  r = Reshape (a, shape)\n"
      "  g = com.microsoft.QGemm <transB = 1> (r, s, z, w2, s, wzero, bias2, s, z)\n"
      "  h = QLinearMatMul (g, s, z, w3, s, wzero, s, z)\n"
      "  j = com.microsoft.QLinearConcat <axis = 0> (s, z, g, s, z, h, s, z)\n"
      "  k = com.microsoft.QLinearSigmoid (j, s, z, s, z)\n"
      "  y = DequantizeLinear (k, s, z)\n",
      "x:f1,2,2,2 s=f.25 z:u w:b2,2,1,1 ws:f2 wz:b2 bias:i2 shape=l4,2 w2:b2,2 wzero:b bias2:i2 "
      "w3:b2,2",
      13, NULL },
    /* What ONNX Runtime's optimizer writes. */
    { "m (x) => (y)\n"
      "  c = com.microsoft.FusedConv <activation = \"Relu\"> (x, w, b)\n"
      "  r = Reshape (c, shape)\n"
      "  g = com.microsoft.FusedGemm <activation = \"Relu\", transB = 1> (r, w2, b)\n"
      "  m = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (g, w2)\n"
      "  n = com.microsoft.MatMulNBits <K = 2, N = 2, bits = 4, block_size = 16> (m, codes, "
      "scales)\n"
      "  k = com.microsoft.BiasGelu (n, b)\n"
      "  y = com.microsoft.QuickGelu <alpha = 1.5> (k)\n",
      "x:f1,2,2,2 w:f2,2,1,1 b:f2 shape=l4,2 w2:f2,2 codes:u2,1,8 scales:f2", 17, NULL },
    { "m (i) => (y, p)\n"
      "  e, k = com.microsoft.EmbedLayerNormalization (i, i, words, places, kinds, scale, shift)\n"
      "  a = com.microsoft.Attention <num_heads = 2> (e, w, b, k)\n"
      "  s, , , t = com.microsoft.SkipLayerNormalization <epsilon = 1e-5> (a, e, scale, shift)\n"
      "  y = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 2> (s, s, s, , , "
      "length, total)\n"
      "  p = com.microsoft.FastGelu (t, shift)\n",
      "i:i1,2 words:f4,4 places:f4,4 kinds:f2,4 scale:f4 shift:f4 w:f4,12 b:f12 length:i1 total:i1",
      17, NULL },
    /* Old forms, which a higher opset writes otherwise. */
    { "m (x) => (y)\n"
      "  s = Slice <axes = [2], starts = [0], ends = [2]> (x)\n"
      "  p = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.5> (s)\n"
      "  c = Conv (p, w)\n"
      "  k = Clip <min = 0.0, max = 6.0> (c)\n"
      "  n = BatchNormalization <epsilon = 1e-5> (k, scale, shift, mean, variance)\n"
      "  d = Dropout <ratio = 0.5> (n)\n"
      "  u = Upsample <mode = \"nearest\"> (d, scales)\n"
      "  e = Softmax (u)\n"
      "  q = ReduceSum <axes = [3], keepdims = 0> (e)\n"
      "  t = Unsqueeze <axes = [0]> (q)\n"
      "  z = Squeeze <axes = [0]> (t)\n"
      "  a, b = Split <axis = 1, split = [1, 1]> (z)\n"
      "  v, i = TopK <k = 1> (a)\n"
      "  y = Add (v, b)\n",
      "x:f1,2,3,2 w:f2,2,1,1 scale:f2 shift:f2 mean:f2 variance:f2 scales=f1,1,2,2", 9, NULL },
    { "m (x) => (y)\n"
      "  r = Resize <mode = \"linear\"> (x, scales)\n"
      "  s = Slice (r, start, end, axes)\n"
      "  h = Hardmax (s)\n"
      "  l = LogSoftmax (h)\n"
      "  q = QuantizeLinear (l, half, zero)\n"
      "  d = DequantizeLinear (q, half, zero)\n"
      "  f = Flatten (d)\n"
      "  g = Gemm (f, w, b)\n"
      "  y = CumSum (g, one)\n",
      "x:f1,2,2,2 scales=f1,1,2,2 start=l0 end=l1 axes=l1 half=f.5 zero:u w:f4,2 b:f2 one=l1", 11,
      NULL },
};

#endif
