"""Whether a run is in order: its file, its books, and that every lesson's calls are in them.

Every check is a function that yields one sentence for each thing that is wrong. Messages and lessons are read in pages,
so a run of any size is checked at flat memory, and one that is being written meanwhile is not held up; what was written
after the check began is left to the next.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import apsw

from diotima.dialogue import STUDENT, TUTOR
from diotima.errors import RunError
from diotima.runs.books import turn_sample
from diotima.runs.judgements import RUBRICS, kept_rubric
from diotima.runs.ledger import Ledger
from diotima.runs.lock import writer_of
from diotima.runs.status import Manifest, read_manifest, reading, tutor_behind
from diotima.score import WHOLE

ENDPOINTS = ("openai", "openrouter", "gemini", "vllm", "ollama", "llamacpp")
STATES = ("sent", "answered", "failed", "unknown", "reused")
MOST = 20  # sentences that one check gives at most
HOLDING = ("teach", "evaluate")  # stages whose lessons were held in the run itself
_PAGE = 1000

Check = Callable[[apsw.Connection], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Checked:
    """One check of a run: what it looked at, what is wrong (which should be nothing), and what else is to be known."""

    what: str
    wrong: tuple[str, ...]
    note: str = ""


def check_run(folder: Path) -> list[Checked]:
    """Check everything about a run. Raises RunError if the folder is none."""
    manifest = read_manifest(folder)
    checks: dict[str, Check] = {"file": _file, "references": _references}
    books: dict[str, Check] = {
        "messages": _messages,
        "attempts": _attempts,
        "answers": _answers,
        "costs": partial(_costs, folder=folder),
        "calls of lessons": partial(_lessons, manifest=manifest),
    }
    try:
        with reading(folder) as db:
            found = [_checked(what, check, db) for what, check in checks.items()]
            if db.table_exists(None, "judgements"):
                found.append(_checked("judgements", partial(_judgements, folder=folder), db))
            if db.table_exists(None, "calls"):
                found += [_checked(what, check, db) for what, check in books.items()]
                found.append(Checked("without an answer", (), _without_answer(db, folder)))
            return found
    except RunError as error:
        return [Checked("file", (str(error),))]


def _checked(what: str, check: Check, db: apsw.Connection) -> Checked:
    wrong = tuple(islice(check(db), MOST + 1))
    return Checked(what, wrong if len(wrong) <= MOST else (*wrong[:MOST], "and more of the kind"))


def _file(db: apsw.Connection) -> Iterator[str]:
    for (said,) in db.execute("PRAGMA integrity_check"):
        if said != "ok":
            yield str(said)


def _references(db: apsw.Connection) -> Iterator[str]:
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"{table} {row} refers to something in {parent} that is not there"


def _judgements(db: apsw.Connection, folder: Path) -> Iterator[str]:
    """Every judgement is of a turn that is there, and the rubric's text, without which it says nothing, is kept."""
    for number, position in db.execute(
        "SELECT DISTINCT j.dialogue, j.position FROM judgements j LEFT JOIN turns t"
        " ON t.dialogue = j.dialogue AND t.position = j.position WHERE j.position <> ? AND t.dialogue IS NULL",
        (WHOLE,),
    ):
        yield f"lesson {number} has a judgement of turn {position + 1}, which it does not have"
    for name, fingerprint in db.execute("SELECT DISTINCT rubric, rubric_fingerprint FROM judgements"):
        if kept_rubric(folder, name, fingerprint) is None:
            yield f"the text of the rubric {name} ({fingerprint}), under which lessons were judged, is not in {RUBRICS}"


def _messages(db: apsw.Connection) -> Iterator[str]:
    """The rule of `ledger.chat_hashes`, worked out here on its own; one link a row proves whole chains."""
    question = (
        "SELECT m.id, m.hash, b.hash, m.role, m.body FROM messages m LEFT JOIN messages b ON b.id = m.before"
        " WHERE m.id > ? ORDER BY m.id LIMIT ?"
    )
    last = 0
    while page := list(db.execute(question, (last, _PAGE))):
        for last, stored, before, role, body in page:
            if hashlib.sha256((before or b"") + f"{role}\0{body}".encode()).digest() != stored:
                yield f"message {last} is not what its hash says: it was changed after it was stored"


def _attempts(db: apsw.Connection) -> Iterator[str]:
    for key, count, first, last in db.execute(
        "SELECT key, count(*), min(attempt), max(attempt) FROM calls GROUP BY key"
        " HAVING min(attempt) <> 1 OR max(attempt) <> count(*)"
    ):
        yield f"call {_short(key)} has {count} attempts, numbered {first} to {last}: a row is missing"


def _answers(db: apsw.Connection) -> Iterator[str]:
    for key, count in db.execute(
        "SELECT key, count(*) FROM calls WHERE state IN ('answered', 'reused') GROUP BY key HAVING count(*) > 1"
    ):
        yield f"call {_short(key)} was answered {count} times: it was paid for twice"
    for row, state, answer, cost in db.execute(
        "SELECT id, state, answer IS NOT NULL, cost IS NOT NULL FROM calls WHERE CASE"
        " WHEN state IN ('answered', 'reused') THEN answer IS NULL OR cost IS NULL OR ended IS NULL"
        " WHEN state = 'failed' THEN cost IS NULL OR ended IS NULL"
        " WHEN state IN ('sent', 'unknown') THEN answer IS NOT NULL OR cost IS NOT NULL"
        " ELSE 1 END ORDER BY id"
    ):
        has = f"{'an' if answer else 'no'} answer and {'a' if cost else 'no'} cost"
        yield f"call in row {row} is {state} and has {has}"
    for row, cost, reserved in db.execute(
        "SELECT id, cost, reserved_cost FROM calls WHERE cost < 0 OR reserved_cost < 0"
    ):
        yield f"call in row {row} costs {cost}, of {reserved} reserved: less than nothing"


def _costs(db: apsw.Connection, folder: Path) -> Iterator[str]:
    strange = ", ".join(state for (state,) in db.execute("SELECT DISTINCT state FROM calls") if state not in STATES)
    if strange:
        yield f"calls are {strange}, which no state is called: they cannot be added up"
        return
    with db:  # both at one moment
        told = Ledger(db, folder).totals().cost
        rows = db.execute("SELECT cost, state FROM calls WHERE cost <> 0")
        counted = sum(cost for cost, state in rows if state != "reused")
    if counted != told:
        yield f"the calls cost {counted} millionths of a dollar, the totals say {told}"


def _without_answer(db: apsw.Connection, folder: Path) -> str:
    """What a kill leaves behind is in order, but somebody may have been paid for it."""
    totals = Ledger(db, folder).totals()
    if not totals.sent + totals.unknown:
        return ""
    where = "on their way or " if totals.sent and writer_of(folder) else ""
    return (
        f"{totals.sent + totals.unknown:,} {where}of unknown outcome: they may have been billed, "
        f"at most ${totals.open_cost / 1_000_000:.6f}"
    )


def _lessons(db: apsw.Connection, manifest: Manifest) -> Iterator[str]:
    """Every turn of a model behind an endpoint has its answer in the books."""
    if manifest.stage not in HOLDING:
        return
    student = str(manifest.settings.get("student") or "")
    asked = {model for (model,) in db.execute("SELECT DISTINCT model FROM calls")}  # endpoints may have own names
    question = (
        "SELECT d.id, d.label, d.problem_id, d.seed, t.position, t.speaker"
        " FROM dialogues d JOIN turns t ON t.dialogue = d.id WHERE (d.id, t.position) > (?, ?)"
        " ORDER BY d.id, t.position LIMIT ?"
    )
    last = (0, -1)
    while page := list(db.execute(question, (*last, _PAGE))):
        drawn: dict[int, str] = {}
        for number, label, problem, seed, turn, speaker in page:
            last = (number, turn)
            played_by = {TUTOR: tutor_behind(label, manifest.tutors), STUDENT: student}.get(speaker, "")
            if played_by in asked or played_by.partition("/")[0] in ENDPOINTS:
                drawn[turn_sample(seed, problem, speaker, turn)] = f"lesson {number}, turn {turn + 1} ({speaker})"
        answered = {
            sample
            for (sample,) in db.execute(
                "SELECT sample FROM calls WHERE sample IN (SELECT value FROM json_each(?))"
                " AND state IN ('answered', 'reused')",
                (json.dumps(list(drawn)),),
            )
        }
        for sample, turn_told in drawn.items():
            if sample not in answered:
                yield f"{turn_told} has no answered call in the books"


def _short(key: bytes) -> str:
    return key.hex()[:12]
