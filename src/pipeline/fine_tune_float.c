/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/fine_tune_float.h"

#include <math.h>
#include <string.h>

/* Allocates the current, the best and the final version of one of the layer's tensors. */
static enum ldnq_status
allocate_versions_of_tensor(const struct ldnq_tensor **tensor, struct ldnq_tensor **now,
                            struct ldnq_tensor **best, struct ldnq_tensor **after, bool reuse_after,
                            struct ldnq_arena *arena, struct ldnq_arena *lasting,
                            struct ldnq_error *err)
{
    if (!reuse_after) {
        LDNQ_TRY(ldnq_tensor_copy(lasting, *tensor, after, err));
        *tensor = *after;
    }
    *after = (struct ldnq_tensor *)*tensor;
    LDNQ_TRY(ldnq_tensor_copy(arena, *tensor, now, err));
    return ldnq_tensor_copy(arena, *tensor, best, err);
}

static enum ldnq_status compute_row_norms(struct ldnq_fine_tune_float *tuned,
                                          struct ldnq_arena *arena, struct ldnq_error *err)
{
    tuned->norms = ldnq_arena_alloc(arena, tuned->rows, sizeof *tuned->norms, err);
    if (!tuned->norms)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < tuned->rows; row++) {
        double sum = 0;
        for (size_t k = 0; k < tuned->layer->geometry.cols; k++) {
            const double w =
                (double)
                    tuned->first_weight[ldnq_find_weight_offset(&tuned->layer->geometry, row, k)];
            sum += w * w;
        }
        tuned->norms[row] = (float)sqrt(sum);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_fine_tune_float_init(struct ldnq_fine_tune_float *tuned,
                                           struct ldnq_layer *layer, bool reuse_after,
                                           struct ldnq_arena *arena, struct ldnq_arena *lasting,
                                           struct ldnq_error *err)
{
    const size_t rows = ldnq_layer_rows(layer);
    *tuned = (struct ldnq_fine_tune_float){ .layer = layer,
                                            .rows = rows,
                                            .elements = rows * layer->geometry.cols };
    LDNQ_TRY(allocate_versions_of_tensor(&layer->weight, &tuned->weight_now, &tuned->weight_best,
                                         &tuned->weight_after, reuse_after, arena, lasting, err));
    tuned->first_weight = layer->weight->data;
    layer->node->inputs[layer->weight_input]->constant = tuned->weight_now;
    LDNQ_TRY(compute_row_norms(tuned, arena, err));
    LDNQ_TRY(ldnq_adam_init(&tuned->weight, tuned->elements, arena, err));
    if (!layer->bias)
        return LDNQ_OK;
    LDNQ_TRY(allocate_versions_of_tensor(&layer->bias, &tuned->bias_now, &tuned->bias_best,
                                         &tuned->bias_after, reuse_after, arena, lasting, err));
    tuned->first_bias = layer->bias->data;
    layer->node->inputs[layer->bias_input]->constant = tuned->bias_now;
    return ldnq_adam_init(&tuned->bias, rows, arena, err);
}

/* The change of a weight of this row for s = 1. */
static float compute_weight_step_unit(const struct ldnq_fine_tune_float *tuned, size_t row)
{
    return tuned->norms[row] / sqrtf((float)tuned->layer->geometry.cols);
}

void ldnq_fine_tune_float_add_gradient(struct ldnq_fine_tune_float *tuned,
                                       const struct ldnq_tensor *weight,
                                       const struct ldnq_tensor *bias)
{
    const float *g = weight->data, *b = bias ? bias->data : NULL;
    for (size_t row = 0; row < tuned->rows; row++)
        for (size_t k = 0; k < tuned->layer->geometry.cols; k++) {
            const size_t at = ldnq_find_weight_offset(&tuned->layer->geometry, row, k);
            tuned->weight.gradient[at] += g[at] * compute_weight_step_unit(tuned, row);
        }
    for (size_t row = 0; b && row < tuned->rows; row++)
        tuned->bias.gradient[row] += b[row] * tuned->norms[row];
}

void ldnq_fine_tune_float_step(struct ldnq_fine_tune_float *tuned, size_t step, double rate)
{
    float *w = tuned->weight_now->data;
    ldnq_adam_step(&tuned->weight, step, rate);
    for (size_t row = 0; row < tuned->rows; row++)
        for (size_t k = 0; k < tuned->layer->geometry.cols; k++) {
            const size_t at = ldnq_find_weight_offset(&tuned->layer->geometry, row, k);
            w[at] = tuned->first_weight[at] +
                    tuned->weight.value[at] * compute_weight_step_unit(tuned, row);
        }
    if (!tuned->bias.count)
        return;
    ldnq_adam_step(&tuned->bias, step, rate);
    float *b = tuned->bias_now->data;
    for (size_t row = 0; row < tuned->rows; row++)
        b[row] = tuned->first_bias[row] + tuned->bias.value[row] * tuned->norms[row];
}

void ldnq_fine_tune_float_save_best(struct ldnq_fine_tune_float *tuned)
{
    memcpy(tuned->weight_best->data, tuned->weight_now->data, tuned->elements * sizeof(float));
    if (tuned->bias.count)
        memcpy(tuned->bias_best->data, tuned->bias_now->data, tuned->rows * sizeof(float));
}

void ldnq_fine_tune_float_apply_best(struct ldnq_fine_tune_float *tuned)
{
    struct ldnq_node *node = tuned->layer->node;
    memcpy(tuned->weight_after->data, tuned->weight_best->data, tuned->elements * sizeof(float));
    node->inputs[tuned->layer->weight_input]->constant = tuned->weight_after;
    if (!tuned->bias.count)
        return;
    memcpy(tuned->bias_after->data, tuned->bias_best->data, tuned->rows * sizeof(float));
    node->inputs[tuned->layer->bias_input]->constant = tuned->bias_after;
}
