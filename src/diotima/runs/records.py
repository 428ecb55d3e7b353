"""Dialogues as rows and back, without loss.

A turn's token ids are packed as 32-bit integers, its log-probabilities as doubles. A speaker's context mostly repeats
what that speaker had read and said before, so only the ids after the common beginning are stored: a dialogue of T
turns would otherwise store its text T times over.
"""

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apsw

from diotima.dialogue import Dialogue, Tokens, Turn
from diotima.problems.files import problem_to_json
from diotima.runs.judgements import insert_judgements
from diotima.score import Judgement, Score

_ENDS, _CUT, _MALFORMED = 1, 2, 4

TurnRow = tuple[str, str, str, int, int | None, bytes | None, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Record:
    """A dialogue as it stands in a run: the label it was played under (a tutor's name, say), its scores and what judges
    said about it.
    """

    label: str
    dialogue: Dialogue
    scores: Mapping[str, Score]
    judgements: tuple[Judgement, ...] = ()


def turn_rows(turns: Iterable[Turn]) -> Iterator[TurnRow]:
    """One row a turn: speaker, text, thought, flags, length of the common beginning, the packed tokens."""
    heard: dict[str, tuple[int, ...]] = {}
    for turn in turns:
        flags = _ENDS * turn.ends | _CUT * turn.cut | _MALFORMED * turn.malformed
        if turn.tokens is None:
            yield turn.speaker, turn.text, turn.thought, flags, None, None, None, None
            continue
        prompt, reply = turn.tokens.prompt_ids, turn.tokens.reply_ids
        shared = _common_length(heard.get(turn.speaker, ()), prompt)
        heard[turn.speaker] = prompt + reply
        packed = _pack("I", prompt[shared:]), _pack("I", reply), _pack("d", turn.tokens.logprobs)
        yield turn.speaker, turn.text, turn.thought, flags, shared, *packed


def insert_record(db: apsw.Connection, record: Record) -> None:
    """Store a dialogue with all that belongs to it, and its problem unless it is there; in the caller's transaction."""
    dialogue, body = record.dialogue, problem_to_json(record.dialogue.problem)
    problem = db.execute(
        "INSERT INTO problems (problem_id, hash, body) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET hash = hash RETURNING id",
        (dialogue.problem.id, hashlib.sha256(body.encode()).hexdigest(), body),
    ).get
    key = db.execute(
        "INSERT INTO dialogues (label, problem_id, seed, problem, stop) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (record.label, dialogue.problem.id, dialogue.seed, problem, dialogue.stop),
    ).get
    db.executemany(
        "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(key, position, *row) for position, row in enumerate(turn_rows(dialogue.turns))],
    )
    db.executemany(
        "INSERT INTO scores VALUES (?, ?, ?, ?, ?)",
        [(key, name, score.value, score.state, score.reason) for name, score in record.scores.items()],
    )
    insert_judgements(db, key, record.judgements)


def turns_from_rows(rows: Iterable[TurnRow]) -> tuple[Turn, ...]:
    """The inverse of `turn_rows`."""
    heard: dict[str, tuple[int, ...]] = {}
    turns = []
    for speaker, text, thought, flags, shared, prompt, reply, logprobs in rows:
        tokens = None
        if prompt is not None and reply is not None and logprobs is not None:
            prompt_ids = heard.get(speaker, ())[:shared] + _unpack("I", prompt)
            tokens = Tokens(prompt_ids, _unpack("I", reply), _unpack("d", logprobs))
            heard[speaker] = tokens.prompt_ids + tokens.reply_ids
        turns.append(
            Turn(speaker, text, thought, bool(flags & _ENDS), bool(flags & _CUT), bool(flags & _MALFORMED), tokens)
        )
    return tuple(turns)


def _common_length(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    if second[: len(first)] == first:
        return len(first)
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(second))


def _pack(code: str, values: Iterable[float]) -> bytes:
    return _little_endian(array(code, values)).tobytes()


def _unpack(code: str, blob: bytes) -> tuple[Any, ...]:
    return tuple(_little_endian(array(code, blob)))


def _little_endian(values: "array[Any]") -> "array[Any]":
    if sys.byteorder == "big":
        values.byteswap()
    return values
