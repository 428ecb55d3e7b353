"""A judge that is a program: EULER's four questions about a tutor's turn, answered from the problem's own steps.

It is no person's opinion, and nobody's model of one. It reads which step a turn is about with the learner's own reader
(`reading`), and what the turn gives away with the leak meter; so it judges word problems with steps, the sandbox's most
of all, the same way every time and at no cost. There it takes a judge's place in recipes and tests, where what it
rewards is known: a question about a step that the student has not got, which leaves the work to the student. Trained
towards it, a tutor learns to please a reader; whether students learn from that, their exams say.

- ``questions``: yes if there is a question mark in the turn.
- ``reveal_answer``: yes if the leak meter finds the final answer given away.
- ``on_topic``: 5 for a turn that names a step of the problem, 3 for one that names only the concept of a step, else 1.
- ``helpful``: 1 for a turn that tells a result which the student has not; else 2, and one more for each of these: it
  names a step that the student has wrong or has not done; it names such a step's concept; it does so as a question.

Where the student has every step right, to ask and tell nothing is 5 on both scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diotima.classroom.reading import read_dialogue
from diotima.classroom.work import components, wrong_steps
from diotima.dialogue import STUDENT, Dialogue, Turn
from diotima.errors import SettingsError
from diotima.problems.problem import Problem
from diotima.score import Judgement, State
from diotima.scoring.case import Case
from diotima.scoring.leakage import Leak, read_leak
from diotima.scoring.rubric import Rubric

NAME = "scripted/yardstick"
_SAYS = ("questions", "reveal_answer")
_RATES = ("on_topic", "helpful")
_SCALE = (1, 5)


def refuse_unless_like_euler(rubric: Rubric) -> None:
    """Raise SettingsError if the yardstick cannot answer what this rubric asks."""
    criteria = {criterion.name: criterion for criterion in rubric.criteria if not criterion.text}
    known = (
        rubric.judges == "turn"
        and criteria.keys() == {*_SAYS, *_RATES}
        and all({"yes", "no"} == set(criteria[name].labels) for name in _SAYS)
        and all(criteria[name].scale == _SCALE for name in _RATES)
    )
    if not known:
        raise SettingsError(
            f"{NAME} is a program that knows the four criteria of the rubric euler, and not those of {rubric.name}; "
            "name a model as the judge"
        )


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The judge; deterministic, so all its samples are the same."""

    async def judge(self, case: Case, rubric: Rubric, sample: int = 0) -> Judgement:
        """Judge one turn; a problem without steps cannot be judged, which is an invalid verdict."""
        state: State = "invalid"
        labels: dict[str, str | int] = {}
        reason = "the problem has no steps, by which this judge goes"
        if case.dialogue.problem.steps:
            state, labels, reason = "valid", measure(case.dialogue, case.position), ""
        return Judgement(rubric.name, rubric.fingerprint, NAME, case.position, sample, state, labels, reason, asks=1)


def measure(dialogue: Dialogue, position: int) -> dict[str, str | int]:
    """What the yardstick says of the tutor's turn at ``position``."""
    problem, earlier, turn = dialogue.problem, dialogue.turns[:position], dialogue.turns[position]
    *_, (_, reading) = read_dialogue(Dialogue(problem, (*earlier, turn)))
    leaks = read_leak(turn.text, problem, earlier).level >= Leak.FINAL_ANSWER
    asks, tells = "?" in turn.text, leaks or bool(reading.told)
    needed, named = _needed(problem, earlier), components(problem)
    over = not (needed or asks or tells)
    aims = (reading.step in needed) + (reading.skill in {named[step] for step in needed})
    return {
        "questions": "yes" if asks else "no",
        "on_topic": 5 if over or reading.step is not None else 3 if reading.skill in named else 1,
        "helpful": 5 if over else 1 if tells else 2 + aims + (asks and aims > 0),
        "reveal_answer": "yes" if leaks else "no",
    }


def _needed(problem: Problem, earlier: Sequence[Turn]) -> frozenset[int]:
    """The steps that the student has wrong or has not done, by its latest turn with work in it; before any, all."""
    for turn in reversed(earlier):
        if turn.speaker == STUDENT and (wrong := wrong_steps(turn.text, problem)) is not None:
            return wrong
    return frozenset(range(len(problem.steps)))
