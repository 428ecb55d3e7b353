"""A role: a model that takes part in lessons, with a prompt and a way of sampling.

What the prompt may contain is one setting, because it decides what a result means: a tutor that sees the solution is
another thing than one that has only the question. Any prompt may call the student by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from diotima.dialogue import Dialogue, Message, Turn, split_reply, stable_seed
from diotima.errors import PromptError
from diotima.models.chat import ChatModel, Sampling
from diotima.prompt import Prompt

Sees = Literal["question", "answer", "solution"]
_FIELDS: dict[Sees, tuple[str, ...]] = {
    "question": ("question",),
    "answer": ("question", "answer"),
    "solution": ("question", "answer", "solution"),
}


@dataclass(frozen=True, slots=True)
class Role:
    """A participant played by a model.

    ``sees``: how much of the problem its prompt may use; a prompt that asks for more is refused. ``names``: what
    students are called, for prompts with ``{{name}}``, see `student_name`.
    """

    speaker: str
    model: ChatModel
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    sees: Sees = "question"
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse_beyond(self.prompt, self.sees, self.speaker)

    def messages(self, dialogue: Dialogue) -> list[Message]:
        """The chat as this participant's model sees it."""
        problem = dialogue.problem
        known = {"question": problem.question, "answer": problem.answer, "solution": problem.solution}
        known["name"] = student_name(self.names, dialogue)
        values = {name: known[name] for name in self.prompt.placeholders}
        return [Message("system", self.prompt.fill(**values)), *dialogue.seen_by(self.speaker)]

    async def speak(self, dialogue: Dialogue) -> Turn:
        """Its next turn."""
        return await next_turn(self.speaker, self.model, self.messages(dialogue), self.sampling, dialogue)


def refuse_beyond(prompt: Prompt, sees: Sees, speaker: str) -> None:
    """Raise PromptError if a prompt asks for more of the problem than its speaker sees."""
    beyond = sorted(prompt.placeholders - {"name", *_FIELDS[sees]})
    if beyond:
        raise PromptError(
            f"prompt {prompt.name} uses {', '.join(beyond)}, but the {speaker} sees the {sees} only; use another "
            "prompt or let it see more (tutor_sees: solution)"
        )


async def next_turn(
    speaker: str, model: ChatModel, messages: Sequence[Message], sampling: Sampling, dialogue: Dialogue
) -> Turn:
    """What a model says next in a dialogue; the sampling seed is spread from the lesson's."""
    seed = stable_seed("reply", dialogue.seed, dialogue.problem.id, speaker, len(dialogue.turns))
    reply = await model.reply(messages, replace(sampling, seed=seed))
    text, thought, ends, malformed = split_reply(reply.text)
    return Turn(speaker, text, thought, ends, reply.finish == "length", malformed, reply.tokens)


def student_name(names: Sequence[str], dialogue: Dialogue) -> str:
    """What the student of this lesson is called, drawn from seed and problem alone; without names "the student"."""
    return names[stable_seed("name", dialogue.seed, dialogue.problem.id) % len(names)] if names else "the student"
