"""A student's written work: how it is put on the page, and how a teacher reads where it went wrong.

Work is one line per step and an answer::

    Line 1: 17 + 57 = 74
    Line 2: 74 + 14 = 88
    My answer is 88.
"""

import re

from diotima.problems.arithmetic import Calculation, read_calculation
from diotima.problems.problem import Problem, Step
from diotima.problems.skills import calculate

_LINE = re.compile(r"^Line (\d+): (.+)$", re.MULTILINE)


def write_work(lines: list[Calculation]) -> str:
    """The lines of a student's work and the answer below."""
    written = [f"Line {index}: {line}" for index, line in enumerate(lines, 1)]
    return "\n".join([*written, f"My answer is {lines[-1].result}."])


def lines_shown(text: str) -> dict[int, Calculation]:
    """The readable lines of written work: index of the step (from 0) to what stands there."""
    lines = ((int(number) - 1, read_calculation(line)) for number, line in _LINE.findall(text))
    return {index: line for index, line in lines if line is not None}


def operands(step: Step, before: Step | None, own_result: int | None) -> tuple[int, str, int] | None:
    """The step's operands as the student meets them, its own earlier result standing for the right one.

    None if the step's work is not a plain calculation.
    """
    right = read_calculation(step.work)
    if right is None:
        return None
    continues = before is not None and own_result is not None and before.result == str(right.left)
    return (own_result if continues and own_result is not None else right.left), right.operator, right.right


def wrong_steps(text: str, problem: Problem) -> frozenset[int] | None:
    """The indices of the steps at which written work goes wrong by itself, or None if the text shows no work.

    A right operation on a wrong amount is an error carried forward and does not count; a line left out does.
    """
    shown = {index: line.result for index, line in lines_shown(text).items()}
    if not shown:
        return None
    wrong = set()
    before: Step | None = None
    for index, step in enumerate(problem.steps):
        asked = operands(step, before, shown.get(index - 1))
        if index not in shown or (asked and shown[index] != calculate(*asked)):
            wrong.add(index)
        before = step
    return frozenset(wrong)
