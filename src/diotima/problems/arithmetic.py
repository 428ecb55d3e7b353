"""Calculations as people write them down: ``12 + 7 = 19``, ``<<16-3-4=9>>``, ``2 boxes x $4.50 = $9``.

A calculation is read into a small tree of exact numbers, so that a step of a solution can be carried out again with
other numbers, and so that a student's line can be told right from wrong. Nothing is ever evaluated as code: the reader
knows numbers, the four operations and brackets, and takes time linear in the text.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Union

Value = int | Fraction
"""An exact number; whole numbers are ints."""

Expression = Union["Operation", Value]

OPERATORS: Mapping[str, Callable[[Value, Value], Value]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: Fraction(left) / right,
}
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}
_SIGNS = {"×": "*", "·": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"}
_LONGEST = 400
_DEEPEST = 40

_ANNOTATION = re.compile(r"<<([^<>\n]{1,400})>>")
# Bounded, for int() refuses thousands of digits; what is longer falls into two numbers, which is no calculation.
_NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,99}(?!\d)|\d{1,300})(?:\.\d{1,300})?|\.\d{1,300}"
_TOKEN = re.compile(
    r"(?P<mixed>\d{1,4}\s\d{1,2}/[1-9]\d?(?![\d.,/]))"
    rf"|(?P<number>{_NUMBER})(?P<percent>\s?%)?"
    r"|(?P<unit>(?:/\s?)?(?![xX](?![A-Za-z]))[A-Za-z][A-Za-z'’-]*)|(?P<sign>[-+*/×·÷−–()\[\]xX])|(?P<rest>[^\s$€£])"
)
_RESULT = re.compile(rf"\s*[$€£]?\s*(?P<minus>[-−])?[$€£]?(?P<number>{_NUMBER})(?!\d)(?P<percent>\s?%)?")
_GOES_ON = re.compile(r"\s*(?:[-+*/×÷−–]\s*[(\d$.]|[,/]\d|[xX]\s*\d)")
_UNITS = 3


@dataclass(frozen=True, slots=True)
class Operation:
    """``left operator right``."""

    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True, slots=True)
class Calculation:
    """``expression = result``, right or wrong, as it stands on the page."""

    expression: Expression
    result: Value

    @classmethod
    def of(cls, left: Expression, operator: str, right: Expression, result: Value) -> "Calculation":
        """``left operator right = result``."""
        return cls(Operation(left, operator, right), result)

    @property
    def operator(self) -> str:
        """The operation carried out last; "" if there is none."""
        return self.expression.operator if isinstance(self.expression, Operation) else ""

    def __str__(self) -> str:
        expression, result = self.expression, self.result
        if isinstance(expression, Operation):
            left, right = expression.left, expression.right
            if type(left) is int and type(right) is int and type(result) is int:
                return f"{left} {expression.operator} {right} = {result}"  # nearly all, and written by the million
        return f"{write_expression(expression)} = {write_number(result)}"


def holds(calculation: Calculation) -> bool:
    """Whether the expression comes to the result, as exactly as the result is written (``10/3 = 3.33``)."""
    value = evaluate(calculation.expression)
    return value is not None and agrees(value, calculation.result)


def agrees(value: Value, written: Value) -> bool:
    """Whether ``written`` is ``value``, or ``value`` rounded to at least two decimal places."""
    if value == written:
        return True
    for places in range(2, 7):
        unit = Fraction(1, 10**places)
        if (written / unit).denominator == 1:
            return abs(Fraction(value) - written) <= unit / 2
    return False


def evaluate(expression: Expression) -> Value | None:
    """The exact value, or None for a division by zero."""
    if not isinstance(expression, Operation):
        return expression
    left, right = evaluate(expression.left), evaluate(expression.right)
    if left is None or right is None or (right == 0 and expression.operator == "/"):
        return None
    return whole(OPERATORS[expression.operator](left, right))


def operands(expression: Expression) -> Iterator[Value]:
    """The numbers of an expression, in the order of writing."""
    if isinstance(expression, Operation):
        yield from operands(expression.left)
        yield from operands(expression.right)
    else:
        yield expression


def with_operands(expression: Expression, values: Iterator[Value]) -> Expression:
    """The expression with other numbers, taken in the order of writing."""
    if not isinstance(expression, Operation):
        return next(values)
    left = with_operands(expression.left, values)
    return Operation(left, expression.operator, with_operands(expression.right, values))


def write_expression(expression: Expression) -> str:
    """The expression with as few brackets as it needs."""
    if not isinstance(expression, Operation):
        return write_number(expression)
    left, right = write_expression(expression.left), write_expression(expression.right)
    strength = _STRENGTH[expression.operator]
    if isinstance(expression.left, Operation) and _STRENGTH[expression.left.operator] < strength:
        left = f"({left})"
    if isinstance(expression.right, Operation) and (
        _STRENGTH[expression.right.operator] < strength
        or (_STRENGTH[expression.right.operator] == strength and expression.operator in "-/")
    ):
        right = f"({right})"
    return f"{left} {expression.operator} {right}"


def write_number(value: Value) -> str:
    """A number as a student writes it: ``12``, ``7.5``; what has no end is rounded to two decimal places."""
    if isinstance(value, int) or value.denominator == 1:
        return str(int(value))
    places = next((places for places in range(1, 7) if (value * 10**places).denominator == 1), 2)
    digits = f"{abs(round(value * 10**places)):0{places + 1}d}"
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def whole(value: Value) -> Value:
    """An int where the value is one."""
    return int(value) if value.denominator == 1 else value


@lru_cache(maxsize=65536)
def read_calculation(work: str) -> Calculation | None:
    """The first calculation in ``work``, or None. An annotation ``<<16-3-4=9>>`` comes before the words around it.

    Units may stand behind numbers (``2 boxes * 3 eggs = 6 eggs``). What cannot be read as a whole is not read in part:
    in ``a + 2 + 3 = 9`` and ``2 + 3 = 5/1`` there is no calculation.
    """
    annotated = _ANNOTATION.search(work)
    if annotated:
        return parse_calculation(annotated[1])
    position = -1
    while (position := work.find("=", position + 1)) >= 0:
        found = _RESULT.match(work, position + 1)
        if not found or _GOES_ON.match(work, found.end()):
            continue
        expression = _last_expression(work[max(0, position - _LONGEST) : position])
        if isinstance(expression, Operation):
            value = _value(found["number"], per_cent=bool(found["percent"]))
            return Calculation(expression, -value if found["minus"] else value)
    return None


@lru_cache(maxsize=65536)
def parse_calculation(text: str) -> Calculation | None:
    """The whole text as ``expression = number``, or None; the expression may be a single number."""
    left, equals, right = text.rpartition("=")
    expression, result = parse_expression(left), parse_value(right)
    return Calculation(expression, result) if equals and expression is not None and result is not None else None


def read_work(work: str) -> Calculation | None:
    """The calculation of a step or of a student's line: the whole of it if it is one, else the first in it."""
    return parse_calculation(work) or read_calculation(work)


def parse_expression(text: str) -> Expression | None:
    """The whole text as an expression, or None."""
    tokens = list(_tokens(text))
    return _parse(tokens) if len(text) <= _LONGEST else None


@lru_cache(maxsize=65536)
def parse_value(text: str) -> Value | None:
    """The whole text as one plain number, perhaps negative, or None."""
    expression = parse_expression(text)
    if isinstance(expression, Operation):
        negative = expression.left == 0 and expression.operator == "-" and not isinstance(expression.right, Operation)
        return evaluate(expression) if negative else None
    return expression


Token = Value | str


def _tokens(text: str) -> Iterator[Token]:
    """Numbers as values, signs as text; units behind a number are passed over.

    "?" stands for what is neither, and between two numbers with only words between them ("8 tires because 2").
    """
    units, behind_number = 0, False
    for match in _TOKEN.finditer(text):
        if match["number"] or match["mixed"]:
            if behind_number:
                yield "?"
            yield _mixed(match["mixed"]) if match["mixed"] else _value(match["number"], bool(match["percent"]))
            units, behind_number = 0, True
        elif match["sign"]:
            yield _SIGNS.get(match["sign"], match["sign"])
            units, behind_number = 0, False
        elif match["unit"] and behind_number and units < _UNITS:
            units += 1
        else:
            yield "?"
            behind_number = False


def _last_expression(text: str) -> Expression | None:
    """The expression that ends a text: past the last full stop or the like, and past all that is no arithmetic."""
    tokens = list(_tokens(re.split(r"[=;:\n?!]|[.,](?:\s|$)", text)[-1]))
    start = max((index for index, token in enumerate(tokens) if token == "?"), default=-1) + 1
    expression = _parse(tokens[start:])
    # An operator left over at the beginning had an operand that could not be read.
    return None if tokens[start : start + 1] in (["+"], ["-"], ["*"], ["/"]) else expression


def _parse(tokens: list[Token]) -> Expression | None:
    reader = _Reader(tokens)
    try:
        expression = reader.sum(0)
    except _UnreadableError:
        return None
    return expression if reader.position == len(tokens) else None


class _UnreadableError(Exception):
    pass


class _Reader:
    """Recursive descent over tokens: sums of products of factors."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0

    def sum(self, depth: int) -> Expression:
        return self._chain(("+", "-"), self._product, depth)

    def _product(self, depth: int) -> Expression:
        return self._chain(("*", "/"), self._factor, depth)

    def _chain(self, operators: tuple[str, str], part: Callable[[int], Expression], depth: int) -> Expression:
        left = part(depth)
        while (operator := self._next()) in operators and isinstance(operator, str):
            self.position += 1
            left = Operation(left, operator, part(depth))
        return left

    def _factor(self, depth: int) -> Expression:
        token = self._next()
        self.position += 1
        if token == "(" and depth < _DEEPEST:
            inner = self.sum(depth + 1)
            if self._next() != ")":
                raise _UnreadableError
            self.position += 1
            return inner
        if token == "+" and self.position == 1:
            return self._factor(depth)
        if token == "-" and depth < _DEEPEST and (self.position == 1 or self.tokens[self.position - 2] == "("):
            return Operation(0, "-", self._factor(depth + 1))
        if isinstance(token, str) or token is None:
            raise _UnreadableError
        return token

    def _next(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None


def _mixed(text: str) -> Value:
    count, part = text.split()
    return whole(int(count) + Fraction(part))


def _value(digits: str, per_cent: bool = False) -> Value:
    return whole(Fraction(digits.replace(",", "")) / (100 if per_cent else 1))
