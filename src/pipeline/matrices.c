#include "pipeline/matrices.h"

#include "base/size.h"

size_t ldnq_layer_element(const struct ldnq_layer *layer, size_t row, size_t k)
{
    if (layer->taps)
        return (k / layer->taps * layer->outputs + row) * layer->taps + k % layer->taps;
    return layer->transposed ? k * (layer->groups * layer->outputs) + row : row * layer->inputs + k;
}

/* Inputs lie channel by channel, each with its kernel's places. */
enum ldnq_status ldnq_layer_split(struct ldnq_layer_result *result,
                                  const struct ldnq_quantize_options *options,
                                  struct ldnq_arena *arena, struct ldnq_error *err)
{
    const size_t inputs = result->layer.inputs, kernel = result->layer.kernel;
    const size_t channels = kernel ? inputs / kernel : 0, block = options->block;
    if (options->granularity != LDNQ_PER_BLOCK || channels < block ||
        (channels == block && kernel == 1))
        return LDNQ_OK;
    uint32_t *segment = ldnq_arena_alloc(arena, inputs, sizeof *segment, err);
    if (!segment)
        return LDNQ_NOMEM;
    for (size_t k = 0; k < inputs; k++)
        segment[k] = (uint32_t)(k / (block * kernel) * kernel + k % kernel);
    result->segment = segment;
    result->segments = ldnq_size_ceil_div(channels, block) * kernel;
    result->block = block;
    return LDNQ_OK;
}

enum ldnq_status ldnq_matrices_init(struct ldnq_matrices *m, const struct ldnq_layer *layer,
                                    struct ldnq_arena *arena, struct ldnq_error *err)
{
    size_t rows = ldnq_layer_rows(layer), count = rows * layer->inputs;
    const float *weight = layer->weight->data, *bias = layer->bias ? layer->bias->data : NULL;
    m->weight = ldnq_arena_alloc(arena, count, sizeof *m->weight, err);
    m->codes = ldnq_arena_alloc(arena, count, sizeof *m->codes, err);
    m->bias = ldnq_arena_alloc(arena, rows, sizeof *m->bias, err);
    if (!m->weight || !m->codes || !m->bias)
        return LDNQ_NOMEM;
    for (size_t row = 0; row < rows; row++) {
        for (size_t k = 0; k < layer->inputs; k++)
            m->weight[row * layer->inputs + k] = weight[ldnq_layer_element(layer, row, k)];
        m->bias[row] = bias ? layer->bias_factor * bias[row] : 0.0f;
    }
    return LDNQ_OK;
}

enum ldnq_status ldnq_layer_place(struct ldnq_layer_result *result, struct ldnq_arena *arena,
                                  struct ldnq_error *err)
{
    const struct ldnq_layer *layer = &result->layer;
    if (!result->weight)
        LDNQ_TRY(
            ldnq_tensor_create(arena, LDNQ_FLOAT, &layer->weight->shape, &result->weight, err));
    float *data = result->weight->data;
    for (size_t row = 0; row < ldnq_layer_rows(layer); row++)
        for (size_t k = 0; k < layer->inputs; k++) {
            size_t at = ldnq_layer_element(layer, row, k);
            data[at] = result->scales[ldnq_layer_scale(result, row, k)] * (float)result->codes[at];
        }
    layer->node->inputs[layer->weight_input]->constant = result->weight;
    if (result->bias)
        layer->node->inputs[layer->bias_input]->constant = result->bias;
    return LDNQ_OK;
}
