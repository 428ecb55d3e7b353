"""`diotima score`: measure lessons that were held before: again, by another student, or by judges under a rubric.

Lessons are facts and stay as they are. Their new scores go, with a copy of each lesson, into a run of their own: so the
figures of the first run are not overwritten, a killed run goes on, and `diotima compare` sets the two side by side.
A lesson is examined by the student it was held with, unless another is named: a lesson with the simulated learner can
be examined by a model that reads it. The scores of a run that is not finished are not finished either.

With a rubric judges are asked about every turn or dialogue; what they said is kept beside the scores that follow from
it, and `diotima tally` weighs it anew without asking again. The leak meter, which is no judge, stands beside it.

    diotima score runs/lessons --measures leak --out runs/leaks
    diotima score runs/lessons --student hf/Qwen/Qwen2.5-0.5B-Instruct --attempts 8 --out runs/examined
    diotima score runs/lessons --rubric euler --judge openai/gpt-4o --out runs/judged
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import PositiveInt

from diotima.benchmarks.comparison import CONDITIONS
from diotima.benchmarks.evaluate import show
from diotima.benchmarks.judging import Panel, keep_beside, recorded, seat, tell
from diotima.classroom.casting import LEARNER, PARTS, StudentSettings, as_recorded, cast_student, student_fingerprints
from diotima.classroom.dry_run import tell_costs_of_verdicts
from diotima.classroom.exam import Conduct, Exam
from diotima.classroom.judges import JudgeSettings, cautions
from diotima.classroom.learner import UNREADABLE, can_work_out
from diotima.classroom.teach import Judged, Scored, complain_of, keep_all, measured, places
from diotima.errors import CallFailed, RunError, SettingsError
from diotima.models.calls import Calls
from diotima.models.services import BESIDE
from diotima.progress import Progress
from diotima.runs.records import Record
from diotima.runs.run import Run
from diotima.runs.status import tutors_of
from diotima.score import Scorer
from diotima.scoring.leakage import LeakMeter
from diotima.scoring.rubric import load_rubric
from diotima.settings import OneOrMore, as_tuple, did_you_mean

Measure = Literal["exam", "leak", "conduct"]


class Settings(JudgeSettings):
    """Which lessons are measured, and how."""

    obvious_input: ClassVar[str] = "run"

    run: Path
    """Folder of the run that holds the lessons."""
    out: Path
    """Folder of the new run, with the lessons and their new scores."""
    measures: Annotated[tuple[Measure, ...], pydantic.BeforeValidator(as_tuple)] = ("exam", "leak", "conduct")
    """What is measured: exam (of the student), leak (what was given away), conduct; with a rubric only leak."""
    label: OneOrMore = ()
    """Only the lessons of these tutors, by their labels; by default all."""
    rubric: str | None = None
    """What is judged, and how: euler, leak, pedagogy, socraticlm, mrbench or another rubric, or a file."""
    turns: Literal["all", "last"] | None = None
    """Which of the tutor's turns are judged and searched for leaks; by default the last of candidates, else all."""
    against: str = ""
    """For a rubric that compares: the label whose last turns all others' are set beside."""
    least_valid: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.98
    """The share of valid verdicts below which the scores are refused, after all of them are kept and shown."""
    student: str | None = None
    """Who sits the exam: learner or a model; by default who was taught."""
    student_prompt: str | None = None
    """The persona of a student model; by default as in the lessons."""
    attempts: PositiveInt = 16
    """Attempts at each problem of the exam."""
    at_once: PositiveInt | None = None
    """Lessons measured at the same time; by default 128, with models behind endpoints 512."""
    dry_run: bool = False
    """Only say how many calls, tokens and dollars the judges would be; nothing is asked of any model."""


def run(settings: Settings) -> Path | dict[str, Any]:
    """Measure every lesson; returns the new run's folder, or with ``dry_run`` what the judges would cost."""
    calls = Calls(settings)
    with Run.open(settings.run) as lessons:
        labels = _labels(lessons, settings)
        taught = _taught(lessons, settings)
        panel = _panel(lessons, settings, calls)
        if panel and settings.dry_run:
            dialogues = (record.dialogue for label in labels for record in lessons.records(label))
            wanted = ((panel.cases(dialogue), panel.samples) for dialogue in dialogues)
            return tell_costs_of_verdicts(settings, panel.rubric, list(panel.judges.values()), wanted, calls)
        scorers = _scorers(lessons, labels, taught, settings, calls)
        asked = as_recorded(settings, settings.model_dump(mode="json", exclude=_NOT_RECORDED))
        asked["measures"] = _measures(settings)
        kept = (*CONDITIONS, PARTS)
        held = {name: value for name, value in lessons.manifest["settings"].items() if name.startswith(kept)}
        made_of = asked | held | {"scored": lessons.manifest["fingerprint"]}
        if "exam" in asked["measures"]:
            made_of |= as_recorded(taught, taught.model_dump(mode="json")) | student_fingerprints(taught, calls)
            made_of |= {"attempts": settings.attempts}
        if panel:
            made_of |= recorded(panel, settings, calls)
        elif _turns(lessons, settings) != "all":
            made_of |= {"turns": "last"}
        seed = int(lessons.manifest.get("seed") or 0)
        with Run.create(settings.out, stage="score", settings=made_of, seed=seed) as record:
            calls.keep_books_in(record)
            if panel:
                keep_beside(panel, record)
            complain_of(calls.conduct(_measure_all(lessons, labels, scorers, panel, settings, record, calls)))
            if lessons.manifest["finished"]:
                record.finish()
            else:
                print(
                    f"{settings.run} is not finished, and so {settings.out} is not: score it again when it is",
                    file=sys.stderr,
                )
    show(settings.out)
    if panel:
        with Run.open(settings.out) as record:
            tell(record, labels, panel.rubric, settings.least_valid)
    return settings.out


# Of the judging the panel itself says what it is made of.
_NOT_RECORDED = {"out", "at_once", "dry_run", "least_valid", "rubric", "turns", "against", *JudgeSettings.model_fields}


def _measures(settings: Settings) -> list[Measure]:
    return list(settings.measures) if "measures" in settings.model_fields_set or not settings.rubric else ["leak"]


def _turns(lessons: Run, settings: Settings) -> Literal["all", "last"]:
    """A candidate is one turn: what was said before it, by whomever, is not this tutor's."""
    if settings.turns is not None:
        return settings.turns
    manifest = lessons.manifest
    return "last" if manifest["stage"] == "candidates" or manifest["settings"].get("turns") == "last" else "all"


def _panel(lessons: Run, settings: Settings, calls: Calls) -> Panel | None:
    """The judges, if there are to be any. Says what is to be known of them before they cost anything."""
    if settings.rubric is None:
        for name in ("judge", "against", "samples", "dry_run"):
            if getattr(settings, name):
                raise SettingsError(f"{name} goes with judges: say by --rubric what they are to look at")
        return None
    if settings.dry_run and "exam" in _measures(settings):
        raise SettingsError("dry_run counts what judges are asked and no exam; leave exam out of --measures")
    if settings.against and settings.against not in lessons.labels():
        raise SettingsError(
            f"{settings.run} holds no lessons of {settings.against}; {did_you_mean(settings.against, lessons.labels())}"
        )
    turns = _turns(lessons, settings)
    panel = seat(load_rubric(settings.rubric), settings, calls, lessons, turns, settings.against)
    for caution in cautions(settings.judge, tutors_of(lessons.manifest["settings"])):
        print(caution, file=sys.stderr)
    return panel


def _labels(lessons: Run, settings: Settings) -> list[str]:
    known = lessons.labels()
    if not known:
        raise RunError(f"{settings.run} holds no lessons")
    for label in settings.label:
        if label not in known:
            raise SettingsError(f"{settings.run} holds no lessons of {label}; {did_you_mean(label, known)}")
    chosen = [label for label in settings.label or known if label != settings.against]
    if not chosen:
        raise SettingsError(f"{settings.run} holds no other lessons to compare with those of {settings.against}")
    return chosen


def _taught(lessons: Run, settings: Settings) -> StudentSettings:
    """The settings that the lessons were held with, with what was asked for now over them."""
    held = {name: value for name, value in lessons.manifest["settings"].items() if name in StudentSettings.model_fields}
    now: dict[str, Any] = {"student": settings.student, "student_prompt": settings.student_prompt}
    now |= {name: getattr(settings, name) for name in BESIDE}
    both = [*held.items(), *now.items()]
    return StudentSettings(**{name: value for name, value in both if value is not None})


def _scorers(
    lessons: Run, labels: list[str], taught: StudentSettings, settings: Settings, calls: Calls
) -> list[Scorer]:
    scorers: list[Scorer] = []
    measures = _measures(settings)
    if "exam" in measures:
        if taught.student == LEARNER:
            for problem in (record.dialogue.problem for label in labels for record in lessons.records(label)):
                if not can_work_out(problem):
                    raise RunError(f"{settings.run}: problem {problem.id} {UNREADABLE}; name another --student")
        scorers.append(Exam(cast_student(taught, calls), settings.attempts))
    latest = _turns(lessons, settings) == "last"
    scorers += [LeakMeter(latest)] if "leak" in measures else []
    scorers += [Conduct(latest)] if "conduct" in measures else []
    return scorers


async def _measure_all(
    lessons: Run,
    labels: list[str],
    scorers: list[Scorer],
    panel: Panel | None,
    settings: Settings,
    record: Run,
    calls: Calls,
) -> list[CallFailed]:
    async def one(held: Record) -> Scored | Judged:
        dialogue, scores = await measured(held.dialogue, scorers)
        if panel is None:
            return dialogue, scores
        judgements, told = await panel.judge(dialogue)
        return dialogue, scores | told, judgements

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
