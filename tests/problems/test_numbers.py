from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.problems.numbers import find_numbers, parse_number


def values(text: str, labels: bool = False) -> list[Fraction]:
    return [number.value for number in find_numbers(text, labels=labels)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000 and 1000", [1000, 1000]),
        ("12,345,678.5", ["12345678.5"]),
        ("1{,}000", [1000]),
        ("1,2,3", [1, 2, 3]),
        ("3.50 and .5", ["3.5", "0.5"]),
        ("$12, \\$13, -$14, $-15 and $0.50.", [12, 13, -14, -15, "0.5"]),
        ("45% and 45\\%", [45, 45]),
        ("It is 57.", [57]),
        ("1/2, 7/3 and 2 1/2", ["1/2", "7/3", "5/2"]),
        ("48/2 = 24", [48, 2, 24]),
        ("10,000/2", [10000, 2]),
        ("<<48/2=24>>24", [48, 2, 24, 24]),
        ("1/0", [1, 0]),
        (r"\frac{1}{2}, -\dfrac{3}{4}", ["1/2", "-3/4"]),
        ("it is -3, or −4", [-3, -4]),
        ("5-3, 5 - 3, 5 -3, (5)-3", [5, 3, 5, 3, 5, 3, 5, 3]),
        ("pages-3", [3]),
        ("60x3 and 60 x 3", [60, 3, 60, 3]),
        ("3kg of B12", [3]),
        ("İ costs $5", [5]),
    ],
)
def test_digits(text: str, expected: list[object]) -> None:
    assert values(text) == [Fraction(str(value)) for value in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Twenty-one pens", [21]),
        ("zero, nineteen, ninety-nine", [0, 19, 99]),
        ("two hundred and five, a hundred", [205, 100]),
        ("half of two dozen, half a dozen, a dozen", ["1/2", 24, 6, 12]),
        ("one-third, two thirds", ["1/3", "2/3"]),
        ("one apple", [1]),
        ("that one, one of them, one more time, which one is it? one's", []),
        ("someone weighs a stone, often", []),
    ],
)
def test_words(text: str, expected: list[object]) -> None:
    assert values(text) == [Fraction(str(value)) for value in expected]


@pytest.mark.parametrize(
    ("text", "with_labels", "without"),
    [
        ("Step 2 gives 31.", [2, 31], [31]),
        ("See line #3, step two.", [3, 2], []),
        ("Look at steps 2 and 3.", [2, 3], []),
        ("1. Add 5\n  2) Add 6", [1, 5, 2, 6], [5, 6]),
        ("the 3rd of 4", [3, 4], [4]),
        ("She took 10,000 steps 4 times", [10000, 4], [10000]),
        ("The answer:\n57.", [57], [57]),
    ],
)
def test_labels(text: str, with_labels: list[int], without: list[int]) -> None:
    assert values(text, labels=True) == with_labels
    assert values(text) == without


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("57", "57"),
        (" $1,000. ", "1000"),
        ("57 apples", "57"),
        ("18 dollars per day", "18"),
        ("60 km/h", "60"),
        ("x = 5", "5"),
        ("**$5$**", "5"),
        (r"\(\frac{3}{4}\)", "3/4"),
        ("twelve", "12"),
        ("", None),
        ("apples", None),
        ("2 or 3", None),
        ("about 5", None),
        ("5x", None),
        ("2 pi", None),
        (r"2\sqrt{3}", None),
        ("1e5", None),
    ],
)
def test_parse_number(text: str, expected: str | None) -> None:
    assert parse_number(text) == (None if expected is None else Fraction(expected))


@given(st.text(alphabet="0123456789 .,/-$%x{}\\fracoehundtw\nİ−", max_size=60))
def test_spans_are_in_order_and_show_the_number(text: str) -> None:
    end = 0
    for number in find_numbers(text, labels=True):
        assert end <= number.start < number.end <= len(text)
        assert text[number.start : number.end] == number.text
        end = number.end


@given(st.integers(-(10**9), 10**9))
def test_reads_back_any_integer(value: int) -> None:
    assert values(f"It is {value:,} now") == [value]
    assert parse_number(str(value)) == value


@pytest.mark.parametrize(
    "piece", ["1", ",000", "- ", "\n", "1/", "2 1/2 ", "\\frac{1", "twenty-", "one ", "step ", "$", "."]
)
def test_a_long_text_of_one_piece_is_read_to_its_end(piece: str) -> None:
    assert find_numbers(piece * 20_000 + " is 7")[-1].value == 7


@pytest.mark.parametrize(
    ("text", "value"), [("$.40 each", Fraction(2, 5)), ("-.5", Fraction(-1, 2)), ("=.25", Fraction(1, 4))]
)
def test_a_leading_dot_behind_a_currency_or_a_sign(text: str, value: Fraction) -> None:
    assert [number.value for number in find_numbers(text)] == [value]
    assert parse_number(text.removesuffix(" each").removeprefix("=")) == value
