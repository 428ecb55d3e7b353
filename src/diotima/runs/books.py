"""The calls of a run as people read them: which a lesson needed, and how fast they come. The totals are the ledger's.

Bodies are never read here, and nothing is scanned: a page that is shown again every two seconds must cost a run of a
million calls no more than a small one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from diotima.dialogue import stable_seed

WINDOW = 300.0  # seconds that a pace looks back
_NEWEST = 2000  # calls that it looks at, at most


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at a call. ``cost`` in millionths of a dollar, None while unknown; ``milliseconds`` until its end."""

    sample: int
    model: str
    attempt: int
    state: str
    status: int | None
    prompt_tokens: int | None
    reply_tokens: int | None
    cost: int | None
    milliseconds: int | None
    reason: str


def turn_sample(seed: int, problem_id: str, speaker: str, turn: int) -> int:
    """By which draw a model says its turn of that index in a lesson, see `roles.next_turn`."""
    return stable_seed("reply", seed, problem_id, speaker, turn)


def exam_sample(seed: int, problem_id: str, attempt: int) -> int:
    """By which draw a student model makes an attempt at the exam on a problem, see `students.ModelStudent.attempts`.

    Attempts after the lesson and without any draw alike.
    """
    return stable_seed("exam", seed, problem_id, attempt)


def judge_sample(rubric: str, problem_id: str, seed: int, position: int, sample: int, ask: int, order: str) -> int:
    """By which draw a judge says what it thinks of a case, ``ask`` counted from 0, see `scoring.judge.ModelJudge`."""
    return stable_seed("judge", rubric, problem_id, seed, position, sample, ask, order)


def calls_of(db: apsw.Connection, samples: Sequence[int]) -> list[Call]:
    """All attempts at the calls that drew these samples, in the order of the samples."""
    question = (
        "SELECT sample, model, attempt, state, status, prompt_tokens, reply_tokens, cost,"
        " CAST(round(1000 * (ended - sent)) AS INTEGER), reason FROM calls WHERE sample = ? ORDER BY key, attempt"
    )
    return [Call(*row) for sample in samples for row in db.execute(question, (sample,))]


def pace(db: apsw.Connection, now: float) -> float:
    """Calls that ended per minute, over the last `WINDOW` or as far back as the newest two thousand go.

    ``now``: seconds since 1970.
    """
    newest = db.execute("SELECT sent, ended FROM calls ORDER BY id DESC LIMIT ?", (_NEWEST,))
    times: list[tuple[float, float | None]] = list(newest)
    if not times:
        return 0.0
    since = max(now - WINDOW, min(sent for sent, _ in times))
    ended = sum(end is not None and end >= since for _, end in times)
    return 60 * ended / max(now - since, 1.0)
