"""What a listener takes from one turn of a tutor: the step and the concept it names, and the results it tells.

One reader serves the simulated learner (what does it learn from the turn?) and the measure of diagnosis (did the turn
address a step that the student got wrong?). Where a problem's steps have skills with a lexicon (see `problems.skills`)
the concept is read with that; elsewhere a step's idea is named by the step's own words (see `wording`). Only the first
step and the first concept are taken in: whoever names everything names nothing, or training finds that listing every
hint pays.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from diotima.classroom.wording import step_meant
from diotima.classroom.work import components, lines_shown
from diotima.dialogue import TUTOR, Dialogue
from diotima.problems.arithmetic import Calculation, Value, parse_value
from diotima.problems.numbers import find_numbers
from diotima.problems.problem import Problem
from diotima.problems.skills import SKILLS, first_skill_named

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "last": -1}
_STEP = re.compile(
    rf"\b(?:step|line)\s+#?(?P<number>\d{{1,3}})\b|\b(?P<ordinal>{'|'.join(_ORDINALS)})\s+(?:step|line)\b",
    re.IGNORECASE,
)

# Many a teacher leaves the question mark out, and "try to explain how you got there" asks as well.
_OPENING = r"(?:^|[.!,;:\n]\s{0,9}|\b(?:so|and|but|ok|okay|now|well|then|great|good|yes|no|please|right)\s+)"
_ASKS = re.compile(
    rf"\?|{_OPENING}(?:(?:what|how|why|which|where|who)\b"
    r"|(?:can|could|do|did|does|would|will|is|are|should|have)\s+(?:you|we|he|she|they|it|i)\b"
    r"|(?:tell|show|explain|describe|try|check|think|re-?read|read|look|have\s+an?\w*\s+(?:look|go|think|try)|work\s+out"
    r"|consider|remember|focus|let['’]?s)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a turn.

    ``step``: index of the first step named, from 0, or None. ``skill``: the knowledge component whose concept is named
    first, or None. ``asks``: whether it asks anything; in free text also whether it bids the student do something.
    ``told``: indices of the steps whose result the turn states although the student had not worked it out. ``words``:
    its length.
    """

    step: int | None
    skill: str | None
    asks: bool
    told: frozenset[int]
    words: int


def read_dialogue(dialogue: Dialogue) -> Iterator[tuple[int, Reading]]:
    """Read every tutor turn of a lesson, with what went before it; yields the turn's index too."""
    known: set[Value] = set()
    shown: dict[int, Calculation] = {}
    topic: int | None = None
    for index, turn in enumerate(dialogue.turns):
        if turn.speaker == TUTOR:
            reading = read_turn(turn.text, dialogue.problem, known, shown, topic)
            topic = reading.step
            yield index, reading
        else:
            shown = lines_shown(turn.text)
            known.update(line.result for line in shown.values())


def read_turn(
    text: str,
    problem: Problem,
    known: Collection[Value] = (),
    shown: Mapping[int, Calculation] | None = None,
    topic: int | None = None,
) -> Reading:
    """Read one turn of a tutor about ``problem``.

    ``known``: the results that the student has already worked out. ``shown``: the lines of the student's latest work.
    ``topic``: the step that was talked about last; a turn in free text that singles out no other step goes on with it.
    """
    named = components(problem)
    step = _step_named(text, len(problem.steps))
    if has_lexicon(problem):
        asks, skill = "?" in text, first_skill_named(text)
    else:
        asks = bool(_ASKS.search(text))
        meant = step_meant(text, problem, shown)
        if meant is None and step is None:
            meant = topic
        skill = None if meant is None else named[meant]
        step = meant if step is None else step
    return Reading(step, skill, asks, _told(text, problem, known), len(text.split()))


def has_lexicon(problem: Problem) -> bool:
    """Whether the concepts of this problem's steps are known by their words."""
    return any(step.skill in SKILLS for step in problem.steps)


def _step_named(text: str, steps: int) -> int | None:
    found = _STEP.search(text)
    if not found:
        return None
    number = int(found["number"]) if found["number"] else _ORDINALS[found["ordinal"].lower()]
    index = number - 1 if number > 0 else steps + number
    return index if 0 <= index < steps else None


def _told(text: str, problem: Problem, known: Collection[Value]) -> frozenset[int]:
    values = {number.value for number in find_numbers(text, labels=False)}
    if not values:
        return frozenset()
    results = ((index, parse_value(step.result)) for index, step in enumerate(problem.steps))
    told = {index for index, result in results if result in values and result not in known}
    if told and not has_lexicon(problem):
        # Stories from elsewhere give many numbers, and to mention one of them tells nothing.
        given = {number.value for number in find_numbers(problem.question)}
        told = {index for index in told if parse_value(problem.steps[index].result) not in given}
    return frozenset(told)
