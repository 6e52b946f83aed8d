/* SPDX-License-Identifier: Apache-2.0 */
#include "emit/axis_steps.h"

/* Axes of a matrix: groups, two of rows, two of columns. */
#define MOST_AXES 5

struct strided_axis {
    size_t size, stride;
};

/* Lists the axes in matrix order: none of size 1, and those that follow each other in the weight
 * too are one. */
static int list_axes(const struct ldnq_layer_geometry *geometry,
                     struct strided_axis axes[MOST_AXES])
{
    const struct ldnq_weight_strides *strides = &geometry->strides;
    const struct strided_axis all[MOST_AXES] = {
        { geometry->groups, strides->group },
        { geometry->rows / geometry->minor_rows, strides->major },
        { geometry->minor_rows, strides->minor },
        { geometry->cols / geometry->kernel, strides->channel },
        { geometry->kernel, strides->kernel },
    };
    int count = 0;
    for (int i = 0; i < MOST_AXES; i++) {
        struct strided_axis *last = count ? &axes[count - 1] : NULL;
        if (all[i].size == 1)
            continue;
        if (last && last->stride == all[i].size * all[i].stride)
            *last = (struct strided_axis){ last->size * all[i].size, all[i].stride };
        else
            axes[count++] = all[i];
    }
    return count;
}

struct ldnq_shape ldnq_find_matrix_shape(const struct ldnq_layer_geometry *geometry)
{
    return (struct ldnq_shape){ .rank = geometry->kernel > 1 ? 3 : 2,
                                .dim = { (int64_t)(geometry->groups * geometry->rows),
                                         (int64_t)(geometry->cols / geometry->kernel),
                                         (int64_t)geometry->kernel } };
}

/* Axis i of the weight is axis perm[i] of the matrix: the one with the i-th largest stride. */
static void sort_axes(const struct strided_axis *axes, int count, int64_t *perm)
{
    for (int i = 0; i < count; i++) {
        int at = 0;
        for (int k = 0; k < count; k++)
            at += axes[k].stride > axes[i].stride;
        perm[at] = i;
    }
}

struct ldnq_axis_steps ldnq_find_axis_steps(const struct ldnq_layer_geometry *geometry,
                                            const struct ldnq_shape *shape)
{
    struct strided_axis axes[MOST_AXES];
    const struct ldnq_shape stored = ldnq_find_matrix_shape(geometry);
    struct ldnq_axis_steps steps = { .first.rank = list_axes(geometry, axes) };
    struct ldnq_shape last = { .rank = steps.first.rank };
    sort_axes(axes, steps.first.rank, steps.perm);
    for (int i = 0; i < last.rank; i++) {
        steps.first.dim[i] = (int64_t)axes[i].size;
        last.dim[i] = (int64_t)axes[steps.perm[i]].size;
        steps.transposes |= steps.perm[i] != i;
    }
    if (!steps.transposes)
        last = stored;
    steps.reshapes_first = steps.transposes && !ldnq_shapes_are_equal(&stored, &steps.first);
    steps.reshapes_last = !ldnq_shapes_are_equal(&last, shape);
    return steps;
}
