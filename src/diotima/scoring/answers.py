r"""Read the final answer of a text and compare it with the reference.

Numbers first: nearly every answer in grade-school sets is one, and exact fractions need no tolerance and no process of
their own. What is neither a number nor plain words (``\sqrt{2}``, ``x + 1``) is compared as text, and an inequality of
such texts is not taken for a wrong answer: `same_answer` says None, which is the seam for symbolic comparison.
"""

import re

from diotima.problems.numbers import find_numbers, parse_number

_MARKER = re.compile(
    r"(?:\b(?:answer|result|solution)s?(?:\s+to\s+[^.:=\n]{0,60}?)?"
    r"\s*(?:\bis\b(?!\s*not\b)|\b(?:would|must|should) be\b|=|:)|####)[\s:*]*",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[^\n;?!]*?(?=[;?!\n]|[.](?:\s|$)|,\s|$)")
_EXPRESSION = re.compile(r"\s*(?:[-+*/×÷−=]|(?:plus|minus|times|divided by)\b)")
_SYMBOLIC = re.compile(r"\^|\\(?![dt]?frac|\W)[A-Za-z]")
_PLAIN_WORDS = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")


def final_answer(text: str) -> str | None:
    r"""The answer a text ends on, as written: last ``\boxed{}``, else last "answer is" or ``####``, else last number.

    None if the text names no answer.
    """
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    for marker in reversed(list(_MARKER.finditer(text))):
        clause = _CLAUSE.match(text, marker.end())
        value = _clause_value(clause.group()) if clause else ""
        if value:
            return value
    numbers = find_numbers(text)
    return numbers[-1].text if numbers else None


def same_answer(given: str, expected: str) -> bool | None:
    """Whether two answers are the same; None if that cannot be read off them.

    Numbers are compared exactly, so a rounded ``0.33`` is not ``1/3``. Plain words are compared without regard to case,
    spacing and a closing full stop. An expression that differs as text may still be equal, hence None.
    """
    given_value, expected_value = parse_number(given), parse_number(expected)
    if given_value is not None and expected_value is not None:
        return given_value == expected_value
    given_text, expected_text = normal_text(given), normal_text(expected)
    if given_text and given_text == expected_text:
        return True
    if expected_value is not None or not _PLAIN_WORDS.fullmatch(expected_text):
        return None
    return False if given_value is not None or _PLAIN_WORDS.fullmatch(given_text) else None


def normal_text(text: str) -> str:
    """A text without regard to case, spacing, emphasis, dollar signs and a closing full stop."""
    return " ".join(text.lower().replace("$", " ").replace("*", " ").split()).rstrip(".").strip()


def _last_boxed(text: str) -> str | None:
    opening = text.rfind("\\boxed{")
    if opening < 0:
        return None
    start, depth = opening + len("\\boxed{"), 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[start : start + brace.start()].strip() or None
    return None


def _clause_value(clause: str) -> str:
    """The value named in the clause behind a marker: past the equals sign of a calculation, else the first number."""
    numbers = find_numbers(clause)
    if not numbers or _SYMBOLIC.search(clause):
        return clause.strip(" *.,:")
    first = numbers[0]
    if _EXPRESSION.match(clause, first.end) and "=" in clause:
        behind = [number for number in numbers if number.start > clause.rindex("=")]
        return behind[0].text if behind else first.text
    return first.text
