"""Rows of a file, each with its place: JSON lines, a JSON list, CSV, Parquet.

What is wrong is told with file and line (row, item). Nothing is guessed on the way: no encoding but UTF-8, no missing
header, no row with too few cells, no line that ends in the middle. A file is a stranger's, so what one field may hold
is bounded.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diotima.errors import ProblemFileError

LONGEST_FIELD = 131_072
"""The most characters of one field, which is the csv module's limit too."""


@dataclass(frozen=True, slots=True)
class Row:
    """The named fields of one row, and where they stand: ``line 3``."""

    place: str
    fields: dict[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """All rows of a file, by its suffix. Raises ProblemFileError with file and line."""
    if not path.exists():
        raise ProblemFileError(f"there is no file of problems {path}; make one with: diotima sandbox problems")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ProblemFileError(f"{path}: problems are read from files that end in {', '.join(READERS)}")
    try:
        yield from reader(path)
    except OSError as error:
        raise ProblemFileError(f"{path} cannot be read ({error.strerror or error})") from None


def parse_json(text: str) -> Any:
    """A JSON value, without the liberties that Python's reader takes. Raises ProblemFileError."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ProblemFileError("not valid Unicode (half of a surrogate pair, such as \\ud83d, stands alone)") from None
    except RecursionError:
        raise ProblemFileError("not valid JSON for us (nested too deeply)") from None
    except json.JSONDecodeError as error:
        raise ProblemFileError(f"not valid JSON ({error.msg.removesuffix(' at')} at character {error.pos})") from None
    except ValueError as error:
        reason = "a number with thousands of digits" if "digits" in str(error) else error
        raise ProblemFileError(f"not valid JSON ({reason})") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(name for name in names if names.count(name) > 1)} stands there twice")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _json_lines(path: Path) -> Iterator[Row]:
    # JSON leaves separators such as U+2028 as they are inside a text, so only a line feed ends a line.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            place = f"line {number}"
            text = _decoded(line, path, number)
            if not text.strip():
                continue
            try:
                values = parse_json(text.rstrip())
            except ProblemFileError as error:
                torn = "" if line.endswith(b"\n") else "; the file ends here: if it was cut off, get it again"
                raise ProblemFileError(f"{path}, {place}: {error}{torn}") from None
            yield _row(path, place, values)


def _json_list(path: Path) -> Iterator[Row]:
    text = _decoded(path.read_bytes(), path, 1)
    try:
        items = parse_json(text)
    except ProblemFileError as error:
        lines = "; if it has one object a line, name it .jsonl" if "(Extra data" in str(error) else ""
        raise ProblemFileError(f"{path}: {error}{lines}") from None
    if not isinstance(items, list):
        raise ProblemFileError(f"{path} must hold a list of problems, not one {type(items).__name__}")
    for number, item in enumerate(items, 1):
        yield _row(path, f"item {number}", item)


def _row(path: Path, place: str, values: Any) -> Row:
    if not isinstance(values, dict):
        raise ProblemFileError(f"{path}, {place}: a problem must be an object with fields, not {type(values).__name__}")
    return Row(place, values)


def _csv(path: Path) -> Iterator[Row]:
    text = io.StringIO(_decoded(path.read_bytes(), path, 1), newline="")
    rows = csv.reader(text, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    header: list[str] = []
    before = 0
    try:
        for cells in rows:
            place, before = f"line {before + 1}", rows.line_num
            if not cells:
                continue
            if not header:
                header = _header(cells, path)
            elif len(cells) != len(header):
                raise ProblemFileError(
                    f"{path}, {place}: {len(cells)} cells, but the header (the first line) has {len(header)}; put "
                    "cells that hold a separator in double quotes, and give every line all cells"
                )
            else:
                yield Row(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        reason = f"a cell has more than {csv.field_size_limit():,} characters" if "limit" in str(error) else str(error)
        raise ProblemFileError(f"{path}, line {before + 1}: not valid CSV ({reason})") from None


def _header(cells: list[str], path: Path) -> list[str]:
    header = [cell.strip() for cell in cells]
    if len(header) == 1 and ";" in header[0]:
        raise ProblemFileError(f"{path}, line 1: the cells are separated by semicolons; save it with commas")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ProblemFileError(f"{path}, line 1: the header has two columns named {twice[:40]!r}; rename one")
    return header


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with path.open("rb") as file:
            for batch in parquet.ParquetFile(file).iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"row {number}", values)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ProblemFileError(f"{path} cannot be read as Parquet after row {number} ({reason})") from None


def _decoded(data: bytes, path: Path, line: int) -> str:
    """The text of ``data``, which begins on line ``line``."""
    if line == 1 and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ProblemFileError(f"{path} is UTF-16 text; save it as UTF-8")
    if b"\0" in data:
        line += data.count(b"\n", 0, data.index(b"\0"))
        raise ProblemFileError(f"{path}, line {line}: NUL bytes; it is damaged or not UTF-8 text; get or save it again")
    try:
        return data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise ProblemFileError(f"{path}, line {line}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json_list,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
