import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diotima.dialogue import Message, Tokens
from diotima.models.chat import Sampling
from diotima.models.request import Request, request_for
from diotima.models.services import Endpoint, address_of
from diotima.runs.ledger import chat_hash

CHAT = (Message("system", "Teach."), Message("user", "What is 2 + 3?"))
SAMPLING = Sampling(temperature=0.7, max_tokens=60, seed=2**40 + 5)


def ask(
    name: str = "vllm/m",
    served: str = "w1",
    chat: tuple[Message, ...] = CHAT,
    endpoint: Endpoint | None = None,
    **sampling: Any,
) -> Request:
    endpoints = {name.partition("/")[0]: endpoint} if endpoint else {}
    return request_for(address_of(name, endpoints), served, chat, replace(SAMPLING, **sampling))


def laid_over(**extra: Any) -> Endpoint:
    return Endpoint(extra=extra)


SCHEMA = {"type": "object", "properties": {"thought": {"type": "string"}, "answer": {"type": "integer"}}}
OTHER = {
    "model": ask("vllm/other"),
    "backend": ask("ollama/m"),
    "what is served": ask(served="w2"),
    "sample": ask(seed=6),
    # The same on the wire, where seeds are shorter.
    "sample beyond 31 bits": ask(seed=2**41 + 5),
    "no sample": ask(seed=None),
    "temperature": ask(temperature=0.8),
    "top_p": ask(top_p=0.9),
    "max_tokens": ask(max_tokens=61),
    "stop": ask(stop=("a", "b")),
    "other stops": ask(stop=("a b",)),
    "logprobs": ask(logprobs=True),
    "schema": ask(schema=SCHEMA),
    "order of what is written": ask(schema={**SCHEMA, "properties": dict(reversed(SCHEMA["properties"].items()))}),  # type: ignore[attr-defined]
    "laid over": ask(endpoint=laid_over(top_k=5)),
    "laid over otherwise": ask(endpoint=laid_over(top_k=6)),
    "taken away": ask(endpoint=laid_over(temperature=None)),
    "text": ask(chat=(CHAT[0], Message("user", "What is 2 + 4?"))),
    "role": ask(chat=(Message("user", "Teach."), CHAT[1])),
    "order": ask(chat=(CHAT[1], CHAT[0])),
    "more": ask(chat=(*CHAT, Message("assistant", ""))),
    "less": ask(chat=CHAT[:1]),
    "space": ask(chat=(CHAT[0], Message("user", "What is 2 + 3? "))),
    "form of Unicode": ask(chat=(CHAT[0], Message("user", "é"))),
    "other form of Unicode": ask(chat=(CHAT[0], Message("user", "e\u0301"))),
}


def test_what_decides_the_answer_changes_the_key() -> None:
    keys = {what: request.key for what, request in {"nothing": ask(), **OTHER}.items()}
    assert len(set(keys.values())) == len(keys)
    assert all(len(key) == 32 for key in keys.values())


SAME = {
    "address": ask("vllm/m@http://gpu1/v1,http://gpu2/v1"),
    "what an endpoint is": ask(endpoint=Endpoint(base_urls=("http://a/v1",), key="K", at_once=2, timeout=5, price={})),
    "tokens of own turns": ask(chat=(CHAT[0], replace(CHAT[1], tokens=Tokens((1,), (2,), (0.0,))))),
    "kind of number": ask(temperature=0.7, max_tokens=60),
    "empty": ask(endpoint=laid_over(), stop=(), top_p=1),
    "said twice": ask(endpoint=laid_over(temperature=0.7)),
}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_decide_it_does_not(what: str) -> None:
    assert SAME[what].key == ask().key
    assert SAME[what].parameters == ask().parameters


def test_the_order_of_fields_and_the_kind_of_a_number_are_nothing() -> None:
    one, other = laid_over(top_k=5, min_p=0.1), laid_over(min_p=0.1, top_k=5)
    assert ask(endpoint=one) == ask(endpoint=other)
    assert ask(temperature=1).key == ask(temperature=1.0).key


def test_a_key_is_the_same_in_every_process() -> None:
    script = "from test_request import *; print(ask(schema=SCHEMA, stop=('a',)).key.hex())"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join([*sys.path, os.path.dirname(__file__)]),
    }
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == ask(schema=SCHEMA, stop=("a",)).key.hex()


def test_a_key_does_not_change_with_the_version_of_the_code() -> None:
    # If this fails, every call that was paid for is paid for again: raise KEY_VERSION only where answers change.
    assert ask().key.hex() == "2edcc5b9ecd1771fd3bd35087575b21f44a4f30d87607d56e4c3f9eadb365773"


def test_what_is_sent() -> None:
    request = ask(top_p=0.9, stop=("\n",), logprobs=True, schema=SCHEMA, endpoint=laid_over(top_k=5))
    assert request.body() == {
        "model": "m",
        "messages": [{"role": "system", "content": "Teach."}, {"role": "user", "content": "What is 2 + 3?"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 60,
        "seed": (2**40 + 5) % 2**31,
        "stop": ["\n"],
        "logprobs": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}},
        "top_k": 5,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    assert request.parameters.startswith('{"logprobs":true,"max_tokens":60,"min_p":0.0,"model":"m"')
    assert (request.sample, request.most_tokens) == (2**40 + 5, 60)


def test_a_schema_is_sent_in_the_order_in_which_it_is_to_be_filled() -> None:
    sent = ask(schema=SCHEMA).body()["response_format"]["json_schema"]["schema"]
    assert list(sent["properties"]) == ["thought", "answer"]


def test_only_what_was_asked_for_is_sent() -> None:
    asked = {"model", "messages", "temperature", "max_tokens"}
    assert set(ask("openrouter/m", seed=None).body()) == asked | {"usage"}
    assert set(ask("gemini/m", endpoint=laid_over(temperature=None)).body()) == asked - {"temperature"}


def test_own_servers_are_told_to_cut_nothing_from_the_distribution() -> None:
    for name, uncut in (
        ("vllm/m", {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}),
        ("llamacpp/m", {"top_p": 1.0, "top_k": 0, "min_p": 0.0}),
        ("ollama/m", {"top_p": 1.0}),
    ):
        assert ask(name).body().items() >= uncut.items()
        assert ask(name, top_p=0.5).body()["top_p"] == 0.5
        assert ask(name, endpoint=laid_over(top_k=20)).body()["top_k"] == 20


def test_services_differ() -> None:
    assert "max_tokens" not in ask("openai/m").body()
    assert ask("openai/m").body()["max_completion_tokens"] == 60
    assert "seed" not in ask("gemini/m").body()
    assert ask("gemini/m").sample == SAMPLING.seed
    assert ask("gemini/m", seed=1).key != ask("gemini/m", seed=2).key
    assert ask("openrouter/m").body()["usage"] == {"include": True}


def test_a_length_that_was_laid_over_is_what_the_budget_reserves() -> None:
    assert ask(endpoint=laid_over(max_tokens=4096)).most_tokens == 4096
    changed = laid_over(max_tokens=None, max_completion_tokens=900)
    assert (ask(endpoint=changed).most_tokens, "max_tokens" in ask(endpoint=changed).body()) == (900, False)


roles = st.sampled_from(["system", "user", "assistant"])
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\n us"), max_size=12)
chats = st.lists(st.builds(Message, roles, texts), min_size=1, max_size=4)


@given(chats, chats)
@example([Message("user", "a"), Message("user", "b")], [Message("user", "a\0user\0b")])
@example([Message("user", "ab"), Message("user", "")], [Message("user", "a"), Message("user", "b")])
def test_two_chats_have_one_hash_only_if_they_are_one(one: list[Message], other: list[Message]) -> None:
    assert (chat_hash(one) == chat_hash(other)) == (one == other)


@given(chats, st.data())
def test_text_cannot_be_moved_between_messages(chat: list[Message], data: st.DataObject) -> None:
    whole = "".join(message.content for message in chat)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=len(chat) - 1, max_size=len(chat) - 1)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    moved = [replace(message, content=part) for message, part in zip(chat, parts, strict=True)]
    assert (ask(chat=tuple(moved)).key == ask(chat=tuple(chat)).key) == (moved == chat)


@given(chats)
def test_the_body_is_what_the_parameters_and_the_messages_say(chat: list[Message]) -> None:
    request = ask(chat=tuple(chat))
    body = json.loads(json.dumps(request.body()))
    assert [(message["role"], message["content"]) for message in body.pop("messages")] == [
        (message.role, message.content) for message in chat
    ]
    assert body == json.loads(request.parameters)
