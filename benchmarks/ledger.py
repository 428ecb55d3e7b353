"""How fast is the ledger, what does a call cost, and how many share an fsync? On the disk that the folder lies on.

Each producer is a lesson that makes one call after the other: it looks for an answer, writes down that it will ask, and
writes down the raw answer (1.9 KB). A chat has nine messages, two of them new. Every intent and every outcome is one
record, counted when it is acknowledged, which is when the disk has it. *Busy*: the event loop has 1 ms of other work a
call, between two uses of a socket, as a client has; the CPU time is given without it.

    python benchmarks/ledger.py [--folder /tmp] [--records 20000]
"""

import argparse
import asyncio
import hashlib
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from diotima.dialogue import Message
from diotima.runs import store
from diotima.runs.ledger import Intent, Ledger, Outcome, Used, chat_hash
from diotima.runs.writer import Writer

Result = TypeVar("Result")

ANSWER = os.urandom(950).hex().encode()
BUSY_SECONDS = 0.001
SYSTEM = "You are a patient tutor. " * 40
SAID = "Look at the second step again: which number did you add there, and where does it come from? "


def main() -> None:
    """Print a line for each number of producers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--records", type=int, default=20_000)
    asked = parser.parse_args()
    print(
        f"{'producers':>9} {'loop':>5} {'records/s':>9} {'CPU ms/call':>11} {'a group':>7} {'p50 ms':>7} {'p99 ms':>7}"
    )
    for producers, busy, records in (
        (1, False, asked.records // 20),
        (64, False, asked.records),
        (256, False, asked.records),
        (64, True, asked.records // 5),
        (256, True, asked.records // 5),
    ):
        with tempfile.TemporaryDirectory(dir=asked.folder) as name:
            measure(Path(name), producers, busy, records // 2 // producers)


def measure(folder: Path, producers: int, busy: bool, calls: int) -> None:
    """Let each producer make so many calls, and print what it took."""
    writer = Writer(store.open_for_writing(folder), folder)
    reader = store.open_for_reading(folder)
    waits: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    asyncio.run(produce(Ledger(reader, folder, writer), producers, calls, busy, waits))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    answered = Ledger(reader, folder).totals().answered
    assert 2 * answered == len(waits) == 2 * producers * calls
    print(
        f"{producers:>9} {'busy' if busy else 'idle':>5} {len(waits) / seconds:>9,.0f}"
        f" {1e3 * (cpu / answered - BUSY_SECONDS * busy):>11.2f} {len(waits) / writer.groups:>7.1f}"
        f" {1e3 * statistics.median(waits):>7.1f} {1e3 * statistics.quantiles(waits, n=100)[98]:>7.1f}",
        flush=True,
    )
    reader.close()
    writer.close()


async def produce(ledger: Ledger, producers: int, calls: int, busy: bool, waits: list[float]) -> None:
    """Make all calls, and note how long each record waited for its acknowledgement, in seconds."""
    here, there = socket.socketpair()

    async def lesson(number: int) -> None:
        chat: list[Message] = []
        for turn in range(calls):
            if turn % 4 == 0:
                chat = [Message("system", f"{SYSTEM} {number} {turn}")]
            chat += [Message("user", f"{SAID} {number} {turn}"), Message("assistant", f"{SAID} {turn} {number}")]
            key = hashlib.sha256(chat_hash(chat)).digest()
            assert ledger.answered(key) is None
            sample = int.from_bytes(key[:7], "little")
            intent = Intent(key, "vllm/model", "served", sample, tuple(chat), '{"temperature":1}', 500, 700)
            row = await timed(ledger.intend(intent))
            if busy:
                work(here, there)
            await timed(ledger.settle(row, Outcome("answered", 200, "id", Used(600, 0, 80), 120, "", ANSWER)))

    async def timed(record: Awaitable[Result]) -> Result:
        start = time.perf_counter()
        result = await record
        waits.append(time.perf_counter() - start)
        return result

    with here, there:
        await asyncio.gather(*map(lesson, range(producers)))


def work(here: socket.socket, there: socket.socket) -> None:
    """Keep the loop busy, with two system calls that let other threads run."""
    here.send(ANSWER)
    end = time.thread_time() + BUSY_SECONDS
    while time.thread_time() < end:
        sum(range(500))
    there.recv(len(ANSWER))


if __name__ == "__main__":
    main()
