"""`diotima tally`: what stored verdicts come to, weighed anew and compared; no judge is asked.

    diotima tally runs/judged
    diotima tally runs/before runs/after --weights '{helpful: 1/2, questions: 1/2}'
    diotima tally runs/judged --combine majority --label ours --label theirs

A run keeps the text of its rubric, so its verdicts mean what they meant when they were given, whatever rubrics are
shipped by now. Another file of the same criteria may be named instead: other credits, measures or ways to combine, on
what the judges said. The first label is the baseline; the others are set against it problem by problem, all measures of
the rubric are tested, and their p-values adjusted by Holm, as `diotima compare` does it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from diotima import settings as base
from diotima.benchmarks.compare import LEGEND, comparison_table, plain_difference
from diotima.benchmarks.comparison import Difference, difference
from diotima.errors import RunError, SettingsError
from diotima.reports.calibrated import on_trust
from diotima.reports.judged import Judged, judged, judged_tables, measure_of, notes_on, plain_judged
from diotima.reports.paired import EQUAL, LEVEL, NOT_CLEAR, judge, paired
from diotima.reports.tables import terminal
from diotima.runs.judgements import kept_rubric
from diotima.runs.manifest import write_json
from diotima.runs.run import Run
from diotima.runs.store import explained
from diotima.scoring.rubric import Rubric, load_rubric, reweighted
from diotima.settings import OneOrMore, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

WEIGHED = "weighed"
"""What a measure of the user's own weights is called."""


class Settings(base.Settings):
    """Which verdicts are counted, and how."""

    obvious_input: ClassVar[str] = "runs"

    runs: OneOrMore
    """Folders of runs with judgements."""
    rubric: str | None = None
    """Which rubric's verdicts, by its name; or a file with other measures of the same criteria."""
    weights: dict[str, str | int | float] = {}
    """Another headline: the weights of the criteria, such as {helpful: 1/2, questions: 1/2}."""
    combine: Literal["mean", "majority", "veto"] | None = None
    """How several samples or judges are combined; by default as the rubric says."""
    judge: OneOrMore = ()
    """Only the verdicts of these judges; by default of all."""
    label: OneOrMore = ()
    """Only these tutors, by their labels, the baseline first; by default all."""
    level: float = Field(LEVEL, gt=0, lt=1)
    """Coverage of the intervals of differences; one is clear if its adjusted p is below 1 - level."""
    seed: int = 0
    """Seed of the bootstrap and of the sign flips."""
    out: Path | None = None
    """A file .json for the figures."""


@dataclass(frozen=True, slots=True)
class Source:
    """The verdicts of one label of one run, under the rubric called ``rubric`` with that fingerprint."""

    folder: Path
    label: str
    rubric: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Against:
    """A label against the baseline, over ``problems`` that both have."""

    baseline: str
    new: str
    problems: int
    differences: tuple[Difference, ...]


def run(settings: Settings) -> dict[str, Any]:
    """Count, print and return the figures. Raises SettingsError or RunError if what is asked for is not there."""
    from rich.console import Console

    found = list(sources(settings))
    rubric = rubric_of(settings, found)
    counted = [_count(source, name, rubric, settings) for source, name in zip(found, _names(found), strict=True)]
    compared = [_against(rubric, counted[0], other, settings) for other in counted[1:]]
    console = Console(highlight=False, markup=False)
    notes = [*_notes(found, counted, rubric, settings), *notes_on(counted), *_trust(found, counted)]
    _show(rubric, counted, [one for one in compared if one], notes, settings.level, console)
    figures = {
        "rubric": rubric.name,
        "fingerprint": rubric.fingerprint,
        "combine": rubric.combine,
        "judged": [plain_judged(one) for one in counted],
        "compared": [_plain(one) for one in compared if one],
        "notes": notes,
    }
    if settings.out is not None:
        with explained(settings.out.parent):
            settings.out.parent.mkdir(parents=True, exist_ok=True)
            write_json(settings.out, figures)
    return figures


def sources(settings: Settings) -> Iterator[Source]:
    """The verdicts that are meant, label by label in the order asked for."""
    wanted, labels = settings.rubric, set[str]()
    for folder in map(Path, settings.runs):
        with Run.open(folder) as record:
            kept = dict[str, str]()
            for name, fingerprint in record.rubrics():
                if name in kept:
                    raise RunError(
                        f"{folder} holds verdicts under two texts of the rubric {name}; they cannot be mixed"
                    )
                kept[name] = fingerprint
            if not kept:
                raise RunError(
                    f"{folder} holds no verdicts of judges; make some with: diotima score {folder} --rubric euler "
                    "--judge MODEL --out RUN"
                )
            name = _which(folder, kept, wanted)
            labels |= {*record.labels()}
            for label in record.labels() if not settings.label else settings.label:
                if any(True for _ in record.judgements(label, name)):
                    yield Source(folder, label, name, kept[name])
    for label in settings.label:
        if label not in labels:
            raise SettingsError(f"label = {label}: there is none of this name; {did_you_mean(label, labels)}")


def _which(folder: Path, kept: Mapping[str, str], wanted: str | None) -> str:
    """Under which rubric the verdicts of this run are meant."""
    if wanted is None:
        if len(kept) > 1:
            raise SettingsError(f"{folder} holds verdicts under {', '.join(kept)}; choose by --rubric")
        return next(iter(kept))
    name = load_rubric(wanted).name if Path(wanted).is_file() else wanted
    if name not in kept and Path(wanted).is_file() and len(kept) == 1:
        return next(iter(kept))  # a file of another name, for the only verdicts that there are
    if name not in kept:
        raise SettingsError(f"{folder} holds no verdicts under the rubric {name}; {did_you_mean(name, kept)}")
    return name


def rubric_of(settings: Settings, found: Sequence[Source]) -> Rubric:
    """The rubric by which is counted: a file's, or the text that the first run has kept; with the settings over it."""
    if not found:
        raise SettingsError(f"there are no verdicts of {', '.join(settings.label) or 'anybody'} in these runs")
    if settings.rubric is not None and Path(settings.rubric).is_file():
        rubric = load_rubric(settings.rubric)
    else:
        first = found[0]
        path = kept_rubric(first.folder, first.rubric, first.fingerprint)
        if path is None:
            raise RunError(
                f"{first.folder} has lost the text of its rubric {first.rubric}; name a file of it with --rubric"
            )
        rubric = load_rubric(str(path))
    if settings.weights:
        rubric = reweighted(rubric, settings.weights, WEIGHED)
    return replace(rubric, combine=settings.combine) if settings.combine else rubric


def _names(found: Sequence[Source]) -> list[str]:
    """A name for each that tells it from the others: its label, its run, or both."""
    labels = [source.label or source.folder.name for source in found]
    folders = [source.folder.resolve().name for source in found]
    both = [f"{label} in {source.folder}" for label, source in zip(labels, found, strict=True)]
    return next((names for names in (labels, folders) if len(set(names)) == len(names)), both)


def _count(source: Source, name: str, rubric: Rubric, settings: Settings) -> Judged:
    with Run.open(source.folder) as record:
        rows = list(record.judgements(source.label, source.rubric))
    judges = {judgement.judge for _, _, judgement in rows}
    for judge_name in settings.judge:
        if judge_name not in judges:
            raise SettingsError(f"judge = {judge_name}: gave no verdicts on {name}; {did_you_mean(judge_name, judges)}")
    wanted = set(settings.judge) or judges
    return judged(name, rubric, [row for row in rows if row[2].judge in wanted], settings.seed)


def _against(rubric: Rubric, baseline: Judged, new: Judged, settings: Settings) -> Against | None:
    """The new one against the baseline; None if they share no problem."""
    measures = [measure_of(rubric, one.name) for one in rubric.measures]
    both = [paired(one, baseline.values[one.name], new.values[one.name]) for one in measures]
    pairs = [one for one in both if one]
    if not pairs:
        return None
    problems = len({problem for problem, _ in _lessons(baseline)} & {problem for problem, _ in _lessons(new)})
    verdicts = judge(pairs, settings.level, settings.seed, [one.name for one in measures])
    found = (difference(one, verdicts[one.measure.name], problems, settings.level, settings.seed) for one in pairs)
    return Against(baseline.label, new.label, problems, tuple(found))


def _lessons(one: Judged) -> set[tuple[str, int]]:
    return {lesson for values in one.values.values() for lesson in values}


def _notes(found: Sequence[Source], counted: Sequence[Judged], rubric: Rubric, settings: Settings) -> list[str]:
    texts, name = sorted({source.fingerprint for source in found}), found[0].rubric
    notes = []
    if len(texts) > 1:
        notes.append(
            f"The judges did not all read the same text of {name} ({', '.join(texts)}): that may be a difference"
        )
    elif texts != [rubric.fingerprint]:
        notes.append(f"The judges read {name} {texts[0]}; it is counted here by {rubric.name} {rubric.fingerprint}")
    if settings.combine:
        notes.append(f"Several verdicts on one case are combined by {rubric.combine}, as was asked for")
    if len(panels := {" and ".join(one.judges) for one in counted}) > 1:
        notes.append(f"Not all were judged by the same ({'; '.join(sorted(panels))}): that may be a difference")
    return notes


def _trust(found: Sequence[Source], counted: Sequence[Judged]) -> list[str]:
    """What is known of the judges whose verdicts are counted, each told once."""
    both = zip(found, counted, strict=True)
    return list(dict.fromkeys(said for source, one in both for said in on_trust(source.folder, one.judges)))


def _show(
    rubric: Rubric,
    counted: Sequence[Judged],
    compared: Sequence[Against],
    notes: Sequence[str],
    level: float,
    console: "Console",
) -> None:
    for table in judged_tables(rubric, counted):
        console.print(terminal(table))
    for one in compared:
        console.print(terminal(comparison_table(one.baseline, one.new, one.problems, one.differences, level)))
        console.print(_conclusion(one), style="bold")
    if len(counted) > 1 and len(compared) < len(counted) - 1:
        notes = [*notes, f"{counted[0].label} shares no judged problem with some of the others"]
    for note in notes:
        console.print(f"{note}.", style="dim")
    if compared:
        console.print(LEGEND, style="dim")


def _conclusion(one: Against) -> str:
    """What is clear between the two, in plain words."""
    clear = [found for found in one.differences if found.verdict not in (NOT_CLEAR, EQUAL)]
    if not clear:
        return f"{one.new} and {one.baseline} do not differ clearly."
    return f"{one.new} against {one.baseline}: " + ", ".join(f"{c.measure.title} {c.verdict}" for c in clear) + "."


def _plain(one: Against) -> dict[str, Any]:
    return {
        "baseline": one.baseline,
        "new": one.new,
        "problems": one.problems,
        "conclusion": _conclusion(one),
        "measures": [plain_difference(found) for found in one.differences],
    }
