"""How fast are lessons with models behind endpoints, what does a call cost there, and does memory stay flat?

The endpoints are scripted servers on loopback, each in a process of its own, whose latency is drawn from a request's
seed: every schedule meets the same draws, and a simulation knows them beforehand.

*Scheduling*: 500 lessons of 8 alternating turns, tutor and student on an endpoint of 64 slots each, lognormal latency
(median 200 ms, sigma 0.8). Our engine holds all lessons side by side; *lock-step* has, through the same client, all
tutors speak, waits for the last of them, then all students. *Simulated*: the same in a simulation of events, first in
first out, with every slot open from the start and no time spent on anything else; the engine also as its gates open,
from 8 calls at once (slow start). *Bound*: the busier endpoint's work over its slots, or the longest lesson. *No core*:
time that client and servers wanted to compute and could not, for want of a free core; it makes everything slower.

*Calls*: lessons of 8 calls against an endpoint that takes 200 ms, with the ledger, without it, and the same requests
through aiohttp alone. Gates are open before it is measured. CPU is that of this process, threads included.

*Memory*: 10,000 lessons of 2 turns at 5 ms in a process of its own, 512 at once, with the ledger.

    python benchmarks/endpoints.py [--lessons 500] [--only scheduling|calls|memory]
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import aiohttp

from diotima.classroom.lesson import Classroom, Limits, side_by_side
from diotima.classroom.roles import Role
from diotima.dialogue import STUDENT, TUTOR, Dialogue, Message, stable_seed
from diotima.models.calls import Calls, Line
from diotima.models.chat import ChatModel, Reply, Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.request import parameters_of, request_for
from diotima.models.services import Endpoint, EndpointSettings
from diotima.problems.problem import Problem
from diotima.prompt import load_prompt
from diotima.runs.run import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers.scripted import Script, ScriptedServer, latency_of

TURNS, SLOTS, MEDIAN, SIGMA = 8, 64, 0.2, 0.8
AT_ONCE = 512  # lessons
SLOW_START = 8  # where a gate begins
SAID = "Look at the second step again: which number did you add there, and where does it come from? "

Say = Callable[[Sequence[Message], int], Awaitable[object]]


def main() -> None:
    """Measure all three parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lessons", type=int, default=500, help="of the first part; the last holds 20 times as many")
    parser.add_argument("--only", choices=("scheduling", "calls", "memory"))
    asked = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    if asked.only in (None, "scheduling"):
        scheduling(asked.lessons)
    if asked.only in (None, "calls"):
        costs()
    if asked.only in (None, "memory"):
        with multiprocessing.get_context("spawn").Pool(1) as process:
            process.apply(memory, (20 * asked.lessons,))


def scheduling(lessons: int) -> None:
    """The engine and lock-step rounds, measured and simulated on the same draws."""
    script = Script(kind="vllm", models=("m",), median=MEDIAN, sigma=SIGMA, slots=SLOTS)
    problems = list(some_problems(lessons))
    print(f"\nscheduling: {lessons} lessons of {TURNS} turns, two endpoints of {SLOTS} slots")
    with ScriptedServer(script) as tutors, ScriptedServer(script) as students:
        urls = {TUTOR: tutors.url, STUDENT: students.url}
        draws = asyncio.run(drawn(problems, Calls().line(f"vllm/m@{tutors.url}")))
        work = [sum(sum(lesson[first::2]) for lesson in draws) / SLOTS for first in (0, 1)]
        bound = max(*work, *map(sum, draws))
        ideal, opening = simulated(draws, SLOTS), simulated(draws, SLOW_START)
        rounds = sum(simulated([[lesson[turn]] for lesson in draws], SLOTS) for turn in range(TURNS))
        print(f"{'':>24} {'wall s':>7} {'simulated':>9} {'ratio':>6} {'client CPU':>10} {'servers':>11} {'no core':>8}")
        walls = []
        for name, hold, best in (("engine", engine, ideal), ("lock-step", lock_step, rounds)):
            with desk(urls, SLOTS) as here:
                with watched(tutors, students) as spent:
                    here.calls.conduct(hold(classroom(here.models), problems))
                wall = spent.seconds
                walls.append(wall)
                print(f"{name:>24} {wall:>7.2f} {best:>9.2f} {wall / best:>6.3f} {spent.cpu / wall:>10.0%}"
                      f" {spent.servers / wall:>11.0%} {spent.waited / wall:>8.0%}", flush=True)  # fmt: skip
        print(f"{'engine, slow start':>24} {'':>7} {opening:>9.2f} {walls[0] / opening:>6.3f}")
        print(f"{'bound':>24} {'':>7} {bound:>9.2f} {walls[0] / bound:>6.3f}")
        print(f"engine over simulation {walls[0] / ideal:.3f} (at most 1.10; slow start alone {opening / ideal:.3f}), "
              f"lock-step over engine {walls[1] / walls[0]:.2f} (at least 2.2)")  # fmt: skip


async def engine(room: Classroom, problems: Sequence[Problem]) -> None:
    """All lessons side by side, each at its own pace."""
    async for dialogue in side_by_side(room.teach, problems, AT_ONCE):
        assert len(dialogue.turns) == TURNS


async def lock_step(room: Classroom, problems: Sequence[Problem]) -> None:
    """All lessons in step: nobody speaks before the last of the other side has spoken."""
    dialogues = [Dialogue(problem) for problem in problems]
    for turn in range(TURNS):
        speaker = room.student if turn % 2 else room.tutor
        turns = await asyncio.gather(*map(speaker.speak, dialogues))
        dialogues = [dialogue.then(said) for dialogue, said in zip(dialogues, turns, strict=True)]


def simulated(draws: Sequence[Sequence[float]], start: int) -> float:
    """Seconds until the last lesson ends, if two endpoints serve first in first out and nothing else takes time.

    ``draws``: for each lesson the seconds of its turns. ``start``: calls at once at first; a gate that is full opens by
    one at every answer, up to all slots, as `models.flow.Gate` does.
    """
    limits, running = [start, start], [0, 0]
    queues: tuple[deque[tuple[int, int]], ...] = (deque(), deque())
    ends: list[tuple[float, int, int]] = []
    now = 0.0

    def admit(at: int) -> None:
        while queues[at] and running[at] < limits[at]:
            lesson, turn = queues[at].popleft()
            running[at] += 1
            heappush(ends, (now + draws[lesson][turn], lesson, turn))

    queues[0].extend((lesson, 0) for lesson in range(len(draws)))
    admit(0)
    while ends:
        now, lesson, turn = heappop(ends)
        here, there = turn % 2, (turn + 1) % 2
        limits[here] = min(SLOTS, limits[here] + (running[here] >= limits[here]))
        running[here] -= 1
        admit(here)
        if turn + 1 < len(draws[lesson]):
            queues[there].append((lesson, turn + 1))
            admit(there)
    return now


@dataclass(slots=True)
class Foretold:
    """A model that answers at once and notes how long the scripted server will take for the same draw."""

    line: Line
    seconds: list[float] = field(default_factory=list)

    async def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        seed = parameters_of(self.line.address, sampling)["seed"]
        self.seconds.append(latency_of(seed, (), MEDIAN, SIGMA))
        return Reply("I see.")


async def drawn(problems: Iterable[Problem], line: Line) -> list[list[float]]:
    """The seconds of every turn of every lesson."""
    draws = []
    for problem in problems:
        model = Foretold(line)
        await classroom({TUTOR: model, STUDENT: model}).teach(problem)
        draws.append(model.seconds)
    return draws


def costs() -> None:
    """What a call costs with and without the ledger, and what it costs without us."""
    print("\ncalls: lessons of 8 calls, 200 ms each")
    print(f"{'at once':>24} {'':>12} {'calls/s':>8} {'of ideal':>8} {'CPU ms/call':>11} {'a busy core':>11}")
    with ScriptedServer(Script(kind="vllm", models=("m",), median=MEDIAN)) as server:
        for at_once, lessons in ((64, 192), (250, 375), (400, 400)):
            for name in ("ledger", "no ledger", "aiohttp"):
                with desk({TUTOR: server.url}, at_once, ledger=name == "ledger") as here:
                    spent = here.calls.conduct(measured(here.models[TUTOR], at_once, lessons, bare=name == "aiohttp"))
                    done = TURNS * lessons
                    cost, rate = 1e3 * spent.cpu / done, done / spent.seconds
                    print(f"{at_once:>24} {name:>12} {rate:>8.0f} {rate * MEDIAN / at_once:>8.0%} {cost:>11.2f}"
                          f" {1e3 / cost:>9.0f}/s", flush=True)  # fmt: skip
    print("wanted: at most 3 ms of CPU a call at 64, at least 400 calls/s from 200 at once on")


async def measured(model: EndpointModel, at_once: int, lessons: int, bare: bool) -> "Spent":
    """Make the calls of so many lessons; those that open the gate and the connections come first and do not count."""

    async def lesson(number: int, say: Say, turns: int = TURNS) -> None:
        chat = [Message("system", f"You are a patient tutor. {40 * SAID[:20]} {number}")]
        for turn in range(turns):
            chat.append(Message("user", f"{SAID} {number} {turn}"))
            await say(chat, stable_seed("call", number, turn))
            chat.append(Message("assistant", f"{SAID} {turn} {number}"))

    async def calls(numbers: Iterable[int], say: Say, turns: int = TURNS) -> None:
        async for _ in side_by_side(lambda number: lesson(number, say, turns), numbers, at_once):
            pass

    async with saying(model, at_once, bare) as say:
        await calls(range(-2 * at_once, 0), say, turns=1)
        with watched() as spent:
            await calls(range(lessons), say)
    return spent


@asynccontextmanager
async def saying(model: EndpointModel, at_once: int, bare: bool) -> AsyncIterator[Say]:
    """Through the desk, or through aiohttp alone, from the messages to the text of the reply."""

    async def ours(chat: Sequence[Message], seed: int) -> object:
        return await model.reply(chat, Sampling(seed=seed))

    if not bare:
        yield ours
        return
    address = model.line.address
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def theirs(chat: Sequence[Message], seed: int) -> object:
            body = request_for(address, "", chat, Sampling(seed=seed)).body()
            async with session.post(f"{address.urls[0]}/chat/completions", json=body) as response:
                return (await response.json())["choices"][0]["message"]["content"]

        yield theirs


def memory(lessons: int) -> None:
    """Hold the lessons, and print what this process holds after some, half and all of them."""
    print(f"\nmemory: {lessons} lessons of 2 turns, {AT_ONCE} at once")
    print(f"{'lessons':>24} {'MiB':>7} {'peak MiB':>8} {'lessons/s':>9}")
    marks = {lessons // 10, lessons // 2, lessons}
    held: list[float] = []

    async def hold(room: Classroom, record: Run | None) -> None:
        assert record is not None
        start, numbers = time.perf_counter(), count(1)
        async for dialogue in side_by_side(room.teach, some_problems(lessons), AT_ONCE):
            record.add(dialogue)
            if (number := next(numbers)) in marks:
                held.append(memory_of("VmRSS"))
                rate = number / (time.perf_counter() - start)
                print(f"{number:>24} {held[-1]:>7.1f} {memory_of('VmHWM'):>8.1f} {rate:>9.0f}", flush=True)

    with (
        ScriptedServer(Script(kind="vllm", models=("m",), median=0.005)) as server,
        desk({TUTOR: server.url, STUDENT: server.url}, AT_ONCE // 2) as here,
    ):
        here.calls.conduct(hold(classroom(here.models, turns=2), here.record))
    print(f"growth over the last half: {1024 * (held[-1] - held[-2]) / (lessons / 2):+.3f} KiB a lesson")


def memory_of(field: str) -> float:
    """A field of this process's memory in MiB; 0 where the system does not tell (it is Linux that does)."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


def scheduled(servers: Sequence[ScriptedServer]) -> tuple[float, float]:
    """Seconds the servers ran, and seconds that they and this process waited for a core; 0 where /proc does not tell.

    Of their first threads, which is all of them that computes.
    """
    entries = [Path(f"/proc/{process}/schedstat") for process in (os.getpid(), *(server.pid for server in servers))]
    told = [entry.read_text().split() if entry.exists() else ["0", "0"] for entry in entries]
    return sum(int(ran) for ran, *_ in told[1:]) / 1e9, sum(int(waited) for _, waited, *_ in told) / 1e9


@dataclass(slots=True)
class Spent:
    """Seconds by the clock, of CPU in this process and in the servers, and those all of them waited for a core."""

    seconds: float = 0.0
    cpu: float = 0.0
    servers: float = 0.0
    waited: float = 0.0


@contextmanager
def watched(*servers: ScriptedServer) -> Iterator[Spent]:
    """What the block takes, known at its end."""
    spent = Spent()
    start, cpu, before = time.perf_counter(), time.process_time(), scheduled(servers)
    yield spent
    spent.seconds, spent.cpu = time.perf_counter() - start, time.process_time() - cpu
    after = scheduled(servers)
    spent.servers, spent.waited = after[0] - before[0], after[1] - before[1]


@dataclass(frozen=True, slots=True)
class Desk:
    """The calls, the models by role, and the run in which the calls are written down, if they are."""

    calls: Calls
    models: Mapping[str, EndpointModel]
    record: Run | None


@contextmanager
def desk(urls: Mapping[str, str], at_once: int, ledger: bool = True) -> Iterator[Desk]:
    """A new client of one server for each role, with gates of its own and an empty ledger."""
    endpoint = Endpoint(at_once=at_once)
    calls = Calls(EndpointSettings(endpoints={"vllm": endpoint}))
    models = {role: EndpointModel(calls, calls.line(f"vllm/m@{url}")) for role, url in urls.items()}
    if not ledger:
        yield Desk(calls, models, None)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        Run.create(Path(folder) / "run", stage="benchmark", settings={}, seed=0) as record,
    ):
        calls.keep_books_in(record)
        yield Desk(calls, models, record)


def classroom(models: Mapping[str, ChatModel], turns: int = TURNS) -> Classroom:
    """A tutor who begins, a student, and an even number of turns."""
    tutor = Role(TUTOR, models[TUTOR], load_prompt("tutor/socratic"), Sampling(max_tokens=200))
    student = Role(STUDENT, models[STUDENT], load_prompt("student/cooperative"), Sampling(max_tokens=200))
    return Classroom(tutor, student, Limits(tutor_turns=turns // 2), opens=TUTOR)


def some_problems(number: int) -> Iterator[Problem]:
    """Problems of a usual length; what they say is of no account."""
    for index in range(number):
        yield Problem(f"problem {index}", f"Ann has {index} apples. {SAID} How many are left?", str(index))


if __name__ == "__main__":
    main()
