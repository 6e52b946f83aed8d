# SPDX-License-Identifier: Apache-2.0
"""The shared library as ctypes sees it: the structs and functions of ldnq.h.

No code is compiled against Python, so that one wheel serves all its versions.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char, c_char_p, c_double, c_int,
                    c_int64, c_size_t, c_uint, c_void_p)
from pathlib import Path

from ._errors import BY_STATUS, Error

PACKAGE = Path(__file__).resolve().parent
ERROR_SIZE = 8192  # LDNQ_ERROR_SIZE
GO_ON, CANCEL = 0, 1  # what a progress callback returns


class ErrorText(Structure):
    """struct ldnq_error"""

    _fields_ = [("status", c_int), ("message", c_char * ERROR_SIZE)]


class OptionRecord(Structure):
    """struct ldnq_option"""

    _fields_ = [("name", c_char_p), ("letter", c_char_p), ("type", c_int), ("scope", c_int),
                ("jobs", c_uint), ("repeats", c_int), ("value", c_char_p), ("choices", c_char_p),
                ("least", c_double), ("most", c_double), ("default_value", c_char_p),
                ("help", c_char_p), ("since", c_char_p)]


class Progress(Structure):
    """struct ldnq_progress"""

    _fields_ = [("stage", c_char_p), ("detail", c_char_p), ("done", c_size_t),
                ("total", c_size_t)]


class Array(Structure):
    """struct ldnq_ndarray"""

    _fields_ = [("name", c_char_p), ("dtype", c_char_p), ("shape", POINTER(c_int64)),
                ("rank", c_size_t), ("data", c_void_p)]


ProgressFunction = CFUNCTYPE(c_int, c_void_p, POINTER(Progress))
EventFunction = CFUNCTYPE(None, c_void_p, c_char_p)
ReadFunction = CFUNCTYPE(c_int, c_void_p, c_size_t, c_size_t, c_void_p, c_size_t)
ShapeFunction = CFUNCTYPE(c_int, c_void_p, c_size_t, c_size_t, POINTER(c_int64))
ScoreFunction = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, POINTER(c_double))


class SampleReader(Structure):
    """struct ldnq_sample_reader"""

    _fields_ = [("sample_count", c_size_t), ("inputs", POINTER(Array)), ("input_count", c_size_t),
                ("labels", POINTER(c_int64)), ("read", ReadFunction), ("ctx", c_void_p),
                ("shape", ShapeFunction)]


Handle = c_void_p
Out = POINTER(c_void_p)
Err = POINTER(ErrorText)

# Name, result, arguments. A result of None is void.
FUNCTIONS = (
    ("ldnq_version", c_char_p, ()),
    ("ldnq_blas_info", c_char_p, ()),
    ("ldnq_cpu_info", c_char_p, ()),
    ("ldnq_options_describe", POINTER(OptionRecord), (c_size_t,)),
    ("ldnq_options_nearest", POINTER(OptionRecord), (c_char_p, c_uint)),
    ("ldnq_options_create", c_int, (Out, Err)),
    ("ldnq_options_destroy", None, (Handle,)),
    ("ldnq_options_set", c_int, (Handle, c_char_p, c_char_p, Err)),
    ("ldnq_options_on_progress", None, (Handle, ProgressFunction, c_void_p)),
    ("ldnq_options_on_event", None, (Handle, EventFunction, c_void_p)),
    ("ldnq_options_on_score", None, (Handle, ScoreFunction, c_void_p)),
    ("ldnq_options_set_goal_data", None, (Handle, Handle)),
    ("ldnq_onnx_from_path", c_int, (c_char_p, Out, Err)),
    ("ldnq_onnx_from_bytes", c_int, (c_void_p, c_size_t, c_char_p, Out, Err)),
    ("ldnq_onnx_destroy", None, (Handle,)),
    ("ldnq_dataset_from_path", c_int, (c_char_p, Out, Err)),
    ("ldnq_dataset_add_path", c_int, (Handle, c_char_p, Err)),
    ("ldnq_dataset_from_arrays", c_int, (POINTER(Array), c_size_t, Out, Err)),
    ("ldnq_dataset_from_reader", c_int, (POINTER(SampleReader), Out, Err)),
    ("ldnq_dataset_destroy", None, (Handle,)),
    ("ldnq_result_json", c_char_p, (Handle,)),
    ("ldnq_result_bytes", c_void_p, (Handle, c_char_p, POINTER(c_size_t))),
    ("ldnq_result_array", POINTER(Array), (Handle, c_size_t)),
    ("ldnq_result_destroy", None, (Handle,)),
    ("ldnq_quantize", c_int, (Handle, Handle, Handle, Out, Err)),
    ("ldnq_diff", c_int, (Handle, Handle, Handle, Handle, Out, Err)),
    ("ldnq_diff_candidates", c_int, (Handle, POINTER(Handle), c_size_t, Handle, Handle, Out, Err)),
    ("ldnq_eval", c_int, (POINTER(Handle), c_size_t, Handle, Handle, Out, Err)),
    ("ldnq_inspect", c_int, (Handle, Handle, Out, Err)),
    ("ldnq_lint", c_int, (Handle, Handle, Out, Err)),
    ("ldnq_run", c_int, (Handle, POINTER(Array), c_size_t, Handle, Out, Err)),
)


def find_library() -> str:
    """LDNQ_LIBRARY, else the package's own library, else the system's."""
    chosen = os.environ.get("LDNQ_LIBRARY")
    own = PACKAGE / "libldnq.so"
    return chosen or (str(own) if own.exists() else "libldnq.so.0")


def load_library() -> ctypes.CDLL:
    """The library with the types of its functions."""
    library = ctypes.CDLL(find_library())
    for name, result, arguments in FUNCTIONS:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = load_library()


def raise_status(status: int, error: ErrorText) -> None:
    """Raises the exception of a status that is not 0."""
    if status:
        message = error.message.decode("utf-8", "replace")
        raise BY_STATUS.get(status, Error)(message)


def call(function, *arguments) -> None:
    """Calls a function whose last argument is a struct ldnq_error."""
    error = ErrorText()
    raise_status(function(*arguments, byref(error)), error)


class Owner:
    """A handle of the library, with what has to outlive it."""

    def __init__(self, destroy, *needs):
        self.value = c_void_p()
        self._destroy = destroy
        self.needs = list(needs)

    def create(self, function, *arguments) -> "Owner":
        """Lets a function of the library make the handle."""
        call(function, *arguments, byref(self.value))
        return self

    def __del__(self):
        if self.value:
            self._destroy(self.value)
            self.value = c_void_p()
