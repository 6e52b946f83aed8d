# SPDX-License-Identifier: Apache-2.0
"""Options of jobs as keywords. Names, types, defaults and help are the library's own table,
which the command line reads too."""

from __future__ import annotations

import inspect
import os
from typing import Any, Callable, Iterable, Mapping, NamedTuple, TypeVar

from ._errors import UsageError
from ._library import LIBRARY, Owner, call

FLAG, TEXT, PATH, CHOICE, CHOICES, COUNT, BYTES, NUMBER, RATIO, CHANNELS, DIM, BUDGET, PIXELS = \
    range(13)  # enum ldnq_option_type
PROGRAM = 1  # LDNQ_OPTION_PROGRAM
QUANTIZE, DIFF, EVAL, INSPECT, RUN, LINT = (1 << bit for bit in range(6))  # LDNQ_JOB_
Function = TypeVar("Function", bound=Callable)


class Option(NamedTuple):
    """A row of the table."""

    name: str
    type: int
    jobs: int
    is_for_program: bool
    repeats: bool
    choices: tuple[str, ...]
    default: Any
    help: str

    @property
    def keyword(self) -> str:
        """The name in Python: max_drop, lambda_."""
        return "lambda_" if self.name == "lambda" else self.name.replace("-", "_")


def read_default(kind: int, text: str | None) -> Any:
    """A default of the table as a value of Python."""
    if text is None:
        return None
    if kind == FLAG:
        return text in ("1", "true")
    if kind in (COUNT, NUMBER):
        try:
            return int(text) if kind == COUNT else float(text)
        except ValueError:
            return text
    return text


def read_table() -> dict[str, Option]:
    """All options, by keyword."""
    table = {}
    while record := LIBRARY.ldnq_options_describe(len(table)):
        row = record.contents
        choices = row.choices.decode().split("|") if row.choices else ()
        text = row.default_value.decode() if row.default_value else None
        option = Option(row.name.decode(), row.type, row.jobs, row.scope == PROGRAM,
                        bool(row.repeats), tuple(choices), read_default(row.type, text),
                        row.help.decode())
        table[option.keyword] = option
    return table


TABLE = read_table()


def keywords_of(job: int) -> list[Option]:
    """The options of a job that are keywords of its function."""
    return [option for option in TABLE.values() if option.jobs & job and not option.is_for_program]


def find_option(keyword: str, job: int) -> Option:
    """Raises UsageError for a keyword that the job does not have."""
    option = TABLE.get(keyword)
    if option and option.jobs & job and not option.is_for_program:
        return option
    if option and option.is_for_program:
        raise UsageError(f"'{keyword}' is an option of the program ldnq alone")
    near = LIBRARY.ldnq_options_nearest(keyword.replace("_", "-").encode(), job)
    name = near.contents.name.decode().replace("-", "_") if near else None
    hint = f"; did you mean '{name}'?" if name in {o.keyword for o in keywords_of(job)} else ""
    raise UsageError(f"no such option '{keyword}'{hint}")


# ---- values as text


def to_text(option: Option, value: Any) -> str | bytes:
    """One value in the library's form."""
    if isinstance(value, bool):
        if option.type != FLAG:
            raise UsageError(f"{option.keyword}: is {value}, and takes no truth value")
        return "1" if value else "0"
    if isinstance(value, os.PathLike) or option.type == PATH:
        return os.fsencode(value)
    if isinstance(value, (list, tuple)):
        between = "x" if option.type == PIXELS else ","
        return between.join(str(part) for part in value)
    return str(value)


def to_texts(option: Option, value: Any) -> Iterable[str | bytes]:
    """All values of an option, one unless it repeats."""
    if not option.repeats:
        return [to_text(option, value)]
    if isinstance(value, Mapping):  # dim={"N": 4}, layer={"*/conv1": "int8"}
        return [f"{key}={part}" for key, part in value.items()]
    if isinstance(value, (str, bytes, os.PathLike)):
        value = [value]
    return [to_text(option, part) for part in value]


class Options(Owner):
    """A handle of options that keywords were set in."""

    def __init__(self, job: int, keywords: Mapping[str, Any]):
        super().__init__(LIBRARY.ldnq_options_destroy)
        self.create(LIBRARY.ldnq_options_create)
        for keyword, value in keywords.items():
            option = find_option(keyword, job)
            for text in () if value is None else to_texts(option, value):
                self.set(option.name, text)

    def set(self, name: str, value: str | bytes) -> None:
        """Sets a value, or adds one to an option that repeats."""
        text = value if isinstance(value, bytes) else value.encode()
        call(LIBRARY.ldnq_options_set, self.value, name.encode(), text)


# ---- signatures and help


def describe_keyword(option: Option) -> str:
    """The paragraph of an option in the help of a function."""
    default = "" if option.default in (None, False) else f" [{option.default}]"
    return f"{option.keyword}: {option.help}{default}"


def with_options(job: int) -> Callable[[Function], Function]:
    """Gives a function the keywords of a job as its signature and help."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        options = [option for option in keywords_of(job)
                   if option.keyword not in signature.parameters]
        keywords = [inspect.Parameter(o.keyword, inspect.Parameter.KEYWORD_ONLY, default=o.default)
                    for o in options]
        function.__signature__ = signature.replace(parameters=own + keywords)
        paragraphs = "\n    ".join(map(describe_keyword, options))
        text = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = f"{text}\n\nOptions:\n    {paragraphs}"
        return function

    return decorate
