"""`diotima problems show`: one problem with its steps, and its sibling beside it.

    diotima problems show problems/test.jsonl --problem 7

What differs in the sibling stands in «angle quotes».
"""

import re
from dataclasses import asdict
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from diotima.problems.files import with_siblings
from diotima.problems.list_command import table, visible
from diotima.problems.problem import Problem
from diotima.problems.siblings import sibling_or_reason
from diotima.problems.solutions import executable
from diotima.problems.source import SourceSettings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WORD = re.compile(r"\s+|[\w.,]*\w|.")


class Settings(SourceSettings):
    """Which problem is shown."""

    problem: str = "1"
    """The problem's id, or its number, counted from 1."""


def run(settings: Settings) -> dict[str, Any]:
    """Print the problem; returns its fields."""
    from rich.console import Console

    problem = with_siblings([settings.one(settings.problem)])[0]
    show(problem, Console(highlight=False))
    return asdict(problem)


def show(problem: Problem, console: "Console") -> None:
    """Print one problem and its sibling."""
    from rich.text import Text

    steps = "no steps" if not problem.steps else "executable" if executable(problem) else "steps that do not execute"
    console.print(Text(visible(f"{problem.id}  ({problem.source or 'no source'}; {steps})"), style="bold cyan"))
    if problem.sibling is None:
        console.print(Text(visible(problem.question)))
        console.print(Text(f"\nAnswer: {visible(problem.answer)}"))
        console.print(f"It has no sibling: {sibling_or_reason(problem)}.")
    else:
        console.print(_beside(problem, problem.sibling))
    if problem.steps:
        console.print(_steps(problem))
    elif problem.solution:
        console.print(Text(f"\n{visible(problem.solution)}"))


def changes(one: str, other: str) -> tuple["Text", "Text"]:
    """Both texts with the words marked in which they differ."""
    from rich.text import Text

    words, other_words = (_WORD.findall(visible(text)) for text in (one, other))
    texts = Text(), Text()
    for kind, start, end, *behind in SequenceMatcher(None, words, other_words, autojunk=False).get_opcodes():
        pieces = "".join(words[start:end]), "".join(other_words[slice(*behind)])
        for text, piece in zip(texts, pieces, strict=True):
            if piece:
                text.append(piece if kind == "equal" else f"«{piece}»", style="" if kind == "equal" else "bold yellow")
    return texts


def _beside(problem: Problem, sibling: Problem) -> "Table":
    rows = table("", "Problem", "Sibling")
    rows.add_row("question", *changes(problem.question, sibling.question))
    rows.add_row("answer", *changes(problem.answer, sibling.answer))
    return rows


def _steps(problem: Problem) -> "Table":
    """One row a step; columns that would be empty are left out."""
    from rich.text import Text

    other = problem.sibling.steps if problem.sibling else ()
    columns = {
        "Sub-question": [step.question for step in problem.steps],
        "Solution": [step.text for step in problem.steps],
        "Skill": [step.skill for step in problem.steps],
        "Work": [step.work for step in problem.steps],
        "Sibling's work": [step.work for step in other],
    }
    shown = {name: texts for name, texts in columns.items() if any(texts)}
    rows = table("Step", *shown)
    for index in range(len(problem.steps)):
        cells = (texts[index] if index < len(texts) else "" for texts in shown.values())
        rows.add_row(str(index + 1), *(Text(visible(cell)) for cell in cells))
    return rows
