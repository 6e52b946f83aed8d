/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/input_means.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "ops/op.h"
#include "ops/op_layer.h"

/* Positions whose columns are computed at a time. */
#define SLAB ((size_t)256)

/* Sums over the samples whose tensors have one shape. */
struct shape_sums {
    struct shape_sums *next; /* another shape of the same value */
    struct ldnq_shape shape; /* shape of one sample: axis 0 is 1 where it counts samples */
    size_t samples;
    float *sum, *squares; /* by element of the shape */
};

struct value_sums {
    const struct ldnq_value *value;
    bool is_whole; /* axis 0 does not count samples: every tensor is one sample */
    struct shape_sums *shapes;
};

struct ldnq_input_means {
    struct ldnq_pool *pool;
    struct ldnq_arena *arena;
    struct value_sums *sums; /* (sum_count) */
    size_t sum_count;
    size_t *sums_of_value; /* by value index, plus 1; 0: none */
    size_t *sums_of_layer;
};

static const struct ldnq_value *find_layer_input(const struct ldnq_graph *graph,
                                                 const struct ldnq_layer *layer)
{
    const size_t product = ldnq_find_product_of_lookup(graph, layer->node_index);
    return layer->product ? graph->nodes[product]->inputs[0]
                          : graph->nodes[layer->node_index]->inputs[layer->op->data_input];
}

enum ldnq_status ldnq_input_means_create(const struct ldnq_layer *layers, size_t count,
                                         const struct ldnq_graph *graph, struct ldnq_pool *pool,
                                         struct ldnq_arena *arena, struct ldnq_input_means **out,
                                         struct ldnq_error *err)
{
    struct ldnq_input_means *means = ldnq_arena_alloc(arena, 1, sizeof *means, err);
    if (!means)
        return LDNQ_NOMEM;
    *means = (struct ldnq_input_means){ .pool = pool, .arena = arena };
    means->sums = ldnq_arena_alloc(arena, count, sizeof *means->sums, err);
    means->sums_of_value =
        ldnq_arena_alloc(arena, graph->value_count, sizeof *means->sums_of_value, err);
    means->sums_of_layer = ldnq_arena_alloc(arena, count, sizeof *means->sums_of_layer, err);
    if (!means->sums || !means->sums_of_value || !means->sums_of_layer)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (ldnq_layer_is_table(&layers[i]))
            continue;
        const struct ldnq_value *value = find_layer_input(graph, &layers[i]);
        const size_t known = means->sums_of_value[value->index];
        means->sums_of_layer[i] = known ? known - 1 : means->sum_count;
        if (known) {
            means->sums[known - 1].is_whole |= layers[i].geometry.mixes_samples;
            continue;
        }
        means->sums[means->sum_count++] =
            (struct value_sums){ .value = value, .is_whole = layers[i].geometry.mixes_samples };
        means->sums_of_value[value->index] = means->sum_count;
    }
    *out = means;
    return LDNQ_OK;
}

void ldnq_input_means_mark(const struct ldnq_input_means *means, bool *visited)
{
    for (size_t i = 0; i < means->sum_count; i++)
        visited[means->sums[i].value->index] = true;
}

/* ---- adding ------------------------------------------------------------------------------ */

static struct shape_sums *find_or_add_shape(struct ldnq_input_means *means,
                                            struct value_sums *value,
                                            const struct ldnq_shape *shape, struct ldnq_error *err)
{
    for (struct shape_sums *s = value->shapes; s; s = s->next)
        if (ldnq_shapes_are_equal(&s->shape, shape))
            return s;
    size_t count;
    struct shape_sums *added = ldnq_arena_alloc(means->arena, 1, sizeof *added, err);
    if (!added || !ldnq_shape_count(shape, &count))
        return NULL;
    added->shape = *shape;
    added->sum = ldnq_arena_alloc(means->arena, count, sizeof *added->sum, err);
    added->squares = ldnq_arena_alloc(means->arena, count, sizeof *added->squares, err);
    if (!added->sum || !added->squares)
        return NULL;
    added->next = value->shapes;
    value->shapes = added;
    return added;
}

struct addition {
    struct shape_sums *sums;
    const float *data; /* (samples, elements) */
    size_t samples, elements;
};

/* Elements that one thread adds at a time. */
#define PART ((size_t)16384)

static void add_elements_to_sums(void *argument, size_t part, size_t thread)
{
    (void)thread;
    const struct addition *addition = argument;
    const size_t first = part * PART, last = ldnq_size_min(first + PART, addition->elements);
    float *sum = addition->sums->sum, *squares = addition->sums->squares;
    for (size_t n = 0; n < addition->samples; n++) {
        const float *x = addition->data + n * addition->elements;
        for (size_t i = first; i < last; i++) {
            sum[i] += x[i];
            squares[i] += x[i] * x[i];
        }
    }
}

enum ldnq_status ldnq_input_means_add(struct ldnq_input_means *means,
                                      const struct ldnq_value *value,
                                      const struct ldnq_tensor *tensor, struct ldnq_error *err)
{
    if (means->sums_of_value[value->index] == 0 || ldnq_tensor_count(tensor) == 0)
        return LDNQ_OK;
    struct value_sums *sums = &means->sums[means->sums_of_value[value->index] - 1];
    struct ldnq_shape shape = tensor->shape;
    size_t samples = 1;
    if (shape.rank > 1 && !sums->is_whole) {
        samples = (size_t)shape.dim[0];
        shape.dim[0] = 1;
    }
    struct addition addition = { .data = tensor->data,
                                 .samples = samples,
                                 .elements = ldnq_tensor_count(tensor) / samples };
    addition.sums = find_or_add_shape(means, sums, &shape, err);
    if (!addition.sums)
        return LDNQ_NOMEM;
    ldnq_pool_run(means->pool, ldnq_size_ceil_div(addition.elements, PART), add_elements_to_sums,
                  &addition);
    addition.sums->samples += samples;
    return LDNQ_OK;
}

/* ---- the columns of a layer ---------------------------------------------------------------- */

/* Mean and root mean square of one sample, as tensors that a layer can read. */
static enum ldnq_status make_mean_sample(const struct shape_sums *sums, struct ldnq_arena *arena,
                                         struct ldnq_tensor *sample[2], struct ldnq_error *err)
{
    for (size_t i = 0; i < 2; i++)
        LDNQ_TRY(ldnq_tensor_create(arena, LDNQ_FLOAT, &sums->shape, &sample[i], err));
    float *mean = sample[0]->data, *power = sample[1]->data;
    const float count = (float)sums->samples;
    for (size_t i = 0, n = ldnq_tensor_count(sample[0]); i < n; i++) {
        mean[i] = sums->sum[i] / count;
        power[i] = sqrtf(sums->squares[i] / count);
    }
    return LDNQ_OK;
}

/* One thread's work: the columns of one group of the layer. */
struct column_sums {
    const struct ldnq_op_layer *op;
    struct ldnq_op_call call;
    size_t positions, cols;
    bool squared;
    double weight;
    float *columns; /* (threads, cols, SLAB) */
    double *out;    /* (G, K) */
};

static void add_group_columns(void *argument, size_t group, size_t thread)
{
    const struct column_sums *sums = argument;
    float *columns = sums->columns + thread * sums->cols * SLAB;
    double *out = sums->out + group * sums->cols;
    for (size_t first = 0; first < sums->positions; first += SLAB) {
        const size_t count = ldnq_size_min(SLAB, sums->positions - first);
        sums->op->fill_columns(&sums->call, group, first, count, columns, SLAB);
        for (size_t k = 0; k < sums->cols; k++) {
            double sum = 0;
            for (size_t i = 0; i < count; i++) {
                const double y = (double)columns[k * SLAB + i];
                sum += sums->squared ? y * y : y;
            }
            out[k] += sum * sums->weight;
        }
    }
}

static enum ldnq_status prepare_call(const struct ldnq_op_layer *op, struct ldnq_op_call *call,
                                     struct ldnq_arena *arena, struct ldnq_error *err)
{
    call->scratch = ldnq_arena_alloc(arena, op->scratch_bytes(call), 1, err);
    return call->scratch ? op->prepare(call, err) : LDNQ_NOMEM;
}

/* Adds the sums over all samples of one shape: of the columns, and of their squares. */
static enum ldnq_status add_shape(const struct ldnq_layer *layer, const struct ldnq_node *node,
                                  const struct shape_sums *shape, struct ldnq_pool *pool,
                                  struct ldnq_column_moments *out, struct ldnq_arena *arena,
                                  struct ldnq_error *err)
{
    const size_t data_input = (size_t)layer->op->data_input;
    /* Other inputs matter to layers alone that compute more than a product. */
    const size_t in_count = layer->op->repeats_weight
                                ? node->input_count
                                : 1 + ldnq_size_max(layer->weight_input, data_input);
    const struct ldnq_tensor **in = ldnq_arena_alloc(arena, in_count, sizeof *in, err);
    struct ldnq_tensor *sample[2], output = { 0 }, *outputs = &output;
    struct column_sums sums = { .op = layer->op,
                                .cols = layer->geometry.cols,
                                .weight = (double)shape->samples };
    const size_t threads = ldnq_pool_threads(pool);
    sums.columns = ldnq_arena_alloc(arena, threads * sums.cols, SLAB * sizeof(float), err);
    if (!in || !sums.columns)
        return LDNQ_NOMEM;
    LDNQ_TRY(make_mean_sample(shape, arena, sample, err));
    for (size_t i = 0; i < in_count; i++)
        in[i] = i < node->input_count && node->inputs[i] ? node->inputs[i]->constant : NULL;
    in[layer->weight_input] = layer->weight;
    for (size_t i = 0; i < 2; i++) {
        in[data_input] = sample[i];
        sums.call = (struct ldnq_op_call){ .node = node,
                                           .attrs = node->op_attrs,
                                           .in_count = in_count,
                                           .out_count = 1,
                                           .in = in,
                                           .out = outputs,
                                           .pool = pool };
        if (!layer->op->is_lookup)
            LDNQ_TRY(ldnq_ops_infer_shape(&sums.call, err));
        if (layer->op->prepare)
            LDNQ_TRY(prepare_call(layer->op, &sums.call, arena, err));
        sums.positions = layer->op->count_positions(&sums.call);
        sums.squared = i == 1;
        sums.out = i == 0 ? out->mean : out->diagonal;
        ldnq_pool_run(pool, layer->geometry.groups, add_group_columns, &sums);
    }
    out->positions += sums.positions * shape->samples;
    return LDNQ_OK;
}

enum ldnq_status ldnq_input_means_columns(const struct ldnq_input_means *means, size_t index,
                                          const struct ldnq_layer *layer,
                                          const struct ldnq_graph *graph, struct ldnq_arena *arena,
                                          struct ldnq_column_moments *out, struct ldnq_error *err)
{
    const struct ldnq_node *node = graph->nodes[layer->node_index];
    const size_t count = layer->geometry.groups * layer->geometry.cols;
    out->positions = 0;
    out->mean = ldnq_arena_alloc(arena, count, sizeof *out->mean, err);
    out->diagonal = ldnq_arena_alloc(arena, count, sizeof *out->diagonal, err);
    if (!out->mean || !out->diagonal)
        return LDNQ_NOMEM;
    for (const struct shape_sums *s = means->sums[means->sums_of_layer[index]].shapes; s;
         s = s->next)
        LDNQ_TRY(add_shape(layer, node, s, means->pool, out, arena, err));
    if (out->positions == 0)
        return LDNQ_OK;
    for (size_t i = 0; i < count; i++) {
        out->mean[i] /= (double)out->positions;
        out->diagonal[i] /= (double)out->positions;
        if (layer->bias)
            out->diagonal[i] = fmax(0, out->diagonal[i] - out->mean[i] * out->mean[i]);
    }
    return LDNQ_OK;
}
