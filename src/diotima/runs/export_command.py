"""`diotima runs export`: a run as a data set, with a card, that ``datasets.load_dataset`` reads.

    diotima runs export runs/lessons --out exports/lessons
    diotima runs export runs/lessons --out exports/lessons --formats jsonl --answers

A run may be exported while it is written: what it holds at the start is exported. The card is written last, so a folder
without README.md is an export that was stopped; the same command makes it anew.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import pydantic

from diotima import settings as base
from diotima.errors import RunError
from diotima.progress import Progress
from diotima.runs.card import MARK, Contents, card
from diotima.runs.durable import PART, whole_file
from diotima.runs.export import (
    ANSWER,
    CALL_COLUMNS,
    JUDGEMENT_COLUMNS,
    LESSON_COLUMNS,
    Format,
    Row,
    Tally,
    call_rows,
    judgement_rows,
    lesson_row,
    write_table,
)
from diotima.runs.judgements import judgement_count
from diotima.runs.lessons import last_number, lessons_between
from diotima.runs.manifest import timestamp
from diotima.runs.status import status_of
from diotima.runs.store import explained, open_for_reading

CARD = "README.md"
TABLES = ("dialogues", "judgements", "calls")
Item = TypeVar("Item")


class Settings(base.Settings):
    """What is exported, and where to."""

    run: Path
    """Folder of the run."""
    out: Path
    """Folder of the export: a new one, an empty one, or an earlier export, which is replaced."""
    formats: Annotated[
        tuple[Format, ...],
        pydantic.BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        pydantic.Field(min_length=1),
    ] = ("parquet", "jsonl")
    """Forms of the tables: parquet, jsonl; may be given several times."""
    answers: bool = False
    """Export the raw answers of the endpoints, too."""


def run(settings: Settings) -> dict[str, Any]:
    """Write the tables and the card; returns where they are, and how many rows each has.

    Raises RunError if there is no run, or other files are in the way.
    """
    if "parquet" in settings.formats:
        import pyarrow.parquet  # noqa: F401  # known to be missing before anything is removed
    status = status_of(settings.run)
    _make_room(settings.out)
    rows, counted = {}, Tally()
    columns = {
        "dialogues": LESSON_COLUMNS,
        "judgements": JUDGEMENT_COLUMNS,
        "calls": CALL_COLUMNS | (ANSWER if settings.answers else {}),
    }
    with closing(open_for_reading(settings.run)) as db:
        with explained(settings.run), db:  # both at one moment
            lessons = last_number(db)
            judgements = judgement_count(db, lessons)
            calls = int(db.execute("SELECT coalesce(max(id), 0) FROM calls").get) if status.by_model else 0
        held = _counted(_explained(settings.run, lessons_between(db, 0, lessons)), "lessons", lessons)
        tables: dict[str, Iterator[Row]] = {"dialogues": map(lesson_row, counted.count(held))}
        if judgements:
            said = _explained(settings.run, judgement_rows(db, lessons))
            tables["judgements"] = _counted(said, "judgements", judgements)
        if calls:
            asked = _explained(settings.run, call_rows(db, calls, settings.answers))
            tables["calls"] = _counted(asked, "calls", calls)
        for name, table in tables.items():
            rows[name] = write_table(settings.out, name, settings.formats, columns[name], table)
    read = "parquet" if "parquet" in settings.formats else settings.formats[0]
    snapshot = status.state.startswith("being")
    contents = Contents(rows, {name: f"{name}.{read}" for name in rows}, columns, counted, timestamp(), snapshot)
    with whole_file(settings.out / CARD) as part:
        part.write_text(card(settings.run, status, contents), encoding="utf-8")
    told = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    print(f"{settings.out}: {told}; to read with datasets.load_dataset({str(settings.out)!r}, 'dialogues')")
    return {"out": str(settings.out), "rows": rows, "snapshot": snapshot}


def _make_room(out: Path) -> None:
    """Make the folder, and remove an earlier export from it, its card first. Raises RunError if more is in it."""
    out.mkdir(parents=True, exist_ok=True)
    ours = [CARD, *(f"{name}.{format}" for name in TABLES for format in get_args(Format))]
    ours += [name + PART for name in ours]
    others = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if not others and (out / CARD).is_file() and MARK not in (out / CARD).read_text(encoding="utf-8", errors="replace"):
        others = [CARD]
    if others:
        raise RunError(f"{out} holds other files ({', '.join(others[:5])}): choose a new folder for the export")
    for name in ours:
        (out / name).unlink(missing_ok=True)


def _explained(run: Path, rows: Iterable[Item]) -> Iterator[Item]:
    """The same rows; what goes wrong in reading them is told of the run, and not of where they go."""
    with explained(run):
        yield from rows


def _counted(rows: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    with Progress(f"export of {title}", total) as progress:
        for row in rows:
            yield row
            progress.advance()
