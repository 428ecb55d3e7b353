import asyncio
import gc
import gzip
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import web
from servers.scripted import Fault, Script, serving

from diotima.errors import ModelError
from diotima.models.transport import LARGEST_BODY, Sent, Server

T = TypeVar("T")

BODY = {"model": "m", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
CANARY = "sk-canary-0123456789"
NOBODY = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", f" {CANARY}\n")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The address of a server that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def ask(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], key: str = "") -> Sent:
    async def play() -> Sent:
        async with answering(handler) as url:
            return await Server(url, key, 5).send(BODY)

    return asyncio.run(play())


def stream(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], key: str = "") -> tuple[list[bytes], Sent]:
    lines: list[bytes] = []

    async def play() -> Sent:
        async with answering(handler) as url:
            return await Server(url, key, 5).send({**BODY, "stream": True}, lines.append)

    sent = asyncio.run(play())
    assert sent.status != 200 or sent.body == b"\n".join(lines)
    return lines, sent


def ask_scripted(fault: Fault, timeout: float = 5) -> Sent:
    async def play() -> Sent:
        async with serving(Script(faults=(fault,))) as service:
            sent = await Server(service.url, "", timeout).send(BODY)
            assert len(service.seen.order) == 1  # whatever happens, it is asked once
            return sent

    return asyncio.run(play())


def ask_at(url: str) -> Sent:
    return asyncio.run(Server(url, "", 5).send(BODY))


@pytest.mark.parametrize("kind", ["429", "500", "401"])
def test_an_error_is_a_value(kind: str) -> None:
    sent = ask_scripted(Fault(kind))
    assert (sent.status, sent.reason) == (int(kind), "")
    assert b"error" in sent.body
    assert sent.headers.get("Retry-After") == ("1" if kind == "429" else None)


@pytest.mark.parametrize("kind", ["html", "truncated", "empty", "wrong_type", "huge", "nan_usage"])
def test_a_body_is_passed_on_whatever_it_is(kind: str) -> None:
    sent = ask_scripted(Fault(kind))
    assert (sent.status, sent.reason) == (200, "")
    assert (sent.body == b"") is (kind == "empty")


@pytest.mark.parametrize(
    ("kind", "timeout", "reason"),
    [
        # The SDK calls a connection that was reset after the request had arrived a connection that timed out.
        ("reset", 5, "Connection reset by peer"),
        ("cut", 5, "the answer broke off"),
        ("hang", 0.2, "no whole answer in 0.2 seconds"),
        ("drip", 0.2, "no whole answer in 0.2 seconds"),
    ],
)
def test_no_whole_answer_is_told_by_its_cause(kind: str, timeout: float, reason: str) -> None:
    assert ask_scripted(Fault(kind), timeout) == Sent(None, reason=reason)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (NOBODY, "Connection refused"),
        ("http://localhost:9/v1", "Connection refused"),
        (NOBODY.replace("http", "https"), "Connection refused"),
    ],
)
def test_nobody_there(url: str, reason: str) -> None:
    assert ask_at(url) == Sent(None, reason=reason, left=False)


def test_a_name_that_nobody_has() -> None:
    sent = ask_at("http://no-such-host.invalid/v1")
    assert sent.status is None
    assert sent.reason
    assert "invalid:80" not in sent.reason


def test_a_server_that_does_not_speak_https() -> None:
    async def play() -> Sent:
        async with serving() as service:
            return await Server(service.url.replace("http:", "https:"), "", 5).send(BODY)

    assert "SSL" in asyncio.run(play()).reason


def test_a_server_that_hangs_up() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.close()
        return web.Response()

    assert ask(hang_up) == Sent(None, reason="Server disconnected")


def test_a_redirection_is_not_followed_with_the_key() -> None:
    arrived: list[str] = []

    async def redirect(request: web.Request) -> web.StreamResponse:
        arrived.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    assert ask(redirect, "LAB_KEY").status == 307
    assert arrived == ["/v1/chat/completions"]


async def forty_mebibytes(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(40):
        await response.write(b"x" * 2**20)
    return response


async def announced(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x" * (LARGEST_BODY + 1))


async def compressed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b"x" * (LARGEST_BODY + 1), 1), headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("handler", [forty_mebibytes, announced, compressed])
@pytest.mark.filterwarnings("ignore")
def test_an_endless_answer_is_none(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # the server's own complaint that nobody listens
    assert ask(handler) == Sent(None, reason="the answer is longer than 32 MiB")


def test_nor_is_an_endless_stream(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    assert stream(forty_mebibytes)[1].reason == "the answer is longer than 32 MiB"


def test_an_answer_that_is_not_compressed_as_it_says() -> None:
    async def mislabelled(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"{}", headers={"Content-Encoding": "gzip"})

    sent = ask(mislabelled)
    assert sent.status is None
    assert sent.reason


async def repeating(request: web.Request) -> web.StreamResponse:
    said = request.headers["Authorization"]
    status = 200 if (await request.json()).get("stream") else 500
    return web.Response(status=status, text=f'data: {{"said": "{said}"}}\n\n', reason=said)


async def refusing(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": f"{request.headers['Authorization']} is wrong"}}, status=401)


def test_a_key_that_is_repeated_is_struck_out() -> None:
    sent = ask(repeating, "LAB_KEY")
    assert sent.body == b'data: {"said": "Bearer [key]"}\n\n'
    assert CANARY not in repr(sent)
    assert stream(repeating, "LAB_KEY")[0][0] == b'data: {"said": "Bearer [key]"}'
    assert b"Bearer [key] is wrong" in stream(refusing, "LAB_KEY")[1].body


@pytest.mark.parametrize("word", ["EMPTY", "x", "ollama"])
def test_what_stands_for_a_key_where_none_is_needed_is_no_secret(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", word)
    assert f"Bearer {word} is wrong" in ask(refusing, "LAB_KEY").body.decode()


def test_only_the_key_that_was_named_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", f"{CANARY}-{name}")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Team: {CANARY}")
    monkeypatch.setenv("OPENAI_BASE_URL", NOBODY)
    seen: list[str] = []

    async def listen(request: web.Request) -> web.StreamResponse:
        seen.append(repr(request.headers))
        return web.json_response({})

    ask(listen)
    stream(listen)
    assert len(seen) == 2
    assert CANARY not in "".join(seen)
    ask(listen, "LAB_KEY")
    assert seen[2].count(CANARY) == 1


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LAB_KEY", "", "the environment variable LAB_KEY is not set; it has to hold the key: export LAB_KEY=..."),
        ("LAB_KEY", " \n", "the environment variable LAB_KEY is not set"),
        ("LAB_KEY", f"{CANARY}\nX-More: 1", "what the environment variable LAB_KEY holds is no key"),
        ("LAB_KEY", f"{CANARY} # mine", "what the environment variable LAB_KEY holds is no key"),
        ("LAB_KEY", f"{CANARY}ä", "what the environment variable LAB_KEY holds is no key"),
        (CANARY, "", "`key` has to be the name of an environment variable"),
        (CANARY.replace("-", "_"), "", "`key` has to be the name of an environment variable"),
    ],
)
def test_a_key_that_is_not_there_is_one_sentence(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", value)
    with pytest.raises(ModelError, match=sentence) as told:
        Server(NOBODY, name, 5)
    assert "canary" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_server_is_not_told_with_its_key() -> None:
    assert CANARY not in repr(Server(NOBODY, "LAB_KEY", 5))


@pytest.mark.parametrize("close", [True, False])
def test_one_server_in_two_loops_leaves_nothing_open(close: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def play(server: Server) -> list[int | None]:
        async with serving() as service:
            server.url = service.url
            sent = await asyncio.gather(*(server.send(BODY) for _ in range(4)))
            sent.append(await server.get("/models"))
            if close:
                await server.close()
                await server.close()
        return [each.status for each in sent]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        server = Server(NOBODY, "", 5)
        for _ in range(2):
            assert asyncio.run(play(server)) == [200] * 5
        del server
        gc.collect()
    assert [str(warning.message) for warning in caught if "nclosed" in str(warning.message)] == []
    assert "nclosed" not in caplog.text


def test_closing_what_was_never_opened_or_opened_in_another_loop() -> None:
    server = Server(NOBODY, "", 5)
    asyncio.run(server.close())
    asyncio.run(server.send(BODY))
    asyncio.run(server.close())


def test_a_page_beside_the_addresss_own_path() -> None:
    async def play() -> list[int | None]:
        async with serving(Script(kind="llamacpp")) as service:
            server = Server(service.url, "", 5)
            root = service.url.removesuffix("/v1")
            return [(await server.get(page)).status for page in ("/models", f"{root}/props", "/props")]

    assert asyncio.run(play()) == [200, 200, 404]


def test_a_page_is_not_waited_for_as_long_as_a_reply() -> None:
    async def play() -> Sent:
        async with serving(Script(faults=(Fault("hang", probes=True),))) as service:
            return await Server(service.url, "", 600).get("/models", 0.1)

    assert asyncio.run(play()) == Sent(None, reason="no whole answer in 0.1 seconds")


async def in_odd_pieces(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for byte in 'data: {"a": "one\u2028two\x85three"}\r\n\r\ndata: [DONE]'.encode():
        await response.write(bytes([byte]))
    return response


def test_a_streams_lines_end_where_lines_of_events_end() -> None:
    assert stream(in_odd_pieces)[0] == ['data: {"a": "one\u2028two\x85three"}\r'.encode(), b"\r", b"data: [DONE]"]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("401", ""),
        ("reset", "Connection reset by peer"),
        ("hang", "no whole answer in 0.2 seconds"),
    ],
)
def test_a_stream_that_does_not_begin(kind: str, sentence: str) -> None:
    async def play() -> Sent:
        async with serving(Script(faults=(Fault(kind),))) as service:
            return await Server(service.url, "", 0.2).send({**BODY, "stream": True}, lambda line: None)

    sent = asyncio.run(play())
    assert (sent.status, sent.reason) == (401 if kind == "401" else None, sentence)
    assert sent.left


def test_whoever_stops_waiting_stops_the_request() -> None:
    async def play() -> bool:
        async with serving(Script(faults=(Fault("hang"),))) as service:
            asking = asyncio.create_task(Server(service.url, "", 5).send(BODY))
            while not service.seen.in_flight:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            while service.seen.in_flight:
                await asyncio.sleep(0.01)
            return asking.cancelled()

    assert asyncio.run(play())
