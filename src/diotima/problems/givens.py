"""The givens of a question: which of its numbers may be changed, to what, and how the question reads afterwards.

Which numbers stay as they are is told in `meanings`. What changes keeps its form (money, separators, decimals, number
words, per cents) and stays near what it was and as round, so that the story stays believable.

A question that tells one value twice ("3 sprints 3 times a week", "3 dogs ... the 3 dogs") tells it once for us: both
places always change together, so nobody has to know which of the two a step means.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import takewhile
from math import gcd

from diotima.problems.arithmetic import Value, whole
from diotima.problems.meanings import (
    CURRENCIES,
    PER_CENT,
    TIME_OF_DAY,
    gone_through,
    is_fixed,
    is_pointed_at,
    kind_of,
    other_meanings,
    speaks_of_the_world,
)
from diotima.problems.numbers import Number, find_numbers

_SPELLED: dict[int, str] = dict(
    zip(
        [*range(2, 21), *range(30, 100, 10)],
        (
            "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
            "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
        ).split(),
        strict=True,
    )
)
_DIGITS = re.compile(r"[$€£]?(?P<number>\d[\d,]*\.?\d*|\.\d+)%?")

_BOUNDS = (
    (re.compile(r"[ -](?:[a-z]+ )?(?:hours?|hrs?)\b"), (10, 24)),
    (re.compile(r"[ -](?:[a-z]+ )?(?:minutes?|seconds?|mins?)\b"), (59,)),
    (re.compile(r"[ -](?:[a-z]+ )?months?\b"), (11,)),
    (re.compile(r"[ -](?:[a-z]+ )?(?:days?|mornings?|afternoons?|evenings?|nights?)\b"), (6, 28)),
    (re.compile(r"[^.,;]{0,24}\b(?:a|per|each|every) (?:day|week)\b"), (6,)),
    (re.compile(r"[ -](?:[a-z]+ )?weeks?\b"), (4, 51)),
)
_MARKS = re.compile(r"\b(?:tests?|exams?|quiz\w*|grades?)\b")
_OF_A_BODY = re.compile(
    r"[ -]?(?:years?|months?|weeks?)?[ -](?:old|older|younger|tall|high)\b|[ -](?:feet|foot|inches)\b|°"
)
_NEAR = 32
_MOST = 200


@dataclass(frozen=True, slots=True)
class Givens:
    """What a question gives.

    ``numbers``: all its numbers, in order. ``kinds``: their values by what they measure (`MONEY`, `PER_CENT`, "hour",
    ..., "count"); a story can compare what is of one kind. ``choices``: for each value that may be changed, the values
    it may take.
    """

    question: str
    numbers: tuple[Number, ...]
    kinds: Mapping[str, frozenset[Value]]
    choices: Mapping[Value, tuple[Value, ...]]

    @property
    def values(self) -> list[Value]:
        """The values of the numbers, in order."""
        return [whole(number.value) for number in self.numbers]

    @property
    def per_cents(self) -> frozenset[Value]:
        """The values that stand as per cents."""
        return self.kinds.get(PER_CENT, frozenset())

    @property
    def times(self) -> frozenset[Value]:
        """The values that stand as times of day; the time between two of them is seldom their difference."""
        return self.kinds.get(TIME_OF_DAY, frozenset())

    def counted(self, value: Value) -> set[str]:
        """The words that stand behind a value's places, as far as there are any; for money, its sign."""
        places = [number for number in self.numbers if number.value == value]
        behind = (re.match(r"[ -]?([A-Za-z]+)", self.question[number.end :]) for number in places)
        return {
            number.text[0] if number.text[0] in CURRENCIES else word[1].lower().removesuffix("s") if word else ""
            for number, word in zip(places, behind, strict=True)
        }

    def restated(self, changes: Mapping[Value, Value]) -> str:
        """The question with other values, each in the form its predecessor had."""
        pieces, position = [], 0
        for number in self.numbers:
            new = changes.get(whole(number.value))
            pieces += [self.question[position : number.start], number.text if new is None else _written(number, new)]
            position = number.end
        return "".join(pieces) + self.question[position:]


def read_givens(question: str) -> Givens:
    """Find the numbers of a question and what they may be changed to."""
    lowered = question.lower()
    if len(lowered) != len(question):  # a few letters outside English change their length
        lowered = question
    numbers = tuple(find_numbers(question))
    places: dict[Value, list[Number]] = {}
    kinds: dict[str, set[Value]] = {}
    for number in numbers:
        places.setdefault(whole(number.value), []).append(number)
        kinds.setdefault(kind_of(lowered, number), set()).add(whole(number.value))
    fixed = other_meanings(question, numbers) | gone_through(question, lowered)
    choices = {}
    for value, told in places.items():
        if value in fixed or speaks_of_the_world(lowered) or any(is_fixed(question, lowered, one) for one in told):
            continue
        if not all(is_pointed_at(lowered, number) for number in told):
            choices[value] = sorted(set.intersection(*(set(_choices(lowered, number)) for number in told)) - {value})
    return Givens(
        question,
        numbers,
        {kind: frozenset(values) for kind, values in kinds.items()},
        {value: tuple(some) for value, some in choices.items() if some},
    )


def _decimal_places(number: Number) -> int | None:
    """The number of decimal places a number is written with; None for a form that cannot be written anew."""
    if number.text.lower() in _SPELLED.values():
        return 0
    digits = _DIGITS.fullmatch(number.text)
    return len(digits["number"].partition(".")[2]) if digits else None


def _written(number: Number, value: Value) -> str:
    """A value in the form that a number has."""
    digits = _DIGITS.fullmatch(number.text)
    if digits is None:
        word = _SPELLED[int(value)]
        return word.capitalize() if number.text[0].isupper() else word
    start, end = digits.span("number")
    whole_part, point, decimals = digits["number"].partition(".")
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    written = f"{exact:{',' if ',' in whole_part else ''}.{len(decimals)}f}"
    if point and not whole_part:
        written = written.removeprefix("0")
    return f"{number.text[:start]}{written}{number.text[end:]}"


def _choices(lowered: str, number: Number) -> Iterator[Value]:
    """The values near a number's that it may take: as round, as many decimal places, within the bounds of its unit."""
    places = _decimal_places(number)
    if places is None:
        return
    before, after = lowered[max(0, number.start - 5) : number.start], lowered[number.end : number.end + _NEAR]
    value, count = whole(number.value), int(number.value * 10**places)
    low, high = Fraction(count * 3, 5), Fraction(count * 8, 5)
    if _OF_A_BODY.match(after):
        low, high = Fraction(count * 4, 5), Fraction(count * 5, 4)
    if count <= 3:
        low, high = Fraction(2), Fraction(count + 2)
    per_cent = kind_of(lowered, number) == PER_CENT
    bounds = [bound for unit, steps in _BOUNDS if unit.match(after) for bound in steps] + [99] * per_cent
    bounds += [100] * (_MARKS.search(lowered) is not None or _OF_A_BODY.match(after) is not None)
    top = min((bound for bound in bounds if bound >= value), default=None)
    step = (5 if count % 5 == 0 else 1) if per_cent else _roundness(count)
    # Of very many choices some will do; coprime to 210, the stride passes over no divisibility by 2, 3, 5 or 7.
    stride = max(1, int(high - low) // (step * _MOST))
    while gcd(stride, 210) > 1:
        stride += 1
    vowel = re.search(r"\ban? \$?$", before) is not None
    for candidate in range(-int(-low // step) * step, int(high) + 1, step * stride):
        new = whole(Fraction(candidate, 10**places))
        if new in (0, 1) or (new < 1) != (value < 1) or (top is not None and new > top):
            continue
        if number.text[0].isalpha() and new not in _SPELLED:
            continue
        if vowel and _begins_with_vowel(new) != _begins_with_vowel(value):
            continue
        yield new


def _roundness(count: int) -> int:
    """The largest round step (1, 2, 5, 10, 20, ...) that divides a number and is at most a sixth of it."""
    sizes = (size * 10**power for power in range(15) for size in (1, 2, 5))
    return max((size for size in takewhile(lambda size: size * 6 <= count, sizes) if count % size == 0), default=1)


def _begins_with_vowel(value: Value) -> bool:
    """Whether "an" stands before a number: an 8, an 11, an 18, an 800."""
    digits = str(int(value))
    return digits.startswith("8") or (digits.startswith(("11", "18")) and len(digits) % 3 == 2)
