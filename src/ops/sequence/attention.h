/* attention.h: what Attention's forward and backward share.
 *
 * Shapes  q (batch, q_heads, q_len, head), k (batch, kv_heads, total, head),
 *         v (batch, kv_heads, total, v_head), scores (q_len, total) a head;
 *         with three axes, heads lie side by side in a row.
 *         total = past + kv_len
 */
#ifndef LDNQ_OPS_ATTENTION_H
#define LDNQ_OPS_ATTENTION_H

#include "ops/op.h"

/* Query rows that are worked on together. */
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

/* Which scores the fourth output holds. */
enum ldnq_attention_stage {
    LDNQ_SCORES_PLAIN,
    LDNQ_SCORES_CAPPED,
    LDNQ_SCORES_MASKED,
    LDNQ_SCORES_SOFTMAX,
};

/* Where the rows of one head lie: element (b, h, i, 0) is at
 * data[b * batch + h * head + i * row]. */
struct ldnq_heads {
    const float *data; /* NULL where there is none */
    size_t batch, head, row;
};

struct ldnq_attention {
    size_t batch, q_heads, kv_heads, q_len, kv_len, past, total, head, v_head;
    float scale, softcap; /* softcap 0: none */
    bool causal;
    enum ldnq_attention_stage stage;
    struct ldnq_heads q, k, v, past_k, past_v, y;
    const void *mask;
    bool mask_is_bool;
    size_t mask_stride[3], mask_len; /* by batch, head and row; behind mask_len: masked */
    const int64_t *lengths;          /* by batch; NULL for none */
};

/* For shapes that infer has passed, all known. */
struct ldnq_attention ldnq_attention_of(const struct ldnq_op_call *call);
/* The layout of a tensor of heads of `size` elements; data is left NULL. */
struct ldnq_heads ldnq_heads_of(const struct ldnq_shape *shape, size_t heads, size_t size);

/* Scores of `rows` query rows from `first` on against all of k (rows of
 * `k_row` elements), as scale q k'. */
void ldnq_attention_scores(const struct ldnq_attention *a, size_t batch, size_t head, size_t first,
                           size_t rows, const float *k, size_t k_row, float *scores);
void ldnq_attention_cap(const struct ldnq_attention *a, size_t count, float *scores);
void ldnq_attention_mask(const struct ldnq_attention *a, size_t batch, size_t head, size_t first,
                         size_t rows, float *scores);

size_t ldnq_attention_backward_scratch(const struct ldnq_op_grad *grad);
enum ldnq_status ldnq_attention_backward(const struct ldnq_op_grad *grad, struct ldnq_error *err);

#endif
