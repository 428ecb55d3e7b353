"""Everything that one process asks of endpoints: paced, paid for once, and written down before and after.

    calls = Calls(settings)
    tutor = calls.model("vllm/Qwen/Qwen2.5-7B-Instruct")     # asks what is served there, nothing else
    with Run.create(...) as record:
        calls.keep_books_in(record)
        calls.conduct(hold_all_lessons())                    # a clean stop at SIGINT and SIGTERM

A call goes through these stations: the ledger, whether it has been answered before; the gate of the least busy address;
the budget, which reserves the most it may cost; the ledger again, which commits the intent; the wire; the ledger, which
commits the raw answer with its usage and cost. What could not be had is asked for again, with patience.

Lessons come and go, but a call that has been sent belongs to this desk and not to the lesson: when lessons are
cancelled, their answers are still waited for, a few seconds, because they are paid for. Two lessons that ask for the
same draw (the control exam of two tutors) share one call. Without a run there is no ledger, as in a notebook.
"""

import asyncio
import gc
import itertools
import secrets
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

from diotima.dialogue import split_reply
from diotima.errors import CallFailed, CallRefused, ModelError, SettingsError, Terminated
from diotima.models import prices
from diotima.models.answer import Answer, read_answer
from diotima.models.booking import Attempt, attempt_from, ending_of, most_it_takes, outcome_of, spent_on
from diotima.models.budget import Budget, BudgetLimits, Reservation, Spent
from diotima.models.events import heard_in
from diotima.models.flow import Ending, Gate
from diotima.models.request import Request
from diotima.models.retrying import Patience
from diotima.models.served import Served, ask_what_is_served
from diotima.models.services import Address, EndpointSettings, address_of
from diotima.models.transport import Sent, Server
from diotima.runs.ledger import Answer as Kept
from diotima.runs.ledger import Intent, Ledger, Outcome
from diotima.runs.run import Run

T = TypeVar("T")

LAST_SECONDS = 4.0
"""How long a run that is stopped waits for the answers that are on their way."""


@dataclass(frozen=True, slots=True)
class Line:
    """A model elsewhere, ready to be asked: where, what is served there, what it costs, and through which gates."""

    address: Address
    served: Served
    price: prices.Price | None
    servers: tuple[tuple[Server, Gate], ...]

    def least_busy(self) -> tuple[Server, Gate]:
        """Where the next call goes; a server that takes none for now is the last choice, however idle it is."""
        return min(self.servers, key=lambda pair: (pair[1].shut, (pair[1].running + pair[1].waiting) / pair[1].limit))

    def share(self) -> None:
        """Let who waits at a server that takes no calls go to another that does."""
        gates = [gate for _, gate in self.servers]
        if not all(gate.shut for gate in gates):
            for gate in gates:
                if gate.shut:
                    gate.send_away()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


class Calls:
    """The desk through which all calls to endpoints go. ``tell`` gets sentences for people."""

    def __init__(self, settings: EndpointSettings | None = None, tell: Callable[[str], None] = _say) -> None:
        settings = settings or EndpointSettings()
        self.endpoints = settings.endpoints
        self.sent = 0
        """Calls that this process has sent."""
        self._limits = BudgetLimits(settings.max_cost, settings.max_tokens, settings.max_calls)
        self._prices = {} if settings.prices is None else prices.read_prices(settings.prices)
        self._limited = settings.max_cost is not None
        self._tell = tell
        self._patience = Patience()
        self._lines: dict[str, Line] = {}
        self._ledger: Ledger | None = None
        self._budget = Budget(self._limits, Spent(0, 0, 0))
        self._asked: dict[bytes, asyncio.Task[Answer]] = {}
        self._on_their_way: set[asyncio.Task[Answer]] = set()
        self._closing = self._terminated = False
        self._stopped: ModelError | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """All models that have been opened."""
        return tuple(self._lines.values())

    def line(self, name: str) -> Line:
        """The model of that name, asked what it is when it is opened first.

        Raises ModelError if nobody answers, or it is not served; SettingsError for a cost limit without a price.
        """
        address = address_of(name, self.endpoints)
        known = f"{address.name}@{','.join(address.urls)}"
        if known not in self._lines:
            self._lines[known] = _now(self._open(address))
        return self._lines[known]

    async def _open(self, address: Address) -> Line:
        endpoint = address.endpoint
        servers = [Server(url, address.service.key, endpoint.timeout) for url in address.urls]
        try:
            served = await asyncio.gather(*(ask_what_is_served(address, server) for server in servers))
        finally:
            for server in servers:
                await server.close()
        other = next((one for one in served if one.fingerprint != served[0].fingerprint), None)
        if other is not None:
            raise ModelError(
                f"{address.name}: {address.urls[0]} and {address.urls[served.index(other)]} do not serve the same "
                f"({dict(served[0].facts)} and {dict(other.facts)}); name them as two models"
            )
        price = self._price(address, served[0])
        if price is None and self._limited:
            raise SettingsError(
                f"max_cost is set, and what {address.name} costs is not known; give its price: --endpoints "
                f"'{{{address.backend}: {{price: {{prompt: 0.15, reply: 0.60}}}}}}' (dollars per million tokens), or "
                "limit --max-tokens"
            )
        gates = [Gate(f"{address.name} at {url}", endpoint.at_once, tell=self._tell) for url in address.urls]
        return Line(address, served[0], price, tuple(zip(servers, gates, strict=True)))

    def _price(self, address: Address, served: Served) -> prices.Price | None:
        if address.endpoint.price is not None:
            return prices.price_from(address.endpoint.price, f"endpoints.{address.backend}.price")
        if (own := prices.price_of(address.name, self._prices)) is not None:
            return own
        if address.service.own:
            return prices.FREE
        return prices.openrouter_price({"pricing": served.pricing}) if served.pricing else None

    def keep_books_in(self, record: Run) -> None:
        """Write every call down in this run; what it has spent already counts for the budget.

        Says which calls of an earlier process may have been paid for without an answer.
        """
        self._ledger = record.ledger
        totals = record.ledger.totals()
        tokens = totals.prompt_tokens + totals.reply_tokens + totals.open_tokens
        self._budget = Budget(self._limits, Spent(totals.cost + totals.open_cost, tokens, totals.calls))
        unknown = record.ledger.unknown()
        if unknown:
            most = sum(call.reserved_cost for call in unknown)
            self._tell(
                f"{record.folder}: at most {len(unknown):,} calls, and at most {prices.dollars(most)}, may have been "
                "billed without an answer so far; what has none is asked again"
            )

    def note(self) -> str:
        """What a progress bar shows beside its own figures: calls, cost, and how many are on their way."""
        if not self._lines:
            return ""
        spent = self._budget.spent
        parts = [f"{spent.calls:,} calls", f"{len(self._on_their_way)} on their way"]
        if any(line.price != prices.FREE for line in self.lines):
            known = all(line.price is not None for line in self.lines)
            parts.append(prices.dollars(spent.cost) + ("" if known else " and what has no known price"))
        return ", ".join(parts)

    def conduct(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, like ``asyncio.run``; at its end, or a stop, the books are in order.

        At SIGINT and SIGTERM nothing more is sent, and answers on their way are waited for `LAST_SECONDS`; a second
        SIGINT does not wait. Where the work itself fails (an account runs dry, the budget is reached) nobody is in a
        hurry, and answers on their way get all their time. Raises KeyboardInterrupt, or Terminated after SIGTERM.
        """
        self._terminated = False
        gc.freeze()  # or a tenth of the time goes into looking for garbage among what was there before
        try:
            return asyncio.run(self._conducted(work))
        except asyncio.CancelledError:
            if self._terminated:
                raise Terminated from None
            raise
        finally:
            gc.unfreeze()

    async def _conducted(self, work: Coroutine[Any, Any, T]) -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        main = threading.current_thread() is threading.main_thread()

        def terminate() -> None:
            self._terminated = True
            if task is not None:
                task.cancel()

        if main:
            loop.add_signal_handler(signal.SIGTERM, terminate)
        self._closing, self._stopped = False, None
        try:
            return await work
        except ModelError as error:
            await self._wait_for_answers(None, f"{error}; ")
            raise
        finally:
            await self._wind_up()
            if main:
                loop.remove_signal_handler(signal.SIGTERM)

    async def _wait_for_answers(self, seconds: float | None, why: str = "") -> None:
        """Let go of what was not sent, and wait for what was; None: as long as a call may take."""
        self._closing = True
        for task in set(self._asked.values()) - self._on_their_way:
            task.cancel()
        if count := len(self._on_their_way):
            most = "" if seconds is None else f" {seconds:g} seconds at most"
            answers = "1 answer that is on its way" if count == 1 else f"{count} answers that are on their way"
            self._tell(f"{why}waiting{most} for {answers}")
            await asyncio.wait(set(self._on_their_way), timeout=seconds)

    async def _wind_up(self) -> None:
        """Wait a little for what was sent, and close the connections."""
        await self._wait_for_answers(LAST_SECONDS)
        tasks = set(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._asked.clear()
        for server, _ in itertools.chain.from_iterable(line.servers for line in self.lines):
            await server.close()

    async def answer(self, line: Line, request: Request) -> Answer:
        """The answer to a request: the one in the ledger, the one that is on its way, or a new one.

        Raises CallFailed if this call cannot be had (CallRefused, if it never could), and ModelError if none can.
        """
        request = _named(request)
        task = self._asked.get(request.key)
        if task is None:
            kept = self._ledger.answered(request.key) if self._ledger else None
            answer = read_answer(kept.body) if kept else None
            if kept and isinstance(answer, Answer):
                if not kept.from_elsewhere:
                    return answer
                work = self._adopt(line, request, kept, answer)
            else:
                work = self._ask(line, request)
            task = asyncio.create_task(work)
            self._asked[request.key] = task
            task.add_done_callback(lambda done: self._answered(request.key, done))
        return await asyncio.shield(task)

    def _answered(self, key: bytes, done: "asyncio.Task[Answer]") -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at, or asyncio complains of it where everybody who waited has left

    async def _adopt(self, line: Line, request: Request, kept: Kept, answer: Answer) -> Answer:
        """Take an answer over from another run, once for all who ask for it."""
        if self._ledger is not None:
            await self._ledger.adopt(_intent(line, request, 0, 0), kept)
        return answer

    async def stream(self, line: Line, request: Request) -> AsyncIterator[str | Answer]:
        """What is to be heard of a reply, piece by piece, and at last the whole answer.

        Booked like any other call, but tried once: what has been heard cannot be taken back. One that was answered
        before comes in one piece. Raises what `answer` does.
        """
        request = _named(request)
        kept = self._ledger.answered(request.key) if self._ledger else None
        if kept is not None and isinstance(answer := read_answer(kept.body), Answer):
            yield split_reply(answer.reply.text)[0]
            yield answer
            return
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def ask() -> Answer:
            try:
                attempt = await self._attempt(line, request, pieces.put_nowait)
            finally:
                pieces.put_nowait(None)
            if attempt.answer is None:
                kind = {"run": ModelError, "unit": CallRefused}.get(attempt.fate, CallFailed)
                raise kind(f"{line.address.name}: {attempt.reason}")
            return attempt.answer

        task = self._asked[request.key] = asyncio.create_task(ask())
        task.add_done_callback(lambda done: self._answered(request.key, done))
        while (piece := await pieces.get()) is not None:
            if text := heard_in(piece):
                yield text
        yield await asyncio.shield(task)

    async def _ask(self, line: Line, request: Request) -> Answer:
        since, random = time.monotonic(), Random(request.key)
        for number in itertools.count(1):
            attempt = await self._attempt(line, request)
            if attempt.answer is not None:
                return attempt.answer
            name = line.address.name
            if attempt.fate == "run":
                self._stopped = ModelError(
                    f"{name}: {attempt.reason.rstrip('.')}; what was answered is kept: mend it, and go on"
                )
                raise self._stopped
            if number == 1:
                since = time.monotonic()
            if attempt.fate == "unit" or not self._patience.left(number, since, time.monotonic()):
                tried = "" if number == 1 else f" ({number} attempts)"
                kind = CallRefused if attempt.fate == "unit" else CallFailed
                raise kind(f"{name}: {attempt.reason}{tried}")
            await self._pause(self._patience.delay(number, attempt.wait, random))
        raise AssertionError("there is always another number")

    async def _pause(self, seconds: float) -> None:
        if self._closing:
            raise asyncio.CancelledError
        await asyncio.sleep(seconds)

    async def _attempt(self, line: Line, request: Request, hear: Callable[[bytes], None] | None = None) -> Attempt:
        """Send a request once, booked before and after."""
        cost, tokens = most_it_takes(line.price, request)
        server, gate = line.least_busy()
        while not await gate.enter():
            server, gate = line.least_busy()
        ending: Ending = "neutral"
        done = Attempt()
        try:
            if self._stopped is not None:
                raise self._stopped  # no other call would be answered either
            reservation = await self._budget.reserve(cost, tokens)
            spent = (cost, tokens)
            try:
                sent, outcome, done = await self._exchange(line, request, server, reservation, hear)
                spent = spent_on(outcome, reservation)
            finally:
                self._budget.settle(reservation, *spent)
            ending = ending_of(sent, done)
        finally:
            gate.leave(ending, done.wait, done.reason)
            line.share()
        return done

    async def _exchange(
        self,
        line: Line,
        request: Request,
        server: Server,
        reserved: Reservation,
        hear: Callable[[bytes], None] | None,
    ) -> tuple[Sent, Outcome, Attempt]:
        task = asyncio.current_task()
        assert task is not None
        number = 0
        if self._ledger is not None:
            number = await self._ledger.intend(_intent(line, request, reserved.cost, reserved.tokens))
        self._on_their_way.add(task)
        self.sent += 1
        try:
            sent = await server.send(request.body(), hear)
            done = attempt_from(sent)
            outcome = outcome_of(line.price, sent, done, reserved)
            if self._ledger is not None:
                await self._ledger.settle(number, outcome)
        finally:
            self._on_their_way.discard(task)
        return sent, outcome, done


def _named(request: Request) -> Request:
    """The request under a key of its own if its draw has no name, for it is nobody else's."""
    return request if request.sample is not None else replace(request, key=secrets.token_bytes(32))


def _intent(line: Line, request: Request, cost: int, tokens: int) -> Intent:
    return Intent(
        request.key, line.address.name, line.served.fingerprint, request.sample, request.messages, request.parameters,
        cost, tokens,
    )  # fmt: skip


def _now(work: Coroutine[Any, Any, T]) -> T:
    """Run a short piece of work to its end, also where a loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
