# SPDX-License-Identifier: Apache-2.0
"""ONNX's own node cases: each either passes, or needs what ldnq does not have.

Prints (pytest -s) how many ran and passed, and what was left out by operator and
by type. The number that pass is written down here: raise it with each operator.
"""

import collections
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
import node_case  # noqa: E402

CASES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"

TOTAL = 1765
PASSED = 1540

# Cases whose expected outputs are not what ONNX Runtime computes. ldnq follows
# ONNX Runtime, which has disabled them as well.
DEVIATING = {
    # The reference takes 0.6 * 4 = 2.4 for the output's size, not 2: its last output is
    # not the last input, whose corner it should be aligned with. Torch takes 2 as well.
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}

# Expected outputs that are written down with four digits.
COARSE = {"test_averagepool_2d_ceil_last_window_starts_on_pad", "test_gridsample_bicubic",
          "test_roialign_aligned_false", "test_roialign_aligned_true"}


@pytest.fixture(scope="module")
def results():
    if not CASES.is_dir():
        pytest.skip("this onnx package carries no node cases")
    dirs = sorted(path for path in CASES.iterdir() if path.name not in COARSE)
    found = node_case.run(dirs)
    found.update(node_case.run([CASES / name for name in sorted(COARSE)], relative=1e-3))
    return found


def summary(results):
    verdicts = collections.Counter(verdict for verdict, _ in results.values())
    operators, others = collections.Counter(), collections.Counter()
    for verdict, reason in results.values():
        if verdict == "skip" and reason.startswith("operator "):
            operators.update(reason.split()[1:])
        elif verdict == "skip":
            others[reason.rpartition(": ")[2]] += 1
    lines = [f"{len(results)} cases, {verdicts['pass'] + verdicts['fail']} ran, "
             f"{verdicts['pass']} passed, {verdicts['skip']} left out"]
    for title, counts in (("left out by operator", operators), ("left out otherwise", others)):
        lines += [title, *(f"{count:6} {what}" for what, count in counts.most_common())]
    return "\n".join(lines)


def test_no_supported_case_should_fail(results):
    print(summary(results))
    failed = {name: why for name, (verdict, why) in results.items() if verdict == "fail"}
    assert {name: why for name, why in failed.items() if name not in DEVIATING} == {}
    assert set(failed) == DEVIATING


def test_as_many_cases_should_pass_as_written_down(results):
    assert len(results) == TOTAL
    assert sum(verdict == "pass" for verdict, _ in results.values()) == PASSED
