"""`diotima runs rm`: remove a run, and nothing else.

    diotima runs rm runs/old
    diotima runs rm runs/old --yes

A run's folder may hold more by now: a report, a model, notes. That stays where it is, and is named. Books that other
processes of a training have kept below it go with it.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from diotima import settings as base
from diotima.errors import RunError, SettingsError
from diotima.processes import folders_of_others
from diotima.runs import lock, manifest, store
from diotima.runs.judgements import RUBRICS
from diotima.runs.status import is_run, read_manifest

PARTS = (
    store.FILE, f"{store.FILE}-wal", f"{store.FILE}-shm", "summary.json", "calibration.json", "calibrations.json",
    "done.json", manifest.FILE,
)  # fmt: skip
"""In this order: as long as the manifest is there, a removal that was stopped can be told from a run."""
FOLDERS = (RUBRICS,)
"""Removed before, with what is in them."""


class Settings(base.Settings):
    """What is removed."""

    run: Path
    """Folder of the run."""
    yes: bool = False
    """Do not ask. Needed where there is no terminal to ask at."""


def run(settings: Settings) -> dict[str, Any]:
    """Remove the run, having asked; returns what was removed and what was left.

    Raises RunError if there is none or it is being written, SettingsError if nobody said yes.
    """
    folder = settings.run.resolve()
    _refuse_others(settings.run)
    if not settings.yes:
        _ask(settings.run, folder.name)
    books = [path for path in folders_of_others(folder) if is_run(path)]
    removed = [f"{path.name}/{name}" for path in books for name in _remove(path)] + _remove(folder)
    left = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    print(f"{settings.run} holds other files, which stay: {', '.join(left)}" if left else f"{settings.run} is removed")
    return {"run": str(settings.run), "removed": removed, "left": left}


def _remove(folder: Path) -> list[str]:
    """Remove the files of a run, and its folder if nothing else is in it; returns their names."""
    with store.explained(folder), lock.WriterLock(folder):
        removed = [*map(str, _beside(folder)), *(name for name in PARTS if (folder / name).is_file())]
        for name in removed:
            (folder / name).unlink()
        for name in FOLDERS:
            with suppress(OSError):  # there is none, or somebody has put more into it
                (folder / name).rmdir()
        (folder / lock.FILE).unlink()  # there is nothing left that a next writer could meet another in
    if not any(folder.iterdir()):
        folder.rmdir()
    return removed


def _beside(folder: Path) -> list[Path]:
    """What a run keeps in folders of its own, as paths inside the run's."""
    return sorted(
        path.relative_to(folder) for name in FOLDERS for path in (folder / name).glob("*-*.md") if path.is_file()
    )


def _refuse_others(run: Path) -> None:
    """Raise RunError unless this is a run, or what a removal that was stopped has left of one."""
    if not (run / manifest.FILE).is_file():
        read_manifest(run)
    if not {"stage", "fingerprint"} <= manifest.read_json(run / manifest.FILE).keys():
        raise RunError(f"{run} is not a run of diotima: its {manifest.FILE} is another program's; nothing was removed")


def _ask(run: Path, name: str) -> None:
    if not sys.stdin.isatty():
        raise SettingsError(f"there is no terminal to ask at whether {run} may go: say so with --yes")
    print(f"{run} and all its lessons and calls will be gone. Its name, to remove it: ", end="", flush=True)
    if sys.stdin.readline().strip() != name:
        raise SettingsError(f"that is not its name, {name}; nothing was removed")
