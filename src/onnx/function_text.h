/* SPDX-License-Identifier: Apache-2.0 */
/* function_text.h: a function written as text, for operators that ldnq computes as a function of
 * ONNX's own.
 *
 * The text is a part of ONNX's textual syntax (onnx/docs/Syntax.md), a statement per line:
 *
 *     QuickGelu (X) => (Y) <alpha = 1.702>
 *       a = Constant <value_float = @alpha> ()
 *       x = Mul (X, a)
 *       s = Sigmoid (x)
 *       Y = Mul (X, s)
 *
 * After the outputs come the defaults of attributes. @NAME refers to an attribute of the call.
 * An operator may have a domain before it, as in com.microsoft.QuickGelu.
 * An input that is left out is empty, as in "Clip (x, , high)"; "high?" is left out where no line
 * has made it and the call has no input of that name. What is computed may depend on the call: the
 * condition "if bias:" holds where it has that input or output, "if @axes:" where it has that
 * attribute and it is not 0; "unless" is the opposite. A condition is for its line, or, with
 * nothing after it, for all lines until "end". An empty line ends the function.
 */
#ifndef LDNQ_ONNX_FUNCTION_TEXT_H
#define LDNQ_ONNX_FUNCTION_TEXT_H

#include "onnx/model.h"

/* Creates the function that the text describes for this call of it; its nodes are of `opset`. It
 * lives in the arena. Errors: MODEL (the text is not as above), NOMEM. */
enum ldnq_status ldnq_function_parse(struct ldnq_arena *arena, const char *text, int opset,
                                     const Onnx__NodeProto *call, Onnx__FunctionProto **out,
                                     struct ldnq_error *err);

#endif
