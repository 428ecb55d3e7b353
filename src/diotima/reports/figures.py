"""The figures of a page: charts that belong together, what is to be read beside them, and the same as tables."""

from collections.abc import Iterator
from dataclasses import dataclass

from diotima.reports.charts import Chart, bar_charts, transfer_chart
from diotima.reports.collect import Findings
from diotima.reports.curve_charts import curve_charts
from diotima.reports.tables import Table, curve_table, tutor_table


@dataclass(frozen=True, slots=True)
class Figure:
    """Charts, and the same figures as tables, which are ``folded`` away or stand open.

    ``note``: how to read them. ``cautions``: what to know before trusting them.
    """

    title: str
    note: str
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    cautions: tuple[str, ...] = ()
    folded: bool = True


def lesson_figures(findings: Findings) -> Iterator[Figure]:
    """What came of lessons: the trained tutor against the others, and what was learned against what was copied."""
    examined = findings.examinations
    if bars := bar_charts(examined):
        table = tutor_table(examined, ("leaked", "solved_sibling", "control_sibling"))
        yield Figure("Against the reference tutors", _colours(findings), bars, (table,))
    if transfer := transfer_chart(examined):
        note = "A student can solve the same problem again by copying an answer that the tutor gave away. The sibling "
        note += "has other numbers: far below the diagonal, lessons were copied and not learned."
        table = tutor_table(examined, ("solved_same", "solved_sibling"))
        yield Figure("Same problem, sibling problem", note, (transfer,), (table,))


def curve_figures(findings: Findings) -> Iterator[Figure]:
    """The learning curves of each stage that trained. What was counted before the first step only is no curve."""
    for stage in findings.stages:
        own = [curve for curve in findings.curves if curve.stage == stage.name]
        curves = [curve for curve in own if curve.points[-1][0] > 0]
        if charts := curve_charts(curves):
            note = "Faint: each step. Bold: the mean of the ten steps around it; of fewer than twenty, each step."
            counted = {curve.name: round(curve.points[-1][1]) for curve in own if curve not in curves}
            if "pairs" in counted:
                note += f" Trained on {counted['pairs']:,} pairs"
                note += f"; {counted.get('pairs_too_long', 0):,} were too long and left out."
            yield Figure(f"Learning curves: {stage.name}", note, charts, (curve_table(curves),))


def _colours(findings: Findings) -> str:
    said = []
    if findings.pairs:
        before, after = ("the tutor before training", "after") if findings.trained else findings.pairs[0]
        said.append(f"Orange is {before}, blue {after}; all others are grey.")
    if findings.blind:
        said.append("The paler ones never look at the student.")
    return " ".join((*said, "Lines are 95% intervals."))
