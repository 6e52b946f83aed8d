/* comparison.h: what two files compared have in common, and in what they differ, as data.
 *
 * Owns    all results live in the arena that was passed in, and point into the two
 *         models, which have to outlive them.
 * Units   SQNR in dB, 10 log10 (sum t^2 / sum (y - t)^2) with t A's; infinite where y
 *         is t, NaN where it was not measured.
 */
#ifndef LDNQ_COMPARE_COMPARISON_H
#define LDNQ_COMPARE_COMPARISON_H

#include "ir/ir.h"
#include "quant/quant.h"

/* ---- one file ------------------------------------------------------------------------ */

/* A tensor that is held as integers with a scale: a DequantizeLinear's input. */
struct ldnq_quantized_tensor {
    const char *name;   /* of the codes: the initializer, or the value that holds them */
    const char *reader; /* label of the first node behind the DequantizeLinear; "" for none */
    bool is_constant;   /* a weight or bias; else an activation */
    enum ldnq_dtype dtype;
    struct ldnq_shape shape; /* of the codes */
    int axis;                /* of the scales; -1: one for the tensor */
    int64_t block_size;      /* 0: no blocks */
    size_t scale_count;      /* 0 when the scale is no constant */
    double scale_min, scale_max;
    int64_t zero_min, zero_max; /* zero points */
    /* Of constant codes: */
    size_t count;
    int64_t code_min, code_max;
    size_t codes_used;       /* different ones; 0 for codes of more than 16 bits */
    double entropy;          /* bits a code would take by how often each occurs; NaN as above */
    size_t bytes;            /* codes, scales and zero points, as stored */
    int64_t histogram_first; /* the code that histogram[0] counts */
    size_t histogram_count;  /* 0 for codes of more than 8 bits */
    const uint64_t *histogram;
};

/* ---- two files ----------------------------------------------------------------------- */

struct ldnq_diff_file {
    const char *path, *producer;
    size_t bytes;
    int opset;
    int64_t ir_version;
    size_t nodes;    /* all of the main graph */
    size_t plumbing; /* of them QuantizeLinear, DequantizeLinear and the like */
    size_t weights;  /* elements of the layers' weights */
    size_t weight_bytes;
};

/* By what two nodes were recognized as one. */
enum ldnq_pairing {
    LDNQ_PAIR_NONE,
    LDNQ_PAIR_NAME,          /* of the node */
    LDNQ_PAIR_OUTPUT,        /* the name of its output */
    LDNQ_PAIR_CONTENT,       /* its weight */
    LDNQ_PAIR_NEIGHBOURHOOD, /* what is in front of it and behind it */
};

/* "name", "output" ... */
const char *ldnq_pairing_name(enum ldnq_pairing pairing);

struct ldnq_diff_error {
    double sqnr;   /* dB */
    double cosine; /* of y and t, as vectors over all samples; NaN as for sqnr */
};

#define LDNQ_DIFF_BINS 64

/* How a layer's weight in A and B are spread, for pictures. Of A the effective weight
 * counts, with the BatchNormalization behind it where B has it folded. */
struct ldnq_diff_spread {
    double low, high; /* of the bins, which are of equal width */
    uint64_t a[LDNQ_DIFF_BINS], b[LDNQ_DIFF_BINS];
    size_t point_count;       /* weights drawn evenly from the tensor */
    const float (*points)[2]; /* (a, b) */
};

/* A node of A with a weight (Conv, Gemm, MatMul ...), and its partner in B. */
struct ldnq_diff_layer {
    const char *node, *op; /* A's label */
    const char *other;     /* B's label; NULL when it has no partner */
    enum ldnq_pairing pairing;
    const char *folded;      /* labels of nodes that B has merged into it, or NULL */
    struct ldnq_shape shape; /* of the weight in A */
    size_t weights;          /* elements; 0 when the weight is computed at run time */
    double macs;             /* one sample; NaN when sizes are open */
    size_t bytes_a, bytes_b; /* of the weight as stored, scales and zero points too */
    const struct ldnq_quantized_tensor *weight; /* in B; NULL when it is float there */
    const struct ldnq_quantized_tensor *input;  /* B's input in codes; NULL when it is float */
    double bits;                                /* 8 * bytes_b / weights; NaN without weights */
    double weight_sqnr;                         /* of B's (dequantized) weight */
    struct ldnq_diff_spread *spread;            /* NULL without comparable weights */
    /* With samples, of the layer's output (before its activation): B's layer on A's input
     * (what goes wrong in this layer), and in B on B's input (what has come together up
     * to here). B's layer is what stands in B: its input's QuantizeLinear included. */
    struct ldnq_diff_error isolated, accumulated;
    /* Of `quantize --report`: how the solver got there. NULL else. */
    const struct ldnq_trace_row *trace;
    size_t trace_count;
};

/* A node that only one file has, or that differs. */
struct ldnq_diff_note {
    const char *node, *op; /* label where it stands; A's for changes */
    const char *text;      /* "folded into 'conv1'", "attribute pads: 0,0,0,0 -> 1,1,1,1" */
};

/* An output of the networks over all samples. */
struct ldnq_diff_output {
    const char *name, *other; /* in A and in B */
    struct ldnq_diff_error error;
    double relative;  /* |y - t|^2 / |t|^2 */
    double bound;     /* what the layers' isolated errors make of `relative` at most, by the
                         paper's theorem; NaN where it does not hold (bound_reason) */
    double max_error; /* the largest |y - t| */
    /* Where each sample has a row of two scores and more; else NaN. */
    double agreement; /* samples whose largest score is in the same place, 0 .. 1 */
    double kl;        /* mean of sum p log(p/q), nats; p A's softmax, or A's row where the
                         rows of both are distributions already */
};

struct ldnq_diff {
    struct ldnq_diff_file a, b;
    struct ldnq_diff_layer *layers; /* in the order in which A runs */
    size_t layer_count, paired_layers;
    size_t paired; /* nodes of A with a partner, layers among them, plumbing not counted */
    struct ldnq_diff_note *removed, *added, *changed;
    size_t removed_count, added_count, changed_count;
    struct ldnq_quantized_tensor *tensors; /* of B */
    size_t tensor_count;
    /* With samples: */
    size_t samples; /* 0 without */
    double seconds; /* of running them */
    struct ldnq_diff_output *outputs;
    size_t output_count;
    const char *bound_reason; /* why there is no bound; NULL when there is one */
};

#endif
