"""A student's written work: how it is put on the page, and how a teacher reads where it went wrong.

Work is one line per step and an answer::

    Line 1: 17 + 57 = 74
    Line 2: 74 + 14 = 88
    My answer is 88.

A right operation on a wrong amount is an error carried forward, not a new one; so it matters which number of a step
is the result of an earlier step. In a step with a named skill it is the first number; in a solution from elsewhere
every number that equals an earlier result and is not given in the question.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from diotima.problems.arithmetic import (
    Calculation,
    Expression,
    Value,
    agrees,
    evaluate,
    operands,
    read_calculation,
    read_work,
    whole,
    with_operands,
)
from diotima.problems.numbers import find_numbers
from diotima.problems.problem import Problem
from diotima.problems.skills import SKILLS, carry_out

_LINE = re.compile(r"^Line (\d{1,4}): (.+)$", re.MULTILINE)


def write_work(lines: list[Calculation]) -> str:
    """The lines of a student's work and the answer below."""
    written = [f"Line {index}: {line}" for index, line in enumerate(lines, 1)]
    return "\n".join([*written, f"My answer is {str(lines[-1]).rpartition('= ')[2]}."])


def lines_shown(text: str) -> dict[int, Calculation]:
    """The readable lines of written work: index of the step (from 0) to what stands there."""
    lines = ((int(number) - 1, read_work(line)) for number, line in _LINE.findall(text))
    return {index: line for index, line in lines if line is not None}


@dataclass(frozen=True, slots=True)
class Planned:
    """A step as a student meets it.

    ``expression`` and ``result``: its calculation. ``numbers``: those of the expression; ``earlier``: for each of them
    the earlier step whose result it is, or None. ``skill``: its named skill or "". ``component``: the knowledge
    component, which is the skill or, for want of one, the step itself ("step 2"): a sibling has the same steps in the
    same places, so what was learned about a step's idea serves there too.
    """

    expression: Expression
    result: Value
    numbers: tuple[Value, ...]
    earlier: tuple[int | None, ...]
    skill: str
    component: str

    def asked(self, own: Mapping[int, Value]) -> Expression:
        """The expression with the student's own earlier results in the place of the right ones."""
        for number, index in zip(self.numbers, self.earlier, strict=True):
            if index is not None and own.get(index, number) != number:
                break
        else:
            return self.expression
        mine = (n if k is None else own.get(k, n) for n, k in zip(self.numbers, self.earlier, strict=True))
        return with_operands(self.expression, mine)


@lru_cache(maxsize=2048)
def plan(problem: Problem) -> tuple[Planned, ...] | None:
    """The way through a problem, or None if it has no steps or the calculation of one cannot be read."""
    read = [read_work(step.work) for step in problem.steps]
    steps = [step for step in read if step is not None]
    if not steps or len(steps) < len(read):
        return None
    given = {whole(number.value) for number in find_numbers(problem.question)}
    planned = []
    for index, (step, reference) in enumerate(zip(problem.steps, steps, strict=True)):
        results = [earlier.result for earlier in steps[:index]]
        numbers = list(operands(reference.expression))
        earlier = _first_only(numbers, results) if step.skill in SKILLS else _earlier(numbers, results, given)
        name = step.skill or f"step {index + 1}"
        planned.append(Planned(reference.expression, reference.result, tuple(numbers), earlier, step.skill, name))
    return tuple(planned)


@lru_cache(maxsize=2048)
def components(problem: Problem) -> tuple[str, ...]:
    """The knowledge component of every step, see `Planned`."""
    return tuple(step.skill or f"step {index}" for index, step in enumerate(problem.steps, 1))


def _first_only(numbers: list[Value], results: list[Value]) -> tuple[int | None, ...]:
    continues = bool(results) and numbers[0] == results[-1]
    return (len(results) - 1 if continues else None, *(None for _ in numbers[1:]))


def _earlier(numbers: list[Value], results: list[Value], given: Collection[Value]) -> tuple[int | None, ...]:
    linked: list[int | None] = []
    for position, number in enumerate(numbers):
        found = [index for index, result in enumerate(results) if result == number and index not in linked]
        follows = bool(found) and position == 0 and found[-1] == len(results) - 1
        linked.append(found[-1] if found and (follows or number not in given) else None)
    return tuple(linked)


def wrong_steps(text: str, problem: Problem) -> frozenset[int] | None:
    """The indices of the steps at which written work goes wrong by itself, or None if the text shows no work.

    A right operation on a wrong amount is an error carried forward and does not count; a line left out does. Work in
    free text has no numbered lines; if there is any calculation in it, the steps whose results it does not name count.
    """
    shown = {index: line.result for index, line in lines_shown(text).items()}
    steps = plan(problem)
    if steps is None or not (shown or read_calculation(text)):
        return None
    if not shown:
        named = {number.value for number in find_numbers(text)}
        return frozenset(index for index, step in enumerate(steps) if step.result not in named)
    return frozenset(
        index for index, step in enumerate(steps) if index not in shown or not _right(step, shown, shown[index])
    )


def _right(step: Planned, shown: Mapping[int, Value], written: Value) -> bool:
    expression = step.asked(shown)
    if expression is step.expression and (written == step.result or step.skill in SKILLS):
        return written == step.result
    if step.skill in SKILLS:
        return carry_out(expression, step.skill) == written
    value = evaluate(expression)
    return value is not None and agrees(value, written)
