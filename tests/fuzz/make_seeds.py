# SPDX-License-Identifier: Apache-2.0
"""Seeds for the fuzz targets: ONNX's node cases and small networks.

    make_seeds.py FOLDER PROGRAM [STEP]    writes FOLDER/TARGET/*, for each target

PROGRAM is ldnq, whose files become seeds as well. Of the node cases, one in STEP is taken.
"""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NODE_CASES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
MOST_BYTES = 6000
RNG = np.random.default_rng(3)


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def tensor(name, array):
    return numpy_helper.from_array(array, name)


def network(nodes, shape, initializers, opset=21):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [tensor(name, array) for name, array in initializers.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), output.split(), name=output + "_node",
                            **attributes)


def networks():
    """Layers of every kind, with what is merged into them and what shares their scales."""
    yield "mlp", network(
        [node("Gemm", "x a b", "h"), node("Relu", "h", "r"), node("MatMul", "r c", "m"),
         node("Add", "m d", "s"), node("Softmax", "s", "y")], (6,),
        {"a": weights(6, 8), "b": weights(8), "c": weights(8, 4), "d": weights(4)})
    yield "conv", network(
        [node("Conv", "x a b", "h", pads=[1, 1, 1, 1]),
         node("BatchNormalization", "h s o e v", "n"), node("Clip", "n lo hi", "r"),
         node("Conv", "r c", "k", group=4, kernel_shape=[3, 3]),
         node("GlobalAveragePool", "k", "p"), node("Flatten", "p", "f"),
         node("Gemm", "f g", "y", transB=1)], (2, 6, 6),
        {"a": weights(4, 2, 3, 3), "b": weights(4), "s": weights(4), "o": weights(4),
         "e": weights(4), "v": np.abs(weights(4)), "c": weights(4, 1, 3, 3), "g": weights(3, 4),
         "lo": np.float32(0), "hi": np.float32(6)})
    yield "residual", network(
        [node("Conv", "x a", "h", pads=[1, 1, 1, 1]), node("Add", "h x", "s"),
         node("Sigmoid", "s", "t"), node("Mul", "s t", "w"), node("Concat", "w x", "c", axis=1),
         node("MaxPool", "c", "m", kernel_shape=[2, 2], strides=[2, 2]),
         node("ConvTranspose", "m d", "u", strides=[2, 2], kernel_shape=[2, 2]),
         node("Resize", "u none sc", "z", mode="nearest"), node("Split", "z", "y q", axis=1)],
        (2, 4, 4), {"a": weights(2, 2, 3, 3), "d": weights(4, 2, 2, 2),
                    "none": np.zeros(0, np.float32), "sc": np.float32([1, 1, 2, 2])}, 17)
    yield "attention", network(
        [node("MatMul", "x a", "q"), node("MatMul", "x b", "k"), node("MatMul", "x c", "v"),
         node("Transpose", "k", "t", perm=[0, 2, 1]), node("MatMul", "q t", "s"),
         node("Softmax", "s", "p"), node("MatMul", "p v", "o"), node("Add", "o x", "r"),
         node("LayerNormalization", "r g h", "n"), node("MatMul", "n d", "y")], (3, 4),
        {"a": weights(4, 4), "b": weights(4, 4), "c": weights(4, 4), "d": weights(4, 5),
         "g": weights(4), "h": weights(4)})
    yield "shapes", network(
        [node("Shape", "x", "n"), node("Gather", "n zero", "d"),
         node("Concat", "d rest", "t", axis=0), node("Reshape", "x t", "r"),
         node("MatMul", "r w", "y")], (2, 3),
        {"zero": np.int64([0]), "rest": np.int64([-1]), "w": weights(6, 2)}, 13)


def with_integers_as_initializers(model, folder):
    """The case with its integer inputs as constants, so that shapes depend on them."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    found = False
    for i, value in reversed(list(enumerate(model.graph.input))):
        file = folder / "test_data_set_0" / f"input_{i}.pb"
        if value.type.tensor_type.elem_type not in (TensorProto.INT64, TensorProto.INT32):
            continue
        data = TensorProto.FromString(file.read_bytes())
        data.name = value.name
        copy.graph.initializer.append(data)
        del copy.graph.input[i]
        found = True
    return copy if found else None


def node_cases():
    for folder in sorted(NODE_CASES.iterdir()):
        file = folder / "model.onnx"
        if not file.exists() or file.stat().st_size > MOST_BYTES:
            continue
        model = onnx.load(file)
        yield folder.name, model
        other = with_integers_as_initializers(model, folder)
        if other and other.ByteSize() <= MOST_BYTES:
            yield folder.name + "_constant", other


class Seeds:
    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def write(self, target, name, contents):
        path = self.folder / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        self.count += 1


def write_models(seeds, step):
    for i, (name, model) in enumerate(node_cases()):
        if i % step:
            continue
        contents = model.SerializeToString()
        seeds.write("model", name, contents)
        if i % 8 == 0:
            seeds.write("quantize", name, bytes([i & 255]) + contents)
            seeds.write("diff", name, struct.pack("<I", len(contents)) + contents)


def quantize(program, model, target, *options):
    """The model as the program quantizes it, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "m.onnx")
        dims = [d.dim_value or 8 for d in model.graph.input[0].type.tensor_type.shape.dim]
        np.save(folder / "x.npy", weights(*dims))
        done = subprocess.run([program, "quantize", folder / "m.onnx", "--calib", folder / "x.npy",
                               "--target", target, *options, "-o", folder / "q.onnx"],
                              capture_output=True, check=False)
        return (folder / "q.onnx").read_bytes() if done.returncode == 0 else None


def write_networks(seeds, program):
    for name, model in networks():
        contents = model.SerializeToString()
        seeds.write("model", name, contents)
        for choice in range(0, 256, 5):
            seeds.write("quantize", f"{name}-{choice}", bytes([choice]) + contents)
        for target in ("weights", "ort", "tensorrt"):
            for codebook in ("int8", "int4"):
                quantized = quantize(program, model, target, "--weights", codebook)
                if quantized:
                    seeds.write("model", f"{name}-{target}-{codebook}", quantized)
                    seeds.write("diff", f"{name}-{target}-{codebook}",
                                struct.pack("<I", len(contents)) + contents + quantized)


# ---- samples


def npy(array):
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, array)
        return Path(file.name).read_bytes()


def npz(**arrays):
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file.name, **arrays)
        return Path(file.name).read_bytes()


def compressed_npz(**arrays):
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez_compressed(file.name, **arrays)
        return Path(file.name).read_bytes()


def pictures():
    from PIL import Image  # noqa: PLC0415
    for mode, kind in (("L", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"),
                       ("I;16", "PNG"), ("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG")):
        with tempfile.NamedTemporaryFile(suffix="." + kind.lower()) as file:
            Image.new(mode, (5, 4)).save(file.name, kind, progressive=mode == "RGB")
            yield f"{mode.replace(';', '')}-{kind}", kind, Path(file.name).read_bytes()


def external(location, **fields):
    model = network([node("MatMul", "x w", "y")], (4,), {"w": weights(4, 4)})
    w = model.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    w.external_data.add(key="location", value=location)
    for key, value in fields.items():
        w.external_data.add(key=key, value=str(value))
    return model.SerializeToString()


def write_samples(seeds):
    def write(name, kind, choice, contents):
        seeds.write("samples", name, bytes([kind, choice]) + contents)

    arrays = {"float": weights(3, 4), "half": weights(3, 4).astype(np.float16),
              "int64": np.arange(12).reshape(3, 4), "fortran": np.asfortranarray(weights(3, 4)),
              "row": weights(4), "scalar": np.float64(1), "none": weights(0, 4),
              "image": weights(2, 3, 4, 4)}
    for name, array in arrays.items():
        for choice in (0, 1, 2, 10, 36, 37, 255):
            write(f"npy-{name}-{choice}", 0, choice, npy(array))
            write(f"pb-{name}-{choice}", 2, choice, tensor("input", np.asarray(array)).
                  SerializeToString())
            write(f"any-{name}-{choice}", 5, choice, npy(array))
        write(f"npz-{name}", 1, 2, npz(input=array, labels=np.arange(len(np.atleast_1d(array)))))
        write(f"npz-compressed-{name}", 1, 34, compressed_npz(input=array))
    for name, kind, contents in pictures():
        for choice in (0, 1, 192):
            write(f"{name}-{choice}", 3 if kind == "PNG" else 4, choice, contents)
    for text in ("file,class\na.png,1\n", 'file,class\r\n"a.png",0\r\n', "file,class\n"):
        write(f"labels-{len(text)}", 6, 32, text.encode())
    write("external", 7, 0, external("w.bin", offset=0, length=64))
    write("external-short", 7, 0, external("w.bin"))
    write("external-up", 7, 0, external("../w.bin", length=64))


PLANS = (b"", b'{"layers":[{"node":"fc","weights":"int4"}]}',
         b'{"version":1,"weights":["int4","int8"],"held_out":true,"layers":'
         b'[{"node":"fc","weights":"float"}]}', b'{"layers":[]}', b"[1e999,\"\\ud800\"]")
OPTIONS = (b"weights=int8\ntarget=weights", b"weights=int4\nsolver=gptq\ntarget=ort",
           b"weights=ternary\nsolver=admm\nlambda=0.5", b"budget=4bits\nweights=int2,int4",
           b"layer=fc:weights=int4\nskip=fc*", b"mean=1,2,3\nstd=2\nscale=1/255\nresize=8",
           b"dim=N=3\nmax-mem=1M\nopset=21\nstorage=uint8", b"min-sqnr=20\nmax-samples=4",
           b"granularity=block\nblock-size=16\nactivations=uint8\nranges=entropy")


def write_plans(seeds):
    for i, options in enumerate(OPTIONS):
        seeds.write("plan", f"options-{i}", options)
        for k, plan in enumerate(PLANS):
            seeds.write("plan", f"plan-{i}-{k}", options + b"\0" + plan)


def main():
    seeds = Seeds(Path(sys.argv[1]))
    write_models(seeds, int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    write_networks(seeds, sys.argv[2])
    write_samples(seeds)
    write_plans(seeds)
    print(f"{seeds.count} seeds")


if __name__ == "__main__":
    main()
