"""The exam: what the student can do before and after a lesson, on the same problem and on its sibling.

The seeds examine the same problem only, which an answer given away inflates: the student copies it. So beside it
stands the sibling, the same structure with other numbers and another story, and the same student without any lesson
(the control). Learning is what transfers.
"""

from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from diotima.classroom.reading import read_turn
from diotima.classroom.work import wrong_steps
from diotima.dialogue import TUTOR, Dialogue
from diotima.problems.problem import Problem
from diotima.score import Score
from diotima.scoring.answers import final_answer, same_answer


class Examinee(Protocol):
    """A student who can be examined."""

    def attempts(self, problem: Problem, after: Dialogue, count: int) -> Awaitable[list[str]]:
        """``count`` independent attempts at ``problem`` with what it remembers of ``after`` (no turns: no lesson)."""
        ...


@dataclass(frozen=True, slots=True)
class Exam:
    """A scorer of lessons: solve rates over ``attempts`` attempts each, in 0..1.

    ``solved_before`` and ``solved_same``: this problem, before and after. ``solved_sibling`` and ``control_sibling``:
    its sibling, after the lesson and without any. ``delta_same`` and ``gain``: the differences. A problem without
    a sibling has no sibling scores.
    """

    student: Examinee
    attempts: int = 16

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """Examine the student of one lesson."""
        problem, untaught = dialogue.problem, Dialogue(dialogue.problem, seed=dialogue.seed)
        before = await self._solve_rate(problem, untaught)
        same = await self._solve_rate(problem, dialogue)
        sibling = await self._solve_rate(problem.sibling, dialogue)
        control = await self._solve_rate(problem.sibling, untaught)
        return {
            "solved_before": before,
            "solved_same": same,
            "delta_same": _difference(before, same),
            "solved_sibling": sibling,
            "control_sibling": control,
            "gain": _difference(control, sibling),
        }

    async def _solve_rate(self, problem: Problem | None, after: Dialogue) -> Score:
        if problem is None:
            return Score.missing("the problem has no sibling")
        solved = read = 0
        for text, times in Counter(await self.student.attempts(problem, after, self.attempts)).items():
            answer = final_answer(text)
            mark = same_answer(answer, problem.answer) if answer is not None else None
            if mark is not None:
                solved, read = solved + times * mark, read + times
        return Score(solved / read) if read else Score.missing("no attempt could be read")


@dataclass(frozen=True, slots=True)
class Conduct:
    """A scorer of what the tutor did, as far as it can be read off the dialogue.

    ``addressed``: the share of its turns, among those said to work with a mistake in it, that name a step which the
    student got wrong. ``first_wrong``: the share that name the first such step. ``well_formed``: the share of all its
    turns that keep to the form (readable, thoughts closed, not cut off). ``ended``: whether the tutor ended the lesson;
    ``cut``: whether a turn ran into its limit. ``tutor_turns`` and ``tutor_words`` count.
    """

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """Measure one lesson."""
        turns = dialogue.by(TUTOR)
        if not turns:
            nothing = Score.missing("the tutor never spoke")
            names = ("addressed", "first_wrong", "well_formed", "ended", "cut", "tutor_words")
            return dict.fromkeys(names, nothing) | {"tutor_turns": Score(0.0)}
        addressed, first, asked = 0, 0, 0
        for before, turn in zip(dialogue.turns, dialogue.turns[1:], strict=False):
            wrong = wrong_steps(before.text, dialogue.problem) if turn.speaker == TUTOR else None
            if wrong:
                step = read_turn(turn.text, dialogue.problem).step
                asked += 1
                addressed += step in wrong
                first += step == min(wrong)
        missing = Score.missing("no tutor turn followed work with a mistake in it")
        return {
            "addressed": Score(addressed / asked) if asked else missing,
            "first_wrong": Score(first / asked) if asked else missing,
            "well_formed": Score(sum(not turn.malformed and not turn.cut for turn in turns) / len(turns)),
            "ended": Score(float(turns[-1].ends)),
            "cut": Score(float(any(turn.cut for turn in turns))),
            "tutor_turns": Score(float(len(turns))),
            "tutor_words": Score(float(sum(len(turn.text.split()) for turn in turns))),
        }


def _difference(first: Score, second: Score) -> Score:
    if first.value is None or second.value is None:
        return first if first.value is None else second
    return Score(second.value - first.value)
