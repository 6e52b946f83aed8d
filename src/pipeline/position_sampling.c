/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/position_sampling.h"

#include "base/size.h"

/* Adjacent positions that are read together. */
#define RUN ((size_t)16)

struct ldnq_position_sampling ldnq_sample_positions(const struct ldnq_op_layer *op, size_t all,
                                                    size_t most, size_t call_number)
{
    const size_t runs = ldnq_size_ceil_div(most, RUN);
    if (most == 0 || runs * RUN >= all)
        return (struct ldnq_position_sampling){ .op = op, .count = all, .run = all, .stride = all };
    const size_t stride = all / runs;
    return (struct ldnq_position_sampling){
        .op = op,
        .count = runs * RUN,
        .run = RUN,
        .stride = stride,
        .offset = call_number * RUN % (stride - RUN + 1),
    };
}

/* Counts how many of the next `most` positions from `at` on are adjacent. */
static size_t count_adjacent_positions(const size_t *unmasked, size_t at, size_t most)
{
    size_t count = 1;
    while (count < most && unmasked[at + count] == unmasked[at] + count)
        count++;
    return count;
}

void ldnq_read_sampled_columns(const struct ldnq_op_call *call, size_t group,
                               const struct ldnq_position_sampling *sampling, size_t first,
                               size_t count, float *columns, size_t ld)
{
    const size_t *unmasked = sampling->unmasked;
    while (count > 0) {
        const size_t in_run = first % sampling->run;
        const size_t at = sampling->offset + first / sampling->run * sampling->stride + in_run;
        size_t part = ldnq_size_min(count, sampling->run - in_run);
        if (unmasked)
            part = count_adjacent_positions(unmasked, at, part);
        sampling->op->fill_columns(call, group, unmasked ? unmasked[at] : at, part, columns, ld);
        columns += part;
        first += part;
        count -= part;
    }
}
