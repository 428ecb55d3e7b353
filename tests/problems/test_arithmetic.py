import pytest

from diotima.problems.arithmetic import Calculation, read_calculation


@pytest.mark.parametrize(
    "work", ["12 + 7 = 19", "12+7=19", "Line 1: 12 + 7 = 19", "so 12 + 7 = 19.", "12 + 7 = 19 apples", "<<12+7=19>>19"]
)
def test_reading(work: str) -> None:
    assert read_calculation(work) == Calculation(12, "+", 7, 19)


def test_a_wrong_calculation_is_read_as_it_stands() -> None:
    assert read_calculation("12 / 7 = 5") == Calculation(12, "/", 7, 5)


@pytest.mark.parametrize(
    "work",
    [
        "",
        "I do not know.",
        "12 + 7",
        "twelve + 7 = 19",
        "1.5 + 2 = 3",
        "1,500 + 2 = 1502",
        "7 / 2 = 3.5",
        "1000 + 500 = 1,500",
        "2 + 3 + 4 = 9",
        "2+3+4 = 9",
        "(2 + 3) * 4 = 20",
        "-5 + 8 = 3",
        "1 / 2 = 2/4",
    ],
)
def test_half_a_calculation_is_none(work: str) -> None:
    assert read_calculation(work) is None


def test_writing_and_reading_again() -> None:
    assert str(Calculation(12, "*", 7, 84)) == "12 * 7 = 84"
    assert read_calculation("12 * 7 = 84") == Calculation(12, "*", 7, 84)
