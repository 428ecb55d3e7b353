"""Symbolic comparison in processes that are limited, killed and replaced; see `symbolic_worker` for what runs in them.

A computer algebra system can be kept busy for ever by a short formula, and cannot be interrupted from within. So each
check has a limit on the wall clock, held here, after which its process is killed; and limits of memory and processor
time in the process itself. What is killed or dies is `Verdict.TIMEOUT` or `Verdict.CRASHED`, never a wrong answer, and
only the check that did it is lost: each process holds one check at a time, and the next check gets a new one.

A pool of threads waits for the processes, so that no event loop is held up and none is bound: the same workers serve
one ``asyncio.run`` after another.
"""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

from diotima.errors import ScoringError
from diotima.scoring.verdict import Verdict

_SCRIPT = Path(__file__).with_name("symbolic_worker.py")
_START_LIMIT = 120.0
_LIFETIME = 5_000


class Workers:
    """Up to ``count`` worker processes, started when they are first needed, ended with this object or `close`.

    ``seconds``: the limit of one check by the wall clock. ``memory``: the address space of a worker in bytes.
    """

    def __init__(self, count: int = 2, seconds: float = 2.0, memory: int = 1 << 30) -> None:
        self.count, self.seconds, self.memory = min(count, cpu_count() or 1), seconds, memory
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="symbolic")
        self._idle: deque[_Worker] = deque()
        self._running: set[_Worker] = set()
        self.close = weakref.finalize(self, _close, self._threads, self._running)

    @property
    def processes(self) -> list["subprocess.Popen[str]"]:
        """The processes that run at this moment."""
        return [worker.process for worker in tuple(self._running)]

    async def check(self, given: str, expected: str, allowed: tuple[float, float] = (0.0, 0.0)) -> Verdict:
        """Compare two LaTeX formulas; ``allowed`` is the absolute and the relative tolerance.

        Raises ScoringError if no worker can be started.
        """
        request = json.dumps({"given": given, "expected": expected, "allowed": allowed})
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, request)

    def _check(self, request: str) -> Verdict:
        worker = self._take()
        verdict = worker.ask(request)
        if worker.alive and worker.checks < _LIFETIME:
            self._idle.append(worker)
        else:
            worker.end()
            self._running.discard(worker)
        return verdict

    def _take(self) -> "_Worker":
        while True:
            try:
                worker = self._idle.pop()  # not asked before whether there is one: another thread may be faster
            except IndexError:
                break
            if worker.process.poll() is None:
                return worker
            worker.end()
            self._running.discard(worker)
        worker = _Worker(self.seconds, self.memory)
        self._running.add(worker)
        worker.await_ready()
        return worker


class _Worker:
    """One process, and the thread's side of its pipes."""

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds, self.alive, self.checks = seconds, True, 0
        self.process = subprocess.Popen(
            # -P: no module beside the script stands in for another. Not -I: it knows no packages installed by --user.
            [sys.executable, "-P", "-B", str(_SCRIPT), str(seconds), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
        )

    def await_ready(self) -> None:
        """Wait until the imports are done."""
        if self._line(_START_LIMIT) != "ready\n":
            self.end()
            raise ScoringError(
                f"the symbolic comparison cannot be started: {sys.executable} {_SCRIPT} ended with "
                f"{self.process.returncode}; is math-verify installed there?"
            )

    def ask(self, request: str) -> Verdict:
        """The verdict on one request; afterwards `alive` says whether there can be another."""
        self.checks += 1
        reply = self._line(self.seconds, request + "\n").strip()
        if reply:
            self.alive = self.alive and reply != Verdict.CRASHED
            return Verdict(reply)
        killed, self.alive = not self.alive, False
        out_of_time = killed or self.process.wait() == -getattr(signal, "SIGXCPU", 0)
        return Verdict.TIMEOUT if out_of_time else Verdict.CRASHED

    def end(self) -> None:
        """Kill the process and close the pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:  # what was written to a process that is gone
                    continue

    def _line(self, seconds: float, request: str = "") -> str:
        """The process's next line, "" if it ends first or is killed because the time is up."""
        assert self.process.stdin
        assert self.process.stdout
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
            return self.process.stdout.readline()
        except OSError:
            return ""
        finally:
            timer.cancel()
            timer.join()

    def _expire(self) -> None:
        self.alive = False
        self.process.kill()


def _close(threads: ThreadPoolExecutor, running: set[_Worker]) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for worker in tuple(running):
        worker.process.kill()
        worker.process.wait()
