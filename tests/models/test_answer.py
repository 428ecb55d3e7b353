import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.dialogue import split_reply
from diotima.models.answer import Answer, Unreadable, read_answer, read_usage
from diotima.models.chat import Usage

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def body(message: Any = None, usage: Any = USAGE, **choice: Any) -> bytes:
    message = {"role": "assistant", "content": "How many?"} if message is None else message
    choices = [{"index": 0, "message": message, "finish_reason": "stop", **choice}]
    return json.dumps({"id": "chatcmpl-1", "choices": choices, "usage": usage}).encode()


def read(told: bytes) -> Answer:
    answer = read_answer(told)
    assert isinstance(answer, Answer), answer
    return answer


def why_not(told: bytes) -> str:
    answer = read_answer(told)
    assert isinstance(answer, Unreadable), answer
    return answer.reason


def text(**message: Any) -> str:
    return read(body(message)).reply.text


def test_an_answer() -> None:
    answer = read(body())
    assert (answer.reply.text, answer.reply.finish, answer.provider_id) == ("How many?", "stop", "chatcmpl-1")
    assert answer.usage == answer.reply.usage == Usage(9, 4)
    assert answer.dollars is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (b"", "the answer is empty"),
        (b" \r\n", "the answer is empty"),
        (b"<!DOCTYPE html><html><title>Wait</title></html>", "the answer is not JSON: Wait"),
        (body()[: len(body()) // 2], "the answer is not JSON"),
        (b"\xff\xfe\x00", "the answer is not JSON"),
        (b"[" * 100_000, "the answer is not JSON"),
        (b'{"a":' * 100_000, "the answer is not JSON"),
        (b'{"usage": ' + b"9" * 5000 + b"}", "the answer is not JSON"),
        (b"[1]", "the answer is a JSON list"),
        (b"null", "the answer is a JSON NoneType"),
        (b"{}", "the answer has no choices"),
        (b'{"choices": []}', "the answer has no choices"),
        (b'{"choices": {}}', "the answer has no choices"),
        (b'{"choices": [3]}', "the answer has no choices"),
        (b'{"choices": [{"text": "old"}]}', "the answer has no message"),
        (b'{"choices": [{"message": null}]}', "the answer has no message"),
        (b'{"error": "overloaded"}', "an error was sent as an answer: overloaded"),
        (b'{"error": {"message": "The provider failed.", "code": 502}}', "an error .* The provider failed."),
        (body(error={"message": "Cut short."}), "an error .* Cut short."),
        (body(finish_reason="error"), "an error was sent as an answer: without a reason"),
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', "the answer is a stream that broke off"),
    ],
)
def test_what_is_no_answer(told: bytes, reason: str) -> None:
    assert re.match(reason, why_not(told))


def test_an_error_that_is_nothing_is_none() -> None:
    told = json.loads(body())
    assert read(json.dumps({**told, "error": None}).encode()).reply.text == "How many?"
    assert read(body(error=None)).reply.text == "How many?"


def test_of_a_key_that_stands_there_twice_the_last_counts() -> None:
    twice = b'{"usage": {"prompt_tokens": 1, "completion_tokens": 1}, ' + body()[1:]
    assert read(twice).usage == Usage(9, 4)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": 5}, ""),
        ({"content": None, "tool_calls": [{"function": {"name": "add"}}]}, ""),
        ({"content": [{"type": "text", "text": "How "}, {"type": "text", "text": "many?"}]}, "How many?"),
        ({"content": [{"text": "How"}, {"type": "text"}, {"type": "text", "text": None}, "many", None]}, "How"),
        ({"content": [{"type": "reasoning", "text": "It is 5."}, {"type": "text", "text": "Hm?"}]}, "Hm?"),
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": "Half a", "refusal": "No."}, "Half a"),
        ({"content": "half \ud83d a pair"}, "half \ufffd a pair"),
        ({"content": "a pair \ud83d\ude42"}, "a pair \U0001f642"),
        ({"content": "nothing \0 at all"}, "nothing \0 at all"),
    ],
)
def test_what_was_said(message: dict[str, Any], said: str) -> None:
    assert text(**message) == said


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_a_thought_in_a_field_of_its_own_is_private(field: str) -> None:
    said, thought, _, malformed = split_reply(text(content="Hm?", **{field: "It is 5."}))
    assert (said, thought, malformed) == ("Hm?", "It is 5.", False)


@pytest.mark.parametrize(
    ("message", "said", "thought"),
    [
        ({"content": "Hm?", "reasoning_content": "one", "reasoning": "one"}, "Hm?", "one"),
        ({"content": "Hm?", "reasoning_content": " ", "reasoning": "one"}, "Hm?", "one"),
        ({"content": "Hm?", "reasoning": "a</think>b<think>c"}, "Hm?", "a b c"),
        ({"content": "<think>one</think>Hm?", "reasoning": "one"}, "Hm?", "one"),
        ({"content": "one</think>Hm?", "reasoning": None}, "Hm?", "one"),
        ({"content": "<think>one", "reasoning": ""}, "", "one"),
        ({"content": "", "reasoning": "one"}, "", "one"),
        ({"content": None, "reasoning": "one"}, "", "one"),
        ({"content": "Hm?", "reasoning": "\ud800"}, "Hm?", "\ufffd"),
        ({"content": "Hm?", "reasoning": {"text": "one"}}, "Hm?", ""),
    ],
)
def test_a_thought_is_never_heard(message: dict[str, Any], said: str, thought: str) -> None:
    assert split_reply(text(**message))[:2] == (said, thought)


@pytest.mark.parametrize(
    ("choice", "message", "finish"),
    [
        ({"finish_reason": "length"}, {"content": ""}, "length"),
        ({"finish_reason": "content_filter"}, {"content": ""}, "refused"),
        ({"finish_reason": "stop"}, {"content": None, "refusal": "No."}, "refused"),
        ({"finish_reason": "tool_calls"}, {"content": None}, "stop"),
        ({"finish_reason": None}, {"content": "Hm?"}, "stop"),
        ({"finish_reason": ["length"]}, {"content": "Hm?"}, "stop"),
    ],
)
def test_how_a_reply_ended(choice: dict[str, Any], message: dict[str, Any], finish: str) -> None:
    assert read(body(message, **choice)).reply.finish == finish


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 9},
        {"prompt_tokens": float("nan"), "completion_tokens": 4},
        {"prompt_tokens": -9, "completion_tokens": 4},
        {"prompt_tokens": True, "completion_tokens": 4},
        {"prompt_tokens": 9.0, "completion_tokens": 4},
        {"prompt_tokens": "9", "completion_tokens": 4},
        {"prompt_tokens": 2**53, "completion_tokens": 4},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    ],
)
def test_counts_that_cannot_be_are_none(usage: Any) -> None:
    assert read_usage(usage) is None
    answer = read(body(usage=usage))
    assert (answer.usage, answer.reply.usage) == (None, Usage())


@pytest.mark.parametrize(
    ("more", "usage"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 8}}, Usage(9, 4, cached_tokens=8)),
        ({"prompt_tokens_details": {"cached_tokens": 80}}, Usage(9, 4, cached_tokens=9)),
        ({"prompt_tokens_details": None, "completion_tokens_details": []}, Usage(9, 4)),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, Usage(9, 4, reasoning_tokens=3)),
        ({"completion_tokens_details": {"reasoning_tokens": 30}}, Usage(9, 4, reasoning_tokens=4)),
        ({"completion_tokens_details": {"reasoning_tokens": -3}}, Usage(9, 4)),
        # Gemini's thoughts stand in the total only.
        ({"total_tokens": 113}, Usage(9, 104, reasoning_tokens=100)),
        ({"total_tokens": 5}, Usage(9, 4)),
        ({"total_tokens": True}, Usage(9, 4)),
    ],
)
def test_counts(more: dict[str, Any], usage: Usage) -> None:
    assert read_usage(USAGE | more) == usage


@pytest.mark.parametrize(
    ("cost", "dollars"),
    [
        (0.00015, Decimal("0.00015")),
        (1e-7, Decimal("1e-7")),
        (2, Decimal(2)),
        (0, Decimal(0)),
        (-1, None),
        (True, None),
        ("1", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        (10**9, None),
    ],
)
def test_what_it_says_it_cost(cost: Any, dollars: Decimal | None) -> None:
    assert read(body(usage=USAGE | {"cost": cost})).dollars == dollars


def test_log_probabilities_are_pairs_of_a_text_and_a_number() -> None:
    odd: list[Any] = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}, {"token": "c", "logprob": True}]
    odd += [{"token": "d", "logprob": float("nan")}, {"token": "e", "logprob": -(10**400)}, {"token": 5}, None, 3]
    assert read(body(logprobs={"content": odd})).reply.logprobs == (("a", -0.5), ("b", -1.0))
    for none in (None, [], {"content": None}, {"content": "abc"}, "abc"):
        assert read(body(logprobs=none)).reply.logprobs == ()


def test_ten_megabytes() -> None:
    assert len(text(content="long " * 2_000_000)) == 10_000_000


def test_what_calls_it_by_is_a_text() -> None:
    told = json.loads(body())
    assert read(json.dumps({**told, "id": 5}).encode()).provider_id == ""
    assert read(json.dumps({**told, "id": "\ud800"}).encode()).provider_id == "\ufffd"


def holds_together(told: bytes) -> None:
    answer = read_answer(told)
    if isinstance(answer, Unreadable):
        assert answer.reason
        answer.reason.encode()
        return
    # Everything in it can be stored, sent and counted.
    answer.reply.text.encode()
    answer.provider_id.encode()
    json.dumps(answer.reply.logprobs, allow_nan=False).encode()
    usage = answer.reply.usage
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens
    assert 0 <= usage.reasoning_tokens <= usage.reply_tokens
    assert answer.dollars is None or answer.dollars.is_finite()


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_as_something(told: bytes) -> None:
    holds_together(told)
    holds_together(b"data: " + told)


STREAM = b"".join(
    b"data: " + json.dumps(piece).encode() + b"\n\n"
    for piece in (
        {"id": "1", "choices": [{"delta": {"role": "assistant", "content": "", "reasoning": "Hm"}}]},
        {"choices": [{"delta": {"content": "Wh\u00e4t?"}, "logprobs": {"content": [{"token": "W", "logprob": -1}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    )
)
WHOLE = body(
    {"content": "Hm?", "reasoning": "5", "refusal": None},
    USAGE | {"cost": 0.1, "prompt_tokens_details": {"cached_tokens": 3}},
    logprobs={"content": [{"token": "Hm", "logprob": -0.1}]},
)


@given(st.sampled_from([WHOLE, STREAM]), st.data())
def test_torn_and_patched_answers_are_read_as_something(told: bytes, data: st.DataObject) -> None:
    start, end = sorted((data.draw(st.integers(0, len(told))), data.draw(st.integers(0, len(told)))))
    holds_together(told[:start] + data.draw(st.binary(max_size=4)) + told[end:])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(told: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    return [path, *(place for name, value in inner for place in places(value, (*path, name)))]


def patched(told: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = told.copy()
    copy[path[0]] = patched(told[path[0]], path[1:], value)
    return copy


@given(st.data(), values)
def test_any_field_may_hold_anything(data: st.DataObject, value: Any) -> None:
    whole = json.loads(WHOLE)
    holds_together(json.dumps(patched(whole, data.draw(st.sampled_from(places(whole))), value)).encode())
    line, *lines = data.draw(st.permutations([line for line in STREAM.splitlines() if line]))
    piece = json.loads(line[6:])
    changed = json.dumps(patched(piece, data.draw(st.sampled_from(places(piece))), value)).encode()
    holds_together(b"\n\n".join([b"data: " + changed, *lines]))
