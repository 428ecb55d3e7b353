"""`diotima runs check`: are these runs whole, and do their books add up?

    diotima runs check runs/before runs/after

Exits with 2 if anything is wrong. A run may be checked while it is written.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pydantic

from diotima import settings as base
from diotima.errors import RunError
from diotima.problems.list_command import table
from diotima.runs.check import Checked, check_run
from diotima.runs.status import shown

if TYPE_CHECKING:
    from rich.console import Console


Folders = Annotated[
    tuple[Path, ...],
    pydantic.BeforeValidator(lambda value: (value,) if isinstance(value, str | Path) else value),
    pydantic.Field(min_length=1),
]


class Settings(base.Settings):
    """What is checked."""

    runs: Folders
    """Folders of runs."""


def run(settings: Settings) -> dict[str, Any]:
    """Print what was checked; returns it. Raises RunError if anything is wrong, after all of it has been printed."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    results = {folder: check_run(folder) for folder in settings.runs}
    for folder, checked in results.items():
        _print(folder, checked, console)
    wrong = [str(folder) for folder, checked in results.items() if any(one.wrong for one in checked)]
    if wrong:
        raise RunError(
            f"not in order: {', '.join(wrong)}; what is wrong stands above. Export what can be read of a damaged run, "
            "and hold the rest anew in another folder"
        )
    found = {str(folder): {one.what: one.note or "ok" for one in checked} for folder, checked in results.items()}
    return {"runs": found}


def _print(folder: Path, checked: list[Checked], console: "Console") -> None:
    from rich.text import Text

    rows = table("Check", "Result")
    for one in checked:
        for what, result in zip((one.what, *[""] * len(one.wrong)), one.wrong or (one.note or "ok",), strict=False):
            style = "bold red" if one.wrong else "yellow" if one.note else "green"
            rows.add_row(what, Text(shown(result), style=style))
    console.print(Text(shown(str(folder)), style="bold cyan"))
    console.print(rows)
