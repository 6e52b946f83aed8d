# SPDX-License-Identifier: Apache-2.0
"""The functions of the package, one for each job of the library."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from ._arrays import describe_arrays, is_torch, read_outputs, to_array
from ._candidate import Candidate
from ._job import Job, read_json
from ._library import LIBRARY, Owner, c_size_t, c_void_p
from ._models import open_model
from ._options import DIFF, EVAL, INSPECT, LINT, QUANTIZE, RUN, Options, with_options
from ._results import Candidates, Comparison, Evaluation, Findings, Inspection, Quantized
from ._samples import Input, name_arrays, open_samples, read_inputs

if TYPE_CHECKING:  # a wheel has the types of the options; the source has their table alone
    from typing_extensions import Unpack

    from ._keywords import (DiffOptions, EvalOptions, InspectOptions, LintOptions, QuantizeOptions,
                            RunOptions)


def find_inputs(model: Owner) -> list[Input]:
    """The inputs of a model."""
    return read_inputs(read_json(Job(Options(INSPECT, {}), False).run(LIBRARY.ldnq_inspect,
                                                                     model.value)))


def open_data(data: Any, model: Owner, options: dict[str, Any]) -> Owner:
    """Samples for a model."""
    limit = int(options.get("max_samples") or 0)
    return open_samples(data, lambda: find_inputs(model), limit)


def open_models(models: Any, example_inputs: Any = None) -> tuple[list[Owner], ctypes.Array]:
    """Models of a list, or of {name: model}, and the array of their handles."""
    named = models.items() if isinstance(models, dict) else ((None, model) for model in models)
    opened = [open_model(model, example_inputs, name) for name, model in named]
    return opened, (c_void_p * len(opened))(*(model.value.value for model in opened))


def read_bytes(result: Owner, part: str) -> bytes | None:
    """A part of a result; None where it has none."""
    size = c_size_t()
    address = LIBRARY.ldnq_result_bytes(result.value, part.encode(), ctypes.byref(size))
    return ctypes.string_at(address, size.value) if address else None


def set_goal(job: Job, evaluate: Any, model: Owner, options: dict[str, Any]) -> None:
    """Sets what a goal is measured on: a function that scores models, or samples."""
    if callable(evaluate):
        inputs = find_inputs(model)
        job.score_by(lambda content: evaluate(Candidate(content, inputs, run)))
    elif evaluate is not None:
        job.goal_data = open_data(evaluate, model, {**options, "max_samples": None})
        LIBRARY.ldnq_options_set_goal_data(job.options.value, job.goal_data.value)


@with_options(QUANTIZE)
def quantize(model: Any, calibration: Any = None, *, example_inputs: Any = None,
             evaluate: Any = None, progress: Any = None,
             **options: Unpack[QuantizeOptions]) -> Quantized:
    """Quantizes a float model.

    model           a path, bytes, an onnx.ModelProto, or a torch.nn.Module with example_inputs
    calibration     a path or a list of paths, an array, {input: array}, (array, ..., labels), or
                    what yields arrays, tuples or dicts, such as a DataLoader: that is read once,
                    up to max_samples, and held in a temporary file. None: no samples, the weights
                    are rounded
    example_inputs  what the module is called with: a tensor, a tuple, or a dict of keywords
    evaluate        what the goals max_drop, min_agreement and min_sqnr are measured on: samples in
                    the forms of calibration, or for max_drop a function that scores models: it is
                    called with the float model first, and returns a number that is larger for
                    better ones. max_drop is then in its unit. The models are sessions of ONNX
                    Runtime (run, get_inputs), and functions from inputs to outputs
    progress        True shows a bar, None one on a terminal, False none; or a function that is
                    called with (stage, detail, done, total)

    Errors are raised as ldnq.Error, which has a class for each kind. An interrupt ends the job
    and leaves no file.
    """
    settings = Options(QUANTIZE, options)
    onnx = open_model(model, example_inputs)
    samples = open_data(calibration, onnx, options)
    job = Job(settings, progress)
    set_goal(job, evaluate, onnx, options)
    result = job.run(LIBRARY.ldnq_quantize, onnx.value, samples.value)
    return Quantized(read_json(result), read_bytes(result, "model"), read_bytes(result, "html"))


@with_options(DIFF)
def diff(model: Any, quantized: Any, data: Any = None, *, example_inputs: Any = None,
         progress: Any = None, **options: Unpack[DiffOptions]) -> Comparison | Candidates:
    """Compares a quantized model with the float one, layer by layer; a list of models, or {name:
    model}, side by side. Without data their weights alone. Models, data and progress are as those
    of quantize."""
    settings = Options(DIFF, options)
    settings.set("page", "1")
    onnx = open_model(model, example_inputs)
    samples = None if data is None else open_data(data, onnx, options)
    has_several = isinstance(quantized, (dict, list, tuple))
    job, function = Job(settings, progress), LIBRARY.ldnq_diff
    if has_several:
        others, handles = open_models(quantized)
        function, compared = LIBRARY.ldnq_diff_candidates, (handles, len(others))
    else:
        others = [open_model(quantized)]
        compared = (others[0].value,)
    result = job.run(function, onnx.value, *compared, samples and samples.value)
    form = Candidates if has_several else Comparison
    return form(read_json(result), read_bytes(result, "html"))


@with_options(EVAL)
def eval(models: Any, data: Any, *, example_inputs: Any = None,  # pylint: disable=redefined-builtin
         progress: Any = None, **options: Unpack[EvalOptions]) -> Evaluation:
    """Top-1 and top-5 accuracy of a model, or of a list of models, on labelled samples, and how
    often they agree with the first one."""
    settings = Options(EVAL, options)
    opened, handles = open_models(models if isinstance(models, (dict, list, tuple)) else [models],
                                  example_inputs)
    samples = open_data(data, opened[0], options)
    result = Job(settings, progress).run(LIBRARY.ldnq_eval, handles, len(opened), samples.value)
    return Evaluation(read_json(result))


@with_options(INSPECT)
def inspect(model: Any, *, example_inputs: Any = None,
            **options: Unpack[InspectOptions]) -> Inspection:
    """The layers of a model: shapes, sizes, multiplications, and whether they can be quantized."""
    onnx = open_model(model, example_inputs)
    result = Job(Options(INSPECT, options), False).run(LIBRARY.ldnq_inspect, onnx.value)
    return Inspection(read_json(result))


@with_options(LINT)
def lint(model: Any, **options: Unpack[LintOptions]) -> Findings:
    """What in a QDQ model the target refuses, or computes slower than the float model."""
    onnx = open_model(model)
    result = Job(Options(LINT, options), False).run(LIBRARY.ldnq_lint, onnx.value)
    return Findings(read_json(result))


@with_options(RUN)
def run(model: Any, inputs: Any = (), *, example_inputs: Any = None,
        **options: Unpack[RunOptions]) -> dict[str, np.ndarray]:
    """The outputs of a model by name, computed once by the reference executor.

    inputs  an array, a tuple of arrays in the order of the inputs, or {input: array}
    """
    settings = Options(RUN, options)
    onnx = open_model(model, example_inputs)
    if isinstance(inputs, np.ndarray) or is_torch(inputs, "Tensor"):
        arrays = {None: to_array(inputs)}
    elif isinstance(inputs, Sequence) and not inputs:
        arrays = {}
    else:
        arrays = name_arrays(inputs, find_inputs(onnx))
    records, count = describe_arrays(arrays)
    return read_outputs(Job(settings, False).run(LIBRARY.ldnq_run, onnx.value, records, count))
