# SPDX-License-Identifier: Apache-2.0
"""Models of all kinds as handles of the library."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ._arrays import is_torch
from ._errors import UsageError
from ._export import export_module
from ._library import LIBRARY, Owner


def open_path(path: Any) -> Owner:
    """A model in a file."""
    return Owner(LIBRARY.ldnq_onnx_destroy).create(LIBRARY.ldnq_onnx_from_path, os.fsencode(path))


def open_bytes(content: Any, name: str) -> Owner:
    """A model in memory, which is not copied."""
    view = np.frombuffer(content, np.uint8)
    return Owner(LIBRARY.ldnq_onnx_destroy, view).create(
        LIBRARY.ldnq_onnx_from_bytes, view.ctypes.data, view.size, name.encode())


def serialize(model: Any) -> bytes:
    """The bytes of an onnx.ModelProto, or of the one in a torch.onnx.ONNXProgram."""
    proto = getattr(model, "model_proto", model)
    if not hasattr(proto, "SerializeToString"):
        raise UsageError("a model is a path, bytes, an onnx.ModelProto or a torch.nn.Module, not "
                         f"{type(model).__name__}")
    try:
        return proto.SerializeToString()
    except Exception as error:  # of protobuf, which is not imported here
        raise UsageError(f"the model can't be made bytes ({error}): save it, with external data "
                         "above 2 GiB, and pass the path") from error


def read_content(model: Any) -> str | bytes:
    """A model as other libraries take it: the path of its file, or its bytes."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if hasattr(model, "open_model"):
        return model.content
    return serialize(model)


def open_model(model: Any, example_inputs: Any = None, name: str | None = None) -> Owner:
    """A path, bytes, an onnx.ModelProto, a result of quantize, or a torch.nn.Module; the name is
    what messages and pages call a model in memory."""
    if isinstance(model, Owner):
        return model
    if isinstance(model, (str, os.PathLike)):
        return open_path(model)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return open_bytes(model, name or "model")
    if hasattr(model, "open_model"):
        return model.open_model(name or "quantized")
    if is_torch(model, "Module"):
        return open_bytes(serialize(export_module(model, example_inputs)),
                          name or type(model).__name__)
    return open_bytes(serialize(model), name or "model")
