"""Conversations of data sets as dialogues: what every reader of this room needs.

A *context* is a dialogue that ends with a student's turn: the place where a tutor has to say something. Its seed is
made of its text, so the same context has the same seed in every file, and a set that repeats itself is found out. Turns
hold what both have heard and nothing else, no thoughts, no tokens, no empty turns. Neighbouring turns of one speaker
are one turn, because chat templates want speakers to alternate, and a turn that merely repeats the one before (a form
that was sent twice) is dropped.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, stable_seed
from diotima.errors import ProblemFileError
from diotima.problems.formats import PLAIN, content_id, text_of
from diotima.problems.problem import Problem
from diotima.problems.rows import LONGEST_FIELD, parse_json
from diotima.problems.solutions import plain_steps

T = TypeVar("T")

CONTEXT = "context"
"""The stop reason of a dialogue that waits for a tutor's turn."""

SPEAKERS: Mapping[str, str] = {
    "tutor": TUTOR,
    "teacher": TUTOR,
    "assistant": TUTOR,
    "student": STUDENT,
    "user": STUDENT,
}
"""What data sets call the two, in lower case."""

CONVERSATIONS = ("messages", "conversation")
"""Columns of one's own files that hold a whole conversation."""

HISTORY = "history"
"""The column with what was said before a turn that stands in a column of its own."""

ABOUT = ("question", "answer", "solution", "id")
"""Columns of one's own files that tell the problem."""

_HEAD = re.compile(
    rf"(?:\A|(?<=[\n\t\xa0])|(?<=\s\s))(?P<speaker>{'|'.join(SPEAKERS)}):", re.IGNORECASE
)  # lookbehinds: a long row of blanks is read once


def context_of(problem: Problem, turns: Iterable[Turn]) -> Dialogue:
    """A context. Raises ProblemFileError unless a student's turn comes last."""
    dialogue = with_text_seed(Dialogue(problem, merged(turns), stop=CONTEXT))
    if not dialogue.turns or dialogue.turns[-1].speaker != STUDENT:
        raise ProblemFileError("a context must end with a student's turn")
    return dialogue


def with_text_seed(dialogue: Dialogue) -> Dialogue:
    """The dialogue with a seed that is made of its problem's text and of all that was said."""
    problem = dialogue.problem
    about = (problem.question, problem.answer, problem.solution)
    return replace(dialogue, seed=stable_seed("context", *about, *_said(dialogue)))


def conversation_key(dialogue: Dialogue) -> int:
    """The same number for the same words of the same speakers, whatever they are about."""
    return stable_seed("conversation", *_said(dialogue))


def _said(dialogue: Dialogue) -> Iterator[str]:
    for turn in dialogue.turns:
        yield from (turn.speaker, turn.text)


def merged(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns, neighbours of one speaker joined by a line break; one that repeats the one before is dropped."""
    kept: list[Turn] = []
    last = ""
    for turn in turns:
        if not turn.text:
            continue
        if kept and kept[-1].speaker == turn.speaker:
            if turn.text != last:
                kept[-1] = Turn(turn.speaker, f"{kept[-1].text}\n{turn.text}")
        else:
            kept.append(Turn(turn.speaker, turn.text))
        last = turn.text
    return tuple(kept)


def tidy(text: str) -> str:
    """The text without non-breaking spaces and without blanks at the ends of its lines; indentation stays."""
    return "\n".join(line.rstrip() for line in text.replace("\xa0", " ").splitlines()).strip()


def spoken(text: str) -> tuple[Turn, ...]:
    """The turns of a conversation written as one text, ``Tutor: ... Student: ...``, each speaker on a new line.

    A tab or two blanks count as a new line, as in EULER's files. Not `merged`. Raises ProblemFileError.
    """
    heads = list(_HEAD.finditer(text))
    if not heads or text[: heads[0].start()].strip():
        raise ProblemFileError(
            f"a conversation must begin with a speaker, such as 'Student:' ({', '.join(SPEAKERS)}), not "
            f"{' '.join(text[:60].split())[:40]!r}"
        )
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return tuple(
        turn_of(SPEAKERS[head["speaker"].lower()], text[head.end() : end])
        for head, end in zip(heads, ends, strict=True)
    )


def turn_of(speaker: str, text: str) -> Turn:
    """One turn, tidied. Raises ProblemFileError if it is empty."""
    said = tidy(text)
    if not said:
        raise ProblemFileError(f"a turn of the {speaker} is empty")
    return Turn(speaker, said)


def conversation(fields: Mapping[str, Any], column: str) -> tuple[Turn, ...]:
    """The turns in a column: one text, or a list of messages, ``{"role": "user", "content": ...}``.

    The list may stand there as JSON text, as it must in CSV. A system message is a prompt and no turn. Not `merged`.
    Raises ProblemFileError with the field that is wrong.
    """
    value = fields.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value)
        except ProblemFileError as error:
            raise ProblemFileError(f"the field {column}: {error}") from None
    if not isinstance(value, list):
        return spoken(text_of(fields, column))
    turns = [
        turn
        for number, message in enumerate(value, 1)
        if (turn := _message(message, f"{column}, message {number}")) is not None
    ]
    if not turns:
        raise ProblemFileError(f"the field {column} holds no turns")
    return tuple(turns)


def _message(message: Any, place: str) -> Turn | None:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or (role != "system" and role.lower() not in SPEAKERS):
        raise ProblemFileError(
            f"the field {place}: needs a role ({', '.join(SPEAKERS)} or system) and a content, and its role is {role!r}"
        )
    if role == "system":
        return None
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise ProblemFileError(f"the field {place}: its content must be text, and not empty")
    if len(content) > LONGEST_FIELD:
        raise ProblemFileError(f"the field {place}: has {len(content):,} characters; {LONGEST_FIELD:,} is the most")
    return turn_of(SPEAKERS[role.lower()], content)


def has(fields: Mapping[str, Any], name: str) -> bool:
    """Whether anything stands in a field; 0 does."""
    return fields.get(name) not in (None, "", [])


def own_dialogue(fields: Mapping[str, Any], source: str) -> Dialogue:
    """A row of one's own as a dialogue: a context if a student's turn comes last. Raises ProblemFileError."""
    column = next((name for name in (*CONVERSATIONS, HISTORY) if has(fields, name)), None)
    if column is None:
        raise ProblemFileError(
            f"no field holds a conversation: {', '.join(CONVERSATIONS)} or {HISTORY}; the fields are "
            f"{', '.join(list(fields)[:12])}"
        )
    turns = merged(conversation(fields, column))
    problem = problem_about(fields, turns[0], source)
    if turns[-1].speaker == STUDENT:
        return context_of(problem, turns)
    return with_text_seed(Dialogue(problem, turns))


def problem_about(fields: Mapping[str, Any], opening: Turn, source: str) -> Problem:
    """The problem that a row of one's own tells beside a conversation, with whatever of it is told.

    A problem without a question has its id from the conversation's ``opening``, so it is one for a whole lesson.
    Raises ProblemFileError with the field that is wrong.
    """
    told = {name: text_of(fields, name, number=name in ("answer", "id")) for name in ABOUT if has(fields, name)}
    question, answer, solution = (told.get(name, "") for name in ("question", "answer", "solution"))
    steps = plain_steps(solution, answer) if solution and answer else ()
    return Problem(
        told.get("id") or content_id(PLAIN, question or opening.text), question, answer, solution, steps, source
    )


def read_list(path: Path) -> list[Any]:
    """The items of a JSON list in a file. Raises ProblemFileError."""
    try:
        values = parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ProblemFileError(f"{path} cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise ProblemFileError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except ProblemFileError as error:
        lines = "; if it has one object a line, name it .jsonl" if "(Extra data" in str(error) else ""
        raise ProblemFileError(f"{path}: {error}{lines}") from None
    if not isinstance(values, list) or not values:
        raise ProblemFileError(f"{path} must hold a JSON list that is not empty")
    return values


def read_items(path: Path, read: Callable[[Any], T]) -> list[T]:
    """What ``read`` makes of each item of a JSON list. Raises ProblemFileError with the number of the item."""
    told = []
    for number, item in enumerate(read_list(path), 1):
        try:
            told.append(read(item))
        except ProblemFileError as error:
            raise ProblemFileError(f"{path}, item {number}: {error}") from None
    return told
