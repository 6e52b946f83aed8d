/* SPDX-License-Identifier: Apache-2.0 */
/* conv_reference.h: the convolution of ONNX's text, with one loop per index, as the
 * reference for the fast ones; and cases to make nodes and random inputs from. */
#ifndef TESTS_OPS_CONV_CONV_REFERENCE_H
#define TESTS_OPS_CONV_CONV_REFERENCE_H

#include "ops/use.h"

/* Axis 0 is H and axis 1 W; with one axis, H is 1 everywhere and is not mentioned
 * in the node. C and M are per group. */
struct conv_case {
    size_t axes;
    int64_t n, groups, c, m;
    int64_t size[2], kernel[2], stride[2], dilation[2], begin[2], end[2];
    const char *auto_pad; /* NULL: begin and end hold */
    bool has_bias;
    /* Filled in by conv_case_finish. */
    int64_t out[2], pads[4];
};

static inline int64_t from_1_to(struct ldnq_rng *rng, size_t max)
{
    return 1 + (int64_t)ldnq_rng_below(rng, max);
}

/* A small convolution with groups, strides, dilations and padding; pads may be larger than
 * the kernel. */
static inline struct conv_case conv_case_random(struct ldnq_rng *rng, size_t max_kernel)
{
    static const char *const auto_pads[] = { "VALID", "SAME_UPPER", "SAME_LOWER" };
    struct conv_case conv = { .axes = 1 + ldnq_rng_below(rng, 2),
                              .n = from_1_to(rng, 3),
                              .groups = from_1_to(rng, 3),
                              .c = from_1_to(rng, 3),
                              .m = from_1_to(rng, 6),
                              .has_bias = ldnq_rng_below(rng, 2) };
    if (ldnq_rng_below(rng, 3) == 0)
        conv.auto_pad = auto_pads[ldnq_rng_below(rng, 3)];
    for (size_t i = 0; i < 2; i++) {
        bool used = i >= 2 - conv.axes;
        conv.size[i] = used ? from_1_to(rng, 9) : 1;
        conv.kernel[i] = used ? from_1_to(rng, max_kernel) : 1;
        conv.stride[i] = used ? from_1_to(rng, 3) : 1;
        conv.dilation[i] = used ? from_1_to(rng, 3) : 1;
        conv.begin[i] = used ? from_1_to(rng, 6) - 1 : 0;
        conv.end[i] = used ? from_1_to(rng, 6) - 1 : 0;
    }
    return conv;
}

/* Computes the output sizes and the leading pads of auto_pad. False if a window does not fit. */
static inline bool conv_case_finish(struct conv_case *conv)
{
    for (int i = 0; i < 2; i++) {
        int64_t extent = (conv->kernel[i] - 1) * conv->dilation[i] + 1;
        if (conv->auto_pad)
            conv->begin[i] = conv->end[i] = 0;
        if (conv->auto_pad && strncmp(conv->auto_pad, "SAME", 4) == 0) {
            int64_t out = (conv->size[i] + conv->stride[i] - 1) / conv->stride[i];
            int64_t total = (out - 1) * conv->stride[i] + extent - conv->size[i];
            total = total > 0 ? total : 0;
            bool upper = strcmp(conv->auto_pad, "SAME_UPPER") == 0;
            conv->begin[i] = upper ? total / 2 : total - total / 2;
            conv->end[i] = total - conv->begin[i];
            conv->out[i] = out;
            continue;
        }
        int64_t span = conv->size[i] + conv->begin[i] + conv->end[i] - extent;
        if (span < 0)
            return false;
        conv->out[i] = span / conv->stride[i] + 1;
    }
    return true;
}

/* The node and random tensors; opset 13. */
static inline void conv_case_use(struct conv_case *conv, struct use *use, struct ldnq_rng *rng)
{
    size_t first = 2 - conv->axes;
    use_init(use, "Conv", 13);
    for (size_t i = first; i < 2; i++) {
        conv->pads[i - first] = conv->begin[i];
        conv->pads[i - first + conv->axes] = conv->end[i];
    }
    use_ints(use, "kernel_shape", conv->kernel + first, conv->axes);
    use_ints(use, "strides", conv->stride + first, conv->axes);
    use_ints(use, "dilations", conv->dilation + first, conv->axes);
    if (conv->auto_pad)
        use_string(use, "auto_pad", conv->auto_pad);
    else
        use_ints(use, "pads", conv->pads, 2 * conv->axes);
    use_int(use, "group", conv->groups);
    struct ldnq_shape x = { (int)conv->axes + 2, { conv->n, conv->groups * conv->c } };
    struct ldnq_shape w = { (int)conv->axes + 2, { conv->groups * conv->m, conv->c } };
    for (size_t i = first; i < 2; i++) {
        x.dim[2 + i - first] = conv->size[i];
        w.dim[2 + i - first] = conv->kernel[i];
    }
    use_input(use, 0, x, rng);
    use_input(use, 1, w, rng);
    if (conv->has_bias)
        use_input(use, 2, (struct ldnq_shape){ 1, { conv->groups * conv->m } }, rng);
}

/* One output: image n, output channel m of all, position (oh, ow). */
static inline double conv_reference_element(const struct conv_case *conv, const struct use *use,
                                            int64_t n, int64_t m, int64_t oh, int64_t ow)
{
    const float *x = use->tensors[0].data, *w = use->tensors[1].data;
    int64_t group = m / conv->m, channels = conv->groups * conv->c;
    double sum = conv->has_bias ? (double)((const float *)use->tensors[2].data)[m] : 0;
    for (int64_t c = 0; c < conv->c; c++) {
        for (int64_t kh = 0; kh < conv->kernel[0]; kh++) {
            for (int64_t kw = 0; kw < conv->kernel[1]; kw++) {
                int64_t h = oh * conv->stride[0] + kh * conv->dilation[0] - conv->begin[0];
                int64_t v = ow * conv->stride[1] + kw * conv->dilation[1] - conv->begin[1];
                if (h < 0 || h >= conv->size[0] || v < 0 || v >= conv->size[1])
                    continue;
                int64_t channel = n * channels + group * conv->c + c;
                sum += (double)x[(channel * conv->size[0] + h) * conv->size[1] + v] *
                       (double)w[((m * conv->c + c) * conv->kernel[0] + kh) * conv->kernel[1] + kw];
            }
        }
    }
    return sum;
}

/* (N, G*M, OH, OW); the caller frees it. */
static inline double *conv_reference(const struct conv_case *conv, const struct use *use)
{
    int64_t outputs = conv->groups * conv->m;
    size_t count = (size_t)(conv->n * outputs * conv->out[0] * conv->out[1]);
    double *y = malloc((count + 1) * sizeof *y), *at = y;
    for (int64_t n = 0; n < conv->n; n++)
        for (int64_t m = 0; m < outputs; m++)
            for (int64_t oh = 0; oh < conv->out[0]; oh++)
                for (int64_t ow = 0; ow < conv->out[1]; ow++)
                    *at++ = conv_reference_element(conv, use, n, m, oh, ow);
    return y;
}

#endif
