# SPDX-License-Identifier: Apache-2.0
"""Arrays of NumPy, PyTorch and others, as the library sees them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ._errors import DataError
from ._library import LIBRARY, Array, Owner

DTYPES = {"float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16",
          "uint32", "uint64", "bool"}


def is_torch(value: Any, kind: str) -> bool:
    """Whether a value is PyTorch's Tensor or Module, without importing it."""
    if kind == "Tensor":
        return any(base.__module__ == "torch" and base.__name__ == kind
                   for base in type(value).__mro__)
    return any(base.__module__ == "torch.nn.modules.module" and base.__name__ == kind
               for base in type(value).__mro__)


def to_array(value: Any) -> np.ndarray:
    """A contiguous array that shares the memory of the value where it can."""
    if is_torch(value, "Tensor"):
        value = value.detach().cpu()
        value = value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise DataError(f"an array of type {array.dtype} is no input of a model")
    return np.require(array, array.dtype.newbyteorder("="), "C")


def describe(name: str | None, dtype: np.dtype, shape: tuple[int, ...], data: int | None) -> Array:
    """A struct that keeps its shape and texts alive, not the data."""
    return Array(None if name is None else name.encode(), dtype.name.encode(),
                 (ctypes.c_int64 * len(shape))(*shape), len(shape), data)


def describe_arrays(arrays: dict[str | None, np.ndarray]):
    """(struct ldnq_ndarray[], count) of arrays that have to outlive it."""
    records = [describe(name, array.dtype, array.shape, array.ctypes.data)
               for name, array in arrays.items()]
    return (Array * len(records))(*records), len(records)


def read_outputs(result: Owner) -> dict[str, np.ndarray]:
    """The arrays of a result. They share its memory and keep it alive."""
    outputs = {}
    while record := LIBRARY.ldnq_result_array(result.value, len(outputs)):
        array = record.contents
        shape = tuple(array.shape[axis] for axis in range(array.rank))
        dtype = np.dtype(array.dtype.decode())
        outputs[array.name.decode()] = view_memory(array.data, dtype, shape, result)
    return outputs


def view_memory(data: int | None, dtype: np.dtype, shape: tuple[int, ...],
                owner: Owner) -> np.ndarray:
    """An array over memory of the library."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    buffer = (ctypes.c_char * size).from_address(data)
    buffer.owner = owner
    return np.frombuffer(buffer, dtype).reshape(shape)
