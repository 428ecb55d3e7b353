"""People's ratings of tutor turns: EULER's human file, MRBench, and files of one's own, told apart by their content.

A file of one's own (.jsonl, .json with a list, .csv, .tsv, .parquet) has one row for each turn that one person rated:

| columns | meaning |
|---|---|
| ``messages`` or ``conversation`` | all that was said, the rated turn last: a list of ``{role, content}``, or a text |
| ``history`` and ``response`` | instead: what was said before, and the rated turn |
| ``tutor``, ``rater`` | who gave the turn and who rated it; may be missing |
| ``question``, ``answer``, ``solution``, ``id`` | the problem; may be missing |
| every other column | a criterion: a label, or a whole number; empty where the person gave none |

A text of a conversation has its speakers at the beginnings of lines, ``Student: ...``. Several people's ratings of one
turn are several rows.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from diotima.corpus import euler, mrbench
from diotima.corpus.conversations import (
    ABOUT,
    CONVERSATIONS,
    HISTORY,
    conversation,
    has,
    merged,
    problem_about,
    read_list,
    turn_of,
    with_text_seed,
)
from diotima.corpus.rated import Rated, label_of
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.formats import text_of
from diotima.problems.rows import READERS, Row, read_rows

__all__ = ["Rated", "read_ratings"]

RESPONSE: Final = "response"
WHO: Final = ("tutor", "rater")


def read_ratings(path: Path) -> list[Rated]:
    """All ratings of a file, in order. Raises ProblemFileError with file, line and field; nothing is read by half."""
    rows = iter(rows_of(path))
    first = next(rows, None)
    if first is None:
        raise ProblemFileError(f"{path} holds no ratings")
    if all(name in first.fields for name in mrbench.COLUMNS):
        return mrbench.read_mrbench(path)
    if all(name in first.fields for name in euler.HUMAN_COLUMNS):
        return euler.read_human(path)
    rated = []
    for row in (first, *rows):
        try:
            rated.append(_own(row.fields, path.stem))
        except ProblemFileError as error:
            raise ProblemFileError(f"{path}, {row.place}: {error}") from None
    return rated


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a file of conversations, each with its place. Raises ProblemFileError."""
    if not path.is_file() or path.suffix.lower() not in READERS:
        raise ProblemFileError(f"{path}: there is no such file, or it does not end in {', '.join(READERS)}")
    if path.suffix.lower() != ".json":
        yield from read_rows(path)
        return
    for number, item in enumerate(read_list(path), 1):
        if not isinstance(item, dict):
            raise ProblemFileError(f"{path}, item {number}: must be an object with fields, not {type(item).__name__}")
        yield Row(f"item {number}", item)


def _own(fields: Mapping[str, Any], source: str) -> Rated:
    *turns, last = _turns(fields)
    if last.speaker != TUTOR or not turns:
        raise ProblemFileError("the rated turn must be the tutor's, the last one, with something said before it")
    labels = {name: label for name in fields if _is_criterion(name) and (label := label_of(fields, name)) is not None}
    if not labels:
        raise ProblemFileError("there is no rating: give a column for each criterion, named as in the rubric")
    tutor, rater = (text_of(fields, name, number=True) if has(fields, name) else "" for name in WHO)
    dialogue = Dialogue(problem_about(fields, turns[0], source), (*merged(turns), last))
    return Rated(with_text_seed(dialogue), tutor, labels, rater)


def _turns(fields: Mapping[str, Any]) -> tuple[Turn, ...]:
    whole = [name for name in CONVERSATIONS if has(fields, name)]
    if whole:
        return conversation(fields, whole[0])
    missing = [name for name in (HISTORY, RESPONSE) if not has(fields, name)]
    if missing:
        raise ProblemFileError(
            f"the field {missing[0]} is missing or empty; a row needs {' or '.join(CONVERSATIONS)}, or "
            f"{HISTORY} and {RESPONSE}; its fields are {', '.join(list(fields)[:12])}"
        )
    return (*conversation(fields, HISTORY), turn_of(TUTOR, text_of(fields, RESPONSE)))


def _is_criterion(name: str) -> bool:
    return name not in (*CONVERSATIONS, HISTORY, RESPONSE, *WHO, *ABOUT)
