# SPDX-License-Identifier: Apache-2.0
"""The command line: help, usage errors, JSON, what is printed where, and progress."""

import json
import os
import pathlib
import pty
import re
import select
import subprocess
import termios

import jsonschema
import numpy as np
import onnx
import pytest

import small_models as small
import support
from support import DATA, DIGITS, IO, OK, USAGE

MODEL = DIGITS / "digits-ts.onnx"
CALIB = DIGITS / "calib"
EVAL = DIGITS / "eval"
COMMANDS = ["quantize", "diff", "eval", "run", "inspect", "lint"]


def quantize(out, *options):
    return ["quantize", MODEL, *support.TERNARY, "-o", out, "--calib", CALIB, *options]


def assert_usage_error(done, *words):
    assert done.returncode == USAGE, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("ldnq: ") and done.stderr.count("\n") == 1
    for word in words:
        assert str(word) in done.stderr, done.stderr


# ---- help and version


def test_no_arguments_should_print_the_overview_on_stderr():
    done = support.ldnq()
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr == support.succeed("--help").stdout


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_should_name_every_command_and_every_exit_code(word):
    done = support.succeed(word)
    assert done.stdout.startswith("usage: ldnq COMMAND") and done.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", done.stdout, re.M)
    assert all(f"{code} " in done.stdout.partition("exit codes:")[2] for code in (0, *range(2, 10)))


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_should_show_usage_example_and_options(command, word):
    done = support.succeed(command, word)
    first = "FLOAT QUANT" if command == "diff" else "MODEL"
    assert done.stdout.startswith(f"usage: ldnq {command} {first}") and done.stderr == ""
    assert f"  ldnq {command} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_help_with_a_command_should_be_the_help_of_the_command(command):
    assert support.succeed("help", command).stdout == support.succeed(command, "--help").stdout


def options_of(command):
    text = support.succeed(command, "--help").stdout.partition("\noptions:\n")[2]
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.M))


@pytest.mark.parametrize("command, options", [
    ("quantize", "--output --calib --weights --granularity --solver --effort --distill --refine "
     "--augment --time-limit --skip --only --storage "
     "--opset --mean --std --scale --resize --crop --dim --max-samples --max-mem --seed --threads "
     "--json --quiet --help"),
    ("eval", "--data --mean --std --scale --resize --crop --dim --max-samples --seed --threads "
     "--json --quiet --help"),
    ("run", "--input --output --dim --threads --json --quiet --help"),
    ("diff", "--data --sort --top --html --fail-below-sqnr --fail-below-agreement "
     "--fail-size-above --mean --std --scale --resize --crop --dim --max-samples --seed "
     "--threads --json --quiet --help"),
    ("inspect", "--dim --json --help"),
    ("lint", "--target --fail-on --dim --threads --json --help"),
])
def test_each_command_should_offer_its_options(command, options):
    assert set(options.split()) <= options_of(command)


def test_help_should_name_every_codebook_and_solver_that_there_is(tmp_path):
    text = support.succeed("quantize", "--help").stdout
    for option in ("--weights", "--solver", "--granularity", "--storage", "--effort"):
        done = support.ldnq(*quantize(tmp_path / "q.onnx", option, "nonsense"))
        assert_usage_error(done, option, "'nonsense'")
        names = done.stderr.partition("there are ")[2].strip().split(", ")
        assert len(names) >= 2 and all(name in text for name in names)


def test_version_should_name_version_blas_and_processor():
    lines = support.succeed("--version").stdout.splitlines()
    build = (support.ROOT / "meson.build").read_text()
    version = re.search(r"version: '([^']+)'", build)[1]
    assert lines[0] == f"ldnq {version}"
    assert re.fullmatch(r"blas: \S.*\d.*", lines[1])
    assert re.fullmatch(r"cpu: (x86-64|aarch64|unknown).*", lines[2]) and len(lines) == 3


# Levels of processors: flags that each adds, and OpenBLAS's kernels that need them.
LEVELS = (
    ({"sse4_2", "popcnt"}, {"Nehalem"}),
    ({"avx"}, {"Sandybridge", "Bulldozer", "Piledriver", "Steamroller"}),
    ({"avx2", "fma", "bmi1", "bmi2"}, {"Haswell", "Zen", "Excavator"}),
    ({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
     {"SkylakeX", "Cooperlake", "SapphireRapids"}),
)


def processor_level(flags):
    level = 0
    while level < len(LEVELS) and LEVELS[level][0] <= flags:
        level += 1
    return level


def blas_kernels(**environment):
    kept = {name: text for name, text in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    text = support.succeed("--version", env=kept | environment).stdout
    return re.search(r"^blas: .*\((\S+) kernels\)$", text, re.MULTILINE)[1]


def processor_flags():
    path = pathlib.Path("/proc/cpuinfo")
    found = path.exists() and re.search(r"^flags\s*:(.*)$", path.read_text(), re.MULTILINE)
    return set(found[1].split()) if found else set()


@pytest.mark.skipif(not processor_flags(), reason="the processor's features are not known")
def test_version_should_print_kernels_for_what_the_processor_can_do():
    """0.3.21 alone takes SSE3 kernels on Intel from Sapphire Rapids on, AVX2's on Zen 4."""
    kernels = blas_kernels()
    level = processor_level(processor_flags())
    for number, (_, names) in enumerate(LEVELS, 1):
        assert kernels not in names or number == level
    # Without SSE4.2 there are many; names newer than this list are OpenBLAS's own choice.
    assert kernels not in {"Prescott", "Core2"} or level == 0


@pytest.mark.skipif(processor_level(processor_flags()) < 3, reason="two sets of kernels must run")
@pytest.mark.parametrize("kernels", ["Haswell", "Zen"])
def test_openblas_coretype_should_win_over_our_choice(kernels):
    assert blas_kernels(OPENBLAS_CORETYPE=kernels) == kernels


# ---- usage errors


@pytest.mark.parametrize("word", ["quantise", "Quantize", "--verbose", ""])
def test_an_unknown_command_should_be_named(word):
    assert_usage_error(support.ldnq(word), f"'{word}'", "--help")


@pytest.mark.parametrize("word, nearest", [("quantise", "quantize"), ("dif", "diff")])
def test_the_nearest_command_should_be_proposed(word, nearest):
    for line in ([word], ["help", word]):
        assert_usage_error(support.ldnq(*line), f"'{word}'; did you mean {nearest}?")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_should_be_named(command):
    for option in ("--nonsense", "--thread", "-x", "--nonsense=3"):
        assert_usage_error(support.ldnq(command, MODEL, option), command, option, "--help")


@pytest.mark.parametrize("option, nearest", [
    ("--weigths", "--weights"), ("--ouput=x", "--output"), ("--max-sample", "--max-samples"),
])
def test_the_nearest_option_should_be_proposed(option, nearest):
    done = support.ldnq("quantize", MODEL, option)
    assert_usage_error(done, f"unknown option '{option}'; did you mean {nearest}?")


def test_the_nearest_value_should_be_proposed(tmp_path):
    done = support.ldnq(*quantize(tmp_path / "q.onnx", "--weights", "ternay"))
    assert_usage_error(done, "--weights 'ternay' is not known; did you mean ternary?")


@pytest.mark.parametrize("option", ["--skip", "--only"])
def test_the_nearest_layer_should_be_proposed(option, tmp_path):
    done = support.ldnq(*quantize(tmp_path / "q.onnx", option, "/res1/res1.0/Con"))
    assert_usage_error(done, "matches no layer; did you mean '/res1/res1.0/Conv'?")


def test_help_json_should_hold_the_options_of_every_command():
    root = json.loads(support.succeed("--help-json").stdout)
    assert [command["name"] for command in root["commands"]] == COMMANDS
    for command in root["commands"]:
        names = {f"--{option['name']}" for option in command["options"]}
        assert names == options_of(command["name"])
        for option in command["options"]:
            assert option["help"] and option["since"] and option["type"]
            assert (option["value"] is None) == (option["type"] == "flag")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_model_should_be_told_with_the_usage(command):
    assert_usage_error(support.ldnq(command), command, "no model", f"usage: ldnq {command} ")


@pytest.mark.parametrize("command", ["quantize", "run", "inspect"])
def test_a_model_too_many_should_be_named(command):
    assert_usage_error(support.ldnq(command, MODEL, "another.onnx"), command, "'another.onnx'")


@pytest.mark.parametrize("option", ["--mean=.5", "--std=.5", "--scale=1", "--resize=8", "--crop=8"])
def test_preprocessing_of_arrays_should_be_refused(option, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((24, 1, 8, 8), np.float32))
    for command in (quantize("q.onnx"), ["diff", MODEL, MODEL, "--data", CALIB]):
        line = ["x.npy" if word == CALIB else word for word in command]
        done = support.ldnq(*line, option, cwd=tmp_path)
        assert_usage_error(done, option.partition("=")[0], "pictures", "arrays")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    support.succeed(*quantize(tmp_path / "q.onnx", "--solver", "rtn", "--resize", 0, "--crop", 0))


@pytest.mark.parametrize("arguments, words", [
    (["quantize", MODEL, "--calib", CALIB], ["-o"]),
    (["quantize", MODEL, "-o", "q.onnx"], ["--calib"]),
    (["eval", MODEL], ["--data"]),
    (["diff", MODEL], ["another model", "FLOAT QUANT"]),
    (["run", MODEL, "--input", "x.npy"], ["--output"]),
    (["run", MODEL, "--output", "out"], ["digits-ts.onnx", "'input'", "--input"]),
    (["quantize", MODEL, "-o"], ["--output", "needs"]),
    (["quantize", MODEL, "-o", ""], ["--output"]),
    (["eval", MODEL, "--data"], ["--data", "needs"]),
])
def test_what_is_missing_should_be_named(arguments, words, tmp_path):
    assert_usage_error(support.ldnq(*arguments, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option, values", [
    ("--threads", ["two", "-1", "1.5", "", "1e3", "99999999999999999999"]),
    ("--seed", ["x", "-3"]),
    ("--max-samples", ["many", "-1", "10%"]),
    ("--max-mem", ["0", "1T", "K", "1KB", "-5", "99999999999G"]),
    ("--resize", ["big", "-8"]),
    ("--crop", ["8x8"]),
    ("--opset", ["latest", "-1"]),
    ("--rho", ["0", "-1", "nan", "inf", "x"]),
    ("--time-limit", ["0", "-1", "nan", "soon"]),
    ("--distill", ["some", "-1"]),
    ("--augment", ["on", "-1"]),
    ("--lambda", ["-0.1", "1.1", "nan", "half"]),
    ("--mean", ["red", "1,,2", "1,2,", "1,2,3,4,5", "nan", "1;2"]),
    ("--std", ["-", "inf", "1,"]),
    ("--scale", ["0", "1/0", "x", "1/", "nan"]),
    ("--dim", ["N", "N=", "N=x", "=3", "N=-1"]),
])
def test_bad_values_should_be_named_with_their_option(option, values, tmp_path):
    for value in values:
        done = support.ldnq(*quantize(tmp_path / "q.onnx", option, value))
        assert_usage_error(done, option, f"'{value}'" if value else option)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments, words", [
    (["--mean", "1,2,3"], ["--mean", "3", "1"]),
    (["--std", "1,2"], ["--std", "2", "1"]),
    (["--std", "0"], ["--std", "0"]),
    (["--goal-data", "a", "--goal-data", "b"], ["--goal-data", "twice", "'a'", "'b'"]),
    (["--report", "a", "--report=b"], ["--report", "twice", "'a'", "'b'"]),
    (["-o", "other.onnx"], ["--output", "twice", "other.onnx"]),
    (["--dim", "nothing=3"], ["'nothing'"]),
    (["--dim", "N=0"], ["'N'", "0"]),
    (["--opset", "26"], ["26"]),
    (["--skip", "nothing"], ["skip 'nothing' matches no layer"]),
    (["--only", "nothing"], ["only 'nothing' matches no layer"]),
    (["--only", "*Conv", "--only", "no*thing"], ["only 'no*thing' matches no layer"]),
    (["--skip", "/Flatten"], ["skip '/Flatten' matches no layer"]),
    (["--skip", "*"], ["no layer"]),
    (["--augment", "0"], ["--augment", "0"]),
    (["--weights", "int16"], ["--weights", "'int16'", "int8"]),
    (["--json=yes"], ["--json"]),
])
def test_values_that_do_not_fit_the_model_should_be_named(arguments, words, tmp_path):
    assert_usage_error(support.ldnq(*quantize(tmp_path / "q.onnx", *arguments)), *words)
    assert not list(tmp_path.iterdir())


def test_inputs_of_run_should_be_named_when_they_do_not_fit(tmp_path):
    support.save(small.two_inputs()[0], tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 4, 4), np.float32))

    def run(*inputs):
        words = [word for text in inputs for word in ("--input", text)]
        return support.ldnq("run", tmp_path / "m.onnx", *words, "--output", tmp_path / "out")

    assert_usage_error(run(tmp_path / "x.npy"), "NAME=FILE")
    assert_usage_error(run(f"x={tmp_path / 'x.npy'}"), "'side'")
    assert_usage_error(run(f"z={tmp_path / 'x.npy'}"), "'z'", "'x'", "'side'")
    assert_usage_error(run(*[f"x={tmp_path / 'x.npy'}"] * 2), "'x'", "twice")
    assert not (tmp_path / "out").exists()


def test_options_should_be_taken_in_every_usual_form(tmp_path):
    forms = [["-o", tmp_path / "a.onnx", "--weights", "int4"],
             [f"--output={tmp_path / 'b.onnx'}", "--weights=int4"]]
    for form in forms:
        support.succeed("quantize", *form, *support.TERNARY, f"--calib={CALIB}", "--", MODEL)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# ---- JSON


def keys(value):
    """The skeleton of a JSON value: keys and types, lists by their first element."""
    if isinstance(value, dict):
        return {key: keys(each) for key, each in value.items()}
    if isinstance(value, list):
        return [keys(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__


SCORE = {"file": "str", "seconds": "number"} | dict.fromkeys(
    ["top1", "top1_low", "top1_high", "top5", "samples"], "number")


@pytest.mark.parametrize("count, agreement", [(1, "NoneType"), (2, "number"), (3, ["number"])])
def test_json_of_eval(count, agreement):
    result = support.answer("eval", *[MODEL] * count, "--data", EVAL, "--max-samples", 40)
    assert keys(result) == {"models": [SCORE]} | dict.fromkeys(
        ["agreement", "agreement_low", "agreement_high"], agreement)
    low, high = support.wilson_interval(40, 40)
    assert result["models"][0]["top1_low"] == pytest.approx(100 * low)
    assert result["models"][0]["top1_high"] == 100 * high
    assert len(result["models"]) == count
    assert {model["file"] for model in result["models"]} == {str(MODEL)}
    assert result["models"][0]["samples"] == 40
    if count > 1:
        assert result["agreement"] == (100 if count == 2 else [100, 100])
        lows = [result["agreement_low"]] if count == 2 else result["agreement_low"]
        assert lows == pytest.approx([100 * low] * (count - 1))


def test_json_of_quantize(tmp_path):
    result = support.answer(*quantize(tmp_path / "q.onnx"))
    layer = dict.fromkeys(["groups", "outputs", "inputs", "positions", "scale_min", "scale_max",
                           "lambda", "damping", "zeros_kept", "rho", "iterations",
                           "error_start", "error", "block_size", "change", "seconds", "solver_seconds", "output_estimate"],
                          "number")
    layer |= {"solver": "str", "weights": "str", "held_out_left": "NoneType", "fit": "str",
              "fit_damping": "number", "held_out_fitted": "number", "held_out_damped": "NoneType",
              "held_out_rounded": "number",
              "cascade_error_start": "NoneType", "cascade_error": "NoneType"}
    top = {name: "str" for name in ("model", "output", "weights", "granularity", "solver",
                                    "storage")}
    top |= {name: "number" for name in ("weight_count", "bits", "opset", "opset_latest", "samples",
                                        "held_out_samples", "fitted_noise_to_signal",
                                        "rounded_noise_to_signal", "bytes_before", "bytes_after",
                                        "data_bytes_before", "data_bytes_after", "seconds")}
    accuracy = dict.fromkeys(["samples", "outputs", "sqnr", "noise_to_signal", "noise_to_signal_bound",
                              "agreement", "agreement_low", "agreement_high"], "number")
    accuracy |= {"role": "str", "worst_output": "str", "measured_on": "str", "exact": "bool"}
    accuracy |= dict.fromkeys(["top1", "reference_top1", "drop"], "NoneType")
    top |= {"accuracy": accuracy, "is_rounded": "bool", "storage_is_auto": "bool",
            "plan": "NoneType", "one_at_a_time": "NoneType",
            "inputs": [{"name": "str", "mean": ["number"], "deviation": ["number"]}],
            "narrowest": {"storage": "str", "opset": "number", "is_used": "bool",
                          "bytes_saved": "number"},
            "activations": "NoneType", "goal": "NoneType", "ranks": [],
            "output_estimate": dict.fromkeys(["error", "deviation", "activations", "draws",
                                              "seconds"], "number"),
            "metadata": {f"ldnq.{name}": "str" for name in ("version", "options", "kernels", "model",
                                                       "data")}}
    assert keys(result) == top | {"layers": [{"node": "str", "op": "str"} | layer],
                                   "distillation": "NoneType", "not_quantized": [], "tied": [],
                                   "warnings": []}
    assert result["metadata"] == {name: text for name, text
                                  in support.metadata(tmp_path / "q.onnx").items()
                                  if name in result["metadata"]}
    assert result["bytes_before"] == MODEL.stat().st_size
    assert result["layers"][4]["groups"] == 48


def test_json_of_inspect():
    result = support.answer("inspect", MODEL)
    layer = {"node": "str", "op": "str", "quantizable": "bool", "shape": ["number"],
             "parameters": "number", "zeros": "number", "bytes": "number", "tensor": "NoneType",
             "macs": "number", "type": "str"}
    value = {"name": "str", "dtype": "str", "shape": ["number"]}
    totals = dict.fromkeys(["quantizable", "weights", "bytes", "macs", "all_macs"], "number")
    assert keys(result) == {"file": "str", "ir_version": "number", "opset": "number",
                            "producer": "str", "bytes": "number", "data_bytes": "number",
                            "executable": "bool",
                            "inputs": [value], "outputs": [value],
                            "layers": [layer], "totals": totals, "tensors": []}
    assert result["opset"] == 13 and result["bytes"] == MODEL.stat().st_size


@pytest.mark.parametrize("job, options", [
    ("quantize", []), ("quantize", ["--budget", "3bits"]), ("quantize", ["--distill", "2"]),
    ("inspect", []), ("eval", []), ("run", []), ("lint", []),
])
def test_json_should_follow_its_schema(job, options, tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((2, 1, 8, 8), np.float32))
    log = tmp_path / "q.jsonl"
    arguments = {
        "quantize": quantize(tmp_path / "q.onnx", "--solver", "gptq", "--log", log, *options),
        "inspect": ["inspect", MODEL], "lint": ["lint", MODEL], "eval": ["eval", MODEL, MODEL, MODEL, "--data", EVAL],
        "run": ["run", MODEL, "--input", tmp_path / "in.npy", "--output", tmp_path / "out"],
    }[job]
    schema(job).validate(support.answer(*arguments))
    for line in log.read_text().splitlines() if log.exists() else []:
        schema("events").validate(json.loads(line))


@pytest.mark.parametrize("job", ["quantize", "dry-run", "inspect", "lint", "eval", "run", "events"])
def test_schemas_should_describe_everything(job):
    jsonschema.Draft202012Validator.check_schema(schema(job).schema)
    for part in parts(schema(job).schema):
        if "properties" in part:
            assert part["additionalProperties"] is False
            optional = {"reason"} if {"quantizable", "executable"} & set(part["properties"]) else set()
            if {"weights", "errors"} <= set(part["properties"]):  # of a plan: none of a float layer
                optional |= {"errors"}
            assert set(part["required"]) == set(part["properties"]) - optional
            assert all(each.get("description") for each in part["properties"].values())


def parts(value):
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, (dict, list)):
            yield from parts(each)


def schema(job):
    path = support.ROOT / "src" / "api" / f"{job}.schema.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


def test_json_of_run(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((2, 1, 8, 8), np.float32))
    result = support.answer("run", MODEL, "--input", tmp_path / "in.npy", "--output", tmp_path)
    assert result == {"outputs": [{"name": "logits", "file": str(tmp_path / "logits.npy"),
                                   "dtype": "float32", "shape": [2, 10]}]}
    assert np.load(tmp_path / "logits.npy").shape == (2, 10)


def test_names_of_outputs_should_become_names_of_files(tmp_path):
    names = ["/a/b", "..", "_a_b", "c d"]
    nodes = [small.node("Relu", "x", "y")]
    nodes += [onnx.helper.make_node("Identity", ["y"], [name]) for name in names]
    proto = small.model(nodes, {"x": ["N", 2]}, {name: ["N", 2] for name in names}, {})
    support.save(proto, tmp_path / "m.onnx")
    outputs = support.run(tmp_path / "m.onnx", {"x": np.ones((1, 2), np.float32)}, tmp_path / "r")
    assert list(outputs) == names
    files = sorted(path.name for path in (tmp_path / "r" / "out").iterdir())
    assert len(files) == 4 and {"_a_b.npy", "c d.npy"} <= set(files)
    assert not any(name.startswith("..") for name in files)


# ---- what is printed where


def without_memory_line(text, is_expected=True):
    """What is printed after the line that says what a quantization needs."""
    rest, count = re.subn(r"\Aneeds about \d+ MB of memory: up to \d+ MB for live values \(max-mem "
                          r"[\d.]+ MB\), and \d+ MB that the model needs, of which \d+ MB for layer "
                          r"'[^']+'\r?\n", "", text)
    assert count == is_expected, text
    return rest


def test_tables_should_go_to_stdout_and_stay_alone(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((1, 1, 8, 8), np.float32))
    for arguments, pattern in [
        (["eval", MODEL, MODEL, "--data", EVAL], r"99\.67% +98\.79 to +99\.91 +100\.00% +600.*agreement.*100\.00%.*99\.36 to 100"),
        (["inspect", MODEL], r"opset 13.*7 of 7 layers can be quantized: 25096 weights"),
        (["run", MODEL, "--input", tmp_path / "in.npy", "--output", tmp_path],
         r"logits\.npy: logits float32 \(1,10\)"),
        (quantize(tmp_path / "q.onnx", "--opset", "keep"),
         r"7 layers, 25096 weights, ternary.*smaller.*hint: at opset 13 the codes take 18822 bytes "
         r"more than in int2, which needs opset 25"),
    ]:
        done = support.succeed(*arguments)
        messages = without_memory_line(done.stderr, arguments[0] == "quantize")
        assert messages == "" and re.search(pattern, done.stdout, re.S), done.stdout


def test_diff_of_a_model_with_itself_should_say_exact():
    said = support.succeed("diff", MODEL, MODEL, "--data", EVAL).stdout
    assert "'logits': SQNR exact, cosine 1.000000" in said


def test_quiet_should_print_nothing(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((1, 1, 8, 8), np.float32))
    for option in ("--quiet", "-q"):
        for arguments in (quantize(tmp_path / "q.onnx"),
                          ["run", MODEL, "--input", tmp_path / "in.npy", "-o", tmp_path / "out"]):
            done = support.succeed(*arguments, option)
            assert done.stdout == done.stderr == ""
    assert (tmp_path / "q.onnx").exists() and (tmp_path / "out" / "logits.npy").exists()


def test_quiet_should_not_take_away_what_was_asked_for(tmp_path):
    done = support.succeed("eval", MODEL, "--data", EVAL, "--quiet")
    assert "99.67%" in done.stdout and done.stderr == ""
    json.loads(support.succeed(*quantize(tmp_path / "q.onnx", "--quiet", "--json")).stdout)


@pytest.mark.parametrize("arguments", [
    ["--help"], ["--version"], ["quantize", "--help"], ["inspect", MODEL],
    ["inspect", MODEL, "--json"], ["eval", MODEL, "--data", EVAL],
    ["diff", MODEL, MODEL], ["diff", MODEL, MODEL, "--json"],
], ids=lambda words: " ".join(map(str, words[:1] + words[2:])))
def test_a_full_or_closed_stdout_should_be_told(arguments):
    command = [support.LDNQ, *map(str, arguments)]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    messages = support.without_progress(done.stderr)
    assert done.returncode == IO
    assert messages.startswith("ldnq: ") and messages.count("\n") == 1
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE,
                            text=True, check=False)
    assert closed.returncode == IO and support.without_progress(closed.stderr).count("\n") == 1


def test_a_file_should_not_take_the_place_of_a_closed_stdout(tmp_path):
    """Descriptor 1 is free then, and what is opened first gets it."""
    out = tmp_path / "q.onnx"
    support.succeed(*quantize(tmp_path / "want.onnx"))
    command = [str(word) for word in [support.LDNQ, *quantize(out)]]
    subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], check=False)
    assert not out.exists() or out.read_bytes() == (tmp_path / "want.onnx").read_bytes()


# ---- standard input and output


ROUNDED = [*support.WEIGHTS_ALONE, "--weights", "int4", "--solver", "rtn"]

def piped(*arguments, file=None):
    with open(file or os.devnull, "rb") as source:
        return subprocess.run([support.LDNQ, *map(str, arguments)], stdin=source,
                              capture_output=True, timeout=60, check=False)


def test_a_dash_should_be_standard_input_and_standard_output(tmp_path):
    line = ["--calib", CALIB, *ROUNDED]
    support.succeed("quantize", MODEL, "-o", tmp_path / "q.onnx", *line)
    done = piped("quantize", "-", "-o", "-", *line, file=MODEL)
    assert done.returncode == OK and done.stdout == (tmp_path / "q.onnx").read_bytes()
    page = piped("diff", MODEL, "-", "--html", "-", file=tmp_path / "q.onnx")
    assert page.returncode == OK and page.stdout.startswith(b"<!DOCTYPE html>")
    assert page.stdout.rstrip().endswith(b"</html>")


@pytest.fixture(scope="module")
def sample_files(tmp_path_factory):
    """The same samples as .npy and .npz, with labels that are no true ones."""
    folder = tmp_path_factory.mktemp("samples")
    samples = np.random.default_rng(0).random((8, 1, 8, 8), np.float32)
    np.save(folder / "x.npy", samples)
    np.savez(folder / "x.npz", input=samples, labels=np.arange(8) % 10)
    return folder


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("is_pipe", [False, True])
def test_a_dash_should_be_samples_on_standard_input(name, is_pipe, sample_files, tmp_path):
    """A pipe can be read once, samples are read several times."""
    source, line = sample_files / name, ["quantize", MODEL, "-o", tmp_path / "q.onnx", *ROUNDED]
    support.succeed(*line, "--calib", source)
    want = (tmp_path / "q.onnx").read_bytes()
    (tmp_path / "q.onnx").unlink()
    command = [support.LDNQ, *line, "--calib", "-"]
    with open(source, "rb") as file:
        text = {"input": file.read()} if is_pipe else {"stdin": file}
        done = subprocess.run(list(map(str, command)), capture_output=True, timeout=60,
                              check=False, **text)
    assert done.returncode == OK, done.stderr
    assert (tmp_path / "q.onnx").read_bytes() == want


def test_a_dash_should_be_samples_of_other_commands_too(sample_files, tmp_path):
    source = sample_files / "x.npz"
    for line in (["eval", MODEL, "--json", "--data"], ["diff", MODEL, MODEL, "--json", "--data"]):
        found = json.loads(piped(*line, "-", file=source).stdout)
        assert found["samples"] == 8 if "samples" in found else found
    goal = ["quantize", MODEL, "-o", tmp_path / "q.onnx", "--calib", CALIB, *support.WEIGHTS_ALONE,
            "--min-sqnr", "20", "--solver", "rtn", "--goal-data", "-"]
    assert piped(*goal, file=source).returncode == OK


def test_what_is_no_sample_should_be_refused_by_the_name_of_standard_input():
    done = piped("quantize", MODEL, "-o", "q.onnx", "--calib", "-", file=MODEL)
    assert done.returncode == DATA and done.stderr.startswith(b"ldnq: /dev/stdin: ")


@pytest.mark.parametrize("line, status, words", [
    (["inspect", "-"], IO, "standard input is empty"),
    (["quantize", MODEL, "-o", "q", "--calib", "-"], IO, "where samples are expected"),
    (["quantize", "-", "-o", "q", "--calib", "-"], USAGE, "has one model or one file of samples"),
    (["diff", "-", "-"], USAGE, "has one model"),
    (["diff", MODEL, MODEL, "--html", "-", "--json"], USAGE, "where the JSON goes"),
    (["quantize", MODEL, "--calib", CALIB, "-o", "-", "--report", "-"], USAGE, "another output"),
    (["quantize", MODEL, "--calib", CALIB, "-o", "q", "--log", "-"], USAGE, "takes a path"),
])
def test_a_dash_should_be_refused_where_it_has_no_meaning(line, status, words):
    done = piped(*line, file=None if "is empty" in words or "expected" in words else MODEL)
    assert done.returncode == status and words in done.stderr.decode()


# ---- what would be done


@pytest.mark.parametrize("options", [["--target", "ort", "--weights", "int8"],
                                     ["--target", "weights", "--weights", "int4"]])
def test_a_dry_run_should_predict_the_run_and_write_nothing(options, tmp_path):
    line = ["quantize", MODEL, "--calib", CALIB, "--solver", "rtn", "--skip", "/stem/stem.0/Conv",
            *options]
    done = support.ldnq(*line, "--dry-run", "--log", "log", "--report", "r.html", "--checkpoint",
                        "folder", "-o", "q.onnx", "-q", cwd=tmp_path)
    assert done.returncode == OK, done.stderr
    assert list(tmp_path.iterdir()) == [] and "nothing was written" in done.stdout
    assert re.search(r"^memory: about \d+ MB$", done.stdout, re.M)
    assert re.search(r"^time: about [\d.]+ s", done.stdout, re.M)
    told = support.answer(*line, "--dry-run")
    schema("dry-run").validate(told)
    real = support.answer(*line, "-o", tmp_path / "q.onnx")
    for key in ("node", "weights"):
        assert [x[key] for x in told["layers"]] == [x[key] for x in real["layers"]]
    assert [x["node"] for x in told["not_quantized"]] == ["/stem/stem.0/Conv"]
    assert real["bytes_after"] == pytest.approx(told["bytes_after"], rel=0.1)
    assert 0 < told["seconds"] < 600 and told["memory_bytes"] > 1e6
    assert (told["samples"], told["held_out"]) == (90, 10)


def test_a_dry_run_should_leave_a_search_to_the_run():
    told = support.answer("quantize", MODEL, "--calib", CALIB, "--budget", "3bits", "--dry-run")
    schema("dry-run").validate(told)
    assert told["bytes_after"] is None and told["seconds"] is None
    assert {layer["weights"] for layer in told["layers"]} == {None}
    done = support.ldnq("quantize", MODEL, "--calib", CALIB, "--skip", "nothing", "--dry-run")
    assert done.returncode == USAGE and "matches no layer" in done.stderr


# ---- failures for programs


@pytest.mark.parametrize("line, status, code", [
    (["inspect", "nosuch.onnx"], "io", IO), (["inspect", MODEL, "--nonsense"], "usage", USAGE),
    (["eval", MODEL], "usage", USAGE), (["nonsense"], "usage", USAGE),
    (["quantize", MODEL, "-o", "q", "--calib", "nosuch"], "io", IO),
])
def test_json_should_say_why_there_is_no_result(line, status, code):
    done = support.ldnq(*line, "--json")
    said = json.loads(done.stdout)
    assert (said["status"], said["exit_code"], done.returncode) == (status, code, code)
    assert done.stderr == f"ldnq: {said['message']}\n"
    assert support.ldnq(*line).stdout == ""


# ---- progress


def long_work(tmp_path, samples=60):
    """Arguments of a run that takes some seconds on a slow machine."""
    proto, shape, _ = small.convolution((32, 24, 24), (32, 32, 3, 3), pads=[1] * 4)
    proto.graph.node[0].output[0] = "a0"
    for i in range(6):
        last = i == 5
        proto.graph.node.append(small.conv(f"a{i} w b", "y" if last else f"a{i + 1}",
                                           name=f"conv{i}", pads=[1] * 4))
    values = support.weights(32, 32, 3, 3) / 6
    proto.graph.initializer[0].CopyFrom(support.tensor("w", values))
    calib = support.save_samples(tmp_path / "calib.npy", *shape, count=samples)
    support.save(proto, tmp_path / "m.onnx")
    return ["quantize", tmp_path / "m.onnx", *support.TERNARY,
            "-o", tmp_path / "q.onnx", "--calib", calib]


def on_terminal(arguments, columns=None, **environment):
    """(exit code, all that stderr got) with stderr on a terminal."""
    ours, theirs = pty.openpty()
    if columns:
        termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen([support.LDNQ, *map(str, arguments)], stdout=subprocess.DEVNULL,
                          stderr=theirs, env={**os.environ, **environment}) as child:
        os.close(theirs)
        text = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                text += os.read(ours, 65536)
            except OSError:  # how a terminal ends when nobody holds its other side
                break
    os.close(ours)
    return child.returncode, text.decode()


def test_a_terminal_should_show_a_bar_with_the_time_left(tmp_path):
    bars = []
    for samples in (60, 300, 1200):  # until this machine takes a while
        code, text = on_terminal(long_work(tmp_path, samples))
        assert code == OK
        bars = re.findall(r"\r\x1b\[K(quantize \[(#*)(\.*)\] +(\d+) %  [\d:]+ (?:s|min|h) "
                          r"(?:left|so far))", text)
        if len(bars) >= 2:
            break
    assert len(bars) >= 2
    assert all(len(full) + len(rest) == 24 for _, full, rest, _ in bars)
    shares = [int(percent) for *_, percent in bars]
    assert shares == sorted(shares) and shares[-1] <= 100
    assert text.endswith("\r\x1b[K")  # the bar is taken off again
    assert "\n" not in without_memory_line(text)


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_terminal_should_keep_percent_and_time(columns, tmp_path):
    bars = []
    for samples in (60, 300, 1200):
        text = on_terminal(long_work(tmp_path, samples), columns)[1]
        bars = re.findall(r"\r\x1b\[K([^\r\n\x1b]*left[^\r\n\x1b]*)", text)
        if bars:
            break
    assert bars and all(len(bar) < columns for bar in bars)
    assert all(re.search(r"\d+ %  [\d:]+ (s|min|h) left", bar) for bar in bars)
    assert columns < 40 or all(re.search(r"^quantize \[[#.]{4,}\] ", bar) for bar in bars)


def test_colours_should_be_for_terminals_that_want_them():
    code, text = on_terminal(["inspect", "nosuch.onnx"], TERM="xterm", NO_COLOR="")
    assert code == IO and text.startswith("\x1b[1;31mldnq:\x1b[0m nosuch.onnx")
    for environment in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": ""}):
        assert "\x1b" not in on_terminal(["inspect", "nosuch.onnx"], **environment)[1]
    assert "\x1b" not in support.ldnq("inspect", "nosuch.onnx").stderr


def test_quiet_should_keep_the_bar_off_a_terminal(tmp_path):
    assert on_terminal([*long_work(tmp_path), "--quiet"]) == (OK, "")


def test_an_error_should_stand_on_a_line_of_its_own_on_a_terminal(tmp_path):
    data = np.load(support.save_samples(tmp_path / "x.npy", 32, 24, 24, count=60))
    arguments = long_work(tmp_path)
    data[55, 0, 0, 0] = np.nan
    np.save(tmp_path / "calib.npy", data)
    code, text = on_terminal(arguments)
    assert code == support.DATA
    assert re.search(r"(^|\x1b\[K)(?:\x1b\[1;31m)?ldnq:(?:\x1b\[0m)? [^\r\n]*calib\.npy\[55\][^\r\n]*\r\n$", text)


def test_without_a_terminal_there_should_be_no_control_characters(tmp_path):
    done = subprocess.run([support.LDNQ, *map(str, long_work(tmp_path))], capture_output=True,
                          text=True, check=True)
    assert not re.search(r"[\r\x1b]", done.stderr + done.stdout)
    assert support.without_progress(without_memory_line(done.stderr)) == ""
