"""Models that need no weights: a queue of replies, or a function of the chat. For tests, examples and dry runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from diotima.dialogue import Message
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


SCRIPTS: Mapping[str, Callable[[Sequence[Message]], str]] = {"copier": copier}
"""What can be had by name, as ``scripted/NAME``."""
