# SPDX-License-Identifier: Apache-2.0
"""What people build pipelines of: the container, the GitHub action, the check before a commit."""

import json
import os
import re
import shutil
import subprocess
import textwrap

import pytest

import support

ACTION = support.ROOT / ".github" / "actions" / "quantize" / "action.yml"
DOCKERFILE = support.ROOT / "tools" / "docker" / "Dockerfile"
HOOKS = support.ROOT / ".pre-commit-hooks.yaml"
LINT_FILES = support.ROOT / "tools" / "lint-files"
# Stands for Docker: builds nothing, and runs the program that was built.
DOCKER = """#!/usr/bin/env bash
[ "$1" = build ] && exit 0
while [ "$1" != ldnq ]; do shift; done
exec "$@"
"""


def with_program(folder, **more):
    return os.environ | {"PATH": f"{folder}:{support.LDNQ.parent}:{os.environ['PATH']}"} | more


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    out = tmp_path_factory.mktemp("quantized") / "digits.onnx"
    support.succeed("quantize", support.DIGITS / "digits-ts.onnx", "-o", out, "--calib",
                    support.DIGITS / "calib", "--target", "ort", "--weights", "int8", "-q")
    return out


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="there is no dpkg")
def test_the_container_should_have_the_libraries_that_the_program_needs():
    if 'VERSION_ID="12"' not in open("/etc/os-release", encoding="utf-8").read():
        pytest.skip("the container is of Debian 12")
    installed = set(re.search(r"--no-install-recommends (.*?) &&",
                              DOCKERFILE.read_text().replace("\\\n", " "), re.S)[1].split())
    # Those that the program names itself; they bring their own.
    wanted = re.findall(r"NEEDED.*\[(.*)\]", subprocess.run(
        ["readelf", "-d", support.LDNQ], capture_output=True, text=True, check=True).stdout)
    packages = set()
    for library in wanted:
        found = subprocess.run(["dpkg-query", "-S", f"*/*-linux-gnu/*{library}"],
                               capture_output=True, text=True, check=False).stdout
        packages.update(line.partition(":")[0] for line in found.splitlines())
    # All systems have these; development packages have links of the same name.
    wanted = {p for p in packages if not p.endswith("-dev")} - {"libc6", "libgcc-s1"}
    assert wanted == installed


def run_action(tmp_path, **inputs):
    """The action's last script in a workspace with the digits, and what it has for its output."""
    script = textwrap.dedent(re.split(r"run: \|\n", ACTION.read_text())[-1])
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    answer = tmp_path / "answer"
    values = {"MODEL": "digits-ts.onnx", "CALIB": "calib", "OUTPUT": tmp_path / "out.onnx",
              "TARGET": "ort", "WEIGHTS": "int8", "OPTIONS": "", "REPORT": ""} | inputs
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=support.DIGITS, check=False,
        capture_output=True, text=True, timeout=120,
        env=with_program(tmp_path, GITHUB_WORKSPACE=str(tmp_path), GITHUB_OUTPUT=str(answer),
                         **{name: str(value) for name, value in values.items()}))
    return done, answer.read_text() if answer.exists() else None


def test_the_action_should_write_the_file_and_answer_with_the_result(tmp_path):
    done, answer = run_action(tmp_path, REPORT=tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.onnx").exists() and (tmp_path / "page.html").exists()
    name, *lines, end = answer.splitlines()
    assert (name, end) == ("result<<LDNQ_RESULT", "LDNQ_RESULT")
    assert json.loads("\n".join(lines))["weights"] == "int8"


def test_the_action_should_fail_where_a_goal_is_not_met(tmp_path):
    done, answer = run_action(tmp_path, WEIGHTS="ternary", TARGET="weights",
                              OPTIONS="--solver rtn --min-sqnr 90")
    assert done.returncode == 9 and answer is None
    assert not (tmp_path / "out.onnx").exists()


def test_the_hook_should_be_a_program():
    entry = re.search(r"entry: (\S+)", HOOKS.read_text())[1]
    assert os.access(support.ROOT / entry, os.X_OK)
    assert support.ROOT / entry == LINT_FILES


def test_lint_files_should_check_all_and_fail_if_one_fails(quantized, tmp_path):
    def lint(*words):
        return subprocess.run([LINT_FILES, *map(str, words)], capture_output=True, text=True,
                              env=with_program(tmp_path), timeout=60, check=False)

    assert lint("--target", "ort", quantized, quantized).returncode == 0
    # Asymmetric activations are what TensorRT refuses.
    done = lint("--target", "tensorrt", quantized, tmp_path / "missing.onnx", quantized)
    assert done.returncode == 1
    assert done.stdout.count("TensorRT") + done.stdout.count("tensorrt") >= 2, done.stdout
    assert "missing.onnx" in done.stderr
