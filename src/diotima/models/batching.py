"""Gathers the replies that are wanted at the same moment into one batch.

Lessons are coroutines that each wait for their own reply. A batch leaves when it is full, or when nobody else is
about to ask: once the event loop has gone round a few times without a new request, every live lesson waits either
for this batch or for something outside. There are no timers, so nothing is ever slower for being alone. While a batch
is computed in a thread, the requests of the next one gather.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")

# A lesson that has just been answered needs a few rounds of the event loop until it asks again; a lesson that takes a
# finished one's place needs some more.
_QUIET_ROUNDS = 8


class Batcher(Generic[Request, Answer]):
    """Turns concurrent calls of `ask` into calls of ``work`` on at most ``rows`` requests, first come first served."""

    def __init__(self, work: Callable[[Sequence[Request]], Sequence[Answer]], rows: int) -> None:
        self._work = work
        self._rows = rows
        self._waiting: deque[tuple[Request, asyncio.Future[Answer]]] = deque()
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Answer:
        """The answer to one request; raises what ``work`` raised for its batch."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        while self._waiting:
            await self._until_all_have_asked()
            # Who asked and was cancelled since takes no place in the batch.
            wanted = [(request, answer) for request, answer in self._waiting if not answer.done()]
            batch, self._waiting = wanted[: self._rows], deque(wanted[self._rows :])
            if not batch:
                continue
            try:
                answers = await asyncio.to_thread(self._work, [request for request, _ in batch])
                pairs = list(zip(batch, answers, strict=True))
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), result in pairs:
                if not answer.done():
                    answer.set_result(result)

    async def _until_all_have_asked(self) -> None:
        quiet, asked = 0, len(self._waiting)
        while asked < self._rows and quiet < _QUIET_ROUNDS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == asked else 0
            asked = len(self._waiting)
