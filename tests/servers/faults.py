"""What can go wrong between a client and a server of models, by name and by rule.

A fault is one line of a script: what happens (`kind`) and to which requests. Conditions that are set must all hold; a
fault without any befalls every request. Rules count only the requests that meet `when`, and the first rule that strikes
wins.

    Fault("429", every=50, retry_after="date")     every 50th request is throttled
    Fault("503", every=100, burst=5)                five in a row, from every 100th on
    Fault("cut", attempts=1)                        every request breaks off once; its second attempt gets through
    Fault("500", share=0.2)                         a fifth of all attempts, drawn by request and attempt
    Fault("insufficient_quota", after=300)          the account runs dry
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "The request is not valid."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "402": (402, "invalid_request_error", None, "This request requires more credits."),
    "403": (403, "permission_error", None, "Your account may not use this model."),
    "404": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "408": (408, "timeout_error", None, "The request took too long to arrive."),
    "409": (409, "conflict_error", None, "Try again."),
    "413": (413, "invalid_request_error", None, "The request is too large."),
    "422": (422, "invalid_request_error", None, "The request could not be processed."),
    "425": (425, "invalid_request_error", None, "Too early."),
    "429": (429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached."),
    "500": (500, "server_error", None, "The server had an error."),
    "502": (502, "server_error", None, "Bad gateway."),
    "503": (503, "server_error", None, "The server is overloaded."),
    "504": (504, "server_error", None, "Gateway timeout."),
    "529": (529, "overloaded_error", None, "Overloaded."),
    "context_length": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    ),
    "insufficient_quota": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
}

Completion = dict[str, Any]


def _with_choice(completion: Completion, finish: str | None = None, **message: Any) -> Completion:
    first, *others = completion["choices"]
    first = first | {"message": first["message"] | message, "finish_reason": finish or first["finish_reason"]}
    return completion | {"choices": [first, *others]}


def _without(completion: Completion, name: str) -> Completion:
    return {key: value for key, value in completion.items() if key != name}


SPOILED: dict[str, Callable[[Completion], Completion]] = {
    "no_usage": lambda completion: _without(completion, "usage"),
    "null_usage": lambda completion: completion | {"usage": None},
    "nan_usage": lambda completion: completion | {"usage": completion["usage"] | {"prompt_tokens": float("nan")}},
    "no_choices": lambda completion: completion | {"choices": []},
    "null_content": lambda completion: _with_choice(completion, content=None),
    "error_inside": lambda completion: {"error": {"code": 502, "message": "The provider returned an error."}},
    "filtered": lambda completion: _with_choice(completion, "content_filter", content=""),
    "refusal": lambda completion: _with_choice(completion, content=None, refusal="I cannot help with that."),
    "huge": lambda completion: _with_choice(completion, content=("l" * 100_000 + " ") * 105),
}

GARBLED: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: body[: len(body) // 2],
    "empty": lambda body: b"",
    "html": lambda body: b"<!DOCTYPE html><html><body><h1>Please wait ...</h1></body></html>",
    "duplicate_keys": lambda body: b'{"usage": {"prompt_tokens": 0, "completion_tokens": 0}, ' + body[1:],
}

# reset: the connection is reset before a header; cut: closed after half the body; hang: no answer;
# drip: the body over some seconds; wrong_type: a good body called text/plain.
DELIVERY = ("reset", "cut", "hang", "drip", "wrong_type")

KINDS = (*ERRORS, *SPOILED, *GARBLED, *DELIVERY)


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule: what happens, and to which requests."""

    kind: str
    when: str = ""  # text in the last message
    first: int = 0  # only the first so many requests
    after: int = 0  # only those after so many
    every: int = 0  # every so many-th ...
    burst: int = 1  # ... and those that follow it, so many in a row
    attempts: int = 0  # the first so many attempts at each request
    share: float = 0.0  # this share of all attempts, drawn by request and attempt
    retry_after: str = "seconds"  # of a 429 or 503: seconds, date, milliseconds or none
    seconds: float = 1.0  # of Retry-After and of a dripping body
    probes: bool = False  # befalls the questions about models (/v1/models and the like) and not the chats

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no fault {self.kind!r}; there are {', '.join(KINDS)}.")
        if self.retry_after not in ("seconds", "date", "milliseconds", "none"):
            raise ValueError(f"retry_after: {self.retry_after!r} is not seconds, date, milliseconds or none.")
        if self.probes and self.kind in SPOILED:
            raise ValueError(f"{self.kind!r} spoils a completion; a question about models has none.")

    def strikes(self, count: int, attempt: int, digest: str) -> bool:
        """Whether it befalls the `count`-th request that this rule looks at, the `attempt`-th with that digest."""
        return (
            (not self.first or count <= self.first)
            and count > self.after
            and (not self.every or (count >= self.every and count % self.every < self.burst))
            and (not self.attempts or attempt <= self.attempts)
            and (not self.share or _uniform(f"{self.kind} {attempt} {digest}") < self.share)
        )


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


class Rules:
    """The faults of a script and how many requests each has looked at."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = faults
        self._counts = Counter[int]()

    def strike(self, last: str, digest: str, attempt: int, probe: bool = False) -> Fault | None:
        """The fault that befalls this request, if any. Every rule counts it, whichever strikes."""
        struck = None
        for index, fault in enumerate(self._faults):
            if fault.probes == probe and fault.when in last:
                self._counts[index] += 1
                if struck is None and fault.strikes(self._counts[index], attempt, digest):
                    struck = fault
        return struck


def error_answer(fault: Fault, message: str = "") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an error."""
    status, kind, code, usual = ERRORS[fault.kind]
    headers = _retry_after(fault) if fault.kind in ("429", "503") else {}
    error = {"message": message or usual, "type": kind, "param": None, "code": code}
    return status, headers, json.dumps({"error": error}).encode()


def refused(message: str, kind: str = "400") -> tuple[int, dict[str, str], bytes]:
    """The answer to a request that the server itself finds fault with."""
    return error_answer(replace(Fault(kind), retry_after="none"), message)


def _retry_after(fault: Fault) -> dict[str, str]:
    match fault.retry_after:
        case "seconds":
            return {"Retry-After": f"{fault.seconds:g}"}
        case "date":
            return {"Retry-After": formatdate(time.time() + fault.seconds, usegmt=True)}
        case "milliseconds":
            return {"retry-after-ms": f"{1000 * fault.seconds:g}"}
        case _:
            return {}
