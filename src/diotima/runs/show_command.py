"""`diotima runs show`: how a run stands, or one of its lessons; also while another process writes it.

    diotima runs show runs/lessons --follow
    diotima runs show runs/lessons --problem gsm8k-3b5f6c9f01aa --calls

Every look opens the run anew and is over in a moment: a reader that stays makes SQLite's write-ahead log grow.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from diotima import settings as base
from diotima.errors import SettingsError
from diotima.problems.list_command import table
from diotima.progress import LINE_EVERY
from diotima.runs.books import pace
from diotima.runs.ledger import Totals
from diotima.runs.lesson_page import dollars, show_lesson
from diotima.runs.lessons import Lesson, last_number, lessons_between
from diotima.runs.status import FINISHED, Status, reading, shown, status_of, without_credentials

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

REFRESH = 2.0  # seconds
NEWEST = 5  # lessons named at the foot of the page


class Settings(base.Settings):
    """What is shown."""

    run: Path
    """Folder of the run."""
    lesson: PositiveInt | None = None
    """Show the lesson of this number, as the run's page names it."""
    problem: str | None = None
    """Show the lesson about the problem of this id."""
    label: str | None = None
    """Of several lessons about the problem, show that of this tutor, by its label."""
    calls: bool = False
    """Show the calls to endpoints that the lesson and its exam needed, too."""
    settings: bool = False
    """Show every setting of the run, too."""
    follow: bool = False
    """Show the run again and again, until it is finished or Ctrl-C."""


@dataclass(frozen=True, slots=True)
class View:
    """A run at one moment. ``pace``: calls per minute, lately; ``newest``: its latest lessons."""

    folder: Path
    status: Status
    pace: float
    newest: tuple[Lesson, ...]

    @property
    def held(self) -> int:
        """How many lessons there are."""
        return sum(self.status.lessons.values())

    @property
    def expected(self) -> int | None:
        """How many there are to be, None if that was not written down."""
        return sum(self.status.manifest.expected.values()) or None

    @property
    def seconds_left(self) -> float | None:
        """How long the missing lessons take if they need as many calls as those so far; None if that cannot be told."""
        done = self.status.books.answered
        if self.expected is None or not self.held or not done or not self.pace or self.status.state == FINISHED:
            return None
        return 60 * max(self.expected - self.held, 0) * done / self.held / self.pace


def run(settings: Settings) -> dict[str, Any]:
    """Print a run or one of its lessons; returns what is shown."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if settings.lesson is None and settings.problem is None:
        if settings.calls or settings.label:
            raise SettingsError("calls and label go with a lesson: name it with --lesson NUMBER or --problem ID")
        if settings.follow:
            follow(settings.run, console)
        view = look(settings.run)
        if not settings.follow:
            console.print(page(view, settings.settings))
        return plain(view)
    if settings.follow:
        raise SettingsError("follow goes with a run: a lesson that is stored does not change")
    if settings.lesson is not None and (settings.problem or settings.label):
        raise SettingsError("lesson names one lesson; leave problem and label out")
    return show_lesson(settings.run, settings.lesson, settings.problem, settings.label, settings.calls, console)


def look(folder: Path, now: Callable[[], float] = time.time) -> View:
    """The run as it is now. Raises RunError if there is none."""
    status = status_of(folder)
    with reading(folder) as db:
        last = last_number(db)
        newest = tuple(lessons_between(db, max(last - NEWEST, 0), last))
        return View(folder, status, pace(db, now()) if status.by_model else 0.0, newest)


def follow(folder: Path, console: "Console", wait: Callable[[float], None] = time.sleep) -> None:
    """Show the run until it is finished or interrupted: its page on a terminal, else a line now and then."""
    from rich.live import Live

    view = look(folder)
    with suppress(KeyboardInterrupt):
        if not console.is_terminal:
            console.print(_line(view))
            while view.status.state != FINISHED:
                wait(LINE_EVERY)
                view = look(folder)
                console.print(_line(view))
            return
        with Live(page(view), console=console, auto_refresh=False) as live:
            while view.status.state != FINISHED:
                wait(REFRESH)
                view = look(folder)
                live.update(page(view), refresh=True)


def plain(view: View) -> dict[str, Any]:
    """The view as figures: money in dollars, times in seconds."""
    status = view.status
    figures = {
        "folder": str(view.folder),
        "state": status.state,
        **asdict(status.manifest),
        "lessons": dict(status.lessons),
        "books": {model: _plain_books(books) for model, books in status.by_model.items()},
        "calls_per_minute": round(view.pace, 1),
        "seconds_left": view.seconds_left,
    }
    told: dict[str, Any] = json.loads(without_credentials(json.dumps(figures)))
    return told


def page(view: View, settings: bool = False) -> "Group":
    """The view for people, with all ``settings`` of the run or the few that everyone wants to know."""
    from rich.console import Group
    from rich.text import Text

    status, manifest = view.status, view.status.manifest
    facts = table("", "", header=False)
    for name, text in _facts(view, settings):
        facts.add_row(name, Text(shown(text)))
    parts: list[Any] = [Text(shown(f"{view.folder}: {manifest.stage}, {status.state}"), style="bold cyan"), facts]
    parts.append(_lessons_table(view))
    if status.by_model:
        parts += [_books_table(status.by_model), Text(_books_sentence(view))]
    if view.newest:
        parts.append(_newest_table(view.newest))
    return Group(*parts)


def _facts(view: View, settings: bool) -> list[tuple[str, str]]:
    """The manifest in words."""
    manifest = view.status.manifest
    tutors = ", ".join(label if label == name else f"{label} ({name})" for label, name in manifest.tutors.items())
    told = {"tutor", "label", "student", "problems", "seed"}
    others = {name: value for name, value in manifest.settings.items() if name not in told and value not in (None, [])}
    facts = {
        "begun": f"{manifest.begun}, finished {manifest.finished}" if manifest.finished else manifest.begun,
        "tutor": tutors,
        "student": str(manifest.settings.get("student") or ""),
        "problems": str(manifest.settings.get("problems") or ""),
        "seed": "" if manifest.seed is None else str(manifest.seed),
        "settings": "; ".join(f"{name} {_in_words(value)}" for name, value in others.items()) if settings else "",
        "made by": f"diotima {manifest.versions.get('diotima', '')} {manifest.commit}".strip(),
    }
    return [(name, text) for name, text in facts.items() if text]


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_in_words(inner)}" for name, inner in value.items()) + "}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _lessons_table(view: View) -> "Table":
    from rich.text import Text

    rows = table("Tutor", "Lessons", "")
    status = view.status
    for label in {**status.manifest.expected, **status.lessons}:
        rows.add_row(
            Text(shown(label or "(no label)")),
            *_progress(status.lessons.get(label, 0), status.manifest.expected.get(label)),
        )
    if len(rows.rows) != 1:
        rows.add_row("all", *_progress(view.held, view.expected))
    return rows


def _progress(held: int, expected: int | None) -> tuple[str, str]:
    return (f"{held:,} of {expected:,}", f"{held / expected:.0%}") if expected else (f"{held:,}", "")


def _books_table(by_model: Mapping[str, Totals]) -> "Table":
    """The calls to each model; what happened to none of them has no column."""
    from rich.text import Text

    books = [*by_model.items()]
    if len(books) > 1:
        books.append(("all", reduce(add, by_model.values())))
    states = [name for name in ("failed", "sent", "unknown", "reused") if any(getattr(one, name) for _, one in books)]
    headings = {"sent": "on their way"}
    rows = table("Model", "Answered", *(headings.get(n, n).capitalize() for n in states), "Read", "Written", "Cost")
    for column in rows.columns[1:]:
        column.justify = "right"
    for model, one in books:
        counts = (one.answered, *(getattr(one, name) for name in states), one.prompt_tokens, one.reply_tokens)
        rows.add_row(Text(shown(model)), *(f"{count:,}" for count in counts), dollars(one.cost))
    return rows


def _books_sentence(view: View) -> str:
    books, writing = view.status.books, view.status.state.startswith("being")
    parts = [f"{view.pace:,.0f} calls per minute"] if writing else []
    if view.seconds_left is not None and writing:
        parts.append(f"about {_hours(view.seconds_left)} left")
    if books.unknown:
        parts.append(
            f"{books.unknown:,} call{'s' * (books.unknown != 1)} may have been billed without an answer, "
            f"for {dollars(books.open_cost)} at most"
        )
    return "; ".join(parts)


def _newest_table(newest: tuple[Lesson, ...]) -> "Table":
    from rich.text import Text

    rows = table("Lesson", "Tutor", "Problem", "Turns", "Ended")
    for one in reversed(newest):
        record, dialogue = one.record, one.record.dialogue
        cells = (str(one.number), record.label, dialogue.problem.id, str(len(dialogue.turns)), dialogue.stop)
        rows.add_row(*(Text(shown(cell)) for cell in cells))
    return rows


def _line(view: View) -> str:
    books = view.status.books
    parts = [" ".join(_progress(view.held, view.expected)).strip() + " lessons"]
    if books.calls:
        parts += [f"{books.calls:,} calls", dollars(books.cost), f"{view.pace:,.0f} calls per minute"]
    if view.seconds_left is not None:
        parts.append(f"{_hours(view.seconds_left)} left")
    return "  ".join([shown(str(view.folder)), *parts, view.status.state])


def _hours(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _plain_books(books: Totals) -> dict[str, Any]:
    figures = asdict(books)
    return {**figures, "cost": books.cost / 1e6, "open_cost": books.open_cost / 1e6}
