# SPDX-License-Identifier: Apache-2.0
"""ldnq quantizes float ONNX models from a handful of samples.

    import ldnq
    q = ldnq.quantize("net.onnx", calibration=loader, target="ort", weights="int8")
    q.save("net-int8.onnx")
"""

from ._check import Check, check
from ._errors import (CanceledError, DataError, Error, FileError, GateError, ModelError,
                      NumericError, OutOfMemoryError, UnsupportedError, UsageError, Warning)
from ._jobs import diff, eval, inspect, lint, quantize, run
from ._library import LIBRARY
from ._results import Candidates, Comparison, Evaluation, Findings, Inspection, Quantized, Result

__version__ = LIBRARY.ldnq_version().decode()

__all__ = ["CanceledError", "Candidates", "Check", "Comparison", "DataError", "Error",
           "Evaluation", "FileError", "Findings", "GateError", "Inspection", "ModelError", "NumericError",
           "OutOfMemoryError", "Quantized", "Result", "UnsupportedError", "UsageError", "Warning",
           "check", "diff", "eval", "inspect", "lint", "quantize", "run"]
