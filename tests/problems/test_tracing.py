"""Where operands come from, and what the steps do not show."""

from fractions import Fraction

import pytest

from diotima.problems.arithmetic import read_calculation
from diotima.problems.givens import read_givens
from diotima.problems.tracing import Reading, must_stay, trace, unused_values


def readings(question: str, *works: str) -> list[list[tuple[Reading, ...]]]:
    return trace([read_calculation(work) for work in works], read_givens(question))


def test_all_readings_of_an_operand_are_kept() -> None:
    (first, second) = readings("Al has 5 and 7 figs and 12 pears, for a year.", "5 + 7 = 12", "12 * 12 = 144")
    assert first == [(Reading("given", 5),), (Reading("given", 7),)]
    assert second[0] == (Reading("given", 12), Reading("result", 0), Reading("constant", 12))


@pytest.mark.parametrize(
    ("question", "work", "form", "changed"),
    [
        ("20% off $50", "50 * 0.2 = 10", "part", Fraction(3, 10)),
        ("20% off $50", "50 * 0.8 = 40", "rest as part", Fraction(7, 10)),
        ("20% off $50", "50 * 80 = 4000", "rest", 70),
        ("20% more than $50", "50 * 1.2 = 60", "more as part", Fraction(13, 10)),
        ("20 percent more than $50", "50 * 120 = 6000", "more", 130),
    ],
)
def test_forms_of_a_per_cent(question: str, work: str, form: str, changed: object) -> None:
    ((_, (reading,)),) = readings(question, work)
    assert reading == Reading("given", 20, form)
    assert reading.value({20: 30}, []) == changed


@pytest.mark.parametrize(
    ("question", "constant"),
    [
        ("twice 9", 2), ("half of 9", 2), ("9 dozen", 12), ("9 weeks", 7), ("9 hours", 60), ("9 years", 12),
        ("9%", 100), ("a third of 9", 3), ("3/4 of 9", 4), ("two dozen of 9", 12), ("9 feet", 12),
        ("9 pounds in ounces", 16), ("9 kg", 1000), ("9 quarters", 25), ("one 9", 1), ("2/5 of 9", 3),
    ],
)  # fmt: skip
def test_constants_are_named_by_words(question: str, constant: int) -> None:
    work = f"9 * {constant} = {9 * constant}"
    assert Reading("constant", constant) in readings(question, work)[0][1]
    assert not readings("plain 9", work)[0][1]


def test_times_of_day_are_no_operands() -> None:
    ((first, second),) = readings("She works from 9 am to 11 am for 11 days.", "11 - 9 = 2")
    assert first == second == ()


def test_unused_values() -> None:
    question = "1/2 of 30 figs, 40 pears, 0 plums"
    assert unused_values(read_givens(question), readings(question, "30 / 2 = 15")) == {40, 0}


def stay(question: str, *works: str) -> set[object]:
    calculations = [read_calculation(work) for work in works]
    givens = read_givens(question)
    return must_stay(calculations, givens, trace(calculations, givens))


def test_must_stay() -> None:
    assert stay("30 boxes of 40", "30 * 40 = 1200") == set()
    assert 3 in stay("3 boxes of 40", "3 * 40 = 120", "120 * 3 = 360")
    assert 5 in stay("5 boxes of 5 figs for 40", "5 * 40 = 200")
    assert 9 not in stay("9 figs, 9 figs, for 40", "9 * 40 = 360")
    assert 9 in stay("9 figs, 9 pears, for 40", "9 * 40 = 360")
    assert 4 in stay("10, 20, 30 and 41 in 4 tests", "10 + 20 + 30 + 41 = 101", "101 / 4 = 25.25")
    assert 12 in stay("12 figs a month for 5 years", "12 * 12 = 144", "144 * 5 = 720")
    assert {30, 31} & stay("1 free for 30, 31 of 40", "31 * 40 = 1240", "1240 + 30 = 1270") == {30, 31}
