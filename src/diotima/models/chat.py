"""The seam behind which every model lives: a chat in, one reply out."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from diotima.dialogue import Message, Tokens


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn.

    ``temperature`` 0 is greedy. ``max_tokens`` counts the reply only. ``seed`` makes the draw repeatable where the
    back end allows it, and names it: of one chat, every seed is a reply of its own; None leaves it to chance.
    ``stop``: texts that end the reply where they would begin. ``logprobs``: also tell how likely each token was.
    ``schema``: the JSON schema that the reply has to keep to; exactly ``{"type": "object"}`` asks for plain JSON mode,
    which some servers have who have no schemas. ``begins``: what the reply begins with, whether the model would write
    it or not; it is read and not sampled. A model that cannot do one of the last four refuses.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    begins: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written for one reply.

    ``cached_tokens`` of the prompt were read before, ``reasoning_tokens`` of the reply are private thought.
    """

    prompt_tokens: int = 0
    reply_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; a private thought stands between think tags in ``text``, wherever the model wrote it.

    ``finish``: "stop" if the model ended its turn, "length" if it was cut off, "refused" if it, or a filter, would not
    answer. ``logprobs``: token texts and their natural log-probabilities, if asked for of a model elsewhere.
    """

    text: str
    finish: Literal["stop", "length", "refused"] = "stop"
    tokens: Tokens | None = None
    usage: Usage = Usage()
    logprobs: tuple[tuple[str, float], ...] = ()


class ChatModel(Protocol):
    """Anything that answers a chat. Raises ModelError if it cannot."""

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Awaitable[Reply]:
        """The next message of the assistant."""
        ...
