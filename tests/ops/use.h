/* SPDX-License-Identifier: Apache-2.0 */
/* use.h: one use of one operator, made by hand: attributes, tensors, infer and
 * forward, without a graph. Buffers have exactly the sizes asked for, so that the
 * sanitizers see a step beyond them. */
#ifndef TESTS_OPS_USE_H
#define TESTS_OPS_USE_H

#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "ops/op_layer.h"

static struct ldnq_error err;

struct use {
    struct ldnq_arena *arena;
    struct ldnq_node node;
    struct ldnq_attr attrs[10];
    struct ldnq_tensor tensors[3];
    const struct ldnq_tensor *in[3];
    struct ldnq_tensor out;
    struct ldnq_op_call call;
};

static inline void use_init(struct use *use, const char *type, int opset)
{
    *use = (struct use){
        .node = { .name = "n", .label = "n", .op_type = type, .domain = "", .opset = opset }
    };
    assert_ok(ldnq_arena_create(&use->arena, &err));
    use->node.attrs = use->attrs;
    use->node.op = ldnq_ops_find("", type, opset);
    assert_non_null(use->node.op);
}

static inline void use_finish(struct use *use)
{
    for (size_t i = 0; i < 3; i++)
        free(use->tensors[i].data);
    free(use->out.data);
    ldnq_arena_destroy(use->arena);
}

/* ---- attributes; the lists must outlive the use ------------------------------- */

static inline struct ldnq_attr *use_attr(struct use *use, const char *name,
                                         enum ldnq_attr_kind kind)
{
    struct ldnq_attr *attr = &use->attrs[use->node.attr_count++];
    *attr = (struct ldnq_attr){ .name = name, .kind = kind };
    return attr;
}

static inline void use_ints(struct use *use, const char *name, const int64_t *values, size_t count)
{
    struct ldnq_attr *attr = use_attr(use, name, LDNQ_ATTR_INTS);
    attr->ints = values;
    attr->count = count;
}

static inline void use_int(struct use *use, const char *name, int64_t value)
{
    use_attr(use, name, LDNQ_ATTR_INT)->i = value;
}

static inline void use_float(struct use *use, const char *name, float value)
{
    use_attr(use, name, LDNQ_ATTR_FLOAT)->f = value;
}

static inline void use_string(struct use *use, const char *name, const char *value)
{
    use_attr(use, name, LDNQ_ATTR_STRING)->s = value;
}

/* ---- inputs -------------------------------------------------------------------- */

/* Input i: random numbers in -1 .. 1. */
static inline void use_input(struct use *use, size_t i, struct ldnq_shape shape,
                             struct ldnq_rng *rng)
{
    size_t count = 0;
    assert_true(ldnq_shape_count(&shape, &count));
    float *data = malloc(count * sizeof *data + !count);
    for (size_t at = 0; at < count; at++)
        data[at] = (float)(2 * ldnq_rng_uniform(rng) - 1);
    free(use->tensors[i].data);
    use->tensors[i] = (struct ldnq_tensor){ LDNQ_FLOAT, shape, data };
    use->in[i] = &use->tensors[i];
    if (use->call.in_count <= i)
        use->call.in_count = i + 1;
}

/* ---- running ------------------------------------------------------------------- */

static inline enum ldnq_status use_infer_shape(struct use *use)
{
    size_t in_count = use->call.in_count;
    if (use->node.op->read_attrs)
        LDNQ_TRY(use->node.op->read_attrs(&use->node, use->arena, &use->node.op_attrs, &err));
    use->call = (struct ldnq_op_call){ .node = &use->node,
                                       .attrs = use->node.op_attrs,
                                       .in_count = in_count,
                                       .out_count = 1,
                                       .in = use->in,
                                       .out = &use->out };
    return ldnq_ops_infer_shape(&use->call, &err);
}

/* What forward does not write stays NaN. */
static inline void use_forward(struct use *use, struct ldnq_pool *pool,
                               const struct ldnq_clamp *clamp)
{
    void *scratch = NULL;
    size_t count = ldnq_tensor_count(&use->out);
    free(use->out.data);
    float *data = use->out.data = malloc(count * sizeof(float) + !count);
    for (size_t i = 0; i < count; i++)
        data[i] = NAN;
    use->call.pool = pool;
    use->call.clamp = clamp;
    size_t bytes = use->node.op->scratch_bytes ? use->node.op->scratch_bytes(&use->call) : 0;
    assert_true(bytes != SIZE_MAX);
    if (bytes)
        assert_int_equal(posix_memalign(&scratch, 64, bytes), 0);
    use->call.scratch = scratch;
    assert_ok(use->node.op->forward(&use->call, &err));
    free(scratch);
}

/* forward on 1, 2 and 3 threads, which must agree to the bit; the result stays. */
static inline void use_forward_on_threads(struct use *use, const struct ldnq_clamp *clamp)
{
    size_t bytes = ldnq_tensor_count(&use->out) * sizeof(float);
    use_forward(use, NULL, clamp);
    float *first = malloc(bytes + !bytes);
    memcpy(first, use->out.data, bytes);
    for (size_t threads = 1; threads <= 3; threads++) {
        struct ldnq_pool *pool;
        assert_ok(ldnq_pool_create(threads, &pool, &err));
        use_forward(use, pool, clamp);
        ldnq_pool_destroy(pool);
        assert_memory_equal(first, use->out.data, bytes);
    }
    free(first);
}

static inline void assert_near(const float *is, const double *wanted, size_t count,
                               double tolerance)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)is[i] - wanted[i]) <= tolerance))
            fail_msg("element %zu of %zu: %.9g, expected %.9g", i, count, (double)is[i], wanted[i]);
}

/* Where W[row][i] of a group lies in the weight. */
static inline size_t use_element(const struct ldnq_layer_geometry *geometry, size_t g, size_t row,
                                 size_t i)
{
    const size_t m = geometry->rows, kernel = geometry->kernel;
    const struct ldnq_weight_strides *strides = &geometry->strides;
    if (geometry->layout == LDNQ_WEIGHT_IN_OUT_KERNEL)
        return (i / kernel * m + row) * kernel + i % kernel;
    if (geometry->layout == LDNQ_WEIGHT_PERMUTED)
        return g * strides->group + row / geometry->minor_rows * strides->major +
               row % geometry->minor_rows * strides->minor + i / kernel * strides->channel +
               i % kernel * strides->kernel;
    const bool in_out = geometry->layout == LDNQ_WEIGHT_IN_OUT;
    return g * m * geometry->cols + (in_out ? i * m + row : row * geometry->cols + i);
}

/* W y + b from the operator's own geometry and columns:
 * (groups, outputs, positions). The caller frees it. */
static inline double *use_product_of_layer(struct use *use, const struct ldnq_op_layer *layer,
                                           struct ldnq_layer_geometry *geometry, size_t *positions)
{
    const struct ldnq_tensor *bias =
        layer->bias_input >= 0 ? ldnq_op_input(&use->call, (size_t)layer->bias_input) : NULL;
    const float *weight = use->in[layer->weight_input]->data;
    assert_ok(
        layer->describe_weight(&use->node, use->in[layer->weight_input], bias, geometry, &err));
    size_t k = geometry->cols, m = geometry->rows,
           p = *positions = layer->count_positions(&use->call);
    double *product = calloc(geometry->groups * m * p + 1, sizeof *product);
    float *columns = malloc(k * (p + 1) * sizeof *columns + 1);
    for (size_t g = 0; g < geometry->groups; g++) {
        /* In two parts, so that a part starts in the middle. */
        size_t half = p / 3;
        layer->fill_columns(&use->call, g, 0, half, columns, p + 1);
        layer->fill_columns(&use->call, g, half, p - half, columns + half, p + 1);
        for (size_t row = 0; row < m; row++) {
            double *out = product + (g * m + row) * p;
            for (size_t at = 0; at < p; at++) {
                for (size_t i = 0; i < k; i++)
                    out[at] += (double)weight[use_element(geometry, g, row, i)] *
                               (double)columns[i * (p + 1) + at];
                if (bias)
                    out[at] += (double)geometry->bias_factor *
                               (double)((const float *)bias->data)[g * m + row];
            }
        }
    }
    free(columns);
    return product;
}

static inline double *use_layer_product(struct use *use, struct ldnq_layer_geometry *geometry,
                                        size_t *positions)
{
    return use_product_of_layer(use, use->node.op->layer, geometry, positions);
}

#endif
