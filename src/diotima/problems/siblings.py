"""Siblings of real problems: the same story with other numbers, its steps carried out again.

A sibling is made from the solution's own steps. Every operand is traced to where it may come from (`tracing`), givens
are changed (`givens`), and the steps are carried out with exact numbers. What makes it trustworthy is one rule:

    What was equal is equal, what was different is different, and where the story can compare, less is less.

All readings of an operand come to the same, so nobody has to know which one is meant. The numbers of the question,
the results and the constants stay as equal or different as they were. And results among each other, givens of one
kind among each other, and whatever stands in one sum or difference keep their order: nothing is taken from where it is
not, no threshold is passed, the cheaper offer stays the cheaper one. Where a question leaves no room for that, there
is no sibling: the exam says so, and no student is ever marked by a doubtful answer.

The givens are changed one after the other, each to the first of its choices that keeps the rule, in an order drawn
from the problem's id; where none can change alone (48 shared by 3), two are tried together. The search is short and
always comes to the same.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import combinations, pairwise, product

from diotima.problems.arithmetic import (
    Calculation,
    Expression,
    Operation,
    Value,
    evaluate,
    read_calculation,
    whole,
    with_operands,
    write_number,
)
from diotima.problems.givens import Givens, read_givens
from diotima.problems.meanings import MONEY
from diotima.problems.numbers import find_numbers, parse_number
from diotima.problems.problem import Problem, Step
from diotima.problems.tracing import Reading, must_stay, trace, unused_values

SIBLING = "a sibling"

_ROUNDS = 2
_TRIES = 24
_PAIRS = 6
_FARTHEST = Fraction(4)
_FARTHEST_IN_AGES = Fraction(4, 3)
_OLDEST = 100
_AGES = re.compile(r"\bage[ds]?\b|\byears?[ -]old(?:er)?\b|\bolder\b|\byounger\b|\bas old as\b", re.IGNORECASE)

_SUPERLATIVE = re.compile(r"\b(?:\w{2,}est|most|least|worst|better|more expensive|cheaper)\b", re.IGNORECASE)

Changes = Mapping[Value, Value]
"""From values of the question to the values that take their place."""


def sibling_of(problem: Problem) -> Problem | None:
    """The same story with other numbers, or None where that cannot be done without doubt.

    Its steps have neither sub-questions nor sentences, since only numbers are rewritten here.
    """
    sibling = sibling_or_reason(problem)
    return sibling if isinstance(sibling, Problem) else None


def sibling_or_reason(problem: Problem) -> Problem | str:
    """The sibling, or why there is none, in words that are the same for all problems of one kind."""
    try:
        return _sibling(problem)
    except _NoSiblingError as reason:
        return str(reason)


def count_siblings(problems: Iterable[Problem]) -> Counter[str]:
    """How many problems get a sibling (`SIBLING`), and how many get none, by reason."""
    made = map(sibling_or_reason, problems)
    return Counter(SIBLING if isinstance(sibling, Problem) else sibling for sibling in made)


class _NoSiblingError(Exception):
    """Its message is the reason."""


def _sibling(problem: Problem) -> Problem:
    story = _Story.of(_calculations(problem), read_givens(problem.question))
    changes = _changes(story, problem.id)
    results = story.results(changes)
    if results is None or not changes:
        raise _NoSiblingError("no other numbers keep what is equal, different and less")
    calculations = [
        Calculation(with_operands(old.expression, iter(story.operands(step, changes, results))), result)
        for step, (old, result) in enumerate(zip(story.calculations, results, strict=True))
    ]
    question = story.givens.restated(changes)
    steps = tuple(
        Step("", str(calculation), write_number(calculation.result), step.skill)
        for step, calculation in zip(problem.steps, calculations, strict=True)
    )
    told = [changes.get(value, value) for value in story.givens.values]
    if [whole(number.value) for number in find_numbers(question)] != told:
        raise _NoSiblingError("the question cannot be written anew")
    if [read_calculation(step.work) for step in steps] != calculations:
        raise _NoSiblingError("a step cannot be written exactly")
    return Problem(
        id=f"{problem.id}-sibling",
        question=question,
        answer=steps[-1].result,
        solution="\n".join(step.work for step in steps),
        steps=steps,
        source=problem.source,
    )


def _calculations(problem: Problem) -> list[Calculation]:
    if not problem.steps:
        raise _NoSiblingError("there are no steps")
    read = [read_calculation(step.work) for step in problem.steps]
    calculations = [calculation for calculation in read if calculation and calculation.operator]
    if len(calculations) < len(read):
        raise _NoSiblingError("a step has no calculation")
    if any(evaluate(calculation.expression) != calculation.result for calculation in calculations):
        raise _NoSiblingError("a step does not hold exactly")
    if any(_meets_itself(calculation.expression) for calculation in calculations):
        raise _NoSiblingError("a number is divided by its like or taken from it")
    if parse_number(problem.answer) != calculations[-1].result:
        raise _NoSiblingError("the last result is not the answer")
    return calculations


@dataclass(frozen=True, slots=True)
class _Story:
    """A problem, ready for other numbers.

    ``readings``: for each step, for each operand, where it may come from. ``free``: the values that may change, and
    to what. ``standing``: the numbers of the question and the constants of the steps. ``ladders``: what has to keep
    its order, in that order; equal numbers stand on one rung. ``parts_of_wholes``: numbers whose sum is told as well.
    """

    calculations: Sequence[Calculation]
    givens: Givens
    readings: Sequence[Sequence[tuple[Reading, ...]]]
    free: Mapping[Value, tuple[Value, ...]]
    standing: frozenset[Value]
    ladders: Sequence[Sequence[Sequence[Reading]]]
    parts_of_wholes: Sequence[tuple[Value, ...]]
    of_ages: bool
    of_money: bool

    @classmethod
    def of(cls, calculations: Sequence[Calculation], givens: Givens) -> "_Story":
        readings = trace(calculations, givens)
        every = [some for step in readings for some in step]
        if not all(every):
            raise _NoSiblingError("an operand stands nowhere")
        if unused_values(givens, readings) - {0, 1}:
            raise _NoSiblingError("a number of the question is in no step")
        used = {reading.key for some in every for reading in some if reading.source == "result"}
        if not used.issuperset(range(len(calculations) - 1)):
            # Such as a number of times: the steps that do it so often are not told apart from it.
            raise _NoSiblingError("a result is in no later step")
        stay = must_stay(calculations, givens, readings)
        free = {value: choices for value, choices in givens.choices.items() if value not in stay}
        if not free:
            raise _NoSiblingError("no number of the question may change")
        constants = {reading.key for some in every for reading in some if reading.source == "constant"}
        results = [calculation.result for calculation in calculations]
        comparable = _comparable(calculations, givens, readings)
        return cls(
            calculations,
            givens,
            readings,
            free,
            frozenset({*givens.values, *constants}),
            [ladder for group in comparable if len(ladder := _ladder(group, results)) > 1],
            _parts_of_wholes(givens.values),
            _AGES.search(givens.question) is not None,
            MONEY in givens.kinds,
        )

    def operands(self, step: int, changes: Changes, results: Sequence[Value]) -> list[Value]:
        """The operands of a step; none at all if the readings of one do not come to the same."""
        values = [{reading.value(changes, results) for reading in some} for some in self.readings[step]]
        return [value for (value,) in values] if all(len(some) == 1 for some in values) else []

    def results(self, changes: Changes) -> list[Value] | None:
        """The results of all steps, or None if one is not of the kind it was or the rule is broken."""
        results: list[Value] = []
        for step, calculation in enumerate(self.calculations):
            operands = self.operands(step, changes, results)
            result = evaluate(with_operands(calculation.expression, iter(operands))) if operands else None
            if result is None or not self._of_the_kind(calculation.result, result):
                return None
            results.append(result)
        changed = results[-1] != self.calculations[-1].result
        return results if changed and self._keeps_the_rule(changes, results) else None

    def _of_the_kind(self, old: Value, new: Value) -> bool:
        """Whether a result is as whole, as positive and about as large as it was; of money there may be cents."""
        if old in (0, 1) or new in (0, 1):
            return old == new
        places = _decimal_places(old)
        if _decimal_places(new) > (max(places, 2) if places and self.of_money else places):
            return False
        if self.of_ages and old <= _OLDEST < new:
            return False
        farthest = _FARTHEST_IN_AGES if self.of_ages else _FARTHEST
        return 1 / farthest <= Fraction(new) / Fraction(old) <= farthest

    def _keeps_the_rule(self, changes: Changes, results: Sequence[Value]) -> bool:
        new = {value: changes.get(value, value) for value in self.standing}
        standing = set(new.values())
        if len(standing) < len(new):
            return False
        for calculation, result in zip(self.calculations, results, strict=True):
            if new[calculation.result] != result if calculation.result in new else result in standing:
                return False
        for ladder in self.ladders:
            rungs = [[Fraction(reading.value(changes, results)) for reading in rung] for rung in ladder]
            if any(max(lower) >= min(upper) for lower, upper in pairwise(rungs)):
                return False
        return self._parts_and_wholes_agree(changes)

    def _parts_and_wholes_agree(self, changes: Changes) -> bool:
        """Whether per cents of a whole still are, and what is told twice."""
        told = self.givens.values
        per_cents = [value for value in told if value in self.givens.per_cents]
        before, after = sum(per_cents), sum(changes.get(value, value) for value in per_cents)
        if before <= 100 and (after > 100 or (before == 100) != (after == 100)):
            return False
        return all(
            sum(changes.get(part, part) for part in parts) == changes.get(sum(parts), sum(parts))
            for parts in self.parts_of_wholes
        )


def _changes(story: _Story, seed: str) -> dict[Value, Value]:
    """New values for as many givens as can be; where none can change alone, two may be able to together."""
    order = sorted(story.free, key=partial(_draw, seed))
    choices = {value: sorted(story.free[value], key=partial(_draw, seed, value))[:_TRIES] for value in order}
    return _one_by_one(story, choices, {}) or _one_by_one(story, choices, _two_together(story, choices))


def _one_by_one(story: _Story, choices: Mapping[Value, Sequence[Value]], changes: Changes) -> dict[Value, Value]:
    found = dict(changes)
    for value in list(choices) * _ROUNDS:
        for choice in choices[value] if value not in found else ():
            if story.results(found | {value: choice}) is not None:
                found[value] = choice
                break
    return found


def _two_together(story: _Story, choices: Mapping[Value, Sequence[Value]]) -> Changes:
    for one, other in list(combinations(choices, 2))[:_PAIRS]:
        for first, second in product(choices[one][:_PAIRS], choices[other][:_PAIRS]):
            if story.results({one: first, other: second}) is not None:
                return {one: first, other: second}
    return {}


def _draw(*parts: object) -> bytes:
    return hashlib.sha256("|".join(map(str, parts)).encode()).digest()


def _comparable(
    calculations: Sequence[Calculation], givens: Givens, readings: Sequence[Sequence[tuple[Reading, ...]]]
) -> list[set[Reading]]:
    """Groups of numbers of which the story may say, or take for granted, which is less."""
    results = {Reading("result", step) for step in range(len(calculations))}
    if _SUPERLATIVE.search(givens.question):
        # What is the most may be a result or told.
        results |= {Reading("given", value) for value in givens.values if value not in givens.per_cents}
    groups = [results]
    groups += [{Reading("given", value) for value in kind} for kind in givens.kinds.values()]
    for step, calculation in enumerate(calculations):
        group = {reading for some in readings[step] for reading in some if reading.form == "itself"}
        if _has(calculation.expression, "+-"):
            groups.append(group | {Reading("result", step)})
        elif _has(calculation.expression, "/"):
            groups.append(group)
    return groups


def _parts_of_wholes(told: Sequence[Value]) -> list[tuple[Value, ...]]:
    """Two or three of the numbers whose sum is told as well: 7 boys and 5 girls, 12 children."""
    counted = [value for value in told if value > 1]
    groups = {tuple(sorted(group)) for size in (2, 3) for group in combinations(counted, size)}
    return [group for group in groups if sum(group) in counted]


def _ladder(group: Iterable[Reading], results: Sequence[Value]) -> list[list[Reading]]:
    """Readings from the least to the greatest of the original, those of one value together."""
    rungs: dict[Value, list[Reading]] = {}
    for reading in group:
        rungs.setdefault(reading.value({}, results), []).append(reading)
    return [rungs[value] for value in sorted(rungs)]


def _has(expression: Expression, operators: str) -> bool:
    return isinstance(expression, Operation) and (
        expression.operator in operators or _has(expression.left, operators) or _has(expression.right, operators)
    )


def _meets_itself(expression: Expression) -> bool:
    """Whether a number is divided by its like or taken from it: one of the two must be another that is not told."""
    return isinstance(expression, Operation) and (
        (expression.operator in "-/" and evaluate(expression.left) == evaluate(expression.right))
        or _meets_itself(expression.left)
        or _meets_itself(expression.right)
    )


def _decimal_places(value: Value) -> int:
    """How many decimal places a value needs; 7 for all that need more than 6."""
    return next((places for places in range(7) if (value * 10**places).denominator == 1), 7)
