r"""Find the final answer in a text, and compare it with the reference as far as that can be read off the two.

Numbers first: nearly every answer in grade-school sets is one, and exact fractions need no tolerance and no process of
their own. Then plain words. What is neither (``\sqrt{2}``, ``x + 1``) is compared as text, and an inequality of such
texts is not taken for a wrong answer: `same_answer` says None, which is the seam for symbolic comparison.

Where an answer ends depends on what is expected. Behind "the answer is", a number ends before the first word that is
no unit, a formula only where its signs end: ``6 - 5i`` is not 6. Repetitions are possessive or bounded: time is linear
in the text.
"""

import re

from diotima.problems.numbers import find_numbers
from diotima.scoring.measures import names_unit
from diotima.scoring.notation import plain, tidy
from diotima.scoring.quantities import (
    EXACT,
    NumberRules,
    read_decimal_comma,
    read_quantity,
    same_numeral,
    same_pair,
    same_quantity,
)

MARKER = re.compile(
    r"(?:\b(?:answer|result|solution)s?+(?:\s++to\s++[^.:=\n\s][^.:=\n]{0,60}?)?"
    r"\s*+(?:\bis\b(?!\s*+not\b)|\b(?:would|must|should) be\b|=|:)|####)[\s:*]*+",
    re.IGNORECASE,
)
"""What announces a final answer, up to where the answer begins."""
_CLAUSE = re.compile(r"[^\n;?!]*?(?=[;?!\n]|[.](?:\s|$)|,\s|$)")
_EXPRESSION = re.compile(r"\s*(?:[-+*/×÷−=]|(?:plus|minus|times|divided by)\b)")
_SYMBOLIC = re.compile(r"\^|\\(?![dt]?frac|\W)[A-Za-z]")
_WORD = r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi|or|and)(?![A-Za-z])"
_SIGN = (
    rf"\\(?:text|mbox|mathrm|begin|end)\{{[^{{}}\n]*\}}|\\[A-Za-z]+|\\[^A-Za-z\s]|{_WORD}|(?![aAI]\s)[A-Za-z](?![A-Za-z])"
    r"|[a-z]{2}(?= ?[-+*/^=()])"
    r"|[0-9]++(?:[.,][0-9]++)*|\.[0-9]++|[-+*/^_=(){}\[\]|<>&!%°×÷−·±√π∞≤≥²³∪½⅓⅔¼¾]|,\\!|[ ]"
)
_END = r"(?=(?:[.](?:\s|$)|[\n;?]|,\s|$))"
_FORMULA = re.compile(rf"(?:{_SIGN})++{_END}")
_FORMULAS = re.compile(rf"(?:{_SIGN}|,)++{_END}")
_MARKED_FORMULA = re.compile(
    r"(?<!\\)\$\$?((?:\\\$|[^$\n]){1,500})\$\$?|\\\(([^\n]{1,500}?)\\\)|\\\[([^\n]{1,500}?)\\\]"
)
_MONEY_BETWEEN = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}|[-,;+(/=]\s*$")
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]|\\(?!times|cdot|div|frac|left|right)[A-Za-z]")
_PLAIN_WORDS = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")
_PROSE = re.compile(r"[A-Za-z]{3,}")
_DENIAL = re.compile(
    r"\b(?:not|never|no|less|more than|at (?:least|most)|under|over|between)\b|n['’]t\b", re.IGNORECASE
)
_LONGEST_BARE = 300
_BOXED = re.compile(r"\\f?box(?:ed)?\s*+\{")
_REASON = re.compile(r"\s*(?:[,;:.(]|-\s|(?:because|since|as|so|for|who|which|has|had)\b)")
_REFUSAL = re.compile(
    r"\b(?:(?:do ?n['’]?t|do not|can(?:no|['’])t|can not|not) (?:know|sure|tell|solve|answer|say)|no idea|unsure|"
    r"unknown|none|nothing|undetermined)\b",
    re.IGNORECASE,
)


def final_answer(text: str) -> str | None:
    r"""The answer a text ends on, as written: last ``\boxed{}``, else last "answer is" or ``####``, else last number.

    None if the text names no answer.
    """
    boxed = last_boxed(text)
    return boxed if boxed is not None else _answer_and_rest(text)[0] or None


def final_quantity(text: str) -> str | None:
    """`final_answer` where a number is expected: with its unit, should one follow; whole, should it be a formula."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed if read_quantity(boxed) else _only_number(plain(tidy(boxed))) or boxed
    answer, rest = _formula_and_rest(text, _FORMULA)
    if not answer or not (read_quantity(answer) or _stands_alone(answer)):
        if len(text) <= _LONGEST_BARE and read_quantity(text):
            return text
        answer, rest = _answer_and_rest(text)
    return f"{answer}{rest}" if names_unit(rest) and read_quantity(answer + rest) else answer or None


def final_words(text: str, expected: str) -> str | None:
    """`final_answer` where words are expected: in a box, behind a marker, or the first clause if it is short."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    if any(text[marker.end() :].strip(" *.,:\n") for marker in MARKER.finditer(text)):
        return _answer_and_rest(text)[0] or None
    clause = _CLAUSE.match(text.strip())
    words = clause.group() if clause else ""
    short = len(words.split()) <= max(2, len(expected.split()))
    return words if short or normal_text(words).startswith(normal_text(expected)) else None


def final_formula(text: str) -> str | None:
    """The formula a text ends on: in its box, behind its last marker, the whole text, or between its last marks.

    A list (``1, -2``) is one answer. None if there is no formula.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    answer, _ = _formula_and_rest(text, _FORMULAS)
    if answer:
        return answer
    marked = [found for found in _MARKED_FORMULA.finditer(text) if not _between_amounts(found)]
    return _last_side(_inside(marked[-1])) if marked else None


def same_answer(given: str, expected: str, rules: NumberRules = EXACT) -> bool | None:
    """Whether two answers are the same; None if that cannot be read off them.

    Numbers are compared exactly, unless ``rules`` say otherwise, so a rounded ``0.33`` is not ``1/3``. Plain words are
    compared without regard to case, spacing and a closing full stop. An expression that differs as text may still be
    equal, hence None.
    """
    numeral = same_numeral(given, expected)
    if numeral is not None:
        return numeral
    given_quantity, expected_quantity = read_quantity(given), read_quantity(expected)
    if given_quantity and expected_quantity:
        return same_quantity(given_quantity, expected_quantity, rules)
    given_text, expected_text = normal_text(given), normal_text(expected)
    if given_text and given_text == expected_text:
        return True
    if expected_quantity:
        comma = read_decimal_comma(given)
        return True if comma is not None and rules.close(comma, expected_quantity.value) else None
    if not is_words(expected):
        return same_pair(given, expected)
    return False if given_quantity else _same_words(given_text, expected_text)


def is_words(expected: str) -> bool:
    r"""Whether an answer is plain words, like ``blue`` or ``\text{Evelyn}``, and not a variable."""
    return bool(_PLAIN_WORDS.fullmatch(text := normal_text(expected))) and len(text) > 1


def normal_text(text: str) -> str:
    r"""A text without regard to case, notation, emphasis, an article and a closing full stop."""
    words = plain(tidy(text)).replace("$", " ").replace("*", " ").lower().split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("the", "an", "a") else words).strip("\"'. ")


def last_boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{}`` or ``\fbox{}``; None if there is none, or it is never closed."""
    openings = list(_BOXED.finditer(text))
    if not openings:
        return None
    start, depth = openings[-1].end(), 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return text[start : start + brace.start()].strip() or None
    return None


def _only_number(words: str) -> str | None:
    """From the one number of a piece of prose on: "Ann has 57 apples" is 57 apples."""
    numbers = find_numbers(words)
    prose = len(numbers) == 1 and _PROSE.search(words) and "\\" not in words
    return words[numbers[0].start :] if prose and not _DENIAL.search(words) else None


def _same_words(given: str, expected: str) -> bool | None:
    if given.startswith(expected) and _REASON.match(given, len(expected)):
        return True
    if _REFUSAL.search(given) or re.search(rf"\b{re.escape(expected)}\b", given):
        return None
    return False if _PLAIN_WORDS.fullmatch(given) else None


def _answer_and_rest(text: str) -> tuple[str, str]:
    """The answer outside of boxes ("" if there is none), and what follows it in its clause if it is a number."""
    for marker in reversed(list(MARKER.finditer(text))):
        clause = _CLAUSE.match(text, marker.end())
        value, rest = _clause_value(clause.group()) if clause else ("", "")
        if value:
            return value, rest
    numbers = find_numbers(text)
    if not numbers:
        return "", ""
    clause = _CLAUSE.match(text, numbers[-1].end)
    return numbers[-1].text, clause.group() if clause else ""


def _clause_value(clause: str) -> tuple[str, str]:
    """The value named in the clause behind a marker: past the equals sign of a calculation, else the first number."""
    numbers = find_numbers(clause)
    if not numbers or _SYMBOLIC.search(clause):
        return clause.strip(" *.,:"), ""
    first = numbers[0]
    if _EXPRESSION.match(clause, first.end) and "=" in clause:
        behind = [number for number in numbers if number.start > clause.rindex("=")]
        first = behind[0] if behind else first
    return first.text, clause[first.end :]


def _formula_and_rest(text: str, run: re.Pattern[str]) -> tuple[str, str]:
    """The formula behind the last marker, or that the whole text is, and what follows it in its clause."""
    starts = [marker.end() for marker in MARKER.finditer(text)]
    start = next((place for place in reversed(starts) if text[place : place + 300].strip(" *.,:$\n")), None)
    if start is None:
        if len(text) > _LONGEST_BARE:
            return "", ""
        text, start = text.strip(), 0
    marked = _MARKED_FORMULA.match(text, start)
    if marked and not _between_amounts(marked):
        clause = _CLAUSE.match(text, marked.end())
        return _last_side(_inside(marked)), clause.group() if clause else ""
    found = run.match(text, start)
    return (_last_side(found.group().strip(" *,")), "") if found else ("", "")


def _inside(marked: re.Match[str]) -> str:
    return next(group for group in marked.groups() if group is not None)


def _between_amounts(marked: re.Match[str]) -> bool:
    """Whether two dollar signs are those of two amounts: "$5 and not $6"."""
    return bool(marked[1] and _MONEY_BETWEEN.search(re.sub(r"\\(?:text|mbox|mathrm)\{[^{}]*\}", "", marked[1])))


def _last_side(formula: str) -> str:
    """What a calculation comes to; an equation with a variable stays whole."""
    before, equals, last = formula.rpartition("=")
    return last.strip() if equals and last.strip() and not _VARIABLE.search(before) else formula.strip()


def _stands_alone(formula: str) -> bool:
    """Whether a formula is more than a broken piece: brackets closed, an operator between operands."""
    tidied = tidy(formula)
    return all(tidied.count(left) == tidied.count(right) for left, right in ("()", "{}")) and bool(
        re.search(r"[A-Za-z0-9]", tidied) and not re.search(r"[-+*/^_=]\s*$", tidied)
    )
