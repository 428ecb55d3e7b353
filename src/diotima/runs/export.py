"""A run as tables that ``datasets`` reads back: lessons as dialogues, what judges said of them, and calls to endpoints.

The columns and their types are fixed here, whatever is in the first rows: ragged JSON lines, or a column that begins
with a thousand empty cells, are what readers break on. So no lesson's cell is empty in the sense of null, what varies
from run to run (scores, parameters) is JSON as text, and only figures of calls may be missing: their types stand in the
card, by which a folder is read.

Rows go through page by page, at flat memory. A file has its name only when it is whole and on the disk.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import apsw

from diotima.dialogue import TUTOR
from diotima.runs.durable import whole_file
from diotima.runs.judgements import ORDER
from diotima.runs.lessons import PAGE, Lesson
from diotima.runs.status import without_credentials
from diotima.score import Score

Format = Literal["parquet", "jsonl"]
Row = Mapping[str, Any]

LESSON_COLUMNS = {
    "lesson": "int64",
    "label": "string",
    "problem_id": "string",
    "source": "string",
    "question": "string",
    "answer": "string",
    "sibling_question": "string",
    "sibling_answer": "string",
    "seed": "int64",
    "stop": "string",
    "messages": "messages",
    "thoughts": "strings",
    "scores": "string",
}
"""``sibling_question`` and ``sibling_answer`` are "" where there is none; ``thoughts`` has one for each message."""

JUDGEMENT_COLUMNS = {
    "lesson": "int64",
    "rubric": "string",
    "rubric_fingerprint": "string",
    "judge": "string",
    "position": "int64",
    "sample": "int64",
    "against": "string",
    "order": "string",
    "state": "string",
    "labels": "string",
    "reason": "string",
    "asks": "int64",
}
"""``lesson`` is that of the dialogues; ``position`` an index in its messages, -1 for the whole; ``labels`` JSON."""

CALL_COLUMNS = {
    "call": "int64",
    "key": "string",
    "attempt": "int64",
    "model": "string",
    "served": "string",
    "sample": "int64",
    "parameters": "string",
    "state": "string",
    "reserved_cost": "int64",
    "reserved_tokens": "int64",
    "sent": "float64",
    "ended": "float64",
    "status": "int64",
    "provider_id": "string",
    "prompt_tokens": "int64",
    "cached_tokens": "int64",
    "reply_tokens": "int64",
    "reasoning_tokens": "int64",
    "cost": "int64",
    "reason": "string",
}
"""Costs in millionths of a dollar, times in seconds since 1970."""

ANSWER = {"answer": "string"}


class Table(Protocol):
    """Where the rows of one table go."""

    def write(self, rows: Sequence[Row]) -> None:
        """Append a page."""
        ...

    def close(self) -> None:
        """End the file."""
        ...


class _JsonLines:
    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, rows: Sequence[Row]) -> None:
        self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        types = {
            "int64": pyarrow.int64(),
            "float64": pyarrow.float64(),
            "string": pyarrow.string(),
            "strings": pyarrow.list_(pyarrow.string()),
            "messages": pyarrow.list_(pyarrow.struct({"role": pyarrow.string(), "content": pyarrow.string()})),
        }
        self._schema = pyarrow.schema({name: types[kind] for name, kind in columns.items()})
        self._batch = pyarrow.RecordBatch
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.write_batch(self._batch.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_TABLES: dict[Format, Callable[[Path, Mapping[str, str]], Table]] = {"parquet": _Parquet, "jsonl": _JsonLines}


def write_table(
    folder: Path, name: str, formats: Iterable[Format], columns: Mapping[str, str], rows: Iterator[Row]
) -> int:
    """Write all rows to ``folder/name.FORMAT`` in every format; returns how many."""
    count = 0
    with ExitStack() as stack:
        tables = []
        for format in formats:
            part = stack.enter_context(whole_file(folder / f"{name}.{format}"))
            table = _TABLES[format](part, columns)
            stack.callback(table.close)
            tables.append(table)
        while page := list(islice(rows, PAGE)):
            count += len(page)
            for table in tables:
                table.write(page)
    return count


def features(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """The columns as a card's front matter names them for ``datasets``."""
    message = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    kinds: dict[str, dict[str, Any]] = {"strings": {"list": "string"}, "messages": {"list": message}}
    return [{"name": name} | kinds.get(kind, {"dtype": kind}) for name, kind in columns.items()]


class Tally:
    """Counts lessons as they go by: ``labels`` and ``sources`` of their problems, ``scores`` by name and state."""

    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.scores: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def count(self, lessons: Iterable[Lesson]) -> Iterator[Lesson]:
        """The same lessons, counted."""
        for lesson in lessons:
            self.labels[lesson.record.label] += 1
            self.sources[lesson.record.dialogue.problem.source] += 1
            for name, score in lesson.record.scores.items():
                self.scores[name][score.state] += 1
            yield lesson


def lesson_row(lesson: Lesson) -> Row:
    """One lesson as a row of the dialogues."""
    record, dialogue = lesson.record, lesson.record.dialogue
    problem = dialogue.problem
    return {
        "lesson": lesson.number,
        "label": without_credentials(record.label),
        "problem_id": problem.id,
        "source": problem.source,
        "question": problem.question,
        "answer": problem.answer,
        "sibling_question": problem.sibling.question if problem.sibling else "",
        "sibling_answer": problem.sibling.answer if problem.sibling else "",
        "seed": dialogue.seed,
        "stop": dialogue.stop,
        "messages": [
            {"role": "assistant" if turn.speaker == TUTOR else "user", "content": turn.text} for turn in dialogue.turns
        ],
        "thoughts": [turn.thought for turn in dialogue.turns],
        "scores": json.dumps({name: _plain(score) for name, score in record.scores.items()}, ensure_ascii=False),
    }


def _plain(score: Score) -> dict[str, Any]:
    # By hand: `asdict` copies every value deeply, which took a third of an export's time.
    return {"value": score.value, "state": score.state, "reason": score.reason}


def judgement_rows(db: apsw.Connection, until: int) -> Iterator[Row]:
    """What judges said about the lessons with numbers up to ``until``, as rows in the order of the lessons."""
    stored = ", ".join(
        "dialogue" if name == "lesson" else "placed" if name == "order" else name for name in JUDGEMENT_COLUMNS
    )
    question = f"SELECT {stored} FROM judgements WHERE dialogue = ? ORDER BY {ORDER}"
    for number in range(1, until + 1):
        for values in db.execute(question, (number,)):
            row = dict(zip(JUDGEMENT_COLUMNS, values, strict=True))
            yield row | {name: without_credentials(row[name]) for name in ("judge", "against", "reason")}


def call_rows(db: apsw.Connection, until: int, answers: bool) -> Iterator[Row]:
    """The calls with row numbers up to ``until``, as rows; with ``answers`` their raw bodies, as text."""
    stored = ", ".join("hex(key)" if name == "key" else "id" if name == "call" else name for name in CALL_COLUMNS)
    columns = {**CALL_COLUMNS, **(ANSWER if answers else {})}
    question = (
        f"SELECT {stored}{', answer' if answers else ''} FROM calls WHERE id > ? AND id <= ? ORDER BY id LIMIT {PAGE}"
    )
    last = 0
    while page := list(db.execute(question, (last, until))):
        for values in page:
            row = dict(zip(columns, values, strict=True))
            row["key"] = row["key"].lower()
            if answers:
                row["answer"] = (row["answer"] or b"").decode(errors="replace")
            yield row
        last = page[-1][0]
