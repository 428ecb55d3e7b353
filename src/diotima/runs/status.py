"""How a run stands, seen from outside: what it is, how far it is, who writes it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import apsw

from diotima.errors import RunError
from diotima.problems.list_command import visible
from diotima.runs import manifest as manifests
from diotima.runs import store
from diotima.runs.ledger import Ledger, Totals
from diotima.runs.lessons import lesson_counts
from diotima.runs.lock import writer_of

FINISHED = "finished"
DEPTH = 4  # folders between the one that is searched and a run, at most
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run's manifest says. ``finished``: when, "" if it is not. ``tutors``: who taught, by label.

    ``expected``: how many lessons each label is to get, empty where that was not written down.
    """

    stage: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    commit: str
    seed: int | None
    begun: str
    finished: str
    tutors: Mapping[str, str]
    expected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands. ``state``: ``being written by process P on H``, ``finished`` or ``stopped``.

    ``lessons``: how many each label has. ``by_model``: the books of each model; what the process of a stopped run had
    sent is of unknown outcome, although the run says so only when it goes on.
    """

    manifest: Manifest
    state: str
    lessons: Mapping[str, int]
    by_model: Mapping[str, Totals]

    @property
    def books(self) -> Totals:
        """The books of all models together."""
        return reduce(add, self.by_model.values(), Totals())


def status_of(folder: Path) -> Status:
    """How the run in a folder stands. Raises RunError if there is none, or it cannot be read."""
    writer = writer_of(folder)  # first: who lets go of a run has said before that it is finished
    manifest = read_manifest(folder)
    state = f"being written by {writer}" if writer else FINISHED if manifest.finished else "stopped"
    with reading(folder) as db:
        books = Ledger(db, folder).totals_by_model()
        if not writer:
            books = {name: replace(one, sent=0, unknown=one.sent + one.unknown) for name, one in books.items()}
        return Status(manifest, state, lesson_counts(db), books)


@contextmanager
def reading(folder: Path) -> Iterator[apsw.Connection]:
    """The run's database for one look at it. Raises RunError for whatever goes wrong meanwhile."""
    with store.explained(folder):
        db = store.open_for_reading(folder)
        try:
            yield db
        finally:
            db.close()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run's folder. Raises RunError if it is none."""
    if not is_run(folder):
        inside = ", ".join(str(run) for run in run_folders(folder)) if folder.is_dir() else ""
        raise RunError(
            f"{folder} is not a run{f'; in it are the runs {inside}' if inside else ''}: name a run's folder"
        )
    told = manifests.read_json(folder / manifests.FILE)
    settings = told.get("settings") or {}
    return Manifest(
        str(told.get("stage") or "unnamed"),
        settings,
        told.get("versions") or {},
        str(told.get("commit") or ""),
        told.get("seed"),
        str(told.get("started") or ""),
        str(told.get("finished") or ""),
        tutors_of(settings),
        told.get("expected") or {},
    )


def is_run(folder: Path) -> bool:
    """Whether a run lies in this folder."""
    return (folder / manifests.FILE).is_file() and (folder / store.FILE).is_file()


def run_folders(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The runs in a folder, itself included, and in its folders down to ``depth``; closed folders are passed over."""
    if is_run(folder):
        yield folder
    if not depth:
        return
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in inside:
        yield from run_folders(path, depth - 1)


def tutors_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The tutors of a stage by their labels, which in the run go on with the temperature where there is one."""
    tutors = settings.get("tutor") or []
    tutors = [tutors] if isinstance(tutors, str) else tutors
    return dict(zip(settings.get("label") or tutors, tutors, strict=False))


def tutor_behind(label: str, tutors: Mapping[str, str]) -> str:
    """The name of the tutor that taught under a label, "" if the settings do not say."""
    return next((tutor for name, tutor in tutors.items() if label == name or label.startswith(f"{name} T=")), "")


def shown(text: str) -> str:
    """A text of anyone's as it may be printed: without control characters and credentials."""
    return visible(without_credentials(text))


def without_credentials(text: str) -> str:
    """A text without the user and password that an address in it may have."""
    return _CREDENTIALS.sub("", text)
