# SPDX-License-Identifier: Apache-2.0
"""Samples of all kinds as handles of the library.

A path is read by the library. Arrays are passed without a copy. What is iterated, such as a
DataLoader, is read once, one item after the other, into a temporary file without a name: the
library reads each sample several times, in an order of its own, and a loader that shuffles or
augments would return others.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from typing import Any, Callable, Iterator, Mapping, NamedTuple

import numpy as np

from ._arrays import describe, describe_arrays, is_torch, to_array
from ._errors import DataError, UsageError
from ._library import (LIBRARY, Array, Owner, ReadFunction, SampleReader,
                       ShapeFunction, call)

LABELS = "labels"


class Input(NamedTuple):
    """An input of the model."""

    name: str
    rank: int | None  # None: not known
    is_batched: bool  # axis 0 is the batch


def read_inputs(figures: dict) -> list[Input]:
    """The inputs in what inspect returns."""
    inputs = []
    for value in figures["inputs"]:
        shape = value["shape"]
        first = shape[0] if shape else 1
        is_batched = shape is None or (bool(shape) and (not isinstance(first, int) or first == 1))
        inputs.append(Input(value["name"], None if shape is None else len(shape), is_batched))
    return inputs


# ---- handles


def open_samples(data: Any, find_inputs: Callable[[], list[Input]], limit: int = 0) -> Owner:
    """None, a path or paths, an array, arrays by name, a tuple of arrays, or what yields those.
    The model's inputs are looked at where they are needed. With a limit, no more samples than that
    are taken from what is iterated."""
    if isinstance(data, Owner):
        return data
    if data is None:
        return open_paths(["none"])
    if isinstance(data, (str, os.PathLike)):
        return open_paths([data])
    if isinstance(data, list) and data and all(isinstance(p, (str, os.PathLike)) for p in data):
        return open_paths(data)
    if is_one_array(data):
        return open_arrays({None: to_array(data)})
    if isinstance(data, (Mapping, tuple)):
        return open_arrays(name_arrays(data, find_inputs()))
    return SampleFile(find_inputs(), data, limit).open()


def open_paths(paths: list) -> Owner:
    """Files and folders, as one set."""
    first, *others = map(os.fsencode, paths)
    owner = Owner(LIBRARY.ldnq_dataset_destroy).create(LIBRARY.ldnq_dataset_from_path, first)
    for path in others:
        call(LIBRARY.ldnq_dataset_add_path, owner.value, path)
    return owner


def open_arrays(arrays: dict[str | None, np.ndarray]) -> Owner:
    """Arrays in memory, which are not copied."""
    records, count = describe_arrays(arrays)
    return Owner(LIBRARY.ldnq_dataset_destroy, arrays, records).create(
        LIBRARY.ldnq_dataset_from_arrays, records, count)


def is_one_array(value: Any) -> bool:
    """Whether a value is an array or a tensor."""
    return isinstance(value, np.ndarray) or is_torch(value, "Tensor")


# ---- items


def name_arrays(item: Any, inputs: list[Input]) -> dict[str | None, np.ndarray]:
    """The arrays of an item by input: a mapping, a tuple in the order of the inputs with the
    labels after them, or one array."""
    if isinstance(item, Mapping):
        return name_mapping(item, inputs)
    values = list(item) if isinstance(item, (tuple, list)) else [item]
    if len(values) not in (len(inputs), len(inputs) + 1):
        names = ", ".join(f"'{given.name}'" for given in inputs)
        raise DataError(f"a sample has {len(values)} arrays where the model has the "
                        f"input{'s' if len(inputs) > 1 else ''} {names}, which labels may follow")
    names = [given.name for given in inputs] + [LABELS]
    return {name: to_array(value) for name, value in zip(names, values)}


def name_mapping(item: Mapping, inputs: list[Input]) -> dict[str | None, np.ndarray]:
    """Arrays that no input reads are left out: loaders have more than a model takes."""
    arrays = {}
    for given in inputs:
        if given.name not in item:
            raise DataError(f"a sample has no array for input '{given.name}'; it has "
                            + ", ".join(f"'{name}'" for name in item))
        arrays[given.name] = to_array(item[given.name])
    labels = item.get(LABELS, item.get("label"))
    if labels is not None:
        arrays[LABELS] = to_array(labels)
    return arrays


def iterate_items(data: Any) -> Iterator:
    """Of an iterable, or of a data set with an index."""
    if hasattr(data, "__iter__"):
        return iter(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return (data[i] for i in range(len(data)))
    raise UsageError("samples are a path, arrays, or what can be iterated, not "
                     f"{type(data).__name__}")


def split_rows(array: np.ndarray, given: Input) -> np.ndarray:
    """The array with the samples along axis 0."""
    if given.rank is None:
        return array
    sample_rank = given.rank - given.is_batched
    if array.ndim == sample_rank:
        return array[None]
    if array.ndim == sample_rank + 1:
        return array
    raise DataError(f"a sample has an array of shape {array.shape} where input '{given.name}' has "
                    f"{given.rank} axes")


# ---- the file


class SampleFile:
    """Samples in a temporary file, and the functions that the library reads them by."""

    def __init__(self, inputs: list[Input], data: Any, limit: int):
        self.inputs = inputs
        self.file = tempfile.TemporaryFile(prefix="ldnq-", buffering=0)
        self.end = 0
        self.dtypes: list[np.dtype | None] = [None] * len(inputs)
        self.places: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in inputs]
        self.labels: list[int] = []
        for item in iterate_items(data):
            self.append(name_arrays(item, inputs), limit)
            if limit and len(self) >= limit:
                break
        if not len(self):
            raise DataError("there are no samples: the iteration ended at once, as that of a "
                            "generator does the second time")

    def __len__(self) -> int:
        return len(self.places[0]) if self.places else 0

    def append(self, arrays: dict[str | None, np.ndarray], limit: int) -> None:
        """Writes the samples of an item."""
        rows = [split_rows(arrays[given.name], given) for given in self.inputs]
        count = len(rows[0])
        if any(len(row) != count for row in rows):
            raise DataError(f"the arrays of an item have {[len(row) for row in rows]} samples")
        kept = min(count, limit - len(self)) if limit else count
        for index, row in enumerate(rows):
            self.write(index, row[:kept])
        labels = np.atleast_1d(arrays.get(LABELS, np.empty(0, np.int64)))
        if labels.shape == (count,) and np.issubdtype(labels.dtype, np.integer):
            self.labels.extend(labels[:kept].tolist())

    def write(self, index: int, rows: np.ndarray) -> None:
        """Appends samples of an input."""
        dtype = self.dtypes[index] = self.dtypes[index] or rows.dtype
        if rows.dtype != dtype:
            raise DataError(f"input '{self.inputs[index].name}' has samples of type {dtype} and "
                            f"of type {rows.dtype}")
        size = rows[0].nbytes if len(rows) else 0
        self.places[index].extend((self.end + i * size, rows.shape[1:]) for i in range(len(rows)))
        if rows.nbytes:
            write_all(self.file.fileno(), memoryview(rows).cast("B"), self.end)
        self.end += rows.nbytes

    # ---- what the library calls, in threads of its own

    def read(self, _, sample: int, index: int, data: int, size: int) -> int:
        """Fills memory of the library."""
        position, end = self.places[index][sample][0], data + size
        while data < end:
            memory = (ctypes.c_char * (end - data)).from_address(data)
            count = os.preadv(self.file.fileno(), [memory], position)
            if count == 0:
                return 1
            position, data = position + count, data + count
        return 0

    def shape(self, _, sample: int, index: int, sizes) -> int:
        """Writes the sizes of a sample."""
        for axis, size in enumerate(self.places[index][sample][1]):
            sizes[axis] = size
        return 0

    def open(self) -> Owner:
        """The handle, which keeps the file."""
        shapes_differ = any(len({shape for _, shape in places}) > 1 for places in self.places)
        records = [describe(given.name, dtype, places[0][1], None)
                   for given, dtype, places in zip(self.inputs, self.dtypes, self.places)]
        inputs = (Array * len(records))(*records)
        labels = None
        if len(self.labels) == len(self):
            labels = (ctypes.c_int64 * len(self))(*self.labels)
        shape = ShapeFunction(self.shape) if shapes_differ else ShapeFunction()
        reader = SampleReader(len(self), inputs, len(records), labels, ReadFunction(self.read),
                              None, shape)
        return Owner(LIBRARY.ldnq_dataset_destroy, self, reader).create(
            LIBRARY.ldnq_dataset_from_reader, ctypes.byref(reader))


def write_all(file: int, content: memoryview, offset: int) -> None:
    """os.pwrite of all bytes."""
    while content:
        count = os.pwrite(file, content, offset)
        content, offset = content[count:], offset + count
