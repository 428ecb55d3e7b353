"""Reading what an endpoint sent: the raw body of an answer to a chat, which stands in the ledger before it is read.

Servers say 200 and send a web page, an error, half a text, or no usage. What cannot be read is told as such and never
taken for a reply. A thought comes in a field of its own or between think tags; here it always ends up between tags,
where `dialogue.split_reply` finds it. Every text comes out such that it can be stored and sent again: half a surrogate
pair, which JSON can hold and UTF-8 cannot, becomes a replacement character.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeGuard

from diotima.dialogue import THINK_CLOSE, THINK_OPEN
from diotima.models.chat import Reply, Usage
from diotima.models.events import assembled, is_stream
from diotima.models.retrying import what_it_said

_MOST_DOLLARS = 100_000  # for one call: what is said to cost more is no price
_THOUGHT = ("reasoning_content", "reasoning", "thinking")  # vLLM and DeepSeek; OpenRouter; Ollama


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A 200 that is no answer, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as it was read. ``usage`` is None where the server did not tell; ``dollars``: what it says it cost."""

    reply: Reply
    usage: Usage | None
    dollars: Decimal | None
    provider_id: str


def read_answer(body: bytes) -> Answer | Unreadable:
    """What a whole body with status 200 says."""
    try:
        told = assembled(body) if is_stream(body) else json.loads(body)
    except (ValueError, RecursionError):
        if not body.strip():
            return Unreadable("the answer is empty")
        what = "a stream that broke off" if is_stream(body) else "not JSON"
        return Unreadable(f"the answer is {what}: {what_it_said(200, body[:2000].decode(errors='replace'))}")
    if not isinstance(told, dict):
        return Unreadable(f"the answer is a JSON {type(told).__name__}")
    if told.get("error"):
        return _an_error(told)
    choices = told.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Unreadable("the answer has no choices")
    choice: dict[str, Any] = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        return Unreadable("the answer has no message")
    if choice.get("error") or choice.get("finish_reason") == "error":
        return _an_error(choice)
    usage = read_usage(told.get("usage"))
    reply = Reply(
        _text(message),
        _finish(choice, message),
        usage=usage or Usage(),
        logprobs=_logprobs(choice.get("logprobs")),
    )
    return Answer(reply, usage, _dollars(told.get("usage")), _written(told.get("id")))


def _an_error(told: Mapping[str, Any]) -> Unreadable:
    said = what_it_said(None, json.dumps({"error": told.get("error") or "without a reason"}))
    return Unreadable(f"an error was sent as an answer: {said}")


def read_usage(told: object) -> Usage | None:
    """The counts of an answer, or None if they are not all there and sensible."""
    if not isinstance(told, Mapping):
        return None
    prompt, reply = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens"))
    if prompt is None or reply is None or prompt + reply == 0:  # no chat is without tokens
        return None
    read, written = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    cached = _count(read.get("cached_tokens")) if isinstance(read, Mapping) else None
    reasoning = _count(written.get("reasoning_tokens")) if isinstance(written, Mapping) else None
    # Gemini counts thoughts in the total only, beside the reply: they are written, and billed as such.
    total = _count(told.get("total_tokens"))
    if total is not None and total > prompt + reply:
        reasoning, reply = total - prompt - reply, total - prompt
    return Usage(prompt, reply, min(cached or 0, prompt), min(reasoning or 0, reply))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):  # parts, as some services send them
        spoken = (part for part in content if isinstance(part, dict) and part.get("type", "text") == "text")
        content = "".join(_written(part.get("text")) for part in spoken)
    text = _written(content) or _written(message.get("refusal"))
    thought = next((thought for name in _THOUGHT if (thought := _written(message.get(name))).strip()), "")
    if not thought or THINK_OPEN in text:
        return text
    for mark in (THINK_OPEN, THINK_CLOSE):
        thought = thought.replace(mark, " ")
    return f"{THINK_OPEN}{thought.strip()}{THINK_CLOSE}{text}"


def _finish(choice: Mapping[str, Any], message: Mapping[str, Any]) -> Any:
    if choice.get("finish_reason") == "content_filter" or message.get("refusal"):
        return "refused"
    return "length" if choice.get("finish_reason") == "length" else "stop"


def _logprobs(told: object) -> tuple[tuple[str, float], ...]:
    content = told.get("content") if isinstance(told, Mapping) else None
    if not isinstance(content, list):
        return ()
    pairs = ((entry.get("token"), entry.get("logprob")) for entry in content if isinstance(entry, dict))
    return tuple((_written(token), float(value)) for token, value in pairs if isinstance(token, str) and _number(value))


def _dollars(usage: object) -> Decimal | None:
    told = usage.get("cost") if isinstance(usage, Mapping) else None
    return Decimal(str(told)) if _number(told) and 0 <= told <= _MOST_DOLLARS else None


def _written(told: object) -> str:
    if not isinstance(told, str):
        return ""
    return told if told.isascii() else told.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 2**53 else None


def _number(told: object) -> TypeGuard[int | float]:
    """Whether it is a number, and not NaN, infinite, or too large for a float."""
    return isinstance(told, int | float) and not isinstance(told, bool) and abs(told) <= sys.float_info.max
