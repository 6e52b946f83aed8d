# SPDX-License-Identifier: Apache-2.0
"""Runs a model in the user's runtime and in ldnq's executor, and says where they part."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ._arrays import is_torch, to_array
from ._errors import UsageError
from ._jobs import find_inputs, inspect, run
from ._models import open_model, read_content
from ._results import Result
from ._samples import Input, iterate_items, name_arrays, split_rows

# Integer kernels round at other places than the reference does: a step of 8 bits is .4 % of a
# range, and a network of some depth adds up a few.
LIMIT = 0.05


class Check(Result):
    """How far a runtime is from the reference, by output."""

    columns = ("output", "difference", "agreement", "parts")

    def rows(self) -> list[dict[str, Any]]:
        return self.figures["outputs"]

    @property
    def ok(self) -> bool:
        """Whether no output is further away than the limit."""
        return not any(row["parts"] for row in self.figures["outputs"])

    def summary(self) -> str:
        f = self.figures
        if self.ok:
            return f"{f['runtime']} computes what ldnq computes, on {f['samples']} samples"
        where = f", first at '{f['first']}'" if f["first"] else ""
        return (f"{f['runtime']} parts from ldnq by more than {100 * f['limit']:g} % of the range"
                f"{where}, on {f['samples']} samples")


# ---- samples


def draw_feeds(figures: dict, count: int) -> dict[str, np.ndarray]:
    """Normal data for floats, zeros and ones for integers. Open axes are 16 long, the first one
    `count`."""
    rng, feeds = np.random.default_rng(0), {}
    for value in figures["inputs"]:
        shape = [size if isinstance(size, int) else 16 for size in value["shape"] or [1]]
        if value["shape"] and not isinstance(value["shape"][0], int):
            shape[0] = count
        dtype = np.dtype(value["dtype"])
        drawn = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feeds[value["name"]] = drawn.astype(dtype)
    return feeds


def read_feeds(data: Any, inputs: list[Input], count: int) -> dict[str, np.ndarray]:
    """The first samples of arrays, or of the first item of what is iterated."""
    if not (isinstance(data, (np.ndarray, tuple, dict)) or is_torch(data, "Tensor")):
        if isinstance(data, (str, bytes)) or hasattr(data, "__fspath__"):
            raise UsageError("check takes arrays or what yields them, not a path")
        data = next(iterate_items(data))
    arrays = name_arrays(data, inputs)
    feeds = {}
    for given in inputs:
        rows = split_rows(to_array(arrays[given.name]), given)
        feeds[given.name] = rows[:count] if given.is_batched else rows[0]
    return feeds


# ---- runtimes


def open_onnxruntime(model: Any) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """A session on the processor, as a user gets it."""
    try:
        import onnxruntime  # pylint: disable=import-outside-toplevel
    except ImportError as error:
        raise UsageError("the check needs the package onnxruntime") from error
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


def open_runtime(runtime: Any, model: Any) -> tuple[str, Callable[[dict[str, np.ndarray]], Any]]:
    """The runtime's name, and a function from feeds to outputs in the order of the model."""
    if runtime == "onnxruntime":
        return runtime, open_onnxruntime(model)
    if hasattr(runtime, "get_providers"):  # a session of ONNX Runtime
        return "the session", lambda feeds: runtime.run(None, feeds)
    if callable(runtime):
        return getattr(runtime, "__name__", "the runtime"), runtime
    raise UsageError(f"a runtime is 'onnxruntime', a session or a function, not {runtime!r}")


# ---- comparing


def compare_arrays(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference as part of our range; infinite for other shapes."""
    if ours.shape != theirs.shape:
        return float("inf")
    if not ours.size:
        return 0.0
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    size = max(float(np.abs(ours).max()), 1e-30)
    difference = float(np.abs(ours - theirs).max()) / size
    return difference if np.isfinite(difference) else float("inf")


def compare_output(name: str, ours: np.ndarray, theirs: Any, limit: float) -> dict[str, Any]:
    """The row of an output."""
    theirs = to_array(theirs)
    difference = compare_arrays(ours, theirs)
    agreement = None
    if ours.ndim == 2 and ours.shape[1] > 1 and ours.shape == theirs.shape:
        agreement = 100 * float((ours.argmax(1) == theirs.argmax(1)).mean())
    return {"output": name, "difference": difference, "agreement": agreement,
            "parts": not difference <= limit}


def find_first_node(content: str | bytes, feeds: dict, limit: float) -> str | None:
    """The node at whose output ONNX Runtime first parts; None where the package onnx is missing.
    Only what is dequantized is compared: nodes between run on integers there."""
    try:
        import onnx  # pylint: disable=import-outside-toplevel
    except ImportError:
        return None
    proto = onnx.load_from_string(content) if isinstance(content, bytes) else onnx.load(content)
    constants = {tensor.name for tensor in proto.graph.initializer}
    producers = {name: node for node in proto.graph.node for name in node.output}
    nodes = [node for node in proto.graph.node
             if node.op_type == "DequantizeLinear" and node.input[0] not in constants]
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in nodes
                              if node.output[0] not in known)
    extended = proto.SerializeToString()
    ours = run(extended, feeds)
    theirs = dict(zip(ours, open_onnxruntime(extended)(feeds)))
    for node in nodes:
        if not compare_arrays(ours[node.output[0]], theirs[node.output[0]]) <= limit:
            quantize = producers.get(node.input[0], node)
            made = producers.get(quantize.input[0], quantize)
            return made.name or made.output[0]
    return None


def check(model: Any, data: Any = None, *, runtime: Any = "onnxruntime", samples: int = 4,
          limit: float = LIMIT) -> Check:
    """Runs a model in the user's runtime and by ldnq.run on a few samples.

    model    a result of quantize, a path, bytes or an onnx.ModelProto
    data     arrays, or what yields them; None: random numbers
    runtime  "onnxruntime", a session of it, or a function from {input: array} to the outputs in
             their order
    limit    how far the outputs may be apart, as part of the largest value
    """
    content = read_content(model)
    onnx = open_model(content)
    feeds = draw_feeds(inspect(onnx), samples) if data is None else \
        read_feeds(data, find_inputs(onnx), samples)
    name, function = open_runtime(runtime, content)
    ours, theirs = run(onnx, feeds), function(feeds)
    if not isinstance(theirs, dict):
        theirs = dict(zip(ours, theirs))
    rows = [compare_output(key, ours[key], theirs[key], limit) for key in ours]
    parts = runtime == "onnxruntime" and any(row["parts"] for row in rows)
    return Check({"runtime": name, "samples": len(next(iter(feeds.values()), ())), "limit": limit,
                  "outputs": rows,
                  "first": find_first_node(content, feeds, limit) if parts else None})
