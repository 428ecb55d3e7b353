"""What a number in a question stands for, as far as it matters to whether another number could stand there.

A number that counts or measures may be another one. A year, a time of day, a name ("size 8"), a place ("the 5th day"),
a fact ("4 legs", anything about the world) may not; nor may the count of what the story then goes through one by one
("3 kinds: ...", "three banks ... the third bank"); nor may 2, on which words like "both" and "the other" rest, nor, for
the sake of grammar, 0 and 1. All of it is told from the words around the number; where they leave a doubt, the number
counts as fixed.
"""

import re

from diotima.problems.arithmetic import Value
from diotima.problems.numbers import Number

PER_CENT = "per cent"
MONEY = "money"
TIME_OF_DAY = "time of day"
CURRENCIES = "$€£"

_NAME_BEFORE = re.compile(
    r"(?:#|\b(?:number|no\.|size|room|chapter|pages?|route|highway|level|team|class|section|street|act|version|aisle|"
    r"gate|bus|flight|episode|season|ages|january|february|march|april|may|june|july|august|september|october|november|"
    r"december) ?|\d ?[-–:/]|\d |[:/]|[a-z&-])$"
)
_NAME_AFTER = re.compile(
    r"[-–:/]\d|:|['’]| ?[ap]\.?m\b| ?o['’]clock|(?:g|m|l|k|b|d|x|p|s|c|f)\b| ?x ?\d| \d|[ -]?d\b"
    r"| and (?:a |one[- ])?(?:half|quarter|third)| and \d+/\d+|[ -](?:half|quarter|third|fourth|fifth|sixth|tenth)s?\b"
    r"|[ -](?:hundred|thousand|million|billion|trillion)\b"
)
_CLOCK = re.compile(r"\d ?[ap]\.?m\b|o['’]clock|\d:\d\d|\b(?:noon|midnight)\b")
_TIME_BEFORE = re.compile(r"\b(?:at|from|until|till|by|between|before|after|to|and) $")
_FACT_AFTER = re.compile(
    r"[ -](?:[a-z]+ )?(?:legs?|legged|eyes?|ears?|wheels?|fingers?|toes?|arms?|wings?|sides?|sided|walls?|walled|"
    r"corners?|innings?|quarters?|halves|periods?|sets?|digits?|dimensional|square|cubic|degrees?|seasons?|"
    r"points? (?:shots?|baskets?|goals?|line)|point|pointers?|dollar bills?|bills?|dollars? bills?)\b"
)
_FACT_BEFORE = re.compile(
    r"(?:\bbills of|\bworth|\b(?:equals?|equal to|equivalent to)(?: about| approximately)?"
    r"|\b(?:an?|one|1|each|every) (?:[a-z]+ )?(?:mile|kilometer|km|meter|foot|yard|inch|pound|kilogram|ounce|gallon|"
    r"liter|cup|hectare|acre|ton|decade|century|day|week|month|year|hour|minute)(?: of [a-z ]+)?"
    r" (?:is|has|weighs|contains)(?: about| approximately)?) $"
)
_WORLD = re.compile(
    r"\b(?:comet|orbits?|planets?|the (?:earth|sun|moon)|world|record|recommended|speed of (?:light|sound)|"
    r"population of|africa|europe|asia|america|australia|united states|the u\.?s|countries|continents|states|olympi\w+|"
    r"marathon|flag|alphabet|piano|chess|checkers|jenga|monopoly|deck of|playing cards|dice|bones|teeth|boil\w*|"
    r"freezing|major league|n[bfh][al]l?)\b"
)
_THERE_ARE = re.compile(r"\bthere (?:are|were|have been) $")
_BETWEEN_PLACES = re.compile(r"\b(?:from|between) [A-Z][\w., ]+ (?:to|and) [A-Z]")
_LISTED_AFTER = re.compile(
    r"[ -](?:of (?:his|her|their|them|the|my|our|these|those)|(?:[a-z]+ )?(?:kinds?|types?|sorts?|different|separate|"
    r"flavors?|colors?|varieties|groups?|friends?|brothers?|sisters?|siblings?|cousins?|sons?|daughters?|children|kids?|"
    r"boys?|girls?|people|persons?|men|women|classmates?|roommates?|neighbors?|neighborhoods?|players?|teams?|parts?|"
    r"sections?|stops?|stages?|ways?|options?|choices?|consecutive))\b|[^.?!,;]{0,60}:"
)
_POINTED_AT = re.compile(r"\b(?:the|these|those|other|another|both|all|only) $")
_ORDINALS = "second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_NTH = tuple(
    re.compile(rf"(?<!per )(?<!each )(?<!every )(?<!one[ -])\b(?:{ordinal})\b(?! of)") for ordinal in _ORDINALS
)
_ONE_BY_ONE = re.compile(
    r"\bthe other\b|\banother (?:one|of|has|is|was)\b|\bthe last one\b|\bone (?:of (?:them|each)|is|was|has)\b"
)
_ENUMERATION = re.compile(r"[A-Z]\w+(?:, [A-Z]\w+)*,? (?:and|or) [A-Z]\w+")

_MEASURE = re.compile(
    r"[ -](times|hour|minute|second|day|week|month|year|mile|kilometer|km|meter|cm|centimeter|feet|foot|inch|yard|"
    r"pound|ounce|gram|kilogram|kg|gallon|liter|cup|mph|cent|calorie|acre|ton|point|page|degree)"
)
_NEAR = 32
_FAR = 96
_SMALL = 6
"""Up to here, people tell how many there are and then name them all."""


def kind_of(lowered: str, number: Number) -> str:
    """What a number measures: `PER_CENT`, `MONEY`, `TIME_OF_DAY`, a unit ("hour") or else "count".

    ``lowered``: the question in lower case, letter by letter.
    """
    after = lowered[number.end : number.end + _NEAR]
    if number.text.endswith("%") or re.match(r" ?%| per ?cent\b", after):
        return PER_CENT
    if number.text[0] in CURRENCIES or re.match(r" ?[$€£]| (?:dollars?|bucks)\b", after):
        return MONEY
    if _is_time(lowered, number):
        return TIME_OF_DAY
    measure = _MEASURE.match(after)
    return str(measure[1]) if measure else "count"


def _is_time(lowered: str, number: Number) -> bool:
    """Whether a number is an hour or a minute of the clock: 8 pm, 8:30, from 4 to 6 pm."""
    before, after = lowered[max(0, number.start - 16) : number.start], lowered[number.end : number.end + 16]
    if not number.text.isdigit() or number.value >= 60:
        return False
    if re.match(r":\d\d| ?[ap]\.?m\b| ?o['’]clock", after) or re.search(r"\d:$", before):
        return True
    return number.value <= 24 and bool(_TIME_BEFORE.search(before)) and bool(_CLOCK.search(lowered))


def is_fixed(question: str, lowered: str, number: Number) -> bool:
    """Whether a number stands for something that no other number may stand for."""
    before, after = lowered[max(0, number.start - _NEAR) : number.start], lowered[number.end : number.end + _FAR]
    value, in_digits = number.value, number.text.isdigit()
    kind = kind_of(lowered, number)
    return bool(
        value in (0, 1, 2)
        or value < 0
        or kind == TIME_OF_DAY
        or (kind == PER_CENT and value >= 100)
        or (in_digits and 1500 <= value <= 2100 and not re.match(r"[ -][a-z]*s\b", after))
        or _NAME_BEFORE.search(before)
        or _NAME_AFTER.match(after)
        or (kind in ("mile", "kilometer", "km") and _BETWEEN_PLACES.search(question))
        or (_THERE_ARE.search(before) and re.match(r" [A-Z]", question[number.end : number.end + 2]))
        or _FACT_BEFORE.search(before)
        or _FACT_AFTER.match(after)
        or (value <= _SMALL and _LISTED_AFTER.match(after))
    )


def speaks_of_the_world(lowered: str) -> bool:
    """Whether numbers of the question may be facts of the world."""
    return _WORLD.search(lowered) is not None


def is_pointed_at(lowered: str, number: Number) -> bool:
    """Whether a small number counts again what is already known: the two, all three."""
    return number.value <= _SMALL and _POINTED_AT.search(lowered, 0, number.start) is not None


def other_meanings(question: str, numbers: tuple[Number, ...]) -> set[Value]:
    """The values that also stand in the question as something else than a number: a place, a part of a name."""
    covered = {position for number in numbers for position in range(number.start, number.end)}
    loose = (int(match.group()) for match in re.finditer(r"\d{1,9}", question) if match.start() not in covered)
    # What comes before the 12th month are 11 months.
    return {value + step for value in loose for step in (-1, 0, 1)}


def gone_through(question: str, lowered: str) -> set[Value]:
    """Small values that would count what the story goes through one by one: the first, the second; Ann, Bob and Cy."""
    last = max((place for place, nth in enumerate(_NTH, 2) if nth.search(lowered)), default=0)
    values: set[Value] = set(range(2, last + 2)) if last else set()
    if _ONE_BY_ONE.search(lowered):
        values.add(3)
    values |= {len(re.findall(r"\b[A-Z]", names)) for names in _ENUMERATION.findall(question)}
    return values
