"""The ledger: every call to an endpoint, written down before it is sent, and its raw answer before it is read.

    id = await ledger.intend(intent)           # on the disk: now the call may be sent
    await ledger.settle(id, outcome)           # on the disk: now the answer may be read
    ledger.answered(key)                       # what was paid for, for whoever asks the same again

A call is in one of five states. ``sent``: on its way. ``answered``: there is a complete answer, whatever it says.
``failed``: there is none, or an unreadable one, and the call is settled. ``unknown``: its process died or its
connection broke; it may have been billed, at most what was reserved for it. ``reused``: copied from another run, for
nothing. A call that is made again is a new row, the next attempt at its key, since it is billed again.

The messages of a chat are stored as a chain, each once: in a lesson of T turns every call repeats all earlier messages,
and its text would otherwise be stored T times.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

import apsw

from diotima.dialogue import Message
from diotima.errors import RunError
from diotima.runs import store
from diotima.runs.writer import Writer

REMEMBERED = 16_384  # messages whose rows are known without a look at the database


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens of a call as its server counted them, None where it did not say.

    ``cached`` is a part of ``prompt``, ``reasoning`` a part of ``reply``.
    """

    prompt: int | None = None
    cached: int | None = None
    reply: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A call about to be sent.

    ``key``: SHA-256 of all that decides the answer. ``model``: backend/NAME. ``served``: fingerprint of what is served
    under that name. ``sample``: which draw, None if it is never reused. ``parameters``: the request without its
    messages, as canonical JSON. ``reserved_cost``: what it costs at most, in millionths of a dollar;
    ``reserved_tokens``: the tokens that it reads and writes at most.
    """

    key: bytes
    model: str
    served: str
    sample: int | None
    messages: Sequence[Message]
    parameters: str
    reserved_cost: int = 0
    reserved_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    ``status``: of HTTP, None without a response. ``cost``: in millionths of a dollar, None if ``unknown``. ``reason``:
    why it failed. ``answer``: the raw body, as it came.
    """

    state: Literal["answered", "failed", "unknown", "reused"]
    status: int | None = None
    provider_id: str = ""
    usage: Used = Used()
    cost: int | None = None
    reason: str = ""
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was paid for: the raw body and what it cost then.

    ``from_elsewhere``: it stands in another run's ledger, see `Ledger.reuse_from`.
    """

    body: bytes
    status: int | None
    provider_id: str
    usage: Used
    cost: int
    from_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class UnknownCall:
    """A call that may have been billed without an answer: at most ``reserved_cost`` millionths of a dollar.

    ``sent``: when, in seconds since 1970.
    """

    id: int
    key: bytes
    attempt: int
    model: str
    sample: int | None
    reserved_cost: int
    reserved_tokens: int
    sent: float


@dataclass(frozen=True, slots=True)
class Totals:
    """The books: calls by state, tokens and money.

    ``cost``: what settled calls cost, in millionths of a dollar. ``open_cost`` and ``open_tokens``: what the calls that
    are on their way or unknown may come to at most; of those whose server did not count them, the tokens reserved count
    here too. Reused calls count under ``reused`` only.
    """

    sent: int = 0
    answered: int = 0
    failed: int = 0
    unknown: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    reply_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    open_cost: int = 0
    open_tokens: int = 0

    @property
    def calls(self) -> int:
        """How many calls were sent from this run."""
        return self.sent + self.answered + self.failed + self.unknown

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class Ledger:
    """The calls of one run. Coroutines may use it side by side; that no two make one call at once is their business.

    ``db``: a connection to read from, not the writer's, so that it shows only what is committed. ``writer``: None to
    read only.
    """

    def __init__(self, db: apsw.Connection, folder: Path, writer: Writer | None = None) -> None:
        self._db = db
        self._folder = folder
        self._writer = writer
        self._exists = db.table_exists(None, "calls")  # a run of an older schema has no books
        self._elsewhere: apsw.Connection | None = None
        self._rows_of_messages: dict[bytes, int] = {}

    async def intend(self, call: Intent) -> int:
        """Write down that a call is about to be sent; returns its row's id when that is on the disk.

        Given up before (the waiter was cancelled), the call leaves no trace: it was not sent. Raises RunError.
        """
        hashes, sent = chat_hashes(call.messages), time.time()
        id = 0

        def note(db: apsw.Connection) -> dict[bytes, int]:
            nonlocal id
            new, chat = self._note_chat(db, call.messages, hashes)
            id = _insert(db, call, chat, "sent", sent)
            return new

        def withdraw(db: apsw.Connection) -> None:
            # Had its group been rolled back, the id might be another's: hence all three.
            db.execute("DELETE FROM calls WHERE id = ? AND key = ? AND sent = ?", (id, call.key, sent))

        writer = self._writing()
        try:
            new = await writer.write(note)
        except asyncio.CancelledError:
            writer.post(withdraw)
            raise
        self._remember(new)
        return id

    async def settle(self, id: int, outcome: Outcome) -> None:
        """Write down what became of a call; returns when that is on the disk. Raises RunError.

        It is stored even if the waiter is cancelled: it was paid for.
        """
        ended = time.time()
        await self._writing().write(lambda db: _settle(db, id, outcome, ended))

    def answered(self, key: bytes) -> Answer | None:
        """The newest answer to a call with this key that is on the disk, of this run or else of the one to reuse."""
        for db in (self._db if self._exists else None, self._elsewhere):
            if db is not None:
                with store.explained(self._folder):
                    row = db.execute(_ANSWERED, (key,)).get
                if row is not None:
                    body, status, provider_id, cost, *used = row
                    return Answer(body, status, provider_id, Used(*used), cost or 0, db is self._elsewhere)
        return None

    def reuse_from(self, folder: Path) -> None:
        """Let `answered` also look into another run. Raises RunError if that is none."""
        db = store.open_for_reading(folder)
        if self._elsewhere is not None:
            self._elsewhere.close()
        self._elsewhere = db if db.table_exists(None, "calls") else None

    async def adopt(self, call: Intent, answer: Answer) -> None:
        """Copy an answer from elsewhere into this run, as ``reused`` and for nothing; returns when it is on the disk.

        Raises RunError.
        """
        hashes, now = chat_hashes(call.messages), time.time()
        outcome = Outcome("reused", answer.status, answer.provider_id, answer.usage, 0, "", answer.body)

        def copy(db: apsw.Connection) -> dict[bytes, int]:
            new, chat = self._note_chat(db, call.messages, hashes)
            _settle(db, _insert(db, call, chat, "reused", now), outcome, now)
            return new

        self._remember(await self._writing().write(copy))

    def unknown(self) -> list[UnknownCall]:
        """The calls that may have been billed without an answer, in the order in which they were sent."""
        # Both conditions: without the first SQLite does not see that its partial index holds all of them.
        return [
            UnknownCall(*row)
            for row in self._rows(
                "SELECT id, key, attempt, model, sample, reserved_cost, reserved_tokens, sent"
                " FROM calls WHERE state IN ('sent', 'unknown') AND state = 'unknown' ORDER BY id"
            )
        ]

    def totals(self) -> Totals:
        """The books of the whole run."""
        return reduce(add, self.totals_by_model().values(), Totals())

    def totals_by_model(self) -> dict[str, Totals]:
        """The books of each model, by name."""
        books: dict[str, Totals] = {}
        for model, state, count, prompt, cached, reply, reasoning, cost, reserved, tokens, uncounted in self._rows(
            "SELECT model, state, count(*), total(prompt_tokens), total(cached_tokens), total(reply_tokens),"
            " total(reasoning_tokens), total(cost), total(reserved_cost), total(reserved_tokens),"
            " total(CASE WHEN status = 200 AND prompt_tokens IS NULL THEN reserved_tokens END)"
            " FROM calls GROUP BY model, state ORDER BY model"
        ):
            part = {state: count} if state in Totals.__slots__ else {}
            if state in ("sent", "unknown"):
                part |= {"open_cost": int(reserved), "open_tokens": int(tokens)}
            if state != "reused":
                part |= {"prompt_tokens": int(prompt), "cached_tokens": int(cached), "reply_tokens": int(reply)}
                part |= {"reasoning_tokens": int(reasoning), "cost": int(cost)}
                part["open_tokens"] = part.get("open_tokens", 0) + int(uncounted)
            books[model] = books.get(model, Totals()) + Totals(**part)
        return books

    def close(self) -> None:
        """Let go of the run to reuse from; what the ledger was given is its owner's to close."""
        if self._elsewhere is not None:
            self._elsewhere.close()
            self._elsewhere = None

    def _rows(self, statement: str) -> list[Any]:
        with store.explained(self._folder):
            return list(self._db.execute(statement)) if self._exists else []

    def _writing(self) -> Writer:
        if self._writer is None:
            raise RunError(f"{self._folder} was opened to be read only")
        return self._writer

    def _note_chat(
        self, db: apsw.Connection, messages: Sequence[Message], hashes: Sequence[bytes]
    ) -> tuple[dict[bytes, int], int | None]:
        """Store those messages of a chat that are not there; the rows looked up, and that of the last message."""
        known = len(hashes)
        while known and hashes[known - 1] not in self._rows_of_messages:
            known -= 1
        row = self._rows_of_messages[hashes[known - 1]] if known else None
        new: dict[bytes, int] = {}
        for message, hash in zip(messages[known:], hashes[known:], strict=True):
            row = new[hash] = int(db.execute(_MESSAGE, (hash, row, message.role, message.content)).get)
        return new, row

    def _remember(self, rows: dict[bytes, int]) -> None:
        # Only what is committed is remembered: the rows of a group that was rolled back are others' tomorrow.
        self._rows_of_messages |= rows
        while len(self._rows_of_messages) > REMEMBERED:
            del self._rows_of_messages[next(iter(self._rows_of_messages))]


def chat_hashes(messages: Sequence[Message]) -> list[bytes]:
    """For each message the SHA-256 over the hash of the one before it (if there is one), role, a zero byte and body."""
    hashes: list[bytes] = []
    for message in messages:
        before = hashes[-1] if hashes else b""
        hashes.append(hashlib.sha256(before + f"{message.role}\0{message.content}".encode()).digest())
    return hashes


def chat_hash(messages: Sequence[Message]) -> bytes:
    """A chat's identity: the hash of its last message, over all before it. Raises IndexError if there is none."""
    return chat_hashes(messages)[-1]


_MESSAGE = (
    "INSERT INTO messages (hash, before, role, body) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (hash) DO UPDATE SET hash = hash RETURNING id"
)
_CALL = (
    "INSERT INTO calls (key, attempt, model, served, sample, chat, parameters, state, reserved_cost, reserved_tokens,"
    " sent) SELECT ?1, 1 + ifnull(max(attempt), 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM calls WHERE key = ?1"
    " RETURNING id"
)
_SETTLE = (
    "UPDATE calls SET state = ?, ended = ?, status = ?, provider_id = ?, prompt_tokens = ?, cached_tokens = ?,"
    " reply_tokens = ?, reasoning_tokens = ?, cost = ?, reason = ?, answer = ? WHERE id = ?"
)
_ANSWERED = (
    "SELECT answer, status, provider_id, cost, prompt_tokens, cached_tokens, reply_tokens, reasoning_tokens FROM calls"
    " WHERE key = ? AND state IN ('answered', 'reused') ORDER BY attempt DESC LIMIT 1"
)


def _insert(db: apsw.Connection, call: Intent, chat: int | None, state: str, sent: float) -> int:
    values = (
        call.key, call.model, call.served, call.sample, chat, call.parameters, state, call.reserved_cost,
        call.reserved_tokens, sent,
    )  # fmt: skip
    return int(db.execute(_CALL, values).get)


def _settle(db: apsw.Connection, id: int, outcome: Outcome, ended: float) -> None:
    used = outcome.usage
    values = (
        outcome.state, ended, outcome.status, outcome.provider_id, used.prompt, used.cached, used.reply, used.reasoning,
        outcome.cost, outcome.reason, outcome.answer, id,
    )  # fmt: skip
    db.execute(_SETTLE, values)
