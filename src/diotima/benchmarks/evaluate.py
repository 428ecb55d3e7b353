"""`diotima evaluate`: how well do these tutors teach, and what do they give away?

Every tutor teaches the same students the same problems with the same seeds, so that differences can be paired by
problem; a model that samples is examined at each temperature asked for. The lessons and their scores go into a run,
under the tutor's label; a killed evaluation goes on with the lessons that are missing.
"""

import asyncio
from pathlib import Path
from typing import ClassVar

from diotima.classroom.casting import LessonSettings, cast_student, cast_tutor, furnish
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.lesson import Participant, side_by_side
from diotima.dialogue import Dialogue, stable_seed
from diotima.problems.files import read_problems
from diotima.problems.problem import Problem
from diotima.progress import Progress
from diotima.runs.run import Run
from diotima.score import Score, Scorer
from diotima.scoring.leakage import LeakMeter


class Settings(LessonSettings):
    """Who is examined, on what, and how thoroughly."""

    obvious_input: ClassVar[str] = "problems"

    out: Path
    """Folder of the run."""
    problems: Path
    """File of problems, or a folder with test.jsonl in it."""
    tutors: tuple[str, ...]
    """The tutors: tiny, a model's folder, hf/NAME, scripted/guide ..."""
    labels: tuple[str, ...] = ()
    """Names for the tutors in tables, in the same order; by default as they are called."""
    temperatures: tuple[float, ...] = (1.0,)
    """Temperatures at which models are examined; 0 is greedy. Scripted tutors have none."""
    lessons: int = 1
    """Lessons on each problem, each with a seed of its own."""
    attempts: int = 16
    """Attempts at each problem of the exam."""
    most_problems: int | None = None
    """Use only the first so many problems."""
    seed: int = 0
    """Seed of the lessons."""
    at_once: int = 256
    """Lessons held at the same time."""


def run(settings: Settings) -> Path:
    """Examine every tutor; returns the run's folder."""
    problems = read_problems(problems_file(settings.problems, "test"))[: settings.most_problems]
    recorded = settings.model_dump(mode="json", exclude={"out", "at_once"})
    with Run.create(settings.out, stage="evaluate", settings=recorded, seed=settings.seed) as record:
        for name, label in zip(settings.tutors, _labels(settings), strict=True):
            for temperature in (None,) if name.startswith("scripted/") else settings.temperatures:
                full = label if temperature is None else f"{label} T={temperature:g}"
                tutor = cast_tutor(name, settings, temperature or 0.0)
                asyncio.run(_examine(full, tutor, problems, settings, record))
        record.finish()
    return settings.out


def problems_file(path: Path, split: str) -> Path:
    """The file of problems at ``path``: itself, or that split's file in a folder."""
    return path / f"{split}.jsonl" if path.is_dir() else path


async def _examine(label: str, tutor: Participant, problems: list[Problem], settings: Settings, record: Run) -> None:
    student = cast_student(settings)
    classroom = furnish(tutor, student, settings)
    scorers: tuple[Scorer, ...] = (Exam(student, settings.attempts), LeakMeter(), Conduct())
    lessons = [
        (problem, seed)
        for problem in problems
        for seed in (stable_seed("lesson", settings.seed, problem.id, number) for number in range(settings.lessons))
    ]
    missing = [lesson for lesson in lessons if not record.has(label, lesson[0].id, lesson[1])]

    async def hold(lesson: tuple[Problem, int]) -> tuple[Dialogue, dict[str, Score]]:
        dialogue = await classroom.teach(*lesson)
        return dialogue, await score_all(scorers, dialogue)

    with Progress(f"examining {label}", len(lessons)) as progress:
        progress.resume(len(lessons) - len(missing))
        async for dialogue, scores in side_by_side(hold, missing, settings.at_once):
            record.add(dialogue, label, scores)
            progress.advance()
    record.flush()


async def score_all(scorers: tuple[Scorer, ...], dialogue: Dialogue) -> dict[str, Score]:
    """What all scorers say about one dialogue."""
    scores: dict[str, Score] = {}
    for scorer in scorers:
        scores |= await scorer.score(dialogue)
    return scores


def _labels(settings: Settings) -> tuple[str, ...]:
    if settings.labels and len(settings.labels) != len(settings.tutors):
        from diotima.errors import SettingsError

        raise SettingsError(f"there are {len(settings.tutors)} tutors but {len(settings.labels)} labels")
    return settings.labels or settings.tutors
