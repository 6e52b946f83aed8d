#include "calib/calib.h"

size_t ldnq_samples_batch(const struct ldnq_samples *samples, const struct ldnq_graph *graph,
                          size_t want)
{
    if (!ldnq_samples_can_stack(samples))
        return 1;
    for (size_t i = 0; i < graph->input_count; i++) {
        const struct ldnq_shape *shape = &graph->inputs[i]->shape;
        if (shape->rank > 0 && !ldnq_is_symbol(shape->dim[0]))
            return 1;
    }
    return want > 0 ? want : 1;
}
