"""Many pieces of work share a commit; none is acknowledged before it is synced; one that fails, fails alone."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import apsw
import pytest

from diotima.errors import RunError
from diotima.runs import store
from diotima.runs.writer import GROUP, Writer

Work = Callable[[apsw.Connection], int]


def note(number: int, text: str = "") -> Work:
    """A piece of work: note a number; its result is twice the number."""

    def work(db: apsw.Connection) -> int:
        db.execute("INSERT INTO notes VALUES (?, ?)", (number, text))
        return 2 * number

    return work


def refuse(db: apsw.Connection) -> int:
    db.execute("INSERT INTO notes VALUES (-1, 'half done')")
    raise LookupError("this work is bad")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    db = store.open_for_writing(tmp_path)
    db.execute("CREATE TABLE notes (number INTEGER PRIMARY KEY, text TEXT)")
    writer = Writer(db, tmp_path)
    yield writer
    writer.close()


def stored(folder: Path) -> list[int]:
    """What another connection sees: only what is committed."""
    db = store.open_for_reading(folder)
    numbers = [number for (number,) in db.execute("SELECT number FROM notes ORDER BY number")]
    db.close()
    return numbers


async def all_of(writer: Writer, *works: Work) -> list[int | BaseException]:
    return await asyncio.gather(*map(writer.write, works), return_exceptions=True)


def test_those_who_are_ready_at_once_share_a_commit(writer: Writer, tmp_path: Path) -> None:
    results = asyncio.run(all_of(writer, *map(note, range(GROUP + 100))))
    assert results == [2 * number for number in range(GROUP + 100)]
    assert writer.groups == 2
    assert stored(tmp_path) == list(range(GROUP + 100))


def test_an_acknowledged_record_is_seen_by_others_at_once(writer: Writer, tmp_path: Path) -> None:
    async def produce(first: int) -> None:
        for number in range(first, first + 5):
            await writer.write(note(number))
            assert number in stored(tmp_path)

    async def produce_all() -> None:
        await asyncio.gather(*(produce(100 * lesson) for lesson in range(8)))

    asyncio.run(produce_all())
    assert writer.groups < 40


def test_work_that_raises_is_undone_alone(writer: Writer, tmp_path: Path) -> None:
    first, bad, twice, last = asyncio.run(all_of(writer, note(1), refuse, note(1), note(2)))
    assert (first, last) == (2, 4)
    assert isinstance(bad, LookupError)
    assert isinstance(twice, apsw.ConstraintError)
    assert stored(tmp_path) == [1, 2]


def test_a_full_disk_befalls_the_group_and_not_what_comes_after(writer: Writer, tmp_path: Path) -> None:
    writer.post(note(1))
    writer.flush()
    pages = writer._db.pragma("page_count")
    writer._db.pragma("max_page_count", pages + 2)
    results = asyncio.run(all_of(writer, note(2), note(3, "long " * 10_000), note(4)))
    assert [str(result) for result in results] == [f"{tmp_path}: the disk is full; all that was stored before is kept, "
                                                   "the rest was not"] * 3  # fmt: skip
    assert stored(tmp_path) == [1]
    writer._db.pragma("max_page_count", pages + 100)
    assert asyncio.run(all_of(writer, note(5))) == [10]
    assert stored(tmp_path) == [1, 5]


def test_what_nobody_waits_for_is_told_by_the_next_flush_and_once(writer: Writer, tmp_path: Path) -> None:
    writer.post(refuse)
    writer.post(note(1))
    with pytest.raises(LookupError):
        writer.flush()
    writer.flush()
    assert stored(tmp_path) == [1]


def test_posted_work_goes_with_the_next_group_in_order(writer: Writer, tmp_path: Path) -> None:
    writer.post(note(1))
    assert asyncio.run(all_of(writer, lambda db: int(db.execute("SELECT max(number) FROM notes").get))) == [1]
    assert writer.groups == 1
    assert stored(tmp_path) == [1]


def test_a_waiter_that_gave_up_disturbs_nobody_and_its_work_is_done(writer: Writer, tmp_path: Path) -> None:
    async def give_up() -> int:
        tasks = [asyncio.create_task(writer.write(note(number))) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)  # the group is on its way now
        tasks[2].cancel()
        return await tasks[3]

    assert asyncio.run(give_up()) == 6
    assert stored(tmp_path) == [0, 1, 2, 3]


def test_a_loop_that_ends_early_loses_nothing(writer: Writer, tmp_path: Path) -> None:
    async def leave(*numbers: int) -> None:
        tasks = [asyncio.create_task(writer.write(note(number))) for number in numbers]
        for _ in tasks:
            await asyncio.sleep(0)

    asyncio.run(leave(1, 2))  # its group is on its way
    asyncio.run(leave(3))  # and this one behind it
    assert asyncio.run(all_of(writer, note(4))) == [8]
    writer.flush()
    assert stored(tmp_path) == [1, 2, 3, 4]


def test_a_flush_within_the_loop_answers_those_who_wait(writer: Writer, tmp_path: Path) -> None:
    async def flush_between() -> list[int]:
        waiting = asyncio.gather(*(writer.write(note(number)) for number in range(3)))
        await asyncio.sleep(0)
        writer.flush()
        assert stored(tmp_path) == [0, 1, 2]
        return await waiting

    assert asyncio.run(flush_between()) == [0, 2, 4]


def test_an_interrupt_in_the_middle_of_a_group_loses_nothing(writer: Writer, tmp_path: Path) -> None:
    presses = iter([True, False])

    def interrupted(db: apsw.Connection) -> None:
        note(2)(db)
        if next(presses):
            raise KeyboardInterrupt

    for work in (note(1), interrupted, note(3)):
        writer.post(work)
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    assert stored(tmp_path) == []
    writer.close()
    assert stored(tmp_path) == [1, 2, 3]


def test_the_log_stays_bounded(writer: Writer, tmp_path: Path) -> None:
    sizes = []
    for round_ in range(30):
        for number in range(100):
            writer.post(note(1000 * round_ + number, "x" * 8000))
        writer.flush()
        sizes.append((tmp_path / f"{store.FILE}-wal").stat().st_size)
    assert sum(sizes[:5]) > 0
    assert max(sizes) < 8 << 20  # of 24 MB that went through it


class Watched(apsw.VFS):
    """SQLite's own way to the disk, which tells when the write-ahead log was written and synced, or fails to sync."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[str] = []
        self.broken = False
        super().__init__(name, "")

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> "WatchedFile":  # noqa: N802
        return WatchedFile(self, name, flags)


class WatchedFile(apsw.VFSFile):
    def __init__(self, disk: Watched, name: "str | apsw.URIFilename | None", flags: list[int]) -> None:
        self.disk = disk
        self.log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self.log:
            self.disk.events.append("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self.log:
            if self.disk.broken:
                raise apsw.IOError("the cable was pulled")
            self.disk.events.append("sync")
        super().xSync(flags)


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Watched]:
    disk = Watched(f"watched by {request.node.name}")
    yield disk
    disk.unregister()


@pytest.fixture
def watched(disk: Watched, tmp_path: Path) -> Iterator[Writer]:
    db = apsw.Connection(str(tmp_path / store.FILE), vfs=disk.name)
    assert db.pragma("journal_mode", "wal") == "wal"
    db.pragma("synchronous", "FULL")
    db.execute("CREATE TABLE notes (number INTEGER PRIMARY KEY, text TEXT)")
    disk.events.clear()
    writer = Writer(db, tmp_path)
    yield writer
    writer.close()


def test_every_group_is_synced_before_it_is_acknowledged(watched: Writer, disk: Watched) -> None:
    async def produce(first: int) -> None:
        for number in range(first, first + 10):
            await watched.write(note(number))
            disk.events.append("acknowledged")

    async def produce_all() -> None:
        await asyncio.gather(*(produce(100 * lesson) for lesson in range(16)))

    asyncio.run(produce_all())
    phases = [event for event, _ in groupby(disk.events)]
    assert phases == ["write", "sync", "acknowledged"] * watched.groups
    assert watched.groups == 10
    assert disk.events.count("acknowledged") == 160


def test_what_could_not_be_synced_is_not_acknowledged(watched: Writer, disk: Watched, tmp_path: Path) -> None:
    assert asyncio.run(all_of(watched, note(1))) == [2]
    disk.broken = True
    results = asyncio.run(all_of(watched, note(2), note(3)))
    assert all(isinstance(result, RunError) for result in results)
    disk.broken = False
    assert asyncio.run(all_of(watched, note(4))) == [8]
    assert list(watched._db.execute("SELECT number FROM notes")) == [(1,), (4,)]
