"""A vLLM behind an address that is talked to in token ids: ids in, ids and log-probabilities out.

Chats are for models that are asked; a model that is trained has to be read and heard in ids. vLLM's /v1/completions
takes a prompt of ids as it is, adds nothing, and tells the ids that it read and sampled (``return_token_ids``). What it
says it has read is compared with what it was sent, in every answer.

Nothing is booked here, other than in `calls`: the weights behind the address are other ones after every step of a
training, so no answer is ever asked for twice, and the server is one's own.

    model = TokenModel(chat_format(...), TokenEndpoint("http://127.0.0.1:8000/v1", end_ids).sample)
"""

import asyncio
import itertools
import json
import time
from collections.abc import Collection
from datetime import UTC, datetime
from random import Random
from typing import Any

from diotima.dialogue import stable_seed
from diotima.errors import CallFailed, CallRefused, ModelError
from diotima.models.chat import Sampling
from diotima.models.retrying import Patience, classify, retry_after, what_it_said
from diotima.models.token_model import Ids
from diotima.models.transport import Server

SECONDS = 1800.0
"""For one request, the time in the server's own queue included: all lessons of a step may ask at the same moment."""
_MOST_READ = 100_000  # bytes of an error


class TokenEndpoint:
    """The vLLM at a ``url`` that ends with /v1. A reply ends with the first of ``end_ids``."""

    def __init__(self, url: str, end_ids: Collection[int], patience: Patience | None = None) -> None:
        self._server = Server(url, "", SECONDS)
        self._end_ids = end_ids
        self._patience = patience or Patience()

    async def sample(self, ids: Ids, sampling: Sampling) -> tuple[Ids, tuple[float, ...]]:
        """The ids that follow, and the log-probability of each.

        Raises CallFailed if this reply cannot be had (CallRefused: it never could), and ModelError if none can.
        """
        body = {"prompt": ids, "return_token_ids": True, **vllm_parameters(sampling, self._end_ids)}
        since, random = time.monotonic(), Random(stable_seed("wait", len(ids), sampling.seed or 0))
        for number in itertools.count(1):
            sent = await self._server.send(body, path="/completions")
            if sent.status == 200:
                return self._read(sent.body, ids)
            said = sent.body[:_MOST_READ].decode(errors="replace")
            asked = retry_after(sent.headers, said, datetime.now(UTC))
            fate = classify(sent.status, said, asked)
            words = sent.reason if sent.status is None else f"{sent.status}: {what_it_said(sent.status, said)}"
            if fate == "run":
                raise self._error(ModelError, words)
            if fate == "unit":
                raise self._error(CallRefused, words)
            if not self._patience.left(number, since, time.monotonic()):
                raise self._error(CallFailed, f"{words} ({number} attempts)")
            await asyncio.sleep(self._patience.delay(number, asked, random))
        raise AssertionError("there is always another number")

    def _read(self, body: bytes, ids: Ids) -> tuple[Ids, tuple[float, ...]]:
        try:
            choice = json.loads(body)["choices"][0]
            read, said = tuple(choice["prompt_token_ids"]), tuple(choice["token_ids"])
            logprobs = tuple(map(float, choice["logprobs"]["token_logprobs"]))
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._error(ModelError, "its answer has no token ids and log-probabilities; take a vLLM") from None
        if read != ids:
            raise self._error(ModelError, f"it was sent {len(ids)} token ids, and says it has read {len(read)} others")
        if not said or len(said) != len(logprobs):
            raise self._error(ModelError, f"it sent {len(said)} token ids and {len(logprobs)} log-probabilities")
        return said, logprobs

    def _error(self, kind: type[ModelError], words: str) -> ModelError:
        return kind(f"the tutor's server at {self._server.url}: {words}")


def vllm_parameters(sampling: Sampling, end_ids: Collection[int]) -> dict[str, Any]:
    """How vLLM is asked for a draw from the model's whole distribution, in a request or as its ``SamplingParams``.

    Everything is said that a server could otherwise take from the model's generation_config, its ends too.
    """
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "ignore_eos": True,
        "stop_token_ids": sorted(end_ids),
        "logprobs": 0,
    }
