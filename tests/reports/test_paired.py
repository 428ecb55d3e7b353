from math import isnan

import pytest

from diotima.reports.measures import MEASURES, Values
from diotima.reports.paired import PRIMARY, Judgement, judge, paired
from diotima.statistics import holm, mcnemar_test, sign_flip_test


def values(column: list[float], lessons: int = 1) -> Values:
    return {(f"p{row // lessons:02}", row % lessons): value for row, value in enumerate(column)}


def judged(**changes: list[float]) -> dict[str, Judgement]:
    """Tutors of which the second differs from the first by ``changes`` in p0, p1, ..."""
    pairs = []
    for name, column in changes.items():
        one = paired(MEASURES[name], values([0.5] * len(column)), values([0.5 + change for change in column]))
        assert one is not None
        pairs.append(one)
    return judge(pairs)


def test_lessons_about_one_problem_are_one_value_and_only_shared_problems_count() -> None:
    pairs = paired(MEASURES["solved_same"], values([0.0, 1.0, 0.25, 0.25, 1.0, 1.0], 2), values([1.0, 0.0]))
    assert pairs is not None
    assert (pairs.first, pairs.second, pairs.changes) == ((0.5, 0.25), (1.0, 0.0), [0.5, -0.25])
    some = paired(MEASURES["solved_same"], values([0.0, 0.5]), values([1.0, 0.0]), {"p01", "p99"})
    assert some is not None
    assert some.changes == [-0.5]
    assert paired(MEASURES["solved_same"], values([0.0]), values([1.0]), {"p99"}) is None


def test_rounding_is_no_difference() -> None:
    assert paired(MEASURES["solved_same"], values([0.1 + 0.2]), values([0.3])).changes == [0.0]  # type: ignore[union-attr]


def test_yes_and_no_are_tested_by_mcnemar_and_shares_by_sign_flips() -> None:
    leaked = paired(MEASURES["leaked"], values([1.0] * 8 + [0.0] * 4), values([0.0] * 7 + [1.0] * 2 + [0.0] * 3))
    assert leaked is not None
    assert leaked.only == (7, 1)
    assert judge([leaked])["leaked"].p == mcnemar_test(7, 1)
    shares = judged(solved_sibling=[0.1] * 9 + [-0.2])["solved_sibling"]
    assert shares.test == "sign flips"
    assert shares.p == pytest.approx(sign_flip_test([0.1] * 9 + [-0.2]), abs=0.01)


def test_what_is_clear_alone_may_not_be_clear_among_five() -> None:
    moved = [0.2] * 10 + [-0.2] * 2
    still = dict.fromkeys(set(PRIMARY) - {"solved_sibling"}, [0.01, -0.01] * 6)
    alone, among = judged(solved_sibling=moved), judged(solved_sibling=moved, **still)
    assert alone["solved_sibling"].verdict == "better"
    assert among["solved_sibling"].verdict == "not clear"
    assert [one.adjusted for one in among.values()] == holm([one.p for one in among.values()])


@pytest.mark.parametrize(
    ("measure", "change", "word"),
    [
        ("leaked", -0.2, "better"),
        ("leaked", 0.2, "worse"),
        ("solved_sibling", 0.2, "better"),
        ("solved_sibling", -0.2, "worse"),
        ("solved_same", 0.2, "higher"),
        ("solved_same", -0.2, "lower"),
        ("leaked", 0.0, "equal"),
    ],
)
def test_the_word_knows_what_is_good(measure: str, change: float, word: str) -> None:
    assert judged(**{measure: [change] * 12})[measure].verdict == word


def test_what_is_not_primary_is_not_tested_and_takes_no_part_in_the_adjustment() -> None:
    found = judged(leaked=[0.2] * 12, tutor_turns=[1.0] * 12, tutor_words=[0.0] * 12)
    assert found["leaked"].adjusted == found["leaked"].p
    assert isnan(found["tutor_turns"].p)
    assert (found["tutor_turns"].verdict, found["tutor_words"].verdict) == ("", "equal")
