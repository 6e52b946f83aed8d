"""Exports of the zoo's networks, made in processes of their own."""

import contextlib
import io
import logging
import os
import time
import warnings

import torch
import zoo_attention  # noqa: F401  (each adds its species)
import zoo_convolutional  # noqa: F401
import zoo_images  # noqa: F401
import zoo_sequence  # noqa: F401
from zoo import SPECIES

EXPORTERS = ["ts11", "ts13", "ts17", "dynamo"]  # TorchScript at an opset; dynamo at its default


def example(kind, batch):
    return tuple(torch.from_numpy(array) for array in kind.feeds(batch, seed=99).values())


def torchscript(kind, module, path, opset):
    outputs = module(*example(kind, 2))
    names = [f"out{i}" for i in range(len(outputs) if isinstance(outputs, tuple) else 1)]
    axes = {name: {0: "batch"} for name in [*kind.inputs, *names]} if kind.open_batch else None
    torch.onnx.export(
        module, example(kind, 2 if kind.open_batch else 1), path, dynamo=False,
        opset_version=opset, input_names=list(kind.inputs), output_names=names, dynamic_axes=axes)


def dynamo(kind, module, path):
    shapes = tuple({0: torch.export.Dim("batch")} for _ in kind.inputs)
    torch.onnx.export(
        module, example(kind, 2 if kind.open_batch else 1), path, dynamo=True, verbose=False,
        input_names=list(kind.inputs), external_data=False,
        dynamic_shapes=shapes if kind.open_batch else None)


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
            if exporter == "dynamo":
                dynamo(kind, kind.module(), path)
            else:
                torchscript(kind, kind.module(), path, int(exporter[2:]))
        except Exception as why:  # whatever an exporter throws is its answer
            return f"{type(why).__name__}: {why}", time.process_time() - start
    return "", time.process_time() - start
