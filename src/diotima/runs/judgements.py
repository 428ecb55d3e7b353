"""Judgements as rows and back, and the texts of the rubrics they were made under.

A judgement keeps what the judge said, not what it counts: measures are worked out again from the labels whenever they
are wanted, with the rubric's text that lies in the run's folder. So verdicts of years ago can be read and weighed anew
although the package's rubrics have changed, and no judge is asked for it.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from diotima.runs.durable import write_text
from diotima.score import Judgement

RUBRICS = "rubrics"
"""The folder inside a run's with the texts of its rubrics."""
TABLE = "judgements"
COLUMNS = (
    "rubric", "rubric_fingerprint", "judge", "position", "sample", "against", "placed", "state", "labels", "reason",
    "asks",
)  # fmt: skip
"""The stored columns of a judgement, in the table's order, after its dialogue's number."""
ORDER = "rubric, rubric_fingerprint, judge, position, sample, against, placed"
"""How the judgements of one dialogue are ordered."""


def insert_judgements(db: apsw.Connection, dialogue: int, judgements: Iterable[Judgement]) -> None:
    """Store what judges said about a dialogue, which is given by its number; in the caller's transaction."""
    db.executemany(
        f"INSERT INTO {TABLE} VALUES (?{', ?' * len(COLUMNS)})",
        [
            (
                dialogue, one.rubric, one.rubric_fingerprint, one.judge, one.position, one.sample, one.against,
                one.order, one.state, json.dumps(dict(one.labels), ensure_ascii=False), one.reason, one.asks,
            )
            for one in judgements
        ],
    )  # fmt: skip


def judgement_from_row(row: Iterable[Any]) -> Judgement:
    """The judgement in a row of `COLUMNS`."""
    rubric, fingerprint, judge, position, sample, against, order, state, labels, reason, asks = row
    return Judgement(
        rubric, fingerprint, judge, position, sample, state, json.loads(labels), reason, asks, against, order
    )


def judgement_count(db: apsw.Connection, until: int) -> int:
    """How many judgements there are of the dialogues numbered up to ``until``; a file of an older schema has none."""
    if not db.table_exists(None, TABLE):
        return 0
    return int(db.execute(f"SELECT count(*) FROM {TABLE} WHERE dialogue <= ?", (until,)).get)


def keep_rubric(folder: Path, name: str, fingerprint: str, text: str) -> None:
    """Put a rubric's whole file into a run's folder, once. Raises OSError."""
    path = _path(folder, name, fingerprint)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_text(path, text)


def kept_rubric(folder: Path, name: str, fingerprint: str) -> Path | None:
    """The file of a rubric as this run used it, None if it is not there."""
    path = _path(folder, name, fingerprint)
    return path if path.is_file() else None


def _path(folder: Path, name: str, fingerprint: str) -> Path:
    return folder / RUBRICS / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'rubric'}-{fingerprint}.md"
