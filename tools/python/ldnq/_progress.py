# SPDX-License-Identifier: Apache-2.0
"""Shows how far a job is: by tqdm where it is there, by a function of the user's, or not."""

from __future__ import annotations

import sys
from typing import Any


class Silent:
    """Shows nothing."""

    def __call__(self, stage: str, detail: str, done: int, total: int) -> None:
        pass

    def close(self) -> None:
        """The job has ended."""


class Function(Silent):
    """Calls the user's function with stage, detail, done and total."""

    def __init__(self, function):
        self.function = function

    def __call__(self, stage, detail, done, total):
        self.function(stage, detail, done, total)


class Bar(Silent):
    """A bar of tqdm for each stage."""

    def __init__(self, tqdm):
        self.tqdm, self.bar, self.stage = tqdm, None, None

    def __call__(self, stage, detail, done, total):
        if stage != self.stage:
            self.close()
            self.bar, self.stage = self.tqdm(total=total, desc=stage, unit="step"), stage
        self.bar.total = total
        self.bar.set_postfix_str(detail, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self):
        if self.bar is not None:
            self.bar.close()
        self.bar = self.stage = None


class Line(Silent):
    """One line of standard error, where tqdm is not installed."""

    def __call__(self, stage, detail, done, total):
        share = 100 * done // total if total else 0
        print(f"\r\033[K{stage} {share:3d} % {detail[:60]}", end="", file=sys.stderr, flush=True)

    def close(self):
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def open_progress(progress: Any) -> Silent:
    """True shows a bar, None one on a terminal, False none; a function is called."""
    if callable(progress):
        return Function(progress)
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    if not progress:
        return Silent()
    try:
        from tqdm.auto import tqdm  # pylint: disable=import-outside-toplevel
    except ImportError:
        return Line()
    return Bar(tqdm)
