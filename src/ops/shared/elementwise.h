/* elementwise.h: element-wise operators of one to three inputs that broadcast.
 *
 * The output is cut into spans along which each input either goes on by one
 * element or stays where it is; an operator only writes the loop over a span.
 */
#ifndef LDNQ_OPS_ELEMENTWISE_H
#define LDNQ_OPS_ELEMENTWISE_H

#include "base/simd.h"
#include "ops/op.h"

#define LDNQ_ELEMENTWISE_INPUTS 3

/* step[i] is 0 or 1. out may be in[0] itself. */
typedef void ldnq_elementwise_fn(void *out, const void *const *in, const size_t *step,
                                 size_t count);

/* Runs over all of out; every in[i] broadcasts to its shape. */
void ldnq_elementwise_run(const struct ldnq_op_call *call, ldnq_elementwise_fn *run,
                          const struct ldnq_tensor *out, const struct ldnq_tensor *const *in,
                          size_t inputs);

/* Gradient of input i: `run` makes it in the shape of output 0 from tensors that
 * broadcast to it (the gradient of output 0 among them), and it is summed over the
 * axes along which the input was broadcast. Nothing where it is not wanted.
 * ldnq_elementwise_grad_scratch is backward_scratch for operators that use it. */
void ldnq_elementwise_grad(const struct ldnq_op_grad *grad, size_t i, ldnq_elementwise_fn *run,
                           const struct ldnq_tensor *const *in, size_t inputs);
size_t ldnq_elementwise_grad_scratch(const struct ldnq_op_grad *grad);

/* The span function of a binary operator: U = EXPR of x and y, both T. */
#define LDNQ_BINARY_LOOP(name, T, U, EXPR)                                                         \
    LDNQ_MULTIVERSION                                                                              \
    static void name(void *out_, const void *const *in, const size_t *step, size_t count)          \
    {                                                                                              \
        const T *a = in[0], *b = in[1];                                                            \
        U *out = out_;                                                                             \
        if (step[0] && step[1]) {                                                                  \
            LDNQ_IVDEP                                                                             \
            for (size_t i = 0; i < count; i++) {                                                   \
                const T x = a[i], y = b[i];                                                        \
                out[i] = (U)(EXPR);                                                                \
            }                                                                                      \
        } else if (step[0]) {                                                                      \
            const T y = *b;                                                                        \
            LDNQ_IVDEP                                                                             \
            for (size_t i = 0; i < count; i++) {                                                   \
                const T x = a[i];                                                                  \
                out[i] = (U)(EXPR);                                                                \
            }                                                                                      \
        } else {                                                                                   \
            const T x = *a;                                                                        \
            const size_t by = step[1];                                                             \
            LDNQ_IVDEP                                                                             \
            for (size_t i = 0; i < count; i++) {                                                   \
                const T y = b[i * by];                                                             \
                out[i] = (U)(EXPR);                                                                \
            }                                                                                      \
        }                                                                                          \
    }

/* The same of three inputs, all float: EXPR of g (most often a gradient), x and y. */
#define LDNQ_TERNARY_LOOP(name, EXPR)                                                              \
    static void name(void *out_, const void *const *in, const size_t *step, size_t count)          \
    {                                                                                              \
        const float *first = in[0], *second = in[1], *third = in[2];                               \
        float *out = out_;                                                                         \
        if (step[0] && step[1] && step[2]) {                                                       \
            LDNQ_IVDEP                                                                             \
            for (size_t i = 0; i < count; i++) {                                                   \
                const float g = first[i], x = second[i], y = third[i];                             \
                out[i] = EXPR;                                                                     \
            }                                                                                      \
        } else {                                                                                   \
            for (size_t i = 0; i < count; i++) {                                                   \
                const float g = first[i * step[0]], x = second[i * step[1]];                       \
                const float y = third[i * step[2]];                                                \
                out[i] = EXPR;                                                                     \
            }                                                                                      \
        }                                                                                          \
    }

/* The same for the integers besides int32 and int64, whose arithmetic is in int or in
 * uint64 and wraps around when it is stored. */
#define LDNQ_BINARY_LOOP_INTEGERS_TO(name, U, EXPR)                                                \
    LDNQ_BINARY_LOOP(name##_int8, int8_t, U(int8_t), EXPR)                                         \
    LDNQ_BINARY_LOOP(name##_uint8, uint8_t, U(uint8_t), EXPR)                                      \
    LDNQ_BINARY_LOOP(name##_int16, int16_t, U(int16_t), EXPR)                                      \
    LDNQ_BINARY_LOOP(name##_uint16, uint16_t, U(uint16_t), EXPR)                                   \
    LDNQ_BINARY_LOOP(name##_uint32, uint32_t, U(uint32_t), EXPR)                                   \
    LDNQ_BINARY_LOOP(name##_uint64, uint64_t, U(uint64_t), EXPR)
#define LDNQ_RESULT_SAME(T) T
#define LDNQ_RESULT_BOOL(T) uint8_t
#define LDNQ_BINARY_LOOP_INTEGERS(name, EXPR)                                                      \
    LDNQ_BINARY_LOOP_INTEGERS_TO(name, LDNQ_RESULT_SAME, EXPR)
/* Their lines in a list of cases. */
#define LDNQ_INTEGER_KERNELS(name)                                                                 \
    { LDNQ_INT8, name##_int8 }, { LDNQ_UINT8, name##_uint8 }, { LDNQ_INT16, name##_int16 },        \
        { LDNQ_UINT16, name##_uint16 }, { LDNQ_UINT32, name##_uint32 },                            \
    {                                                                                              \
        LDNQ_UINT64, name##_uint64                                                                 \
    }

/* Whether an element of an integer tensor is 0. */
bool ldnq_elementwise_has_zero(const struct ldnq_tensor *tensor);

/* A dtype and the span function for inputs of it. */
struct ldnq_elementwise_kernel {
    enum ldnq_dtype dtype;
    ldnq_elementwise_fn *run;
};

/* infer of a binary operator that broadcasts: inputs of one dtype, which must be
 * among the cases; out_dtype LDNQ_UNDEFINED stands for the inputs' own. */
enum ldnq_status ldnq_binary_infer(struct ldnq_op_call *call,
                                   const struct ldnq_elementwise_kernel *cases, size_t count,
                                   enum ldnq_dtype out_dtype, struct ldnq_error *err);
void ldnq_binary_run(const struct ldnq_op_call *call, const struct ldnq_elementwise_kernel *cases,
                     size_t count);
/* NULL when the dtype is not among them. */
ldnq_elementwise_fn *ldnq_elementwise_find(const struct ldnq_elementwise_kernel *cases,
                                           size_t count, enum ldnq_dtype dtype);

#endif
