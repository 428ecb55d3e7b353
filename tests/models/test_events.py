import asyncio
import json
from typing import Any

import pytest
from servers.scripted import Fault, Script, serving

from diotima.models.answer import Answer, read_answer
from diotima.models.events import assembled, is_stream, piece_of
from diotima.models.transport import Sent, Server

CHAT = [{"role": "system", "content": "Teach."}, {"role": "user", "content": "What is 2 + 3?"}]


def line(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": finish}], **more}).encode()


def said(*lines: bytes, end: bytes = b"\n\n") -> str:
    message: dict[str, Any] = assembled(end.join(lines))["choices"][0]["message"]
    return str(message.get("content"))


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\n", b"\r\n"])
def test_pieces_make_a_whole(end: bytes) -> None:
    assert said(line("How "), line("many?"), line(finish="stop"), b"data: [DONE]", end=end) == "How many?"


@pytest.mark.parametrize(
    "beside",
    [
        b": OPENROUTER PROCESSING",
        b":",
        b"event: message",
        b"id: 7",
        b"retry: 3000",
        b"",
        b"data:",
        b"data: [DONE]",
        b'data: {"choices": []}',
        b'data: {"choices": [null]}',
        b'data: {"choices": [{"delta": null}]}',
    ],
)
def test_lines_that_say_nothing(beside: bytes) -> None:
    assert said(beside, line("How "), beside, line("many?"), line(finish="stop"), beside) == "How many?"
    assert is_stream(b"\n".join([beside or b"\r\n", line("How ")]))


def test_what_does_not_end_is_torn() -> None:
    for torn in (
        [line("How ")],
        [line("How "), b"data: [DONE]"],
        [line("How "), line(finish="stop")[:-5]],
        [b"data: [1]"],
    ):
        with pytest.raises(ValueError, match=r"."):
            assembled(b"\n\n".join(torn))


def test_it_may_end_without_its_end_mark_and_with_its_counts() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    counts = b"data: " + json.dumps({"choices": [], "usage": usage}).encode()
    assert assembled(b"\n\n".join([line("Hm?", usage=None), line(finish="length", id="x"), counts])) == {
        "id": "x",
        "usage": usage,
        "choices": [{"message": {"content": "Hm?"}, "finish_reason": "length"}],
    }


@pytest.mark.parametrize("tail", [[], [line(finish="error")], [line(finish="stop"), b"data: [DONE]"]])
def test_an_error_amid_the_stream_is_no_answer(tail: list[bytes]) -> None:
    error = b'data: {"error": {"code": 502, "message": "The provider failed."}}'
    answer = read_answer(b"\n\n".join([line("How "), error, *tail]))
    assert "The provider failed." in str(answer)
    assert not isinstance(answer, Answer)


def test_half_a_sign_in_each_of_two_pieces_is_one_sign() -> None:
    answer = read_answer(b"\n\n".join([line("\ud83d"), line("\ude42"), line(finish="stop")]))
    assert isinstance(answer, Answer)
    assert answer.reply.text == "\U0001f642"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>data: </html>", b'{"data:": 1}', b" \n{}"])
def test_what_is_no_stream(body: bytes) -> None:
    assert not is_stream(body)


def test_a_torn_line_is_told() -> None:
    assert piece_of(b'data:{"a": 1}') == {"a": 1}
    for torn in (b'data: {"a": ', b"data: 3", b"data: nothing"):
        with pytest.raises(ValueError, match=r"."):
            piece_of(torn)


async def both_ways(script: Script, **more: Any) -> tuple[Any, Any, list[bytes]]:
    body = {"model": "m", "messages": CHAT, "seed": 5, "max_tokens": 200, **more}
    async with serving(script) as service:
        server = Server(service.url, "", 5)
        whole = await server.send(body)
        lines: list[bytes] = []
        await server.send(body | {"stream": True}, lines.append)
        await server.close()
    return read_answer(whole.body), read_answer(b"\n".join(lines)), lines


@pytest.mark.parametrize("reasoning", ["", "reasoning", "reasoning_content", "tags"])
@pytest.mark.parametrize("more", [{}, {"logprobs": True}, {"max_tokens": 3}, {"stop": ["?"]}])
def test_an_answer_is_the_same_whichever_way_it_comes(reasoning: str, more: dict[str, Any]) -> None:
    script = Script(voice="guide", reasoning=reasoning, cached=True)
    whole, streamed, lines = asyncio.run(both_ways(script, **more))
    assert isinstance(streamed, Answer)
    assert (streamed.reply, streamed.usage) == (whole.reply, whole.usage)
    assert len(lines) > 10


def test_a_refusal_is_the_same_too() -> None:
    whole, streamed, _ = asyncio.run(both_ways(Script(faults=(Fault("refusal"),))))
    assert whole.reply == streamed.reply
    assert whole.reply.finish == "refused"


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    lines: list[bytes] = []

    async def play() -> Sent:
        async with serving(Script(faults=(Fault("cut"),))) as service:
            body = {"model": "m", "messages": CHAT, "stream": True}
            return await Server(service.url, "", 5).send(body, lines.append)

    sent = asyncio.run(play())
    assert (sent.status, sent.reason, sent.left) == (None, "the answer broke off", True)
    assert lines
    assert not isinstance(read_answer(b"\n".join(lines)), Answer)


@pytest.mark.parametrize("odd", [5, True, "abc", {"a": 1}, None])
def test_log_probabilities_that_are_no_list_are_none(odd: Any) -> None:
    choice = {"delta": {"content": "Hm?"}, "finish_reason": "stop", "logprobs": {"content": odd}}
    answer = read_answer(b"data: " + json.dumps({"choices": [choice]}).encode())
    assert isinstance(answer, Answer)
    assert (answer.reply.text, answer.reply.logprobs) == ("Hm?", ())
