# SPDX-License-Identifier: Apache-2.0
"""Writes the types of the options of each function: a TypedDict per job, from the library's table.

    write_keywords.py LIBRARY >_keywords.pyi
"""

import os
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent


def load_options(library):
    """ldnq._options alone: the package itself needs NumPy, which a build does not."""
    package = types.ModuleType("ldnq")
    package.__path__ = [str(HERE / "ldnq")]
    sys.modules["ldnq"] = package
    os.environ["LDNQ_LIBRARY"] = str(library)
    from ldnq import _options  # pylint: disable=import-outside-toplevel
    return _options


def type_of(options, option):
    """A value's type in Python."""
    words = "Literal[" + ", ".join(f'"{choice}"' for choice in option.choices) + "]"
    kinds = {options.FLAG: "bool", options.PATH: "Path", options.CHOICE: words,
             options.CHOICES: f"{words} | Sequence[{words}] | str", options.COUNT: "int",
             options.BYTES: "int | str", options.NUMBER: "float", options.RATIO: "float | str",
             options.CHANNELS: "float | Sequence[float] | str", options.BUDGET: "int | str",
             options.DIM: "str", options.PIXELS: "int | tuple[int, int] | str"}
    kind = kinds.get(option.type, "str")
    if option.choices and option.type in (options.COUNT, options.NUMBER, options.PIXELS):
        kind = f"{kind} | {words}"
    if option.repeats:
        kind = f"{kind} | Sequence[{kind}] | Mapping[str, Any]"
    return f"{kind} | None"


def make_stub(library):
    """The text of the stub."""
    options = load_options(library)
    lines = ["from __future__ import annotations",
             "from os import PathLike",
             "from typing import Any, Literal, Mapping, Sequence, TypedDict, Union",
             "", "Path = Union[str, PathLike[str]]"]
    for job in ("QUANTIZE", "DIFF", "EVAL", "INSPECT", "RUN", "LINT"):
        lines += ["", f"class {job.capitalize()}Options(TypedDict, total=False):"]
        lines += [f"    {option.keyword}: {type_of(options, option)}"
                  for option in options.keywords_of(getattr(options, job))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(make_stub(sys.argv[1]), end="")
