"""`diotima runs list`: every run below a folder, the newest first.

    diotima runs list
    diotima runs list runs/demo --json

The stages of a recipe are runs of their own. A run that cannot be read is listed too, with the reason.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeInt

from diotima import settings as base
from diotima.errors import RunError
from diotima.problems.list_command import table
from diotima.runs.status import DEPTH, run_folders, shown, status_of, without_credentials

if TYPE_CHECKING:
    from rich.table import Table


class Settings(base.Settings):
    """Where runs are looked for."""

    folder: Path = Path("runs")
    """Folder to search, with the folders in it; runs by default."""
    depth: NonNegativeInt = DEPTH
    """How many folders deep to search."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One run in the list. ``cost`` in dollars; ``expected``: lessons, None where that was not written down."""

    folder: str
    stage: str
    tutors: tuple[str, ...]
    lessons: int
    expected: int | None
    state: str
    begun: str
    calls: int
    cost: float


def run(settings: Settings) -> dict[str, Any]:
    """Print the runs; returns them."""
    from rich.console import Console

    if not settings.folder.is_dir():
        raise RunError(f"there is no folder {settings.folder}: name the one in which runs lie")
    runs = list_runs(settings.folder, settings.depth)
    console = Console(highlight=False, markup=False)
    console.print(_table(runs) if runs else f"There are no runs in {settings.folder}.")
    return {"folder": str(settings.folder), "runs": [asdict(one) for one in runs]}


def list_runs(folder: Path, depth: int = DEPTH) -> list[Listed]:
    """Every run in a folder and below, the newest first."""
    return sorted(map(_listed, run_folders(folder, depth)), key=lambda one: one.begun, reverse=True)


def _listed(folder: Path) -> Listed:
    try:
        status = status_of(folder)
    except RunError as error:
        return Listed(str(folder), "", (), 0, None, f"cannot be read: {error}", "", 0, 0.0)
    manifest, books = status.manifest, status.books
    return Listed(
        str(folder),
        manifest.stage,
        tuple(without_credentials(label) for label in manifest.tutors or status.lessons),
        sum(status.lessons.values()),
        sum(manifest.expected.values()) or None,
        status.state,
        manifest.begun,
        books.calls,
        books.cost / 1e6,
    )


def _table(runs: list[Listed]) -> "Table":
    from rich.text import Text

    rows = table("Folder", "Begun", "Stage", "Lessons", "Calls", "Cost", "State", "Tutors")
    for column in rows.columns[1:-1]:
        column.no_wrap = True
    for one in runs:
        lessons = f"{one.lessons:,}" if one.expected is None else f"{one.lessons:,} of {one.expected:,}"
        calls = f"{one.calls:,}" if one.calls else ""
        cost = f"${one.cost:,.2f}" if one.cost else ""
        begun = one.begun[5:16].replace("T", " ")
        state = "running" if one.state.startswith("being") else one.state
        cells = (one.folder, begun, one.stage, lessons, calls, cost, state, ", ".join(one.tutors))
        rows.add_row(*(Text(shown(cell)) for cell in cells))
    return rows
