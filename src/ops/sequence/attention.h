/* SPDX-License-Identifier: Apache-2.0 */
/* attention.h: scaled dot-product attention, the parts shared by forward and backward.
 *
 * Computes y = softmax(scores) v,
 *          scores = softcap(scale q k') + mask, with softcap(s) = c tanh(s / c)
 * Shapes   q (batch, q_heads, q_len, head), k (batch, kv_heads, total, head),
 *          v (batch, kv_heads, total, v_head), y (batch, q_heads, q_len, v_head);
 *          scores (q_len, total) per query head; total = past + kv_len.
 *          Tensors with three axes are (batch, length, heads * size).
 *          q_heads / kv_heads query heads share one head of keys and values.
 * Numbers  float32, the softmax as in norm/softmax.h
 * Source   onnx.ai/onnx/operators/onnx__Attention.html
 */
#ifndef LDNQ_OPS_ATTENTION_H
#define LDNQ_OPS_ATTENTION_H

#include "ops/op.h"

/* Query rows per block of scores (rows, total). */
#define LDNQ_ATTENTION_ROWS ((size_t)64)

enum ldnq_attention_input {
    LDNQ_ATTENTION_Q,
    LDNQ_ATTENTION_K,
    LDNQ_ATTENTION_V,
    LDNQ_ATTENTION_MASK,
    LDNQ_ATTENTION_PAST_K,
    LDNQ_ATTENTION_PAST_V,
    LDNQ_ATTENTION_LENGTHS,
};

/* The kind of scores in output 3, in the order of qk_matmul_output_mode. */
enum ldnq_attention_stage {
    LDNQ_SCORES_PLAIN,
    LDNQ_SCORES_CAPPED,
    LDNQ_SCORES_MASKED,
    LDNQ_SCORES_SOFTMAX,
};

/* A tensor of heads: element (b, h, i, 0) is
 * data[b * batch_stride + h * head_stride + i * row_stride]. */
struct ldnq_heads {
    const float *data; /* NULL: the node has no such tensor */
    size_t batch_stride, head_stride, row_stride;
};

struct ldnq_attention {
    size_t batch, q_heads, kv_heads, q_len, kv_len, past, total, head, v_head;
    float scale, softcap; /* softcap 0: none */
    bool causal;
    enum ldnq_attention_stage stage;
    struct ldnq_heads q, k, v, past_k, past_v, y;
    const void *mask;
    bool mask_is_bool;
    size_t mask_stride[3];  /* along batch, query heads and query rows; 0: broadcast */
    size_t mask_len;        /* size of the mask's last axis; keys from there on are masked */
    const int64_t *lengths; /* (batch) valid keys per sample; NULL: all */
};

/* The shapes must be known and have passed infer. */
struct ldnq_attention ldnq_attention_make(const struct ldnq_op_call *call);
/* The strides of a tensor with heads of `size` elements; data is left NULL. */
struct ldnq_heads ldnq_heads_make(const struct ldnq_shape *shape, size_t heads, size_t size);

/* scores (rows, total) = scale q k', for query rows first .. first+rows-1 of one head; k
 * (total, head) has rows k_row floats apart. */
void ldnq_attention_compute_scores(const struct ldnq_attention *a, size_t batch, size_t head,
                                   size_t first, size_t rows, const float *k, size_t k_row,
                                   float *scores);
/* Applies the softcap to `count` scores; nothing if there is none. */
void ldnq_attention_apply_softcap(const struct ldnq_attention *a, size_t count, float *scores);
/* Applies the mask, the causal mask and the lengths to scores (rows, total): adds the mask, or
 * stores -infinity. */
void ldnq_attention_apply_mask(const struct ldnq_attention *a, size_t batch, size_t head,
                               size_t first, size_t rows, float *scores);

/* Copies one head's past rows and, after them, its new rows to `to` (total, size). */
void ldnq_attention_concat_rows(const struct ldnq_attention *a, const struct ldnq_heads *past,
                                const struct ldnq_heads *now, size_t batch, size_t head,
                                size_t size, float *to);

/* `backward_scratch_bytes` and `backward` of the record. */
size_t ldnq_attention_backward_scratch_bytes(const struct ldnq_op_grad *grad);
enum ldnq_status ldnq_attention_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err);

#endif
