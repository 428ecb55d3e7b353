import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from diotima.reports.collect import Comparison, Curve, Examination, Findings, collect
from diotima.reports.tables import (
    DASH,
    comparison_table,
    curve_table,
    legend,
    percent,
    plain,
    points,
    terminal,
    tutor_table,
    verdict_word,
)
from diotima.statistics import Interval


def examined(label: str, role: str = "reference", sibling: float = 0.5, **more: Interval) -> Examination:
    intervals = {"solved_sibling": Interval(sibling, sibling - 0.05, sibling + 0.05, 100), **more}
    return Examination(label, "exam", role, 100, intervals, 0.25)  # type: ignore[arg-type]


def compared(measure: str, low: float, high: float) -> Comparison:
    return Comparison(measure, "a", "b", 0.5, 0.5 + (low + high) / 2, Interval((low + high) / 2, low, high, 90))


def column(table: object, title: str) -> int:
    return [name for name, _ in table.columns].index(title)  # type: ignore[attr-defined]


def test_figures_are_written_with_a_true_minus_and_no_negative_zero() -> None:
    assert percent(0.4172) == "41.7%"
    assert points(-0.0512) == "\N{MINUS SIGN}5.1"
    assert points(-0.0001) == "+0.0"


def test_a_missing_measure_is_a_dash_and_a_partial_one_says_how_many() -> None:
    table = tutor_table([examined("x", addressed=Interval(0.8, 0.7, 0.9, 61))])
    cells = table.rows[0].cells
    assert cells[column(table, "leak rate")].text == "\N{EN DASH}"
    assert cells[column(table, "leak rate")].detail == "0 of 100 valid"
    assert cells[column(table, "addresses a wrong step")].detail == "70.0\N{EN DASH}90.0\n61 of 100 valid"
    assert "valid" not in cells[column(table, "sibling problem")].detail


def test_the_gain_is_signed_and_has_its_normalised_form_beside_it() -> None:
    table = tutor_table([examined("x", gain=Interval(-0.05, -0.1, 0.02, 100))])
    cell = table.rows[0].cells[column(table, "learning gain")]
    assert cell.text == "\N{MINUS SIGN}5.0"
    assert cell.detail == "\N{MINUS SIGN}10.0 to +2.0\nnormalised +0.25"


def test_the_trained_model_comes_first_then_the_best_teacher() -> None:
    tutors = [
        examined("poor", sibling=0.1),
        examined("good", sibling=0.9),
        examined("new", "after", 0.6),
        examined("old", "before", 0.8),
    ]
    assert [row.cells[0].text for row in tutor_table(tutors).rows] == ["old", "new", "good", "poor"]


@pytest.mark.parametrize(
    ("measure", "low", "high", "word"),
    [
        ("leaked", -0.2, -0.1, "better"),
        ("leaked", 0.1, 0.2, "worse"),
        ("solved_sibling", 0.1, 0.2, "better"),
        ("solved_sibling", -0.2, -0.1, "worse"),
        ("solved_same", 0.1, 0.2, "higher"),
        ("solved_same", -0.2, -0.1, "lower"),
        ("leaked", -0.1, 0.1, "not clear"),
        ("leaked", 0.0, 0.1, "not clear"),
        ("leaked", 0.0, 0.0, "equal"),
    ],
)
def test_the_verdict_depends_on_the_interval_and_on_what_is_good(
    measure: str, low: float, high: float, word: str
) -> None:
    assert verdict_word(compared(measure, low, high)) == word


def test_comparisons_have_a_row_a_pair_and_a_column_a_measure() -> None:
    table = comparison_table([compared("leaked", -0.2, -0.1), compared("well_formed", -0.1, 0.1)])
    assert [title for title, _ in table.columns] == ["tutors", "leak rate", "well-formed"]
    (row,) = table.rows
    assert row.cells[1].text == "\N{MINUS SIGN}15.0"
    assert row.cells[1].detail.splitlines()[-1] == "better, n=90"


def test_the_table_of_a_curve_gives_means_of_blocks_of_steps() -> None:
    curve = Curve("grpo", "reward", tuple((step, float(step)) for step in range(1, 41)))
    table = curve_table([curve], rows=4)
    assert [[cell.text for cell in row.cells] for row in table.rows][:2] == [
        [f"1{DASH}10", "5.500"],
        [f"11{DASH}20", "15.500"],
    ]
    assert len(table.rows) == 4


def test_the_brief_table_fits_a_terminal_of_80_columns() -> None:
    wide = Interval(1.0, 0.95, 1.0, 99)
    names = ("leaked", "solved_same", "control_sibling", "addressed", "well_formed", "tutor_turns")
    tutors = [examined("scripted/random-step", gain=Interval(-0.1, -0.2, -0.1, 99), **dict.fromkeys(names, wide))]
    out = io.StringIO()
    Console(file=out, width=80).print(terminal(tutor_table(tutors, brief=True)))
    assert "100%" in out.getvalue()
    assert f"95{DASH}100" in out.getvalue()
    assert "…\N{MINUS SIGN}10" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "aims: addresses a wrong step" in legend()


def test_the_plain_form_is_json_without_nan(demo: Path) -> None:
    findings: Findings = collect(demo, pairs=[("tiny T=1", "trained T=1")])
    text = json.dumps(plain(findings), allow_nan=False)
    tutors = {tutor["tutor"]: tutor for tutor in json.loads(text)["tutors"]}
    assert tutors["trained T=1"]["measures"]["solved_sibling"]["mean"] == 0.75
    assert tutors["trained T=1"]["measures"]["solved_sibling"]["n"] == 24
