"""A chat model that reads and writes token ids, wherever these are sampled.

What is trained has to be the very ids that were read and sampled, so a dialogue's ids only grow, and no text is
tokenised twice (see `template.ChatFormat`). This is what lies on both sides of the sampling: which ids a reply
continues, and what the sampled ones say. The weights in this process (`local`), a vLLM beside them and a vLLM behind an
address (`token_endpoint`) differ in nothing but who samples in between.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from diotima.dialogue import Message, Tokens
from diotima.errors import ModelError
from diotima.models.chat import Reply, Sampling, Usage
from diotima.models.template import ChatFormat

Ids = tuple[int, ...]
Sampler = Callable[[Ids, Sampling], Awaitable[tuple[Ids, tuple[float, ...]]]]
"""From the ids that were read to those that were sampled, the end's included, and the log-probability of each."""


@dataclass(frozen=True, slots=True)
class TokenModel:
    """The model of whom only the ids are known that it goes on with."""

    format: ChatFormat
    sample: Sampler

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The next message, with its tokens. A dialogue whose tokens are known goes on from them."""
        ids, begun = ids_before(self.format, messages, sampling)
        return reply_after(self.format, begun, Tokens(ids, *await self.sample(ids, sampling)))


def ids_before(chat: ChatFormat, messages: Sequence[Message], sampling: Sampling) -> tuple[Ids, str]:
    """The ids that a reply continues, and what of its text stands in them.

    Raises ModelError for what only texts can be asked for.
    """
    if sampling.stop or sampling.schema is not None:
        raise ModelError(
            "a model that is talked to in token ids (tiny, hf/NAME, a folder) knows no stop texts and no JSON schema"
        )
    begun = chat.begun(sampling.begins)
    return (*chat.context(messages), *begun), sampling.begins if begun else ""


def reply_after(chat: ChatFormat, begun: str, tokens: Tokens) -> Reply:
    """What the sampled ids say, after the text with which the reply had begun."""
    spoken = tokens.reply_ids
    ended = bool(spoken) and spoken[-1] in chat.end_ids
    return Reply(
        text=begun + chat.text(spoken[:-1] if ended else spoken),
        finish="stop" if ended else "length",
        tokens=tokens,
        usage=Usage(len(tokens.prompt_ids), len(spoken)),
    )
