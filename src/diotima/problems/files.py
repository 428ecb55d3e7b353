"""Problems in files: diotima's own form, which is written and read here, and other people's, see `formats`.

Own files are JSON lines, one problem each, with steps and sibling, and nothing else may stand there: a misspelt field
is an error. A set is read whole or not at all; what is wrong is told with file, line and field. Here, and nowhere
else, problems whose steps can be carried out get their siblings.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from diotima.errors import ProblemFileError
from diotima.problems.formats import PLAIN, content_id, form_of, has_final_mark, same_text
from diotima.problems.hub import HUB, hub_rows
from diotima.problems.numbers import parse_number
from diotima.problems.problem import Problem, Step
from diotima.problems.rows import READERS, parse_json, read_rows
from diotima.problems.siblings import sibling_of
from diotima.problems.solutions import executable
from diotima.progress import Progress

_NEEDED = ("id", "question", "answer")


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """The different problems of a set, in order, and the number of rows that they were read from."""

    problems: list[Problem]
    rows: int


def problem_to_json(problem: Problem) -> str:
    """A problem with its steps and its sibling as canonical JSON, on one line."""
    return json.dumps(asdict(problem), ensure_ascii=False, sort_keys=True)


def problem_from_json(text: str) -> Problem:
    """The inverse of `problem_to_json`. Raises ProblemFileError with the field that is wrong.

    Question and answer may be empty, as they are where a conversation is kept and its problem is not known.
    """
    return _problem(parse_json(text), needed=("id",))


def write_problems(problems: Iterable[Problem], path: Path) -> int:
    """Write a file of problems whole or not at all; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    count = 0
    with unfinished.open("w", encoding="utf-8") as file:
        for problem in problems:
            file.write(problem_to_json(problem) + "\n")
            count += 1
    unfinished.replace(path)
    return count


def read_problems(source: str | Path, split: str = "train", columns: Mapping[str, str] | None = None) -> list[Problem]:
    """All problems of a set, with siblings; says on standard error if rows of it were repeated.

    Arguments and errors as in `read_set`.
    """
    found = read_set(source, split, columns)
    if len(found.problems) < found.rows:
        print(f"{source}: {found.rows:,} rows are {len(found.problems):,} different problems", file=sys.stderr)
    return with_siblings(found.problems)


def read_set(source: str | Path, split: str = "train", columns: Mapping[str, str] | None = None) -> ProblemSet:
    """All problems of a file, a folder with a file for each split, or ``hf:NAME``; with no siblings but stored ones.

    ``columns``: which column stands for what, where its name does not say so: ``{"question": "text"}``. Rows that
    repeat a problem are counted. Raises ProblemFileError with file, line and field; nothing is read by half.
    """
    if str(source).startswith(HUB):
        rows, name = hub_rows(str(source), split), str(source).removeprefix(HUB)
    else:
        source = split_file(Path(source), split)
        rows, name = read_rows(source), source.stem
    read: Callable[[dict[str, Any]], Problem] | None = None
    seen: dict[str, tuple[str, Problem]] = {}
    count = 0
    for row in rows:
        count += 1
        try:
            read = read or _reader(row.fields, columns or {}, name)
            problem = read(row.fields)
            if problem.id in seen:
                _check_repeated(problem, *seen[problem.id], own=read is _own)
        except ProblemFileError as error:
            raise ProblemFileError(f"{source}, {row.place}: {error}") from None
        seen.setdefault(problem.id, (row.place, problem))
    if not seen:
        raise ProblemFileError(f"{source} holds no problems")
    return ProblemSet([problem for _, problem in seen.values()], count)


def split_file(path: Path, split: str) -> Path:
    """The file of one split if ``path`` is a folder with train.jsonl, test.csv or the like, else ``path`` itself."""
    if not path.is_dir():
        return path
    found = [file for suffix in READERS if (file := path / f"{split}{suffix}").is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ProblemFileError(f"{path} holds {' and '.join(file.name for file in found)}; name the one you mean")
    others = sorted(file.name for file in path.iterdir() if file.suffix.lower() in READERS)
    raise ProblemFileError(
        f"{path} holds no {split}.jsonl (or {', '.join(list(READERS)[1:])}); it holds "
        f"{', '.join(others[:8]) or 'none'}; name the file you mean"
    )


def with_siblings(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, each with a sibling where it has none yet and one can be made."""
    complete = []
    with Progress("siblings", len(problems)) as progress:
        for problem in problems:
            can_be_made = problem.sibling is None and executable(problem)
            complete.append(replace(problem, sibling=sibling_of(problem)) if can_be_made else problem)
            progress.advance()
    return complete


def _reader(fields: dict[str, Any], columns: Mapping[str, str], name: str) -> Callable[[dict[str, Any]], Problem]:
    steps = fields.get("steps")
    has_steps = isinstance(steps, list) and steps != [] and isinstance(steps[0], dict)
    ours = (isinstance(fields.get("id"), str) or has_steps) and "question" in fields
    if ours and not columns and not has_final_mark(fields.get("answer")):
        return _own
    return form_of(fields, columns, name).problem


def _check_repeated(problem: Problem, place: str, earlier: Problem, *, own: bool) -> None:
    """Raises ProblemFileError unless the two are one problem."""
    if own or not same_text(problem.question, earlier.question):
        raise ProblemFileError(f"the id {problem.id} stands on {place} too")
    value = parse_number(problem.answer)
    if problem.answer != earlier.answer and (value is None or value != parse_number(earlier.answer)):
        raise ProblemFileError(
            f"the question of {place} again, but with the answer {problem.answer[:40]!r}, not {earlier.answer[:40]!r}; "
            "delete the wrong one"
        )


def _own(values: dict[str, Any]) -> Problem:
    question = values.get("question")
    if "id" not in values and values.get("steps") and isinstance(question, str):
        values = {"id": content_id(PLAIN, question)} | values
    return _problem(values)


def _problem(values: Any, needed: Iterable[str] = _NEEDED) -> Problem:
    _check(values, Problem, needed, "a problem")
    steps, sibling = values.get("steps") or [], values.get("sibling")
    if not isinstance(steps, list):
        raise ProblemFileError("the field steps must be a list")
    for step in steps:
        _check(step, Step, ("work", "result"), "a step")
    rest = {name: value for name, value in values.items() if name not in ("steps", "sibling")}
    # Many a data set has steps without sub-questions.
    told = tuple(Step(**{"question": ""} | step) for step in steps)
    if sibling:
        sibling = _problem(sibling)
        # By its id an exam tells the sibling from the problem of the lesson.
        if sibling.id == values["id"] or sibling.sibling:
            raise ProblemFileError("the field sibling must be another problem, with an id and no sibling of its own")
    return Problem(**rest, steps=told, sibling=sibling or None)


def _check(values: Any, kind: type, needed: Iterable[str], what: str) -> None:
    if not isinstance(values, dict):
        raise ProblemFileError(f"{what} must be an object with fields, not {type(values).__name__}")
    known = {field.name for field in fields(kind)}
    for name in needed:
        if not values.get(name):
            raise ProblemFileError(f"the field {name} is missing or empty")
    for name, value in values.items():
        if name not in known:
            raise ProblemFileError(f"{name} is not a field of {what}; it has {', '.join(sorted(known))}")
        if name not in ("steps", "sibling") and not isinstance(value, str):
            raise ProblemFileError(f"the field {name} must be text, not {type(value).__name__}")
