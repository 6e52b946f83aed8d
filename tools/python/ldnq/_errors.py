# SPDX-License-Identifier: Apache-2.0
"""One class of exception for each status of the library."""

from __future__ import annotations


class Error(Exception):
    """What the library refused or could not do; its text is the library's message."""

    status = 1


class UsageError(Error, ValueError):
    """An option, a name or an argument is wrong."""

    status = 2


class FileError(Error, OSError):
    """A file can't be read, written or created."""

    status = 3


class ModelError(Error, ValueError):
    """The model is damaged or not valid ONNX."""

    status = 4


class UnsupportedError(Error, NotImplementedError):
    """Valid ONNX that ldnq does not handle."""

    status = 5


class DataError(Error, ValueError):
    """A sample is missing, damaged or does not fit the model."""

    status = 6


class NumericError(Error, ArithmeticError):
    """NaN, infinity, or a factorization that failed."""

    status = 7


class OutOfMemoryError(Error, MemoryError):
    """Out of memory, or a size that can't be counted."""

    status = 8


class GateError(Error):
    """A result beyond the limits that the caller set: no file meets the goal."""

    status = 9


class CanceledError(Error):
    """The job was canceled."""

    status = 10


class Warning(UserWarning):  # pylint: disable=redefined-builtin
    """What the library warns of during a job."""


BY_STATUS = {kind.status: kind for kind in (
    UsageError, FileError, ModelError, UnsupportedError, DataError, NumericError,
    OutOfMemoryError, GateError, CanceledError)}
