from collections.abc import Mapping
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from diotima.benchmarks.comparison import SECONDARY, Compared, Difference, Side, compare
from diotima.errors import RunError
from diotima.reports.collect import Lessons
from diotima.reports.measures import MEASURES
from diotima.reports.paired import PRIMARY
from diotima.statistics import holm, mcnemar_test, sign_flip_test

Column = list[float | None]


def side(name: str, scores: Mapping[str, Column], lessons: int = 1, **settings: object) -> Side:
    """One tutor; a column holds the values of p0, p1, ... with ``lessons`` of each problem one after the other."""
    count = max(map(len, scores.values()))
    places = [(f"p{row // lessons}", row % lessons) for row in range(count)]
    values = {
        measure: {
            place: value for place, value in zip(places, scores.get(measure, []), strict=False) if value is not None
        }
        for measure in MEASURES
    }
    questions = {problem: f"What about {problem}?" for problem, _ in places}
    return Side(name, name, Lessons(Path(name), name, set(places), values), settings, questions, True, {})


def of(compared: Compared, measure: str) -> Difference:
    return next(one for one in compared.differences if one.measure.name == measure)


def test_yes_and_no_are_tested_by_mcnemar_on_the_discordant_pairs() -> None:
    old, new = (
        side("old", {"leaked": [1.0] * 12 + [0.0] * 8}),
        side("new", {"leaked": [0.0] * 10 + [1.0] * 4 + [0.0] * 6}),
    )
    one = of(compare(old, new), "leaked")
    assert (one.baseline, one.new, one.interval.mean) == pytest.approx((0.6, 0.2, -0.4))
    assert (one.test, one.only, one.interval.n) == ("exact McNemar", (10, 2), 20)
    assert one.p == mcnemar_test(10, 2)
    assert one.interval.low < -0.4 < one.interval.high < 0
    assert one.verdict == "better"


def test_lessons_about_one_problem_are_one_pair() -> None:
    old = side("old", {"solved_sibling": [0.0, 0.5] * 10}, lessons=2)
    new = side("new", {"solved_sibling": [1.0, 0.5] * 9 + [0.25, 0.25]}, lessons=2)
    one = of(compare(old, new), "solved_sibling")
    assert (one.interval.n, one.test, one.only) == (10, "sign flips", None)
    assert (one.baseline, one.new) == (0.25, 0.7)
    assert one.p == pytest.approx(sign_flip_test([0.5] * 9 + [0.0]), abs=0.003)


def test_problems_that_one_of_both_has_no_valid_value_for_are_left_out_and_counted() -> None:
    old = side("old", {"leaked": [0.0] * 10, "solved_sibling": [0.5] * 7 + [None] * 3})
    new = side("new", {"leaked": [0.0] * 10, "solved_sibling": [None, None] + [0.75] * 8})
    compared = compare(old, new)
    assert compared.problems == 10
    assert (of(compared, "leaked").interval.n, of(compared, "leaked").left_out) == (10, 0)
    assert (of(compared, "solved_sibling").interval.n, of(compared, "solved_sibling").left_out) == (5, 5)
    assert of(compared, "solved_sibling").new == 0.75


def test_problems_of_one_run_alone_are_left_out_with_a_note() -> None:
    compared = compare(side("old", {"leaked": [0.0] * 8}), side("new", {"leaked": [1.0] * 6}))
    assert compared.problems == 6
    assert "2 problems are not in both runs" in compared.notes[0]


def test_the_same_id_with_another_question_is_another_problem() -> None:
    old, new = side("old", {"leaked": [0.0] * 4}), side("new", {"leaked": [0.0] * 4})
    new.questions["p0"] = "What else?"  # type: ignore[index]
    assert compare(old, new).problems == 3
    new.questions.update({f"p{number}": "What else?" for number in range(4)})  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"old and new share no problem .* compare runs on the same file of problems"):
        compare(old, new)


def test_shared_problems_without_a_shared_measure() -> None:
    with pytest.raises(RunError, match="share 3 problems, but no measure with valid scores"):
        compare(side("old", {"leaked": [0.0] * 3}), side("new", {"addressed": [0.0] * 3}))


def test_holm_runs_over_the_primary_measures_alone() -> None:
    columns: dict[str, Column] = {name: [0.1 * (number % 5) for number in range(30)] for name in (*PRIMARY, *SECONDARY)}
    moved = {
        name: [
            value + shift * (0.1 if number % 4 else -0.1) for number, value in enumerate(column) if value is not None
        ]
        for shift, (name, column) in enumerate(columns.items())
    }
    compared = compare(side("old", columns), side("new", moved))
    tested = [one for one in compared.differences if one.test]
    assert tuple(one.measure.name for one in tested) == PRIMARY
    assert [one.adjusted for one in tested] == holm([one.p for one in tested])
    rest = compared.differences[len(tested) :]
    assert tuple(one.measure.name for one in rest) == SECONDARY
    assert all(isnan(one.p) and isnan(one.adjusted) and one.verdict == "" for one in rest)


def test_what_differs_by_the_same_has_the_same_interval() -> None:
    sibling: Column = [0.1 * (number * number % 7) for number in range(22)]
    scores: dict[str, Column] = {"solved_sibling": [0.25] * 22, "solved_same": [0.25] * 22}
    old = side("old", {**scores, "gain": [0.0] * 22, "delta_same": [0.125] * 22})
    gain: Column = [value - 0.25 for value in sibling if value is not None]
    delta: Column = [value - 0.125 for value in sibling if value is not None]
    compared = compare(
        old, side("new", {"solved_sibling": sibling, "solved_same": sibling, "gain": gain, "delta_same": delta})
    )
    for one, other in (("solved_sibling", "gain"), ("solved_same", "delta_same")):
        assert of(compared, one).interval == of(compared, other).interval
        assert of(compared, one).interval.low < of(compared, one).interval.high


@pytest.mark.parametrize(
    ("measure", "shift", "verdict"),
    [
        ("leaked", 0.2, "worse"),
        ("leaked", -0.2, "better"),
        ("solved_sibling", 0.2, "better"),
        ("solved_same", 0.2, "higher"),
        ("well_formed", -0.2, "worse"),
        ("well_formed", 0.0, "equal"),
    ],
)
def test_the_verdict_knows_what_is_good(measure: str, shift: float, verdict: str) -> None:
    old: Column = [0.3 + 0.01 * number for number in range(20)]
    new: Column = [value + shift for value in old if value is not None]
    assert of(compare(side("old", {measure: old}), side("new", {measure: new})), measure).verdict == verdict


def test_a_difference_that_may_be_chance_is_not_clear_and_the_smallest_that_could_be_seen_is_told() -> None:
    new: Column = [0.5 + 0.3 * (-1) ** number + 0.02 for number in range(30)]
    one = of(
        compare(side("old", {"solved_sibling": [0.5] * 30}), side("new", {"solved_sibling": new})), "solved_sibling"
    )
    assert one.verdict == "not clear"
    assert one.smallest == pytest.approx(2.8016 * 0.3 * (30 / 29) ** 0.5 / 30**0.5, rel=1e-3)
    assert one.effect == pytest.approx(0.02 / (0.3 * (30 / 29) ** 0.5))


def test_what_always_changed_in_these_problems_may_not_in_others() -> None:
    scores: dict[str, Column] = {"leaked": [0.0] * 50, "tutor_turns": [3.0] * 50}
    compared = compare(side("old", scores), side("new", {"leaked": [1.0] * 50, "tutor_turns": [4.0] * 50}))
    leaked, turns = (of(compared, name).interval for name in ("leaked", "tutor_turns"))
    assert (leaked.mean, leaked.low, leaked.high) == pytest.approx((1.0, 0.9286, 1.0), abs=1e-3)
    assert isnan(turns.low)
    assert isnan(of(compared, "leaked").smallest)


@pytest.mark.parametrize("measure", ["leaked", "well_formed", "solved_before", "tutor_turns"])
def test_what_is_the_same_in_every_problem_is_equal_whatever_it_is(measure: str) -> None:
    same = side("same", {measure: [0.0, 1.0] * 25})
    one = of(compare(same, same), measure)
    assert one.verdict == "equal"
    assert (one.interval.mean, one.interval.low, one.interval.high) == (0.0, 0.0, 0.0)


def test_one_problem_alone_shows_nothing() -> None:
    compared = compare(side("old", {"solved_sibling": [0.1]}), side("new", {"solved_sibling": [0.9]}))
    one = of(compared, "solved_sibling")
    assert (one.p, one.verdict) == (1.0, "not clear")
    assert all(map(isnan, (one.interval.low, one.effect, one.smallest)))


def test_level_decides_what_is_clear() -> None:
    old, new = side("old", {"leaked": [1.0] * 7 + [0.0] * 9}), side("new", {"leaked": [0.0] * 16})
    assert of(compare(old, new, level=0.95), "leaked").verdict == "better"  # p = 0.016
    assert of(compare(old, new, level=0.99), "leaked").verdict == "not clear"


def test_other_conditions_and_other_students_are_noted_and_other_tutors_are_not() -> None:
    scores: dict[str, Column] = {"solved_before": [0.5] * 30, "leaked": [0.0] * 30}
    old = side("old", scores, attempts=4, learner_seed=0, tutor="tiny", tutor_prompt="a")
    new = side(
        "new", scores | {"solved_before": [0.25] * 30}, attempts=16, learner_seed=0, tutor="hf/x", tutor_prompt="b"
    )
    conditions, students = (note for note in compare(old, new).notes if "valid values" not in note)
    assert conditions.endswith("which may be the difference: attempts: 4 -> 16")
    assert "not equally good before" in students
    assert not [note for note in compare(old, old).notes if "valid values" not in note]


def test_a_primary_measure_that_cannot_be_compared_is_named() -> None:
    (note,) = compare(side("old", {"leaked": [0.0] * 20}), side("new", {"leaked": [0.0] * 20})).notes
    assert note == (
        "no problem has valid values of both for sibling problem, same problem, addresses a wrong step, well-formed"
    )


def test_too_few_problems_are_noted() -> None:
    few = side("few", {"leaked": [0.0] * 19})
    assert "with 19 problems intervals are too narrow" in compare(few, few).notes[-1]


def test_the_seed_decides_and_the_order_of_the_lessons_does_not() -> None:
    old: Column = [0.1 * (number % 7) for number in range(40)]
    new: Column = [0.1 * (number % 5) for number in range(40)]
    first, second = side("old", {"solved_sibling": old}), side("new", {"solved_sibling": new})
    values = {name: dict(reversed(list(column.items()))) for name, column in second.lessons.values.items()}
    turned = replace(second, lessons=Lessons(Path(), "new", second.lessons.lessons, values))
    one = of(compare(first, second), "solved_sibling")
    assert of(compare(first, turned), "solved_sibling") == one
    other = of(compare(first, second, seed=1), "solved_sibling")
    assert (other.p, other.interval) != (one.p, one.interval)
    back = of(compare(second, first), "solved_sibling")
    assert (back.p, back.interval.mean, back.effect) == (one.p, -one.interval.mean, -one.effect)


def test_an_unfinished_run_is_noted() -> None:
    done = side("old", {"leaked": [0.0] * 9})
    cut = replace(done, run="runs/new", finished=False)
    assert "runs/new is not finished" in compare(done, cut).notes


def test_runs_of_other_versions_are_noted() -> None:
    scores: dict[str, Column] = {name: [0.5] * 20 for name in PRIMARY}
    old, new = (
        replace(side("x", scores), versions={"diotima": "0.1.0", "commit": commit}) for commit in ("0bf4d6b", "acbb6bc")
    )
    (note,) = compare(old, new).notes
    assert note.endswith('other versions, which may be the difference: commit: "0bf4d6b" -> "acbb6bc"')
    assert compare(old, old).notes == ()
