"""The figures as tables: one neutral value, shown in the terminal, in the page, and as plain JSON.

A cell has a figure and, smaller, what one must know to trust it: the 95 % interval, and how many lessons have a
valid score where not all have. Missing stays visible, as a dash or as a count; it is never a zero. Only what no tutor
of a table has at all gets no column.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any

from diotima.reports.collect import Comparison, Curve, Examination, Findings
from diotima.reports.measures import GAIN, MEASURES, Measure
from diotima.reports.paired import EQUAL
from diotima.statistics import Interval

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable

MINUS = "\N{MINUS SIGN}"
NONE = DASH = "\N{EN DASH}"
ARROW = "\N{RIGHTWARDS ARROW}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
OUTCOMES = (
    "leaked",
    "leak_level",
    "solved_same",
    "delta_same",
    "solved_sibling",
    "control_sibling",
    GAIN,
    "unread",
)
CONDUCT = ("addressed", "well_formed", "tutor_turns", "tutor_words")
TUTOR_MEASURES = (*OUTCOMES, *CONDUCT)
FIRST_COLUMN = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure as text and, in ``detail``, its interval or other small print."""

    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of one row; ``role`` (of a tutor) or "" decides its colour."""

    cells: tuple[Cell, ...]
    role: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, the columns as (title, meaning), and rows as long as the columns are many."""

    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage: ``41.7%``."""
    return f"{100 * share:.{digits}f}%"


def points(difference: float, digits: int = 1) -> str:
    """A signed difference of shares in percentage points: ``+5.1``."""
    return signed(100 * difference, digits)


def difference_text(interval: Interval, digits: int = 1, between: str = " to ") -> str:
    """The bounds of an interval of differences, in percentage points: ``+1.0 to +9.2``."""
    return f"{points(interval.low, digits)}{between}{points(interval.high, digits)}"


def value_text(measure: Measure, value: float, digits: int = 1) -> str:
    """A value of a measure: a percentage, signed percentage points, or a number with one digit more."""
    if isnan(value):
        return NONE
    if measure.kind == "share":
        return percent(value, digits)
    return points(value, digits) if measure.kind == "difference" else f"{value:.{digits + 1}f}"


def change_text(measure: Measure, change: float) -> str:
    """How far a value of a measure has moved: signed, in percentage points unless it is a number of something."""
    if isnan(change):
        return NONE
    return signed(change, 2) if measure.kind == "number" else points(change)


def p_text(p: float) -> str:
    """A p-value with three digits, a dash where nothing was tested."""
    return NONE if isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def ordered(examinations: Iterable[Examination]) -> list[Examination]:
    """The trained model first, before above after; then all others by what their students learned, best first."""

    def rank(examination: Examination) -> tuple[int, float, str]:
        group = {"before": 0, "after": 1}.get(examination.role, 2)
        learned = examination.mean("solved_sibling") or 0.0
        return group, -learned if group == 2 else 0.0, examination.label

    return sorted(examinations, key=rank)


def tutor_table(
    examinations: Sequence[Examination], names: Sequence[str] = TUTOR_MEASURES, brief: bool = False
) -> Table:
    """One row a tutor, one column a measure that any of them has. ``brief``: short titles and whole percents."""
    measures = [MEASURES[name] for name in measured(examinations, names)]
    columns = [("tutor", ""), ("n", "how many lessons the tutor gave")]
    columns += [(measure.brief if brief else measure.title, measure.meaning) for measure in measures]
    rows = (
        Row((Cell(e.label), Cell(str(e.lessons)), *(_measured(e, measure, brief) for measure in measures)), e.role)
        for e in ordered(examinations)
    )
    return Table("Every tutor on the same lessons, with 95% intervals", tuple(columns), tuple(rows))


def measured(examinations: Sequence[Examination], names: Sequence[str] = TUTOR_MEASURES) -> list[str]:
    """Which of these measures any of the tutors has."""
    return [name for name in names if any(name in examination.intervals for examination in examinations)]


def _measured(examination: Examination, measure: Measure, brief: bool) -> Cell:
    interval, lessons = examination.intervals.get(measure.name), examination.lessons
    if interval is None:
        return Cell(NONE, "n=0" if brief else f"0 of {lessons} valid")
    digits, small_print = (0 if brief else 1), []
    if not isnan(interval.low) and not (brief and measure.kind == "number"):
        small_print.append(_limits(measure, interval, digits, brief))
    if measure.name == GAIN and not brief and examination.normalised_gain is not None:
        small_print.append(f"normalised {signed(examination.normalised_gain, 2)}")
    if interval.n < lessons:
        small_print.append(f"n={interval.n}" if brief else f"{interval.n} of {lessons} valid")
    return Cell(value_text(measure, interval.mean, digits), "\n".join(small_print))


def _limits(measure: Measure, interval: Interval, digits: int, brief: bool) -> str:
    if measure.kind == "difference":
        return difference_text(interval, digits, ELLIPSIS if brief else " to ")
    if measure.kind == "share":
        return f"{100 * interval.low:.{digits}f}{DASH}{100 * interval.high:.{digits}f}"
    return f"{interval.low:.2f}{DASH}{interval.high:.2f}"


def comparison_table(
    comparisons: Sequence[Comparison],
    measures: Mapping[str, Measure] = MEASURES,
    caption: str = "Differences in percentage points, paired by lesson, with 95% intervals",
) -> Table:
    """One row a pair of tutors, one column a measure: the difference, from what to what, and what it says."""
    names = [name for name in measures if any(c.measure == name for c in comparisons)]
    cells = {(c.first, c.second, c.measure): _difference(c, measures[c.measure]) for c in comparisons}
    columns = (("tutors", ""), *((measures[name].title, f"difference of: {measures[name].meaning}") for name in names))
    rows = (
        Row((Cell(f"{first} {ARROW} {second}"), *(cells.get((first, second, name), Cell(NONE)) for name in names)))
        for first, second in dict.fromkeys((c.first, c.second) for c in comparisons)
    )
    return Table(caption, columns, tuple(rows))


def _difference(comparison: Comparison, measure: Measure) -> Cell:
    interval = comparison.interval
    low, high = (change_text(measure, limit) for limit in (interval.low, interval.high))
    first, second = (value_text(measure, mean) for mean in (comparison.first_mean, comparison.second_mean))
    lines = (
        *([f"{low} to {high}"] if comparison.verdict != EQUAL and NONE not in (low, high) else []),
        f"{first} {ARROW} {second}",
        comparison.verdict,
        f"p {p_text(comparison.p)}, n={interval.n}",
    )
    return Cell(change_text(measure, interval.mean), "\n".join(lines))


def curve_table(curves: Sequence[Curve], rows: int = 12) -> Table:
    """The values of some metrics at about ``rows`` evenly spread steps, each the mean since the step above it."""
    steps = sorted({step for curve in curves for step, _ in curve.points})
    stride = max(1, -(-len(steps) // rows))
    blocks = [steps[start : start + stride] for start in range(0, len(steps), stride)]
    body = []
    for block in blocks:
        means = []
        for curve in curves:
            inside = [value for step, value in curve.points if block[0] <= step <= block[-1]]
            means.append(Cell(f"{sum(inside) / len(inside):.3f}" if inside else NONE))
        span = str(block[0]) if len(block) == 1 else f"{block[0]}{DASH}{block[-1]}"
        body.append(Row((Cell(span), *means)))
    columns = (("steps", ""), *((curve.name, "mean over these steps") for curve in curves))
    return Table("Means over the steps of training", columns, tuple(body))


def legend(names: Sequence[str] = TUTOR_MEASURES) -> str:
    """What the short titles of a brief table stand for, and in which unit its figures are where not in per cent."""
    shown = [MEASURES[name] for name in names]
    return "; ".join(f"{one.brief}: {one.title}{f' ({one.unit})' if one.unit else ''}" for one in shown)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A table as rich prints it: what is too wide for the terminal goes on below, with the first column again.

    That column is folded only where this saves a part.
    """

    table: Table

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        if self.table.caption:
            yield Text(self.table.caption, style="italic")
        needed, width = _needed(self.table), options.max_width
        whole, folded = (list(_parts(self.table, first, needed, width)) for first in (needed[0], FIRST_COLUMN))
        fits = needed[0] + max(needed[1:]) <= width
        for part in whole if fits and len(whole) <= len(folded) else map(_folded, folded):
            yield _rich(part)


def terminal(table: Table) -> Terminal:
    """The table for a terminal; intervals stand under their figures."""
    return Terminal(table)


def _needed(table: Table) -> list[int]:
    """How wide each column has to be so that none of its lines is broken."""
    texts = [[title for title, _ in table.columns]]
    texts += [[f"{cell.text}\n{cell.detail}" for cell in row.cells] for row in table.rows]
    return [2 + max(len(line) for text in column for line in text.split("\n")) for column in zip(*texts, strict=True)]


def _parts(table: Table, first: int, needed: Sequence[int], width: int) -> Iterator[Table]:
    start = 1
    while start < len(needed):
        room, end = width - min(needed[0], first) - needed[start], start + 1
        while end < len(needed) and needed[end] <= room:
            room -= needed[end]
            end += 1
        yield Table(
            table.caption,
            table.columns[:1] + table.columns[start:end],
            tuple(Row(row.cells[:1] + row.cells[start:end], row.role) for row in table.rows),
        )
        start = end


def _folded(table: Table) -> Table:
    """Names such as ``scripted/guide`` are broken behind the stroke and not just anywhere."""
    return replace(
        table,
        rows=tuple(
            replace(row, cells=(replace(row.cells[0], text=row.cells[0].text.replace("/", "/\n", 1)), *row.cells[1:]))
            for row in table.rows
        ),
    )


def _rich(table: Table) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for position, (title, _) in enumerate(table.columns):
        shown.add_column(title, justify="right" if position else "left", overflow="fold", no_wrap=position > 0)
    for row in table.rows:
        bold = "bold" if row.role in ("before", "after") else ""
        shown.add_row(
            *(
                Text.assemble((cell.text, bold), (f"\n{cell.detail}", "dim") if cell.detail else "")
                for cell in row.cells
            )
        )
    return shown


def plain(findings: Findings) -> dict[str, Any]:
    """All figures as JSON can hold them: shares in 0..1, None where there is nothing."""
    return {
        "tutors": [
            {
                "tutor": e.label,
                "stage": e.stage,
                "role": e.role,
                "lessons": e.lessons,
                "normalised_gain": e.normalised_gain,
                "measures": {name: plain_interval(interval) for name, interval in e.intervals.items()},
            }
            for e in ordered(findings.examinations)
        ],
        "comparisons": [plain_comparison(c) for c in findings.comparisons],
        "stages": [
            {"name": s.name, "stage": s.what, "seed": s.seed, "started": s.started, "finished": s.finished}
            for s in findings.stages
        ],
        "notes": list(findings.notes),
    }


def plain_comparison(one: Comparison) -> dict[str, Any]:
    """A comparison as JSON can hold it."""
    return {
        "first": one.first,
        "second": one.second,
        "measure": one.measure,
        "first_mean": one.first_mean,
        "second_mean": one.second_mean,
        "difference": plain_interval(one.interval),
        "p_holm": None if isnan(one.p) else one.p,
        "verdict": one.verdict,
    }


def plain_interval(interval: Interval) -> dict[str, float | int | None]:
    """An interval as JSON can hold it: a limit that cannot be known is None."""
    limits = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {**{name: None if isnan(value) else value for name, value in limits.items()}, "n": interval.n}


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, a true minus, and no negative zero."""
    without_negative_zero = round(value, digits) + 0.0
    return f"{without_negative_zero:+.{digits}f}".replace("-", MINUS)
