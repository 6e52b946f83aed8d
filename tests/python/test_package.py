# SPDX-License-Identifier: Apache-2.0
"""The Python package of tools/python over the shared library of the build."""

import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import weakref

import numpy as np
import onnx
import pytest
from onnx import helper

import support

PACKAGE = support.ROOT / "tools" / "python"
os.environ["LDNQ_LIBRARY"] = str(support.BUILD / "libldnq.so")
sys.path.insert(0, str(PACKAGE))
ldnq = pytest.importorskip("ldnq")

# Small models warn. What is tested of it is tested with pytest.warns.
pytestmark = pytest.mark.filterwarnings("ignore::ldnq.Warning")

INT4 = {"target": "weights", "weights": "int4", "solver": "gptq"}
SAMPLES = np.random.default_rng(3).standard_normal((20, 3, 6, 6)).astype(np.float32)
CLASSES = np.arange(20) % 4


def network(seed=1):
    """A classifier of 4 classes: Conv, Relu, Gemm."""
    body = [helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("Flatten", ["r"], ["f"]),
            helper.make_node("Gemm", ["f", "g"], ["y"], name="gemm")]
    return support.model(body, {"x": ["N", 3, 6, 6]}, {"y": ["N", 4]},
                         {"w": support.weights(4, 3, 3, 3, seed=seed),
                          "g": support.weights(64, 4, seed=seed + 1)})


MODEL = network().SerializeToString()


def batches(size=6):
    """As a DataLoader has them: (samples, classes)."""
    for first in range(0, len(SAMPLES), size):
        yield SAMPLES[first:first + size], CLASSES[first:first + size]


def python(code, *arguments, **environment):
    """A process with the package."""
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)],
                            env=os.environ | {"PYTHONPATH": str(PACKAGE), **environment},
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# ---- models and samples of all kinds


def test_models_of_all_kinds_should_give_the_same_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(MODEL)
    kinds = [path, str(path), MODEL, bytearray(MODEL), memoryview(MODEL),
             onnx.load_from_string(MODEL)]
    files = {ldnq.quantize(kind, SAMPLES, **INT4).model for kind in kinds}
    assert len(files) == 1


def test_samples_of_all_kinds_should_give_the_same_file(tmp_path):
    np.save(tmp_path / "x.npy", SAMPLES)
    kinds = [tmp_path / "x.npy", SAMPLES, {"x": SAMPLES}, (SAMPLES,), (SAMPLES, CLASSES),
             list(SAMPLES), batches(), batches(7),
             [{"x": sample, "label": 1, "more": "text"} for sample in SAMPLES]]
    files = {ldnq.quantize(MODEL, kind, **INT4).model for kind in kinds}
    assert len(files) == 1


def test_the_package_should_write_what_the_program_writes(tmp_path):
    (tmp_path / "net.onnx").write_bytes(MODEL)
    np.save(tmp_path / "x.npy", SAMPLES)
    support.succeed("quantize", tmp_path / "net.onnx", "-o", tmp_path / "q.onnx", "--calib",
                    tmp_path / "x.npy", "--target", "weights", "--weights", "int4", "--solver",
                    "gptq")
    ldnq.quantize(MODEL, SAMPLES, **INT4).save(tmp_path / "own.onnx")
    assert (tmp_path / "own.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == \
        ["net.onnx", "own.onnx", "q.onnx", "x.npy"]


def test_arrays_should_be_passed_without_a_copy():
    from ldnq._arrays import describe_arrays, to_array
    for view in (SAMPLES, SAMPLES[3:9], CLASSES.astype(np.int64)):
        records, _ = describe_arrays({"x": to_array(view)})
        assert records[0].data == view.ctypes.data


def test_samples_of_a_loader_should_not_stay_in_memory():
    alive, most = set(), 0

    def loader():
        nonlocal most
        for i in range(50):
            item = SAMPLES[i % 20] + 0
            alive.add(i)
            weakref.finalize(item, alive.discard, i)
            most = max(most, len(alive))
            yield item
            del item

    assert ldnq.quantize(MODEL, loader(), **INT4)["samples"] == 50
    assert most <= 2, most


def test_a_loader_should_be_read_only_as_far_as_samples_are_taken():
    def endless():
        while True:
            yield from batches()

    assert ldnq.quantize(MODEL, endless(), max_samples=9, **INT4)["samples"] == 9


def test_samples_may_have_shapes_of_their_own():
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
             helper.make_node("GlobalAveragePool", ["c"], ["y"])]
    model = support.model(nodes, {"x": ["N", 3, "H", "W"]}, {"y": ["N", 4, 1, 1]},
                          {"w": support.weights(4, 3, 3, 3)})
    samples = [SAMPLES[i, :, :4 + i % 3] for i in range(8)]
    assert ldnq.quantize(model, samples, **INT4)["samples"] == 8


def test_samples_that_do_not_fit_should_be_named():
    for data, text in [(SAMPLES[:, :2], "input 'x'"), ([SAMPLES[0, 0]], "input 'x'"),
                       ([{"y": SAMPLES}], "no array for input 'x'"), (iter([]), "no samples"),
                       ([(SAMPLES, CLASSES, CLASSES)], "3 arrays"),
                       ([SAMPLES, SAMPLES.astype(np.float64)], "of type float64")]:
        with pytest.raises(ldnq.DataError, match=re.escape(text)):
            ldnq.quantize(MODEL, data, **INT4)


# ---- options


def test_keywords_should_be_those_of_the_table():
    table = ldnq._options.TABLE
    keywords = inspect.signature(ldnq.quantize).parameters
    for option in table.values():
        expected = option.jobs & 1 and not option.is_for_program
        assert (option.keyword in keywords) == bool(expected), option
        if expected:
            assert f"{option.keyword}: {option.help}" in ldnq.quantize.__doc__
            assert keywords[option.keyword].default == option.default
    assert keywords["target"].default == "ort" and keywords["portable"].default is False


def test_values_of_python_should_become_the_options_of_the_program():
    q = ldnq.quantize(MODEL, SAMPLES, target="weights", weights=["int8"], solver="gptq",
                      skip="gemm", layer={"con*": "int2"}, lambda_=0, threads=1, portable=False)
    assert [layer["node"] for layer in q.layers] == ["conv"]
    assert q.layers[0]["weights"] == "int2" and q.layers[0]["lambda"] == 0
    for wrong, text in [({"weight": "int4"}, "did you mean 'weights'"),
                        ({"weights": "int5"}, "int5"), ({"json": True}, "program"),
                        ({"weights": True}, "weights"), ({"seed": -1}, "seed")]:
        with pytest.raises(ldnq.UsageError, match=text):
            ldnq.quantize(MODEL, SAMPLES, **wrong)


# ---- errors


def test_each_status_should_have_a_class():
    header = (support.ROOT / "include" / "ldnq.h").read_text()
    statuses = {int(number) for number in re.findall(r"LDNQ_[A-Z]+ = (\d+)", header)} - {0}
    assert set(ldnq._errors.BY_STATUS) == statuses
    assert all(issubclass(kind, ldnq.Error) for kind in ldnq._errors.BY_STATUS.values())


def test_structs_should_be_those_of_the_header():
    header = re.sub(r"/\*.*?\*/", "", (support.ROOT / "include" / "ldnq.h").read_text(), flags=re.S)
    for name, kind in [("option", ldnq._library.OptionRecord), ("ndarray", ldnq._library.Array),
                       ("progress", ldnq._library.Progress), ("error", ldnq._library.ErrorText),
                       ("sample_reader", ldnq._library.SampleReader)]:
        body = re.search(rf"struct ldnq_{name} \{{(.*?)\n\}};", header, re.S)[1]
        members = []
        for line in body.split(";")[:-1]:
            function = re.search(r"\(\*(\w+)\)", line)
            members += [function[1]] if function else re.findall(r"(\w+)(?:\[\w+\])?(?=,|$)", line)
        assert members == [field for field, _ in kind._fields_], name


def test_errors_should_have_the_class_of_their_kind(tmp_path):
    foreign = support.model([helper.make_node("Strange", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, {})
    for kind, model, data, options in [
            (ldnq.UsageError, 7, SAMPLES, {}),
            (ldnq.FileError, tmp_path / "no.onnx", SAMPLES, {}),
            (ldnq.FileError, MODEL, tmp_path / "no", {}),
            (ldnq.FileError, MODEL, SAMPLES, {"output": tmp_path / "no" / "q.onnx"}),
            (ldnq.ModelError, MODEL[:-9], SAMPLES, {}),
            (ldnq.UnsupportedError, foreign, SAMPLES, {}),
            (ldnq.DataError, MODEL, SAMPLES[0, 0], {}),
            (ldnq.NumericError, MODEL, SAMPLES * np.float32(5e37), {}),
            (ldnq.GateError, MODEL, SAMPLES, {"min_sqnr": 300})]:
        with pytest.raises(kind):
            ldnq.quantize(model, data, target="weights", solver="gptq", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_saved_should_leave_nothing(tmp_path):
    q = ldnq.quantize(MODEL, SAMPLES, **INT4)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "no" / "q.onnx", tmp_path / "folder"):
        with pytest.raises(ldnq.FileError, match=re.escape(f"{path}: can't be written")):
            q.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_process_without_the_model_should_say_which_one_has_it():
    """Of those that mpirun has started, the first one gets the model."""
    q = ldnq.Quantized({"output": None}, None, None)
    with pytest.raises(ldnq.UsageError, match="rank 0 has the model"):
        q.model


def test_warnings_should_name_the_line_that_called():
    with pytest.warns(ldnq.Warning, match="too few samples") as caught:
        ldnq.quantize(MODEL, SAMPLES[:6], **INT4)
    assert {warning.filename for warning in caught} == {__file__}


# ---- threads, progress, interrupts


def test_two_threads_should_write_what_one_writes():
    models = [network(seed).SerializeToString() for seed in (1, 5)]
    alone = [ldnq.quantize(model, SAMPLES, **INT4).model for model in models]
    together = [None, None]

    def work(i):
        together[i] = ldnq.quantize(models[i], iter(SAMPLES), **INT4).model

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_progress_should_be_reported_in_the_calling_thread():
    reports = []
    ldnq.quantize(MODEL, SAMPLES, **INT4, progress=lambda stage, detail, done, total:
                  reports.append((threading.current_thread(), done, total)))
    assert reports and all(thread is threading.current_thread() for thread, *_ in reports)
    assert reports[-1][1] == reports[-1][2]


def test_an_error_in_the_users_function_should_end_the_job():
    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ldnq.quantize(MODEL, SAMPLES, **INT4, progress=fail, distill=1000000)


INTERRUPTED = """
import sys, ldnq, numpy as np
x = np.random.default_rng(0).standard_normal((20, 3, 6, 6)).astype(np.float32)
ldnq.quantize(sys.argv[1], iter(x), output=sys.argv[2], target="weights", weights="int4",
              distill=100000000, progress=lambda stage, *_: print(stage, flush=True))
"""


def test_an_interrupt_should_end_the_job_and_leave_nothing(tmp_path):
    (tmp_path / "net.onnx").write_bytes(MODEL)
    (tmp_path / "tmp").mkdir()
    with python(INTERRUPTED, tmp_path / "net.onnx", tmp_path / "q.onnx",
                TMPDIR=str(tmp_path / "tmp")) as process:
        while "distill" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in text and process.returncode == -signal.SIGINT
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["net.onnx", "tmp"]


def test_torch_and_onnx_should_not_be_imported(tmp_path):
    (tmp_path / "net.onnx").write_bytes(MODEL)
    code = ("import sys, ldnq, numpy as np; x = np.ones((8, 3, 6, 6), np.float32); "
            "q = ldnq.quantize(sys.argv[1], [x], target='weights', solver='gptq'); "
            "ldnq.run(q, x); sys.exit(bool({'torch', 'onnx', 'pandas'} & set(sys.modules)))")
    with python(code, tmp_path / "net.onnx") as process:
        _, text = process.communicate(timeout=60)
    assert process.returncode == 0, text


# ---- goals


GOAL = {"target": "weights", "weights": "int2,int4,int8", "solver": "gptq"}


def test_a_goal_should_be_measured_on_samples_of_its_own():
    q = ldnq.quantize(MODEL, SAMPLES, **GOAL, max_drop=100, evaluate=batches())
    assert q.goal["samples"] == 20 and not q.goal["held_out"]
    with pytest.raises(ldnq.DataError, match="label"):
        ldnq.quantize(MODEL, SAMPLES, **GOAL, max_drop=10, evaluate=SAMPLES)


def test_a_function_should_score_what_is_tried():
    reference = ldnq.run(MODEL, SAMPLES)["y"]
    scores, threads = [], set()

    def score(candidate):
        """Minus the error, by the ways to call a candidate in turn."""
        name = candidate.get_inputs()[0].name
        y = [candidate(SAMPLES), candidate({"x": SAMPLES}),
             candidate.run(None, {name: SAMPLES})[0]][len(scores) % 3]
        scores.append(-float(np.abs(y - reference).max()))
        threads.add(threading.current_thread())
        return scores[-1]

    q = ldnq.quantize(MODEL, SAMPLES, **GOAL, max_drop=0.5, evaluate=score)
    assert threads == {threading.current_thread()} and abs(scores[0]) < 1e-4
    steps = q.goal["steps"]
    assert [step["score"] for step in steps] == pytest.approx(scores[1:])
    assert all(step["meets"] == (scores[0] - step["score"] <= 0.5) for step in steps)
    assert not steps[0]["meets"] and steps[q.goal["chosen"]]["meets"]
    error = np.abs(ldnq.run(q, SAMPLES)["y"] - reference).max()
    assert error == pytest.approx(-steps[q.goal["chosen"]]["score"], rel=1e-4)


def test_an_error_in_a_score_should_be_raised():
    for bad, kind in [(lambda candidate: 1 / 0, ZeroDivisionError),
                      (lambda candidate: "a", ValueError),
                      (lambda candidate: float("nan"), ldnq.DataError)]:
        with pytest.raises(kind):
            ldnq.quantize(MODEL, SAMPLES, **GOAL, max_drop=1, evaluate=bad)
    with pytest.raises(ldnq.UsageError, match="max-drop"):
        ldnq.quantize(MODEL, SAMPLES, **INT4, evaluate=len)


# ---- the program


def test_the_module_should_be_the_program(tmp_path):
    command = [sys.executable, "-m", "ldnq"]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE), "LDNQ_PROGRAM": str(support.LDNQ)}
    done = subprocess.run([*command, "inspect", tmp_path / "no.onnx"], capture_output=True,
                          text=True, env=environment, check=False)
    assert done.returncode == support.IO and done.stderr.startswith("ldnq: "), done.stderr


def test_the_types_of_a_wheel_should_have_all_keywords():
    command = [sys.executable, PACKAGE / "write_keywords.py", support.BUILD / "libldnq.so"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {}
    exec(compile(done.stdout, "_keywords.pyi", "exec", dont_inherit=True), names)
    for job in ("quantize", "diff", "eval", "inspect", "run", "lint"):
        options = ldnq._options.keywords_of(getattr(ldnq._options, job.upper()))
        assert list(names[f"{job.capitalize()}Options"].__annotations__) == \
            [option.keyword for option in options], job


# ---- the other functions


def test_run_should_compute_what_onnx_runtime_computes():
    theirs = support.ort_run(MODEL, {"x": SAMPLES})
    for inputs in (SAMPLES, (SAMPLES,), {"x": SAMPLES}):
        support.assert_close(ldnq.run(MODEL, inputs), theirs)


def test_results_should_print_as_tables():
    q = ldnq.quantize(MODEL, SAMPLES, **INT4)
    d, e = ldnq.diff(MODEL, q, SAMPLES), ldnq.eval([MODEL, q], (SAMPLES, CLASSES))
    for result, words in [(q, "conv gemm int4"), (d, "conv gemm Gemm"), (e, "quantized top1"),
                          (ldnq.inspect(MODEL), "conv gemm True"),
                          (ldnq.lint(q, target="ort"), "for ort")]:
        for text in (repr(result), result._repr_html_()):
            assert all(word in text for word in words.split()), text
    assert "<b>" not in ldnq.inspect(network().SerializeToString()
                                     .replace(b"gemm", b"<b>m"))._repr_html_()


def test_diff_should_measure_what_the_program_measures(tmp_path):
    q = ldnq.quantize(MODEL, SAMPLES, **INT4)
    d = ldnq.diff(MODEL, q, iter(SAMPLES))
    outputs = [ldnq.run(model, SAMPLES)["y"] for model in (MODEL, q)]
    same = outputs[0].argmax(1) == outputs[1].argmax(1)
    assert d.agreement == pytest.approx(100 * same.mean())
    noise = ((outputs[1] - outputs[0]) ** 2).sum() / (outputs[0] ** 2).sum()
    assert d.sqnr == pytest.approx(-10 * np.log10(noise), rel=1e-4)
    for result in (d, ldnq.quantize(MODEL, SAMPLES, **INT4, page=True)):
        page = result.html(tmp_path / "r.html")
        assert (tmp_path / "r.html").read_text() == page and "gemm" in page
    with pytest.raises(ldnq.UsageError, match="page=True"):
        q.html()
    assert ldnq.diff(MODEL, q).agreement is None


def test_diff_should_put_several_models_side_by_side():
    models = {kind: ldnq.quantize(MODEL, SAMPLES, **INT4 | {"weights": kind})
              for kind in ("int8", "int4")}
    several = ldnq.diff(MODEL, models, SAMPLES)
    assert [row["path"] for row in several.rows()] == list(models) and "int4" in several.html()
    for (kind, model), row in zip(models.items(), several.rows()):
        alone = ldnq.diff(MODEL, model, SAMPLES)
        assert row["sqnr_db"] == pytest.approx(alone.sqnr), kind
        assert f"{row['verdict']}: {row['reason']}" == alone.verdict
    assert len(ldnq.diff(MODEL, list(models.values())).candidates) == 2
    scores = ldnq.eval({"float": MODEL, **models}, (SAMPLES, CLASSES))
    assert [row["file"] for row in scores.rows()] == ["float", "int8", "int4"]


# ---- the check in a runtime


def test_check_should_run_the_file_in_onnx_runtime():
    q = ldnq.quantize(MODEL, SAMPLES, target="ort", weights="int8", solver="nearest")
    for model in (q, q.model, onnx.load_from_string(q.model)):
        for data in (None, SAMPLES, batches()):
            done = ldnq.check(model, data)
            assert done.ok and done.outputs[0]["difference"] < 0.05, done
    assert "computes what ldnq computes" in repr(done)


def test_check_should_say_where_a_runtime_parts(monkeypatch):
    q = ldnq.quantize(MODEL, SAMPLES, target="ort", weights="int8", solver="nearest")

    def doubled(feeds):
        return [2 * array for array in support.ort_run(q.model, feeds).values()]

    done = ldnq.check(q, SAMPLES, runtime=doubled)
    assert not done.ok and done.outputs[0]["difference"] == pytest.approx(1, abs=0.1)
    assert "doubled parts from ldnq" in repr(done) and done["first"] is None

    def without_relu(content):
        proto = onnx.load_from_string(content)
        next(node for node in proto.graph.node if node.op_type == "Relu").op_type = "Abs"
        return lambda feeds: support.session(proto.SerializeToString()).run(None, feeds)

    monkeypatch.setattr(ldnq._check, "open_onnxruntime", without_relu)
    assert ldnq.check(q, SAMPLES)["first"] == "relu"
