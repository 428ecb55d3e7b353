"""When a batch leaves is shown by the order of calls alone: there are no timers in the batcher, and none here."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from diotima.models.batching import Batcher


class Work:
    """Doubles numbers, and remembers its batches; fails on a batch that holds 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, requests: Sequence[int]) -> list[int]:
        self.batches.append(list(requests))
        if 13 in requests:
            raise RuntimeError("thirteen")
        return [2 * request for request in requests]


def test_all_who_ask_at_the_same_moment_share_a_batch() -> None:
    work = Work()
    batcher = Batcher(work, rows=10)

    async def main() -> list[int]:
        return await asyncio.gather(*(batcher.ask(number) for number in range(4)))

    assert asyncio.run(main()) == [0, 2, 4, 6]
    assert work.batches == [[0, 1, 2, 3]]


def test_a_full_batch_leaves_first_come_first_served() -> None:
    work = Work()
    batcher = Batcher(work, rows=3)

    async def main() -> list[int]:
        return await asyncio.gather(*(batcher.ask(number) for number in range(8)))

    assert asyncio.run(main()) == [2 * number for number in range(8)]
    assert work.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_lessons_that_go_on_are_waited_for() -> None:
    # Each lesson needs a few rounds of the loop between two replies, and not the same number of them.
    work = Work()
    batcher = Batcher(work, rows=100)

    async def lesson(number: int) -> None:
        for turn in range(3):
            await batcher.ask(100 * turn + number)
            for _ in range(5 * (number % 2)):
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*map(lesson, range(12)))

    asyncio.run(main())
    assert [sorted(batch) for batch in work.batches] == [[100 * turn + n for n in range(12)] for turn in range(3)]


def test_a_single_lesson_waits_for_nobody() -> None:
    work = Work()
    batcher = Batcher(work, rows=64)

    async def main() -> None:
        for number in range(3):
            await batcher.ask(number)

    asyncio.run(main())
    assert work.batches == [[0], [1], [2]]


def test_requests_gather_while_a_batch_is_computed() -> None:
    started, go_on, batches = threading.Event(), threading.Event(), []

    def work(requests: Sequence[int]) -> list[int]:
        batches.append(list(requests))
        started.set()
        assert go_on.wait(5)
        return list(requests)

    batcher = Batcher(work, rows=10)

    async def main() -> None:
        first = asyncio.create_task(batcher.ask(0))
        await asyncio.to_thread(started.wait, 5)
        others = [asyncio.create_task(batcher.ask(number)) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        assert batches == [[0]]  # the loop is free while the first batch is computed
        go_on.set()
        await asyncio.gather(first, *others)

    asyncio.run(main())
    assert batches == [[0], [1, 2, 3]]


def test_an_error_reaches_exactly_its_batch() -> None:
    work = Work()
    batcher = Batcher(work, rows=2)

    async def main() -> list[object]:
        return await asyncio.gather(*(batcher.ask(n) for n in (1, 2, 13, 3, 4)), return_exceptions=True)

    found = asyncio.run(main())
    assert found[:2] == [2, 4]
    assert [str(error) for error in found[2:4]] == ["thirteen", "thirteen"]
    assert found[4] == 8


@pytest.mark.parametrize("answers", [[], [1], [1, 2, 3]])
def test_work_that_answers_too_few_or_too_many_leaves_nobody_waiting(answers: list[int]) -> None:
    batcher: Batcher[int, int] = Batcher(lambda requests: answers, rows=4)

    async def main() -> list[object]:
        asked = asyncio.gather(batcher.ask(1), batcher.ask(2), return_exceptions=True)
        return await asyncio.wait_for(asked, 5)

    assert [type(error) for error in asyncio.run(main())] == [ValueError, ValueError]


def test_who_was_cancelled_takes_no_place() -> None:
    work = Work()
    batcher = Batcher(work, rows=3)

    async def main() -> list[int]:
        tasks = [asyncio.create_task(batcher.ask(number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        return await asyncio.gather(*(tasks[index] for index in (1, 3, 4)))

    assert asyncio.run(main()) == [2, 6, 8]
    assert work.batches == [[1, 3, 4]]


def test_if_all_were_cancelled_there_is_no_work() -> None:
    work = Work()
    batcher = Batcher(work, rows=3)

    async def main() -> int:
        task = asyncio.create_task(batcher.ask(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(20):
            await asyncio.sleep(0)
        assert work.batches == []
        return await batcher.ask(2)

    assert asyncio.run(main()) == 4
    assert work.batches == [[2]]


def test_one_batcher_serves_several_event_loops() -> None:
    work = Work()
    batcher = Batcher(work, rows=2)

    async def interrupted() -> None:
        task = asyncio.create_task(batcher.ask(99))
        await asyncio.sleep(0)
        assert not task.done()
        raise RuntimeError("stopped")

    assert asyncio.run(batcher.ask(1)) == 2
    with pytest.raises(RuntimeError, match="stopped"):
        asyncio.run(interrupted())
    assert asyncio.run(batcher.ask(3)) == 6
    assert work.batches == [[1], [3]]
