"""How often a student solves problems alone, kept on disk.

For a student model that is the dear part of choosing problems: thousands of problems, dozens of attempts each. So
every mark is written down as soon as it is there, in JSON lines, and read again by the next run with the same student:
a killed run goes on, and another band costs nothing. A problem that the student's server refuses has no mark, and is
asked again by the next run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from diotima.classroom.exam import Examinee, Paper, mark_all
from diotima.classroom.lesson import side_by_side
from diotima.classroom.teach import complain_of, stop_if_most_are_lost
from diotima.dialogue import Dialogue, stable_seed
from diotima.errors import CallFailed, CallRefused, RunError
from diotima.models.calls import Calls
from diotima.problems.problem import Problem
from diotima.progress import Progress
from diotima.scoring.marking import Marker


def solve_alone(
    student: Examinee,
    problems: Sequence[Problem],
    attempts: int,
    seed: int,
    path: Path,
    made_of: Mapping[str, Any],
    at_once: int,
    calls: Calls,
) -> list[Paper]:
    """The marks of ``attempts`` attempts at every problem, without any lesson; those in the file at ``path`` are taken.

    ``made_of``: what decides them beside the problem. Raises RunError if the file holds something else, and ModelError
    if calls failed that may succeed another time; the other marks are kept.
    """
    papers = _open(path, made_of)
    lost = calls.conduct(_solve(student, problems, attempts, seed, path, papers, at_once, calls.note))
    complain_of([failure for failure in lost if not isinstance(failure, CallRefused)], "problem")
    return [papers[_key(problem)] for problem in problems]


async def _solve(
    student: Examinee,
    problems: Sequence[Problem],
    attempts: int,
    seed: int,
    path: Path,
    papers: dict[str, Paper],
    at_once: int,
    note: Callable[[], str],
) -> list[CallFailed]:
    """Fill in the missing papers; returns why some could not be had, which count as attempts that cannot be marked."""
    marker = Marker()
    missing = [problem for problem in problems if _key(problem) not in papers]

    lost: list[CallFailed] = []

    async def one(problem: Problem) -> tuple[Problem, Paper | CallFailed]:
        alone = Dialogue(problem, seed=stable_seed("alone", seed, problem.id))
        try:
            return problem, await mark_all(await student.attempts(problem, alone, attempts), problem.answer, marker)
        except CallFailed as failure:
            return problem, failure

    with path.open("a", encoding="utf-8") as file, Progress("solve rates", len(problems)) as progress:
        progress.resume(len(problems) - len(missing))
        async with aclosing(side_by_side(one, missing, at_once)) as solved:
            async for problem, paper in solved:
                if isinstance(paper, CallFailed):
                    lost.append(paper)
                    stop_if_most_are_lost(lost, len(papers), "problem")
                    continue
                papers[_key(problem)] = paper
                file.write(_line(_key(problem), paper))
                file.flush()
                progress.advance(note=note())
    nothing = Paper(attempts, 0, unread=attempts)
    papers |= {_key(problem): nothing for problem in missing if _key(problem) not in papers}
    return lost


def _open(path: Path, made_of: Mapping[str, Any]) -> dict[str, Paper]:
    """The marks in a file, which is begun if there is none; a last line that was cut off is dropped."""
    papers: dict[str, Paper] = {}
    if path.exists():
        try:
            text = path.read_text(encoding="utf-8")
            first, *lines = text[: text.rfind("\n")].split("\n")
            told = json.loads(first)
            papers = {values.pop("problem"): Paper(**values) for values in map(json.loads, lines)}
            other = sorted(name for name in {*told, *made_of} if told.get(name) != made_of.get(name))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise RunError(f"{path} does not hold solve rates that were made here; choose another out") from None
        if other:
            raise RunError(
                f"{path} holds solve rates with other values of {', '.join(other)}; delete it, or choose another out"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    lines = [json.dumps(made_of, ensure_ascii=False, sort_keys=True) + "\n", *map(_line, papers, papers.values())]
    unfinished.write_text("".join(lines), encoding="utf-8")
    unfinished.replace(path)
    return papers


def _key(problem: Problem) -> str:
    """The id of a problem, and a mark of what was solved under it."""
    works = [step.work for step in problem.steps]
    return f"{problem.id} {stable_seed(problem.question, problem.answer, *works):016x}"


def _line(key: str, paper: Paper) -> str:
    values = {"problem": key, "attempts": paper.attempts, "solved": paper.solved, "unread": paper.unread}
    return json.dumps(values, ensure_ascii=False) + "\n"
