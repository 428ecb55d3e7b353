"""What may change in a question, and how it reads afterwards."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diotima.problems.givens import read_givens
from diotima.problems.meanings import MONEY, PER_CENT
from diotima.problems.numbers import find_numbers


@pytest.mark.parametrize(
    ("question", "changes", "expected"),
    [
        ("He pays $3.00 for 12 figs.", {3: 4, 12: 15}, "He pays $4.00 for 15 figs."),
        ("It costs $1,200 or 1200 points.", {1200: 900}, "It costs $900 or 900 points."),
        ("It costs $900,000.", {900000: 1100000}, "It costs $1,100,000."),
        ("Three cats ate three of 12 mice.", {3: 5}, "Five cats ate five of 12 mice."),
        ("20% off, or 20 percent.", {20: 35}, "35% off, or 35 percent."),
        ("A 2.5-mile walk, then .5 miles.", {Fraction(5, 2): Fraction(7, 2), Fraction(1, 2): Fraction(3, 4)}, None),
        ("Then 7.50€ and 30$ more.", {Fraction(15, 2): 9, 30: 40}, "Then 9.00€ and 40$ more."),
        ("On the 12th, 12 came.", {12: 14}, "On the 12th, 14 came."),
    ],
)
def test_numbers_are_replaced_in_the_form_they_had(question: str, changes: dict, expected: str | None) -> None:
    restated = read_givens(question).restated(changes)
    assert restated == (expected or restated)
    told = [changes.get(number.value, number.value) for number in find_numbers(question)]
    if expected:
        assert [number.value for number in find_numbers(restated)] == told


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 10**7), st.integers(0, 2), st.sampled_from(["{}", "${}", "{}%", "{} figs", "{}-foot rope"]))
def test_every_choice_reads_back_as_itself(count: int, places: int, form: str) -> None:
    question = "He has " + form.format(f"{count / 10**places:.{places}f}") + " here."
    givens = read_givens(question)
    for value, choices in givens.choices.items():
        assert len(choices) <= 420
        for new in choices[:: len(choices) // 8 + 1]:
            restated = givens.restated({value: new})
            assert [number.value for number in find_numbers(restated)] == [new]
            assert restated.count("$") == question.count("$")
            assert restated.count("%") == question.count("%")
            decimals = restated.partition(".")[2].partition(" ")[0]
            assert len(decimals) <= len(question.partition(".")[2].partition(" ")[0])


@given(st.sampled_from("two three seven eleven twenty ninety Two Seventeen".split()))
def test_every_word_reads_back_as_itself(word: str) -> None:
    givens = read_givens(f"{word} figs and 2 pears")
    for value, choices in givens.choices.items():
        for new in choices:
            restated = givens.restated({value: new})
            assert next(number.value for number in find_numbers(restated)) == new
            assert restated[0].isupper() == word[0].isupper()


@pytest.mark.parametrize(
    "question",
    [
        "He has 0 figs, 1 pear, 2 plums, one fig and a half.",
        "In 1999 or 2024 it was born.",
        "They meet at 8:30, at 5 pm, from 4 to 6 pm, at 11 o'clock.",
        "Room 14, size 8, page 77, May 12, B12, 4-5, 24/7, 3:5.",
        "The 5th grade, the 3rd day, step 4.",
        "A dog has 4 legs, a car 4 wheels, a square 4 sides.",
        "1/2, 3/4 and two thirds, two dozen, 300 million.",
        "She has 3 kinds of 5 different flavors, 4 friends and 6 of her cousins.",
        "He got 100% and 150%.",
        "Of the three, all four and both the other five.",
        "The earth is 40,000 kilometers around.",
        "A gallon weighs 8 pounds. One mile equals 1.6 kilometers.",
    ],
)
def test_what_may_not_change(question: str) -> None:
    assert read_givens(question).choices == {}


def test_choices_stay_near_and_as_round() -> None:
    choices = read_givens("$80,000 for 48 days, 5 hours a day, 45 minutes each, an 8-mile walk, 25% off").choices
    assert all(new % 10_000 == 0 for new in choices[80_000])
    assert max(choices[5]) <= 10
    assert max(choices[45]) <= 59
    assert set(choices.get(8, ())) <= {8, 11}
    assert all(new % 5 == 0 and 0 < new < 100 for new in choices[25])
    assert all(
        Fraction(3, 5) <= Fraction(new) / value <= Fraction(8, 5) for value, some in choices.items() for new in some
    )


def test_no_choice_is_one_or_what_was() -> None:
    for value, choices in read_givens("3 figs, 4 pears, 0.5 kg, $1.50 and 10%").choices.items():
        assert value not in choices
        assert not {0, 1} & set(choices)


def test_kinds() -> None:
    kinds = read_givens("$5 and 6 dollars for 30% of 7 hours and 8 figs").kinds
    assert kinds == {MONEY: {5, 6}, PER_CENT: {30}, "hour": {7}, "count": {8}}
