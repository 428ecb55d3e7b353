"""A nursery of victims: `diotima` in processes of their own, to be killed, stopped, or to die at a named point.

    with Nursery() as nursery:
        victim = nursery.start("teach", "--tutor", ..., log=folder / "log")
        victim.send(signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL

Every victim is forked from one process that has imported everything, so hundreds of them may be born and die in a
minute. The product has no hooks for any of this: what happens to a victim is done to it from here, see `Fate`.
"""

import asyncio
import ctypes
import functools
import importlib
import inspect
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from servers.completion import digest_of

import diotima
from diotima.errors import RunError
from diotima.runs.run import Run
from diotima.runs.store import open_for_reading

TESTS = Path(__file__).parents[1]
_KNOWN = ("diotima.classroom.teach", "diotima.runs.export_command", "diotima.flags", "rich.console", "scipy.stats")
_KNOWN += ("openai", "aiohttp", "httpx2", "pyarrow.parquet")
_CAPABILITIES = 0x20080522  # version 3 of the interface: two words of 32 bits each


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls a victim; nothing, by default.

    ``at``: ``package.module:Class.method`` or ``package.module:function`` at whose ``count``-th call it kills itself:
    ``before`` the call, ``after`` it, or, of a coroutine, ``within`` it, as soon as the server at ``watch`` has seen
    ``count`` requests. ``clock``: instead, from that call on the clock on the wall is wrong by so many seconds.
    ``largest_file``: in bytes. ``unprivileged``: even as root it may only do what permissions say.
    """

    at: str = ""
    when: str = "before"
    count: int = 1
    watch: str = ""
    clock: float = 0.0
    largest_file: int = 0
    unprivileged: bool = False


class Nursery:
    """The process from which victims are forked; a context manager, which kills those that are left."""

    def __enter__(self) -> Self:
        paths = os.pathsep.join(map(str, (Path(diotima.__file__).parents[1], TESTS)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "classroom.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            text=True,
        )
        self._running: set[Victim] = set()
        return self

    def __exit__(self, *_: object) -> None:
        for victim in list(self._running):
            victim.send(signal.SIGKILL)
            victim.wait()
        self._process.communicate()

    def start(self, *words: object, log: Path, fate: Fate = Fate(), **environment: str) -> "Victim":
        """Let ``diotima WORDS`` run; what it says on either output goes into ``log``."""
        log.write_bytes(b"")  # here, or one that dies at birth would seem to say what the one before it said
        order = {"words": list(map(str, words)), "log": str(log), "fate": asdict(fate), "environment": environment}
        victim = Victim(self, self.ask(order), log)
        self._running.add(victim)
        return victim

    def run(self, *words: object, log: Path, fate: Fate = Fate(), **environment: str) -> tuple[int, str]:
        """Let it run to its end: its exit code, below 0 if a signal ended it, and what it said."""
        code = self.start(*words, log=log, fate=fate, **environment).wait()
        return code, log.read_text(encoding="utf-8")

    def ask(self, order: dict[str, Any]) -> int:
        """Send an order to the nursery and return its answer, a number."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def buried(self, victim: "Victim") -> None:
        """Forget one that has ended."""
        self._running.discard(victim)


class Victim:
    """One process. Until it has been waited for its number is nobody else's."""

    def __init__(self, nursery: Nursery, pid: int, log: Path) -> None:
        self.pid = pid
        self._nursery = nursery
        self._log = log
        self._code: int | None = None

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def lives(self) -> bool:
        """Whether it still runs; once it does not, it is a zombie until it is waited for."""
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"

    def send(self, number: int) -> None:
        """Send it a signal, if it has not been waited for."""
        if self._code is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, or the signal that ended it with a minus."""
        if self._code is None:
            self._code = self._nursery.ask({"wait": self.pid})
            self._nursery.buried(self)
        return self._code


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of the books, with the digest by which the scripted server knows the same request."""

    id: int
    key: bytes
    attempt: int
    state: str
    digest: str
    sent: float
    reason: str
    reserved: int
    cost: int | None


def books_of(folder: Path) -> list[Asked]:
    """All calls of a run in the order of their rows; none where there is no run yet."""
    try:
        db = open_for_reading(folder)
    except RunError:
        return []
    with closing(db), db:  # one transaction: what is written between two questions must not tear them apart
        if not db.table_exists(None, "calls"):
            return []
        bodies: dict[int, list[dict[str, str]]] = {}
        for number, before, role, content in db.execute("SELECT id, before, role, body FROM messages ORDER BY id"):
            bodies[number] = [*bodies.get(before, ()), {"role": role, "content": content}]
        question = (
            "SELECT id, key, attempt, state, chat, parameters, sent, reason, reserved_cost, cost FROM calls ORDER BY id"
        )
        return [
            Asked(id, key, attempt, state, digest_of(json.loads(parameters) | {"messages": bodies[chat]}), *rest)
            for id, key, attempt, state, chat, parameters, *rest in db.execute(question)
        ]


def lessons_of(folder: Path) -> list[tuple[Any, ...]]:
    """All that was said and measured in a run, in an order of its own; lessons twice would be there twice."""
    with Run.open(folder) as run:
        return [
            (
                each.label,
                each.dialogue.problem.id,
                each.dialogue.seed,
                each.dialogue.turns,
                each.dialogue.stop,
                each.scores,
            )
            for each in run.records()
        ]


def main() -> None:
    """The nursery's own work: one order a line."""
    for name in _KNOWN:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        elif not (answer := os.fork()):
            _live(order["words"], order["log"], order["environment"], Fate(**order["fate"]))
        print(answer, flush=True)


def _live(words: list[str], log: str, environment: dict[str, str], fate: Fate) -> None:
    """Be `diotima` on the command line."""
    from diotima.cli import main as command_line

    for descriptor, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY)):
        os.dup2(os.open(path, flags, 0o644), descriptor)
    os.dup2(1, 2)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
    if fate.unprivileged:
        _drop_privileges()
    if fate.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fate.largest_file, fate.largest_file))
    if fate.at:
        _befall(fate)
    sys.exit(command_line(words))


def _befall(fate: Fate) -> None:
    """Wrap the function at which this victim dies, or from which on its clock is wrong."""
    module, _, path = fate.at.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original, numbers = getattr(owner, name), itertools.count(1)

    def strike(number: int, when: str) -> None:
        if (number, when) != (fate.count, fate.when):
            return
        if fate.clock:
            right = time.time
            time.time = lambda: right() + fate.clock
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    def called(*arguments: Any, **named: Any) -> Any:
        number = next(numbers)
        strike(number, "before")
        result = original(*arguments, **named)
        strike(number, "after")
        return result

    @functools.wraps(original)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        number = next(numbers)
        strike(number, "before")
        going = asyncio.create_task(original(*arguments, **named))
        if (number, fate.when) == (fate.count, "within"):
            await _seen(fate)
            strike(number, "within")
        result = await going
        strike(number, "after")
        return result

    setattr(owner, name, awaited if inspect.iscoroutinefunction(original) else called)


async def _seen(fate: Fate) -> None:
    """Wait until the server has seen so many requests."""

    def seen() -> int:
        with urllib.request.urlopen(fate.watch, timeout=10) as answer:
            return int(json.load(answer)["requests"])

    while await asyncio.to_thread(seen) < fate.count:
        await asyncio.sleep(0.01)


def _drop_privileges() -> None:
    """Give up root's power over other people's files and read-only folders, and every other, for good."""
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    main()
