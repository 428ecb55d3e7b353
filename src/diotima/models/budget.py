"""A budget that is never exceeded: what a call may cost at most is reserved before it is sent, and settled after.

    reservation = await budget.reserve(cost, tokens)
    ...
    budget.settle(reservation, what_it_cost, what_it_took)

What is spent and what is reserved together never pass a limit, however many calls are on their way. A call that would
pass it waits, first come first served, as long as calls on their way may turn out cheaper than they might have been. It
is refused as soon as no such luck could help it: when it does not fit beside what is *spent*. That is judged for each
call by itself, so after a long call was refused a short one may still go: money that is allowed can be used up, and
whether the rest is worth having is for the caller to say. Everything happens in one event loop, without lock or timer.
"""

import asyncio
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from diotima.errors import ModelError
from diotima.models.prices import dollars


class BudgetReached(ModelError):  # noqa: N818  (to have spent what was allowed is no error)
    """A call does not fit into the budget any more."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The most that all calls of a run may take; None: no limit.

    ``max_cost``: dollars. ``max_tokens``: read and written together. ``max_calls``: every attempt counts.
    """

    max_cost: Decimal | float | None = None
    max_tokens: int | None = None
    max_calls: int | None = None

    @property
    def micro_dollars(self) -> int | None:
        """The limit of cost in whole micro-dollars, never rounded up."""
        return None if self.max_cost is None else math.floor(Fraction(str(self.max_cost)) * 1_000_000)


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls, and what they took: micro-dollars, and tokens read and written."""

    cost: int
    tokens: int
    calls: int

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.cost + other.cost, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.cost - other.cost, self.tokens - other.tokens, self.calls - other.calls)


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """Room in the budget for one call: micro-dollars and tokens at most."""

    cost: int
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    reservation: Reservation
    granted: asyncio.Future[None]


class Budget:
    """What is left of ``limits`` after ``spent``, shared by all calls of a process.

    ``spent``: what has been settled. ``reserved``: what the calls on their way may take at most.
    """

    def __init__(self, limits: BudgetLimits, spent: Spent) -> None:
        self.limits = limits
        self.spent = spent
        self.reserved = Spent(0, 0, 0)
        self._open: set[Reservation] = set()
        self._waiting: deque[_Waiter] = deque()

    @property
    def over(self) -> Spent:
        """How far what is spent lies above the limits: servers may count more than could be foreseen."""
        most = (self.limits.micro_dollars, self.limits.max_tokens, self.limits.max_calls)
        spent = (self.spent.cost, self.spent.tokens, self.spent.calls)
        return Spent(*(0 if limit is None else max(0, value - limit) for value, limit in zip(spent, most, strict=True)))

    async def reserve(self, cost: int, tokens: int) -> Reservation:
        """Make room for a call that takes so many micro-dollars and tokens at most; it is to be settled.

        Waits while calls on their way may leave room. Raises BudgetReached when there will be none.
        """
        reservation = Reservation(cost, tokens)
        waiter = _Waiter(reservation, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._let_in()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(waiter)
                self._let_in()
            elif not waiter.granted.exception():
                self._close(reservation)  # there was room in the same moment, and it is not wanted any more
            raise
        return reservation

    def settle(self, reservation: Reservation, cost: int, tokens: int) -> None:
        """Count what a call took in place of what it might have taken. Raises ValueError if that was done before."""
        if reservation not in self._open:
            raise ValueError("this reservation has been settled before")
        self.spent += Spent(cost, tokens, 1)
        self._close(reservation)

    def _close(self, reservation: Reservation) -> None:
        self._open.remove(reservation)
        self.reserved -= _room(reservation)
        self._let_in()

    def _let_in(self) -> None:
        """Let in or refuse those who wait, in their order, up to the first whose turn may yet come."""
        while self._waiting:
            reservation, granted = self._waiting[0].reservation, self._waiting[0].granted
            if granted.cancelled():
                pass
            elif not self._beyond(self.spent + self.reserved + _room(reservation)):
                self._open.add(reservation)
                self.reserved += _room(reservation)
                granted.set_result(None)
            elif limit := self._beyond(self.spent + _room(reservation)):
                granted.set_exception(BudgetReached(limit))
            else:
                return
            self._waiting.popleft()

    def _beyond(self, taken: Spent) -> str:
        """Which limit would be passed, in a sentence about what is spent of it; "" if none."""
        limits, spent = self.limits, self.spent
        most = limits.micro_dollars
        if most is not None and taken.cost > most:
            return (
                f"the calls have cost {dollars(spent.cost)} of the {dollars(most)} allowed, and the next may cost "
                f"{dollars(taken.cost - spent.cost)}; raise --max-cost to go on"
            )
        if limits.max_tokens is not None and taken.tokens > limits.max_tokens:
            return (
                f"the calls have taken {spent.tokens:,} of the {limits.max_tokens:,} tokens allowed, and the next may "
                f"take {taken.tokens - spent.tokens:,}; raise --max-tokens to go on"
            )
        if limits.max_calls is not None and taken.calls > limits.max_calls:
            return f"{spent.calls:,} of the {limits.max_calls:,} calls allowed are made; raise --max-calls to go on"
        return ""


def _room(reservation: Reservation) -> Spent:
    return Spent(reservation.cost, reservation.tokens, 1)
