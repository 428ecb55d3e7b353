"""`diotima teach`: hold lessons, score them, and keep them in a run, for training or for a look.

    diotima teach --tutor tiny --problems problems --out runs/lessons

A killed run goes on with the lessons that are missing.
"""

import asyncio
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from diotima.classroom.casting import LessonSettings, cast_student, cast_tutor, furnish
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom, Participant, side_by_side
from diotima.dialogue import Dialogue, stable_seed
from diotima.models.opening import model_folder, weights_fingerprint
from diotima.problems.files import read_problems, split_file
from diotima.problems.problem import Problem
from diotima.progress import Progress
from diotima.runs.run import GROUP_SECONDS, Run
from diotima.score import Score, Scorer
from diotima.scoring.leakage import LeakMeter


class HoldingSettings(LessonSettings):
    """Which lessons are held, and how thoroughly each is examined."""

    obvious_input: ClassVar[str] = "problems"

    out: Path
    """Folder of the run."""
    problems: Path
    """File of problems, or a folder with train.jsonl and test.jsonl in it."""
    lessons: PositiveInt = 1
    """Lessons on each problem, each with a seed of its own."""
    most_problems: PositiveInt | None = None
    """Use only the first so many problems."""
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
    split: Literal["train", "test"] = "train"
    """Which file to take, if problems is a folder."""


def run(settings: Settings) -> Path:
    """Hold the lessons; returns the run's folder."""
    problems = problems_of(settings, settings.split)
    tutor = cast_tutor(settings.tutor, settings, settings.temperature)
    made_of = recorded(settings, settings.tutor)
    with Run.create(settings.out, stage="teach", settings=made_of, seed=settings.seed) as record:
        hold_lessons(settings.tutor, tutor, problems, settings, record)
        record.finish()
    return settings.out


def problems_of(settings: HoldingSettings, split: str) -> list[Problem]:
    """The problems that the settings ask for."""
    return read_problems(split_file(settings.problems, split))[: settings.most_problems]


def recorded(settings: HoldingSettings, *tutors: str) -> dict[str, object]:
    """What decides what comes out; another value of anything in it is another run.

    The weights of the tutors are part of it: the same folder may hold others tomorrow.
    """
    models = [name for name in tutors if not name.startswith("scripted/") and ":" not in name]
    weights = {name: weights_fingerprint(model_folder(name)) for name in models}
    return settings.model_dump(mode="json", exclude={"out", "at_once", "table"}) | {"weights": weights}


def hold_lessons(
    label: str, tutor: Participant, problems: list[Problem], settings: HoldingSettings, record: Run
) -> None:
    """Hold, score and record under ``label`` all lessons that the run does not have yet.

    The seed of a lesson depends on problem and number only, so that every tutor meets the same students.
    """
    student = cast_student(settings)
    classroom = furnish(tutor, student, settings)
    lessons = [
        (problem, stable_seed("lesson", settings.seed, problem.id, number))
        for problem in problems
        for number in range(settings.lessons)
    ]
    asyncio.run(_hold(label, classroom, student, lessons, settings, record))


async def _hold(
    label: str,
    classroom: Classroom,
    student: Learner,
    lessons: list[tuple[Problem, int]],
    settings: HoldingSettings,
    record: Run,
) -> None:
    scorers: tuple[Scorer, ...] = (Exam(student, settings.attempts), LeakMeter(), Conduct())
    missing = [lesson for lesson in lessons if not record.has(label, lesson[0].id, lesson[1])]

    async def one(lesson: tuple[Problem, int]) -> tuple[Dialogue, dict[str, Score]]:
        dialogue = await classroom.teach(*lesson)
        scores: dict[str, Score] = {}
        for scorer in scorers:
            scores |= await scorer.score(dialogue)
        return dialogue, scores

    keeping = asyncio.create_task(_keep(record))
    try:
        with Progress(f"lessons by {label}", len(lessons)) as progress:
            progress.resume(len(lessons) - len(missing))
            async for dialogue, scores in side_by_side(one, missing, settings.at_once):
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
