"""The exam: what the student can do before and after a lesson, on the same problem and on its sibling.

The seeds examine the same problem only, which an answer given away inflates: the student copies it. So beside it
stands the sibling, the same structure with other numbers and another story, and the same student without any lesson
(the control). Learning is what transfers.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from diotima.classroom.reading import read_dialogue
from diotima.classroom.work import wrong_steps
from diotima.dialogue import TUTOR, Dialogue
from diotima.errors import CallRefused
from diotima.problems.problem import Problem
from diotima.score import Score
from diotima.scoring.marking import Marker, read_answer
from diotima.scoring.verdict import Verdict


class Examinee(Protocol):
    """A student who can be examined."""

    def attempts(self, problem: Problem, after: Dialogue, count: int) -> Awaitable[list[str]]:
        """``count`` independent attempts at ``problem`` with what it remembers of ``after`` (no turns: no lesson)."""
        ...


SOLVE_RATES = ("solved_before", "solved_same", "solved_sibling", "control_sibling")
_DIFFERENCES = (("delta_same", "solved_before", "solved_same"), ("gain", "control_sibling", "solved_sibling"))


@dataclass(frozen=True, slots=True)
class Exam:
    """A scorer of lessons: solve rates over ``attempts`` attempts each, in 0..1.

    ``solved_before`` and ``solved_same``: this problem, before and after. ``solved_sibling`` and ``control_sibling``:
    its sibling, after the lesson and without any. ``delta_same`` and ``gain``: the differences. A problem without
    a sibling has no sibling scores, and an exam that the student's model cannot take (the lesson before it is too long)
    is an error, not a failure. ``unread``: the share of all attempts whose answer could not be compared with the
    reference; they count neither as solved nor as not. An attempt that names no answer at all has not solved it.
    ``sits``: which of the four are sat; the scores of the others are left out.
    """

    student: Examinee
    attempts: int = 16
    marker: Marker = field(default_factory=Marker)
    sits: Collection[str] = SOLVE_RATES

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """Examine the student of one lesson."""
        problem, untaught = dialogue.problem, Dialogue(dialogue.problem, seed=dialogue.seed)
        exams = {
            "solved_before": (problem, untaught),
            "solved_same": (problem, dialogue),
            "solved_sibling": (problem.sibling, dialogue),
            "control_sibling": (problem.sibling, untaught),
        }
        sat = [name for name in exams if name in self.sits]
        results = await asyncio.gather(*(self._sit(*exams[name]) for name in sat))
        papers = [paper for paper in results if isinstance(paper, Paper)]
        scores = {name: _solve_rate(result) for name, result in zip(sat, results, strict=True)}
        for name, before, after in _DIFFERENCES:
            if before in scores and after in scores:
                scores[name] = _difference(scores[before], scores[after])
        unread = sum(paper.unread for paper in papers)
        scores["unread"] = Score(unread / (self.attempts * len(papers))) if papers else Score.missing("no exam was sat")
        return scores

    async def _sit(self, problem: Problem | None, after: Dialogue) -> "Paper | CallRefused | None":
        if problem is None:
            return None
        try:
            attempts = await self.student.attempts(problem, after, self.attempts)
        except CallRefused as refusal:
            if not after.turns:
                raise  # without any lesson, nothing is too long
            return refusal
        return await mark_all(attempts, problem.answer, self.marker)


@dataclass(frozen=True, slots=True)
class Paper:
    """The marks of several attempts at one problem: how many solved it, and how many could not be marked."""

    attempts: int
    solved: int
    unread: int

    @property
    def rate(self) -> float | None:
        """The share solved of those that could be marked; None if there is none."""
        marked = self.attempts - self.unread
        return self.solved / marked if marked else None


async def mark_all(attempts: Sequence[str], expected: str, marker: Marker) -> Paper:
    """Mark attempts at one problem, equal ones once."""
    solved = unread = 0
    for text, times in Counter(attempts).items():
        verdict = await marker.mark(text, expected)
        solved += times * (verdict == Verdict.CORRECT)
        if verdict not in (Verdict.CORRECT, Verdict.INCORRECT) and read_answer(text, expected):
            unread += times
    return Paper(len(attempts), solved, unread)


@dataclass(frozen=True, slots=True)
class Conduct:
    """A scorer of what the tutor did, as far as it can be read off the dialogue.

    ``addressed``: the share of its turns, among those said to work with a mistake in it, that name a step which the
    student got wrong. ``first_wrong``: the share that name the first such step. ``well_formed``: the share of all its
    turns that keep to the form (readable, thoughts closed, not cut off). ``ended``: whether the tutor ended the lesson;
    ``cut``: whether a turn ran into its limit. ``tutor_turns`` and ``tutor_words`` count.
    With ``latest`` only its latest turn is measured, as fits one that goes on from what others said.
    """

    latest: bool = False

    async def score(self, dialogue: Dialogue) -> dict[str, Score]:
        """Measure one lesson."""
        since = -1 if self.latest else 0
        turns = dialogue.by(TUTOR)[since:]
        if not turns:
            nothing = Score.missing("the tutor never spoke")
            names = ("addressed", "first_wrong", "well_formed", "ended", "cut", "tutor_words")
            return dict.fromkeys(names, nothing) | {"tutor_turns": Score(0.0)}
        addressed, first, asked = 0, 0, 0
        for index, reading in list(read_dialogue(dialogue))[since:]:
            wrong = wrong_steps(dialogue.turns[index - 1].text, dialogue.problem) if index else None
            if wrong:
                asked += 1
                addressed += reading.step in wrong
                first += reading.step == min(wrong)
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


def _solve_rate(paper: Paper | CallRefused | None) -> Score:
    if paper is None:
        return Score.missing("the problem has no sibling")
    if isinstance(paper, CallRefused):
        return Score(None, "error", str(paper))
    return Score.missing("no attempt could be read") if paper.rate is None else Score(paper.rate)


def _difference(first: Score, second: Score) -> Score:
    if first.value is None or second.value is None:
        return first if first.value is None else second
    return Score(second.value - first.value)
