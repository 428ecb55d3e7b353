"""Models that need no weights: a queue of replies, or a function of the chat. For tests, examples and dry runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from diotima.dialogue import Message, stable_seed
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling
from diotima.problems.numbers import find_numbers


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """Answers with ``script(messages)``."""

    script: Callable[[Sequence[Message]], str]

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The script's answer."""
        return Reply(self.script(messages))


def queue_of(replies: Iterable[str]) -> ScriptedModel:
    """A model that gives these replies one after the other, and raises ModelError when there are no more."""
    waiting = iter(replies)

    def following(messages: Sequence[Message]) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise ModelError("the scripted model has no more replies") from None

    return ScriptedModel(following)


def copier(messages: Sequence[Message]) -> str:
    """Takes the last number that it was told for the answer; as a student it learns nothing and copies all."""
    told = (number.text for message in messages if message.role == "user" for number in find_numbers(message.content))
    *_, latest = "0", *told
    return f"My answer is {latest}."


def garbage(messages: Sequence[Message]) -> str:
    """Answers nonsense, the same chat with the same: as a judge it never gives a verdict that can be read."""
    random = Random(stable_seed("garbage", *(message.content for message in messages)))
    word = "".join(random.choices("bcdfghjklmnpqrstvwxz", k=6))
    return random.choice(_NONSENSE).replace("WORD", word).replace("NUMBER", str(random.randint(-9, 99)))


_NONSENSE = (
    "",
    "WORD",
    "NUMBER",
    "null",
    "[NUMBER, NUMBER]",
    "{}",
    '{"WORD": NUMBER}',
    '{"WORD": "WORD"',
    '{"WORD": {"WORD": NUMBER}}',
    "```json\n{'WORD': NUMBER,}\n```",
    "Very good! I would say NUMBER out of NUMBER, or WORD.",
    '{"WORD": true} {"WORD": "\\ud800"}',
    "<think>WORD",
)

SCRIPTS: Mapping[str, Callable[[Sequence[Message]], str]] = {"copier": copier, "garbage": garbage}
"""What can be had by name, as ``scripted/NAME``."""
