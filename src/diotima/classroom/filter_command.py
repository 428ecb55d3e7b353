"""`diotima problems filter`: keep the problems that a student can learn something on.

    diotima problems filter hf:openai/gsm8k:main --solve-rate 0.01-0.60 --student hf/Qwen/Qwen2.5-0.5B-Instruct \\
        --attempts 64 --out band.jsonl

A problem that is always solved leaves nothing to teach, and one that is never solved may be beyond the student (or its
reference answer wrong). PedagogicalRL (Dinucu-Jianu et al. 2025) trains on problems that its student solves in 1 to
60 % of 64 attempts; the band belongs to the student, so it is measured for the one at hand, without any lesson.

The kept problems are written in diotima's own form, with steps and siblings. Beside them lie the figures (``.json``)
and the marks of all problems (``.rates.jsonl``), see `solve_rates`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from diotima.classroom.casting import LEARNER, StudentSettings, as_recorded, cast_student, student_fingerprints
from diotima.classroom.exam import Paper
from diotima.classroom.learner import Learner
from diotima.classroom.solve_rates import solve_alone
from diotima.classroom.students import Student
from diotima.errors import ProblemFileError, SettingsError
from diotima.models.calls import Calls
from diotima.problems.files import with_siblings, write_problems
from diotima.problems.list_command import table
from diotima.problems.problem import Problem
from diotima.problems.solutions import executable
from diotima.problems.source import SourceSettings
from diotima.runs.manifest import write_json
from diotima.runs.run import Run

if TYPE_CHECKING:
    from rich.console import Console

_BAND = re.compile(r"\s*(\d*\.?\d+)\s*-\s*(\d*\.?\d+)\s*")


class Settings(SourceSettings, StudentSettings):
    """What is kept."""

    out: Path
    """File for the problems that are kept, .jsonl."""
    solve_rate: str | None = None
    """Keep problems whose solve rate lies in this band, both ends included: 0.01-0.60."""
    attempts: PositiveInt = 64
    """Attempts of the student at each problem."""
    executable: bool = False
    """Keep only problems whose steps can be carried out and give the answer."""
    with_sibling: bool = False
    """Keep only problems with a sibling."""
    seed: int = 0
    """Seed of the attempts."""
    at_once: PositiveInt = 16
    """Problems that are tried at the same time, with all their attempts."""


def run(settings: Settings) -> Path:
    """Print what was kept and why not the rest, and write it; returns the file of problems.

    Raises ProblemFileError if nothing is kept; then nothing is written but the marks.
    """
    from rich.console import Console

    band = _band(settings)
    problems = settings.read().problems
    calls = Calls(settings)
    student = None if band is None else cast_student(settings, calls)
    left_out: Counter[str] = Counter()
    kept = _usable(problems, settings, isinstance(student, Learner), left_out)
    papers: list[Paper] = []
    if band is not None and student is not None and kept:
        papers = _papers(student, kept, settings, calls)
        kept = _within(kept, papers, band, left_out)
    if not kept:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in (+left_out).items())
        raise ProblemFileError(f"{settings.problems}: none of its {len(problems):,} problems is kept: {reasons}")
    write_problems(kept, settings.out)
    figures = {"problems": len(problems), "kept": len(kept), "left_out": dict(+left_out), **_rates(papers)}
    write_json(settings.out.with_suffix(".json"), figures)
    _print(figures, Console(highlight=False))
    return settings.out


def _band(settings: Settings) -> tuple[float, float] | None:
    """The ends of the band. Raises SettingsError if it is none, or nothing is to be chosen by at all."""
    out = settings.out
    if out.suffix != ".jsonl":
        raise SettingsError(f"out = {out}: problems are written as JSON lines; let its name end in .jsonl")
    if Path(settings.problems).absolute() in (out.absolute(), out.with_suffix(".json").absolute()):
        raise SettingsError(f"out = {out}: that would write over {settings.problems}; choose another name")
    if settings.solve_rate is None:
        if not (settings.executable or settings.with_sibling):
            raise SettingsError("say what to keep: --solve-rate 0.01-0.60, --executable or --with-sibling")
        return None
    found = _BAND.fullmatch(settings.solve_rate)
    low, high = map(float, found.groups()) if found else (1.0, 0.0)
    if not low <= high <= 1:
        raise SettingsError(f"solve_rate = {settings.solve_rate}: must be a band in 0 to 1, such as 0.01-0.60")
    return low, high


def _usable(problems: Sequence[Problem], settings: Settings, by_steps: bool, left_out: Counter[str]) -> list[Problem]:
    """The problems, with siblings, that may be kept; ``by_steps``: the student goes step by step."""
    usable = list(problems)
    if settings.executable or by_steps:
        usable = [problem for problem in usable if executable(problem)]
        left_out["cannot be worked out step by step"] = len(problems) - len(usable)
    usable = with_siblings(usable)
    if settings.with_sibling:
        others = [problem for problem in usable if problem.sibling is None]
        usable = [problem for problem in usable if problem.sibling is not None]
        left_out["have no sibling"] = len(others)
    return usable


def _papers(student: Student, problems: Sequence[Problem], settings: Settings, calls: Calls) -> list[Paper]:
    """The marks of every problem; calls to endpoints are booked in a run beside the marks."""
    rates, made_of = settings.out.with_suffix(".rates.jsonl"), _made_of(settings, calls)
    with ExitStack() as stack:
        if calls.lines:
            books = settings.out.with_suffix(".calls")
            calls.keep_books_in(
                stack.enter_context(Run.create(books, stage="solve rates", settings=made_of, seed=settings.seed))
            )
        return solve_alone(student, problems, settings.attempts, settings.seed, rates, made_of, settings.at_once, calls)


def _made_of(settings: Settings, calls: Calls) -> dict[str, Any]:
    """What decides the marks of a student, in terms of JSON."""
    whose = "learner_" if settings.student == LEARNER else "student_"
    values = as_recorded(settings, settings.model_dump(mode="json"))
    named = {name: value for name, value in values.items() if name.startswith(whose)}
    if settings.student != LEARNER:
        named["solution_max_tokens"] = settings.solution_max_tokens
    return {
        **named,
        **student_fingerprints(settings, calls),
        **{name: values[name] for name in ("student", "attempts", "seed", "extra", "kind") if name in values},
    }


def _within(
    problems: Sequence[Problem], papers: Sequence[Paper], band: tuple[float, float], left_out: Counter[str]
) -> list[Problem]:
    """The problems whose solve rate lies in the band."""
    low, high = band
    kept = []
    for problem, paper in zip(problems, papers, strict=True):
        if paper.rate is None:
            left_out["have no attempt that could be marked"] += 1
        elif paper.rate < low:
            left_out["are solved too rarely"] += 1
        elif paper.rate > high:
            left_out["are solved too often"] += 1
        else:
            kept.append(problem)
    return kept


def _rates(papers: Sequence[Paper]) -> dict[str, Any]:
    """Figures about solve rates: never, always, and tenths between, in which the lower end counts."""
    rates = [paper.rate for paper in papers if paper.rate is not None]
    if not rates:
        return {}
    between = Counter(int(rate * 10) for rate in rates if 0 < rate < 1)
    histogram = {f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}": between[tenth] for tenth in range(10)}
    return {
        "mean_solve_rate": sum(rates) / len(rates),
        "attempts": sum(paper.attempts for paper in papers),
        "unread_attempts": sum(paper.unread for paper in papers),
        "solve_rates": {"never": rates.count(0), **histogram, "always": rates.count(1)},
    }


def _print(figures: Mapping[str, Any], console: "Console") -> None:
    if "solve_rates" in figures:
        rows = table("Solve rate", "Problems", "")
        most = max(figures["solve_rates"].values())
        for name, count in figures["solve_rates"].items():
            rows.add_row(name, f"{count:,}", "█" * round(40 * count / most))
        console.print(rows)
        unread, attempts = figures["unread_attempts"], figures["attempts"]
        console.print(f"mean {figures['mean_solve_rate']:.1%}; {unread:,} of {attempts:,} attempts could not be marked")
    for reason, count in figures["left_out"].items():
        console.print(f"{count:,} {reason}")
    console.print(f"{figures['kept']:,} of {figures['problems']:,} problems are kept")
