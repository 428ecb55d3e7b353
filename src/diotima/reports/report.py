"""One page that says whether the tutor got better: ``report.html``, and its figures beside it as ``report.json``.

The page is self-contained and needs neither network nor scripts, so it can be mailed, archived and read in ten
years. Everything that comes from a run (questions, what was said, labels, settings) is text and is escaped; only our
own charts are markup.

    diotima report RUN
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import Field

from diotima import settings as base
from diotima.classroom.tutors import BLIND
from diotima.errors import RunError, SettingsError
from diotima.reports.collect import KEPT, Findings, collect
from diotima.reports.figures import Figure, curve_figures, lesson_figures
from diotima.reports.judged_figures import cross_table, judged_figures, judged_sentences, judged_verdict, plain_under
from diotima.reports.judged_sets import UnderRubric, judged_sets
from diotima.reports.measures import MEASURES
from diotima.reports.pair_sets import PairSet, pair_figure, pair_sets
from diotima.reports.shown_lesson import shown_lesson
from diotima.reports.tables import (
    CONDUCT,
    OUTCOMES,
    comparison_table,
    legend,
    measured,
    percent,
    plain,
    points,
    terminal,
    tutor_table,
)
from diotima.reports.verdict import summary, verdict
from diotima.runs.durable import write_text

CARDS = ("leaked", "solved_sibling", "solved_same", "addressed")


class Settings(base.Settings):
    """What to report, and about whom."""

    obvious_input = "run"

    run: Path
    """The folder of a run, or of a recipe with one subfolder per stage."""
    out: Path | None = None
    """The folder for report.html and report.json; by default the run's."""
    title: str = ""
    """The small line above the verdict; by default the name of the folder."""
    seed: int = 0
    """The seed of the bootstrap."""
    before: tuple[str, ...] = ("tiny T=1", "tiny T=0")
    """Labels of the tutor before training; the headline is about the first."""
    after: tuple[str, ...] = ("trained T=1", "trained T=0")
    """Labels of the tutor after training, in the order of `before`."""
    blind: tuple[str, ...] = tuple(f"scripted/{name}" for name in BLIND)
    """Labels of tutors that never look at the student; the first is the one to beat."""
    lessons: int = Field(3, ge=0)
    """How many lessons to show before and after, side by side."""
    thoughts: bool = False
    """Show what tutor and student thought in private, folded away."""


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page is about: what came of lessons and training, what judges said, and sets of pairs."""

    lessons: Findings
    judged: tuple[UnderRubric, ...]
    pairs: tuple[PairSet, ...]

    @property
    def verdict(self) -> str:
        """One sentence for the top: about what students learned, and only without an examination about scores."""
        if self.judged and not self.lessons.examinations:
            return judged_verdict(self.judged[0])
        return verdict(self.lessons)

    @property
    def summary(self) -> list[str]:
        """The figures behind it."""
        return [*summary(self.lessons), *(sentence for found in self.judged for sentence in judged_sentences(found))]

    @property
    def cautions(self) -> list[str]:
        """On judges that are not neutral, each once."""
        return list(dict.fromkeys(caution for found in self.judged for caution in found.cautions))


@dataclass(frozen=True, slots=True)
class Card:
    """One measure before and after, in large type."""

    title: str
    before: str
    after: str
    difference: str
    word: str


def run(settings: Settings) -> Path:
    """Write ``report.html`` and ``report.json``, print the table, return the page's path.

    Raises `RunError` if the folder holds nothing to report or the page cannot be written, and `SettingsError` if
    ``before`` and ``after`` do not match each other or the run.
    """
    if len(settings.before) != len(settings.after):
        raise SettingsError(
            f"before names {len(settings.before)} tutors but after {len(settings.after)}; "
            "name as many, in the same order"
        )
    pairs = tuple(zip(settings.before, settings.after, strict=True))
    found = read(settings, pairs)
    known = [label for under in found.judged for label in under.labels]
    paired = found.lessons.pairs or any(before in known and after in known for before, after in pairs)
    if pairs and not paired and settings.model_fields_set & {"before", "after"}:
        tutors = [*(examination.label for examination in found.lessons.examinations), *known]
        labels = ", ".join(dict.fromkeys(tutors)) or "none"
        raise SettingsError(
            f"No pair of before and after was examined or judged in {settings.run}; its tutors are: {labels}"
        )
    page = (settings.out or settings.run) / "report.html"
    figures = {
        "verdict": found.verdict,
        "summary": found.summary,
        **plain(found.lessons),
        "judged": [plain_under(under) for under in found.judged],
        "pairs": [{"stage": one.name, **one.summary} for one in found.pairs],
    }
    _write(page.with_suffix(".json"), json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    _write(page, html(found, settings))
    _print(found, page)
    return page


def read(settings: Settings, pairs: Sequence[tuple[str, str]]) -> Page:
    """All that the page is about: lessons, training, judgements and sets of pairs."""
    folder, seed, sets = settings.run, settings.seed, pair_sets(settings.run)
    judged = judged_sets(folder, pairs, sets, seed)
    found = collect(folder, pairs=pairs, blind=settings.blind, lessons=settings.lessons, seed=seed, turns=not judged)
    return Page(found, judged, sets)


def html(page: Page, settings: Settings) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("diotima.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    findings = page.lessons
    examined = findings.examinations
    shown = [
        (pair.before.dialogue.problem, [shown_lesson(one, settings.thoughts) for one in (pair.before, pair.after)])
        for pair in findings.side_by_side
    ]
    kept = [
        (stage, [(one.dialogue.problem, shown_lesson(one, settings.thoughts)) for one in lessons])
        for stage, lessons in findings.kept.items()
    ]
    return environment.get_template("report.html").render(
        title=settings.title or f"diotima report: {settings.run.resolve().name}",
        verdict=page.verdict,
        summary=page.summary,
        notes=findings.notes,
        cautions=page.cautions,
        cards=_cards(findings),
        tutors=[tutor_table(examined, names) for names in (OUTCOMES, CONDUCT) if measured(examined, names)],
        compared=comparison_table(findings.comparisons) if findings.comparisons else None,
        figures=_figures(page),
        shown=shown,
        kept=kept,
        most_kept=KEPT,
        trained=findings.trained,
        thoughts=settings.thoughts,
        measures=[
            measure for measure in MEASURES.values() if any(measure.name in e.intervals for e in findings.examinations)
        ],
        stages=[(stage, _took(stage.started, stage.finished)) for stage in findings.stages],
        as_text=lambda value: json.dumps(value, indent=1, ensure_ascii=False, default=str),
    )


def _cards(findings: Findings) -> list[Card]:
    if not findings.pairs:
        return []
    compared = [c for name in CARDS if (c := findings.comparison(name, *findings.pairs[0]))]
    return [
        Card(
            MEASURES[c.measure].title,
            percent(c.first_mean),
            percent(c.second_mean),
            f"{points(c.interval.mean)} points",
            c.verdict,
        )
        for c in compared
    ]


def _figures(page: Page) -> list[Figure]:
    judged = (figure for found in page.judged for figure in judged_figures(found))
    return [*lesson_figures(page.lessons), *judged, *map(pair_figure, page.pairs), *curve_figures(page.lessons)]


def _took(started: str, finished: str) -> str:
    if not finished:
        return "not finished"
    try:
        seconds = round((datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())
    except ValueError:
        return ""
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min {seconds % 60:02} s"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror}); free space or give another folder as out."
        ) from error


def _print(found: Page, page: Path) -> None:
    from rich.console import Console

    console, findings = Console(), found.lessons
    console.print(f"\n{found.verdict}", style="bold", markup=False)
    for sentence in found.summary:
        console.print(sentence, markup=False, highlight=False)
    judged = (note for under in found.judged for note in under.notes)
    for note in dict.fromkeys([*findings.notes, *found.cautions, *judged]):
        console.print(f"Note: {note}.", style="yellow", markup=False, highlight=False)
    if findings.examinations:
        console.print()
        console.print(terminal(tutor_table(findings.examinations, brief=True)))
        console.print(legend(measured(findings.examinations)), style="dim", highlight=False)
    for under in found.judged:
        console.print(terminal(cross_table(under)))
    console.print(f"\nThe whole report, to read in a browser: {page}", markup=False, highlight=False, soft_wrap=True)
