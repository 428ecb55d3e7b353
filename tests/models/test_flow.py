"""The gate in virtual time: an event loop whose clock jumps to whatever is due next, so that no test waits."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diotima.models.flow import Ending, Gate


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class VirtualLoop(asyncio.SelectorEventLoop):
    """Does not wait for its timers but moves the clock; and fails where everybody waits for nothing."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.time = clock
        select = self._selector.select

        def jump(timeout: float | None) -> Any:
            assert timeout is not None, "everybody waits for nothing"
            clock.now += timeout
            return select(0)

        self._selector.select = jump


def play(scene: Callable[..., Coroutine[Any, Any, None]], *arguments: object, clock: Clock | None = None) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock or Clock())) as runner:
        runner.run(scene(*arguments))


class Told(list[str]):
    def gate(self, most: int = 64, start: int = 8, clock: Callable[[], float] | None = None) -> Gate:
        return Gate("vllm/x", most, start, clock=clock or asyncio.get_running_loop().time, tell=self.append)


async def finish(gate: Gate, *endings: Ending, reason: str = "") -> None:
    """Let calls end like this, one after the other, each from a full gate."""
    for ending in endings:
        while gate.running < gate.limit:
            await gate.enter()
        gate.leave(ending, reason=reason)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_slow_start_then_one_more_for_each_clean_window() -> None:
    async def scene() -> None:
        gate = Told().gate(start=4)
        await finish(gate, *["good"] * 4)
        assert gate.limit == 8
        await finish(gate, "throttled")
        assert gate.limit == 6
        await finish(gate, *["good"] * 5)
        assert gate.limit == 6
        await finish(gate, "good")
        assert gate.limit == 7
        await finish(gate, *["good"] * 7)
        assert gate.limit == 8

    play(scene)


def test_limit_never_grows_beyond_the_most() -> None:
    async def scene() -> None:
        assert Told().gate(most=4).limit == 4
        gate = Told().gate(most=10)
        await finish(gate, *["good"] * 50)
        assert gate.limit == 10

    play(scene)


def test_gate_that_is_not_full_learns_nothing() -> None:
    async def scene() -> None:
        gate = Told().gate(start=8)
        for _ in range(100):
            await gate.enter()
            gate.leave("good")
        assert gate.limit == 8

    play(scene)


def test_throttled_window_is_not_clean() -> None:
    async def scene() -> None:
        gate = Told().gate(start=10)
        await finish(gate, "throttled")
        await finish(gate, *["good"] * 7, "throttled", *["good"] * 7)
        assert gate.limit == 8
        await finish(gate, "good")
        assert gate.limit == 9

    play(scene)


def test_limit_shrinks_once_per_episode_and_is_told() -> None:
    async def scene() -> None:
        told = Told()
        gate = told.gate(start=64)
        await finish(gate, *["throttled"] * 5)
        await asyncio.sleep(14.9)
        await finish(gate, "throttled")
        assert gate.limit == 51
        await asyncio.sleep(0.2)
        await finish(gate, "throttled")
        assert gate.limit == 40
        assert told == [
            "vllm/x gets too many requests (429): at most 51 calls at once from now on instead of 64",
            "vllm/x gets too many requests (429): at most 40 calls at once from now on instead of 51",
        ]

    play(scene)


def test_limit_never_falls_below_one() -> None:
    async def scene() -> None:
        gate = Told().gate(start=3)
        for limit in (2, 1, 1, 1):
            await finish(gate, "throttled")
            assert gate.limit == limit
            await asyncio.sleep(16)

    play(scene)


def test_errors_of_the_server_hold_up_growth_for_one_window() -> None:
    async def scene() -> None:
        told = Told()
        gate = told.gate(start=8)
        await finish(gate, *["broken"] * 5, *["good"] * 7)
        assert gate.limit == 8
        await finish(gate, *["good"] * 4)
        assert gate.limit == 12
        assert told == []

    play(scene)


def test_neutral_endings_change_nothing() -> None:
    async def scene() -> None:
        gate = Told().gate(start=8)
        await finish(gate, "throttled", *["good"] * 5, *["neutral"] * 200)
        assert gate.limit == 6
        await finish(gate, "good")
        assert gate.limit == 7

    play(scene)


def test_first_come_first_served_also_past_a_free_place() -> None:
    async def scene() -> None:
        gate, served = Told().gate(most=1), []

        async def call(number: int) -> None:
            await gate.enter()
            served.append(number)

        await gate.enter()
        calls = [asyncio.create_task(call(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert (gate.running, gate.waiting) == (1, 3)
        for _ in range(3):
            gate.leave("neutral")
            # Whoever comes at the very moment a place is free does not overtake those who wait.
            calls.append(asyncio.create_task(call(10)))
            await asyncio.sleep(0)
        assert served == [0, 1, 2]
        for call_ in calls:
            call_.cancel()

    play(scene)


def test_nobody_overtakes_as_a_pause_ends() -> None:
    clock = Clock()

    async def scene() -> None:
        gate, served = Told().gate(most=1), []

        async def call(number: int) -> None:
            await gate.enter()
            served.append(number)
            gate.leave("good")

        await gate.enter()
        gate.leave("throttled", retry_after=20)
        first = asyncio.create_task(call(1))
        await asyncio.sleep(0)
        clock.now += 20  # the loop was busy until now: the second comes before the alarm rings
        await asyncio.gather(first, call(2))
        assert served == [1, 2]

    play(scene, clock=clock)


def test_who_is_cancelled_leaves_the_queue_and_loses_no_place() -> None:
    async def scene() -> None:
        gate = Told().gate(most=1)
        await gate.enter()
        first, second, third = (asyncio.create_task(gate.enter()) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert gate.waiting == 2
        gate.leave("good")  # lets in the second, who is cancelled before it knows
        second.cancel()
        await asyncio.wait({second, third})
        assert second.cancelled()
        assert third.exception() is None
        assert (gate.running, gate.waiting) == (1, 0)

    play(scene)


def test_who_is_cancelled_as_the_gate_frees_is_passed_over() -> None:
    async def scene() -> None:
        gate = Told().gate(most=1)
        await gate.enter()
        first, second = (asyncio.create_task(gate.enter()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        gate.leave("good")
        await asyncio.wait({first, second})
        assert first.cancelled()
        assert (gate.running, gate.waiting) == (1, 0)

    play(scene)


def test_retry_after_shuts_the_gate_and_is_never_shortened() -> None:
    async def scene() -> None:
        told = Told()
        gate = told.gate(start=10)
        for _ in range(5):
            await gate.enter()
        began = now()
        gate.leave("throttled", retry_after=13)
        gate.leave("throttled", retry_after=13.5)
        gate.leave("throttled", retry_after=5)
        await asyncio.sleep(3)
        gate.leave("throttled", retry_after=20)
        await asyncio.gather(*(gate.enter() for _ in range(3)))
        assert now() - began == pytest.approx(23)
        assert gate.limit == 8
        assert told == [
            "vllm/x gets too many requests (429): at most 8 calls at once from now on instead of 10, "
            "and nothing is sent for the 13 s it asks for",
            "vllm/x gets too many requests (429): nothing is sent for the 20 s it asks for",
        ]

    play(scene)


def test_calls_from_before_a_pause_belong_to_its_episode() -> None:
    async def scene() -> None:
        gate = Told().gate(start=10)
        await gate.enter()
        await finish(gate, "neutral")
        gate.leave("throttled", retry_after=60)
        await asyncio.sleep(40)
        gate.leave("throttled")
        assert gate.limit == 8
        await asyncio.sleep(30)
        gate.leave("throttled")
        assert gate.limit == 6

    play(scene)


def test_429_without_retry_after_does_not_shut_the_gate() -> None:
    async def scene() -> None:
        gate, began = Told().gate(), now()
        await gate.enter()
        gate.leave("throttled")
        await gate.enter()
        assert now() == began

    play(scene)


def test_who_waits_at_a_shut_gate_may_be_sent_away() -> None:
    async def scene() -> None:
        gate = Told().gate(start=1)
        assert await gate.enter()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not gate.shut
        gate.leave("throttled", 60)
        assert gate.shut
        waiting[0].cancel()
        gate.send_away()
        waiting[1].cancel()  # in the same moment
        assert await asyncio.gather(*waiting[2:]) == [False]
        assert (gate.running, gate.waiting) == (0, 0)
        assert await gate.enter()  # a minute later

    play(scene)


def test_gate_outlives_its_event_loop_while_it_is_shut() -> None:
    clock, told = Clock(), Told()
    gate = told.gate(clock=clock)

    async def left_waiting() -> None:
        await gate.enter()
        gate.leave("throttled", retry_after=60)
        waiter = asyncio.create_task(gate.enter())
        await asyncio.sleep(1)
        waiter.cancel()

    play(left_waiting, clock=clock)
    play(gate.enter, clock=clock)
    assert clock() == pytest.approx(1060)


@pytest.mark.parametrize(
    ("good", "bad", "fires"),
    [
        (25, 25, False),
        (24, 26, True),
        (0, 49, False),
        (0, 50, True),
        (491, 21, False),
        (900, 25, False),
        (900, 26, True),
    ],
)
def test_breaker_fires_above_half_of_the_last_fifty(good: int, bad: int, fires: bool) -> None:
    async def scene() -> None:
        told = Told()
        gate, began = told.gate(), now()
        await finish(gate, *["good"] * good, *["broken"] * bad, reason="HTTP 503: overloaded")
        await finish(gate, "neutral")  # needs a full gate, and so moves the clock if the gate is shut
        assert now() - began == pytest.approx(30 if fires else 0)
        assert bool(told) == fires
        if fires:
            assert told == [
                f"{min(bad, 50)} of the last 50 calls to vllm/x failed (HTTP 503: overloaded): "
                "nothing is sent for 30 s, then one call tries again"
            ]

    play(scene)


async def broken_gate(told: Told) -> Gate:
    gate = told.gate()
    for _ in range(50):
        await gate.enter()
        gate.leave("broken", reason="HTTP 503")
    return gate


def test_the_breaker_says_why_also_if_the_last_call_went_well() -> None:
    async def scene() -> None:
        told = Told()
        gate = told.gate()
        await finish(gate, *["broken"] * 49, reason="503: loading")
        await finish(gate, "good")
        assert told[-1].startswith("49 of the last 50 calls to vllm/x failed (503: loading): ")

    play(scene)


def test_one_call_tries_and_the_rest_doubles_up_to_five_minutes() -> None:
    async def scene() -> None:
        told = Told()
        gate, began, tries = await broken_gate(told), now(), []
        everybody = [asyncio.create_task(gate.enter()) for _ in range(20)]
        for _ in range(6):
            await asyncio.sleep(0)
            while not gate.running:
                await asyncio.sleep(1)
            tries.append(now() - began)
            await asyncio.sleep(10)
            assert gate.running == 1
            gate.leave("broken", reason="HTTP 500")
        assert tries == pytest.approx([30, 100, 230, 480, 790, 1100])
        assert told[1] == (
            "vllm/x failed again when one call tried (HTTP 500): nothing is sent for 60 s, then one call tries again"
        )
        while not gate.running:
            await asyncio.sleep(1)
        gate.leave("good")
        assert told[-1] == "vllm/x answers again: up to 8 calls at once go on"
        await asyncio.sleep(0)
        assert (gate.running, gate.waiting) == (8, 20 - 7 - 8)
        for task in everybody:
            task.cancel()

    play(scene)


def test_after_the_breaker_the_window_is_empty_and_growth_is_slow() -> None:
    async def scene() -> None:
        told = Told()
        gate = await broken_gate(told)
        await gate.enter()
        gate.leave("good")
        await finish(gate, *["good"] * 7)
        assert gate.limit == 8
        await finish(gate, "good")
        assert gate.limit == 9
        await finish(gate, *["good"] * 8, *["broken"] * 33)
        assert gate.limit == 9
        assert len(told) == 2
        await finish(gate, "broken")
        assert told[2].startswith("34 of the last 50")

    play(scene)


def test_who_says_429_is_alive() -> None:
    async def scene() -> None:
        told = Told()
        gate, began = told.gate(), now()
        await finish(gate, *["throttled"] * 200)
        assert now() == began
        gate = await broken_gate(told)
        await gate.enter()
        gate.leave("throttled", retry_after=5)
        assert told[-1].startswith("vllm/x answers again")
        began = now()
        await gate.enter()
        assert now() - began == pytest.approx(5)

    play(scene)


def test_trial_that_comes_to_nothing_is_followed_by_another() -> None:
    async def scene() -> None:
        gate, began = await broken_gate(Told()), now()
        await gate.enter()
        second, third = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await asyncio.sleep(1)
        assert not second.done()
        gate.leave("neutral")
        second.cancel()  # let in and cancelled at the same moment
        await third
        assert now() - began == pytest.approx(31)

    play(scene)


def test_calls_from_before_the_rest_do_not_end_it() -> None:
    async def scene() -> None:
        told = Told()
        gate = told.gate()
        for _ in range(3):
            await gate.enter()
        for _ in range(50):
            await gate.enter()
            gate.leave("broken")
        began = now()
        gate.leave("good")
        gate.leave("broken")
        gate.leave("throttled", retry_after=50)
        await gate.enter()
        assert now() - began == pytest.approx(50)
        assert len(told) == 1
        gate.leave("throttled", retry_after=100)
        await gate.enter()
        assert now() - began == pytest.approx(150)

    play(scene)


ENDINGS: list[Ending] = ["good", "throttled", "broken", "neutral"]
times = st.integers(0, 40).map(lambda tenths: tenths / 10)
caller = st.tuples(
    times,
    times,
    st.sampled_from([*ENDINGS, "broken", "broken"]),
    st.sampled_from([None, None, 1.0, 20.0]),
    st.just(math.inf) | times,
)


class Watched(Gate):
    def _take(self) -> None:
        super()._take()
        assert self.running <= self.limit


@settings(max_examples=60, deadline=None)
@given(st.lists(caller, max_size=30) | st.lists(caller, min_size=90, max_size=120), st.integers(1, 12))
def test_whoever_comes_and_goes_all_are_served_in_their_order(callers: list[Any], start: int) -> None:
    arrived: list[int] = []
    entered: dict[int, float] = {}

    async def scene() -> None:
        gate = Watched("x", 16, start, clock=now, tell=lambda news: None)

        async def call(number: int, arrival: float, length: float, ending: Ending, retry_after: float | None) -> None:
            await asyncio.sleep(arrival)
            arrived.append(number)
            await gate.enter()
            entered[number] = now()
            try:
                await asyncio.sleep(length)
            except asyncio.CancelledError:
                gate.leave("neutral")
                raise
            gate.leave(ending, retry_after)

        tasks = []
        for number, (*how, cancelled_at) in enumerate(callers):
            tasks.append(asyncio.create_task(call(number, *how)))
            if cancelled_at < math.inf:
                asyncio.get_running_loop().call_later(cancelled_at, tasks[-1].cancel)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert (gate.running, gate.waiting) == (0, 0)
        moments = [entered[number] for number in arrived if number in entered]
        assert moments == sorted(moments)
        for number, end in enumerate(ends):
            assert end is None or (isinstance(end, asyncio.CancelledError) and callers[number][-1] < math.inf)
            assert end is not None or number in entered

    play(scene)
