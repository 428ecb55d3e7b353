"""What was paid for is on the disk before anyone hears of it, is found again, and is counted right."""

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

import diotima
from diotima.dialogue import Message
from diotima.errors import RunError
from diotima.runs import ledger as ledgers
from diotima.runs import store
from diotima.runs.ledger import Intent, Ledger, Outcome, Totals, Used, chat_hash, chat_hashes
from diotima.runs.run import Run

CHAT = (Message("system", "Be kind."), Message("user", "12 + 45?"), Message("assistant", "\u2212\u00bd \U0001f600"))
INTENT = Intent(b"k" * 32, "vllm/tiny", "weights-1", 2**63 - 1, CHAT, '{"temperature":0.7}', 900, 300)
USED = Used(200, 50, 40, 10)
ANSWERED = Outcome("answered", 200, "chatcmpl-1", USED, 120, "", b'{"raw": "\xff body"}')


def create(folder: Path) -> Run:
    return Run.create(folder, stage="teach", settings={}, seed=0)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with create(tmp_path / "run") as run:
        yield run


def call(ledger: Ledger, intent: Intent = INTENT, outcome: Outcome | None = ANSWERED) -> int:
    """Make a call and settle it, unless there is no outcome; returns its row's id."""

    async def whole() -> int:
        id = await ledger.intend(intent)
        if outcome is not None:
            await ledger.settle(id, outcome)
        return id

    return asyncio.run(whole())


def rows(run: Run, statement: str) -> list[tuple[object, ...]]:
    database = apsw.Connection(str(run.folder / store.FILE), flags=apsw.SQLITE_OPEN_READONLY)
    found = list(database.execute(statement))
    database.close()
    return found


def test_an_answer_comes_back_as_it_came(run: Run) -> None:
    assert run.ledger.answered(INTENT.key) is None
    call(run.ledger)
    answer = run.ledger.answered(INTENT.key)
    assert answer is not None
    assert (answer.body, answer.status, answer.provider_id, answer.usage, answer.cost, answer.from_elsewhere) == (
        ANSWERED.answer, 200, "chatcmpl-1", USED, 120, False,
    )  # fmt: skip
    assert run.ledger.answered(b"other" * 8) is None
    with Run.open(run.folder) as reader:
        assert reader.ledger.answered(INTENT.key) == answer


def test_a_call_is_on_the_disk_before_it_is_sent_and_has_no_answer_yet(run: Run) -> None:
    call(run.ledger, outcome=None)
    told = (
        "SELECT key, attempt, model, served, sample, parameters, state, reserved_cost, reserved_tokens, cost FROM calls"
    )
    assert rows(run, told) == [
        (INTENT.key, 1, "vllm/tiny", "weights-1", 2**63 - 1, '{"temperature":0.7}', "sent", 900, 300, None)
    ]
    assert run.ledger.answered(INTENT.key) is None


def test_an_answer_that_is_not_committed_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_too_early() -> None:
        id = await run.ledger.intend(INTENT)
        slow, synced = threading.Event(), run._writer._sync  # type: ignore[union-attr]
        monkeypatch.setattr(run._writer, "_sync", lambda: (slow.wait(5), synced()))
        settling = asyncio.create_task(run.ledger.settle(id, ANSWERED))
        await asyncio.sleep(0.01)
        assert run._writer._commit is not None  # type: ignore[union-attr]
        assert run.ledger.answered(INTENT.key) is None
        assert not settling.done()
        slow.set()
        await settling
        assert run.ledger.answered(INTENT.key)

    asyncio.run(look_too_early())


def test_every_attempt_is_a_row_and_the_newest_answer_counts(run: Run) -> None:
    failed = Outcome("failed", 500, "", Used(), 0, "the server broke", b"<html>")
    for outcome in (failed, replace(ANSWERED, answer=b"first"), failed, replace(ANSWERED, answer=b"second"), failed):
        call(run.ledger, outcome=outcome)
    assert [attempt for (attempt,) in rows(run, "SELECT attempt FROM calls ORDER BY id")] == [1, 2, 3, 4, 5]
    answer = run.ledger.answered(INTENT.key)
    assert answer is not None
    assert answer.body == b"second"
    assert rows(run, "SELECT reason, answer FROM calls WHERE id = 1") == [("the server broke", b"<html>")]


def test_each_message_of_a_growing_chat_is_stored_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "REMEMBERED", 5)  # what is forgotten is found again
    chat = [Message("system", "Be kind."), *(Message("user" if i % 2 else "assistant", f"turn {i}") for i in range(12))]
    other = [chat[0], Message("user", "turn 1")]
    calls = [chat[: length + 1] for length in range(13)] + [other, chat[:3]]
    for number, messages in enumerate(calls):
        call(run.ledger, replace(INTENT, key=bytes([number] * 32), messages=messages))
    assert rows(run, "SELECT count(*) FROM messages") == [(14,)]
    for number, messages in enumerate(calls):
        (chain,) = rows(
            run,
            "WITH RECURSIVE chain(before, role, body, depth) AS (SELECT before, role, body, 0"
            f" FROM messages WHERE id = (SELECT chat FROM calls WHERE id = {number + 1})"
            " UNION ALL SELECT m.before, m.role, m.body, depth + 1 FROM messages m JOIN chain ON m.id = chain.before"
            ") SELECT group_concat(role || ' ' || body, '|' ORDER BY depth DESC) FROM chain",
        )
        assert chain == ("|".join(f"{message.role} {message.content}" for message in messages),)


def test_a_chat_is_known_by_all_its_messages_and_roles() -> None:
    first = hashlib.sha256(b"system\0Be kind.").digest()
    assert chat_hashes(CHAT)[:2] == [first, hashlib.sha256(first + b"user\x0012 + 45?").digest()]
    others = (
        CHAT[:2],
        CHAT[1:],
        (CHAT[0], replace(CHAT[1], role="assistant"), CHAT[2]),
        (replace(CHAT[0], content="Be kind"), *CHAT[1:]),
    )
    assert len({chat_hash(chat) for chat in (CHAT, *others)}) == 5


def test_a_chat_rolled_back_is_not_remembered(run: Run) -> None:
    disk = run._writer._db  # type: ignore[union-attr]
    pages = disk.pragma("max_page_count")
    disk.pragma("max_page_count", disk.pragma("page_count"))
    long = replace(INTENT, messages=(Message("user", "long " * 20_000),))
    with pytest.raises(RunError, match="the disk is full"):
        call(run.ledger, long)
    disk.pragma("max_page_count", pages)
    call(run.ledger, long)
    assert rows(run, "SELECT role, length(body) FROM messages m JOIN calls c ON m.id = c.chat") == [("user", 100_000)]


def test_a_call_given_up_before_it_was_sent_leaves_no_trace_and_a_settled_one_stays(run: Run) -> None:
    async def give_up() -> None:
        id = await run.ledger.intend(INTENT)
        tasks = [
            asyncio.create_task(run.ledger.intend(replace(INTENT, key=b"2" * 32))),
            asyncio.create_task(run.ledger.settle(id, ANSWERED)),
            asyncio.create_task(run.ledger.intend(replace(INTENT, key=b"3" * 32))),
        ]
        await asyncio.sleep(0)
        tasks[2].cancel()  # in the queue
        await asyncio.sleep(0)
        tasks[0].cancel()  # on its way to the disk
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(give_up())
    run.flush()
    assert rows(run, "SELECT key, state FROM calls") == [(INTENT.key, "answered")]


def test_calls_of_a_process_that_died_are_unknown_and_bounded(tmp_path: Path) -> None:
    with create(tmp_path / "run") as run:
        call(run.ledger)
        ids = [call(run.ledger, replace(INTENT, key=bytes([n] * 32)), None) for n in range(3)]
        assert run.ledger.unknown() == []
        assert run.ledger.totals().sent == 3
    with create(tmp_path / "run") as run:
        unknown = run.ledger.unknown()
        assert [one.id for one in unknown] == ids
        assert (unknown[0].key, unknown[0].attempt, unknown[0].sample, unknown[0].reserved_cost) == (
            bytes(32), 1, INTENT.sample, 900,
        )  # fmt: skip
        call(run.ledger, replace(INTENT, key=bytes(32)))
        totals = run.ledger.totals()
    assert (totals.sent, totals.unknown, totals.answered, totals.calls) == (0, 3, 2, 5)
    assert (totals.cost, totals.open_cost, totals.open_tokens) == (240, 2700, 900)


def test_the_books_add_up_by_model(run: Run) -> None:
    other = replace(INTENT, model="openai/gpt-5", key=b"o" * 32)
    call(run.ledger)
    call(run.ledger, other, Outcome("failed", 200, "", Used(), 900, "unreadable", b"<html>"))
    call(run.ledger, other, Outcome("unknown"))
    call(run.ledger, other, None)
    assert run.ledger.totals_by_model() == {
        "openai/gpt-5": Totals(sent=1, failed=1, unknown=1, cost=900, open_cost=1800, open_tokens=900),
        "vllm/tiny": Totals(
            answered=1, prompt_tokens=200, cached_tokens=50, reply_tokens=40, reasoning_tokens=10, cost=120
        ),
    }
    assert run.ledger.totals().cost == 1020
    assert run.ledger.totals().calls == 4


def test_another_runs_answers_are_reused_for_nothing(tmp_path: Path) -> None:
    with create(tmp_path / "first") as first:
        call(first.ledger)
        call(first.ledger, replace(INTENT, key=b"s" * 32), None)
    with create(tmp_path / "second") as second:
        ledger = second.ledger
        ledger.reuse_from(tmp_path / "first")
        answer = ledger.answered(INTENT.key)
        assert answer is not None
        assert (answer.from_elsewhere, answer.body) == (True, ANSWERED.answer)
        assert ledger.answered(b"s" * 32) is None
        asyncio.run(ledger.adopt(INTENT, answer))
        assert ledger.answered(INTENT.key) == replace(answer, cost=0, from_elsewhere=False)
        assert ledger.totals() == Totals(reused=1)
        assert rows(second, "SELECT state, attempt, cost, ended IS NULL FROM calls") == [("reused", 1, 0, 0)]
        with pytest.raises(RunError, match="is not a run"):
            ledger.reuse_from(tmp_path)
    with create(tmp_path / "third") as third:  # from the copy
        third.ledger.reuse_from(tmp_path / "second")
        assert third.ledger.answered(INTENT.key) == replace(answer, cost=0)


def test_who_only_reads_cannot_make_calls(run: Run) -> None:
    with Run.open(run.folder) as reader, pytest.raises(RunError, match="read only"):
        call(reader.ledger)


def test_a_run_of_the_first_schema_is_read_and_brought_up_to_date(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with create(folder) as run:
        run.metric(1, "loss", 0.5)
    database = apsw.Connection(str(folder / store.FILE))
    database.execute("DROP TABLE judgements; DROP TABLE calls; DROP TABLE messages; PRAGMA user_version = 1")
    database.close()
    with Run.open(folder) as run:
        assert run.ledger.totals() == Totals()
        assert (run.ledger.unknown(), run.ledger.answered(INTENT.key)) == ([], None)
    with create(tmp_path / "new") as new:
        new.ledger.reuse_from(folder)
        assert new.ledger.answered(INTENT.key) is None
    with create(folder) as run:
        assert run.metrics() == {"loss": [(1, 0.5)]}
        call(run.ledger)
        assert run.ledger.totals().answered == 1
        assert rows(run, "PRAGMA user_version") == [(store.SCHEMA_VERSION,)]


class WithoutLog(apsw.VFS):
    """A file system on which SQLite's write-ahead log does not work, as over many a network."""

    def __init__(self) -> None:
        super().__init__("without log", "unix", makedefault=True)

    def xOpen(self, name: "str | apsw.URIFilename | None", flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if flags[0] & apsw.SQLITE_OPEN_WAL:
            raise apsw.IOError("no such thing here")
        return apsw.VFSFile("unix", name, flags)


def test_a_file_system_without_wal_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    disk = WithoutLog()
    try:
        with pytest.raises(RunError, match="does not support SQLite's WAL mode; use a local disk"):
            create(tmp_path / "run")
    finally:
        disk.unregister()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["writer.lock"]
    create(tmp_path / "run").close()
    assert not list((tmp_path / "run").glob(".probe*"))


WORKER = """
import asyncio, sys
from runs.test_ledger import *

async def lesson(ledger, number, start):
    for turn in range(start, start + 10_000):
        key = hashlib.sha256(f"{number} {turn}".encode()).digest()
        chat = [Message("user", f"{number} {turn} {k}") for k in range(3)]
        id = await ledger.intend(replace(INTENT, key=key, messages=chat))
        print("sent", key.hex(), flush=True)
        await ledger.settle(id, replace(ANSWERED, answer=key * 50))
        print("answered", key.hex(), flush=True)

async def lessons(ledger, start):
    await asyncio.gather(*(lesson(ledger, number, start) for number in range(8)))

with create(Path(sys.argv[1])) as run:
    asyncio.run(lessons(run.ledger, int(sys.argv[2])))
"""


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    paths = map(str, (Path(diotima.__file__).parents[1], Path(__file__).parents[1]))
    environment = {"PYTHONPATH": os.pathsep.join(paths)}
    moments = random.Random(4)
    sent, answered = set(), set()
    for kill in range(5):
        command = [sys.executable, "-c", WORKER, str(tmp_path / "run"), str(kill * 10_000)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            wanted = moments.randrange(20, 200)
            lines = [worker.stdout.readline() for _ in range(wanted)]
            worker.send_signal(signal.SIGKILL)
            lines += [line for line in worker.stdout if line.endswith("\n")]
        assert worker.returncode == -signal.SIGKILL
        for line in lines:
            state, key = line.split()
            (answered if state == "answered" else sent).add(bytes.fromhex(key))
    with create(tmp_path / "run") as run:
        for key in answered:
            answer = run.ledger.answered(key)
            assert answer is not None
            assert answer.body == key * 50
        unknown = {one.key for one in run.ledger.unknown()}
        assert all(run.ledger.answered(key) or key in unknown for key in sent)
        assert 0 < len(unknown) <= 5 * 8
        assert rows(run, "PRAGMA integrity_check") == [("ok",)]
        assert rows(run, "PRAGMA foreign_key_check") == []
