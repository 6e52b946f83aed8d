# SPDX-License-Identifier: Apache-2.0
"""Every operator's backward against finite differences in double. The cases are in
gradient_cases_*.py beside this file, each with a list CASES."""

import importlib
from pathlib import Path

import pytest

import gradients


def collect():
    for path in sorted(Path(__file__).parent.glob("gradient_cases_*.py")):
        yield from importlib.import_module(path.stem).CASES


@pytest.mark.parametrize("case", list(collect()), ids=lambda case: case.name.replace(" ", "-"))
def test_gradients_should_be_those_of_finite_differences(case, tmp_path):
    gradients.check(case, tmp_path)


def test_names_of_cases_should_differ():
    names = [case.name for case in collect()]
    assert sorted(set(names)) == sorted(names)
