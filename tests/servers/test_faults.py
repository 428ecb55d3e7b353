import asyncio
import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from servers.asking import Client, chat, play
from servers.faults import Rules
from servers.scripted import KINDS, Fault, Script


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [False, True])
def test_after_every_fault_the_next_attempt_gets_the_reply(kind: str, stream: bool) -> None:
    async def use(client: Client) -> tuple[Any, bytes]:
        body = chat(seed=1) | ({"stream": True} if stream else {})
        wanted: Any = None
        try:
            wanted = await asyncio.wait_for(client.post(body), 0.05 if kind == "hang" else 10)
        except (aiohttp.ClientError, TimeoutError) as error:
            wanted = error
        status, _, text = await client.post(body)
        assert status == 200
        assert client.server.seen.faults == {kind: 1}
        return wanted, text

    befallen, good = play(Script(faults=(Fault(kind, attempts=1, seconds=0.02),)), use)
    assert b"error" not in good
    match kind:
        case "hang":
            assert isinstance(befallen, TimeoutError)
        case "reset":
            assert isinstance(befallen, aiohttp.ClientOSError)
        case "cut":
            assert isinstance(befallen, aiohttp.ClientPayloadError)
        case "drip":
            assert len(befallen[2]) == len(good)
        case "wrong_type":
            assert befallen[1]["Content-Type"].startswith("text/plain")
        case "html":
            assert befallen[1]["Content-Type"].startswith("text/html")
        case "huge":
            assert len(befallen[2]) > 10_000_000
        case "no_usage" | "null_usage" | "nan_usage" if stream:
            assert befallen[0] == 200  # usage was not asked for
        case _:
            status, _, body = befallen
            assert status == (200 if kind in SPOILS else {"context_length": 400, "insufficient_quota": 429}.get(kind)
                              or int(kind))  # fmt: skip
            assert body.replace(b'-1", "created', b'-2", "created') != good


SPOILS = """truncated empty duplicate_keys no_usage null_usage nan_usage no_choices null_content error_inside filtered
refusal""".split()


def test_what_is_wrong_with_spoiled_answers() -> None:
    async def use(client: Client) -> dict[str, bytes]:
        return {kind: (await client.post(chat(messages=[{"role": "user", "content": kind}])))[2] for kind in SPOILS}

    bodies = play(Script(faults=tuple(Fault(kind, when=kind) for kind in SPOILS)), use)
    for kind in ("truncated", "empty"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(bodies[kind])
    assert bodies["duplicate_keys"].count(b'"usage"') == 2
    assert b"NaN" in bodies["nan_usage"]
    values = {kind: json.loads(body) for kind, body in bodies.items() if kind not in ("truncated", "empty")}
    assert "usage" not in values["no_usage"]
    assert values["null_usage"]["usage"] is None
    assert values["no_choices"]["choices"] == []
    assert values["error_inside"].keys() == {"error"}
    choices = {kind: values[kind]["choices"][0] for kind in ("null_content", "filtered", "refusal")}
    assert choices["null_content"]["message"]["content"] is None
    assert choices["filtered"]["finish_reason"] == "content_filter"
    assert choices["refusal"]["message"]["refusal"]


def test_retry_after_has_three_forms() -> None:
    async def use(client: Client) -> Any:
        return (await client.post(chat()))[1]

    def headers(form: str) -> Any:
        return play(Script(faults=(Fault("429", retry_after=form, seconds=30),)), use)

    assert headers("seconds")["Retry-After"] == "30"
    assert headers("milliseconds")["retry-after-ms"] == "30000"
    assert 25 < parsedate_to_datetime(headers("date")["Retry-After"]).timestamp() - time.time() < 35
    assert not {"Retry-After", "retry-after-ms"} & set(headers("none"))


def test_rules_say_which_requests_are_befallen() -> None:
    def befallen(fault: Fault, count: int = 12) -> list[int]:
        rules = Rules([fault])
        return [number for number in range(1, count + 1) if rules.strike("", f"digest {number}", 1)]

    assert befallen(Fault("500")) == list(range(1, 13))
    assert befallen(Fault("500", first=3)) == [1, 2, 3]
    assert befallen(Fault("500", after=10)) == [11, 12]
    assert befallen(Fault("500", every=4)) == [4, 8, 12]
    assert befallen(Fault("500", every=5, burst=3)) == [5, 6, 7, 10, 11, 12]
    assert len(befallen(Fault("500", share=0.2), count=2000)) == pytest.approx(400, rel=0.15)
    share = Fault("500", share=0.5)
    assert {share.strikes(1, attempt, "digest") for attempt in range(1, 12)} == {True, False}

    rules = Rules([Fault("500", when="apple", every=2), Fault("503")])
    kinds = [struck.kind for text in ("apple", "pear", "apple") if (struck := rules.strike(text, "", 1))]
    assert kinds == ["503", "503", "500"]


def test_questions_about_models_can_fail_too() -> None:
    async def use(client: Client) -> list[int]:
        return [(await client.get("/v1/models"))[0], (await client.get("/v1/models"))[0], len(await client.text())]

    first, second, length = play(Script(faults=(Fault("401", first=1, probes=True),)), use)
    assert (first, second) == (401, 200)
    assert length > 0
