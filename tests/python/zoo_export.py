# SPDX-License-Identifier: Apache-2.0
"""Exports of the zoo's networks, made in processes of their own."""

import contextlib
import inspect
import io
import logging
import os
import time
import warnings

import torch
import zoo_attention  # noqa: F401  (each adds its species)
import zoo_convolutional  # noqa: F401
import zoo_images  # noqa: F401
import zoo_language  # noqa: F401
import zoo_sequence  # noqa: F401
import zoo_speech  # noqa: F401
from zoo import SPECIES


def example(kind, half, batch=2):
    arrays = kind.feeds(batch if kind.open_batch else 1, seed=99, half=half).values()
    return tuple(torch.from_numpy(array) for array in arrays)


def torchscript(kind, module, path, opset, half):
    outputs = module(*example(kind, half))
    names = [f"out{i}" for i in range(len(outputs) if isinstance(outputs, tuple) else 1)]
    axes = {name: {0: "batch"} for name in [*kind.inputs, *names]} if kind.open_batch else {}
    for name, more in kind.axes.items():
        axes[name] = {**axes[name], **more}
    torch.onnx.export(
        module, example(kind, half), path, dynamo=False, opset_version=opset,
        input_names=list(kind.inputs), output_names=names, dynamic_axes=axes)


def dynamic_shapes(kind, module):
    """By argument of forward; what depends on other sizes, as that of a mask, torch finds out."""
    batch = torch.export.Dim("batch")
    shapes = [{0: batch, **dict.fromkeys(kind.axes.get(name, ()), torch.export.Dim.AUTO)}
              for name in kind.inputs]
    variadic = [parameter.kind == parameter.VAR_POSITIONAL
                for parameter in inspect.signature(module.forward).parameters.values()]
    if any(variadic):
        named = len(variadic) - 1
        shapes[named:] = [tuple(shapes[named:])]
    return tuple(shapes)


def dynamo(kind, module, path, half):
    torch.onnx.export(
        module, example(kind, half), path, dynamo=True, verbose=False,
        input_names=list(kind.inputs), external_data=False,
        dynamic_shapes=dynamic_shapes(kind, module) if kind.open_batch else None)


def export(name, exporter, path):
    """("", seconds) when the file is written, else why torch could not."""
    torch.set_num_threads(1)
    # Torch's own layers are traced, not replaced by its fused kernel.
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    kind, start = SPECIES[name], time.process_time()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), \
            contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            how, _, half = exporter.partition("-")
            module = kind.module().half() if half else kind.module()
            if how == "dynamo":
                dynamo(kind, module, path, bool(half))
            else:
                torchscript(kind, module, path, int(how[2:]), bool(half))
        except Exception as why:  # whatever an exporter throws is its answer
            return f"{type(why).__name__}: {why}", time.process_time() - start
    return "", time.process_time() - start
