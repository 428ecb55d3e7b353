"""Bodies are as the services write them, shortened; the words of each are its own."""

import json
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diotima.models.retrying import LONGEST_WAIT, Patience, classify, retry_after, what_it_said

NOW = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)


def openai_error(message: str, kind: str = "requests", code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def gemini_error(code: int, status: str, message: str, *details: dict[str, object]) -> str:
    return json.dumps([{"error": {"code": code, "message": message, "status": status, "details": list(details)}}])


def quota(name: str) -> dict[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


SLOWER = openai_error("Rate limit reached for gpt-4o-mini: Limit 3, Used 3.", code="rate_limit_exceeded")
NO_MONEY = openai_error("You exceeded your current quota.", "insufficient_quota", "insufficient_quota")
PER_MINUTE = gemini_error(429, "RESOURCE_EXHAUSTED", "Too many.", quota("GenerateRequestsPerMinutePerProjectPerModel"))
PER_DAY = gemini_error(
    429, "RESOURCE_EXHAUSTED", "Too many.", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
)
BAD_KEY = gemini_error(400, "INVALID_ARGUMENT", "Please pass a valid one.", {"reason": "API_KEY_INVALID"})
FLAGGED = json.dumps(
    {"error": {"code": 403, "message": "Flagged.", "metadata": {"flagged_input": "I kill", "reasons": []}}}
)
PASSED_ON = json.dumps(
    {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "m is rate-limited upstream"}}}
)


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (None, "Connection reset by peer", "again"),
        *((status, "", "again") for status in (408, 409, 425, 500, 502, 503, 504, 529)),
        *((status, "", "unit") for status in (400, 405, 413, 415, 422)),
        *((status, "", "run") for status in (301, 401, 402, 403, 404)),
        (404, openai_error("The model `x` does not exist", code="model_not_found"), "run"),
        (404, "404 page not found", "run"),
        (400, openai_error("x is not a valid model ID"), "run"),
        (400, BAD_KEY, "run"),
        (400, openai_error("This model's maximum context length is 2048 tokens.", "BadRequestError"), "unit"),
        (403, FLAGGED, "unit"),
        (402, json.dumps({"error": {"message": "Insufficient credits.", "code": 402}}), "run"),
        (429, "", "throttled"),
        (429, SLOWER, "throttled"),
        (429, NO_MONEY, "run"),
        (429, openai_error("Pay first.", "insufficient_quota"), "run"),
        (429, openai_error("Pay first.", code="insufficient_quota"), "run"),
        (429, openai_error("Your quota is fine; insufficient_quota is but a word here."), "throttled"),
        (429, PER_MINUTE, "throttled"),
        (429, PER_DAY, "run"),
        (429, json.dumps({"error": {"message": PER_DAY, "code": 429}}), "run"),
        (429, "Quota exceeded for metric: free_tier_requests, limit: 0, model: gemini-2.5-pro", "run"),
        (429, "Quota exceeded for metric: free_tier_requests, limit: 0.5", "throttled"),
        (429, "Limit 200 requests per day, please try again in 7m12s", "throttled"),
        (429, openai_error("Rate limit exceeded: free-models-per-day"), "run"),
    ],
)
def test_what_becomes_of_a_call(status: int | None, body: str, fate: str) -> None:
    assert classify(status, body) == fate


def test_answer_that_cannot_be_read_is_asked_for_again() -> None:
    assert classify(200, "<html><title>Login</title></html>") == "again"
    assert classify(200, '{"choices": [{"mess') == "again"


@pytest.mark.parametrize(("code", "fate"), [(429, "throttled"), (502, "again"), (401, "run"), (400, "unit")])
def test_error_within_a_200_counts_by_its_own_code(code: int, fate: str) -> None:
    error = {"error": {"code": code, "message": "the provider failed"}}
    assert classify(200, json.dumps(error)) == fate
    assert classify(200, json.dumps({"choices": [error]})) == fate
    assert what_it_said(200, json.dumps({"choices": [error]})) == "the provider failed"


def test_models_own_words_cannot_stop_a_run() -> None:
    said = {"content": '{"error": {"code": 401, "type": "insufficient_quota"}}'}
    assert classify(200, json.dumps({"choices": [{"message": said}]})) == "again"
    said["content"] = "limit: 0"
    assert classify(200, json.dumps({"choices": [{"message": said, "error": {"code": 429}}]})) == "throttled"


def test_server_that_asks_for_too_long_a_wait_stops_the_run() -> None:
    assert classify(429, SLOWER, LONGEST_WAIT) == "throttled"
    assert classify(429, SLOWER, LONGEST_WAIT + 1) == "run"
    assert classify(503, "", LONGEST_WAIT + 1) == "run"
    assert classify(422, "", LONGEST_WAIT + 1) == "unit"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, SLOWER, "Rate limit reached for gpt-4o-mini: Limit 3, Used 3."),
        (429, PER_MINUTE, "Too many."),
        (429, PASSED_ON, "m is rate-limited upstream"),
        (429, json.dumps({"error": {"message": PER_DAY}}), "Too many."),
        (404, '{"error":"model \'x\' not found, try pulling it first"}', "model 'x' not found, try pulling it first"),
        (404, '{"object":"error","message":"The model `x` does not exist."}', "The model `x` does not exist."),
        (404, '{"detail":"Not Found"}', "Not Found"),
        (422, '{"detail":[{"loc":["body"],"msg":"Field required"},{"loc":[],"msg":"b"}]}', "Field required"),
        (502, "<html><head><title>502 Bad\nGateway</title></head><body>nginx</body>", "502 Bad Gateway"),
        (200, "<!doctype html><style>p {}</style><p>Log in &amp; pay</p>", "Log in & pay"),
        (500, "\x1b[31mred\x00\u202e text\r\n\nhere", "[31mred text here"),
        (None, "Connection reset by peer", "Connection reset by peer"),
        (503, " ", "HTTP 503 Service Unavailable without a word"),
        (529, "{}", "{}"),
        (529, "", "HTTP 529 without a word"),
        (None, "", "no answer"),
    ],
)
def test_what_the_server_said(status: int | None, body: str, words: str) -> None:
    assert what_it_said(status, body) == words


def test_long_words_are_cut() -> None:
    words = what_it_said(500, openai_error("word " * 100))
    assert len(words) == 200
    assert words.endswith("…")


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13.5s"}


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, "", None),
        ({"Retry-After": "7"}, "", 7.0),
        ({"retry-after": " 0.25 "}, "", 0.25),
        ({"Retry-After": "0"}, "", 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, "", 1.5),
        ({"Retry-After": "Fri, 06 Nov 2026 08:50:07 GMT"}, "", 30.0),
        ({"Retry-After": "Fri, 06 Nov 2026 08:49:00 GMT"}, "", None),
        ({"Retry-After": "Fri, 06 Nov 2026 12:00:20 GMT", "Date": "Fri, 06 Nov 2026 12:00:00 GMT"}, "", 20.0),
        ({"Retry-After": "3600"}, "", 3600.0),
        *(
            ({"Retry-After": nonsense}, "", None)
            for nonsense in ("-5", "soon", "nan", "inf", "1e3", "٣", "1735689600000")
        ),
        ({}, gemini_error(429, "RESOURCE_EXHAUSTED", "Wait.", RETRY_INFO), 13.5),
        ({}, json.dumps({"error": {"message": gemini_error(429, "R", "Wait.", RETRY_INFO)}}), 13.5),
        ({"Retry-After": "4"}, gemini_error(429, "RESOURCE_EXHAUSTED", "Wait.", RETRY_INFO), 4.0),
        ({}, '{"retryDelay": "-3s"}', None),
        ({"x-ratelimit-reset-requests": "120ms"}, "", 0.12),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, "", 360.0),
        ({"x-ratelimit-reset-tokens": "1h2m0.5s"}, "", 3720.5),
        ({"x-ratelimit-reset-requests": "1s", "Retry-After": "9"}, "", 9.0),
        ({"x-ratelimit-reset-requests": "1735689600"}, "", None),
        (
            {
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "149984",
            },
            "",
            2.0,
        ),
    ],
)
def test_how_long_the_server_asks_to_wait(headers: dict[str, str], body: str, seconds: float | None) -> None:
    assert retry_after(headers, body, NOW) == (seconds if seconds is None else pytest.approx(seconds))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "choices", "detail", "msg", "metadata"]), inner)
    ),
    max_leaves=8,
)


@given(st.none() | st.integers(200, 599), st.text() | json_like.map(json.dumps), st.text())
def test_nothing_a_server_sends_raises(status: int | None, body: str, header: str) -> None:
    assert classify(status, body) in ("again", "throttled", "unit", "run")
    words = what_it_said(status, body)
    assert 0 < len(words) <= 200
    assert words.isprintable()
    for name in ("Retry-After", "retry-after-ms", "x-ratelimit-reset-requests", "Date"):
        wait = retry_after({name: header}, body, NOW)
        assert wait is None or wait >= 0


def test_nesting_without_end_and_huge_bodies_are_survived() -> None:
    assert classify(400, "[" * 90_000) == "unit"
    assert classify(400, '{"error": "' + "x" * 10_000_000 + '"}') == "unit"
    assert len(what_it_said(500, "<" * 10_000_000)) == 200


def test_patience_ends_by_attempts_and_by_time() -> None:
    patience = Patience(attempts=6, minutes=15)
    assert patience.left(5, since=0, now=1)
    assert not patience.left(6, since=0, now=1)
    assert patience.left(1, since=100, now=100 + 899)
    assert not patience.left(1, since=100, now=100 + 900)


@given(st.integers(1, 2000), st.none() | st.floats(0, 1000), st.integers(0, 9))
def test_delay_is_jittered_capped_and_never_shorter_than_asked(attempt: int, asked: float | None, seed: int) -> None:
    delay = Patience().delay(attempt, asked, Random(seed))
    assert (asked or 0.0) <= delay <= max(asked or 0.0, min(60, 2**attempt))
    assert delay == Patience().delay(attempt, asked, Random(seed))


def test_jitter_is_full() -> None:
    random = Random(1)
    delays = [Patience().delay(3, None, random) for _ in range(200)]
    assert 0 <= min(delays) < 0.5
    assert 7.5 < max(delays) <= 8
