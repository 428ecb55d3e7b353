"""Models that need no weights: a queue of replies, or a function of the chat. For tests, examples and dry runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling


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
