"""What is to be done when an endpoint did not answer well: whether to ask again, when, and how often.

By the status first, for that is what services agree on; then by what the body says where they do not: a 429 may mean
"slower" or "your account is empty", a 400 may mean "your key is wrong". Bodies come as a JSON object (most), a list of
one (Gemini), JSON within JSON (proxies that pass on another's error), HTML (a gateway) or text, and are read whatever
they are: nothing here raises. The waits are exponential with full jitter (Brooker, "Exponential Backoff And Jitter",
2015), but never shorter than what the server asked for.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from random import Random
from typing import Literal

# "again": may succeed when asked again. "throttled": so, but slower. "unit": this request fails, others may not.
# "run": every request would fail, so the run stops and can be continued when the cause is mended.
Fate = Literal["again", "throttled", "unit", "run"]

LONGEST_WAIT = 15 * 60.0  # seconds: a server that asks for more is better waited for without a process
_MOST_WORDS = 200  # characters
_MOST_READ = 100_000  # characters of an error's body; no honest one is longer
_MOST_SHOWN = 4_000  # characters of a text or page that are searched for something to show

_AGAIN = {408, 409, 425}
_NO_ACCOUNT = {401, 402, 403}
# Codes and types by which services say that there is no money or no account, whatever the status.
_NO_MONEY = {"insufficient_quota", "insufficient_credits", "billing_not_active", "billing_hard_limit_reached"}
_NO_SUCH = {"model_not_found", "API_KEY_INVALID"}
_NO_SUCH_WORDS = re.compile(r"not a valid model|API key not valid")  # OpenRouter's and Gemini's, with status 400
# Gemini's quotaId for a day and OpenRouter's name for it; and Gemini's word for a model that a plan does not include.
# OpenAI's "per day" is not among them: its allowance grows back by the minute.
_DAY_IS_OVER = re.compile(r"PerDay|per-day|limit: 0(?!\.?\d)")

_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d*)?", re.ASCII)
_RETRY_DELAY = re.compile(r'"retryDelay\\*"\s*:\s*\\*"(\d{1,9}(?:\.\d{1,9})?)s\\*"', re.ASCII)
_DURATION_PART = r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)"
_DURATION = re.compile(rf"(?:{_DURATION_PART})+", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def classify(status: int | None, body: str, asked: float | None = None) -> Fate:
    """What becomes of a call that did not go well.

    ``status``: of HTTP; None if the connection broke. A status below 300 is for an answer that cannot be read; if its
    body holds an error with a code of its own (OpenRouter, once the provider has begun), that code counts. ``asked``:
    how long the server asks to wait, in seconds (`retry_after`); beyond `LONGEST_WAIT` the run stops.

    A 404 always stops the run: requests differ in their texts only, so a model or path that is not there for one is
    not there for any.
    """
    if status is None:
        return "again"
    complaint = _complaint(status, body)
    errors = list(_objects(complaint))
    if status < 300:
        status = next((code for error in errors if isinstance(code := error.get("code"), int) and code >= 400), 500)
    fate = _by_status(status)
    named = {_text(error, field) for error in errors for field in ("code", "type", "status", "reason")}
    if fate in ("unit", "throttled") and (
        named & (_NO_MONEY | _NO_SUCH)
        or (status == 400 and _NO_SUCH_WORDS.search(complaint))
        or (status == 429 and _DAY_IS_OVER.search(complaint))
    ):
        return "run"
    if status == 403 and any("flagged_input" in error for error in errors):
        return "unit"  # OpenRouter's moderation, which speaks of this text alone
    if fate in ("again", "throttled") and asked is not None and asked > LONGEST_WAIT:
        return "run"
    return fate


def _by_status(status: int) -> Fate:
    if status == 429:
        return "throttled"
    if status >= 500 or status in _AGAIN:
        return "again"
    # A redirection that was not followed is an address that is not right for any request.
    return "run" if status in _NO_ACCOUNT or status == 404 or status < 400 else "unit"


def what_it_said(status: int | None, body: str) -> str:
    """The server's own words about what went wrong, in one line of at most 200 characters that are safe to print."""
    words = _one_line(_words(_complaint(status, body)) or _plain(body[:_MOST_SHOWN]))
    if words or status is None:
        return words or "no answer"
    phrase = next((known.phrase for known in HTTPStatus if known == status), "")
    return " ".join(f"HTTP {status} {phrase} without a word".split())


def retry_after(headers: Mapping[str, str], body: str, now: datetime) -> float | None:
    """How many seconds the server asks to wait, or None if it does not say or says nonsense.

    In the order of trust: ``retry-after-ms`` (OpenAI, Azure), ``Retry-After`` in seconds or as a date (RFC 9110,
    section 10.2.3), Gemini's ``retryDelay`` in the body, and ``x-ratelimit-reset-*`` (OpenAI, Groq) of whatever is said
    to be used up. ``now``: the time, with its zone, by which a date is counted if the server does not send its own.
    Not capped: `classify` stops the run where it is too long.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    if (milliseconds := _seconds(given.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    asked = given.get("retry-after", "")
    if (seconds := _seconds(asked)) is not None:
        return seconds
    if (until := _date(asked)) is not None:
        left = (until - (_date(given.get("date", "")) or now)).total_seconds()
        return left if left >= 0 else None
    if found := _RETRY_DELAY.search(body[:_MOST_READ]):
        return float(found[1])
    resets = [
        duration
        for name, value in given.items()
        if name.startswith("x-ratelimit-reset-")
        # What is not used up says only when it will be as good as new, which nobody has to wait for.
        and given.get(name.replace("-reset-", "-remaining-"), "0") == "0"
        and (duration := _duration(value)) is not None
    ]
    return max(resets, default=None)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call is worth trying: at most ``attempts`` times, and for at most ``minutes`` from its first."""

    attempts: int = 6
    minutes: float = 15.0

    def left(self, attempt: int, since: float, now: float) -> bool:
        """Whether to try again after ``attempt`` attempts, the first of which was sent at ``since`` (seconds)."""
        return attempt < self.attempts and now - since < 60 * self.minutes

    def delay(self, attempt: int, asked: float | None, random: Random) -> float:
        """Seconds to wait after attempt number ``attempt``, from 1; never less than the server ``asked`` for."""
        return max(random.uniform(0, min(60, 2**attempt)), asked or 0.0)


def _parsed(body: str) -> object:
    if len(body) > _MOST_READ:
        return None
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed


def _complaint(status: int | None, body: str) -> str:
    """The part of a body that speaks of an error: all of it, unless the status is that of an answer.

    Then a model's text is in it as well, which must not be able to stop a run.
    """
    if status is None or status >= 300:
        return body[:_MOST_READ]
    parsed = _parsed(body)
    if not isinstance(parsed, dict):
        return ""
    choices = parsed.get("choices")
    parts = [parsed, *(choices if isinstance(choices, list) else ())]
    return json.dumps([part["error"] for part in parts if isinstance(part, dict) and "error" in part])


def _objects(parsed: object, depth: int = 0) -> Iterator[dict[str, object]]:
    """Every object within an error, also within a message that is itself JSON, the outermost first."""
    if depth > 8:
        return
    if isinstance(parsed, str) and parsed.lstrip()[:1] in ("{", "["):
        parsed = _parsed(parsed)
    if isinstance(parsed, dict):
        yield parsed
    inner = parsed.values() if isinstance(parsed, dict) else parsed if isinstance(parsed, list) else ()
    for value in inner:
        yield from _objects(value, depth + 1)


def _text(error: Mapping[str, object], field: str) -> str:
    value = error.get(field)
    return value if isinstance(value, str) else ""


def _words(parsed: object) -> str:
    """The innermost message: a proxy's own says no more than that somebody else failed."""
    said = ""
    for error in _objects(parsed):
        for field in ("error", "message", "detail", "msg", "raw"):
            value = _text(error, field)
            if value.strip() and not isinstance(_parsed(value), dict | list):
                said = said if field == "msg" and said else value
    return said


def _plain(body: str) -> str:
    """A text without its markup; of a page its title, if it has one."""
    if not body.lstrip().startswith("<"):
        return body
    title = _TITLE.search(body)
    return html.unescape(title[1] if title else _TAG.sub(" ", body))


def _one_line(text: str) -> str:
    line = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return line if len(line) <= _MOST_WORDS else line[: _MOST_WORDS - 1] + "…"


def _seconds(text: str) -> float | None:
    return float(text) if _SECONDS.fullmatch(text) else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _duration(text: str) -> float | None:
    """Seconds of what Go writes: 1s, 6m0s, 120ms, 2m59.56s."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_DURATION_PART, text, re.ASCII))
