"""What judges said, for the page: figures, sentences, and the same as JSON.

The first figure of a rubric is its headline by test set, with one row a tutor and one column a test set beside it: the
table in which EULER (Bonino et al. 2024) shows what a tutor that was trained on one set is worth on another. Then what
the headline is made of, then the differences, and what the calibrations of the judges say.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import isnan
from typing import Any

from diotima.reports.calibrated import calibration_tables, calibration_words
from diotima.reports.collect import Comparison
from diotima.reports.figures import Figure
from diotima.reports.judged import UNITS, Judged, Measured, judged_tables, measure_of, plain_judged
from diotima.reports.judged_charts import judged_chart
from diotima.reports.judged_sets import JudgedSet, UnderRubric
from diotima.reports.paired import EQUAL, NOT_CLEAR
from diotima.reports.tables import (
    NONE,
    Cell,
    Row,
    Table,
    change_text,
    comparison_table,
    p_text,
    plain_comparison,
    value_text,
)

MEANING = "mean on the valid, 95% interval; bounds: the mean if all without a verdict were the worst, or the best"


def judged_figures(found: UnderRubric) -> Iterator[Figure]:
    """All figures of one rubric."""
    rubric, roles = found.rubric, found.roles
    called = f"{rubric.name}-{rubric.fingerprint}"
    measures = [measure_of(rubric, one.name) for one in rubric.measures]
    charts = tuple(
        judged_chart(f"judged-{called}-{number}", one.name, one.tutors, measures[:1], roles)
        for number, one in enumerate(found.sets)
    )
    title = f"Rubric {rubric.name}: {found.headline.title}"
    yield Figure(title, _note(found), charts, (cross_table(found),), (*found.cautions, *found.notes), folded=False)
    tables = tuple(
        replace(table, caption=f"{one.name}. {table.caption}") if len(found.sets) > 1 else table
        for one in found.sets
        for table in judged_tables(rubric, one.tutors)
    )
    parts = tuple(
        judged_chart(f"parts-{called}-{number}", one.name, one.tutors, measures[1:], roles)
        for number, one in enumerate(found.sets)
        if len(measures) > 1
    )
    note = f"The same {UNITS[rubric.judges]}, each measure by itself."
    yield Figure(f"Rubric {rubric.name}: measure by measure", note, parts, tables, folded=bool(parts))
    if compared := [one for one in found.sets if one.comparisons]:
        yield Figure(
            f"Rubric {rubric.name}: differences",
            "What changes when the second tutor replies in place of the first: only contexts that both have a value "
            "for. A difference counts as one only if its p-value over problems, adjusted by Holm over these measures, "
            "is below 5%.",
            (),
            tuple(_differences(one, found) for one in compared),
            folded=False,
        )
    for judge, calibration in found.calibrations.items():
        if calibration is not None:
            yield Figure(
                f"How far {judge} agrees with people",
                " ".join(calibration_words(calibration)),
                (),
                tuple(calibration_tables(calibration)),
            )


def cross_table(found: UnderRubric) -> Table:
    """The headline, one row a tutor and one column a test set; what tutors were trained on, if of any that is known."""
    trained = [("trained on", "the problems of the pairs that it learned from")] if found.trained_on else []
    columns = [("tutor", ""), *trained, *((one.name, MEANING) for one in found.sets)]
    rows = []
    for label in found.labels:
        cells = [Cell(found.trained_on.get(label, NONE))] if trained else []
        cells += [_cell(next((one for one in test_set.tutors if one.label == label), None)) for test_set in found.sets]
        rows.append(Row((Cell(label), *cells), found.roles.get(label, "reference" if found.roles else "")))
    caption = f"{found.rubric.name} ({found.rubric.fingerprint}): {found.headline.title} by tutor and test set"
    return Table(caption, tuple(columns), tuple(rows))


def judged_sentences(found: UnderRubric) -> Iterator[str]:
    """The headline of the first two tutors that are compared, on each test set."""
    for one in found.sets:
        if comparison := next((c for c in one.comparisons if c.measure == found.headline.name), None):
            yield f"On {one.name}, {_who(one)} gave {_sentence(comparison, found)}."


def judged_verdict(found: UnderRubric) -> str:
    """One sentence for the top of a page without any examination: the headline of the first two that are compared."""
    compared = [(one.name, c) for one in found.sets for c in one.comparisons if c.measure == found.headline.name]
    if not compared:
        headlines = [tutor.measured[0] for one in found.sets for tutor in one.tutors]
        cases, valid = sum(one.cases for one in headlines), sum(one.valid for one in headlines)
        units = UNITS[found.rubric.judges].partition(",")[0]
        return f"{cases:,} {units} judged by {found.rubric.name}, {valid:,} of them with a verdict."
    first, second = compared[0][1].first, compared[0][1].second
    where: dict[str, list[str]] = {}
    for name, one in compared:
        if (one.first, one.second) == (first, second):
            clear = one.verdict not in (EQUAL, NOT_CLEAR)
            where.setdefault(f"{one.verdict} than" if clear else "not clearly different from", []).append(name)
    parts = [f"{verdict} {first} on {', '.join(names)}" for verdict, names in where.items()]
    return f"By {found.rubric.name}'s {found.headline.title}, {second} is {'; '.join(parts)}."


def plain_under(found: UnderRubric) -> dict[str, Any]:
    """The figures of a rubric as JSON can hold them."""
    return {
        "rubric": found.rubric.name,
        "fingerprint": found.rubric.fingerprint,
        "headline": found.headline.name,
        "trained_on": dict(found.trained_on),
        "sets": [
            {
                "name": one.name,
                "tutors": [plain_judged(tutor) for tutor in one.tutors],
                "comparisons": [plain_comparison(comparison) for comparison in one.comparisons],
            }
            for one in found.sets
        ],
        "calibrations": dict(found.calibrations),
        "notes": [*found.cautions, *found.notes],
    }


def _note(found: UnderRubric) -> str:
    judges = " and ".join(dict.fromkeys(judge for one in found.sets for tutor in one.tutors for judge in tutor.judges))
    said = [f"What {judges} said, one panel a test set."]
    if found.roles:
        said.append("Orange is before training, blue after; all others are grey.")
    said.append(
        "Lines are 95% intervals over problems. A score is a judge's opinion, and no proof that a student learns."
    )
    return " ".join(said)


def _cell(tutor: Judged | None) -> Cell:
    if tutor is None:
        return Cell(NONE)
    one: Measured = tutor.measured[0]
    low, high = (value_text(one.measure, limit) for limit in (one.interval.low, one.interval.high))
    small_print = [] if NONE in (low, high) else [f"{low} to {high}"]
    small_print.append(f"n={one.valid:,}" if one.valid == one.cases else f"{one.valid:,} of {one.cases:,} valid")
    if one.valid < one.cases:
        worst, best = (value_text(one.measure, bound) for bound in (one.worst, one.best))
        small_print.append(f"bounds {worst} to {best}")
    return Cell(value_text(one.measure, one.interval.mean), "\n".join(small_print))


def _differences(one: JudgedSet, found: UnderRubric) -> Table:
    measures = {measure.name: measure_of(found.rubric, measure.name) for measure in found.rubric.measures}
    caption = f"{one.name}: differences, paired by context, with 95% intervals"
    return comparison_table(one.comparisons, measures, caption)


def _who(one: JudgedSet) -> str:
    return " and ".join(dict.fromkeys(judge for tutor in one.tutors for judge in tutor.judges))


def _sentence(one: Comparison, found: UnderRubric) -> str:
    measure, interval = found.headline, one.interval
    first, second = value_text(measure, one.first_mean), value_text(measure, one.second_mean)
    means = f"{one.first} a mean {measure.title} of {first} and {one.second} {second}"
    if one.verdict == EQUAL:
        return f"{means} (equal in every problem, {interval.n:,} paired contexts)"
    low, high = (change_text(measure, limit) for limit in (interval.low, interval.high))
    unit = "" if measure.kind == "number" else " points"
    limits = "" if isnan(interval.low) else f", 95% interval {low} to {high}"
    chance = "" if one.sign else ", which may be chance"
    figures = f"{change_text(measure, interval.mean)}{unit}{limits}, adjusted p {p_text(one.p)}"
    return f"{means} ({figures}, {interval.n:,} paired contexts{chance})"
