"""`diotima teach`: hold lessons, score them, and keep them in a run, for training or for a look.

    diotima teach --tutor tiny --problems problems --out runs/lessons

A killed run goes on with the lessons that are missing.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import NonNegativeFloat, PositiveInt

from diotima.classroom.casting import cast_early, cast_fingerprints, cast_student, cast_tutor, furnish
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.lesson import Participant, side_by_side
from diotima.classroom.students import Student
from diotima.classroom.syllabus import SyllabusSettings, problems_fingerprint, problems_for
from diotima.dialogue import Dialogue, stable_seed
from diotima.problems.problem import Problem
from diotima.progress import Progress
from diotima.runs.run import GROUP_SECONDS, Run
from diotima.score import Score, Scorer
from diotima.scoring.leakage import LeakMeter

Item = TypeVar("Item")
Scored = tuple[Dialogue, dict[str, Score]]


class HoldingSettings(SyllabusSettings):
    """Which lessons are held, and how thoroughly each is examined."""

    obvious_input: ClassVar[str] = "problems"

    out: Path
    """Folder of the run."""
    lessons: PositiveInt = 1
    """Lessons on each problem, each with a seed of its own."""
    attempts: PositiveInt = 16
    """Attempts at each problem of the exam."""
    seed: int = 0
    """Seed of the lessons."""
    at_once: PositiveInt = 128
    """Lessons held at the same time."""


class Settings(HoldingSettings):
    """Who teaches."""

    tutor: str
    """The tutor: tiny, a model's folder, hf/NAME, scripted/guide ..."""
    temperature: NonNegativeFloat = 1.0
    """Temperature of a model's replies, 0 is greedy."""


def run(settings: Settings) -> Path:
    """Hold the lessons; returns the run's folder."""
    student = cast_student(settings)
    problems = problems_for(student, settings)
    made_of = recorded(settings, problems, settings.tutor)
    tutor = cast_early(settings.tutor, settings, settings.temperature, problems)
    with begin("teach", settings, made_of) as record:
        tutor = tutor or cast_tutor(settings.tutor, settings, settings.temperature)
        hold_lessons(settings.tutor, tutor, student, problems, settings, record)
    return settings.out


@contextmanager
def begin(stage: str, settings: HoldingSettings, made_of: Mapping[str, object]) -> Iterator[Run]:
    """The run to hold lessons in, finished at the end.

    A new one in which nothing could be recorded is removed: the mended command may have other settings.
    """
    new = not settings.out.exists() or (settings.out.is_dir() and not any(settings.out.iterdir()))
    record = Run.create(settings.out, stage=stage, settings=made_of, seed=settings.seed)
    try:
        with record:
            yield record
            record.finish()
    except Exception:
        with Run.open(settings.out) as record:
            blank = not record.labels()
        if new and blank:
            shutil.rmtree(settings.out)
        raise


def recorded(settings: HoldingSettings, problems: list[Problem], *tutors: str) -> dict[str, object]:
    """What decides what comes out; another value of anything in it is another run.

    The problems and the weights of the tutors are part of it: the same names may stand for others tomorrow.
    """
    made_of = settings.model_dump(mode="json", exclude={"out", "at_once", "table"})
    return {**made_of, "problems_fingerprint": problems_fingerprint(problems), **cast_fingerprints(settings, *tutors)}


def hold_lessons(
    label: str,
    tutor: Participant,
    student: Student,
    problems: list[Problem],
    settings: HoldingSettings,
    record: Run,
) -> None:
    """Hold, score and record under ``label`` all lessons that the run does not have yet.

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
        asyncio.run(keep_all(one, missing, label, settings.at_once, record, progress))


async def measured(dialogue: Dialogue, scorers: Iterable[Scorer]) -> Scored:
    """A lesson with all its scores."""
    scores: dict[str, Score] = {}
    for scorer in scorers:
        scores |= await scorer.score(dialogue)
    return dialogue, scores


async def keep_all(
    work: Callable[[Item], Awaitable[Scored]],
    items: Iterable[Item],
    label: str,
    at_once: int,
    record: Run,
    progress: Progress,
) -> None:
    """Do ``work`` on every item, ``at_once`` at a time, and keep each scored lesson as soon as it is there."""
    keeping = asyncio.create_task(_keep(record))
    try:
        async for dialogue, scores in side_by_side(work, items, at_once):
            record.add(dialogue, label, scores)
            progress.advance()
        if keeping.done():
            keeping.result()  # what it could not keep is to be held again
    finally:
        keeping.cancel()
    record.flush()


async def _keep(record: Run) -> None:
    """Commit once a second: lessons come in bursts, and between two of them a large model may take minutes."""
    while True:
        await asyncio.sleep(GROUP_SECONDS)
        record.flush()
