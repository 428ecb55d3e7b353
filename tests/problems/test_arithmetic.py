from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.problems.arithmetic import (
    Calculation,
    Expression,
    Operation,
    evaluate,
    holds,
    operands,
    parse_calculation,
    parse_expression,
    parse_value,
    read_calculation,
    with_operands,
    write_expression,
    write_number,
)

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    "work", ["12 + 7 = 19", "12+7=19", "Line 1: 12 + 7 = 19", "so 12 + 7 = 19.", "12 + 7 = 19 apples", "<<12+7=19>>19"]
)
def test_reading(work: str) -> None:
    assert read_calculation(work) == Calculation.of(12, "+", 7, 19)


def test_a_wrong_calculation_is_read_as_it_stands() -> None:
    assert read_calculation("12 / 7 = 5") == Calculation.of(12, "/", 7, 5)
    assert not holds(Calculation.of(12, "/", 7, 5))


@pytest.mark.parametrize(
    ("text", "written", "right"),
    [
        ("She sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.", "16 - 3 - 4 = 9", True),
        ("It costs $5000*(2.5/100) = $<<5000*(2.5/100)=125>>125", "5000 * 2.5 / 100 = 125", True),
        ("1.5 + 2 = 3.5", "1.5 + 2 = 3.5", True),
        ("1,500 + 2 = 1,502", "1500 + 2 = 1502", True),
        ("(2 + 3) * 4 = 20", "(2 + 3) * 4 = 20", True),
        ("2 + 3 * 4 = 20", "2 + 3 * 4 = 20", False),
        ("8 - (5 - 2) = 5", "8 - (5 - 2) = 5", True),
        ("10 / 3 = 3.33", "10 / 3 = 3.33", True),
        ("10 / 3 = 3", "10 / 3 = 3", False),
        ("2 boxes x $4.50/box = $9", "2 * 4.5 = 9", True),
        ("Ignatius has 8 tires because 2 x 4 = 8", "2 * 4 = 8", True),
        ("He caught 158 * 1 1/2 = 237 fish.", "158 * 1.5 = 237", True),
        ("The rest is 100% - 80% = 20% of all.", "1 - 0.8 = 0.2", True),
        ("First 2 + 3 = 5. Then 5 * 2 = 10.", "2 + 3 = 5", True),
        ("2 − 3 = −1", "2 - 3 = -1", True),
    ],
)
def test_calculations_of_real_solutions(text: str, written: str, right: bool) -> None:
    calculation = read_calculation(text)
    assert calculation is not None
    assert evaluate(calculation.expression) == evaluate((parse_calculation(written) or calculation).expression)
    assert calculation.result == (parse_calculation(written) or calculation).result
    assert holds(calculation) is right


@pytest.mark.parametrize(
    "work",
    [
        "",
        "I do not know.",
        "12 + 7",
        "twelve + 7 = 19",
        "x + 2 + 3 = 9",
        "a * 2 = 9",
        "1 / 2 = 2/4",
        "5 = 5",
        "4x = 80",
        "2 + = 5",
        "2 + 3 = 4 + 1",
        "2 ** 3 = 8",
        "__import__('os') + 1 = 2",
        "(" * 300 + "1" + ")" * 300 + " + 1 = 2",
        "2 + 3 = " + "9" * 5000,
        "2 + 0." + "9" * 5000 + " = 3",
    ],
)
def test_half_a_calculation_is_none(work: str) -> None:
    assert read_calculation(work) is None


def test_a_whole_line_may_be_a_number_only() -> None:
    assert parse_calculation("125 = 125") == Calculation(125, 125)
    assert parse_calculation("so 12 + 7 = 19") is None
    assert parse_calculation("12 + 7 = 19 + 0") is None
    assert parse_value("") is None
    assert (parse_value("-7.5"), parse_value("1,200"), parse_value("7 8"), parse_value("9" * 5000)) == (
        Fraction(-15, 2),
        1200,
        None,
        None,
    )


def test_numbers_as_a_student_writes_them() -> None:
    values = (12, Fraction(15, 2), Fraction(1, 3), Fraction(-5, 4), Fraction(1, 8), Fraction(4, 1))
    assert [write_number(value) for value in values] == ["12", "7.5", "0.33", "-1.25", "0.125", "4"]


def test_division_by_zero_has_no_value() -> None:
    assert evaluate(Operation(3, "/", Operation(2, "-", 2))) is None
    assert not holds(Calculation.of(3, "/", 0, 3))


def test_other_operands() -> None:
    expression = parse_expression("(2 + 3) * 4 - 1")
    assert expression is not None
    assert list(operands(expression)) == [2, 3, 4, 1]
    assert write_expression(with_operands(expression, iter([7, 8, 9, 10]))) == "(7 + 8) * 9 - 10"


def expressions() -> st.SearchStrategy[Expression]:
    numbers = st.integers(0, 10_000) | st.integers(1, 999).map(lambda cents: Fraction(cents, 100))
    whole = numbers.map(lambda value: int(value) if value == int(value) else value)
    return st.recursive(whole, lambda inner: st.builds(Operation, inner, st.sampled_from("+-*/"), inner), max_leaves=8)


@given(expressions())
def test_what_is_written_is_read_again(expression: Expression) -> None:
    written = write_expression(expression)
    read = parse_expression(written)
    assert read is not None
    assert evaluate(read) == evaluate(expression)
    assert write_expression(read) == written
