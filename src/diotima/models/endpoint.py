"""A model behind an endpoint, as everybody else sees it: a chat in, one reply out."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from diotima.dialogue import Message
from diotima.errors import ModelError
from diotima.models.answer import Answer
from diotima.models.calls import Calls, Line
from diotima.models.chat import Reply, Sampling
from diotima.models.request import Request, request_for


@dataclass(frozen=True, slots=True)
class EndpointModel:
    """The model at the end of a line; every reply is asked for through the desk, see `calls`."""

    calls: Calls
    line: Line

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The next message. Raises CallFailed if this one cannot be had, ModelError if none can."""
        request = self._request(messages, sampling)
        reply = (await self.calls.answer(self.line, request)).reply
        if sampling.logprobs and reply.text and not reply.logprobs:
            raise ModelError(f"{self.line.address.name} was asked for log-probabilities and sent none")
        return reply

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[str | Reply]:
        """The next message as it is spoken: texts, which may hold think tags, and at last the whole reply."""
        async for piece in self.calls.stream(self.line, self._request(messages, sampling)):
            yield piece.reply if isinstance(piece, Answer) else piece

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> Request:
        if sampling.begins:
            raise ModelError(f"{self.line.address.name}: how a reply begins can be laid down in this process only")
        return request_for(self.line.address, self.line.served.fingerprint, messages, sampling)
