"""The budget: never exceeded, first come first served, and no trace of who went away."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diotima.models.budget import Budget, BudgetLimits, BudgetReached, Reservation, Spent

T = TypeVar("T")
NOTHING = Spent(0, 0, 0)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 5))


async def turns(count: int = 5) -> None:
    """Let everybody else go as far as they can."""
    for _ in range(count):
        await asyncio.sleep(0)


def of_tokens(most: int, spent: int = 0) -> Budget:
    return Budget(BudgetLimits(max_tokens=most), Spent(0, spent, 0))


@pytest.mark.parametrize(
    ("limit", "micro"),
    [(0.29, 290_000), (Decimal("0.29"), 290_000), (0.1, 100_000), (1e-7, 0), (1.9999999, 1_999_999), (None, None)],
)
def test_a_limit_of_cost_is_never_rounded_up(limit: float | Decimal | None, micro: int | None) -> None:
    assert BudgetLimits(max_cost=limit).micro_dollars == micro


def test_without_limits_everything_fits_and_is_counted() -> None:
    async def work() -> Budget:
        budget = Budget(BudgetLimits(), Spent(1, 2, 3))
        first = await budget.reserve(10**12, 10**12)
        assert budget.reserved == Spent(10**12, 10**12, 1)
        budget.settle(first, 5, 6)
        return budget

    budget = run(work())
    assert (budget.spent, budget.reserved, budget.over) == (Spent(6, 8, 4), NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("limits", "spent", "sentence"),
    [
        (
            BudgetLimits(max_cost=5.0),
            Spent(4_990_000, 0, 1),
            "the calls have cost $4.99 of the $5.00 allowed, and the next may cost $0.02; raise --max-cost to go on",
        ),
        (
            BudgetLimits(max_tokens=5_000),
            Spent(0, 4_900, 1),
            "the calls have taken 4,900 of the 5,000 tokens allowed, and the next may take 300; "
            "raise --max-tokens to go on",
        ),
        (
            BudgetLimits(max_calls=1),
            Spent(0, 0, 1),
            "1 of the 1 calls allowed are made; raise --max-calls to go on",
        ),
    ],
)
def test_what_cannot_fit_is_refused_with_its_reason(limits: BudgetLimits, spent: Spent, sentence: str) -> None:
    async def work() -> None:
        await Budget(limits, spent).reserve(20_000, 300)

    with pytest.raises(BudgetReached) as raised:
        run(work())
    assert str(raised.value) == sentence


def test_a_limit_may_be_used_up_to_its_last_token() -> None:
    async def work() -> Budget:
        budget = of_tokens(100)
        budget.settle(await budget.reserve(0, 100), 0, 100)
        return budget

    assert run(work()).spent.tokens == 100


def test_what_may_yet_fit_waits_and_goes_in_its_order() -> None:
    async def work() -> list[str]:
        budget, order = of_tokens(100), list[str]()

        async def call(name: str, tokens: int) -> None:
            await budget.reserve(0, tokens)
            order.append(name)

        first = await budget.reserve(0, 70)
        waiting = [asyncio.create_task(call("long", 60)), asyncio.create_task(call("short", 10))]
        await turns()
        assert order == []  # the short one would fit, but it came later
        budget.settle(first, 0, 20)
        await asyncio.gather(*waiting)
        return order

    assert run(work()) == ["long", "short"]


def test_who_waits_is_refused_as_soon_as_it_cannot_fit_and_a_smaller_one_goes() -> None:
    async def work() -> tuple[object, object]:
        budget = of_tokens(100)
        first, _ = await budget.reserve(0, 40), await budget.reserve(0, 50)
        long, short = asyncio.create_task(budget.reserve(0, 70)), asyncio.create_task(budget.reserve(0, 10))
        await turns()
        assert not long.done()
        budget.settle(first, 0, 40)  # 40 are spent: 70 cannot fit any more, however cheap the second turns out
        results = await asyncio.gather(long, short, return_exceptions=True)
        return results[0], results[1]

    long, short = run(work())
    assert isinstance(long, BudgetReached)
    assert isinstance(short, Reservation)


def test_a_settlement_above_its_reservation_is_counted_as_it_is_and_nothing_follows() -> None:
    async def work() -> Budget:
        budget = Budget(BudgetLimits(max_cost=0.0001, max_calls=10), NOTHING)
        budget.settle(await budget.reserve(90, 0), 130, 7)
        with pytest.raises(BudgetReached):
            await budget.reserve(0, 0)
        return budget

    budget = run(work())
    assert budget.spent == Spent(130, 7, 1)
    assert budget.over == Spent(30, 0, 0)


def test_a_reservation_is_settled_once() -> None:
    async def work() -> None:
        budget = of_tokens(100)
        reservation = await budget.reserve(0, 10)
        budget.settle(reservation, 0, 10)
        budget.settle(reservation, 0, 10)

    with pytest.raises(ValueError, match="settled before"):
        run(work())


@pytest.mark.parametrize("granted", [False, True])
def test_who_goes_away_while_waiting_leaves_no_trace(granted: bool) -> None:
    async def work() -> Budget:
        budget = of_tokens(100)
        first = await budget.reserve(0, 80)
        gone = asyncio.create_task(budget.reserve(0, 90))
        next_one = asyncio.create_task(budget.reserve(0, 20))
        await turns()
        assert not next_one.done()
        if granted:
            budget.settle(first, 0, 10)  # there is room for it now, and in the same moment it goes
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert gone.cancelled()
        budget.settle(await next_one, 0, 20)
        if not granted:
            budget.settle(first, 0, 10)
        return budget

    budget = run(work())
    assert (budget.spent, budget.reserved) == (Spent(0, 30, 2), NOTHING)


class Watched(Budget):
    """A budget that is looked at whenever something changes."""

    def _let_in(self) -> None:
        super()._let_in()
        taken = self.spent + self.reserved
        assert taken.cost <= (self.limits.micro_dollars or 0)
        assert taken.tokens <= (self.limits.max_tokens or 0)
        assert taken.calls <= (self.limits.max_calls or 0)


CALLS = st.lists(
    st.tuples(
        st.integers(0, 100), st.integers(0, 1_000), st.floats(0, 1), st.integers(0, 6), st.integers(0, 4), st.booleans()
    ),
    min_size=64,
    max_size=64,
)


@settings(max_examples=40, deadline=None)
@given(CALLS, st.integers(0, 4_000), st.integers(0, 40_000), st.integers(0, 70))
def test_with_64_at_once_it_is_never_exceeded_and_nobody_waits_in_vain(
    calls: list[tuple[int, int, float, int, int, bool]], micro: int, tokens: int, count: int
) -> None:
    budget = Watched(BudgetLimits(Decimal(micro) / 1_000_000, tokens, count), NOTHING)
    refused: list[tuple[int, int]] = []

    async def call(cost: int, most: int, share: float, before: int, during: int) -> None:
        await turns(before)
        try:
            reservation = await budget.reserve(cost, most)
        except BudgetReached:
            refused.append((cost, most))
            return
        try:
            await turns(during)
        finally:
            budget.settle(reservation, int(cost * share), int(most * share))

    async def work() -> None:
        tasks = [asyncio.create_task(call(*values)) for *values, _ in calls]
        await turns(3)
        for task, (*_, goes) in zip(tasks, calls, strict=True):
            if goes:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    run(work())
    assert budget.reserved == NOTHING
    for cost, most in refused:
        after = budget.spent + Spent(cost, most, 1)
        assert after.cost > micro or after.tokens > tokens or after.calls > count
