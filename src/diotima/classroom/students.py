r"""Students, and the one that is played by a language model: it takes part in lessons and sits exams.

After the pupil of PedagogicalRL (Dinucu-Jianu et al. 2025): a frozen model with a persona, which knows the problem and
not its answer, speaks briefly, and after the lesson writes complete solutions with ``\boxed{}``. Departures: the test
may be another problem (the sibling), asked for after the same conversation; lesson and control are examined with the
same seeds under the same name; the persona may not use the answer, whatever the settings; and a student never ends a
lesson: that is the tutor's decision, or the classroom's.

A student model has not forgotten how to solve problems because a persona asks it to be unsure. What it can do without
a lesson is measured beside every exam, and only the difference means anything.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from diotima.classroom.exam import Examinee
from diotima.classroom.lesson import Participant
from diotima.classroom.roles import next_turn, student_name
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, Turn, split_reply, stable_seed
from diotima.errors import PromptError
from diotima.models.chat import ChatModel, Sampling
from diotima.problems.problem import Problem
from diotima.prompt import Prompt, load_prompt


@dataclass(frozen=True, slots=True)
class Requests:
    """What a student is asked for beside the tutor's turns.

    ``attempt``: its own first attempt, if it has the first word. ``solution``: in a test, to solve the problem of the
    lesson. ``sibling``: in a test, to solve ``{{question}}`` instead.
    """

    attempt: Prompt = field(default_factory=lambda: load_prompt("student/request/attempt"))
    solution: Prompt = field(default_factory=lambda: load_prompt("student/request/solution"))
    sibling: Prompt = field(default_factory=lambda: load_prompt("student/request/sibling"))


class Student(Participant, Examinee, Protocol):
    """Anyone who can be taught and examined: the simulated learner, or a model."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """Several students, of whom one comes to all lessons on a problem, drawn from the problem alone."""

    students: Sequence[Student]

    async def speak(self, dialogue: Dialogue) -> Turn:
        """That student's next turn."""
        return await self._of(dialogue).speak(dialogue)

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        """That student's attempts at ``problem``, see `Examinee`."""
        return await self._of(after).attempts(problem, after, count)

    def _of(self, lesson: Dialogue) -> Student:
        return self.students[stable_seed("persona", lesson.problem.id) % len(self.students)]


@dataclass(frozen=True, slots=True)
class ModelStudent:
    """A student played by a model.

    ``persona``: the system prompt; it must use ``{{question}}``, it may use ``{{name}}`` and nothing else.
    ``speaking`` and ``solving``: how turns of a lesson and solutions in a test are sampled. ``names``: what such a
    student may be called, see `student_name`.
    """

    model: ChatModel
    persona: Prompt
    speaking: Sampling
    solving: Sampling
    names: tuple[str, ...] = ()
    requests: Requests = field(default_factory=Requests)

    def __post_init__(self) -> None:
        if not {"question"} <= self.persona.placeholders <= {"question", "name"}:
            raise PromptError(
                f"prompt {self.persona.name} cannot be a student's persona: it must have {{{{question}}}} in it, and "
                "beside {{name}} nothing else to fill in, for a student does not know the answer"
            )

    def messages(self, dialogue: Dialogue) -> list[Message]:
        """The chat as its model sees it in a lesson: after the persona always a user first, then in turns.

        Many chat templates refuse anything else, so a student who has the first word is asked for it.
        """
        opens = not dialogue.turns or dialogue.turns[0].speaker != TUTOR
        asked = [Message("user", self.requests.attempt.fill())] if opens else []
        return [self._persona(dialogue.problem, dialogue), *asked, *dialogue.seen_by(STUDENT)]

    def exam_messages(self, problem: Problem, after: Dialogue) -> list[Message]:
        """The chat as its model sees it in an exam on ``problem`` after a lesson (without turns: without any)."""
        if not after.turns:
            return [self._persona(problem, after), Message("user", self.requests.solution.fill())]
        same = problem.id == after.problem.id
        request = self.requests.solution.fill() if same else self.requests.sibling.fill(question=problem.question)
        *earlier, latest = self.messages(after)
        if latest.role == "user":
            return [*earlier, Message("user", f"{latest.content}\n\n{request}".strip())]
        return [*earlier, latest, Message("user", request)]

    async def speak(self, dialogue: Dialogue) -> Turn:
        """Its next turn."""
        turn = await next_turn(STUDENT, self.model, self.messages(dialogue), self.speaking, dialogue)
        return replace(turn, ends=False)

    async def attempts(self, problem: Problem, after: Dialogue, count: int) -> list[str]:
        """``count`` solutions of ``problem`` after a lesson, sampled side by side; greedy ones are all the same.

        The seeds do not depend on what was said, so a lesson and its control draw alike.
        """
        messages = self.exam_messages(problem, after)

        async def solution(sample: int) -> str:
            seed = stable_seed("exam", after.seed, problem.id, sample)
            reply = await self.model.reply(messages, replace(self.solving, seed=seed))
            return split_reply(reply.text)[0]

        if self.solving.temperature == 0:
            return [await solution(0)] * count
        return list(await asyncio.gather(*map(solution, range(count))))

    def _persona(self, problem: Problem, lesson: Dialogue) -> Message:
        values = {"question": problem.question, "name": student_name(self.names, lesson)}
        return Message("system", self.persona.fill(**{name: values[name] for name in self.persona.placeholders}))
