# SPDX-License-Identifier: Apache-2.0
"""A model that a function of the user's scores, for max_drop by mAP, WER and what people have."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ._samples import Input, name_arrays

Run = Callable[[bytes, "dict[str | None, np.ndarray]"], "dict[str, np.ndarray]"]


class Candidate:
    """A session of ONNX Runtime where that is installed, and a function from inputs to outputs in
    any case."""

    def __init__(self, model: bytes, inputs: list[Input], run: Run):
        self.model = model
        self._inputs, self._run = inputs, run
        self._session: Any = None

    @property
    def session(self) -> Any:
        """An onnxruntime.InferenceSession on the processor."""
        if self._session is None:
            import onnxruntime  # pylint: disable=import-outside-toplevel
            self._session = onnxruntime.InferenceSession(self.model,
                                                         providers=["CPUExecutionProvider"])
        return self._session

    def __getattr__(self, name: str) -> Any:
        """The rest is the session's: run, get_inputs, get_outputs."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.session, name)

    def __call__(self, *inputs: Any) -> Any:
        """The output for inputs in their order, or for one mapping; a tuple of several outputs."""
        is_mapping = len(inputs) == 1 and hasattr(inputs[0], "keys")
        feeds = name_arrays(inputs[0] if is_mapping else inputs, self._inputs)
        try:
            outputs = self.session.run(None, feeds)
        except ImportError:
            outputs = list(self._run(self.model, feeds).values())
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
