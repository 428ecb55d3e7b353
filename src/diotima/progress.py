"""Progress on standard error: a bar with the time left on a terminal, one line every ten seconds without.

Standard output belongs to results; a log file that collects a bar's redrawings is of no use to anyone. Of several
processes that train together only the first shows any.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from diotima.processes import is_first

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

LINE_EVERY = 10.0  # seconds


class Progress:
    """Shows how far a piece of work is; a context manager.

    ``total``: the number of units, or None if unknown. ``clock``: seconds, monotonic.
    """

    def __init__(self, title: str, total: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self._resumed_at = 0
        self._clock = clock
        self._started = self._told = clock()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if is_first() and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[note]}"), console=Console(file=sys.stderr))
            self._bar.add_task(self.title, total=self.total, note="")
            self._bar.start()
        return self

    def resume(self, done: int) -> None:
        """Say how much an earlier process had done: it counts as done, but not for the speed."""
        self.done = self._resumed_at = done
        self._show("")

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count units as done; ``note`` is a short text such as the newest figures."""
        self.done += units
        self._show(note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and self._told > self._started:
            print(self._line("done"), file=sys.stderr, flush=True)

    def _show(self, note: str) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, note=note)
        elif is_first() and (now := self._clock()) - self._told >= LINE_EVERY:
            self._told = now
            print(self._line(note), file=sys.stderr, flush=True)

    def _line(self, note: str) -> str:
        elapsed, fresh = self._clock() - self._started, self.done - self._resumed_at
        parts = [self.title, f"{self.done}/{self.total}" if self.total else f"{self.done}"]
        if self.total and fresh:
            parts += [f"{self.done / self.total:.0%}", f"{_minutes(elapsed * (self.total - self.done) / fresh)} left"]
        return "  ".join([*parts, note] if note else parts)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
