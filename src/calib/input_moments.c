/* SPDX-License-Identifier: Apache-2.0 */
#include "calib/input_moments.h"

#include <math.h>

#include "base/alloc.h"
#include "base/size.h"
#include "calib/source.h"

#define MOST_SAMPLES ((size_t)32)
#define LEAST_PIXELS 8

/* Where an image's channels are: element i has channel i / step % channels. */
struct channel_layout {
    size_t channels, step;
    bool is_image;
};

struct moment_sums {
    double count, sum[LDNQ_MOST_INPUT_CHANNELS], square[LDNQ_MOST_INPUT_CHANNELS];
};

static bool is_channel_count(int64_t dim)
{
    return dim == 1 || dim == 3 || dim == 4;
}

/* `row` is the shape of one sample, with or without the batch axis of 1. */
static struct channel_layout find_channel_layout(const struct ldnq_shape *row)
{
    const int skip = row->rank == 4 && row->dim[0] == 1;
    const int64_t *dim = row->dim + skip;
    const struct channel_layout none = { 1, 1, false };
    if (row->rank - skip != 3)
        return none;
    if (is_channel_count(dim[0]) && dim[1] >= LEAST_PIXELS && dim[2] >= LEAST_PIXELS)
        return (struct channel_layout){ (size_t)dim[0], (size_t)(dim[1] * dim[2]), true };
    if (is_channel_count(dim[2]) && dim[0] >= LEAST_PIXELS && dim[1] >= LEAST_PIXELS)
        return (struct channel_layout){ (size_t)dim[2], 1, true };
    return none;
}

/* `batch` has one sample. */
static struct channel_layout find_sample_layout(const struct ldnq_input *input,
                                                const struct ldnq_tensor *batch)
{
    struct ldnq_shape row = batch->shape;
    if (input->batched) {
        row.rank--;
        for (int axis = 0; axis < row.rank; axis++)
            row.dim[axis] = row.dim[axis + 1];
    }
    return find_channel_layout(&row);
}

static void add_values(const struct ldnq_tensor *tensor, const struct channel_layout *layout,
                       struct moment_sums *sums)
{
    const float *x = tensor->data;
    const size_t count = ldnq_tensor_count(tensor);
    for (size_t i = 0; i < count; i++) {
        const size_t c = i / layout->step % layout->channels;
        sums->sum[c] += (double)x[i];
        sums->square[c] += (double)x[i] * (double)x[i];
    }
    sums->count += (double)count / (double)layout->channels;
}

static void finish_moments(const struct moment_sums *sums, struct ldnq_input_moments *moments)
{
    for (size_t c = 0; c < moments->channels; c++) {
        const double mean = sums->sum[c] / sums->count;
        moments->mean[c] = mean;
        moments->deviation[c] = sqrt(fmax(0, sums->square[c] / sums->count - mean * mean));
    }
}

enum ldnq_status ldnq_samples_measure_inputs(struct ldnq_samples *samples, struct ldnq_pool *pool,
                                             struct ldnq_input_moments *moments,
                                             struct ldnq_error *err)
{
    const size_t count = ldnq_size_min(samples->count, MOST_SAMPLES);
    struct moment_sums *sums = ldnq_calloc(samples->input_count, sizeof *sums);
    enum ldnq_status status = sums ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    for (size_t sample = 0; status == LDNQ_OK && sample < count; sample++) {
        struct ldnq_sample_batch batch;
        status = ldnq_sample_batch_read(samples, sample, 1, pool, &batch, err);
        for (size_t i = 0; status == LDNQ_OK && i < samples->input_count; i++) {
            const struct channel_layout layout =
                find_sample_layout(&samples->inputs[i], batch.inputs[i]);
            if (batch.inputs[i]->dtype == LDNQ_FLOAT &&
                layout.channels == find_channel_layout(&samples->inputs[i].row).channels)
                add_values(batch.inputs[i], &layout, &sums[i]);
        }
        ldnq_arena_destroy(batch.arena);
    }
    for (size_t i = 0; status == LDNQ_OK && i < samples->input_count; i++) {
        const struct channel_layout layout = find_channel_layout(&samples->inputs[i].row);
        const bool has_values = sums[i].count > 0;
        moments[i] = (struct ldnq_input_moments){ .channels = has_values ? layout.channels : 0,
                                                  .is_image = has_values && layout.is_image };
        finish_moments(&sums[i], &moments[i]);
    }
    ldnq_free(sums);
    return status;
}
