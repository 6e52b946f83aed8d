#include "pipeline/tune_float.h"

#include <math.h>
#include <string.h>

/* One tensor of the layer: what it is now, at best, and afterwards. */
static enum ldnq_status init_tensor(const struct ldnq_tensor **tensor, struct ldnq_tensor **now,
                                    struct ldnq_tensor **best, struct ldnq_tensor **after,
                                    bool is_after, struct ldnq_arena *arena,
                                    struct ldnq_arena *lasting, struct ldnq_error *err)
{
    if (!is_after) {
        LDNQ_TRY(ldnq_tensor_copy(lasting, *tensor, after, err));
        *tensor = *after;
    }
    *after = (struct ldnq_tensor *)*tensor;
    LDNQ_TRY(ldnq_tensor_copy(arena, *tensor, now, err));
    return ldnq_tensor_copy(arena, *tensor, best, err);
}

static enum ldnq_status measure(struct ldnq_tune_float *tune, struct ldnq_arena *arena,
                                struct ldnq_error *err)
{
    tune->norms = ldnq_arena_alloc(arena, tune->rows, sizeof *tune->norms, err);
    if (!tune->norms)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < tune->rows; row++) {
        double sum = 0;
        for (size_t k = 0; k < tune->layer->geometry.cols; k++) {
            const double w =
                (double)tune->first_weight[ldnq_weight_offset(&tune->layer->geometry, row, k)];
            sum += w * w;
        }
        tune->norms[row] = (float)sqrt(sum);
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_tune_float_init(struct ldnq_tune_float *tune, struct ldnq_layer *layer,
                                      bool after, struct ldnq_arena *arena,
                                      struct ldnq_arena *lasting, struct ldnq_error *err)
{
    const size_t rows = ldnq_layer_rows(layer);
    *tune = (struct ldnq_tune_float){ .layer = layer,
                                      .rows = rows,
                                      .elements = rows * layer->geometry.cols };
    LDNQ_TRY(init_tensor(&layer->weight, &tune->weight_now, &tune->weight_best, &tune->weight_after,
                         after, arena, lasting, err));
    tune->first_weight = layer->weight->data;
    layer->node->inputs[layer->weight_input]->constant = tune->weight_now;
    LDNQ_TRY(measure(tune, arena, err));
    LDNQ_TRY(ldnq_adam_init(&tune->weight, tune->elements, arena, err));
    if (!layer->bias)
        return LDNQ_OK;
    LDNQ_TRY(init_tensor(&layer->bias, &tune->bias_now, &tune->bias_best, &tune->bias_after, after,
                         arena, lasting, err));
    tune->first_bias = layer->bias->data;
    layer->node->inputs[layer->bias_input]->constant = tune->bias_now;
    return ldnq_adam_init(&tune->bias, rows, arena, err);
}

/* What s = 1 is of a weight of this row. */
static float unit_of(const struct ldnq_tune_float *tune, size_t row)
{
    return tune->norms[row] / sqrtf((float)tune->layer->geometry.cols);
}

void ldnq_tune_float_add(struct ldnq_tune_float *tune, const struct ldnq_tensor *weight,
                         const struct ldnq_tensor *bias)
{
    const float *g = weight->data, *b = bias ? bias->data : NULL;
    for (size_t row = 0; row < tune->rows; row++)
        for (size_t k = 0; k < tune->layer->geometry.cols; k++) {
            const size_t at = ldnq_weight_offset(&tune->layer->geometry, row, k);
            tune->weight.gradient[at] += g[at] * unit_of(tune, row);
        }
    for (size_t row = 0; b && row < tune->rows; row++)
        tune->bias.gradient[row] += b[row] * tune->norms[row];
}

void ldnq_tune_float_step(struct ldnq_tune_float *tune, size_t step, double rate)
{
    float *w = tune->weight_now->data;
    ldnq_adam_step(&tune->weight, step, rate);
    for (size_t row = 0; row < tune->rows; row++)
        for (size_t k = 0; k < tune->layer->geometry.cols; k++) {
            const size_t at = ldnq_weight_offset(&tune->layer->geometry, row, k);
            w[at] = tune->first_weight[at] + tune->weight.value[at] * unit_of(tune, row);
        }
    if (!tune->bias.count)
        return;
    ldnq_adam_step(&tune->bias, step, rate);
    float *b = tune->bias_now->data;
    for (size_t row = 0; row < tune->rows; row++)
        b[row] = tune->first_bias[row] + tune->bias.value[row] * tune->norms[row];
}

void ldnq_tune_float_keep(struct ldnq_tune_float *tune)
{
    memcpy(tune->weight_best->data, tune->weight_now->data, tune->elements * sizeof(float));
    if (tune->bias.count)
        memcpy(tune->bias_best->data, tune->bias_now->data, tune->rows * sizeof(float));
}

void ldnq_tune_float_finish(struct ldnq_tune_float *tune)
{
    struct ldnq_node *node = tune->layer->node;
    memcpy(tune->weight_after->data, tune->weight_best->data, tune->elements * sizeof(float));
    node->inputs[tune->layer->weight_input]->constant = tune->weight_after;
    if (!tune->bias.count)
        return;
    memcpy(tune->bias_after->data, tune->bias_best->data, tune->rows * sizeof(float));
    node->inputs[tune->layer->bias_input]->constant = tune->bias_after;
}
