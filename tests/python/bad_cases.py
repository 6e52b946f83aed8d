# SPDX-License-Identifier: Apache-2.0
"""Bad input, case by case.

Each case is a function of a folder that puts files there and gives the arguments,
the exit code and words that the message must hold.
"""

import os
import shutil
import struct

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

import small_models as small
import support
from support import DATA, DIGITS, IO, MODEL, NUMERIC, UNSUPPORTED, weights

DIGIT_MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"


def quantize(model, calib, *options):
    return ["quantize", model, "--calib", calib, *options]


def on_digits(calib, *options):
    return quantize(DIGIT_MODEL, calib, *options)


def with_model(folder, proto, *shape):
    path = support.save(proto, folder / "m.onnx")
    return quantize(path, support.save_samples(folder / "calib.npy", *shape))


def conv_model(**changes):
    """One convolution of (2,5,5); each keyword replaces an initializer."""
    values = {"w": weights(3, 2, 3, 3), "b": weights(3)} | changes
    return small.chain([small.conv("x w b", "y", name="the_layer")], (2, 5, 5), (3, 3, 3), values)


def broken_tensor(**fields):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2, 3, 3],
                         raw_data=weights(3, 2, 3, 3).tobytes())
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return tensor


def model_is_not_there(folder):
    return quantize(folder / "none.onnx", CALIB), IO, [folder / "none.onnx"]


def model_is_a_folder(folder):
    return quantize(folder, CALIB), IO, [folder]


def model_is_a_pipe(folder):
    os.mkfifo(folder / "m.onnx")
    return quantize(folder / "m.onnx", CALIB), IO, [folder / "m.onnx", "regular file"]


def external_data_is_a_pipe(folder):
    proto = conv_model()
    os.mkfifo(folder / "w.bin")
    proto.graph.initializer[0].ClearField("raw_data")
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    proto.graph.initializer[0].external_data.add(key="location", value="w.bin")
    return with_model(folder, proto, 2, 5, 5), IO, ["w.bin", "regular file"]


def plan_is_a_pipe(folder):
    os.mkfifo(folder / "plan.json")
    return on_digits(CALIB, "--plan", folder / "plan.json"), IO, ["plan.json", "regular file"]


def samples_are_a_pipe(folder):
    os.mkfifo(folder / "calib.npy")
    return on_digits(folder / "calib.npy"), IO, ["calib.npy", "regular file"]


def model_is_empty(folder):
    (folder / "m.onnx").touch()
    return quantize(folder / "m.onnx", CALIB), MODEL, [folder / "m.onnx"]


def model_is_a_picture(folder):
    path = next(CALIB.iterdir())
    return quantize(path, CALIB), MODEL, [path]


def model_is_text(folder):
    (folder / "m.onnx").write_text("this is not a model\n" * 100)
    return quantize(folder / "m.onnx", CALIB), MODEL, [folder / "m.onnx"]


def model_is_random(folder):
    (folder / "m.onnx").write_bytes(np.random.default_rng(1).bytes(5000))
    return quantize(folder / "m.onnx", CALIB), MODEL, [folder / "m.onnx"]


def model_has_no_graph(folder):
    proto = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 13)])
    return with_model(folder, proto, 2), MODEL, ["m.onnx", "graph"]


def model_has_no_opset(folder):
    proto = conv_model()
    del proto.opset_import[:]
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "opset"]


def opset_is_too_old(folder):
    proto = conv_model()
    proto.opset_import[0].version = 6
    return with_model(folder, proto, 2, 5, 5), UNSUPPORTED, ["m.onnx", "opset 6"]


def opset_is_too_new(folder):
    proto = conv_model()
    proto.opset_import[0].version = 99
    return with_model(folder, proto, 2, 5, 5), UNSUPPORTED, ["m.onnx", "opset 99"]


def tensor_is_too_short(folder):
    proto = conv_model(w=broken_tensor(raw_data=weights(50).tobytes()))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'w'", "200", "216"]


def tensor_is_too_long(folder):
    proto = conv_model(w=broken_tensor(dims=[3, 2, 3, 2]))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'w'"]


def tensor_has_a_negative_size(folder):
    proto = conv_model(w=broken_tensor(dims=[3, -2, 3, -3]))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'w'"]


def tensor_is_larger_than_memory_can_count(folder):
    proto = conv_model(w=broken_tensor(dims=[2**40, 2**40, 3, 3], raw_data=b"abcd"))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'w'"]


def tensor_has_the_wrong_field(folder):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2, 3, 3],
                         int64_data=range(54))
    return with_model(folder, conv_model(w=tensor), 2, 5, 5), MODEL, ["m.onnx", "'w'"]


def tensor_has_no_type(folder):
    proto = conv_model(w=broken_tensor(data_type=0))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'w'"]


def nodes_make_a_cycle(folder):
    proto = conv_model()
    proto.graph.node[0].output[0] = "a"
    proto.graph.node.extend([small.node("Add", "a d", "c", name="first"),
                             small.node("Relu", "c", "d", name="second"),
                             small.node("Relu", "d", "y")])
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "cycle"]


def node_reads_itself(folder):
    proto = conv_model()
    proto.graph.node[0].output[0] = "a"
    proto.graph.node.append(small.node("Add", "a y", "y", name="self"))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "self"]


def node_reads_what_nothing_makes(folder):
    proto = conv_model()
    proto.graph.node[0].input[0] = "nowhere"
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "the_layer", "'nowhere'"]


def output_that_nothing_makes(folder):
    proto = conv_model()
    proto.graph.output[0].name = "nowhere"
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'nowhere'"]


def name_is_made_twice(folder):
    proto = conv_model()
    proto.graph.node.append(small.node("Relu", "x", "y", name="again"))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "'y'"]


def weight_does_not_fit_its_input(folder):
    proto = conv_model(w=weights(3, 4, 3, 3))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "the_layer"]


def attribute_has_the_wrong_type(folder):
    proto = conv_model()
    proto.graph.node[0].attribute.append(helper.make_attribute("strides", "two"))
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "the_layer", "strides"]


def input_is_missing_from_a_node(folder):
    proto = conv_model()
    del proto.graph.node[0].input[1:]
    return with_model(folder, proto, 2, 5, 5), MODEL, ["m.onnx", "the_layer"]


def nan_in_a_weight(folder):
    values = weights(3, 2, 3, 3)
    values[1, 0, 2, 1] = np.nan
    arguments = with_model(folder, conv_model(w=values), 2, 5, 5)
    return arguments, NUMERIC, ["m.onnx", "the_layer", "weight", "NaN"]


def infinity_in_a_bias(folder):
    values = np.float32([1, np.inf, 0])
    arguments = with_model(folder, conv_model(b=values), 2, 5, 5)
    return arguments, NUMERIC, ["m.onnx", "the_layer", "bias", "infinity"]


def nan_out_of_the_network(folder):
    proto = small.chain([small.node("Log", "x", "a"), small.conv("a w", "y", name="after_log")],
                        (2, 5, 5), (3, 3, 3), {"w": weights(3, 2, 3, 3)})
    return with_model(folder, proto, 2, 5, 5), NUMERIC, ["m.onnx", "after_log"]


def bad_samples(folder, value):
    data = np.zeros((4, 1, 8, 8), np.float32)
    data[2, 0, 3, 3] = value
    np.save(folder / "bad.npy", data)
    return on_digits(folder / "bad.npy"), DATA, [folder / "bad.npy", "[2]"]


def nan_in_data(folder):
    return bad_samples(folder, np.nan)


def infinity_in_data(folder):
    return bad_samples(folder, -np.inf)


def data_is_not_there(folder):
    return on_digits(folder / "none"), IO, [folder / "none"]


def data_folder_is_empty(folder):
    (folder / "data").mkdir()
    return on_digits(folder / "data"), DATA, [folder / "data"]


def data_folder_holds_empty_folders(folder):
    (folder / "data" / "cat").mkdir(parents=True)
    return on_digits(folder / "data"), DATA, [folder / "data"]


def data_folder_holds_text(folder):
    (folder / "data").mkdir()
    (folder / "data" / "notes.txt").write_text("no pictures here")
    return on_digits(folder / "data"), DATA, [folder / "data"]


def data_file_is_text(folder):
    (folder / "data.txt").write_text("no pictures here")
    return on_digits(folder / "data.txt"), DATA, [folder / "data.txt"]


def among_pictures(folder, name, contents):
    (folder / "data").mkdir()
    for path in sorted(CALIB.iterdir())[:3]:
        shutil.copy(path, folder / "data")
    (folder / "data" / name).write_bytes(contents)
    return on_digits(folder / "data", "--strict"), DATA, [folder / "data" / name]


def png_is_cut_short(folder):
    whole = sorted(CALIB.iterdir())[0].read_bytes()
    return among_pictures(folder, "bad.png", whole[: len(whole) * 2 // 3])


def png_has_a_wrong_checksum(folder):
    whole = bytearray(sorted(CALIB.iterdir())[0].read_bytes())
    whole[-20] ^= 0x40
    return among_pictures(folder, "bad.png", bytes(whole))


def png_is_empty(folder):
    return among_pictures(folder, "bad.png", b"")


def png_is_text(folder):
    return among_pictures(folder, "bad.png", b"text in disguise")


def png_claims_a_huge_size(folder):
    whole = bytearray(sorted(CALIB.iterdir())[0].read_bytes())
    whole[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    return among_pictures(folder, "bad.png", bytes(whole))


def picture_of_a_kind_that_is_not_read(folder):
    Image.new("L", (8, 8)).save(folder / "x.bmp")
    return among_pictures(folder, "bad.bmp", (folder / "x.bmp").read_bytes())


def of_size(folder, width, height):
    Image.new("L", (width, height)).save(folder / "x.png")
    arguments, code, words = among_pictures(folder, "bad.png", (folder / "x.png").read_bytes())
    return arguments, code, [*words, f"(1,{height},{width})", "8,8)"]


def picture_has_another_size(folder):
    return of_size(folder, 9, 8)


def pictures_all_have_another_size(folder):
    Image.new("L", (12, 10)).save(folder / "x.png")
    return on_digits(folder / "x.png"), DATA, [folder / "x.png", "(1,10,12)", "8,8)"]


def crop_is_larger_than_the_picture(folder):
    return on_digits(CALIB, "--crop", "9"), DATA, [CALIB, "9"]


def npy_has_another_shape(folder):
    np.save(folder / "bad.npy", np.zeros((4, 1, 8, 9), np.float32))
    return on_digits(folder / "bad.npy"), DATA, [folder / "bad.npy", "9)", "8,8)"]


def npy_has_no_samples(folder):
    np.save(folder / "bad.npy", np.zeros((0, 1, 8, 8), np.float32))
    return on_digits(folder / "bad.npy"), DATA, [folder / "bad.npy"]


def npy_is_cut_short(folder):
    np.save(folder / "bad.npy", np.zeros((4, 1, 8, 8), np.float32))
    whole = (folder / "bad.npy").read_bytes()
    (folder / "bad.npy").write_bytes(whole[:-100])
    return on_digits(folder / "bad.npy"), DATA, [folder / "bad.npy"]


def npy_holds_objects(folder):
    np.save(folder / "bad.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    return on_digits(folder / "bad.npy"), DATA, [folder / "bad.npy"]


def npz_lacks_an_input(folder):
    proto, _, _ = small.two_inputs()
    support.save(proto, folder / "m.onnx")
    np.savez(folder / "bad.npz", x=np.zeros((4, 2, 4, 4), np.float32))
    return quantize(folder / "m.onnx", folder / "bad.npz"), DATA, [folder / "bad.npz", "'side'"]


def npz_inputs_differ_in_number(folder):
    proto, _, _ = small.two_inputs()
    support.save(proto, folder / "m.onnx")
    np.savez(folder / "bad.npz", x=np.zeros((4, 2, 4, 4), np.float32),
             side=np.zeros((3, 3), np.float32))
    return quantize(folder / "m.onnx", folder / "bad.npz"), DATA, [folder / "bad.npz", "4", "3"]


def npz_is_cut_short(folder):
    np.savez(folder / "bad.npz", input=np.ones((4, 1, 8, 8), np.float32))
    whole = (folder / "bad.npz").read_bytes()
    (folder / "bad.npz").write_bytes(whole[:400])
    return on_digits(folder / "bad.npz"), DATA, [folder / "bad.npz"]


def pb_is_broken(folder):
    (folder / "data").mkdir()
    (folder / "data" / "input_0.pb").write_bytes(b"\x08\x01\x10")
    return on_digits(folder / "data"), DATA, [folder / "data" / "input_0.pb"]


def external(folder, location, **more):
    proto = conv_model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    (folder / "models").mkdir()
    (folder / "models" / "w.bin").write_bytes(weights(3, 2, 3, 3).tobytes())
    (folder / "secret.bin").write_bytes(weights(3, 2, 3, 3).tobytes())
    path = folder / "models" / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return quantize(path, support.save_samples(folder / "calib.npy", 2, 5, 5))


def external_data_climb_out(folder):
    return external(folder, "../secret.bin"), MODEL, ["m.onnx", "../secret.bin"]


def external_data_climb_out_behind_a_folder(folder):
    return external(folder, "sub/../../secret.bin"), MODEL, ["m.onnx", "sub/../../secret.bin"]


def external_data_are_absolute(folder):
    return external(folder, folder / "secret.bin"), MODEL, ["m.onnx", "secret.bin"]


def external_data_behind_a_link(folder):
    arguments = external(folder, "link.bin")
    os.symlink("../secret.bin", folder / "models" / "link.bin")
    return arguments, MODEL, ["m.onnx", "link.bin"]


def external_data_are_not_there(folder):
    return external(folder, "none.bin"), IO, ["m.onnx", "none.bin"]


def external_data_are_too_short(folder):
    return external(folder, "w.bin", offset=4), MODEL, ["m.onnx", "w.bin"]


def external_data_have_the_wrong_length(folder):
    return external(folder, "w.bin", length=212), MODEL, ["m.onnx", "'w'"]


def external_data_start_nowhere(folder):
    return external(folder, "w.bin", offset=-4), MODEL, ["m.onnx"]


def output_folder_is_not_there(folder):
    return [*on_digits(CALIB), "-o", folder / "none" / "q.onnx"], IO, [folder / "none" / "q.onnx"]


def output_folder_is_a_file(folder):
    (folder / "file").touch()
    return [*on_digits(CALIB), "-o", folder / "file" / "q.onnx"], IO, [folder / "file" / "q.onnx"]


def output_is_a_folder(folder):
    return [*on_digits(CALIB), "-o", folder], IO, [folder]


def output_device_is_full(folder):
    return [*on_digits(CALIB), "-o", "/dev/full"], IO, ["/dev/full", "No space left"]


def run_input_is_not_there(folder):
    return (["run", DIGIT_MODEL, "--input", folder / "none.npy", "--output", folder / "out"], IO,
            [folder / "none.npy"])


def run_with(folder, array, *words):
    np.save(folder / "in.npy", array)
    return (["run", DIGIT_MODEL, "--input", folder / "in.npy", "--output", folder / "out"], DATA,
            words)


def run_input_has_another_shape(folder):
    return run_with(folder, np.zeros((2, 1, 8, 9), np.float32), "'input'", "(2,1,8,9)", "1,8,8)")


def run_input_has_another_rank(folder):
    return run_with(folder, np.zeros((8, 8), np.float32), "'input'", "(8,8)", "1,8,8)")


def run_input_has_another_type(folder):
    return run_with(folder, np.zeros((1, 1, 8, 8), np.complex64), folder / "in.npy")


def run_output_is_a_file(folder):
    (folder / "file").touch()
    np.save(folder / "in.npy", np.zeros((1, 1, 8, 8), np.float32))
    return (["run", DIGIT_MODEL, "--input", folder / "in.npy", "--output", folder / "file"], IO,
            [folder / "file"])


def run_output_is_below_nothing(folder):
    np.save(folder / "in.npy", np.zeros((1, 1, 8, 8), np.float32))
    return (["run", DIGIT_MODEL, "--input", folder / "in.npy", "--output", folder / "a" / "b"], IO,
            [folder / "a" / "b"])


def evaluate(folder, csv):
    (folder / "data").mkdir()
    shutil.copy(sorted(CALIB.iterdir())[0], folder / "data" / "one.png")
    if csv is not None:
        (folder / "data" / "labels.csv").write_text(csv)
    return ["eval", DIGIT_MODEL, "--data", folder / "data"]


def eval_without_labels(folder):
    return evaluate(folder, None), DATA, [folder / "data", "label"]


def eval_label_beyond_the_classes(folder):
    return evaluate(folder, "file,class\none.png,10\n"), DATA, ["one.png", "10"]


def eval_label_is_negative(folder):
    return evaluate(folder, "file,class\none.png,-1\n"), DATA, ["labels.csv:2", "-1"]


def eval_label_is_a_word(folder):
    return evaluate(folder, "file,class\none.png,cat\n"), DATA, ["labels.csv:2", "cat"]


def eval_labels_name_a_file_that_is_not_there(folder):
    return (evaluate(folder, "file,class\none.png,1\nnone.png,2\n"), DATA,
            ["labels.csv:3", "none.png"])


def eval_labels_leave_a_file_out(folder):
    arguments = evaluate(folder, "file,class\none.png,1\n")
    shutil.copy(folder / "data" / "one.png", folder / "data" / "two.png")
    return arguments, DATA, ["two.png"]


def eval_labels_have_no_header(folder):
    return evaluate(folder, "one.png,1\n"), DATA, ["labels.csv:1"]


def eval_labels_are_empty(folder):
    return evaluate(folder, ""), DATA, ["labels.csv"]


def eval_labels_are_binary(folder):
    return evaluate(folder, "file,class\none.png,\0\n"), DATA, ["labels.csv"]


def eval_has_more_folders_than_classes(folder):
    for i in range(11):
        (folder / "data" / f"{i:02}").mkdir(parents=True)
        shutil.copy(sorted(CALIB.iterdir())[i], folder / "data" / f"{i:02}" / "x.png")
    return ["eval", DIGIT_MODEL, "--data", folder / "data"], DATA, ["10/x.png", "10"]


def eval_of_a_model_that_gives_no_scores(folder):
    proto = small.chain([small.node("ReduceSum", "x", "y", keepdims=0)], (1, 8, 8), (), {})
    support.save(proto, folder / "m.onnx")
    return (["eval", folder / "m.onnx", "--data", DIGITS / "eval"], UNSUPPORTED, ["m.onnx", "'y'"])


CASES = {f.__name__: f for f in (
    model_is_not_there, model_is_a_folder, model_is_a_pipe, external_data_is_a_pipe,
    plan_is_a_pipe, samples_are_a_pipe, model_is_empty, model_is_a_picture, model_is_text,
    model_is_random, model_has_no_graph, model_has_no_opset, opset_is_too_old, opset_is_too_new,
    tensor_is_too_short, tensor_is_too_long, tensor_has_a_negative_size,
    tensor_is_larger_than_memory_can_count, tensor_has_the_wrong_field, tensor_has_no_type,
    nodes_make_a_cycle, node_reads_itself, node_reads_what_nothing_makes,
    output_that_nothing_makes, name_is_made_twice, weight_does_not_fit_its_input,
    attribute_has_the_wrong_type, input_is_missing_from_a_node, nan_in_a_weight,
    infinity_in_a_bias, nan_out_of_the_network, nan_in_data, infinity_in_data, data_is_not_there,
    data_folder_is_empty, data_folder_holds_empty_folders, data_folder_holds_text,
    data_file_is_text, png_is_cut_short, png_has_a_wrong_checksum, png_is_empty, png_is_text,
    png_claims_a_huge_size, picture_of_a_kind_that_is_not_read, picture_has_another_size,
    pictures_all_have_another_size, crop_is_larger_than_the_picture, npy_has_another_shape,
    npy_has_no_samples, npy_is_cut_short, npy_holds_objects, npz_lacks_an_input,
    npz_inputs_differ_in_number, npz_is_cut_short, pb_is_broken, external_data_climb_out,
    external_data_climb_out_behind_a_folder, external_data_are_absolute,
    external_data_behind_a_link, external_data_are_not_there, external_data_are_too_short,
    external_data_have_the_wrong_length, external_data_start_nowhere, output_folder_is_not_there,
    output_folder_is_a_file, output_is_a_folder, output_device_is_full, run_input_is_not_there,
    run_input_has_another_shape, run_input_has_another_rank, run_input_has_another_type,
    run_output_is_a_file, run_output_is_below_nothing, eval_without_labels,
    eval_label_beyond_the_classes, eval_label_is_negative, eval_label_is_a_word,
    eval_labels_name_a_file_that_is_not_there, eval_labels_leave_a_file_out,
    eval_labels_have_no_header, eval_labels_are_empty, eval_labels_are_binary,
    eval_has_more_folders_than_classes, eval_of_a_model_that_gives_no_scores)}
