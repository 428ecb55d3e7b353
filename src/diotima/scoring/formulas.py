r"""Where an answer that is no number stands in a text, word for word: ``6 - 5i`` in "so it is $6-5i$".

Both are brought into one notation and read as signs, so blanks, ``\dfrac`` for ``\frac``, ``−`` for ``-`` and marks
around formulas make no difference. What is found stands whole: ``2k+2`` is not in ``2k+25`` or ``2k+2m``, and the list
``3, 5, 7`` not in ``2, 3, 5, 7``. Nothing is calculated: ``-5i + 6`` is another formula here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from diotima.scoring.notation import plain, tidy
from diotima.scoring.quantities import LONGEST

_SHORT = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a text: ``text[start:end]``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Formula:
    """How an answer is found in a text.

    ``short``: it has less than three names, numbers and signs (``x``, ``2k``), which occur in any explanation; it is
    found only where a clause ends.
    """

    pattern: re.Pattern[str]
    short: bool

    def places(self, text: str) -> Iterator[Place]:
        """Where it stands whole in a text that is in `one_notation`."""
        return (Place(*found.span()) for found in self.pattern.finditer(text))


@lru_cache(maxsize=4096)
def read_formula(answer: str) -> Formula | None:
    """How to find an answer, or None if it is empty or too long for one."""
    signs = _SIGN.findall(one_notation(answer)) if len(answer) <= LONGEST else []
    if not signs:
        return None
    bracketed = signs[0] in "(["
    before = _BEFORE_BRACKET if bracketed else _BEFORE_SIGNED if signs[0] in "+-" else _BEFORE
    listed = "," in signs and not bracketed
    short = sum(sign not in "(){}[]" for sign in signs) < _SHORT
    parts = [
        _NO_ITEM_BEFORE if listed else "",
        before,
        r"\s*".join(map(re.escape, signs)),
        _AFTER,
        _NO_ITEM_AFTER if listed else "",
        _CLAUSE_END if short else "",
    ]
    return Formula(re.compile("".join(parts)), short)


@lru_cache(maxsize=65536)
def one_notation(text: str) -> str:
    """A text whose LaTeX and Unicode are brought into one form, line by line; most texts have none."""
    if "\\" not in text and "sqrt" not in text and text.isascii():
        return text
    return _MIXED.sub(r"\1 \2/\3", "\n".join(plain(tidy(line)) for line in text.split("\n")))


_MIXED = re.compile(r"(?<![\d.,/^_{])(\d{1,9}) ?\\frac\{(\d{1,4})\}\{(\d{1,4})\}")
_SIGN = re.compile(r"\\[A-Za-z]+|\\.|[A-Za-z]+|[0-9]+|\S")
_BEFORE = r"(?<![\w^\\.)}])"
_BEFORE_BRACKET = r"(?<![a-z0-9^)\]}])"  # a point may have a name before it: P(2, 1)
_BEFORE_SIGNED = r"(?<![\d)}\]])(?<![\d)}\]]\s)(?<!\b[A-Za-z])(?<!\b[A-Za-z]\s)"
_AFTER = r"(?!\.\d|[\w^(])"
_NO_ITEM_BEFORE = r"(?<!\d,)(?<!\d,\s)"
_NO_ITEM_AFTER = r"(?!\s*,\s*[-\d(\\])"
_CLAUSE_END = r"(?=[\s\"'*$)}\]\\]*(?:[.,;:!?\n]|$|(?:because|since|so|is)\b))"
