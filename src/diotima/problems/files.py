"""Problems in files of diotima's own form: JSON lines, one problem each, with steps and sibling.

A file is read whole or not at all: what is wrong is told with file, line and field.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from diotima.errors import ProblemFileError
from diotima.problems.problem import Problem, Step

_NEEDED = ("id", "question", "answer")


def problem_to_json(problem: Problem) -> str:
    """A problem with its steps and its sibling as canonical JSON, on one line."""
    return json.dumps(asdict(problem), ensure_ascii=False, sort_keys=True)


def problem_from_json(text: str) -> Problem:
    """The inverse of `problem_to_json`. Raises ProblemFileError with the field that is wrong."""
    try:
        return _problem(json.loads(text))
    except json.JSONDecodeError as error:
        raise ProblemFileError(f"not valid JSON ({error.msg} at character {error.pos})") from None


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


def split_file(path: Path, split: str) -> Path:
    """The file of one split if ``path`` is a folder with train.jsonl and test.jsonl, else ``path`` itself."""
    return path / f"{split}.jsonl" if path.is_dir() else path


def read_problems(path: Path) -> list[Problem]:
    """All problems of a file. Raises ProblemFileError with file, line and field."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ProblemFileError(
            f"there is no file of problems {path}; make one with: diotima sandbox problems"
        ) from None
    except UnicodeDecodeError as error:
        raise ProblemFileError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ProblemFileError(f"{path} cannot be read ({error.strerror})") from None
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    # JSON leaves separators such as U+2028 as they are inside a text, so only a line feed ends a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            problem = problem_from_json(line)
        except ProblemFileError as error:
            raise ProblemFileError(f"{path}, line {number}: {error}") from None
        if problem.id in seen:
            raise ProblemFileError(f"{path}, line {number}: the id {problem.id} stands on line {seen[problem.id]} too")
        seen[problem.id] = number
        problems.append(problem)
    if not problems:
        raise ProblemFileError(f"{path} holds no problems")
    return problems


def _problem(values: Any) -> Problem:
    _check(values, Problem, _NEEDED, "a problem")
    steps, sibling = values.get("steps") or [], values.get("sibling")
    if not isinstance(steps, list):
        raise ProblemFileError("the field steps must be a list")
    for step in steps:
        _check(step, Step, ("work", "result"), "a step")
    rest = {name: value for name, value in values.items() if name not in ("steps", "sibling")}
    # Many a data set has steps without sub-questions.
    told = tuple(Step(**{"question": ""} | step) for step in steps)
    return Problem(**rest, steps=told, sibling=_problem(sibling) if sibling else None)


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
