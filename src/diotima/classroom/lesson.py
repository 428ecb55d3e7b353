"""A lesson: a tutor and a student take turns about one problem until one of them ends it or a limit is met.

A lesson is written for one student, as a coroutine. Hundreds run side by side; models gather the replies that are
wanted at the same moment into batches below this (see `models`), so nothing here waits for the slowest.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, Protocol, TypeVar

from diotima.dialogue import STUDENT, TUTOR, Dialogue, Turn, stable_seed
from diotima.errors import CallRefused
from diotima.problems.problem import Problem

Item = TypeVar("Item")
Result = TypeVar("Result")
Opens = Literal["tutor", "student", "both"]


class Participant(Protocol):
    """Anyone who can say the next thing. Participants see the whole problem and dialogue."""

    def speak(self, dialogue: Dialogue) -> Awaitable[Turn]:
        """The participant's next turn."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When a lesson ends although nobody ended it.

    ``tutor_turns``: turns of the tutor. ``tokens``: length of the whole context in tokens, known only for models in
    this process. ``words``: words spoken by both.
    """

    tutor_turns: int = 8
    tokens: int | None = None
    words: int | None = None

    def reached(self, dialogue: Dialogue) -> str:
        """The reason to stop now, or ""."""
        if len(dialogue.by(TUTOR)) >= self.tutor_turns and dialogue.turns[-1].speaker == STUDENT:
            return "turn limit"
        tokens = dialogue.turns[-1].tokens
        if self.tokens is not None and tokens and len(tokens.prompt_ids) + len(tokens.reply_ids) >= self.tokens:
            return "token limit"
        if self.words is not None and sum(len(turn.text.split()) for turn in dialogue.turns) >= self.words:
            return "length limit"
        return ""


@dataclass(frozen=True, slots=True)
class Classroom:
    """Who teaches whom, and for how long.

    ``opens``: who speaks first; "student" has the student show an attempt of its own before the tutor speaks, "both"
    is one of the two, drawn from the problem alone, so that all lessons on a problem begin alike.
    """

    tutor: Participant
    student: Participant
    limits: Limits = field(default_factory=Limits)
    opens: Opens = STUDENT

    async def teach(self, problem: Problem, seed: int = 0) -> Dialogue:
        """Hold one lesson; ``dialogue.stop`` says why it ended.

        The student has the last word unless the tutor ends, or one of them cannot go on (a chat that has become too
        long for its model).
        """
        dialogue = Dialogue(problem, seed=seed)
        speaker = who_opens(self.opens, problem)
        while not dialogue.stop:
            participant = self.tutor if speaker == TUTOR else self.student
            try:
                turn = await participant.speak(dialogue)
            except CallRefused as refusal:
                if not dialogue.by(speaker):
                    raise  # it never could: that says nothing about this lesson
                return dialogue.stopped(f"{speaker} could not go on: {refusal}")
            dialogue = dialogue.then(turn)
            reason = f"{speaker} ended" if turn.ends else self.limits.reached(dialogue)
            dialogue = dialogue.stopped(reason)
            speaker = STUDENT if speaker == TUTOR else TUTOR
        return dialogue


def who_opens(opens: Opens, problem: Problem) -> Literal["tutor", "student"]:
    """Who speaks first in the lessons on this problem."""
    if opens == "both":
        return TUTOR if stable_seed("opens", problem.id) % 2 else STUDENT
    return opens


async def side_by_side(
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], at_once: int = 256
) -> AsyncGenerator[Result]:
    """Run ``work`` on every item, at most ``at_once`` at a time, and yield results as soon as they are there.

    Items are drawn only when there is room for them, so memory does not grow with their number. The first exception
    cancels what is still running, and nothing runs on once this has ended: whoever may leave early closes it.
    """
    waiting = iter(items)
    running = {asyncio.ensure_future(work(item)) for item in islice(waiting, at_once)}
    done: set[asyncio.Task[Result]] = set()
    try:
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running |= {asyncio.ensure_future(work(item)) for item in islice(waiting, len(done))}
            while done:
                yield done.pop().result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *done, return_exceptions=True)
