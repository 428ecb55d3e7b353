"""What judges said, in figures: each measure of each label, with what is missing, and how far judges agree.

All of it is arithmetic on stored judgements. A case is what a judge was asked about: a turn, a whole dialogue, or one
order of a comparison. What several samples and judges come to about a case, `scoring.panel` says. A dialogue has the
mean over its cases if all of them have one, and none otherwise: a mean over the turns that happened to be readable is
another measure. What is missing is shown by what it could do: the bounds are the means if all that is missing were the
worst, or the best, that an answer on offer can come to.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from math import nan
from typing import Any

from diotima.dialogue import stable_seed
from diotima.reports.collect import interval_of
from diotima.reports.measures import Lesson, Measure, Values
from diotima.reports.tables import NONE, Cell, Row, Table, percent, plain_interval, value_text
from diotima.score import Judgement, Score
from diotima.scoring.panel import Disagreement, combine_exactly, disagreement
from diotima.scoring.rubric import Rubric, measure_bounds
from diotima.statistics import Interval

Case = tuple[int, str, str]  # position, against, order: which of a dialogue's cases it is
Combined = Fraction | Score  # a Score is what is missing, and why
Said = tuple[str, int, Judgement]  # problem id, seed, what a judge said of the dialogue

UNITS = {"turn": "turns", "dialogue": "dialogues", "comparison": "comparisons, both orders"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure over all cases that it applies to, or may: ``valid`` of ``cases`` have a value.

    ``interval``: of the mean on the valid, over problems. ``worst``, ``best``: the mean if all missing ones were so.
    """

    measure: Measure
    cases: int
    valid: int
    interval: Interval
    worst: float
    best: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What judges said of one label's dialogues.

    ``states``: how many judgements are valid, invalid, refused, errors. ``alone``: the headline by each judge alone,
    where there are several. ``differ``: by criterion. ``orders``: of so many comparisons made in both orders, how many
    came out otherwise in the other order. ``values``: by measure and dialogue.
    """

    label: str
    judges: tuple[str, ...]
    states: Mapping[str, int]
    measured: tuple[Measured, ...]
    alone: Mapping[str, Measured]
    differ: Mapping[str, Disagreement]
    orders: tuple[int, int]
    values: Mapping[str, Values]

    @property
    def validity(self) -> float:
        """The share of judgements that are valid; nan if nobody was asked."""
        asked = sum(self.states.values())
        return self.states.get("valid", 0) / asked if asked else nan


def dialogue_scores(rubric: Rubric, judgements: Iterable[Judgement]) -> dict[str, Score]:
    """What judges' verdicts on all cases of one dialogue come to, as scores called RUBRIC.MEASURE."""
    cases = _Panel(rubric).of_cases(judgements)
    return {f"{rubric.name}.{one.name}": _score(_found(cases, one.name), rubric) for one in rubric.measures}


def judged(label: str, rubric: Rubric, said: Iterable[Said], seed: int = 0) -> Judged:
    """The figures of a label; ``said`` in the order of dialogues, as `Run.judgements` gives it."""
    panel = _Panel(rubric)
    found: dict[str, _Found] = {one.name: _Found() for one in rubric.measures}
    alone: dict[str, _Found] = {}
    states: Counter[str] = Counter()
    differ: list[list[Judgement]] = []
    turned = [0, 0]
    for lesson, rows in groupby(said, key=lambda row: row[:2]):
        judgements = [judgement for _, _, judgement in rows]
        states.update(judgement.state for judgement in judgements)
        cases = _by_case(judgements)
        combined = [panel.combine(judged) for judged in cases.values()]
        for name, of_measure in found.items():
            of_measure.take(lesson, _found(combined, name))
        for judge in {judgement.judge for judgement in judgements}:
            own = panel.of_cases(judgement for judgement in judgements if judgement.judge == judge)
            alone.setdefault(judge, _Found()).take(lesson, _found(own, rubric.headline.name))
        differ += [judged for judged in cases.values() if len(judged) > 1]
        for both in _both_orders(judgements):
            turned[0] += 1
            turned[1] += both[0] != both[1]
    return Judged(
        label,
        tuple(sorted(alone)),
        dict(states),
        tuple(found[one.name].measured(rubric, one.name, seed) for one in rubric.measures),
        {judge: alone[judge].measured(rubric, rubric.headline.name, seed) for judge in sorted(alone) if len(alone) > 1},
        {name: one for name, one in disagreement(rubric, differ).items() if one.judge_pairs or one.sample_pairs},
        (turned[0], turned[1]),
        {name: of_measure.dialogues for name, of_measure in found.items()},
    )


def measure_of(rubric: Rubric, name: str) -> Measure:
    """A measure of a rubric as all tables know measures; a share if nothing on offer can leave 0..1."""
    title, inside = name.replace("_", " "), all(0 <= bound <= 1 for bound in measure_bounds(rubric, name))
    better = rubric.measure(name).better
    return Measure(name, title, title, f"{rubric.name}: {title}", better, "share" if inside else "number")


def judged_tables(rubric: Rubric, labels: Sequence[Judged]) -> list[Table]:
    """One table a label with one row a measure; and where several judge, one with the headline by each judge alone."""
    tables = []
    for one in labels:
        told = f"{one.label}: {rubric.name} ({rubric.fingerprint})"
        rows = tuple(Row((Cell(measured.measure.title), *_cells(measured))) for measured in one.measured)
        who = " and ".join(one.judges) or "nobody"
        tables.append(Table(f"{told} by {who}", _columns("measure", UNITS[rubric.judges]), rows))
        if one.alone:
            rows = tuple(Row((Cell(judge), *_cells(measured))) for judge, measured in one.alone.items())
            headline = rubric.headline.name.replace("_", " ")
            tables.append(
                Table(f"{told}: {headline} by each judge alone", _columns("judge", UNITS[rubric.judges]), rows)
            )
    return tables


def _columns(first: str, unit: str) -> tuple[tuple[str, str], ...]:
    return (
        (first, ""),
        ("n", f"how many {unit} it applies to, those without a verdict included"),
        ("valid", "how many of them have a verdict"),
        ("mean", "mean on the valid ones, with its 95% interval"),
        ("if missing were", "the mean if all without a verdict were the worst, or the best, that can be"),
    )


def notes_on(labels: Sequence[Judged]) -> list[str]:
    """What one has to know of these judges, label by label: what is missing, and where they differ."""
    notes = []
    for one in labels:
        missing = [
            f"{one.states[state]:,} {state}" for state in ("invalid", "refused", "error") if one.states.get(state)
        ]
        asked = sum(one.states.values())
        if missing:
            notes.append(f"{one.label}: of {asked:,} verdicts {', '.join(missing)} ({percent(one.validity)} are valid)")
        for what, pairs, differ in (
            ("two judges differ", "judge_pairs", "judges_differ"),
            ("two samples of a judge differ", "sample_pairs", "samples_differ"),
        ):
            shares = {name: (getattr(d, differ), getattr(d, pairs)) for name, d in one.differ.items()}
            told = ", ".join(f"{name} in {percent(n / of)}" for name, (n, of) in shares.items() if of)
            if told:
                notes.append(f"{one.label}: {what} on {told} of {max(of for _, of in shares.values()):,} pairs")
        compared, turned = one.orders
        if compared:
            notes.append(
                f"{one.label}: in {turned:,} of {compared:,} comparisons ({percent(turned / compared)}) the verdict "
                "was another when the two changed places"
            )
    return notes


def plain_judged(one: Judged) -> dict[str, Any]:
    """The figures of a label as JSON can hold them."""
    return {
        "tutor": one.label,
        "judges": list(one.judges),
        "states": dict(one.states),
        "measures": {measured.measure.name: _plain(measured) for measured in one.measured},
        "by_judge": {judge: _plain(measured) for judge, measured in one.alone.items()},
        "judges_differ": {name: [d.judges_differ, d.judge_pairs] for name, d in one.differ.items() if d.judge_pairs},
        "samples_differ": {
            name: [d.samples_differ, d.sample_pairs] for name, d in one.differ.items() if d.sample_pairs
        },
        "orders_differ": [one.orders[1], one.orders[0]] if one.orders[0] else None,
    }


def _plain(one: Measured) -> dict[str, Any]:
    known = one.worst == one.worst
    bounds = {"worst": one.worst if known else None, "best": one.best if known else None}
    return {"cases": one.cases, "valid": one.valid, **plain_interval(one.interval), **bounds}


def _cells(one: Measured) -> tuple[Cell, ...]:
    mean, low, high = (
        value_text(one.measure, value) for value in (one.interval.mean, one.interval.low, one.interval.high)
    )
    worst, best = (value_text(one.measure, value) for value in (one.worst, one.best))
    return (
        Cell(f"{one.cases:,}"),
        Cell(f"{one.valid:,}", percent(one.valid / one.cases) if one.cases else ""),
        Cell(mean, "" if low == NONE else f"{low} to {high}"),
        Cell(NONE) if one.valid == one.cases else Cell(f"{worst} worst", f"{best} best"),
    )


@dataclass(slots=True)
class _Panel:
    """Combines judgements, equal ones once: of ten thousand verdicts most are said a hundred times."""

    rubric: Rubric
    known: dict[tuple[tuple[object, ...], ...], Mapping[str, Combined]] = field(default_factory=dict)

    def combine(self, judgements: Sequence[Judgement]) -> Mapping[str, Combined]:
        if any(judgement.state != "valid" for judgement in judgements):
            return combine_exactly(self.rubric, judgements)
        key = tuple((judgement.judge, *judgement.labels.items()) for judgement in judgements)
        if key not in self.known:
            self.known[key] = combine_exactly(self.rubric, judgements)
        return self.known[key]

    def of_cases(self, judgements: Iterable[Judgement]) -> list[Mapping[str, Combined]]:
        return [self.combine(judged) for judged in _by_case(judgements).values()]


@dataclass(slots=True)
class _Found:
    """What one measure came to: its values by case, how many are missing, and the values of whole dialogues."""

    values: dict[Lesson, float] = field(default_factory=dict)  # numbered instead of with seeds
    missing: int = 0
    dialogues: dict[Lesson, float] = field(default_factory=dict)

    def take(self, lesson: Lesson, cases: Sequence[Combined]) -> None:
        values = [value for value in cases if isinstance(value, Fraction)]
        for value in values:
            self.values[lesson[0], len(self.values)] = float(value)
        self.missing += len(cases) - len(values)
        if values and len(values) == len(cases):
            self.dialogues[lesson] = float(sum(values, Fraction(0)) / len(values))

    def measured(self, rubric: Rubric, name: str, seed: int) -> Measured:
        measure, cases = measure_of(rubric, name), len(self.values) + self.missing
        binary = measure.kind == "share" and {*self.values.values()} <= {0.0, 1.0} and bool(self.values)
        interval = interval_of(self.values, binary, stable_seed("judged", seed, name))
        total = sum(self.values.values())
        worst, best = (
            (total + self.missing * float(bound)) / cases if cases else nan for bound in measure_bounds(rubric, name)
        )
        return Measured(measure, cases, len(self.values), interval, worst, best)


def _by_case(judgements: Iterable[Judgement]) -> dict[Case, list[Judgement]]:
    cases: dict[Case, list[Judgement]] = {}
    for judgement in judgements:
        cases.setdefault((judgement.position, judgement.against, judgement.order), []).append(judgement)
    return cases


def _found(cases: Iterable[Mapping[str, Combined]], measure: str) -> list[Combined]:
    """What a measure came to in the cases that it applies to."""
    return [case[measure] for case in cases if measure in case]


def _score(cases: Sequence[Combined], rubric: Rubric) -> Score:
    missing = [case for case in cases if isinstance(case, Score)]
    values = [case for case in cases if not isinstance(case, Score)]
    if missing:
        first = missing[0]
        count = f"{len(missing)} of {len(cases)} {UNITS[rubric.judges]} have no verdict: " if len(cases) > 1 else ""
        return Score.missing(count + first.reason, first.state)
    if not values:
        return Score.missing("there is nothing in the dialogue that it applies to")
    return Score(float(sum(values, Fraction(0)) / len(values)))


def _both_orders(judgements: Iterable[Judgement]) -> list[tuple[Mapping[str, str | int], Mapping[str, str | int]]]:
    """What one judge said of the same two turns in one order and in the other, where it said something in both."""
    orders: dict[tuple[object, ...], dict[str, Judgement]] = {}
    for one in judgements:
        if one.order and one.state == "valid":
            orders.setdefault((one.judge, one.sample, one.position, one.against), {})[one.order] = one
    return [(both["first"].labels, both["second"].labels) for both in orders.values() if len(both) == 2]
