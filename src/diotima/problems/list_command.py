"""`diotima problems list`: what a set of problems holds, before anything is spent on it.

    diotima problems list problems/test.jsonl
    diotima problems list hf:openai/gsm8k:main@test --json

Siblings are made for all of them on the way, which takes a few seconds for thousands of problems.
"""

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import NonNegativeInt

from diotima.problems.files import with_siblings
from diotima.problems.numbers import parse_number
from diotima.problems.problem import Problem
from diotima.problems.siblings import count_siblings
from diotima.problems.solutions import executable
from diotima.problems.source import SourceSettings

if TYPE_CHECKING:
    from rich.table import Table

_CHOICE = re.compile(r"\(?[A-E]\)?\.?")


class Settings(SourceSettings):
    """What is listed."""

    most: NonNegativeInt = 10
    """How many problems to show one by one."""


def run(settings: Settings) -> dict[str, Any]:
    """Print the figures and the first problems; returns the figures."""
    from rich.console import Console

    found = settings.read()
    problems = with_siblings(found.problems)
    counted = {"rows": found.rows, **figures(problems)}
    console = Console(highlight=False)
    console.print(_figures_table(counted))
    if settings.most:
        console.print(_problems_table(problems[: settings.most]))
    return counted


def figures(problems: Sequence[Problem]) -> dict[str, Any]:
    """Counts over problems: how many there are, by source and by kind of answer; words and characters of questions."""
    words = [len(problem.question.split()) for problem in problems]
    return {
        "problems": len(problems),
        "sources": dict(Counter(problem.source or "unnamed" for problem in problems).most_common()),
        "with_steps": sum(bool(problem.steps) for problem in problems),
        "executable": sum(map(executable, problems)),
        "with_sibling": sum(problem.sibling is not None for problem in problems),
        "no_sibling_because": dict(count_siblings(p for p in problems if p.sibling is None).most_common()),
        "answers": dict(Counter(answer_kind(problem.answer) for problem in problems).most_common()),
        "median_words": median(words),
        "most_words": max(words),
    }


def answer_kind(answer: str) -> str:
    """``choice`` for the letter of an option, ``number``, or ``text`` for anything else."""
    if _CHOICE.fullmatch(answer):
        return "choice"
    return "text" if parse_number(answer) is None else "number"


def visible(text: str) -> str:
    """A stranger's text as it may be sent to a terminal: without control characters."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def table(*columns: str, header: bool = True) -> "Table":
    """An empty table in the style of all commands."""
    from rich import box
    from rich.table import Table

    rows = Table(show_header=header, box=box.SIMPLE_HEAD if header else None, pad_edge=False)
    for column in columns:
        rows.add_column(column, overflow="fold")
    return rows


def _figures_table(counted: dict[str, Any]) -> "Table":
    rows = table("", "", header=False)
    total = counted["problems"]
    rows.add_row("problems", f"{total:,}" if total == counted["rows"] else f"{total:,}, in {counted['rows']:,} rows")
    rows.add_row("from", visible(", ".join(f"{name} {count:,}" for name, count in counted["sources"].items())))
    for label, key in (("with steps", "with_steps"), ("executable", "executable"), ("with sibling", "with_sibling")):
        rows.add_row(label, f"{counted[key]:,} ({counted[key] / total:.1%})")
    for reason, count in counted["no_sibling_because"].items():
        rows.add_row("", f"{count:,} have none: {reason}")
    rows.add_row("answers", ", ".join(f"{name} {count:,}" for name, count in counted["answers"].items()))
    rows.add_row("words", f"{counted['median_words']:g} in the median question, {counted['most_words']:,} at most")
    return rows


def _problems_table(problems: Sequence[Problem]) -> "Table":
    from rich.text import Text

    rows = table("", "Id", "Steps", "Sibling", "Answer", "Question")
    for column in rows.columns[:-1]:
        column.no_wrap = True
    for number, problem in enumerate(problems, 1):
        sibling = "yes" if problem.sibling else "no"
        texts = (_short(problem.id, 32), str(len(problem.steps)), sibling, _short(problem.answer, 20))
        rows.add_row(
            str(number), *map(Text, texts), Text(_short(problem.question, 200), no_wrap=True, overflow="ellipsis")
        )
    return rows


def _short(text: str, longest: int) -> str:
    line = visible(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"
