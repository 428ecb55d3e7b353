"""`diotima learner read`: what the simulated learner reads in one turn of a tutor, and what that does to it.

The learner is a model of our own making, so anyone who trusts a figure should be able to look into it: which words
were taken for the step and the concept, which results were told, and how P(learn) and the mastery of each skill moved.

    diotima learner read 'Look at step 2. Which operation do we use when some go away?'
    diotima learner read 'The answer is 60.' --problems problems/test.jsonl --problem 7
"""

import asyncio
from typing import TYPE_CHECKING

from diotima.classroom.learner import Learner, Reaction
from diotima.classroom.reading import Reading
from diotima.classroom.work import components, lines_shown, wrong_steps
from diotima.dialogue import TUTOR, Dialogue, Turn
from diotima.problems.list_command import table, visible
from diotima.problems.problem import Problem, Step
from diotima.problems.source import Source, SourceSettings
from diotima.settings import Settings as BaseSettings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Chance hangs on the id: with this one the default learner lacks the second step's skill only, and has average luck.
EXAMPLE = Problem(
    "example-19",
    "Ada has 17 beads. Then Ada receives 57 beads. Ben has 14 fewer beads than Ada. Ben shares the beads equally among "
    "5 boxes and keeps one box. How many beads does Ben have in the end?",
    "12",
    steps=(
        Step("How many beads does Ada have after getting 57 new ones?", "17 + 57 = 74", "74", "gain"),
        Step("How many beads does Ben have?", "74 - 14 = 60", "60", "fewer"),
        Step("How many beads does Ben keep?", "60 / 5 = 12", "12", "share"),
    ),
)


class Settings(BaseSettings):
    """What is said to whom."""

    text: str
    """What the tutor says."""
    problems: Source | None = None
    """A set of problems: a file, a folder or hf:NAME; by default a small example is used."""
    split: str = "train"
    """Which split to take, if problems is a folder, or an hf:NAME without @SPLIT."""
    columns: dict[str, str] = {}
    """Which column stands for what: --columns.question NAME --columns.answer NAME."""
    problem: str = "1"
    """The problem's id, or its number, counted from 1."""
    learner_seed: int = 0
    """Seed of the simulated learner: which skills it lacks, and how its chances fall."""


def run(settings: Settings) -> None:
    """Print the problem, the student's attempt, what was read in the turn, and how mastery moved."""
    from rich.console import Console

    problem, student = _problem(settings), Learner(settings.learner_seed)
    opening = Dialogue(problem)
    opening = opening.then(asyncio.run(student.speak(opening)))
    reaction = next(iter(student.reactions(opening.then(Turn(TUTOR, settings.text)))))
    console = Console(highlight=False)
    _print_problem(console, problem, opening.turns[0].text)
    _heading(console, "The tutor")
    console.print(visible(settings.text), markup=False)
    _heading(console, "Read in it")
    console.print(_readings(reaction.reading))
    _heading(console, "Mastery")
    console.print(_mastery(problem, student, reaction))
    console.print(_conclusion(problem, reaction))


def _problem(settings: Settings) -> Problem:
    if settings.problems is None:
        return EXAMPLE
    given = settings.model_dump(include={"problems", "split", "columns"}, exclude_unset=True)
    return SourceSettings(**given).one(settings.problem)


def _heading(console: "Console", text: str) -> None:
    console.print()
    console.print(text, style="bold cyan")


def _print_problem(console: "Console", problem: Problem, attempt: str) -> None:
    _heading(console, "The problem")
    console.print(visible(problem.question), markup=False)
    _heading(console, "The student's attempt")
    shown, wrong = lines_shown(attempt), wrong_steps(attempt, problem) or frozenset()
    rows = table("Step", "Skill", "Solution", "Student", "")
    for index, (step, skill) in enumerate(zip(problem.steps, components(problem), strict=True)):
        line = str(shown.get(index, "nothing"))
        verdict = "[red]goes wrong here[/]" if index in wrong else "[green]right[/]"
        if index not in wrong and line != step.work:
            verdict = "[yellow]right, on a wrong amount[/]"
        rows.add_row(str(index + 1), *map(_unstyled, (skill, step.work, line)), verdict)
    console.print(rows)


def _readings(reading: Reading) -> "Table":
    rows = table("", "", header=False)
    rows.add_row("step", "none" if reading.step is None else str(reading.step + 1))
    rows.add_row("concept", _unstyled(reading.skill) or "none")
    rows.add_row("asks", "yes" if reading.asks else "no")
    rows.add_row("told", ", ".join(f"the result of step {index + 1}" for index in sorted(reading.told)) or "nothing")
    rows.add_row("words", str(reading.words))
    return rows


def _mastery(problem: Problem, student: Learner, reaction: Reaction) -> "Table":
    gaps = student.gaps(problem)
    rows = table("Skill", "P(learn)", "Before", "After")
    for skill in dict.fromkeys(components(problem)):
        before, after = skill not in gaps, skill in reaction.mastered
        learning = f"{reaction.learning:.2f}" if skill == reaction.skill and not before else "-"
        style = "green" if after and not before else "red" if before and not after else ""
        rows.add_row(_unstyled(skill), learning, _word(before), _word(after), style=style)
    return rows


def _conclusion(problem: Problem, reaction: Reaction) -> str:
    skill = _unstyled(reaction.skill)
    if len(problem.steps) - 1 in reaction.reading.told:
        return "The answer is given away: it will be copied on this problem, and nothing was learned."
    if reaction.learned:
        return f"The student has learned [bold]{skill}[/]."
    if reaction.forgot:
        return f"Step and concept contradict each other: the student is confused about [bold]{skill}[/]."
    if reaction.skill is None:
        return "Nothing in this turn bears on a skill; nothing was learned."
    if reaction.learning:
        return f"The student might have learned {skill}, but has not this time."
    return f"The turn bears on {skill}, and nothing was learned from it."


def _unstyled(text: str | None) -> str:
    """A stranger's text, whose brackets are no style for rich; "" for none."""
    from rich.markup import escape

    return escape(visible(text or ""))


def _word(mastered: bool) -> str:
    return "mastered" if mastered else "not mastered"
