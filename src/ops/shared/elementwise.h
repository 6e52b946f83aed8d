/* SPDX-License-Identifier: Apache-2.0 */
/* elementwise.h: the elementwise iterator, for operators of one to three broadcast inputs.
 *
 * The iterator cuts the output into runs of consecutive elements. Along a run, each input
 * either advances by one element (step 1) or stays at one element (step 0, broadcast). An
 * operator supplies the loop over one run, per dtype; LDNQ_BINARY_LOOP and
 * LDNQ_TERNARY_LOOP write such loops from an expression.
 *
 * Shapes  out has the broadcast shape of all inputs
 * Owns    nothing
 * Threads runs on the call's pool; results do not depend on the number of threads
 */
#ifndef LDNQ_OPS_ELEMENTWISE_H
#define LDNQ_OPS_ELEMENTWISE_H

#include "base/simd.h"
#include "ops/op.h"

/* The most inputs. */
#define LDNQ_ELEMENTWISE_INPUTS 3

/* The loop over one run: out[i] from in[k][i * step[k]], for i < count. out may be in[0]. */
typedef void ldnq_elementwise_fn(void *out, const void *const *in, const size_t *step,
                                 size_t count);

/* Computes all of out. Every in[i] must broadcast to its shape. */
void ldnq_elementwise_run(const struct ldnq_op_call *call, ldnq_elementwise_fn *run,
                          const struct ldnq_tensor *out, const struct ldnq_tensor *const *in,
                          size_t inputs);

/* Computes the gradient of input i, if it is requested. `run` computes it in the shape of
 * output 0 from the tensors in `in`, which broadcast to that shape; it is then summed over
 * the axes along which input i was broadcast. An operator that calls this has
 * ldnq_elementwise_grad_scratch_bytes as its backward_scratch_bytes. */
void ldnq_elementwise_compute_grad(const struct ldnq_op_grad *grad, size_t i,
                                   ldnq_elementwise_fn *run, const struct ldnq_tensor *const *in,
                                   size_t inputs);
size_t ldnq_elementwise_grad_scratch_bytes(const struct ldnq_op_grad *grad);

/* Defines the loop `name` of a binary operator: inputs x and y of type T, the result EXPR of
 * type U. */
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

/* The same for three float inputs: EXPR of g (usually a gradient), x and y. */
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

/* LDNQ_BINARY_LOOP for all integer types except int32 and int64, as name_int8 and so on.
 * EXPR is computed in int or uint64_t and wraps around when it is stored. U(T) is the type
 * of the result. */
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
/* The entries of these loops in a list of kernels. */
#define LDNQ_INTEGER_KERNELS(name)                                                                 \
    { LDNQ_INT8, name##_int8 }, { LDNQ_UINT8, name##_uint8 }, { LDNQ_INT16, name##_int16 },        \
        { LDNQ_UINT16, name##_uint16 }, { LDNQ_UINT32, name##_uint32 },                            \
    {                                                                                              \
        LDNQ_UINT64, name##_uint64                                                                 \
    }

/* Whether any element of an integer tensor is 0. */
bool ldnq_elementwise_has_zero(const struct ldnq_tensor *tensor);

/* The loop for inputs of one dtype. */
struct ldnq_elementwise_kernel {
    enum ldnq_dtype dtype;
    ldnq_elementwise_fn *run;
};

/* infer of a binary operator that broadcasts. Both inputs must have the same dtype, one of
 * the kernels'. out_dtype LDNQ_UNDEFINED: the dtype of the inputs. */
enum ldnq_status ldnq_binary_infer_shape(struct ldnq_op_call *call,
                                         const struct ldnq_elementwise_kernel *kernels,
                                         size_t count, enum ldnq_dtype out_dtype,
                                         struct ldnq_error *err);
void ldnq_binary_run(const struct ldnq_op_call *call, const struct ldnq_elementwise_kernel *kernels,
                     size_t count);
/* The loop for a dtype; NULL if there is none. */
ldnq_elementwise_fn *ldnq_elementwise_find(const struct ldnq_elementwise_kernel *kernels,
                                           size_t count, enum ldnq_dtype dtype);

#endif
