"""The knowledge components of arithmetic word problems, and the mal-rules by which they go wrong.

A *skill* is what one step of a solution exercises. A *mal-rule* is a documented misconception: a rule that a student
applies as consistently as the right one (Brown & Burton 1978, "Diagnostic models for procedural bugs in basic
mathematical skills"; Sleeman 1984). Where no mal-rule of a skill can be applied to the numbers at hand, the student
is off by one.

Each skill also carries its *concept*: the words by which a listener recognises that this skill is meant, and the
question by which a good tutor points at it. The words are a lexicon, so they must not collide: a test reads every
question here and finds its own skill only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from diotima.problems.arithmetic import Calculation, Expression, Operation, Value, evaluate, whole

Bug = Callable[[int, int], tuple[str, int] | None]
"""From the step's two operands to the operator and result that the student writes, or None where it does not apply."""


@dataclass(frozen=True, slots=True)
class MalRule:
    """A misconception: what the student does instead, and who described it."""

    name: str
    source: str
    apply: Bug


@dataclass(frozen=True, slots=True)
class Skill:
    """One knowledge component.

    ``operator``: the right operation, one of ``+ - * /``. ``words``: the lexicon, as regular expressions.
    ``questions``: guiding questions that name the concept and give nothing away.
    """

    name: str
    operator: str
    words: tuple[str, ...]
    questions: tuple[str, ...]
    mal_rules: tuple[MalRule, ...]


OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    # A child who cannot take the larger from the smaller turns the two round, and rounds up what does not divide.
    "-": lambda left, right: abs(left - right),
    "*": lambda left, right: left * right,
    "/": lambda left, right: -(-left // right) if right else left,
}


def calculate(left: int, operator: str, right: int) -> int:
    """Carry out one step as a student would: never negative, whole numbers only."""
    return OPERATIONS[operator](left, right)


def _instead(operator: str) -> Bug:
    return lambda left, right: (operator, calculate(left, operator, right))


def _forgotten(operator: str) -> Bug:
    return lambda left, right: (operator, left)


def _dropped_carry(left: int, right: int) -> tuple[str, int] | None:
    return ("+", left + right - 10) if left % 10 + right % 10 >= 10 else None


def _smaller_from_larger(left: int, right: int) -> tuple[str, int] | None:
    columns = max(len(str(left)), len(str(right)))
    pairs = zip(str(left).zfill(columns), str(right).zfill(columns), strict=True)
    result = int("".join(str(abs(int(a) - int(b))) for a, b in pairs))
    return ("-", result) if result != abs(left - right) else None


_BUGGY = "Brown & Burton 1978"
_LANGUAGE = "Lewis & Mayer 1987"
_ADDITIVE = "Fischbein et al. 1985"

_SUBTRACTS = MalRule("subtracts instead of adding", _LANGUAGE, _instead("-"))
_ADDS = MalRule("adds instead of subtracting", _LANGUAGE, _instead("+"))
_CARRY = MalRule("drops the carry", _BUGGY, _dropped_carry)
_COLUMNS = MalRule("takes the smaller digit from the larger in every column", _BUGGY, _smaller_from_larger)
_ADDITION = MalRule("adds instead of multiplying", _ADDITIVE, _instead("+"))
_DIVIDES = MalRule("divides instead of multiplying", _ADDITIVE, _instead("/"))
_MULTIPLIES = MalRule("multiplies instead of dividing", _ADDITIVE, _instead("*"))
_TAKES_AWAY = MalRule("subtracts instead of dividing", _ADDITIVE, _instead("-"))


def _skips(operator: str) -> MalRule:
    return MalRule("forgets the step", "VanLehn 1990", _forgotten(operator))


SKILLS: dict[str, Skill] = {
    skill.name: skill
    for skill in (
        Skill(
            "gain",
            "+",
            (r"\bgets?\b", r"\bgain(?:s|ed|ing)?\b", r"\breceiv\w+", r"\bcom(?:es|ing) in\b"),
            (
                "What happens to the amount when someone gets something?",
                "Is the amount bigger or smaller after a gain?",
                "New ones are coming in. What do we do then?",
            ),
            (_SUBTRACTS, _CARRY, _skips("+")),
        ),
        Skill(
            "lose",
            "-",
            (
                r"\blos(?:e|es|t|ing)\b",
                r"\bgiv(?:es?|en|ing) away\b",
                r"\btaken? away\b",
                r"\bremain\w*",
                r"\bgo(?:es)? away\b",
            ),
            (
                "What happens to the amount when some are given away?",
                "Some are lost here. How many remain?",
                "Which operation do we use when some go away?",
            ),
            (_ADDS, _COLUMNS, _skips("-")),
        ),
        Skill(
            "times",
            "*",
            (r"\btimes\b", r"\bmultipl\w+", r"\bfold\b", r"\bthat many over and over\b"),
            (
                "What does it mean to have so many times the amount?",
                "How do we find an amount that is several times as big?",
                "Do we add or multiply here?",
            ),
            (_ADDITION, _DIVIDES, _skips("*")),
        ),
        Skill(
            "price",
            "*",
            (r"\bprices?\b", r"\bcosts?\b", r"\bpa(?:y|ys|id)\b", r"\bsells? for\b"),
            (
                "If every single one has the same price, how do we find the money?",
                "What do all of them cost together?",
                "Think of the price of one. How do we get to all?",
            ),
            (_ADDITION, _DIVIDES, _skips("*")),
        ),
        Skill(
            "share",
            "/",
            (r"\bshar(?:e|es|ed|ing)\b", r"\bequal(?:ly)?\b", r"\bdivid\w+", r"\bsplit\w*"),
            (
                "What do we do when something is shared equally?",
                "How big is one equal share?",
                "How do we split it fairly?",
            ),
            (_TAKES_AWAY, _MULTIPLIES, _skips("/")),
        ),
        Skill(
            "more",
            "+",
            (r"\bmore than\b", r"\bahead of\b", r"\bextra\b"),
            (
                "Who has more than the other, and by how many?",
                "One person is ahead of the other. Which way do we count?",
                "How do we find an amount with that many extra?",
            ),
            (_SUBTRACTS, _CARRY, _skips("+")),
        ),
        Skill(
            "fewer",
            "-",
            (r"\bfewer\b", r"\bless than\b", r"\bbehind\b"),
            (
                "Who has fewer, and by how many?",
                "Is an amount that is less than the other bigger or smaller?",
                "One person is behind the other. Which way do we count?",
            ),
            (_ADDS, _COLUMNS, _skips("-")),
        ),
        Skill(
            "half",
            "/",
            (r"\bhal(?:f|ves?|ving)\b", r"\bone of two\b"),
            (
                "What is half of something?",
                "How do we halve an amount?",
                "What do we do to find a half?",
            ),
            (
                MalRule("doubles instead of halving", _LANGUAGE, _instead("*")),
                MalRule("takes away the two", _ADDITIVE, _instead("-")),
                _skips("/"),
            ),
        ),
    )
}

_LEXICON = re.compile(
    "|".join(f"(?P<{skill.name}>{'|'.join(skill.words)})" for skill in SKILLS.values()),
    re.IGNORECASE,
)
_LARGEST = 10**300


def first_skill_named(text: str) -> str | None:
    """The name of the first skill whose concept occurs in the text, or None."""
    found = _LEXICON.search(text)
    return found.lastgroup if found else None


def carry_out(expression: Expression, skill: str = "") -> Value:
    """The result that a student who knows how to do it writes: with a named skill as `calculate`, else to the cent.

    Where there is none, or nobody could write it down, it is 0: errors carried forward must not grow without bounds.
    """
    numbers = _two_numbers(expression)
    if skill in SKILLS and numbers:
        left, operator, right = numbers
        result = calculate(left, operator, right)
        return result if result < _LARGEST else 0
    value = evaluate(expression)
    return 0 if value is None or not -_LARGEST < value < _LARGEST else _to_the_cent(value)


def wrong_calculation(expression: Expression, skill: str, choice: int) -> Calculation:
    """What a student who has not mastered the step writes: another operation or a result that is not the right one.

    A step of a solution from elsewhere, without a named skill, goes wrong by the mal-rules that all skills of its last
    operation share: another operation instead, or none at all. ``choice`` is as in `wrong_result`.
    """
    numbers = _two_numbers(expression)
    if skill in SKILLS and numbers:
        left, _, right = numbers
        operator, result = wrong_result(SKILLS[skill], left, right, choice)
        return Calculation.of(left, operator, right, result)
    correct = carry_out(expression)
    found = [] if not isinstance(expression, Operation) else [
        *(_instead_of(expression, operator) for operator in _CONFUSED_WITH[expression.operator]),
        Calculation(expression, carry_out(expression.left)),
    ]  # fmt: skip
    usable = [wrong for wrong in found if wrong.result != correct and 0 <= wrong.result < 10 * max(correct, 100)]
    return usable[choice % len(usable)] if usable else Calculation(expression, correct + 1)


_CONFUSED_WITH = {"+": "-", "-": "+", "*": "+/", "/": "*-"}


def _instead_of(expression: Operation, operator: str) -> Calculation:
    other = Operation(expression.left, operator, expression.right)
    return Calculation(other, carry_out(other))


def _two_numbers(expression: Expression) -> tuple[int, str, int] | None:
    if not isinstance(expression, Operation):
        return None
    left, right = expression.left, expression.right
    return (left, expression.operator, right) if isinstance(left, int) and isinstance(right, int) else None


def _to_the_cent(value: Value) -> Value:
    return value if isinstance(value, int) else whole(Fraction(round(value * 100), 100))


def wrong_result(skill: Skill, left: int, right: int, choice: int) -> tuple[str, int]:
    """What a student who has not mastered ``skill`` writes: the operator and a result that is not the right one.

    ``choice`` picks among the mal-rules that apply, so that one student keeps to one misconception.
    """
    right_result = calculate(left, skill.operator, right)
    applied = (rule.apply(left, right) for rule in skill.mal_rules)
    usable = [wrong for wrong in applied if wrong and wrong[1] != right_result and 0 <= wrong[1] < 1000]
    return usable[choice % len(usable)] if usable else (skill.operator, right_result + 1)
