# SPDX-License-Identifier: Apache-2.0
"""What the suites of the program share: its runs, ONNX Runtime, pictures, small models."""

import fcntl
import json
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LDNQ_BUILD", ROOT / "build"))
LDNQ = BUILD / "src" / "cli" / "ldnq"
DIGITS = ROOT / "testdata" / "digits"
SHARED = ROOT.parent / "shared" / "data"
IMAGENET = (0.498,) * 3, (0.502,) * 3
CIFAR = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# For tests of the weights alone; with ternary codes it is the setting of the paper.
WEIGHTS_ALONE = ("--target", "weights", "--solver", "best")
TERNARY = (*WEIGHTS_ALONE, "--weights", "ternary")

OK, USAGE, IO, MODEL, UNSUPPORTED, DATA, NUMERIC, NOMEM = 0, 2, 3, 4, 5, 6, 7, 8

RELATIVE = 1e-4


# ---- the program

PROGRESS = re.compile(r"^\w+: \d+ %, [\d:]+ (?:s|min|h) (?:left|so far)(?:, at .*)?\n", re.MULTILINE)


def without_progress(text):
    """What does not depend on how fast the machine is: the first line on the progress comes after
    a second."""
    return PROGRESS.sub("", text)


def ldnq(*arguments, program=LDNQ, timeout=300, **more):
    """Runs the program; the outcome, whatever it is, with its messages but not its progress."""
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                          timeout=timeout, check=False, **more)
    done.stderr = without_progress(done.stderr)
    return done


def succeed(*arguments, **more):
    done = ldnq(*arguments, **more)
    assert done.returncode == OK, done.stderr
    return done


def used_ticks(process):
    """Processor time of all threads, and whether one of them runs or is ready to."""
    ticks, runs = 0, False
    for path in Path(f"/proc/{process.pid}/task").glob("*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
        runs = runs or fields[0] == "R"
    return ticks, runs


def wait_until_it_waits(process):
    """Returns when the process waits for the other end of a pipe, so that what follows does not
    depend on who is faster. All of its threads sleep, for several looks in a row."""
    quiet, before = 0, None
    while quiet < 8 and process.poll() is None:
        ticks, runs = used_ticks(process)
        quiet = 0 if runs or ticks != before else quiet + 1
        before = ticks
        time.sleep(.01)


def open_small_pipe(path):
    """A pipe for a log, with room for the lines of two layers: the run that writes a third one
    waits until they are read."""
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    with open(path, "wb") as writer:
        writer.write(b"\n" * 2048)
    return pipe


def drain(pipe):
    """Reads a pipe to its end."""
    os.set_blocking(pipe, True)
    while os.read(pipe, 65536):
        pass
    os.close(pipe)


def peak_megabytes(*arguments):
    """Of a child, by a program between that has only this child."""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)")
    done = subprocess.run(["python3", "-c", code, LDNQ, *map(str, arguments)],
                          capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def answer(*arguments):
    """What the program prints with --json."""
    return json.loads(succeed(*arguments, "--json").stdout)


def warnings(said):
    """All but that a crafted model of a few weights has become larger."""
    return [text for text in said["warnings"] if "larger than the float model" not in text]


def preprocessing(mean, std):
    return ["--mean", ",".join(map(str, mean)), "--std", ",".join(map(str, std))]


def run(model, feeds, folder, *options):
    """{output name: array} that `ldnq run` makes."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = []
    for i, (name, array) in enumerate(feeds.items()):
        np.save(folder / f"in{i}.npy", array)
        inputs += ["--input", f"{name}={folder / f'in{i}.npy'}"]
    outputs = answer("run", model, *inputs, "--output", folder / "out", *options)["outputs"]
    return {output["name"]: np.load(output["file"]) for output in outputs}


# ---- ONNX Runtime


def loadable(source):
    """A source file for ONNX Runtime, which takes none with two nodes of one name."""
    proto = onnx.load(source, load_external_data=False)
    names = [node.name for node in proto.graph.node if node.name]
    if len(set(names)) == len(names):
        return source
    for node in proto.graph.node:
        node.name = ""
    return proto.SerializeToString()


def session(model, optimized=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options,
                                        providers=["CPUExecutionProvider"])


def ort_run(model, feeds, optimized=True):
    there = session(model, optimized)
    names = [output.name for output in there.get_outputs()]
    return dict(zip(names, there.run(names, feeds)))


def has_quantized_activations(model):
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(model).graph.node)


def assert_close(ours, theirs, relative=RELATIVE):
    """Largest difference against the largest value, output by output."""
    assert list(ours) == list(theirs)
    for name, want in theirs.items():
        assert ours[name].shape == want.shape and ours[name].dtype == want.dtype, name
        if want.size:
            error = np.abs(ours[name].astype(float) - want).max() / max(np.abs(want).max(), 1e-30)
            assert error <= relative, f"{name}: {error}"


def assert_same_outputs(model, feeds, folder, *options):
    """`ldnq run` and ONNX Runtime give the same for the file; returns the outputs."""
    # It computes between quantized activations in integers, and may be a step off.
    theirs = ort_run(model, feeds, optimized=not has_quantized_activations(model))
    assert_close(run(model, feeds, folder, *options), theirs)
    return theirs


def random_feeds(model, batch=2, seed=0):
    """Normal data for every input; open dimensions are the batch."""
    rng = np.random.default_rng(seed)
    return {
        given.name: rng.standard_normal(
            [d if isinstance(d, int) else batch for d in given.shape]).astype(np.float32)
        for given in session(model).get_inputs()
    }


# ---- pictures


def picture(path, channels, mean=(0,), std=(1,)):
    """(C,H,W) as the program preprocesses it by default."""
    pixels = np.asarray(Image.open(path).convert("L" if channels == 1 else "RGB"), np.float32)
    planes = pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)
    columns = (np.reshape(v, (-1, 1, 1)).astype(np.float32) for v in (mean, std))
    return (planes / np.float32(255) - next(columns)) / next(columns)


def pictures(paths, channels, mean=(0,), std=(1,)):
    return np.stack([picture(path, channels, mean, std) for path in paths])


def class_folders(folder):
    """[(path, class)] in the order of the names of folders and files."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    return [(path, i) for i, each in enumerate(classes) for path in sorted(each.iterdir())]


# ---- small models

FLOAT = TensorProto.FLOAT


def info(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def weights(*shape, seed=1, spread=0.3):
    return (spread * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def model(nodes, inputs, outputs, initializers, opset=13, ir_version=8, opsets=(), **more):
    """inputs and outputs: {name: shape}; initializers: {name: array or TensorProto}."""
    graph = helper.make_graph(
        nodes, "crafted",
        [info(name, shape) for name, shape in inputs.items()],
        [info(name, shape) for name, shape in outputs.items()],
        [array if isinstance(array, TensorProto) else tensor(name, array)
         for name, array in initializers.items()])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*pair) for pair in opsets)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **more)


def save(proto, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)
    return path


def save_samples(path, *shape, count=24, seed=5):
    """A .npy of samples that are not centred, as activations are not."""
    rng = np.random.default_rng(seed)
    np.save(path, (rng.standard_normal((count, *shape)) + 0.5).astype(np.float32))
    return path


def wilson_interval(hits, count):
    """The 95 % interval of a share, by the roots of (share - p)^2 = z^2 p (1 - p) / count."""
    share, z2 = hits / count, 1.959963984540054**2 / count
    low, high = np.sort(np.roots([1 + z2, -2 * share - z2, share**2]).real)
    return max(low, 0), min(high, 1)


# ---- what is in a quantized file


def readers(graph, name):
    """Of the value, or of its transpose."""
    found = [node for node in graph.node if name in node.input]
    if [node.op_type for node in found] == ["Transpose"]:
        return readers(graph, found[0].output[0])
    return found


class Quantized:
    """A weight as it lies in the file: integer codes, scales, axis, and its readers."""

    def __init__(self, graph, node):
        arrays = {t.name: t for t in graph.initializer}
        self.node = node
        self.dtype = arrays[node.input[0]].data_type
        self.codes = numpy_helper.to_array(arrays[node.input[0]]).astype(np.int32)
        self.scales = numpy_helper.to_array(arrays[node.input[1]])
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.axis = attributes.get("axis") if self.scales.ndim else None
        self.block_size = attributes.get("block_size", 0)
        self.readers = readers(graph, node.output[0])

    @property
    def weight(self):
        """Scale times code, computed here."""
        if self.axis is None:
            return self.codes * self.scales
        if self.block_size:
            scales = np.repeat(self.scales, self.block_size, self.axis)
            return self.codes * scales.take(range(self.codes.shape[self.axis]), self.axis)
        shape = [1] * self.codes.ndim
        shape[self.axis] = -1
        return self.codes * self.scales.reshape(shape)


def quantized_weights(path):
    """In the order of the nodes; only those whose codes are initializers."""
    graph = onnx.load(path).graph
    names = {t.name for t in graph.initializer}
    return [Quantized(graph, node) for node in graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in names]


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def check(path):
    onnx.checker.check_model(str(path), full_check=True)
