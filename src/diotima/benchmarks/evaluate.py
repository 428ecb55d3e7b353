"""`diotima evaluate`: how well do these tutors teach, and what do they give away?

Every tutor teaches the same students the same problems with the same seeds, so that differences can be paired by
problem; a model is examined at each temperature asked for. Lessons and scores go into a run, under the tutor's label.

    diotima evaluate --tutor tiny --tutor scripted/guide --problems problems --out runs/examination
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pydantic

from diotima.classroom.casting import SCRIPTED, cast_early, cast_student, cast_tutor
from diotima.classroom.roles import Role
from diotima.classroom.syllabus import problems_for
from diotima.classroom.teach import HoldingSettings, begin, hold_lessons, recorded
from diotima.errors import SettingsError
from diotima.reports.collect import collect
from diotima.reports.tables import legend, measured, plain, terminal, tutor_table
from diotima.runs.manifest import write_json


def as_tuple(value: object) -> object:
    """One text stands for a tuple of one."""
    return (str(value),) if isinstance(value, str | Path) else value


OneOrMore = Annotated[tuple[str, ...], pydantic.BeforeValidator(as_tuple)]


class Settings(HoldingSettings):
    """Who is examined."""

    tutor: OneOrMore
    """The tutor: tiny, a model's folder, hf/NAME, scripted/guide; may be given several times."""
    label: OneOrMore = ()
    """The tutor's name in tables, once for each tutor; by default as it is called."""
    temperature: tuple[float, ...] = (1.0,)
    """Temperature at which models are examined, 0 is greedy; may be given several times. Scripted tutors have none."""
    split: str = "test"
    """Which split to take, if problems is a folder, or an hf:NAME without @SPLIT."""
    table: bool = True
    """Print the table at the end."""


def check(settings: Settings) -> None:
    """Raise SettingsError if the labels do not fit the tutors, a temperature is none, or a scripted tutor unknown."""
    labels = settings.label or settings.tutor
    if len(labels) != len(settings.tutor):
        raise SettingsError(f"there are {len(settings.tutor)} tutors but {len(labels)} labels")
    if len(set(labels)) < len(labels):
        raise SettingsError(f"two tutors cannot share a label, and the labels are {', '.join(labels)}; give others")
    if min(settings.temperature, default=-1.0) < 0:
        raise SettingsError("temperature needs at least one value, and none below 0")
    for name in settings.tutor:
        if name.startswith(SCRIPTED):
            cast_tutor(name, settings, 0.0)


def run(settings: Settings) -> Path:
    """Examine every tutor; returns the run's folder."""
    check(settings)
    student = cast_student(settings)
    problems = problems_for(student, settings)
    made_of = recorded(settings, problems, *settings.tutor)
    early = [cast_early(name, settings, 0.0, problems) for name in settings.tutor]
    with begin("evaluate", settings, made_of) as record:
        for name, label, ready in zip(settings.tutor, settings.label or settings.tutor, early, strict=True):
            tutor = ready or cast_tutor(name, settings, 0.0)
            if not isinstance(tutor, Role):
                hold_lessons(label, tutor, student, problems, settings, record)
                continue
            for temperature in settings.temperature:
                sampling = replace(tutor.sampling, temperature=temperature)
                warm = replace(tutor, sampling=sampling)
                hold_lessons(f"{label} T={temperature:g}", warm, student, problems, settings, record)
    show(settings.out, settings.table)
    return settings.out


def show(folder: Path, table: bool = True) -> None:
    """Write ``summary.json``, the figures for machines, and with ``table`` print them for people."""
    findings = collect(folder, pairs=())
    write_json(folder / "summary.json", {"tutors": plain(findings)["tutors"]})
    if table:
        from rich.console import Console

        console = Console()
        console.print(terminal(tutor_table(findings.examinations, brief=True)))
        console.print(legend(measured(findings.examinations)), style="dim", highlight=False)
