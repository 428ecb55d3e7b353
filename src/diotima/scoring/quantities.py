r"""Numbers with what stands beside them: units, currency, per cent, scale words, bases, ratios and times of day.

Values are exact fractions. A unit counts only if both sides name one: ``18`` is taken for ``$18``, but ``5 km`` is not
``5 m``, and ``2 hours`` is ``120 minutes``. Two nouns that are no measures (``apples``, ``pens``) cannot be told apart
from synonyms, so the comparison says None. A per cent sign is a unit too: ``45%`` is 45, never silently 0.45.

The English convention holds: a comma groups thousands, a point is decimal. ``1.000,50`` and ``1 000 000``, which have
no English reading, are read in their own way, and so is ``3,5`` where a number is expected.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from diotima.problems.numbers import find_numbers
from diotima.scoring.measures import SCALES, Unit, read_units, unit_named
from diotima.scoring.notation import plain, tidy


@dataclass(frozen=True, slots=True)
class NumberRules:
    """When two numbers count as the same: exactly equal, unless declared otherwise.

    ``absolute`` and ``relative``: the allowed distance, in units and as a share of the reference; the larger counts.
    ``percent``: whether ``45%`` stands for 45 ("points") or for 0.45 ("hundredths").
    """

    absolute: float = 0.0
    relative: float = 0.0
    percent: Literal["points", "hundredths"] = "points"

    def close(self, given: Fraction, expected: Fraction) -> bool:
        """Whether a number is the expected one."""
        if given == expected:
            return True
        allowed = max(Fraction(str(self.absolute)), Fraction(str(self.relative)) * abs(expected))
        return abs(given - expected) <= allowed


EXACT = NumberRules()
LONGEST = 300
"""Characters of a quantity; a longer text is none."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and what is named beside it.

    ``top`` and, behind a "per", ``bottom``: its units; ``noun``: a unit that is no measure; ``name``: x in ``x = 5``.
    """

    value: Fraction
    top: Unit | None = None
    bottom: Unit | None = None
    noun: str = ""
    percent: bool = False
    name: str = ""


@lru_cache(maxsize=4096)
def read_quantity(text: str) -> Quantity | None:
    """The quantity that an answer is, or None if it is something else or more than one number."""
    if len(text) > LONGEST:
        return None
    if _INTEGER.fullmatch(text):
        return Quantity(Fraction(int(text)))
    lead = _LEAD.match(plain(tidy(text)).strip("* \"'"))
    name, opening, sign, currency, inner, bare = lead.groups() if lead else ("", "", "", "", "", "")
    if opening:
        bare = bare.removesuffix(")")
    if compound := _COMPOUND.fullmatch(bare):
        larger, smaller = read_quantity(compound[1]), read_quantity(compound[2])
        if not (larger and smaller and larger.top and smaller.top and larger.top.measure == smaller.top.measure):
            return None
        return replace(smaller, value=smaller.value + larger.value * larger.top.size / smaller.top.size)
    number = _leading_number((sign or inner or "") + bare)
    if number is None:
        return None
    value, written, behind = number
    if scale := _SCALE.match(behind):
        value, behind = value * SCALES[scale[1].lower()], behind[scale.end() :]
    percent = written.endswith("%") or bool(_PERCENT.match(behind))
    behind = _PERCENT.sub("", behind, count=1)
    if _NO_UNIT.search(behind) or _OPERATION.match(behind):
        return None
    top, bottom, noun = read_units(behind)
    top = unit_named(currency) if currency else top
    if len(noun) == 1 and not top:
        return None
    return Quantity(value, top, bottom, "" if top else noun, percent, (name or "").lower())


def same_quantity(given: Quantity, expected: Quantity, rules: NumberRules = EXACT) -> bool | None:
    """Whether two quantities are the same; None where one names another thing than the other."""
    value, wanted = given.value, expected.value
    if given.name and expected.name and given.name != expected.name:
        return False
    if rules.percent == "hundredths":
        value, wanted = (q.value / 100 if q.percent else q.value for q in (given, expected))
    for ours, theirs, power in ((given.top, expected.top, 1), (given.bottom, expected.bottom, -1)):
        if ours and theirs:
            if ours.measure != theirs.measure:
                return False
            value *= (ours.size / theirs.size) ** power
    same = rules.close(value, wanted)
    return None if same and _unlike(given, expected) else same


def _unlike(given: Quantity, expected: Quantity) -> bool:
    """Whether one of two quantities counts a noun, and the other something else than that noun or money."""
    names = [q.noun or ("%" if q.percent else q.top.measure if q.top else "") for q in (given, expected)]
    return bool((given.noun or expected.noun) and all(names) and names[0] != names[1] and not _MONEY & set(names))


def same_numeral(given: str, expected: str) -> bool | None:
    r"""Whether two numerals of a declared base (``2516_8``) are the same; None if neither declares one.

    The base is part of the form that was asked for: another base is another answer, no base is taken for the same.
    """
    ours, theirs = (_NUMERAL.fullmatch(plain(tidy(text)).replace(" ", "")) for text in (given, expected))
    if not (ours and theirs) or not (ours[2] or theirs[2]):
        return None
    bases = {numeral[2] for numeral in (ours, theirs) if numeral[2]}
    return len(bases) == 1 and ours[1].lstrip("0") == theirs[1].lstrip("0")


def same_pair(given: str, expected: str) -> bool | None:
    """Whether two times of day or two ratios (``3:30 pm``, ``3:2``) are the same; None if that cannot be told.

    A ratio is worth its quotient (``6:4`` is ``3:2``). What may be either is the same only if it is so as both.
    """
    ours, theirs = (_PAIR.fullmatch(plain(tidy(text)).lower()) for text in (given, expected))
    if not (ours and theirs):
        return None
    if ours[3] or theirs[3]:
        return _minutes(ours, theirs) == _minutes(theirs, ours)
    (first, second), (third, fourth) = ((int(pair[1]), int(pair[2])) for pair in (ours, theirs))
    if (first, second) == (third, fourth):
        return True
    if first * fourth != second * third:
        return False
    return None if all(len(pair[2]) == 2 and int(pair[2]) < 60 for pair in (ours, theirs)) else True


def final_pair(text: str) -> str | None:
    """The last time of day or ratio in a text, or None."""
    pairs = list(_PAIR.finditer(plain(tidy(text)).lower()))
    return pairs[-1].group() if pairs else None


def _minutes(pair: re.Match[str], other: re.Match[str]) -> int:
    """Minutes since midnight; a time that does not say which half of the day is taken to be in the other's."""
    hours, half = int(pair[1]), pair[3] or (other[3] if int(pair[1]) <= 12 else "")
    return (hours % 12 + 12 * (half[:1] == "p") if half else hours) * 60 + int(pair[2])


def _leading_number(text: str) -> tuple[Fraction, str, str] | None:
    """The value of the number at the beginning, as it is written, and what stands behind it."""
    if match := _SCIENTIFIC.match(text):
        value = Fraction(match[2] or 1) * Fraction(10) ** int(match[3] or match[4])
        return -value if match[1] else value, match.group(), text[match.end() :]
    if match := _FRACTION.match(text):
        sign, whole, top, bottom = match[1], match[2], match[3] or match[5], match[4] or match[6]
        if not Fraction(bottom) or (whole and not 0 < Fraction(top) < Fraction(bottom)):
            return None
        value = Fraction(whole or 0) + Fraction(top) / Fraction(bottom)
        return -value if sign else value, match.group(), text[match.end() :]
    if match := _GROUPED.match(text):
        points = match.group().replace(" ", "")
        digits = points.replace(".", "").replace(",", ".") if "." in points else points.replace(",", "")
        return Fraction(digits), match.group(), text[match.end() :]
    numbers = find_numbers(text)
    if not numbers or numbers[0].start or not all(_EXPONENT.search(text, 0, n.start) for n in numbers[1:]):
        return None
    return numbers[0].value, numbers[0].text, text[numbers[0].end :]


def read_decimal_comma(text: str) -> Fraction | None:
    """The value of ``3,5`` as a number with a decimal comma, or None; in English it would be a list."""
    match = _COMMA.fullmatch(plain(tidy(text)))
    return Fraction(f"{match[1]}.{match[2]}") if match else None


_MONEY = {"dollar^1", "euro^1", "sterling^1"}

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_LEAD = re.compile(
    r"(?:([A-Za-z]|[A-Za-z]\([A-Za-z]\)|[A-Za-z]_\{?\w\}?)\s*(?:=|≈|\\approx)|=|≈|~|\\approx)?\s*"
    r"(?:(?:about|approximately|approx\.?|around|exactly|roughly|only|just|a total of)\s+)*"
    r"(\((?=[^()]*\)$))?\s*([-+]?)\s*(?:([$€£])\s*(-?)\s*)?(.*)",
    re.IGNORECASE | re.DOTALL,
)
_DECIMAL = r"[0-9]{1,30}(?:\.[0-9]{1,30})?|\.[0-9]{1,30}"
_SCIENTIFIC = re.compile(
    rf"(-)?(?:({_DECIMAL})\s*)?(?:(?<=[0-9])[eE]\+?(-?[0-9]{{1,3}})(?![0-9.])"
    rf"|(?:(?<![0-9.])|(?:\\times|\\cdot|[xX*])\s*)10\s*(?:\^|\*\*)\s*\{{?\s*\+?(-?[0-9]{{1,3}})(?![0-9.])\s*\}}?)"
)
_FRACTION = re.compile(
    rf"(-)?\s*(?:([0-9]{{1,30}})\s*)?\\frac\s*\{{\s*(-?(?:{_DECIMAL}))\s*\}}\s*\{{\s*(-?(?:{_DECIMAL}))\s*\}}"
    r"|(-?[0-9]{1,30})\s*/\s*([0-9]{1,30})(?![0-9/.,])"
)
_GROUPED = re.compile(
    r"-?[0-9]{1,3}(?:(?:\.[0-9]{3})+,[0-9]{1,2}|(?:\.[0-9]{3}){2,}|(?: [0-9]{3})+(?:\.[0-9]+)?"
    r"|,(?:[0-9]{2},)+[0-9]{3})(?![0-9.,])"
)
_COMPOUND = re.compile(r"([0-9]{1,9} ?[a-z]{1,9}),? (?:and )?([0-9]{1,9} ?[a-z]{1,9})", re.IGNORECASE)
_EXPONENT = re.compile(r"\^ ?\{?$")
_COMMA = re.compile(r"(-?[0-9]{1,300}),([0-9]{1,2}|[0-9]{4,300})")
_SCALE = re.compile(rf"[ -]?({'|'.join(SCALES)})s?\b", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(?:%|per ?cent(?:age points?)?\b)", re.IGNORECASE)
_NO_UNIT = re.compile(
    r"[0-9](?<!\^[0-9])(?<!\^\{[0-9])|[=<>+*_\\()\[\]]|^\s*[-^]|[{}](?<!\^\{)(?<!\^\{[23]\})|^\s*/\s*[^A-Za-z]"
)
_OPERATION = re.compile(
    r"(?:\s*(?:squared|cubed|factorial|over|halves|half|thirds|quarters|fourths|fifths|times|plus|minus|or|and|to|pi|sqrt"
    r"|root)\b|\s*!|\s*,|[A-Za-z](?![A-Za-z]))",
    re.IGNORECASE,
)
_NUMERAL = re.compile(r"\(?([0-9A-F]+)\)?(?:_\{?([0-9]{1,2})\}?)?")
_PAIR = re.compile(r"(?<![\d:])(\d{1,4}) ?(?::|\bto\b) ?(\d{1,4})(?![\d:])(?: ?([ap]\.?m\b\.?))?")
