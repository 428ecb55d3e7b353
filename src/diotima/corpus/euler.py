"""EULER's three sets of contexts and its human ratings, read clean.

Bonino et al., AIxEDU 2024, code and files: GiovanniGatti/socratic-llm. A file is a JSON list of texts in one of three
forms, told apart by how they begin:

- MathDial's: a printed Python list. Its first text holds the word problem, the student's solution and the first tutor
  turn in one; a tutor turn begins with its move, ``(probing)``; the student is called Student or by name.
- TutorChat's: a printed Python list of ``\\nuser: ...`` and ``\\nassistant: ...``, perhaps after a reading passage.
- Debugging's: a problem, code, the bug and its fixes in tags, then ``User: ... Assistant: ...`` and a cue at the end.

The quotes, commas, escapes, moves and cues of these forms are no part of what was said, and the published prompts that
contain them taught a model to write them. Departures: the word problem, or the passage, is `Problem.question` and not a
student's words; the student's first turn is its solution, or its question with its code; the bug and its fixes are
`Problem.solution`, so that neither tutor nor judge sees them unless the settings say so, as both did there. Code inside
later turns has lost its line breaks in the source and stays as it is.
"""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from diotima.corpus import mathdial
from diotima.corpus.conversations import (
    context_of,
    read_items,
    spoken,
    tidy,
    turn_of,
    with_text_seed,
)
from diotima.corpus.rated import Rated, label_of
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.errors import ProblemFileError
from diotima.problems.formats import content_id, text_of
from diotima.problems.problem import Problem

ASPECTS: Final = ("questions", "on_topic", "helpful", "reveal_answer")
HUMAN_COLUMNS: Final = ("prompt", "output", "evaluation")

_QUOTED = r"""(?:'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")"""
_TEXT = re.compile(_QUOTED, re.DOTALL)
_PRINTED = re.compile(rf"\s*\[?{_QUOTED}(?:, {_QUOTED})*\]?\s*", re.DOTALL)
_PROBLEM = re.compile(
    r"Professor, I have a problem, here is the text: (?P<question>.+?)\s*Here is my solution (?P<solution>.+)"
    r"(?P<tutor>Teacher:.+)",
    re.DOTALL,
)
_CHAT = ("\nuser:", "\nassistant:")
_TAGS = re.compile(
    r"\s*<problem>(?P<problem>.+?)</problem>\s*(?:<bug_code>(?P<code>.+?)</bug_code>\s*)?"
    r"<bug_desc>(?P<bug>.+?)</bug_desc>\s*<bug_fixes>(?P<fixes>.+?)</bug_fixes>(?P<chat>.+)",
    re.DOTALL,
)
_CUE = re.compile(r"\sAssistant:\s*\Z")


def read_contexts(path: Path) -> list[Dialogue]:
    """Every context of one of the six files, repeated ones included. Raises ProblemFileError with the item's number."""
    return read_items(path, read_context)


def read_context(item: Any) -> Dialogue:
    """One element of such a file. Raises ProblemFileError."""
    if not isinstance(item, str):
        raise ProblemFileError(f"a context of EULER's is text, not {type(item).__name__}")
    read = next((read for opening, read in _FORMS.items() if item.startswith(opening)), _tutorchat)
    return read(item)


def read_human(path: Path) -> list[Rated]:
    """The ratings of its human file; the published ``score`` is left out, for it follows from the four labels.

    Raises ProblemFileError with the item's number and the field.
    """
    return read_items(path, _rated)


def _rated(item: Any) -> Rated:
    if not isinstance(item, dict) or not isinstance(item.get("evaluation"), dict):
        raise ProblemFileError(f"must be an object with {', '.join(HUMAN_COLUMNS)}")
    context, reply = read_context(item.get("prompt")), turn_of(TUTOR, text_of(item, "output"))
    labels = {name: label for name in ASPECTS if (label := label_of(item["evaluation"], name)) is not None}
    return Rated(with_text_seed(context.then(reply).stopped("")), "", labels)


def _printed(item: str) -> list[str]:
    """The texts of a printed list, whose brackets may be missing."""
    if not _PRINTED.fullmatch(item):
        raise ProblemFileError("neither a printed list of turns nor a problem in tags, as EULER's contexts are")
    try:
        return [ast.literal_eval(text) for text in _TEXT.findall(item)]
    except (SyntaxError, ValueError) as error:
        raise ProblemFileError(f"a text of the printed list cannot be read ({error})") from None


def _mathdial(item: str) -> Dialogue:
    first, *others = _printed(item.removeprefix(_MATHDIAL))
    opening = _PROBLEM.fullmatch(first)
    if opening is None:
        raise ProblemFileError("the first text does not hold a problem, the student's solution and a Teacher's turn")
    question = tidy(opening["question"])
    turns = [mathdial.solution_turn(opening["solution"]), *mathdial.spoken_turns([opening["tutor"], *others])]
    return context_of(Problem(content_id("mathdial", question), question, "", source="mathdial"), turns)


def _tutorchat(item: str) -> Dialogue:
    texts = _printed(item)
    passage = "" if texts[0].startswith(_CHAT) else tidy(texts[0])
    turns = [turn for text in texts[bool(passage) :] for turn in spoken(text.strip())]
    if not turns:
        raise ProblemFileError("nothing is said in it")
    problem = Problem(content_id("tutorchat", passage or turns[0].text), passage, "", source="tutorchat")
    return context_of(problem, turns)


def _debugging(item: str) -> Dialogue:
    parts = _TAGS.fullmatch(item)
    if parts is None:
        raise ProblemFileError("the tags problem, bug_desc and bug_fixes are not all there, or no chat follows them")
    first, *others = spoken(_CUE.sub("", parts["chat"]).strip())
    if parts["code"]:
        first = Turn(first.speaker, f"{first.text}\n<code>\n{tidy(parts['code'])}\n</code>")
    question, solution = tidy(parts["problem"]), f"{tidy(parts['bug'])}\n{tidy(parts['fixes'])}"
    problem = Problem(content_id("debugging", question), question, "", solution, source="debugging")
    return context_of(problem, [first, *others])


_MATHDIAL = "Student: "
_FORMS: Mapping[str, Callable[[str], Dialogue]] = {_MATHDIAL: _mathdial, "<problem>": _debugging}
