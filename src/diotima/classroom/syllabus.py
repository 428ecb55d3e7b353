"""Which problems are taught: what the settings ask for, less what this student cannot be taught.

The simulated learner goes step by step, so it needs a solution whose steps can be carried out; a student model takes
any problem. What is left out is counted and told, so that a figure never stands for problems nobody worked on.
"""

import hashlib
import sys
from collections.abc import Iterable

from pydantic import PositiveInt

from diotima.classroom.casting import LessonSettings
from diotima.classroom.learner import UNREADABLE, Learner, can_work_out
from diotima.classroom.students import Student
from diotima.errors import ProblemFileError
from diotima.problems.files import problem_to_json, with_siblings
from diotima.problems.problem import Problem
from diotima.problems.source import SourceSettings


class SyllabusSettings(SourceSettings, LessonSettings):
    """Lessons, and the problems they are about."""

    most_problems: PositiveInt | None = None
    """Use only the first so many of the problems that can be used."""


def problems_for(student: Student, settings: SyllabusSettings, with_sibling: bool = False) -> list[Problem]:
    """The problems of the settings that ``student`` can be taught, with ``with_sibling`` only those that have one.

    Raises ProblemFileError if the set cannot be read, or nothing of it is left.
    """
    found = settings.read()
    problems, most = found.problems, settings.most_problems
    if len(problems) < found.rows:
        _tell(settings, f"{found.rows:,} rows are {len(problems):,} different problems")
    if isinstance(student, Learner):
        problems = _kept([can_work_out(problem) for problem in problems], problems, settings, UNREADABLE)
    if with_sibling:
        problems = with_siblings(problems)
        problems = _kept([problem.sibling is not None for problem in problems], problems, settings, "has no sibling")
    return problems[:most] if with_sibling else with_siblings(problems[:most])


def problems_fingerprint(problems: Iterable[Problem]) -> str:
    """Twelve digits that tell these problems from others: the same file may hold others tomorrow."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(problem_to_json(problem).encode())
    return digest.hexdigest()[:12]


def _kept(usable: list[bool], problems: list[Problem], settings: SyllabusSettings, why_not: str) -> list[Problem]:
    kept = [problem for problem, keep in zip(problems, usable, strict=True) if keep]
    left_out, count = len(problems) - len(kept), len(problems)
    if not kept:
        raise ProblemFileError(
            f"{settings.problems}: none of its {count:,} problems will do: the first {why_not}; other columns may hold "
            "more (--columns.solution NAME), and a student model needs no steps (--student NAME)"
        )
    if left_out:
        _tell(settings, f"{left_out:,} of {count:,} problems are left out; the first {why_not}")
    return kept


def _tell(settings: SyllabusSettings, what: str) -> None:
    print(f"{settings.problems}: {what}", file=sys.stderr)
