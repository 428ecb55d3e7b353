"""`diotima evaluate`: how well do these tutors teach, and what do they give away?

Every tutor teaches the same students the same problems with the same seeds, so that differences can be paired by
problem; a model is examined at each temperature asked for. Lessons and scores go into a run, under the tutor's label.

    diotima evaluate --tutor tiny --tutor scripted/guide --problems problems --out runs/examination
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diotima.classroom.casting import SCRIPTED, cast_early, cast_student, cast_tutor, labels_of
from diotima.classroom.dry_run import tell_costs
from diotima.classroom.lesson import Participant
from diotima.classroom.roles import Role
from diotima.classroom.syllabus import problems_for
from diotima.classroom.teach import HoldingSettings, begin, complain_of, hold_lessons, recorded
from diotima.errors import CallFailed, SettingsError
from diotima.models.calls import Calls
from diotima.reports.collect import collect
from diotima.reports.tables import legend, measured, plain, terminal, tutor_table
from diotima.runs.manifest import write_json
from diotima.settings import OneOrMore, OneOrMoreNumbers


class Settings(HoldingSettings):
    """Who is examined."""

    tutor: OneOrMore
    """The tutor: tiny, a model's folder, hf/NAME, scripted/guide; may be given several times."""
    label: OneOrMore = ()
    """The tutor's name in tables, once for each tutor; by default as it is called."""
    temperature: OneOrMoreNumbers = (1.0,)
    """Temperature at which models are examined, 0 is greedy; may be given several times. Scripted tutors have none."""
    split: str = "test"
    """Which split to take, if problems is a folder, or an hf:NAME without @SPLIT."""
    table: bool = True
    """Print the table at the end."""


def check(settings: Settings) -> None:
    """Raise SettingsError if the labels do not fit the tutors, a temperature is none, or a scripted tutor unknown."""
    labels_of(settings.tutor, settings.label, settings.endpoints)
    if min(settings.temperature, default=-1.0) < 0:
        raise SettingsError("temperature needs at least one value, and none below 0")
    for name in settings.tutor:
        if name.startswith(SCRIPTED):
            cast_tutor(name, settings, 0.0)


def at_temperatures(label: str, tutor: Participant, temperatures: Sequence[float]) -> list[tuple[str, Participant]]:
    """A tutor under its label, at every temperature if it is a model."""
    if not isinstance(tutor, Role):
        return [(label, tutor)]
    return [
        (f"{label} T={temperature:g}", replace(tutor, sampling=replace(tutor.sampling, temperature=temperature)))
        for temperature in temperatures
    ]


def run(settings: Settings) -> Path | dict[str, Any]:
    """Examine every tutor; returns the run's folder, or with ``dry_run`` what that would cost."""
    check(settings)
    calls = Calls(settings)
    student = cast_student(settings, calls)
    problems = problems_for(student, settings)
    made_of = recorded(settings, problems, calls, *settings.tutor)
    early = [cast_early(name, settings, 0.0, problems, calls) for name in settings.tutor]
    if settings.dry_run:
        tutors = [
            one
            for tutor in early
            for one in ([tutor] * len(settings.temperature) if tutor is None or isinstance(tutor, Role) else [tutor])
        ]
        return tell_costs(settings, settings.lessons, settings.attempts, problems, tutors, student, calls)
    with begin("evaluate", settings, made_of, calls) as record:

        async def examine_all() -> list[CallFailed]:
            lost: list[CallFailed] = []
            expected: dict[str, int] = {}
            labels = labels_of(settings.tutor, settings.label, settings.endpoints)
            for name, label, ready in zip(settings.tutor, labels, early, strict=True):
                tutor = ready or cast_tutor(name, settings, 0.0, calls)
                voices = at_temperatures(label, tutor, settings.temperature)
                expected.update({heading: len(problems) * settings.lessons for heading, _ in voices})
                record.expect(expected)
                for heading, one in voices:
                    lost += await hold_lessons(heading, one, student, problems, settings, record, calls)
            return lost

        complain_of(calls.conduct(examine_all()))
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
