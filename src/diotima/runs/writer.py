"""Group commit: many pieces of work, one transaction, one fsync before any of them is acknowledged.

    id = await writer.write(lambda db: insert_call(db, ...))   # returns when it is on the disk
    writer.post(lambda db: insert_record(db, ...))             # goes with the next group
    writer.flush()                                             # ... which is now

While one group is being committed the next gathers, so groups grow with the load and an fsync is shared by all who
wait for it. Statements run in the thread that uses the writer, and only COMMIT, whose fsync is what takes time, in a
thread of the writer's own: SQLite lets go of the interpreter at every statement, and a second thread that executes them
beside a busy event loop waits up to two switch intervals (10 ms) to have it back, each time. So there are two such
waits in a group instead of several in every call. The two threads never use the connection at the same moment.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from diotima.errors import RunError
from diotima.runs import store

T = TypeVar("T")

GROUP = 512  # pieces of work in one transaction at most


class Writer:
    """The only one who writes a run's database; it owns the connection. For one thread, with an event loop or without.

    A piece of work that raises is undone alone, and the others of its group stand. What befalls the disk (it is full,
    it broke) befalls the whole group: nothing of it is kept, and everyone who waits for it hears of it as RunError. The
    writer goes on: later work is stored as soon as there is room again. ``groups``: how many commits there were.
    """

    def __init__(self, db: apsw.Connection, folder: Path) -> None:
        self.groups = 0
        self._db = db
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "commit")
        self._waiting: deque[_Job] = deque()
        self._group: list[_Job] = []
        self._commit: Future[None] | None = None  # of self._group, while it is on its way
        self._loop: asyncio.AbstractEventLoop | None = None  # which is called when it is there
        self._failure: BaseException | None = None  # of work nobody waits for

    async def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do the work and return its result once it is committed and synced.

        It is also done if the waiter is cancelled meanwhile. Raises RunError, or what the work raised.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Job(work, result))
        if self._loop is not loop:
            self._finish()  # what another loop left behind would call nobody
            self._loop = loop
        if self._commit is None:
            loop.call_soon(self._begin)  # soon, not now: others who are ready at this moment come along
        return await result

    def post(self, work: Callable[[apsw.Connection], object]) -> None:
        """Let the work go with the next group, at the latest that of `flush`, which raises what goes wrong with it."""
        self._waiting.append(_Job(work, None))

    def flush(self) -> None:
        """Return when all that was handed in before is committed. Raises the first error of posted work, once."""
        self._finish()
        while self._waiting:
            self._start()
            self._finish()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Commit what waits, and close the connection."""
        try:
            self.flush()
        finally:
            self._thread.shutdown()
            self._db.close()

    def _begin(self) -> None:
        while self._waiting and self._commit is None:
            self._start()

    def _call(self, loop: asyncio.AbstractEventLoop, commit: Future[None]) -> None:
        with suppress(RuntimeError):  # the loop is over: the next loop, flush or close will see to the group
            loop.call_soon_threadsafe(self._committed, loop, commit)

    def _committed(self, loop: asyncio.AbstractEventLoop, commit: Future[None]) -> None:
        if commit is self._commit:  # else a flush was faster
            self._finish()
            loop.call_soon(self._begin)  # after those who just heard of it, and may have more

    def _start(self) -> None:
        """Do the work of one group, hand its commit to the thread, and have the loop called when the disk has it."""
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        try:
            with store.explained(self._folder):
                self._db.execute("BEGIN IMMEDIATE")
                for job in group:
                    self._do(job)
        except Exception as error:
            self._undo()
            for job in group:
                self._tell(job, error)
        except BaseException:  # Ctrl-C: nothing of it is lost, close takes it up again
            self._undo()
            self._waiting.extendleft(reversed(group))
            raise
        else:
            self._group, self._commit = group, self._thread.submit(self._sync)
            if self._loop is not None:
                self._commit.add_done_callback(partial(self._call, self._loop))

    def _do(self, job: "_Job") -> None:
        """Do one piece of work in the open transaction; raises only what concerns the whole transaction."""
        try:
            with store.explained(self._folder), store.all_or_nothing(self._db):
                job.result = job.work(self._db)
        except RunError:
            raise
        except Exception as error:
            if not self._db.in_transaction:
                raise
            job.error = error

    def _finish(self) -> None:
        """Wait for the commit on its way, if there is one, and tell those who wait for it."""
        if self._commit is None:
            return
        error = self._commit.exception()
        self.groups += 1
        group, self._group, self._commit = self._group, [], None
        for job in group:
            self._tell(job, error or job.error)

    def _sync(self) -> None:
        try:
            with store.explained(self._folder):
                self._db.execute("COMMIT")
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        # On a full disk SQLite may have rolled back by itself.
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _tell(self, job: "_Job", error: BaseException | None) -> None:
        if job.waiter is None:
            self._failure = self._failure or error
        elif not job.waiter.done() and not job.waiter.get_loop().is_closed():
            if error is None:
                job.waiter.set_result(job.result)
            else:
                job.waiter.set_exception(error)


@dataclass(slots=True)
class _Job:
    """A piece of work, who waits for it, and what came of it."""

    work: Callable[[apsw.Connection], Any]
    waiter: "asyncio.Future[Any] | None"
    result: Any = None
    error: Exception | None = None
