"""A run: what happened, kept in one folder.

    with Run.create(folder, stage="evaluate", settings=settings, seed=0) as run:
        if not run.has("scripted/guide", problem.id, seed):
            run.add(dialogue, label="scripted/guide", scores=scores)
        run.finish()

    for record in Run.open(folder).records("scripted/guide"): ...

Records are committed in groups: about once a second, or every few hundred under load. A kill loses at most the open
group, never half a dialogue. Calls to endpoints stand in ``run.ledger``, which says nothing before the disk has it.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import apsw

from diotima.dialogue import Dialogue
from diotima.errors import RunError
from diotima.problems.files import problem_from_json
from diotima.processes import own_folder
from diotima.runs import manifest as manifests
from diotima.runs import store
from diotima.runs.judgements import COLUMNS, ORDER, judgement_from_row
from diotima.runs.ledger import Ledger
from diotima.runs.lock import FILE as LOCK_FILE
from diotima.runs.lock import WriterLock
from diotima.runs.records import Record, insert_record, turns_from_rows
from diotima.runs.writer import Writer
from diotima.score import Judgement, Score

GROUP = 256  # dialogues or metrics in one commit at most
GROUP_SECONDS = 1.0
PAGE = 200  # dialogues that `records` holds in memory at a time

_HAS = "SELECT 1 FROM dialogues WHERE label = ? AND problem_id = ? AND seed = ?"


class Run:
    """One run's folder; made by `create` (to write) or `open` (to read), closed as a context manager.

    ``folder``: where it lies. ``manifest``: stage, settings, seed, fingerprint, versions, commit, started, finished.
    ``ledger``: its calls to endpoints.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Mapping[str, Any],
        db: apsw.Connection,
        writer: Writer | None = None,
        lock: WriterLock | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.ledger = Ledger(db, folder, writer)
        self._db = db  # reads only, and only what is committed
        self._writer = writer
        self._lock = lock
        self._added: set[tuple[str, str, int]] = set()  # dialogues that the disk may not have yet
        self._waiting = 0
        self._committed = time.monotonic()

    @classmethod
    def create(cls, folder: Path, *, stage: str, settings: Mapping[str, Any], seed: int) -> "Run":
        """Begin a run, or continue the one that lies there if its stage, settings and seed are the same.

        One in which nothing has happened yet is begun anew: it was left because of a mistake in its settings.
        Raises RunError if they differ (field by field), if another process writes it, or if it cannot be written.
        Of several processes that train together only the first writes it, see `processes`.
        """
        folder = own_folder(Path(folder))
        manifest = manifests.new_manifest(stage, settings, seed)
        with store.explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(folder)
            try:
                path = folder / manifests.FILE
                if path.exists():
                    begun = manifests.read_json(path)
                    if not store.is_blank(folder, (manifests.FILE, LOCK_FILE)):
                        manifests.refuse_changes(folder, begun, manifest)
                        manifest = begun
                writer = Writer(store.open_for_writing(folder), folder)
                try:
                    manifests.write_json(path, manifest)
                    db = store.open_for_reading(folder)
                except BaseException:
                    writer.close()
                    raise
            except BaseException:
                lock.release()
                raise
        return cls(folder, manifest, db, writer, lock)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open a run to read it, also while it is being written. Raises RunError if there is none."""
        folder = Path(folder)
        if not (folder / manifests.FILE).is_file():
            raise RunError(f"{folder} is not a run: there is no {manifests.FILE} in it")
        return cls(folder, manifests.read_json(folder / manifests.FILE), store.open_for_reading(folder))

    def expect(self, lessons: Mapping[str, int]) -> None:
        """Write down how many lessons each label is to get, for those who watch. No part of what the run is."""
        self.manifest = {**self.manifest, "expected": dict(lessons)}
        with store.explained(self.folder):
            manifests.write_json(self.folder / manifests.FILE, self.manifest)

    def add(
        self,
        dialogue: Dialogue,
        label: str = "",
        scores: Mapping[str, Score] | None = None,
        judgements: Iterable[Judgement] = (),
    ) -> None:
        """Store a finished dialogue with its scores and what judges said about it.

        Raises RunError if the run has it, or if this or what was added lately cannot be written.
        """
        for name, score in (scores or {}).items():
            if score.value is not None and math.isnan(score.value):
                raise ValueError(f"the score {name} is not a number; a missing score needs a state and a reason")
        if self.has(label, dialogue.problem.id, dialogue.seed):
            raise RunError(
                f"{self.folder} has a dialogue of {label or 'no label'} on {dialogue.problem.id} with seed "
                f"{dialogue.seed} already"
            )
        record = Record(label, dialogue, scores or {}, tuple(judgements))
        self._post(lambda db: insert_record(db, record))
        self._added.add((label, dialogue.problem.id, dialogue.seed))
        self._grew()

    def replace(self, dialogue: Dialogue, label: str = "") -> None:
        """Store a dialogue that goes on in the place of what is stored of it, at once and in one piece.

        Its scores and judgements go with what it was. Raises RunError if it cannot be written.
        """
        which = (label, dialogue.problem.id, dialogue.seed)

        def put(db: apsw.Connection) -> None:
            db.execute("DELETE FROM dialogues WHERE label = ? AND problem_id = ? AND seed = ?", which)
            insert_record(db, Record(label, dialogue, {}))

        self._post(put)
        self.flush()

    def metric(self, step: int, name: str, value: float) -> None:
        """Store one number of a training step; the same step again replaces it, as after a resume."""
        row = (name, step, float(value))
        self._post(lambda db: db.execute("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?)", row))
        self._grew()

    def flush(self) -> None:
        """Commit what was added: it then survives a crash. Raises RunError if it could not be written."""
        try:
            if self._writer is not None:
                self._writer.flush()
        finally:
            self._added.clear()
            self._waiting = 0
            self._committed = time.monotonic()

    def finish(self) -> None:
        """Commit everything and write the time of the end into the manifest."""
        self.flush()
        self.manifest = {**self.manifest, "finished": manifests.timestamp()}
        with store.explained(self.folder):
            manifests.write_json(self.folder / manifests.FILE, self.manifest)

    def close(self) -> None:
        """Commit and let go of the folder."""
        self.ledger.close()
        self._db.close()
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()  # last, for the last to close a database tidies up its log
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def has(self, label: str, problem_id: str, seed: int) -> bool:
        """Whether this lesson has been stored."""
        key = (label, problem_id, seed)
        if key in self._added:
            return True
        with store.explained(self.folder):
            return self._db.execute(_HAS, key).get is not None

    def labels(self) -> list[str]:
        """All labels, in the order of their first dialogue."""
        return [row[0] for row in self._rows("SELECT label FROM dialogues GROUP BY label ORDER BY min(id)")]

    def count(self, label: str) -> int:
        """How many dialogues a label has."""
        return self._only("SELECT count(*) FROM dialogues WHERE label = ?", (label,))

    def records(self, label: str | None = None) -> Iterator[Record]:
        """All dialogues of a label, or of all labels, ordered by label, problem and seed whatever the order of arrival.

        Reads page by page, so memory stays flat and a long look holds up no writer.
        """
        judged = self._judged()
        for name in sorted(self.labels()) if label is None else [label]:
            problem_id, seed = "", -(2**63)
            while True:
                page = self._rows(
                    "SELECT d.id, d.problem_id, d.seed, d.stop, p.body"
                    " FROM dialogues d JOIN problems p ON p.id = d.problem"
                    " WHERE d.label = ? AND (d.problem_id, d.seed) > (?, ?) ORDER BY d.problem_id, d.seed LIMIT ?",
                    (name, problem_id, seed, PAGE),
                )
                for key, _, seed, stop, body in page:
                    yield self._record(name, key, Dialogue(problem_from_json(body), (), seed, stop), judged)
                if len(page) < PAGE:
                    break
                problem_id = page[-1][1]

    def score_table(self, name: str, label: str) -> list[tuple[str, int, Score]]:
        """One score of all dialogues of a label, as (problem id, seed, score), ordered by problem and seed.

        Dialogues on which this score was never written are left out.
        """
        rows = self._rows(
            "SELECT d.problem_id, d.seed, s.value, s.state, s.reason FROM dialogues d"
            " JOIN scores s ON s.dialogue = d.id AND s.name = ? WHERE d.label = ? ORDER BY d.problem_id, d.seed",
            (name, label),
        )
        return [(problem_id, seed, Score(value, state, reason)) for problem_id, seed, value, state, reason in rows]

    def judgements(self, label: str, rubric: str | None = None) -> Iterator[tuple[str, int, Judgement]]:
        """What judges said about the dialogues of a label, under one rubric or all, as (problem id, seed, judgement).

        Ordered by problem, seed, rubric, judge, position and sample; read page by page.
        """
        if not self._judged():
            return
        said = f"SELECT d.problem_id, d.seed, {', '.join(f'j.{name}' for name in COLUMNS)}"
        after = ("", -(2**63))
        while page := self._rows(
            "SELECT problem_id, seed FROM dialogues WHERE label = ? AND (problem_id, seed) > (?, ?)"
            " ORDER BY problem_id, seed LIMIT ?",
            (label, *after, PAGE),
        ):
            for problem_id, seed, *row in self._rows(
                f"{said} FROM dialogues d JOIN judgements j ON j.dialogue = d.id"
                " WHERE d.label = ? AND (d.problem_id, d.seed) > (?, ?) AND (d.problem_id, d.seed) <= (?, ?)"
                f" AND (? IS NULL OR j.rubric = ?) ORDER BY d.problem_id, d.seed, {ORDER}",
                (label, *after, *page[-1], rubric, rubric),
            ):
                yield problem_id, seed, judgement_from_row(row)
            after = page[-1]

    def rubrics(self) -> list[tuple[str, str]]:
        """The rubrics that judges went by here, as (name, fingerprint), in alphabetical order."""
        return (
            self._rows("SELECT DISTINCT rubric, rubric_fingerprint FROM judgements ORDER BY 1, 2")
            if self._judged()
            else []
        )

    def judges(self, rubric_fingerprint: str) -> list[str]:
        """Who judged here under one rubric, in alphabetical order."""
        said = "SELECT DISTINCT judge FROM judgements WHERE rubric_fingerprint = ? ORDER BY 1"
        return [judge for (judge,) in self._rows(said, (rubric_fingerprint,))] if self._judged() else []

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Every metric as a list of (step, value), ordered by step."""
        table: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in self._rows("SELECT name, step, value FROM metrics ORDER BY name, step"):
            table.setdefault(name, []).append((step, math.nan if value is None else value))
        return table

    def _record(self, label: str, key: int, opening: Dialogue, judged: bool) -> Record:
        turns = self._rows(
            "SELECT speaker, text, thought, flags, shared, prompt_ids, reply_ids, logprobs FROM turns"
            " WHERE dialogue = ? ORDER BY position",
            (key,),
        )
        scores = self._rows("SELECT name, value, state, reason FROM scores WHERE dialogue = ? ORDER BY name", (key,))
        said = f"SELECT {', '.join(COLUMNS)} FROM judgements WHERE dialogue = ? ORDER BY {ORDER}"
        judgements = self._rows(said, (key,)) if judged else []
        return Record(
            label,
            Dialogue(opening.problem, turns_from_rows(turns), opening.seed, opening.stop),
            {name: Score(value, state, reason) for name, value, state, reason in scores},
            tuple(map(judgement_from_row, judgements)),
        )

    def _judged(self) -> bool:
        """Whether this file knows of judgements; one of an older schema does not."""
        with store.explained(self.folder):
            return self._db.table_exists(None, "judgements")

    def _only(self, statement: str, bindings: tuple[Any, ...]) -> int:
        return int(self._rows(statement, bindings)[0][0])

    def _rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        self.flush()
        with store.explained(self.folder):
            return list(self._db.execute(statement, bindings))

    def _post(self, work: Callable[[apsw.Connection], object]) -> None:
        if self._writer is None:
            raise RunError(f"{self.folder} was opened to be read only")
        self._writer.post(work)

    def _grew(self) -> None:
        self._waiting += 1
        if self._waiting >= GROUP or time.monotonic() - self._committed > GROUP_SECONDS:
            self.flush()
