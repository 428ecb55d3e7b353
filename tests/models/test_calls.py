"""Calls to endpoints: what goes wrong is booked as what it was, asked again where that helps, and paid for once."""

import asyncio
import gc
import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from classroom.killing import Asked, Nursery, books_of, lessons_of
from servers.faults import ERRORS
from servers.scripted import KINDS, Fault, Script, ScriptedServer, Service, serving

from diotima.classroom.lesson import side_by_side
from diotima.classroom.teach import Settings, run
from diotima.dialogue import Message
from diotima.errors import CallFailed, CallRefused, ModelError, RunError
from diotima.models.budget import BudgetReached
from diotima.models.calls import Calls
from diotima.models.chat import Reply, Sampling
from diotima.models.endpoint import EndpointModel
from diotima.models.retrying import Patience
from diotima.models.services import EndpointSettings
from diotima.problems.files import write_problems
from diotima.runs.check import check_run
from diotima.runs.run import Run
from diotima.sandbox.world import World

PRICE = {"prompt": 1, "reply": 2}  # micro-dollars a token
CHAT = (Message("system", "You are a tutor."), Message("user", "How many apples are there?"))
READ, WRITTEN = 9, 10  # words of the chat and of every reply
LIMIT = 20  # of tokens
SCRIPT = Script(kind="vllm", models=("tutor", "student"), words=12)  # of whole runs


class Hasty(Patience):
    """As patient as the product, but in no time; remembers how long the server asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "asked", [])

    def delay(self, attempt: int, asked: float | None, random: Random) -> float:
        self.asked.append(asked)  # type: ignore[attr-defined]
        return 0.0


@dataclass(frozen=True)
class Desk:
    calls: Calls
    model: EndpointModel
    server: Service
    folder: Path
    told: list[str]

    async def ask(self, seed: int | None = 0, text: str = CHAT[1].content) -> Reply:
        sampling = Sampling(seed=seed, max_tokens=LIMIT)
        return await self.model.reply((CHAT[0], Message("user", text)), sampling)

    @property
    def rows(self) -> list[Asked]:
        return books_of(self.folder)


def play(
    use: Callable[[Desk], Coroutine[Any, Any, Any]],
    folder: Path,
    *faults: Fault,
    latency: float = 0.0,
    timeout: float = 30.0,
    fork: Path | None = None,
    **settings: Any,
) -> Any:
    """Open a desk in a run, and a server beside it."""
    script = Script(models=("m",), words=WRITTEN, median=latency, faults=faults)
    told: list[str] = []
    endpoint = {"price": PRICE, "timeout": timeout}
    calls = Calls(EndpointSettings(endpoints={"lab": endpoint}, **settings), told.append)
    calls._patience = Hasty()

    async def within() -> Any:
        async with serving(script) as server:
            line = await asyncio.to_thread(calls.line, f"lab/m@{server.url}")
            # Not `conduct`, which has a loop of its own: the server has to be there to the end.
            return await calls._conducted(use(Desk(calls, EndpointModel(calls, line), server, folder, told)))

    with Run.create(folder, stage="teach", settings={}, seed=0) as record:
        if fork is not None:
            record.ledger.reuse_from(fork)
        calls.keep_books_in(record)
        return asyncio.run(within())


RESERVED = sum(len(message.content.encode()) + 16 for message in CHAT) + 2 * LIMIT
COST = READ + 2 * WRITTEN

# What is booked for the attempt that a fault befalls: its state, and what it costs; an attempt that was not answered is
# made again. Everything else is an error answer, which is booked as failed and costs nothing.
BOOKED: dict[str, tuple[str, int | None]] = {
    "no_usage": ("answered", RESERVED),
    "null_usage": ("answered", RESERVED),
    "nan_usage": ("answered", RESERVED),
    "no_choices": ("failed", RESERVED),
    "null_content": ("answered", COST),
    "error_inside": ("failed", RESERVED),
    "filtered": ("answered", COST),
    "refusal": ("answered", COST),
    "huge": ("answered", COST),
    "truncated": ("failed", RESERVED),
    "empty": ("failed", RESERVED),
    "html": ("failed", RESERVED),
    "duplicate_keys": ("answered", COST),
    "reset": ("unknown", None),
    "cut": ("unknown", None),
    "hang": ("unknown", None),
    "drip": ("unknown", None),
    "wrong_type": ("answered", COST),
}
UNIT = ("400", "413", "422", "context_length")
STOPS = ("401", "402", "403", "404", "insufficient_quota")


def test_the_table_of_faults_is_whole() -> None:
    assert set(BOOKED) | set(ERRORS) == set(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*UNIT, *STOPS)])
def test_every_fault_is_booked_as_what_it_was_and_outlived(kind: str, tmp_path: Path) -> None:
    slow = kind in ("hang", "drip")

    async def use(desk: Desk) -> tuple[Reply, int, list[Asked]]:
        reply = await desk.ask()
        return reply, desk.server.seen.requests.total(), desk.rows

    fault = Fault(kind, attempts=1, retry_after="none", seconds=5.0)
    reply, requests, rows = play(use, tmp_path / "run", fault, timeout=0.4 if slow else 30.0)
    state, cost = BOOKED.get(kind, ("failed", 0))
    assert (rows[0].state, rows[0].cost, rows[0].reserved) == (state, cost, RESERVED)
    assert requests == len(rows) == (1 if state == "answered" else 2)
    assert (rows[-1].state, rows[-1].cost) == ("answered", cost if state == "answered" else COST)
    assert all(row.reason for row in rows[:-1])
    words = {"null_content": 0, "filtered": 0, "refusal": 5, "huge": 105}.get(kind, WRITTEN)
    assert len(reply.text.split()) == words
    assert reply.finish == ("refused" if kind in ("filtered", "refusal") else "stop")
    with Run.open(tmp_path / "run") as record:
        assert (kept := record.ledger.answered(rows[-1].key)) is not None
        assert len(kept.body) > (10_000_000 if kind == "huge" else 200)
    assert not [check for check in check_run(tmp_path / "run") if check.wrong]


@pytest.mark.parametrize("kind", UNIT)
def test_a_request_that_is_wrong_is_made_once_and_others_go_on(kind: str, tmp_path: Path) -> None:
    async def use(desk: Desk) -> list[Asked]:
        with pytest.raises(CallRefused, match=f"lab/m: {ERRORS[kind][0]}: ") as failure:
            await desk.ask(text="poison")
        assert "attempts" not in str(failure.value)
        await desk.ask()
        return desk.rows

    rows = play(use, tmp_path / "run", Fault(kind, when="poison"))
    assert [(row.state, row.cost) for row in rows] == [("failed", 0), ("answered", COST)]


@pytest.mark.parametrize("kind", STOPS)
def test_what_befalls_every_request_stops_the_run(kind: str, tmp_path: Path) -> None:
    """After as many calls as were on their way at that moment: 8 with which a gate begins, of 32 callers."""

    async def use(desk: Desk) -> None:
        with pytest.raises(ModelError, match="what was answered is kept: mend it, and go on") as failure:
            async for _ in side_by_side(desk.ask, range(32), 32):
                pass
        assert not isinstance(failure.value, CallFailed)

    play(use, tmp_path / "run", Fault(kind), latency=0.02)
    assert [(row.attempt, row.state) for row in books_of(tmp_path / "run")] == [(1, "failed")] * 8


@pytest.mark.parametrize(("form", "seconds"), [("seconds", 0.05), ("milliseconds", 0.05), ("date", 1.0)])
def test_retry_after_is_honoured_in_its_three_forms(form: str, seconds: float, tmp_path: Path) -> None:
    async def use(desk: Desk) -> None:
        await desk.ask()
        assert desk.calls._patience.asked == [pytest.approx(seconds)]  # type: ignore[attr-defined]

    play(use, tmp_path / "run", Fault("429", attempts=1, retry_after=form, seconds=seconds))


def test_patience_has_an_end(tmp_path: Path) -> None:
    async def use(desk: Desk) -> None:
        with pytest.raises(CallFailed, match=r"503: The server is overloaded. \(6 attempts\)"):
            await desk.ask()

    play(use, tmp_path / "run", Fault("503", retry_after="none"))
    assert [(row.attempt, row.state) for row in books_of(tmp_path / "run")] == [(n, "failed") for n in range(1, 7)]


def test_who_asks_the_same_shares_one_call_and_nobody_can_cancel_it_for_others(tmp_path: Path) -> None:
    async def use(desk: Desk) -> None:
        first, second, third = [asyncio.create_task(desk.ask(0)) for _ in range(3)]
        other = asyncio.create_task(desk.ask(1))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).text == (await third).text != (await other).text
        assert first.cancelled()
        assert desk.server.seen.requests.total() == 2
        assert (await desk.ask(0)).text == (await second).text
        assert desk.server.seen.requests.total() == 2

    play(use, tmp_path / "run", latency=0.05)


def test_a_draw_without_a_name_is_never_used_again(tmp_path: Path) -> None:
    async def use(desk: Desk) -> None:
        await asyncio.gather(desk.ask(None), desk.ask(None))
        await desk.ask(None)
        assert desk.server.seen.requests.total() == 3

    play(use, tmp_path / "run")


def test_what_was_answered_is_not_asked_again_by_another_process(tmp_path: Path) -> None:
    async def use(desk: Desk) -> tuple[list[str], int]:
        replies = await asyncio.gather(*map(desk.ask, range(20)))
        return [reply.text for reply in replies], desk.server.seen.requests.total()

    first, asked = play(use, tmp_path / "run")
    again, asked_again = play(use, tmp_path / "run")
    assert (first, asked, asked_again) == (again, 20, 0)


def test_an_answer_from_another_run_is_taken_over_once(tmp_path: Path) -> None:
    async def use(desk: Desk) -> int:
        await asyncio.gather(desk.ask(0), desk.ask(0))
        await desk.ask(0)
        return desk.server.seen.requests.total()

    assert play(use, tmp_path / "run") == 1
    assert play(use, tmp_path / "fork", fork=tmp_path / "run") == 0
    assert [row.state for row in books_of(tmp_path / "fork")] == ["reused"]


def test_what_is_on_its_way_at_the_end_is_kept(tmp_path: Path) -> None:
    async def use(desk: Desk) -> None:
        lessons = [asyncio.create_task(desk.ask(seed)) for seed in range(12)]
        while desk.server.seen.in_flight < 8:
            await asyncio.sleep(0.01)
        for lesson in lessons:
            lesson.cancel()

    play(use, tmp_path / "run", latency=0.5)
    assert [row.state for row in books_of(tmp_path / "run")] == ["answered"] * 8


def test_a_stop_that_nobody_asked_for_waits_for_all_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diotima.models.calls.LAST_SECONDS", 0.0)
    told: list[str] = []

    async def use(desk: Desk) -> None:
        desk.calls._tell = told.append
        lessons = [asyncio.ensure_future(desk.ask(seed)) for seed in range(5)]
        while desk.server.seen.in_flight < 5:
            await asyncio.sleep(0.01)
        lessons.append(asyncio.ensure_future(desk.ask(text="poison")))
        await asyncio.gather(*lessons)

    with pytest.raises(ModelError, match="402"):
        play(use, tmp_path / "run", Fault("402", when="poison"), latency=1.0)
    assert Counter(row.state for row in books_of(tmp_path / "run")) == {"answered": 5, "failed": 1}
    assert told[0].endswith("waiting for 5 answers that are on their way")


def test_calls_to_a_server_that_dies_go_to_the_one_that_lives(tmp_path: Path) -> None:
    told: list[str] = []
    calls = Calls(EndpointSettings(), told.append)
    calls._patience = Hasty()
    script = Script(kind="vllm", models=("m",), words=WRITTEN, median=0.02)

    async def within() -> None:
        async with serving(script) as one, serving(script) as other, asyncio.timeout(20):
            line = await asyncio.to_thread(calls.line, f"vllm/m@{one.url},{other.url}")
            one.use(replace(script, faults=(Fault("503"),)))
            asks = [EndpointModel(calls, line).reply(CHAT, Sampling(seed=seed)) for seed in range(300)]
            await calls._conducted(asyncio.wait_for(asyncio.gather(*asks), 20))
            assert other.seen.billed.total() == 300

    asyncio.run(within())
    assert any("nothing is sent for 30 s" in sentence for sentence in told)


def test_a_failure_that_nobody_waits_for_is_told_to_nobody(tmp_path: Path) -> None:
    """Its lesson was cancelled, as others are when a run stops; asyncio would print a traceback."""
    complaints: list[dict[str, Any]] = []

    async def use(desk: Desk) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        lesson = asyncio.create_task(desk.ask(text="poison"))
        while not desk.rows:
            await asyncio.sleep(0)
        lesson.cancel()
        while [row.state for row in desk.rows] != ["failed"]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        gc.collect()

    play(use, tmp_path / "run", Fault("400", when="poison"))
    assert complaints == []


def test_the_budget_is_never_exceeded(tmp_path: Path) -> None:
    """Every tenth answer breaks off, is billed all the same, and asked for again: the bill is the server's own."""
    wanted, bill, asked = 300, 0, Counter[str]()

    def hold(most: int) -> int:
        async def use(desk: Desk) -> int:
            nonlocal bill
            desk.model.line.servers[0][1].limit = 64
            replies = await asyncio.gather(*map(desk.ask, range(wanted)), return_exceptions=True)
            bill += COST * desk.server.seen.billed.total()
            asked.update(desk.server.seen.requests)
            refused = [reply for reply in replies if isinstance(reply, BaseException)]
            assert all(isinstance(error, BudgetReached) and "raise --max-cost" in str(error) for error in refused)
            assert desk.server.seen.most_at_once == 64
            return len(refused)

        faults = Fault("cut", share=0.1)
        return int(play(use, tmp_path / "run", faults, latency=0.02, max_cost=most / 1_000_000))

    most = 64 * RESERVED
    refused = hold(most)
    assert 0 < refused < wanted
    assert most - RESERVED - COST < bill + sum(
        row.reserved - COST for row in books_of(tmp_path / "run") if row.state == "unknown"
    )
    assert bill <= most
    most = 2 * wanted * RESERVED
    assert hold(most) == 0
    assert bill <= most
    rows = books_of(tmp_path / "run")
    assert len([row for row in rows if row.state == "answered"]) == wanted
    assert all(
        times <= 1 + sum(row.digest == digest and row.state == "unknown" for row in rows)
        for digest, times in asked.items()
    )


# Whole runs against a server in a process of its own.


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SCRIPT) as server:
        yield server


@pytest.fixture
def settings(server: ScriptedServer, tmp_path: Path) -> Settings:
    server.use(SCRIPT)
    server.reset()
    write_problems(World().problems(4, 0), tmp_path / "problems.jsonl")
    return Settings(
        out=tmp_path / "run",
        problems=tmp_path / "problems.jsonl",
        tutor=f"vllm/tutor@{server.url}",
        student=f"vllm/student@{server.url}",
        tutor_turns=2,
        attempts=1,
    )


def test_a_changed_recipe_is_refused_and_a_fork_pays_only_for_what_is_new(
    settings: Settings, server: ScriptedServer, tmp_path: Path
) -> None:
    run(settings)
    paid = server.counts()["requests"]
    more = settings.model_copy(update={"attempts": 3})
    with pytest.raises(
        RunError, match=r"begun with other settings \(settings.attempts: 1 -> 3; settings.temperature: 1.0 -> 0.5\)"
    ):
        run(more.model_copy(update={"temperature": 0.5}))
    assert server.counts()["requests"] == paid

    fork = more.model_copy(update={"out": tmp_path / "fork", "fork": settings.out})
    run(fork)
    lessons, sittings = 4, 4  # before, after, on the sibling, and on the sibling without a lesson
    assert server.counts()["requests"] - paid == lessons * sittings * 2
    assert server.counts()["distinct"] == server.counts()["requests"]
    assert Counter(row.state for row in books_of(fork.out)) == {"reused": paid, "answered": lessons * sittings * 2}
    with Run.open(settings.out) as before, Run.open(fork.out) as after:
        assert [r.dialogue for r in before.records()] == [r.dialogue for r in after.records()]
        assert after.ledger.totals().calls == lessons * sittings * 2
    assert not [check for check in check_run(fork.out) if check.wrong]
    shutil.rmtree(settings.out)  # the fork needs it no more
    assert run(fork.model_copy(update={"fork": None})) == fork.out


def test_lost_lessons_cost_only_themselves(settings: Settings, server: ScriptedServer, tmp_path: Path) -> None:
    run(settings.model_copy(update={"out": tmp_path / "whole"}))
    whole = lessons_of(tmp_path / "whole")
    poison = whole[2][3][0].text  # what a student says first, so that the tutor never gets to speak
    server.use(replace(SCRIPT, faults=(Fault("400", when=poison),)))
    server.reset()
    with pytest.raises(ModelError, match=r"one lesson was lost \(vllm/tutor: 400: .*the same command tries again"):
        run(settings)
    assert lessons_of(settings.out) == [*whole[:2], *whole[3:]]
    with Run.open(settings.out) as record:
        assert record.manifest["finished"] is None

    server.use(SCRIPT)
    paid = server.counts()["billed"]
    run(settings)
    assert server.counts()["billed"] == paid + 8  # of nine calls the student's first was there
    assert lessons_of(settings.out) == whole
    with Run.open(settings.out) as record:
        assert record.manifest["finished"]


def test_an_exam_that_is_refused_after_the_lesson_is_a_missing_score(
    settings: Settings, server: ScriptedServer
) -> None:
    sibling = list(World().problems(4, 0))[2].sibling
    assert sibling is not None
    server.use(replace(SCRIPT, faults=(Fault("context_length", when=sibling.question),)))
    run(settings)
    scores = {problem: scores["solved_sibling"] for _, problem, *_, scores in lessons_of(settings.out)}
    assert sorted(score.state for score in scores.values()) == ["error", "valid", "valid", "valid"]
    assert any("maximum context length" in score.reason for score in scores.values())


CANARY = "canary-7d1f0c2e9b"


class Parrot(BaseHTTPRequestHandler):
    """A service that repeats the key it was shown: in errors, in replies, in its list of models."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        self._say(200, {"data": [{"id": "m", "root": self.headers["Authorization"]}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Parrot.asked += 1
        key = self.headers["Authorization"]
        match Parrot.asked:
            case 3:
                self._say(500, {"error": {"message": f"Who is {key}?", "code": key}})
            case 7:
                self._say(200, {"error": {"message": f"No model for {key}"}})
            case _ if self.server.broken:  # type: ignore[attr-defined]
                self._say(401, {"error": {"message": f"Incorrect API key provided: {key}"}})
            case _:
                message = {"role": "assistant", "content": f"Your key is {key}."}
                usage = {"prompt_tokens": 1, "completion_tokens": 1}
                self._say(200, {"id": key, "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    def _say(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status, self.headers["Authorization"])
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Request-Id", self.headers["Authorization"])
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def parrot() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Parrot) as server:
        server.broken = False  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_key_stands_in_nothing_that_is_written_or_told(parrot: ThreadingHTTPServer, tmp_path: Path) -> None:
    write_problems(World().problems(2, 0), tmp_path / "problems.jsonl")
    url = f"http://127.0.0.1:{parrot.server_address[1]}/v1"
    words = (
        "teach", "--tutor", "lab/m", "--student", "lab/m", "--problems", tmp_path / "problems.jsonl", "--out",
        tmp_path / "run", "--attempts", 2, "--tutor-turns", 2,
        "--endpoints", f"{{lab: {{base_urls: [{url}], key: LAB_KEY}}}}",
    )  # fmt: skip

    def secrets() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]

    with Nursery() as nursery:
        parrot.broken = True  # type: ignore[attr-defined]
        code, said = nursery.run(*words, log=tmp_path / "refused.log", LAB_KEY=CANARY)
        assert code == 2
        assert "Incorrect API key provided: Bearer [key]" in said
        parrot.broken = False  # type: ignore[attr-defined]
        victim = nursery.start(*words, log=tmp_path / "killed.log", LAB_KEY=CANARY)
        while victim.lives and not (tmp_path / "run" / "run.db-wal").exists():
            pass
        victim.send(9)  # its write-ahead log is left
        victim.wait()
        assert secrets() == []
        for number, more in enumerate(
            [
                words,
                ("runs", "show", tmp_path / "run"),
                ("runs", "export", tmp_path / "run", "--out", tmp_path / "export", "--answers"),
                ("report", tmp_path / "run"),
            ]
        ):
            nursery.run(*more, log=tmp_path / f"{number}.log", LAB_KEY=CANARY)
    assert (tmp_path / "0.log").read_text().strip().endswith("run")
    assert b"[key]" in (tmp_path / "export" / "calls.jsonl").read_bytes()
    assert secrets() == []
