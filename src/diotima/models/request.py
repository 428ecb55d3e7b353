"""One call of an endpoint as it goes over the wire, and the key under which its answer is kept.

Everything that changes the answer is in the key: who serves what, the whole chat, every parameter, and the sampling
seed as the name of this draw among others of the same chat. Where it is served, who pays and how long to wait are not.
The seed comes from the lesson's identity (problem, lesson, turn), never from the order in which calls are made, so
that a run that was killed asks for the same draws again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diotima.dialogue import Message
from diotima.models.chat import Sampling
from diotima.models.services import LENGTHS, Address
from diotima.runs.ledger import chat_hash

KEY_VERSION = 1
_SEEDS = 2**31  # what every server takes for a seed; the key holds the whole one


@dataclass(frozen=True, slots=True)
class Request:
    """``parameters``: canonical JSON of the body without its messages. ``key``: SHA-256 of all that decides the answer.

    Only its outermost fields are sorted: in a schema the order of properties is the order in which they are written.
    ``sample``: the sampling seed, None if this draw has no name and is never used again. ``most_tokens``: of the reply.
    """

    messages: tuple[Message, ...]
    parameters: str
    key: bytes
    sample: int | None
    most_tokens: int

    def body(self) -> dict[str, Any]:
        """What is sent."""
        chat = [{"role": message.role, "content": message.content} for message in self.messages]
        return {**json.loads(self.parameters), "messages": chat}


def request_for(address: Address, served: str, messages: Sequence[Message], sampling: Sampling) -> Request:
    """The request for a reply; ``served``: the fingerprint of what the server serves under this name."""
    parameters = parameters_of(address, sampling)
    text = json.dumps(dict(sorted(parameters.items())), ensure_ascii=False, separators=(",", ":"))
    identity = (KEY_VERSION, address.backend, served, text, sampling.seed)
    digest = hashlib.sha256(json.dumps(identity, ensure_ascii=False).encode())
    digest.update(chat_hash(messages))
    most_tokens = max(parameters[name] for name in LENGTHS if name in parameters)
    return Request(tuple(messages), text, digest.digest(), sampling.seed, most_tokens)


def parameters_of(address: Address, sampling: Sampling) -> dict[str, Any]:
    """The fields of a request beside its messages; only what has been asked for, for some services refuse the rest."""
    service = address.service
    fields: dict[str, Any] = {
        "model": address.model,
        "temperature": float(sampling.temperature),
        service.length: sampling.max_tokens,
    }
    fields |= service.uncut
    if sampling.top_p != 1:
        fields["top_p"] = sampling.top_p
    if sampling.seed is not None and service.seeds:
        fields["seed"] = sampling.seed % _SEEDS
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if sampling.logprobs:
        fields["logprobs"] = True
    if sampling.schema == {"type": "object"}:
        fields["response_format"] = {"type": "json_object"}
    elif sampling.schema is not None:
        form = {"name": "reply", "strict": True, "schema": dict(sampling.schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": form}
    if address.kind == "openrouter":
        fields["usage"] = {"include": True}  # else it does not tell what the call cost
    fields |= address.endpoint.extra
    return {name: value for name, value in fields.items() if value is not None}
