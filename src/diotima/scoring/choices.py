r"""Multiple choice: the letter that a text chooses. An "a" may be an article, and "(B) 12" is B, not 12."""

import re

from diotima.scoring.answers import MARKER, last_boxed
from diotima.scoring.notation import plain, tidy

_LETTER = re.compile(r"\(?([A-E])\)?")
_FIRST = re.compile(
    r"[\s*({]*(?:(?:[Cc]learly|[Tt]he|[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter|is)[\s:*({]+)*([A-Ea-e])"
    r"(?!\)\s+(?:is|are|was|would|gives|has)\b)(?=[\s*)}]*$|\s*[).:,;]|\s*\*\*|\s+(?:because|since|as)\b|\n)"
)
_NAMED = re.compile(
    r"(?<!not )(?<!n't )(?:\b(?:[Oo]ption|[Cc]hoice|[Cc]hoose|[Pp]ick|[Ss]elect|[Ii]t['’]s|[Ii]t is)(?: is)?"
    r"[\s*]{1,4}\(?([B-E](?![\w'’])|A(?![\w'’])(?!\s(?!because|since|as\b)[a-z]))"
    r"|\(([A-E])\)|^[\s*(]{0,4}([A-E])[\s*).]{0,4}$)",
    re.MULTILINE,
)


def is_choice(expected: str) -> bool:
    r"""Whether a reference is the letter of an option: ``B``, ``(B)``, ``\text{(B)}``."""
    return bool(_LETTER.fullmatch(plain(tidy(expected))))


def final_choice(text: str) -> str | None:
    """The letter A to E that a text chooses: in its box, behind its last marker, or where it last names an option.

    An option that is denied is not chosen. None if there is no such letter.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return _first(boxed)
    for marker in reversed(list(MARKER.finditer(text))):
        if letter := _first(text[marker.end() : marker.end() + 200]):
            return letter
    if letter := _first(text.strip()[:200]):
        return letter
    named = list(_NAMED.finditer(text))
    return next(letter for letter in named[-1].groups() if letter) if named else None


def _first(text: str) -> str | None:
    line = text.strip().split("\n")[0]
    found = _FIRST.match(plain(tidy(line)))
    return found[1].upper() if found else None
