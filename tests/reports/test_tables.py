import io
import json
from math import nan
from pathlib import Path

from rich.console import Console

from diotima.reports.collect import Comparison, Curve, Examination, Findings, collect
from diotima.reports.measures import MEASURES, Measure
from diotima.reports.tables import (
    DASH,
    TUTOR_MEASURES,
    Cell,
    comparison_table,
    curve_table,
    legend,
    measured,
    percent,
    plain,
    plain_interval,
    points,
    terminal,
    tutor_table,
)
from diotima.statistics import Interval


def examined(label: str, role: str = "reference", sibling: float = 0.5, **more: Interval) -> Examination:
    intervals = {"solved_sibling": Interval(sibling, sibling - 0.05, sibling + 0.05, 100), **more}
    return Examination(label, "exam", role, 100, intervals, 0.25)  # type: ignore[arg-type]


def compared(measure: str, low: float, high: float, verdict: str) -> Comparison:
    interval = Interval((low + high) / 2, low, high, 90)
    return Comparison(measure, "a", "b", 0.5, 0.5 + interval.mean, interval, 0.004, verdict)


def column(table: object, title: str) -> int:
    return [name for name, _ in table.columns].index(title)  # type: ignore[attr-defined]


def test_figures_are_written_with_a_true_minus_and_no_negative_zero() -> None:
    assert percent(0.4172) == "41.7%"
    assert points(-0.0512) == "\N{MINUS SIGN}5.1"
    assert points(-0.0001) == "+0.0"


def test_a_missing_measure_is_a_dash_and_a_partial_one_says_how_many() -> None:
    table = tutor_table(
        [
            examined("x", addressed=Interval(0.8, 0.7, 0.9, 61)),
            examined("y", sibling=0.1, leaked=Interval(0, 0, 0.1, 100)),
        ]
    )
    cells = table.rows[0].cells
    assert cells[column(table, "leak rate")].text == "\N{EN DASH}"
    assert cells[column(table, "leak rate")].detail == "0 of 100 valid"
    assert cells[column(table, "addresses a wrong step")].detail == "70.0\N{EN DASH}90.0\n61 of 100 valid"
    assert "valid" not in cells[column(table, "sibling problem")].detail


def test_what_no_tutor_has_gets_no_column() -> None:
    titles = [title for title, _ in tutor_table([examined("x"), examined("y", unread=Interval(0, 0, 0.1, 9))]).columns]
    assert titles == ["tutor", "n", "sibling problem", "unread answers"]
    assert [title for title, _ in tutor_table([], brief=True).columns] == ["tutor", "n"]


def test_levels_words_and_changes_are_written_each_in_its_way() -> None:
    measures = {
        "leak_level": Interval(2.125, 2, 2.25, 100),
        "delta_same": Interval(-0.05, -0.1, 0.02, 100),
        "tutor_words": Interval(41.25, 40, 42, 98),
        "unread": Interval(0.01, 0, 0.02, 100),
    }
    table = tutor_table([examined("x", **measures)])
    shown = [(table.rows[0].cells[column(table, title)]) for title in ("leak level", "change on the same")]
    assert [(cell.text, cell.detail) for cell in shown] == [
        ("2.12", f"2.00{DASH}2.25"),
        ("\N{MINUS SIGN}5.0", "\N{MINUS SIGN}10.0 to +2.0"),
    ]
    brief = tutor_table([examined("x", **measures)], brief=True)
    assert brief.rows[0].cells[column(brief, "words")] == Cell("41.2", "n=98")
    assert brief.rows[0].cells[column(brief, "unread")] == Cell("1%", f"0{DASH}2")


def test_limits_that_cannot_be_known_are_not_shown() -> None:
    one = Examination("x", "exam", "reference", 1, {"solved_same": Interval(0.5, nan, nan, 1)}, None)
    table = tutor_table([one])
    assert table.rows[0].cells[column(table, "same problem")] == Cell("50.0%")
    assert plain_interval(one.intervals["solved_same"]) == {"mean": 0.5, "low": None, "high": None, "n": 1}


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


def test_comparisons_have_a_row_a_pair_and_a_column_a_measure() -> None:
    table = comparison_table([compared("leaked", -0.2, -0.1, "better"), compared("well_formed", 0, 0, "equal")])
    assert [title for title, _ in table.columns] == ["tutors", "leak rate", "well-formed"]
    (row,) = table.rows
    assert row.cells[1].text == "\N{MINUS SIGN}15.0"
    assert row.cells[1].detail.splitlines()[0] == "\N{MINUS SIGN}20.0 to \N{MINUS SIGN}10.0"
    assert row.cells[1].detail.splitlines()[-2:] == ["better", "p 0.004, n=90"]
    assert row.cells[2].detail.splitlines()[1] == "equal"


def test_a_number_of_something_is_compared_in_its_own_unit() -> None:
    rated = Measure("rating", "rating", "rating", "from 1 to 5", "higher", "number")
    table = comparison_table([compared("rating", 0.5, 1.5, "better")], {"rating": rated})
    (cell,) = table.rows[0].cells[1:]
    assert cell.text == "+1.00"
    assert cell.detail.splitlines()[0] == "+0.50 to +1.50"


def test_the_table_of_a_curve_gives_means_of_blocks_of_steps() -> None:
    curve = Curve("grpo", "reward", tuple((step, float(step)) for step in range(1, 41)))
    table = curve_table([curve], rows=4)
    assert [[cell.text for cell in row.cells] for row in table.rows][:2] == [
        [f"1{DASH}10", "5.500"],
        [f"11{DASH}20", "15.500"],
    ]
    assert len(table.rows) == 4


def printed(width: int) -> list[str]:
    names = [name for name in TUTOR_MEASURES if name != "gain"]
    wide = dict.fromkeys(names, Interval(1.0, 0.95, 1.0, 99))
    tutors = [examined("scripted/random-step", gain=Interval(-0.1, -0.2, -0.1, 99), **wide)]
    out = io.StringIO()
    Console(file=out, width=width).print(terminal(tutor_table(tutors, brief=True)))
    return out.getvalue().splitlines()


def test_a_table_too_wide_for_its_terminal_goes_on_below() -> None:
    narrow, broad = printed(80), printed(140)
    assert max(map(len, narrow)) <= 80
    assert sum("scripted/" in line for line in broad) == 1
    assert [line.split()[0] for line in narrow if " leak " in line or " words" in line] == ["tutor", "tutor"]
    assert sum("random-step" in line for line in narrow) == 2
    for shown in (narrow, broad):
        text = "\n".join(shown)
        assert all(MEASURES[name].brief in text for name in TUTOR_MEASURES)
        assert "100%" in text
        assert f"95{DASH}100" in text
        assert "…\N{MINUS SIGN}10" in text
    assert "aims: addresses a wrong step" in legend()


def test_names_are_folded_only_where_that_saves_a_part() -> None:
    assert sum("scripted/guide" in line for line in shown_at(80, 6)) == 1
    assert sum("scripted/guide" in line for line in shown_at(80, 9)) == 2
    assert not any("scripted/guide" in line for line in shown_at(52, 4))
    assert sum(line.startswith(" scripted/ ") for line in shown_at(52, 4)) == 1


def shown_at(width: int, measures: int) -> list[str]:
    intervals = dict.fromkeys(TUTOR_MEASURES[:measures], Interval(1.0, 0.95, 1.0, 99))
    out = io.StringIO()
    table = tutor_table([Examination("scripted/guide", "exam", "blind", 100, intervals, None)], brief=True)
    Console(file=out, width=width).print(terminal(table))
    assert max(map(len, out.getvalue().splitlines())) <= width
    return out.getvalue().splitlines()


def test_the_caption_has_the_width_of_the_terminal_and_not_of_the_table() -> None:
    assert shown_at(80, 1)[0] == "Every tutor on the same lessons, with 95% intervals"


def test_the_legend_explains_what_is_shown_and_its_units() -> None:
    leaks = examined("x", leaked=Interval(0, 0, 0, 9), leak_level=Interval(0, 0, 0, 9))
    assert legend(measured([leaks])) == "leak: leak rate; level: leak level (0 to 4); sibling: sibling problem"
    assert "change: change on the same (points)" in legend()
    assert "gain: learning gain (points)" in legend()
    assert "words: tutor words (per lesson)" in legend()


def test_a_very_narrow_terminal_still_shows_every_column() -> None:
    text = "\n".join(printed(24))
    assert all(MEASURES[name].brief in text for name in TUTOR_MEASURES)


def test_the_plain_form_is_json_without_nan(demo: Path) -> None:
    findings: Findings = collect(demo, pairs=[("tiny T=1", "trained T=1")])
    text = json.dumps(plain(findings), allow_nan=False)
    tutors = {tutor["tutor"]: tutor for tutor in json.loads(text)["tutors"]}
    assert tutors["trained T=1"]["measures"]["solved_sibling"]["mean"] == 0.75
    assert tutors["trained T=1"]["measures"]["solved_sibling"]["n"] == 24
