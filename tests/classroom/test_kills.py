"""A run that is killed loses nothing and pays for nothing twice.

One scripted server outlives all victims and remembers every request. After each run: every lesson is there once, word
for word as in a run that nobody killed; what the server was asked twice is what the books had listed as unknown; no
answer that was on the disk was asked for again. By hand ``DIOTIMA_KILLS=200`` kills two hundred times.
"""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from classroom.killing import Asked, Fate, Nursery, Victim, books_of, lessons_of
from servers.scripted import Fault, Script, ScriptedServer

from diotima.problems.files import write_problems
from diotima.runs.check import check_run
from diotima.runs.run import Run
from diotima.sandbox.world import World

KILLS = int(os.environ.get("DIOTIMA_KILLS", "20"))
CALLS = 180  # that 12 lessons take with these settings
AT_ONCE = 16  # calls to one model
SCRIPT = Script(kind="vllm", models=("tutor", "student"), words=12, median=0.015, sigma=0.8, slots=16)
LEDGER = "diotima.runs.ledger:Ledger"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SCRIPT) as server:
        yield server


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    write_problems(World().problems(12, 0), path)
    return path


class Stage:
    """One command, however often it is given: the same lessons in the same folder."""

    def __init__(self, nursery: Nursery, server: ScriptedServer, problems: Path, out: Path) -> None:
        self.out, self.nursery, self.server = out, nursery, server
        self.log = out.with_suffix(".log")
        self.words = (
            "teach", "--tutor", f"vllm/tutor@{server.url}", "--student", f"vllm/student@{server.url}", "--problems",
            problems, "--out", out, "--attempts", 2, "--tutor-turns", 3, "--endpoints",
            f"{{vllm: {{at_once: {AT_ONCE}}}}}",
        )  # fmt: skip
        server.use(SCRIPT)
        server.reset()

    def start(self) -> Victim:
        return self.nursery.start(*self.words, "--at-once", 32, log=self.log)

    def run(self, fate: Fate = Fate(), lessons_at_once: int = 32) -> tuple[int, str]:  # noqa: B008
        return self.nursery.run(*self.words, "--at-once", lessons_at_once, log=self.log, fate=fate)


@pytest.fixture(scope="module")
def unkilled(
    nursery: Nursery, server: ScriptedServer, problems: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that nobody killed."""
    stage = Stage(nursery, server, problems, tmp_path_factory.mktemp("unkilled") / "run")
    code, said = stage.run()
    assert code == 0, said
    assert server.counts()["billed"] == server.counts()["distinct"] == len(books_of(stage.out)) == CALLS
    return stage.out


def on_their_way(folder: Path) -> set[int]:
    """The rows of calls that a victim left behind, those of earlier ones among them."""
    return {row.id for row in books_of(folder) if row.state in ("sent", "unknown")}


def told(said: str) -> int:
    """How many calls a process said at its start to be unknown."""
    found = re.search(r"at most ([\d,]+) calls?", said)
    return int(found[1].replace(",", "")) if found else 0


def prove(stage: Stage, lessons: list[tuple[Any, ...]], kills: int, listed: set[int]) -> int:
    """Everything that has to hold at a run's end; returns how many requests the server was asked in excess."""
    assert lessons_of(stage.out) == lessons
    rows, seen = books_of(stage.out), stage.server.seen()["requests"]
    with Run.open(stage.out) as run:
        unknown = run.ledger.unknown()
    assert {call.id for call in unknown} == listed

    by_key: dict[bytes, list[Asked]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    for attempts in by_key.values():
        *earlier, last = attempts
        assert last.state == "answered"
        assert {row.state for row in earlier} <= {"unknown"}  # and so no answered call was ever asked again
        assert 1 <= seen[last.digest] <= len(attempts)
    asked_again = {digest for digest, times in seen.items() if times > 1}
    assert asked_again <= {row.digest for row in rows if row.state == "unknown"}
    assert set(seen) == {row.digest for row in rows}

    excess = sum(seen.values()) - len(seen)
    assert excess <= len(listed) <= kills * 2 * AT_ONCE
    assert [check for check in check_run(stage.out) if check.wrong] == []
    return excess


def kill_at_random(stage: Stage, random: Random) -> tuple[int, str]:
    """Start, and kill at any moment: while it starts, at any of the calls that are left, or when all is done."""
    before = stage.server.counts()["requests"]
    left = CALLS - sum(row.state == "answered" for row in books_of(stage.out))
    calls, moment = random.randint(0, left), random.uniform(0, 0.3 if random.random() < 0.3 else 0.03)
    victim = stage.start()
    while victim.lives and stage.server.counts()["requests"] < before + calls:
        time.sleep(0.002)
    time.sleep(moment)
    victim.send(signal.SIGKILL)
    return victim.wait(), victim.said


def test_random_kills(nursery: Nursery, server: ScriptedServer, problems: Path, unkilled: Path, tmp_path: Path) -> None:
    random, kills, figures = Random(0), 0, Counter[str]()
    while kills < KILLS:
        figures["runs"] += 1
        stage = Stage(nursery, server, problems, tmp_path / f"run{figures['runs']}")
        here, listed, code = 0, set[int](), 1
        while code:
            code, said = kill_at_random(stage, random) if kills < KILLS and random.random() < 0.85 else stage.run()
            assert code in (0, -signal.SIGKILL), said
            if listed and said:
                assert told(said) == len(listed)
            if code:
                kills, here, before = kills + 1, here + 1, listed
                listed = on_their_way(stage.out)
                assert before <= listed
        figures["asked twice"] += prove(stage, lessons_of(unkilled), here, listed)
        figures["listed as unknown"] += len(listed)
    print(f"{kills} kills: {dict(figures)}")


@pytest.mark.parametrize(
    ("at", "when", "asked", "billed", "listed", "twice"),
    [
        (f"{LEDGER}.intend", "before", 4, 4, 0, 0),
        (f"{LEDGER}.intend", "after", 4, 4, 1, 0),
        ("diotima.models.transport:Server.send", "within", 5, 4, 1, 1),
        (f"{LEDGER}.settle", "before", 5, 5, 1, 1),
        (f"{LEDGER}.settle", "after", 5, 5, 0, 0),
    ],
    ids=["before the intent", "after the intent", "after sending", "before the answer's commit", "after it"],
)
def test_a_kill_at_each_named_point(
    nursery: Nursery, server: ScriptedServer, problems: Path, unkilled: Path, tmp_path: Path,
    at: str, when: str, asked: int, billed: int, listed: int, twice: int,
) -> None:  # fmt: skip
    """At the fifth call of the first lesson, when no other is on its way."""
    stage = Stage(nursery, server, problems, tmp_path / "run")
    if when == "within":
        server.use(replace(SCRIPT, faults=(Fault("hang", after=4, first=5),)))
    watch = server.url.removesuffix("/v1") + "/_counts"
    code, _ = stage.run(Fate(at=at, when=when, count=5, watch=watch), lessons_at_once=1)
    assert code == -signal.SIGKILL
    seen, left = server.seen(), on_their_way(stage.out)
    assert (len(seen["order"]), sum(seen["billed"].values()), len(left)) == (asked, billed, listed)
    code, said = stage.run()
    assert code == 0, said
    assert told(said) == listed
    assert prove(stage, lessons_of(unkilled), 1, left) == twice


def test_a_kill_during_export_leaves_nothing_that_looks_whole(nursery: Nursery, unkilled: Path, tmp_path: Path) -> None:
    """Tables come before the card: a folder with a card is a whole export, a file without .part a whole file."""
    words = ("runs", "export", unkilled, "--out", tmp_path / "export")

    def export(fate: Fate = Fate()) -> tuple[int, dict[str, bytes]]:  # noqa: B008
        code, said = nursery.run(*words, log=tmp_path / "log", fate=fate)
        assert code in (0, -signal.SIGKILL), said
        return code, {path.name: path.read_bytes() for path in (tmp_path / "export").iterdir()}

    _, whole = export()
    card = whole.pop("README.md")
    assert {"dialogues.parquet", "dialogues.jsonl", "calls.parquet", "calls.jsonl"} == set(whole)
    for count in range(1, 10):
        code, left = export(Fate(at="diotima.runs.durable:sync", count=count))
        assert code == -signal.SIGKILL
        assert "README.md" not in left
        assert {name: body for name, body in left.items() if not name.endswith(".part")}.items() <= whole.items()
    code, again = export()
    assert code == 0
    assert len(again.pop("README.md")) == len(card)
    assert again == whole
