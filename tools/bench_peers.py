# SPDX-License-Identifier: Apache-2.0
"""Run by the Python of another environment, which has nncf and openvino:

  bench_peers.py nncf MODEL CALIB.npz OUT      NNCF's quantize, at its defaults for a CPU
  bench_peers.py openvino MODEL EVAL.npz OUT   the first output of the model by OpenVINO, as .npy
"""

import sys

import numpy


def samples(path):
    arrays = dict(numpy.load(path))
    count = len(next(iter(arrays.values())))
    return [{name: array[i:i + 1] for name, array in arrays.items()} for i in range(count)]


def quantize(model, calib, out):
    import nncf
    import onnx
    feeds = samples(calib)
    made = nncf.quantize(onnx.load(model), nncf.Dataset(feeds), subset_size=len(feeds))
    onnx.save(made, out)


def infer(model, data, out):
    import openvino
    # Its default is bfloat16 where the processor has it.
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    numpy.save(out, numpy.concatenate([compiled(feed)[0] for feed in samples(data)]))


if __name__ == "__main__":
    {"nncf": quantize, "openvino": infer}[sys.argv[1]](*sys.argv[2:])
