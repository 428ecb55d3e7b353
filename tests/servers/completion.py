"""A request's completion, as a server would put it: whole, or as a stream of events.

Tokens are words here: usage, limits and log-probabilities all count them.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from servers.script import Script
from servers.voices import VOICES, Request, hashed, in_form, text_of

NORMAL = NormalDist()
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

Messages = Sequence[tuple[str, str]]  # role and text


def digest_of(body: Mapping[str, Any]) -> str:
    """SHA-256 of a whole request: model, messages and every parameter, in canonical JSON."""
    return hashlib.sha256(CANONICAL.encode(body).encode()).hexdigest()


def latency_of(seed: int | None, messages: Sequence[Mapping[str, Any]], median: float, sigma: float) -> float:
    """Seconds that a request takes: lognormal, drawn from its seed, or from its messages where it has none."""
    if not median or not sigma:
        return median
    key = str(seed) if seed is not None else CANONICAL.encode(messages)
    uniform = (int.from_bytes(hashlib.sha256(b"latency " + key.encode()).digest()[:8]) + 0.5) / 2**64
    return median * math.exp(sigma * NORMAL.inv_cdf(uniform))


def complete(body: Mapping[str, Any], messages: Messages, script: Script, number: int) -> dict[str, Any]:
    """The completion without its id, to the messages that the model reads.

    `number`, the request's place in the order of arrival, is drawn from where the seed is ignored.
    """
    asked = {name: value for name, value in body.items() if name not in script.ignore and value is not None}
    seed = asked.get("seed")
    if "seed" in script.ignore:
        seed = f"arrival {number}"
    if asked.get("temperature") == 0:
        seed = None  # greedy decoding draws nothing
    limit = asked.get("max_completion_tokens") or asked.get("max_tokens") or 1_000_000
    choices, used, thought = [], 0, 0
    for index in range(asked.get("n", 1)):
        key = CANONICAL.encode([body["model"], messages, seed, index])
        request = Request(messages, script.words, hashlib.sha256(key.encode()).digest())
        choice, reply_words, thought_words = _choice(index, request, asked, script, limit)
        choices.append(choice)
        used += reply_words + thought_words
        thought += thought_words
    prompt = words_in(messages)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": used, "total_tokens": prompt + used}
    if script.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": words_in(messages[:-1])}
    if script.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    if script.kind == "openrouter":
        usage["cost"] = prompt * script.prices[0] + used * script.prices[1]
    return {"object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}


def visible(body: Mapping[str, Any], script: Script) -> Messages:
    """The messages that the model gets to read."""
    read = [(message["role"], text_of(message.get("content"))) for message in body["messages"]]
    return [message for message in read if message[0] != "system"] if "system" in script.ignore else read


def words_in(messages: Messages) -> int:
    """How many tokens a prompt has."""
    return sum(len(text.split()) for _, text in messages)


def events(completion: Mapping[str, Any], include_usage: bool) -> list[bytes]:
    """The same completion as server-sent events, a word each."""
    if "choices" not in completion:
        return [_event(completion), b"data: [DONE]\n\n"]
    head = {key: value for key, value in completion.items() if key not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    sent = []
    for choice in completion["choices"]:
        sent += [_event(head | {"choices": [delta]}) for delta in _deltas(choice)]
    if include_usage and "usage" in completion:
        sent.append(_event(head | {"choices": [], "usage": completion["usage"]}))
    return [*sent, b"data: [DONE]\n\n"]


def _choice(
    index: int, request: Request, asked: Mapping[str, Any], script: Script, limit: int
) -> tuple[dict[str, Any], int, int]:
    """A choice, and how many words of reply and of thought it took."""
    thought = _words(hashed(request))[:limit] if script.reasoning else []
    text = in_form(asked.get("response_format", {}), request) or VOICES[script.voice](request)
    stop = asked.get("stop", ())
    ends = [text.index(end) for end in ([stop] if isinstance(stop, str) else stop) if end in text]
    words = _words(text[: min(ends)] if ends else text)
    room = limit - len(thought)
    finish = "length" if len(words) > room else "stop"
    words = words[:room]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(words)}
    if script.reasoning == "tags":
        # A model that is cut off while it thinks never closes its tag.
        closed = "</think>\n" if room else ""
        message["content"] = f"<think>{''.join(thought)}{closed}{message['content']}"
    elif script.reasoning:
        message[script.reasoning] = "".join(thought)
    choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": finish}
    if asked.get("logprobs"):
        alternatives = asked.get("top_logprobs", 0)
        choice["logprobs"] = {"content": [_logprob(word, alternatives) for word in _words(message["content"])]}
    return choice, len(words), len(thought)


def _words(text: str) -> list[str]:
    """The text in words, each with the white space before it, so that they join to the text again."""
    return re.findall(r"\s*\S+|\s+$", text)


def _logprob(word: str, alternatives: int) -> dict[str, Any]:
    """What was said is the likeliest token; the alternatives to it share what is left."""
    chosen = -0.01 * (1 + min(len(word), 50))
    left = math.log(1 - math.exp(chosen))
    likely = [(word, chosen), *((f"{word}{place}", left - place) for place in range(1, alternatives))]
    tokens = [{"token": token, "logprob": logprob, "bytes": list(token.encode())} for token, logprob in likely]
    return tokens[0] | {"top_logprobs": tokens[:alternatives]}


def _deltas(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    message, index = choice["message"], choice["index"]
    said = [{"role": "assistant", "content": ""}]
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        said += [{name: word} for word in _words(message.get(name) or "")]
    deltas = [{"index": index, "delta": delta, "finish_reason": None} for delta in said]
    if "logprobs" in choice:
        words = iter(choice["logprobs"]["content"])
        for delta in deltas:
            if delta["delta"].get("content"):
                delta["logprobs"] = {"content": [next(words)]}
    return [*deltas, {"index": index, "delta": {}, "finish_reason": choice["finish_reason"]}]


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
