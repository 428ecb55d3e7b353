"""Lessons of a run by their number, as people look them up and exports read them.

A lesson's number is its place in the order of arrival: it never changes, and it is a handle, not what the lesson is.
Numbers only grow and nothing stored is changed, so "up to this number" is a snapshot that holds up no writer: pages are
read one by one, each in a moment. Token ids stay where they are; they serve training, and outweigh all texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apsw

from diotima.dialogue import Dialogue
from diotima.problems.files import problem_from_json
from diotima.runs.judgements import COLUMNS, ORDER, judgement_from_row
from diotima.runs.records import Record, TurnRow, turns_from_rows
from diotima.score import Judgement, Score

PAGE = 500  # lessons in memory at a time


@dataclass(frozen=True, slots=True)
class Lesson:
    """A stored dialogue with its scores and judgements, under its number; its turns have no tokens."""

    number: int
    record: Record


def last_number(db: apsw.Connection) -> int:
    """The highest number, 0 in an empty run."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM dialogues").get)


def lessons_between(db: apsw.Connection, after: int, until: int) -> Iterator[Lesson]:
    """Lessons with numbers above ``after`` up to ``until``, in their order, at flat memory."""
    while page := _page(db, after, until):
        yield from page
        after = page[-1].number


def lesson(db: apsw.Connection, number: int) -> Lesson | None:
    """The lesson of that number, or None."""
    return next(iter(_page(db, number - 1, number)), None)


def numbers_about(db: apsw.Connection, problem_id: str, labels: Sequence[str]) -> list[int]:
    """The numbers of all lessons about one problem under these labels."""
    question = "SELECT id FROM dialogues WHERE label = ? AND problem_id = ? ORDER BY seed"
    return [number for label in labels for (number,) in db.execute(question, (label, problem_id))]


def lesson_counts(db: apsw.Connection) -> dict[str, int]:
    """How many lessons every label has, in the order of the labels' first lessons."""
    return dict(db.execute("SELECT label, count(*) FROM dialogues GROUP BY label ORDER BY min(id)"))


def _page(db: apsw.Connection, after: int, until: int) -> list[Lesson]:
    heads = list(
        db.execute(
            "SELECT d.id, d.label, d.seed, d.stop, p.body FROM dialogues d JOIN problems p ON p.id = d.problem"
            " WHERE d.id > ? AND d.id <= ? ORDER BY d.id LIMIT ?",
            (after, until, PAGE),
        )
    )
    if not heads:
        return []
    page = (after, heads[-1][0])
    turns: dict[int, list[TurnRow]] = {head[0]: [] for head in heads}
    for number, *turn in db.execute(
        "SELECT dialogue, speaker, text, thought, flags, NULL, NULL, NULL, NULL FROM turns"
        " WHERE dialogue > ? AND dialogue <= ? ORDER BY dialogue, position",
        page,
    ):
        turns[number].append(tuple(turn))
    scores: dict[int, dict[str, Score]] = {head[0]: {} for head in heads}
    for number, name, value, state, reason in db.execute(
        "SELECT dialogue, name, value, state, reason FROM scores"
        " WHERE dialogue > ? AND dialogue <= ? ORDER BY dialogue, name",
        page,
    ):
        scores[number][name] = Score(value, state, reason)
    judgements: dict[int, list[Judgement]] = {head[0]: [] for head in heads}
    if db.table_exists(None, "judgements"):
        for number, *row in db.execute(
            f"SELECT dialogue, {', '.join(COLUMNS)} FROM judgements WHERE dialogue > ? AND dialogue <= ?"
            f" ORDER BY dialogue, {ORDER}",
            page,
        ):
            judgements[number].append(judgement_from_row(row))
    return [
        Lesson(
            number,
            Record(
                label, Dialogue(problem_from_json(body), spoken, seed, stop), scores[number], tuple(judgements[number])
            ),
        )
        for number, label, seed, stop, body in heads
        for spoken in [turns_from_rows(turns[number])]
    ]
