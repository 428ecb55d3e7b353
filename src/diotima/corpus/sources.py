"""Where conversations come from: files of any known form, and runs of lessons.

Which form a file has is seen from its content: EULER's contexts and human ratings, MRBench, MathDial, or one's own with
a column ``messages``, ``conversation`` or ``history``. A file is read whole or not at all, a run's lessons one by one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diotima.corpus import euler, mathdial, mrbench
from diotima.corpus.conversations import context_of, own_dialogue, read_list
from diotima.corpus.ratings import rows_of
from diotima.dialogue import Dialogue, stable_seed
from diotima.errors import ProblemFileError, RunError, SettingsError
from diotima.progress import Progress
from diotima.runs.run import Run


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation, the label of its set, and a number that is the same for the same text of a file."""

    label: str
    written: int
    dialogue: Dialogue


@dataclass(frozen=True, slots=True)
class Source:
    """One file or run, as the user named it.

    ``labels``: of the sets that it holds, each with the label its lessons have in the run, "" for a file.
    ``fingerprint``: changes with its content. ``read``: a file's conversations; None for a run, whose lessons are read
    as they are needed. ``finished``: no more will come.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    fingerprint: str
    read: Sequence[tuple[int, Dialogue]] | None = None
    finished: bool = True

    def rows(self) -> Iterator[Row]:
        """All conversations, in order."""
        if self.read is not None:
            yield from (Row(self.labels[0][0], written, dialogue) for written, dialogue in self.read)
            return
        with Run.open(Path(self.name)) as lessons:
            for label, held_as in self.labels:
                with Progress(f"contexts of {held_as}", lessons.count(held_as)) as progress:
                    for held in lessons.records(held_as):
                        yield Row(label, held.dialogue.seed, held.dialogue)
                        progress.advance()


def open_sources(names: Sequence[str], labels: Sequence[str] = ()) -> list[Source]:
    """The sources; ``labels`` has one for each, or none: a file is then called by its name, a run's sets as in the run.

    Raises SettingsError if two sets would have one label, ProblemFileError or RunError for what cannot be read.
    """
    if labels and len(labels) != len(names):
        raise SettingsError(f"there are {len(names)} sources but {len(labels)} labels")
    sources = [_open(name, labels[number] if labels else "") for number, name in enumerate(names)]
    counted = Counter(label for source in sources for label in {label for label, _ in source.labels})
    label, times = counted.most_common(1)[0]
    if times > 1:
        raise SettingsError(f"{times} sources hold a set called {label}; name every source: --label ONE --label OTHER")
    return sources


def read_conversations(path: Path) -> list[tuple[int, Dialogue]]:
    """Every conversation of a file; with each a number that is the same for the same text of the file.

    Those that end with a student's turn are contexts. Raises ProblemFileError with the place of what is wrong.
    """
    if path.suffix.lower() == ".json" and path.is_file() and isinstance((items := read_list(path))[0], str):
        return [
            (stable_seed("written", item), context)
            for item, context in zip(items, euler.read_contexts(path), strict=True)
        ]
    return [(dialogue.seed, dialogue) for dialogue in _dialogues(path)]


def _open(name: str, label: str) -> Source:
    path = Path(name)
    if not path.is_dir():
        read = read_conversations(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return Source(name, ((label or path.stem, ""),), digest, read)
    with Run.open(path) as lessons:
        held = lessons.labels()
        if not held:
            raise RunError(f"{path} holds no lessons")
        manifest = lessons.manifest
        return Source(
            name, tuple((label or one, one) for one in held), manifest["fingerprint"], None, bool(manifest["finished"])
        )


def _dialogues(path: Path) -> Iterable[Dialogue]:
    rows = list(rows_of(path))
    if not rows:
        raise ProblemFileError(f"{path} holds no conversations")
    columns = rows[0].fields
    if all(name in columns for name in mrbench.COLUMNS):
        return mrbench.read_conversations(path)
    if all(name in columns for name in euler.HUMAN_COLUMNS):
        return [context_of(one.dialogue.problem, one.dialogue.turns[:-1]) for one in euler.read_human(path)]
    is_mathdial = all(name in columns for name in mathdial.COLUMNS)
    dialogues = []
    for row in rows:
        try:
            dialogues.append(mathdial.read_lesson(row.fields) if is_mathdial else own_dialogue(row.fields, path.stem))
        except ProblemFileError as error:
            raise ProblemFileError(f"{path}, {row.place}: {error}") from None
    return dialogues
