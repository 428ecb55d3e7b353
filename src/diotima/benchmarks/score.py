"""`diotima score`: measure lessons that were held before, again or by another student.

Lessons are facts and stay as they are. Their new scores go, with a copy of each lesson, into a run of their own: so the
figures of the first run are not overwritten, a killed run goes on, and `diotima compare` sets the two side by side.
A lesson is examined by the student it was held with, unless another is named: a lesson with the simulated learner can
be examined by a model that reads it. The scores of a run that is not finished are not finished either.

    diotima score runs/lessons --measures leak --out runs/leaks
    diotima score runs/lessons --student hf/Qwen/Qwen2.5-0.5B-Instruct --attempts 8 --out runs/examined
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import PositiveInt

from diotima.benchmarks.comparison import CONDITIONS
from diotima.benchmarks.evaluate import OneOrMore, as_tuple, show
from diotima.classroom.casting import LEARNER, StudentSettings, as_recorded, cast_student, student_fingerprints
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.learner import UNREADABLE, can_work_out
from diotima.classroom.teach import Scored, complain_of, keep_all, measured, places
from diotima.errors import CallFailed, RunError, SettingsError
from diotima.models.calls import Calls
from diotima.models.services import BESIDE, EndpointSettings
from diotima.progress import Progress
from diotima.runs.records import Record
from diotima.runs.run import Run
from diotima.score import Scorer
from diotima.scoring.leakage import LeakMeter
from diotima.settings import did_you_mean

Measure = Literal["exam", "leak", "conduct"]


class Settings(EndpointSettings):
    """Which lessons are measured, and how."""

    obvious_input: ClassVar[str] = "run"

    run: Path
    """Folder of the run that holds the lessons."""
    out: Path
    """Folder of the new run, with the lessons and their new scores."""
    measures: Annotated[tuple[Measure, ...], pydantic.BeforeValidator(as_tuple)] = ("exam", "leak", "conduct")
    """What is measured: exam (of the student), leak (what was given away), conduct (the tutor's turns)."""
    label: OneOrMore = ()
    """Only the lessons of these tutors, by their labels; by default all."""
    student: str | None = None
    """Who sits the exam: learner or a model; by default who was taught."""
    student_prompt: str | None = None
    """The persona of a student model; by default as in the lessons."""
    attempts: PositiveInt = 16
    """Attempts at each problem of the exam."""
    at_once: PositiveInt | None = None
    """Lessons measured at the same time; by default 128, with models behind endpoints 512."""


def run(settings: Settings) -> Path:
    """Measure every lesson; returns the new run's folder."""
    calls = Calls(settings)
    with Run.open(settings.run) as lessons:
        labels = _labels(lessons, settings)
        taught = _taught(lessons, settings)
        scorers = _scorers(lessons, labels, taught, settings, calls)
        asked = as_recorded(settings, settings.model_dump(mode="json", exclude={"out", "at_once"}))
        held = {name: value for name, value in lessons.manifest["settings"].items() if name.startswith(CONDITIONS)}
        made_of = asked | held | {"scored": lessons.manifest["fingerprint"]}
        if "exam" in settings.measures:
            made_of |= as_recorded(taught, taught.model_dump(mode="json")) | student_fingerprints(taught, calls)
            made_of |= {"attempts": settings.attempts}
        seed = int(lessons.manifest.get("seed") or 0)
        with Run.create(settings.out, stage="score", settings=made_of, seed=seed) as record:
            calls.keep_books_in(record)
            complain_of(calls.conduct(_measure_all(lessons, labels, scorers, settings, record, calls)))
            if lessons.manifest["finished"]:
                record.finish()
            else:
                print(
                    f"{settings.run} is not finished, and so {settings.out} is not: score it again when it is",
                    file=sys.stderr,
                )
    show(settings.out)
    return settings.out


def _labels(lessons: Run, settings: Settings) -> list[str]:
    known = lessons.labels()
    if not known:
        raise RunError(f"{settings.run} holds no lessons")
    for label in settings.label:
        if label not in known:
            raise SettingsError(f"{settings.run} holds no lessons of {label}; {did_you_mean(label, known)}")
    return list(settings.label) or known


def _taught(lessons: Run, settings: Settings) -> StudentSettings:
    """The settings that the lessons were held with, with what was asked for now over them."""
    held = {name: value for name, value in lessons.manifest["settings"].items() if name in StudentSettings.model_fields}
    now: dict[str, Any] = {"student": settings.student, "student_prompt": settings.student_prompt}
    now |= {name: getattr(settings, name) for name in BESIDE}
    return StudentSettings(**held | {name: value for name, value in now.items() if value is not None})


def _scorers(
    lessons: Run, labels: list[str], taught: StudentSettings, settings: Settings, calls: Calls
) -> list[Scorer]:
    scorers: list[Scorer] = []
    if "exam" in settings.measures:
        if taught.student == LEARNER:
            for problem in (record.dialogue.problem for label in labels for record in lessons.records(label)):
                if not can_work_out(problem):
                    raise RunError(f"{settings.run}: problem {problem.id} {UNREADABLE}; name another --student")
        scorers.append(Exam(cast_student(taught, calls), settings.attempts))
    scorers += [LeakMeter()] if "leak" in settings.measures else []
    scorers += [Conduct()] if "conduct" in settings.measures else []
    return scorers


async def _measure_all(
    lessons: Run, labels: list[str], scorers: list[Scorer], settings: Settings, record: Run, calls: Calls
) -> list[CallFailed]:
    async def one(held: Record) -> Scored:
        return await measured(held.dialogue, scorers)

    def missing(label: str, progress: Progress) -> Iterator[Record]:
        for held in lessons.records(label):
            if record.has(label, held.dialogue.problem.id, held.dialogue.seed):
                progress.advance()
            else:
                yield held

    lost, at_once = [], places(settings.at_once, calls)
    for label in labels:
        with Progress(f"scores of {label}", lessons.count(label)) as progress:
            lost += await keep_all(one, missing(label, progress), label, at_once, record, progress, calls.note)
    return lost
