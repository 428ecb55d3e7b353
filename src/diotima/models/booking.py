"""What came of one attempt at a call, in the words of everybody who wants to know.

One exchange over the wire is told four times: to who asked (an answer, or why not and what to do), to the gate (how the
server does), to the ledger (what is to be written down) and to the budget (what was spent of what had been reserved).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from diotima.models import prices
from diotima.models.answer import Answer, Unreadable, read_answer
from diotima.models.budget import Reservation
from diotima.models.flow import Ending
from diotima.models.request import Request
from diotima.models.retrying import Fate, classify, retry_after, what_it_said
from diotima.models.transport import Sent
from diotima.runs.ledger import Outcome, Used

_TOKENS_A_MESSAGE = 16  # what chat templates put around one, at most
_MOST_READ = 100_000  # bytes of an error


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt: an answer, or why not and what to do."""

    answer: Answer | None = None
    fate: Fate = "again"
    reason: str = ""
    wait: float | None = None


def most_it_takes(price: prices.Price | None, request: Request) -> tuple[int, int]:
    """The most that a call may cost, in micro-dollars, and the most tokens: no token is shorter than a byte."""
    read = sum(len(message.content.encode()) + _TOKENS_A_MESSAGE for message in request.messages)
    return prices.cost(price or prices.FREE, read, 0, request.most_tokens), read + request.most_tokens


def spent_on(outcome: Outcome, reserved: Reservation) -> tuple[int, int]:
    """What a settled call counts for the budget: all that was reserved, where it is not known."""
    if outcome.state == "failed" and outcome.cost == 0:
        return 0, 0
    used = outcome.usage
    tokens = reserved.tokens if used.prompt is None or used.reply is None else used.prompt + used.reply
    return reserved.cost if outcome.cost is None else outcome.cost, tokens


def attempt_from(sent: Sent) -> Attempt:
    """What an exchange came to."""
    text = sent.body[:_MOST_READ].decode(errors="replace") if sent.status != 200 else ""
    wait = None if sent.status in (None, 200) else retry_after(sent.headers, text, datetime.now(UTC))
    if sent.status is None:
        return Attempt(fate="again", reason=sent.reason)
    if sent.status != 200:
        said = f"{sent.status}: {what_it_said(sent.status, text)}"
        return Attempt(fate=classify(sent.status, text, wait), reason=said, wait=wait)
    answer = read_answer(sent.body)
    if isinstance(answer, Unreadable):
        fate = classify(200, sent.body[:_MOST_READ].decode(errors="replace"))
        return Attempt(fate=fate, reason=answer.reason)
    return Attempt(answer)


def ending_of(sent: Sent, done: Attempt) -> Ending:
    """What the gate is to learn from it."""
    if done.answer is not None:
        return "good"
    if sent.status == 429:
        return "throttled"
    return "broken" if done.fate == "again" else "neutral"


def outcome_of(price: prices.Price | None, sent: Sent, done: Attempt, reserved: Reservation) -> Outcome:
    """What goes into the books. An answer without usage costs what was reserved; an error costs nothing."""
    if sent.status is None:
        state: Literal["unknown", "failed"] = "unknown" if sent.left else "failed"
        return Outcome(state, None, "", Used(), None if sent.left else 0, done.reason, None)
    answer = done.answer
    if answer is None:
        cost = reserved.cost if sent.status == 200 else 0
        return Outcome("failed", sent.status, "", Used(), cost, done.reason, sent.body)
    cost, used = reserved.cost, Used()
    if answer.usage is not None:
        used = Used(
            answer.usage.prompt_tokens, answer.usage.cached_tokens, answer.usage.reply_tokens,
            answer.usage.reasoning_tokens,
        )  # fmt: skip
        cost = prices.cost(
            price or prices.FREE, answer.usage.prompt_tokens, answer.usage.cached_tokens, answer.usage.reply_tokens
        )
    if answer.dollars is not None:
        cost = prices.micro_dollars(answer.dollars)
    return Outcome("answered", 200, answer.provider_id, used, cost, "", sent.body)
