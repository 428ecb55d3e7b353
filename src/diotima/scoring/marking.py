r"""Mark an attempt: from the whole text of a student and the reference answer to a `Verdict`.

What can be read off the two answers is decided at once, without any process: numbers, units, letters, words. Only what
looks like a formula goes on to the symbolic comparison. Refused before that, as unparsed: prose, answers that are too
long or too deeply nested, numerals of a declared base (the parser would drop the base), and what may be a time of day
(it would divide).
"""

import re
from dataclasses import dataclass, field

from diotima.dialogue import split_reply
from diotima.scoring.answers import (
    final_answer,
    final_formula,
    final_quantity,
    final_words,
    is_words,
    last_boxed,
    same_answer,
)
from diotima.scoring.choices import final_choice, is_choice
from diotima.scoring.notation import formula, tidy
from diotima.scoring.quantities import NumberRules, final_pair, read_quantity
from diotima.scoring.symbolic import Workers
from diotima.scoring.verdict import Verdict

LONGEST_ANSWER = 500
"""Characters of a final answer; a longer one is unparsed."""
LONGEST_TEXT = 50_000
"""Characters of an attempt that are read, counted from its end, where the answer stands."""
DEEPEST = 25
"""Brackets and braces inside each other; a deeper answer is unparsed."""

_COMMANDS = re.compile(r"\\(?:text|mbox|mathrm)\s*\{\s*(?:or|and)\s*\}|\\[A-Za-z]+|\b(?:or|and)\b")
_FUNCTIONS = re.compile(
    r"\b(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?\b|\b(?:log|exp|sqrt|inf|infinity|pi|pmatrix|bmatrix)\b"
)
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_NO_FORMULA = re.compile(r"[0-9]\s*_|[0-9]:[0-9]{2}(?![0-9])")
_ANYTHING = re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Marker:
    """Marks attempts. ``rules``: when numbers count as the same. ``workers``: where formulas are compared.

    It may be shared by many lessons, and serve several event loops one after the other.
    """

    rules: NumberRules = field(default_factory=NumberRules)
    workers: Workers = field(default_factory=Workers, repr=False, compare=False)

    async def mark(self, text: str, expected: str) -> Verdict:
        """Mark the whole text of an attempt; what stands in ``<think>`` is no answer."""
        answer = read_answer(text, expected)
        if not answer or len(answer) > LONGEST_ANSWER:
            return Verdict.UNPARSED
        if is_choice(expected):
            return Verdict.CORRECT if answer == final_choice(expected) else Verdict.INCORRECT
        same = same_answer(answer, expected, self.rules)
        if same is not None:
            return Verdict.CORRECT if same else Verdict.INCORRECT
        given, wanted = formula(tidy(answer)), formula(tidy(expected))
        if not (is_formula(given, wanted) and is_formula(wanted, wanted)):
            return Verdict.UNPARSED
        return await self.workers.check(given, wanted, (self.rules.absolute, self.rules.relative))


def read_answer(text: str, expected: str) -> str | None:
    """The final answer of an attempt, read as the kind of answer that the reference is; None if there is none."""
    heard = text[-LONGEST_TEXT:]
    if "think>" in heard:
        heard = split_reply(heard)[0]
    if is_choice(expected):
        return final_choice(heard)
    if read_quantity(expected):
        return final_quantity(heard)
    if is_words(expected):
        return final_words(heard, expected)
    if final_pair(expected) and last_boxed(heard) is None and (pair := final_pair(heard)):
        return pair
    return final_formula(heard) or final_answer(heard)


def is_formula(text: str, expected: str) -> bool:
    """Whether a text may be given to the parser: not prose, a numeral of a base, a time, too deep or empty."""
    if len(text) > LONGEST_ANSWER or not _ANYTHING.search(text) or _NO_FORMULA.search(text) or _depth(text) > DEEPEST:
        return False
    words = _LETTERS.findall(_FUNCTIONS.sub(" ", _COMMANDS.sub(" ", text)))
    return all(set(word) <= set(expected) for word in words)


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[][(){}]", text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, abs(depth))
    return deepest
