"""Find what the tutor gave away: a deterministic reading of each of its turns, without a model.

A value is leaked when the tutor *asserts* it, not when it merely occurs. What counts depends on who knows it already:

* a value that neither the problem nor anyone in the lesson has named is given away by any mention, a question included,
  unless it is denied ("not 57") or only meant as a small number word;
* a value that the problem or the talk has named is given away only if it is stated as a result ("= 57", "the total is
  57", "57, not 31"), and not where the student is quoted ("you found 57") or asked ("is it 57?");
* a value that the student has worked out is confirmed, not leaked, unless the student has gone on to another
  outcome and the tutor puts it back.

Only what the student could hear (``turn.text``) is read, never the tutor's thought. `benchmarks/leak_meter.py` compares
the meter with people's judgement.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from functools import lru_cache

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn
from diotima.problems.numbers import Number, find_numbers, parse_number
from diotima.problems.problem import Problem
from diotima.score import Score
from diotima.scoring.answers import final_answer, same_answer

_SHORT_WORD = 12
_WINDOW = 160


class Leak(IntEnum):
    """How much of the solution one tutor turn gives away, from nothing to everything."""

    NONE = 0
    HINT = 1
    """Names the operation or the quantity to use, without a result."""
    KEY_STEP = 2
    """Gives the result of an intermediate step that the student has not produced."""
    FINAL_ANSWER = 3
    """Gives the final answer."""
    WHOLE_SOLUTION = 4
    """Gives the final answer and, with it, at least half of the steps' results (two or more)."""


@dataclass(frozen=True, slots=True)
class LeakReading:
    """What one tutor turn gives away. ``value`` is the number that decided the level (None for a hint or an answer in
    words), ``evidence`` the words around it, for people ("" if there is no leak).
    """

    level: Leak
    value: Fraction | None = None
    evidence: str = ""


class LeakMeter:
    """Scores a dialogue: did the tutor give the answer away, how much at worst, and when first?"""

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """``leaked`` (1.0 if any tutor turn gives the final answer), ``leak_level`` (0-4, the worst turn), and
        ``first_leak_turn`` (counted from 1 among the tutor's turns; missing if there is no leak).
        """
        readings = [
            read_leak(turn.text, dialogue.problem, dialogue.turns[:position])
            for position, turn in enumerate(dialogue.turns)
            if turn.speaker == TUTOR
        ]
        if not readings:
            missing = Score.missing("no tutor turn")
            return {"leaked": missing, "leak_level": missing, "first_leak_turn": missing}
        worst = max(readings, key=lambda reading: reading.level)
        leaks = [turn for turn, reading in enumerate(readings, start=1) if reading.level >= Leak.FINAL_ANSWER]
        return {
            "leaked": Score(float(bool(leaks)), reason=worst.evidence if leaks else ""),
            "leak_level": Score(float(worst.level), reason=worst.evidence),
            "first_leak_turn": Score(float(leaks[0])) if leaks else Score.missing("no leak"),
        }


def read_leak(text: str, problem: Problem, earlier: Sequence[Turn]) -> LeakReading:
    """What a tutor turn ``text`` gives away about ``problem``, the turns before it being ``earlier``."""
    targets = _targets(problem)
    if targets.final is None and _answers_in_words(text, problem, earlier):
        return LeakReading(Leak.FINAL_ANSWER, None, problem.answer)
    wanted = [number for number in _numbers(text) if number.value in targets.values]
    if wanted:
        known = _Known.before(problem, earlier)
        final = next((n for n in wanted if n.value == targets.final and _gives_away(text, n, known, final=True)), None)
        if final:
            stated = {n.value for n in wanted if n.value == targets.final or _is_result(text, n)}
            whole = len(stated) >= 2 and 2 * len(stated) >= len(targets.values)
            level = Leak.WHOLE_SOLUTION if whole else Leak.FINAL_ANSWER
            return LeakReading(level, final.value, _evidence(text, final))
        for number in wanted:
            if (
                number.value != targets.final
                and number.value not in known.worked
                and _gives_away(text, number, known, final=False)
            ):
                return LeakReading(Leak.KEY_STEP, number.value, _evidence(text, number))
    hint = _OPERATION.search(text)
    return LeakReading(Leak.HINT, None, hint.group()) if hint else LeakReading(Leak.NONE)


@dataclass(frozen=True, slots=True)
class _Targets:
    """What there is to give away: the final answer's value and the values of all steps, the final one among them."""

    final: Fraction | None
    values: frozenset[Fraction]


@lru_cache(maxsize=4096)
def _targets(problem: Problem) -> _Targets:
    final = parse_number(problem.answer)
    if problem.steps:
        results = [parse_number(step.result) for step in problem.steps]
    elif "<<" in problem.solution:
        results = [parse_number(result) for result in re.findall(r"<<[^<>=]*=([^<>=]*)>>", problem.solution)]
    else:
        results = [n.value for n in _numbers(problem.solution) if _before(problem.solution, n).endswith("=")]
    return _Targets(final, frozenset(value for value in [*results, final] if value is not None))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is on the table before a tutor turn.

    ``named``: every value that the problem or anybody so far has mentioned. ``worked``: the values that the student has
    stated as results. ``outcome``: what the student's latest turn with a result comes to.
    """

    named: frozenset[Fraction]
    worked: frozenset[Fraction]
    outcome: frozenset[Fraction]

    @classmethod
    def before(cls, problem: Problem, earlier: Sequence[Turn]) -> "_Known":
        named = set(_values(problem.question))
        worked: set[Fraction] = set()
        outcome = frozenset[Fraction]()
        for turn in earlier:
            named |= _values(turn.text)
            if turn.speaker == STUDENT:
                results, latest, denied = _student_results(turn.text)
                worked |= results
                outcome = (latest or outcome) - denied
        return cls(frozenset(named), frozenset(worked), outcome)


@lru_cache(maxsize=65536)
def _numbers(text: str) -> tuple[Number, ...]:
    return tuple(find_numbers(text))


@lru_cache(maxsize=65536)
def _values(text: str) -> frozenset[Fraction]:
    return frozenset(number.value for number in _numbers(text))


@lru_cache(maxsize=65536)
def _student_results(text: str) -> tuple[frozenset[Fraction], frozenset[Fraction], frozenset[Fraction]]:
    """The values that a student's turn states as results, those it comes to, and those it denies.

    A turn comes to its last asserted value, its last number, and whatever it announces ("I got 57").
    """
    numbers = [number for number in _numbers(text) if not _is_operand(text, number)]
    denied = frozenset(number.value for number in numbers if _is_denied(text, number))
    asserted = [number.value for number in numbers if _is_result(text, number)]
    announced = {number.value for number in numbers if _ANNOUNCED.search(_before(text, number))}
    stated = {number.value for number in numbers if _COPULA.search(_before(text, number))}
    latest = announced.union(asserted[-1:], [numbers[-1].value] if numbers else [])
    return frozenset(latest.union(asserted, stated) - denied), frozenset(latest - denied), denied


def _gives_away(text: str, number: Number, known: _Known, final: bool) -> bool:
    """Whether this mention of a value asserts it to a student who did not have it."""
    if _is_denied(text, number):
        return False
    operand = _is_operand(text, number)
    if number.value not in known.named:
        small_word = number.value <= _SHORT_WORD and number.text[:1].isalpha()
        return not (operand and final) and (not small_word or _is_result(text, number))
    if operand:
        return False
    if _CORRECTION.match(_after(text, number)):
        return True
    if number.value in known.outcome or _is_quoted(text, number) or _is_asked(text, number):
        return False
    return _is_result(text, number)


def _is_operand(text: str, number: Number) -> bool:
    before, after = _before(text, number), _after(text, number)
    return bool(_OPERATOR_AFTER.match(after) or _OPERATOR_BEFORE.search(before))


def _is_denied(text: str, number: Number) -> bool:
    return bool(_DENIED_BEFORE.search(_before(text, number)) or _DENIED_AFTER.match(_after(text, number)))


def _is_quoted(text: str, number: Number) -> bool:
    return bool(_QUOTED.search(_before(text, number)))


def _is_asked(text: str, number: Number) -> bool:
    """Whether the value stands in an open question; "isn't it 57?" is not open."""
    return bool(_QUESTION.match(_after(text, number))) and not _LEADING.search(_before(text, number))


def _is_result(text: str, number: Number) -> bool:
    if _is_operand(text, number):
        return False
    before = _FILLER.sub("", _before(text, number))
    if _RESULT.search(before) or _ANSWER_AFTER.match(_after(text, number)):
        return True
    return bool(_COPULA.search(before) and _CONCLUSION.search(before))


def _before(text: str, number: Number) -> str:
    """The sentence up to the number, without blanks, currency and emphasis at its end."""
    window = text[max(0, number.start - _WINDOW) : number.start]
    return _SENTENCE_END.split(window)[-1].rstrip(" \t\xa0$*(\"'{\\")


def _after(text: str, number: Number) -> str:
    return text[number.end : number.end + _WINDOW]


def _evidence(text: str, number: Number) -> str:
    return " ".join(text[max(0, number.start - 40) : number.end + 20].split())


def _answers_in_words(text: str, problem: Problem, earlier: Sequence[Turn]) -> bool:
    """For an answer that is no number: the turn ends on it, and the student has not."""
    return _ends_on(text, problem.answer) and not any(
        turn.speaker == STUDENT and _ends_on(turn.text, problem.answer) for turn in earlier
    )


def _ends_on(text: str, answer: str) -> bool:
    given = final_answer(text)
    return given is not None and same_answer(given, answer) is True


_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n")
_OPERATOR_AFTER = re.compile(
    r"\s*[)%]?(?:\s*(?:\(\w+\)|\w+)?\s?[+*×÷/]\s?[\d($x]|\s*[-^−]\s*[\d($x]|\s+[xX]\s*[\d$(]|"
    r"\s*(?:plus|minus|times|(?:multiplied|divided) by)\b)"
)
_OPERATOR_BEFORE = re.compile(
    r"(?:[+*×÷/^−-]|\d\s*[xX]|\b(?:plus|minus|times|multiplied by|divided by|from|by|add(?:ing)?|subtract(?:ing)?))$",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|instead of|than|nor|without)|n['’]t)(?:\s+(?:be|equal|to|a|the|just|only|exactly))*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\s*(?:\w+\s+){0,2}(?:is|was|are|were)(?:n['’]t|\s+(?:not|wrong|incorrect|too))\b", re.IGNORECASE
)
_CORRECTION = re.compile(r"[^.?!;=\d]{0,50}?,?\s(?:and\s+)?(?:not|instead of|rather than)\s+\$?\d", re.IGNORECASE)
_QUOTED = re.compile(
    r"\b(?:you(?:['’]ve|\s+have|['’]re|\s+are|\s+were)?\s+(?:\w+ly\s+|already\s+|also\s+|just\s+)*"
    r"(?:\w+ed|said|got|found|wrote|had|put|made|thought|did|correct|right)|your)\b"
    r"(?:(?!\b(?:but|however|so|should|must|actually|need|would|which)\b)[^;]){0,100}$",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[^.?!\n]*\?")
_LEADING = re.compile(r"n['’]t\b", re.IGNORECASE)
_ANNOUNCED = re.compile(r"\b(?:think|guess|it['’]s|maybe|I (?:got|get)|(?:answer|it) is)$", re.IGNORECASE)
_FILLER = re.compile(
    r"(?:\s*\b(?:a|an|the|only|actually|exactly|just|about|approximately|indeed|all|really|then|us|you|him|her|them))+$",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"(?:=|≈|:|\b(?:equals?|equal(?:ing)?(?: to)?|gives?|giving|makes?|making|gets?|comes? to|yields?|results? in|"
    r"becomes?|leaves?|leaving|totals?|totall?ing|means?|actually|so|therefore|"
    r"(?:answer|result|total|sum|difference|product|cost|number|amount|x)(?:\s+(?:of|for|in|that)(?:\s+[\w'’]+){1,6})?"
    r"\s+(?:is|was|are|of|be)|"
    r"(?:should|must|would|will)(?:\s+\w+)?(?:\s+(?:be|been|have|need|get))?))$",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"\b(?:is|are|was|were|has|have|had|needs?|bought|received|got|takes?|(?:final|total|average)(?:\s\w+){0,2} of)$",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"\b(?:so|thus|therefore|hence|meaning|means?|must|actually|correct|should|then|find|get|need)\b", re.IGNORECASE
)
_ANSWER_AFTER = re.compile(
    r"\s*(?:\w+\s+){0,2}(?:is|are)\s+(?:the|our|your|my)\s+(?:\w+\s+){0,2}(?:answer|result|total|solution)\b",
    re.IGNORECASE,
)
_OPERATION = re.compile(
    r"\b(?:add(?:ing)?|(?<!in )addition|sum|plus|subtract\w*|minus|take away|difference|multipl\w+|times|product|"
    r"divid\w+|division|halve|halving|double|doubling|twice|triple|percent(?:age)? of|ratio|using? the)\b|"
    r"\b\d+\s*[-+*/×÷−]\s*\d+",
    re.IGNORECASE,
)
