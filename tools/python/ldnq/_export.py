# SPDX-License-Identifier: Apache-2.0
"""From a torch.nn.Module to the bytes of an ONNX model."""

from __future__ import annotations

import importlib.util
from typing import Any, NamedTuple

from ._errors import UnsupportedError, UsageError


class Call(NamedTuple):
    """What a module is called with."""

    arguments: tuple
    keywords: dict[str, Any]


def read_example(example_inputs: Any) -> Call:
    """A mapping has keywords, a tuple or list arguments, else it is the only argument."""
    if example_inputs is None:
        raise UsageError("a torch.nn.Module needs example_inputs: a tensor, a tuple of tensors or "
                         "a dict of them by parameter")
    if hasattr(example_inputs, "keys"):
        return Call((), dict(example_inputs))
    if isinstance(example_inputs, (tuple, list)):
        return Call(tuple(example_inputs), {})
    return Call((example_inputs,), {})


def export_module(module: Any, example_inputs: Any) -> Any:
    """The onnx.ModelProto of a module in evaluation mode, whose first axes stay open where the
    module allows it. The module is left as it was."""
    import torch  # pylint: disable=import-outside-toplevel
    call = read_example(example_inputs)
    if importlib.util.find_spec("onnxscript") is None:
        raise UsageError("PyTorch exports to ONNX by the package onnxscript: install ldnq[torch]")
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            return run_exporter(torch, module, call)
    finally:
        for part, mode in modes:
            part.training = mode


def run_exporter(torch: Any, module: Any, call: Call) -> Any:
    """With the first axes as the batch; where that fails, as the example has them."""
    tree_map = torch.utils._pytree.tree_map  # pylint: disable=protected-access

    def open_axis(value):
        is_open = isinstance(value, torch.Tensor) and value.dim() > 0
        return {0: torch.export.Dim.AUTO} if is_open else None

    def double(value):
        # An axis of size 1 in the example would be taken for a constant.
        is_single = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == 1
        return torch.cat([value, value]) if is_single else value

    batch = Call(*tree_map(double, tuple(call)))
    axes = Call(*tree_map(open_axis, tuple(batch)))
    try:
        return call_exporter(torch, module, batch, axes.keywords or axes.arguments)
    except Exception:  # pylint: disable=broad-except
        try:
            return call_exporter(torch, module, call, None)
        except Exception as error:
            raise UnsupportedError(f"{type(module).__name__}: PyTorch can't export it to ONNX: "
                                   f"{str(error).strip()}") from error


def call_exporter(torch: Any, module: Any, call: Call, axes: Any) -> Any:
    """By torch.export."""
    program = torch.onnx.export(module, call.arguments, kwargs=call.keywords, dynamo=True,
                                dynamic_shapes=axes, verbose=False)
    return program.model_proto
