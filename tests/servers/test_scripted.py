import asyncio
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from servers.asking import HELLO, Client, chat, play
from servers.scripted import Fault, Script, ScriptedServer, digest_of, latency_of


def test_a_reply_depends_on_model_messages_and_seed_alone() -> None:
    async def use(client: Client) -> list[str]:
        return [
            await client.text(seed=1),
            await client.text(seed=1, temperature=0.5),
            await client.text(seed=2),
            await client.text(seed=1, model="other"),
            await client.text(seed=1, messages=[HELLO[1]]),
        ]

    first, again, *others = play(Script(), use)
    assert first == again
    assert len({first, *others}) == 4
    assert play(Script(), use) == [first, again, *others]


def test_another_process_gives_the_same_reply_and_outlives_a_client() -> None:
    def texts(url: str) -> str:
        async def ask() -> str:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{url}/chat/completions", json=chat(seed=1)) as answer,
            ):
                return str((await answer.json())["choices"][0]["message"]["content"])

        return asyncio.run(ask())

    with ScriptedServer(Script()) as server:
        assert texts(server.url) == play(Script(), lambda client: client.text(seed=1))
        server.use(Script(faults=(Fault("hang"),)))
        address = urlsplit(server.url)
        body = json.dumps(chat(seed=2)).encode()
        with socket.create_connection((address.hostname, address.port)) as killed:
            killed.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
            killed.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            wait_for(lambda: server.counts()["in_flight"] == 1)
        wait_for(lambda: server.counts()["abandoned"] == 1)
        seen = server.seen()
        assert seen["order"] == [digest_of(chat(seed=1)), digest_of(chat(seed=2))]
        assert seen["billed"] == {digest_of(chat(seed=1)): 1}
        assert seen["in_flight"] == 0
        server.reset()
        assert server.counts()["requests"] == 0


def test_the_process_ends_with_the_one_that_started_it() -> None:
    start = "from servers.scripted import ScriptedServer as S; s = S().__enter__(); print(s.pid, flush=True); input()"
    tests = Path(__file__).parents[1]
    parent = subprocess.Popen([sys.executable, "-c", start], cwd=tests, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout
    server = int(parent.stdout.readline())
    assert is_alive(server)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_for(lambda: not is_alive(server))


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    # A process whose parent is gone may stay as a zombie where nothing reaps it.
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_latency_is_lognormal_and_keyed_by_the_seed() -> None:
    drawn = [latency_of(seed, HELLO, median=0.2, sigma=0.8) for seed in range(2000)]
    assert statistics.median(drawn) == pytest.approx(0.2, rel=0.1)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.8, rel=0.1)
    assert latency_of(7, HELLO, 0.2, 0.8) == latency_of(7, HELLO[:1], 0.2, 0.8) == drawn[7]
    assert latency_of(None, HELLO, 0.2, 0.8) != latency_of(None, HELLO[:1], 0.2, 0.8)


def test_slots_serve_first_come_first_served() -> None:
    async def use(client: Client) -> tuple[list[int], Any]:
        finished: list[int] = []

        async def one(seed: int) -> None:
            await client.text(seed=seed)
            finished.append(seed)

        await asyncio.gather(*[one(seed) for seed in range(12)])
        order = {digest_of(chat(seed=seed)): seed for seed in range(12)}
        assert finished == [order[digest] for digest in client.server.seen.order]
        return finished, client.server.seen

    _, seen = play(Script(median=0.005, sigma=1.0, slots=1), use)
    assert seen.most_at_once == 12


def test_requests_are_counted_by_all_that_they_hold() -> None:
    async def use(client: Client) -> Any:
        for body in (chat(seed=1), chat(seed=1), chat(seed=1, temperature=0.5)):
            await client.post(body, {"Authorization": "Bearer canary"})
        await client.post(chat(seed=3))
        return client.server.seen

    seen = play(Script(), use)
    assert seen.requests == {
        digest_of(chat(seed=1)): 2,
        digest_of(chat(seed=1, temperature=0.5)): 1,
        digest_of(chat(seed=3)): 1,
    }
    assert seen.billed == seen.requests
    assert list(seen.keys.values()) == [3]
    assert "canary" not in str(seen.as_dict())
    assert seen.last == chat(seed=3)


def test_ids_stay_unique_when_the_counts_begin_anew() -> None:
    async def use(client: Client) -> list[str]:
        first = (await client.ask())["id"]
        client.server.reset()
        return [first, (await client.ask())["id"]]

    assert len(set(play(Script(), use))) == 2


def test_limits_stops_and_usage() -> None:
    async def use(client: Client) -> None:
        whole = await client.ask(seed=1)
        text = whole["choices"][0]["message"]["content"]
        words = text.split()
        assert whole["choices"][0]["finish_reason"] == "stop"
        assert whole["usage"] == {"prompt_tokens": 9, "completion_tokens": len(words), "total_tokens": 9 + len(words)}
        for name in ("max_tokens", "max_completion_tokens"):
            short = await client.ask(seed=1, **{name: 3})
            assert short["choices"][0]["message"]["content"] == " ".join(words[:3])
            assert short["choices"][0]["finish_reason"] == "length"
            assert short["usage"]["completion_tokens"] == 3
        assert await client.text(seed=1, stop=[words[-1], words[2]]) == text[: text.index(words[2])]
        several = (await client.ask(seed=1, n=3))["choices"]
        assert [choice["index"] for choice in several] == [0, 1, 2]
        assert len({choice["message"]["content"] for choice in several}) == 3

    play(Script(), use)


def test_logprobs_cover_the_text() -> None:
    async def use(client: Client) -> None:
        choice = (await client.ask(seed=1, logprobs=True, top_logprobs=2))["choices"][0]
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
        assert all(token["top_logprobs"][0]["logprob"] == token["logprob"] < 0 for token in tokens)
        assert all(sum(math.exp(top["logprob"]) for top in token["top_logprobs"]) <= 1 for token in tokens)
        assert "logprobs" not in (await client.ask(seed=1))["choices"][0]

    play(Script(), use)


def test_a_schema_is_honoured() -> None:
    schema = {
        "type": "object",
        "properties": {
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
            "verdict": {"enum": ["pass", "fail"]},
            "reasons": {"type": "array", "items": {"$ref": "#/$defs/reason"}, "minItems": 2},
            "leaks": {"type": "boolean"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["score", "verdict", "reasons", "leaks", "note"],
        "$defs": {"reason": {"type": "string"}},
    }

    async def use(client: Client) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
        for seed in range(10):
            value = json.loads(await client.text(seed=seed, response_format=form))
            assert list(value) == schema["required"]
            assert value["score"] in range(1, 6)
            assert type(value["leaks"]) is bool
            assert [type(reason) for reason in value["reasons"]] == [str, str]

    play(Script(), use)


@pytest.mark.parametrize("reasoning", ["", "tags", "reasoning_content"])
def test_a_stream_holds_what_the_whole_reply_holds(reasoning: str) -> None:
    async def use(client: Client) -> None:
        whole = await client.ask(seed=1, logprobs=True)
        for options, with_usage in (({"include_usage": True}, True), (None, False)):
            _, headers, body = await client.post(chat(seed=1, logprobs=True, stream=True, stream_options=options))
            assert headers["Content-Type"] == "text/event-stream"
            *events, end = body.decode().strip().split("\n\n")
            assert end == "data: [DONE]"
            chunks = [json.loads(event.removeprefix("data: ")) for event in events]
            deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
            message = whole["choices"][0]["message"]
            for name in message.keys() - {"role"}:
                assert "".join(delta["delta"].get(name, "") for delta in deltas) == message[name]
            assert deltas[-1]["finish_reason"] == "stop"
            assert ([chunk["usage"] for chunk in chunks if "usage" in chunk] == [whole["usage"]]) == with_usage

    play(Script(reasoning=reasoning), use)


def test_thoughts_come_as_a_field_or_in_tags_and_may_eat_the_limit() -> None:
    async def use(client: Client) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        whole, cut = await client.ask(seed=1), await client.ask(seed=1, max_tokens=2)
        assert cut["choices"][0]["finish_reason"] == "length"
        assert cut["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
        return whole["choices"][0]["message"], cut["choices"][0]["message"], whole["usage"]

    plain = play(Script(), lambda client: client.text(seed=1))
    field, cut, usage = play(Script(reasoning="reasoning"), use)
    assert field["content"] == plain
    assert cut["content"] == ""
    assert usage["completion_tokens"] == len(plain.split()) + len(field["reasoning"].split())
    tags, cut, _ = play(Script(reasoning="tags"), use)
    assert tags["content"] == f"<think>{field['reasoning']}</think>\n{plain}"
    assert cut["content"].startswith("<think>")
    assert "</think>" not in cut["content"]


def test_voices() -> None:
    turns = [*HELLO, {"role": "assistant", "content": "Four?"}, {"role": "user", "content": "Answer with 'yes'."}]
    rule = {"role": "system", "content": 'Whatever is asked, answer "pineapple".'}

    def said(voice: str, *messages: Any, **more: Any) -> str:
        return str(play(Script(voice=voice, **more), lambda client: client.text(messages=list(messages))))

    assert said("guide", *turns).endswith("What is step 2?")
    assert "\\boxed{" in said("solver", *turns)
    assert said("echo", *turns) == "Answer with 'yes'."
    assert said("obedient", rule, HELLO[1]) == "pineapple"
    assert said("obedient", rule, HELLO[1], ignore=("system",)) != "pineapple"


def test_what_is_ignored_leaves_no_trace() -> None:
    fields = ("seed", "logprobs", "response_format", "stop", "n", "system")

    async def use(client: Client) -> None:
        asked = {"logprobs": True, "response_format": {"type": "json_object"}, "n": 2}
        first, second = [await client.ask(seed=1, **asked) for _ in range(2)]
        (choice,) = first["choices"]
        assert "logprobs" not in choice
        assert not choice["message"]["content"].startswith("{")
        assert choice["message"]["content"] != second["choices"][0]["message"]["content"]
        assert first["usage"]["prompt_tokens"] == 5

        greedy = [await client.text(seed=seed, temperature=0) for seed in (1, 2)]
        assert greedy[0] == greedy[1]
        assert await client.text(temperature=0, stop=greedy[0].split()[0]) == greedy[0]

    play(Script(ignore=fields), use)


def test_refusals_of_the_server_itself() -> None:
    async def use(client: Client) -> None:
        async def error(body: Any) -> tuple[int, str | None]:
            status, _, answer = await client.post(body, {"Authorization": "Bearer right"})
            return status, json.loads(answer)["error"]["code"]

        assert (await client.post(chat(model="served")))[0] == 401
        assert await error(chat()) == (404, "model_not_found")
        served = chat(model="served", messages=[HELLO[1]])
        assert (await client.post(served, {"Authorization": "Bearer right"}))[0] == 200
        assert await error(served | {"max_tokens": 100}) == (400, "context_length_exceeded")
        assert await error(served | {"seed": 1}) == (400, None)
        assert await error(served | {"messages": list(HELLO)}) == (400, None)
        assert (await error(["no chat"]))[0] == 400
        assert client.server.seen.billed.total() == 1
        assert client.server.seen.in_flight == 0

    play(Script(models=("served",), key="right", context=50, refuse=("seed", "system")), use)


def test_a_misspelt_script_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault 'fire'"):
        Fault("fire")
    with pytest.raises(ValueError, match="question about models"):
        Fault("refusal", probes=True)
    with pytest.raises(ValueError, match="no voice 'tenor'"):
        Script(voice="tenor")
    with pytest.raises(TypeError, match="latency"):
        Script.of({"latency": 1})
    script = Script(models=("a", "b"), faults=(Fault("429", every=2),))
    assert Script.of(json.loads(script.as_json())) == script


def test_kinds_of_servers_tell_about_their_models() -> None:
    async def use(client: Client) -> dict[str, Any]:
        paths = ("/health", "/version", "/props", "/api/tags", "/api/v1/models", "/v1/models", "/v1/models/tiny")
        answers = {path: await client.get(path) for path in paths}
        assert client.server.seen.probes == dict.fromkeys(paths, 1)
        return {path: answer for path, (status, answer) in answers.items() if status == 200}

    def tells(kind: str, weights: str = "1") -> dict[str, Any]:
        return dict(play(Script(kind=kind, models=("tiny",), weights=weights, context=512), use))

    assert tells("openai").keys() == {"/v1/models", "/v1/models/tiny"}
    assert tells("vllm")["/v1/models"]["data"][0]["max_model_len"] == 512
    assert tells("llamacpp")["/props"]["model_path"].endswith(".gguf")
    assert tells("ollama")["/api/tags"] != tells("ollama", weights="2")["/api/tags"]
    assert tells("openrouter")["/api/v1/models"]["data"][0]["pricing"]["completion"] == "0.000002"


def test_a_router_tells_what_a_reply_cost() -> None:
    usage = play(Script(kind="openrouter", prices=(0.001, 0.01), cached=True), lambda client: client.ask())["usage"]
    assert usage["cost"] == pytest.approx(0.001 * usage["prompt_tokens"] + 0.01 * usage["completion_tokens"])
    assert usage["prompt_tokens_details"] == {"cached_tokens": 4}
