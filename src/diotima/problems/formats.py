"""Rows of other people's data sets as problems: which form a set has is seen from its columns.

| form | seen by |
|---|---|
| ``stepverify`` | ``problem``, ``reference_solution``, ``incorrect_index``; the solution's last line is the answer |
| ``gsm8k`` | an answer that ends in ``#### 18``; its Socratic variant has sub-questions before `` ** `` |
| ``mathdial`` | ``question``, ``ground_truth``, ``conversation``; read as StepVerify's, the dialogue is passed over |
| ``choice`` | a question, a list ``choices`` or ``options``, and the right one: its number from 0, letter or text |
| ``math`` | question, solution and answer with a level, subject or type; MATH, MATH-500 |
| ``problem`` | question and answer, perhaps a solution |

A set has one form throughout: the first row decides, and a row that does not fit is an error. Other columns are
passed over. A problem's id is made of its form and its question, so the same problem has the same id in every file.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from diotima.errors import ProblemFileError
from diotima.problems.problem import Problem, Step
from diotima.problems.rows import LONGEST_FIELD
from diotima.problems.solutions import annotated_steps, plain_steps, without_annotations

ALIASES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "query"),
    "answer": ("answer", "final_answer", "expected_answer", "ground_truth", "target"),
    "solution": ("solution", "reference_solution", "rationale", "explanation"),
    "steps": ("steps",),
    "id": (),
}
"""What a column may be called that nobody has mapped; case does not matter. Ids are only taken where mapped."""

PLAIN = "problem"

_BOXING = "Return your final response within \\boxed{}."
_FINAL = re.compile(r"(?:^|\n)####[ \t]*(?P<answer>\S[^\n]*)\Z")
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MATH = ("level", "subject", "type")
_WORKED = {
    "stepverify": ("problem", "reference_solution", "incorrect_index"),
    "mathdial": ("question", "ground_truth", "conversation"),
}
_OPTIONS = ("choices", "options")
_LETTERS = "ABCDE"

Parts = tuple[str, str, str, tuple[Step, ...]]
"""Question, answer, solution and steps."""

Reader = Callable[[Mapping[str, Any], Mapping[str, str]], Parts]
"""From the fields of a row, and the columns by what they stand for."""


@dataclass(frozen=True, slots=True)
class Form:
    """How every row of one set is read. ``source``: what its problems are said to come from."""

    name: str
    read: Reader
    columns: Mapping[str, str]
    source: str

    def problem(self, fields: Mapping[str, Any]) -> Problem:
        """One row as a problem. Raises ProblemFileError with the field that is wrong."""
        question, answer, solution, steps = self.read(fields, self.columns)
        mapped, told = self.columns.get("id"), fields.get("source")
        id = text_of(fields, mapped, number=True) if mapped else content_id(self.name, question)
        source = told if self.name == PLAIN and isinstance(told, str) and told.strip() else self.source
        return Problem(id, question, answer, solution, steps, source)


def form_of(fields: Mapping[str, Any], mapped: Mapping[str, str], source: str) -> Form:
    """The form of a set by the fields of its first row.

    ``mapped``: columns by what they stand for, as the user says (``{"question": "text"}``). ``source``: the set's
    name, for problems of no known set. Raises ProblemFileError if no form fits.
    """
    columns = _columns(fields, mapped)
    for name, needed in _WORKED.items():
        if not mapped and all(column in fields for column in needed):
            return Form(name, _worked, {"question": needed[0], "solution": needed[1]}, name)
    missing = [name for name in ("question", "answer") if name not in columns]
    if missing:
        shown = ", ".join(repr(name[:40]) for name in list(fields)[:12]) or "none"
        raise ProblemFileError(
            f"no column is known to hold the {missing[0]}; the columns are {shown} (is the first line a header?); "
            f"say which it is: --columns.{missing[0]} NAME, or in a recipe columns: {{{missing[0]}: NAME}}"
        )
    options = next((name for name in _OPTIONS if isinstance(fields.get(name), list)), None)
    if options:
        return Form("choice", _choice, {**columns, "options": options}, source)
    if has_final_mark(fields[columns["answer"]]):
        return Form("gsm8k", _gsm8k, columns, "gsm8k")
    if "solution" in columns and any(name in fields for name in _MATH):
        return Form("math", _plain, columns, "math")
    return Form(PLAIN, _plain, columns, source)


def has_final_mark(answer: Any) -> bool:
    """Whether an answer is GSM8K's: a solution, and the final answer behind ``####``."""
    return isinstance(answer, str) and _FINAL.search(answer.rstrip()) is not None


def content_id(form: str, question: str) -> str:
    """The id of a problem, from its question: ``gsm8k-3b5f6c9f01aa``."""
    return f"{form}-{hashlib.sha256(_spaced(question).encode()).hexdigest()[:12]}"


def same_text(one: str, other: str) -> bool:
    """Whether two questions are the same, however they are spaced."""
    return _spaced(one) == _spaced(other)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def text_of(fields: Mapping[str, Any], column: str, *, number: bool = False) -> str:
    """The text of a field, or its number as text where one may stand. Raises ProblemFileError."""
    value = fields.get(column)
    if number and isinstance(value, float) and isfinite(value):
        value = str(int(value) if value.is_integer() else value)
    elif number and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ProblemFileError(f"the field {column} is missing or empty")
    if not isinstance(value, str):
        raise ProblemFileError(f"the field {column} must be text{' or a number' * number}, not {_kind(value)}")
    if len(value) > LONGEST_FIELD:
        raise ProblemFileError(f"the field {column} has {len(value):,} characters; {LONGEST_FIELD:,} is the most")
    return value.strip()


def _kind(value: Any) -> str:
    return str(value) if isinstance(value, float) else type(value).__name__


def _columns(fields: Mapping[str, Any], mapped: Mapping[str, str]) -> dict[str, str]:
    """Which column stands for what."""
    columns = dict(mapped)
    for name, column in mapped.items():
        if name not in ALIASES:
            raise ProblemFileError(f"columns = {name}: a column can be mapped to {', '.join(ALIASES)}")
        if column not in fields:
            raise ProblemFileError(f"columns.{name} = {column}: there is no such column; there are {', '.join(fields)}")
    for name, aliases in ALIASES.items():
        if name not in columns:
            known = [column for column in fields if column.strip().lower() in aliases and column not in mapped.values()]
            if len(known) > 1:
                raise ProblemFileError(
                    f"{' and '.join(known)} could each be the {name}; say which it is: --columns.{name} {known[0]}"
                )
            if known:
                columns[name] = known[0]
    return columns


def _gsm8k(fields: Mapping[str, Any], columns: Mapping[str, str]) -> Parts:
    question, worked = text_of(fields, columns["question"]), text_of(fields, columns["answer"])
    final = _FINAL.search(worked)
    if final is None:
        raise ProblemFileError(f"the field {columns['answer']} does not end in #### and the final answer, as others do")
    solution = worked[: final.start()]
    return question, _plain_answer(final["answer"]), without_annotations(solution), annotated_steps(solution)


def _plain(fields: Mapping[str, Any], columns: Mapping[str, str]) -> Parts:
    question = text_of(fields, columns["question"]).removeprefix(_BOXING).lstrip()
    answer = _plain_answer(text_of(fields, columns["answer"], number=True))
    if has_final_mark(answer):
        raise ProblemFileError(
            f"the field {columns['answer']} ends in #### and an answer, which the first row's does not"
        )
    if "\n" in answer:
        column, lines = columns["answer"], answer.count("\n") + 1
        raise ProblemFileError(
            f"the field {column} holds {lines} lines, more than an answer has; if it is a solution, name the column "
            f"with the answer: --columns.solution {column} --columns.answer NAME"
        )
    solution = _written(fields, columns.get("solution", "")) or _written(fields, columns.get("steps", ""))
    return question, answer, solution, plain_steps(solution, answer)


def _written(fields: Mapping[str, Any], column: str) -> str:
    """A solution, which a set may have for some of its problems only; a list is taken as its lines."""
    value = fields.get(column)
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    return text_of({column: value}, column) if value else ""


def _choice(fields: Mapping[str, Any], columns: Mapping[str, str]) -> Parts:
    options, right = fields.get(columns["options"]), text_of(fields, columns["answer"], number=True)
    if not isinstance(options, list) or not all(isinstance(option, str) and option.strip() for option in options):
        raise ProblemFileError(f"the field {columns['options']} must be a list of texts")
    if not 2 <= len(options) <= len(_LETTERS):
        raise ProblemFileError(f"the field {columns['options']} has {len(options)} options, not 2 to {len(_LETTERS)}")
    letters = _LETTERS[: len(options)]
    if right.isdecimal() and int(right) < len(options):
        answer = letters[int(right)]
    elif options.count(right) == 1:
        answer = letters[options.index(right)]
    elif right.strip("()").upper() in set(letters):
        answer = right.strip("()").upper()
    else:
        raise ProblemFileError(
            f"the field {columns['answer']} names none of the options: give its number from 0, its letter or its text"
        )
    listed = "\n".join(f"({letter}) {option.strip()}" for letter, option in zip(letters, options, strict=True))
    return f"{text_of(fields, columns['question'])}\n{listed}", answer, "", ()


def _worked(fields: Mapping[str, Any], columns: Mapping[str, str]) -> Parts:
    question, worked = text_of(fields, columns["question"]), text_of(fields, columns["solution"])
    solution, _, last = worked.rpartition("\n")
    answer = _plain_answer(last.strip())
    return question, answer, solution, plain_steps(solution, answer)


def _plain_answer(answer: str) -> str:
    """An answer as it is written, but 1,200 without its comma."""
    return answer.replace(",", "") if _GROUPED.fullmatch(answer) else answer
