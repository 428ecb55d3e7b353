r"""Numbers as people write them: ``1,000``, ``$12``, ``3.50``, ``45%``, ``\frac{1}{2}``, ``twenty-one``, ``a dozen``.

Answers, steps and leaks are all compared as exact fractions, so that ``0.5``, ``1/2`` and ``half`` are one value.
Currency and per cent signs are units, not factors: ``45%`` is 45, as reference answers have it. Step marks ("step 2",
"1." before a list item, "3rd") are labels, not values, and are left out unless asked for.

Both searches begin with a plain set of characters, so that the engine skips to the next candidate; what stands before
it (a sign, a currency, "step") is read backwards from there. Repetitions are possessive or bounded: time is linear in
the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd
from operator import attrgetter

_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten",
    "eleven",
    "twelve",
    *(f"{stem}teen" for stem in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate([*_UNITS, *_TEENS])} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}

_DIGITS = re.compile(
    r"""[0-9](?:[0-9]{0,2}(?:(?:,|\{,\}|\\,)[0-9]{3}){1,8}(?![0-9])|[0-9]*+)(?P<decimals>\.[0-9]++)?+
    (?: \}\{(?P<bottom>[0-9]{1,30})\}
      | /(?P<under>[0-9]{1,30})(?![0-9/]|[.,][0-9])
      | [ ](?P<part>[0-9]{1,4})/(?P<parts>[0-9]{1,4})(?![0-9/.]) )?+""",
    re.VERBOSE,
)
_WORD = re.compile("|".join(sorted([*_WORDS, "half", "dozen", "hundred"], key=len, reverse=True)))
_COUNT = "|".join([f"(?:{'|'.join(_TENS)})-(?:{'|'.join(_UNITS[1:])})", *sorted(_WORDS, key=len, reverse=True)])
_PHRASE = re.compile(
    rf"""(?: half[ ]a[ ]dozen | half | dozen
      | (?:{_COUNT})(?:[ ]dozens? | [ -](?:{"|".join(_PARTS)})s?)
      | (?:(?:{_COUNT})[ ])?hundred(?:[ ](?:and[ ])?(?:{_COUNT}))?
      | {_COUNT} )\b""",
    re.VERBOSE,
)
_PRONOUN_BEFORE = re.compile(
    r"\b(?:that|this|the|which|each|every|any|some|no|another|other|last|next|first|right|wrong|correct|same|new) $"
)
_PRONOUN_AFTER = re.compile(
    r" (?:of|more|another|by|way|thing|that|who|can|could|should|would|might|is|was|at|last|final|small|question|"
    r"possible|moment|mistake|correction|sentence|idea|has)\b|['’-]"
)
_UNIT = re.compile(r"(?:\s*(?!(?:pi|sqrt|or|and)\b)(?:[A-Za-z]{2,}|a\b)(?:/[A-Za-z]+)?){0,8}")
_MARKS = tuple(
    mark + plural
    for mark in ("step", "line", "part", "question", "problem", "equation", "example", "exercise", "option", "grade")
    for plural in ("", "s")
)
_DASHES = ("-", "−", "–")
_CURRENCIES = ("$", "€", "£")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text: its exact value, where it stands (``text[start:end]``), and how it is written."""

    value: Fraction
    start: int
    end: int
    text: str


def find_numbers(text: str, *, labels: bool = False) -> list[Number]:
    """All numbers of a text, in order; with ``labels``, also step marks, list numbers and ordinals.

    ``a/b`` is one number if it is proper or in lowest terms (``1/2``, ``7/3``), otherwise a division of two
    (``48/2``). A dash is a sign only where it cannot be an operator or a hyphen. Numbers of more than 300 digits are
    passed over, and so is a "one" that counts nothing ("that one", "one of").
    """
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters outside English change their length
        lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    numbers = list(_numbers_in_digits(text, lowered, labels))
    digits_only = len(numbers)
    numbers.extend(_numbers_in_words(text, lowered, labels))
    return numbers if len(numbers) == digits_only else sorted(numbers, key=attrgetter("start"))


def parse_number(text: str) -> Fraction | None:
    """The value of a text that is one number, perhaps with ``x =`` before it or a unit behind it; otherwise None."""
    bare = text.strip().strip("*").removeprefix("\\(").removesuffix("\\)").strip().rstrip(".")
    if len(bare) > 1 and bare.startswith("$") and bare.endswith("$"):
        bare = bare.strip("$")
    name, equals, value = bare.partition("=")
    if equals and len(name.strip()) == 1 and name.strip().isalpha():
        bare = value.strip()
    numbers = find_numbers(bare)
    if len(numbers) != 1 or numbers[0].start != 0:
        return None
    return numbers[0].value if _UNIT.fullmatch(bare, numbers[0].end) else None


def _numbers_in_digits(text: str, lowered: str, labels: bool) -> Iterator[Number]:
    position, plural_label = 0, -1
    while match := _DIGITS.search(text, position):
        start, end = match.span()
        position = end
        before = text[start - 1] if start else ""
        factor = before in ("x", "X") and text[start - 2 : start - 1].isdigit()
        if before == "_" or (before.isalpha() and not factor):
            continue
        if end - start > _LONGEST:
            continue
        value, end = _value_and_end(match, text)
        if value is None:
            continue
        position = end
        joined = plural_label >= 0 and lowered[plural_label:start] in (" and ", " & ")
        if _is_label(lowered, start, end, value) or joined:
            plural_label = end if joined or lowered[max(0, start - 3) : start].rstrip(" #").endswith("s") else -1
            if labels:
                yield Number(value, start, end, text[start:end])
            continue
        start, negative = _start_and_sign(text, start, match.group("bottom") is not None)
        if text[end : end + 1] == "%" or text[end : end + 2] == "\\%":
            end = position = text.index("%", end) + 1
        if start < match.start() and text[match.start() - 1] == ".":
            value /= 10 ** len(match.group())
        yield Number(-value if negative else value, start, end, text[start:end])


def _value_and_end(match: re.Match[str], text: str) -> tuple[Fraction | None, int]:
    """The unsigned value of a match and where it ends: before the slash if that turns out to be a division."""
    start, end = match.span()
    decimals, bottom, under, part, parts = match.groups()
    if not (bottom or under or part):
        return _plain_value(match.group()), end
    if bottom:
        value = _plain_value(match.group()[: -len(bottom) - 3])
        if text[start - 5 : start] == "frac{" and int(bottom):
            return value / int(bottom), end
        return value, match.start("bottom") - 2
    if part:
        value = _plain_value(match.group()[: -len(part) - len(parts) - 2])
        proper = not decimals and 0 < int(part) < int(parts)
        return (value + Fraction(int(part), int(parts)), end) if proper else (value, match.start("part") - 1)
    value, divisor = _plain_value(match.group()[: -len(under) - 1]), int(under)
    one_number = not decimals and divisor > 1 and (value < divisor or gcd(value.numerator, divisor) == 1)
    return (value / divisor, end) if one_number else (value, match.start("under") - 1)


def _start_and_sign(text: str, start: int, latex: bool) -> tuple[int, bool]:
    """Where a number begins once its leading dot, currency and sign are counted, and whether it is negative."""
    if latex:
        start = text.rindex("\\", 0, start) if "\\" in text[max(0, start - 8) : start] else start
    if text[start - 1 : start] == "." and not text[max(0, start - 2) : start - 1].strip(" ([{$=:+*/-"):
        start -= 1
    inner = text[start - 1 : start] in _DASHES and text[max(0, start - 2) : start - 1] in _CURRENCIES
    start -= inner
    if start and text[start - 1] in _CURRENCIES:
        start -= 1 + (text[max(0, start - 2) : start - 1] == "\\")
    if start and text[start - 1] in _DASHES:
        adjacent = text[max(0, start - 2) : start - 1]
        behind = text[max(0, start - 4) : start - 1].rstrip()[-1:]
        if not (adjacent.isalnum() or behind.isdigit() or behind in tuple(")]}%-.")):
            return start - 1, True
    return start, inner


def _numbers_in_words(text: str, lowered: str, labels: bool) -> Iterator[Number]:
    position = 0
    while found := _WORD.search(lowered, position):
        start = found.start()
        match = None if start and lowered[start - 1].isalnum() else _PHRASE.match(lowered, start)
        if match is None:
            position = found.end()
            continue
        end = position = match.end()
        if match.group() == "one" and _is_pronoun(lowered, start, end):
            continue
        value = _word_value(match.group())
        if labels or not _is_label(lowered, start, end, value):
            yield Number(value, start, end, text[start:end])


def _is_label(lowered: str, start: int, end: int, value: Fraction) -> bool:
    """Whether a number only says which step, which list item or which place is meant."""
    if value.denominator != 1 or value >= 1000:
        return False
    if lowered[max(0, start - 12) : start].rstrip(" #").endswith(_MARKS) and lowered[start - 1] in " #":
        return True
    after = lowered[end : end + 2]
    if after in ("st", "nd", "rd", "th"):
        return not lowered[end + 2 : end + 3].isalpha()
    if value <= 20 and after[:1] in (".", ")") and after[1:].isspace() and lowered[start].isdigit():
        _, line_break, indent = lowered[max(0, start - 9) : start].rpartition("\n")
        return not indent.strip() and (bool(line_break) or start < 9)
    return False


def _is_pronoun(lowered: str, start: int, end: int) -> bool:
    return bool(_PRONOUN_BEFORE.search(lowered[max(0, start - 9) : start]) or _PRONOUN_AFTER.match(lowered, end))


@lru_cache(maxsize=65536)
def _plain_value(digits: str) -> Fraction:
    whole, _, decimals = digits.partition(".")
    whole = whole.replace("{,}", "").replace("\\,", "").replace(",", "")
    return Fraction(int(whole + decimals), 10 ** len(decimals))


@lru_cache(maxsize=1024)
def _word_value(words: str) -> Fraction:
    """The value of a matched phrase of lower-case number words."""
    total = Fraction(0)
    for word in re.findall("[a-z]+", words.replace("half a dozen", "six")):
        singular = word if word in _WORDS else word.removesuffix("s")
        if singular in _WORDS:
            total += _WORDS[singular]
        elif singular == "hundred":
            total = 100 * (total or Fraction(1))
        elif singular == "dozen":
            total = 12 * (total or Fraction(1))
        elif singular in _PARTS:
            total = (total or Fraction(1)) / _PARTS[singular]
    return total
