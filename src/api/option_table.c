/* SPDX-License-Identifier: Apache-2.0 */
#include "api/option_table.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "api/option_rows_pictures.h"

#define QUANTIZE LDNQ_JOB_QUANTIZE
#define DIFF LDNQ_JOB_DIFF
#define EVAL LDNQ_JOB_EVAL
#define INSPECT LDNQ_JOB_INSPECT
#define RUN LDNQ_JOB_RUN
#define LINT LDNQ_JOB_LINT
#define SAMPLES (QUANTIZE | DIFF | EVAL) /* jobs that read samples */
#define ALL (SAMPLES | INSPECT | RUN | LINT)

#define ANY_NUMBER .least = -INFINITY, .most = INFINITY
#define COUNT_FROM(low) .type = LDNQ_OPTION_COUNT, .least = (low), .most = 18446744073709551615.0

/* The least number above 0. */
#define ABOVE_ZERO DBL_MIN

#define PROGRAM .scope = LDNQ_OPTION_PROGRAM

/* Choices are those of ldnq_codebooks() and ldnq_solvers(), which a test compares. */
#define CODEBOOKS "ternary|pot5|pot7|pot9|pot11|int2|int3|int4|int8"
#define TARGETS "weights|ort|openvino|tensorrt|qnn|tflite|pow2"
#define SOLVERS "auto|best|admm|beam|cd|gptq|admm-paper|nearest|mse|rtn"

const struct ldnq_option ldnq_option_table[OPTION_COUNT] = {
    [OPTION_OUTPUT] = { .name = "output",
                        .letter = "o",
                        .type = LDNQ_OPTION_PATH,
                        .jobs = QUANTIZE | RUN,
                        .value = "PATH",
                        .help = "where the result is written: a file, or for run a folder",
                        .since = "0.1.0" },
    [OPTION_CALIB] = { .name = "calib",
                       .type = LDNQ_OPTION_PATH,
                       PROGRAM,
                       .jobs = QUANTIZE,
                       .repeats = 1,
                       .value = "PATH",
                       .help = "samples to calibrate with: a folder of pictures (flat or in class "
                               "folders), a .npy, a .npz (one array per input), a folder of "
                               "those, a folder of TensorProto .pb files, or a pattern such as "
                               "'x/*.npz'; repeat the option to join several. - is a .npy or "
                               ".npz on standard input. none: there are no samples, and the "
                               "weights are rounded",
                       .since = "0.1.0" },
    [OPTION_DATA] = { .name = "data",
                      .type = LDNQ_OPTION_PATH,
                      PROGRAM,
                      .jobs = DIFF | EVAL,
                      .repeats = 1,
                      .value = "PATH",
                      .help = "samples: a folder of pictures, a .npy, a .npz (one array per "
                              "input), a folder of those, a folder of TensorProto .pb files, or a "
                              "pattern such as 'x/*.npz'. For eval with labels: "
                              "class folders (classes in alphabetical order), a folder with "
                              "labels.csv (file,class), or a .npz with an array 'labels'. Repeat "
                              "the option to join several. - is a .npy or .npz on standard input",
                      .since = "0.1.0" },
    [OPTION_INPUT] = { .name = "input",
                       .type = LDNQ_OPTION_TEXT,
                       .jobs = RUN,
                       .repeats = 1,
                       .value = "[NAME=]FILE.npy",
                       .help = "array for an input; repeat the option for each input, with the "
                               "name where there are several",
                       .since = "0.1.0" },
    [OPTION_WEIGHTS] = { .name = "weights",
                         .type = LDNQ_OPTION_CHOICES,
                         .jobs = QUANTIZE,
                         .value = "CODEBOOK",
                         .choices = CODEBOOKS,
                         .help =
                             "the codebook, here with its bits in the file and the points of top-1 "
                             "accuracy that ResNet-20 loses on 2,000 images: int8 (8 bits, 0), "
                             "int4 (4, 0.1), int3 (4, 0.4), int2 (2, 1.5), ternary (2, 2.4); "
                             "powers of two: pot11 and pot9 (8, 0), pot7 (4, 0), pot5 (4, 0.7) "
                             "[int8]; with a budget or a goal, the codebooks to choose from, "
                             "such as int2,int4 [int2,int3,int4,int8]",
                         .since = "0.1.0" },
    [OPTION_BUDGET] = { .name = "budget",
                        .type = LDNQ_OPTION_BUDGET,
                        .jobs = QUANTIZE,
                        .value = "SIZE",
                        .help = "choose each layer's codebook so that the network's output suffers "
                                "least: mean bits per weight (3bits), a ratio to the float weights "
                                "(8x), or bytes of codes and scales in the file (200K)",
                        .since = "0.1.0" },
    [OPTION_MAX_DROP] = { .name = "max-drop",
                          .type = LDNQ_OPTION_NUMBER,
                          .jobs = QUANTIZE,
                          .value = "POINTS",
                          .least = 0,
                          .most = 100,
                          .help = "write the smallest and fastest file whose top-1 accuracy is at "
                                  "most this many percentage points below the float model's; the "
                                  "samples need labels. Goals are measured on samples that are not "
                                  "fitted, a fifth of calib or goal-data; if none is reached, "
                                  "nothing is written and the exit code is 9",
                          .since = "0.2.0" },
    [OPTION_MIN_AGREEMENT] = { .name = "min-agreement",
                               .type = LDNQ_OPTION_NUMBER,
                               .jobs = QUANTIZE,
                               .value = "PERCENT",
                               .least = 0,
                               .most = 100,
                               .help = "the same for the share of samples whose largest score has "
                                       "the same index in both models",
                               .since = "0.2.0" },
    [OPTION_MIN_SQNR] = { .name = "min-sqnr",
                          .type = LDNQ_OPTION_NUMBER,
                          .jobs = QUANTIZE,
                          .value = "DB",
                          ANY_NUMBER,
                          .help = "the same for the SQNR of the worst output",
                          .since = "0.2.0" },
    [OPTION_GOAL_DATA] = { .name = "goal-data",
                           .type = LDNQ_OPTION_PATH,
                           .jobs = QUANTIZE,
                           .value = "PATH",
                           .help = "samples to measure a goal on, in the forms of calib; for "
                                   "max-drop with labels, as eval reads them. Without it a fifth "
                                   "of calib is not fitted",
                           .since = "0.2.0" },
    [OPTION_PLAN] = { .name = "plan",
                      .type = LDNQ_OPTION_PATH,
                      .jobs = QUANTIZE,
                      .value = "FILE.json",
                      .help = "the codebook of each layer, by the layer's name; layers that the "
                              "file does not name get that of the option weights. Written if there "
                              "is a budget or a goal, otherwise read",
                      .since = "0.1.0" },
    [OPTION_TARGET] = { .name = "target",
                        .type = LDNQ_OPTION_CHOICE,
                        .jobs = QUANTIZE | LINT,
                        .value = "RUNTIME",
                        .choices = TARGETS,
                        .default_value = "ort",
                        .help =
                            "the runtime that the file is for: ort (ONNX Runtime on a CPU), "
                            "openvino or tensorrt, which then compute on integers from end to "
                            "end, as activations are quantized too; or weights, for any "
                            "runtime, with float activations. qnn (Qualcomm), tflite (LiteRT) and "
                            "pow2 (kernels that shift: ESP-DL, Vitis AI) have codes on every "
                            "tensor",
                        .since = "0.2.0" },
    [OPTION_ACTIVATIONS] = { .name = "activations",
                             .type = LDNQ_OPTION_CHOICE,
                             .jobs = QUANTIZE,
                             .value = "auto|none|uint8|int8|uint16|int16|uint4|int4",
                             .choices = "auto|none|uint8|int8|uint16|int16|uint4|int4",
                             .default_value = "auto",
                             .help = "type of the activations; auto is the target's own, none "
                                     "leaves them float. Types of 4 and of 16 bits need opset 21",
                             .since = "0.2.0" },
    [OPTION_RANGES] = { .name = "ranges",
                        .type = LDNQ_OPTION_CHOICE,
                        .jobs = QUANTIZE,
                        .value = "auto|minmax|percentile|mse|entropy",
                        .choices = "auto|minmax|percentile|mse|entropy",
                        .default_value = "auto",
                        .help = "how the range of an activation is chosen: all values (minmax), "
                                "99.99 % of them (percentile), the least squared error of the "
                                "activation (mse), the least divergence (entropy), or the least "
                                "squared error of the layers that read it (auto)",
                        .since = "0.2.0" },
    [OPTION_GRANULARITY] = { .name = "granularity",
                             .type = LDNQ_OPTION_CHOICE,
                             .jobs = QUANTIZE,
                             .value = "auto|tensor|channel|block",
                             .choices = "auto|tensor|channel|block",
                             .default_value = "auto",
                             .help = "one scale per weight tensor, per output channel, or per "
                                     "block of input channels (opset 21); auto is channel, but "
                                     "with target ort blocks of 32 for MatMul and Gemm below 8 "
                                     "bits that have more than 32 input channels",
                             .since = "0.1.0" },
    [OPTION_BLOCK_SIZE] = { .name = "block-size",
                            COUNT_FROM(16),
                            .jobs = QUANTIZE,
                            .value = "N",
                            .help = "input channels that share a scale: 16, 32, 64 ...; a layer "
                                    "with fewer has one scale per output channel [32]",
                            .since = "0.1.0" },
    [OPTION_SOLVER] = { .name = "solver",
                        .type = LDNQ_OPTION_CHOICE,
                        .jobs = QUANTIZE,
                        .value = "NAME",
                        .choices = SOLVERS,
                        .default_value = "auto",
                        .help = "best (admm, then beam), admm (a penalty that grows), beam (gptq "
                                "with several branches, then coordinate descent: quick), cd (gptq, "
                                "then descent), gptq, admm-paper (L-DNQ), nearest (rounding, then "
                                "the best bias: one pass over the samples), mse or rtn (rounding, "
                                "as baselines); auto is nearest for weights of 8 bits, best for up "
                                "to 8 "
                                "codes (ternary, int2, int3), else beam",
                        .since = "0.1.0" },
    [OPTION_RHO] = { .name = "rho",
                     .type = LDNQ_OPTION_NUMBER,
                     .jobs = QUANTIZE,
                     .value = "FACTOR",
                     .least = ABOVE_ZERO,
                     .most = INFINITY,
                     .help = "ADMM's penalty as a multiple of the Gram matrix's diagonal [0.5]",
                     .since = "0.1.0" },
    [OPTION_RHO_FROM] = { .name = "rho-from",
                          .type = LDNQ_OPTION_CHOICE,
                          .jobs = QUANTIZE,
                          .value = "mean|first",
                          .choices = "mean|first",
                          .default_value = "mean",
                          .help = "what rho multiplies: the mean of the diagonal, or its first "
                                  "element as in the paper",
                          .since = "0.1.0" },
    [OPTION_LAMBDA] = { .name = "lambda",
                        .type = LDNQ_OPTION_NUMBER,
                        .jobs = QUANTIZE,
                        .value = "auto|0..1",
                        .choices = "auto",
                        .least = 0,
                        .most = 1,
                        .default_value = "auto",
                        .help = "how much of the error of earlier layers a layer compensates; auto "
                                "finds it on held-out samples, layer by layer",
                        .since = "0.1.0" },
    [OPTION_EFFORT] = { .name = "effort",
                        .type = LDNQ_OPTION_CHOICE,
                        .jobs = QUANTIZE,
                        .value = "fast|balanced|high",
                        .choices = "fast|balanced|high",
                        .default_value = "balanced",
                        .help = "sets augment to 1, 2 or 8 unless it is set. Below high, solver "
                                "auto reads 64 pictures or more once, and 40 positions of a "
                                "layer's input per column of its weight. With the solver "
                                "nearest, fast is one pass over the samples, balanced also fits "
                                "the layers to the first samples, high to all",
                        .since = "0.1.0" },
    [OPTION_AUGMENT] = { .name = "augment",
                         COUNT_FROM(1),
                         .jobs = QUANTIZE,
                         .value = "N",
                         .help = "read each picture N times: once unchanged, then mirrored and "
                                 "shifted at random. Arrays shaped like pictures are read once "
                                 "unless this option is set",
                         .since = "0.1.0" },
    [OPTION_CASCADE] = { .name = "cascade",
                         COUNT_FROM(0),
                         .jobs = QUANTIZE,
                         .value = "STEPS",
                         .default_value = "0",
                         .help = "after each layer, fine-tune the later layers, and the scales and "
                                 "biases of the earlier ones, for this many steps; each layer then "
                                 "approximates its own weight (lambda 0)",
                         .since = "0.1.0" },
    [OPTION_DISTILL] = { .name = "distill",
                         COUNT_FROM(0),
                         .jobs = QUANTIZE,
                         .value = "STEPS",
                         .default_value = "0",
                         .help = "at the end, fine-tune the scales and biases of all layers "
                                 "together for this many steps, so that the network's output on "
                                 "the samples stays what it was; a fifth of the samples is held "
                                 "out and decides what is kept",
                         .since = "0.1.0" },
    [OPTION_REFINE] = { .name = "refine",
                        .type = LDNQ_OPTION_FLAG,
                        .jobs = QUANTIZE,
                        .default_value = "0",
                        .help = "let distill change the codes as well",
                        .since = "0.1.0" },
    [OPTION_ESTIMATE] = { .name = "estimate",
                          .type = LDNQ_OPTION_NUMBER,
                          .jobs = QUANTIZE,
                          .value = "auto|N",
                          .choices = "auto",
                          .least = 0,
                          .most = 1e6,
                          .default_value = "auto",
                          .help =
                              "random projections for the estimate of the output's error, each two "
                              "backward passes of one sample; it has a part for each layer, "
                              "and a budget ranks codebooks by it. auto is at least 64 with a "
                              "budget, a goal or a report, and in networks where they are "
                              "quick. With 0 a budget runs the network with each codebook of "
                              "each layer",
                          .since = "0.2.0" },
    [OPTION_TIME_LIMIT] = { .name = "time-limit",
                            .type = LDNQ_OPTION_NUMBER,
                            .jobs = QUANTIZE,
                            .value = "SECONDS",
                            .least = ABOVE_ZERO,
                            .most = INFINITY,
                            .help = "write the best result found within this time; late layers get "
                                    "a quicker solver, but a budget is measured in full. The "
                                    "result then depends on the machine [none]",
                            .since = "0.1.0" },
    [OPTION_LAYER] = { .name = "layer",
                       .type = LDNQ_OPTION_TEXT,
                       .jobs = QUANTIZE,
                       .repeats = 1,
                       .value = "PATTERN=CODEBOOK[,TYPE]",
                       .help = "the codebook of the layers with this name or shell pattern, or "
                               "float to leave them as they are, and the type of what they read "
                               "(int8,uint16 for qnn); any number of times, and the first that "
                               "matches a layer counts",
                       .since = "0.2.0" },
    [OPTION_SKIP] = { .name = "skip",
                      .type = LDNQ_OPTION_TEXT,
                      .jobs = QUANTIZE,
                      .repeats = 1,
                      .value = "NODE",
                      .help = "do not quantize this layer; a name or a shell pattern, any number "
                              "of times",
                      .since = "0.1.0" },
    [OPTION_ONLY] = { .name = "only",
                      .type = LDNQ_OPTION_TEXT,
                      .jobs = QUANTIZE,
                      .repeats = 1,
                      .value = "NODE",
                      .help = "quantize this layer and no others; a name or a shell pattern, any "
                              "number of times",
                      .since = "0.1.0" },
    [OPTION_REQUANTIZE] = { .name = "requantize",
                            .type = LDNQ_OPTION_FLAG,
                            .jobs = QUANTIZE,
                            .default_value = "0",
                            .help = "take the codes that the model has apart, and choose all anew: "
                                    "its weights become what the codes stand for, and activations "
                                    "float. Without it what is quantized stays so. Tables whose "
                                    "codes are gathered and operators that compute with codes stay "
                                    "in both cases",
                            .since = "0.2.0" },
    [OPTION_STORAGE] = { .name = "storage",
                         .type = LDNQ_OPTION_CHOICE,
                         .jobs = QUANTIZE,
                         .value = "auto|int8|int4|int2",
                         .choices = "auto|int8|int4|int2",
                         .default_value = "auto",
                         .help = "type of the codes in the file; auto is the narrowest that they "
                                 "fit, for which the opset is raised (int4 needs 21, int2 25), or "
                                 "int8 for integer kernels: of targets without narrower ones, and "
                                 "where the option activations names a type",
                         .since = "0.1.0" },
    [OPTION_OPSET] = { .name = "opset",
                       .type = LDNQ_OPTION_COUNT,
                       .least = 0,
                       .most = 1000,
                       .jobs = QUANTIZE,
                       .value = "N|keep",
                       .choices = "keep",
                       .help = "raise the model's opset to N, or keep it; codes are then stored in "
                               "the narrowest type that this opset has. Otherwise the opset is "
                               "raised as far as the type of the codes needs",
                       .since = "0.1.0" },
    PICTURE_OPTION_ROWS,
    [OPTION_DIM] = { .name = "dim",
                     .type = LDNQ_OPTION_DIM,
                     .jobs = ALL,
                     .repeats = 1,
                     .value = "NAME=N",
                     .help = "give an open dimension of an input a size; INPUT:AXIS=N where it has "
                             "no name",
                     .since = "0.1.0" },
    [OPTION_MASK] = { .name = "mask",
                      .type = LDNQ_OPTION_TEXT,
                      .jobs = SAMPLES,
                      .value = "INPUT",
                      .help = "the input that is 0 at padded positions: they are cut off the "
                              "samples, and are in no statistic and no figure. none: all positions "
                              "count [attention_mask, where the model has it]",
                      .since = "0.2.0" },
    [OPTION_MAX_SAMPLES] = { .name = "max-samples",
                             COUNT_FROM(0),
                             .jobs = SAMPLES,
                             .value = "N",
                             .help = "use N samples, drawn at random by the seed",
                             .since = "0.1.0" },
    [OPTION_MAX_MEM] = { .name = "max-mem",
                         .type = LDNQ_OPTION_BYTES,
                         .jobs = QUANTIZE,
                         .value = "BYTES",
                         .help = "limit of the live values held in memory; the rest, and weights "
                                 "beyond a quarter of it, are in temporary files. What the model "
                                 "needs is added: the largest layer's matrices above all, which "
                                 "is printed first. K, M and G may follow the number [256M]",
                         .since = "0.1.0" },
    [OPTION_SEED] = { .name = "seed",
                      COUNT_FROM(0),
                      .jobs = SAMPLES,
                      .value = "N",
                      .default_value = "0",
                      .help = "seed of all random numbers",
                      .since = "0.1.0" },
    [OPTION_THREADS] = { .name = "threads",
                         .type = LDNQ_OPTION_COUNT,
                         .least = 0,
                         .most = 1024,
                         .jobs = ALL,
                         .value = "N",
                         .help =
                             "number of threads; the result does not depend on it [all processors]",
                         .since = "0.1.0" },
    [OPTION_PORTABLE] = { .name = "portable",
                          .type = LDNQ_OPTION_FLAG,
                          .jobs = QUANTIZE,
                          .default_value = "0",
                          .help = "write the same bytes on every x86-64 processor with AVX2 and "
                                  "FMA, with the same version of ldnq, OpenBLAS and libc; without "
                                  "it the kernels that are fastest here order the sums, and the "
                                  "last bits depend on them",
                          .since = "0.2.0" },
    [OPTION_SORT] = { .name = "sort",
                      .type = LDNQ_OPTION_CHOICE,
                      PROGRAM,
                      .jobs = DIFF,
                      .value = "KEY",
                      .choices = "worst|order|isolated|accumulated|weight|bits|size",
                      .default_value = "worst",
                      .help = "order of the layers: worst (largest error that the layer itself "
                              "makes; without samples, error of the weights), order, isolated, "
                              "accumulated, weight, bits or size",
                      .since = "0.1.0" },
    [OPTION_TOP] = { .name = "top",
                     COUNT_FROM(0),
                     PROGRAM,
                     .jobs = DIFF,
                     .value = "N",
                     .default_value = "20",
                     .help = "print the first N layers; 0: all",
                     .since = "0.1.0" },
    [OPTION_HTML] = { .name = "html",
                      .type = LDNQ_OPTION_PATH,
                      .jobs = DIFF,
                      .value = "FILE.html",
                      .help = "write a page with all figures and plots, which needs no other file",
                      .since = "0.1.0" },
    [OPTION_REPORT] = { .name = "report",
                        .type = LDNQ_OPTION_PATH,
                        .jobs = QUANTIZE,
                        .value = "FILE.html",
                        .help = "write a page that compares the two models on up to 100 of the "
                                "samples, with the solver's curves",
                        .since = "0.1.0" },
    [OPTION_PAGE] = { .name = "page",
                      .type = LDNQ_OPTION_FLAG,
                      .scope = LDNQ_OPTION_LIBRARY,
                      .jobs = QUANTIZE | DIFF,
                      .default_value = "0",
                      .help = "keep that page in the result, as its part html",
                      .since = "0.1.0" },
    [OPTION_FAIL_BELOW_SQNR] = { .name = "fail-below-sqnr",
                                 .type = LDNQ_OPTION_NUMBER,
                                 ANY_NUMBER,
                                 .jobs = DIFF,
                                 .value = "DB",
                                 .help = "exit with 9 if an output's SQNR is lower",
                                 .since = "0.1.0" },
    [OPTION_FAIL_BELOW_AGREEMENT] = { .name = "fail-below-agreement",
                                      .type = LDNQ_OPTION_NUMBER,
                                      .least = ABOVE_ZERO,
                                      .most = INFINITY,
                                      .jobs = DIFF,
                                      .value = "PERCENT",
                                      .help = "exit with 9 if the largest score of an output has "
                                              "the same index in a smaller share of the samples",
                                      .since = "0.1.0" },
    [OPTION_FAIL_SIZE_ABOVE] = { .name = "fail-size-above",
                                 .type = LDNQ_OPTION_BYTES,
                                 .jobs = DIFF,
                                 .value = "BYTES",
                                 .help = "exit with 9 if the quantized file is larger; K, M and G "
                                         "may follow the number",
                                 .since = "0.1.0" },
    [OPTION_FAIL_ON] = { .name = "fail-on",
                         .type = LDNQ_OPTION_CHOICE,
                         PROGRAM,
                         .jobs = LINT,
                         .value = "broken|slower|never",
                         .choices = "broken|slower|never",
                         .default_value = "broken",
                         .help = "exit with 9 if the target can't run a node as the file says "
                                 "(broken), or also if one is slower than in the float model "
                                 "(slower)",
                         .since = "0.2.0" },
    [OPTION_LOG] = { .name = "log",
                     .type = LDNQ_OPTION_PATH,
                     .jobs = QUANTIZE,
                     .value = "FILE.jsonl",
                     .help = "write a line of JSON when a layer is done, and one for the run at "
                             "the end",
                     .since = "0.1.0" },
    [OPTION_CHECKPOINT] = { .name = "checkpoint",
                            .type = LDNQ_OPTION_PATH,
                            .jobs = QUANTIZE,
                            .value = "DIR",
                            .help = "store each layer in this folder as soon as it is fitted, so "
                                    "that a run that was ended can go on (resume); the folder is "
                                    "removed when the result is written",
                            .since = "0.2.0" },
    [OPTION_RESUME] = { .name = "resume",
                        .type = LDNQ_OPTION_FLAG,
                        .jobs = QUANTIZE,
                        .default_value = "0",
                        .help = "go on with the checkpoint of an earlier run with the same inputs "
                                "and options, to the result that it would have had; where the "
                                "folder has none, start from the beginning",
                        .since = "0.2.0" },
    [OPTION_DRY_RUN] = { .name = "dry-run",
                         .type = LDNQ_OPTION_FLAG,
                         .jobs = QUANTIZE,
                         .default_value = "0",
                         .help = "print what would be quantized, and about what size the file "
                                 "would have and how much memory and time it would take; "
                                 "nothing is fitted or written",
                         .since = "0.2.0" },
    [OPTION_JSON] = { .name = "json",
                      .type = LDNQ_OPTION_FLAG,
                      PROGRAM,
                      .jobs = ALL,
                      .default_value = "0",
                      .help = "print the result as JSON",
                      .since = "0.1.0" },
    [OPTION_VERBOSE] = { .name = "verbose",
                         .letter = "v",
                         .type = LDNQ_OPTION_FLAG,
                         .jobs = QUANTIZE,
                         .default_value = "0",
                         .help = "report each layer's figures and the solver's iterations, on "
                                 "standard error",
                         .since = "0.1.0" },
    [OPTION_QUIET] = { .name = "quiet",
                       .letter = "q",
                       .type = LDNQ_OPTION_FLAG,
                       PROGRAM,
                       .jobs = SAMPLES | RUN,
                       .default_value = "0",
                       .help = "print no progress and no summary",
                       .since = "0.1.0" },
    [OPTION_HELP] = { .name = "help",
                      .letter = "h",
                      .type = LDNQ_OPTION_FLAG,
                      PROGRAM,
                      .jobs = ALL,
                      .default_value = "0",
                      .help = "print the help of the command",
                      .since = "0.1.0" },
};

const struct ldnq_option *ldnq_options_describe(size_t index)
{
    return index < OPTION_COUNT ? &ldnq_option_table[index] : NULL;
}

size_t ldnq_option_find(const char *name)
{
    size_t i = 0;
    while (i < OPTION_COUNT && strcmp(ldnq_option_table[i].name, name) != 0)
        i++;
    return i;
}

const struct ldnq_option *ldnq_options_nearest(const char *name, unsigned jobs)
{
    const char *names[OPTION_COUNT + 1] = { NULL };
    size_t count = 0;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (ldnq_option_table[i].jobs & jobs)
            names[count++] = ldnq_option_table[i].name;
    const char *nearest = ldnq_nearest_name(name, names);
    return nearest ? &ldnq_option_table[ldnq_option_find(nearest)] : NULL;
}
