# SPDX-License-Identifier: Apache-2.0
"""The files that quantize writes keep their bytes from one commit to the next.

golden_files.json holds the hashes of the small cases of tools/compare-files, for each set of
OpenBLAS kernels that they were recorded with, since sums round as the kernels order them. Where
nothing was recorded for a machine's kernels, the number of threads may not change a byte.

A commit that changes what is written records it anew, for each kernel set that the machine has:
OPENBLAS_CORETYPE=Haswell tools/compare-files build/src/cli/ldnq --record
tests/python/golden_files.json"""

import json
import sys

import pytest
import support

sys.path.insert(0, str(support.ROOT / "tools"))
import compare_files  # noqa: E402

CASES = compare_files.small_cases()
RECORDED = json.loads((support.ROOT / "tests" / "python" / "golden_files.json").read_text())


@pytest.fixture(scope="module")
def program():
    return compare_files.Program(support.LDNQ)


def test_every_record_should_have_all_cases():
    assert RECORDED
    assert [kernels for kernels, hashes in RECORDED.items() if set(hashes) != set(CASES)] == []


@pytest.mark.parametrize("case", CASES)
def test_written_files_should_be_the_recorded_ones(case, program):
    model, options = CASES[case]
    known = RECORDED.get(program.kernels())
    if known:
        assert program.hash(model, options) == known[case]
    else:
        one, two = (program.hash(model, [*options, "--threads", str(n)]) for n in (1, 2))
        assert one and one == two
