# SPDX-License-Identifier: Apache-2.0
"""Runs a job of the library in a thread of its own, so that the calling thread can be interrupted.

The calling thread shows progress, warns, and calls what the user has passed: functions of the
user run in the thread that they expect, and Ctrl-C is raised there at once. It then asks the job
to end, and waits until the library has left: no file is left behind, no handle is in use.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import sys
import threading
import time
import warnings
from ctypes import byref
from typing import Any, Callable

from ._errors import Warning as LdnqWarning
from ._library import (CANCEL, GO_ON, LIBRARY, PACKAGE, ErrorText, EventFunction, Owner,
                       ProgressFunction, ScoreFunction, raise_status)
from ._options import Options
from ._progress import open_progress

SECONDS_BETWEEN_REPORTS = 0.1


def warn(text: str) -> None:
    """Warns at the line of the user's that called the package."""
    depth, frame = 1, None
    for depth, frame in enumerate(iterate_frames(), 1):
        if not os.path.realpath(frame.f_code.co_filename).startswith(f"{PACKAGE}{os.sep}"):
            break
    warnings.warn(text, LdnqWarning, stacklevel=depth)


def iterate_frames():
    """The frames from the caller's on, outwards."""
    frame = sys._getframe(1)  # pylint: disable=protected-access
    while frame:
        yield frame
        frame = frame.f_back


class Job:
    """One run of a function of the library."""

    def __init__(self, options: Options, progress: Any = None):
        self.options = options
        self.show = open_progress(progress)
        self.requests: queue.SimpleQueue = queue.SimpleQueue()
        self.answer = GO_ON  # of the progress callback
        self.last_report = 0.0
        self.goal_data: Owner | None = None  # outlives the run
        # The library holds these, and the handle of the options is used in this job alone.
        self.callbacks = (ProgressFunction(self.on_progress), EventFunction(self.on_event))
        LIBRARY.ldnq_options_on_progress(options.value, self.callbacks[0], None)
        LIBRARY.ldnq_options_on_event(options.value, self.callbacks[1], None)

    def score_by(self, function: Callable[[bytes], float]) -> None:
        """Lets a function score models. It is called in the calling thread."""

        def score(_, model, size, value) -> int:
            answer = self.ask(lambda: float(function(ctypes.string_at(model, size))))
            if answer is not None:
                value[0] = answer
            return GO_ON if answer is not None else CANCEL

        self.callbacks += (ScoreFunction(score),)
        LIBRARY.ldnq_options_on_score(self.options.value, self.callbacks[-1], None)

    # ---- in the library's threads

    def on_progress(self, _, progress) -> int:
        """Hands a report to the calling thread, but not too often."""
        now = time.monotonic()
        at = progress.contents
        if now - self.last_report >= SECONDS_BETWEEN_REPORTS or at.done == at.total:
            self.last_report = now
            stage, detail = at.stage or b"", at.detail or b""
            report = stage.decode(), detail.decode("utf-8", "replace"), at.done, at.total
            self.requests.put(lambda: self.show(*report))
        return self.answer

    def on_event(self, _, line: bytes) -> None:
        """Hands a warning to the calling thread."""
        event = json.loads(line)
        if event.get("event") == "warning":
            self.requests.put(lambda: warn(event["text"]))

    def ask(self, function: Callable[[], float]) -> float | None:
        """What a function returns in the calling thread; None where the job is to end."""
        answers: queue.SimpleQueue = queue.SimpleQueue()

        def request() -> None:
            answer = None
            try:
                answer = function()
            finally:
                answers.put(answer)

        self.requests.put(request)
        while self.answer != CANCEL:
            try:
                return answers.get(timeout=SECONDS_BETWEEN_REPORTS)
            except queue.Empty:
                continue
        return None

    def call_function(self, function, arguments, result, error) -> None:
        """The thread's work: the status is in the error."""
        try:
            error.status = function(*arguments, self.options.value, byref(result.value),
                                    byref(error))
        finally:
            self.requests.put(None)

    # ---- in the calling thread

    def run(self, function, *arguments) -> Owner:
        """The job's result. `arguments` are those before the options."""
        result, error = Owner(LIBRARY.ldnq_result_destroy), ErrorText()
        thread = threading.Thread(target=self.call_function, name="ldnq",
                                  args=(function, arguments, result, error))
        thread.start()
        try:
            self.serve(lambda request: request())
        except BaseException:
            self.answer = CANCEL
            self.wait_for_end()
            raise
        finally:
            self.show.close()
        raise_status(error.status, error)
        return result

    def serve(self, handle: Callable[[Callable], None]) -> None:
        """Handles requests until the thread has none."""
        while (request := self.requests.get()) is not None:
            handle(request)

    def wait_for_end(self) -> None:
        """Waits, whatever comes: the library still uses the caller's arrays."""
        while True:
            try:
                self.serve(lambda request: None)
                return
            except KeyboardInterrupt:
                continue


def read_json(result: Owner) -> dict:
    """All figures of a result."""
    return json.loads(LIBRARY.ldnq_result_json(result.value))
