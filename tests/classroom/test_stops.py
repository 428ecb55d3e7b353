"""Stops that are no kill: signals, full disks, read-only folders, a second writer, a clock that jumps.

Each is told in one sentence, and the same command goes on afterwards with its books in order.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from classroom.killing import Fate, Nursery, Victim, books_of, lessons_of
from servers.scripted import Fault, Script, ScriptedServer

from diotima.models.calls import LAST_SECONDS
from diotima.problems.files import write_problems
from diotima.runs.check import check_run
from diotima.sandbox.world import World

SCRIPT = Script(kind="vllm", models=("tutor", "student"), words=12, median=0.5)
SOON = replace(SCRIPT, median=0.0)
HANGS = replace(SCRIPT, faults=(Fault("hang", after=12),))
LESSONS = 10
AT_ONCE = 8  # calls with which a gate begins


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SCRIPT) as server:
        yield server


class Stage:
    """Ten lessons, by one command that may be given again."""

    def __init__(self, nursery: Nursery, server: ScriptedServer, folder: Path, out: Path) -> None:
        self.out, self.nursery, self.server = out, nursery, server
        self._folder = folder
        write_problems(World().problems(LESSONS, 0), folder / "problems.jsonl")
        self.words = (
            "teach", "--tutor", f"vllm/tutor@{server.url}", "--student", f"vllm/student@{server.url}", "--problems",
            folder / "problems.jsonl", "--out", out, "--attempts", 1, "--tutor-turns", 2,
        )  # fmt: skip
        server.use(SCRIPT)
        server.reset()

    def start(self, fate: Fate = Fate(), log: str = "log") -> Victim:  # noqa: B008
        return self.nursery.start(*self.words, log=self._folder / log, fate=fate)

    def start_and_wait_for(self, requests: int) -> Victim:
        """Started, and so many of its requests have reached the server."""
        victim = self.start()
        while self.server.counts()["requests"] < requests and victim.lives:
            time.sleep(0.005)
        assert victim.lives, victim.said
        return victim

    def run(self, fate: Fate = Fate(), log: str = "log") -> tuple[int, str]:  # noqa: B008
        victim = self.start(fate, log)
        return victim.wait(), victim.said

    def prove(self, excess: int = 0) -> None:
        """Go on to the end; then nothing is missing, and no more than ``excess`` was asked for twice."""
        self.server.use(SOON)
        code, said = self.run()
        assert code == 0, said
        rows, counts = books_of(self.out), self.server.counts()
        assert len(lessons_of(self.out)) == LESSONS
        assert counts["requests"] - counts["distinct"] <= excess
        assert counts["distinct"] == len({row.key for row in rows}) == sum(row.state == "answered" for row in rows)
        assert not [check for check in check_run(self.out) if check.wrong]


@pytest.fixture
def stage(nursery: Nursery, server: ScriptedServer, tmp_path: Path) -> Stage:
    return Stage(nursery, server, tmp_path, tmp_path / "run")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_cleanly_and_keeps_the_answers_on_their_way(stage: Stage, number: int, code: int) -> None:
    victim = stage.start_and_wait_for(AT_ONCE)
    began = time.monotonic()
    victim.send(number)
    assert victim.wait() == code
    assert time.monotonic() - began < LAST_SECONDS
    assert f"waiting {LAST_SECONDS:g} seconds at most for {AT_ONCE} answers that are on their way" in victim.said
    assert "stopped; what is finished is kept, go on with: diotima teach --tutor vllm/tutor@" in victim.said
    assert "Traceback" not in victim.said
    assert {row.state for row in books_of(stage.out)} == {"answered"}
    assert len(books_of(stage.out)) == stage.server.counts()["requests"] >= AT_ONCE
    stage.prove(excess=0)


def test_a_second_interrupt_does_not_wait(stage: Stage) -> None:
    stage.server.use(HANGS)
    victim = stage.start_and_wait_for(12 + LESSONS)
    victim.send(signal.SIGINT)
    while "answers that are on their way" not in victim.said:
        time.sleep(0.005)
    began = time.monotonic()
    victim.send(signal.SIGINT)
    code = victim.wait()
    assert time.monotonic() - began < LAST_SECONDS
    assert code == 130, victim.said
    assert "go on with: diotima teach" in victim.said
    assert "Traceback" not in victim.said
    assert sum(row.state in ("unknown", "sent") for row in books_of(stage.out)) == LESSONS
    stage.prove(excess=LESSONS)
    assert sum(row.state == "unknown" for row in books_of(stage.out)) == LESSONS


def test_a_server_that_hangs_does_not_hold_up_a_stop(stage: Stage) -> None:
    stage.server.use(HANGS)
    victim = stage.start_and_wait_for(12 + LESSONS)
    began = time.monotonic()
    victim.send(signal.SIGTERM)
    assert victim.wait() == 143
    took = time.monotonic() - began
    print(f"stopped in {took:.2f} s")
    assert took < LAST_SECONDS + 6  # on a busy machine; and not the 600 seconds that a call may take
    assert sum(row.state in ("unknown", "sent") for row in books_of(stage.out)) == LESSONS
    stage.prove(excess=LESSONS)
    assert f"at most {LESSONS} calls" in (stage.out.parent / "log").read_text()


def test_a_second_process_is_refused_and_named(stage: Stage) -> None:
    victim = stage.start_and_wait_for(AT_ONCE)
    code, said = stage.run(log="other.log")
    assert code == 2
    assert f"{stage.out} is being written by process {victim.pid} on " in said
    stage.server.use(SOON)
    assert victim.wait() == 0
    stage.prove(excess=0)


def test_a_file_that_may_not_grow_is_one_sentence(stage: Stage) -> None:
    stage.server.use(SOON)
    code, said = stage.run(Fate(largest_file=256 * 1024))
    assert code == 2
    assert f"diotima: {stage.out}" in said
    assert "what was stored before is kept" in said or "all that was stored before is kept" in said
    assert "Traceback" not in said
    kept = [row for row in books_of(stage.out) if row.state == "answered"]
    assert kept
    stage.prove(excess=sum(row.state in ("sent", "unknown") for row in books_of(stage.out)))


def test_a_full_disk_is_one_sentence_and_room_makes_it_go_on(
    nursery: Nursery, server: ScriptedServer, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here: that needs root")
    try:
        stage = Stage(nursery, server, tmp_path, disk / "run")
        server.use(SOON)
        code, said = stage.run()
        assert code == 2
        assert f"diotima: {stage.out}: the disk is full; all that was stored before is kept" in said
        assert "Traceback" not in said
        left = books_of(stage.out)
        assert any(row.state == "answered" for row in left)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        stage.prove(excess=sum(row.state in ("sent", "unknown") for row in left))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_read_only_folder_is_one_sentence(stage: Stage) -> None:
    folder = stage.out.parent
    folder.chmod(0o555)
    try:
        code, said = stage.nursery.run(*stage.words, log=folder / "log", fate=Fate(unprivileged=True))
    finally:
        folder.chmod(0o755)
    assert code == 2
    assert f"{stage.out}: cannot be written or opened; check its permissions, or choose another" in said
    assert stage.server.counts()["requests"] == 0

    stage.server.use(SOON)
    assert stage.run()[0] == 0
    before = lessons_of(stage.out)
    stage.out.chmod(0o555)
    try:
        code, said = stage.run(Fate(unprivileged=True))
    finally:
        stage.out.chmod(0o755)
    assert code == 2
    assert str(stage.out) in said
    assert "Traceback" not in said
    assert lessons_of(stage.out) == before


def test_a_clock_that_jumps_back_a_day_breaks_nothing(stage: Stage) -> None:
    stage.server.use(SOON)
    day = 24 * 3600.0
    code, said = stage.run(Fate(at="diotima.runs.ledger:Ledger.settle", count=20, clock=-day))
    assert code == 0, said
    sent = [row.sent for row in books_of(stage.out)]
    assert max(sent) - min(sent) > day - 60
    assert sent != sorted(sent)
    stage.prove(excess=0)
