"""Progress in terminals and notebooks: tqdm where it is installed, a plain line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias, Union

#: Whether a bar is drawn, or who is told ``(task, done, total)`` instead.
OnProgress: TypeAlias = Union[bool, Callable[[str, int, int], object]]


class Progress:
    """One task after another, as bars or as calls of a function."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._bar: Any = None
        self._task, self._done, self._total = "", 0, 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def begin(self, task: str, total: int) -> None:
        """Starts a task of ``total`` units."""
        self.end()
        self._task, self._done, self._total = task, 0, total
        if self._on_progress is True:
            self._bar = _bar(task, total)
        elif callable(self._on_progress):
            self._on_progress(task, 0, total)

    def advance(self, done: int) -> None:
        """``done`` units of the task are finished."""
        if self._bar is not None:
            self._bar.update(done - self._done)
        elif callable(self._on_progress):
            self._on_progress(self._task, done, self._total)
        self._done = done

    def end(self) -> None:
        """The task has ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __call__(self, kind: str, text: str, number: int) -> None:
        """What the native module tells."""
        if kind == "begin":
            self.begin(text, number)
        elif kind == "advance":
            self.advance(number)
        elif kind == "end":
            self.end()
        elif kind == "message" and self._on_progress is True:
            print(text, file=sys.stderr)


def _bar(task: str, total: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(task, total)
    return tqdm(desc=task, total=total)


class _Line:
    """What stands in for a bar without tqdm: one line, written anew at most five times a second."""

    def __init__(self, task: str, total: int) -> None:
        self._task, self._total, self._done = task, total, 0
        self._written = 0.0

    def update(self, more: int) -> None:
        self._done += more
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._written > 0.2:
            self._written = now
            print(f"\r{self._task}: {self._done}/{self._total}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        start = "\r" if sys.stderr.isatty() else ""
        print(f"{start}{self._task}: {self._done}/{self._total}", file=sys.stderr)
