"""`diotima teach`: hold lessons, score them, and keep them in a run, for training or for a look.

    diotima teach --tutor tiny --problems problems --out runs/lessons

A killed run goes on with the lessons that are missing.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import NonNegativeFloat, PositiveInt

from diotima.classroom.casting import (
    TutorSettings,
    as_recorded,
    cast_early,
    cast_fingerprints,
    cast_student,
    cast_tutor,
    furnish,
)
from diotima.classroom.dry_run import tell_costs
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.lesson import Participant, side_by_side
from diotima.classroom.students import Student
from diotima.classroom.syllabus import SyllabusSettings, problems_fingerprint, problems_for
from diotima.dialogue import Dialogue, stable_seed
from diotima.errors import CallFailed, ModelError
from diotima.models.calls import Calls
from diotima.models.services import without_urls
from diotima.problems.problem import Problem
from diotima.progress import Progress
from diotima.runs.run import GROUP_SECONDS, Run
from diotima.score import Judgement, Score, Scorer
from diotima.scoring.leakage import LeakMeter

Item = TypeVar("Item")
Scored = tuple[Dialogue, dict[str, Score]]
Judged = tuple[Dialogue, dict[str, Score], tuple[Judgement, ...]]
FEW = 20  # lost lessons that may be chance


class RunSettings(TutorSettings):
    """Where what tutors say is kept, and how they are asked."""

    out: Path
    """Folder of the run."""
    seed: int = 0
    """Seed of all that is drawn."""
    at_once: PositiveInt | None = None
    """Lessons held at the same time; by default 128, with models behind endpoints 512."""
    fork: Path | None = None
    """Another run whose answered calls are taken over where they are still the same; for a changed recipe."""
    dry_run: bool = False
    """Only say how many calls, tokens and dollars it would be; nothing is asked of any model."""


class HoldingSettings(SyllabusSettings, RunSettings):
    """Which lessons are held, and how thoroughly each is examined."""

    obvious_input: ClassVar[str] = "problems"

    lessons: PositiveInt = 1
    """Lessons on each problem, each with a seed of its own."""
    attempts: PositiveInt = 16
    """Attempts at each problem of the exam."""


class Settings(HoldingSettings):
    """Who teaches."""

    tutor: str
    """The tutor: tiny, a model's folder, hf/NAME, vllm/NAME, openrouter/NAME, scripted/guide ..."""
    temperature: NonNegativeFloat = 1.0
    """Temperature of a model's replies, 0 is greedy."""


def run(settings: Settings) -> Path | dict[str, Any]:
    """Hold the lessons; returns the run's folder, or with ``dry_run`` what they would cost."""
    calls = Calls(settings)
    student = cast_student(settings, calls)
    problems = problems_for(student, settings)
    made_of = recorded(settings, problems, calls, settings.tutor)
    early = cast_early(settings.tutor, settings, settings.temperature, problems, calls)
    if settings.dry_run:
        return tell_costs(settings, settings.lessons, settings.attempts, problems, [early], student, calls)
    label = without_urls(settings.tutor, settings.endpoints)
    with begin("teach", settings, made_of, calls) as record:
        tutor = early or cast_tutor(settings.tutor, settings, settings.temperature, calls)
        record.expect({label: len(problems) * settings.lessons})
        lost = calls.conduct(hold_lessons(label, tutor, student, problems, settings, record, calls))
        complain_of(lost)
    return settings.out


@contextmanager
def begin(stage: str, settings: RunSettings, made_of: Mapping[str, object], calls: Calls) -> Iterator[Run]:
    """The run to keep lessons in, with the books of all calls, finished at the end.

    A new one in which nothing could be recorded is removed: the mended command may have other settings.
    """
    new = not settings.out.exists() or (settings.out.is_dir() and not any(settings.out.iterdir()))
    record = Run.create(settings.out, stage=stage, settings=made_of, seed=settings.seed)
    try:
        with record:
            if settings.fork is not None:
                record.ledger.reuse_from(settings.fork)
            calls.keep_books_in(record)
            yield record
            record.finish()
    except Exception:
        with Run.open(settings.out) as record:
            blank = not record.labels() and not record.ledger.totals().calls
        if new and blank:
            shutil.rmtree(settings.out)
        raise


def recorded(settings: HoldingSettings, problems: list[Problem], calls: Calls, *tutors: str) -> dict[str, object]:
    """What decides what comes out; another value of anything in it is another run.

    The problems and the weights of the tutors are part of it: the same names may stand for others tomorrow.
    """
    values = settings.model_dump(mode="json", exclude={"out", "at_once", "table", "fork", "dry_run"})
    return {
        **as_recorded(settings, values),
        "problems_fingerprint": problems_fingerprint(problems),
        **cast_fingerprints(settings, *tutors, calls=calls),
    }


async def hold_lessons(
    label: str,
    tutor: Participant,
    student: Student,
    problems: list[Problem],
    settings: HoldingSettings,
    record: Run,
    calls: Calls,
) -> list[CallFailed]:
    """Hold, score and record under ``label`` all lessons that the run does not have yet; returns why some were lost.

    The seed of a lesson depends on problem and number only, so that every tutor meets the same students.
    """
    classroom = furnish(tutor, student, settings)
    scorers: tuple[Scorer, ...] = (Exam(student, settings.attempts), LeakMeter(), Conduct())
    lessons = [
        (problem, stable_seed("lesson", settings.seed, problem.id, number))
        for problem in problems
        for number in range(settings.lessons)
    ]
    missing = [lesson for lesson in lessons if not record.has(label, lesson[0].id, lesson[1])]

    async def one(lesson: tuple[Problem, int]) -> Scored:
        return await measured(await classroom.teach(*lesson), scorers)

    with Progress(f"lessons by {label}", len(lessons)) as progress:
        progress.resume(len(lessons) - len(missing))
        return await keep_all(one, missing, label, places(settings.at_once, calls), record, progress, calls.note)


def places(at_once: int | None, calls: Calls) -> int:
    """How many lessons are held at the same time: with endpoints so many that their slots are never short of them."""
    return at_once or (512 if calls.lines else 128)


async def measured(dialogue: Dialogue, scorers: Iterable[Scorer]) -> Scored:
    """A lesson with all its scores."""
    scores: dict[str, Score] = {}
    for scorer in scorers:
        scores |= await scorer.score(dialogue)
    return dialogue, scores


async def keep_all(
    work: Callable[[Item], Awaitable[Scored | Judged]],
    items: Iterable[Item],
    label: str,
    at_once: int,
    record: Run,
    progress: Progress,
    note: Callable[[], str] = str,
) -> list[CallFailed]:
    """Do ``work`` on every item, ``at_once`` at a time, and keep each scored lesson as soon as it is there.

    A call that cannot be had costs its own lesson only, and what was lost is returned; where more is lost than kept,
    ModelError is raised. ``note``: what the progress shows beside its own figures.
    """
    lost: list[CallFailed] = []
    kept = 0

    async def one(item: Item) -> Scored | Judged | CallFailed:
        try:
            return await work(item)
        except CallFailed as failure:
            return failure

    keeping = asyncio.create_task(_keep(record, lambda: progress.advance(0, note())))
    try:
        async with aclosing(side_by_side(one, items, at_once)) as results:
            async for result in results:
                if isinstance(result, CallFailed):
                    lost.append(result)
                    stop_if_most_are_lost(lost, kept)
                    continue
                dialogue, *found = result
                record.add(dialogue, label, *found)
                kept += 1
                progress.advance(note=note())
        if keeping.done():
            keeping.result()  # what it could not keep is to be held again
    finally:
        keeping.cancel()
    record.flush()
    return lost


def stop_if_most_are_lost(lost: Sequence[CallFailed], kept: int, what: str = "lesson") -> None:
    """Raise ModelError if more are lost than kept, and so many that it is no chance."""
    if len(lost) >= FEW and len(lost) > kept:
        raise ModelError(f"{len(lost)} {what}s were lost and {kept} kept, so this stops; the last: {lost[-1]}")


def complain_of(lost: Sequence[CallFailed], what: str = "lesson") -> None:
    """Raise ModelError, in one sentence, if lessons were lost."""
    if lost:
        which = f"one {what} was" if len(lost) == 1 else f"{len(lost):,} {what}s were"
        raise ModelError(f"{which} lost ({lost[0]}); the others are kept, and the same command tries again")


async def _keep(record: Run, show: Callable[[], None]) -> None:
    """Commit once a second: lessons come in bursts, and between two of them a large model may take minutes."""
    while True:
        await asyncio.sleep(GROUP_SECONDS)
        record.flush()
        show()
