# SPDX-License-Identifier: Apache-2.0
"""Processes that mpirun starts: the bytes of one process, whatever their number; what ranks refuse;
and ranks that die or do not answer."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest

import small_models as small
import support
from support import IO, OK, USAGE, save

PROGRAM = pathlib.Path(support.LDNQ).with_name("ldnq-mpi")
MPIRUN = shutil.which("mpirun")
ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
GPTQ = ["--target", "weights", "--weights", "int4", "--solver", "gptq"]

pytestmark = pytest.mark.skipif(not MPIRUN or not PROGRAM.exists(), reason="MPI is not installed")


@pytest.fixture(scope="module", name="network")
def make_network(tmp_path_factory):
    """Four products, one of few outputs, and 50 samples, which are ten batches."""
    folder = tmp_path_factory.mktemp("mpi")
    rng = np.random.default_rng(0)
    sizes = [40, 72, 40, 33, 6]
    arrays, nodes = {}, []
    for i, (cols, rows) in enumerate(zip(sizes, sizes[1:])):
        arrays[f"w{i}"] = rng.standard_normal((cols, rows)).astype(np.float32) / 6
        nodes.append(small.node("MatMul", f"{'x' if i == 0 else f'r{i - 1}'} w{i}",
                                "y" if i == 3 else f"h{i}", name=f"p{i}"))
        if i < 3:
            nodes.append(small.node("Relu", f"h{i}", f"r{i}"))
    save(small.chain(nodes, (40,), (6,), arrays), folder / "m.onnx")
    np.save(folder / "m.npy", rng.standard_normal((50, 40)).astype(np.float32))
    # A layer of low rank: 1,540 columns and 30 positions, and rows for three blocks.
    wide = {"v0": rng.standard_normal((8, 1540)).astype(np.float32),
            "v1": rng.standard_normal((1540, 130)).astype(np.float32) / 40}
    nodes = [small.node("MatMul", "x v0", "h"), small.node("Relu", "h", "r"),
             small.node("MatMul", "r v1", "y")]
    save(small.chain(nodes, (8,), (130,), wide), folder / "wide.onnx")
    np.save(folder / "wide.npy", rng.standard_normal((30, 8)).astype(np.float32))
    return folder


def quantize(network, output, *options, name="m"):
    return ["quantize", network / f"{name}.onnx", "--calib", network / f"{name}.npy", "--threads",
            "1", "-q", "-o", output, *options]


def start(*parts, **more):
    """mpirun with parts, each a number of ranks, their arguments, and the program if it is another
    one."""
    line = [MPIRUN, "--oversubscribe", "--bind-to", "none"]
    for i, (count, arguments, *program) in enumerate(parts):
        line += [":"] * (i > 0) + ["-n", str(count), *(program or [PROGRAM]), *arguments]
    return subprocess.Popen([str(item) for item in line], env={**os.environ, **ROOT, **more},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(job):
    out, err = job.communicate(timeout=120)
    return job.returncode, out, err


@pytest.mark.parametrize(("ranks", "name", "options"), [
    (2, "m", ["--target", "weights", "--weights", "ternary", "--solver", "best"]),
    (4, "m", ["--target", "weights", "--weights", "int4", "--solver", "cd", "--granularity",
              "block", "--block-size", "16"]),
    (3, "m", ["--target", "ort", "--weights", "int8", "--solver", "gptq"]),
    (3, "wide", ["--target", "weights", "--weights", "int4", "--solver", "cd"]),
])
def test_any_number_of_ranks_should_write_the_same_bytes(network, tmp_path, ranks, name, options):
    support.succeed(*quantize(network, tmp_path / "one.onnx", *options, name=name))
    code, out, err = finish(start((ranks, quantize(network, tmp_path / "all.onnx", *options,
                                                   "--json", name=name))))
    assert code == OK, err
    assert (tmp_path / "all.onnx").read_bytes() == (tmp_path / "one.onnx").read_bytes()
    found = json.loads(out)["ranks"]  # the first one reports, alone
    assert [entry["rank"] for entry in found] == list(range(ranks))
    assert all(entry["processor_seconds"] > 0 and entry["sent_bytes"] > 0 for entry in found)
    assert abs(sum(entry["share"] for entry in found) - 1) < 1e-6


def test_without_mpirun_the_program_should_be_one_process(network, tmp_path):
    for program, name in (support.LDNQ, "a"), (PROGRAM, "b"):
        support.succeed(*quantize(network, tmp_path / name, *GPTQ), program=program)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ranks_with_other_options_or_samples_should_be_refused(network, tmp_path):
    first = quantize(network, tmp_path / "q", *GPTQ)
    code, _, err = finish(start((1, first), (1, [*first[:-1], "cd"])))
    assert code == USAGE
    assert "rank 1 on " in err and "solver 'cd', and rank 0 has 'gptq'" in err
    other = shutil.copytree(network, tmp_path / "other")
    np.save(other / "m.npy", np.ones((50, 40), np.float32))
    code, _, err = finish(start((1, first), (1, quantize(other, tmp_path / "q", *GPTQ))))
    assert code == USAGE and "samples of other contents" in err
    assert not (tmp_path / "q").exists()


def test_ranks_with_another_model_should_be_refused(network, tmp_path):
    other = shutil.copytree(network, tmp_path / "other")
    model = onnx.load(other / "m.onnx")
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(-weight, model.graph.initializer[0].name))
    onnx.save(model, other / "m.onnx")
    code, _, err = finish(start((1, quantize(network, tmp_path / "q", *GPTQ)),
                                (1, quantize(other, tmp_path / "q", *GPTQ))))
    assert code == USAGE and not (tmp_path / "q").exists()
    assert "rank 1 on " in err and "has the model" in err and "and rank 0 has" in err


def test_ranks_with_other_kernels_should_be_refused(network, tmp_path):
    """OpenBLAS computes as for other processors, of which every one can do as these do."""
    line = quantize(network, tmp_path / "q", *GPTQ)
    code, _, err = finish(start(*((1, line, "env", f"OPENBLAS_CORETYPE={name}", PROGRAM)
                                  for name in ("Nehalem", "Prescott"))))
    assert code == USAGE and not (tmp_path / "q").exists()
    assert "rank 1 on " in err and "computes with the kernels" in err and "Nehalem" in err


def test_ranks_of_another_version_should_be_refused(network, tmp_path):
    """A copy of the program whose version is another text of the same length."""
    version = support.succeed("--version").stdout.split()[1].encode()
    other = version[:-1] + (b"9" if version[-1:] != b"9" else b"8")
    program = tmp_path / "ldnq-other"
    shutil.copy(PROGRAM, program)
    code = program.read_bytes()
    assert version + b"\0" in code
    program.write_bytes(code.replace(version + b"\0", other + b"\0"))
    line = quantize(network, tmp_path / "q", *GPTQ)
    code, _, err = finish(start((1, line), (1, line, program)))
    assert code == USAGE and not (tmp_path / "q").exists()
    assert f"is version {other.decode()}, and rank 0 on " in err
    assert f"is version {version.decode()}; install one version" in err


def test_an_error_of_one_rank_should_end_all_with_its_message(network, tmp_path):
    first = quantize(network, tmp_path / "q", *GPTQ)
    missing = [str(item).replace("m.onnx", "none.onnx") for item in first]
    code, _, err = finish(start((1, first), (1, missing)))
    assert code != OK
    assert "ldnq: rank 1 on " in err and "none.onnx" in err


def rank_process(job, rank):
    """The process of a rank, once it runs; None where the job has ended."""
    wanted = f"OMPI_COMM_WORLD_RANK={rank}".encode()
    while job.poll() is None:
        children = pathlib.Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        for child in children:
            try:
                if wanted in pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                    return int(child)
            except OSError:
                continue
        time.sleep(0.01)
    return None


def disturb_rank_1(network, tmp_path, number, **more):
    """A run of two ranks, of which one gets a signal when a layer is fitted: how it ended."""
    options = ["--target", "weights", "--weights", "ternary", "--solver", "best",
               "--checkpoint", tmp_path / "c"]
    job = start((2, quantize(network, tmp_path / "q.onnx", *options)), **more)
    child = rank_process(job, 1)
    while job.poll() is None and not list((tmp_path / "c").glob("*.layer")):
        time.sleep(0.002)
    if child and job.poll() is None:
        os.kill(child, number)
    code, _, err = finish(job)
    return code, err, options


def test_a_run_whose_rank_was_killed_should_go_on_with_another_number(network, tmp_path):
    code, err, options = disturb_rank_1(network, tmp_path, signal.SIGKILL)
    assert code == OK or "rank 1" in err
    if code != OK:
        code, _, err = finish(start((3, quantize(network, tmp_path / "q.onnx", *options,
                                                 "--resume"))))
        assert code == OK, err
    support.succeed(*quantize(network, tmp_path / "one.onnx", *options[:-2]))
    assert (tmp_path / "q.onnx").read_bytes() == (tmp_path / "one.onnx").read_bytes()


def test_a_rank_that_does_not_answer_should_be_named(network, tmp_path):
    code, err, _ = disturb_rank_1(network, tmp_path, signal.SIGSTOP, LDNQ_LOST_SECONDS="2")
    assert code == OK or (code == IO and "rank 1 on " in err and "has not answered" in err)


def test_ranks_should_score_the_same_samples_as_one_process():
    line = ["eval", support.DIGITS / "digits-ts.onnx", "--data", support.DIGITS / "eval",
            "--max-samples", "70", "--threads", "1", "-q", "--json"]
    code, out, err = finish(start((3, line)))
    one, all_ranks = support.answer(*line[:-1]), json.loads(out)
    assert code == OK, err
    for entry in one["models"] + all_ranks["models"]:
        del entry["seconds"]
    assert all_ranks == one
