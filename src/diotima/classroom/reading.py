"""What a listener takes from one turn of a tutor: the step and the concept it names, and the results it tells.

One reader serves the simulated learner (what does it learn from the turn?) and the measure of diagnosis (did the turn
address a step that the student got wrong?). It reads with a lexicon, see `problems.skills`, and takes in the first
step and the first concept only: whoever names everything names nothing, or training finds that listing every hint pays.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from diotima.problems.numbers import find_numbers
from diotima.problems.problem import Problem
from diotima.problems.skills import first_skill_named

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "last": -1}
_STEP = re.compile(
    rf"\b(?:step|line)\s+#?(?P<number>\d{{1,3}})\b|\b(?P<ordinal>{'|'.join(_ORDINALS)})\s+(?:step|line)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a turn.

    ``step``: index of the first step named, from 0, or None. ``skill``: name of the first concept named, or None.
    ``asks``: whether it asks anything. ``told``: indices of the steps whose result the turn states although the
    student had not worked it out. ``words``: its length.
    """

    step: int | None
    skill: str | None
    asks: bool
    told: frozenset[int]
    words: int


def read_turn(text: str, problem: Problem, known: Collection[int] = ()) -> Reading:
    """Read a tutor's turn about ``problem``; ``known`` are the results that the student has already worked out."""
    return Reading(
        step=_step_named(text, len(problem.steps)),
        skill=first_skill_named(text),
        asks="?" in text,
        told=_told(text, problem, known),
        words=len(text.split()),
    )


def _step_named(text: str, steps: int) -> int | None:
    found = _STEP.search(text)
    if not found:
        return None
    number = int(found["number"]) if found["number"] else _ORDINALS[found["ordinal"].lower()]
    index = number - 1 if number > 0 else steps + number
    return index if 0 <= index < steps else None


def _told(text: str, problem: Problem, known: Collection[int]) -> frozenset[int]:
    values = {number.value for number in find_numbers(text, labels=False)}
    if not values:
        return frozenset()
    results = ((index, int(step.result)) for index, step in enumerate(problem.steps) if step.result.isdecimal())
    return frozenset(index for index, result in results if result in values and result not in known)
