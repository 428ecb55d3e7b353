"""Find what the tutor gave away: a deterministic reading of each of its turns, without a model.

A value is leaked when the tutor *asserts* it, not when it merely occurs. What counts depends on who knows it already:

* a value that neither the problem nor anyone in the lesson has named is given away by any mention, a question included,
  unless it is denied ("not 57") or only meant as a small number word;
* a value that the problem or the talk has named is given away only if it is stated as a result ("= 57", "the total is
  57", "57, not 31"), and not where the student is quoted ("you found 57") or asked ("is it 57?");
* a value that the student has worked out is confirmed, not leaked, unless the student has gone on to another
  outcome and the tutor puts it back.

An answer that is a formula (``6 - 5i``, ``(-2, 1)``) is treated as a value is, where it stands whole and word for word
in the turn, in whatever notation; ``-5i + 6`` is not recognised. A short one (``x``, ``2k``) occurs in any explanation,
so only a statement gives it away. An answer in words (``blue``) is given away by a turn that ends on it.

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
from diotima.scoring.answers import MARKER, final_answer, is_words, last_boxed, same_answer
from diotima.scoring.formulas import Formula, Place, one_notation, read_formula
from diotima.scoring.quantities import read_quantity

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
    """What one tutor turn gives away. ``value`` is the number that decided the level (None for a hint or an answer
    that is no number), ``evidence`` the words around it, for people ("" if there is no leak).
    """

    level: Leak
    value: Fraction | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class LeakMeter:
    """Scores a dialogue: did the tutor give the answer away, how much at worst, and when first?

    With ``latest`` only its latest turn is read, which is then the first.
    """

    latest: bool = False

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """``leaked`` (1.0 if any tutor turn gives the final answer), ``leak_level`` (0-4, the worst turn), and
        ``first_leak_turn`` (counted from 1 among the tutor's turns; missing if there is no leak). All are missing where
        nobody knows the answer.
        """
        since = -1 if self.latest else 0
        readings = [
            read_leak(turn.text, dialogue.problem, dialogue.turns[:position])
            for position, turn in enumerate(dialogue.turns)
            if turn.speaker == TUTOR
        ][since:]
        if not (readings and dialogue.problem.answer):
            missing = Score.missing("no tutor turn" if dialogue.problem.answer else "the problem has no answer")
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
    words, targets = one_notation(text), _targets(problem)
    if targets.final is None and targets.formula is None and _answers_in_words(words, problem, earlier):
        return LeakReading(Leak.FINAL_ANSWER, None, problem.answer)
    wanted = [number for number in _numbers(words) if number.value in targets.values]
    known = _Known.before(problem, earlier) if wanted else _NOTHING_KNOWN
    final: Number | Place | None
    if targets.formula:
        final = _formula_given(words, targets.formula, problem, earlier)
    else:
        given = (n for n in wanted if n.value == targets.final and _gives_number(words, n, known, final=True))
        final = next(given, None)
    if final:
        level = Leak.WHOLE_SOLUTION if _is_whole(words, final, wanted, targets) else Leak.FINAL_ANSWER
        return LeakReading(level, targets.final, _evidence(words, final))
    for number in wanted:
        if (
            number.value != targets.final
            and number.value not in known.worked
            and _gives_number(words, number, known, final=False)
        ):
            return LeakReading(Leak.KEY_STEP, number.value, _evidence(words, number))
    hint = _OPERATION.search(text)
    return LeakReading(Leak.HINT, None, hint.group()) if hint else LeakReading(Leak.NONE)


@dataclass(frozen=True, slots=True)
class _Targets:
    """What there is to give away: the final answer's value, or its ``formula`` if it has none and is no words, and the
    values of all steps, the final one among them.
    """

    final: Fraction | None
    formula: Formula | None
    values: frozenset[Fraction]


@lru_cache(maxsize=4096)
def _targets(problem: Problem) -> _Targets:
    final = _final_value(problem.answer)
    formula = read_formula(problem.answer) if final is None and not is_words(problem.answer) else None
    if problem.steps:
        results = [parse_number(step.result) for step in problem.steps]
    elif "<<" in problem.solution:
        results = [parse_number(result) for result in re.findall(r"<<[^<>=]*=([^<>=]*)>>", problem.solution)]
    else:
        results = [n.value for n in _numbers(problem.solution) if _before(problem.solution, n).endswith("=")]
    return _Targets(final, formula, frozenset(value for value in [*results, final] if value is not None))


def _final_value(answer: str) -> Fraction | None:
    """The value of an answer, if it is one that `find_numbers` would find when it is said."""
    value = parse_number(answer)
    if value is None and (quantity := read_quantity(answer)) and quantity.value in _values(answer):
        return quantity.value
    return value


def _is_whole(text: str, final: Number | Place, wanted: Sequence[Number], targets: _Targets) -> bool:
    """Whether a turn that gives the answer away states half of all results, two or more."""
    beside = (n for n in wanted if n.value != targets.final and not final.start <= n.start < final.end)
    told = 1 + len({n.value for n in beside if _is_result(text, n)})
    return told >= 2 and 2 * told >= 1 + len(targets.values - {targets.final})


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


_NOTHING_KNOWN = _Known(frozenset(), frozenset(), frozenset())


@lru_cache(maxsize=65536)
def _numbers(text: str) -> tuple[Number, ...]:
    return tuple(find_numbers(text))


@lru_cache(maxsize=65536)
def _values(text: str) -> frozenset[Fraction]:
    return frozenset(number.value for number in _numbers(one_notation(text)))


@lru_cache(maxsize=65536)
def _student_results(text: str) -> tuple[frozenset[Fraction], frozenset[Fraction], frozenset[Fraction]]:
    """The values that a student's turn states as results, those it comes to, and those it denies.

    A turn comes to its last asserted value, its last number, and whatever it announces ("I got 57").
    """
    text = one_notation(text)
    numbers = [number for number in _numbers(text) if not _is_operand(text, number)]
    denied = frozenset(number.value for number in numbers if _is_denied(text, number))
    asserted = [number.value for number in numbers if _is_result(text, number)]
    announced = {number.value for number in numbers if _ANNOUNCED.search(_before(text, number))}
    stated = {number.value for number in numbers if _COPULA.search(_before(text, number))}
    latest = announced.union(asserted[-1:], [numbers[-1].value] if numbers else [])
    return frozenset(latest.union(asserted, stated) - denied), frozenset(latest - denied), denied


def _formula_given(text: str, formula: Formula, problem: Problem, earlier: Sequence[Turn]) -> Place | None:
    """Where a turn gives a formula away, if it does; who has it before decides that as with values."""
    places = list(formula.places(text))
    if not places:
        return None
    named, held = any(formula.places(one_notation(problem.question))), False
    for turn in earlier:
        words = one_notation(turn.text)
        said = list(formula.places(words))
        named = named or bool(said)
        if turn.speaker == STUDENT and (said or MARKER.search(words) or last_boxed(words)):
            held = any(not _is_denied(words, place) for place in said)
    return next((p for p in places if _gives_away(text, p, named, held, formula.short, final=True)), None)


def _gives_number(text: str, number: Number, known: _Known, final: bool) -> bool:
    common = number.value <= _SHORT_WORD and number.text[:1].isalpha()
    return _gives_away(text, number, number.value in known.named, number.value in known.outcome, common, final)


def _gives_away(text: str, said: Number | Place, named: bool, held: bool, common: bool, final: bool) -> bool:
    """Whether this mention asserts what it says to a student who did not have it.

    ``named``: the problem or the talk has it; ``held``: the student's latest result is this; ``common``: it occurs in
    talk about anything.
    """
    if _is_denied(text, said):
        return False
    operand = _is_operand(text, said)
    if not named:
        return not (operand and final) and (not common or _is_result(text, said))
    if operand:
        return False
    if _CORRECTION.match(_after(text, said)):
        return True
    if held or _is_quoted(text, said) or _is_asked(text, said):
        return False
    return _is_result(text, said)


def _is_operand(text: str, said: Number | Place) -> bool:
    before, after = _before(text, said), _after(text, said)
    return bool(_OPERATOR_AFTER.match(after) or _OPERATOR_BEFORE.search(before))


def _is_denied(text: str, said: Number | Place) -> bool:
    return bool(_DENIED_BEFORE.search(_before(text, said)) or _DENIED_AFTER.match(_after(text, said)))


def _is_quoted(text: str, said: Number | Place) -> bool:
    return bool(_QUOTED.search(_before(text, said)))


def _is_asked(text: str, said: Number | Place) -> bool:
    """Whether the value stands in an open question; "isn't it 57?" is not open."""
    return bool(_QUESTION.match(_after(text, said))) and not _LEADING.search(_before(text, said))


def _is_result(text: str, said: Number | Place) -> bool:
    if _is_operand(text, said):
        return False
    before = _FILLER.sub("", _before(text, said))
    if _RESULT.search(before) or _ANSWER_AFTER.match(_after(text, said)):
        return True
    return bool(_COPULA.search(before) and _CONCLUSION.search(before))


def _before(text: str, said: Number | Place) -> str:
    """The sentence up to what is said, without blanks, currency and emphasis at its end."""
    window = text[max(0, said.start - _WINDOW) : said.start]
    return _SENTENCE_END.split(window)[-1].rstrip(" \t\xa0$*([\"'{\\")


def _after(text: str, said: Number | Place) -> str:
    return text[said.end : said.end + _WINDOW]


def _evidence(text: str, said: Number | Place) -> str:
    return " ".join(text[max(0, said.start - 40) : said.end + 20].split())


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
    r"\s*(?:plus|minus|times|(?:multiplied|divided) by)\b|\s*\\(?:times|cdot|div|cup|cap)\b)"
)
_OPERATOR_BEFORE = re.compile(
    r"(?:[+*×÷/^−-]|\d\s*[xX]|\\(?:times|cdot|div|cup|cap)|"
    r"\b(?:plus|minus|times|multiplied by|divided by|from|by|add(?:ing)?|subtract(?:ing)?))$",
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
    r"(?:=|≈|:|####|\\f?box(?:ed)?|"
    r"\b(?:equals?|equal(?:ing)?(?: to)?|gives?|giving|makes?|making|gets?|comes? to|yields?|results? in|"
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
