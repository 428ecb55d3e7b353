"""What a real server does, asked by hand-made requests: the ground on which tests of our own client stand.

llama-server is started for them; with DIOTIMA_TEST_SERVER they ask another one, see README.md.
"""

import asyncio
import json
import os
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from servers.llama import OTHER_SERVER, real_server

from diotima.classroom.learner import Learner
from diotima.classroom.lesson import Classroom
from diotima.classroom.roles import Role
from diotima.dialogue import TUTOR, Message
from diotima.models.chat import ChatModel, Reply, Sampling
from diotima.models.folders import TINY
from diotima.models.local import load_local
from diotima.prompt import load_prompt
from diotima.sandbox.world import World

pytestmark = pytest.mark.servers
WHOLE_DISTRIBUTION = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0}
"""Sampling from what the model says; by default llama-server cuts to 40 tokens and off those under a twentieth."""


@dataclass
class Recorded:
    """A model, and what it was asked and answered."""

    model: ChatModel
    asked: list[tuple[Sequence[Message], Reply]] = field(default_factory=list)

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        reply = await self.model.reply(messages, sampling)
        self.asked.append((messages, reply))
        return reply


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_server(tmp_path_factory.mktemp("llama") / "server.log") as running:
        yield running


@pytest.fixture(scope="module")
def greedy() -> list[tuple[Sequence[Message], Reply]]:
    """All turns of ten greedy lessons by the same weights in this process."""
    tutor = Recorded(load_local(TINY, "tiny"))
    role = Role(TUTOR, tutor, load_prompt("tutor/tiny"), Sampling(temperature=0, max_tokens=80), "solution")
    for problem in World().problems(10, 5, "test"):
        asyncio.run(Classroom(role, Learner()).teach(problem, 5))
    return tutor.asked


def ask(server: str, messages: Sequence[Message], **parameters: Any) -> Any:
    body = {"model": "tiny", "messages": [{"role": m.role, "content": m.content} for m in messages], **parameters}
    with _open(server, "/chat/completions", body) as response:
        return json.load(response)


def _open(server: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server + path, data, {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=60)


def text_of(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def test_it_serves_the_tiny_tutor(server: str) -> None:
    with _open(server, "/models") as response:
        assert [model["id"] for model in json.load(response)["data"]] == ["tiny"]


@pytest.mark.skipif(OTHER_SERVER in os.environ, reason="Only llama-server tells its slots.")
def test_it_has_64_slots_of_1024_tokens(server: str) -> None:
    with urllib.request.urlopen(f"{server.removesuffix('/v1')}/props") as response:
        told = json.load(response)
    assert (told["total_slots"], told["default_generation_settings"]["n_ctx"]) == (64, 1024)


def test_greedy_replies_are_those_of_the_same_weights_here(server: str, greedy: Any) -> None:
    assert len(greedy) > 20
    for messages, reply in greedy:
        answer = ask(server, messages, temperature=0, max_tokens=80)
        assert text_of(answer) == reply.text
        assert answer["choices"][0]["finish_reason"] == reply.finish
        assert answer["usage"]["prompt_tokens"] == reply.usage.prompt_tokens
        assert answer["usage"]["completion_tokens"] == reply.usage.reply_tokens


def test_logprobs_are_those_of_the_same_weights_here(server: str, greedy: Any) -> None:
    for messages, reply in greedy[:10]:
        answer = ask(server, messages, temperature=0, max_tokens=80, logprobs=True, top_logprobs=2)
        told = answer["choices"][0]["logprobs"]["content"]
        assert "".join(token["token"] for token in told).removesuffix("<|end|>") == reply.text
        assert [token["logprob"] for token in told] == pytest.approx(reply.tokens.logprobs, abs=1e-3)
        assert all(len(token["top_logprobs"]) == 2 for token in told)


def test_a_seed_is_a_draw_that_repeats(server: str, greedy: Any) -> None:
    """Nearly: what else is in a batch changes the last bits of a sum, and now and then a word."""

    def draw(seed: int) -> str:
        messages, _ = greedy[seed % len(greedy)]
        return text_of(ask(server, messages, seed=seed, max_tokens=40, **WHOLE_DISTRIBUTION))

    seeds = range(128)
    with ThreadPoolExecutor(64) as together:
        at_once, again = list(together.map(draw, seeds)), list(together.map(draw, seeds))
    alone = [draw(seed) for seed in seeds[:32]]
    assert sum(one == other for one, other in zip(at_once, again, strict=True)) >= 122
    assert sum(one == other for one, other in zip(at_once, alone, strict=False)) >= 30
    assert len({draw(seed * len(greedy)) for seed in range(8)}) > 1


def test_a_schema_holds(server: str, greedy: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"leaked": {"type": "boolean"}, "step": {"enum": [1, 2]}},
        "required": ["leaked", "step"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "marks", "schema": schema, "strict": True}}
    ended = 0
    for seed in range(8):
        answer = ask(server, greedy[0][0], response_format=wanted, max_tokens=200, seed=seed, temperature=1)
        if answer["choices"][0]["finish_reason"] == "length":
            continue  # a model may go on with white space, which JSON allows; what is cut off is no answer
        marks = json.loads(text_of(answer))
        assert marks.keys() == {"leaked", "step"}
        assert isinstance(marks["leaked"], bool)
        assert marks["step"] in (1, 2)
        ended += 1
    assert ended > 1


def test_a_stream_is_the_same_reply_in_pieces(server: str, greedy: Any) -> None:
    messages, reply = greedy[0]
    body = {"messages": [{"role": m.role, "content": m.content} for m in messages], "temperature": 0}
    with _open(
        server, "/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}
    ) as response:
        events = [line.removeprefix(b"data: ").strip() for line in response if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    pieces = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert len(pieces) > 2
    assert "".join(pieces) == reply.text
    assert chunks[-1]["usage"]["completion_tokens"] == reply.usage.reply_tokens


def test_a_stop_text_ends_the_reply_before_it(server: str, greedy: Any) -> None:
    messages, reply = greedy[0]
    word = reply.text.split()[-1]
    answer = ask(server, messages, temperature=0, stop=[word])
    assert text_of(answer) == reply.text.partition(word)[0]
    assert answer["choices"][0]["finish_reason"] == "stop"
