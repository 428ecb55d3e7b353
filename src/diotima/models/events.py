"""Answers that come in pieces: lines of server-sent events, put together to what the same answer would be as a whole.

The ledger keeps the lines as they came; `assembled` makes of them the body that `answer.read_answer` reads, so that an
answer is the same whichever way it came, and one that broke off is none.
"""

import json
from collections.abc import Iterable
from typing import Any

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning", "thinking")


def is_stream(body: bytes) -> bool:
    """Whether a stored body is a stream of events and not one JSON object."""
    return body[:100].lstrip().startswith((b"data:", b":", b"event:", b"id:", b"retry:"))


def piece_of(line: bytes) -> dict[str, Any] | None:
    """The object in one line, or None for a comment, an empty line or the end mark. Raises ValueError if it is torn."""
    if not line.startswith(b"data:"):
        return None
    data = line[5:].strip()
    if not data or data == b"[DONE]":
        return None
    piece = json.loads(data)
    if not isinstance(piece, dict):
        raise ValueError("an event is not an object")
    return piece


def heard_in(line: bytes) -> str:
    """What is to be heard in one line, "" if it is torn or holds nothing."""
    try:
        content = _delta(piece_of(line) or {}).get("content")
    except ValueError:
        return ""
    return content if isinstance(content, str) else ""


def assembled(body: bytes) -> dict[str, Any]:
    """The whole answer. Raises ValueError if a line is torn or the stream broke off before its end."""
    return _joined([piece for line in body.splitlines() if (piece := piece_of(line)) is not None])


def _joined(pieces: Iterable[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    message: dict[str, str] = {}
    choice: dict[str, Any] = {"message": message}
    likely: list[Any] = []
    for piece in pieces:
        for name in ("id", "model", "usage", "error"):
            if piece.get(name):
                whole[name] = piece[name]
        for name in _TEXTS:
            if isinstance(text := _delta(piece).get(name), str):
                message[name] = message.get(name, "") + text
        told = _choice(piece)
        if told.get("finish_reason"):
            choice["finish_reason"] = told["finish_reason"]
        if isinstance(told.get("logprobs"), dict) and isinstance(more := told["logprobs"].get("content"), list):
            likely += more
    if not choice.get("finish_reason") and "error" not in whole:
        raise ValueError("the stream broke off")
    if likely:
        choice["logprobs"] = {"content": likely}
    return {**whole, "choices": [choice]}


def _choice(piece: dict[str, Any]) -> dict[str, Any]:
    choices = piece.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _delta(piece: dict[str, Any]) -> dict[str, Any]:
    delta = _choice(piece).get("delta")
    return delta if isinstance(delta, dict) else {}
