"""The seam behind which every model lives: a chat in, one reply out."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from diotima.dialogue import Message, Tokens


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn.

    ``temperature`` 0 is greedy. ``max_tokens`` counts the reply only. ``seed`` makes the draw repeatable where the
    back end allows it; None leaves it to chance.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written for one reply."""

    prompt_tokens: int = 0
    reply_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``finish``: "stop" if the model ended its turn, "length" if it was cut off."""

    text: str
    finish: Literal["stop", "length"] = "stop"
    tokens: Tokens | None = None
    usage: Usage = Usage()


class ChatModel(Protocol):
    """Anything that answers a chat. Raises ModelError if it cannot."""

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Awaitable[Reply]:
        """The next message of the assistant."""
        ...
