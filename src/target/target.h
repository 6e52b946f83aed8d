/* SPDX-License-Identifier: Apache-2.0 */
/* target.h: what a runtime expects of a QDQ file, as data.
 *
 * A target is one record in one file (target_NAME.c) and one line in the table of
 * target.c. The placement engine (placement.h), the choice of scales and the lint read the
 * record; no target has code of its own. The rules and their sources are listed per target in
 * the file of its record.
 *
 * QDQ form: an operator runs on integers where each of its data inputs is read from a
 * DequantizeLinear and, if the runtime asks for it, its output is read by a
 * QuantizeLinear. real = scale * (code - zero_point).
 */
#ifndef LDNQ_TARGET_H
#define LDNQ_TARGET_H

#include "ir/ir.h"

/* What an operator does with quantized activations. An operator without a rule, or of the first
 * class, runs in float32: its inputs are dequantized before it. */
enum ldnq_operator_class {
    LDNQ_RUNS_FLOAT = 0,
    /* Computes on integers (Conv, MatMul, Add): its data inputs are quantized, and its
     * output where the record says so. */
    LDNQ_RUNS_QUANTIZED,
    /* Only moves elements (Reshape, MaxPool): output codes are input codes, so that both
     * have one scale. */
    LDNQ_PASSES_SCALE,
    /* As LDNQ_RUNS_QUANTIZED, and all data inputs and the output have one scale. */
    LDNQ_UNIFIES_SCALES,
    /* As LDNQ_RUNS_QUANTIZED, and all data inputs have one scale, the output its own. */
    LDNQ_UNIFIES_INPUTS,
    /* As LDNQ_RUNS_QUANTIZED; scales of inputs and output that differ little become one, which
     * saves the runtime a pass over the codes. */
    LDNQ_UNIFIES_NEAR_SCALES,
    /* The runtime fuses it into its producer, or moves a pair past it: one on its input would
     * hinder that. The placement treats it as float. */
    LDNQ_TAKES_NO_PAIR,
};

/* A rule of one operator type of ai.onnx. */
struct ldnq_operator_rule {
    const char *op_type;
    enum ldnq_operator_class class;
    unsigned data_inputs; /* bit i: input i is an activation (or a weight that is none) */
    bool weight;          /* input 1 is a weight where it is constant: Conv, Gemm, MatMul */
    /* The runtime moves codes through it: a layer after it reads those of the pairs before it. Our
     * files have the pair at the layer. */
    bool carries_codes;
    bool float_output; /* the runtime's kernel may also write float32 (Gemm, MatMul) */
    /* For LDNQ_PASSES_SCALE: the operator is between the QuantizeLinear and the DequantizeLinear,
     * as the runtime has a kernel for codes but does not fuse it with pairs around it. */
    bool on_codes;
    /* For operators without a weight: all inputs must come from integer kernels, or it computes
     * in float. Elsewhere one is enough, and the others are quantized for it. */
    bool needs_all_codes;
    bool shrinks; /* its result is smaller than its input (pools) */
    /* Its float kernel is faster where its axis is the last one (Softmax). */
    bool slow_on_last_axis;
    bool nearest_only;    /* Resize has an integer kernel for mode "nearest" alone */
    int since;            /* first ai.onnx opset; 0: any */
    unsigned activations; /* LDNQ_DTYPE_BIT of the types that its kernel takes; 0: all */
    /* The output's range where it does not depend on the data (Softmax: 0 to 1); both 0
     * where it does. */
    float low, high;
    /* LDNQ_DTYPE_BIT of the types for which the kernel needs exactly this range; 0: all. For
     * others it only bounds the range. */
    unsigned fixed_types;
};

/* Where Q/DQ pairs are placed around the operators that run on integers. */
enum ldnq_pair_place {
    LDNQ_PAIRS_NONE,      /* weights alone */
    LDNQ_PAIRS_AT_INPUTS, /* on what a quantized operator reads (TensorRT, OpenVINO) */
    LDNQ_PAIRS_AT_BOTH,   /* also on what it writes (ONNX Runtime, QNN, TFLite) */
};

/* How the bias of a quantized layer is stored. */
enum ldnq_bias_form {
    LDNQ_BIAS_FLOAT,
    LDNQ_BIAS_INT32, /* DequantizeLinear of int32, scale = input scale * weight scale */
};

/* Which operands of a residual Add have a pair. */
enum ldnq_residual_form {
    LDNQ_RESIDUAL_BOTH,
    LDNQ_RESIDUAL_SHORTCUT, /* only the one that is not a layer's output (TensorRT) */
};

/* Operators that are replaced by equal ones which the runtime has integer kernels for
 * (emit/rewrite_operators.h). */
enum ldnq_rewrite {
    LDNQ_REWRITES_BIAS = 1,           /* an Add after a layer becomes its bias */
    LDNQ_REWRITES_MEAN = 2,           /* ReduceMean becomes GlobalAveragePool */
    LDNQ_REWRITES_CONV_TRANSPOSE = 4, /* ConvTranspose becomes Conv and moves */
    LDNQ_REWRITES_NORM = 8,           /* BatchNormalization becomes a depthwise Conv */
};

/* What integer convolutions save and their conversions cost beside float ones, in picoseconds on
 * one core: only their ratios count. */
struct ldnq_conversion_costs {
    double saved_per_product; /* float minus integer kernel, per product with padded channels */
    int64_t channel_block;    /* to which float kernels pad channels */
    int64_t least_channels;   /* with fewer input channels it saves nothing */
    /* With one input channel per group the integer kernel takes longer, per output element. */
    double lost_per_depthwise;
    /* Per element: to quantize what enters, to dequantize what leaves, */
    double entering, leaving;
    /* in addition, where the float operator on the other side has the channels in blocks, */
    double blocked;
    /* and where the float kernel would have computed the operator that reads it. */
    double unfused;
    /* Losses below this keep their codes, which are smaller. */
    double least_loss;
    /* Layers of one position (squeeze and excitation) lose as much by the additional nodes alone;
     * they keep their codes unless it is this per weight that would be larger. */
    double lost_per_single, least_loss_per_weight;
};

/* What a runtime's kernels do for one sample, as counted by target/run_time.h. */
enum ldnq_kernel_work {
    LDNQ_CONVOLUTION_IN_FLOAT, /* products, channels padded to blocks */
    LDNQ_CONVOLUTION_ON_CODES,
    LDNQ_WINDOWS_OF_CODES,   /* positions times the window's, for windows above 1x1 */
    LDNQ_DEPTHWISE_IN_FLOAT, /* products, of convolutions of one input channel per group */
    LDNQ_DEPTHWISE_ON_CODES,
    LDNQ_PRODUCT_IN_FLOAT, /* products, of MatMul and Gemm */
    LDNQ_PRODUCT_ON_CODES,
    LDNQ_PRODUCT_OF_NARROW_WEIGHT, /* of float activations, with a weight in codes */
    LDNQ_ELEMENTS_IN_FLOAT,        /* of all other operators */
    LDNQ_ELEMENTS_ON_CODES,
    LDNQ_ELEMENTS_QUANTIZED, /* by a kernel of its own */
    LDNQ_ELEMENTS_DEQUANTIZED,
    LDNQ_WEIGHTS_DEQUANTIZED, /* on each run */
    LDNQ_KERNELS,             /* how many are called */
    LDNQ_KERNEL_WORK_COUNT,
};

/* What that costs. */
struct ldnq_kernel_costs {
    int64_t channel_block;                      /* to which convolutions pad channels */
    double picoseconds[LDNQ_KERNEL_WORK_COUNT]; /* per unit, on one core */
    const char *measured_on;                    /* the runtime and the machine */
    double factor; /* within which measured speed-ups are of predicted ones */
};

struct ldnq_target {
    const char *name;
    const char *summary; /* one line of help */
    int opset_min;       /* least opset of ai.onnx for 8-bit scales per channel */
    enum ldnq_pair_place pairs;
    enum ldnq_dtype activation; /* the default; LDNQ_UNDEFINED: activations stay float */
    unsigned activation_types;  /* LDNQ_DTYPE_BIT of all that it takes */
    /* The type of 16 bits for values that one scale of 8 bits ruins, beside others of 8 bits: all
     * operators of the table have kernels of it. LDNQ_UNDEFINED: 16 bits are no faster than float.
     */
    enum ldnq_dtype wide_activation;
    bool symmetric;    /* zero point in the middle of the type's codes */
    bool symmetric_16; /* the same for 16-bit types alone */
    bool power_of_two; /* scales of activations and weights are powers of two */
    /* Every tensor around an operator of the table has codes: also where no producer has, and
     * the graph's outputs. */
    bool every_tensor;
    bool static_shapes; /* it compiles for fixed shapes */
    enum ldnq_bias_form bias;
    enum ldnq_residual_form residual;
    bool per_channel;       /* scales per output channel for weights */
    bool matmul_per_tensor; /* but of MatMul one scale */
    bool narrow_weights;    /* codes of weights are symmetric: -127 to 127 */
    bool symmetric_weights; /* zero points of signed weights are 0 */
    bool negative_scales;   /* scales of weights may be below 0 */
    bool unsigned_weights;  /* uint8 weights run too, with any zero point */
    unsigned weight_bits;   /* bit b: weights of b bits can run on integers */
    float least_range;      /* real range below which a scale is too small; 0: no limit */
    /* A convolution with fewer input or output channels runs faster in float, unless their
     * number is a multiple of `channel_multiple`; so does a product with fewer rows or columns
     * in its weight. 0: no limit. */
    int64_t least_channels, channel_multiple;
    /* A 2-D convolution of one input channel per group runs faster in float where its input comes
     * from float operators, so that a QuantizeLinear before it would be for its sake alone, or
     * where float operators read its result. */
    bool floats_depthwise_after_float;
    /* The operator that a float convolution computes in its own kernel, and integer kernels do not;
     * NULL: none. A Conv before it runs faster in float where its weight has no more than these
     * columns, or no more than these input channels per group. */
    const char *fused_in_float;
    int64_t most_fused_columns, most_fused_channels;
    /* By which convolutions between float operators are compared with float ones; NULL: they are
     * not. */
    const struct ldnq_conversion_costs *conversion_costs;
    /* From which the time of a file is predicted; NULL: no time was measured. */
    const struct ldnq_kernel_costs *kernel_costs;
    /* Relu and Clip after a quantized operator disappear into its output's range, with no
     * pair between them. */
    bool absorbs_clamps;
    /* An operator without a weight computes on codes only where something reads them: its own
     * kernel alone does not pay for a Q and a DQ, and float is more exact. */
    bool drops_unread_codes;
    /* The runtime executes any file: what has no integer kernel computes in float. */
    bool falls_back;
    /* It has Gather of codes and the operators that dequantize the rows: tables are quantized by
     * row. Else a table has at most a Q/DQ pair with one scale. */
    bool gathers_codes;
    /* Bit b: a MatMul or Gemm of float activations and a weight of b bits runs in one kernel. */
    unsigned product_bits;
    /* The rows M of 2-bit weights that this kernel computes right are a multiple of this. */
    size_t product_rows_of_2_bits;
    size_t product_block_of_2_bits; /* the largest block that it takes with 2 bits; 0: any */
    /* Input channels per scale that its weights below 8 bits have unless asked otherwise; 0: one
     * scale per output channel. */
    size_t product_block;
    /* A Relu, Clip or QuantizeLinear directly after a product that writes floats keeps it from
     * its kernel. */
    bool separates_products;
    /* What makes the runtime dequantize weights once, not on every run; NULL: nothing. */
    const char *dequantize_once;
    /* int8 activations are rewritten to uint8 where one node reads them. */
    bool rewrites_int8;
    unsigned rewrites;                      /* enum ldnq_rewrite */
    const struct ldnq_operator_rule *rules; /* ended by a NULL op_type */
};

/* By name; NULL when there is none. */
const struct ldnq_target *ldnq_target_find(const char *name);
/* Whether single values may have 16 bits where the others have codes of this type. */
bool ldnq_target_can_widen(const struct ldnq_target *target, enum ldnq_dtype activation);
/* All targets, ended by NULL. */
const struct ldnq_target *const *ldnq_targets(void);
/* The rule for a node of ai.onnx; NULL: it runs in float. */
const struct ldnq_operator_rule *ldnq_target_rule(const struct ldnq_target *target,
                                                  const struct ldnq_node *node);
/* Whether the weight of such a node has one scale, whatever its channels are. */
bool ldnq_target_is_per_tensor(const struct ldnq_target *target, const char *op_type);
/* Whether integer kernels have the node's attributes: of a Gemm, alpha and beta 1 and transA 0. */
bool ldnq_target_has_default_attributes(const struct ldnq_node *node);
/* Whether the layer, whose weight has this shape, is so small that the target runs it faster
 * in float. */
bool ldnq_target_skips_small_layer(const struct ldnq_target *target, const struct ldnq_node *node,
                                   const struct ldnq_shape *weight);

/* Whether it is a 2-D Conv whose weight, of this shape, has one input channel per group, and the
 * target runs such layers faster in float after float operators. */
bool ldnq_target_floats_depthwise(const struct ldnq_target *target, const struct ldnq_node *node,
                                  const struct ldnq_shape *weight);

/* Whether it is a Conv whose weight, of this shape, is so narrow that the target runs it faster in
 * float before the operator that its float kernel computes too. */
bool ldnq_target_floats_narrow(const struct ldnq_target *target, const struct ldnq_node *node,
                               const struct ldnq_shape *weight);

/* Why a node without a weight computes in float although it has a rule; NULL: it does not. */
const char *ldnq_target_refuse_operator(const struct ldnq_operator_rule *rule,
                                        const struct ldnq_node *node);

extern const struct ldnq_target ldnq_target_weights, ldnq_target_ort, ldnq_target_openvino,
    ldnq_target_tensorrt, ldnq_target_qnn, ldnq_target_tflite, ldnq_target_pow2;

#endif
