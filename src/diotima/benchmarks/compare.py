"""`diotima compare`: is this tutor better than that one?

The first run is the baseline; every other is compared with it, problem by problem, as `comparison.py` says. What is
printed is kept as ``comparison.txt``, and all figures beside it as ``comparison.json``.

    diotima compare runs/before runs/after
    diotima compare runs/demo --label 'tiny T=1' --label 'trained T=1'
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from diotima import settings as base
from diotima.benchmarks.comparison import Compared, Difference, Side, compare
from diotima.errors import RunError, SettingsError
from diotima.reports.collect import read_lessons
from diotima.reports.measures import Measure
from diotima.reports.paired import EQUAL, LEVEL, NOT_CLEAR
from diotima.reports.tables import (
    NONE,
    Cell,
    Row,
    Table,
    change_text,
    p_text,
    plain_interval,
    signed,
    terminal,
    value_text,
)
from diotima.runs.manifest import write_json
from diotima.runs.run import Run
from diotima.runs.store import explained
from diotima.settings import OneOrMore, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

PHRASES = {
    "leaked": "the tutor gives the answer away",
    "solved_sibling": "students solve the sibling problem",
    "solved_same": "students solve the same problem again",
    "addressed": "the tutor's turns are about a wrong step",
    "well_formed": "the tutor's turns keep the rules of form",
}
LEGEND = (
    "difference: new minus baseline, shares in points; p: exact McNemar or sign flips, Holm-adjusted, "
    f"{NONE} not tested; equal: the same in every problem; effect: mean difference in standard deviations, and "
    "problems with it in the baseline only : in the new only; smallest: the smallest difference that so many problems "
    "show in four of five cases"
)


class Settings(base.Settings):
    """Which tutors are compared."""

    obvious_input: ClassVar[str] = "runs"

    runs: OneOrMore
    """Folders of runs, or of recipes; the first is the baseline that every other is compared with."""
    label: OneOrMore = ()
    """Which tutor, by its label: once for all runs, or once for each in their order; two labels within a single run."""
    level: float = Field(LEVEL, gt=0, lt=1)
    """Coverage of the intervals; a difference is clear if its adjusted p is below 1 - level."""
    out: Path | None = None
    """A file .json for the figures, with the table as .txt beside it, or a folder; by default the last run's."""
    seed: int = 0
    """Seed of the bootstrap and of the sign flips."""


def run(settings: Settings) -> Path:
    """Compare, print a table and a sentence for each pair, and keep both as text and as JSON; returns the text's path.

    Raises SettingsError if it is not clear which tutors are meant, RunError if two of them share no problem or the
    files cannot be written; the table is printed before that.
    """
    from rich.console import Console

    baseline, *others = sides(settings)
    compared = [compare(baseline, other, settings.level, settings.seed) for other in others]
    show(compared, settings.level, Console())
    out = settings.out or Path(settings.runs[-1])
    figures = out if out.suffix == ".json" else out / "comparison.json"
    with explained(figures.parent):
        figures.parent.mkdir(parents=True, exist_ok=True)
        write_json(figures, {"level": settings.level, "comparisons": [plain(one) for one in compared]})
        with figures.with_suffix(".txt").open("w", encoding="utf-8") as file:
            show(compared, settings.level, Console(file=file, width=100, no_color=True))
    return figures.with_suffix(".txt")


def sides(settings: Settings) -> list[Side]:
    """The tutors that are meant, the baseline first, each under a name that tells it from the others."""
    runs, labels = settings.runs, settings.label
    if len(runs) == 1 and len(labels) > 1:
        runs = runs * len(labels)
    if len(runs) < 2:
        tutors = ", ".join(name for run in runs for name in read_lessons(Path(run))) or "none"
        raise SettingsError(
            f"one run is nothing to compare; give another, or two of its tutors by --label, which are: {tutors}"
        )
    if len(labels) > 1 and len(labels) != len(runs):
        raise SettingsError(f"there are {len(runs)} runs but {len(labels)} labels; give one for all, or one for each")
    wanted = [*labels * len(runs)][: len(runs)] if labels else [""] * len(runs)
    found = [_side(run, label) for run, label in zip(runs, wanted, strict=True)]
    by_folder = [replace(side, name=Path(side.run).resolve().name) for side in found]
    by_both = [replace(side, name=f"{side.name} in {side.run}") for side in found]
    for named in (found, by_folder, by_both):
        if len({side.name for side in named}) == len(named):
            return named
    raise SettingsError(f"{found[0].name} in {found[0].run} is compared with itself; name another run or another label")


def _side(folder: str, label: str) -> Side:
    tutors = read_lessons(Path(folder))
    if not tutors:
        raise RunError(f"{folder} holds no scored lessons; give the folder of an evaluation, or of lessons held")
    if label and label not in tutors:
        raise SettingsError(f"{folder} has no tutor {label}; {did_you_mean(label, tutors)}")
    chosen = [label] if label else [name for name in tutors if len(tutors) == 1 or not tutors[name].scripted]
    if len(chosen) != 1:
        raise SettingsError(f"{folder} has several tutors, choose one by --label: {', '.join(tutors)}")
    lessons = tutors[chosen[0]]
    with Run.open(lessons.folder) as run:
        problems = [record.dialogue.problem for record in run.records(lessons.label)]
        questions = {problem.id: problem.question for problem in problems}
        manifest = run.manifest
    commit = str(manifest.get("commit") or "")
    versions = {**manifest["versions"], "commit": commit[:7] + commit[40:]}
    return Side(chosen[0], folder, lessons, manifest["settings"], questions, bool(manifest["finished"]), versions)


def comparison_table(baseline: str, new: str, problems: int, differences: Sequence[Difference], level: float) -> Table:
    """One row a measure; the interval stands under the difference, the verdict under p."""
    columns = ("measure", "baseline", "new", "difference", "p (Holm)", "effect", "smallest")
    return Table(
        f"{new} against {baseline} (baseline): {problems:,} problems, {100 * level:g}% intervals",
        tuple((title, "") for title in columns),
        tuple(map(_row, differences)),
    )


def _row(one: Difference) -> Row:
    low, high = (change_text(one.measure, limit) for limit in (one.interval.low, one.interval.high))
    return Row(
        (
            Cell(one.measure.title, f"n={one.interval.n}" if one.left_out else ""),
            Cell(value_text(one.measure, one.baseline)),
            Cell(value_text(one.measure, one.new)),
            Cell(
                change_text(one.measure, one.interval.mean),
                "" if one.verdict == EQUAL or NONE in (low, high) else f"{low} to {high}",
            ),
            Cell(p_text(one.adjusted), one.verdict),
            Cell(
                NONE if isnan(one.effect) else signed(one.effect, 2),
                f"{one.only[0]} : {one.only[1]}" if one.only else "",
            ),
            Cell(_size(one.measure, one.smallest)),
        )
    )


def _size(measure: Measure, value: float) -> str:
    return change_text(measure, abs(value)).lstrip("+")


def conclusion(compared: Compared) -> str:
    """What the tested measures say, in plain words: what is clear, what is not, and what could not have been shown."""
    tested = [one for one in compared.differences if one.test]
    clear = [one for one in tested if one.verdict not in (NOT_CLEAR, EQUAL)]
    equal, unclear = ([one for one in tested if one.verdict == word] for word in (EQUAL, NOT_CLEAR))
    sentences = [_headline(compared, {one.verdict for one in clear}) + "; ".join(map(_clearly, clear)) + "."]
    if equal:
        sentences.append(f"Equal in every problem: {', '.join(one.measure.title for one in equal)}.")
    if unclear:
        sentences.append(f"Not clear: {', '.join(one.measure.title for one in unclear)}.")
    if seen := [one for one in unclear if not isnan(one.smallest)]:
        limits = ", ".join(
            f"{_size(one.measure, one.smallest)} points ({one.measure.title}, {one.interval.n:,} problems)"
            for one in seen
        )
        sentences.append(f"A difference below {limits} could not be shown.")
    return " ".join(sentences)


def _headline(compared: Compared, verdicts: set[str]) -> str:
    new, baseline = compared.new.name, compared.baseline.name
    match ("better" in verdicts, "worse" in verdicts):
        case (True, True):
            return f"{new} is better in some things and worse in others than {baseline}: "
        case (True, False):
            return f"{new} is better than {baseline}: "
        case (False, True):
            return f"{new} is worse than {baseline}: "
    return f"{new} and {baseline} differ: " if verdicts else f"{new} is not clearly better or worse than {baseline}"


def _clearly(one: Difference) -> str:
    more = one.interval.mean > 0
    low, high = (one.interval.low, one.interval.high) if more else (-one.interval.high, -one.interval.low)
    return (
        f"{PHRASES[one.measure.name]} {_size(one.measure, one.interval.mean)} points "
        f"{'more' if more else 'less'} often ({100 * low:.1f} to {100 * high:.1f})"
    )


def show(compared: Sequence[Compared], level: float, console: "Console") -> None:
    """Print a table, what is to be known about it, and the conclusion, for each pair."""
    for one in compared:
        names = one.baseline.name, one.new.name
        console.print(terminal(comparison_table(*names, one.problems, one.differences, level)))
        for note in one.notes:
            console.print(f"Note: {note}.", style="yellow", highlight=False, markup=False)
        console.print(conclusion(one), style="bold", highlight=False, markup=False)
        console.print()
    console.print(LEGEND, style="dim", highlight=False)


def plain(compared: Compared) -> dict[str, Any]:
    """A comparison as JSON can hold it: shares in 0..1, None for what cannot be known or was not tested."""
    return {
        "baseline": {"tutor": compared.baseline.name, "run": compared.baseline.run},
        "new": {"tutor": compared.new.name, "run": compared.new.run},
        "problems": compared.problems,
        "conclusion": conclusion(compared),
        "notes": list(compared.notes),
        "measures": [plain_difference(one) for one in compared.differences],
    }


def plain_difference(one: Difference) -> dict[str, Any]:
    """A difference as JSON can hold it."""

    def known(value: float) -> float | None:
        return None if isnan(value) else value

    return {
        "measure": one.measure.name,
        "baseline": one.baseline,
        "new": one.new,
        "difference": plain_interval(one.interval),
        "left_out": one.left_out,
        "test": one.test or None,
        "p": known(one.p),
        "p_holm": known(one.adjusted),
        "effect": known(one.effect),
        "only_baseline_only_new": one.only,
        "smallest": known(one.smallest),
        "verdict": one.verdict or None,
    }
