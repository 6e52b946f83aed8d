/* SPDX-License-Identifier: Apache-2.0 */
/* comparison.h: what a comparison of two models found, as plain data.
 *
 * A is the float model and the reference, B the quantized one. t is a value of A, y the same
 * value of B.
 *
 * Owns    nothing: all arrays live in the arena that ldnq_diff_create was called with, and names
 *         point into the two models, which must outlive the comparison
 * Units   SQNR in dB, 10 log10(sum t^2 / sum (y - t)^2); infinite where y equals t. NaN is
 *         a number that is unknown or was not measured
 */
#ifndef LDNQ_COMPARE_COMPARISON_H
#define LDNQ_COMPARE_COMPARISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- one file ------------------------------------------------------------------------ */

#define LDNQ_DIFF_MAX_RANK 8
#define LDNQ_DIFF_OPEN (-1)

struct ldnq_diff_shape {
    int rank;                        /* 0 for a scalar; LDNQ_DIFF_OPEN where it is unknown */
    int64_t dim[LDNQ_DIFF_MAX_RANK]; /* LDNQ_DIFF_OPEN where only the data decide */
};

/* A tensor stored or computed as integers with scales: the input of a DequantizeLinear. */
struct ldnq_quantized_tensor {
    const char *name;   /* name of the codes: an initializer, or a value computed at run time */
    const char *reader; /* label of the first node that computes with it; "" for none */
    bool is_constant;   /* a weight or bias; otherwise an activation */
    const char *type;   /* element type of the codes: "int4" */
    struct ldnq_diff_shape shape;
    int axis;           /* axis of the scales; -1 for one scale per tensor */
    int64_t block_size; /* along the axis; 0 without blocks */
    size_t scale_count; /* 0 when the scales are not constant */
    double scale_min, scale_max;
    int64_t zero_min, zero_max; /* zero points */
    /* The members below are for constant codes only. */
    size_t count;
    int64_t code_min, code_max;
    size_t codes_used; /* distinct codes; 0 for types of more than 16 bits */
    double entropy; /* entropy of the codes' distribution, bits per code; NaN if codes_used is 0 */
    size_t bytes;   /* codes, scales and zero points, as stored */
    int64_t histogram_first; /* the code that histogram[0] counts */
    size_t histogram_count;  /* 0 for types of more than 8 bits */
    const uint64_t *histogram;
};

/* ---- two files ----------------------------------------------------------------------- */

struct ldnq_diff_file {
    const char *path, *producer;
    size_t bytes;      /* of the model and its external data */
    size_t data_bytes; /* those of them in data files */
    int opset;
    int64_t ir_version;
    size_t nodes;     /* nodes of the main graph, Q/DQ nodes included */
    size_t qdq_nodes; /* QuantizeLinear, DequantizeLinear and copies of codes */
    size_t weights;   /* elements of all layers' weights */
    size_t weight_bytes;
};

/* How two nodes were identified as the same one. */
enum ldnq_pairing {
    LDNQ_PAIR_NONE,
    LDNQ_PAIR_NAME,          /* the node's name */
    LDNQ_PAIR_OUTPUT,        /* the name of its output */
    LDNQ_PAIR_CONTENT,       /* its weight */
    LDNQ_PAIR_NEIGHBOURHOOD, /* the nodes upstream and downstream of it */
};

/* The pairing's name in JSON: "name", "output" ... */
const char *ldnq_pairing_name(enum ldnq_pairing pairing);

struct ldnq_diff_error {
    double sqnr;   /* dB */
    double cosine; /* between y and t, as vectors over all samples */
};

/* One iteration of the solver. */
struct ldnq_diff_iteration {
    int iteration;
    double objective; /* objective of the best codes so far, relative to that of a zero weight */
    double residual;  /* |X - G| / |G|, weighted by H's diagonal */
    size_t changed;   /* channels whose codes changed */
    size_t active;    /* channels that still change */
    double rho;       /* the penalty's factor */
};

#define LDNQ_DIFF_BINS 64

/* The distribution of a layer's weight in both files. A's is the effective weight: with the
 * BatchNormalization downstream folded in, where B has folded it. */
struct ldnq_weight_distribution {
    double low, high; /* range of the bins, which have equal width */
    uint64_t a[LDNQ_DIFF_BINS], b[LDNQ_DIFF_BINS];
    size_t point_count;       /* elements taken at equal distances from the tensor */
    const float (*points)[2]; /* (a, b) */
};

/* A node of A with a weight (Conv, Gemm, MatMul ...) and its match in B. */
struct ldnq_diff_layer {
    const char *node, *op; /* label and operator in A */
    const char *match;     /* label in B; NULL without a match */
    enum ldnq_pairing pairing;
    const char *folded; /* labels of nodes of A that B has merged into this layer; or NULL */
    struct ldnq_diff_shape shape; /* shape of the weight in A */
    size_t weights;               /* elements; 0 when the weight is computed at run time */
    double macs;                  /* per sample; NaN when sizes are open */
    size_t bytes_a, bytes_b;      /* bytes of the weight as stored, with scales and zero points */
    const struct ldnq_quantized_tensor *weight;    /* B's codes; NULL where B's weight is float */
    const struct ldnq_quantized_tensor *input;     /* B's codes; NULL where B's input is float */
    double bits;                                   /* 8 bytes_b / weights */
    double weight_sqnr;                            /* SQNR of B's dequantized weight */
    struct ldnq_weight_distribution *distribution; /* NULL where the weights can't be compared */
    /* Errors of the layer's output, before its activation, on the diff's layer_samples; NaN
     * without. `isolated`:
     * B's layer, with the QuantizeLinear of its input, on A's input. `accumulated`: B's layer
     * on B's input. */
    struct ldnq_diff_error isolated, accumulated;
    /* How the solver converged; NULL unless the caller of the solver recorded it. */
    const struct ldnq_diff_iteration *trace;
    size_t trace_count;
    /* Where the diff has an estimate: this layer's part, the noise-to-signal ratio of the outputs
     * with the change of this layer alone; NaN where there is none. */
    double output_estimate;
};

/* A node that only one file has, or that differs between both. */
struct ldnq_diff_change {
    const char *node, *op; /* A's label, or B's for an added node */
    const char *text;      /* "folded into 'conv1'", "pads: 0,0,0,0 -> 1,1,1,1"; may be "" */
};

/* An output of the networks, over all samples but for the bound. */
struct ldnq_diff_output {
    const char *name, *match; /* name in A and in B; match is NULL when B has no such output */
    struct ldnq_diff_error error;
    double noise_to_signal; /* |y - t|^2 / |t|^2 */
    double bound;           /* upper bound of noise_to_signal from the layers' isolated errors, by
                               the paper's theorem, on the diff's layer_samples; NaN where that does
                               not apply (bound_reason) */
    double max_error;       /* the largest |y - t| */
    /* Where the output is a classifier's (metric/output_metrics.h); otherwise NaN. */
    double agreement; /* fraction of samples with the same top-1 class, 0 .. 1 */
    double agreement_low, agreement_high; /* its 95 % interval */
    double kl; /* mean of sum p log(p/q) in nats. p and q are the softmax of A's and B's
                  rows, or the rows themselves where those are distributions */
};

/* The quantizer's prediction from the changes of all layers: noise-to-signal ratios, the mean over
 * the outputs. */
struct ldnq_diff_estimate {
    double error;
    double deviation; /* standard deviation of it */
    double measured;
};

/* A file that the quantizer tried on the way to an accuracy goal. */
struct ldnq_diff_goal_step {
    double bytes;                     /* bytes of the weights */
    double value;                     /* measured accuracy, in the unit of the goal */
    double estimate;                  /* estimated noise-to-signal ratio of the outputs */
    size_t wide_layers, float_layers; /* with inputs of 16 bits; in float */
    bool meets;
};

struct ldnq_diff_goal {
    const char *measure; /* "SQNR in dB" */
    double limit;
    bool is_upper;                     /* the measure may be at most the limit */
    struct ldnq_diff_goal_step *steps; /* the files in the order in which they were tried */
    size_t step_count, chosen;
    const char *measured_on; /* as below; NULL where the values are predicted */
};

/* A limit that the caller has set, and the figure that has to keep it. */
struct ldnq_diff_gate {
    const char *figure;  /* "SQNR", "agreement", "file size", "top-1 drop" */
    const char *output;  /* of the networks; NULL where the figure is not one of an output */
    const char *unit;    /* "dB", "%", "bytes", "points" */
    bool is_upper;       /* the figure may be at most `limit`; else at least */
    double limit, value; /* value is NaN where it can't be measured, which fails */
    bool passes;
};

#define LDNQ_DIFF_MOST_SAMPLES ((size_t)24)
#define LDNQ_DIFF_SAMPLE_VALUES ((size_t)8)

/* A sample whose largest score is of another class in B. */
struct ldnq_diff_sample {
    const char *name;   /* its file, or "x.npy[3]" */
    const char *output; /* the scores; name in A */
    size_t class_a, class_b;
    size_t width, height;  /* 0 where no input is a picture */
    const uint8_t *pixels; /* (height, width, 4) RGBA, from the least value to the largest */
    double values[LDNQ_DIFF_SAMPLE_VALUES]; /* without a picture: the first of the first input */
    size_t value_count;
};

/* What the quantized file was made of: "seed", "model" ... */
struct ldnq_diff_fact {
    const char *name, *text;
};

/* How B runs beside A, on one core and one sample, by costs of kernels that were measured. */
struct ldnq_diff_speed {
    const char *target;      /* the runtime; NULL: nothing was predicted */
    double times_faster;     /* NaN where the runtime was not measured, or sizes are open */
    double factor;           /* within which predictions were of measured networks */
    const char *measured_on; /* the runtime's version and the machine; NULL: not measured */
};

struct ldnq_diff {
    struct ldnq_diff_file a, b;
    struct ldnq_diff_speed speed;
    const char *command; /* that makes the quantized file or this comparison; NULL: not known */
    const struct ldnq_diff_fact *facts;
    size_t fact_count;
    struct ldnq_diff_layer *layers; /* layers in A's order of execution */
    size_t layer_count, paired_layers;
    size_t paired; /* nodes of A with a match; layers included, Q/DQ nodes not */
    struct ldnq_diff_change *removed, *added, *changed;
    size_t removed_count, added_count, changed_count;
    struct ldnq_quantized_tensor *tensors; /* quantized tensors of B */
    size_t tensor_count;
    size_t samples;             /* 0: structure and weights alone were compared */
    size_t layer_samples;       /* the first of them, which errors of layers are measured on */
    const char *measured_on;    /* what these samples are: "20 held-out samples"; NULL without */
    bool is_measured_on_fitted; /* the weights were fitted to them: errors are too small */
    struct ldnq_diff_sample *changed_samples; /* the first of them */
    size_t changed_sample_count, changed_sample_total;
    const struct ldnq_diff_gate *gates;
    size_t gate_count;
    double seconds; /* time that running the samples took */
    struct ldnq_diff_output *outputs;
    size_t output_count;
    const char *bound_reason;                  /* why there is no bound; NULL when there is one */
    const struct ldnq_diff_estimate *estimate; /* NULL unless the quantizer made one */
    const struct ldnq_diff_goal *goal;         /* NULL unless the quantizer had one */
    /* Nodes that the quantizer's target computes in float, with the reason as their text. */
    struct ldnq_diff_change *float_nodes;
    size_t float_node_count;
    /* Values with 16 bits beside others of 8: name, type, and the reason as their text. */
    struct ldnq_diff_change *wide_values;
    size_t wide_value_count;
};

#endif
