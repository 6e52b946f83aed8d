# SPDX-License-Identifier: Apache-2.0
"""What jobs return: the library's figures as mappings that print as tables."""

from __future__ import annotations

import html
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Iterator

from ._errors import FileError, UsageError
from ._library import Owner
from ._models import open_bytes, open_path

MOST_ROWS = 40  # of a printed table; all are in to_pandas()


def format_cell(value: Any) -> str:
    """A value of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value)


class Result(Mapping):
    """The figures of a job by their names in its JSON schema, also as attributes."""

    columns: tuple[str, ...] = ()

    def __init__(self, figures: dict[str, Any]):
        self.figures = figures

    def __getitem__(self, name: str) -> Any:
        return self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["figures"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no figure '{name}'") from None

    def __dir__(self):
        return [*super().__dir__(), *self.figures]

    def rows(self) -> list[dict[str, Any]]:
        """What the table lists."""
        return []

    def summary(self) -> str:
        """The line above the table."""
        return ""

    def to_pandas(self):
        """The rows with all their figures as a pandas.DataFrame."""
        import pandas  # pylint: disable=import-outside-toplevel
        return pandas.DataFrame(self.rows())

    def cells(self) -> list[list[str]]:
        """The printed rows; the first one is the head."""
        rows = self.rows()[:MOST_ROWS]
        return [list(self.columns)] + [[format_cell(row.get(name)) for name in self.columns]
                                       for row in rows]

    def rest(self) -> str:
        """What the printed table leaves out."""
        more = len(self.rows()) - MOST_ROWS
        return f"{more} more; to_pandas() has all" if more > 0 else ""

    def __repr__(self) -> str:
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                 for row in cells]
        return "\n".join(filter(None, [self.summary(), *lines, self.rest()]))

    def _repr_html_(self) -> str:
        head, *rows = [[html.escape(cell) for cell in row] for row in self.cells()]
        body = "".join("<tr><td>" + "</td><td>".join(row) + "</td></tr>" for row in rows)
        return (f"<p>{html.escape(self.summary())}</p><table><thead><tr><th>"
                + "</th><th>".join(head) + f"</th></tr></thead><tbody>{body}</tbody></table>"
                f"<p>{html.escape(self.rest())}</p>")


def write_file(path: Any, content: bytes) -> None:
    """Writes a file that appears whole or not at all."""
    path = Path(os.fsdecode(path))
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"{path}: can't be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


class Page:
    """The page with all figures and charts."""

    _page: bytes | None = None

    def html(self, path: Any = None) -> str:
        """Its text; written to the path, if there is one."""
        if self._page is None:
            raise UsageError("there is no page: quantize with page=True")
        if path is not None:
            write_file(path, self._page)
        return self._page.decode()


class Quantized(Page, Result):
    """A quantized model."""

    columns = ("node", "op", "weights", "outputs", "inputs", "error", "fit")

    def __init__(self, figures: dict[str, Any], model: bytes | None, page: bytes | None):
        super().__init__(figures)
        self._model, self._page = model, page

    @property
    def content(self) -> str | bytes:
        """The ONNX model, or the path that it was written to."""
        if self._model is not None:
            return self._model
        if self.figures["output"] is None:
            raise UsageError("the process of rank 0 has the model, this one its figures alone")
        return self.figures["output"]

    @property
    def model(self) -> bytes:
        """The ONNX model. One that was written to a file is read from there."""
        return Path(self.content).read_bytes() if self._model is None else self._model

    def open_model(self, name: str) -> Owner:
        """As a handle of the library; a model in memory by this name."""
        if self._model is None:
            return open_path(self.content)
        return open_bytes(self._model, name)

    def save(self, path: Any) -> None:
        """Writes the model to a file."""
        write_file(path, self.model)

    def rows(self) -> list[dict[str, Any]]:
        return self.figures["layers"]

    def summary(self) -> str:
        f, accuracy = self.figures, self.figures["accuracy"]
        text = (f"{len(f['layers'])} layers in {f['weights']}, {f['bytes_before']} -> "
                f"{f['bytes_after']} bytes")
        if accuracy["sqnr"] is not None:
            text += f", SQNR {accuracy['sqnr']:.1f} dB"
        if accuracy["agreement"] is not None:
            text += f", agreement {accuracy['agreement']:.1f} %"
        on = f" on {accuracy['measured_on']}" if accuracy["measured_on"] else ""
        left = f"; {len(f['not_quantized'])} not quantized" if f["not_quantized"] else ""
        return text + on + left


class Comparison(Page, Result):
    """A quantized model beside the float one."""

    columns = ("node", "op", "bits", "weight", "isolated", "accumulated")

    def __init__(self, figures: dict[str, Any], page: bytes):
        super().__init__(figures)
        self._page = page

    @property
    def verdict(self) -> str:
        """Whether the model can be shipped, in words, and why; its level is in ["verdict"]."""
        verdict = self.figures["verdict"]
        return f"{verdict['words']}: {verdict['reason']}"

    def summary(self) -> str:
        return self.verdict

    @property
    def agreement(self) -> float | None:
        """Percent of the samples that get the same class, of the worst output; None where no
        output is a classifier's."""
        shares = [output["agreement"] for output in self.figures["outputs"]
                  if output["agreement"] is not None]
        return 100 * min(shares) if shares else None

    @property
    def sqnr(self) -> float | None:
        """That of the worst output in dB; infinite where all are exact, None without samples."""
        errors = [output["error"] for output in self.figures["outputs"]]
        ratios = [float("inf") if error["exact"] else error["sqnr_db"] for error in errors
                  if error and (error["exact"] or error["sqnr_db"] is not None)]
        return min(ratios) if ratios else None

    def rows(self) -> list[dict[str, Any]]:
        def decibels(error):
            return error and (float("inf") if error["exact"] else error["sqnr_db"])
        return [{**layer, "weight": decibels(layer["weight_error"]),
                 "isolated": decibels(layer["isolated"]),
                 "accumulated": decibels(layer["accumulated"])}
                for layer in self.figures["layers"]]


class Candidates(Page, Result):
    """Quantized models side by side against the float one."""

    columns = ("path", "verdict", "bytes", "bits", "sqnr_db", "agreement")

    def __init__(self, figures: dict[str, Any], page: bytes):
        super().__init__(figures)
        self._page = page

    def rows(self) -> list[dict[str, Any]]:
        return [{**candidate, "verdict": candidate["verdict"]["words"],
                 "reason": candidate["verdict"]["reason"],
                 "sqnr_db": float("inf") if candidate["exact"] else candidate["sqnr_db"]}
                for candidate in self.figures["candidates"]]

    def summary(self) -> str:
        f = self.figures
        return f"{f['path']}, {f['bytes']} bytes, on {f['samples']} samples"


class Evaluation(Result):
    """Accuracy of models on labelled samples."""

    columns = ("file", "top1", "top1_low", "top1_high", "top5", "samples")

    def rows(self) -> list[dict[str, Any]]:
        return self.figures["models"]


class Inspection(Result):
    """The layers of a model."""

    columns = ("node", "op", "quantizable", "shape", "parameters", "macs", "reason")

    def rows(self) -> list[dict[str, Any]]:
        return self.figures["layers"]

    def summary(self) -> str:
        f = self.figures
        return f"{f['file']}: opset {f['opset']}, {f['bytes']} bytes, {len(f['layers'])} layers"


class Findings(Result):
    """What a runtime refuses, or computes slower than the float model."""

    columns = ("severity", "rule", "node", "message", "advice")

    def rows(self) -> list[dict[str, Any]]:
        return self.figures["findings"]

    def summary(self) -> str:
        counts = self.figures["counts"]
        return (f"{self.figures['file']} for {self.figures['target']}: {counts['broken']} broken, "
                f"{counts['slower']} slower, {counts['note']} notes")
