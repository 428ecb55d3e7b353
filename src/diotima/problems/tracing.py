"""Where the operands of a step come from: a number in the question, an earlier step's result, or a constant.

An operand may have several readings: a 12 is perhaps the 12 apples, perhaps the months of the year that the question
speaks of, perhaps what the second step came to. Nobody can tell them apart by looking at numbers, so nobody has to:
all readings are kept, and a sibling is good only if all of them agree on the operand's new value (see `siblings`).

A constant is never guessed from arithmetic: its word must stand in the question ("twice", "dozen", "weeks").
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from diotima.problems.arithmetic import Calculation, Expression, Operation, Value, operands, whole
from diotima.problems.givens import Givens
from diotima.problems.meanings import MONEY
from diotima.problems.numbers import Number

_FORMS: Mapping[str, Callable[[Value], Value]] = {
    "itself": lambda value: value,
    "part": lambda per_cent: whole(Fraction(per_cent) / 100),
    "rest": lambda per_cent: 100 - per_cent,
    "rest as part": lambda per_cent: whole(1 - Fraction(per_cent) / 100),
    "more": lambda per_cent: 100 + per_cent,
    "more as part": lambda per_cent: whole(1 + Fraction(per_cent) / 100),
}

# Words, words that must stand somewhere beside them, and the constants they name together.
_CONSTANTS: tuple[tuple[str, str, str], ...] = (
    (r"ones?|once|1|single|himself|herself|an? (?!day|week|month|year|hour|minute|night)", "", "1"),
    (r"twice|doubl\w+|hal[fv]\w*|both|pairs?|couple|twins?|two-way|bi-?weekly|bi-?monthly|mid\w+", "", "2"),
    (r"round[ -]?trips?|each way|one[ -]way|there and back|return\w*", "", "2"),
    (r"(?:and|come|comes|came|drives?|walks?|way|rides?|goe?s?|runs?) back", "", "2"),
    (
        r"weekends?|parents|bicycles?|bikes?|shoes?|socks?|gloves?|earrings?|rectang\w+|perimeter|eyes|ears|hands",
        "",
        "2",
    ),
    (r"hal[fv]\w*", "", "0.5 1.5"),
    (r"tripl\w+|thrice|tricycles?|triang\w+|three-fold|trio|thirds?|tablespoons?|teaspoons?", "", "3"),
    (r"quadrupl\w+|quarter\w*|fourths?|squares?|months?|monthly|cars?|dogs?|cats?|horses?|cows?|legs", "", "4"),
    (r"weekdays?|work ?days?|business days|school ?(?:days?|week)|work ?week|monday|friday|fifths?", "", "5"),
    (r"hexag\w+|sixths?|insects?", "", "6"),
    (r"weeks?|weekly|daily|weekends?|sunday|bi-?weekly", "", "7"),
    (r"octop\w+|octag\w+|spiders?|eighths?", "", "8"),
    (r"decades?|tenths?|tenfold", "", "10"),
    (r"dozens?|years?|yearly|annual\w*|months?|monthly|feet|foot|inch|inches|noon|midnight|[ap]m", "", "12"),
    (r"fortnight\w*|two weeks|2 weeks|bi-?weekly", "", "14"),
    (r"days?|daily|hours?|hourly|nights?", "", "24"),
    (r"months?|monthly|april|june|september|november|half (?:an |of an )?hour", "", "30"),
    (r"january|march|may|july|august|october|december", "", "31"),
    (r"february", "", "28 29"),
    (r"years?|yearly|annual\w*", "", "52 365 366"),
    (r"hours?|hourly|minutes?|mph|seconds", "", "60"),
    (r"seconds?", "hours?|hourly|mph", "3600"),
    (r"yards?", "", "3 36"),
    (r"pounds?|lbs?", "ounces?|oz", "16"),
    (r"tons?", "pounds?|lbs?", "2000"),
    (r"miles?", "feet|foot|yards?", "5280 1760"),
    (r"miles?", r"kilomet\w+|km", "1.6 1.61 0.6 0.62"),
    (r"inch|inches", r"centimet\w+|cm", "2.5 2.54"),
    (r"gallons?", "quarts?|cups?|pints?|ounces?", "4 16 8 128"),
    (r"quarts?|pints?|cups?", "gallons?|quarts?|pints?|cups?|ounces?|tablespoons?|teaspoons?", "2 4 8 16 32"),
    (r"k(?:ilo)?m(?:eters?|etres?)?|k(?:ilo)?g(?:rams?)?|kilos?|lit(?:er|re)s?|ml|milli\w+|grams?|g", "", "1000"),
    (r"met(?:er|re)s?|cm|centimet(?:er|re)s?|century|centuries|hundreds?", "", "100"),
    (r"cents?|penny|pennies|coins?|dimes?|nickels?|quarters?|change", "", "100 10 20 5 4 25 0.01 0.1 0.05 0.25"),
    (r"thousands?", "", "1000"),
    (r"[kmgt]b|(?:kilo|mega|giga|tera)bytes?", "", "1000 1024"),
    (r"millions?", "", "1000000"),
    (r"angles?|triang\w+|degrees?", "", "180 90 360"),
    (r"deck", "", "52"),
)
_COMPILED = tuple(
    (
        re.compile(rf"\b(?:{words})(?!\w)", re.IGNORECASE),
        re.compile(rf"\b(?:{beside})\b", re.IGNORECASE) if beside else None,
        frozenset(whole(Fraction(value)) for value in values.split()),
    )
    for words, beside, values in _CONSTANTS
)


_MULTIPLIERS = tuple(
    (value, re.compile(rf"\b(?:{words})\b", re.IGNORECASE))
    for value, words in (
        (2, r"twice|doubl\w+|hal[fv]\w*"),
        (3, r"thrice|tripl\w+|thirds?"),
        (4, r"quadrupl\w+|quarters?|fourths?"),
        (5, r"fifths?"),
    )
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One place an operand may come from.

    ``source``: where its number stands. ``key``: the value in the question or of the constant, or the number of the
    step, from 0. ``form``: how the operand is made of it (20% may stand as 20, 0.2, 80, 0.8, 120 or 1.2).
    """

    source: Literal["given", "result", "constant"]
    key: Value
    form: str = "itself"

    def value(self, changes: Mapping[Value, Value], results: Sequence[Value]) -> Value:
        """The operand, once the givens are changed and the earlier steps carried out."""
        if self.source == "result":
            return results[int(self.key)]
        return _FORMS[self.form](changes.get(self.key, self.key) if self.source == "given" else self.key)


def trace(calculations: Sequence[Calculation], givens: Givens) -> list[list[tuple[Reading, ...]]]:
    """For each step, for each operand, every place it may come from; no place at all if it cannot be traced."""
    constants = _constants(givens)
    results = [calculation.result for calculation in calculations]
    return [
        [_readings(operand, givens, constants, results[:step]) for operand in operands(calculation.expression)]
        for step, calculation in enumerate(calculations)
    ]


def _readings(operand: Value, givens: Givens, constants: Set[Value], results: Sequence[Value]) -> tuple[Reading, ...]:
    told = operand in givens.values and operand not in givens.times
    readings = [Reading("given", operand)] if told else []
    readings += [
        Reading("given", value, form)
        for value in sorted(givens.per_cents)
        for form, make in _FORMS.items()
        if form != "itself" and make(value) == operand
    ]
    readings += [Reading("result", step) for step, result in enumerate(results) if result == operand]
    return (*readings, Reading("constant", operand)) if operand in constants else tuple(readings)


def _constants(givens: Givens) -> set[Value]:
    """The constants that a question names by words, by per cents or by fractions."""
    found: set[Value] = set()
    for words, beside, values in _COMPILED:
        if words.search(givens.question) and (beside is None or beside.search(givens.question)):
            found |= values
    if givens.per_cents:
        # Data sets write 10% of 80 as 80*10*.01 as well as 80*10/100.
        found |= {1, 100, Fraction(1, 100)}
    for number in givens.numbers:
        top, bottom = number.value.numerator, number.value.denominator
        if _is_fraction(number):
            found |= {1, top, bottom, abs(bottom - top), bottom + top}
            found |= {whole(part) for part in (number.value, 1 - number.value, 1 + number.value)}
        if number.text.lower().endswith(("dozen", "dozens")):
            found |= {12, whole(number.value / 12)}
    return found


def _is_fraction(number: Number) -> bool:
    return "/" in number.text or (number.value.denominator > 1 and number.text[-1].isalpha())


def unused_values(givens: Givens, readings: Sequence[Sequence[tuple[Reading, ...]]]) -> set[Value]:
    """The values in the question, fractions apart, that no step uses.

    Of "half" and "two students" each needs a 2 of its own: if the steps have fewer, it is not known which is not used.
    """
    every = [some for step in readings for some in step]
    used = Counter(key for some in every for key in {reading.key for reading in some if reading.source != "result"})
    unused = {whole(number.value) for number in givens.numbers if not _is_fraction(number)} - set(used)
    for value, words in _MULTIPLIERS:
        told, named = givens.values.count(value), words.search(givens.question) is not None
        if told and named and used[value] + used[Fraction(1, value)] < told + 1:
            unused.add(value)
    return unused


def must_stay(
    calculations: Sequence[Calculation], givens: Givens, readings: Sequence[Sequence[tuple[Reading, ...]]]
) -> set[Value]:
    """The values that have to stay, because something may hang on them that the steps do not show."""
    every = [some for step in readings for some in step]
    told = Counter(givens.values)
    used = Counter(some[0].key for some in every if some[0].source == "given")
    stay = {reading.key for some in every for reading in some if reading.source == "constant"}
    money = givens.kinds.get(MONEY, frozenset())
    # A small number that is used more often than told may be the count of what the story names without counting it;
    # told more often than used, it may count what the story lists, or in one of its places something else.
    stay |= {value for value in told if value <= 4 and used[value] > told[value]}
    stay |= {value for value in told if value <= 6 and used[value] < told[value] and value not in money}
    stay |= {value for value in told if used[value] < told[value] and len(givens.counted(value)) > 1}
    # So may a number of terms: 3 tests, where their three scores are added, or a sum of two divided by 2.
    terms = [_terms(calculation.expression) for calculation in calculations]
    stay |= {count for count in terms if count > 2}
    stay |= {count for count, after in zip(terms, calculations[1:], strict=False) if after.operator == "/"}
    if 1 in unused_values(givens, readings):
        # "Buy 2, get 1 free": a 3 may have been worked out in the head.
        operand_values = {operand for calculation in calculations for operand in operands(calculation.expression)}
        stay |= {value + step for value in operand_values for step in (-1, 1)} & told.keys()
    return stay


def _terms(expression: Expression) -> int:
    if isinstance(expression, Operation) and expression.operator == "+":
        return _terms(expression.left) + _terms(expression.right)
    return 1
